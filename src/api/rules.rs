//! The rules for a spec: each as CEL for the API server and with the message for people.
//!
//! [`super::spec`] puts the CEL into the schema, [`super::validate()`] checks the same in code and uses the same messages. The API server prints a message after
//! the field and the value that was given, so a message says what is accepted and, where it helps, the next step. Regular expressions avoid backslashes: CEL
//! would need each twice.

/// Longest mailbox address (RFC 5321 §4.5.3.1.3: a path has 256 octets, two of them brackets).
pub(super) const MAX_EMAIL: usize = 254;
/// Longest login name.
pub(super) const MAX_USERNAME: usize = 254;
/// Longest host name, and longest name of a Kubernetes object (RFC 1123).
pub(super) const MAX_NAME: usize = 253;
/// Longest key of a catalogue entry.
pub(super) const MAX_PROVIDER: usize = 63;
/// Longest URL.
pub(super) const MAX_URL: usize = 2048;
/// Longest client ID.
pub(super) const MAX_CLIENT_ID: usize = 512;
/// Most scopes.
pub(super) const MAX_SCOPES: usize = 32;
/// Longest scope.
pub(super) const MAX_SCOPE: usize = 512;
/// Most provider parameters.
pub(super) const MAX_PARAMETERS: usize = 16;
/// Longest value of a provider parameter.
pub(super) const MAX_PARAMETER: usize = 253;
/// Most labels, and most annotations.
pub(super) const MAX_KEYS: usize = 32;
/// Longest value of a label (a rule of Kubernetes).
pub(super) const MAX_LABEL: usize = 63;
/// Longest value of an annotation.
pub(super) const MAX_ANNOTATION: usize = 4096;
/// Most rules about who may use an `EmailProvider`.
pub(super) const MAX_ALLOW_RULES: usize = 32;
/// Most mailboxes in one of them.
pub(super) const MAX_MAILBOXES: usize = 64;
/// Most namespaces in one of them.
pub(super) const MAX_NAMESPACES: usize = 64;
/// Most grants in one of them: there are not more.
pub(super) const MAX_GRANTS: usize = 8;
/// Longest name of an `EmailProvider`.
pub(super) const MAX_PROVIDER_NAME: usize = 63;
/// Longest duration. With at most six digits to a number, none of this length exceeds what Go and CEL can hold.
pub(super) const MAX_DURATION: usize = 20;

pub(super) const EMAIL: &str = "self.matches('^[A-Za-z0-9_][A-Za-z0-9.!#%&*+/=?^_{|}~-]{0,63}@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$')";
pub(super) const EMAIL_MESSAGE: &str = "must be one plain mailbox address such as support@example.com: before the @ letters, digits and .!#%&*+/=?^_{|}~- without quotes or spaces, after it a full domain name";
pub(super) const EMAIL_FIXED: &str = "self == oldSelf";
pub(super) const EMAIL_FIXED_MESSAGE: &str =
    "spec.email cannot be changed: create another EmailAsset for the other mailbox";

pub(super) const USERNAME: &str = "self.matches('^[!#%&(-,./0-9:-@A-Z^_a-z{|}~][!#%&(-@A-Z^_a-z{|}~-]*$')";
pub(super) const USERNAME_MESSAGE: &str = "must be a login name such as support@example.com: visible ASCII characters without spaces, quotes, backslash, $ and square brackets, not beginning with a hyphen";

pub(super) const PROVIDER: &str = "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')";
pub(super) const PROVIDER_MESSAGE: &str =
    "must be the lower-case name of an entry in the operator's catalogue, such as google or microsoft";

pub(super) const HOST: &str =
    "self.matches('^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$')";
pub(super) const HOST_MESSAGE: &str = "must be a host name such as smtp.example.com: no scheme, port, path, space or final dot; names in other scripts in their xn-- form";

pub(super) const OBJECT_NAME: &str =
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";
pub(super) const OBJECT_NAME_MESSAGE: &str =
    "must be the name of a Kubernetes object: lower-case letters, digits, hyphens and dots";
pub(super) const OBJECT_KEY: &str = "self.matches('^[-._a-zA-Z0-9]+$')";
pub(super) const OBJECT_KEY_MESSAGE: &str =
    "must be a key of the object's data: letters, digits, hyphens, dots and underscores";

pub(super) const SECRET_NOT_GRANT: &str = "!self.endsWith('-grant')";
pub(super) const SECRET_NOT_GRANT_MESSAGE: &str =
    "may not end in -grant: such names are kept for the Secrets with grants, which consumers must not mount";

