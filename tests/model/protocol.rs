//! What is checked: the protocol with all its rules or with one of them broken, under which faults, with which windows open.
//!
//! A run without windows must lose nothing. A run with one window must be able to lose the grant, or the window would not be real. A run with a rule
//! broken must fail, or the rule (or the model) would be idle.

use std::collections::BTreeSet;

use crate::world::Window;

/// The rules that the implementation keeps, numbered as in `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// 1. The attempt is recorded in the grant Secret before the request.
    RecordBeforeSending,
    /// 2. Opening is a compare-and-set on the very Secret that was decided on.
    OpenByCompareAndSet,
    /// 3. The deadline is checked after opening, right before sending.
    CheckDeadlineBeforeSending,
    /// 4. The answer is in the spool before anything else is done with it.
    SpoolBeforeStoring,
    /// 5. An answer for generation n is stored while the Secret holds n, whatever became of its attempt.
    StoreByGeneration,
    /// 6. An answer for generation n is dropped where the Secret holds more.
    NeverStoreOverAHigherGeneration,
    /// 7. Storing needs no leadership.
    StoreWithoutLeading,
    /// 8. A new process stores what it finds in the spool before it calls an attempt of its predecessor unknown.
    SpoolBeforeHealing,
    /// 9. Another's attempt is called unknown only when it is overdue.
    WaitForOthers,
    /// 10. After an unknown outcome the retry waits until that attempt is overdue, also when it was called unknown at once.
    RetryOnlyWhenOverdue,
    /// 11. An attempt grows overdue only while the API server answers.
    WaitOnlyWhileTheApiServerAnswers,
    /// 12. Whether a refresh is due is read from the Secrets, never from status.
    DecideFromSecrets,
    /// 13. An answer is stored only over the very token that bought it: a generation number can come again.
    StoreOverTheSameGrant,
}

/// How often an attempt may follow one whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// Exactly once per generation.
    Once,
    /// Again and again, each when the last one is overdue.
    UntilAnswered,
}

/// What may go wrong, each time at the price of one from the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL: memory is gone, the spool stays.
    Crash,
    /// The pod or node is gone with its spool.
    Destroy,
    /// SIGSTOP; may be resumed at any later time.
    Freeze,
    /// One replica cannot reach the API server; may end at any later time.
    CutOff,
    /// Nobody can reach the API server; may end at any later time.
    Outage,
    /// A request never reaches the authorization server.
    LoseRequest,
    /// The server takes so long that the client gives up first.
    SlowServer,
    /// An answer never reaches the operator.
    LoseAnswer,
    /// 429 or 503 instead of tokens.
    Throttle,
    /// A person deletes the grant Secret and signs in again; not among [`EVERY_FAULT`].
    ReplaceGrant,
    /// A write worked, its writer does not learn of it.
    LoseAcknowledgement,
}

/// All faults of machines and networks.
pub const EVERY_FAULT: &[Fault] = &[
    Fault::Crash,
    Fault::Destroy,
    Fault::Freeze,
    Fault::CutOff,
    Fault::Outage,
    Fault::LoseRequest,
    Fault::SlowServer,
    Fault::LoseAnswer,
    Fault::Throttle,
    Fault::LoseAcknowledgement,
];

/// One run of the checker.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The rule that is broken in this run.
    pub broken: Option<Rule>,
    /// The faults that may happen.
    pub faults: &'static [Fault],
    /// How many of them.
    pub fault_budget: u8,
    /// How often the Lease may leave a living holder.
    pub lease_moves: u8,
    /// The windows that are open. What would open another does not happen in this run.
    pub windows: BTreeSet<Window>,
    /// How many attempts are opened at most.
    pub attempts: usize,
    /// How many refreshes become due.
    pub refreshes: u8,
    pub retries: Retries,
}

impl Protocol {
    /// All rules, all faults, no window.
    pub fn designed(bounds: Bounds) -> Self {
        Self {
            broken: None,
            faults: EVERY_FAULT,
            fault_budget: bounds.faults,
            lease_moves: bounds.lease_moves,
            windows: BTreeSet::new(),
            attempts: bounds.attempts,
            refreshes: bounds.refreshes,
            retries: Retries::UntilAnswered,
        }
    }

    /// The same with one window open.
    pub fn with_window(mut self, window: Window) -> Self {
        self.windows.insert(window);
        self
    }

    /// The same where only these faults happen.
    pub fn with_faults(mut self, faults: &'static [Fault]) -> Self {
        self.faults = faults;
        self
    }

    /// The same with only one attempt after an unknown outcome.
    pub fn retrying_once(mut self) -> Self {
        self.retries = Retries::Once;
        self
    }

    /// The same with one rule broken.
    pub fn without(mut self, rule: Rule) -> Self {
        self.broken = Some(rule);
        self
    }

    /// Whether this run keeps the rule.
    pub fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }
}

/// How far a run looks.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub faults: u8,
    pub lease_moves: u8,
    pub attempts: usize,
    pub refreshes: u8,
}
