//! `cargo xtask test`: everything that CI runs, step by step. A step that fails does not stop the others; each is
//! named at the end. No step vanishes: one that cannot run has failed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::{cargo, on_path, root, succeed};
use crate::{debian, licences};

/// Lets tests end a process at its n-th write; without the variable that says where, the hooks do nothing.
const HOOKS: [&str; 2] = ["--features", "sopwith-agent/test-hooks,sopwith-server/test-hooks"];

/// Random schedules of the simulation, beside every single and every pair of crash points.
const SCHEDULES: &str = "200000";

struct Step {
    name: &'static str,
    about: &'static str,
    work: fn() -> Result<(), String>,
}

const STEPS: &[Step] = &[
    Step { name: "packages", about: "what is needed of Debian's packages is there", work: debian::ensure },
    Step { name: "format", about: "cargo fmt --check", work: format },
    Step { name: "clippy", about: "no warning in any target", work: clippy },
    Step { name: "licences", about: "licences, bans and sources, by deny.toml", work: dependencies },
    Step { name: "tests", about: "the tests of every crate", work: tests },
    Step {
        name: "simulation",
        about: "crashes and faults at small scale; every mutant caught",
        work: simulation,
    },
    Step { name: "try", about: "the whole round on this machine, unattended", work: round },
    Step { name: "lab", about: "end to end on real hosts", work: lab },
    Step { name: "browser", about: "the pages in a real browser", work: browser },
];

pub fn run(arguments: &[String]) -> Result<(), String> {
    let wanted = chosen(arguments)?;
    let mut results = Vec::new();
    for (number, step) in wanted.iter().enumerate() {
        println!("==> [{}/{}] {}: {}", number + 1, wanted.len(), step.name, step.about);
        let started = Instant::now();
        let result = (step.work)();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("<== {}: {word} after {}", step.name, minutes(started.elapsed()));
        results.push((step.name, started.elapsed(), result));
    }
    summary(&results)
}

/// Returns the steps named on the command line, or all.
fn chosen(arguments: &[String]) -> Result<Vec<&'static Step>, String> {
    if let Some(unknown) = arguments.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        let names: Vec<String> =
            STEPS.iter().map(|step| format!("  {:<11} {}", step.name, step.about)).collect();
        return Err(format!(
            "no step {unknown}; name the steps to run, or none for all:\n{}",
            names.join("\n")
        ));
    }
    Ok(STEPS
        .iter()
        .filter(|step| arguments.is_empty() || arguments.iter().any(|name| name == step.name))
        .collect())
}

fn summary(results: &[(&str, Duration, Result<(), String>)]) -> Result<(), String> {
    println!();
    for (name, took, result) in results {
        let word = result.as_ref().map_or_else(|error| format!("FAILED: {error}"), |()| "ok".to_owned());
        println!("{name:<11} {:>8}  {word}", minutes(*took));
    }
    let failed: Vec<&str> = results.iter().filter(|(_, _, r)| r.is_err()).map(|(name, _, _)| *name).collect();
    let total: Duration = results.iter().map(|(_, took, _)| *took).sum();
    println!("{:<11} {:>8}", "in all", minutes(total));
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{}:{:02} min", seconds / 60, seconds % 60)
    }
}

fn format() -> Result<(), String> {
    succeed(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<(), String> {
    succeed(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

/// `cargo deny` where it is installed; building it would cost minutes, so that our own check stands in for it.
fn dependencies() -> Result<(), String> {
    if on_path("cargo-deny") {
        return succeed(&mut cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"]));
    }
    println!("cargo-deny is not installed; the same rules are checked by cargo xtask licences");
    licences::run(&[])
}

fn tests() -> Result<(), String> {
    let crates =
        ["test", "--workspace", "--exclude", "sopwith-tests", "--locked", "--quiet", "--no-fail-fast"];
    let of_crates = succeed(with_tools(cargo(&crates)).args(HOOKS));
    let of_house =
        run_tests(|name| !name.starts_with("lab_") && !name.starts_with("browser"), &["--lib", "--bins"]);
    of_crates.and(of_house)
}

fn simulation() -> Result<(), String> {
    crate::sim::run(&["--seeds", SCHEDULES, "--mutants"].map(str::to_owned))
}

fn round() -> Result<(), String> {
    crate::try_it::run(&["--once".to_owned()])
}

fn lab() -> Result<(), String> {
    build_binaries()?;
    run_tests(|name| name.starts_with("lab_"), &[])
}

fn browser() -> Result<(), String> {
    build_binaries()?;
    run_tests(|name| name.starts_with("browser"), &[])
}

/// The end-to-end tests start the real binaries, which cargo does not build for another package's tests.
fn build_binaries() -> Result<(), String> {
    let mut build = cargo(&["build", "--locked", "--quiet"]);
    build.args(HOOKS);
    for package in ["sopwith-agent", "sopwith-server", "sopwith-cli"] {
        build.args(["--package", package]);
    }
    succeed(&mut build)
}

/// Runs those integration tests of `tests/` whose name is wanted; none at all is a failure.
fn run_tests(wanted: impl Fn(&str) -> bool, more: &[&str]) -> Result<(), String> {
    let names: Vec<String> = integration_tests()?.into_iter().filter(|name| wanted(name)).collect();
    if names.is_empty() {
        return Err("there is no test of this kind".into());
    }
    let mut command = cargo(&["test", "--package", "sopwith-tests", "--locked", "--quiet", "--no-fail-fast"]);
    command.args(more).args(names.iter().flat_map(|name| ["--test", name]));
    succeed(&mut with_tools(command))
}

fn integration_tests() -> Result<Vec<String>, String> {
    let dir = root().join("tests").join("tests");
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("failed to list {}: {e}", dir.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Puts the unpacked tools on the search path; as root, no test may be skipped for want of a lab.
fn with_tools(mut command: Command) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:{}", debian::tools().display()));
    if debian::is_root() && Path::new("/usr/bin/apt-get").exists() {
        command.env("SOPWITH_LAB_REQUIRED", "1");
    }
    command
}
