//! Token files that are JSON: `mutt_oauth2.py`, sasl-xoauth2, and Google's `authorized_user`.
//!
//! Formats: muttmua/mutt and neomutt/neomutt `contrib/mutt_oauth2.py` (the table that is written to the token file), tarickb/sasl-xoauth2 `src/token_store.cc`
//! (keys that are read, those of the configuration may be overridden in the file), google-auth `google/oauth2/credentials.py` (`from_authorized_user_info`).

use serde::Deserialize;
use serde_json::Value;

use super::account::{Account, Seed, filled};

/// The client that gcloud brings along. Google does not give it mail scopes.
const GCLOUD_CLIENT: &str = "764086051850-";
/// The scope that opens IMAP, SMTP and POP at Google.
const GOOGLE_MAIL: &str = "https://mail.google.com/";

/// What all of them may have; each leaves most of it out. Values that are no text are as good as absent.
#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    #[serde(rename = "type")]
    kind: Option<Value>,
    registration: Option<Value>,
    authflow: Option<Value>,
    email: Option<Value>,
    user: Option<Value>,
    account: Option<Value>,
    refresh_token: Option<Value>,
    client_id: Option<Value>,
    client_secret: Option<Value>,
    tenant: Option<Value>,
    token_endpoint: Option<Value>,
    token_uri: Option<Value>,
    scope: Option<Value>,
    scopes: Option<Value>,
    installed: Option<Value>,
    web: Option<Value>,
}

/// A JSON file that was read, before it is known whose it is.
pub(super) struct Json(File);

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `mutt_oauth2.py`
    Mutt,
    /// sasl-xoauth2
    Sasl,
    /// Google's `authorized_user`
    GoogleUser,
    /// An OAuth client without a token.
    GoogleClient,
    /// Something else.
    Unknown,
}

impl Json {
    /// Reads it; none where it is no JSON object. The parser's error could quote a token and is dropped.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// Whose file it looks like.
    pub(super) fn shape(&self) -> Shape {
        let file = &self.0;
        if file.installed.is_some() || file.web.is_some() {
            Shape::GoogleClient
        } else if text(file.kind.as_ref()).as_deref() == Some("authorized_user") || file.token_uri.is_some() {
            Shape::GoogleUser
        } else if file.registration.is_some() || file.authflow.is_some() {
            Shape::Mutt
        } else if file.refresh_token.is_some() {
            Shape::Sasl
        } else {
            Shape::Unknown
        }
    }

    /// The account in it, read as a file of this shape.
    pub(super) fn account(self, shape: Shape) -> Account {
        let file = self.0;
        let mut account = Account {
            email: text(file.email.as_ref())
                .or_else(|| text(file.user.as_ref()))
                .or_else(|| text(file.account.as_ref())),
            seed: Seed::of(text(file.refresh_token.as_ref())),
            client_id: text(file.client_id.as_ref()),
            client_secret: text(file.client_secret.as_ref()).map(Into::into),
            tenant: text(file.tenant.as_ref()),
            token_url: text(file.token_endpoint.as_ref()).or_else(|| text(file.token_uri.as_ref())),
            scopes: scopes(file.scopes.as_ref().or(file.scope.as_ref())),
            ..Account::default()
        };
        match shape {
            Shape::Mutt => account.provider = text(file.registration.as_ref()),
            // Its built-in default (token_store.cc); for others the file or its configuration names one.
            Shape::Sasl if account.token_url.is_none() => account.provider = Some("google".to_owned()),
            Shape::GoogleUser => {
                account.provider = Some("google".to_owned());
                note_google(&mut account);
            }
            _ => {}
        }
        account
    }
}

fn note_google(account: &mut Account) {
    let gcloud = account
        .client_id
        .as_deref()
        .is_some_and(|id| id.starts_with(GCLOUD_CLIENT));
    if gcloud {
        account.notes.push(
            "The file's OAuth client is gcloud's own, which Google gives no mail scopes: its token will not open the mailbox. Make a client of your own and sign in with it."
                .to_owned(),
        );
    } else if !account.scopes.is_empty() && !account.scopes.iter().any(|scope| scope == GOOGLE_MAIL) {
        account.notes.push(format!(
            "The file's token has no scope {GOOGLE_MAIL}, so Gmail's IMAP, SMTP and POP will refuse it."
        ));
    }
    // What it asks for is fixed by the consent; sending it again adds nothing.
    account.scopes.clear();
}

fn text(value: Option<&Value>) -> Option<String> {
    filled(value?.as_str().map(str::to_owned))
}

fn scopes(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(|scope| text(Some(scope))).collect(),
        _ => Vec::new(),
    }
}
