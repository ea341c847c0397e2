//! Every planned fault of the memory store at every write: whole batches or nothing, and never a word to the
//! caller that the disk does not keep.

use sopwith_journal::memory::{Rest, record_bytes};
use sopwith_journal::{AppendError, Fatal, Fault, FaultPlan, Head, Log, MemoryDisk, MemoryLog, verify_log};

const BATCHES: u64 = 6;

/// Batches of one to three entries with bodies of different sizes, one of them empty.
fn batch(n: u64) -> Vec<Vec<u8>> {
    (0..=n % 3).map(|k| vec![n as u8; (n * k) as usize]).collect()
}

/// Returns the heads after 0, 1, 2 … whole batches.
fn sound_heads() -> Vec<Head> {
    let mut log = MemoryDisk::new("s").reopen();
    let mut heads = vec![Head::EMPTY];
    heads.extend((0..BATCHES).map(|n| log.append(n as i64, &batch(n)).unwrap()));
    heads
}

/// Appends batches from `from` on until one fails; returns how many are acknowledged in all, and the failure.
fn append_until_failure(log: &mut MemoryLog, from: u64) -> (u64, Option<AppendError>) {
    for n in from..BATCHES {
        if let Err(error) = log.append(n as i64, &batch(n)) {
            return (n, Some(error));
        }
    }
    (BATCHES, None)
}

fn assert_dead(log: &mut MemoryLog) {
    for _ in 0..3 {
        assert_eq!(log.append(0, &batch(0)), Err(AppendError::Fatal(Fatal::Crashed)));
        assert!(log.read(0, 1).is_err());
    }
}

/// Each fault with: the error that the caller gets, and whether the batch is there after opening again.
fn table() -> Vec<(Fault, Fatal, bool)> {
    let torn = |keep_bytes, rest| Fault::Torn { keep_bytes, rest };
    vec![
        (Fault::CrashBefore, Fatal::Crashed, false),
        (Fault::CrashAfter, Fatal::Crashed, true),
        (torn(0, Rest::Missing), Fatal::Crashed, false),
        (torn(usize::MAX, Rest::Zeros), Fatal::Crashed, true),
        (Fault::FsyncFails { survives: false }, Fatal::FsyncFailed, false),
        (Fault::FsyncFails { survives: true }, Fatal::FsyncFailed, true),
        (Fault::DiskFull, Fatal::DiskFull, false),
    ]
}

#[test]
fn every_fault_at_every_write_leaves_whole_batches() {
    let heads = sound_heads();
    for (fault, fatal, survives) in table() {
        for nth in 1..=BATCHES {
            let disk = MemoryDisk::with_plan("s", FaultPlan::once(nth, fault));
            let mut log = disk.reopen();
            let (acknowledged, error) = append_until_failure(&mut log, 0);
            assert_eq!(
                (acknowledged, error),
                (nth - 1, Some(AppendError::Fatal(fatal.clone()))),
                "{fault:?} {nth}"
            );
            assert_eq!(log.head(), heads[acknowledged as usize]);
            assert_dead(&mut log);
            assert_eq!(disk.fired(), [(nth, fault)]);

            let mut log = disk.reopen();
            let kept = acknowledged + u64::from(survives);
            assert_eq!(log.head(), heads[kept as usize], "{fault:?} at write {nth}");
            assert_eq!(verify_log(&log, Some(heads[acknowledged as usize])), Ok(log.head()));
            assert_eq!(append_until_failure(&mut log, kept), (BATCHES, None), "the next life goes on");
            assert_eq!(Some(&log.head()), heads.last());
        }
    }
}

