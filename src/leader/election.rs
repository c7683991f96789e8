//! The task: stand by, claim, renew, release.

use std::pin::pin;

use futures::{StreamExt, TryFutureExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{PostParams, WatchEvent, WatchParams},
};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Leadership, Settings, fence,
    sight::{self, Sight, Standing},
};

/// Why one call did not work.
#[derive(Debug, thiserror::Error)]
enum CallError {
    /// Another write came first, or the Lease is gone. What we know of it is old.
    #[error("the Lease was changed or deleted meanwhile")]
    Outdated,
    /// No answer in time. The write may have been done.
    #[error("the API server did not answer in time")]
    Timeout,
    #[error("the API server cannot be reached or refused")]
    Api(#[source] kube::Error),
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match &error {
            // 409 answers a PUT with an old version and a POST of what exists; 404 a PUT of what was deleted.
            kube::Error::Api(status) if status.code == 409 || status.code == 404 => Self::Outdated,
            _ => Self::Api(error),
        }
    }
}

/// A Lease that was written by us: as the server returned it, and when we had begun to send it.
struct Held {
    lease: Lease,
    sent: Instant,
}

/// How a time of leading ended.
enum TermEnd {
    Lost,
    Shutdown(Box<Lease>),
}

/// One replica in the election.
pub(super) struct Candidate {
    api: Api<Lease>,
    settings: Settings,
    fence: fence::Keeper,
    announce: watch::Sender<Leadership>,
    shutdown: CancellationToken,
    sight: Sight,
    /// The last claim got no answer: we may hold the Lease without knowing it.
    unanswered_claim: bool,
    /// The last call failed, which was logged.
    failing: bool,
}

impl Candidate {
    pub(super) fn new(
        api: Api<Lease>,
        settings: Settings,
        fence: fence::Keeper,
        announce: watch::Sender<Leadership>,
        shutdown: CancellationToken,
    ) -> Self {
        let sight = Sight::new(Instant::now());
        Self {
            api,
            settings,
            fence,
            announce,
            shutdown,
            sight,
            unanswered_claim: false,
            failing: false,
        }
    }

    /// Takes part until shutdown, then hands the Lease over.
    pub(super) async fn run(mut self) {
        while let Some(held) = self.campaign().await {
            match self.lead(held).await {
                TermEnd::Lost => {}
                TermEnd::Shutdown(lease) => return self.release(Some(*lease)).await,
            }
        }
        if self.unanswered_claim {
            self.release(None).await;
        }
    }

    /// Stands by until the Lease is ours; nothing on shutdown.
    async fn campaign(&mut self) -> Option<Held> {
        let shutdown = self.shutdown.clone();
        loop {
            shutdown.run_until_cancelled(self.until_free()).await?;
            // Shutdown does not interrupt the claim: it could be done after we ended, and the next leader would wait for a dead one.
            match self.claim().await {
                Ok(held) => return Some(held),
                Err(CallError::Outdated) => debug!("another replica claimed the Lease first"),
                Err(error) => {
                    self.note_failure(&error);
                    shutdown.run_until_cancelled(sleep(self.settings.retry_every)).await?;
                }
            }
        }
    }

    /// Follows the Lease until it may be claimed.
    async fn until_free(&mut self) {
        loop {
            let began = Instant::now();
            match self.read().await {
                Ok(lease) => {
                    self.note_success();
                    self.sight.see(lease, Instant::now(), &self.settings);
                    if self.follow().await == Standing::Free {
                        return;
                    }
                }
                Err(error) => self.note_failure(&error),
            }
            sleep_until(began + self.settings.retry_every).await;
        }
    }

