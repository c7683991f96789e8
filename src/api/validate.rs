//! The rules for a spec, in code.
//!
//! The API server checks the same with CEL before it stores an object. They are checked again here for objects that were stored before a rule came or with another
//! version of the CRD, and because a few rules cannot be said in CEL: which label keys the operator's settings allow, and how a key is spelt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::SignedDuration;

use super::provider::{AllowRule, EmailProvider};
use super::spec::{ClientAuthentication, EmailAsset, EmailAssetSpec, Grant, KeyRef, MailServer, OAuth2, TokenSecret};
use super::{duration, names, rules};

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `spec.email`.
    pub field: String,
    /// What was given, cut to a bounded length; `None` where that says nothing, or might be a secret in the wrong place.
    pub given: Option<String>,
    /// What is accepted, and what to do.
    pub expected: String,
}

/// Longest piece of a given value that a message repeats, in characters.
const LONGEST_QUOTE: usize = 80;

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            Some(given) => write!(formatter, "{} is {given}: {}", self.field, self.expected),
            None => write!(formatter, "{}: {}", self.field, self.expected),
        }
    }
}

/// Which label and annotation keys people may put on token Secrets. Other controllers act on such keys, so a person who may edit assets must not be able to
/// set any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedKeys(Vec<String>);

impl AllowedKeys {
    /// From patterns: a whole key, or a beginning followed by `*`.
    pub fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }

    fn allow(&self, key: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => key.starts_with(beginning),
            None => key == pattern,
        })
    }
}

/// `app.kubernetes.io/*`.
impl Default for AllowedKeys {
    fn default() -> Self {
        Self::new(["app.kubernetes.io/*"])
    }
}

/// Checks a spec against every rule and returns all violations, in the order of the spec.
pub fn validate(asset: &EmailAsset, allowed: &AllowedKeys) -> Result<(), Vec<Violation>> {
    let mut check = Check(Vec::new());
    check.asset(asset);
    check.spec(&asset.spec);
    check.oauth2(&asset.spec.oauth2);
    check.servers(&asset.spec);
    if let Some(secret) = &asset.spec.secret {
        check.secret(secret, allowed);
    }
    if check.0.is_empty() { Ok(()) } else { Err(check.0) }
}

/// Checks an `EmailProvider` against every rule and returns all violations.
pub fn validate_provider(provider: &EmailProvider) -> Result<(), Vec<Violation>> {
    let mut check = Check(Vec::new());
    let name = provider.metadata.name.as_deref().unwrap_or_default();
    check.require(
        name.len() <= rules::MAX_PROVIDER_NAME,
        "metadata.name",
        rules::PROVIDER_NAME_MESSAGE,
    );
    let spec = &provider.spec;
    let named = spec.provider.is_some() || spec.oauth2.token_url.is_some() || spec.oauth2.issuer.is_some();
    check.require(named, "spec.provider", rules::SERVER_NAMED_MESSAGE);
    // What it has in common with an asset is checked as an asset's.
    let spec_of_asset = spec.under(&EmailAssetSpec::of(EXAMPLE, Grant::AuthorizationCode));
    check.spec(&spec_of_asset);
    check.oauth2(&spec_of_asset.oauth2);
    check.servers(&spec_of_asset);
    for (index, rule) in spec.allow.iter().enumerate() {
        check.allow(&format!("spec.allow[{index}]"), rule);
    }
    let bounded = spec.allow.len() <= rules::MAX_ALLOW_RULES;
    check.require(
        bounded,
        "spec.allow",
        &format!("must have at most {} entries", rules::MAX_ALLOW_RULES),
    );
    if check.0.is_empty() { Ok(()) } else { Err(check.0) }
}

/// A mailbox that every rule accepts.
const EXAMPLE: &str = "support@example.com";

/// Gathers violations.
struct Check(Vec<Violation>);

