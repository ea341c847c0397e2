//! `look.*`: what a person would look at first on a host that he was called to, read from the kernel and systemd, and
//! for a journal by its own program. Each only looks: to foresee it is to do it, and nothing is there to be undone.

mod filesystem;
mod network;
mod processes;
mod unit;

use super::act::{Act, At};
use crate::runner::profiles;
use sopwith_domain::action::Action;
use sopwith_domain::run::Effect;
use sopwith_domain::value::UnitName;

/// Most lines of a list, whatever a playbook says.
const LINES_MAX: usize = 50;
/// How long the journal's program may take, in milliseconds.
const JOURNAL_MS_MAX: i64 = 10_000;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a>(pub &'a Action);

/// Says whether it starts a program, which is held by its own confinement.
pub fn starts_program(action: &Action) -> bool {
    matches!(action, Action::LookJournal { .. })
}

fn lines(wanted: u32) -> usize {
    usize::try_from(wanted).unwrap_or(LINES_MAX).clamp(1, LINES_MAX)
}

/// Makes text that others wrote harmless to show: it keeps its lines and loses what a terminal obeys.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

/// Returns a number of bytes for people.
fn bytes(count: u64) -> String {
    match count {
        0..1_048_576 => format!("{} KiB", count / 1024),
        1_048_576..10_737_418_240 => format!("{} MiB", count / 1_048_576),
        _ => format!("{} GiB", count / 1_073_741_824),
    }
}

fn journal(at: &At<'_>, unit: &UnitName, count: u32) -> Result<String, String> {
    let (count, unit) = (lines(count).to_string(), format!("--unit={unit}"));
    let argv =
        ["/usr/bin/journalctl", &unit, "--lines", &count, "--output=short-iso", "--no-pager", "--quiet"];
    let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
    let report = at.bench.programs.run(&profiles::journal(), &argv, JOURNAL_MS_MAX, None)?;
    let text = report.output.trim();
    match (text.is_empty(), &report.ending) {
        (false, _) => Ok(text.to_owned()),
        (true, crate::runner::Ending::Exited(0)) => Ok("the journal holds nothing of it".into()),
        (true, ending) => Err(format!("journalctl ended as {ending:?} and said nothing")),
    }
}

impl Look<'_> {
    fn seen(&self, at: &mut At<'_>) -> Result<String, String> {
        let text = match self.0 {
            Action::LookProcesses { by, most } => processes::most(*by, lines(*most)),
            Action::LookUnit { unit } => unit::look(&mut at.bench.systemd, unit),
            Action::LookJournal { unit, lines } => journal(at, unit, *lines),
            Action::LookFilesystem { path, most } => filesystem::fills(path, lines(*most)),
            Action::LookNetwork { most } => Ok(network::look(lines(*most))),
            other => Err(format!("{} does more than look", other.name())),
        };
        text.map(|text| plain(&text))
    }
}

impl Act for Look<'_> {
    type Prior = ();

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        self.seen(at)
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<(), String> {
        Ok(())
    }

    fn perform(&self, at: &mut At<'_>, _prior: &()) -> Result<String, String> {
        self.seen(at)
    }

    fn probe(&self, _at: &mut At<'_>, _prior: &()) -> Result<Effect, String> {
        Ok(Effect::None { detail: "it only looks".into() })
    }

    fn undo(&self, _at: &mut At<'_>, _prior: &()) -> Result<String, String> {
        Ok("nothing was changed".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_keeps_its_lines_and_nothing_that_a_terminal_obeys() {
        assert_eq!(plain("a\x1b[2Jb\r\nc\0d"), "a?[2Jb?\nc?d");
        assert_eq!((lines(0), lines(7), lines(4000)), (1, 7, LINES_MAX));
        assert_eq!(
            (bytes(2048), bytes(3 << 20), bytes(40 << 30)),
            ("2 KiB".into(), "3 MiB".into(), "40 GiB".into())
        );
    }
}
