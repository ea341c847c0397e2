//! `cargo xtask try --once`: the whole round without anybody at the keyboard. It believes nothing but what it sees: the
//! demo must really run again, as another process, and the journal must verify.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::demo::Demo;
use super::time::{now_ms, parse_ms};
use super::world::{Door, World};

/// Longest time from the fault to the closed incident.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs the round and cleans up, however it went.
pub fn run() -> Result<(), String> {
    let mut world = World::begin(Door::Tls)?;
    let came = round(&mut world).map_err(|why| format!("{why}\n{}", world.logs()));
    came.and(world.end())
}

fn round(world: &mut World) -> Result<(), String> {
    let demo = Demo::start(world)?;
    world.start_agent(&demo)?;
    print!("{}", world.limits());
    let fault = now_ms();
    let old = demo.break_it()?;
    println!("{:<10} {:>9}   the demo service, process {old}, is killed", "fault", "0 ms");
    let mut stages = Stages { fault, shown: 0 };
    let began = Instant::now();
    let mut approved = false;
    let closed = loop {
        if began.elapsed() > PATIENCE {
            return Err(format!("the incident is not closed after {} s", PATIENCE.as_secs()));
        }
        let Some(number) = incident_of_demo(world)? else {
            std::thread::sleep(LOOK_EVERY);
            continue;
        };
        let view = world.json(&["incident", "show", &number])?;
        stages.show(&view);
        match view["phase"].as_str() {
            Some("closed") => break view,
            Some("needs_person") => return Err(format!("{number} needs a person: {}", view["status"])),
            Some("awaiting_approval") if !approved => {
                world.sopwith(&["approve", &number, "--yes", "--reason", "demo"])?;
                approved = true;
            }
            _ => std::thread::sleep(LOOK_EVERY),
        }
    };
    stages.show(&closed);
    proven(world, &demo, old)
}

/// Finds the incident about the demo; this machine may have others of its own.
fn incident_of_demo(world: &World) -> Result<Option<String>, String> {
    let incidents = world.json(&["incident", "list", "--all"])?;
    let of_demo = incidents.as_array().into_iter().flatten().find(|i| i["subject"] == "process:demo");
    Ok(of_demo.and_then(|i| i["number"].as_str()).map(str::to_owned))
}

fn proven(world: &World, demo: &Demo, old: u32) -> Result<(), String> {
    let new = demo.pid().ok_or("the incident is closed, but the demo service does not run")?;
    if new == old {
        return Err(format!("the demo service is still process {old}: it was never broken"));
    }
    println!("{:<10} {:>9}   the demo service runs as process {new}", "repaired", "");
    let said = world.sopwith(&["audit", "verify"])?;
    println!("{:<10} {:>9}   {}", "audited", "", said.lines().next().unwrap_or_default());
    Ok(())
}

/// What is told of the way, each stage once and in order.
struct Stages {
    fault: i64,
    shown: usize,
}

impl Stages {
    /// Prints the stages that this view reaches for the first time.
    fn show(&mut self, view: &Json) {
        let reached = [
            ("seen", view["opened_at"].as_str(), "the agent missed it, the server opened an incident"),
            (
                "proposed",
                view["plan_view"]["proposed_at"].as_str(),
                "a plan with its digest, for people to read",
            ),
            ("approved", decision(view), "by the demo's operator, on the command line"),
            ("started", record(view, "started"), "the host checked the warrant itself and began"),
            ("verified", record(view, "verified"), "the failed check passes again"),
            ("closed", closed(view), "it lasted, and stayed quiet"),
        ];
        while let Some((name, Some(at), about)) = reached.get(self.shown) {
            let took = parse_ms(at).map_or_else(|| "?".to_owned(), |at| format!("{} ms", at - self.fault));
            println!("{name:<10} {took:>9}   {about}");
            self.shown += 1;
        }
    }
}

fn decision(view: &Json) -> Option<&str> {
    // A decision's time is in milliseconds; the story has it as text.
    let approved = view["timeline"]
        .as_array()?
        .iter()
        .find(|e| e["text"].as_str().is_some_and(|t| t.contains("approved")));
    approved.and_then(|entry| entry["at"].as_str())
}

fn record<'a>(view: &'a Json, name: &str) -> Option<&'a str> {
    let runs = view["runs"].as_array()?;
    let records = runs.iter().filter_map(|run| run["records"].as_array()).flatten();
    records.filter(|r| r["record"] == name).find_map(|r| r["at"].as_str())
}

fn closed(view: &Json) -> Option<&str> {
    (view["phase"] == "closed").then(|| view["timeline"].as_array()?.last()?["at"].as_str()).flatten()
}
