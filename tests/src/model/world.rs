//! What there is on the model host, and what each action makes of it.

use super::facts;
use super::settings;
use serde_json::json;
use sopwith_domain::action::{Action, Undo};
use sopwith_domain::check::Check;
use sopwith_domain::plan::Plan;
use sopwith_domain::run::{Effect, Prior};
use std::collections::{BTreeMap, BTreeSet};

/// Everything there is. Two equal worlds are the same to the byte.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct World {
    /// Unit → `active`, `inactive` or `failed`.
    pub units: BTreeMap<String, String>,
    /// Path → content, mode and times.
    pub files: BTreeMap<String, String>,
    /// Processes that live, by number.
    pub processes: BTreeSet<u32>,
    /// Named processes that run.
    pub named: BTreeSet<String>,
    /// Deleted files that are held open, by inode → bytes.
    pub deleted: BTreeMap<i64, u64>,
    /// What programs brought about, by their probe's arguments.
    pub made: BTreeSet<Vec<String>>,
    /// What has one value: settings of the kernel, elements of sets, mounts, by name.
    pub settings: BTreeMap<String, String>,
    /// Whatever else can be so: what it is about → how it is.
    pub facts: BTreeMap<String, String>,
    /// Files that are in nobody's way, by where they came from.
    pub quarantine: BTreeMap<String, String>,
}

impl World {
    /// Makes a world in which every requirement of the plan holds and its fault is there.
    pub fn before(plan: &Plan) -> Self {
        let mut world = Self::default();
        for step in &plan.steps {
            world.place(&step.action);
            step.require.iter().for_each(|check| world.require(check));
        }
        world
    }

    fn place(&mut self, action: &Action) {
        if let Some(setting) = settings::of(action) {
            self.settings.entry(setting.name).or_insert(setting.from);
            return;
        }
        let mut file = |path: &str, content: &str| {
            self.files.entry(path.into()).or_insert_with(|| content.into());
        };
        match action {
            Action::UnitStart { unit } | Action::UnitResetFailed { unit } => {
                self.units.entry(unit.to_string()).or_insert_with(|| "failed".into());
            }
            Action::UnitStop { unit } | Action::UnitRestart { unit } | Action::UnitReload { unit } => {
                self.units.entry(unit.to_string()).or_insert_with(|| "active".into());
            }
            Action::FileTruncate { path } | Action::FileQuarantine { path } => {
                file(path.as_str(), "full 0640 t1");
            }
            Action::FileRestore { path, from } => {
                file(path.as_str(), "broken 0640 t1");
                file(from.as_str(), "good 0644 t0");
            }
            Action::FilePrune { directory, .. } => {
                (1..=3).for_each(|n| file(&format!("{directory}/old.{n}"), "old 0640 t1"));
            }
            Action::UnitReadDefinitions { .. } => {}
            Action::ProcessSignal { process, .. } => drop(self.processes.insert(process.pid)),
            Action::FileReclaimDeleted { process, inode, .. } => {
                self.processes.insert(process.pid);
                self.deleted.insert(*inode, 1 << 20);
            }
            Action::BackupQuarantine { path, .. } => file(path.as_str(), "damaged 0600 t1"),
            Action::BackupPrune { directory, .. } => {
                (1..=3).for_each(|n| file(&format!("{directory}/old.{n}"), "old 0640 t1"));
            }
            Action::BackupModes { directory, .. } => file(directory.as_str(), "archives 0755 t1"),
            Action::BackupStop { unit, .. } => drop(self.units.insert(unit.to_string(), "active".into())),
            look if look.only_looks() => {}
            Action::ProcessStart { .. }
            | Action::Command { .. }
            | Action::BackupRun { .. }
            | Action::BackupVerify { .. }
            | Action::BackupRestoreDrill { .. }
            | Action::PostgresqlTerminate { .. }
            | Action::PostgresqlTerminateIdle { .. }
            | Action::PostgresqlDropSlot { .. }
            | Action::PostgresqlAllowWrites { .. }
            | Action::RedisBgsave { .. }
            | Action::HttpCall { .. } => {}
            other => match facts::of(other) {
                Some((about, before, _)) => drop(self.facts.insert(about, before.into())),
                None => panic!("the model host does not know {}", other.name()),
            },
        }
    }