pub(super) const CLIENT_ID: &str = "self.matches('^[!-~]+$')";
pub(super) const CLIENT_ID_MESSAGE: &str =
    "must be the client ID exactly as the provider shows it: visible ASCII characters without spaces or line ends";

pub(super) const URL: &str = "self.matches('^https://[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*(:[0-9]{1,5})?([/?][A-Za-z0-9._~!$&()*+,;=:@%/?-]*)?$')";
pub(super) const URL_MESSAGE: &str = "must be an https URL such as https://id.example.com/oauth2/token: a host name, no user or password, no fragment (#), no spaces";
pub(super) const URL_QUERY: &str = "!self.matches('(?i)[?&](client_id|client_secret|client_assertion|refresh_token|access_token|assertion|code|username|password|api_?key|key|token)=')";
pub(super) const URL_QUERY_MESSAGE: &str = "may not carry credentials in its query, where they end up in logs: put them into the Secrets that clientCredentialsRef and refreshTokenSecretRef name";
/// The names that [`URL_QUERY`] refuses.
pub(super) const CREDENTIAL_PARAMETERS: &[&str] = &[
    "client_id",
    "client_secret",
    "client_assertion",
    "refresh_token",
    "access_token",
    "assertion",
    "code",
    "username",
    "password",
    "apikey",
    "api_key",
    "key",
    "token",
];

pub(super) const SCOPE: &str = "self.matches('^[!#-Z^-~]+$')";
pub(super) const SCOPE_MESSAGE: &str = "must be one scope, such as https://mail.google.com/: visible ASCII characters without spaces, quotes, backslashes or square brackets; write several scopes as several list entries";

pub(super) const PARAMETER: &str = "self.matches('^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')";
pub(super) const PARAMETER_MESSAGE: &str = "must be a plain word such as contoso.onmicrosoft.com: letters, digits, dots, hyphens and underscores, because it becomes part of a URL";

pub(super) const RENEW_BEFORE: &str =
    "self.matches('^([0-9]{1,6}([.][0-9]{1,6})?(h|m|s|ms|us|µs|μs|ns))+$') && duration(self) >= duration('1s')";
pub(super) const RENEW_BEFORE_MESSAGE: &str = "must be a duration of at least 1s, such as 90s, 20m or 1h30m (numbers of up to six digits with units h, m, s, ms, us, ns)";

pub(super) const OWN_KEYS: &str = "self.all(key, !key.startsWith('emailasset.dev/'))";
pub(super) const OWN_KEYS_MESSAGE: &str =
    "may not have keys that begin with emailasset.dev/: they are the operator's own";
pub(super) const LABEL_VALUE: &str = "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')";
pub(super) const LABEL_VALUE_MESSAGE: &str =
    "must be a label value: letters, digits, hyphens, underscores and dots, with a letter or digit at both ends";

pub(super) const FORMATS_ONCE: &str = "self.all(format, self.exists_one(other, other == format))";
pub(super) const FORMATS_ONCE_MESSAGE: &str = "names a format twice: name each once";

pub(super) const CLIENT_NAMED: &str = "has(self.providerRef) || self.oauth2.grant == 'JWTBearer' || has(self.oauth2.clientCredentialsRef) || has(self.oauth2.clientID)";
/// The same for an `EmailProvider`.
pub(super) const SHARED_CLIENT_NAMED: &str = "has(self.clientCredentialsRef) || has(self.clientID)";
pub(super) const CLIENT_NAMED_MESSAGE: &str = "needs an OAuth client: set clientCredentialsRef to a Secret with the keys client_id and client_secret, or clientID for a public client";
pub(super) const CLIENT_HAS_SECRET: &str = "!has(self.clientAuthentication) || self.clientAuthentication == 'None' || self.clientAuthentication == 'FederatedToken' || has(self.clientCredentialsRef)";
pub(super) const CLIENT_HAS_SECRET_MESSAGE: &str = "clientAuthentication ClientSecretBasic or ClientSecretPost needs clientCredentialsRef, a Secret with the key client_secret, and PrivateKeyJWT one with the keys tls.key and tls.crt; a public client has clientAuthentication None";
pub(super) const CLIENT_PROVES_ITSELF: &str = "has(self.providerRef) || self.oauth2.grant != 'ClientCredentials' || (has(self.oauth2.clientAuthentication) ? self.oauth2.clientAuthentication != 'None' : has(self.oauth2.clientCredentialsRef))";
pub(super) const CLIENT_PROVES_ITSELF_MESSAGE: &str = "grant ClientCredentials needs a client that proves itself, since nobody signs in: set clientCredentialsRef to a Secret with client_secret or with tls.key and tls.crt, or clientAuthentication to FederatedToken; None is for public clients";
pub(super) const ACCOUNT_NAMED: &str =
    "has(self.providerRef) || self.oauth2.grant != 'JWTBearer' || has(self.oauth2.clientCredentialsRef)";
