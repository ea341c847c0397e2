//! The book of the day: what each check said so far today, from which the day's report is made. It is kept in the
//! spool, at most a minute behind, so that a restart of the agent loses no day.

use super::seen::Seen;
use crate::watcher::report::{Fault, bounded};
use serde::{Deserialize, Serialize};
use sopwith_domain::inspection::{CHECKS_MAX, Day, Inspected, Inspection, LINE_BYTES_MAX, Verdict};
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::Word;
use std::collections::{BTreeMap, BTreeSet};

/// Longest time between two times that the book is saved, in milliseconds; every run is not worth a write to the disk.
pub const SAVE_MS: i64 = 60_000;
/// Name of the cursor of the day itself; no check has a `+` in its name.
const DAY: &str = "+day";

/// What is kept of one check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Page {
    pub inspected: Inspected,
    /// What it said last, for saying it again after a restart without running it.
    pub faults: Vec<Fault>,
    /// Digest of the check's configuration: a check that was changed is another one.
    pub config: String,
    /// When the page was saved last.
    pub saved_at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Head {
    day: Day,
    /// Names of the checks of which a report was sent today.
    reported: BTreeSet<Word>,
}

/// A check as the book needs to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub name: Word,
    pub kind: Word,
    pub schedule: String,
    pub config: String,
}

#[derive(Debug)]
pub struct Book {
    head: Head,
    pages: BTreeMap<Word, Page>,
    dirty: BTreeSet<Word>,
    head_dirty: bool,
    gone: Vec<String>,
    saved_at: Timestamp,
}

impl Book {
    /// Opens the book as it was saved. What cannot be read begins anew.
    pub fn open(saved: &BTreeMap<String, String>, entries: &[Entry], today: &Day, now: Timestamp) -> Self {
        let read = |name: &str| saved.get(name).map(String::as_str);
        let head = read(DAY).and_then(|text| serde_json::from_str(text).ok());
        let head = head.unwrap_or_else(|| Head { day: today.clone(), reported: BTreeSet::new() });
        let pages = entries.iter().map(|entry| {
            let kept = read(entry.name.as_str()).and_then(|text| serde_json::from_str::<Page>(text).ok());
            let mut page = kept.unwrap_or_else(|| fresh(entry));
            page.inspected.kind = entry.kind.clone();
            page.inspected.schedule.clone_from(&entry.schedule);
            if page.config != entry.config {
                page.config.clone_from(&entry.config);
                page.faults.clear();
                (page.inspected.verdict, page.inspected.since, page.inspected.last_at) = (None, None, None);
            }
            (entry.name.clone(), page)
        });
        let pages: BTreeMap<Word, Page> = pages.collect();
        let known = |name: &str| name == DAY || pages.keys().any(|known| known.as_str() == name);
        let gone = saved.keys().filter(|name| !known(name)).cloned().collect();
        Self { head, pages, dirty: BTreeSet::new(), head_dirty: true, gone, saved_at: now }
    }

    /// Returns what is known of a check that ran before.
    pub fn page(&self, name: &Word) -> Option<&Page> {
        self.pages.get(name).filter(|page| page.inspected.verdict.is_some())
    }

    /// Turns the page where another day has begun, and returns the whole report of the one that is over.
    pub fn turn(&mut self, today: &Day, now: Timestamp) -> Option<Inspection> {
        if self.head.day == *today {
            return None;
        }
        let ran = |page: &Page| page.inspected.runs > 0 || page.inspected.missed > 0;
        let whole = self.pages.values().any(ran).then(|| self.report(now, true));
        self.head = Head { day: today.clone(), reported: BTreeSet::new() };
        self.head_dirty = true;
        for (name, page) in &mut self.pages {
            let kept = &mut page.inspected;
            (kept.runs, kept.warnings, kept.criticals, kept.unknowns, kept.missed) = (0, 0, 0, 0, 0);
            self.dirty.insert(name.clone());
        }
        whole
    }

    /// Notes a run.
    pub fn ran(&mut self, name: &Word, seen: &Seen, faults: Option<Vec<Fault>>, at: Timestamp) {
        let Some(page) = self.pages.get_mut(name) else { return };
        let kept = &mut page.inspected;
        kept.runs += 1;
        match seen.verdict {
            Verdict::Ok => {}
            Verdict::Warning => kept.warnings += 1,
            Verdict::Critical => kept.criticals += 1,
            Verdict::Unknown => kept.unknowns += 1,
        }
        if kept.verdict != Some(seen.verdict) {
            (kept.verdict, kept.since) = (Some(seen.verdict), Some(at));
        }
        kept.last_at = Some(at);
        kept.line = bounded(&seen.line, LINE_BYTES_MAX);
        if let Some(faults) = faults {
            page.faults = faults.into_iter().map(|fault| Fault { evidence: Vec::new(), ..fault }).collect();
        }
        self.dirty.insert(name.clone());
    }

