//! What the administrator says of the backups of this host: where they lie, how often they are made, and how it is
//! shown that they are good.

use super::at::{At, Leaf, Period};
use serde::Deserialize;
use sopwith_domain::playbook::Finding;
use sopwith_domain::signal::Severity;
use sopwith_domain::value::{AbsPath, Glob, UnitName, Word};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Most backups of one host.
const BACKUPS_MAX: usize = 64;
/// Shortest time between two looks at a backup, two samples of its job, or two drills.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// Name of the folder into which archives are moved where none is named.
const ASIDE: &str = ".sopwith-aside";
/// Stands for the archive and for the scratch folder, each as a whole argument.
pub const ARCHIVE: &str = "{archive}";
pub const SCRATCH: &str = "{scratch}";

/// One backup. One of `files`, `restic`, `borg` and `pgbackrest` says what makes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    pub name: At<Word>,
    /// How often one is made, and how much later it may be.
    #[serde(default = "defaults::day")]
    pub every: At<Period>,
    #[serde(default = "defaults::grace")]
    pub grace: At<Period>,
    /// Time between two looks; 30 seconds for files, 15 minutes where a program is asked.
    #[serde(default)]
    pub look_every: Option<At<Period>>,
    #[serde(default = "defaults::critical")]
    pub severity: At<Severity>,
    /// The unit that makes it.
    #[serde(default)]
    pub unit: Option<At<UnitName>>,
    #[serde(default)]
    pub files: Option<FileSet>,
    #[serde(default)]
    pub restic: Option<Restic>,
    #[serde(default)]
    pub borg: Option<Borg>,
    #[serde(default)]
    pub pgbackrest: Option<PgBackRest>,
    #[serde(default)]
    pub size: SizeBounds,
    #[serde(default)]
    pub keep: Keep,
    #[serde(default)]
    pub verify: Verify,
    #[serde(default)]
    pub job: Job,
    #[serde(default)]
    pub drill: Option<Drill>,
}

/// Archives in one folder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSet {
    pub directory: At<AbsPath>,
    pub pattern: At<Glob>,
    /// Files of checksums in the form of sha256sum, in the same folder.
    #[serde(default = "defaults::manifests")]
    pub manifests: Vec<At<Glob>>,
    /// Whether an archive without a checksum is a fault.
    #[serde(default = "defaults::no")]
    pub manifest_required: At<bool>,
    /// Permissions that archives and folder may have at most.
    #[serde(default)]
    pub mode: Option<At<Mode>>,
    #[serde(default)]
    pub directory_mode: Option<At<Mode>>,
    #[serde(default)]
    pub owner: Option<At<Word>>,
    /// How long an archive must have been unchanged before its content counts.
    #[serde(default = "defaults::settle")]
    pub settle: At<Period>,
    /// Folder on the same file system into which steps move archives that are damaged or too many, for as long as
    /// quarantine keeps things; by default `.sopwith-aside` in `directory`.
    #[serde(default)]
    pub aside: Option<At<AbsPath>>,
}

