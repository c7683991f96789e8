//! An entry in words: for `kubectl emailasset providers`, and for the reference page, so that both say the same.

use serde_json::{Map, Value, json};

use super::{Confidence, Entry, EntryIdentity, EntryServer, LivesAs, Parameter, SendScope, WayToToken};
use crate::api::{ClientAuthentication, Grant, Rotation};

/// One thing that is known about a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub name: &'static str,
    /// What is known, in words.
    pub text: String,
    /// How sure it is, and where it stands.
    pub evidence: Option<(Confidence, String)>,
}

/// All that is known about a provider, in the order in which a person asks.
#[must_use]
pub fn facts(entry: &Entry) -> Vec<Fact> {
    let mut told = Told {
        entry,
        facts: Vec::new(),
    };
    told.ways();
    told.parameters();
    told.endpoints();
    told.client();
    told.servers();
    told.tokens();
    told.account();
    told.rest();
    told.facts
}

/// A manifest to start from. None where this version carries out no grant that the provider offers.
#[must_use]
pub fn manifest(key: &str, entry: &Entry) -> Option<String> {
    let grant = entry
        .ways()
        .into_iter()
        .find(|way| is_carried_out(*way) && ends_well(entry, *way))?;
    let domain = entry.all_domains().next().unwrap_or("example.com");
    let mut oauth2 = Map::from_iter([("grant".to_owned(), json!(grant.as_str()))]);
    let mut set = |name: &str, value: Value| {
        oauth2.insert(name.to_owned(), value);
    };
    if entry.client_authentication == [ClientAuthentication::None] {
        set("clientID", json!("the-client-id"));
    } else {
        set("clientCredentialsRef", json!({"name": format!("{key}-client")}));
    }
    if grant == WayToToken::RefreshToken {
        set(
            "refreshTokenSecretRef",
            json!({"name": "support-seed", "key": "refresh_token"}),
        );
    }
    let open = entry
        .parameters
        .iter()
        .filter(|(_, parameter)| is_to_be_given(parameter));
    let given: Map<String, Value> = open
        .map(|(name, parameter)| (name.clone(), json!(parameter.example)))
        .collect();
    if !given.is_empty() {
        set("parameters", Value::Object(given));
    }
    if entry.is_of_ones_own() {
        set("issuer", json!("https://id.example.com"));
    }
    let manifest = json!({
        "apiVersion": "emailasset.dev/v1alpha1",
        "kind": "EmailAsset",
        "metadata": {"name": "support"},
        "spec": {"email": format!("support@{domain}"), "provider": key, "oauth2": oauth2},
    });
    serde_saphyr::to_string(&manifest).ok()
}

/// Whether this version knows the grant.
fn is_carried_out(way: WayToToken) -> bool {
    serde_json::from_value::<Grant>(json!(way.as_str())).is_ok()
}

/// Whether it can end in a stored grant: a sign-in is worth nothing where nobody says whose it was.
fn ends_well(entry: &Entry, way: WayToToken) -> bool {
    let signs_in = matches!(way, WayToToken::AuthorizationCode | WayToToken::DeviceCode);
    !signs_in || entry.identity.is_some() || entry.is_of_ones_own()
}

fn is_to_be_given(parameter: &Parameter) -> bool {
    parameter.fixed.is_none() && parameter.default.is_none()
}

struct Told<'a> {
    entry: &'a Entry,
    facts: Vec<Fact>,
}