    /// Notes runs that were due and did not happen.
    pub fn missed(&mut self, name: &Word, count: u64) {
        if let Some(page) = self.pages.get_mut(name).filter(|_| count > 0) {
            page.inspected.missed = page.inspected.missed.saturating_add(count);
            self.dirty.insert(name.clone());
        }
    }

    /// Returns the report of the day so far, once all checks have run and if there was none with all of them today.
    pub fn first_report(&mut self, now: Timestamp) -> Option<Inspection> {
        let ready = self.pages.values().all(|page| page.inspected.verdict.is_some());
        let names: BTreeSet<Word> = self.pages.keys().cloned().collect();
        (ready && self.head.reported != names).then(|| {
            self.head.reported = names;
            self.head_dirty = true;
            self.report(now, false)
        })
    }

    fn report(&self, now: Timestamp, complete: bool) -> Inspection {
        let checks = self.pages.values().take(CHECKS_MAX).map(|page| page.inspected.clone());
        let left_out = self.pages.len().saturating_sub(CHECKS_MAX) as u64;
        Inspection { day: self.head.day.clone(), made_at: now, complete, checks: checks.collect(), left_out }
    }

    /// Says whether the book should be saved now.
    pub fn due(&self, now: Timestamp) -> bool {
        let since_ms = now.since(self.saved_at);
        !(0..SAVE_MS).contains(&since_ms)
    }

    /// Returns what changed since the book was saved last, as cursors.
    pub fn save(&mut self, now: Timestamp) -> Vec<(String, Option<String>)> {
        self.saved_at = now;
        let mut cursors: Vec<_> =
            std::mem::take(&mut self.gone).into_iter().map(|name| (name, None)).collect();
        if std::mem::take(&mut self.head_dirty) {
            cursors.push((DAY.to_owned(), json(&self.head)));
        }
        for name in std::mem::take(&mut self.dirty) {
            if let Some(page) = self.pages.get_mut(&name) {
                page.saved_at = now;
                cursors.push((name.to_string(), json(page)));
            }
        }
        cursors
    }
}

fn json<T: Serialize>(value: &T) -> Option<String> {
    Some(serde_json::to_string(value).expect("a page has string keys and no floats"))
}