impl FileSet {
    /// Returns the folder into which archives are moved out of the way.
    pub fn aside(&self) -> PathBuf {
        self.aside.as_ref().map_or_else(|| self.directory.path().join(ASIDE), |path| path.path().to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restic {
    pub repository: At<String>,
    #[serde(default)]
    pub password_file: Option<At<AbsPath>>,
    /// Only snapshots of this host, with these tags and paths.
    #[serde(default)]
    pub host: Option<At<Word>>,
    #[serde(default)]
    pub tags: Vec<At<Word>>,
    #[serde(default)]
    pub paths: Vec<At<AbsPath>>,
    /// File of NAME=VALUE lines, for the keys of a storage service.
    #[serde(default)]
    pub environment: Option<At<AbsPath>>,
    #[serde(default = "defaults::restic")]
    pub program: At<AbsPath>,
    #[serde(default = "defaults::tool_timeout")]
    pub timeout: At<Period>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Borg {
    pub repository: At<String>,
    #[serde(default)]
    pub passphrase_file: Option<At<AbsPath>>,
    /// Only archives whose names fit.
    #[serde(default)]
    pub archives: Option<At<Glob>>,
    #[serde(default)]
    pub environment: Option<At<AbsPath>>,
    #[serde(default = "defaults::borg")]
    pub program: At<AbsPath>,
    #[serde(default = "defaults::tool_timeout")]
    pub timeout: At<Period>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgBackRest {
    pub stanza: At<Word>,
    #[serde(default)]
    pub config: Option<At<AbsPath>>,
    #[serde(default)]
    pub environment: Option<At<AbsPath>>,
    #[serde(default = "defaults::pgbackrest")]
    pub program: At<AbsPath>,
    #[serde(default = "defaults::tool_timeout")]
    pub timeout: At<Period>,
}

/// How big the newest backup must be, by itself and against those before it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizeBounds {
    pub min: At<Bytes>,
    /// So much smaller than the median of those before it is a fault; 100: never.
    pub shrink_percent: At<u32>,
    /// So much bigger is one; 0: never.
    pub grow_percent: At<u32>,
}

/// How many there are to be.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    pub min: Option<At<u32>>,
    pub max: Option<At<u32>>,
}

/// How often what is there is read again.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// Zero: never.
    pub every: At<Period>,
    /// Whether a program that checks its repository reads all data as well.
    pub data: At<bool>,
    pub max_time: At<Period>,
}

/// How it is seen that the job runs, and whether it gets on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Job {
    /// What makes the backup, where that is no unit: a program with its arguments, run to its end.
    pub command: Vec<At<String>>,
    /// Beneath which paths the command writes besides the backup's own folder or repository, caches and scratch files.
    pub writes: Vec<At<AbsPath>>,
    /// The file that it locks while it runs, or in which it writes its process number.
    pub lock: Option<At<AbsPath>>,
    /// Files that change while it gets on; without any its processes' input, output and work count.
    pub progress: Vec<At<AbsPath>>,
    pub stalled_after: At<Period>,
    /// A job that runs longer is hung in any case; by default as long as `every`.
    pub max_run: Option<At<Period>>,
}

/// A restore that is tried for real.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    #[serde(default = "defaults::week")]
    pub every: At<Period>,
    #[serde(default = "defaults::drill_time")]
    pub max_time: At<Period>,
    #[serde(default = "defaults::drill_bytes")]
    pub max_bytes: At<Bytes>,
    /// Folder in which scratch folders are made and removed; by default one of the agent's own.
    #[serde(default)]
    pub scratch: Option<At<AbsPath>>,
    /// Only these paths are restored (restic, borg).
    #[serde(default)]
    pub include: Vec<At<AbsPath>>,
    /// Program that unpacks an archive; `{archive}` and `{scratch}` stand for whole arguments. tar needs none.
    #[serde(default)]
    pub unpack: Vec<At<String>>,
    /// Paths below the scratch folder that must be there and not empty.
    #[serde(default)]
    pub expect: Vec<At<String>>,
    /// Program that exits with 0 when what was restored is good; `{scratch}` stands for a whole argument.
    #[serde(default)]
    pub check: Vec<At<String>>,
}

/// A number of bytes: a whole number, alone or with KiB, MiB, GiB or TiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bytes(pub u64);

impl Leaf for Bytes {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size such as 512, 100MiB or 2GiB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let shift = match text[digits..].trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(wrong()),
        };
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
    fn placeholder() -> Self {
        Self(1)
    }
}

/// Permission bits in octal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode(pub u32);

impl Leaf for Mode {
    fn read(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            Ok(bits) if bits <= 0o7777 && (3..=4).contains(&text.len()) => Ok(Self(bits)),
            _ => Err(format!("{text:?} is not a mode such as 0600")),
        }
    }
    fn placeholder() -> Self {
        Self(0o600)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Default for SizeBounds {
    fn default() -> Self {
        Self { min: At::of(Bytes(1)), shrink_percent: At::of(50), grow_percent: At::of(0) }
    }
}

impl Default for Verify {
    fn default() -> Self {
        let hour = At::of(Period::secs(3600));
        Self { every: At::of(Period::secs(7 * 86_400)), data: At::of(false), max_time: hour }
    }
}

impl Default for Job {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            writes: Vec::new(),
            lock: None,
            progress: Vec::new(),
            stalled_after: At::of(Period::secs(90)),
            max_run: None,
        }
    }
}

impl Backup {
    /// Returns the time between two looks.
    pub fn looks_apart(&self) -> Duration {
        let general = if self.files.is_some() { Duration::from_secs(30) } else { Duration::from_secs(900) };
        self.look_every.as_ref().map_or(general, |every| every.0)
    }

    /// Returns how old the newest may be.
    pub fn age_max(&self) -> Duration {
        self.every.0.saturating_add(self.grace.0)
    }
}