impl Check {
    /// Notes a violation of a value that may be shown.
    fn must(&mut self, holds: bool, field: &str, given: &str, expected: &str) {
        if !holds {
            self.0.push(Violation {
                field: field.into(),
                given: Some(quote(given)),
                expected: expected.into(),
            });
        }
    }

    /// Notes a violation without showing a value.
    fn require(&mut self, holds: bool, field: &str, expected: &str) {
        if !holds {
            self.0.push(Violation {
                field: field.into(),
                given: None,
                expected: expected.into(),
            });
        }
    }

    /// The bound of a text; false when it is broken, since a second message would only confuse.
    fn bounded(&mut self, field: &str, given: &str, longest: usize) -> bool {
        let fits = !given.is_empty() && given.len() <= longest;
        let expected = format!("must have 1 to {longest} characters, it has {}", given.chars().count());
        self.require(fits, field, &expected);
        fits
    }

    fn text(&mut self, field: &str, given: &str, longest: usize, accepts: fn(&str) -> bool, expected: &str) {
        if self.bounded(field, given, longest) {
            self.must(accepts(given), field, given, expected);
        }
    }

    fn asset(&mut self, asset: &EmailAsset) {
        let name = asset.metadata.name.as_deref().unwrap_or_default();
        self.require(
            name.len() <= names::MAX_ASSET_NAME,
            "metadata.name",
            rules::ASSET_NAME_MESSAGE,
        );
        let ours = [asset.grant_secret_name(), asset.token_secret_name()];
        if let Some(seed) = &asset.spec.oauth2.refresh_token_secret_ref {
            let field = "spec.oauth2.refreshTokenSecretRef.name";
            self.must(!ours.contains(&seed.name), field, &seed.name, rules::NOT_OURS_MESSAGE);
        }
        if let Some(client) = &asset.spec.oauth2.client_credentials_ref {
            let field = "spec.oauth2.clientCredentialsRef.name";
            self.must(
                !ours.contains(&client.name),
                field,
                &client.name,
                rules::NOT_OURS_MESSAGE,
            );
        }
    }

    fn spec(&mut self, spec: &EmailAssetSpec) {
        self.text(
            "spec.email",
            &spec.email,
            rules::MAX_EMAIL,
            is_email,
            rules::EMAIL_MESSAGE,
        );
        if let Some(provider) = &spec.provider {
            self.text(
                "spec.provider",
                provider,
                rules::MAX_PROVIDER,
                is_provider,
                rules::PROVIDER_MESSAGE,
            );
        }
        self.shared(spec);
        let oauth2 = &spec.oauth2;
        let named = spec.provider.is_some()
            || spec.provider_ref.is_some()
            || oauth2.token_url.is_some()
            || oauth2.issuer.is_some();
        let others = [
            &oauth2.authorization_url,
            &oauth2.device_authorization_url,
            &oauth2.refresh_url,
        ];
        let known = named || others.into_iter().all(Option::is_none);
        self.require(known, "spec.provider", rules::SERVER_KNOWN_MESSAGE);
        if let Some(username) = &spec.username {
            self.text(
                "spec.username",
                username,
                rules::MAX_USERNAME,
                is_username,
                rules::USERNAME_MESSAGE,
            );
        }
        if let Some(renew_before) = &spec.renew_before {
            let field = "spec.renewBefore";
            self.text(
                field,
                renew_before,
                rules::MAX_DURATION,
                is_renew_before,
                rules::RENEW_BEFORE_MESSAGE,
            );
        }
    }

