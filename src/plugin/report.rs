//! How an asset stands, as data: what the story and the table are told from, and what `-o json` prints.
//!
//! The names of the fields are a contract with scripts (`docs/kubectl-emailasset.md`): one may be added, none changes its meaning.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use serde::Serialize;

use super::terminal::harmless;
use crate::api::{ConditionType, EmailAsset, FailureClass, Grant, Reason};
use crate::lifecycle;

/// Longest name, reason, code or address that is taken over, in characters. Whoever may write a status could put anything there.
const LONGEST: usize = 2_048;

/// How one asset stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The mailbox.
    pub email: String,
    /// Where the settings come from: the catalogue's entry, `emp/` and an `EmailProvider`, or the host of a server of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Whether the published token is valid now.
    pub ready: bool,
    /// Why, as in the condition Ready; empty: the operator has not looked at it.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// What was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Who signed in, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantReport>,
    /// What does not work, also while the token is still valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// The last sign-in that changed nothing, until one works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<LastRefusal>,
    /// Who has to do something.
    pub act: Act,
}

/// The published token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The Secret that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Timestamp>,
    /// When it will be replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal_time: Option<Timestamp>,
}

/// The grant behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantReport {
    /// Who signed in, as the provider says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When the grant was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_time: Option<Timestamp>,
}

/// What does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// The reason, as in the conditions.
    pub reason: String,
    /// What happened, what it means and the next step.
    pub message: String,
    /// How often in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// When it is tried again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Timestamp>,
}

/// A sign-in that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRefusal {
    /// The reason, as in Events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What happened and the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// Who has to do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// Who.
    pub who: Who,
    /// The command, where it is one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A page that does the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The code to enter there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Who can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Who {
    /// Nobody has to.
    Nobody,
    /// The person of the mailbox, or whoever has its refresh token.
    Owner,
    /// An admin of this cluster, the OAuth client or the organisation.
    Admin,
    /// The developers of this operator.
    Developers,
}

impl Report {
    /// Reads it from an asset.
    #[must_use]
    pub fn of(asset: &EmailAsset, now: Timestamp) -> Self {
        let status = asset.status.clone().unwrap_or_default();
        let conditions = &status.conditions;
        let ready = lifecycle::condition(conditions, ConditionType::Ready);
        let expires = status
            .token
            .as_ref()
            .and_then(|token| moment(token.expiration_time.as_ref()));
        let trouble = trouble(asset);
        let (reason, message) = match ready {
            Some(ready) => (plain(&ready.reason), ready.message.clone()),
            None => (String::new(), "The operator has not looked at it yet.".to_owned()),
        };
        Self {
            namespace: asset.namespace().unwrap_or_default(),
            name: asset.name_any(),
            email: asset.spec.email.clone(),
            provider: asset
                .spec
                .settings_from(status.endpoints.as_ref())
                .as_deref()
                .map(plain),
            // An operator that stands still leaves a True behind.
            ready: ready.is_some_and(|ready| ready.status == "True") && expires.is_none_or(|expires| expires > now),
            reason,
            message,
            token: status.token.as_ref().map(|token| Token {
                secret_name: token.secret_name.as_deref().map(plain),
                expiration_time: expires,
                renewal_time: moment(token.renewal_time.as_ref()),
            }),
            grant: status.grant.as_ref().map(|grant| GrantReport {
                account: grant.account.as_deref().map(plain),
                grant_time: moment(grant.grant_time.as_ref()),
            }),
            last_refusal: status
                .sign_in
                .as_ref()
                .and_then(|sign_in| sign_in.last_refusal.as_ref())
                .map(|refusal| LastRefusal {
                    reason: refusal.reason.as_deref().map(plain),
                    message: refusal.message.clone(),
                    time: moment(refusal.time.as_ref()),
                }),
            act: act(asset, trouble.as_ref()),
            trouble,
        }
    }
}

fn plain(text: &str) -> String {
    harmless(text, LONGEST)
}

