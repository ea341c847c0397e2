//! The clock: whether something keeps it right, whether a time server is heard, and how far off it is.

use super::host::{Asked, Host, Looked};
use super::norm::{self, Breach};
use sopwith_domain::signal::Subject;

/// Daemons that keep the clock: unit, name of the process (of which the kernel keeps 15 letters), what shows that it
/// is installed.
const DAEMONS: &[(&str, &str, &str)] = &[
    ("chrony.service", "chronyd", "/usr/sbin/chronyd"),
    ("ntpsec.service", "ntpd", "/usr/sbin/ntpd"),
    ("openntpd.service", "ntpd", "/usr/sbin/openntpd"),
    ("systemd-timesyncd.service", "systemd-timesyn", "/lib/systemd/systemd-timesyncd"),
];
pub const PROCESSES: &[&str] = &[
    "chronyd",
    "ntpd",
    "openntpd",
    "systemd-timesyn",
    "ptp4l",
    "cron",
    "crond",
    "systemd-cron",
    "bcron-sched",
];
/// Folders with a link for each unit that starts with the host.
const WANTED: &[&str] =
    &["/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/sysinit.target.wants"];

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    let runs = |process: &str| host.running.iter().any(|name| name == process);
    let any = DAEMONS.iter().any(|(_, process, _)| runs(process)) || runs("ptp4l");
    let enabled = |unit: &str| {
        WANTED.iter().any(|folder| std::fs::symlink_metadata(host.at(&format!("{folder}/{unit}"))).is_ok())
    };
    // In a container the clock is the host's; timesyncd knows that and does not start.
    let expected =
        |unit: &str| enabled(unit) && !(host.is_container() && unit.starts_with("systemd-timesyncd"));
    if !any {
        if let Some((unit, ..)) =
            DAEMONS.iter().find(|(unit, _, program)| host.is_there(program) && expected(unit))
        {
            let text = format!("{unit} is enabled and does not run: nothing keeps the clock right");
            looked.breach(
                Breach::new(norm::CLOCK_DAEMON, Subject::Host, text)
                    .unit("unit", unit)
                    .word("reason", "stopped"),
            );
        } else if host.is_container() {
        } else if let Some((unit, ..)) = DAEMONS.iter().find(|(_, _, program)| host.is_there(program)) {
            let text =
                format!("{unit} is installed, does not run and is not enabled: nothing keeps the clock");
            let breach = Breach::new(norm::CLOCK_DAEMON, Subject::Host, text);
            looked.breach(breach.unit("unit", unit).word("reason", "disabled"));
        } else {
            let text = "no daemon that keeps the clock right runs or is enabled";
            looked.breach(Breach::new(norm::CLOCK_DAEMON, Subject::Host, text).word("reason", "none"));
        }
        return;
    }
    let limit_ms = i64::try_from(host.norms.clock_offset_max.0.as_millis()).unwrap_or(i64::MAX);
    let known = if runs("chronyd") { chrony(host, looked) } else { timesync(host, looked) };
    match known {
        None => {}
        // A container's clock is kept right, and is right, where its host's is.
        Some(_) if host.is_container() => {}
        Some(Known::Alone { unit }) => {
            let text = "no time server is heard: the clock runs by itself";
            looked.breach(Breach::new(norm::CLOCK_UNSYNCHRONISED, Subject::Host, text).unit("unit", unit));
        }
        Some(Known::Offset { ms, unit }) if ms.abs() > limit_ms => {
            let text = format!("the clock is off by {ms} ms, at most {limit_ms} ms is allowed");
            let breach = Breach::new(norm::CLOCK_OFFSET, Subject::Host, text).unit("unit", unit);
            looked.breach(breach.integer("offset_ms", ms).integer("limit_ms", limit_ms));
        }
        Some(Known::Offset { .. }) => {}
    }
}

