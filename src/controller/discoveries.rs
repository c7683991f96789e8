//! What issuers say about their endpoints, kept for all assets that name them.
//!
//! An issuer is asked by a task of its own, once at a time, whoever needs it: no pass waits for it (invariant 7), and assets are woken when there is an answer. What is
//! known is used for as long as nothing newer is; it is asked for again in the background when it is used after [`FRESH_FOR`]. A restart begins with what the statuses
//! show and asks nobody before something is due (invariant 4).
//!
//! What was read under one bundle of certificates is never shown to an asset with another: people may bring their own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Semaphore, time::Instant};
use tracing::{info, warn};

use super::{context::Context, observe::now, pass::authority};
use crate::{
    api::{KeyRef, Reason},
    oauth::{self, Undiscovered},
    provider::Discovered,
    store::Key,
};

/// For how long it is used without a new look. Endpoints hardly ever change.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(60 * 60);
/// How long an issuer that could not be asked is left in peace at first; twice that after each further time.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause: whoever mends an issuer does not want to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How many issuers are asked at a time.
const AT_A_TIME: usize = 32;

/// Whom to ask, and whose word counts for its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) issuer: String,
    /// Namespace, and the ConfigMap and key that `spec.oauth2.caBundleRef` names.
    pub(super) bundle: Option<(Arc<str>, String, String)>,
}

impl Asked {
    pub(super) fn new(issuer: &str, namespace: &Arc<str>, bundle: Option<&KeyRef>) -> Self {
        Self {
            issuer: issuer.to_owned(),
            bundle: bundle.map(|bundle| (Arc::clone(namespace), bundle.name.clone(), bundle.key.clone())),
        }
    }
}

/// What is known of an issuer.
#[derive(Debug, Clone)]
pub(super) enum Finding {
    /// What it said last.
    Known(Arc<Discovered>),
    /// It was not asked yet.
    Unasked,
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
    pause_ends: Instant,
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
    known: Option<(Arc<Discovered>, Instant)>,
    failed: Option<Failed>,
    underway: bool,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Asked, Entry>,
    /// Which asset needs which issuer.
    users: HashMap<Key, Asked>,
}

/// All of them. An issuer that no asset names is forgotten.
pub(super) struct Discoveries {
    inner: Mutex<Inner>,
    slots: Semaphore,
}

impl Default for Discoveries {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            slots: Semaphore::new(AT_A_TIME),
        }
    }
}

impl Discoveries {
    /// What is known of the issuer that this asset needs.
    pub(super) fn of(&self, asset: &Key, asked: &Asked) -> Finding {
        let mut inner = self.lock();
        if inner.users.get(asset) != Some(asked) {
            inner.leave(asset);
            inner.users.insert(asset.clone(), asked.clone());
        }
        let Some(entry) = inner.entries.get(asked) else {
            return Finding::Unasked;
        };
        match (&entry.known, &entry.failed) {
            (Some((known, _)), _) => Finding::Known(Arc::clone(known)),
            (None, Some(failed)) => Finding::Failed(failed.clone()),
            (None, None) => Finding::Unasked,
        }
    }

    /// Forgets an asset that is gone or needs no issuer any more.
    pub(super) fn forget(&self, asset: &Key) {
        self.lock().leave(asset);
    }

    /// Whether the issuer is to be asked now; it counts as asked from here on.
    fn begin(&self, asked: &Asked) -> Asking {
        let mut inner = self.lock();
        let entry = inner.entries.entry(asked.clone()).or_default();
        let fresh = entry.known.as_ref().is_some_and(|(_, at)| at.elapsed() < FRESH_FOR);
        let paused = entry
            .failed
            .as_ref()
            .is_some_and(|failed| failed.pause_ends > Instant::now());
        if entry.underway {
            return Asking::Underway;
        }
        if fresh || paused {
            return Asking::NotNow;
        }
        entry.underway = true;
        Asking::Begins
    }