/// Values of settings that are not written.
mod defaults {
    use super::*;
    fn path(text: &str) -> At<AbsPath> {
        At::of(AbsPath::new(text).expect("the default paths are in normal form"))
    }
    pub(super) fn day() -> At<Period> {
        At::of(Period::secs(86_400))
    }
    pub(super) fn week() -> At<Period> {
        At::of(Period::secs(7 * 86_400))
    }
    pub(super) fn grace() -> At<Period> {
        At::of(Period::secs(7200))
    }
    pub(super) fn settle() -> At<Period> {
        At::of(Period::secs(20))
    }
    pub(super) fn tool_timeout() -> At<Period> {
        At::of(Period::secs(120))
    }
    pub(super) fn drill_time() -> At<Period> {
        At::of(Period::secs(1800))
    }
    pub(super) fn drill_bytes() -> At<Bytes> {
        At::of(Bytes(1 << 30))
    }
    pub(super) fn critical() -> At<Severity> {
        At::of(Severity::Critical)
    }
    pub(super) fn no() -> At<bool> {
        At::of(false)
    }
    pub(super) fn manifests() -> Vec<At<Glob>> {
        let globs = ["*.sha256", "SHA256SUMS"];
        globs.iter().map(|g| At::of(Glob::new(*g).expect("the default patterns are valid"))).collect()
    }
    pub(super) fn restic() -> At<AbsPath> {
        path("/usr/bin/restic")
    }
    pub(super) fn borg() -> At<AbsPath> {
        path("/usr/bin/borg")
    }
    pub(super) fn pgbackrest() -> At<AbsPath> {
        path("/usr/bin/pgbackrest")
    }
}

/// Returns everything that is wrong.
pub(super) fn findings(backups: &[Backup], found: &mut Vec<Finding>) {
    let mut names = BTreeSet::new();
    for backup in backups {
        let name = backup.name.as_str();
        if !names.insert(name) {
            found.push(backup.name.finding(format!("there are two backups named {name}")));
        }
        super::check::rule_part(&backup.name, found);
        if names.len() > BACKUPS_MAX {
            found.push(backup.name.finding(format!("there are more than {BACKUPS_MAX} backups")));
            return;
        }
        one(backup, found);
    }
}

fn one(backup: &Backup, found: &mut Vec<Finding>) {
    let makers =
        [backup.files.is_some(), backup.restic.is_some(), backup.borg.is_some(), backup.pgbackrest.is_some()];
    if makers.iter().filter(|is| **is).count() != 1 {
        found.push(backup.name.finding("say exactly one of files, restic, borg and pgbackrest"));
    }
    let periods = [Some(&backup.every), backup.look_every.as_ref(), Some(&backup.job.stalled_after)];
    for period in periods.into_iter().flatten() {
        if period.0 < EVERY_MIN {
            found.push(period.finding("must be at least 1s"));
        }
    }
    if *backup.size.shrink_percent > 100 {
        found.push(backup.size.shrink_percent.finding("must be 0 to 100"));
    }
    if let (Some(min), Some(max)) = (&backup.keep.min, &backup.keep.max)
        && **min > **max
    {
        found.push(min.finding("min must not be more than max"));
    }
    for repository in
        [backup.restic.as_ref().map(|r| &r.repository), backup.borg.as_ref().map(|b| &b.repository)]
            .into_iter()
            .flatten()
    {
        if repository.is_empty() || repository.starts_with('-') || repository.contains('\0') {
            found.push(repository.finding("is not the name of a repository"));
        }
    }
    if let (Some(program), Some(_)) = (backup.job.command.first(), &backup.unit) {
        found.push(program.finding("a backup is made by its unit or by a command, not by both"));
    }
    programs([&backup.job.command], found);
    if let Some(drill) = &backup.drill {
        drill_findings(backup, drill, found);
    }
}

/// Finds what is wrong with programs and their arguments.
fn programs<'a>(vectors: impl IntoIterator<Item = &'a Vec<At<String>>>, found: &mut Vec<Finding>) {
    for argv in vectors {
        if let Some(program) = argv.first()
            && AbsPath::new(program.as_str()).is_err()
        {
            found.push(program.finding("must begin with the absolute path of a program"));
        }
        if let Some(argument) = argv.iter().find(|a| a.contains('\0')) {
            found.push(argument.finding("an argument cannot contain NUL"));
        }
    }
}

fn drill_findings(backup: &Backup, drill: &Drill, found: &mut Vec<Finding>) {
    if drill.every.0 < EVERY_MIN {
        found.push(drill.every.finding("must be at least 1s"));
    }
    programs([&drill.unpack, &drill.check], found);
    for path in &drill.expect {
        if AbsPath::new(format!("/{}", path.as_str())).is_err() {
            found.push(path.finding("is not a path below the scratch folder, as in etc/passwd"));
        }
    }
    let tar = |pattern: &Glob| pattern.as_str().contains(".tar") || pattern.as_str().ends_with(".tgz");
    if let Some(files) = &backup.files
        && drill.unpack.is_empty()
        && !tar(&files.pattern)
    {
        found.push(files.pattern.finding("say by `unpack` how such archives are unpacked"));
    }
}