    fn require(&mut self, check: &Check) {
        match check {
            Check::UnitActive { unit } => drop(self.units.insert(unit.to_string(), "active".into())),
            Check::ProcessPresent { process } => drop(self.processes.insert(process.pid)),
            Check::UnitEnabled { unit } => {
                self.facts.insert(format!("file of {unit}"), "enabled".into());
            }
            Check::FileSame { path, other } => {
                let there = self.files.get(path.as_str()).cloned();
                let alike = there.unwrap_or_else(|| "alike 0640 t1".into());
                self.files.insert(path.to_string(), alike.clone());
                self.files.insert(other.to_string(), alike);
            }
            Check::FileExists { path } => {
                self.files.entry(path.to_string()).or_insert_with(|| "there 0640 t1".into());
            }
            _ => {}
        }
    }

    /// Says whether a check holds. What the model knows nothing of (health, use of a file system, the host's own
    /// checks) holds: the test says when it is to fail.
    pub fn holds(&self, check: &Check) -> bool {
        let unit = |name: &str| self.units.get(name).map_or("inactive", String::as_str);
        let file = |path: &str| self.files.get(path);
        if let Some((name, value)) = settings::asked(check) {
            return self.settings.get(&name).is_none_or(|now| *now == value);
        }
        match check {
            Check::UnitActive { unit: name } => unit(name.as_str()) == "active",
            Check::UnitNotFailed { unit: name } => unit(name.as_str()) != "failed",
            Check::UnitNotActive { unit: name } => unit(name.as_str()) != "active",
            Check::FileAbsent { path } => file(path.as_str()).is_none(),
            Check::FileSame { path, other } => file(path.as_str()) == file(other.as_str()),
            Check::FileDiffers { path, other } => file(path.as_str()) != file(other.as_str()),
            Check::UnitEnabled { unit } => self.fact(&format!("file of {unit}")) == "enabled",
            Check::UnitNotEnabled { unit } => self.fact(&format!("file of {unit}")) != "enabled",
            Check::FileModeIs { path, mode } => {
                self.facts.get(&format!("mode of {path}")).is_none_or(|now| now == mode.as_str())
            }
            Check::FileOwnerIs { path, user, group } => self
                .facts
                .get(&format!("owner of {path}"))
                .is_none_or(|now| *now == format!("{user}:{group}")),
            Check::FileKeyIs { path, key, value, .. } => {
                self.fact(&format!("{key} in {path}")) == value.as_str()
            }
            Check::AccountLocked { account } => self.fact(&format!("account {account}")).contains("locked"),
            Check::AccountUsable { account } => self.fact(&format!("account {account}")) == "lasting",
            Check::PackageConfigured { package } => {
                self.fact(&facts::package(package.as_ref())) == "installed"
            }
            Check::ProcessPresent { process } => self.processes.contains(&process.pid),
            Check::ProcessRunning { process } => self.named.contains(process.as_str()),
            Check::ProcessNotRunning { process } => !self.named.contains(process.as_str()),
            _ => true,
        }
    }

    fn fact(&self, about: &str) -> &str {
        self.facts.get(about).map_or("", String::as_str)
    }

