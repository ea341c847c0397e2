//! The state of a unit, how it ended last, and which units it needs that do not run.

use super::super::systemd::Systemd;
use sopwith_domain::value::UnitName;
use std::fs;

/// Most units needed that are asked about.
const NEEDED_MAX: usize = 32;

pub fn look(systemd: &mut Systemd, unit: &UnitName) -> Result<String, String> {
    let state = systemd.state(unit)?;
    let mut out = vec![format!(
        "{unit} is {} ({}), loaded: {}, starts with the host: {}",
        state.active_state,
        state.sub_state,
        state.load_state,
        or(&state.unit_file_state, "no file says"),
    )];
    let past = systemd.past(unit)?;
    if let Some(service) = past.service {
        out.push(format!(
            "last result {}, exit status {}, started again {} times, restart: {}",
            service.result,
            service.exit_status,
            service.restarts,
            or(&state.restart, "no")
        ));
    }
    if state.main_pid != 0 {
        let name = fs::read_to_string(format!("/proc/{}/comm", state.main_pid)).unwrap_or_default();
        out.push(format!("main process {} ({})", state.main_pid, name.trim()));
    }
    if state.job != 0 {
        out.push(format!("job {} is queued or under way for it", state.job));
    }
    for needed in past.needs.iter().take(NEEDED_MAX) {
        // What has no name of a unit cannot be asked about.
        let Ok(name) = UnitName::new(needed.as_str()) else { continue };
        let told = match systemd.state(&name) {
            Ok(state) if state.active_state == "active" => continue,
            Ok(state) => format!("needs {name}, which is {} ({})", state.active_state, state.sub_state),
            Err(reason) => format!("needs {name}, which cannot be asked about: {reason}"),
        };
        out.push(told);
    }
    Ok(out.join("\n"))
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}
