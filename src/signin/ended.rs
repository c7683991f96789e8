//! How a sign-in ended, on its way to the page that tells it.
//!
//! The page has an address of its own, so that reloading it does not send the code again, and any replica may show it: the ending is in the address, sealed, and shown
//! only in the browser that the sign-in ran in. So nobody can make us say something to somebody else.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Offer, SignInRefusal, SignedIn,
    browser::BrowserId,
    keys::{Keys, Seal},
};

/// For so long the last page can be loaded again.
const LIFE: SignedDuration = SignedDuration::from_hours(1);
/// A sealed result is shorter than this many characters; a longer one is not looked at.
const LONGEST: usize = 4096;
/// An account or a mailbox: an address has 254 octets at most (RFC 5321, errata 1690).
const ACCOUNT: usize = 254;
/// Sentences. The whole address must fit into the header buffers of common proxies (4 KiB).
const SENTENCES: usize = 800;

/// How a sign-in ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ended {
    SignedIn {
        account: String,
    },
    WrongAccount {
        signed_in: String,
        wanted: String,
    },
    OtherSubject {
        signed_in: String,
    },
    IdentityUnproven {
        why: String,
    },
    ScopeNotGranted {
        missing: Vec<String>,
    },
    NoRefreshToken,
    ConsentDenied,
    AdminConsentRequired,
    Superseded,
    CodeRefused,
    Failed {
        message: String,
    },
    NotPossible {
        message: String,
    },
    /// The provider said no in words that we do not know.
    ProviderError {
        /// Its error code, where that is one.
        code: Option<String>,
    },
    /// Not ended yet.
    Waiting,
}

impl From<Result<SignedIn, SignInRefusal>> for Ended {
    fn from(result: Result<SignedIn, SignInRefusal>) -> Self {
        match result {
            Ok(SignedIn { account }) => Self::SignedIn {
                account: bounded(&account, ACCOUNT),
            },
            Err(refusal) => Self::from(refusal),
        }
    }
}

impl From<SignInRefusal> for Ended {
    fn from(refusal: SignInRefusal) -> Self {
        match refusal {
            SignInRefusal::WrongAccount { signed_in, wanted } => Self::WrongAccount {
                signed_in: bounded(&signed_in, ACCOUNT),
                wanted: bounded(&wanted, ACCOUNT),
            },
            SignInRefusal::OtherSubject { signed_in } => Self::OtherSubject {
                signed_in: bounded(&signed_in, ACCOUNT),
            },
            SignInRefusal::IdentityUnproven { why } => Self::IdentityUnproven {
                why: bounded(&why, SENTENCES),
            },
            SignInRefusal::ScopeNotGranted { missing } => Self::ScopeNotGranted {
                missing: missing.iter().take(8).map(|scope| bounded(scope, 100)).collect(),
            },
            SignInRefusal::NoRefreshToken => Self::NoRefreshToken,
            SignInRefusal::ConsentDenied => Self::ConsentDenied,
            SignInRefusal::AdminConsentRequired => Self::AdminConsentRequired,
            SignInRefusal::Superseded => Self::Superseded,
            SignInRefusal::CodeExpired | SignInRefusal::CodeRefused { .. } => Self::CodeRefused,
            SignInRefusal::Failed { message } => Self::Failed {
                message: bounded(&message, SENTENCES),
            },
            SignInRefusal::NotPossible { message } => Self::NotPossible {
                message: bounded(&message, SENTENCES),
            },
        }
    }
}

/// Whether the person has seen this ending before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Telling {
    First,
    Again,
}

/// An ending and what the page needs to tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    #[serde(rename = "s")]
    pub(super) namespace: String,
    #[serde(rename = "a")]
    pub(super) name: String,
    #[serde(rename = "u")]
    pub(super) uid: String,
    #[serde(rename = "m")]
    pub(super) mailbox: String,
    #[serde(rename = "p")]
    pub(super) provider: String,
    #[serde(rename = "o")]
    pub(super) ended: Ended,
    #[serde(rename = "t")]
    pub(super) telling: Telling,
    #[serde(rename = "e")]
    expires: Timestamp,
    #[serde(rename = "b")]
    browser: String,
}

impl Outcome {
    pub(super) fn new(offer: &Offer, browser: &BrowserId, ended: Ended, telling: Telling, now: Timestamp) -> Self {
        Self {
            namespace: offer.namespace.clone(),
            name: offer.name.clone(),
            uid: offer.uid.clone(),
            mailbox: bounded(&offer.mailbox, ACCOUNT),
            provider: bounded(&offer.provider, 100),
            ended,
            telling,
            expires: now.saturating_add(LIFE).unwrap_or(now),
            browser: browser.digest(),
        }
    }

    pub(super) fn seal(&self, keys: &Keys) -> Option<String> {
        let text = serde_json::to_vec(self).ok()?;
        Some(URL_SAFE_NO_PAD.encode(keys.seal(Seal::Result, &text)?))
    }

    /// None: not ours, too old, or of another browser.
    pub(super) fn unseal(keys: &Keys, sealed: &str, browser: Option<&BrowserId>, now: Timestamp) -> Option<Self> {
        let browser = browser?;
        if sealed.len() > LONGEST {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let outcome: Self = serde_json::from_slice(&keys.unseal(Seal::Result, &sealed)?).ok()?;
        (outcome.expires > now && outcome.browser == browser.digest()).then_some(outcome)
    }
}

/// The beginning of a text, cut between characters.
fn bounded(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let room = bytes.saturating_sub('…'.len_utf8());
    let kept = text
        .char_indices()
        .take_while(|(position, character)| position + character.len_utf8() <= room)
        .map(|(_, character)| character);
    kept.chain(['…']).collect()
}
