//! Carries out a fault catalogue with the real Sopwith.

use clap::Parser;
use sopwith_tests::faults::command::{Arguments, carry_out};
use sopwith_tests::faults::product::Product;
use sopwith_tests::faults::sopwith::Sopwith;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(binaries) = arguments.binaries.clone() else {
        eprintln!("sopwith-faults: start it by `cargo xtask faults`, which builds the binaries it needs");
        return ExitCode::from(2);
    };
    let start =
        |terms| Ok(Box::new(Sopwith::start(&binaries, terms, arguments.discover)?) as Box<dyn Product>);
    match carry_out(&arguments, &start) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sopwith-faults: {error}");
            ExitCode::FAILURE
        }
    }
}
