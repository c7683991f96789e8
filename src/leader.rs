//! Which replica may open attempts: leader election by a Lease (`coordination.k8s.io/v1`), and the fence that enforces it.
//!
//! ```text
//! Election ──PUT with resourceVersion──> Lease
//!    │ opens until (last renewal sent + duration − margin)
//!    ▼
//!  Fence <──open()──  whoever is about to call a token endpoint
//! ```
//!
//! Two rules make the fence safe, whatever the network does and however long a process is frozen:
//!
//! - The leader's time runs from *before* it sent its last successful renewal, and ends a margin before the Lease does. [`Fence::open`] compares clocks when it is
//!   asked, so nothing has to run for the fence to close: after a SIGSTOP it is found closed.
//! - A standby believes no clock but its own. It takes over when it has seen one and the same `resourceVersion` for the whole duration; `renewTime` is for people.
//!   The PUT carries that `resourceVersion`, so a renewal that it did not see makes it fail.
//!
//! Instants are `CLOCK_MONOTONIC`, which runs on while a process is stopped, but not while a whole machine is suspended. Also, a person who deletes the Lease or
//! empties `holderIdentity` while its holder lives can make two leaders for up to one renewal. Both are why the fence is the first wall only: attempts are opened
//! by compare-and-set (invariant 2).
//!
//! The Lease's holder is named by an identity of this very *process*: a restarted container must not take itself for its predecessor. Where the spool proves that
//! the predecessor is dead, [`Settings::ended`] lets the successor take over at once.
//!
//! Needs the verbs `get`, `create`, `update` and `watch` on Leases in its own namespace.

use std::{sync::Arc, time::Duration};

use kube::{Api, Client};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

mod election;
mod fence;
mod sight;
#[cfg(test)]
mod tests;

pub use fence::{Fence, Permit};

/// Tells whether the process with this identity is known to have ended.
pub type Ended = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How to take part in the election. [`Settings::new`] has the values that the documentation promises.
#[derive(Clone)]
pub struct Settings {
    /// The namespace of the Lease: the operator's own.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Names this process, and no other, ever. Shown as `holderIdentity`.
    pub identity: String,
    /// How long a Lease lasts after its last renewal; whole seconds. All replicas should agree; a standby waits the longer of its own and the Lease's.
    pub duration: Duration,
    /// From one renewal to the next.
    pub renew_every: Duration,
    /// From the start of a call that failed to the next.
    pub retry_every: Duration,
    /// The longest that one call may take.
    pub call_timeout: Duration,
    /// Holders that are certainly dead: their Lease is taken over without waiting.
    pub ended: Ended,
}

impl Settings {
    /// A Lease of 15 s, renewed every 5 s: after a crash another replica leads within 17 s, and a leader that is cut off closes its fence after 12 s.
    #[must_use]
    pub fn new(namespace: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: "emailasset-operator".to_owned(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            retry_every: Duration::from_secs(2),
            call_timeout: Duration::from_secs(3),
            ended: Arc::new(|_| false),
        }
    }

    /// How long before the end of the Lease the fence closes: covers clocks that run at different speed, and the time from asking the fence to opening the attempt.
    fn margin(&self) -> Duration {
        self.duration / 5
    }
}

/// Whether this replica leads. Work that only the leader does starts and stops by this; what must never be done twice asks the [`Fence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// This replica holds the Lease.
    Leading,
    /// Another replica does, or nobody.
    Standby,
}

/// The one task that takes part in the election.
#[derive(Debug)]
pub enum Election {}

impl Election {
    /// Starts it. It never gives up: it leads, stands by, and tries again until `shutdown`. Then it closes the fence first, hands the Lease over, and ends, all
    /// within about two call timeouts.
    #[must_use]
    pub fn start(
        client: Client,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> (Fence, watch::Receiver<Leadership>, JoinHandle<()>) {
        let (candidate, fence, leadership) = Self::prepare(client, settings, shutdown);
        (fence, leadership, tokio::spawn(candidate.run()))
    }

    fn prepare(
        client: Client,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> (election::Candidate, Fence, watch::Receiver<Leadership>) {
        let api = Api::namespaced(client, &settings.namespace);
        let (keeper, fence) = fence::pair();
        let (announce, leadership) = watch::channel(Leadership::Standby);
        (
            election::Candidate::new(api, settings, keeper, announce, shutdown),
            fence,
            leadership,
        )
    }
}
