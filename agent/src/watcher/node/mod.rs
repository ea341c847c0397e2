//! The host in numbers, by the names that node_exporter gives them: families and labels are its own, so that
//! dashboards and alert rules made for it work unchanged. All is read from the kernel's files when a page is asked
//! for, and written straight into the page. Nothing here judges, and no page waits for what may never answer.

mod compat;
mod devices;
mod disk;
mod files;
mod filesystems;
mod kernel;
mod net;
pub mod out;
mod system;
mod systemd;
mod textfile;
mod timex;
mod usage;

pub use compat::Compat;
pub use usage::Busy;

use crate::config::Metrics as Config;
use files::Files;
use filesystems::Filesystems;
use out::{Kind, Out, Picked, Text};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use systemd::Systemd;
use textfile::Textfiles;
use usage::Usage;

/// Where Debian's packages leave files for node_exporter.
const TEXTFILES: &str = "var/lib/prometheus/node-exporter";

/// One thing to read: its names to node_exporter, how its families begin, and how it is read.
struct Collector {
    names: &'static [&'static str],
    prefixes: &'static [&'static str],
    collect: fn(&mut Host, &mut dyn Out) -> io::Result<()>,
}

/// A collector that needs nothing but files.
macro_rules! plain {
    ($names:expr, $prefixes:expr, $collect:path) => {
        Collector {
            names: &$names,
            prefixes: &$prefixes,
            collect: |host: &mut Host, out: &mut dyn Out| $collect(&mut host.files, out),
        }
    };
}

const FILESYSTEM: &str = "node_filesystem_";
const UNITS: &str = "node_systemd_";

/// What is told whoever else tells of the host.
const OWN: Collector =
    Collector { names: &[], prefixes: &["sopwith_unit_"], collect: |host, out| host.usage.write(out) };

const COLLECTORS: &[Collector] = &[
    plain!(["arp"], ["node_arp_"], net::neighbours),
    plain!(["conntrack"], ["node_nf_conntrack_"], net::tracked),
    plain!(
        ["cpu", "stat"],
        ["node_cpu_", "node_boot_", "node_context_", "node_forks_", "node_intr_", "node_procs_"],
        kernel::stat
    ),
    plain!(["diskstats"], ["node_disk_"], disk::disks),
    plain!(["entropy"], ["node_entropy_"], kernel::entropy),
    plain!(["filefd"], ["node_filefd_"], kernel::descriptors),
    Collector {
        names: &["filesystem"],
        prefixes: &[FILESYSTEM],
        collect: |host, out| host.filesystems.write(out),
    },
    plain!(["loadavg"], ["node_load"], kernel::load),
    plain!(["meminfo"], ["node_memory_"], kernel::memory),
    plain!(["netclass"], ["node_network_"], devices::properties),
    plain!(["netdev"], ["node_network_receive_", "node_network_transmit_"], devices::traffic),
    plain!(["netstat"], ["node_netstat_"], net::protocols),
    plain!(["os"], ["node_os_"], system::os),
    Collector {
        names: &["processes"],
        prefixes: &["node_processes_"],
        collect: |host, out| host.usage.write_counts(out),
    },
    plain!(["pressure"], ["node_pressure_"], kernel::pressure),
    plain!(["selinux"], ["node_selinux_"], system::selinux),
    plain!(["sockstat"], ["node_sockstat_"], net::sockets),
    plain!(["softnet"], ["node_softnet_"], net::soft_interrupts),
    Collector { names: &["systemd"], prefixes: &[UNITS], collect: |host, out| host.systemd.write(out) },
    plain!(["time"], ["node_time_"], system::time),
    Collector { names: &["timex"], prefixes: &["node_timex_"], collect: |_, out| timex::clock(out) },
    plain!(["udp_queues"], ["node_udp_"], net::udp_queues),
    plain!(["uname"], ["node_uname_"], system::uname),
    plain!(["vmstat"], ["node_vmstat_"], kernel::paging),
    // The last, because its families may have any name that no other has.
    Collector {
        names: &["textfile"],
        prefixes: &[""],
        collect: |host, out| {
            host.textfiles.look(&mut host.files);
            host.textfiles.write(out)
        },
    },
];

/// What the collectors read from, and what they keep from one page to the next.
#[derive(Debug)]
struct Host {
    files: Files,
    filesystems: Filesystems,
    systemd: Systemd,
    textfiles: Textfiles,
    text: Text,
    compat: compat::Finder,
    usage: Usage,
    took: Vec<(&'static str, Duration, bool)>,
}

/// The host, shared by the page and by those who judge. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    host: Arc<tokio::sync::Mutex<Option<Host>>>,
    settings: Arc<Mutex<(Config, u16)>>,
    root: Arc<str>,
    /// Whether the families are told, as it was found last.
    found: Arc<Mutex<Option<Compat>>>,
}

impl Default for Node {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Node {
    /// Makes the host whose kernel's files lie below a root: `/`, or a folder in tests.
    pub fn below(root: &str) -> Self {
        Self { host: Arc::default(), settings: Arc::default(), root: root.into(), found: Arc::default() }
    }

    /// Takes over settings; the next page is made by them.
    pub fn configure(&self, settings: Config, own_port: u16) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = (settings, own_port);
    }

    async fn with<T>(&self, work: impl AsyncFnOnce(&mut Host) -> T) -> io::Result<T> {
        let mut guard = self.host.lock().await;
        let (settings, own_port) = self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let host = match &mut *guard {
            Some(host) => host,
            None => guard.insert(Host::below(&self.root)?),
        };
        let told = settings
            .textfile
            .directory
            .as_ref()
            .map(|folder| folder.as_str().trim_start_matches('/').to_owned());
        host.textfiles.look_in(Some(told.clone().unwrap_or_else(|| TEXTFILES.into())), told.is_some());
        host.compat.set(*settings.node_compat, own_port);
        let found = host.compat.find(&mut host.files);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(work(host).await)
    }