enum Known {
    Alone { unit: &'static str },
    Offset { ms: i64, unit: &'static str },
}

/// Reads `chronyc -c tracking`: the fifth field is the offset in seconds, the last whether it is synchronised.
fn chrony(host: &Host<'_>, looked: &mut Looked) -> Option<Known> {
    let unit = "chrony.service";
    let (code, output, errors) = host.answer(Asked::Chrony, looked)?;
    let fields: Vec<&str> = output.trim().split(',').collect();
    if code != 0 || fields.len() < 14 {
        looked.trouble(format!("chronyc does not say how the clock is: {}{}", output.trim(), errors.trim()));
        return None;
    }
    if fields[13] == "Not synchronised" || fields[2] == "0" {
        return Some(Known::Alone { unit });
    }
    let seconds: f64 = fields[4].parse().ok()?;
    Some(Known::Offset { ms: (seconds * 1000.0) as i64, unit })
}

/// Reads the last answer of timesyncd's server, as `busctl` prints it: four times in microseconds.
fn timesync(host: &Host<'_>, looked: &mut Looked) -> Option<Known> {
    let unit = "systemd-timesyncd.service";
    let (code, output, _) = host.answer(Asked::Timesync, looked)?;
    // Of other daemons nothing is known here.
    if code != 0 {
        return None;
    }
    let read: serde_json::Value = serde_json::from_str(output).ok()?;
    let fields = read.get("data")?.as_array()?;
    let time = |index: usize| fields.get(index).and_then(serde_json::Value::as_i64);
    let (origin, receive, transmit, destination) = (time(8)?, time(9)?, time(10)?, time(11)?);
    if destination == 0 {
        return Some(Known::Alone { unit });
    }
    Some(Known::Offset { ms: ((receive - origin) + (transmit - destination)) / 2 / 1000, unit })
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::Fixture;
    use super::*;

    fn tracking(offset: &str, state: &str) -> String {
        format!(
            "C0000201,192.0.2.1,2,1770119000.1,{offset},0.0001,0.0002,1.5,0.01,0.1,0.02,0.0003,64.2,{state}\n"
        )
    }

    #[test]
    fn who_keeps_the_clock() {
        for (enabled, container, runs, says) in [
            ("chrony.service", false, "chronyd", ""),
            ("chrony.service", false, "", "clock-daemon host"),
            ("chrony.service", true, "", "clock-daemon host"),
            ("systemd-timesyncd.service", true, "", ""),
            ("", false, "", "clock-daemon host"),
            ("", true, "", ""),
            ("", false, "ptp4l", ""),
        ] {
            let mut fixture = Fixture::new("");
            fixture.file("/usr/sbin/chronyd", "").file("/lib/systemd/systemd-timesyncd", "");
            if !enabled.is_empty() {
                fixture
                    .file(&format!("{}/{enabled}", WANTED[usize::from(enabled.starts_with("systemd"))]), "");
            }
            if container {
                fixture.file("/run/systemd/container", "systemd-nspawn");
            }
            fixture.running = vec![runs.to_owned()];
            assert_eq!(fixture.told(look), says, "{enabled} {container} {runs}");
        }
    }

    #[test]
    fn how_far_off_it_is() {
        for (code, output, says) in [
            (0, tracking("0.000012", "Normal"), ""),
            (0, tracking("-0.6", "Normal"), "clock-offset host"),
            (0, tracking("0.6", "Insert second"), "clock-offset host"),
            (0, tracking("0.0", "Not synchronised"), "clock-unsynchronised host"),
            (
                1,
                "506 Cannot talk to daemon".into(),
                "! chronyc does not say how the clock is: 506 Cannot talk to daemon",
            ),
        ] {
            let mut fixture = Fixture::new("");
            fixture.running = vec!["chronyd".into()];
            fixture.answer(Asked::Chrony, code, &output, "");
            assert_eq!(fixture.told(look), says, "{output}");
        }
        let message = |destination: i64| {
            format!(
                r#"{{"type":"(uuuuittayttttbtt)","data":[0,4,4,2,-23,0,100,[1],1000000,3000000,3000100,{destination},false,1,0]}}"#
            )
        };
        for (destination, says) in
            [(1_000_200, "clock-offset host"), (0, "clock-unsynchronised host"), (5_000_100, "")]
        {
            let mut fixture = Fixture::new("");
            fixture.running = vec!["systemd-timesyn".into()];
            fixture.answer(Asked::Timesync, 0, &message(destination), "");
            assert_eq!(fixture.told(look), says, "{destination}");
        }
    }
}
