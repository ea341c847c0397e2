//! The runner's only door: a Unix socket that root and the watcher may open, and nobody else. A thread per
//! connection; none of them acts, they read the journal and lay things on the [`Desk`].

use super::admission::Seal;
use super::desk::Desk;
use super::dry_run;
use super::gate::Gate;
use super::journal::Reader;
use super::settings::Settings;
use crate::runner::actions::nft::blocking;
use crate::runner::actions::{Leash, Programs, accounts};
use crate::runner::profiles;
use crate::runner_protocol::{Request, Response, SOCKET_NAME, WAIT_MS_MAX, read_frame, write_frame};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The watcher's own user, where the package made one.
pub const WATCHER_USER: &str = "sopwith";
/// Most connections at a time.
const CONNECTIONS_MAX: usize = 8;
/// Most records in one answer.
const RECORDS_MAX: usize = 256;
/// How long a peer may take over one frame once it has begun.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection needs.
#[derive(Debug)]
pub struct Door {
    pub settings: Arc<Settings>,
    pub desk: Arc<Desk>,
    pub limitations: Vec<String>,
    /// By which a cancelled run's program is ended at once.
    pub leash: Leash,
    /// Held while somebody looks what a plan would change.
    pub looking: Mutex<()>,
}

/// Binds the socket, with permissions for the watcher's group only.
///
/// # Errors
/// The runtime folder cannot be used.
pub fn bind(settings: &Settings) -> io::Result<UnixListener> {
    fs::create_dir_all(&settings.runtime_dir)?;
    let path = settings.runtime_dir.join(SOCKET_NAME);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    match accounts::user(WATCHER_USER) {
        Some((_, gid)) if geteuid().is_root() => {
            std::os::unix::fs::chown(&path, None, Some(gid))?;
            fs::set_permissions(&path, Permissions::from_mode(0o660))?;
        }
        _ => fs::set_permissions(&path, Permissions::from_mode(0o600))?,
    }
    Ok(listener)
}

/// Answers for ever, in threads of its own.
pub fn serve(listener: UnixListener, door: Arc<Door>) {
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors, most likely: what is open must be given time to close.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                open.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (door, open) = (Arc::clone(&door), Arc::clone(&open));
            std::thread::spawn(move || {
                if let Err(e) = converse(&stream, &door) {
                    tracing::debug!("a connection to the runner ended: {e}");
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
}

fn converse(stream: &UnixStream, door: &Door) -> io::Result<()> {
    let peer = socket_peercred(stream)?;
    let uid = peer.uid.as_raw();
    let watcher = accounts::user(WATCHER_USER).map(|(uid, _)| uid);
    if uid != 0 && uid != geteuid().as_raw() && Some(uid) != watcher {
        let reason = format!("user {uid} may not speak with the runner");
        tracing::warn!("{reason}");
        return write_frame(&mut &*stream, &Response::Refused { reason });
    }
    stream.set_write_timeout(Some(FRAME_TIMEOUT))?;
    let reader = Reader::open(&door.settings.journal()).map_err(io::Error::other)?;
    loop {
        // An idle connection may stay; a frame that has begun must come.
        stream.set_read_timeout(None)?;
        let mut first = [0; 1];
        if rustix::net::recv(stream, &mut first[..], rustix::net::RecvFlags::PEEK)?.0 == 0 {
            return Ok(());
        }
        stream.set_read_timeout(Some(FRAME_TIMEOUT))?;
        let request = match read_frame(&mut &*stream) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return write_frame(&mut &*stream, &Response::Refused { reason: e.to_string() });
            }
            Err(e) => return Err(e),
        };
        write_frame(&mut &*stream, &answer(request, door, &reader))?;
    }
}

/// Returns how checks are asked, which no cancellation concerns.
fn programs(door: &Door) -> Programs {
    Programs::by(door.settings.program.clone())
}

fn answer(request: Request, door: &Door, reader: &Reader) -> Response {
    match request {
        Request::Status { challenge } => {
            if challenge {
                door.desk.challenge();
            }
            door.status(Vec::new())
        }
        Request::Deliver(delivery) => {
            // The acting thread hears of it when the program that it waits for has ended.
            delivery.cancels.iter().for_each(|(run, _)| door.leash.cancel(run));
            let seal = Seal::read(&door.settings.server_key());
            let rejected = door.desk.deliver(delivery, seal.as_ref());
            door.status(rejected)
        }
        Request::Records { after_seq, limit } => door.records(reader, after_seq, limit),
        Request::Wait { after_seq, timeout_ms } => {
            let timeout = Duration::from_millis(timeout_ms.min(WAIT_MS_MAX));
            door.desk.wait_for_record(after_seq, timeout);
            door.records(reader, after_seq, RECORDS_MAX)
        }
        Request::Blocking { port, udp } => match blocking::find(port, if udp { "udp" } else { "tcp" }) {
            Ok(by) => Response::Blocked { by },
            Err(reason) => Response::Refused { reason },
        },
        Request::DryRun { question } => {
            // Looking costs the host something, however often it is asked.
            let Ok(_one) = door.looking.try_lock() else {
                return Response::Refused { reason: "another dry run is being looked at".into() };
            };
            let stop = door.now(Vec::new()).stop;
            match dry_run::look(&door.settings, stop, &question) {
                Ok(report) => Response::DryRun { report },
                Err(reason) => Response::Refused { reason },
            }
        }
        Request::Check { name } => match door.settings.checks.get(&name) {
            None => Response::Refused { reason: format!("this host's configuration has no check {name}") },
            Some(check) => {
                match programs(door).run(&profiles::looking(), &check.argv, check.timeout_ms, None) {
                    Ok(report) => Response::Checked { ending: report.ending, output: report.output },
                    Err(reason) => Response::Refused { reason },
                }
            }
        },
    }
}

impl Door {
    fn now(&self, rejected: Vec<String>) -> crate::runner_protocol::Status {
        let stop = Gate::stop_file_says(&self.settings.stop_file);
        self.desk.status(stop, self.limitations.clone(), rejected)
    }

    fn status(&self, rejected: Vec<String>) -> Response {
        Response::Status(self.now(rejected))
    }

    fn records(&self, reader: &Reader, after_seq: u64, limit: usize) -> Response {
        match reader.records(after_seq, limit.min(RECORDS_MAX)) {
            Ok(records) => {
                Response::Records { first_seq: after_seq + 1, records, status: self.now(Vec::new()) }
            }
            Err(e) => Response::Refused { reason: e.to_string() },
        }
    }
}
