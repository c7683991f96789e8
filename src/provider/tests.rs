//! The catalogue's shape, what a spec becomes, and who may receive a credential.

use super::*;
use crate::api::{ClientAuthentication, EmailAssetSpec, Rotation, Security};
use serde_json::{Value, json};

mod catalogue;
mod discovered;
mod found;
mod hosts;
mod shared;
mod sign_in;

const CLIENT: InputSecret<'_> = InputSecret {
    namespace: "helpdesk",
    name: "client",
    hosts: None,
};
const SEED: InputSecret<'_> = InputSecret {
    namespace: "helpdesk",
    name: "seed",
    hosts: None,
};

fn catalogue() -> &'static Catalogue {
    Catalogue::built_in().unwrap()
}

/// A spec with these fields put into it.
#[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
fn spec(provider: Option<&str>, oauth2: Value, rest: Value) -> EmailAssetSpec {
    let mut spec = json!({
        "email": "support@example.com",
        "oauth2": {
            "grant": "RefreshToken",
            "clientCredentialsRef": {"name": "client"},
            "refreshTokenSecretRef": {"name": "seed", "key": "refresh_token"},
        },
    });
    if let Some(provider) = provider {
        spec["provider"] = provider.into();
    }
    for (field, value) in oauth2.as_object().unwrap() {
        spec["oauth2"][field] = value.clone();
    }
    for (field, value) in rest.as_object().unwrap() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn google() -> Endpoints {
    resolve(&spec(Some("google"), json!({}), json!({})), catalogue()).unwrap()
}

fn elsewhere(token_url: &str) -> Endpoints {
    resolve(&spec(None, json!({"tokenURL": token_url}), json!({})), catalogue()).unwrap()
}

fn refused(provider: Option<&str>, oauth2: Value, rest: Value) -> String {
    resolve(&spec(provider, oauth2, rest), catalogue())
        .unwrap_err()
        .to_string()
}

#[allow(clippy::unnecessary_wraps, reason = "what it is compared with is optional")]
fn server(host: &str, port: u16, security: Security, username: &str) -> Option<Server> {
    Some(Server {
        host: host.into(),
        port,
        security,
        username: username.into(),
    })
}

#[test]
fn google_needs_nothing_but_a_client_and_a_seed() {
    let endpoints = google();
    assert_eq!(endpoints.token_url.as_str(), "https://oauth2.googleapis.com/token");
    assert_eq!(endpoints.refresh_url, endpoints.token_url);
    assert_eq!(endpoints.scopes, ["https://mail.google.com/"]);
    assert!(endpoints.refresh_scopes.is_empty());
    assert_eq!(endpoints.rotation, Rotation::None);
    assert_eq!(endpoints.client_authentication, None);
    assert_eq!(
        endpoints.authentication_with_secret,
        ClientAuthentication::ClientSecretPost
    );
    assert_eq!(endpoints.default_lifetime.as_secs(), 3599);
    assert_eq!(
        endpoints.smtp,
        server("smtp.gmail.com", 465, Security::Tls, "support@example.com")
    );
    assert_eq!(
        endpoints.imap,
        server("imap.gmail.com", 993, Security::Tls, "support@example.com")
    );
    assert_eq!(
        endpoints.pop3,
        server("pop.gmail.com", 995, Security::Tls, "support@example.com")
    );
}

#[test]
fn microsoft_asks_for_its_tenant_and_sends_its_scopes() {
    let tenant = json!({"parameters": {"tenant": "contoso.onmicrosoft.com"}});
    let endpoints = resolve(&spec(Some("microsoft"), tenant.clone(), json!({})), catalogue()).unwrap();
    assert_eq!(
        endpoints.token_url.as_str(),
        "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"
    );
    assert_eq!(endpoints.rotation, Rotation::Soft);
    let smtp_and_imap = [
        "https://outlook.office.com/SMTP.Send",
        "https://outlook.office.com/IMAP.AccessAsUser.All",
        "offline_access",
    ];
    assert_eq!(endpoints.scopes, smtp_and_imap);
    assert_eq!(endpoints.refresh_scopes, endpoints.scopes);
    assert_eq!(
        endpoints.smtp,
        server("smtp.office365.com", 587, Security::StartTls, "support@example.com")
    );
    assert_eq!(endpoints.pop3, None);

    let with_pop3 = resolve(&spec(Some("microsoft"), tenant, json!({"pop3": {}})), catalogue()).unwrap();
    assert!(
        with_pop3
            .scopes
            .contains(&"https://outlook.office.com/POP.AccessAsUser.All".to_owned())
    );
    assert_eq!(
        with_pop3.pop3,
        server("outlook.office365.com", 995, Security::Tls, "support@example.com")
    );

    let message = refused(Some("microsoft"), json!({}), json!({}));
    assert!(
        message.starts_with("spec.oauth2.parameters.tenant is missing: provider microsoft needs it"),
        "{message}"
    );
    assert!(message.ends_with("for example contoso.onmicrosoft.com"), "{message}");
}

#[test]
fn an_unknown_server_gets_the_careful_defaults() {
    let endpoints = elsewhere("https://ID.example.com:443/token?p=policy");
    assert_eq!(endpoints.token_url.as_str(), "https://id.example.com/token?p=policy");
    assert_eq!(endpoints.rotation, Rotation::Strict);
    assert_eq!(
        endpoints.authentication_with_secret,
        ClientAuthentication::ClientSecretBasic
    );
    assert_eq!(endpoints.default_lifetime.as_mins(), 5);
    assert!(endpoints.scopes.is_empty() && endpoints.refresh_scopes.is_empty() && endpoints.own_hosts.is_empty());
    assert_eq!(
        (&endpoints.smtp, &endpoints.imap, &endpoints.pop3),
        (&None, &None, &None)
    );
}

#[test]
fn the_facts_about_a_provider_hold_only_at_its_own_hosts() {
    let tls = resolve(
        &spec(
            Some("google"),
            json!({"tokenURL": "https://id.example.com/token"}),
            json!({}),
        ),
        catalogue(),
    );
    let moved = tls.unwrap();
    assert_eq!(moved.rotation, Rotation::Strict);
    assert_eq!(moved.refresh_url, moved.token_url, "not the entry's");
    let soft = json!({"tokenURL": "https://id.example.com/token", "rotation": "Soft"});
    assert_eq!(
        resolve(&spec(Some("google"), soft, json!({})), catalogue())
            .unwrap()
            .rotation,
        Rotation::Soft
    );
    let refresh_elsewhere = json!({"refreshURL": "https://id.example.com/token"});
    let refresh_elsewhere = resolve(&spec(Some("google"), refresh_elsewhere, json!({})), catalogue()).unwrap();
    assert_eq!(refresh_elsewhere.rotation, Rotation::Strict);
    let alias = json!({"tokenURL": "https://accounts.google.com/o/oauth2/token"});
    assert_eq!(
        resolve(&spec(Some("google"), alias, json!({})), catalogue())
            .unwrap()
            .rotation,
        Rotation::None
    );
    let other_port = json!({"tokenURL": "https://oauth2.googleapis.com:8443/token"});
    assert_eq!(
        resolve(&spec(Some("google"), other_port, json!({})), catalogue())
            .unwrap()
            .rotation,
        Rotation::Strict
    );

    let message = refused(
        Some("google"),
        json!({"tokenURL": "https://accounts.google.com/o/oauth2/token", "rotation": "Strict"}),
        json!({}),
    );
    assert!(
        message.contains("how the servers of provider google rotate is known (None): leave it out"),
        "{message}"
    );
}

#[test]
fn an_override_wins_field_by_field() {
    let rest = json!({
        "username": "Support",
        "smtp": {"port": 587, "username": "relay"},
        "imap": {"host": "IMAP.example.com"},
        "pop3": {"security": "StartTLS"},
    });
    let endpoints = resolve(&spec(Some("google"), json!({"scopes": ["a", "b"]}), rest), catalogue()).unwrap();
    assert_eq!(
        endpoints.smtp,
        server("smtp.gmail.com", 587, Security::StartTls, "relay")
    );
    assert_eq!(
        endpoints.imap,
        server("imap.example.com", 993, Security::Tls, "Support")
    );
    assert_eq!(
        endpoints.pop3,
        server("pop.gmail.com", 110, Security::StartTls, "Support")
    );
    assert_eq!(endpoints.scopes, ["a", "b"]);
    assert!(
        endpoints.refresh_scopes.is_empty(),
        "Google is never sent scopes on a refresh"
    );
}

#[test]
fn a_server_of_ones_own_needs_only_a_host() {
    for (smtp, port, security) in [
        (json!({"host": "mail.example.com"}), 465, Security::Tls),
        (
            json!({"host": "mail.example.com", "port": 587}),
            587,
            Security::StartTls,
        ),
        (json!({"host": "mail.example.com", "port": 2525}), 2525, Security::Tls),
        (
            json!({"host": "mail.example.com", "security": "StartTLS"}),
            587,
            Security::StartTls,
        ),
        (
            json!({"host": "mail.example.com", "port": 2525, "security": "None"}),
            2525,
            Security::None,
        ),
    ] {
        let token_url = json!({"tokenURL": "https://id.example.com/token"});
        let endpoints = resolve(&spec(None, token_url, json!({"smtp": smtp})), catalogue()).unwrap();
        assert_eq!(
            endpoints.smtp,
            server("mail.example.com", port, security, "support@example.com"),
            "{smtp}"
        );
    }
}

#[test]
fn what_cannot_be_carried_out_is_refused_with_what_is_accepted() {
    let other = |oauth2: Value| {
        let mut oauth2 = oauth2;
        oauth2["tokenURL"] = json!("https://id.example.com/token");
        oauth2
    };
    for (message, expected) in [
        (
            refused(Some("gogle"), json!({}), json!({})),
            r#"spec.provider is "gogle", which is not in the catalogue: use one of aol, att, authentik, comcast, "#,
        ),
        (
            refused(None, json!({"refreshURL": "https://id.example.com/token"}), json!({})),
            "spec needs a provider or a token endpoint: set spec.provider to one of aol, ",
        ),
        (
            refused(Some("google"), json!({"parameters": {"tenant": "x"}}), json!({})),
            "spec.oauth2.parameters.tenant is not known to google: it takes no parameters",
        ),
        (
            refused(Some("microsoft"), json!({"parameters": {"tennant": "x"}}), json!({})),
            "spec.oauth2.parameters.tennant is not known to microsoft: it takes tenant",
        ),
        (
            refused(None, other(json!({"parameters": {"realm": "x"}})), json!({})),
            "a server without a provider: it takes no parameters",
        ),
        (
            refused(None, other(json!({})), json!({"imap": {"port": 993}})),
            "spec.imap.host is missing",
        ),
        (
            refused(Some("google"), json!({}), json!({"smtp": {"port": 0}})),
            "spec.smtp.port is 0: a port from 1 to 65535",
        ),
    ] {
        assert!(message.contains(expected), "expected {expected:?}, got {message:?}");
    }
    for value in [
        "../../evil",
        "..",
        "a/b",
        "x?y",
        "x#y",
        "x@evil.example",
        "%2e%2e",
        "a b",
        "",
    ] {
        let message = refused(Some("microsoft"), json!({"parameters": {"tenant": value}}), json!({}));
        assert!(message.contains("cannot stand in a URL"), "{value:?}: {message}");
    }
    for (url, problem) in [
        ("http://id.example.com/token", "it is not https"),
        (
            "https://user:hunter2@id.example.com/token",
            "it has a user name or password",
        ),
        ("https://@id.example.com/token", "it has a user name or password"),
        ("https://id.example.com/token#x", "it has a fragment"),
        ("https://oauth2.googleapis.com\\@evil.example/", "backslashes"),
        ("https://аccounts.google.com/token", "outside ASCII"),
        ("https://id.example.com/to\nken", "it has spaces"),
        ("id.example.com/token", "it is no URL"),
        ("https://", "it is no URL"),
    ] {
        let message = refused(None, json!({"tokenURL": url}), json!({}));
        assert!(
            message.starts_with("spec.oauth2.tokenURL cannot be used") && message.contains(problem),
            "{url}: {message}"
        );
        assert!(!message.contains("hunter2"));
    }
}

#[test]
fn status_shows_the_values_in_effect() {
    let status = serde_json::to_value(google().to_status(Some(ClientAuthentication::ClientSecretPost))).unwrap();
    assert_eq!(
        status,
        json!({
            "provider": "google", "revocationURL": "https://oauth2.googleapis.com/revoke",
            "tokenURL": "https://oauth2.googleapis.com/token",
            "scopes": ["https://mail.google.com/"],
            "clientAuthentication": "ClientSecretPost",
            "rotation": "None",
            "smtp": {"host": "smtp.gmail.com", "port": 465, "security": "TLS", "username": "support@example.com"},
            "imap": {"host": "imap.gmail.com", "port": 993, "security": "TLS", "username": "support@example.com"},
            "pop3": {"host": "pop.gmail.com", "port": 995, "security": "TLS", "username": "support@example.com"},
        })
    );
}

#[test]
fn a_new_provider_is_a_matter_of_data() {
    let yaml = r"
      example:
        displayName: Example
        parameters: {realm: {description: the realm, example: staff, default: main}}
        tokenURL: https://id.example.com/{realm}/token
        refreshURL: https://refresh.example.com/{realm}
        clientAuthentication: [None]
        refresh: {rotation: Strict, sendScope: Never, reuseGrace: 30s}
        accessTokenLifetime: 10m
        imap: {host: imap.example.com, port: 993, security: TLS, scopes: [imap]}
    ";
    let catalogue = Catalogue::parse(yaml).unwrap();
    let endpoints = resolve(&spec(Some("example"), json!({}), json!({})), &catalogue).unwrap();
    assert_eq!(endpoints.token_url.as_str(), "https://id.example.com/main/token");
    assert_eq!(endpoints.refresh_url.as_str(), "https://refresh.example.com/main");
    assert_eq!(endpoints.reuse_grace, Some(jiff::SignedDuration::from_secs(30)));
    assert!(
        check_hosts(&endpoints, &[SEED]).is_ok(),
        "both hosts are the entry's own"
    );
    let message = resolve(
        &spec(
            Some("example"),
            json!({"clientAuthentication": "ClientSecretPost"}),
            json!({}),
        ),
        &catalogue,
    );
    let message = message.unwrap_err().to_string();
    assert!(
        message.contains("which provider example does not take: use one of None"),
        "{message}"
    );
}

#[test]
fn a_catalogue_that_contradicts_itself_is_refused() {
    let entry = |token_url: &str, rest: &str| {
        format!(
            "x:\n  displayName: X\n  tokenURL: {token_url:?}\n  clientAuthentication: [None]\n  refresh: {{rotation: None, sendScope: Never}}\n  accessTokenLifetime: 1h\n{rest}"
        )
    };
    assert!(Catalogue::parse(&entry("https://x.example/token", "")).is_ok());
    for (token_url, rest, problem) in [
        ("http://x.example/token", "", "must be https"),
        ("https://{host}/token", "", "a host that is written out"),
        ("https://{host}.x.example/token", "", "a host that is written out"),
        (
            "https://x.example/{tenant}",
            "",
            "uses {tenant}, which is not among the parameters",
        ),
        (
            "https://x.example/token",
            "  moreTokenHosts: ['*.x.example']\n",
            "which is no host name",
        ),
        ("https://x.example/token", "  tokenUrl: x\n", "unknown field"),
        (
            "https://x.example/token",
            "  authorizationURL: http://x.example/a\n",
            "must be https",
        ),
        (
            "https://x.example/token",
            "  deviceAuthorizationURL: https://x.example/d\n  notOffered: {DeviceCode: none}\n",
            "it offers DeviceCode and says why it does not offer DeviceCode",
        ),
        (
            "https://x.example/token",
            "  identity: {issuer: 'https://x.example/{tid}', keysURL: https://x.example/k, scopes: [], accounts: []}\n",
            "uses {tid}, which is not among the parameters",
        ),
        (
            "https://x.example/token",
            "  identity: {issuer: https://x.example, keysURL: https://x.example/k, scopes: [], accounts: [], tenancy: {parameter: t, any: [], personal: {name: p, id: x}, metadataURL: 'https://x.example/{tenant}'}}\n",
            "the issuer has no {tid}",
        ),
    ] {
        let message = Catalogue::parse(&entry(token_url, rest)).unwrap_err().to_string();
        assert!(message.contains(problem), "expected {problem:?}, got {message:?}");
    }
}

#[test]
fn a_clients_own_token_comes_from_one_tenant() {
    let own = json!({"grant": "ClientCredentials", "refreshTokenSecretRef": null});
    let with = |more: Value| {
        let mut oauth2 = own.clone();
        for (name, value) in more.as_object().unwrap() {
            oauth2[name] = value.clone();
        }
        oauth2
    };
    for tenant in ["common", "organizations", "consumers", "Common"] {
        let url = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token");
        let by_url = with(json!({"tokenURL": url}));
        let said = refused(None, by_url, json!({}));
        assert!(
            said.contains(&format!(
                "that of any tenant ({tenant}), and grant ClientCredentials needs one of its own"
            )) && said.contains("for example contoso.onmicrosoft.com"),
            "{said}"
        );
        // A person's grant may be of any tenant.
        let person = json!({"parameters": {"tenant": tenant}});
        assert!(resolve(&spec(Some("microsoft"), person, json!({})), catalogue()).is_ok());
    }
    // Which entry offers the grant is the catalogue's business: written out, it works without one.
    let url = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token";
    let scope = "https://outlook.office365.com/.default";
    let written_out = with(json!({"tokenURL": url, "scopes": [scope], "clientAuthentication": "PrivateKeyJWT"}));
    let endpoints = resolve(&spec(None, written_out, json!({})), catalogue()).unwrap();
    assert_eq!(endpoints.token_url.as_str(), url);
    assert_eq!(
        (endpoints.scopes.as_slice(), endpoints.rotation),
        (&[scope.to_owned()][..], Rotation::None)
    );
    assert_eq!(endpoints.sign_in, SignIn::default());
}

#[test]
fn an_assertion_is_a_credential_like_any_other() {
    let delegate =
        json!({"grant": "JWTBearer", "refreshTokenSecretRef": null, "tokenURL": "https://evil.example/token"});
    let endpoints = resolve(&spec(None, delegate, json!({})), catalogue()).unwrap();
    assert!(check_hosts(&endpoints, &[CLIENT]).is_err());
}