    /// Returns the part of the world that the action touches.
    pub fn capture(&self, action: &Action) -> Prior {
        if let Some(setting) = settings::of(action) {
            return json!(self.settings.get(&setting.name));
        }
        match action {
            Action::UnitStart { unit }
            | Action::UnitStop { unit }
            | Action::UnitRestart { unit }
            | Action::UnitReload { unit }
            | Action::UnitResetFailed { unit } => json!(self.units.get(unit.as_str())),
            Action::FileTruncate { path }
            | Action::FileQuarantine { path }
            | Action::FileRestore { path, .. } => json!(self.files.get(path.as_str())),
            Action::BackupQuarantine { path, .. } | Action::BackupModes { directory: path, .. } => {
                json!(self.files.get(path.as_str()))
            }
            Action::BackupStop { unit, .. } => json!(self.units.get(unit.as_str())),
            Action::BackupRun { .. }
            | Action::PostgresqlTerminate { .. }
            | Action::PostgresqlTerminateIdle { .. }
            | Action::PostgresqlAllowWrites { .. }
            | Action::PostgresqlDropSlot { .. } => json!(self.made.contains(&told(action))),
            Action::FilePrune { directory, .. } | Action::BackupPrune { directory, .. } => {
                let prefix = format!("{directory}/old.");
                json!(self.files.iter().filter(|(p, _)| p.starts_with(&prefix)).collect::<BTreeMap<_, _>>())
            }
            Action::FileReclaimDeleted { inode, .. } => json!(self.deleted.get(inode)),
            Action::Command { probe_argv, .. } => json!(self.made.contains(probe_argv)),
            Action::ProcessStart { process, .. } => json!(self.named.contains(process.as_str())),
            other => facts::of(other).map_or(Prior::Null, |(about, ..)| json!(self.facts.get(&about))),
        }
    }

    pub fn perform(&mut self, action: &Action) {
        if let Some(setting) = settings::of(action) {
            self.settings.insert(setting.name, setting.to);
            return;
        }
        match action {
            Action::UnitStart { unit } | Action::UnitRestart { unit } => {
                self.units.insert(unit.to_string(), "active".into());
            }
            Action::UnitStop { unit } => drop(self.units.insert(unit.to_string(), "inactive".into())),
            Action::FileTruncate { path } => {
                drop(self.files.insert(path.to_string(), "empty 0640 t2".into()));
            }
            Action::FileRestore { path, from } => {
                let good = self.files[from.as_str()].clone();
                self.files.insert(path.to_string(), good);
            }
            Action::FileQuarantine { path } | Action::BackupQuarantine { path, .. } => {
                self.away(path.as_str());
            }
            Action::BackupModes { directory: path, .. } => {
                let now = format!("{} {}", self.files[path.as_str()], action.name());
                self.files.insert(path.to_string(), now);
            }
            Action::BackupStop { unit, .. } => {
                drop(self.units.insert(unit.to_string(), "inactive".into()));
            }
            Action::BackupRun { .. }
            | Action::PostgresqlTerminate { .. }
            | Action::PostgresqlTerminateIdle { .. }
            | Action::PostgresqlAllowWrites { .. }
            | Action::PostgresqlDropSlot { .. } => drop(self.made.insert(told(action))),
            Action::BackupPrune { directory, .. } => drop(self.old_away(directory.as_str())),
            Action::FilePrune { directory, discard, .. } => {
                let paths = self.old_away(directory.as_str());
                if *discard {
                    paths.iter().for_each(|path| drop(self.quarantine.remove(path)));
                }
            }
            Action::FileReclaimDeleted { inode, .. } => drop(self.deleted.insert(*inode, 0)),
            Action::Command { probe_argv, .. } => drop(self.made.insert(probe_argv.clone())),
            Action::ProcessStart { process, .. } => drop(self.named.insert(process.to_string())),
            other => {
                if let Some((about, _, after)) = facts::of(other) {
                    self.facts.insert(about, after);
                }
            }
        }
    }

    /// Moves the old files of a folder away and returns their paths.
    fn old_away(&mut self, directory: &str) -> Vec<String> {
        let prefix = format!("{directory}/old.");
        let paths: Vec<_> = self.files.keys().filter(|p| p.starts_with(&prefix)).cloned().collect();
        paths.iter().for_each(|path| self.away(path));
        paths
    }

