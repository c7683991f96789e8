//! Why nobody is proven to have signed in, in words for the person who tried.

use jiff::Timestamp;

use super::discovery::Undiscovered;
use super::documents::DocumentError;

/// Why nobody is proven to have signed in. Each message says what was expected, what was found and the next step; no token is repeated, and what a server said is
/// bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Nobody asserts an account.
    #[error(
        "No issuer is known that would say which account signed in. Set spec.oauth2.issuer to the server's OpenID issuer, exactly as its metadata write it."
    )]
    NoIssuer,
    /// The answer has no ID token.
    #[error(
        "The answer of the token endpoint holds no ID token, so nobody says which account signed in. Allow the scope openid for the OAuth client, and leave it in spec.oauth2.scopes if they are listed there."
    )]
    NoIdToken,
    /// The token is not one.
    #[error("The ID token cannot be used: {problem}. Show this to whoever runs the server.")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
    },
    /// It is signed in a way that proves nothing.
    #[error(
        "The ID token is signed with {found:?}, which proves nothing or is not known here. Have the server sign ID tokens for this client with RS256, PS256 or ES256."
    )]
    Algorithm {
        /// The token's `alg`.
        found: String,
    },
    /// The issuer has no such key.
    #[error(
        "The ID token is signed with a key that is not among those of {issuer}. Check that the token endpoint and the issuer are of the same server."
    )]
    UnknownKey {
        /// The issuer.
        issuer: String,
    },
    /// Somebody else made the signature.
    #[error(
        "The signature of the ID token is not of {issuer}. Check that the token endpoint and the issuer are of the same server."
    )]
    Signature {
        /// The issuer.
        issuer: String,
    },
    /// The token is of another issuer.
    #[error("The ID token is of issuer {found:?}; expected {expected}.")]
    Issuer {
        /// Who was expected.
        expected: String,
        /// Who it is.
        found: String,
    },
    /// The account is in another tenant.
    #[error(
        "The account that signed in is in tenant {found}; expected tenant {expected}. Sign in with an account of that tenant, or set spec.oauth2.parameters.tenant to the other one if that is meant."
    )]
    Tenant {
        /// The tenant of the spec, by its ID.
        expected: String,
        /// The tenant of the account.
        found: String,
    },
    /// A personal account, where only accounts of organisations can be proven.
    #[error(
        "The account that signed in is a personal one, and spec.oauth2.parameters.tenant allows any. Sign in with the account of the organisation, or set the tenant to consumers if a personal account is meant."
    )]
    PersonalAccount,
    /// The token is for another client.
    #[error("The ID token is meant for client {found:?}; expected {expected}.")]
    Audience {
        /// Our client ID.
        expected: String,
        /// Whom it is for.
        found: String,
    },
    /// The token was given to another client.
    #[error("The ID token was given to client {found:?} (azp); expected {expected}.")]
    AuthorizedParty {
        /// Our client ID.
        expected: String,
        /// Whom it was given to.
        found: String,
    },
    /// The token has no time.
    #[error("The ID token has no {claim}, which every ID token must have. Show this to whoever runs the server.")]
    NoTime {
        /// The claim.
        claim: &'static str,
    },
    /// The token has ended.
    #[error(
        "The ID token ended at {ended:.0}, and it is {now:.0} here. Check the clocks of this cluster and of the server."
    )]
    Ended {
        /// Its end.
        ended: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// The token is not good yet.
    #[error(
        "The ID token is good from {begins:.0} on, and it is {now:.0} here. Check the clocks of this cluster and of the server."
    )]
    NotYet {
        /// Its beginning.
        begins: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// The token is of another sign-in.
    #[error("The ID token does not repeat the nonce of this sign-in: it is of another one. Begin again from the link.")]
    Nonce,
    /// The token is about nobody.
    #[error("The ID token has no usable sub, so it is about nobody. Show this to whoever runs the server.")]
    Subject,
    /// No claim names the account.
    #[error(
        "The account that signed in has no name that its issuer vouches for. Looked for {looked_for}; {problem}. Verify the address at the provider, or let the client have the scope email."
    )]
    NoName {
        /// The claims, comma-separated.
        looked_for: String,
        /// What was found.
        problem: String,
    },
    /// A guest of the tenant.
    #[error(
        "{name} is a guest in the tenant, and a guest's name is not the tenant's to vouch for. Sign in with a member of the tenant that the mailbox is in."
    )]
    Guest {
        /// Its name.
        name: String,
    },
    /// The tenant does not own the domain.
    #[error(
        "{name} signed in from tenant {tenant}, which does not own the domain {domain}. Sign in with an account of the organisation that owns it, or set spec.oauth2.parameters.tenant to the tenant's ID."
    )]
    ForeignDomain {
        /// The account's name.
        name: String,
        /// The tenant of the account.
        tenant: String,
        /// The domain of the name.
        domain: String,
    },
    /// The issuer says nothing about itself.
    #[error("Issuer {issuer} cannot be asked for its keys: {problem}.{}", next_step(.problem.is_temporary()))]
    Undiscovered {
        /// The issuer.
        issuer: String,
        /// Why.
        problem: Undiscovered,
    },
    /// The issuer has no keys.
    #[error(
        "The metadata of issuer {issuer} name no jwks_uri, so its ID tokens cannot be checked. Use the server's OpenID issuer."
    )]
    NoKeys {
        /// The issuer.
        issuer: String,
    },
    /// Something that the proof needs cannot be read.
    #[error("{what} cannot be read: {problem}.{}", next_step(.problem.is_temporary()))]
    Document {
        /// What it is.
        what: &'static str,
        /// Why.
        problem: DocumentError,
    },
    /// The userinfo endpoint may not see the access token.
    #[error(
        "The ID token names no account, and the userinfo endpoint is at {host}, which may not see the access token. If the host is right, add it to the annotation emailasset.dev/hosts of the Secret with the OAuth client."
    )]
    UserinfoNotAllowed {
        /// The host.
        host: String,
    },
    /// The userinfo endpoint speaks of somebody else.
    #[error(
        "The userinfo endpoint speaks of another account than the ID token (their sub differ). Show this to whoever runs the server."
    )]
    OtherSubject,
    /// The proof took too long.
    #[error("The servers that say which account signed in took too long to answer. Sign in again.")]
    TooSlow,
}

impl Unproven {
    /// Whether signing in again may work without anybody changing anything.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Undiscovered { problem, .. } => problem.is_temporary(),
            Self::Document { problem, .. } => problem.is_temporary(),
            Self::TooSlow | Self::Nonce => true,
            _ => false,
        }
    }
}

const fn next_step(temporary: bool) -> &'static str {
    if temporary {
        " Sign in again in a moment."
    } else {
        " Check the issuer and the server."
    }
}
