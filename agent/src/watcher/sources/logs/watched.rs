//! One log: where its lines come from, and what they come to.

use super::judge::Judge;
use super::records::Splitter;
use super::rules::Rules;
use super::tailer::Tailer;
use super::tracked::{Lines, Manner};
use crate::config::Log;
use crate::watcher::metrics::Metrics;
use crate::watcher::report::Report;
use crate::watcher::wake::Changes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

/// How often all files are looked at where the kernel tells nothing; longer where there are many.
const SWEEP_MS: u64 = 1_000;
const SWEEP_MS_PER_FILE: u64 = 5;
const SWEEP_MS_MAX: u64 = 30_000;
/// Looking at everything takes at most this part of the time.
const SWEEP_SHARE: u64 = 20;
/// Shortest time between two looks that changes call for, so that a flood is read in large pieces.
const LOOK_EVERY_MS: u64 = 4;
/// So long a file may be away before that is said: a rotation takes a moment.
const MISSING_MS: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Watched {
    pub name: String,
    /// Nothing where the lines come from the journal.
    tailer: Option<Tailer>,
    judge: Judge,
    metrics: Metrics,
    /// What changed since it was last looked at.
    changes: Changes,
    /// When everything is looked at next, and when at the earliest.
    sweep_ms: u64,
    sweep_first_ms: u64,
    looked_ms: u64,
    missing_since_ms: Option<u64>,
    /// There was more to read at the last look.
    more: bool,
    /// A record waits for its end.
    waiting: bool,
    kept_ms: u64,
}

impl Watched {
    /// Takes up a log where it was left.
    ///
    /// # Errors
    /// Its rules cannot be prepared.
    pub(super) fn new(
        log: &Log,
        kept: &BTreeMap<String, String>,
        metrics: &Metrics,
        now_ms: u64,
    ) -> Result<Self, String> {
        let name = log.name.to_string();
        let prefix = format!("{name}/");
        let own = kept.iter().filter_map(|(n, v)| Some((n.strip_prefix(&prefix)?.to_owned(), v.clone())));
        let (counts, places) = own.partition(|(name, _)| Judge::keeps(name));
        let splitter = log.record.as_ref().map(Splitter::new).transpose()?.flatten();
        let rules = Rules::new(log.effective(), splitter.is_some())?;
        let manner = Manner { encoding: *log.encoding, splitter };
        let paths: Vec<_> = log.paths.iter().map(|path| (**path).clone()).collect();
        Ok(Self {
            tailer: (!paths.is_empty()).then(|| Tailer::new(paths, manner, &places)),
            judge: Judge::new(&name, rules, &counts, metrics, now_ms),
            metrics: metrics.clone(),
            changes: Changes::default(),
            sweep_ms: 0,
            sweep_first_ms: 0,
            looked_ms: 0,
            missing_since_ms: None,
            more: false,
            waiting: false,
            kept_ms: 0,
            name,
        })
    }

    /// Takes in what changed, if it is concerned.
    pub(super) fn changed(&mut self, changes: &Changes) {
        if self.tailer.as_ref().is_some_and(|tailer| tailer.concerned(changes)) {
            self.changes.structure |= changes.structure;
            self.changes.written.extend(changes.written.iter().cloned());
        }
    }

    /// Returns when the files are to be looked at next.
    pub(super) fn next_ms(&self) -> u64 {
        if self.tailer.is_none() {
            return u64::MAX;
        }
        let mut next_ms = if self.more { 0 } else { self.sweep_ms };
        if !self.changes.written.is_empty() {
            next_ms = next_ms.min(self.looked_ms + LOOK_EVERY_MS);
        }
        if self.changes.structure {
            next_ms = next_ms.min(self.sweep_first_ms.max(self.looked_ms + LOOK_EVERY_MS));
        }
        next_ms
    }

