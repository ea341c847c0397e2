//! Operating norms: accounts, sudo, keys, sshd, rules for passwords, logs, the clock, schedules, packages, restarts,
//! settings of the kernel, limits and certificates. It looks and asks; it changes nothing. What may not be read is
//! said to be so, and what was known of it stays.

mod accounts;
mod ask;
mod baseline;
mod certificates;
mod clock;
mod command;
mod gauges;
mod host;
mod limits;
mod logins;
mod norm;
mod packages;
mod policy;
mod reboot;
mod rotation;
mod schedules;
mod sshd;
mod sudoers;
mod sysctl;

use super::standing::Standing;
use super::{Context, Source, SourceFailed, Work, declarations};
use crate::config::{Config, Norms, Watch, wildcard};
use crate::watcher::clock as time;
use crate::watcher::report::{Report, SourceState};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::wake::Wake;
use ask::Answers;
pub use command::{NormsArguments, command};
pub use gauges::NormGauges;
use host::{Host, Looked};
use norm::Breach;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::UnitName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest time of a look before the source says that something does not answer.
const LOOK_TIME_MAX: Duration = Duration::from_secs(30);

/// Folders in which most of what norms speak of lies: a change there brings the next look at once.
const FOLDERS: &[&str] = &[
    "/etc",
    "/etc/cron.d",
    "/etc/logrotate.d",
    "/etc/security",
    "/etc/ssh",
    "/etc/ssh/sshd_config.d",
    "/etc/sudoers.d",
    "/etc/sysctl.d",
    "/root/.ssh",
    "/var/lib/dpkg",
];
/// How long who changes a file has to finish; with many changes also the shortest time between two looks.
const SETTLE: Duration = Duration::from_secs(2);

/// Looks at one part.
type Look = fn(&Host<'_>, &mut Looked);

/// All parts, by name.
const PARTS: &[(&str, Look)] = &[
    ("accounts", accounts::look),
    ("sudoers", sudoers::look),
    ("baseline", baseline::look),
    ("sshd", sshd::look),
    ("policy", policy::look),
    ("logs", rotation::look),
    ("clock", clock::look),
    ("schedules", schedules::look),
    ("packages", packages::look),
    ("restart", reboot::look),
    ("sysctl", sysctl::look),
    ("limits", limits::look),
    ("certificates", certificates::look),
];

/// What was found of every part, by name.
type All = BTreeMap<&'static str, Looked>;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    if config.norms.watch == Watch::None {
        return None;
    }
    let looking = Looking::new(config);
    let mut elsewhere: BTreeSet<(&'static str, Subject)> = BTreeSet::new();
    for one in &config.baseline {
        let path = Subject::Path((*one.path).clone());
        elsewhere.insert((norm::FILE_DRIFT.id, path.clone()));
        if one.mode.is_some() {
            elsewhere.extend([norm::SUDOERS_WRITABLE.id, norm::KEYS_OPEN.id].map(|id| (id, path.clone())));
        }
    }
    Some(Box::new(Watching {
        looking,
        elsewhere,
        logrotate: *config.logrotate.watch,
        gauges: context.metrics.norms.clone(),
        afresh: context.afresh.clone(),
    }))
}

/// What is looked at, and by what it is judged.
#[derive(Clone)]
struct Looking {
    norms: Arc<Norms>,
    declarations_dir: PathBuf,
    known: Arc<Vec<UnitName>>,
    elsewhere: Arc<host::Elsewhere>,
}

impl Looking {
    fn new(config: &Config) -> Self {
        Self {
            norms: Arc::new(config.norms.clone()),
            declarations_dir: config.declarations_dir.path().to_owned(),
            known: Arc::new(config.units.services.keys().cloned().collect()),
            elsewhere: Arc::new(host::Elsewhere::of(config)),
        }
    }

    /// Looks at everything, blocking.
    fn look(&self, root: &Path, answers: &BTreeMap<host::Asked, host::Answer>, running: &[String]) -> All {
        let declared = declarations::read(&self.declarations_dir).stated;
        let host = Host {
            root,
            norms: &self.norms,
            answers,
            declared: &declared,
            known: &self.known,
            elsewhere: &self.elsewhere,
            running,
            now_s: time::now().0.div_euclid(1000),
        };
        let one = |(name, look): &(&'static str, Look)| {
            let mut looked = Looked::default();
            look(&host, &mut looked);
            looked.breaches.retain(|breach| wanted(&self.norms, breach));
            (*name, looked)
        };
        PARTS.iter().map(one).collect()
    }
}

/// Says whether a breach is to be told.
fn wanted(norms: &Norms, breach: &Breach) -> bool {
    let (id, subject) = (breach.norm.id, breach.subject.to_string());
    let ignored = |entry: &str| {
        let (norm, of) = entry.split_once(' ').unwrap_or((entry, "*"));
        wildcard(norm, id) && wildcard(of.trim(), &subject)
    };
    norms.watch.takes(id) && !norms.ignore.iter().any(|entry| ignored(entry))
}

