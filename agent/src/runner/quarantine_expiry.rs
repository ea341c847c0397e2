//! Removes what was kept for the undo of runs that ended long ago, and says how much.

use super::journal::Fate;
use sopwith_domain::ids::Digest;
use sopwith_domain::time::Timestamp;
use std::fs;
use std::path::Path;

/// Removes the folders of runs that ended more than `kept_ms` ago. A folder that names no run which this journal
/// knows is left alone: nobody can say whose it is.
pub fn run(quarantine: &Path, kept_ms: i64, now: Timestamp, fate: impl Fn(&Digest) -> Option<Fate>) -> usize {
    let mut removed = 0;
    for entry in fs::read_dir(quarantine).into_iter().flatten().flatten() {
        let Some(run) = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()) else {
            continue;
        };
        let over = match fate(&run) {
            Some(Fate::Ended(at)) => now.since(at) > kept_ms,
            _ => false,
        };
        if over {
            match fs::remove_dir_all(entry.path()) {
                Ok(()) => removed += 1,
                Err(e) => tracing::warn!("failed to remove {}: {e}", entry.path().display()),
            }
        }
    }
    if removed > 0 {
        tracing::info!("removed the quarantine of {removed} runs that ended long ago");
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_ended_runs_lose_their_quarantine() {
        let folder = tempfile::tempdir().expect("tempdir");
        let [open, fresh, old, unknown] = [1, 2, 3, 4].map(|n| Digest([n; 32]));
        for run in [open, fresh, old, unknown] {
            fs::create_dir_all(folder.path().join(run.to_string()).join("0")).expect("mkdir");
        }
        fs::create_dir(folder.path().join("else")).expect("mkdir");
        let fate = |run: &Digest| match run.0[0] {
            1 => Some(Fate::Open),
            2 => Some(Fate::Ended(Timestamp(900))),
            3 => Some(Fate::Ended(Timestamp(100))),
            _ => None,
        };
        assert_eq!(super::run(folder.path(), 500, Timestamp(1000), fate), 1);
        assert!(!folder.path().join(old.to_string()).exists());
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 4);
    }
}