    /// Reads what is new in the files.
    pub(super) fn look(&mut self, began_ms: u64) {
        let Some(tailer) = &mut self.tailer else { return };
        let began = Instant::now();
        let sweep = self.sweep_ms <= began_ms || self.changes.structure && self.sweep_first_ms <= began_ms;
        let mut changes = std::mem::take(&mut self.changes);
        if !sweep {
            self.changes.structure = std::mem::take(&mut changes.structure);
        }
        let judge = &mut self.judge;
        let looked = tailer.look(Some(&changes).filter(|_| !sweep && !self.more), began_ms, &mut |lines| {
            judge.take(&lines, began_ms);
        });
        for (gap, count) in looked.gaps {
            self.judge.gap(gap, count);
        }
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now_ms = began_ms + took_ms;
        self.looked_ms = began_ms;
        (self.more, self.waiting) = (looked.more, looked.waiting);
        if sweep {
            let files = tailer.files() as u64;
            let mut every_ms = (files * SWEEP_MS_PER_FILE).clamp(SWEEP_MS, SWEEP_MS_MAX);
            if tailer.any_absent() || self.waiting {
                every_ms = SWEEP_MS;
            }
            self.sweep_ms = now_ms + every_ms;
            self.sweep_first_ms = now_ms + took_ms * SWEEP_SHARE;
            let missing = !tailer.missing().is_empty();
            self.missing_since_ms = missing.then(|| self.missing_since_ms.unwrap_or(now_ms));
            self.measure();
        }
        if self.waiting {
            self.sweep_ms = self.sweep_ms.min(now_ms + SWEEP_MS / 2);
        }
        if !self.more {
            self.judge.due(now_ms);
        }
    }

    fn measure(&self) {
        let Some(tailer) = &self.tailer else { return };
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (metrics, label) = (&self.metrics.logs, &[self.name.as_str()]);
        metrics.files.with_label_values(label).set(count(tailer.files()));
        metrics.unreadable.with_label_values(label).set(count(tailer.troubles().count()));
        metrics.missing.with_label_values(label).set(count(tailer.missing().len()));
    }

    /// Takes lines that do not come from files.
    pub(super) fn take(&mut self, text: &[u8], now_ms: u64) {
        self.judge.take(&Lines { text, records: None }, now_ms);
    }

    pub(super) fn judge(&mut self) -> &mut Judge {
        &mut self.judge
    }

    pub(super) fn is_of_files(&self) -> bool {
        self.tailer.is_some()
    }

    /// Returns what is to be reported, with what is to be kept together with it; nothing where neither is pressing.
    #[expect(clippy::type_complexity, reason = "what a commit takes")]
    pub(super) fn news(
        &mut self,
        every_ms: u64,
        now_ms: u64,
    ) -> Option<(Vec<Report>, Vec<(String, Option<String>)>)> {
        if self.judge.reports.is_empty() && self.kept_ms + every_ms > now_ms {
            return None;
        }
        self.kept_ms = now_ms;
        let reports = std::mem::take(&mut self.judge.reports);
        let mut changes = self.tailer.as_mut().map(Tailer::changes).unwrap_or_default();
        changes.extend(self.judge.changes(now_ms));
        let places: Vec<_> =
            changes.into_iter().map(|(name, text)| (format!("{}/{name}", self.name), text)).collect();
        (!reports.is_empty() || !places.is_empty()).then_some((reports, places))
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.tailer.iter().map(Tailer::folders).flat_map(BTreeSet::iter)
    }

    /// Says what keeps it from seeing.
    pub(super) fn troubles(&self) -> Vec<String> {
        let unreadable = self.tailer.iter().flat_map(Tailer::troubles).take(3).cloned();
        let own: Vec<_> = unreadable.chain(self.judge.troubles()).collect();
        own.into_iter().map(|trouble| format!("log {}: {trouble}", self.name)).collect()
    }

    /// Says what it waits for: plain paths at which nothing is.
    pub(super) fn missing(&self, now_ms: u64) -> Option<String> {
        self.missing_since_ms.filter(|since_ms| since_ms + MISSING_MS <= now_ms)?;
        let missing = self.tailer.as_ref()?.missing().first()?;
        Some(format!("log {}: {} is not there", self.name, missing.display()))
    }
}
