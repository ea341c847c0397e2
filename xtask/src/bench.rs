//! `cargo xtask bench …`: builds what people would install, by the profile `dist`, and hands over to the benchmarks.

use std::process::Command;

use crate::cargo::{cargo, succeed, target};

pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut measured = cargo(&["build", "--quiet", "--profile", "dist"]);
    for package in ["sopwith-agent", "sopwith-server", "sopwith-cli"] {
        measured.args(["--package", package]);
    }
    succeed(&mut measured)?;
    let measuring = ["build", "--quiet", "--release", "--package", "sopwith-tests", "--bin", "sopwith-bench"];
    succeed(&mut cargo(&measuring))?;
    let bench = target().join("release").join("sopwith-bench");
    succeed(Command::new(bench).args(arguments).arg("--binaries").arg(target().join("dist")))
}
