//! `cargo xtask fuzz [NAME] [--for 5m] [--seed N] [--list]`: builds the fuzzer and hands over to it.

use std::process::Command;

use crate::cargo::{cargo, succeed, target};

pub fn run(arguments: &[String]) -> Result<(), String> {
    let build =
        ["build", "--release", "--locked", "--quiet", "--package", "sopwith-tests", "--bin", "sopwith-fuzz"];
    succeed(&mut cargo(&build))?;
    succeed(Command::new(target().join("release").join("sopwith-fuzz")).args(arguments))
}
