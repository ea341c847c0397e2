//! `cargo xtask bench …`: builds what people would install, in release, and hands over to the benchmarks.

use std::process::Command;

use crate::cargo::{cargo, succeed, target};

pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut build = cargo(&["build", "--quiet", "--release"]);
    for package in ["sopwith-agent", "sopwith-server", "sopwith-cli", "sopwith-tests"] {
        build.args(["--package", package]);
    }
    for binary in ["sopwith-agent", "sopwith-server", "sopwith", "sopwith-bench"] {
        build.args(["--bin", binary]);
    }
    succeed(&mut build)?;
    let built = target().join("release");
    succeed(Command::new(built.join("sopwith-bench")).args(arguments).arg("--binaries").arg(&built))
}
