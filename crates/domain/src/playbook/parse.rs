//! From text to [`Playbook`], with all findings at once, each with its line and column where they are known.

use super::*;
use serde_json::{Map, Value as Json};
use serde_saphyr::Spanned;

/// Something wrong in a document, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{line}:{column}: {text}")]
pub struct Finding {
    /// From 1; 0 where the place is not known.
    pub line: u64,
    pub column: u64,
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlaybook {
    id: Spanned<String>,
    version: Spanned<u32>,
    title: Spanned<String>,
    purpose: String,
    scope: String,
    #[serde(default)]
    preconditions: Vec<String>,
    #[serde(default)]
    cautions: Vec<String>,
    risk: Risk,
    #[serde(default)]
    risk_because: String,
    answers: Vec<Spanned<Answers>>,
    #[serde(default)]
    parameters: BTreeMap<String, Spanned<Parameter>>,
    steps: Spanned<Vec<Spanned<RawStep>>>,
    #[serde(default)]
    verify: Option<Spanned<Vec<Spanned<RawCheck>>>>,
    #[serde(default)]
    soak_s: Option<Spanned<u64>>,
    #[serde(default)]
    limits: Limits,
    escalation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    name: String,
    #[serde(default)]
    require: Vec<RawCheck>,
    #[serde(rename = "do")]
    action: String,
    #[serde(default)]
    with: Map<String, Json>,
    #[serde(default)]
    expect: Vec<RawCheck>,
    #[serde(default)]
    irreversible_because: Option<String>,
    timeout_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    check: String,
    #[serde(default)]
    with: Map<String, Json>,
}

impl From<RawCheck> for CheckTemplate {
    fn from(raw: RawCheck) -> Self {
        Self { check: raw.check, with: raw.with }
    }
}

/// Collects findings while the document is taken apart.
struct Findings(Vec<Finding>);

impl Findings {
    fn at<T>(&mut self, place: &Spanned<T>, text: impl Into<String>) {
        let location = place.referenced;
        self.0.push(Finding { line: location.line(), column: location.column(), text: text.into() });
    }
}

impl Playbook {
    /// Parses and checks a playbook's text; on error returns every finding.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        if text.len() > PLAYBOOK_BYTES_MAX {
            let text =
                format!("the playbook has {} bytes, at most {PLAYBOOK_BYTES_MAX} are read", text.len());
            return Err(vec![Finding { line: 1, column: 1, text }]);
        }
        let raw: RawPlaybook = crate::yaml::from_str(text).map_err(|finding| vec![finding])?;
        let mut findings = Findings(Vec::new());
        let playbook = assemble(text, raw, &mut findings);
        match playbook {
            Some(playbook) if findings.0.is_empty() => Ok(playbook),
            _ => Err(findings.0),
        }
    }
}

fn assemble(text: &str, raw: RawPlaybook, findings: &mut Findings) -> Option<Playbook> {
    let id = PlaybookId::new(raw.id.value.as_str()).map_err(|e| findings.at(&raw.id, e.to_string())).ok();
    if raw.title.value.trim().is_empty() {
        findings.at(&raw.title, "the title is empty: say in one line what the playbook does");
    }
    if raw.version.value == 0 {
        findings.at(&raw.version, "versions begin at 1");
    }
    let soak_s = raw.soak_s.as_ref().map_or(0, |soak| soak.value);
    if let Some(soak) = raw.soak_s.filter(|soak| soak.value > SOAK_S_MAX) {
        findings.at(&soak, format!("soak_s is {}, at most {SOAK_S_MAX}", soak.value));
    }
    let verify = raw.verify.map(|verify| verify.value).unwrap_or_default();
    if verify.is_empty() && raw.risk != Risk::Never {
        findings.at(&raw.steps, "verify is empty: without a check nobody knows that the fix worked");
    }
    if raw.steps.value.len() > STEPS_MAX {
        findings.at(&raw.steps, format!("{} steps, at most {STEPS_MAX}", raw.steps.value.len()));
    }
    if raw.steps.value.is_empty() && raw.risk != Risk::Never {
        findings.at(&raw.steps, "no steps: a playbook that only tells people what to do has risk: never");
    }
    let parameters = parameters(raw.parameters, findings);
    let mut playbook = Playbook {
        digest: Digest::of(text.as_bytes()),
        id: id?,
        version: raw.version.value,
        title: raw.title.value,
        purpose: raw.purpose,
        scope: raw.scope,
        preconditions: raw.preconditions,
        cautions: raw.cautions,
        risk: raw.risk,
        risk_because: raw.risk_because,
        answers: raw.answers.into_iter().map(|a| a.value).collect(),
        parameters,
        steps: Vec::new(),
        verify: Vec::new(),
        soak_ms: i64::try_from(soak_s).unwrap_or(0) * crate::time::SECOND_MS,
        limits: raw.limits,
        escalation: raw.escalation,
    };
    steps_and_checks(&mut playbook, raw.steps.value, verify, findings);
    Some(playbook)
}

