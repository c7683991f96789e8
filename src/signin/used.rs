//! States that have come back: each is taken once.
//!
//! This is the memory of one replica, and bounded. What holds beyond it: the provider takes a code once, and a sign-in that began before the grant in use was given is
//! refused by every replica.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::ended::Ended;

/// So many states are remembered. Each takes a consent of a person in a browser of ours, so this is more than ten minutes bring.
const CAPACITY: usize = 4096;

/// How a sign-in ended, once it has; several requests may wait for it.
pub(super) type Awaited = watch::Receiver<Option<Ended>>;

/// States that have come back.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    endings: HashMap<String, Awaited>,
    /// In the order in which they came, which is nearly that in which they expire.
    order: VecDeque<(Timestamp, String)>,
}

/// Who may go on with a state.
#[derive(Debug)]
pub(super) enum Claim {
    /// This request: it will tell the others how it ended.
    First(watch::Sender<Option<Ended>>),
    /// Another one did.
    Taken(Awaited),
}

impl Used {
    /// The ending of a state that came back before.
    pub(super) fn before(&self, nonce: &str) -> Option<Awaited> {
        self.lock().endings.get(nonce).cloned()
    }

    /// Takes a state, unless it was taken.
    pub(super) fn claim(&self, nonce: &str, expires: Timestamp, now: Timestamp) -> Claim {
        let mut memory = self.lock();
        memory.forget(now);
        if let Some(ending) = memory.endings.get(nonce) {
            return Claim::Taken(ending.clone());
        }
        let (sender, ending) = watch::channel(None);
        memory.endings.insert(nonce.to_owned(), ending);
        memory.order.push_back((expires, nonce.to_owned()));
        Claim::First(sender)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Drops what has expired, and the oldest where there is no room for one more.
    fn forget(&mut self, now: Timestamp) {
        while let Some((expires, _)) = self.order.front() {
            if *expires > now && self.order.len() < CAPACITY {
                break;
            }
            if let Some((_, nonce)) = self.order.pop_front() {
                self.endings.remove(&nonce);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_state_is_taken_once() {
        let used = Used::default();
        assert!(used.before("a").is_none());
        assert!(matches!(used.claim("a", at(10), at(0)), Claim::First(_)));
        assert!(matches!(used.claim("a", at(10), at(0)), Claim::Taken(_)));
        assert!(used.before("a").is_some());
        assert!(matches!(used.claim("b", at(10), at(0)), Claim::First(_)));
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let used = Used::default();
        let _ = used.claim("a", at(10), at(0));
        let _ = used.claim("b", at(30), at(20));
        assert!(used.before("a").is_none());
        assert!(used.before("b").is_some());
    }

    #[test]
    fn the_memory_is_bounded() {
        let used = Used::default();
        for number in 0..CAPACITY * 2 {
            let _ = used.claim(&number.to_string(), at(10), at(0));
        }
        assert_eq!(used.lock().endings.len(), CAPACITY);
        assert_eq!(used.lock().order.len(), CAPACITY);
        assert!(used.before("0").is_none());
        assert!(used.before(&(CAPACITY * 2 - 1).to_string()).is_some());
    }
}
