//! The fence: may an attempt be opened now?
//!
//! Asked before each call to a token endpoint. The answer compares the clock with the end of the current term, so it is right even when the election's task has
//! not run for an hour.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long a permit of [`Fence::always`] lasts: longer than anything that is done under one.
const NO_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// One unbroken time of holding the Lease. Terms have different numbers, so that a permit of an earlier one stays void.
#[derive(Debug, Clone, Copy)]
struct Term {
    number: u64,
    until: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// How many terms there were.
    terms: u64,
    current: Option<Term>,
}

type Shared = Arc<Mutex<State>>;

fn current(shared: &Shared) -> Option<Term> {
    let state = shared.lock().unwrap_or_else(PoisonError::into_inner);
    state.current.filter(|term| Instant::now() < term.until)
}

#[derive(Debug, Clone)]
enum Rule {
    Lease(Shared),
    Always,
}

/// Says whether this replica may open an attempt. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Fence(Rule);

impl Fence {
    /// A fence that is always open, for a single replica without leader election.
    #[must_use]
    pub fn always() -> Self {
        Self(Rule::Always)
    }

    /// A permit, if this replica leads by the clock at this moment.
    #[must_use]
    pub fn open(&self) -> Option<Permit> {
        match &self.0 {
            Rule::Always => Some(Permit {
                deadline: Instant::now() + NO_LIMIT,
                of: None,
            }),
            Rule::Lease(shared) => {
                let term = current(shared)?;
                Some(Permit {
                    deadline: term.until,
                    of: Some((Arc::clone(shared), term.number)),
                })
            }
        }
    }
}

/// The right to open an attempt until [`Permit::deadline`]. What was opened under a permit may be finished after it (invariant 1 needs no leadership).
#[derive(Debug, Clone)]
pub struct Permit {
    deadline: Instant,
    of: Option<(Shared, u64)>,
}

impl Permit {
    /// Until when no other replica can lead, as known when the permit was given. Renewals do not move it.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the permit still counts: its deadline has not passed and the Lease was neither lost nor handed over. Ask again after every wait.
    #[must_use]
    pub fn holds(&self) -> bool {
        let same_term = |(shared, number): &(Shared, u64)| current(shared).is_some_and(|term| term.number == *number);
        Instant::now() < self.deadline && self.of.as_ref().is_none_or(same_term)
    }
}

/// The election's side of the fence. Closes it when dropped.
#[derive(Debug)]
pub(super) struct Keeper(Shared);

pub(super) fn pair() -> (Keeper, Fence) {
    let shared = Shared::default();
    (Keeper(Arc::clone(&shared)), Fence(Rule::Lease(shared)))
}

impl Keeper {
    /// Opens the fence until this instant, or keeps it open for longer.
    pub(super) fn open_until(&self, until: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match state.current {
            Some(term) if Instant::now() < term.until => term.number,
            _ => {
                state.terms += 1;
                state.terms
            }
        };
        state.current = Some(Term { number, until });
    }

    /// Closes the fence now; permits given before are void.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).current = None;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}