    fn away(&mut self, path: &str) {
        if let Some(content) = self.files.remove(path) {
            self.quarantine.insert(path.into(), content);
        }
    }

    pub fn probe(&self, action: &Action, prior: &Prior) -> Effect {
        let detail = String::new();
        match action {
            // A reload or a signal leaves nothing that could be looked at.
            Action::UnitReload { .. }
            | Action::UnitResetFailed { .. }
            | Action::ProcessSignal { .. }
            | Action::UnitReadDefinitions { .. }
            | Action::RedisBgsave { .. }
            | Action::HttpCall { .. } => Effect::Unknown { detail },
            Action::BackupVerify { .. } | Action::BackupRestoreDrill { .. } => Effect::None { detail },
            _ if self.capture(action) == *prior => Effect::None { detail },
            _ => Effect::Took { detail },
        }
    }

    /// Puts back what was captured, however often it is asked to.
    pub fn undo(&mut self, action: &Action, prior: &Prior) -> Result<(), String> {
        let text = prior.as_str().map(str::to_owned);
        if let Some(setting) = settings::of(action) {
            let was = text.expect("the setting was captured");
            if action.undo() == Undo::Irreversible {
                return match self.settings.get(&setting.name) == Some(&was) {
                    true => Ok(()),
                    false => Err(format!("{} is {} and stays so", setting.name, setting.to)),
                };
            }
            self.settings.insert(setting.name, was);
            return Ok(());
        }
        match action {
            Action::UnitStart { unit } | Action::UnitStop { unit } | Action::UnitRestart { unit } => {
                self.units.insert(unit.to_string(), text.expect("the unit was captured"));
            }
            Action::FileTruncate { path }
            | Action::FileQuarantine { path }
            | Action::FileRestore { path, .. } => {
                self.files.insert(path.to_string(), text.expect("the file was captured"));
                self.quarantine.remove(path.as_str());
            }
            Action::FilePrune { discard: true, directory, .. } if self.capture(action) != *prior => {
                return Err(format!("files of {directory} are deleted"));
            }
            Action::BackupQuarantine { path, .. } => {
                self.files.insert(path.to_string(), text.expect("the archive was captured"));
                self.quarantine.remove(path.as_str());
            }
            Action::BackupModes { directory: path, .. } => {
                self.files.insert(path.to_string(), text.expect("the modes were captured"));
            }
            Action::BackupRun { .. } | Action::PostgresqlAllowWrites { .. } if *prior == json!(false) => {
                self.made.remove(&told(action));
            }
            Action::PostgresqlTerminate { .. }
            | Action::PostgresqlTerminateIdle { .. }
            | Action::PostgresqlDropSlot { .. }
            | Action::BackupStop { .. }
                if self.capture(action) != *prior =>
            {
                return Err("who was ended cannot be had back".into());
            }
            Action::FilePrune { .. } | Action::BackupPrune { .. } => {
                for (path, content) in prior.as_object().expect("the files were captured") {
                    self.files.insert(path.clone(), content.as_str().expect("content").into());
                    self.quarantine.remove(path);
                }
            }
            Action::FileReclaimDeleted { inode, .. } if self.capture(action) != *prior => {
                return Err(format!("the deleted file {inode} is emptied"));
            }
            Action::PackageConfigure { .. } => {
                return if self.capture(action) == *prior { Ok(()) } else { Err("dpkg went on".into()) };
            }
            Action::Command { probe_argv, .. } if *prior == json!(false) => {
                self.made.remove(probe_argv);
            }
            Action::ProcessStart { process, .. } if *prior == json!(false) => {
                self.named.remove(process.as_str());
            }
            other => {
                if let (Some((about, ..)), Some(text)) = (facts::of(other), text) {
                    self.facts.insert(about, text);
                }
            }
        }
        Ok(())
    }
}

/// Returns an action as what it brings about.
fn told(action: &Action) -> Vec<String> {
    vec![action.sentence()]
}
