//! `playbook test` and `playbook explain`: cases held against the playbooks beside them, without a server.

use super::read;
use crate::failure::Failure;
use crate::ui::{Tone, Ui};
use crate::words;
use clap::Args;
use serde_json::{Value as Json, json};
use sopwith_domain::matching::{Candidate, Choice, choose_on};
use sopwith_domain::playbook::{Case, Finding, Playbook};
use std::path::{Path, PathBuf};

/// The folder of cases beside playbooks.
const CASES: &str = "cases";

#[derive(Args, Debug)]
#[command(after_help = "\
A case is a signal, what the host declares, who must be chosen among all
playbooks, and what the plan must then be. Cases lie in FOLDER/cases. It needs
no server, and runs nothing. The exit code is 1 if one does not hold.

Example:
  sopwith playbook test playbooks")]
pub struct Test {
    /// The folder of the playbooks.
    #[arg(default_value = "playbooks", value_name = "FOLDER")]
    folder: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Every playbook that answers the kind of signal is weighed, and each reason for
and against it is told. It needs no server.

Example:
  sopwith playbook explain playbooks/cases/service-hung.yaml --case \"a hung service\"")]
pub struct Explain {
    /// A file of cases.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only the case of this name.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// The folder of the playbooks; without it, the one above the file's.
    #[arg(long, value_name = "FOLDER")]
    playbooks: Option<PathBuf>,
}

/// Holds all cases of a folder against all of its playbooks.
pub fn test(args: Test, ui: &Ui) -> Result<(), Failure> {
    let playbooks = playbooks(&args.folder)?;
    let files = yaml_files(&args.folder.join(CASES))?;
    let (mut lines, mut report, mut held, mut failed) = (Vec::new(), Vec::new(), 0_u64, 0_u64);
    for file in &files {
        let name = file.display();
        for case in cases(file)? {
            let outcome = case.hold(&playbooks);
            match &outcome {
                Ok(_) => held += 1,
                Err(why) => {
                    failed += 1;
                    lines.push(format!("{name}:{}:1: {}: {why}", case.line, case.name));
                }
            }
            let plan = outcome.as_ref().ok().and_then(Option::as_ref);
            report.push(json!({
                "file": name.to_string(), "line": case.line, "case": case.name, "holds": outcome.is_ok(),
                "why": outcome.as_ref().err(),
                "steps": plan.map(|p| p.steps.iter().map(|s| s.action.sentence()).collect::<Vec<_>>()),
            }));
        }
    }
    if held + failed == 0 {
        return Err(Failure::failed(format!("there is no case in {}", args.folder.join(CASES).display()))
            .help("a case is a signal and who must answer it; the handbook's page on playbooks has one"));
    }
    let of = format!(
        "{} against {}",
        words::count(held + failed, "case"),
        words::count(playbooks.len() as u64, "playbook")
    );
    lines.push(match failed {
        0 => format!("{} {of}, all hold", ui.paint(Tone::Good, "✓")),
        _ => format!("{} {of}, {failed} do not hold", ui.paint(Tone::Bad, "✗")),
    });
    ui.show(&report, || lines.join("\n"))?;
    if failed > 0 { Err(Failure::told()) } else { Ok(()) }
}

/// Says who answers the signals of a file, and why the others do not.
pub fn explain(args: Explain, ui: &Ui) -> Result<(), Failure> {
    let above = args.file.parent().and_then(Path::parent).unwrap_or_else(|| Path::new("."));
    let folder = args.playbooks.as_deref().unwrap_or(above);
    let playbooks = playbooks(folder)?;
    let mut cases = cases(&args.file)?;
    if let Some(name) = &args.case {
        cases.retain(|case| case.name == *name);
        if cases.is_empty() {
            let text = format!("{} has no case named {name:?}", args.file.display());
            return Err(Failure::failed(text));
        }
    }
    let weighed: Vec<(&Case, Choice<'_>, Vec<Candidate>)> = cases
        .iter()
        .map(|case| {
            let (choice, candidates) = choose_on(&playbooks, &case.signal, &case.host);
            (case, choice, candidates)
        })
        .collect();
    let report: Vec<Json> = weighed
        .iter()
        .map(|(case, choice, candidates)| {
            json!({ "case": case.name, "chosen": chosen(choice), "candidates": candidates })
        })
        .collect();
    ui.show(&report, || {
        let one = |(case, choice, candidates): &(&Case, Choice<'_>, Vec<Candidate>)| {
            text(case, choice, candidates, ui)
        };
        weighed.iter().map(one).collect::<Vec<_>>().join("\n\n")
    })
}

fn chosen(choice: &Choice<'_>) -> Option<String> {
    match choice {
        Choice::One(playbook) => Some(playbook.id.to_string()),
        Choice::None | Choice::Tie(_) => None,
    }
}

fn text(case: &Case, choice: &Choice<'_>, candidates: &[Candidate], ui: &Ui) -> String {
    let mut out = format!("{}\n", ui.paint(Tone::Strong, &case.name));
    ui.labelled(&mut out, 2, "signal", &format!("{} of {}", case.signal.kind, case.signal.subject));
    let fields = case.signal.fields.iter().map(|(name, value)| format!("{name}={value}"));
    let fields: Vec<String> = fields.collect();
    if !fields.is_empty() {
        ui.labelled(&mut out, 2, "fields", &fields.join(", "));
    }
    let answer = match choice {
        Choice::One(playbook) => format!("{} answers it", playbook.id),
        Choice::None if candidates.is_empty() => "no playbook answers this kind of signal".into(),
        Choice::None => "none of them matches, so a person is called".into(),
        Choice::Tie(ids) => {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            format!("{} match equally well, so none is run and a person is called", ids.join(" and "))
        }
    };
    ui.labelled(&mut out, 2, "answer", &answer);
    for candidate in candidates {
        let (glyph, tone) = if candidate.matches { ("✓", Tone::Good) } else { ("✗", Tone::Quiet) };
        out.push_str(&format!(
            "\n  {} {} version {} (priority {})\n",
            ui.paint(tone, glyph),
            candidate.playbook,
            candidate.version,
            candidate.priority
        ));
        for reason in &candidate.reasons {
            ui.hanging(&mut out, 6, 2, if reason.speaks_for { "+" } else { "−" }, &reason.text);
        }
    }
    out
}

fn playbooks(folder: &Path) -> Result<Vec<Playbook>, Failure> {
    let mut playbooks = Vec::new();
    let mut details = Vec::new();
    for file in yaml_files(folder)? {
        match Playbook::parse(&read(&file)?) {
            Ok(playbook) => playbooks.push(playbook),
            Err(findings) => details.extend(at(&file, &findings)),
        }
    }
    if details.is_empty() {
        return Ok(playbooks);
    }
    let mut failure = Failure::failed(format!("the playbooks of {} do not check", folder.display()));
    failure.details = details;
    Err(failure)
}

fn cases(file: &Path) -> Result<Vec<Case>, Failure> {
    Case::parse_all(&read(file)?).map_err(|findings| {
        let mut failure = Failure::failed(format!("the cases of {} do not check", file.display()));
        failure.details = at(file, &findings);
        failure
    })
}

fn at(file: &Path, findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}:{finding}", file.display())).collect()
}

/// Returns the YAML files of a folder by name.
fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("cannot list {}: {e}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
