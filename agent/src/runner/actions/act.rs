//! What an action has to be able to do. An action is one file that implements [`Act`] for what its step says, and one
//! line in [`super::of`].

use super::Workbench;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sopwith_domain::run::{Effect, Prior, StepContext, StepResult};

/// Where an action is carried out: the step, and what there is to work with.
#[derive(Debug)]
pub struct At<'a> {
    pub bench: &'a mut Workbench,
    pub step: StepContext<'a>,
}

impl At<'_> {
    /// Longest that the step may take, in milliseconds.
    pub fn timeout_ms(&self) -> i64 {
        self.step.step.timeout_ms
    }
}

/// One action with the arguments that its step gives it.
pub trait Act {
    /// What an undo and a probe need to know of the time before.
    type Prior: Serialize + DeserializeOwned;

    /// Says what performing it now would change, for people. Changes nothing, not even in quarantine.
    ///
    /// # Errors
    /// Says why it could not be carried out now.
    fn foresee(&self, at: &mut At<'_>) -> Result<String, String>;

    /// Looks at what an undo will need, and keeps it in quarantine where it is long. Changes nothing else. What it
    /// returns is made durable before anything is done.
    ///
    /// # Errors
    /// Says why the step cannot begin.
    fn capture(&self, at: &mut At<'_>) -> Result<Self::Prior, String>;

    /// Does it, and returns its output.
    ///
    /// # Errors
    /// Says why it failed; part of it may have happened.
    fn perform(&self, at: &mut At<'_>, prior: &Self::Prior) -> Result<String, String>;

    /// Does it, with the output also where it failed.
    fn outcome(&self, at: &mut At<'_>, prior: &Self::Prior) -> StepResult {
        match self.perform(at, prior) {
            Ok(output) => StepResult::Done { output },
            Err(reason) => StepResult::Failed { reason, output: String::new() },
        }
    }

    /// Looks whether an interrupted step took effect. Changes nothing.
    ///
    /// # Errors
    /// Says why that cannot be known.
    fn probe(&self, at: &mut At<'_>, prior: &Self::Prior) -> Result<Effect, String>;

    /// Puts back what was before, after a step that was done, failed or was interrupted; also a second time. What
    /// somebody else has changed since is left alone.
    ///
    /// # Errors
    /// Names what could not be put back.
    fn undo(&self, at: &mut At<'_>, prior: &Self::Prior) -> Result<String, String>;

    /// Says whether all is as before although the step cannot be undone, as can be seen of it afterwards.
    fn untouched(&self, _at: &mut At<'_>, _prior: &Self::Prior) -> bool {
        false
    }
}

/// An action whose prior state has become text for the journal.
pub trait Journaled {
    fn foresee(&self, at: &mut At<'_>) -> Result<String, String>;
    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String>;
    fn outcome(&self, at: &mut At<'_>, prior: &Prior) -> StepResult;
    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String>;
    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String>;
    fn untouched(&self, at: &mut At<'_>, prior: &Prior) -> bool;
}

impl<T: Act> Journaled for T {
    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        Act::foresee(self, at)
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        serde_json::to_value(Act::capture(self, at)?).map_err(|e| e.to_string())
    }

    fn outcome(&self, at: &mut At<'_>, prior: &Prior) -> StepResult {
        match read(prior) {
            Ok(prior) => Act::outcome(self, at, &prior),
            Err(reason) => StepResult::Failed { reason, output: String::new() },
        }
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Act::probe(self, at, &read(prior)?)
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        Act::undo(self, at, &read(prior)?)
    }

    fn untouched(&self, at: &mut At<'_>, prior: &Prior) -> bool {
        read(prior).is_ok_and(|prior| Act::untouched(self, at, &prior))
    }
}

fn read<T: DeserializeOwned>(prior: &Prior) -> Result<T, String> {
    serde_json::from_value(prior.clone()).map_err(|e| format!("what was captured cannot be read: {e}"))
}
