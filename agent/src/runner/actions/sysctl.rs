//! `sysctl.set`: gives a setting of the running kernel another value, read back and compared. Nothing is written to
//! `/etc`: that the value stays after a restart is another step's.
//!
//! Some settings set others: `net.ipv4.ip_forward` sets the forwarding of every interface. Those are captured too,
//! and put back where they differ from what they were. A setting that somebody changed since is left alone.

use super::act::{Act, At};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::{Word, Words};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

const ROOT: &str = "/proc/sys";
/// Longest value of a setting that is read, in bytes.
const VALUE_BYTES_MAX: usize = 4096;
/// Settings that set those of every interface, and the folder and names of what they set.
const SPREADING: [(&str, &str, &[&str]); 3] = [
    ("net/ipv4/ip_forward", "net/ipv4/conf", &["forwarding", "accept_redirects"]),
    ("net/ipv4/conf/all/forwarding", "net/ipv4/conf", &["forwarding", "accept_redirects"]),
    ("net/ipv6/conf/all/forwarding", "net/ipv6/conf", &["forwarding"]),
];

/// What was so before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    value: String,
    /// What else the setting sets, by its path below `/proc/sys`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spread: Vec<(String, String)>,
}

/// Returns the path of a setting below `/proc/sys`. As sysctl has it, the first separator that occurs is that of
/// folders; the other one belongs to names (`net/ipv4/conf/eth0.7/forwarding`).
fn inner(key: &Word) -> Result<String, String> {
    let text = key.as_str();
    let slashes = text.find('/').is_some_and(|slash| text.find('.').is_none_or(|dot| slash < dot));
    let inner = if slashes {
        text.to_owned()
    } else {
        text.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    };
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if inner.split('/').all(plain) { Ok(inner) } else { Err(format!("{key} is no name of a setting")) }
}

fn path(inner: &str) -> PathBuf {
    Path::new(ROOT).join(inner)
}

fn read(inner: &str) -> Result<String, String> {
    let failed = |e: &dyn std::fmt::Display| format!("failed to read the setting {inner}: {e}");
    let path = path(inner);
    // Nothing below /proc/sys is a link; one that is leads elsewhere.
    let kind = fs::symlink_metadata(&path).map_err(|e| failed(&e))?;
    if !kind.is_file() {
        return Err(failed(&"it is no setting"));
    }
    let text = fs::read_to_string(&path).map_err(|e| failed(&e))?;
    if text.len() > VALUE_BYTES_MAX {
        return Err(failed(&"its value is too long to be kept"));
    }
    Ok(text.trim_end_matches('\n').to_owned())
}

fn write(inner: &str, value: &str) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("failed to set {inner}: {e}");
    let mut file = OpenOptions::new().write(true).open(path(inner)).map_err(failed)?;
    // In one write: the kernel takes each as a value of its own.
    file.write_all(format!("{value}\n").as_bytes()).map_err(failed)
}

/// Says whether two texts are the same value; the kernel puts tabs between numbers.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

