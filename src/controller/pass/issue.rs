//! The step towards a token that needs no person and no refresh token: the client itself asks, or its service account.
//!
//! Nothing can be spent and nothing lost: no attempt is recorded, no answer is spooled, and whatever ends early is simply asked again.

use tokio::time::Instant;

use super::{AFTER_TROUBLE, Flow, Needed, Pass, record_of};
use crate::{
    api::Grant,
    controller::{explain, observe::now, redeem::Ended, situation},
    leader::Permit,
    lifecycle::{self, Failure, Lifetime, Record, Redeem, World},
    oauth::{Answer, Issuance, IssuedTo, MailboxAssertion, Outcome, Refusal, Situation},
    store::token::AccessToken,
};

impl Pass {
    pub(super) async fn issue(&mut self, world: &World, redeem: &Redeem, permit: Permit) -> Flow {
        if self.inputs_are_stale(Needed::Client) {
            return self.read_inputs(Needed::Client).await;
        }
        let issuance = match self.issuance(&redeem.binding.client_id).await {
            Ok(Some(issuance)) => issuance,
            Ok(None) => return Flow::On,
            Err(failure) => {
                self.note_failure(failure);
                return Flow::On;
            }
        };
        if !permit.holds() {
            return Flow::Stop(Some(AFTER_TROUBLE));
        }
        let started = Instant::now();
        let situation = self.resolved.as_ref().map_or_else(
            |_| Situation::default(),
            |resolved| Situation::at(&resolved.endpoints).with(situation::person(self.asset.spec.oauth2.grant)),
        );
        let outcome = self.context.token_client.issue(&issuance, &situation).await;
        self.context.count_request(&outcome, started.elapsed());
        let ended = match outcome {
            Outcome::Answered(answer) => Ended::Fresh {
                record: self.issued(world, redeem, &answer),
                token: AccessToken {
                    token: answer.access_token,
                    token_type: answer.token_type,
                },
            },
            Outcome::Refused(refusal) => Ended::Refused(refusal),
            Outcome::NotSent(failure) => Ended::NotSent(failure),
            Outcome::Unknown(failure) => Ended::Unknown(failure),
        };
        self.take_end(world, redeem, ended).await
    }

    /// The question; none where the inputs have changed since they were looked at.
    async fn issuance(&self, client_id: &str) -> Result<Option<Issuance>, Failure> {
        let Ok(resolved) = &self.resolved else { return Ok(None) };
        let certificate_authority = self.ca_bundle().await?;
        let to = if self.asset.spec.oauth2.grant == Grant::JwtBearer {
            let client = self.inputs.client.as_ref().and_then(|(_, client)| client.as_ref().ok());
            let account = client.and_then(|client| client.service_account.clone());
            let Some(account) = account.filter(|account| account.email == client_id) else {
                return Ok(None);
            };
            IssuedTo::Delegate {
                account,
                mailbox: self.asset.spec.login_email().to_owned(),
                form: MailboxAssertion::at(&resolved.endpoints),
            }
        } else {
            IssuedTo::Client(self.client_credentials(client_id).await?)
        };
        Ok(Some(Issuance {
            token_endpoint: resolved.endpoints.token_url.clone(),
            to,
            scopes: resolved.endpoints.scopes.clone(),
            certificate_authority,
        }))
    }

    /// What the token Secret will say of the token.
    fn issued(&self, world: &World, redeem: &Redeem, answer: &Answer) -> Record {
        let resolved = self.resolved.as_ref().ok();
        let asked = resolved.map(|resolved| resolved.endpoints.scopes.clone());
        let usual = resolved.map(|resolved| resolved.endpoints.default_lifetime);
        let life = answer.expires_in.or(usual).unwrap_or_default();
        let issued = now();
        let noted = record_of(world);
        Record {
            generation: redeem.from.next(),
            binding: Some(redeem.binding.clone()),
            lifetime: Some(Lifetime {
                issued,
                expires: issued.checked_add(life).unwrap_or(jiff::Timestamp::MAX),
            }),
            scopes: answer.scopes.clone().or(asked).unwrap_or_default(),
            inputs: lifecycle::inputs_now(world, &noted.inputs),
            request: world.refresh_request.clone(),
            ..Record::default()
        }
    }

    /// A refusal in words, where nobody's grant is at stake.
    pub(super) fn not_issued(&self, world: &World, question: &explain::Question<'_>, refusal: &Refusal) -> Failure {
        let before = if lifecycle::was_issued(world) {
            explain::Before::Issued
        } else {
            explain::Before::Nothing
        };
        let grant = self.asset.spec.oauth2.grant;
        explain::not_issued(question, refusal, grant, before, &world.status, now())
    }
}
