//! Which refused sign-ins were noted lately: a flood of refusals must not become a flood of writes.
//!
//! Whoever has a link can come back from the provider as often as the pages let them, with a no or with a code of another account. The first time is worth a status
//! and an Event; the same again within [`PAUSE`] says nothing new, and different ones are worth [`MOST`] in that time. Each replica remembers for itself.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{lifecycle::SignInRefusal, store::Key};

/// For so long a refusal is remembered.
const PAUSE: Duration = Duration::from_secs(60);
/// So many different refusals of one asset are noted in that time. A provider's error code is in some of them, and whoever writes the address chooses it.
const MOST: usize = 6;

/// The refusals of the last minute.
#[derive(Default)]
pub(super) struct Noted(Mutex<HashMap<Key, Vec<(SignInRefusal, Instant)>>>);

impl Noted {
    /// Whether this refusal is worth a write. If it is, it is not for a while.
    pub(super) fn is_news(&self, asset: &Key, refusal: &SignInRefusal) -> bool {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| {
            known.retain(|(_, at)| now.duration_since(*at) < PAUSE);
            !known.is_empty()
        });
        let known = all.entry(asset.clone()).or_default();
        let news = known.len() < MOST && known.iter().all(|(noted, _)| noted != refusal);
        if news {
            known.push((refusal.clone(), now));
        }
        news
    }

    /// Somebody signed in: what was refused before is history, and the next refusal is news.
    pub(super) fn forget(&self, asset: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(asset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(name: &str) -> Key {
        Key::new("helpdesk", name)
    }

    fn failed(number: usize) -> SignInRefusal {
        SignInRefusal::Failed {
            message: format!("error {number}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_refusal_of_the_same_asset_is_news_once_a_minute() {
        let noted = Noted::default();
        assert!(noted.is_news(&asset("support"), &SignInRefusal::ConsentDenied));
        for _ in 0..1_000 {
            assert!(!noted.is_news(&asset("support"), &SignInRefusal::ConsentDenied));
        }
        assert!(noted.is_news(&asset("sales"), &SignInRefusal::ConsentDenied));
        assert!(noted.is_news(&asset("support"), &SignInRefusal::NoRefreshToken));
        tokio::time::advance(PAUSE).await;
        assert!(noted.is_news(&asset("support"), &SignInRefusal::ConsentDenied));
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_differ_are_worth_a_few_writes_only() {
        let noted = Noted::default();
        let news = (0..1_000).filter(|number| noted.is_news(&asset("support"), &failed(*number)));
        assert_eq!(news.count(), MOST);
        tokio::time::advance(PAUSE).await;
        assert!(noted.is_news(&asset("support"), &failed(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_sign_in_that_worked_everything_is_news_and_nothing_is_kept_of_the_past() {
        let noted = Noted::default();
        assert!(noted.is_news(&asset("support"), &SignInRefusal::ConsentDenied));
        noted.forget(&asset("support"));
        assert!(noted.is_news(&asset("support"), &SignInRefusal::ConsentDenied));
        tokio::time::advance(PAUSE).await;
        assert!(noted.is_news(&asset("sales"), &SignInRefusal::ConsentDenied));
        assert_eq!(noted.0.lock().unwrap().len(), 1);
    }
}
