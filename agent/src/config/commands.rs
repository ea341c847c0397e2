//! Programs that the administrator names for the runner to start: a plan says the name only, the runner takes the
//! rest from here. And of which faults each is the answer.

use super::at::{At, Leaf};
use super::watch::wildcard;
use serde::Deserialize;
use sopwith_domain::playbook::Finding;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{AbsPath, Word};

/// Most things that one command touches.
pub const TOUCHES_MAX: usize = 16;
/// Most words of one command line.
const ARGV_MAX: usize = 64;

/// A program that mends something, as only the host's administrator can know.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorCommand {
    pub name: At<Word>,
    /// Absolute path of a program and its arguments; no shell reads them. The runner starts it, as root.
    pub argv: Vec<At<String>>,
    /// Takes its effect back. Where only files are touched this is not needed: they come back as they were.
    #[serde(default)]
    pub undo_argv: Vec<At<String>>,
    /// Exits with 0 while the effect is there, with 1 while it is not.
    #[serde(default)]
    pub probe_argv: Vec<At<String>>,
    /// Must exit with 0 after it, or all is undone.
    #[serde(default)]
    pub check_argv: Vec<At<String>>,
    /// What it changes: `path:/…`, `unit:…` and so on.
    pub touches: Vec<At<Touched>>,
    /// Beneath which paths it writes besides what it touches. Where this is said, even by an empty list, it can write
    /// nothing else (but scratch files); without it, wherever root may.
    #[serde(default)]
    pub writes: Option<Vec<At<AbsPath>>>,
    /// The faults that it mends: kind and subject, `*` stands for anything, as in `certificate.* path:/etc/tls/*`.
    #[serde(default)]
    pub answers: Vec<At<String>>,
}

/// A subject as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched(pub Subject);

impl Leaf for Touched {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|e: sopwith_domain::ids::InvalidName| e.to_string())
    }
    fn placeholder() -> Self {
        Self(Subject::Host)
    }
}

impl OperatorCommand {
    /// Says whether it mends a fault of this kind and subject.
    pub fn answers(&self, kind: &str, subject: &Subject) -> bool {
        self.answers.iter().any(|entry| {
            let (of, about) = entry.split_once(' ').unwrap_or((entry, "*"));
            wildcard(of, kind) && wildcard(about.trim(), &subject.to_string())
        })
    }
}

/// Adds everything that is wrong.
pub(super) fn findings(commands: &[OperatorCommand], found: &mut Vec<Finding>) {
    super::check::unique(commands.iter().map(|c| &c.name), "commands", found);
    for command in commands {
        let name = &command.name;
        for argv in [&command.argv, &command.undo_argv, &command.probe_argv, &command.check_argv] {
            if argv.len() > ARGV_MAX {
                found.push(name.finding(format!("an argument vector has at most {ARGV_MAX} words")));
            }
            if let Some(program) = argv.first().filter(|program| AbsPath::new(program.as_str()).is_err()) {
                found.push(program.finding("must be the absolute path of a program"));
            }
        }
        if command.argv.is_empty() {
            found.push(name.finding("argv must begin with the absolute path of a program"));
        }
        if command.touches.is_empty() || command.touches.len() > TOUCHES_MAX {
            found.push(name.finding(format!("touches must name 1 to {TOUCHES_MAX} things that it changes")));
        }
        let only_files = command.touches.iter().all(|touched| matches!(touched.0, Subject::Path(_)));
        if command.undo_argv.is_empty() && !only_files {
            found.push(
                name.finding("it touches more than files: say undo_argv, or nothing could be taken back"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn parsed(yaml: &str) -> Result<Config, String> {
        Config::parse(&format!("commands:\n  - {yaml}\n"))
            .map_err(|found| found.iter().map(|f| f.text.clone()).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn commands_can_be_taken_back() {
        for (yaml, says) in [
            ("{name: a, argv: [/bin/true], touches: ['path:/etc/a']}", ""),
            ("{name: a, argv: [/bin/true], undo_argv: [/bin/x], touches: ['unit:a.service']}", ""),
            ("{name: a, argv: [/bin/true], touches: ['unit:a.service']}", "it touches more than files"),
            ("{name: a, argv: [true], touches: ['path:/etc/a']}", "must be the absolute path"),
            ("{name: a, argv: [], touches: ['path:/etc/a']}", "argv must begin"),
            ("{name: a, argv: [/bin/true], touches: []}", "touches must name"),
            ("{name: a, argv: [/bin/true], touches: ['file:/a']}", "host, or unit:"),
        ] {
            let told = parsed(yaml).err().unwrap_or_default();
            assert!(told.contains(says) && told.is_empty() == says.is_empty(), "{yaml}: {told}");
        }
    }

    #[test]
    fn a_command_answers_what_it_says() {
        let yaml = "{name: a, argv: [/bin/true], touches: ['path:/etc/a'], answers: ['certificate.* check:web', 'x.y']}";
        let config = parsed(yaml).expect("it parses");
        for (kind, subject, answers) in [
            ("certificate.expiring", "check:web", true),
            ("certificate.expiring", "check:webmail", false),
            ("check.failed", "check:web", false),
            ("x.y", "host", true),
        ] {
            let subject = subject.parse().expect("a subject");
            assert_eq!(config.commands[0].answers(kind, &subject), answers, "{kind} {subject}");
        }
    }
}
