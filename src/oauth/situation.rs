//! What is known about a request besides what its answer says: whose habits the server has, and what happened before.
//!
//! One answer can mean several things. Google's `invalid_grant` on the seventh day means that the OAuth app is in testing; Microsoft's `AADSTS70000` after a change
//! of scopes is no dead grant. The caller says in a [`Situation`] what it knows; the rows of `errors.yaml` say what follows.

use serde::Deserialize;

use crate::provider::{Endpoints, ErrorDialect};

/// Whose error codes a token endpoint speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Google.
    Google,
    /// Microsoft Entra, in all clouds.
    Microsoft,
    /// Yahoo and AOL.
    Yahoo,
    /// Zoho.
    Zoho,
    /// Fastmail.
    Fastmail,
    /// Yandex.
    Yandex,
    /// Mail.ru.
    MailRu,
    /// Keycloak, and every server that nothing is known about: Keycloak's words are unmistakable, and elsewhere they never occur.
    #[default]
    Keycloak,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 8] = [
        Self::Google,
        Self::Microsoft,
        Self::Yahoo,
        Self::Zoho,
        Self::Fastmail,
        Self::Yandex,
        Self::MailRu,
        Self::Keycloak,
    ];

    /// The dialect of these endpoints: the catalogue's fact while the token endpoint is the entry's own.
    #[must_use]
    pub const fn of(endpoints: &Endpoints) -> Self {
        match endpoints.errors {
            ErrorDialect::Google => Self::Google,
            ErrorDialect::Microsoft => Self::Microsoft,
            ErrorDialect::Yahoo => Self::Yahoo,
            ErrorDialect::Zoho => Self::Zoho,
            ErrorDialect::Fastmail => Self::Fastmail,
            ErrorDialect::Yandex => Self::Yandex,
            ErrorDialect::MailRu => Self::MailRu,
            ErrorDialect::Keycloak => Self::Keycloak,
        }
    }

    /// The name of its section in `errors.yaml`.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
            Self::Yahoo => "yahoo",
            Self::Zoho => "zoho",
            Self::Fastmail => "fastmail",
            Self::Yandex => "yandex",
            Self::MailRu => "mailru",
            Self::Keycloak => "keycloak",
        }
    }
}

/// Something that was known before the answer came and changes what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Circumstance {
    /// The refresh token or the code was never redeemed before.
    FirstUse,
    /// The refresh token holds what no refresh token does: a blank, a quotation mark, an escape of a URL.
    TokenLooksDamaged,
    /// The client secret has the form of a UUID, as the ID of a secret has at Microsoft.
    SecretLooksLikeId,
    /// The request asks for other scopes than the grant was given for.
    ScopesChanged,
    /// The grant worked until its seventh day and not longer.
    WeekOld,
    /// The grant needs no person: client credentials, or an assertion.
    NoPerson,
}

/// What is known about one request. The default: an unknown server, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Situation {
    /// Whose habits the server has.
    pub dialect: Dialect,
    /// What else is known.
    pub circumstances: Vec<Circumstance>,
}

impl Situation {
    /// A request to these endpoints, of which nothing else is known.
    #[must_use]
    pub fn at(endpoints: &Endpoints) -> Self {
        Self::speaking(Dialect::of(endpoints))
    }

    /// A request to a server of this dialect.
    #[must_use]
    pub const fn speaking(dialect: Dialect) -> Self {
        Self {
            dialect,
            circumstances: Vec::new(),
        }
    }

    /// With one more circumstance, if `known` says that it holds.
    #[must_use]
    pub fn with(mut self, circumstance: Option<Circumstance>) -> Self {
        self.circumstances.extend(circumstance);
        self
    }

    /// Whether this holds.
    #[must_use]
    pub fn has(&self, circumstance: Circumstance) -> bool {
        self.circumstances.contains(&circumstance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::EmailAssetSpec;
    use crate::provider::{Catalogue, resolve};

    fn endpoints(spec: &str) -> Endpoints {
        let spec: EmailAssetSpec = serde_saphyr::from_str(spec).unwrap();
        resolve(&spec, Catalogue::built_in().unwrap()).unwrap()
    }

    #[test]
    fn a_provider_has_its_dialect_only_at_its_own_token_endpoint() {
        let own = "{email: a@example.com, provider: google, oauth2: {grant: RefreshToken, refreshTokenSecretRef: {name: s, key: k}, clientID: c}}";
        let elsewhere = "{email: a@example.com, provider: google, oauth2: {grant: RefreshToken, refreshTokenSecretRef: {name: s, key: k}, clientID: c, tokenURL: 'https://id.example.com/token'}}";
        assert_eq!(Dialect::of(&endpoints(own)), Dialect::Google);
        assert_eq!(Dialect::of(&endpoints(elsewhere)), Dialect::Keycloak);
    }
}