fn moment(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// The worst that is said: what keeps Ready from being true, else what will.
fn trouble(asset: &EmailAsset) -> Option<Trouble> {
    let status = asset.status.as_ref()?;
    let failing = |kind| lifecycle::condition(&status.conditions, kind).filter(|said| said.status == "False");
    let pending = |said: &&Condition| said.reason != Reason::Pending.as_str();
    let said = failing(ConditionType::Authorized)
        .or_else(|| failing(ConditionType::Ready))
        .or_else(|| failing(ConditionType::Refreshed))
        .filter(pending)?;
    let failure = status.failure.as_ref();
    Some(Trouble {
        reason: plain(&said.reason),
        message: said.message.clone(),
        count: failure.and_then(|failure| failure.count),
        next_attempt_time: failure.and_then(|failure| moment(failure.next_attempt_time.as_ref())),
    })
}

fn act(asset: &EmailAsset, trouble: Option<&Trouble>) -> Act {
    let unseen = asset.status.as_ref().is_none_or(|status| status.conditions.is_empty());
    let class = asset
        .status
        .as_ref()
        .and_then(|status| status.failure.as_ref()?.class.as_deref());
    let who = match trouble {
        None if unseen => Who::Admin,
        None => Who::Nobody,
        Some(trouble) => who(&trouble.reason, class),
    };
    let mut act = Act {
        who,
        command: None,
        link: None,
        code: None,
    };
    if who == Who::Owner && asset.spec.oauth2.grant.needs_sign_in() {
        act.command = Some(authorize_command(asset));
        let sign_in = asset.status.as_ref().and_then(|status| status.sign_in.as_ref());
        act.link = sign_in.and_then(|sign_in| match asset.spec.oauth2.grant {
            Grant::DeviceCode => sign_in.verification_url.as_deref().map(plain),
            _ => sign_in.url.as_deref().map(plain),
        });
        act.code = sign_in.and_then(|sign_in| sign_in.user_code.as_deref().map(plain));
    }
    act
}

/// The command that signs a person in.
#[must_use]
pub(super) fn authorize_command(asset: &EmailAsset) -> String {
    format!(
        "kubectl emailasset authorize -n {} {}",
        asset.namespace().unwrap_or_default(),
        asset.name_any()
    )
}

/// Who can mend what has this reason; the class of the failure helps where the reason only says that it goes on.
fn who(reason: &str, class: Option<&str>) -> Who {
    match Reason::parse(reason) {
        // A scope that the owner refused, or one that the asset should not ask for.
        Some(Reason::ScopeNotGranted | Reason::SeedRejected) if class == Some(FailureClass::AdminConfig.as_str()) => {
            Who::Admin
        }
        Some(
            Reason::SignInRequired
            | Reason::WrongAccount
            | Reason::IdentityUnproven
            | Reason::ConsentDenied
            | Reason::NoRefreshToken
            | Reason::SignInFailed
            | Reason::SeedRequired
            | Reason::SeedRejected
            | Reason::GrantRevoked
            | Reason::GrantEnding
            | Reason::GrantExpired
            | Reason::GrantLost
            | Reason::ScopeNotGranted,
        ) => Who::Owner,
        Some(
            Reason::AdminConsentRequired
            | Reason::ClientMissing
            | Reason::ClientRejected
            | Reason::PolicyBlocked
            | Reason::AccountUnusable
            | Reason::EndpointUnusable
            | Reason::InvalidSpec
            | Reason::HostNotAllowed
            | Reason::ProviderNotAllowed
            | Reason::ProviderNotReady
            | Reason::SecretConflict
            | Reason::Suspended,
        ) => Who::Admin,
        Some(Reason::RequestRejected) => Who::Developers,
        _ => match class {
            Some(class) if class == FailureClass::Reauthorize.as_str() => Who::Owner,
            Some(class) if class == FailureClass::AdminConfig.as_str() => Who::Admin,
            Some(class) if class == FailureClass::Bug.as_str() => Who::Developers,
            _ => Who::Nobody,
        },
    }
}
