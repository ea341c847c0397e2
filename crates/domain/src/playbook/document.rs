//! The playbook as a procedure that people read: its parts as sentences, and the whole as Markdown to print or
//! publish. What is shown here is all that the playbook holds; nothing is left out for brevity.

use super::{Answers, CheckTemplate, Parameter, Playbook, Risk, StepTemplate};
use crate::value::{AbsPath, ValueType};
use serde_json::{Map, Value as Json};
use std::fmt::Display;

impl Risk {
    /// Returns who must say yes, in words.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Look => "look: it changes nothing; the policy's rule for diagnosis approves it",
            Self::Auto => "auto: a standing policy may approve it",
            Self::Approval => "approval: people approve each plan",
            Self::Never => "never: it tells people what to do, the machine does nothing",
        }
    }
}

impl Answers {
    /// Returns under which circumstances a signal of the kind is answered.
    pub fn sentence(&self) -> String {
        let mut parts: Vec<String> =
            self.fields.iter().map(|(field, wanted)| format!("{field} is {}", wanted.join(" or "))).collect();
        let unless = self.unless.iter();
        parts.extend(unless.map(|(field, unwanted)| format!("{field} is not {}", unwanted.join(" or "))));
        let host = self.host.iter();
        parts.extend(host.map(|(fact, wanted)| format!("the host's {fact} is {}", wanted.join(" or "))));
        parts.extend(self.at_least.iter().map(|(field, least)| format!("{field} is at least {least}")));
        parts.extend(self.at_most.iter().map(|(field, most)| format!("{field} is not above {most}")));
        parts.extend(self.has.iter().map(|field| format!("it carries {field}")));
        parts.extend(self.lacks.iter().map(|field| format!("it carries no {field}")));
        let when = if parts.is_empty() { "always".into() } else { format!("when {}", parts.join(", ")) };
        if self.priority == 0 { when } else { format!("{when} (priority {})", self.priority) }
    }
}

impl Parameter {
    /// Returns what the parameter is, where it comes from and what bounds it.
    pub fn sentence(&self) -> String {
        let mut parts = vec![type_name(self.value_type)];
        parts.extend(self.from.as_ref().map(|from| format!("from {from}")));
        parts.extend(self.default.as_ref().map(|default| format!("default {default}")));
        if self.min.is_some() || self.max.is_some() {
            let end = |bound: Option<i64>| bound.map_or_else(|| "any".into(), |b| b.to_string());
            parts.push(format!("{} to {}", end(self.min), end(self.max)));
        }
        if !self.within.is_empty() {
            parts.push(format!("within {}", joined(self.within.iter().map(AbsPath::as_str))));
        }
        if !self.not_in.is_empty() {
            parts.push(format!("not in {}", joined(self.not_in.iter())));
        }
        if !self.one_of.is_empty() {
            parts.push(format!("one of {}", joined(self.one_of.iter())));
        }
        if self.optional {
            parts.push("may be missing".into());
        }
        let about = line(&self.about);
        if about.is_empty() { parts.join(", ") } else { format!("{about} ({})", parts.join(", ")) }
    }
}

impl CheckTemplate {
    /// Returns the check with its arguments, as in `unit.active unit=$unit`.
    pub fn call(&self) -> String {
        call(&self.check, &self.with)
    }
}

impl StepTemplate {
    /// Returns the action with its arguments, as in `unit.start unit=$unit`.
    pub fn call(&self) -> String {
        call(&self.action, &self.with)
    }

    /// Says whether the step can be taken back. What exactly it puts back, the plan says.
    pub fn undo_sentence(&self) -> String {
        match &self.irreversible_because {
            Some(because) => format!("cannot be undone; accepted because {}", line(because)),
            None => "what was there before is put back".into(),
        }
    }
}

impl Playbook {
    /// Returns the playbook as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# {}\n\n", line(&self.title));
        out.push_str(&format!("| | |\n|---|---|\n| SOP | `{}` version {} |\n", self.id, self.version));
        out.push_str(&format!("| Risk | {} |\n| Digest | `{}` |\n\n", self.risk.sentence(), self.digest));
        out.push_str(&format!("**Purpose.** {}\n\n**Scope.** {}\n", line(&self.purpose), line(&self.scope)));
        if !self.risk_because.is_empty() {
            out.push_str(&format!("\n**Why this risk.** {}\n", line(&self.risk_because)));
        }
        bullets(&mut out, "Before it", self.preconditions.iter().map(|text| line(text)));
        bullets(&mut out, "Cautions", self.cautions.iter().map(|text| line(text)));
        bullets(&mut out, "Answers", self.answers.iter().map(|a| format!("`{}` {}", a.kind, a.sentence())));
        let parameters = self.parameters.iter().map(|(name, p)| format!("`{name}`: {}", p.sentence()));
        bullets(&mut out, "Parameters", parameters);
        self.steps_markdown(&mut out);
        bullets(&mut out, "It counts as fixed when", self.verify.iter().map(|c| format!("`{}`", c.call())));
        if self.soak_ms > 0 {
            out.push_str(&format!("\nand again after {}.\n", duration(self.soak_ms)));
        }
        let limits = [
            self.limits.attempts_per_day.map(|n| format!("at most {n} automatic tries a day on one fault")),
            self.limits.at_once.map(|n| format!("at most {n} at once")),
        ];
        bullets(&mut out, "Limits", limits.into_iter().flatten());
        let stronger =
            self.stronger.iter().map(|id| format!("`{id}` is proposed next, if this did not help"));
        bullets(&mut out, "The next stronger", stronger);
        out.push_str(&format!("\n## If that does not help\n\n{}\n", line(&self.escalation)));
        out
    }

    fn steps_markdown(&self, out: &mut String) {
        if self.steps.is_empty() {
            return;
        }
        out.push_str("\n## Steps\n");
        for (n, step) in self.steps.iter().enumerate() {
            out.push_str(&format!("\n{}. **{}**\n   - do: `{}`\n", n + 1, line(&step.name), step.call()));
            step.require.iter().for_each(|c| out.push_str(&format!("   - only if: `{}`\n", c.call())));
            step.expect.iter().for_each(|c| out.push_str(&format!("   - then: `{}`\n", c.call())));
            out.push_str(&format!("   - undo: {}\n", step.undo_sentence()));
            out.push_str(&format!("   - at most {}\n", duration(step.timeout_ms)));
        }
    }
}

fn bullets(out: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.map(|item| format!("- {item}\n")).collect();
    if !items.is_empty() {
        out.push_str(&format!("\n## {title}\n\n{}", items.concat()));
    }
}

fn joined(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn type_name(value_type: ValueType) -> String {
    format!("{value_type:?}").to_lowercase()
}

fn duration(ms: i64) -> String {
    match ms / crate::time::SECOND_MS {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

fn call(name: &str, with: &Map<String, Json>) -> String {
    let argument = |json: &Json| match json {
        Json::String(text) => text.clone(),
        Json::Array(items) => {
            let text = |item: &Json| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            items.iter().map(text).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let arguments: Vec<String> = with.iter().map(|(key, json)| format!("{key}={}", argument(json))).collect();
    [vec![name.to_owned()], arguments].concat().join(" ")
}
