//! What a token file of another tool tells about one account.

use secrecy::SecretString;

/// One account of a file. It cannot be printed.
#[derive(Default)]
pub(super) struct Account {
    /// How the file names it, if it does.
    pub(super) label: Option<String>,
    /// The mailbox.
    pub(super) email: Option<String>,
    /// The refresh token.
    pub(super) seed: Seed,
    /// The OAuth client's ID.
    pub(super) client_id: Option<String>,
    /// Its secret, unless it is a public client.
    pub(super) client_secret: Option<SecretString>,
    /// Where the refresh token is redeemed.
    pub(super) token_url: Option<String>,
    /// Where a person signs in.
    pub(super) authorization_url: Option<String>,
    /// The catalogue's entry, where the tool knows providers by name.
    pub(super) provider: Option<String>,
    /// Tenant at Microsoft.
    pub(super) tenant: Option<String>,
    /// What was asked for.
    pub(super) scopes: Vec<String>,
    /// What a person should know about this account.
    pub(super) notes: Vec<String>,
}

/// A refresh token, or why there is none.
#[derive(Default)]
pub(super) enum Seed {
    /// It is there.
    Token(SecretString),
    /// It is there, and cannot be read: what to do.
    Encrypted(String),
    /// There is none.
    #[default]
    Missing,
}

impl Seed {
    /// From a value that may be empty.
    pub(super) fn of(token: Option<String>) -> Self {
        match token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty())
        {
            Some(token) => Self::Token(token.into()),
            None => Self::Missing,
        }
    }
}

/// A text that is there and says something.
pub(super) fn filled(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}
