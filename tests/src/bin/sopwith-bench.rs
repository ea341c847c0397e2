//! Measures the real Sopwith beside its peers.

use clap::Parser;
use sopwith_tests::bench::command::{Arguments, carry_out};
use std::process::ExitCode;

fn main() -> ExitCode {
    match carry_out(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sopwith-bench: failed to {error}");
            ExitCode::FAILURE
        }
    }
}
