//! Backups: folders in which archives appear in a rhythm, and repositories of backup programs. Proposed is only what
//! was fresh when it was looked at; of the rest it is said what is missing.

use super::proposal::{Proposal, Section};
use super::root::Root;
use super::yaml::Flow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Folders that hold backups, or folders of backups.
const PLACES: [&str; 8] = [
    "/var/backups",
    "/backup",
    "/backups",
    "/srv",
    "/srv/backup",
    "/srv/backups",
    "/var/lib/backup",
    "/var/lib/pgbackrest",
];
const ARCHIVES: [&str; 11] = [
    ".tar.gz", ".tgz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tar", ".sql.gz", ".sql.zst", ".sql.xz", ".dump",
    ".zip",
];
const HOUR: u64 = 3600;
/// Fewest archives that make a rhythm.
const RHYTHM_MIN: usize = 3;

/// Proposes what was found.
pub(super) fn propose(root: &Root, now: SystemTime, proposal: &mut Proposal) {
    for place in PLACES {
        for path in std::iter::once(place.to_owned())
            .chain(root.list(place).iter().map(|name| format!("{place}/{name}")))
        {
            if !root.is_folder(&path) || (path != place && PLACES.contains(&path.as_str())) {
                continue;
            }
            let has = |name: &str| root.is_there(&format!("{path}/{name}"));
            if has("config") && has("snapshots") && has("keys") {
                restic(root, &path, now, proposal);
            } else if has("config") && has("data") && has("README") {
                borg(&path, proposal);
            } else {
                archives(root, &path, now, proposal);
            }
        }
    }
    pgbackrest(root, now, proposal);
}

/// The archives of one folder, by the pattern that their names have in common.
fn archives(root: &Root, folder: &str, now: SystemTime, proposal: &mut Proposal) {
    let mut sets: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for name in root.list(folder).iter().filter(|name| !name.starts_with('.')) {
        let Some(end) = ARCHIVES.iter().find(|end| name.ends_with(**end)) else { continue };
        let Some(metadata) = root.metadata(&format!("{folder}/{name}")).filter(std::fs::Metadata::is_file)
        else {
            continue;
        };
        let age = metadata.modified().ok().and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
        let stem = &name[..name.len() - end.len()];
        let head = stem.find(|c: char| c.is_ascii_digit()).map_or(stem, |at| &stem[..at]);
        sets.entry(format!("{head}*{end}")).or_default().push(age);
    }
    for (pattern, mut ages) in sets {
        ages.sort();
        let why = match rhythm(&ages) {
            Ok(every) => {
                let name = proposal.name(Section::Backups, pattern.split('*').next().unwrap_or_default());
                let files = Flow::default().text("directory", folder).text("pattern", &pattern);
                let flow = Flow::default()
                    .text("name", &name)
                    .word("every", period(every))
                    .word("grace", period(every / 4));
                let why = format!("{} archives, one about every {}.", ages.len(), period(every));
                proposal.add(Section::Backups, &why, flow.map("files", files).done());
                continue;
            }
            Err(why) => why,
        };
        let files = Flow::default().text("directory", folder).text("pattern", &pattern);
        let line = Flow::default().word("name", "archives").word("every", "1d").map("files", files).done();
        proposal.show(Section::Backups, &format!("Say how often these are made: {why}."), line);
    }
}

/// Returns how often archives of these ages are made, the youngest first, or why that is not known.
fn rhythm(ages: &[Duration]) -> Result<u64, &'static str> {
    if ages.len() < RHYTHM_MIN {
        return Err("there are too few to see it");
    }
    let mut gaps: Vec<u64> = ages.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    gaps.sort_unstable();
    let middle = gaps[gaps.len() / 2];
    if middle < 600 {
        return Err("they were made all at once");
    }
    if gaps.iter().any(|gap| *gap < middle / 2 || *gap > middle * 2) {
        return Err("they have no regular rhythm");
    }
    let near = |whole: &u64| middle.abs_diff(*whole) * 5 <= *whole;
    let every =
        [HOUR, 24 * HOUR, 7 * 24 * HOUR].into_iter().find(near).unwrap_or(middle.div_ceil(HOUR) * HOUR);
    if ages[0].as_secs() > every { Err("the newest is older than their rhythm") } else { Ok(every) }
}

fn period(seconds: u64) -> String {
    match seconds {
        s if s % (24 * HOUR) == 0 => format!("{}d", s / (24 * HOUR)),
        s if s % HOUR == 0 => format!("{}h", s / HOUR),
        s => format!("{}m", s.div_ceil(60)),
    }
}