struct Watching {
    looking: Looking,
    /// What another source tells of these subjects, and is not told twice.
    elsewhere: BTreeSet<(&'static str, Subject)>,
    /// Whether logrotate's own source is on.
    logrotate: bool,
    gauges: NormGauges,
    afresh: Afresh,
}

impl Source for Watching {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move { stop.run_until_cancelled(self.follow(&sink)).await.unwrap_or(Ok(())) })
    }
}

impl Watching {
    async fn follow(&self, sink: &Sink) -> Result<(), SourceFailed> {
        let mut asked = self.afresh.asked();
        let mut answers = Answers::default();
        let mut standing: BTreeMap<&'static str, Standing> = BTreeMap::new();
        let mut wake = Wake::new();
        let (mut settled, mut said, mut pending) = (false, None, None);
        loop {
            let again = match self.look(&mut answers, &mut pending).await? {
                None => false,
                Some(mut all) => {
                    self.measure(&all);
                    all.values_mut()
                        .for_each(|looked| looked.breaches.retain(|b| !self.is_told_elsewhere(b)));
                    let state = tell(&mut standing, all, sink).await?;
                    if !settled {
                        sink.report(Report::Settled).await?;
                        settled = true;
                    }
                    if said.as_ref() != Some(&state) {
                        sink.state(state.clone()).await?;
                        said = Some(state);
                    }
                    true
                }
            };
            if !again {
                let state =
                    SourceState::Broken(format!("a file or folder has not answered for {LOOK_TIME_MAX:?}"));
                sink.state(state.clone()).await?;
                said = Some(state);
            }
            wake.forget_missing();
            FOLDERS.iter().for_each(|folder| wake.watch(Path::new(folder), false));
            tokio::select! {
                () = tokio::time::sleep(self.looking.norms.every.0) => {}
                () = wake.changed() => tokio::time::sleep(SETTLE).await,
                Ok(()) = asked.changed() => sink.report(Report::LookedAfresh).await?,
            }
        }
    }

    /// Looks once; nothing where a file system does not answer. Then the same look is waited for the next time:
    /// another would only hang as well.
    async fn look(
        &self,
        answers: &mut Answers,
        pending: &mut Option<JoinHandle<All>>,
    ) -> Result<Option<All>, SourceFailed> {
        let mut look = match pending.take() {
            Some(look) => look,
            None => {
                let running = tokio::task::spawn_blocking(host::daemons).await;
                let running = running.map_err(|e| SourceFailed::new("look which daemons run", &e))?;
                answers.refresh(self.looking.norms.programs_every.0, &running).await;
                let (looking, said) = (self.looking.clone(), answers.all.clone());
                tokio::task::spawn_blocking(move || looking.look(Path::new("/"), &said, &running))
            }
        };
        match tokio::time::timeout(LOOK_TIME_MAX, &mut look).await {
            Ok(all) => all.map(Some).map_err(|e| SourceFailed::new("look at the norms", &e)),
            Err(_) => {
                *pending = Some(look);
                Ok(None)
            }
        }
    }

    /// Says whether another source says the same of the same thing.
    fn is_told_elsewhere(&self, breach: &Breach) -> bool {
        let rotation = [norm::ROTATION_INVALID.id, norm::ROTATION_STOPPED.id].contains(&breach.norm.id);
        rotation && self.logrotate || self.elsewhere.contains(&(breach.norm.id, breach.subject.clone()))
    }

    fn measure(&self, all: &All) {
        for norm in norm::ALL.iter().filter(|norm| self.looking.norms.watch.takes(norm.id)) {
            let count = all
                .values()
                .flat_map(|looked| &looked.breaches)
                .filter(|breach| breach.norm == *norm)
                .count();
            self.gauges.breaches.with_label_values(&[norm.id]).set(count as f64);
        }
    }
}

/// Says what holds, and what is over of the parts that could be looked at; returns how the source is.
async fn tell(
    standing: &mut BTreeMap<&'static str, Standing>,
    all: All,
    sink: &Sink,
) -> Result<SourceState, SourceFailed> {
    let mut troubles = Vec::new();
    for (part, looked) in all {
        let whole = looked.troubles.is_empty() && looked.later.is_none();
        let faults: Vec<_> = looked.breaches.into_iter().map(Breach::fault).collect();
        let reports = match whole {
            true => standing.entry(part).or_default().now(faults),
            false => standing.entry(part).or_default().also(faults),
        };
        sink.report_all(reports).await?;
        troubles.extend(looked.troubles.into_iter().map(|trouble| format!("{part}: {trouble}")));
    }
    troubles.truncate(8);
    Ok(if troubles.is_empty() { SourceState::Well } else { SourceState::Broken(troubles.join("; ")) })
}

#[cfg(test)]
mod tests;
