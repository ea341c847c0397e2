//! Deliberate faults that prove the test system. Without the feature `mutants` every switch is the constant
//! `false` and compiles to nothing; released binaries are built without it, which a test checks.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One deliberate fault.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mutant {
            $($(#[$doc])* $name,)*
        }
        impl Mutant {
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name,)*];
        }
    };
}

mutants! {
    /// The warrant is asked before the state is captured, and not again after.
    CheckBeforeCapture,
    /// Steps start before the server knows that the run was accepted.
    StartUnreported,
    /// An order carries the playbook of today instead of the one that was approved.
    DocumentsOfToday,
    /// A run goes on with its steps after the machine was started again.
    GoOnAfterReboot,
    /// What the server did not live through frees its budgets.
    BudgetsAgeWhileDown,
    /// A server whose clock was set back while it was down takes old approvals for fresh.
    ResumeInThePast,
    /// A plan that the host has answered for already is proposed again.
    ProposeAgain,
    /// An incident of which nothing is heard any more is left alone.
    ForgetUnheard,
    /// An incident whose plan fell with its playbook is left with neither a plan nor a reason.
    ForgetVoided,
    /// Automation gives up and nothing of it outlives the incident.
    ForgetProblem,
    /// The server takes a signal twice.
    SkipSignalDedup,
    /// A step in doubt is simply done again.
    RepeatStepInDoubt,
    /// The effect comes before its record.
    StartBeforeRecord,
    /// An expired approval still starts steps.
    IgnoreExpiry,
    /// A stop does not stop.
    IgnoreStop,
    /// An order for an older life of the host is taken.
    IgnoreEpoch,
    /// The plan digest is not recomputed.
    SkipDigestCheck,
    /// An order that was taken before is taken again.
    ForgetTakenOrders,
    /// Undo runs from the first step to the last.
    UndoForward,
    /// Undo leaves out the step that began and did not finish.
    UndoFinishedOnly,
    /// One automatic try too many.
    BudgetOffByOne,
    /// The limits on what runs at once are not asked.
    IgnoreAtOnce,
    /// What was done to one service within the hour is not counted.
    IgnoreServiceBudget,
    /// An approved plan waits and nobody is told why.
    HoldSilently,
    /// The same fault on other hosts holds nothing back.
    IgnoreFleet,
    /// A fix counts as good for other hosts as soon as it is verified on one.
    SkipBake,
    /// One more failure is allowed before a fix is stopped on all hosts.
    FailuresOffByOne,
    /// Hosts of several failure domains are worked on at the same time.
    IgnoreDomain,
    /// A fault of many hosts is told by each of them.
    IgnoreCommon,
    /// Runs that raise each other's faults go on in a circle.
    IgnoreLoops,
    /// What automation gave up on is worked on for another fault all the same.
    IgnoreFrozen,
    /// A server that starts again forgets what automation has to leave alone.
    ForgetFrozen,
    /// No stronger SOP is proposed where one did not help.
    SkipLadder,
    /// A stronger SOP starts by itself although the policy does not say so.
    ClimbAlone,
    /// A fault that comes back on a host makes it no more common.
    CountAtOpening,
    /// However many hosts are sick, automation goes on.
    IgnoreStorm,
    /// Runs overlap on one resource.
    IgnoreLocks,
    /// Success without verification.
    SkipVerify,
    /// Success without the soak.
    SkipSoak,
    /// Holds, maintenance and broken declarations are not asked.
    IgnoreDeclarations,
    /// The agent may be its own target.
    IgnoreProtection,
    /// A denial does not end the proposal.
    IgnoreDenial,
    /// A host whose memory was set back goes on as if nothing had happened.
    IgnoreRewind,
    /// A process that no server has answered takes what an earlier such process added for what the server knows.
    VouchForItself,
    /// A plan that was approved by itself is released although its playbook has failed meanwhile.
    ReleaseUnearned,
    /// A playbook is trusted more one run too early.
    PromoteEarly,
    /// A failure costs a playbook nothing.
    KeepTrust,
    /// A failure of which a person knows already costs a playbook nothing.
    TrustDespiteNewLife,
    /// Nobody is told that a host is silent.
    IgnoreSilence,
    /// Every host that is silent calls a person, however many are.
    PageEachSilence,
    /// A host that is heard again stays told as silent.
    SilentForEver,
    /// A policy that names nothing means all.
    EmptyMeansAll,
    /// An incident whose condition went during a run that came to nothing waits for ever.
    ForgetCleared,
    /// A message from an earlier life of a host brings that life back.
    ReviveEpoch,
    /// A playbook of risk look may have steps that change something.
    LooksMayWrite,
    /// However often a host was looked at, it is looked at again.
    IgnoreLookBudget,
    /// A host looks without the standing rule of a signed policy.
    LookUnapproved,
    /// A host that has not heard from the server lately starts steps all the same.
    IgnoreLease,
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;
    thread_local!(static ON: Cell<Option<Mutant>> = const { Cell::new(None) });

    /// Switches one mutant on for this thread, or all off.
    pub fn set(mutant: Option<Mutant>) {
        ON.set(mutant);
    }
    /// Says whether the mutant is on in this thread.
    pub fn is(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub use switch::{is, set};

/// Says that no mutant is ever on in this build.
#[cfg(not(feature = "mutants"))]
pub const fn is(_: Mutant) -> bool {
    false
}
