//! From a spec and the catalogue to the values in effect.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use url::Url;

use super::catalogue::{Catalogue, Entry, EntryServer, Offer, SendScope};
use super::hosts::Authority;
use crate::api::{
    ClientAuthentication, EmailAssetSpec, EndpointsStatus, MailServer, OAuth2, Rotation, Security, ServerStatus,
};

/// How long an access token is taken to live when a server outside the catalogue does not say: short, so that nobody is handed a dead token. Keycloak's and
/// authentik's default lifetime.
const LIFETIME_OF_UNKNOWN_SERVERS: SignedDuration = SignedDuration::from_mins(5);

/// The values in effect for one asset. All URLs are https, without user, password or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The catalogue entry, if the spec names one.
    pub provider: Option<String>,
    /// The mailbox.
    pub email: String,
    /// Login name at the mail servers, unless a server has its own.
    pub username: String,
    /// Token endpoint. A grant is bound to its origin.
    pub token_url: Url,
    /// Where refresh tokens are redeemed; the token endpoint, unless provider or spec say otherwise.
    pub refresh_url: Url,
    /// Scopes that the access token should have. Empty: as the grant has them.
    pub scopes: Vec<String>,
    /// The scopes to send with a refresh, exactly these. Empty: send no scope (RFC 6749 §6: the scopes stay as granted).
    pub refresh_scopes: Vec<String>,
    /// How the client proves itself; `None`: not said, so by the presence of a client secret.
    pub client_authentication: Option<ClientAuthentication>,
    /// What the server does with a refresh token when it is redeemed.
    pub rotation: Rotation,
    /// For how long after a redemption the server still takes the old refresh token.
    pub reuse_grace: Option<SignedDuration>,
    /// How long an access token lives when the answer does not say.
    pub default_lifetime: SignedDuration,
    /// The server that takes mail.
    pub smtp: Option<Server>,
    /// The IMAP server.
    pub imap: Option<Server>,
    /// The POP3 server.
    pub pop3: Option<Server>,
    /// The catalogue entry's own hosts: they may receive credentials without being named by the Secret.
    pub own_hosts: Vec<Authority>,
}

/// A mail server in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name, lower case.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: Security,
    /// Login name at this server.
    pub username: String,
}
