//! Which of the packs that come with the agent suit this host.

use super::listeners::Listening;
use super::proposal::{Proposal, Section};
use super::root::Root;
use super::units::{Units, expected};
use super::yaml::Flow;

/// Programs of backups, and where they lie.
const BACKUP_PROGRAMS: [&str; 6] = ["restic", "borg", "borgmatic", "pgbackrest", "rsnapshot", "duplicity"];

/// Proposes packs, and what they must be told on this host.
pub(super) fn propose(units: &Units, listening: &[Listening], root: &Root, proposal: &mut Proposal) {
    let mut pack = |name: &str, why: &str| proposal.add(Section::Packs, why, name.into());
    pack("base", "Suits every Linux host.");
    if units.contains_key("systemd-journald.service") || root.is_there("/run/systemd/system") {
        pack("systemd", "systemd runs here.");
    }
    if expected(units, "nginx.service") && root.is_there("/usr/sbin/nginx") {
        pack("nginx", "nginx.service is wanted and runs.");
    }
    if expected(units, "redis-server.service") {
        pack("redis", "redis-server.service is wanted and runs.");
    }
    let postgres = listening.iter().filter(|l| l.program == "postgres").map(|l| l.port).min();
    let psql = root.is_there("/usr/bin/psql");
    if postgres.is_some() && psql {
        pack("postgresql", "PostgreSQL listens, and psql is there to ask it.");
    }
    if expected(units, "ssh.service") && root.is_there("/usr/sbin/sshd") {
        pack("ssh", "ssh.service is wanted and runs.");
    }
    let programs: Vec<_> =
        BACKUP_PROGRAMS.iter().filter(|p| root.is_there(&format!("/usr/bin/{p}"))).copied().collect();
    if !programs.is_empty() {
        pack("backup", &format!("Installed: {}.", programs.join(", ")));
    }
    if let Some(port) = postgres.filter(|port| psql && *port != 5432) {
        postgresql(port, proposal);
    }
    if expected(units, "redis-server.service") {
        redis(root, listening, proposal);
    }
}

fn postgresql(port: u16, proposal: &mut Proposal) {
    let name = proposal.name(Section::Checks, "postgresql");
    let probe = Flow::default().word("as", "postgres").word("port", port);
    let flow = Flow::default().text("name", &name).map("postgresql", probe).word("every", "30s");
    let flow = flow.word("failures", "{count: 2, within: 2m}");
    proposal.add(
        Section::Checks,
        &format!("PostgreSQL listens on {port}, not on the pack's 5432."),
        flow.done(),
    );
}

/// A Redis with a password or on another port is not as the pack has it.
fn redis(root: &Root, listening: &[Listening], proposal: &mut Proposal) {
    let config = root.read("/etc/redis/redis.conf").unwrap_or_default();
    let password = config.lines().any(|line| line.trim_start().starts_with("requirepass "));
    let found = listening.iter().find(|l| l.unit == "redis-server.service" && l.program.starts_with("redis"));
    let address = found.map(super::listeners::own);
    let usual = address.as_deref().is_none_or(|a| a == "127.0.0.1:6379");
    if usual && !password && found.is_some() {
        return;
    }
    let name = proposal.name(Section::Checks, "redis");
    let address = address.unwrap_or_else(|| "127.0.0.1:6379".into());
    if password || found.is_none() {
        let probe =
            Flow::default().text("connect", &address).word("password_file", "/etc/sopwith/redis-password");
        let line = Flow::default()
            .text("name", &name)
            .map("redis", probe)
            .text("unit", "redis-server.service")
            .done();
        proposal.show(
            Section::Checks,
            "Redis wants a password, or was not seen to listen; say where it stands:",
            line,
        );
        let why = "Stands in for the pack's check of Redis until that is said: that the unit runs is still expected.";
        proposal.add(Section::PacksIgnore, why, "redis".into());
        return;
    }
    let probe = Flow::default().text("connect", &address);
    let flow = Flow::default().text("name", &name).map("redis", probe).word("every", "30s");
    let flow = flow.word("failures", "{count: 2, within: 2m}").text("unit", "redis-server.service");
    proposal.add(
        Section::Checks,
        &format!("Redis listens on {address}, not where the pack asks."),
        flow.done(),
    );
}