    /// What an `EmailProvider` leaves to an asset.
    fn shared(&mut self, spec: &EmailAssetSpec) {
        let oauth2 = &spec.oauth2;
        let Some(provider) = &spec.provider_ref else {
            return self.own_client(oauth2);
        };
        self.object_name("spec.providerRef.name", &provider.name);
        self.require(spec.provider.is_none(), "spec.providerRef", rules::ONE_PROVIDER_MESSAGE);
        let own = OAuth2 {
            grant: oauth2.grant,
            refresh_token_secret_ref: oauth2.refresh_token_secret_ref.clone(),
            login_email: oauth2.login_email.clone(),
            grant_deletion_policy: oauth2.grant_deletion_policy,
            ..EmailAssetSpec::of(&spec.email, oauth2.grant).oauth2
        };
        self.require(*oauth2 == own, "spec.oauth2", rules::SHARED_OAUTH2_MESSAGE);
        let servers = [&spec.smtp, &spec.imap, &spec.pop3];
        self.require(
            servers.into_iter().all(Option::is_none),
            "spec.providerRef",
            rules::SHARED_SERVERS_MESSAGE,
        );
    }

    /// The client that an asset without an `EmailProvider` names itself.
    fn own_client(&mut self, oauth2: &OAuth2) {
        const CLIENT: &str = "spec.oauth2.clientCredentialsRef";
        let in_secret = oauth2.client_credentials_ref.is_some();
        let for_person = oauth2.grant != Grant::JwtBearer;
        let named = in_secret || oauth2.client_id.is_some() || !for_person;
        self.require(named, CLIENT, rules::CLIENT_NAMED_MESSAGE);
        self.require(in_secret || for_person, CLIENT, rules::ACCOUNT_NAMED_MESSAGE);
        let proves = match oauth2.client_authentication {
            Some(method) => method != ClientAuthentication::None,
            None => in_secret,
        };
        self.require(
            oauth2.grant != Grant::ClientCredentials || proves,
            "spec.oauth2.clientAuthentication",
            rules::CLIENT_PROVES_ITSELF_MESSAGE,
        );
    }

    fn servers(&mut self, spec: &EmailAssetSpec) {
        for (field, server) in [("smtp", &spec.smtp), ("imap", &spec.imap), ("pop3", &spec.pop3)] {
            if let Some(server) = server {
                let may_be_known = spec.provider.is_some() || spec.oauth2.token_url.is_none();
                self.server(&format!("spec.{field}"), server, may_be_known);
            }
        }
    }

    fn allow(&mut self, field: &str, rule: &AllowRule) {
        let namespaces = &rule.namespaces;
        let named = !namespaces.names.is_empty() || namespaces.selector.is_some();
        self.require(named, &format!("{field}.namespaces"), rules::NAMESPACES_NAMED_MESSAGE);
        for name in &namespaces.names {
            self.object_name(&format!("{field}.namespaces.names"), name);
        }
        let bounded = (1..=rules::MAX_MAILBOXES).contains(&rule.mailboxes.len());
        let mailboxes = format!("{field}.mailboxes");
        self.require(
            bounded,
            &mailboxes,
            &format!("must have 1 to {} entries", rules::MAX_MAILBOXES),
        );
        for mailbox in &rule.mailboxes {
            self.text(
                &mailboxes,
                mailbox,
                rules::MAX_USERNAME,
                is_mailbox_pattern,
                rules::MAILBOX_MESSAGE,
            );
        }
    }

    fn oauth2(&mut self, oauth2: &OAuth2) {
        let field = |name: &str| format!("spec.oauth2.{name}");
        if let Some(client) = &oauth2.client_credentials_ref {
            self.object_name(&field("clientCredentialsRef.name"), &client.name);
        }
        self.grant(oauth2);
        if let Some(bundle) = &oauth2.ca_bundle_ref {
            self.key_ref(&field("caBundleRef"), bundle);
        }
        if let Some(id) = &oauth2.client_id {
            self.text(
                &field("clientID"),
                id,
                rules::MAX_CLIENT_ID,
                is_client_id,
                rules::CLIENT_ID_MESSAGE,
            );
        }
        self.client(oauth2);
        self.parameters(&oauth2.parameters);
        for (name, url) in [
            ("issuer", &oauth2.issuer),
            ("authorizationURL", &oauth2.authorization_url),
            ("deviceAuthorizationURL", &oauth2.device_authorization_url),
            ("tokenURL", &oauth2.token_url),
            ("refreshURL", &oauth2.refresh_url),
            ("revocationURL", &oauth2.revocation_url),
        ] {
            if let Some(url) = url {
                self.url(&field(name), url);
            }
        }
        let bounded = oauth2.scopes.len() <= rules::MAX_SCOPES;
        self.require(
            bounded,
            &field("scopes"),
            &format!("must have at most {} entries", rules::MAX_SCOPES),
        );
        for (index, scope) in oauth2.scopes.iter().enumerate().filter(|(_, scope)| !is_scope(scope)) {
            self.must(false, &field(&format!("scopes[{index}]")), scope, rules::SCOPE_MESSAGE);
        }
    }

