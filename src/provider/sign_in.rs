//! How a person signs in at a provider, and what the provider asserts about who that was.

use url::Url;

/// How a person signs in at a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignIn {
    /// Where a person signs in, in a browser.
    pub authorization_url: Option<Url>,
    /// Where a sign-in with a code begins (RFC 8628).
    pub device_authorization_url: Option<Url>,
    /// Parameters of the authorization request besides those of the protocol, such as `access_type=offline`.
    pub parameters: Vec<(String, String)>,
    /// What is asked for: the scopes of the access token and those that make the provider say who signed in.
    pub scopes: Vec<String>,
    /// What proves who signed in.
    pub identity: Identity,
    /// The last part of the callback URL (design section 7): the entry's key if nothing of it is overridden, else a hash of the authorization and token endpoints.
    pub callback_key: String,
}

/// What proves who signed in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The issuer of ID tokens; none: nobody asserts an account.
    pub issuer: Option<String>,
}
