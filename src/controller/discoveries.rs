//! What issuers say about their endpoints, kept for all assets that name them.
//!
//! ```text
//! pass ──of──> what is known of the issuer        pass ──ask──> a task: one request ──end──> kept, and who needs it looks again
//! ```
//!
//! An issuer is asked by a task of its own, once at a time, whoever needs it: no pass waits for it (invariant 7). What is known is used for as long as nothing newer
//! is; it is asked for again in the background when it is used after [`FRESH_FOR`]. A restart begins with what the statuses show and asks nobody before something
//! is due (invariant 4).
//!
//! What was read under one bundle of certificates is never shown to an asset with another: people may bring their own.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Semaphore, time::Instant};
use tracing::{info, warn};
use url::Url;

use super::{bundle::Bundle, context::Context, observe::now};
use crate::{
    api::{EndpointsStatus, Reason},
    lifecycle::Discovery,
    oauth::{self, Undiscovered},
    provider::{Discovered, Endpoints, ResolveError},
    store::Key,
};

/// For how long it is used without a new look. Endpoints hardly ever change.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(60 * 60);
/// How long an issuer that could not be asked is left in peace at first; twice that after each further time.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause: whoever mends an issuer does not want to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How soon it may be asked again where a person wishes it, or an asset stands still for what it said.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
/// How many issuers of one host are asked at a time: a slow host delays no other (invariant 7).
const AT_A_TIME: usize = 4;

/// Whom to ask, and whose word counts for its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) issuer: String,
    pub(super) bundle: Option<Bundle>,
}

/// Who needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum User {
    Asset(Key),
    /// An `EmailProvider`, for its status.
    Provider(String),
}

/// What a person changes who wants an issuer asked at once: the spec, or the annotation that asks for a refresh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) generation: Option<i64>,
    pub(super) refresh: Option<String>,
}

/// What a user needs to know.
pub(super) struct Need<'a> {
    pub(super) user: User,
    pub(super) asked: Asked,
    pub(super) wish: Wish,
    /// What the user's status shows, which may have been found by an earlier process.
    pub(super) shown: Option<&'a EndpointsStatus>,
}

/// Why there are no endpoints.
pub(super) enum Missing {
    /// The spec cannot be resolved, whatever an issuer says, or with what it says.
    Unresolved(ResolveError),
    /// The issuer has not said where they are; and what came of asking it, if that was in vain.
    Undiscovered(Discovery, Option<Failed>),
}

/// What is known of an issuer.
#[derive(Debug, Clone)]
enum Finding {
    /// What it said last.
    Known(Arc<Discovered>),
    /// It was not asked yet.
    Unasked,
    /// It is being asked; and what came of it the last time, if that was in vain.
    Underway(Option<Failed>),
    /// It was asked in vain, and nothing was known before.
    Failed(Failed),
}

/// Why nothing is known.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// When it is asked again.
    pub(super) again: Timestamp,
    times: u32,
    at: Instant,
    pause_ends: Instant,
}

impl Failed {
    fn new(reason: Reason, message: String, times: u32) -> Self {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << times.saturating_sub(1).min(8))
            .min(LONGEST_PAUSE);
        Self {
            reason,
            message,
            again: ahead(pause),
            times,
            at: Instant::now(),
            pause_ends: Instant::now() + pause,
        }
    }

    /// Ends the pause, unless the server itself asked for it.
    fn hurry(&mut self) {
        let soon = self.at + SHORTEST_PAUSE;
        if self.reason != Reason::Throttled && soon < self.pause_ends {
            self.pause_ends = soon;
            self.again = ahead(soon.saturating_duration_since(Instant::now()));
        }
    }
}

/// Whether an answer is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// It begins now.
    Begins,
    /// It has begun.
    Underway,
    /// It was asked lately, or is left in peace.
    NotNow,
}

#[derive(Default)]
struct Entry {
    users: HashSet<User>,
    known: Option<(Arc<Discovered>, Instant)>,
    failed: Option<Failed>,
    underway: bool,
}

