//! Why a sign-in changed nothing, in words for the person who tried and for the asset's status.

use jiff::Timestamp;

use super::{
    messages, report,
    world::{Names, World},
};
use crate::api::{HandledRequests, Reason, SignInRefusalStatus};

/// Takes a sign-in with a code that changed nothing into the world. It answers the request: another one is asked for by a person only.
pub fn note_refusal(world: &mut World, refusal: &SignInRefusal, now: Timestamp) {
    let Ok(plan) = &world.plan else { return };
    let refused = SignInRefusalStatus {
        reason: Some(refusal.reason().as_str().to_owned()),
        message: Some(refusal.message(&plan.names)),
        time: Some(report::whole_second(now)),
    };
    world.status.sign_in.get_or_insert_default().last_refusal = Some(refused);
    world.status.handled_requests = Some(HandledRequests {
        sign_in: world.sign_in_request.clone(),
        ..world.status.handled_requests.take().unwrap_or_default()
    });
}

/// Why a sign-in changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInRefusal {
    /// Another account signed in than the one that the asset is for.
    WrongAccount {
        /// The account that signed in, as the provider says.
        signed_in: String,
        /// The account that was wanted.
        wanted: String,
    },
    /// An account of the right name signed in, but not the person who signed in before: the provider's own number for the account is another one.
    OtherSubject {
        /// The account that signed in, as the provider says.
        signed_in: String,
    },
    /// Nothing proves who signed in.
    IdentityUnproven {
        /// What was expected and what was found, as a sentence.
        why: String,
    },
    /// The person or the provider left out some of what was asked for.
    ScopeNotGranted {
        /// What is missing.
        missing: Vec<String>,
    },
    /// The answer holds no refresh token.
    NoRefreshToken,
    /// The person said no.
    ConsentDenied,
    /// Only an admin of the organisation may consent.
    AdminConsentRequired,
    /// Nobody entered the code in time.
    CodeExpired,
    /// The provider knows the sign-in's code no longer, or it was used before.
    CodeRefused {
        /// What the provider said and the next step, as sentences.
        message: String,
    },
    /// Somebody else has signed in since this sign-in began.
    Superseded,
    /// The provider did not take the code, or could not be asked: what happened and the next step, as sentences.
    Failed {
        /// For people.
        message: String,
    },
    /// The asset cannot be signed in for as it stands: what is wrong and who must act, as sentences.
    NotPossible {
        /// For people.
        message: String,
    },
}

impl SignInRefusal {
    /// The reason in conditions, Events and `status.failure`.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::WrongAccount { .. } | Self::OtherSubject { .. } => Reason::WrongAccount,
            Self::IdentityUnproven { .. } => Reason::IdentityUnproven,
            Self::ScopeNotGranted { .. } => Reason::ScopeNotGranted,
            Self::NoRefreshToken => Reason::NoRefreshToken,
            Self::ConsentDenied => Reason::ConsentDenied,
            Self::AdminConsentRequired => Reason::AdminConsentRequired,
            Self::CodeExpired
            | Self::CodeRefused { .. }
            | Self::Superseded
            | Self::Failed { .. }
            | Self::NotPossible { .. } => Reason::SignInFailed,
        }
    }

    /// What happened, what it means and the next step, for whoever reads the status.
    #[must_use]
    pub fn message(&self, names: &Names) -> String {
        let (provider, email) = (&names.provider, &names.email);
        match self {
            Self::WrongAccount { signed_in, wanted } => format!(
                "{signed_in} signed in at {provider}, but EmailAsset {} waits for {wanted}; nothing was changed. Sign in again as {wanted}, in a private window or another browser profile. If {signed_in} is meant to open {email}, set spec.oauth2.loginEmail to {signed_in}.",
                names.asset
            ),
            Self::OtherSubject { signed_in } => format!(
                "The {signed_in} that signed in at {provider} is not the account that signed in before (its subject identifier is another one: the address may have been given to somebody else); nothing was changed. If that is right, delete Secret {} and sign in again.",
                names.grant_secret
            ),
            Self::IdentityUnproven { why } => format!(
                "Somebody signed in at {provider}, and nothing proves that it was the owner of {email}; nothing was changed. {why}"
            ),
            Self::ScopeNotGranted { missing } => format!(
                "The sign-in at {provider} did not grant all that is needed; nothing was changed. Missing: {}. Sign in again and leave every box ticked; if there is no box, an admin must add the scope to the OAuth client.",
                missing.join(" ")
            ),
            Self::NoRefreshToken => format!(
                "{provider} let the person in but gave no refresh token, so access would end within the hour; nothing was changed. Remove the app from the account's connected apps and sign in again; at an OpenID server the client needs the scope offline_access and the grant refresh_token."
            ),
            Self::ConsentDenied => {
                format!(
                    "The person who signed in at {provider} said no; nothing was changed. Sign in again to consent."
                )
            }
            Self::AdminConsentRequired => format!(
                "{provider} lets only an administrator consent to this app; nothing was changed. Ask an administrator of the organisation to grant consent for the app, then sign in again."
            ),
            Self::CodeExpired => format!(
                "Nobody entered the code for {email} in time; nothing was changed. {}",
                messages::new_grant(names)
            ),
            Self::Superseded => format!(
                "Somebody else has signed in for {email} since this sign-in began; theirs stays and nothing was changed. Open the link again if it has to be repeated."
            ),
            Self::CodeRefused { message } | Self::Failed { message } | Self::NotPossible { message } => message.clone(),
        }
    }
}
