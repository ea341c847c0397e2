//! The programs as Debian ships them, with repositories that are good, empty, locked, damaged and not there. A test
//! whose program is not installed says so loudly.

use super::*;
use crate::watcher::sources::backups::judge::judge;
use std::path::Path;
use std::process::Command;

/// A folder with a program's repository in it.
struct Place {
    folder: tempfile::TempDir,
}

/// Says whether a program is there; a test without it is skipped, loudly.
fn installed(program: &str, package: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        eprintln!(
            "SKIPPED: {program} is not installed (Debian package {package}); its answers were not checked"
        );
    }
    there
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("src")).expect("made");
        std::fs::write(folder.path().join("src/a"), "some text").expect("written");
        // No two blocks alike, so that nothing is stored once only.
        let bytes: Vec<u8> =
            (0..600_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(folder.path().join("src/b"), bytes).expect("written");
        std::fs::write(folder.path().join("password"), "secret\n").expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, argv: &[&str], variables: &[(&str, &str)]) {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).current_dir(self.folder.path()).env("HOME", self.folder.path());
        let done = command.envs(variables.iter().copied()).output().expect("it starts");
        assert!(done.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn backup(&self, maker: &str) -> Backup {
        let text = format!("backups:\n- {{name: b, {maker}, drill: {{max_bytes: 64MiB}}}}\n");
        Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).backups.remove(0)
    }

    /// Looks at it, and says what was found or what was wrong.
    async fn told(&self, backup: &Backup) -> String {
        let looked = match (&backup.restic, &backup.borg, &backup.pgbackrest) {
            (Some(restic), ..) => restic::look(restic, now_s()).await,
            (_, Some(borg), _) => borg::look(borg, self.folder.path(), now_s()).await,
            (.., Some(backrest)) => pgbackrest::look(backrest).await,
            _ => unreachable!(),
        };
        match looked {
            Ok(found) => {
                let age_max_s = found.newest().map_or(0, |newest| now_s() - newest.at_s);
                assert!((0..600).contains(&age_max_s), "{found:?}");
                let faults = judge(backup, &found, &JobState::Idle, now_s());
                let kinds: Vec<_> = faults.iter().map(|(fault, _)| fault.kind.to_string()).collect();
                format!("{} copies, {} locks; {}", found.copies.len(), found.locks.len(), kinds.join(" "))
            }
            Err(trouble) => reason(&trouble),
        }
    }

    /// Restores the newest and looks at what came out.
    async fn drill(&self, backup: &Backup, expect: &str) -> String {
        let found = match (&backup.restic, &backup.borg, &backup.pgbackrest) {
            (Some(restic), ..) => restic::look(restic, now_s()).await,
            (_, Some(borg), _) => borg::look(borg, self.folder.path(), now_s()).await,
            (.., Some(backrest)) => pgbackrest::look(backrest).await,
            _ => unreachable!(),
        };
        let newest = found.expect("it answers").newest().expect("there is one").id.clone();
        let mut drill = backup.drill.clone().expect("set");
        drill.expect = vec![crate::config::At::of(expect.trim_start_matches('/').to_owned())];
        match drill::run(backup, &drill, &newest, self.folder.path()).await {
            drill::Outcome::Restored { .. } => "restored".into(),
            drill::Outcome::Failed { reason, words } => format!("{reason}: {words}"),
            drill::Outcome::Unasked(reason) => format!("unasked: {reason}"),
        }
    }

    /// Damages the biggest file below a folder.
    fn damage(&self, below: &str) {
        let mut biggest = (0, std::path::PathBuf::new());
        let mut todo = vec![self.folder.path().join(below)];
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                let metadata = entry.metadata().expect("metadata");
                if metadata.is_dir() {
                    todo.push(entry.path());
                } else if metadata.len() > biggest.0 {
                    biggest = (metadata.len(), entry.path());
                }
            }
        }
        let mut bytes = std::fs::read(&biggest.1).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0x55);
        // The program may have made it read-only.
        std::fs::remove_file(&biggest.1).expect("removed");
        std::fs::write(&biggest.1, bytes).expect("written");
    }
}