fn fresh(entry: &Entry) -> Page {
    let inspected = Inspected {
        check: entry.name.clone(),
        kind: entry.kind.clone(),
        schedule: entry.schedule.clone(),
        runs: 0,
        warnings: 0,
        criticals: 0,
        unknowns: 0,
        missed: 0,
        verdict: None,
        since: None,
        last_at: None,
        line: String::new(),
    };
    Page { inspected, faults: Vec::new(), config: entry.config.clone(), saved_at: Timestamp(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::signal::{Severity, Subject};

    fn day(text: &str) -> Day {
        Day::new(text).expect("a day")
    }

    fn entry(name: &str, config: &str) -> Entry {
        let word = |text: &str| Word::new(text).expect("a word");
        Entry { name: word(name), kind: word("http"), schedule: "every 1m".into(), config: config.into() }
    }

    fn word(text: &str) -> Word {
        Word::new(text).expect("a word")
    }

    fn verdict(verdict: Verdict) -> Seen {
        Seen { verdict, ..Seen::well(verdict.word()) }
    }

    /// Saves and opens again, as a restart does.
    fn again(book: &mut Book, saved: &mut BTreeMap<String, String>, entries: &[Entry], today: &Day) -> Book {
        for (name, value) in book.save(Timestamp(1)) {
            match value {
                Some(value) => drop(saved.insert(name, value)),
                None => drop(saved.remove(&name)),
            }
        }
        Book::open(saved, entries, today, Timestamp(2))
    }

    #[test]
    fn a_day_is_counted_through_restarts_and_reported_when_it_is_over() {
        let (monday, tuesday) = (day("2026-01-05"), day("2026-01-06"));
        let entries = [entry("a", "1"), entry("b", "1")];
        let mut saved = BTreeMap::new();
        let mut book = Book::open(&saved, &entries, &monday, Timestamp(0));
        assert!(book.first_report(Timestamp(0)).is_none(), "nothing has run yet");
        for (verdict_now, at) in [(Verdict::Ok, 10), (Verdict::Critical, 20), (Verdict::Critical, 30)] {
            book.ran(&word("a"), &verdict(verdict_now), Some(vec![]), Timestamp(at));
        }
        book.missed(&word("a"), 2);
        assert!(book.first_report(Timestamp(0)).is_none(), "b has not run yet");
        book.ran(&word("b"), &verdict(Verdict::Unknown), Some(vec![]), Timestamp(40));
        let first = book.first_report(Timestamp(50)).expect("all have run");
        assert!(!first.complete && first.day == monday);
        assert!(book.first_report(Timestamp(51)).is_none(), "once a day");
        let mut book = again(&mut book, &mut saved, &entries, &monday);
        assert!(book.turn(&monday, Timestamp(60)).is_none() && book.first_report(Timestamp(60)).is_none());
        book.ran(&word("a"), &verdict(Verdict::Warning), Some(vec![]), Timestamp(70));
        let whole = book.turn(&tuesday, Timestamp(80)).expect("the day is over");
        let counts: Vec<_> =
            whole.checks.iter().map(|c| [c.runs, c.warnings, c.criticals, c.unknowns, c.missed]).collect();
        assert_eq!(counts, [[4, 1, 2, 0, 2], [1, 0, 0, 1, 0]]);
        assert_eq!((whole.complete, &whole.day, whole.checks[0].since), (true, &monday, Some(Timestamp(70))));
        // The agent was away over midnight and longer: the day that it saw is reported, the others were not.
        let mut book = again(&mut book, &mut saved, &entries, &day("2026-01-09"));
        assert!(book.turn(&day("2026-01-09"), Timestamp(90)).is_none(), "nothing ran on Tuesday");
        assert!(book.first_report(Timestamp(90)).is_some(), "how it stands is known");
        assert_eq!(book.page(&word("a")).map(|page| page.inspected.verdict), Some(Some(Verdict::Warning)));
    }

    #[test]
    fn a_check_that_was_changed_or_taken_away() {
        let today = day("2026-01-05");
        let mut saved = BTreeMap::new();
        let both = [entry("a", "1"), entry("b", "1")];
        let mut book = Book::open(&saved, &both, &today, Timestamp(0));
        let fault = Fault::new("checks.a", "check.failed", Subject::Host, Severity::Warning, "x");
        for name in ["a", "b"] {
            book.ran(&word(name), &verdict(Verdict::Warning), Some(vec![fault.clone()]), Timestamp(1));
        }
        assert!(book.first_report(Timestamp(1)).is_some());
        let mut book = again(&mut book, &mut saved, &[entry("a", "2"), entry("c", "1")], &today);
        assert!(book.page(&word("a")).is_none(), "another configuration, another check");
        let mut book = again(&mut book, &mut saved, &[entry("a", "2"), entry("c", "1")], &today);
        assert!(!saved.contains_key("b"), "what is gone is forgotten");
        book.ran(&word("a"), &verdict(Verdict::Ok), Some(vec![]), Timestamp(1));
        book.ran(&word("c"), &verdict(Verdict::Ok), Some(vec![]), Timestamp(1));
        let report = book.first_report(Timestamp(2)).expect("other checks are another report");
        assert_eq!(report.checks[0].runs, 2, "the counts of the day go on");
        let mut book = again(&mut book, &mut saved, &[entry("a", "2"), entry("c", "1")], &today);
        assert_eq!(book.page(&word("a")).map(|page| page.faults.len()), Some(0));
        saved.insert("a".into(), "nonsense".into());
        book.dirty.clear();
        let book = again(&mut book, &mut saved, &[entry("a", "2")], &today);
        assert!(book.page(&word("a")).is_none(), "what cannot be read begins anew");
    }

    #[test]
    fn what_it_said_is_kept_without_its_evidence() {
        let today = day("2026-01-05");
        let mut saved = BTreeMap::new();
        let entries = [entry("a", "1")];
        let mut book = Book::open(&saved, &entries, &today, Timestamp(0));
        let mut fault = Fault::new("checks.a", "check.failed", Subject::Host, Severity::Warning, "x");
        fault.show("output", "long");
        book.ran(&word("a"), &verdict(Verdict::Critical), Some(vec![fault.clone()]), Timestamp(1));
        // It could not look: what it said before stays.
        book.ran(&word("a"), &verdict(Verdict::Unknown), None, Timestamp(2));
        let book = again(&mut book, &mut saved, &entries, &today);
        fault.evidence.clear();
        assert_eq!(book.page(&word("a")).map(|page| page.faults.clone()), Some(vec![fault]));
        assert!(!book.due(Timestamp(SAVE_MS)) && book.due(Timestamp(SAVE_MS + 2)) && book.due(Timestamp(0)));
    }
}
