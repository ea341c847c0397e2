//! Metrics that others leave in files, `*.prom` in a folder. A file that is not well formed is left out whole, and
//! named; files are read again only when they have changed. Nothing in them is waited for.

mod parse;

use super::files::Files;
use super::out::{Kind, Labels, Number, Out};
use parse::Family;
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::io;

/// Most files that are read, and the longest of them.
const FILES_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 512 * 1024;
/// Families of these names are the agent's own.
const RESERVED: [&str; 3] = ["sopwith_", "process_", "node_textfile_"];

/// What tells that a file has changed.
type Stamp = (u64, i64, u32, u64);

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    modified: f64,
    read: Result<Vec<Family>, String>,
}

/// The folder and what was read there.
#[derive(Debug, Default)]
pub struct Textfiles {
    folder: Option<String>,
    /// Whether the folder must be there.
    demanded: bool,
    seen: BTreeMap<String, Seen>,
    errors: Vec<String>,
    /// Families of files, as (file, family, other file), of which another file has the same series.
    doubled: Vec<(String, String, String)>,
    /// Families that others had put already at the last page.
    clashes: Vec<String>,
}

impl Textfiles {
    /// Names the folder, without a leading slash.
    pub fn look_in(&mut self, folder: Option<String>, demanded: bool) {
        if self.folder != folder {
            self.seen.clear();
        }
        (self.folder, self.demanded) = (folder, demanded);
    }

    /// Says what is wrong, if anything is.
    pub fn trouble(&self) -> Option<String> {
        let all: Vec<&str> = self.errors.iter().chain(&self.clashes).map(String::as_str).collect();
        let (first, rest) = (all.first()?, all.len() - 1);
        Some(if rest == 0 { (*first).to_owned() } else { format!("{first}; and {rest} more like it") })
    }

    /// Reads what has changed.
    pub fn look(&mut self, files: &mut Files) {
        self.errors.clear();
        let Some(folder) = self.folder.clone() else { return };
        let names = match files.list(&folder) {
            Ok(names) => names,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.demanded => Vec::new(),
            Err(e) => {
                self.errors.push(format!("failed to list /{folder}: {e}"));
                Vec::new()
            }
        };
        let mut names: Vec<String> = names.into_iter().filter(|name| name.ends_with(".prom")).collect();
        if names.len() > FILES_MAX {
            let left = names.split_off(FILES_MAX);
            self.errors
                .push(format!("/{folder} holds more than {FILES_MAX} files; {} are left out", left.len()));
        }
        let before = self.seen.len();
        self.seen.retain(|name, _| names.contains(name));
        let mut changed = self.seen.len() != before;
        for name in names {
            let path = format!("{folder}/{name}");
            match stamp(files, &path) {
                Err(reason) => {
                    changed |= self.seen.remove(&name).is_some();
                    self.errors.push(format!("/{path}: {reason}"));
                }
                Ok(stamp) if self.seen.get(&name).is_some_and(|seen| seen.stamp == stamp) => {}
                Ok(stamp) => {
                    let read = files.read(&path).map_err(|e| e.to_string());
                    let read = read.and_then(|text| parse::families(text).and_then(permitted));
                    let modified = stamp.1 as f64 + f64::from(stamp.2) / 1e9;
                    self.seen.insert(name, Seen { stamp, modified, read });
                    changed = true;
                }
            }
        }
        if changed {
            self.doubled = doubled(&self.seen);
        }
        for (name, seen) in &self.seen {
            if let Err(reason) = &seen.read {
                self.errors.push(format!("/{folder}/{name}: {reason}"));
            }
        }
        let doubled = self.doubled.iter();
        self.errors
            .extend(doubled.map(|(file, name, other)| format!("/{folder}/{file}: {name} is in {other} too")));
    }

    /// Writes the families of all files that are well formed, each with the samples of every file that has it.
    pub fn write(&mut self, out: &mut dyn Out) -> io::Result<()> {
        let mut together: BTreeMap<&str, Vec<(&str, &Family)>> = BTreeMap::new();
        for (file, seen) in &self.seen {
            let once =
                |family: &&Family| !self.doubled.iter().any(|(f, n, _)| f == file && *n == family.name);
            for family in seen.read.iter().flatten().filter(once) {
                together.entry(&family.name).or_default().push((file, family));
            }
        }
        self.clashes.clear();
        for (name, parts) in together {
            let (_, first) = parts[0];
            if out.has(name) {
                self.clashes.push(format!("{}: {name} is a family that the agent tells itself", parts[0].0));
                continue;
            }
            out.family(name, first.kind, &first.help);
            for (_, part) in parts {
                part.put(out);
            }
        }
        if let Some(folder) = &self.folder {
            out.family(
                "node_textfile_mtime_seconds",
                Kind::Gauge,
                "When a file was changed, in seconds since 1970.",
            );
            for (name, seen) in self.seen.iter().filter(|(_, seen)| seen.read.is_ok()) {
                out.sample(&[("file", &format!("/{folder}/{name}"))], seen.modified.into());
            }
        }
        let wrong = !self.errors.is_empty() || !self.clashes.is_empty();
        out.one("node_textfile_scrape_error", Kind::Gauge, "Whether a file could not be used.", wrong.into());
        Ok(())
    }
}