/// A repository is asked by its program, which wants its password.
fn restic(root: &Root, path: &str, now: SystemTime, proposal: &mut Proposal) {
    let mut ages: Vec<_> = root
        .list(&format!("{path}/snapshots"))
        .iter()
        .filter_map(|name| root.metadata(&format!("{path}/snapshots/{name}"))?.modified().ok())
        .map(|at| now.duration_since(at).unwrap_or_default())
        .collect();
    ages.sort();
    let every = rhythm(&ages).map_or_else(|_| "1d".into(), period);
    let password =
        ["/etc/restic.password", "/etc/restic/password", "/root/.restic-password", "/etc/restic-password"];
    let password = password.into_iter().find(|file| root.is_there(file));
    let name = proposal.name(Section::Backups, path.rsplit('/').next().unwrap_or_default());
    let probe = Flow::default().text("repository", path);
    let probe = probe.text("password_file", password.unwrap_or("/etc/restic.password"));
    let line = Flow::default().text("name", &name).word("every", every).map("restic", probe).done();
    match (password, rhythm(&ages)) {
        (Some(_), Ok(_)) => {
            proposal.add(
                Section::Backups,
                "A restic repository whose snapshots are regular and fresh.",
                line,
            );
        }
        (None, _) => {
            proposal.show(Section::Backups, "A restic repository; say which file holds its password:", line);
        }
        (_, Err(why)) => {
            proposal.show(Section::Backups, &format!("A restic repository; say how often: {why}."), line);
        }
    }
}

fn borg(path: &str, proposal: &mut Proposal) {
    let name = proposal.name(Section::Backups, path.rsplit('/').next().unwrap_or_default());
    let probe = Flow::default().text("repository", path).word("passphrase_file", "/etc/borg.passphrase");
    let line = Flow::default().text("name", &name).word("every", "1d").map("borg", probe).done();
    let why = "A borg repository; say which file holds its passphrase, and how often it is written:";
    proposal.show(Section::Backups, why, line);
}

fn pgbackrest(root: &Root, now: SystemTime, proposal: &mut Proposal) {
    for config in ["/etc/pgbackrest.conf", "/etc/pgbackrest/pgbackrest.conf"] {
        let Some(text) = root.read(config) else { continue };
        let repository =
            text.lines().find_map(|l| l.trim().strip_prefix("repo1-path")?.trim_start().strip_prefix('='));
        let repository = repository.map_or("/var/lib/pgbackrest", str::trim);
        let sections = text.lines().filter_map(|line| line.trim().strip_prefix('[')?.strip_suffix(']'));
        for stanza in sections.filter(|name| !name.starts_with("global")) {
            let folder = format!("{repository}/backup/{stanza}");
            let made =
                root.list(&folder).into_iter().filter(|name| name.len() > 15 && name.as_bytes()[8] == b'-');
            let ages = made.filter_map(|name| root.metadata(&format!("{folder}/{name}"))?.modified().ok());
            let mut ages: Vec<_> = ages.map(|at| now.duration_since(at).unwrap_or_default()).collect();
            ages.sort();
            let name = proposal.name(Section::Backups, &format!("pgbackrest-{stanza}"));
            let probe = Flow::default().text("stanza", stanza).text("config", config);
            let every = rhythm(&ages).map_or_else(|_| "1d".into(), period);
            let line =
                Flow::default().text("name", &name).word("every", every).map("pgbackrest", probe).done();
            match rhythm(&ages) {
                Ok(_) => proposal.add(
                    Section::Backups,
                    &format!("A stanza of {config} with regular backups."),
                    line,
                ),
                Err(why) => {
                    proposal.show(
                        Section::Backups,
                        &format!("A stanza of {config}; say how often: {why}."),
                        line,
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rhythms() {
        for (hours, every) in [
            (vec![1, 25, 49], Some("1d")),
            (vec![1, 25, 50, 73], Some("1d")),
            (vec![0, 1, 2, 3], Some("1h")),
            (vec![20, 188, 356], Some("7d")),
            (vec![2, 8, 14], Some("6h")),
            (vec![30, 54, 78], None),
            (vec![1, 25], None),
            (vec![1, 2, 49, 50, 200], None),
            (vec![1, 1, 1], None),
            (vec![], None),
        ] {
            let ages: Vec<_> = hours.iter().map(|h| Duration::from_secs(h * HOUR)).collect();
            assert_eq!(rhythm(&ages).ok().map(period).as_deref(), every, "{hours:?}");
        }
    }
}
