//! What to watch of the kernel's own tables and events, with what it means.

use super::at::{At, Period};
use super::watch::Watch;
use serde::Deserialize;
use sopwith_domain::value::{AbsPath, UnitName};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Settings of the sources that look at the kernel.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    pub pressure: Pressure,
    pub mounts: Mounts,
    pub oom: Oom,
    pub clock: Clock,
    pub links: Links,
    pub ports: Ports,
    pub tasks: Tasks,
    pub tables: Tables,
    pub deleted: Deleted,
    pub cores: Cores,
}

/// Share of time, in percent over ten seconds, in which work waits for a resource; 0 means never.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pressure {
    /// Some task waits for the processor.
    pub cpu_percent: At<u8>,
    /// All tasks wait for memory.
    pub memory_percent: At<u8>,
    /// All tasks wait for disks.
    pub io_percent: At<u8>,
    #[serde(rename = "for")]
    pub tolerance: At<Period>,
}

/// Mount points of `/etc/fstab` that are not mounted, and what is read-only though it should not be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mounts {
    pub watch: Watch,
    pub ignore: Vec<At<String>>,
    #[serde(rename = "for")]
    pub tolerance: At<Period>,
}

/// Processes that the kernel ended for want of memory.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oom {
    /// Units, in which `*` stands for anything.
    pub watch: Watch,
    /// So long after the last one it is over.
    pub quiet: At<Period>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clock {
    /// Steps of the wall clock from here on are told; 0s: never.
    pub step: At<Period>,
    /// Difference to the server's clock from which on the clock is wrong; 0s: never.
    pub offset: At<Period>,
    #[serde(rename = "for")]
    pub tolerance: At<Period>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// Interfaces that must stay as they were first seen: up, and with their MTU.
    pub watch: Watch,
    pub ignore: Vec<At<String>>,
    #[serde(rename = "for")]
    pub tolerance: At<Period>,
    /// What the administrator says of an interface.
    pub interfaces: BTreeMap<String, Interface>,
}

#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interface {
    pub mtu: Option<At<u32>>,
    pub up: Option<At<bool>>,
    pub addresses: Vec<At<IpAddr>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ports {
    pub every: At<Period>,
    /// What should listen here.
    pub listen: Vec<Listener>,
    /// Whether other listeners than those, on addresses that others reach, are a fault.
    pub undeclared: At<bool>,
}

/// A port and who should listen on it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    pub port: At<u16>,
    #[serde(default)]
    pub udp: Option<At<bool>>,
    /// Unit whose port it is.
    #[serde(default)]
    pub unit: Option<At<UnitName>>,
    /// Whether the host's own packet filter must let others reach it; tried from the host's own addresses.
    #[serde(default)]
    pub reach: Option<At<bool>>,
    #[serde(default = "port_for", rename = "for")]
    pub tolerance: At<Period>,
}

fn port_for() -> At<Period> {
    At::of(Period::secs(1))
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tasks {
    pub every: At<Period>,
    /// So many children of one process that ended and were not taken leave of are a fault; 0: never.
    pub zombies: At<u32>,
    /// A process that waits in the kernel for so long without a break is a fault; 0s: never.
    pub stuck: At<Period>,
    /// A process of a service that a signal stopped, and that stands still for so long, is a fault; 0s: never.
    pub stopped: At<Period>,
    /// Share of its own limit of open files from which on a process is near it; 0: never.
    pub descriptors_percent: At<u8>,
}

/// Tables of the kernel with an end: shares from which on they are nearly full; 0 means never.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tables {
    pub every: At<Period>,
    pub conntrack_percent: At<u8>,
    /// Local ports that are in use toward one destination.
    pub ports_percent: At<u8>,
    /// The range of local ports that connections are made from, as it should be.
    pub ports_range: [At<u16>; 2],
    pub files_percent: At<u8>,
    pub pids_percent: At<u8>,
}

/// Files that were deleted and that a process holds open.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deleted {
    pub every: At<Period>,
    /// Bytes of one unit on one file system, in MiB, that must be held; 0: never.
    pub mib: At<u32>,
    /// The same as a share of the file system. Both must be reached.
    pub percent: At<u8>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cores {
    /// More dumps than so many of one program within a time are a fault; 0: never.
    pub per_program: At<u32>,
    pub within: At<Period>,
    /// Folders besides the one that the kernel or systemd writes to.
    pub directories: Vec<At<AbsPath>>,
}

impl Default for Pressure {
    fn default() -> Self {
        let (cpu_percent, memory_percent, io_percent) = (At::of(0), At::of(30), At::of(0));
        Self { cpu_percent, memory_percent, io_percent, tolerance: At::of(Period::secs(60)) }
    }
}

impl Default for Mounts {
    fn default() -> Self {
        Self { watch: Watch::All, ignore: Vec::new(), tolerance: At::of(Period::secs(3)) }
    }
}

impl Default for Oom {
    fn default() -> Self {
        Self { watch: Watch::All, quiet: At::of(Period::secs(600)) }
    }
}

impl Default for Clock {
    fn default() -> Self {
        let (step, offset) = (At::of(Period::secs(10)), At::of(Period::secs(30)));
        Self { step, offset, tolerance: At::of(Period::secs(30)) }
    }
}

impl Default for Links {
    fn default() -> Self {
        let tolerance = At::of(Period::secs(5));
        Self { watch: Watch::All, ignore: Vec::new(), tolerance, interfaces: BTreeMap::new() }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self { every: At::of(Period::secs(2)), listen: Vec::new(), undeclared: At::of(false) }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            every: At::of(Period::secs(5)),
            zombies: At::of(50),
            stuck: At::of(Period::secs(120)),
            stopped: At::of(Period::secs(30)),
            descriptors_percent: At::of(90),
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            every: At::of(Period::secs(5)),
            conntrack_percent: At::of(90),
            ports_percent: At::of(80),
            ports_range: [At::of(32_768), At::of(60_999)],
            files_percent: At::of(90),
            pids_percent: At::of(90),
        }
    }
}

impl Default for Deleted {
    fn default() -> Self {
        Self { every: At::of(Period::secs(60)), mib: At::of(64), percent: At::of(20) }
    }
}

impl Default for Cores {
    fn default() -> Self {
        Self { per_program: At::of(5), within: At::of(Period::secs(86_400)), directories: Vec::new() }
    }
}