#[test]
fn every_pair_of_faults_is_recovered_from() {
    let heads = sound_heads();
    for (first, _, first_survives) in table() {
        for (second, _, second_survives) in table() {
            for (n, m) in (1..=BATCHES).flat_map(|n| (n + 1..=BATCHES).map(move |m| (n, m))) {
                let disk = MemoryDisk::with_plan("s", FaultPlan::once(n, first).and(m, second));
                let (mut done, mut lives) = (0, 0);
                while done < BATCHES {
                    lives += 1;
                    let mut log = disk.reopen();
                    let kept =
                        heads.iter().position(|head| *head == log.head()).expect("whole batches") as u64;
                    let survived = match lives {
                        2 => first_survives,
                        3 => second_survives,
                        _ => false,
                    };
                    assert_eq!(kept, done + u64::from(survived), "{first:?} at {n}, {second:?} at {m}");
                    (done, _) = append_until_failure(&mut log, kept);
                }
                // The second write number may lie beyond the last batch when the first batch survived its fault.
                assert_eq!(lives, 1 + disk.fired().len(), "{first:?} at {n}, {second:?} at {m}");
                assert_eq!(Some(&disk.reopen().head()), heads.last());
            }
        }
    }
}

#[test]
fn a_record_torn_at_any_byte_takes_its_whole_batch_along() {
    let heads = sound_heads();
    for rest in [Rest::Missing, Rest::Zeros] {
        for nth in 1..=BATCHES {
            let last_body = batch(nth - 1).pop().map_or(0, |body| body.len());
            for keep_bytes in 0..=record_bytes(last_body) {
                let fault = Fault::Torn { keep_bytes, rest };
                let disk = MemoryDisk::with_plan("s", FaultPlan::once(nth, fault));
                append_until_failure(&mut disk.reopen(), 0);
                let head = disk.reopen().head();
                let (dropped, whole) = (heads[nth as usize - 1], heads[nth as usize]);
                let complete = keep_bytes == record_bytes(last_body);
                // Zeros instead of bytes that were zero anyway change nothing, so there either may be right.
                if rest == Rest::Missing || complete || keep_bytes == 0 {
                    assert_eq!(head, if complete { whole } else { dropped }, "{fault:?} at write {nth}");
                }
                assert!(head == dropped || head == whole, "{fault:?} at write {nth}");
                assert_eq!(verify_log(&disk.reopen(), None), Ok(head));
            }
        }
    }
}

#[test]
fn a_snapshot_is_a_disk_of_its_own() {
    let disk = MemoryDisk::with_plan("s", FaultPlan::once(3, Fault::DiskFull));
    let mut log = disk.reopen();
    let old = log.append(0, &batch(0)).unwrap();
    let backup = disk.snapshot();
    let new = log.append(0, &batch(1)).unwrap();
    assert_eq!(backup.reopen().head(), old);
    assert_eq!((log.head(), disk.entries().len()), (new, new.seq as usize));
    let mut restored = backup.reopen();
    for n in 1..BATCHES {
        restored.append(0, &batch(n)).unwrap();
    }
    assert!(backup.fired().is_empty(), "a backup has no faults planned");
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use sopwith_journal::mutant::{Mutant, set};

    /// Runs with a mutant and clears it, so that other tests on this thread stay sound.
    fn with(mutant: Mutant, test: impl FnOnce()) {
        set(Some(mutant));
        test();
        set(None);
    }

    #[test]
    fn without_fsync_the_last_acknowledged_batch_is_lost() {
        with(Mutant::SkipFsync, || {
            let heads = sound_heads();
            let disk = MemoryDisk::with_plan("s", FaultPlan::once(4, Fault::CrashBefore));
            assert_eq!(append_until_failure(&mut disk.reopen(), 0).0, 3);
            assert_eq!(disk.reopen().head(), heads[2]);
        });
    }

    #[test]
    fn ignoring_a_torn_end_keeps_half_a_batch() {
        with(Mutant::IgnoreTorn, || {
            let fault = Fault::Torn { keep_bytes: 50, rest: Rest::Missing };
            let disk = MemoryDisk::with_plan("s", FaultPlan::once(3, fault));
            append_until_failure(&mut disk.reopen(), 0);
            assert!(!sound_heads().contains(&disk.reopen().head()));
        });
    }

    #[test]
    fn a_retried_fsync_acknowledges_what_is_gone() {
        with(Mutant::RetryFailedFsync, || {
            let plan = FaultPlan::once(2, Fault::FsyncFails { survives: false });
            let disk = MemoryDisk::with_plan("s", plan);
            assert_eq!(append_until_failure(&mut disk.reopen(), 0), (BATCHES, None));
            assert_eq!(disk.reopen().head(), sound_heads()[1]);
        });
    }
}
