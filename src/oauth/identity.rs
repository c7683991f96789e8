//! Who signed in: the account that the issuer asserts, proven, or why not.
//!
//! ```text
//! Answer.id_token ──signature (keys of the issuer)──> claims ──issuer, tenant, audience, times, nonce──> sub ──name──> Account
//!                                                                                             └─ no name: userinfo, same sub
//! ```
//!
//! Tokens of an account that is not proven to be the wanted one must not be stored: a person who holds the link, or anybody who has lured one there, could otherwise put
//! a mailbox of their own in the place of the real one.
//!
//! # Where tenants are issuers (Microsoft)
//!
//! Anybody can run a tenant and write any address into the `email` of its accounts ("nOAuth"), so `email` is never looked at. What counts is the name of a member:
//! its domain is one that the tenant has proven to own.
//!
//! | `parameters.tenant` | the token's `tid` must be | and then |
//! |---|---|---|
//! | an ID | that ID | members only |
//! | a domain | the ID in the metadata of that domain | members only |
//! | `consumers` | the tenant of personal accounts | |
//! | `common`, `organizations` | any but that of personal accounts | members only, and the metadata of the name's domain must be of the very tenant |

mod claims;
mod discovery;
pub(super) mod documents;
mod signature;
mod unproven;

use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::Url;

use self::claims::{Expected, Person};
use self::documents::Origin;
use self::signature::{Problem, Token};
use super::answer::{self, Answer};
use super::redeem::TokenClient;
use crate::outbound::CaBundle;
use crate::provider::{HostPolicy, Identity, Tenancy, Tenant, UserinfoAlone, split_address};

pub use discovery::{Metadata, Undiscovered, discover, discover_anew};
pub use documents::DocumentError;
pub use unproven::Unproven;

/// For all questions of one proof together: a person waits for it.
const LIMIT: Duration = Duration::from_secs(30);

/// What is asked about one answer of a token endpoint.
#[derive(Debug, Clone)]
pub struct Question {
    /// What proves an account at this provider.
    pub identity: Identity,
    /// Our client ID: ID tokens must be meant for it.
    pub client_id: String,
    /// The nonce of the authorization request; the ID token must repeat it. None: there was none, as in the device flow.
    pub nonce: Option<String>,
    /// Which hosts may see the access token: [`HostPolicy::for_access_token`].
    pub allowed: HostPolicy,
    /// Trusted at the issuer, on top of the platform's authorities.
    pub certificate_authority: Option<CaBundle>,
}

/// An account that its issuer asserts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Who asserts it: the `iss` of the ID token.
    pub issuer: String,
    /// The issuer's own identifier for it, never given to another: `sub`.
    pub subject: String,
    /// Its name: an address. At most 320 characters, printable.
    pub name: String,
}

/// Who signed in, by the answer of the token endpoint. Ends within 30 s.
///
/// # Errors
/// [`Unproven`].
pub async fn prove(client: &TokenClient, question: &Question, answer: &Answer) -> Result<Account, Unproven> {
    let proof = Proof { client, question };
    // On the heap: the way through all documents is long, and whoever waits for it would carry it around.
    timeout(LIMIT, Box::pin(proof.account(answer)))
        .await
        .unwrap_or(Err(Unproven::TooSlow))
}

/// Whether the account that signed in is the one that was wanted. See [`Identity::same_account`].
#[must_use]
pub fn account_matches(identity: &Identity, wanted: &str, asserted: &str) -> bool {
    identity.same_account(wanted, asserted)
}

#[derive(Clone, Copy)]
struct Proof<'a> {
    client: &'a TokenClient,
    question: &'a Question,
}

