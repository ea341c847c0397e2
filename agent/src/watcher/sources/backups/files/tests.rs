use super::*;
use crate::config::Config;
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

struct Folder {
    folder: tempfile::TempDir,
    backup: Backup,
    memory: Memory,
}

/// Far enough in the future for everything to have settled.
fn later_s() -> i64 {
    crate::watcher::clock::now().0 / 1000 + 3600
}

impl Folder {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "backups:\n- {{name: b, files: {{directory: {}, pattern: '*.tar.gz'{more}}}}}\n",
            folder.path().display()
        );
        let backup = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).backups.remove(0);
        Self { folder, backup, memory: Memory::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("written");
    }

    /// Writes an archive with its checksum.
    fn archive(&self, name: &str, text: &str) -> Vec<u8> {
        let bytes = [b"\x1f\x8b", text.as_bytes()].concat();
        self.write(name, &bytes);
        self.write(
            &format!("{name}.sha256"),
            format!("{}  {name}\n", hex::encode(Sha256::digest(&bytes))).as_bytes(),
        );
        bytes
    }

    fn files(&self) -> FileSet {
        self.backup.files.clone().expect("set")
    }

    fn told(&mut self) -> String {
        let files = self.files();
        let listing = list(&files).expect("listed");
        let (faults, trouble) = content(
            &self.backup,
            &files,
            &listing,
            &mut self.memory,
            (later_s(), None),
            &AtomicBool::new(false),
        );
        assert_eq!(trouble, None);
        let told = faults.iter().map(|f| {
            let name = f.subject.to_string();
            format!(
                "{} {} {}",
                f.kind,
                name.rsplit('/').next().unwrap_or(""),
                f.fields[&sopwith_domain::value::Word::new("reason").expect("a word")]
            )
        });
        told.collect::<Vec<_>>().join("; ")
    }
}

#[test]
fn archives_are_what_was_written() {
    let mut folder = Folder::new("");
    assert_eq!(folder.told(), "", "an empty folder");
    let bytes = folder.archive("a.tar.gz", "text");
    assert_eq!(folder.told(), "");
    let mut damaged = bytes.clone();
    damaged[4] ^= 1;
    folder.write("a.tar.gz", &damaged);
    assert_eq!(folder.told(), "backup.corrupt a.tar.gz checksum");
    folder.write("a.tar.gz", b"text");
    assert_eq!(folder.told(), "backup.corrupt a.tar.gz magic");
    folder.write("a.tar.gz", b"");
    assert_eq!(folder.told(), "backup.corrupt a.tar.gz empty");
    folder.write("a.tar.gz", &bytes);
    assert_eq!(folder.told(), "");
    // One without a checksum is a fault only where one is demanded.
    folder.write("b.tar.gz", b"\x1f\x8b");
    assert_eq!(folder.told(), "");
    if let Some(files) = &mut folder.backup.files {
        files.manifest_required = crate::config::At::of(true);
    }
    assert_eq!(folder.told(), "backup.unverified b.tar.gz no-checksum");
    folder.write("SHA256SUMS", format!("{}  ./b.tar.gz\n", "0".repeat(64)).as_bytes());
    assert_eq!(folder.told(), "backup.corrupt b.tar.gz checksum");
}

#[test]
fn what_was_read_is_not_read_again_until_it_is_due() {
    let mut folder = Folder::new("");
    folder.archive("a.tar.gz", "text");
    folder.told();
    // A checksum that was remembered counts as long as the file is the same.
    folder.memory.get_mut("a.tar.gz").expect("read").sha256 = "0".repeat(64);
    assert_eq!(folder.told(), "backup.corrupt a.tar.gz checksum");
    folder.memory.get_mut("a.tar.gz").expect("read").at_s = 0;
    assert_eq!(folder.told(), "", "read again after a week");
    std::fs::remove_file(folder.path("a.tar.gz")).expect("removed");
    folder.told();
    assert!(folder.memory.is_empty());
}

#[test]
fn a_file_that_is_still_written_has_no_content_yet() {
    let folder = Folder::new(", settle: 1h");
    folder.write("a.tar.gz", b"");
    let files = folder.files();
    let listing = list(&files).expect("listed");
    let now_s = crate::watcher::clock::now().0 / 1000;
    let (faults, _) =
        content(&folder.backup, &files, &listing, &mut Memory::new(), (now_s, None), &AtomicBool::new(false));
    assert!(faults.is_empty());
    let told = |running_s| {
        let times = (later_s() + 7200, running_s);
        content(&folder.backup, &files, &listing, &mut Memory::new(), times, &AtomicBool::new(false)).0.len()
    };
    assert_eq!(
        (told(None), told(Some(now_s - 5)), told(Some(now_s + 5))),
        (1, 0, 1),
        "nor has what a job writes"
    );
    assert_eq!(found(&listing).copies.len(), 1, "but it is there");
}

#[test]
fn who_may_reach_it() {
    let set = |path: PathBuf, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    for (file_mode, folder_mode, wanted) in [
        (0o600, 0o700, None),
        (0o400, 0o500, None),
        (0o640, 0o700, Some("files=2 mode=0640 directory_exposed=false")),
        (0o600, 0o755, Some("files=0 mode=0755 directory_exposed=true")),
        (0o666, 0o777, Some("files=2 mode=0666 directory_exposed=true")),
        (0o4600, 0o700, Some("files=2 mode=4600 directory_exposed=false")),
    ] {
        let folder = Folder::new(", mode: 0600, directory_mode: 0700");
        folder.archive("a.tar.gz", "text");
        set(folder.path("a.tar.gz"), file_mode);
        set(folder.path("a.tar.gz.sha256"), file_mode);
        set(folder.folder.path().to_owned(), folder_mode);
        let files = folder.files();
        let fault = exposed(&folder.backup, &files, &list(&files).expect("listed"), &BTreeMap::new());
        let told = fault.map(|f| {
            let field = |n: &str| f.fields[&sopwith_domain::value::Word::new(n).expect("a word")].to_string();
            format!(
                "files={} mode={} directory_exposed={}",
                field("files"),
                field("mode"),
                field("directory_exposed")
            )
        });
        assert_eq!(told.as_deref(), wanted, "{file_mode:o} {folder_mode:o}");
    }
    let folder = Folder::new(", owner: other");
    folder.archive("a.tar.gz", "text");
    let files = folder.files();
    let listing = list(&files).expect("listed");
    let uid = listing.folder.as_ref().expect("there").uid();
    for (known, wrong) in [(uid, false), (uid + 1, true)] {
        let users = BTreeMap::from([("other".to_owned(), known)]);
        assert_eq!(exposed(&folder.backup, &files, &listing, &users).is_some(), wrong);
    }
}

#[test]
fn links_and_folders_are_no_archives() {
    let folder = Folder::new("");
    std::fs::create_dir(folder.path("d.tar.gz")).expect("made");
    std::os::unix::fs::symlink("/etc/passwd", folder.path("l.tar.gz")).expect("made");
    assert!(list(&folder.files()).expect("listed").archives.is_empty());
    let gone = Folder::new("");
    std::fs::remove_dir(gone.folder.path()).expect("removed");
    let found = found(&list(&gone.files()).expect("nothing is listed"));
    assert_eq!(found.nothing_because, Some("its folder is not there"));
}
