//! Fuzzes the readers of what comes from outside.

use clap::Parser;
use sopwith_tests::fuzz::{self, TARGETS, Until};
use std::process::ExitCode;
use std::time::Duration;

/// Fuzzes the readers of what comes from outside.
#[derive(Parser, Debug)]
#[command(after_help = "Example: cargo xtask fuzz playbook --for 5m")]
struct Arguments {
    /// What to fuzz; all of it, one after the other, when nothing is named
    name: Option<String>,
    /// For how long each, such as 30s or 5m
    #[arg(long = "for", default_value = "10s", value_parser = duration)]
    time: Duration,
    /// The input of one seed only, as a finding names it
    #[arg(long)]
    seed: Option<u64>,
    /// List what can be fuzzed
    #[arg(long)]
    list: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a number with s, m or h, such as 30s".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a number with s, m or h, such as 30s".to_owned())?;
    Ok(Duration::from_secs(number.min(86_400) * seconds))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        TARGETS.iter().for_each(|target| println!("{:<12} {}", target.name, target.about));
        return ExitCode::SUCCESS;
    }
    let named = |name: &str| arguments.name.as_deref().is_none_or(|wanted| wanted == name);
    let chosen: Vec<_> = TARGETS.iter().filter(|target| named(target.name)).collect();
    if chosen.is_empty() {
        eprintln!(
            "sopwith-fuzz: there is no {}; --list names what there is",
            arguments.name.unwrap_or_default()
        );
        return ExitCode::from(2);
    }
    let until = arguments.seed.map_or(Until::Elapsed(arguments.time), |_| Until::Inputs(1));
    let first = arguments.seed.unwrap_or_else(rand::random);
    let mut found = false;
    println!("{:<12} {:>10} {:>8}", "reader", "inputs", "taken");
    for target in chosen {
        let outcome = fuzz::fuzz(target, first, until);
        println!("{:<12} {:>10} {:>8}", target.name, outcome.inputs, outcome.taken);
        if let Some((seed, words)) = outcome.finding {
            found = true;
            println!("  {words}\n  again by: cargo xtask fuzz {} --seed {seed}", target.name);
        }
    }
    if found { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
