//! The project's own tasks: `cargo xtask NAME …`. One file per task; this one only says which there are.

mod bench;
mod cargo;
mod debian;
mod faults;
mod fuzz;
mod licences;
mod sim;
mod test;
mod try_it;

use std::process::ExitCode;

/// A task: its name, what it does in one line, and the work.
struct Task {
    name: &'static str,
    about: &'static str,
    work: fn(&[String]) -> Result<(), String>,
}

const TASKS: &[Task] = &[
    Task {
        name: "try",
        about: "run Sopwith on this machine to look at; --once: by itself",
        work: try_it::run,
    },
    Task { name: "test", about: "run everything that CI runs; --help names the steps", work: test::run },
    Task {
        name: "faults",
        about: "FILE …: inject a catalogue's faults into real hosts and judge what Sopwith does",
        work: faults::run,
    },
    Task {
        name: "sim",
        about: "--seeds N, --seed S, --mutants, --trace: server and agents in one deterministic world",
        work: sim::run,
    },
    Task {
        name: "fuzz",
        about: "[NAME] --for 5m: inputs of all kinds for whatever reads what comes from outside",
        work: fuzz::run,
    },
    Task {
        name: "bench",
        about: "loop: from the fault to the verified fix, beside Monit and fail2ban, on a real host",
        work: bench::run,
    },
    Task {
        name: "licences",
        about: "check licences, bans and sources against deny.toml",
        work: licences::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else { return usage() };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else { return usage() };
    match (task.work)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask TASK …\n");
    for task in TASKS {
        eprintln!("  {:<10} {}", task.name, task.about);
    }
    ExitCode::from(2)
}