impl Entry {
    fn finding(&self) -> Finding {
        match (&self.known, &self.failed) {
            (Some((known, _)), _) => Finding::Known(Arc::clone(known)),
            (None, failed) if self.underway => Finding::Underway(failed.clone()),
            (None, Some(failed)) => Finding::Failed(failed.clone()),
            (None, None) => Finding::Unasked,
        }
    }
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Asked, Entry>,
    /// Which issuer each user needs, and what it wished when it was looked at last.
    users: HashMap<User, (Asked, Wish)>,
}

/// All of them. An issuer that nobody names is forgotten.
#[derive(Default)]
pub(super) struct Discoveries {
    inner: Mutex<Inner>,
    /// By host, as long as somebody waits or asks there.
    slots: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Discoveries {
    /// The values in effect, or why there are none. What `resolve` makes of metadata counts, whether this process has read them or they stand in the status.
    pub(super) fn endpoints(
        &self,
        need: &Need<'_>,
        resolve: impl Fn(Option<&Discovered>) -> Result<Endpoints, ResolveError>,
    ) -> Result<Endpoints, Missing> {
        let finding = self.of(&need.user, &need.asked, &need.wish);
        if let Finding::Known(found) = &finding {
            return resolve(Some(found)).map_err(Missing::Unresolved);
        }
        // What the status shows was true when it was written. If this spec needs more, the issuer is asked.
        let shown = need
            .shown
            .and_then(|shown| Discovered::of_status(&need.asked.issuer, shown));
        if let Some(endpoints) = shown.and_then(|shown| resolve(Some(&shown)).ok()) {
            return Ok(endpoints);
        }
        Err(match finding {
            Finding::Known(_) | Finding::Unasked => Missing::Undiscovered(Discovery::Due, None),
            Finding::Underway(failed) => Missing::Undiscovered(Discovery::Underway, failed),
            Finding::Failed(failed) => Missing::Undiscovered(Discovery::Failed { again: failed.again }, Some(failed)),
        })
    }

    /// What is known of the issuer that this user needs. A wish that is not the last one ends a pause.
    fn of(&self, user: &User, asked: &Asked, wish: &Wish) -> Finding {
        let mut inner = self.lock();
        let before = inner.users.get(user);
        let known = before.is_some_and(|(needed, _)| needed == asked);
        let wishes = known && before.is_some_and(|(_, wished)| wished != wish);
        if !known {
            inner.leave(user);
        }
        if !known || wishes {
            inner.users.insert(user.clone(), (asked.clone(), wish.clone()));
        }
        let entry = inner.entries.entry(asked.clone()).or_default();
        if !known {
            entry.users.insert(user.clone());
        }
        if let Some(failed) = entry.failed.as_mut().filter(|_| wishes) {
            failed.hurry();
        }
        entry.finding()
    }

    /// Forgets a user that is gone or needs no issuer any more.
    pub(super) fn forget(&self, user: &User) {
        self.lock().leave(user);
    }

    /// Whether the issuer is to be asked now, what is known being older than this; it counts as asked from here on.
    fn begin(&self, asked: &Asked, older_than: Duration) -> Asking {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(asked) else {
            return Asking::NotNow;
        };
        if entry.underway {
            return Asking::Underway;
        }
        let fresh = entry.known.as_ref().is_some_and(|(_, at)| at.elapsed() < older_than);
        let paused = entry
            .failed
            .as_ref()
            .is_some_and(|failed| failed.pause_ends > Instant::now());
        if fresh || paused {
            return Asking::NotNow;
        }
        entry.underway = true;
        Asking::Begins
    }

    /// Takes in what came of asking. Returns who must be looked at again.
    fn end(&self, asked: &Asked, found: Result<Discovered, (Reason, String)>) -> Vec<User> {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(asked) else {
            return Vec::new();
        };
        entry.underway = false;
        let before = entry.known.as_ref().map(|(known, _)| Arc::clone(known));
        let news = match found {
            Ok(found) => {
                let news = before.as_ref().is_none_or(|before| **before != found);
                if before.is_some() && news {
                    info!(issuer = asked.issuer, "the issuer names other endpoints than before");
                }
                entry.known = Some((Arc::new(found), Instant::now()));
                entry.failed = None;
                news
            }
            Err((reason, message)) => {
                let times = entry.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
                let stale = if before.is_some() {
                    " What it said before is used meanwhile."
                } else {
                    ""
                };
                warn!(issuer = asked.issuer, reason = %reason, "{message}{stale}");
                entry.failed = Some(Failed::new(reason, message, times));
                before.is_none()
            }
        };
        if news {
            entry.users.iter().cloned().collect()
        } else {
            Vec::new()
        }
    }

    fn slots_at(&self, issuer: &str) -> Arc<Semaphore> {
        let host = Url::parse(issuer)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slots| slots.strong_count() > 0);
        let kept = slots.entry(host.unwrap_or_default()).or_default();
        kept.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Semaphore::new(AT_A_TIME));
            *kept = Arc::downgrade(&new);
            new
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn leave(&mut self, user: &User) {
        let Some((left, _)) = self.users.remove(user) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(&left) {
            entry.users.remove(user);
            if entry.users.is_empty() {
                self.entries.remove(&left);
            }
        }
    }
}