    /// Watches the Lease until it may be claimed or the watch ends. The watch is what makes a hand-over immediate; without one, it is found by the next read.
    ///
    /// A watch that stays quiet for longer than a living holder would is given up: its connection may be dead.
    async fn follow(&mut self) -> Standing {
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.settings.name));
        let version = self.sight.version().unwrap_or("0").to_owned();
        let api = self.api.clone();
        let mut events = pin!(async move { api.watch(&params, &version).await }.try_flatten_stream());
        loop {
            let standing = self.sight.standing(Instant::now(), &self.settings);
            let Standing::HeldUntil(end) = standing else {
                return standing;
            };
            let quiet_too_long = Instant::now() + self.settings.renew_every + self.settings.retry_every;
            let event = select! {
                biased;
                event = events.next() => event,
                () = sleep_until(end) => continue,
                () = sleep_until(quiet_too_long) => return standing,
            };
            match event {
                Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => {
                    self.sight.see(Some(lease), Instant::now(), &self.settings);
                }
                Some(Ok(WatchEvent::Deleted(_))) => self.sight.see(None, Instant::now(), &self.settings),
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => return standing,
            }
        }
    }

    /// Writes our name into the Lease as last seen.
    async fn claim(&mut self) -> Result<Held, CallError> {
        let lease = self.sight.claim(&self.settings);
        let sent = Instant::now();
        let written = if lease.metadata.resource_version.is_some() {
            self.replace(&lease, sent + self.settings.call_timeout).await
        } else {
            self.create(&lease).await
        };
        self.unanswered_claim = matches!(written, Err(CallError::Timeout | CallError::Api(_)));
        Ok(Held { lease: written?, sent })
    }

    /// Renews until the Lease is lost or handed over. The fence closes by itself; this task only ever opens it for longer.
    async fn lead(&mut self, held: Held) -> TermEnd {
        let shutdown = self.shutdown.clone();
        let mut lease = held.lease;
        let mut until = self.end_of_term(held.sent);
        let mut next = held.sent + self.settings.renew_every;
        if !shutdown.is_cancelled() && Instant::now() < until {
            self.note_success();
            self.fence.open_until(until);
            self.announce.send_replace(Leadership::Leading);
            info!(lease = self.settings.name, identity = self.settings.identity, "leading");
        }
        loop {
            let due = shutdown.run_until_cancelled(sleep_until(next.min(until))).await;
            let sent = Instant::now();
            if due.is_some() && sent >= until {
                return self.lost("no renewal worked in time");
            }
            let answer_by = until.min(sent + self.settings.call_timeout);
            let renewed = sight::renewed(lease.clone());
            let renewal = self.replace(&renewed, answer_by);
            // A renewal that is under way at shutdown is let go: if it was done, releasing finds a newer version, and our name in it.
            match shutdown.run_until_cancelled(renewal).await {
                None => return self.stop(lease),
                Some(Ok(newer)) => {
                    self.note_success();
                    lease = newer;
                    until = self.end_of_term(sent);
                    next = sent + self.settings.renew_every;
                    self.fence.open_until(until);
                }
                Some(Err(CallError::Outdated)) => {
                    // Either a renewal of ours that got no answer was done, or somebody else wrote. Nothing is opened until that is known.
                    self.fence.close();
                    match self.read().await {
                        Ok(Some(newer)) if sight::is_held_by(&newer, &self.settings) => {
                            lease = newer;
                            next = Instant::now();
                        }
                        Ok(_) => return self.lost("the Lease was taken or deleted"),
                        Err(error) => {
                            self.note_failure(&error);
                            next = sent + self.settings.retry_every;
                        }
                    }
                }
                Some(Err(error)) => {
                    self.note_failure(&error);
                    next = sent + self.settings.retry_every;
                }
            }
        }
    }

    fn end_of_term(&self, sent: Instant) -> Instant {
        sent + self.settings.duration.saturating_sub(self.settings.margin())
    }

    fn lost(&self, why: &str) -> TermEnd {
        self.fence.close();
        self.announce.send_replace(Leadership::Standby);
        warn!(
            lease = self.settings.name,
            identity = self.settings.identity,
            why,
            "no longer leading"
        );
        TermEnd::Lost
    }

    fn stop(&self, lease: Lease) -> TermEnd {
        self.fence.close();
        self.announce.send_replace(Leadership::Standby);
        TermEnd::Shutdown(Box::new(lease))
    }

    /// Empties the holder, so that another replica leads at once. Where that fails, the others wait for the Lease to end.
    async fn release(&self, lease: Option<Lease>) {
        let mut known = lease;
        for _ in 0..2 {
            let lease = match known.take() {
                Some(lease) => Ok(Some(lease)),
                None => self.read().await,
            };
            let lease = match lease {
                Ok(Some(lease)) if sight::is_held_by(&lease, &self.settings) => lease,
                Ok(_) => return,
                Err(_) => break,
            };
            let answer_by = Instant::now() + self.settings.call_timeout;
            match self.replace(&sight::released(lease), answer_by).await {
                Ok(_) => return info!(lease = self.settings.name, "handed the Lease over"),
                Err(CallError::Outdated) => {}
                Err(_) => break,
            }
        }
        warn!(
            lease = self.settings.name,
            "the Lease could not be handed over; another replica leads when it has ended"
        );
    }

    async fn read(&self) -> Result<Option<Lease>, CallError> {
        let read = timeout(self.settings.call_timeout, self.api.get_opt(&self.settings.name)).await;
        Ok(read.map_err(|_| CallError::Timeout)??)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, CallError> {
        let params = PostParams::default();
        let created = timeout(self.settings.call_timeout, self.api.create(&params, lease)).await;
        Ok(created.map_err(|_| CallError::Timeout)??)
    }

    async fn replace(&self, lease: &Lease, answer_by: Instant) -> Result<Lease, CallError> {
        let params = PostParams::default();
        let replaced = timeout_at(answer_by, self.api.replace(&self.settings.name, &params, lease)).await;
        Ok(replaced.map_err(|_| CallError::Timeout)??)
    }

    /// Logs the first failure of a row.
    fn note_failure(&mut self, error: &CallError) {
        if !std::mem::replace(&mut self.failing, true) {
            let cause = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            warn!(lease = self.settings.name, %error, cause, "the Lease cannot be used; trying on");
        }
    }

    fn note_success(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            info!(lease = self.settings.name, "the Lease can be used again");
        }
    }
}