    /// The fields that belong to one grant alone.
    fn grant(&mut self, oauth2: &OAuth2) {
        let field = "spec.oauth2.refreshTokenSecretRef";
        let seeded = oauth2.grant == Grant::RefreshToken;
        match &oauth2.refresh_token_secret_ref {
            Some(seed) => {
                self.require(seeded, field, rules::SEED_UNUSED_MESSAGE);
                self.key_ref(field, seed);
            }
            None => self.require(!seeded, field, rules::SEED_NAMED_MESSAGE),
        }
        if let Some(prompt) = &oauth2.prompt {
            let field = "spec.oauth2.prompt";
            self.require(
                oauth2.grant == Grant::AuthorizationCode,
                field,
                rules::PROMPT_USED_MESSAGE,
            );
            self.text(field, prompt, rules::MAX_PARAMETER, is_prompt, rules::PROMPT_MESSAGE);
        }
        if let Some(login) = &oauth2.login_email {
            let field = "spec.oauth2.loginEmail";
            self.text(field, login, rules::MAX_USERNAME, is_username, rules::USERNAME_MESSAGE);
        }
    }

    fn client(&mut self, oauth2: &OAuth2) {
        let has_secret = oauth2.client_credentials_ref.is_some();
        let without_secret = oauth2.client_authentication.is_none_or(|method| {
            matches!(
                method,
                ClientAuthentication::None | ClientAuthentication::FederatedToken
            )
        });
        self.require(
            without_secret || has_secret,
            "spec.oauth2.clientCredentialsRef",
            rules::CLIENT_HAS_SECRET_MESSAGE,
        );
        self.direct(oauth2);
        let elsewhere = oauth2.token_url.is_some() || oauth2.refresh_url.is_some() || oauth2.issuer.is_some();
        self.require(
            oauth2.rotation.is_none() || elsewhere,
            "spec.oauth2.rotation",
            rules::ROTATION_IS_KNOWN_MESSAGE,
        );
    }

    /// What the grants without a person and a refresh token need, and what they have no use for.
    fn direct(&mut self, oauth2: &OAuth2) {
        let field = |name: &str| format!("spec.oauth2.{name}");
        if oauth2.grant == Grant::JwtBearer {
            let unused = oauth2.client_id.is_none();
            self.require(unused, &field("clientID"), rules::CLIENT_ID_USED_MESSAGE);
            let unused = oauth2.client_authentication.is_none();
            self.require(
                unused,
                &field("clientAuthentication"),
                rules::AUTHENTICATION_USED_MESSAGE,
            );
        }
        if oauth2.grant.is_direct() {
            let unused = oauth2.refresh_url.is_none();
            self.require(unused, &field("refreshURL"), rules::REFRESH_USED_MESSAGE);
            let unused = oauth2.rotation.is_none();
            self.require(unused, &field("rotation"), rules::ROTATION_USED_MESSAGE);
        }
    }

