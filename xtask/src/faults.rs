//! `cargo xtask faults FILE …`: builds the real binaries and hands over to the fault runner.

use std::process::Command;

use crate::cargo::{cargo, succeed, target};

pub fn run(arguments: &[String]) -> Result<(), String> {
    let binaries = ["sopwith-agent", "sopwith-server", "sopwith", "sopwith-faults"];
    let mut build = cargo(&["build", "--quiet"]);
    for package in ["sopwith-agent", "sopwith-server", "sopwith-cli", "sopwith-tests"] {
        build.args(["--package", package]);
    }
    for binary in binaries {
        build.args(["--bin", binary]);
    }
    succeed(&mut build)?;
    let built = target().join("debug");
    // The files named on the command line are the caller's: the runner starts where the caller stands.
    succeed(Command::new(built.join("sopwith-faults")).arg("--binaries").arg(&built).args(arguments))
}
