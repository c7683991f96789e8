//! A spec that says nothing about servers: the mailbox's domain tells, where that is certain.

use super::*;

fn at(email: &str) -> Result<Endpoints, ResolveError> {
    resolve(&spec(None, json!({}), json!({"email": email})), catalogue())
}

fn advice(email: &str) -> String {
    at(email).unwrap_err().to_string()
}

#[test]
fn a_providers_own_domain_names_it() {
    for (email, key) in [
        ("jane@gmail.com", "google"),
        ("jane@GoogleMail.com", "google"),
        ("jane@outlook.com", "outlook-personal"),
        ("jane@hotmail.co.uk", "outlook-personal"),
        ("jane@live.nl", "outlook-personal"),
        ("jane@msn.com", "outlook-personal"),
        ("jane@yahoo.com", "yahoo"),
        ("jane@yahoo.fr", "yahoo"),
        ("jane@ymail.com", "yahoo"),
        ("jane@att.net", "att"),
        ("jane@aol.com", "aol"),
        ("jane@verizon.net", "aol"),
        ("jane@zohomail.in", "zoho"),
        ("jane@fastmail.com", "fastmail"),
        ("jane@yandex.ru", "yandex"),
        ("jane@bk.ru", "mailru"),
        ("jane@comcast.net", "comcast"),
    ] {
        let found = at(email).unwrap_or_else(|error| panic!("{email}: {error}"));
        assert_eq!(found.provider.as_deref(), Some(key), "{email}");
        let named = resolve(&spec(Some(key), json!({}), json!({"email": email})), catalogue()).unwrap();
        assert_eq!(found, named, "found or named, it is the same");
        assert_eq!(
            found.to_status(None).provider.as_deref(),
            Some(key),
            "and the status says which"
        );
    }
}

#[test]
fn a_domain_of_ones_own_is_not_guessed() {
    for domain in [
        "example.com",
        "mail.gmail.com",
        "gmail.com.example",
        "yahoo.co.jp",
        "notgmail.com",
    ] {
        let message = advice(&format!("jane@{domain}"));
        assert!(
            message.starts_with(&format!(
                "spec.provider is missing, and who runs the mailboxes of {domain} is not known: set it to one of aol, "
            )),
            "{message}"
        );
        assert!(message.ends_with(&format!("dig +short MX {domain}")), "{message}");
    }
}

#[test]
fn a_provider_without_oauth_says_what_to_do_instead() {
    for (domain, key, name, instead) in [
        ("icloud.com", "icloud", "iCloud Mail", "app-specific password"),
        ("proton.me", "proton", "Proton Mail", "Proton Mail Bridge"),
        ("gmx.de", "gmx", "GMX", "log in with the password"),
        ("web.de", "web-de", "WEB.DE", "log in with the password"),
        ("qq.com", "qq", "QQ Mail", "authorisation code"),
        ("163.com", "netease", "NetEase Mail", "authorisation code"),
        ("naver.com", "naver", "Naver", "application password"),
    ] {
        let by_domain = advice(&format!("jane@{domain}"));
        assert!(
            by_domain.starts_with(&format!("spec.email is at {domain}, and {name}")),
            "{by_domain}"
        );
        let by_key = refused(Some(key), json!({}), json!({}));
        assert!(
            by_key.starts_with(&format!("spec.provider is {key}, and {name}")),
            "{by_key}"
        );
        for message in [by_domain, by_key] {
            assert!(
                message.contains(instead) && message.contains("spec.password"),
                "{message}"
            );
        }
    }
}

#[test]
fn whoever_names_a_server_gets_that_one() {
    let url = json!({"tokenURL": "https://id.example.com/token"});
    let own = resolve(
        &spec(None, url.clone(), json!({"email": "jane@gmail.com"})),
        catalogue(),
    )
    .unwrap();
    assert_eq!((own.provider, own.rotation, own.smtp), (None, Rotation::Strict, None));
    let icloud = resolve(&spec(None, url, json!({"email": "jane@icloud.com"})), catalogue());
    assert!(icloud.is_ok(), "a server of one's own in front of it, perhaps");
    let issuer = json!({"issuer": "https://id.example.com"});
    let message = refused(None, issuer, json!({"email": "jane@gmail.com"}));
    assert!(
        message.starts_with("the endpoints of https://id.example.com are not known yet"),
        "{message}"
    );
    let other = resolve(
        &spec(Some("google"), json!({}), json!({"email": "jane@yahoo.com"})),
        catalogue(),
    )
    .unwrap();
    assert_eq!(other.provider.as_deref(), Some("google"));
}

#[test]
fn overrides_hold_for_a_provider_that_was_found() {
    let rest = json!({"email": "jane@gmail.com", "imap": {"port": 143}, "pop3": {}});
    let found = resolve(&spec(None, json!({"scopes": ["x"]}), rest), catalogue()).unwrap();
    assert_eq!(found.imap.unwrap().port, 143);
    assert_eq!(found.pop3.unwrap().host, "pop.gmail.com");
    assert_eq!(found.scopes, ["x"]);
    let region = json!({"parameters": {"region": "us"}});
    let moved = resolve(&spec(None, region, json!({"email": "jane@zoho.eu"})), catalogue()).unwrap();
    assert_eq!(
        moved.token_url.host_str(),
        Some("accounts.zoho.com"),
        "what is said goes before what is known"
    );
}

#[test]
fn a_server_of_ones_own_needs_its_issuer_or_its_token_endpoint() {
    let message = refused(Some("keycloak"), json!({}), json!({}));
    assert!(
        message.starts_with(
            "spec.oauth2.issuer is missing: the endpoints of provider keycloak are at a server of your own"
        ),
        "{message}"
    );
    let rotation = json!({"tokenURL": "https://id.example.com/token", "rotation": "None"});
    let own = resolve(&spec(Some("keycloak"), rotation, json!({})), catalogue()).unwrap();
    assert_eq!(
        own.rotation,
        Rotation::None,
        "the spec knows better how that server is set up"
    );
    assert_eq!(own.scopes, ["openid", "offline_access"]);
    assert_eq!(own.display_name, "id.example.com");
}