/// Returns the value that a setting has now, with single spaces.
pub fn now(key: &Word) -> Result<String, String> {
    Ok(read(&inner(key)?)?.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Says whether a setting has this value.
pub fn is(key: &Word, value: &Words) -> Result<(), String> {
    let now = now(key)?;
    if same(&now, value.as_str()) { Ok(()) } else { Err(format!("it is {now}")) }
}

fn spread(inner: &str) -> Vec<(String, String)> {
    let Some((_, folder, names)) = SPREADING.iter().find(|(setting, ..)| *setting == inner) else {
        return Vec::new();
    };
    let interfaces = fs::read_dir(path(folder)).into_iter().flatten().flatten();
    let mut found: Vec<_> = interfaces
        .filter_map(|entry| entry.file_name().into_string().ok())
        .flat_map(|interface| names.iter().map(move |name| format!("{folder}/{interface}/{name}")))
        .filter(|path| path != inner)
        .filter_map(|path| read(&path).ok().map(|value| (path, value)))
        .collect();
    found.sort();
    found
}

pub fn capture(key: &Word) -> Result<Prior, String> {
    let inner = inner(key)?;
    Ok(Prior { value: read(&inner)?, spread: spread(&inner) })
}

pub fn perform(key: &Word, value: &Words, prior: &Prior) -> Result<String, String> {
    let inner = inner(key)?;
    if same(&prior.value, value.as_str()) {
        return Ok(format!("{key} is {value} already"));
    }
    write(&inner, value.as_str())?;
    let landed = read(&inner)?;
    if !same(&landed, value.as_str()) {
        // What the kernel makes of it is neither the old value nor the wanted one, so no undo would know it.
        restore(&inner, prior)?;
        return Err(format!("the kernel made {landed} of {value}; {key} is {} again", prior.value));
    }
    Ok(format!("{key} was {} and is {value}", prior.value.replace('\t', " ")))
}

pub fn probe(key: &Word, value: &Words, prior: &Prior) -> Effect {
    let now = inner(key).and_then(|inner| read(&inner));
    match now {
        Err(detail) => Effect::Unknown { detail },
        Ok(now) if same(&now, &prior.value) => Effect::None { detail: format!("{key} is {now} as before") },
        Ok(now) if same(&now, value.as_str()) => Effect::Took { detail: format!("{key} is {now}") },
        Ok(now) => Effect::Unknown { detail: format!("{key} is {now}, which somebody else set") },
    }
}

pub fn undo(key: &Word, value: &Words, prior: &Prior) -> Result<String, String> {
    let inner = inner(key)?;
    let now = read(&inner)?;
    if !same(&now, &prior.value) && !same(&now, value.as_str()) {
        return Err(format!("{key} is {now}, which somebody else set since; it was {}", prior.value));
    }
    restore(&inner, prior)?;
    Ok(format!("{key} is {} again", prior.value.replace('\t', " ")))
}

fn restore(inner: &str, prior: &Prior) -> Result<(), String> {
    if !same(&read(inner)?, &prior.value) {
        write(inner, &prior.value)?;
    }
    for (other, value) in &prior.spread {
        // An interface that is gone takes its settings with it.
        if read(other).is_ok_and(|now| !same(&now, value)) {
            write(other, value)?;
        }
    }
    Ok(())
}

/// Which setting gets which value.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    pub key: &'a Word,
    pub value: &'a Words,
}

impl Act for Set<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let prior = capture(self.key)?;
        let now = prior.value.replace('\t', " ");
        Ok(match same(&now, self.value.as_str()) {
            true => format!("nothing: {} is {now} already", self.key),
            false => format!("{} would be {}; it is {now}", self.key, self.value),
        })
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        capture(self.key)
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(self.key, self.value, prior)
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(self.key, self.value, prior))
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(self.key, self.value, prior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_settings() {
        for (key, is) in [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/conf/eth0.7/forwarding", Some("net/ipv4/conf/eth0.7/forwarding")),
            ("net.ipv4.conf.eth0/7.forwarding", Some("net/ipv4/conf/eth0.7/forwarding")),
            ("kernel.pid_max", Some("kernel/pid_max")),
            ("/etc/passwd", None),
            ("net..ipv4", None),
            ("../../etc/passwd", None),
            ("net/../../etc", None),
            ("net.", None),
        ] {
            let word = Word::new(key).expect("a word");
            assert_eq!(inner(&word).ok().as_deref(), is, "{key}");
        }
        assert!(same("32768\t60999", "32768 60999") && !same("1", "10") && !same("1 2", "12"));
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for key in ["kernel", "net/ipv4", "kernel.nothing_of_the_kind"] {
            assert!(capture(&Word::new(key).expect("a word")).is_err(), "{key}");
        }
    }
}
