//! `sopwith-agent norms`: shows every breach of every norm at once, or prints a baseline of files as they are now.

use super::ask::Answers;
use super::host::{self, Looked};
use super::{All, Looking, baseline};
use crate::config::{Config, Watch};
use crate::watcher::sources::norms::norm::Breach;
use serde::Serialize;
use sopwith_domain::signal::Severity;
use sopwith_protocol::plain::{misleading, visible};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What may be said to the command.
#[derive(clap::Args, Debug)]
pub struct NormsArguments {
    /// Print JSON, one document.
    #[arg(long)]
    json: bool,
    /// Print a baseline of these files as they are now, in place of breaches.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    make_baseline: Vec<PathBuf>,
}

/// One breach, for programs. Fields are only ever added.
#[derive(Serialize)]
struct Line {
    norm: &'static str,
    kind: &'static str,
    severity: Severity,
    subject: String,
    summary: String,
    fields: BTreeMap<&'static str, String>,
    reference: &'static str,
    why: &'static str,
}

#[derive(Serialize)]
struct Document {
    breaches: Vec<Line>,
    /// What could not be looked at, and why.
    troubles: Vec<String>,
}

/// Looks at all norms and prints what was found; fails where there is anything.
pub fn command(config: &Path, arguments: &NormsArguments) -> ExitCode {
    if !arguments.make_baseline.is_empty() {
        return make_baseline(&arguments.make_baseline);
    }
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    let all = match look(config) {
        Ok(all) => all,
        Err(e) => {
            eprintln!("failed to look at the norms: {e}");
            return ExitCode::FAILURE;
        }
    };
    let document = document(all);
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&document).expect("it has string keys and no floats") + "\n",
        false => visible(&text(&document)).into_owned(),
    };
    print!("{text}");
    if document.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn look(mut config: Config) -> std::io::Result<All> {
    // Who asks wants to see all of them, whatever is watched.
    if config.norms.watch == Watch::None {
        config.norms.watch = Watch::All;
    }
    let mut looking = Looking::new(&config);
    looking.elsewhere = std::sync::Arc::default();
    let running = host::daemons();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut answers = Answers::default();
    runtime.block_on(answers.refresh(config.norms.programs_every.0, &running));
    Ok(looking.look(Path::new("/"), &answers.all, &running))
}

fn document(all: All) -> Document {
    let mut document = Document { breaches: Vec::new(), troubles: Vec::new() };
    for (part, Looked { breaches, troubles, later }) in all {
        document.breaches.extend(breaches.into_iter().map(line));
        document.troubles.extend(troubles.into_iter().map(|trouble| format!("{part}: {trouble}")));
        document.troubles.extend(later.map(|reason| format!("{part}: {reason}; ask again later")));
    }
    document.breaches.sort_by(|a, b| (b.severity, a.norm, &a.subject).cmp(&(a.severity, b.norm, &b.subject)));
    document
}

fn line(breach: Breach) -> Line {
    Line {
        norm: breach.norm.id,
        kind: breach.norm.kind,
        severity: breach.severity,
        subject: breach.subject.to_string(),
        summary: breach.summary,
        fields: breach.fields.iter().map(|(name, value)| (*name, value.to_string())).collect(),
        reference: breach.norm.reference,
        why: breach.norm.why,
    }
}

fn text(document: &Document) -> String {
    let mut out = String::new();
    for breach in &document.breaches {
        let severity = match breach.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Information => "information",
        };
        out.push_str(&format!(
            "{severity:<11}  {}  ({}, {})\n",
            breach.summary, breach.norm, breach.reference
        ));
        out.push_str(&format!("{:<11}  {}\n", "", breach.why));
    }
    for trouble in &document.troubles {
        out.push_str(&format!("not seen     {trouble}\n"));
    }
    if document.breaches.is_empty() {
        out.push_str("no norm is broken\n");
    }
    out
}

fn make_baseline(paths: &[PathBuf]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    println!("# SHA256 OWNER GROUP MODE PATH; - is not declared, absent must not be there");
    for path in paths {
        // A name that holds the end of a line would make two of it.
        let text = path.to_str().filter(|path| !path.contains(|c| c == '\n' || misleading(c)));
        let line = text.ok_or_else(|| std::io::Error::other("its name is no plain text"));
        match line.and_then(|path| baseline::line(Path::new("/"), path)) {
            Ok(line) => println!("{line}"),
            Err(e) => {
                eprintln!("failed to read {}: {e}", visible(&path.to_string_lossy()));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::super::norm;
    use super::*;

    #[test]
    fn people_read_what_is_wrong_the_worst_first() {
        let mut all = All::new();
        let stale = Breach::new(
            norm::ACCOUNT_STALE,
            norm::account("bob"),
            "nobody has logged in as bob for 120 days",
        );
        let zero = Breach::new(norm::UID_ZERO, norm::account("toor"), "account toor has UID 0")
            .word("account", "toor");
        all.insert("accounts", Looked { breaches: vec![stale, zero], ..Looked::default() });
        all.insert("sshd", Looked { troubles: vec!["sshd did not answer".into()], ..Looked::default() });
        let document = document(all);
        let expected = "\
critical     account toor has UID 0  (account-uid-zero, CIS-5.4.2.1)
             Whoever has UID 0 is root under another name, and is overlooked where only root is watched.
warning      nobody has logged in as bob for 120 days  (account-stale, CIS-5.4.1.5)
             An account that nobody uses is noticed by nobody when somebody else does.
not seen     sshd: sshd did not answer
";
        assert_eq!(text(&document), expected);
        let json = serde_json::to_string(&document).expect("it is written");
        assert!(
            json.contains(r#""kind":"account.uid-zero","severity":"critical","subject":"account:toor""#),
            "{json}"
        );
    }
}
