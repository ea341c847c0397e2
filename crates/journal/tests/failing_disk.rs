//! Every fsync and every write of a real SQLite journal fails once, n = 1, 2, 3 … until a run ends unharmed:
//! nothing that was acknowledged is missing after it, and nothing is acknowledged after a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

use sopwith_journal::{AppendError, Fatal, Head, Log, SqliteLog, verify_log};

const STREAM: &str = "s";
const CHILD_ENV: &str = "SOPWITH_JOURNAL_TEST_DISK";
const BATCHES: u64 = 6;
const BATCH: u64 = 2;
/// A run has some ten calls of each kind; without this limit a shim that never strikes would loop for ever.
const CALLS_MAX: u64 = 500;

/// Not a test of its own: the process whose disk fails. It tells what was acknowledged, line by line.
#[test]
fn child_on_a_failing_disk() {
    let Some(path) = std::env::var_os(CHILD_ENV) else { return };
    let mut log = match SqliteLog::open(Path::new(&path), STREAM) {
        Ok(log) => log,
        Err(error) => return eprintln!("unopened {error}"),
    };
    for n in 0..BATCHES {
        match log.append(0, &[vec![n as u8; 3000], vec![n as u8; 3000]]) {
            Ok(head) => eprintln!("acknowledged {} {}", head.seq, head.hash),
            Err(error) => eprintln!("failed {error:?}"),
        }
    }
}

fn build_shim(folder: &Path) -> PathBuf {
    let shim = folder.join("failing_disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failing_disk.c");
    let cc = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(cc).args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(source).arg("-ldl").status();
    assert!(built.expect("a C compiler, as SQLite itself needs one").success());
    shim
}

fn run_child(shim: &Path, path: &Path, kind: &str, nth: u64) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_on_a_failing_disk", "--nocapture", "--test-threads=1"])
        .env(CHILD_ENV, path)
        .env("LD_PRELOAD", shim)
        .env("FAIL_KIND", kind)
        .env("FAIL_AT", nth.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect()
}

fn acknowledged(line: &str) -> Option<Head> {
    let (seq, hash) = line.strip_prefix("acknowledged ")?.split_once(' ').unwrap();
    Some(Head { seq: seq.parse().unwrap(), hash: hash.parse().unwrap() })
}

/// Fails every call of one kind and returns the causes that appends gave.
fn fail_every(kind: &str) -> Vec<String> {
    let folder = tempfile::Builder::new().prefix("failing-disk-test").tempdir().unwrap();
    let shim_folder = tempfile::tempdir().unwrap();
    let shim = build_shim(shim_folder.path());
    let mut causes = Vec::new();
    for nth in 1..CALLS_MAX {
        let path = folder.path().join(format!("{nth}.db"));
        let said = run_child(&shim, &path, kind, nth);
        let heads: Vec<Head> = said.iter().filter_map(|line| acknowledged(line)).collect();

        let log = SqliteLog::open(&path, STREAM).unwrap();
        assert_eq!(log.head().seq % BATCH, 0, "half a batch: {kind} {nth}: {said:?}");
        assert_eq!(verify_log(&log, heads.last().copied()), Ok(log.head()), "{kind} {nth}: {said:?}");

        let failures: Vec<&String> = said.iter().skip_while(|line| !line.starts_with("failed")).collect();
        if let Some((first, later)) = failures.split_first() {
            causes.push((*first).clone());
            let crashed = format!("failed {:?}", AppendError::Fatal(Fatal::Crashed));
            assert!(
                later.iter().all(|line| **line == crashed),
                "alive after a failure: {kind} {nth}: {said:?}"
            );
        }
        if !said.iter().any(|line| line == "struck") {
            assert_eq!(heads.len() as u64, BATCHES, "an unharmed run: {said:?}");
            return causes;
        }
    }
    panic!("{kind}: the run never ended unharmed");
}

#[test]
fn every_fsync_fails_once() {
    let causes = fail_every("fsync");
    let expected = format!("failed {:?}", AppendError::Fatal(Fatal::FsyncFailed));
    assert!(causes.len() >= BATCHES as usize, "{causes:?}");
    assert!(causes.iter().all(|cause| *cause == expected), "{causes:?}");
}

#[test]
fn every_write_finds_the_disk_full_once() {
    let causes = fail_every("full");
    let expected = format!("failed {:?}", AppendError::Fatal(Fatal::DiskFull));
    assert!(causes.len() >= BATCHES as usize, "{causes:?}");
    assert!(causes.iter().all(|cause| *cause == expected), "{causes:?}");
}
