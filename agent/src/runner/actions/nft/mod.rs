//! `nft.add-element`, `nft.delete-element`, `nft.delete-rule`: one address or one rule of the host's packet filter. Each
//! change is one command in nft's JSON, so that nothing is ever part of its language as text; the rest of the ruleset
//! is not touched, and never flushed.

pub mod blocking;
pub mod element;
pub mod rule;

use super::act::At;
use super::quarantine::Quarantine;
use super::tool;
use super::{Programs, command};
use crate::runner::profiles;
use serde_json::{Value as Json, json};
use sopwith_domain::action::NftFamily;
use sopwith_domain::run::StepContext;
use sopwith_domain::value::Word;
use std::io::Write;
use std::path::Path;

const NFT: &str = "/usr/sbin/nft";
/// Name of the command in the step's folder.
const COMMAND: &str = "nft.json";

/// What a change needs besides its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Hands<'a> {
    pub quarantine: &'a Quarantine,
    pub programs: &'a Programs,
    pub step: StepContext<'a>,
    /// Held as long as anything of a change that was begun lives.
    pub lock: &'a Path,
}

impl<'a> Hands<'a> {
    fn of(at: &'a At<'_>, lock: &'a Path) -> Self {
        Self { quarantine: &at.bench.quarantine, programs: &at.bench.programs, step: at.step, lock }
    }
}

/// Asks nft to list something; nothing where it is not there.
fn list(what: &[&str]) -> Result<Option<Vec<Json>>, String> {
    // The elements of a named set are wanted only where the set is asked for.
    let terse: &[&str] = if what.first() == Some(&"set") { &[] } else { &["-t"] };
    let answer = tool::ask(&profiles::packet_filter(), &[&[NFT, "-j"], terse, &["list"], what].concat())?;
    if answer.code != Some(0) {
        let complaint = answer.complaint();
        return match complaint.contains("No such file or directory") {
            true => Ok(None),
            false => Err(format!("nft does not list {}: {complaint}", what.join(" "))),
        };
    }
    let read: Json =
        serde_json::from_slice(&answer.out).map_err(|e| format!("nft's answer cannot be read: {e}"))?;
    match read.get("nftables").and_then(Json::as_array) {
        Some(objects) => Ok(Some(objects.clone())),
        None => Err("nft's answer holds no ruleset".into()),
    }
}

/// Gives nft one command; with `only_check`, it looks whether it could be done.
fn change(hands: Hands<'_>, command: &Json, only_check: bool) -> Result<(), String> {
    let whole = json!({ "nftables": [command] });
    let place = hands.quarantine.place(hands.step, COMMAND)?;
    place.remove()?;
    let mut file = place.create()?;
    file.write_all(whole.to_string().as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|e| place.failed("write", e))?;
    let path = hands.quarantine.folder(hands.step).join(COMMAND);
    let path = path.to_str().ok_or("the path of quarantine is no text")?;
    let mut argv = vec![NFT, "-j", "-f", path];
    if only_check {
        argv.insert(1, "-c");
        let answer = tool::ask(&profiles::packet_filter(), &argv)?;
        return match answer.code {
            Some(0) => Ok(()),
            _ => Err(format!("nft refuses it: {}", answer.complaint())),
        };
    }
    let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
    let report = hands.programs.run(
        &profiles::packet_filter(),
        &argv,
        hands.step.step.timeout_ms,
        Some(hands.lock),
    )?;
    match command::fault(&report) {
        None => Ok(()),
        Some(how) => Err(format!("nft: {how}: {}", report.output.lines().next().unwrap_or_default().trim())),
    }
}

/// Says whether a word can be the name of a table, chain or set; nft reads the words of a list as its language.
fn named(words: &[&Word]) -> Result<(), String> {
    let plain = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    match words.iter().find(|word| !plain(word.as_str())) {
        Some(word) => Err(format!("{word} is no name that nft knows")),
        None => Ok(()),
    }
}

fn of<'a>(objects: &'a [Json], kind: &str) -> impl Iterator<Item = &'a Json> {
    objects.iter().filter_map(move |object| object.get(kind))
}

fn word(family: NftFamily) -> &'static str {
    family.as_str()
}
