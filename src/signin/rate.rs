//! So many requests a second, from all clients together.
//!
//! One allowance for all: behind an ingress every client has the same address, and what a request says of itself cannot be trusted. A flood can keep people from
//! signing in; it cannot take the processor from the refreshes that run in the same process.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// An allowance that refills with time.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: f64,
    burst: f64,
    left: Mutex<(f64, Instant)>,
}

/// No more now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted {
    /// When to ask again.
    pub(super) after: Duration,
}

impl Allowance {
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self {
            per_second: f64::from(per_second),
            burst,
            left: Mutex::new((burst, now)),
        }
    }

    /// Takes one request from the allowance.
    pub(super) fn take(&self, now: Instant) -> Result<(), Exhausted> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = *left;
        let refilled = now.saturating_duration_since(since).as_secs_f64() * self.per_second;
        let tokens = (tokens + refilled).min(self.burst);
        let allowed = tokens >= 1.0;
        *left = (if allowed { tokens - 1.0 } else { tokens }, now.max(since));
        if allowed {
            Ok(())
        } else {
            // In a flood the next place is taken at once by somebody else: a person should wait for longer than the flood's own pace.
            Err(Exhausted {
                after: Duration::from_secs(5),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_only_the_rate() {
        let start = Instant::now();
        let allowance = Allowance::new(10, 3, start);
        let taken = |after: u64| {
            (0..100)
                .filter(|_| allowance.take(start + Duration::from_millis(after)).is_ok())
                .count()
        };
        assert_eq!(taken(0), 3);
        assert_eq!(taken(50), 0);
        assert_eq!(taken(100), 1);
        assert_eq!(taken(1100), 3, "no more than the burst is saved up");
    }

    #[test]
    fn a_clock_that_stands_still_or_falls_gives_nothing() {
        let early = Instant::now();
        let start = early + Duration::from_secs(10);
        let allowance = Allowance::new(10, 1, start);
        assert!(allowance.take(start).is_ok());
        assert!(allowance.take(start).is_err());
        assert!(allowance.take(early).is_err());
        assert!(allowance.take(start).is_err());
    }
}
