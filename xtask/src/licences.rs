//! `cargo xtask licences`: the rules of deny.toml on licences, bans and sources, checked without cargo-deny.
//!
//! Reads only the three lists that our deny.toml holds; where cargo-deny is installed, it is the judge.

use std::fs;

use serde_json::Value;

use crate::cargo::{cargo, root};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub fn run(_: &[String]) -> Result<(), String> {
    let path = root().join("deny.toml");
    let text = fs::read_to_string(&path).map_err(|e| format!("failed to read {}: {e}", path.display()))?;
    let rules = Rules::parse(&text)?;
    let out = cargo(&["metadata", "--format-version=1", "--locked", "--filter-platform", &host()?])
        .output()
        .map_err(|e| format!("failed to start cargo metadata: {e}"))?;
    if !out.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr)));
    }
    let metadata: Value = serde_json::from_slice(&out.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let found = rules.findings(&metadata);
    let count = metadata["resolve"]["nodes"].as_array().map_or(0, Vec::len);
    println!("{count} crates checked: {} findings", found.len());
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

fn host() -> Result<String, String> {
    let out = std::process::Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|e| format!("failed to start rustc: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .ok_or("rustc names no host".into())
}

/// What deny.toml allows and forbids.
#[derive(Debug, PartialEq, Eq)]
struct Rules {
    allowed: Vec<String>,
    banned: Vec<String>,
}

impl Rules {
    fn parse(text: &str) -> Result<Rules, String> {
        let allowed = quoted(&list(text, "licenses", "allow")?);
        let banned = list(text, "bans", "deny")?
            .split("crate = ")
            .skip(1)
            .filter_map(|rest| quoted(rest).into_iter().next())
            .collect();
        if allowed.is_empty() {
            return Err("deny.toml allows no licence".into());
        }
        Ok(Rules { allowed, banned })
    }

    /// Lists what is wrong with the crates that are really built.
    fn findings(&self, metadata: &Value) -> Vec<String> {
        let empty = Vec::new();
        let nodes = metadata["resolve"]["nodes"].as_array().unwrap_or(&empty);
        let used: Vec<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
        let mut found = Vec::new();
        for package in metadata["packages"].as_array().unwrap_or(&empty) {
            let id = package["id"].as_str().unwrap_or_default();
            if used.contains(&id) {
                self.look_at(package, &mut found);
            }
        }
        found
    }

    fn look_at(&self, package: &Value, found: &mut Vec<String>) {
        let name = package["name"].as_str().unwrap_or("a crate without a name");
        let licence = package["license"].as_str().unwrap_or_default();
        if !allows(licence, &self.allowed) {
            found.push(format!("{name}: licence {licence:?} is not allowed"));
        }
        if self.banned.iter().any(|banned| banned == name) {
            found.push(format!("{name}: is banned"));
        }
        match package["source"].as_str() {
            None | Some(CRATES_IO) => {}
            Some(other) => found.push(format!("{name}: comes from {other}")),
        }
    }
}

/// Returns the text between the brackets of `key = [ … ]` in a section, without comments.
fn list(text: &str, section: &str, key: &str) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    let head = format!("[{section}]");
    let body: Vec<&str> = lines
        .iter()
        .copied()
        .skip_while(|line| line.trim() != head)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect();
    let body = body.join("\n");
    let opening = format!("{key} = [");
    let from = body.find(&opening).ok_or(format!("deny.toml: [{section}] holds no {key}"))? + opening.len();
    let to = body[from..].find("\n]").or_else(|| body[from..].find(']'));
    to.map(|to| body[from..from + to].to_owned())
        .ok_or(format!("deny.toml: {key} of [{section}] does not end"))
}

fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Evaluates an SPDX expression: OR needs one side, AND both; `/` is an old way to write OR.
fn allows(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = either(&mut words, allowed);
    verdict == Some(true) && words.peek().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut verdict = both(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        let right = both(words, allowed)?;
        verdict |= right;
    }
    Some(verdict)
}

fn both(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut verdict = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        let right = one(words, allowed)?;
        verdict &= right;
    }
    Some(verdict)
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    match words.next()? {
        "(" => {
            let verdict = either(words, allowed)?;
            words.next_if_eq(&")").map(|_| verdict)
        }
        ")" | "AND" | "OR" | "WITH" => None,
        name => {
            let whole = match words.next_if_eq(&"WITH") {
                Some(_) => format!("{name} WITH {}", words.next()?),
                None => name.to_owned(),
            };
            Some(allowed.contains(&whole))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[licenses]\nallow = [\n  \"MIT\", # a reason with \"quotes\"\n  \"Apache-2.0\",\n]\n\n[bans]\ndeny = [\n  { crate = \"openssl-sys\", reason = \"[no] C\" },\n]\n";

    #[test]
    fn reads_the_lists_of_deny_toml() {
        let rules = Rules::parse(TEXT).expect("valid");
        assert_eq!(rules.allowed, ["MIT", "Apache-2.0"]);
        assert_eq!(rules.banned, ["openssl-sys"]);
        assert!(Rules::parse("[bans]\n").expect_err("no list").contains("licenses"));
        let shipped = include_str!("../../deny.toml");
        assert!(Rules::parse(shipped).expect("the shipped file").banned.contains(&"openssl-sys".to_owned()));
    }

    #[test]
    fn an_expression_needs_what_it_says() {
        let allowed =
            ["MIT".to_owned(), "Apache-2.0".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        let cases = [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(GPL-3.0 OR MIT) AND Apache-2.0", true),
            ("GPL-3.0 OR (MIT AND BSD-3-Clause)", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("GPL-2.0 WITH Classpath-exception-2.0", false),
            ("", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT MIT", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(allows(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn only_crates_that_are_built_count() {
        let rules = Rules::parse(TEXT).expect("valid");
        let package = |name: &str, licence: &str, source: Value| serde_json::json!({"id": name, "name": name, "license": licence, "source": source});
        let metadata = serde_json::json!({
            "packages": [
                package("good", "MIT", CRATES_IO.into()),
                package("ours", "Apache-2.0", Value::Null),
                package("copyleft", "GPL-3.0", CRATES_IO.into()),
                package("openssl-sys", "MIT", CRATES_IO.into()),
                package("elsewhere", "MIT", "git+https://example.org/x".into()),
                package("unused", "GPL-3.0", CRATES_IO.into()),
            ],
            "resolve": {"nodes": [{"id": "good"}, {"id": "ours"}, {"id": "copyleft"}, {"id": "openssl-sys"}, {"id": "elsewhere"}]},
        });
        let found = rules.findings(&metadata);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("copyleft") && found[1].starts_with("openssl-sys"));
        assert!(found[2].starts_with("elsewhere"));
    }
}