    fn parameters(&mut self, parameters: &BTreeMap<String, String>) {
        let field = "spec.oauth2.parameters";
        let bounded = parameters.len() <= rules::MAX_PARAMETERS;
        self.require(
            bounded,
            field,
            &format!("must have at most {} entries", rules::MAX_PARAMETERS),
        );
        for (name, value) in parameters.iter().filter(|(_, value)| !is_parameter(value)) {
            self.must(false, &format!("{field}[{name}]"), value, rules::PARAMETER_MESSAGE);
        }
    }

    /// A URL may hold a password where it should not, so it is not repeated.
    fn url(&mut self, field: &str, url: &str) {
        if self.bounded(field, url, rules::MAX_URL) {
            self.require(is_url(url), field, rules::URL_MESSAGE);
            self.require(!has_credentials_in_query(url), field, rules::URL_QUERY_MESSAGE);
        }
    }

    fn object_name(&mut self, field: &str, name: &str) {
        self.text(field, name, rules::MAX_NAME, is_object_name, rules::OBJECT_NAME_MESSAGE);
    }

    fn key_ref(&mut self, field: &str, reference: &KeyRef) {
        self.object_name(&format!("{field}.name"), &reference.name);
        self.text(
            &format!("{field}.key"),
            &reference.key,
            rules::MAX_NAME,
            is_object_key,
            rules::OBJECT_KEY_MESSAGE,
        );
    }

    fn server(&mut self, field: &str, server: &MailServer, may_be_known: bool) {
        match &server.host {
            Some(host) => self.text(
                &format!("{field}.host"),
                host,
                rules::MAX_NAME,
                is_host,
                rules::HOST_MESSAGE,
            ),
            None => self.require(may_be_known, field, rules::MAIL_HOST_MESSAGE),
        }
        if let Some(port) = server.port {
            let field = format!("{field}.port");
            self.must(
                (1..=65535).contains(&port),
                &field,
                &port.to_string(),
                "must be a port from 1 to 65535",
            );
        }
        if let Some(username) = &server.username {
            let field = format!("{field}.username");
            self.text(
                &field,
                username,
                rules::MAX_USERNAME,
                is_username,
                rules::USERNAME_MESSAGE,
            );
        }
    }

    fn secret(&mut self, secret: &TokenSecret, allowed: &AllowedKeys) {
        if let Some(name) = &secret.name {
            self.object_name("spec.secret.name", name);
            let free = !name.ends_with(names::GRANT_SUFFIX);
            self.must(free, "spec.secret.name", name, rules::SECRET_NOT_GRANT_MESSAGE);
        }
        self.keys("spec.secret.labels", &secret.labels, allowed);
        for (key, value) in secret.labels.iter().filter(|(_, value)| !is_label_value(value)) {
            self.must(
                false,
                &format!("spec.secret.labels[{key}]"),
                value,
                rules::LABEL_VALUE_MESSAGE,
            );
        }
        self.keys("spec.secret.annotations", &secret.annotations, allowed);
        let bounded = secret
            .annotations
            .values()
            .all(|value| value.len() <= rules::MAX_ANNOTATION);
        let expected = format!("each value must have at most {} characters", rules::MAX_ANNOTATION);
        self.require(bounded, "spec.secret.annotations", &expected);
        let once = secret.formats.iter().collect::<BTreeSet<_>>().len() == secret.formats.len();
        self.require(once, "spec.secret.formats", rules::FORMATS_ONCE_MESSAGE);
    }

    fn keys(&mut self, field: &str, map: &BTreeMap<String, String>, allowed: &AllowedKeys) {
        self.require(
            map.len() <= rules::MAX_KEYS,
            field,
            &format!("must have at most {} entries", rules::MAX_KEYS),
        );
        for key in map.keys() {
            if key.starts_with(names::PREFIX) {
                self.must(false, field, key, rules::OWN_KEYS_MESSAGE);
            } else if !is_qualified_name(key) {
                self.must(
                    false,
                    field,
                    key,
                    "each key must be a name of Kubernetes, such as app.kubernetes.io/part-of",
                );
            } else if !allowed.allow(key) {
                let expected = format!(
                    "the operator's settings allow only these keys: {}; ask the operator's admin for more",
                    allowed.0.join(", ")
                );
                self.must(false, field, key, &expected);
            }
        }
    }
}

