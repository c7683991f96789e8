//! Sign-in in the browser: the page of an asset, the way to the provider and the way back.
//!
//! ```text
//! link in status ──> page ──button──> provider ──> callback ──> Desk::complete ──> result page
//! ```
//!
//! This room knows HTTP, links, states and words. What an asset is and what becomes of an authorization code is the [`Desk`]'s business, which the controller
//! keeps. A request without a button pressed in this very browser changes nothing.
//!
//! Nothing that the way back needs is kept in memory: the state that travels through the provider holds it, sealed with keys that all replicas share ([`keys`]).
//! So any replica may answer any request, also after a restart. Begin reading at `routes.rs`, then `callback.rs`.

mod answer;
mod browser;
mod callback;
mod ended;
pub mod keys;
mod links;
mod no;
mod pages;
mod rate;
mod routes;
mod scopes;
mod server;
mod state;
mod used;
mod words;

use std::future::Future;

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

pub use crate::{
    lifecycle::SignInRefusal,
    provider::{CodeServer, NamesIssuer},
};
pub use links::{Links, PublicUrlError};
pub use server::{ListenError, Server};

/// What the pages need of the rest of the operator.
pub trait Desk: Send + Sync + 'static {
    /// What a sign-in for this asset would be, from caches: no call is made. None: there is no such asset, or it needs no sign-in in a browser.
    fn offer(&self, namespace: &str, name: &str) -> Option<Offer>;

    /// Redeems an authorization code, proves who signed in, and stores the grant. Runs to its end even if the browser goes away.
    fn complete(&self, consent: Consent) -> impl Future<Output = Result<SignedIn, SignInRefusal>> + Send;

    /// Takes note that the provider sent the person back without a code.
    fn refused(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        refusal: &SignInRefusal,
    ) -> impl Future<Output = ()> + Send;
}

/// What a sign-in for an asset would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Namespace of the asset.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The mailbox.
    pub mailbox: String,
    /// The account that must sign in: the mailbox, unless the spec says another.
    pub login: String,
    /// How people call the provider.
    pub provider: String,
    /// The last part of the callback URL: one for each provider, so that no provider receives another's code.
    pub callback_key: String,
    /// The issuer that the answer must name, where it names one (RFC 9207).
    pub issuer: Option<String>,
    /// Whether the provider always names its issuer in the answer: then an answer without it is refused.
    pub names_issuer: NamesIssuer,
    /// What the answer says about the server that takes the code, where the provider has several.
    pub code_server: Option<CodeServer>,
    /// The authorization request without `redirect_uri`, `state`, `nonce` and the PKCE challenge; or why there is none: what is wrong and who must act.
    pub request: Result<Url, String>,
    /// The hosts that the person's consent and the tokens go to, for people.
    pub hosts: Vec<String>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The value of `emailasset.dev/sign-in`: a new one makes a new link.
    pub edition: Option<String>,
    /// When the grant in use was given; none: there is none.
    pub granted: Option<Timestamp>,
    /// Who signed in for the grant in use.
    pub account: Option<String>,
    /// Redirect URIs that the client's own file lists (Google's `client_secret_*.json`); none: not known.
    pub registered_callbacks: Option<Vec<String>>,
}

/// What came back from a provider, on its way to the token endpoint. Cannot be printed.
pub struct Consent {
    /// Namespace of the asset.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID when the sign-in began.
    pub uid: String,
    /// The authorization code.
    pub code: SecretString,
    /// The PKCE verifier.
    pub verifier: SecretString,
    /// The issuer that the answer named (RFC 9207); it is the right one, where one is known.
    pub issuer: Option<String>,
    /// The redirect URI of the authorization request.
    pub redirect_uri: String,
    /// The nonce of the authorization request; the ID token must repeat it.
    pub nonce: String,
    /// The callback key of the provider that the request was sent to.
    pub callback_key: String,
    /// When the grant was given that was in use when the sign-in began. If another was given since, nothing is changed.
    pub granted: Option<Timestamp>,
}

/// A sign-in that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who signed in, as the provider says.
    pub account: String,
}

#[cfg(test)]
mod tests;