/// The first whole second after this long: times of a world are whole seconds.
fn ahead(pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or_default();
    now()
        .checked_add(pause.saturating_add(SignedDuration::from_secs(1)))
        .unwrap_or(Timestamp::MAX)
}

/// Asks an issuer on a task of its own, unless it is being asked, what it said is not older than this, or it is left in peace. The request carries nothing secret.
pub(super) fn ask(context: &Arc<Context>, asked: &Asked, older_than: Duration) -> Asking {
    if context.stopping.is_cancelled() {
        return Asking::NotNow;
    }
    let asking = context.discoveries.begin(asked, older_than);
    if asking == Asking::Begins {
        let (task, asked) = (Arc::clone(context), asked.clone());
        context
            .tracker
            .spawn(async move { ask_to_the_end(&task, &asked).await });
    }
    asking
}

async fn ask_to_the_end(context: &Arc<Context>, asked: &Asked) {
    let (asking, whom) = (Arc::clone(context), asked.clone());
    // A task of its own again: a fault in it must not leave the issuer being asked for ever.
    let answer = tokio::spawn(async move { answer(&asking, &whom).await });
    let abort = answer.abort_handle();
    let Some(found) = context.stopping.run_until_cancelled(answer).await else {
        abort.abort();
        return;
    };
    let found = found.unwrap_or_else(|_| {
        let message = format!("Asking {} ended in a fault of ours; please report this.", asked.issuer);
        Err((Reason::Retrying, message))
    });
    for user in context.discoveries.end(asked, found) {
        match user {
            User::Asset(asset) => context.wake(&asset),
            User::Provider(_) => context.providers.look_at_statuses(),
        }
    }
}

async fn answer(context: &Context, asked: &Asked) -> Result<Discovered, (Reason, String)> {
    let slots = context.discoveries.slots_at(&asked.issuer);
    let _slot = slots.acquire().await;
    let bundle = match &asked.bundle {
        Some(bundle) => Some(
            bundle
                .read(context)
                .await
                .map_err(|failure| (failure.reason, failure.message))?,
        ),
        None => None,
    };
    let metadata = oauth::discover_anew(&context.token_client, &asked.issuer, bundle.as_ref())
        .await
        .map_err(|problem| (reason(&problem), message(&asked.issuer, &problem)))?;
    metadata.endpoints.map_err(|problem| {
        let problem = format!(
            "The issuer {} cannot be used: {problem}. Correct it at the server, or set spec.oauth2.tokenURL, and where a person signs in authorizationURL.",
            asked.issuer
        );
        (Reason::EndpointUnusable, problem)
    })
}

const fn reason(problem: &Undiscovered) -> Reason {
    if problem.is_throttling() {
        Reason::Throttled
    } else if problem.is_temporary() {
        Reason::Retrying
    } else {
        Reason::EndpointUnusable
    }
}

fn message(issuer: &str, problem: &Undiscovered) -> String {
    let next = if problem.is_temporary() {
        "It is asked again by itself."
    } else {
        "Its metadata were expected at its address with /.well-known/openid-configuration. Correct spec.oauth2.issuer or the server, or set spec.oauth2.tokenURL, and \
         where a person signs in authorizationURL."
    };
    format!("What the issuer {issuer} says about its endpoints cannot be used: {problem}. {next}")
}

#[cfg(test)]
mod tests;