/// A value in quotes, with control characters spelt out and a bounded length.
fn quote(given: &str) -> String {
    let mut piece: String = given.chars().take(LONGEST_QUOTE).collect();
    if piece.len() < given.len() {
        piece.push('…');
    }
    format!("{piece:?}")
}

/// An address or login name, or `*@` and a domain.
fn is_mailbox_pattern(text: &str) -> bool {
    match text.strip_prefix("*@") {
        Some(domain) => is_email(&format!("a@{domain}")),
        None => is_username(text) && !text.contains('*'),
    }
}

pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let begins_well = local.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    let plain = local
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".!#%&*+/=?^_{|}~-".contains(&byte));
    let top = domain.rsplit('.').next().unwrap_or_default();
    let full = domain.contains('.') && top.starts_with(|first: char| first.is_ascii_alphabetic());
    begins_well && plain && local.len() <= 64 && full && is_host(domain)
}

fn is_prompt(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    text.split(' ').all(word)
}

fn is_username(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"'`$\\[]".contains(&byte));
    plain && !text.starts_with('-')
}

fn is_provider(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    plain && !text.starts_with('-') && !text.ends_with('-')
}

fn is_host(text: &str) -> bool {
    text.split('.').all(|label| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    })
}

fn is_object_name(text: &str) -> bool {
    text.split('.').all(|label| {
        let plain = label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        plain && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    })
}

fn is_object_key(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_client_id(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else {
        return false;
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_path = path
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._~!$&()*+,;=:@%/?-".contains(&byte));
    is_host(host) && is_port && is_path
}

fn has_credentials_in_query(text: &str) -> bool {
    let parameters = text.split(['?', '&']).skip(1);
    let mut names = parameters.filter_map(|parameter| Some(parameter.split_once('=')?.0));
    names.any(|name| {
        rules::CREDENTIAL_PARAMETERS
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret))
    })
}

/// RFC 6749 §3.3, without square brackets, which no provider uses.
fn is_scope(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"\\[]".contains(&byte));
    plain && !text.is_empty() && text.len() <= rules::MAX_SCOPE
}

fn is_parameter(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    plain && text.len() <= rules::MAX_PARAMETER && has_alphanumeric_ends(text)
}

/// A number has at most six digits before and six after the point, as in the API server's rule: so nothing exceeds what CEL can hold.
fn is_renew_before(text: &str) -> bool {
    let mut runs = text.split(|letter: char| !letter.is_ascii_digit());
    let unsigned = text.starts_with(|first: char| first.is_ascii_digit());
    let long_enough = duration::parse(text).is_ok_and(|parsed| parsed >= SignedDuration::from_secs(1));
    let mut fractions = text.split('.').skip(1);
    let whole_fractions = fractions.all(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    let bounded = runs.all(|run| run.len() <= 6);
    unsigned && whole_fractions && bounded && long_enough
}

/// kubernetes.io: labels and selectors, syntax and character set.
fn is_label_value(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    text.is_empty() || plain && text.len() <= rules::MAX_LABEL && has_alphanumeric_ends(text)
}

/// kubernetes.io: labels and selectors, syntax and character set.
fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = text
        .split_once('/')
        .map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let prefix_is_fine = prefix.is_none_or(|prefix| prefix.len() <= rules::MAX_NAME && is_object_name(prefix));
    prefix_is_fine && !name.is_empty() && is_label_value(name)
}

fn has_alphanumeric_ends(text: &str) -> bool {
    let first_and_last = [text.chars().next(), text.chars().next_back()];
    first_and_last
        .iter()
        .all(|end| end.is_some_and(|letter| letter.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests;