    /// Takes in what came of asking. Returns who must be looked at again.
    fn end(&self, asked: &Asked, found: Result<Discovered, (Reason, String)>) -> Vec<Key> {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(asked) else {
            return Vec::new();
        };
        entry.underway = false;
        let news = match found {
            Ok(found) => {
                let before = entry.known.as_ref().map(|(known, _)| known);
                let news = before.is_none_or(|before| **before != found);
                if before.is_some() && news {
                    info!(issuer = asked.issuer, "the issuer names other endpoints than before");
                }
                entry.known = Some((Arc::new(found), Instant::now()));
                entry.failed = None;
                news
            }
            Err((reason, message)) => {
                let times = entry.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
                let pause = FIRST_PAUSE
                    .saturating_mul(1 << times.saturating_sub(1).min(8))
                    .min(LONGEST_PAUSE);
                let known = entry.known.is_some();
                warn!(
                    issuer = asked.issuer,
                    reason = %reason,
                    "{message}{}",
                    if known { " What it said before is used until then." } else { "" }
                );
                entry.failed = Some(Failed {
                    reason,
                    message,
                    again: ahead(pause),
                    times,
                    pause_ends: Instant::now() + pause,
                });
                !known
            }
        };
        if !news {
            return Vec::new();
        }
        let users = inner.users.iter().filter(|(_, needs)| *needs == asked);
        users.map(|(asset, _)| asset.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn leave(&mut self, asset: &Key) {
        if let Some(left) = self.users.remove(asset)
            && !self.users.values().any(|needed| *needed == left)
        {
            self.entries.remove(&left);
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

/// Asks an issuer on a task of its own, unless it is being asked, was asked lately, or is left in peace. The request carries nothing secret.
pub(super) fn ask(context: &Arc<Context>, asked: &Asked) -> Asking {
    if context.stopping.is_cancelled() {
        return Asking::NotNow;
    }
    let asking = context.discoveries.begin(asked);
    if asking != Asking::Begins {
        return asking;
    }
    let (context, asked) = (Arc::clone(context), asked.clone());
    let tracker = context.tracker.clone();
    tracker.spawn(async move {
        let asking = Arc::clone(&context);
        let whom = asked.clone();
        let answer = tokio::spawn(async move { answer(&asking, &whom).await });
        let stopping = context.stopping.clone();
        let abort = answer.abort_handle();
        let Some(found) = stopping.run_until_cancelled(answer).await else {
            abort.abort();
            return;
        };
        let found = found.unwrap_or_else(|_| {
            let message = format!("Asking {} ended in a fault of ours; please report this.", asked.issuer);
            Err((Reason::Retrying, message))
        });
        for asset in context.discoveries.end(&asked, found) {
            context.wake(&asset);
        }
    });
    asking
}

async fn answer(context: &Context, asked: &Asked) -> Result<Discovered, (Reason, String)> {
    let _slot = context.discoveries.slots.acquire().await;
    let bundle = match &asked.bundle {
        Some((namespace, name, key)) => authority(context, namespace, name, key)
            .await
            .map(Some)
            .map_err(|failure| (failure.reason, failure.message))?,
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
    if problem.is_temporary() {
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
mod tests {
    use url::Url;

    use super::*;
    use crate::provider::NamesIssuer;

    fn asked() -> Asked {
        Asked {
            issuer: "https://id.example.com".to_owned(),
            bundle: None,
        }
    }

    fn found(token: &str) -> Discovered {
        Discovered {
            issuer: asked().issuer,
            token_url: Url::parse(token).unwrap(),
            authorization_url: None,
            device_authorization_url: None,
            revocation_url: None,
            names_issuer: NamesIssuer::Perhaps,
            authentication_with_secret: Vec::new(),
        }
    }

    fn asset(name: &str) -> Key {
        Key::new("here", name)
    }

    const TOKEN: &str = "https://id.example.com/token";

    fn no() -> Result<Discovered, (Reason, String)> {
        Err((Reason::Retrying, "no".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_is_asked_once_for_all_that_need_it() {
        let all = Discoveries::default();
        assert!(matches!(all.of(&asset("a"), &asked()), Finding::Unasked));
        assert!(matches!(all.of(&asset("b"), &asked()), Finding::Unasked));
        assert_eq!(all.begin(&asked()), Asking::Begins);
        assert_eq!(all.begin(&asked()), Asking::Underway);
        let mut woken = all.end(&asked(), Ok(found(TOKEN)));
        woken.sort_by_key(ToString::to_string);
        assert_eq!(woken, [asset("a"), asset("b")]);
        assert_eq!(all.begin(&asked()), Asking::NotNow, "it was asked a moment ago");
        tokio::time::advance(FRESH_FOR).await;
        assert_eq!(all.begin(&asked()), Asking::Begins);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_used_while_the_issuer_does_not_answer() {
        let all = Discoveries::default();
        all.of(&asset("a"), &asked());
        assert_eq!(all.begin(&asked()), Asking::Begins);
        all.end(&asked(), Ok(found(TOKEN)));
        tokio::time::advance(FRESH_FOR).await;
        assert_eq!(all.begin(&asked()), Asking::Begins);
        assert!(all.end(&asked(), no()).is_empty(), "nothing has changed for anybody");
        assert!(matches!(all.of(&asset("a"), &asked()), Finding::Known(_)));
        assert_eq!(all.begin(&asked()), Asking::NotNow, "it is left in peace");
        tokio::time::advance(FIRST_PAUSE).await;
        assert_eq!(all.begin(&asked()), Asking::Begins);
        assert!(all.end(&asked(), Ok(found(TOKEN))).is_empty(), "it says the same");
        tokio::time::advance(FRESH_FOR).await;
        assert_eq!(all.begin(&asked()), Asking::Begins);
        let other = Ok(found("https://other.example.com/token"));
        assert_eq!(all.end(&asked(), other), [asset("a")], "it says something else");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_the_failure_and_pauses_grow_to_five_minutes() {
        let all = Discoveries::default();
        all.of(&asset("a"), &asked());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(all.begin(&asked()), Asking::Begins);
            assert_eq!(all.end(&asked(), no()), [asset("a")]);
            let Finding::Failed(failed) = all.of(&asset("a"), &asked()) else {
                panic!("it has failed")
            };
            assert!(failed.again > now());
            let pause = failed.pause_ends.duration_since(Instant::now());
            pauses.push(pause.as_secs());
            tokio::time::advance(pause).await;
        }
        assert_eq!(pauses, [30, 60, 120, 240, 300, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_an_issuer_that_nobody_names() {
        let all = Discoveries::default();
        all.of(&asset("a"), &asked());
        assert_eq!(all.begin(&asked()), Asking::Begins);
        all.end(&asked(), Ok(found(TOKEN)));
        let other = Asked {
            issuer: "https://other.example.com".to_owned(),
            bundle: None,
        };
        all.of(&asset("a"), &other);
        assert!(all.lock().entries.is_empty());
        all.forget(&asset("a"));
        assert!(all.lock().users.is_empty());
        assert!(
            all.end(&asked(), Ok(found(TOKEN))).is_empty(),
            "an answer that comes late is for nobody"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_bundle_of_ones_own_speaks_for_nobody_else() {
        let all = Discoveries::default();
        let own = Asked {
            bundle: Some(("here".into(), "ca".to_owned(), "ca.crt".to_owned())),
            ..asked()
        };
        all.of(&asset("a"), &own);
        assert_eq!(all.begin(&own), Asking::Begins);
        all.end(&own, Ok(found("https://trap.example.com/token")));
        assert!(matches!(all.of(&asset("b"), &asked()), Finding::Unasked));
    }
}
