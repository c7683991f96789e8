//! Where endpoints come from when only an issuer's metadata tell them.

use std::time::Duration;

use super::{AFTER_TROUBLE, Flow, Pass};
use crate::{
    api::{Reason, names},
    controller::discoveries::{self, Asked, Asking, FRESH_FOR, Missing, Need, SHORTEST_PAUSE, User, Wish},
    lifecycle::{self, Discovery, PlanRefusal, Standing},
    provider::{self, Discovered, Endpoints, ResolveError},
};

/// Why there are no endpoints.
pub(in crate::controller) enum NoEndpoints {
    /// The spec cannot be resolved.
    Unresolved(ResolveError),
    /// The issuer may not be asked, or has not answered.
    Refused(Discovery, PlanRefusal),
}

impl Pass {
    /// The values in effect, or why there are none.
    pub(in crate::controller) fn endpoints(
        &self,
        resolve: impl Fn(Option<&Discovered>) -> Result<Endpoints, ResolveError>,
    ) -> Result<Endpoints, NoEndpoints> {
        let discoveries = &self.context.discoveries;
        let user = User::Asset(self.key.clone());
        let unasked = match resolve(None) {
            Err(undiscovered @ ResolveError::Undiscovered { .. }) => undiscovered,
            settled => {
                discoveries.forget(&user);
                return settled.map_err(NoEndpoints::Unresolved);
            }
        };
        let asked = match self.asked() {
            Ok(Some(asked)) => asked,
            Ok(None) => return Err(NoEndpoints::Unresolved(unasked)),
            Err(refusal) => {
                discoveries.forget(&user);
                return Err(NoEndpoints::Refused(Discovery::Settled, refusal));
            }
        };
        let need = Need {
            user,
            asked,
            wish: Wish {
                generation: self.asset.metadata.generation,
                refresh: self.annotation(names::REFRESH),
            },
            shown: self.status.endpoints.as_ref(),
        };
        discoveries.endpoints(&need, resolve).map_err(|missing| match missing {
            Missing::Unresolved(error) => NoEndpoints::Unresolved(error),
            Missing::Undiscovered(discovery, _) if self.asset.spec.suspended() => NoEndpoints::Refused(
                discovery,
                PlanRefusal {
                    reason: Reason::Suspended,
                    message: lifecycle::suspended_undiscovered(&self.key.to_string()),
                },
            ),
            Missing::Undiscovered(discovery, failed) => {
                let pending = || (Reason::Pending, format!("{unasked}."));
                let (reason, message) = failed.map_or_else(pending, |failed| (failed.reason, failed.message));
                NoEndpoints::Refused(discovery, PlanRefusal { reason, message })
            }
        })
    }

    /// Whom to ask, where the endpoints are not written out.
    fn asked(&self) -> Result<Option<Asked>, PlanRefusal> {
        let Some(issuer) = provider::issuer_to_ask(&self.asset.spec, &self.context.catalogue) else {
            return Ok(None);
        };
        self.check_issuer_host(issuer)?;
        Ok(Some(Asked {
            issuer: issuer.to_owned(),
            bundle: self.bundle(),
        }))
    }

    /// Has the issuer asked, which no pass waits for: there is another one when there is an answer.
    pub(super) fn discover(&mut self) -> Flow {
        let asking = match self.asked() {
            Ok(Some(asked)) => discoveries::ask(&self.context, &asked, FRESH_FOR),
            _ => Asking::NotNow,
        };
        self.resolve();
        match asking {
            Asking::Begins | Asking::Underway => Flow::On,
            Asking::NotNow => Flow::Stop(Some(AFTER_TROUBLE)),
        }
    }

    /// The endpoints are about to be used: if what is known of them is old, the issuer is asked in the background. Nobody waits for it.
    pub(super) fn renew_discovery(&self) {
        if let Ok(Some(asked)) = self.asked() {
            discoveries::ask(&self.context, &asked, FRESH_FOR);
        }
    }

    /// When to look again at an asset that stands still for what its issuer says: nothing else would bring up that the issuer has changed its mind.
    pub(super) fn recheck(&self, standing: &Standing) -> Option<Duration> {
        let refused = self.resolved.is_err() && self.discovery == Discovery::Settled;
        let stands_still = refused || matches!(standing, Standing::ClientChanged(_));
        if !stands_still || self.asset.spec.suspended() {
            return None;
        }
        let asked = self.asked().ok()??;
        discoveries::ask(&self.context, &asked, SHORTEST_PAUSE);
        Some(FRESH_FOR)
    }
}