fn parameters(
    raw: BTreeMap<String, Spanned<Parameter>>,
    findings: &mut Findings,
) -> BTreeMap<Word, Parameter> {
    let mut parameters = BTreeMap::new();
    for (name, parameter) in raw {
        match Word::new(name.as_str()) {
            Err(e) => findings.at(&parameter, e.to_string()),
            Ok(name) => {
                if parameter.value.from.is_none() && parameter.value.default.is_none() {
                    findings.at(&parameter, format!("parameter {name} has neither from nor default"));
                }
                match parameter.value.default_value() {
                    Some(Err(e)) => findings.at(&parameter, format!("the default of {name}: {e}")),
                    Some(Ok(value)) => {
                        if let Some(fault) = parameter.value.fault(&value) {
                            findings.at(&parameter, format!("the default of {name}: {fault}"));
                        }
                    }
                    None => {}
                }
                parameters.insert(name, parameter.value);
            }
        }
    }
    parameters
}

fn steps_and_checks(
    playbook: &mut Playbook,
    steps: Vec<Spanned<RawStep>>,
    verify: Vec<Spanned<RawCheck>>,
    findings: &mut Findings,
) {
    let samples = samples(playbook);
    for raw in steps {
        let timeout_s = raw.value.timeout_s;
        if !(1..=TIMEOUT_S_MAX).contains(&timeout_s) {
            findings.at(&raw, format!("timeout_s is {timeout_s}, must be 1 to {TIMEOUT_S_MAX}"));
        }
        let place = Spanned { value: (), referenced: raw.referenced, defined: raw.defined };
        let step = StepTemplate {
            name: raw.value.name,
            require: raw.value.require.into_iter().map(Into::into).collect(),
            action: raw.value.action,
            with: raw.value.with,
            expect: raw.value.expect.into_iter().map(Into::into).collect(),
            irreversible_because: raw.value.irreversible_because,
            timeout_ms: i64::try_from(timeout_s).unwrap_or(0) * crate::time::SECOND_MS,
        };
        if let Err(e) = step.resolve(playbook, &samples) {
            findings.at(&place, e.to_string());
        }
        for check in step.require.iter().chain(&step.expect) {
            if let Err(e) = check.resolve(playbook, &samples) {
                findings.at(&place, e.to_string());
            }
        }
        playbook.steps.push(step);
    }
    for raw in verify {
        let place = Spanned { value: (), referenced: raw.referenced, defined: raw.defined };
        let check = CheckTemplate::from(raw.value);
        if let Err(e) = check.resolve(playbook, &samples) {
            findings.at(&place, e.to_string());
        }
        playbook.verify.push(check);
    }
}

/// Returns a value for every parameter, so that steps can be checked before there is a signal.
fn samples(playbook: &Playbook) -> BTreeMap<Word, Value> {
    let text = |parameter: &Parameter| match parameter.value_type {
        ValueType::Unit => "sample.service".to_owned(),
        ValueType::Path => parameter
            .within
            .first()
            .map_or_else(|| "/srv/sample".to_owned(), |folder| format!("{folder}/sample")),
        ValueType::Url => "http://127.0.0.1/".to_owned(),
        ValueType::Ip => "192.0.2.1".to_owned(),
        ValueType::Process => "4711@1".to_owned(),
        ValueType::Integer => parameter.min.or(parameter.max).unwrap_or(1).to_string(),
        ValueType::Boolean => "true".to_owned(),
        ValueType::Word => "0640".to_owned(),
        ValueType::Glob => "sample.*".to_owned(),
    };
    playbook
        .parameters
        .iter()
        .filter_map(|(name, parameter)| {
            let text = parameter
                .default
                .clone()
                .or_else(|| parameter.one_of.first().cloned())
                .unwrap_or_else(|| text(parameter));
            Some((name.clone(), parameter.value_type.parse(&text).ok()?))
        })
        .collect()
}
