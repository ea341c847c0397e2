//! `cargo xtask try`: the whole of Sopwith on this machine, to be looked at and broken. Server, agent and a small demo
//! service run from one temporary folder with keys made on the spot; nothing is installed, and nothing is left behind,
//! however it ends.

mod demo;
mod janitor;
mod once;
mod time;
mod world;

use std::io::BufRead;

use demo::Demo;
use world::World;

/// Carries the task out.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => interactive(),
        ["--once"] => once::run(),
        [janitor::ARGUMENT, root] => janitor::serve(root),
        _ => Err("usage: cargo xtask try [--once]".into()),
    }
}

fn interactive() -> Result<(), String> {
    let mut world = World::begin(world::Door::Plain)?;
    let demo = Demo::start(&world)?;
    world.start_agent(&demo)?;
    let login = world.one_time_login()?;
    println!("\n{}", greeting(&world, &login));
    world.watch()?;
    for line in std::io::stdin().lock().lines() {
        match line.as_deref().map(str::trim) {
            Ok("q" | "quit") | Err(_) => break,
            Ok(_) => match demo.break_it() {
                Ok(pid) => println!("  the demo service (process {pid}) was killed; now watch"),
                Err(why) => println!("  {why}"),
            },
        }
    }
    world.end()
}

fn greeting(world: &World, login: &str) -> String {
    format!(
        "Sopwith runs on this machine.\n\n\
         \x20 pages       {login}\n\
         \x20             (logs you in once; then {})\n\
         \x20 terminal    {} incident list\n\
         \x20             {} approve INC-1\n\
         \x20 folder      {}, removed at the end\n\
         {}\n\
         Press Enter to break the demo service, a process of its own that the agent watches. You will\n\
         see an incident with a plan that waits for you; approve it in the browser or in another\n\
         terminal, and it is mended. q and Enter, or Ctrl-C, ends everything.\n",
        world.url(),
        world.operator_command().display(),
        world.operator_command().display(),
        world.root().display(),
        world.limits(),
    )
}
