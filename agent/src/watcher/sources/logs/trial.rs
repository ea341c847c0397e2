//! Asks the rules of a log about files, for whoever writes the rules: what they find, and how long it takes. It reads
//! as the source does, and reports and keeps nothing.

use super::cursor::Cursor;
use super::reader::{Reader, open};
use super::records::Splitter;
use super::rules::Rules;
use super::tracked::{Looked, Manner, Tracked};
use crate::config::{Config, Log};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Lines shown of each rule.
const SHOWN_MAX: usize = 3;

#[derive(Debug, clap::Args)]
pub struct Trial {
    /// Name of the log in the configuration.
    log: String,
    /// Files to read, packed ones too.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Show some of the lines that each rule finds.
    #[arg(long)]
    show: bool,
}

/// What the rules found.
#[derive(Debug, Default)]
struct Found {
    looked: Looked,
    matches: BTreeMap<String, u64>,
    shown: BTreeMap<String, Vec<String>>,
    bytes: u64,
}

/// Says what the rules of a log find in files.
pub fn try_log(config: &Path, trial: &Trial) -> ExitCode {
    let found = Config::load(config).map_err(|e| e.to_string()).and_then(|config| {
        let log = config.logs.iter().find(|log| log.name.as_str() == trial.log);
        find(log.ok_or(format!("failed to find log {} in the configuration", trial.log))?, trial)
    });
    match found {
        Ok(found) => {
            print!("{}", sopwith_protocol::plain::visible(&text(&found)));
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn find(log: &Log, trial: &Trial) -> Result<Found, String> {
    let splitter = log.record.as_ref().map(Splitter::new).transpose()?.flatten();
    let mut rules = Rules::new(log.effective(), splitter.is_some())?;
    // The time of whoever asks here is his own.
    rules.unbounded();
    let manner = Manner { encoding: *log.encoding, splitter };
    let names: Vec<String> = rules.all().iter().map(|rule| rule.name.to_string()).collect();
    let mut found =
        Found { matches: names.iter().map(|name| (name.clone(), 0)).collect(), ..Found::default() };
    for path in &trial.files {
        let failed = |e: std::io::Error| format!("failed to read {}: {e}", path.display());
        let (file, device, inode) = open(path).map_err(failed)?;
        let packed = path.extension().is_some_and(|end| end == "gz");
        let reader = if packed { Reader::unpack(file) } else { Reader::Plain(file) };
        let mut tracked = Tracked::new(reader, Cursor::new(path.clone(), device, inode, 0), 0);
        let mut looked = Looked::default();
        let mut each = |lines: super::tracked::Lines<'_>| {
            rules.find(lines.text, lines.records, 0, &mut |hit| {
                *found.matches.entry(names[hit.rule].clone()).or_default() += u64::from(!hit.unless);
                let shown = found.shown.entry(names[hit.rule].clone()).or_default();
                if trial.show && shown.len() < SHOWN_MAX {
                    shown.push(hit.line);
                }
            });
        };
        loop {
            looked.more = false;
            tracked.read(&manner, 0, &mut looked, &mut each);
            if !looked.more {
                break;
            }
        }
        tracked.end(&manner, &mut looked, &mut each);
        found.bytes += tracked.at.offset;
        found.looked.lines += looked.lines;
        for (gap, count) in looked.gaps {
            *found.looked.gaps.entry(gap).or_default() += count;
        }
    }
    Ok(found)
}

fn text(found: &Found) -> String {
    let width = found.matches.keys().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (name, count) in &found.matches {
        text.push_str(&format!("{name:<width$}  {count}\n"));
        for line in found.shown.get(name).into_iter().flatten() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    for (gap, count) in &found.looked.gaps {
        text.push_str(&format!("not read whole ({}): {count}\n", gap.label()));
    }
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    let megabytes = found.bytes as f64 / 1e6;
    text.push_str(&format!(
        "{} lines, {megabytes:.1} MB, {seconds:.3} s of processor time\n",
        found.looked.lines
    ));
    text
}