pub(super) const ACCOUNT_NAMED_MESSAGE: &str = "is needed by grant JWTBearer: name the Secret with the service account's key file, exactly as Google's console downloads it";
pub(super) const CLIENT_ID_USED: &str = "self.grant != 'JWTBearer' || !has(self.clientID)";
pub(super) const CLIENT_ID_USED_MESSAGE: &str =
    "is not used by grant JWTBearer, whose service account is named in its key file: leave it out";
pub(super) const AUTHENTICATION_USED: &str = "self.grant != 'JWTBearer' || !has(self.clientAuthentication)";
pub(super) const AUTHENTICATION_USED_MESSAGE: &str =
    "is not used by grant JWTBearer, whose service account signs each request with its key: leave it out";
pub(super) const REFRESH_USED: &str =
    "(self.grant != 'ClientCredentials' && self.grant != 'JWTBearer') || !has(self.refreshURL)";
pub(super) const REFRESH_USED_MESSAGE: &str = "is not used by grants ClientCredentials and JWTBearer, which have no refresh token: leave it out, and set tokenURL where the token endpoint is another";
pub(super) const ROTATION_USED: &str =
    "(self.grant != 'ClientCredentials' && self.grant != 'JWTBearer') || !has(self.rotation)";
pub(super) const ROTATION_USED_MESSAGE: &str =
    "is not used by grants ClientCredentials and JWTBearer, which have no refresh token: leave it out";
pub(super) const ROTATION_IS_KNOWN: &str =
    "!has(self.rotation) || has(self.tokenURL) || has(self.refreshURL) || has(self.issuer)";
pub(super) const ROTATION_IS_KNOWN_MESSAGE: &str = "rotation may be set only with an issuer, tokenURL or refreshURL of your own: how the provider's own server rotates is in the catalogue";

pub(super) const SEED_NAMED: &str = "self.grant != 'RefreshToken' || has(self.refreshTokenSecretRef)";
pub(super) const SEED_NAMED_MESSAGE: &str = "is needed by grant RefreshToken: name the Secret and its key with the first refresh token, or choose grant AuthorizationCode and let a person sign in";
pub(super) const SEED_UNUSED: &str = "self.grant == 'RefreshToken' || !has(self.refreshTokenSecretRef)";
pub(super) const SEED_UNUSED_MESSAGE: &str =
    "is used by grant RefreshToken alone: leave it out where a person signs in, or nobody has to";
pub(super) const PROMPT_USED: &str = "!has(self.prompt) || self.grant == 'AuthorizationCode'";
pub(super) const PROMPT_USED_MESSAGE: &str = "is used by grant AuthorizationCode alone: leave it out";
pub(super) const PROMPT: &str = "self.matches('^[a-z_]+( [a-z_]+)*$')";
pub(super) const PROMPT_MESSAGE: &str =
    "must be lower-case words separated by single spaces, such as consent or select_account";

/// Without a word about servers, the catalogue looks at the mailbox's domain; and an issuer may know its endpoints.
pub(super) const SERVER_KNOWN: &str = "has(self.provider) || has(self.providerRef) || has(self.oauth2.tokenURL) || has(self.oauth2.issuer) || !(has(self.oauth2.authorizationURL) || has(self.oauth2.deviceAuthorizationURL) || has(self.oauth2.refreshURL))";
pub(super) const SERVER_KNOWN_MESSAGE: &str = "needs a provider or a token endpoint beside the URL that is set: set provider to an entry of the catalogue, such as google or microsoft, or oauth2.tokenURL to the server's token endpoint";
pub(super) const SMTP_HOST: &str =
    "has(self.provider) || !has(self.oauth2.tokenURL) || !has(self.smtp) || has(self.smtp.host)";
