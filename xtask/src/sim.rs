//! `cargo xtask sim [--seeds N | --nightly] [--seed S] [--mutants] [--trace]`: builds the simulator in release, with the
//! deliberate faults compiled in (off unless asked for), and hands over to it.

use std::process::Command;

use crate::cargo::{cargo, succeed, target};

pub fn run(arguments: &[String]) -> Result<(), String> {
    let build =
        ["build", "--release", "--locked", "--quiet", "--package", "sopwith-sim", "--features", "mutants"];
    succeed(&mut cargo(&build))?;
    succeed(Command::new(target().join("release").join("sopwith-sim")).args(arguments))
}