fn stamp(files: &Files, path: &str) -> Result<Stamp, String> {
    let stat = files.open(path).and_then(|file| Ok(rustix::fs::fstat(file)?)).map_err(|e| e.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is no ordinary file".into());
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > FILE_BYTES_MAX {
        return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok((size, stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0), stat.st_ino))
}

/// What tells one series from another: its family, the end of its name, its labels.
type Series<'a> = (&'a str, &'a str, &'a [(String, String)]);

fn key<'a>(family: &'a Family, line: &'a parse::Line) -> Series<'a> {
    (&family.name, &line.end, &line.labels)
}

/// Finds families that two files have with the same series, or as different types; the first file's counts.
fn doubled(seen: &BTreeMap<String, Seen>) -> Vec<(String, String, String)> {
    let mut series: BTreeMap<Series<'_>, &str> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, (Kind, &str)> = BTreeMap::new();
    let mut found = Vec::new();
    for (file, seen) in seen {
        for family in seen.read.iter().flatten() {
            let (kind, first) = *kinds.entry(&family.name).or_insert((family.kind, file));
            let key = |line| key(family, line);
            let other = family.samples.iter().find_map(|line| series.get(&key(line)).copied());
            match other.or((kind != family.kind).then_some(first)) {
                Some(other) => found.push((file.clone(), family.name.clone(), other.to_owned())),
                None => series.extend(family.samples.iter().map(|line| (key(line), file.as_str()))),
            }
        }
    }
    found
}

fn permitted(families: Vec<Family>) -> Result<Vec<Family>, String> {
    let reserved = |family: &&Family| RESERVED.iter().any(|prefix| family.name.starts_with(prefix));
    match families.iter().find(reserved) {
        Some(family) => Err(format!("{} is a name of the agent's own", family.name)),
        None => Ok(families),
    }
}

impl Family {
    fn put(&self, out: &mut dyn Out) {
        let mut labels = Vec::new();
        for sample in &self.samples {
            labels.clear();
            labels.extend(sample.labels.iter().map(|(name, text)| (name.as_str(), text.as_str())));
            let labels: &Labels<'_> = &labels;
            out.ending(&sample.end, labels, Number::Real(sample.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::out::Text;
    use super::*;

    fn page(textfiles: &mut Textfiles, files: &mut Files) -> String {
        textfiles.look(files);
        let mut text = Text::default();
        text.begin(Vec::new());
        text.one("node_load1", Kind::Gauge, "Taken.", 1.0.into());
        textfiles.write(&mut text).expect("written");
        String::from_utf8(text.end()).expect("text")
    }

    #[test]
    fn good_files_are_told_and_bad_ones_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, text: &[u8]| std::fs::write(folder.path().join("d").join(name), text).expect(name);
        std::fs::create_dir(folder.path().join("d")).expect("made");
        let mut files = Files::below(folder.path().to_str().expect("a path")).expect("opened");
        let mut textfiles = Textfiles::default();
        textfiles.look_in(Some("d".into()), false);
        assert!(page(&mut textfiles, &mut files).ends_with("node_textfile_scrape_error 0\n"));
        write("a.prom", b"# TYPE raid_disks gauge\nraid_disks{array=\"md0\"} 2\n");
        write("b.prom", b"# TYPE raid_disks gauge\nraid_disks{array=\"md1\"} 3\n");
        write("other.txt", b"not read {");
        let text = page(&mut textfiles, &mut files);
        assert!(text.contains("raid_disks{array=\"md0\"} 2\nraid_disks{array=\"md1\"} 3\n"), "{text}");
        assert!(text.contains("node_textfile_mtime_seconds{file=\"/d/a.prom\"}"), "{text}");
        assert_eq!(textfiles.trouble(), None);
        for (content, says) in [
            (&b"raid_disks{array=\"md0\"} 4\n# TYPE raid_disks gauge\n"[..], "b.prom"),
            (b"# TYPE raid_disks gauge\nraid_disks{array=\"md0\"} 9\n", "raid_disks is in a.prom too"),
            (b"x 1 1700000000000\n", "time"),
            (b"node_load1 7\n", "node_load1 is a family that the agent tells itself"),
            (b"sopwith_agent_conditions 0\n", "a name of the agent's own"),
            (b"\xff\xfe", "line 1"),
            (&[b'#'; FILE_BYTES_MAX as usize + 1], "longer than"),
        ] {
            write("b.prom", content);
            let text = page(&mut textfiles, &mut files);
            let trouble = textfiles.trouble().expect(says);
            assert!(trouble.contains(says) && trouble.contains("b.prom"), "{trouble}");
            assert!(text.ends_with("node_textfile_scrape_error 1\n"), "{text}");
            assert!(text.contains("raid_disks{array=\"md0\"} 2\n"), "the good file stays: {text}");
        }
        write("b.prom", b"");
        assert!(page(&mut textfiles, &mut files).ends_with("node_textfile_scrape_error 0\n"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("d/pipe.prom"),
            FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("a pipe");
        page(&mut textfiles, &mut files);
        assert_eq!(textfiles.trouble().as_deref(), Some("/d/pipe.prom: it is no ordinary file"));
        textfiles.look_in(Some("none".into()), true);
        assert!(page(&mut textfiles, &mut files).ends_with("node_textfile_scrape_error 1\n"));
    }
}
