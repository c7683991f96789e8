//! Where endpoints come from when only an issuer's metadata tell them.

use std::time::Duration;

use kube::runtime::controller::Action;

use super::{AFTER_TROUBLE, Flow, Pass};
use crate::{
    api::Reason,
    controller::discoveries::{self, Asked, Asking, FRESH_FOR, Finding},
    lifecycle::{Discovery, PlanRefusal, Standing},
    provider::{self, Discovered, Endpoints, ResolveError},
};

impl Pass {
    /// The values in effect, or why there are none.
    pub(in crate::controller) fn endpoints(&self) -> Result<Endpoints, (Discovery, PlanRefusal)> {
        let spec = &self.asset.spec;
        let catalogue = &self.context.catalogue;
        let refused = |error: &ResolveError| PlanRefusal {
            reason: Reason::InvalidSpec,
            message: error.to_string(),
        };
        let Some(asked) = self.asked() else {
            self.context.discoveries.forget(&self.key);
            return provider::resolve(spec, catalogue).map_err(|error| (Discovery::Settled, refused(&error)));
        };
        let finding = self.context.discoveries.of(&self.key, &asked);
        if let Finding::Known(found) = &finding {
            return provider::resolve_discovered(spec, catalogue, Some(found))
                .map_err(|error| (Discovery::Settled, refused(&error)));
        }
        // What the status shows was true when it was written. If this spec needs more, the issuer is asked.
        let shown = self.status.endpoints.as_ref();
        if let Some(shown) = shown.and_then(|shown| Discovered::of_status(&asked.issuer, shown))
            && let Ok(endpoints) = provider::resolve_discovered(spec, catalogue, Some(&shown))
        {
            return Ok(endpoints);
        }
        Err(match provider::resolve(spec, catalogue) {
            Err(error @ ResolveError::Undiscovered { .. }) => match finding {
                Finding::Failed(failed) => (
                    Discovery::Failed { again: failed.again },
                    PlanRefusal {
                        reason: failed.reason,
                        message: failed.message,
                    },
                ),
                Finding::Known(_) | Finding::Unasked => (
                    Discovery::Due,
                    PlanRefusal {
                        reason: Reason::Pending,
                        message: format!("{error}."),
                    },
                ),
            },
            Err(error) => (Discovery::Settled, refused(&error)),
            Ok(endpoints) => return Ok(endpoints),
        })
    }

    /// Whom to ask, where the endpoints are not written out.
    fn asked(&self) -> Option<Asked> {
        let issuer = provider::issuer_to_ask(&self.asset.spec, &self.context.catalogue)?;
        let bundle = self.asset.spec.oauth2.ca_bundle_ref.as_ref();
        Some(Asked::new(issuer, &self.key.namespace, bundle))
    }

    /// Has the issuer asked. The pass ends; there is another one when there is an answer.
    pub(super) fn discover(&mut self) -> Flow {
        self.resolve();
        let Some(asked) = self.asked().filter(|_| self.discovery != Discovery::Settled) else {
            return Flow::On;
        };
        match discoveries::ask(&self.context, &asked) {
            Asking::Begins | Asking::Underway => {
                self.queued = true;
                Flow::Stop(None)
            }
            Asking::NotNow => Flow::Stop(Some(AFTER_TROUBLE)),
        }
    }

    /// The endpoints are about to be used: if what is known of them is old, the issuer is asked in the background. Nobody waits for it.
    pub(super) fn renew_discovery(&self) {
        if let Some(asked) = self.asked() {
            discoveries::ask(&self.context, &asked);
        }
    }

    /// When to look again at an asset that stands still for what its issuer says: nothing else would bring up that the issuer has changed its mind.
    pub(super) fn recheck(&self, standing: &Standing) -> Option<Duration> {
        let refused = self.resolved.is_err() && self.discovery == Discovery::Settled;
        let stands_still = refused || matches!(standing, Standing::ClientChanged(_));
        let asked = self.asked().filter(|_| stands_still && !self.asset.spec.suspended())?;
        discoveries::ask(&self.context, &asked);
        Some(FRESH_FOR)
    }
}

/// The action, or a new look after this long if that is sooner.
pub(super) fn sooner(action: Action, recheck: Option<Duration>) -> Action {
    match recheck {
        Some(wait) if action == Action::await_change() => Action::requeue(wait),
        _ => action,
    }
}
