//! Names that stand on objects in the cluster: annotations, Secret types, suffixes. They are a contract, also with objects that older operators wrote.

/// Everything of ours begins with this; people cannot set such keys on the token Secret through the spec.
pub const PREFIX: &str = "emailasset.dev/";
/// Our finalizer on an asset whose grant is to be given back before it goes (`grantDeletionPolicy: Revoke`).
pub const FINALIZER: &str = "emailasset.dev/revoke";

/// On an asset: any new value asks for a refresh now. Answered in `status.handledRequests.refresh`.
pub const REFRESH: &str = "emailasset.dev/refresh";
/// On an asset: any new value makes a new sign-in link, or a new device code. Answered in `status.handledRequests.signIn`.
pub const SIGN_IN: &str = "emailasset.dev/sign-in";
/// On a Secret that another owner made: the asset of this name may take it over.
pub const ADOPT: &str = "emailasset.dev/adopt";
/// On an input Secret: the hosts that may receive its contents, comma-separated (invariant 11).
pub const HOSTS: &str = "emailasset.dev/hosts";

/// On grant and token Secrets: how many answers were stored when this one was.
pub const GENERATION: &str = "emailasset.dev/generation";
/// On a grant Secret: the open attempt (invariant 2).
pub const ATTEMPT: &str = "emailasset.dev/attempt";
/// On grant and token Secrets: the token endpoint origin and client ID that the grant belongs to.
pub const BINDING: &str = "emailasset.dev/binding";
/// On grant and token Secrets: when the access token was issued, RFC 3339.
pub const ISSUE_TIME: &str = "emailasset.dev/issue-time";
/// On grant and token Secrets: when the access token ends, RFC 3339.
pub const EXPIRATION_TIME: &str = "emailasset.dev/expiration-time";
/// On a grant Secret, or on the token Secret where nothing rotates: when the grant was given, RFC 3339.
pub const GRANT_TIME: &str = "emailasset.dev/grant-time";
/// On grant and token Secrets: when the refresh token ends, and who says so, as JSON.
pub const GRANT_END: &str = "emailasset.dev/grant-end";
/// On grant and token Secrets: the mailbox address that the contents are for.
pub const EMAIL: &str = "emailasset.dev/email";
/// On a grant Secret, or on the token Secret where nothing rotates: fingerprints of seeds that were taken or refused.
pub const SEEDS: &str = "emailasset.dev/seeds";
/// On a token Secret: versions of the inputs that its contents were made from.
pub const INPUTS: &str = "emailasset.dev/inputs";

/// On grant and token Secrets: the value of [`REFRESH`] that the contents answer.
pub const ANSWERED_REQUEST: &str = "emailasset.dev/answered-request";
/// On a grant Secret: tries that reached the server, perhaps, and brought no answer (invariant 2).
pub const UNANSWERED: &str = "emailasset.dev/unanswered";
/// On grant and token Secrets: the scopes of the access token, separated by spaces.
pub const SCOPES: &str = "emailasset.dev/scopes";
/// On a grant Secret: the account that signed in: issuer, subject and name.
pub const ACCOUNT: &str = "emailasset.dev/account";
/// On a grant Secret from a sign-in: its refresh token stays when it is redeemed, so routine refreshes leave this Secret alone. Gone for good once the provider
/// has sent another one.
pub const STANDING: &str = "emailasset.dev/standing";
/// On a grant Secret: a sign-in with a device code that is under way.
pub const DEVICE: &str = "emailasset.dev/device-authorization";
/// On a Secret of type [`RESPONSE_SECRET_TYPE`]: the name of the asset that it is for.
pub const RESPONSE_FOR: &str = "emailasset.dev/for";
/// On a grant Secret: UID of the asset it belongs to. Under `Retain` no ownerReference says so.
pub const ASSET: &str = "emailasset.dev/asset-uid";
/// On a token Secret: what of it comes from the spec.
pub const RENDERED: &str = "emailasset.dev/rendered";

/// Type of the Secret that holds a grant. A Secret's type cannot be changed, and watches can select by it.
pub const GRANT_SECRET_TYPE: &str = "emailasset.dev/grant";
/// Type of the short-lived Secret in which `kubectl emailasset authorize` hands over what the provider answered to a person's sign-in. Keys:
/// [`response_keys`].
pub const RESPONSE_SECRET_TYPE: &str = "emailasset.dev/authorization-response";
/// Keys of a Secret of type [`RESPONSE_SECRET_TYPE`].
pub mod response_keys {
    /// UID of the asset.
    pub const ASSET_UID: &str = "asset_uid";
    /// The authorization code (RFC 6749 section 4.1.2).
    pub const CODE: &str = "code";
    /// The PKCE verifier (RFC 7636 section 4.1).
    pub const CODE_VERIFIER: &str = "code_verifier";
    /// The redirect URI of the request: on a loopback address (RFC 8252 section 7.3).
    pub const REDIRECT_URI: &str = "redirect_uri";
    /// The `nonce` of the request (OpenID Connect Core section 3.1.2.1).
    pub const NONCE: &str = "nonce";
    /// The `iss` of the response (RFC 9207); absent where the provider sends none.
    pub const ISSUER: &str = "iss";
    /// The `status.grant.grantTime` that was there when the sign-in began, RFC 3339; absent where there was none. A newer grant is not replaced.
    pub const GRANT_TIME: &str = "grant_time";
}
/// The operator's own keys, in its own namespace.
pub const KEYS_SECRET: &str = "emailasset-operator-keys";

/// Type of the Secret that consumers mount.
pub const TOKEN_SECRET_TYPE: &str = "emailasset.dev/token";

/// Ends the name of every grant Secret, and of no token Secret.
pub const GRANT_SUFFIX: &str = "-grant";
/// Ends the default name of a token Secret.
pub const TOKEN_SUFFIX: &str = "-token";
/// An asset's name may have this many characters, so that names made from it fit into 253.
pub const MAX_ASSET_NAME: usize = 200;

/// Who wrote a field, as API server and Events show it.
pub const FIELD_MANAGER: &str = "emailasset-operator";

/// The name of an asset's grant Secret.
#[must_use]
pub fn grant_secret(asset: &str) -> String {
    format!("{asset}{GRANT_SUFFIX}")
}

/// The name of an asset's token Secret, where the spec gives none.
#[must_use]
pub fn default_token_secret(asset: &str) -> String {
    format!("{asset}{TOKEN_SUFFIX}")
}