pub(super) const IMAP_HOST: &str =
    "has(self.provider) || !has(self.oauth2.tokenURL) || !has(self.imap) || has(self.imap.host)";
pub(super) const POP3_HOST: &str =
    "has(self.provider) || !has(self.oauth2.tokenURL) || !has(self.pop3) || has(self.pop3.host)";
pub(super) const MAIL_HOST_MESSAGE: &str = "needs a host, because no provider is named that would know the server";

pub(super) const ONE_PROVIDER: &str = "!has(self.provider) || !has(self.providerRef)";
pub(super) const ONE_PROVIDER_MESSAGE: &str = "may not be set beside provider: name an entry of the catalogue in provider, or an EmailProvider in providerRef, which may build on an entry itself";
pub(super) const SHARED_OAUTH2: &str = "!has(self.providerRef) || !(has(self.oauth2.clientCredentialsRef) || has(self.oauth2.clientID) || has(self.oauth2.clientAuthentication) || has(self.oauth2.parameters) || has(self.oauth2.issuer) || has(self.oauth2.authorizationURL) || has(self.oauth2.deviceAuthorizationURL) || has(self.oauth2.tokenURL) || has(self.oauth2.refreshURL) || has(self.oauth2.revocationURL) || has(self.oauth2.scopes) || has(self.oauth2.rotation) || has(self.oauth2.prompt) || has(self.oauth2.caBundleRef))";
pub(super) const SHARED_OAUTH2_MESSAGE: &str = "may set only grant, refreshTokenSecretRef, loginEmail and grantDeletionPolicy beside providerRef: the client, the endpoints and the scopes are those of the EmailProvider, and an asset cannot change them";
pub(super) const SHARED_SERVERS: &str =
    "!has(self.providerRef) || !(has(self.smtp) || has(self.imap) || has(self.pop3))";
pub(super) const SHARED_SERVERS_MESSAGE: &str = "may not be set together with smtp, imap or pop3: the mail servers are those of the EmailProvider, and an asset cannot change them";

pub(super) const SERVER_NAMED: &str = "has(self.provider) || has(self.oauth2.tokenURL) || has(self.oauth2.issuer)";
pub(super) const SERVER_NAMED_MESSAGE: &str = "needs an entry of the catalogue, such as google or microsoft, or oauth2.issuer set to the server's issuer, or oauth2.tokenURL to its token endpoint";
pub(super) const PROVIDER_NAME: &str = "size(self.metadata.name) <= 63";
pub(super) const PROVIDER_NAME_MESSAGE: &str =
    "metadata.name may have at most 63 characters, because it stands in the callback URL";
pub(super) const NAMESPACES_NAMED: &str = "has(self.names) || has(self.selector)";
pub(super) const NAMESPACES_NAMED_MESSAGE: &str =
    "needs names or a selector; selector with empty matchLabels ({}) covers every namespace";
pub(super) const MAILBOX: &str = "self.startsWith('*@') ? self.matches('^[*]@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$') : self.matches('^[!#%&(),./0-9:-@A-Z^_a-z{|}~+][!#%&()+,./0-9:-@A-Z^_a-z{|}~-]*$')";
pub(super) const MAILBOX_MESSAGE: &str = "must be a mailbox address such as support@example.com, or *@ and a domain such as *@example.com for all of its mailboxes; there are no other patterns";

pub(super) const ASSET_NAME: &str = "size(self.metadata.name) <= 200";
pub(super) const ASSET_NAME_MESSAGE: &str =
    "metadata.name may have at most 200 characters, because the names of Secrets are made from it";
pub(super) const SEED_NOT_OURS: &str = "!has(self.spec.oauth2.refreshTokenSecretRef) || (self.spec.oauth2.refreshTokenSecretRef.name != self.metadata.name + '-grant' && self.spec.oauth2.refreshTokenSecretRef.name != (has(self.spec.secret) && has(self.spec.secret.name) ? self.spec.secret.name : self.metadata.name + '-token'))";
pub(super) const CLIENT_NOT_OURS: &str = "!has(self.spec.oauth2.clientCredentialsRef) || (self.spec.oauth2.clientCredentialsRef.name != self.metadata.name + '-grant' && self.spec.oauth2.clientCredentialsRef.name != (has(self.spec.secret) && has(self.spec.secret.name) ? self.spec.secret.name : self.metadata.name + '-token'))";
pub(super) const NOT_OURS_MESSAGE: &str =
    "may not name a Secret that the operator writes for this asset: inputs are only read";
