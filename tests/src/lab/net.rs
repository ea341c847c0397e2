//! The bridge that joins the hosts with this machine. Nothing is routed or translated beyond it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::error::LabError;
use super::exec;

pub(super) const BRIDGE: &str = "br-sopwith";
/// Where a server on this machine is reached from inside a host.
pub const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// Returns the address of a host by its number.
pub(super) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, number)
}

/// Brings the bridge up. Safe to call from many processes at once; the bridge stays.
pub(super) fn ensure_bridge() -> Result<(), LabError> {
    if !Path::new("/sys/class/net").join(BRIDGE).exists() {
        // Another process may have made it in between: only the address below must succeed.
        let _ = ip(&["link", "add", BRIDGE, "type", "bridge"]);
    }
    ip(&["address", "replace", &format!("{SERVER_ADDRESS}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])
}

fn ip(arguments: &[&str]) -> Result<(), LabError> {
    exec::run(Command::new("ip").args(arguments), b"", Duration::from_secs(20))
        .map_err(|e| LabError::io("start", Path::new("ip"), e))?
        .expect(&format!("run ip {}", arguments.join(" ")))
        .map(drop)
}
