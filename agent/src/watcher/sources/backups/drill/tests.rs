use super::*;
use crate::config::Config;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A folder with one archive: 3 files, of which one in a folder that nobody may write.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "mkdir -p in/etc/closed && echo secret > in/etc/closed/x && echo a > in/etc/a && \
            head -c 200000 /dev/zero > in/big && : > in/empty && ln -s /etc/passwd in/link && chmod 500 in/etc/closed && \
            tar -C in -czf a.tar.gz . && head -c 100 a.tar.gz > short.tar.gz";
        let done = std::process::Command::new("sh").args(["-c", script]).current_dir(folder.path()).status();
        assert!(done.expect("sh is there").success());
        Self { folder }
    }

    async fn drill(&self, id: &str, more: &str) -> Outcome {
        let path = self.folder.path().display();
        let text = format!(
            "backups:\n- {{name: b/1, files: {{directory: {path}, pattern: '*.tar.gz'}}, drill: {{max_bytes: 1MiB, scratch: {path}/scratch{more}}}}}\n"
        );
        let backup = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).backups.remove(0);
        let drill = backup.drill.clone().expect("set");
        let outcome = run(&backup, &drill, id, self.folder.path()).await;
        let left: Vec<_> =
            fs::read_dir(self.folder.path().join("scratch")).expect("there").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        outcome
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Restored { files, .. } => format!("restored {files}"),
        Outcome::Failed { reason, .. } => (*reason).into(),
        Outcome::Unasked(_) => "unasked".into(),
    }
}

#[tokio::test]
async fn drills_end_in_every_way_and_leave_nothing() {
    let place = Place::new();
    for (id, more, says) in [
        ("a.tar.gz", "", "restored 4"),
        ("a.tar.gz", ", expect: [etc/a, etc]", "restored 4"),
        ("a.tar.gz", ", expect: [etc/b]", "incomplete"),
        ("a.tar.gz", ", expect: [empty]", "incomplete"),
        ("a.tar.gz", ", expect: [link]", "incomplete"),
        ("a.tar.gz", ", check: [/bin/test, -s, etc/a]", "restored 4"),
        ("a.tar.gz", ", check: [/usr/bin/find, '{scratch}', -name, a]", "restored 4"),
        ("a.tar.gz", ", check: [/bin/false]", "check"),
        ("short.tar.gz", "", "restore"),
        ("missing.tar.gz", "", "restore"),
        ("a.tar.gz", ", max_bytes: 100KiB", "size"),
        ("a.tar.gz", ", max_bytes: 4000TiB", "room"),
        ("a.tar.gz", ", unpack: [/bin/sleep, '1000'], max_time: 200ms", "time"),
        ("a.tar.gz", ", unpack: [/bin/true]", "empty"),
        ("a.tar.gz", ", unpack: [/bin/cp, '{archive}', '{scratch}']", "restored 1"),
        ("a.tar.gz", ", unpack: [/does/not/exist]", "unasked"),
        // What fills the disk is ended long before its time.
        ("a.tar.gz", ", unpack: [/bin/sh, -c, 'yes > x']", "size"),
    ] {
        // A later setting of the same name takes the place of the first.
        let more = more.to_owned();
        let outcome = if more.contains("max_bytes") {
            let place = &place;
            let path = place.folder.path().display();
            let text = format!(
                "backups:\n- {{name: b, files: {{directory: {path}, pattern: '*.tar.gz'}}, drill: {{scratch: {path}/scratch{more}}}}}\n"
            );
            let backup = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).backups.remove(0);
            run(&backup, &backup.drill.clone().expect("set"), id, place.folder.path()).await
        } else {
            place.drill(id, &more).await
        };
        assert_eq!(told(&outcome), says, "{id} {more}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_an_earlier_life_left_is_removed_and_nothing_else() {
    let place = Place::new();
    let scratch = place.folder.path().join("scratch");
    for name in ["sopwith-drill-b-1-0000", "sopwith-drill-b-1-0001/deep", "sopwith-drill-other-1", "own"] {
        fs::create_dir_all(scratch.join(name)).expect("made");
    }
    let text = format!(
        "backups:\n- {{name: b/1, files: {{directory: {0}, pattern: '*.tar.gz'}}, drill: {{max_bytes: 1MiB, scratch: {0}/scratch}}}}\n",
        place.folder.path().display()
    );
    let backup = Config::parse(&text).expect("it parses").backups.remove(0);
    let outcome = run(&backup, &backup.drill.clone().expect("set"), "a.tar.gz", place.folder.path()).await;
    assert_eq!(told(&outcome), "restored 4");
    let mut left: Vec<_> = fs::read_dir(&scratch)
        .expect("there")
        .flatten()
        .map(|e| e.file_name().into_string().expect("a name"))
        .collect();
    left.sort();
    assert_eq!(left, ["own", "sopwith-drill-other-1"]);
}