impl Told<'_> {
    /// Notes a fact, with the evidence of the field that it is made of.
    fn say(&mut self, name: &'static str, field: &str, text: impl Into<String>) {
        let evidence = self.entry.evidence_of(field);
        self.facts.push(Fact {
            name,
            text: text.into(),
            evidence: evidence.map(|evidence| (evidence.sure, evidence.source.clone())),
        });
    }

    /// Notes what follows from the entry as a whole.
    fn conclude(&mut self, name: &'static str, text: &str) {
        self.facts.push(Fact {
            name,
            text: text.to_owned(),
            evidence: None,
        });
    }

    fn say_if(&mut self, name: &'static str, field: &str, text: Option<impl Into<String>>) {
        if let Some(text) = text {
            self.say(name, field, text);
        }
    }

    fn ways(&mut self) {
        let entry = self.entry;
        let ways = entry.ways();
        let later = |way: &&WayToToken| !is_carried_out(**way);
        let later: Vec<_> = ways.iter().filter(later).map(|way| way.as_str()).collect();
        let later = match later.as_slice() {
            [] => String::new(),
            later => format!(" (not in this version: {})", later.join(", ")),
        };
        self.say("grants", "grants", format!("{}{later}", names(&ways)));
        for (way, reason) in &entry.not_offered {
            self.say("not offered", "notOffered", format!("{}: {reason}", way.as_str()));
        }
        for (way, other) in &entry.offered_by {
            self.say(
                "offered elsewhere",
                "offeredBy",
                format!("{}: then {other} is used", way.as_str()),
            );
        }
        let domains: Vec<&str> = entry.all_domains().collect();
        if !domains.is_empty() {
            self.say("mailboxes at", "domains", domains.join(", "));
        }
    }

    fn parameters(&mut self) {
        for (name, parameter) in &self.entry.parameters {
            let value = match (&parameter.fixed, &parameter.default) {
                (Some(fixed), _) => format!("always {fixed}"),
                (None, Some(default)) => format!("default {default}"),
                (None, None) => format!("for example {}", parameter.example),
            };
            let text = format!("{name}: {}; {value}", parameter.description);
            self.say("parameter", &format!("parameters.{name}"), text);
            for (value, choice) in &parameter.choices {
                let words: Vec<_> = choice
                    .words
                    .iter()
                    .map(|(word, text)| format!("{word} {text}"))
                    .collect();
                let domains = match choice.domains.as_slice() {
                    [] => String::new(),
                    domains => format!("; known for mailboxes at {}", domains.join(", ")),
                };
                self.say(
                    "choice",
                    &format!("parameters.{name}.choices"),
                    format!("{name} {value}: {}{domains}", words.join(", ")),
                );
            }
        }
    }

    fn endpoints(&mut self) {
        let entry = self.entry;
        if entry.is_of_ones_own() {
            self.conclude("endpoints", "at your own server, as the spec has them");
        }
        self.say_if("token endpoint", "tokenURL", entry.token_url.clone());
        self.say_if("refresh endpoint", "refreshURL", entry.refresh_url.clone());
        self.say_if(
            "authorization endpoint",
            "authorizationURL",
            entry.authorization_url.clone(),
        );
        if !entry.authorization_parameters.is_empty() {
            let parameters: Vec<_> = entry
                .authorization_parameters
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            self.say("sent with it", "authorizationParameters", parameters.join(", "));
        }
        self.say_if(
            "device code endpoint",
            "deviceAuthorizationURL",
            entry.device_authorization_url.clone(),
        );
        self.say_if(
            "code and secret",
            "deviceCodeWithoutSecret",
            entry
                .device_code_without_secret
                .as_ref()
                .map(|what| format!("a sign-in with a code needs a client without a secret; with one {what}")),
        );
        self.say_if("revocation endpoint", "revocationURL", entry.revocation_url.clone());
        if !entry.revocation_gone.is_empty() {
            let codes = entry.revocation_gone.join(", ");
            self.say(
                "a token is gone",
                "revocationGone",
                format!("where it says {codes} there"),
            );
        }
        if !entry.more_token_hosts.is_empty() {
            let hosts = entry.more_token_hosts.join(", ");
            self.say("also its own", "moreTokenHosts", hosts);
        }
    }

    fn client(&mut self) {
        let entry = self.entry;
        let methods: Vec<_> = entry
            .client_authentication
            .iter()
            .map(|method| method.as_str())
            .collect();
        self.say("client authentication", "clientAuthentication", methods.join(", "));
        self.say_if("to register", "register", entry.register.clone());
    }

    fn servers(&mut self) {
        let entry = self.entry;
        let servers = [
            ("SMTP", "smtp", &entry.smtp),
            ("IMAP", "imap", &entry.imap),
            ("POP3", "pop3", &entry.pop3),
        ];
        for (name, field, server) in servers {
            self.say_if(name, field, server.as_ref().map(in_words));
        }
        if !entry.scopes.is_empty() {
            self.say("scopes besides", "scopes", entry.scopes.join(", "));
        }
        if entry.scope_separator.as_str() != " " {
            self.say("between scopes", "scopeSeparator", "a comma");
        }
        self.say_if(
            "names its server",
            "codeServer",
            entry
                .code_server
                .as_ref()
                .map(|name| format!("in the parameter {name} of the authorization response; a code goes to no other")),
        );
        if !entry.mechanisms.is_empty() {
            let mechanisms: Vec<_> = entry.mechanisms.iter().map(|mechanism| mechanism.as_str()).collect();
            self.say("SASL", "mechanisms", mechanisms.join(", "));
        }
    }

    fn tokens(&mut self) {
        let entry = self.entry;
        self.say(
            "access token",
            "accessTokenLifetime",
            format!("{} where the answer does not say", entry.access_token_lifetime),
        );
        if !entry.ways().contains(&WayToToken::RefreshToken) {
            return;
        }
        let refresh = &entry.refresh;
        self.say("rotation", "refresh.rotation", rotation(refresh.rotation));
        if refresh.send_scope == SendScope::Requested {
            self.say(
                "sent with a refresh",
                "refresh.sendScope",
                "the scopes that were granted",
            );
        }
        for (name, value) in &refresh.parameters {
            self.say("sent with a refresh", "refresh.parameters", format!("{name}={value}"));
        }
        if let Some(limit) = refresh.rate_limit {
            let text = format!("{} refreshes of one refresh token in {}", limit.max, limit.per);
            self.say("rate limit", "refresh.rateLimit", text);
        }
        self.say_if(
            "if asked to wait",
            "refresh.throttledFor",
            refresh
                .throttled_for
                .map(|period| format!("{period} where it does not say how long")),
        );
        self.refresh_token();
    }

    fn refresh_token(&mut self) {
        let life = &self.entry.refresh_token;
        let mut parts = Vec::new();
        parts.extend(life.lifetime.map(|period| format!("ends after {period}")));
        if life.lives_as == Some(LivesAs::AccessToken) {
            parts.push("lives as long as the access token that came with it".to_owned());
        }
        parts.extend(
            life.max_idle
                .map(|period| format!("dies when it is not used for {period}")),
        );
        parts.extend(life.keep_alive.map(|period| format!("should be used every {period}")));
        parts.extend(
            life.while_testing
                .map(|period| format!("ends after {period} while the app is in testing")),
        );
        parts.extend(
            life.per_account
                .map(|most| format!("at most {most} are alive for one account and client, the oldest is dropped")),
        );
        if !parts.is_empty() {
            self.say("refresh token", "refreshToken", parts.join("; "));
        }
        for end in &life.ends_with.clone() {
            self.say("it ends when", "refreshToken.endsWith", end.clone());
        }
    }

    fn account(&mut self) {
        const NAME: &str = "who signed in";
        let entry = self.entry;
        let person_begins = |way: &WayToToken| *way == WayToToken::AuthorizationCode;
        match &entry.identity {
            Some(identity) => self.say(NAME, "identity", asserted(identity)),
            None if entry.is_of_ones_own() => self.conclude(NAME, "as the issuer of the spec asserts it"),
            None if entry.ways().iter().any(person_begins) => self.conclude(
                NAME,
                "nobody asserts it in a way that this version can check: a sign-in ends in IdentityUnproven, so take grant RefreshToken",
            ),
            None => {}
        }
    }

    fn rest(&mut self) {
        let entry = self.entry;
        let grace = entry.propagation_grace;
        self.say_if(
            "after changes",
            "propagationGrace",
            grace.map(|grace| format!("a refusal may pass by itself for {grace}")),
        );
        for note in &entry.notes {
            self.say("note", "notes", note.clone());
        }
    }
}

fn names(ways: &[WayToToken]) -> String {
    ways.iter().map(|way| way.as_str()).collect::<Vec<_>>().join(", ")
}

fn in_words(server: &EntryServer) -> String {
    let own = server
        .host_of_own_domains
        .as_ref()
        .map(|host| format!(" (for domains of one's own {host})"))
        .unwrap_or_default();
    let named = if server.offer == super::Offer::WhenNamed {
        "; only if the spec names it"
    } else {
        ""
    };
    format!(
        "{}:{} {}{own}, scope {}{named}",
        server.host,
        server.port,
        server.security.as_str(),
        server.scopes.join(" ")
    )
}

const fn rotation(rotation: Rotation) -> &'static str {
    match rotation {
        Rotation::None => "None: the refresh token stays the same",
        Rotation::Soft => "Soft: a new refresh token comes each time, the old one goes on working",
        Rotation::Strict => "Strict: the old refresh token is taken to be dead after each refresh",
    }
}

fn asserted(identity: &EntryIdentity) -> String {
    let claims: Vec<_> = identity.accounts.iter().map(|account| account.claim.as_str()).collect();
    format!("{}, claim {}", identity.issuer, claims.join(" or "))
}