impl Proof<'_> {
    async fn account(self, answer: &Answer) -> Result<Account, Unproven> {
        let identity = &self.question.identity;
        let issuer = identity.issuer.as_deref().ok_or(Unproven::NoIssuer)?;
        let sources = self.sources(issuer).await?;
        let Some(token) = &answer.id_token else {
            return self
                .account_by_userinfo_alone(issuer, sources.userinfo_url.as_ref(), answer)
                .await;
        };
        let claims = self
            .signed_claims(issuer, &sources.keys_url, token.expose_secret())
            .await?;
        let subject = claims::check(
            &claims,
            &Expected {
                identity,
                client_id: &self.question.client_id,
                nonce: self.question.nonce.as_deref(),
                now: Timestamp::now(),
            },
        )?;
        self.tenant_is_the_wanted_one(&subject).await?;
        let name = match (claims::name(&claims, identity), &sources.userinfo_url) {
            (Err(Unproven::NoName { .. }), Some(userinfo)) => self.name_by_userinfo(userinfo, answer, &subject).await?,
            (name, _) => name?,
        };
        self.tenant_owns_the_domain(&subject, &name).await?;
        Ok(Account {
            issuer: subject.issuer,
            subject: subject.subject,
            name,
        })
    }

    /// Where keys and userinfo are.
    async fn sources(self, issuer: &str) -> Result<Sources, Unproven> {
        let identity = &self.question.identity;
        if let Some(keys_url) = &identity.keys_url {
            return Ok(Sources {
                keys_url: keys_url.clone(),
                userinfo_url: identity.userinfo_url.clone(),
            });
        }
        let metadata = discover(self.client, issuer, self.authority())
            .await
            .map_err(|problem| Unproven::Undiscovered {
                issuer: issuer.to_owned(),
                problem,
            })?;
        let keys_url = metadata.keys_url.ok_or_else(|| Unproven::NoKeys {
            issuer: issuer.to_owned(),
        })?;
        Ok(Sources {
            keys_url,
            userinfo_url: identity.userinfo_url.clone().or(metadata.userinfo_url),
        })
    }

    /// The claims of the token, if a key of the issuer signed them. Keys that are kept and have none of this name are read again, once.
    async fn signed_claims(self, issuer: &str, keys_url: &Url, token: &str) -> Result<Map<String, Value>, Unproven> {
        let unreadable = |problem| Unproven::Document {
            what: "The keys that ID tokens are signed with",
            problem,
        };
        let problem = |problem| match problem {
            Problem::Malformed(problem) => Unproven::Malformed { problem },
            Problem::Algorithm(found) => Unproven::Algorithm { found },
            Problem::UnknownKey => Unproven::UnknownKey {
                issuer: issuer.to_owned(),
            },
            Problem::Signature => Unproven::Signature {
                issuer: issuer.to_owned(),
            },
        };
        let token = Token::parse(token).map_err(problem)?;
        let tenancy = self.question.identity.tenancy.as_ref();
        let fits = |key: &Map<String, Value>, claims: &Map<String, Value>| claims::key_fits(key, claims, tenancy);
        let (keys, origin) = documents::kept(self.client, keys_url, self.authority())
            .await
            .map_err(unreadable)?;
        let claims = match token.verify(&keys, fits) {
            Err(Problem::UnknownKey) if origin == Origin::Kept => {
                let keys = documents::fresh(self.client, keys_url, self.authority())
                    .await
                    .map_err(unreadable)?;
                token.verify(&keys, fits).cloned()
            }
            claims => claims.cloned(),
        };
        claims.map_err(problem)
    }

    /// Where the spec names the tenant by a domain: that domain is the token's tenant's.
    async fn tenant_is_the_wanted_one(self, subject: &Person) -> Result<(), Unproven> {
        let Some((tenancy, found)) = self.tenancy(subject) else {
            return Ok(());
        };
        let Tenant::Domain(domain) = &tenancy.tenant else {
            return Ok(());
        };
        match self.tenant_of(tenancy, domain).await? {
            Some(wanted) if wanted == found => Ok(()),
            wanted => Err(Unproven::Tenant {
                expected: wanted.unwrap_or_else(|| domain.clone()),
                found: found.to_owned(),
            }),
        }
    }

    /// Where any tenant will do: the domain of the account's name is the token's tenant's.
    async fn tenant_owns_the_domain(self, subject: &Person, name: &str) -> Result<(), Unproven> {
        let Some((tenancy, tenant)) = self.tenancy(subject) else {
            return Ok(());
        };
        if tenancy.tenant != Tenant::Any {
            return Ok(());
        }
        let domain = split_address(name).map(|(_, domain)| domain).unwrap_or_default();
        if self.tenant_of(tenancy, &domain).await?.as_deref() == Some(tenant) {
            return Ok(());
        }
        Err(Unproven::ForeignDomain {
            name: shown(name),
            tenant: tenant.to_owned(),
            domain: shown(&domain),
        })
    }

    fn tenancy<'a>(&'a self, subject: &'a Person) -> Option<(&'a Tenancy, &'a str)> {
        Some((self.question.identity.tenancy.as_ref()?, subject.tenant.as_deref()?))
    }

    /// The ID of the tenant that owns a domain. None: no tenant does.
    async fn tenant_of(self, tenancy: &Tenancy, domain: &str) -> Result<Option<String>, Unproven> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if domain.trim_matches('.').is_empty() || !domain.bytes().all(plain) {
            return Ok(None);
        }
        let Ok(url) = Url::parse(&tenancy.metadata.replace("{tenant}", domain)) else {
            return Ok(None);
        };
        let metadata = match documents::kept(self.client, &url, self.authority()).await {
            Ok((metadata, _)) => metadata,
            Err(error) if error.is_absent() => return Ok(None),
            Err(problem) => {
                return Err(Unproven::Document {
                    what: "Which tenant owns the domain",
                    problem,
                });
            }
        };
        let pattern = self.question.identity.issuer.as_deref().unwrap_or_default();
        let (before, after) = pattern.split_once("{tid}").unwrap_or_default();
        let issuer = answer::text(&metadata, "issuer").unwrap_or_default();
        let tenant = issuer.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        Ok(tenant
            .filter(|tenant| crate::provider::is_uuid(tenant))
            .map(str::to_owned))
    }

    async fn name_by_userinfo(self, userinfo: &Url, answer: &Answer, subject: &Person) -> Result<String, Unproven> {
        let claims = self.userinfo(userinfo, answer).await?;
        if claims::subject(&claims).as_ref() != Some(&subject.subject) {
            return Err(Unproven::OtherSubject);
        }
        claims::name(&claims, &self.question.identity)
    }

    async fn account_by_userinfo_alone(
        self,
        issuer: &str,
        userinfo: Option<&Url>,
        answer: &Answer,
    ) -> Result<Account, Unproven> {
        let identity = &self.question.identity;
        let userinfo =
            userinfo.filter(|_| identity.userinfo_alone == UserinfoAlone::Proves && identity.tenancy.is_none());
        let claims = self.userinfo(userinfo.ok_or(Unproven::NoIdToken)?, answer).await?;
        Ok(Account {
            issuer: issuer.to_owned(),
            subject: claims::subject(&claims).ok_or(Unproven::Subject)?,
            name: claims::name(&claims, identity)?,
        })
    }

    /// What the issuer says of the bearer. The host may be of discovery's choosing, so it is held against what the access token's hosts are (invariant 11).
    async fn userinfo(self, userinfo: &Url, answer: &Answer) -> Result<Map<String, Value>, Unproven> {
        if !self.question.allowed.allows(userinfo) {
            return Err(Unproven::UserinfoNotAllowed {
                host: shown(userinfo.host_str().unwrap_or_default()),
            });
        }
        documents::as_bearer(self.client, userinfo, &answer.access_token, self.authority())
            .await
            .map_err(|problem| Unproven::Document {
                what: "The userinfo endpoint",
                problem,
            })
    }

    fn authority(&self) -> Option<&CaBundle> {
        self.question.certificate_authority.as_ref()
    }
}

/// Where a proof is read from.
struct Sources {
    keys_url: Url,
    userinfo_url: Option<Url>,
}

/// What a server said, fit to be shown: one line, bounded, empty where nothing is fit.
fn shown(text: &str) -> String {
    let line = answer::quotable(text).unwrap_or_default();
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
