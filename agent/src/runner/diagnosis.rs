//! Looks at this host about a fault that nothing mends. The server's question is believed no more than an order: its
//! seal, the owners' signatures over playbook and policy, the plan's digest and the policy's rule are checked first, and
//! that the look was begun is durable before it is: none is begun twice. Each step runs on a thread that has given up
//! the right to write any file; what starts a program is held by that program's own confinement.

use super::actions::{self, Programs, look};
use super::settings::{FOLDER, Settings};
use super::{admission, checks, clock, declarations, dry_run, trusted};
use sopwith_domain::diagnosis::{self, Facts, LOOKS_MAX};
use sopwith_domain::dry_run::{Asked, Found, Question, REPORT_BYTES_MAX, Report, Step};
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::order::SignedText;
use sopwith_domain::plan::Plan;
use sopwith_domain::run::StepContext;
use sopwith_domain::time::{HOUR_MS, Timestamp};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Name of the book of looks in the runner's folder.
const BOOK: &str = "looks.json";
/// Most looks in the book: more than an hour can hold, so that none of them is forgotten within one.
const BOOK_MAX: usize = 4 * LOOKS_MAX as usize;
const BOOK_BYTES_MAX: usize = 64 * 1024;
/// Longest that one step may tell, in bytes.
const SEEN_BYTES_MAX: usize = 8 * 1024;

/// What holds at the moment of asking.
#[derive(Clone, Debug)]
pub struct Moment {
    pub epoch: Epoch,
    pub server_now: Option<Timestamp>,
    pub stop: Option<String>,
}

/// Which looks this process began, by the boot clock, beside those that the book holds.
#[derive(Debug, Default)]
pub struct Looks(Vec<(Digest, i64)>);

/// Answers a question: one that carries an approval is a look, any other a dry run.
///
/// # Errors
/// The question bears no seal of the server, or is for another host.
pub fn or_dry_run(
    settings: &Arc<Settings>,
    looks: &mut Looks,
    moment: Moment,
    signed: &SignedText,
) -> Result<Report, String> {
    let question = dry_run::open(settings, signed)?;
    if question.approval.is_none() {
        return dry_run::look(settings, moment.stop, signed);
    }
    let found = admitted(settings, looks, moment, &question).map(|plan| Found::Looked {
        against: None,
        steps: seen(settings, &plan),
        verify: Vec::new(),
    });
    Ok(dry_run::report(&question, found))
}

/// Returns the plan of a look that may begin, and has it in the book by then.
fn admitted(
    settings: &Settings,
    looks: &mut Looks,
    moment: Moment,
    question: &Question,
) -> Result<Plan, String> {
    let plan = dry_run::plan(settings, question)?;
    let policy = question.policy.as_ref();
    let policy =
        policy.map(|signed| admission::policy_signed(&settings.allowed_signers, signed)).transpose()?;
    let subjects: Vec<_> = plan.touches().into_iter().collect();
    let (wall, boot_ms) = (clock::wall(), clock::boot_ms());
    let stated = declarations::read(&settings.declarations_dir);
    let later = |now: Timestamp| stated.forbid(&subjects, now);
    let book = Book::read(settings)?;
    let here = looks.0.iter().filter(|(_, began_ms)| boot_ms - began_ms < HOUR_MS).count();
    let facts = Facts {
        host: settings.host.clone(),
        epoch: moment.epoch,
        server_now: moment.server_now,
        stop: moment.stop,
        forbidden: later(wall).or_else(|| moment.server_now.and_then(later)),
        // Clocks can only make them more.
        looks: u32::try_from(book.within_hour(wall).max(here)).unwrap_or(u32::MAX),
        begun: book.0.iter().any(|(run, _)| *run == plan.digest()),
    };
    diagnosis::admit(&plan, question, policy.as_ref(), &facts).map_err(|refusal| refusal.to_string())?;
    book.begin(settings, plan.digest(), wall)?;
    looks.0.retain(|(_, began_ms)| boot_ms - began_ms < HOUR_MS);
    looks.0.push((plan.digest(), boot_ms));
    Ok(plan)
}

/// The looks that were begun, and when by the wall clock.
struct Book(Vec<(Digest, Timestamp)>);

impl Book {
    fn path(settings: &Settings) -> PathBuf {
        settings.state_dir.join(FOLDER).join(BOOK)
    }

    /// Reads the book. One that cannot be read or trusted lets nothing begin.
    fn read(settings: &Settings) -> Result<Self, String> {
        let path = Self::path(settings);
        match std::fs::symlink_metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self(Vec::new())),
            _ => {}
        }
        let text = trusted::read(&path, BOOK_BYTES_MAX).map_err(|e| e.to_string())?;
        serde_json::from_str(&text).map(Self).map_err(|e| format!("failed to read {}: {e}", path.display()))
    }

    /// Counts the looks of the last hour. One that lies in the future, because the clock was set back, counts too.
    fn within_hour(&self, now: Timestamp) -> usize {
        self.0.iter().filter(|(_, at)| now.since(*at) < HOUR_MS).count()
    }

    /// Makes it durable that a look begins.
    fn begin(mut self, settings: &Settings, run: Digest, at: Timestamp) -> Result<(), String> {
        self.0.push((run, at));
        let first = self.0.len().saturating_sub(BOOK_MAX);
        let path = Self::path(settings);
        let beside = path.with_extension("new");
        let written = || -> std::io::Result<()> {
            let text = serde_json::to_vec(&self.0[first..])?;
            let mut file: File =
                File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            File::open(settings.state_dir.join(FOLDER))?.sync_all()
        };
        written().map_err(|e| format!("failed to note in {} that a look begins: {e}", path.display()))
    }
}

/// Carries out the steps, each on a thread of its own. One that cannot see says why; the others go on.
fn seen(settings: &Arc<Settings>, plan: &Plan) -> Vec<Step> {
    let bytes_max = (REPORT_BYTES_MAX / 2 / plan.steps.len().max(1)).min(SEEN_BYTES_MAX);
    let step = |index| {
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| one(settings, plan, index, bytes_max));
            let fallen = |_| cannot("looking ended in a fault of this program".into());
            looking.join().unwrap_or_else(fallen)
        })
    };
    (0..plan.steps.len()).map(step).collect()
}

fn cannot(reason: String) -> Step {
    Step { require: Vec::new(), would: Vec::new(), cannot: Some(reason) }
}

fn one(settings: &Arc<Settings>, plan: &Plan, index: usize, bytes_max: usize) -> Step {
    let step = &plan.steps[index];
    let programs = match look::starts_program(&step.action) {
        true => Programs::by(settings.program.clone()),
        false => {
            dry_run::write_nothing();
            Programs::none()
        }
    };
    let mut bench = dry_run::bench(settings, programs);
    let context = StepContext { run: plan.digest(), index, step };
    let cut = |text| admission::short_to(text, bytes_max);
    let seen = actions::foresee(&mut bench, context);
    let checks = step.require.iter().chain(&step.expect);
    let require: Vec<Asked> = checks.map(|check| checks::look(&mut bench, settings, check)).collect();
    match seen {
        Ok(text) => Step { require, would: cut(text).lines().map(str::to_owned).collect(), cannot: None },
        Err(reason) => Step { require, ..cannot(cut(reason)) },
    }
}
