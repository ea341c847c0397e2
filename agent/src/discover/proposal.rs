//! What is proposed, section by section, each item with its reason. An item that the agent itself would not take is
//! left out, and it is said.

use super::yaml::{comment, quoted};
use crate::config::Config;
use sopwith_domain::value::Word;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Most items of one section; more would be no proposal that anybody reads.
const ITEMS_MAX: usize = 300;

/// A place in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Section {
    Packs,
    PacksIgnore,
    Services,
    Mounts,
    Checks,
    Logs,
    Backups,
    Ports,
    Baseline,
    Norms,
}

impl Section {
    /// The lines above the items, and before each item.
    fn head(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Packs => (&["packs:"], "  - "),
            Self::PacksIgnore => (&["packs_ignore:"], "  - "),
            Self::Services => (&["units:", "  services:"], "    "),
            Self::Mounts => (&["filesystems:", "  mounts:"], "    "),
            Self::Checks => (&["checks:"], "  - "),
            Self::Logs => (&["logs:"], "  - "),
            Self::Backups => (&["backups:"], "  - "),
            Self::Ports => (&["kernel:", "  ports:", "    listen:"], "      - "),
            Self::Baseline => (&["baseline:"], "  - "),
            Self::Norms => (&["norms:"], "  "),
        }
    }

    fn text<'a>(self, lines: impl Iterator<Item = &'a str>) -> String {
        let (head, before) = self.head();
        let mut text = head.iter().fold(String::new(), |text, line| text + line + "\n");
        for line in lines {
            _ = writeln!(text, "{before}{line}");
        }
        text
    }
}

#[derive(Debug)]
struct Item {
    why: String,
    line: String,
    /// Whether it is only shown, as a comment.
    shown: bool,
}

/// All that is proposed.
#[derive(Debug, Default)]
pub(super) struct Proposal {
    sections: BTreeMap<Section, Vec<Item>>,
    names: BTreeSet<(Section, String)>,
    notes: Vec<String>,
}

impl Proposal {
    /// Adds an item, with its reason.
    pub(super) fn add(&mut self, section: Section, why: &str, line: String) {
        let items = self.sections.entry(section).or_default();
        if items.len() >= ITEMS_MAX {
            self.notes.push(format!("There is more than is proposed: {why}"));
            return;
        }
        match Config::parse(&section.text(std::iter::once(line.as_str()))) {
            Ok(_) => items.push(Item { why: why.into(), line, shown: false }),
            Err(found) => {
                let finding = found.first().map(|f| f.text.clone()).unwrap_or_default();
                self.notes.push(format!("Left out ({why}): {finding}"));
            }
        }
    }

    /// Adds an item of a mapping, by the host's name for it.
    pub(super) fn add_to(&mut self, section: Section, why: &str, key: &str, value: &str) {
        self.add(section, why, format!("{}: {value}", quoted(key)));
    }

    /// Shows what could be said, where the host alone does not tell enough.
    pub(super) fn show(&mut self, section: Section, why: &str, line: String) {
        let items = self.sections.entry(section).or_default();
        if items.len() < ITEMS_MAX {
            items.push(Item { why: why.into(), line, shown: true });
        }
    }

    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Returns a name for an item that no other of the section has, made of what of the wish may be in one.
    pub(super) fn name(&mut self, section: Section, wish: &str) -> String {
        let fits = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
        let name: String = wish.chars().map(fits).take(100).collect();
        let name = name.trim_matches(['-', '.']);
        let name = if Word::new(name).is_ok() { name } else { "unnamed" };
        let numbered = (1..).map(|n| if n == 1 { name.to_owned() } else { format!("{name}-{n}") });
        let free = numbered.take(ITEMS_MAX * 2).find(|name| !self.names.contains(&(section, name.clone())));
        let free = free.unwrap_or_else(|| name.to_owned());
        self.names.insert((section, free.clone()));
        free
    }

    /// Returns the whole as a file.
    pub(super) fn render(&self, unread: &BTreeMap<String, String>) -> String {
        let mut out = String::from(
            "## Configuration of sopwith-agent, proposed by `sopwith-agent discover` from what it found on this host.\n\
             ## Read it before you use it: it says what runs now, not what should. `sopwith-agent print-default-config`\n\
             ## shows every setting. Units that fail, full file systems and the kernel's events are watched without it.\n",
        );
        for (section, items) in &self.sections {
            out.push('\n');
            let (head, before) = section.head();
            let used = items.iter().any(|item| !item.shown);
            for line in head {
                _ = writeln!(out, "{}{line}", if used { "" } else { "#" });
            }
            for item in items {
                let indent = &before[..before.len() - before.trim_start().len()];
                _ = writeln!(out, "{indent}## {}", comment(&item.why));
                _ = writeln!(out, "{}{before}{}", if item.shown { "#" } else { "" }, item.line);
            }
        }
        for note in &self.notes {
            _ = write!(out, "\n## {}\n", comment(note));
        }
        if !unread.is_empty() {
            out.push_str("\n## What could not be read:\n");
            for (what, why) in unread {
                _ = writeln!(out, "##   {}: {}", comment(what), comment(why));
            }
        }
        out
    }
}
