//! Gathers what people want to see beside a fault, after the fault itself is on its way: a fix does not wait for it.
//! Programs are started by argument vector, bounded in time and output.

use super::process::{self, Ended};
use super::report::{Fault, Look, Report, evidence};
use super::sink::Message;
use sopwith_domain::value::UnitName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Most looks at a time.
const LOOKS_MAX: usize = 4;
/// Pause before a look: a repair that needs no person has the processor first, and a journal forgets nothing.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Longest time of one look.
const LOOK_TIME_MAX: Duration = Duration::from_secs(3);
/// Most output that is read of one program, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Starts looks and hands what they find to the keeper.
#[derive(Clone, Debug)]
pub struct Evidencer {
    /// Weak, so that looks keep nobody from stopping.
    to: mpsc::WeakSender<Message>,
    permits: Arc<Semaphore>,
}

impl Evidencer {
    pub fn new(to: &mpsc::Sender<Message>) -> Self {
        Self { to: to.downgrade(), permits: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }

    /// Begins a look; returns false where too many are under way.
    pub fn look(&self, look: Look, fault: Fault) -> bool {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return false };
        let to = self.to.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOOK_PAUSE).await;
            let found = match &look {
                Look::Journal(unit) => journal(unit).await,
            };
            drop(permit);
            let (Some((title, text)), Some(to)) = (found, to.upgrade()) else { return };
            let mut evidence_now = fault.evidence;
            evidence_now.push(evidence(&title, &text));
            evidence_now.truncate(sopwith_domain::signal::EVIDENCE_MAX);
            let report =
                Report::Gathered { rule: fault.rule, subject: fault.subject, evidence: evidence_now };
            // A keeper that is gone needs no evidence.
            let _ = to.send(Message::of("evidence", vec![report])).await;
        });
        true
    }
}

/// Returns the last lines of a unit's journal.
async fn journal(unit: &UnitName) -> Option<(String, String)> {
    let argv = ["journalctl", "-u", unit.as_str(), "-n", "30", "-o", "short-iso", "--no-pager", "-q"];
    let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
    let done = process::run(&argv, LOOK_TIME_MAX, OUTPUT_BYTES_MAX).await.ok()?;
    let text = String::from_utf8_lossy(&done.output).into_owned();
    let title = match done.ended {
        Ended::Exited(0) => format!("journal of {unit}, last lines"),
        _ => format!("journal of {unit}, as far as it could be read"),
    };
    (!text.trim().is_empty()).then_some((title, text))
}
