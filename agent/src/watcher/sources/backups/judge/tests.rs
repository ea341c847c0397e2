use super::*;
use crate::config::Config;

const HOUR: i64 = 3600;
const NOW: i64 = 1_000_000_000;

fn backup(more: &str) -> Backup {
    let text = format!(
        "backups:\n- {{name: b, unit: b.service, files: {{directory: /b, pattern: '*.tar.gz'}}{more}}}\n"
    );
    Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).backups.remove(0)
}

/// Copies by age in hours and size.
fn found(copies: &[(i64, u64)]) -> Found {
    let copy = |(age_h, bytes): &(i64, u64)| Copy {
        id: format!("{age_h}.tar.gz"),
        at_s: NOW - age_h * HOUR,
        bytes: Some(*bytes),
        failed: false,
    };
    Found { copies: copies.iter().map(copy).collect(), ..Found::default() }
}

fn told(backup: &Backup, found: &Found, job: &JobState) -> String {
    let told = judge(backup, found, job, NOW).into_iter().map(|(fault, _)| {
        let fields = ["reason", "age_s", "count", "newest", "keep", "usual_bytes", "holder", "job"];
        let fields = fields
            .iter()
            .filter_map(|name| Some(format!("{name}={}", fault.fields.get(&Word::new(*name).ok()?)?)));
        format!("{} {}", fault.kind, fields.collect::<Vec<_>>().join(","))
    });
    told.collect::<Vec<_>>().join("; ")
}

#[test]
fn age() {
    let idle = JobState::Idle;
    let on = JobState::GetsOn;
    let hung = JobState::Hung { since_s: 100, reason: "stalled" };
    for (ages, job, says) in [
        (&[1, 25][..], &idle, ""),
        (&[26], &idle, ""),
        (&[27, 51], &idle, "backup.missing age_s=97200,count=2,newest=/b/27.tar.gz,job=idle"),
        (&[], &idle, "backup.missing count=0,job=idle"),
        // One that is being made is not missing, and of one whose job hangs that is told.
        (&[27], &on, ""),
        (&[], &on, ""),
        (&[27], &hung, ""),
        // A clock that was wrong makes none old.
        (&[-5], &idle, ""),
    ] {
        let copies: Vec<_> = ages.iter().map(|age| (*age, 100)).collect();
        assert_eq!(told(&backup(""), &found(&copies), job), says, "{ages:?} {job:?}");
    }
    assert_eq!(
        told(&backup(", every: 1h, grace: 10m"), &found(&[(2, 1)]), &idle),
        "backup.missing age_s=7200,count=1,newest=/b/2.tar.gz,job=idle"
    );
}

#[test]
fn sizes() {
    for (more, sizes, says) in [
        ("", &[100, 100, 100, 100][..], ""),
        ("", &[50, 100, 100, 100], ""),
        ("", &[49, 100, 100, 100], "backup.size reason=shrunk,newest=/b/0.tar.gz,usual_bytes=100"),
        // Two are no history, and one odd one does not make it.
        ("", &[1, 100, 100], ""),
        ("", &[49, 100, 1, 100, 100], "backup.size reason=shrunk,newest=/b/0.tar.gz,usual_bytes=100"),
        ("", &[0, 100], "backup.size reason=too-small,newest=/b/0.tar.gz"),
        (", size: {min: 1KiB}", &[1023], "backup.size reason=too-small,newest=/b/0.tar.gz"),
        (", size: {shrink_percent: 100}", &[1, 100, 100, 100], ""),
        (", size: {grow_percent: 50}", &[150, 100, 100, 100], ""),
        (
            ", size: {grow_percent: 50}",
            &[151, 100, 100, 100],
            "backup.size reason=grown,newest=/b/0.tar.gz,usual_bytes=100",
        ),
        ("", &[1_000_000, 100, 100, 100], ""),
    ] {
        let copies: Vec<_> = sizes.iter().enumerate().map(|(i, bytes)| (i as i64, *bytes)).collect();
        let said = told(&backup(more), &found(&copies), &JobState::Idle);
        let order = |text: &str| {
            let mut parts: Vec<_> = text.split(['=', ',', ' ']).map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(order(&said), order(says), "{more} {sizes:?}");
    }
    // What the program no longer knows counts where it knows no others.
    let alone = Found { sizes_before: vec![100, 100, 100], ..found(&[(1, 10)]) };
    assert!(told(&backup(""), &alone, &JobState::Idle).contains("reason=shrunk"));
}

#[test]
fn numbers() {
    let keep = ", keep: {min: 2, max: 3}";
    for (count, says) in [
        (1, "backup.retention reason=too-few,count=1,keep=2"),
        (2, ""),
        (3, ""),
        (4, "backup.retention reason=too-many,count=4,keep=3"),
    ] {
        let copies: Vec<_> = (0..count).map(|i| (i, 100)).collect();
        assert_eq!(told(&backup(keep), &found(&copies), &JobState::Idle), says, "{count}");
        assert_eq!(told(&backup(keep), &found(&copies), &JobState::GetsOn), "", "{count}, one is being made");
    }
}

#[test]
fn locks_and_unfinished_ones() {
    let lock = |stale| Lock { holder: "web-1:77".into(), age_s: 4000, stale };
    let old = Found { locks: vec![lock(false)], ..found(&[(30, 1)]) };
    assert_eq!(told(&backup(""), &old, &JobState::Idle), "", "a live lock: it is being made");
    let stale = Found { locks: vec![lock(true)], ..found(&[(1, 1)]) };
    assert_eq!(told(&backup(""), &stale, &JobState::Idle), "backup.locked age_s=4000,holder=web-1:77");
    let mut failed = found(&[(30, 1), (1, 1)]);
    failed.copies[1].failed = true;
    let said = told(&backup(""), &failed, &JobState::Idle);
    assert!(
        said.starts_with("backup.missing") && said.contains("backup.incomplete newest=/b/1.tar.gz"),
        "{said}"
    );
}

#[test]
fn words_of_names() {
    for (text, is) in [("a b", "a_b"), ("--x", "x"), ("", "unknown"), ("v1.2:3", "v1.2:3")] {
        assert_eq!(word(text).as_str(), is);
    }
}