    /// Says whether the families are told, in words.
    pub fn told(&self) -> String {
        match &*self.found.lock().unwrap_or_else(PoisonError::into_inner) {
            None => "not looked yet".into(),
            Some(Compat::On) => "told".into(),
            Some(Compat::Off(reason)) => format!("not told: {reason}"),
        }
    }

    /// Adds the families to a page, unless a node_exporter tells them.
    pub async fn page(&self, bytes: Vec<u8>) -> Vec<u8> {
        let mut bytes = Some(bytes);
        let page = self
            .with(async |host| {
                let told = host.compat.find(&mut host.files) == Compat::On;
                if told {
                    host.prepare(true, true).await;
                }
                host.write(bytes.take().unwrap_or_default(), told)
            })
            .await;
        page.unwrap_or_else(|e| {
            tracing::warn!("failed to read the host's metrics: {e}");
            bytes.unwrap_or_default()
        })
    }

    /// Returns the present samples of some families.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub async fn pick(&self, names: Vec<String>) -> io::Result<Picked> {
        self.with(async |host| {
            let mut picked = Picked::of(names);
            let starts = |prefix: &str| picked.wants(prefix);
            let (filesystems, systemd) = (starts(FILESYSTEM), starts(UNITS));
            host.prepare(filesystems, systemd).await;
            host.collect(&mut picked);
            picked
        })
        .await
    }

    /// Looks at units and processes, if the last look is long enough ago, and returns what may be a fault: units
    /// that use memory, and processes that took at least a share of a processor over a time. Nothing where it is
    /// too early.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub async fn usage(
        &self,
        share_min: f64,
        over: Duration,
    ) -> io::Result<Option<(Vec<UnitMemory>, Vec<Busy>)>> {
        let seen = self.with(async |host| {
            let now_ms = super::clock::boot_ms();
            if !host.usage.look(&mut host.files, now_ms, over)? {
                return Ok(None);
            }
            let busy = host.usage.busy(&mut host.files, share_min, over);
            let available = available_bytes(&mut host.files);
            let files = &mut host.files;
            let memory = host.usage.units().map(|(name, group, used)| UnitMemory {
                unit: name.to_owned(),
                bytes: used.memory_bytes,
                limit: usage::group_limit(files, group),
                available,
            });
            Ok(Some((memory.collect(), busy)))
        });
        seen.await?
    }

    /// Says what is wrong with the files of others, if anything is.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub async fn trouble(&self) -> io::Result<Option<String>> {
        self.with(async |host| {
            host.textfiles.look(&mut host.files);
            host.textfiles.trouble()
        })
        .await
    }
}

/// The memory of a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitMemory {
    pub unit: String,
    pub bytes: u64,
    /// Its own limit, where it has one.
    pub limit: Option<u64>,
    /// What the host has left.
    pub available: u64,
}

fn available_bytes(files: &mut Files) -> u64 {
    let text = files.read("proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| files::numbers(line, 0).next()).map_or(u64::MAX, |kilobytes| kilobytes * 1024)
}

impl Host {
    fn below(root: &str) -> io::Result<Self> {
        Ok(Self {
            files: Files::below(root)?,
            filesystems: Filesystems::default(),
            systemd: Systemd::default(),
            textfiles: Textfiles::default(),
            text: Text::default(),
            compat: compat::Finder::default(),
            usage: Usage::default(),
            took: Vec::new(),
        })
    }

    /// Asks those who may answer late, before anything is written.
    async fn prepare(&mut self, filesystems: bool, systemd: bool) {
        if filesystems && let Err(e) = self.filesystems.prepare(&mut self.files).await {
            tracing::debug!("failed to read the mounts: {e}");
        }
        if systemd {
            self.systemd.prepare().await;
        }
    }

    /// Reads what is wanted.
    fn collect(&mut self, out: &mut dyn Out) {
        self.took.clear();
        for collector in std::iter::once(&OWN).chain(COLLECTORS) {
            if !collector.prefixes.iter().any(|prefix| out.wants(prefix)) {
                continue;
            }
            let began = Instant::now();
            let read = (collector.collect)(self, out);
            if let Err(e) = &read {
                tracing::debug!(collector = collector.names[0], "nothing read: {e}");
            }
            let took = began.elapsed();
            self.took.extend(collector.names.iter().map(|name| (*name, took, read.is_ok())));
        }
    }

    fn write(&mut self, bytes: Vec<u8>, all: bool) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.text);
        text.begin(bytes);
        if all {
            self.collect(&mut text);
            self.write_collectors(&mut text);
        } else if let Err(e) = (OWN.collect)(self, &mut text) {
            tracing::debug!("nothing read of units: {e}");
        }
        let bytes = text.end();
        self.text = text;
        bytes
    }

    fn write_collectors(&self, text: &mut Text) {
        text.family("node_scrape_collector_duration_seconds", Kind::Gauge, "Time that a collector took.");
        for (name, took, _) in &self.took {
            text.sample(&[("collector", name)], took.as_secs_f64().into());
        }
        text.family("node_scrape_collector_success", Kind::Gauge, "Whether a collector read something.");
        for (name, _, well) in &self.took {
            text.sample(&[("collector", name)], (*well).into());
        }
    }
}

#[cfg(test)]
mod tests;
