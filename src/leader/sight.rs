//! What a candidate has seen of the Lease, and what follows from it. No calls, no clock: callers pass the moment.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::Settings;

/// A Lease may ask for a longer wait than ours, but not for ever: whoever wrote an absurd number must not stop all refreshes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Who may act on the Lease now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may be claimed.
    Free,
    /// Somebody else has it, at least until this instant.
    HeldUntil(Instant),
}

#[derive(Debug)]
enum Found {
    Lease(Box<Lease>),
    /// There is none, and there was none before.
    Nothing,
    /// It was deleted while another process held it. That one may go on by its own clock.
    DeletedWhileHeld,
}

/// The Lease as last seen, and since when it looks like this.
#[derive(Debug)]
pub(super) struct Sight {
    found: Found,
    since: Instant,
}

impl Sight {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            found: Found::Nothing,
            since: now,
        }
    }

    /// Takes in what was just read. The same `resourceVersion` as before changes nothing: that is what a dead holder looks like.
    pub(super) fn see(&mut self, lease: Option<Lease>, now: Instant, own: &Settings) {
        let found = match (lease, &self.found) {
            (Some(new), Found::Lease(old)) if new.metadata.resource_version == old.metadata.resource_version => return,
            (Some(new), _) => Found::Lease(Box::new(new)),
            (None, Found::Lease(old)) if held_by_another(old, own) => Found::DeletedWhileHeld,
            (None, Found::Lease(_)) => Found::Nothing,
            (None, _) => return,
        };
        *self = Self { found, since: now };
    }

    pub(super) fn standing(&self, now: Instant, own: &Settings) -> Standing {
        let wait = match &self.found {
            Found::Nothing => return Standing::Free,
            Found::Lease(lease) if !held_by_another(lease, own) => return Standing::Free,
            Found::Lease(lease) => wait_for(lease).max(own.duration),
            Found::DeletedWhileHeld => own.duration,
        };
        let end = self.since + wait;
        if now < end {
            Standing::HeldUntil(end)
        } else {
            Standing::Free
        }
    }

    /// The version to watch from; none where there is no Lease.
    pub(super) fn version(&self) -> Option<&str> {
        match &self.found {
            Found::Lease(lease) => lease.metadata.resource_version.as_deref(),
            Found::Nothing | Found::DeletedWhileHeld => None,
        }
    }

    /// The Lease to write in order to hold it: by PUT if it has a version, by POST otherwise.
    pub(super) fn claim(&self, own: &Settings) -> Lease {
        let time = Some(MicroTime(Timestamp::now()));
        let mut lease = match &self.found {
            Found::Lease(lease) => lease.as_ref().clone(),
            Found::Nothing | Found::DeletedWhileHeld => Lease {
                metadata: ObjectMeta {
                    name: Some(own.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: None,
            },
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&own.identity) {
            // Counts hand-overs: 0 for the first holder of a new Lease, as client-go does.
            let before = spec
                .holder_identity
                .is_some()
                .then(|| spec.lease_transitions.unwrap_or(0));
            spec.lease_transitions = Some(before.map_or(0, |count| count.saturating_add(1)));
            spec.acquire_time.clone_from(&time);
        }
        spec.holder_identity = Some(own.identity.clone());
        spec.lease_duration_seconds = Some(seconds(own.duration));
        spec.renew_time = time;
        lease
    }
}

/// Whether `own` holds the Lease.
pub(super) fn is_held_by(lease: &Lease, own: &Settings) -> bool {
    holder(lease) == Some(own.identity.as_str())
}

/// The Lease held for another while.
pub(super) fn renewed(mut lease: Lease) -> Lease {
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
    lease
}

/// The Lease given back: without a holder, with its count of transitions.
pub(super) fn released(mut lease: Lease) -> Lease {
    let spec = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(String::new()),
        // 0 is refused by the API server.
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..spec
    });
    lease
}

fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

fn held_by_another(lease: &Lease, own: &Settings) -> bool {
    holder(lease).is_some_and(|holder| holder != own.identity && !(own.ended)(holder))
}

fn wait_for(lease: &Lease) -> Duration {
    let seconds = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds)
        .unwrap_or(0);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST_WAIT)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1)
}