fn reason(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Repository { reason, .. } => (*reason).into(),
        Trouble::Unasked(reason) => format!("unasked: {reason}"),
    }
}

const WEEK: crate::config::Period = crate::config::Period::secs(7 * 86_400);

#[tokio::test]
async fn restic_as_it_is() {
    if !installed("/usr/bin/restic", "restic") {
        return;
    }
    let place = Place::new();
    let (repository, password) = (place.path("r"), place.path("password"));
    let maker = |repository: &str, password: &str| {
        format!("restic: {{repository: {repository}, password_file: {password}}}")
    };
    let backup = place.backup(&maker(&repository, &password));
    assert_eq!(place.told(&backup).await, "no-repository");
    let restic = |arguments: &[&str]| {
        let argv =
            [&["/usr/bin/restic", "--no-cache", "-r", &repository, "-p", &password], arguments].concat();
        place.run(&argv, &[]);
    };
    restic(&["init"]);
    assert_eq!(place.told(&backup).await, "0 copies, 0 locks; backup.missing");
    let source = place.path("src");
    restic(&["backup", &source]);
    assert_eq!(place.told(&backup).await, "1 copies, 0 locks; ");
    let restic_of = backup.restic.as_ref().expect("set");
    let newest =
        restic::look(restic_of, now_s()).await.expect("it answers").newest().expect("one").id.clone();
    assert_eq!(restic::bytes(restic_of, &newest).await, Ok(2_400_009));
    assert_eq!(place.drill(&backup, &format!("{source}/b")).await, "restored");
    assert_eq!(restic::verify(restic_of, true, WEEK).await, Ok(()));
    std::fs::write(place.path("wrong"), "other\n").expect("written");
    let wrong = place.backup(&maker(&repository, &place.path("wrong")));
    assert_eq!(place.told(&wrong).await, "password");
    // A job that was killed leaves its lock.
    let mut job = Command::new("/usr/bin/restic")
        .args(["--no-cache", "-r", &repository, "-p", &password, "backup", "--stdin"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let locked =
        || std::fs::read_dir(place.path("r/locks")).is_ok_and(|mut entries| entries.next().is_some());
    while !locked() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(place.told(&backup).await, "1 copies, 1 locks; ", "it is being made");
    job.kill().expect("killed");
    job.wait().expect("reaped");
    assert_eq!(place.told(&backup).await, "1 copies, 1 locks; backup.locked");
    place.damage("r/data");
    let verified = restic::verify(restic_of, true, WEEK).await.expect_err("it is damaged");
    assert_eq!(reason(&verified), "corrupt");
    assert!(!place.drill(&backup, &source).await.starts_with("restored"));
}

#[tokio::test]
async fn borg_as_it_is() {
    if !installed("/usr/bin/borg", "borgbackup") {
        return;
    }
    let place = Place::new();
    let repository = place.path("r");
    let maker = |password: &str| {
        format!("borg: {{repository: {repository}, passphrase_file: {}}}", place.path(password))
    };
    let backup = place.backup(&maker("password"));
    assert_eq!(place.told(&backup).await, "no-repository");
    let borg = |arguments: &[&str]| {
        place.run(&[&["/usr/bin/borg"], arguments].concat(), &[("BORG_PASSPHRASE", "secret")]);
    };
    borg(&["init", "-e", "repokey-blake2", &repository]);
    assert_eq!(place.told(&backup).await, "0 copies, 0 locks; backup.missing");
    let source = place.path("src");
    borg(&["create", &format!("{repository}::one"), &source]);
    assert_eq!(place.told(&backup).await, "1 copies, 0 locks; ");
    let borg_of = backup.borg.as_ref().expect("set");
    assert_eq!(borg::bytes(borg_of, place.folder.path(), "one").await, Ok(2_400_009));
    assert_eq!(place.drill(&backup, &format!("{source}/b")).await, "restored");
    assert_eq!(borg::verify(borg_of, place.folder.path(), true, WEEK).await, Ok(()));
    std::fs::write(place.path("wrong"), "other\n").expect("written");
    assert_eq!(place.told(&place.backup(&maker("wrong"))).await, "password");
    // What a job that was killed leaves behind, in borg's own form: a process number that is nobody's.
    let lock = format!("{repository}/lock.exclusive");
    std::fs::create_dir(&lock).expect("made");
    std::fs::write(format!("{lock}/{}@1.4194304-0", own_name()), "").expect("written");
    assert_eq!(place.told(&backup).await, "1 copies, 1 locks; backup.locked");
    std::fs::remove_dir_all(&lock).expect("removed");
    place.damage("r/data");
    let verified = borg::verify(borg_of, place.folder.path(), true, WEEK).await.expect_err("it is damaged");
    assert_eq!(reason(&verified), "corrupt");
    assert!(!place.drill(&backup, &source).await.starts_with("restored"));
}

/// pgBackRest refuses neither root nor a cluster that does not run; initdb refuses root.
#[tokio::test]
async fn pgbackrest_as_it_is() {
    let initdb = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let initdb = initdb.map(|entry| entry.path().join("bin/initdb")).find(|path| path.exists());
    let Some(initdb) = initdb.filter(|_| installed("/usr/bin/pgbackrest", "pgbackrest")) else {
        eprintln!("SKIPPED: pgbackrest or initdb is not installed (Debian packages pgbackrest, postgresql)");
        return;
    };
    let place = Place::new();
    let root = rustix::process::geteuid().is_root();
    if root {
        place.run(&["chown", "postgres", &place.path(".")], &[]);
    }
    let as_owner = |argv: &[&str]| {
        let user: &[&str] =
            if root { &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] } else { &[] };
        place.run(&[user, argv].concat(), &[]);
    };
    let data = place.path("data");
    as_owner(&[&initdb.display().to_string(), "-D", &data, "-A", "trust", "-N"]);
    let config = place.path("backrest.conf");
    let text = format!(
        "[global]\nrepo1-path={0}/repo\nlog-path={0}/log\nlock-path={0}/lock\n[main]\npg1-path={data}\n",
        place.path("")
    );
    std::fs::write(&config, text.replace("//", "/")).expect("written");
    std::fs::create_dir(place.path("repo")).expect("made");
    if root {
        place.run(&["chown", "postgres", &place.path("repo")], &[]);
    }
    let backup = place.backup(&format!("pgbackrest: {{stanza: main, config: {config}}}"));
    assert_eq!(place.told(&backup).await, "no-repository");
    let backrest = |arguments: &[&str]| {
        let config = format!("--config={config}");
        let shared =
            ["/usr/bin/pgbackrest", config.as_str(), "--stanza=main", "--log-level-file=off", "--no-online"];
        as_owner(&[&shared, arguments].concat());
    };
    backrest(&["stanza-create"]);
    assert_eq!(place.told(&backup).await, "0 copies, 0 locks; backup.missing");
    backrest(&["backup", "--compress-level=0"]);
    assert_eq!(place.told(&backup).await, "1 copies, 0 locks; ");
    assert_eq!(place.drill(&backup, "data/PG_VERSION").await, "restored");
    let backrest_of = backup.pgbackrest.as_ref().expect("set");
    assert_eq!(pgbackrest::verify(backrest_of, WEEK).await, Ok(()));
    place.damage("repo/backup/main");
    let verified = pgbackrest::verify(backrest_of, WEEK).await.expect_err("it is damaged");
    assert_eq!(reason(&verified), "corrupt");
    let gone = place.backup("pgbackrest: {stanza: main, config: /does/not/exist}");
    assert_eq!(place.told(&gone).await, "no-repository");
}

#[tokio::test]
async fn a_program_that_is_missing_is_no_fault_of_the_backup() {
    let place = Place::new();
    for (maker, says) in [
        (
            "restic: {repository: /r, program: /does/not/exist}",
            "unasked: /does/not/exist is not there: install it, or take this backup out",
        ),
        (
            "borg: {repository: /r, program: /bin/echo}",
            "unasked: failed to understand what borg answers: expected value at line 1 column 1",
        ),
        (
            "borg: {repository: /r, program: /bin/echo, passphrase_file: /does/not/exist}",
            "unasked: failed to read /does/not/exist: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(place.told(&place.backup(maker)).await, says, "{maker}");
    }
}
