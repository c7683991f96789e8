//! Real authorization servers beside the certified one, as people run them: what they answer on a bad day, and what the operator then says.
//!
//! They need more than the other tests (a Java runtime, 160 MB from Maven Central, packages from Debian's archive), so `cargo test` leaves them out and
//! `make test-servers` runs them: every test here is ignored but by that. What an asset must say is what `docs/troubleshooting.md` promises.

mod glewlwyd;
mod keycloak;

use emailasset::api::{ConditionType, EmailAsset, FailureStatus};

use crate::support::condition;

/// What the page on reasons promises for one of them.
struct Promise {
    kind: ConditionType,
    reason: &'static str,
    class: &'static str,
    /// What the message holds: the cause, or the next step.
    says: &'static [&'static str],
}

impl Promise {
    /// Asserts that the condition is False for this reason, and that the status has the class.
    fn assert_kept(&self, asset: &EmailAsset) {
        let (status, reason, message) = condition(asset, self.kind).expect("the condition is there");
        assert_eq!((status.as_str(), reason.as_str()), ("False", self.reason), "{message}");
        let failure = failure_of(asset);
        assert_eq!(failure.class.as_deref(), Some(self.class), "{failure:?}");
        for words in self.says {
            assert!(message.contains(words), "no {words:?} in: {message}");
        }
    }
}

fn failure_of(asset: &EmailAsset) -> FailureStatus {
    let failure = asset.status.as_ref().and_then(|status| status.failure.clone());
    failure.expect("the status tells of a failure")
}
