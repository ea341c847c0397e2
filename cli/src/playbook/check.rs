//! `playbook check`: all findings of all files, each as `file:line:column: what`, as compilers print them.

use super::read;
use crate::failure::Failure;
use crate::ui::{Tone, Ui};
use crate::words;
use clap::Args;
use serde_json::json;
use sopwith_domain::playbook::{Finding, Playbook};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = "\
It needs no server. The exit code is 1 if there is a finding.

Example:
  sopwith playbook check playbooks/*.yaml")]
pub struct Check {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Checks files one by one and together.
pub fn check(args: Check, ui: &Ui) -> Result<(), Failure> {
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut report = Vec::new();
    let mut lines = Vec::new();
    let mut bad = 0;
    for path in &args.files {
        let name = path.display().to_string();
        let findings = match read(path) {
            Err(failure) => vec![Finding { line: 0, column: 0, text: failure.text }],
            Ok(text) => match Playbook::parse(&text) {
                Err(findings) => findings,
                Ok(playbook) => {
                    lines.push(format!(
                        "{} {name}: {} version {}, {}",
                        ui.paint(Tone::Good, "✓"),
                        playbook.id,
                        playbook.version,
                        words::count(playbook.steps.len() as u64, "step")
                    ));
                    let other = seen.insert(playbook.id.to_string(), path.clone());
                    twice(&playbook, other.as_deref()).into_iter().collect()
                }
            },
        };
        bad += findings.len();
        lines.extend(findings.iter().map(|f| format!("{name}:{}:{}: {}", f.line, f.column, f.text)));
        report.push(json!({"file": name, "findings": findings}));
    }
    ui.show(&report, || {
        let files = args.files.len();
        let files = words::count(files as u64, "file");
        let end = match bad {
            0 => format!("{files} checked, no findings"),
            _ => format!("{} in {files}", words::count(bad as u64, "finding")),
        };
        format!("{}\n{end}", lines.join("\n"))
    })?;
    if bad > 0 { Err(Failure::told()) } else { Ok(()) }
}

/// Finds a second file with the same id: which of both would be installed is chance.
fn twice(playbook: &Playbook, other: Option<&std::path::Path>) -> Option<Finding> {
    let other = other?;
    let text = format!("{} is also the id of {}", playbook.id, other.display());
    Some(Finding { line: 1, column: 1, text })
}
