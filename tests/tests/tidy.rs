//! The house rules that a machine can hold: who imports whom, how long a file may be, that links resolve, that
//! released binaries hold no switch of the test system.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Past this a file wants to be two things with two names.
const LINES_MAX: usize = 450;

/// Who may import whom among our own crates; imports point one way only.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("sopwith-domain", &[]),
    ("sopwith-journal", &[]),
    ("sopwith-protocol", &["sopwith-domain"]),
    ("sopwith-agent", &["sopwith-domain", "sopwith-journal", "sopwith-protocol"]),
    ("sopwith-server", &["sopwith-domain", "sopwith-journal", "sopwith-protocol"]),
    ("sopwith-cli", &["sopwith-domain", "sopwith-journal", "sopwith-protocol"]),
    ("sopwith-sim", &["sopwith-domain", "sopwith-journal"]),
    ("xtask", &[]),
];

/// What the domain may be built on, and nothing else: no clock, no files, no async.
const DOMAIN_MAY_USE: &[&str] =
    &["chrono", "hex", "regex", "serde", "serde-saphyr", "serde_json", "sha2", "thiserror"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests folder lies in the project")
        .to_path_buf()
}

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON")
}

/// Returns each of our packages with the names of its ordinary dependencies.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let ordinary = package["dependencies"].as_array().expect("dependencies").iter();
            let names = ordinary
                .filter(|d| d["kind"].is_null())
                .map(|d| d["name"].as_str().expect("a name").to_owned())
                .collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}

/// Returns the project's files as git knows them.
fn files() -> Vec<PathBuf> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(out.status.success(), "git ls-files: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("paths are UTF-8").lines().map(PathBuf::from).collect()
}

fn read(file: &Path) -> Option<String> {
    std::fs::read_to_string(root().join(file)).ok()
}

#[test]
fn imports_point_one_way() {
    let dependencies = dependencies();
    for (package, allowed) in MAY_IMPORT {
        let used = dependencies.get(*package).unwrap_or_else(|| panic!("there is no package {package}"));
        let ours: Vec<&String> = used.iter().filter(|d| d.starts_with("sopwith-")).collect();
        for dependency in ours {
            assert!(allowed.contains(&dependency.as_str()), "{package} may not import {dependency}");
        }
    }
    for used in &dependencies["sopwith-domain"] {
        assert!(DOMAIN_MAY_USE.contains(&used.as_str()), "the domain may not use {used}");
    }
    assert!(
        !dependencies["sopwith-journal"].contains("serde_json"),
        "the journal knows bytes, not their meaning"
    );
}

#[test]
fn files_are_of_one_thing() {
    let long: Vec<String> = files()
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "rs"))
        .filter_map(|file| {
            let lines = read(file)?.lines().count();
            (lines > LINES_MAX).then(|| format!("{} has {lines} lines", file.display()))
        })
        .collect();
    assert!(long.is_empty(), "at most {LINES_MAX} lines a file:\n{}", long.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("#[ign", "ore"),
    ];
    let mut found = Vec::new();
    for file in files().iter().filter(|f| f.extension().is_some_and(|e| e == "rs")) {
        for (number, line) in read(file).unwrap_or_default().lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "unfinished:\n{}", found.join("\n"));
}

#[test]
fn links_in_documents_resolve() {
    let mut broken = Vec::new();
    for file in files().iter().filter(|f| f.extension().is_some_and(|e| e == "md")) {
        let text = read(file).unwrap_or_default();
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            if !root().join(&folder).join(path).exists() {
                broken.push(format!("{} links to {path}, which is not there", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn released_crates_hold_no_test_switches() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let default = package["features"]["default"].as_array().cloned().unwrap_or_default();
        assert!(default.is_empty(), "{name} has default features, which could bring in a test switch");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let wanted = dependency["features"].as_array().cloned().unwrap_or_default();
            let switch = wanted.iter().any(|f| f == "mutants" || f == "test-hooks");
            assert!(!switch, "{name} asks for test switches of {}", dependency["name"]);
        }
    }
}

#[test]
fn the_workspace_has_no_stray_modules() {
    let all = files();
    let sources: Vec<&PathBuf> = all.iter().filter(|f| f.extension().is_some_and(|e| e == "rs")).collect();
    let mut stray = Vec::new();
    for file in &sources {
        let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let folder = file.parent().unwrap_or(Path::new(""));
        let is_root = ["lib", "main", "mod", "build"].contains(&stem)
            || folder.ends_with("tests/tests")
            || folder.ends_with("bin")
            || (folder.ends_with("tests") && !folder.components().any(|c| c.as_os_str() == "src"))
            || folder.ends_with("examples");
        if is_root {
            continue;
        }
        let parents = [
            folder.join("mod.rs"),
            folder.join("lib.rs"),
            folder.join("main.rs"),
            folder.with_extension("rs"),
        ];
        let declared = parents
            .iter()
            .filter_map(|p| read(p))
            .any(|text| text.contains(&format!("mod {stem};")) || text.contains(&format!("{stem}.rs\"")));
        if !declared {
            stray.push(file.display().to_string());
        }
    }
    assert!(stray.is_empty(), "files that no module declares:\n{}", stray.join("\n"));
}
