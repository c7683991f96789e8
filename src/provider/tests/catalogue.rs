//! Each provider of the catalogue: what goes out to whom.

use std::collections::BTreeMap;

use url::Url;

use super::*;
use crate::api::{AllowedKeys, EmailAsset, Grant, validate};

/// What is expected of one provider, by hand and from the providers' pages, not from the code.
struct Expected {
    key: &'static str,
    /// Of the mailbox support@….
    domain: &'static str,
    /// `spec.oauth2.parameters`, as `name=value`.
    parameter: &'static str,
    token_url: &'static str,
    /// The authorization request without `response_type`, `client_id` and `login_hint`, decoded. Empty: nobody signs in.
    asks: &'static str,
    device_url: &'static str,
    revocation_url: &'static str,
    /// What a refresh has besides `grant_type`, `refresh_token` and the client: scopes, then parameters.
    refresh_has: &'static str,
    client: ClientAuthentication,
    rotation: Rotation,
    /// The hosts that get credentials without being named by a Secret; all of them.
    hosts: &'static str,
    /// SMTP, IMAP and, where it is offered unasked, POP3.
    servers: &'static str,
}

const NOTHING: Expected = Expected {
    key: "",
    domain: "example.com",
    parameter: "",
    token_url: "",
    asks: "",
    device_url: "",
    revocation_url: "",
    refresh_has: "",
    client: ClientAuthentication::ClientSecretPost,
    rotation: Rotation::Strict,
    hosts: "",
    servers: "",
};

const MICROSOFT_GRANTS: &str =
    "scope=https://outlook.office.com/SMTP.Send https://outlook.office.com/IMAP.AccessAsUser.All offline_access";

#[rustfmt::skip]
const PROVIDERS: &[Expected] = &[
    Expected {
        key: "google", token_url: "https://oauth2.googleapis.com/token",
        asks: "https://accounts.google.com/o/oauth2/v2/auth scope=https://mail.google.com/ openid email&access_type=offline&include_granted_scopes=false&prompt=consent",
        revocation_url: "https://oauth2.googleapis.com/revoke", rotation: Rotation::None,
        hosts: "accounts.google.com:443 oauth2.googleapis.com:443",
        servers: "smtp.gmail.com:465/TLS imap.gmail.com:993/TLS pop.gmail.com:995/TLS", ..NOTHING
    },
    Expected {
        key: "microsoft", parameter: "tenant=contoso.com", token_url: "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
        asks: "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/authorize scope=https://outlook.office.com/SMTP.Send https://outlook.office.com/IMAP.AccessAsUser.All offline_access openid profile&prompt=select_account&response_mode=query",
        device_url: "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/devicecode",
        refresh_has: MICROSOFT_GRANTS, rotation: Rotation::Soft, hosts: "login.microsoftonline.com:443",
        servers: "smtp.office365.com:587/StartTLS outlook.office365.com:993/TLS", ..NOTHING
    },
    Expected {
        key: "microsoft-gcc-high", parameter: "tenant=contoso.us", token_url: "https://login.microsoftonline.us/contoso.us/oauth2/v2.0/token",
        asks: "https://login.microsoftonline.us/contoso.us/oauth2/v2.0/authorize scope=https://outlook.office365.us/SMTP.Send https://outlook.office365.us/IMAP.AccessAsUser.All offline_access openid profile&prompt=select_account&response_mode=query",
        device_url: "https://login.microsoftonline.us/contoso.us/oauth2/v2.0/devicecode",
        refresh_has: "scope=https://outlook.office365.us/SMTP.Send https://outlook.office365.us/IMAP.AccessAsUser.All offline_access",
        rotation: Rotation::Soft, hosts: "login.microsoftonline.us:443",
        servers: "smtp.office365.us:587/StartTLS outlook.office365.us:993/TLS", ..NOTHING
    },
    Expected {
        key: "microsoft-dod", parameter: "tenant=contoso.us", token_url: "https://login.microsoftonline.us/contoso.us/oauth2/v2.0/token",
        asks: "https://login.microsoftonline.us/contoso.us/oauth2/v2.0/authorize scope=https://outlook.office365.us/SMTP.Send https://outlook.office365.us/IMAP.AccessAsUser.All offline_access openid profile&prompt=select_account&response_mode=query",
        device_url: "https://login.microsoftonline.us/contoso.us/oauth2/v2.0/devicecode",
        refresh_has: "scope=https://outlook.office365.us/SMTP.Send https://outlook.office365.us/IMAP.AccessAsUser.All offline_access",
        rotation: Rotation::Soft, hosts: "login.microsoftonline.us:443",
        servers: "outlook-dod.office365.us:587/StartTLS outlook-dod.office365.us:993/TLS", ..NOTHING
    },
    Expected {
        key: "microsoft-china", parameter: "tenant=contoso.cn", token_url: "https://login.partner.microsoftonline.cn/contoso.cn/oauth2/v2.0/token",
        asks: "https://login.partner.microsoftonline.cn/contoso.cn/oauth2/v2.0/authorize scope=https://partner.outlook.cn/SMTP.Send https://partner.outlook.cn/IMAP.AccessAsUser.All offline_access openid profile&prompt=select_account&response_mode=query",
        device_url: "https://login.partner.microsoftonline.cn/contoso.cn/oauth2/v2.0/devicecode",
        refresh_has: "scope=https://partner.outlook.cn/SMTP.Send https://partner.outlook.cn/IMAP.AccessAsUser.All offline_access",
        rotation: Rotation::Soft, hosts: "login.partner.microsoftonline.cn:443",
        servers: "smtp.partner.outlook.cn:587/StartTLS partner.outlook.cn:993/TLS", ..NOTHING
    },
    Expected {
        key: "outlook-personal", domain: "hotmail.com", token_url: "https://login.microsoftonline.com/consumers/oauth2/v2.0/token",
        asks: "https://login.microsoftonline.com/consumers/oauth2/v2.0/authorize scope=https://outlook.office.com/SMTP.Send https://outlook.office.com/IMAP.AccessAsUser.All offline_access openid profile&prompt=select_account&response_mode=query",
        device_url: "https://login.microsoftonline.com/consumers/oauth2/v2.0/devicecode",
        refresh_has: MICROSOFT_GRANTS, rotation: Rotation::Soft, hosts: "login.microsoftonline.com:443",
        servers: "smtp-mail.outlook.com:587/StartTLS outlook.office365.com:993/TLS", ..NOTHING
    },
    Expected {
        key: "yahoo", domain: "yahoo.de", token_url: "https://api.login.yahoo.com/oauth2/get_token",
        asks: "https://api.login.yahoo.com/oauth2/request_auth scope=mail-w openid email",
        revocation_url: "https://api.login.yahoo.com/oauth2/revoke", refresh_has: "redirect_uri=oob",
        client: ClientAuthentication::ClientSecretBasic, hosts: "api.login.yahoo.com:443",
        servers: "smtp.mail.yahoo.com:465/TLS imap.mail.yahoo.com:993/TLS pop.mail.yahoo.com:995/TLS", ..NOTHING
    },
    Expected {
        key: "att", domain: "sbcglobal.net", token_url: "https://api.login.yahoo.com/oauth2/get_token",
        asks: "https://api.login.yahoo.com/oauth2/request_auth scope=mail-w openid email",
        revocation_url: "https://api.login.yahoo.com/oauth2/revoke", refresh_has: "redirect_uri=oob",
        client: ClientAuthentication::ClientSecretBasic, hosts: "api.login.yahoo.com:443",
        servers: "outbound.att.net:465/TLS imap.mail.att.net:993/TLS inbound.att.net:995/TLS", ..NOTHING
    },
    Expected {
        key: "aol", domain: "verizon.net", token_url: "https://api.login.aol.com/oauth2/get_token",
        asks: "https://api.login.aol.com/oauth2/request_auth scope=mail-w openid email",
        revocation_url: "https://api.login.aol.com/oauth2/revoke", refresh_has: "redirect_uri=oob",
        client: ClientAuthentication::ClientSecretBasic, hosts: "api.login.aol.com:443",
        servers: "smtp.aol.com:465/TLS imap.aol.com:993/TLS pop.aol.com:995/TLS", ..NOTHING
    },
    zoho("eu", "https://accounts.zoho.eu/oauth/v2/token", "https://accounts.zoho.eu/oauth/v2/auth scope=ZOHOMAIL.PROTOCOL.SMTP,ZOHOMAIL.PROTOCOL.IMAP&access_type=offline&prompt=consent",
         "https://accounts.zoho.eu/oauth/v2/token/revoke", "accounts.zoho.eu:443", "smtppro.zoho.eu:465/TLS imappro.zoho.eu:993/TLS"),
    Expected {
        domain: "zoho.eu", parameter: "", servers: "smtp.zoho.eu:465/TLS imap.zoho.eu:993/TLS",
        ..zoho("", "https://accounts.zoho.eu/oauth/v2/token", "https://accounts.zoho.eu/oauth/v2/auth scope=ZOHOMAIL.PROTOCOL.SMTP,ZOHOMAIL.PROTOCOL.IMAP&access_type=offline&prompt=consent",
               "https://accounts.zoho.eu/oauth/v2/token/revoke", "accounts.zoho.eu:443", "")
    },
    zoho("us", "https://accounts.zoho.com/oauth/v2/token", "https://accounts.zoho.com/oauth/v2/auth scope=ZOHOMAIL.PROTOCOL.SMTP,ZOHOMAIL.PROTOCOL.IMAP&access_type=offline&prompt=consent",
         "https://accounts.zoho.com/oauth/v2/token/revoke", "accounts.zoho.com:443", "smtppro.zoho.com:465/TLS imappro.zoho.com:993/TLS"),
    zoho("au", "https://accounts.zoho.com.au/oauth/v2/token", "https://accounts.zoho.com.au/oauth/v2/auth scope=ZOHOMAIL.PROTOCOL.SMTP,ZOHOMAIL.PROTOCOL.IMAP&access_type=offline&prompt=consent",
         "https://accounts.zoho.com.au/oauth/v2/token/revoke", "accounts.zoho.com.au:443", "smtppro.zoho.com.au:465/TLS imappro.zoho.com.au:993/TLS"),
    zoho("ca", "https://accounts.zohocloud.ca/oauth/v2/token", "https://accounts.zohocloud.ca/oauth/v2/auth scope=ZOHOMAIL.PROTOCOL.SMTP,ZOHOMAIL.PROTOCOL.IMAP&access_type=offline&prompt=consent",
         "https://accounts.zohocloud.ca/oauth/v2/token/revoke", "accounts.zohocloud.ca:443", "smtppro.zohocloud.ca:465/TLS imappro.zohocloud.ca:993/TLS"),
    Expected {
        key: "fastmail", token_url: "https://api.fastmail.com/oauth/refresh",
        asks: "https://api.fastmail.com/oauth/authorize scope=https://www.fastmail.com/dev/protocol-smtp https://www.fastmail.com/dev/protocol-imap https://www.fastmail.com/dev/protocol-pop",
        revocation_url: "https://api.fastmail.com/oauth/revoke", client: ClientAuthentication::ClientSecretBasic,
        hosts: "api.fastmail.com:443",
        servers: "smtp.fastmail.com:465/TLS imap.fastmail.com:993/TLS pop.fastmail.com:995/TLS", ..NOTHING
    },
    Expected {
        key: "yandex", domain: "ya.ru", token_url: "https://oauth.yandex.com/token",
        asks: "https://oauth.yandex.com/authorize scope=mail:smtp mail:imap_full&force_confirm=yes",
        device_url: "https://oauth.yandex.com/device/code",
        client: ClientAuthentication::ClientSecretBasic, hosts: "oauth.yandex.com:443 oauth.yandex.ru:443",
        servers: "smtp.yandex.com:465/TLS imap.yandex.com:993/TLS", ..NOTHING
    },
    Expected {
        key: "mailru", domain: "bk.ru", token_url: "https://oauth.mail.ru/token",
        asks: "https://oauth.mail.ru/login scope=mail.imap openid offline_access&prompt=consent",
        client: ClientAuthentication::ClientSecretBasic, hosts: "o2.mail.ru:443 oauth.mail.ru:443",
        servers: "smtp.mail.ru:465/TLS imap.mail.ru:993/TLS pop.mail.ru:995/TLS", ..NOTHING
    },
    Expected {
        key: "comcast", domain: "comcast.net", token_url: "https://oauth.xfinity.com/oauth/token",
        asks: "https://oauth.xfinity.com/oauth/authorize scope=https://email.comcast.net/ profile openid",
        hosts: "oauth.xfinity.com:443",
        servers: "smtp.comcast.net:465/TLS imap.comcast.net:993/TLS mail.comcast.net:995/TLS", ..NOTHING
    },
    own("oidc"), own("keycloak"), own("authentik"), own("stalwart"),
];

#[rustfmt::skip]
const fn zoho(
    region: &'static str, token_url: &'static str, asks: &'static str, revocation_url: &'static str, hosts: &'static str, servers: &'static str,
) -> Expected {
    let parameter = match region.as_bytes() {
        b"eu" => "region=eu",
        b"us" => "region=us",
        b"au" => "region=au",
        b"ca" => "region=ca",
        _ => "",
    };
    Expected { key: "zoho", parameter, token_url, asks, revocation_url, rotation: Rotation::None, hosts, servers, ..NOTHING }
}

/// A server of one's own: the spec has the endpoints, and no host gets anything that a Secret does not name.
#[rustfmt::skip]
const fn own(key: &'static str) -> Expected {
    Expected {
        key, token_url: "https://id.example.com/token", client: ClientAuthentication::ClientSecretBasic,
        asks: "https://id.example.com/authorize scope=openid offline_access email&prompt=consent",
        device_url: "https://id.example.com/device", ..NOTHING
    }
}

fn spec_of(expected: &Expected, grant: &str) -> EmailAssetSpec {
    let mut oauth2 = json!({"grant": grant});
    if let Some((name, value)) = expected.parameter.split_once('=') {
        oauth2["parameters"] = json!({ name: value });
    }
    if catalogue().get(expected.key).unwrap().is_of_ones_own() {
        oauth2["issuer"] = json!("https://id.example.com");
        oauth2["authorizationURL"] = json!("https://id.example.com/authorize");
        oauth2["tokenURL"] = json!("https://id.example.com/token");
        oauth2["deviceAuthorizationURL"] = json!("https://id.example.com/device");
    }
    let mailbox = json!({"email": format!("support@{}", expected.domain)});
    let mut spec = spec(Some(expected.key), oauth2, mailbox);
    if grant != "RefreshToken" {
        spec.oauth2.refresh_token_secret_ref = None;
    }
    spec
}

fn endpoints(expected: &Expected, grant: &str) -> Endpoints {
    let resolved = resolve(&spec_of(expected, grant), catalogue());
    resolved.unwrap_or_else(|error| panic!("{} {}: {error}", expected.key, expected.parameter))
}

fn words(server: Option<&Server>) -> Option<String> {
    server.map(|server| format!("{}:{}/{}", server.host, server.port, server.security.as_str()))
}

#[test]
fn each_provider_is_asked_at_its_own_endpoints_for_what_it_wants() {
    for expected in PROVIDERS {
        let name = format!("{} {}", expected.key, expected.parameter);
        let signed_in = endpoints(expected, "AuthorizationCode");
        assert_eq!(signed_in.token_url.as_str(), expected.token_url, "{name}");
        assert_eq!(signed_in.refresh_url, signed_in.token_url, "{name}");
        let request = signed_in
            .sign_in
            .authorization_request("our-client", "jane@example.com")
            .unwrap();
        let asked: Vec<_> = request
            .query_pairs()
            .filter(|(name, _)| !["response_type", "client_id", "login_hint"].contains(&name.as_ref()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let address = request.as_str().split('?').next().unwrap();
        assert_eq!(format!("{address} {}", asked.join("&")), expected.asks, "{name}");
        let given_back = signed_in.revocation_url.as_ref().map_or("", Url::as_str);
        assert_eq!(given_back, expected.revocation_url, "{name}");
        if expected.device_url.is_empty() {
            let message = resolve(&spec_of(expected, "DeviceCode"), catalogue())
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(&format!(
                    "which provider {} does not offer for mailboxes: ",
                    expected.key
                )),
                "{message}"
            );
            assert!(
                message.ends_with("; use AuthorizationCode or RefreshToken"),
                "{message}"
            );
        } else {
            let device = endpoints(expected, "DeviceCode")
                .sign_in
                .device_authorization_url
                .unwrap();
            assert_eq!(device.as_str(), expected.device_url, "{name}");
        }
    }
}

#[test]
fn each_provider_is_refreshed_as_it_wants_it() {
    for expected in PROVIDERS {
        let name = format!("{} {}", expected.key, expected.parameter);
        let seeded = endpoints(expected, "RefreshToken");
        let scope = (!seeded.refresh_scopes.is_empty()).then(|| format!("scope={}", seeded.refresh_scopes.join(" ")));
        let parameters = seeded
            .refresh_parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let sent: Vec<_> = scope.into_iter().chain(parameters).collect();
        assert_eq!(sent.join("&"), expected.refresh_has, "{name}");
        assert_eq!(seeded.authentication_with_secret, expected.client, "{name}");
        assert_eq!(seeded.rotation, expected.rotation, "{name}");
    }
}

#[test]
fn each_provider_has_its_mail_servers() {
    for expected in PROVIDERS {
        let found = endpoints(expected, "RefreshToken");
        let servers = [
            words(found.smtp.as_ref()),
            words(found.imap.as_ref()),
            words(found.pop3.as_ref()),
        ];
        let servers: Vec<_> = servers.into_iter().flatten().collect();
        assert_eq!(
            servers.join(" "),
            expected.servers,
            "{} {}",
            expected.key,
            expected.parameter
        );
    }
}

/// Invariant 11. Of Zoho's data centres, only the one that is in use.
#[test]
fn each_providers_credentials_go_to_its_own_hosts_alone() {
    for expected in PROVIDERS {
        let name = format!("{} {}", expected.key, expected.parameter);
        let found = endpoints(expected, "RefreshToken");
        let hosts: Vec<_> = found.own_hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts.join(" "), expected.hosts, "{name}");
        let is_own = !hosts.is_empty();
        assert_eq!(check_hosts(&found, &[CLIENT, SEED]).is_ok(), is_own, "{name}");
        for other in PROVIDERS.iter().filter(|other| !other.hosts.is_empty()) {
            let moved = Endpoints {
                token_url: Url::parse(other.token_url).unwrap(),
                refresh_url: Url::parse(other.token_url).unwrap(),
                ..found.clone()
            };
            let shared = expected.hosts == other.hosts;
            assert_eq!(
                check_hosts(&moved, &[CLIENT, SEED]).is_ok(),
                shared,
                "{name} at {}",
                other.token_url
            );
        }
    }
}

#[test]
fn all_entries_are_in_the_table_or_need_nobody() {
    for (key, entry) in catalogue().entries() {
        let in_table = PROVIDERS.iter().any(|expected| expected.key == key);
        let needs_nobody = entry
            .ways()
            .iter()
            .all(|way| !["AuthorizationCode", "DeviceCode", "RefreshToken"].contains(&way.as_str()));
        assert!(in_table != needs_nobody, "{key}");
    }
}

#[test]
fn entries_without_a_person_say_what_they_are_for() {
    for (key, way, instead) in [
        (
            "google-service-account",
            WayToToken::JWTBearer,
            "a person's sign-in is provider google",
        ),
        (
            "microsoft-app",
            WayToToken::ClientCredentials,
            "a person's sign-in is provider microsoft",
        ),
    ] {
        let entry = catalogue().get(key).unwrap();
        assert_eq!(entry.ways(), [way]);
        let tenant = json!({"parameters": {"tenant": "contoso.com"}, "grant": "AuthorizationCode"});
        let plain = json!({"grant": "AuthorizationCode"});
        let oauth2 = if key == "microsoft-app" { tenant } else { plain };
        let message = refused(Some(key), oauth2, json!({}));
        assert!(
            message.contains(instead) && message.ends_with(&format!("; use {}", way.as_str())),
            "{message}"
        );
    }
    let app = catalogue().get("microsoft-app").unwrap();
    assert_eq!(
        app.imap.as_ref().unwrap().scopes,
        ["https://outlook.office365.com/.default"]
    );
    assert!(app.scopes.is_empty() && app.identity.is_none() && app.authorization_url.is_none());
    let assertion = catalogue()
        .get("google-service-account")
        .unwrap()
        .assertion
        .clone()
        .unwrap();
    assert_eq!(assertion.audience, "https://oauth2.googleapis.com/token");
    assert_eq!(assertion.lifetime.to_string(), "1h");
}

#[test]
fn whoever_names_a_provider_may_ask_for_the_grant_of_its_stand_in() {
    for (named, grant, used, scope) in [
        (
            "google",
            "JWTBearer",
            "google-service-account",
            "https://mail.google.com/",
        ),
        (
            "microsoft",
            "ClientCredentials",
            "microsoft-app",
            "https://outlook.office365.com/.default",
        ),
    ] {
        let mut oauth2 = json!({"grant": grant, "refreshTokenSecretRef": null});
        if named == "microsoft" {
            oauth2["parameters"] = json!({"tenant": "contoso.com"});
        }
        let found = resolve(&spec(Some(named), oauth2.clone(), json!({})), catalogue()).unwrap();
        assert_eq!(
            (found.provider.as_deref(), found.scopes.as_slice()),
            (Some(used), &[scope.to_owned()][..])
        );
        let asked = resolve(&spec(Some(used), oauth2, json!({})), catalogue()).unwrap();
        assert_eq!(found, asked);
        assert_eq!(check_hosts(&found, &[CLIENT]), Ok(()));
    }
    let china = json!({"grant": "ClientCredentials", "refreshTokenSecretRef": null, "parameters": {"tenant": "x.cn"}});
    let message = refused(Some("microsoft-china"), china, json!({}));
    assert!(
        message.contains("its scope for app-only access is not known to us"),
        "{message}"
    );
}

#[test]
fn limits_reach_those_who_keep_them() {
    let limits = |key: &str| {
        endpoints(
            PROVIDERS.iter().find(|expected| expected.key == key).unwrap(),
            "RefreshToken",
        )
        .limits
    };
    let days = |days: i64| Some(jiff::SignedDuration::from_hours(24 * days));
    let minutes = |minutes: i64| Some(jiff::SignedDuration::from_mins(minutes));
    assert_eq!(
        (limits("zoho").refresh_interval, limits("zoho").throttled_for),
        (minutes(1), minutes(10))
    );
    assert_eq!(
        (
            limits("google").max_idle,
            limits("google").keep_alive,
            limits("google").while_testing
        ),
        (days(180), days(150), days(7))
    );
    assert_eq!(
        (limits("microsoft").max_idle, limits("microsoft").keep_alive),
        (days(90), days(60))
    );
    assert_eq!(limits("yandex").keep_alive, days(80));
    assert_eq!(
        (limits("keycloak").max_idle, limits("keycloak").keep_alive),
        (days(30), days(20))
    );
    assert_eq!(
        (limits("authentik").lifetime, limits("authentik").keep_alive),
        (KnownLife::For(jiff::SignedDuration::from_hours(30 * 24)), None)
    );
    assert_eq!(limits("yandex").lifetime, KnownLife::AsAccessToken);
    assert_eq!(elsewhere("https://id.example.com/token").limits, Limits::default());
    let moved = json!({"tokenURL": "https://id.example.com/token"});
    assert_eq!(
        resolve(&spec(Some("google"), moved, json!({})), catalogue())
            .unwrap()
            .limits,
        Limits::default()
    );
}

#[test]
fn quirks_hold_at_the_providers_own_servers() {
    let of = |key: &str| {
        endpoints(
            PROVIDERS.iter().find(|expected| expected.key == key).unwrap(),
            "RefreshToken",
        )
    };
    let dialects: BTreeMap<_, _> = PROVIDERS
        .iter()
        .map(|expected| (expected.key, of(expected.key).errors))
        .collect();
    assert_eq!(dialects["google"], ErrorDialect::Google);
    assert_eq!(dialects["microsoft-china"], ErrorDialect::Microsoft);
    assert_eq!(dialects["aol"], ErrorDialect::Yahoo);
    assert_eq!(dialects["keycloak"], ErrorDialect::Keycloak);
    assert_eq!(dialects["oidc"], ErrorDialect::default(), "it may be one");
    assert_eq!(of("google").revocation_gone, ["invalid_token"]);
    let moved = json!({"tokenURL": "https://id.example.com/token"});
    let moved = resolve(&spec(Some("yahoo"), moved, json!({})), catalogue()).unwrap();
    assert_eq!((moved.errors, moved.revocation_url), (ErrorDialect::default(), None));
    assert!(moved.refresh_parameters.is_empty());
}

/// RFC 9700 §4.4, for every place of every entry.
#[test]
fn no_code_of_any_place_leaves_it() {
    for (key, entry) in catalogue().entries() {
        for place in entry.places() {
            for host in place.sign_in_hosts() {
                let others = ["https://evil.example/token".to_owned()].into_iter();
                let others = others.chain(catalogue().entries().flat_map(|(_, entry)| {
                    entry
                        .token_hosts()
                        .into_iter()
                        .map(|host| format!("https://{host}/token"))
                }));
                let foreign = others.filter(|token| {
                    let token = Authority::of(&Url::parse(token).unwrap());
                    !place.token_hosts().contains(&token)
                });
                for token in foreign {
                    let oauth2 = json!({
                        "grant": "AuthorizationCode", "authorizationURL": format!("https://{host}/a"), "tokenURL": token,
                    });
                    let message = refused(None, oauth2, json!({}));
                    assert!(
                        message.contains("what they get there goes only to a token endpoint of"),
                        "{key} {host} {token}: {message}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_data_centre_is_one_of_a_closed_list() {
    let mailbox = json!({"email": "support@example.com"});
    let message = refused(Some("zoho"), json!({}), mailbox.clone());
    assert!(
        message.contains("spec.oauth2.parameters.region is missing: provider zoho needs it")
            && message.contains("one of ae, au, ca, cn, eu, in, jp, sa, uk, us"),
        "{message}"
    );
    for value in ["evil.example", "EU", "accounts.zoho.eu", "eu.evil"] {
        let message = refused(Some("zoho"), json!({"parameters": {"region": value}}), mailbox.clone());
        assert!(
            message.contains(&format!(
                "{value:?}, which provider zoho does not know: use one of ae, au"
            )),
            "{message}"
        );
    }
    for word in ["accounts", "mail"] {
        let message = refused(
            Some("zoho"),
            json!({"parameters": {word: "evil.example"}}),
            mailbox.clone(),
        );
        assert!(message.contains("is not known to zoho: it takes region"), "{message}");
    }
    let elsewhere = json!({"parameters": {"region": "us"}, "tokenURL": "https://accounts.zoho.eu/oauth/v2/token"});
    let elsewhere = resolve(&spec(Some("zoho"), elsewhere, mailbox), catalogue()).unwrap();
    assert!(
        check_hosts(&elsewhere, &[CLIENT]).is_err(),
        "another data centre is another party's place"
    );
    assert_eq!(elsewhere.rotation, Rotation::Strict);
}

#[test]
fn each_fact_says_where_it_stands() {
    let written: BTreeMap<String, Value> = serde_saphyr::from_str(include_str!("../catalogue.yaml")).unwrap();
    for (key, entry) in &written {
        let evidence: Vec<Evidence> =
            serde_json::from_value(entry["evidence"].clone()).unwrap_or_else(|error| panic!("{key}: {error}"));
        let of: Vec<&str> = evidence
            .iter()
            .flat_map(|evidence| &evidence.of)
            .map(String::as_str)
            .collect();
        let covered = |field: &str| of.iter().any(|of| *of == field || field.starts_with(&format!("{of}.")));
        for (field, value) in entry.as_object().unwrap() {
            if ["extends", "displayName", "evidence"].contains(&field.as_str()) || value.is_null() {
                continue;
            }
            let parts = value.as_object().filter(|_| !covered(field)).into_iter().flatten();
            let parts: Vec<String> = parts
                .filter(|(_, value)| !value.is_null())
                .map(|(part, _)| format!("{field}.{part}"))
                .collect();
            let all_parts = !parts.is_empty() && parts.iter().all(|part| covered(part));
            assert!(covered(field) || all_parts, "{key}.{field} has no evidence");
        }
        for of in of {
            let there = of.split('.').try_fold(entry, |value, part| value.get(part));
            assert!(there.is_some(), "{key} has evidence of {of}, which it does not say");
        }
    }
}

#[test]
fn each_manifest_to_start_from_is_valid() {
    for (key, entry) in catalogue().entries() {
        let carried_out = entry
            .ways()
            .iter()
            .any(|way| serde_json::from_value::<Grant>(json!(way.as_str())).is_ok());
        let manifest = manifest(key, entry);
        assert_eq!(manifest.is_some(), carried_out, "{key}");
        let Some(manifest) = manifest else { continue };
        let asset: EmailAsset = serde_saphyr::from_str(&manifest).unwrap();
        assert_eq!(validate(&asset, &AllowedKeys::default()), Ok(()), "{key}: {manifest}");
        match resolve(&asset.spec, catalogue()) {
            Ok(resolved) => assert_eq!(resolved.provider.as_deref(), Some(key)),
            Err(ResolveError::Undiscovered { .. }) => assert!(entry.is_of_ones_own(), "{key}"),
            Err(error) => panic!("{key}: {error}"),
        }
    }
}

#[test]
fn an_entry_is_laid_over_the_one_that_it_extends() {
    let yaml = "
base:
  displayName: Base
  tokenURL: https://x.example/token
  clientAuthentication: [None]
  refresh: {rotation: Soft, sendScope: Never, parameters: {a: b}}
  accessTokenLifetime: 90d
  scopes: [one]
  evidence: [{of: [scopes, refresh], sure: Memory, source: base}]
over:
  extends: base
  displayName: Over
  refresh: {rotation: None}
  scopes: null
  evidence: [{of: [refresh], sure: Vendor, source: over}]
";
    let catalogue = Catalogue::parse(yaml).unwrap();
    let over = catalogue.get("over").unwrap();
    assert_eq!(
        (over.refresh.rotation, over.refresh.parameters.len()),
        (Rotation::None, 1)
    );
    assert!(over.scopes.is_empty());
    assert_eq!(over.access_token_lifetime.to_string(), "90d");
    assert_eq!(over.evidence_of("refresh.rotation").unwrap().source, "over");
    assert_eq!(over.evidence_of("scopes").unwrap().source, "base");
    for (extends, problem) in [("over", "in a circle"), ("nobody", "there is no entry nobody")] {
        let message = Catalogue::parse(&yaml.replace("extends: base", &format!("extends: {extends}")))
            .unwrap_err()
            .to_string();
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn an_entry_stands_in_for_another_where_the_grant_is_its_own() {
    let yaml = "
base:
  displayName: Base
  tokenURL: https://x.example/token
  offeredBy: {DeviceCode: codes}
  clientAuthentication: [ClientSecretPost]
  refresh: {rotation: None, sendScope: Never}
  accessTokenLifetime: 1h
codes:
  extends: base
  displayName: Codes
  offeredBy: null
  deviceAuthorizationURL: https://x.example/device
  scopes: [mail]
";
    let catalogue = Catalogue::parse(yaml).unwrap();
    let mut device = spec(Some("base"), json!({"grant": "DeviceCode"}), json!({}));
    device.oauth2.refresh_token_secret_ref = None;
    let found = resolve(&device, &catalogue).unwrap();
    assert_eq!(
        (found.provider.as_deref(), found.scopes),
        (Some("codes"), vec!["mail".to_owned()])
    );
    let seeded = resolve(&spec(Some("base"), json!({}), json!({})), &catalogue).unwrap();
    assert_eq!(seeded.provider.as_deref(), Some("base"));
    let elsewhere = yaml.replace("  deviceAuth", "  tokenURL: https://y.example/token\n  deviceAuth");
    let message = Catalogue::parse(&elsewhere).unwrap_err().to_string();
    assert!(
        message.contains("codes cannot stand in for grant DeviceCode"),
        "{message}"
    );
}

#[test]
fn choices_and_domains_that_contradict_each_other_are_refused() {
    let entry = |rest: &str| {
        format!(
            "x:\n  displayName: X\n  tokenURL: 'https://{{host}}/token'\n  clientAuthentication: [None]\n  refresh: {{rotation: None, sendScope: Never}}\n  accessTokenLifetime: 1h\n{rest}"
        )
    };
    let region = |choices: &str| {
        entry(&format!(
            "  parameters: {{region: {{description: d, example: a, choices: {{{choices}}}}}}}\n"
        ))
    };
    let good = "a: {words: {host: a.example}}, b: {words: {host: b.example}}";
    assert!(Catalogue::parse(&region(good)).is_ok());
    for (yaml, problem) in [
        (region("a: {words: {host: 'a.example/x'}}"), "which is no host name"),
        (region("a: {words: {host: 'A.example'}}"), "which is no host name"),
        (
            region("a: {words: {host: 'evil.example:8443'}}"),
            "which is no host name",
        ),
        (
            region("a: {words: {host: a.example}}, b: {words: {other: b.example}}"),
            "other words than the rest",
        ),
        (
            region("a: {words: {region: a.example}}"),
            "a word region that is also a parameter",
        ),
        (region("b: {words: {host: a.example}}"), "none of its choices"),
        (
            region("a: {words: {host: a.example}, domains: [a.example, a.example]}"),
            "belongs to x too",
        ),
        (
            region(good) + "  revocationURL: https://c.example/revoke\n",
            "at no host of the token endpoints",
        ),
        (
            region(good) + "  revocationURL: https://a.example/revoke\n",
            "at no host of the token endpoints",
        ),
        (
            region(good) + "  offeredBy: {JWTBearer: x}\n",
            "x cannot stand in for grant JWTBearer",
        ),
        (region(good) + "  domains: [Example.com]\n", "no domain in lower case"),
        (
            region(good) + "  grants: [JWTBearer]\n",
            "offers JWTBearer and has no assertion",
        ),
        (
            region(good) + "  grants: [AuthorizationCode]\n",
            "offers AuthorizationCode and has no authorizationURL",
        ),
        (
            region(good) + "  grants: [RefreshToken]\n  authorizationURL: 'https://{host}/a'\n",
            "does not offer AuthorizationCode",
        ),
        (
            region(good) + "  smtp: {host: 'smtp.{nobody}', port: 465, security: TLS, scopes: []}\n",
            "no host name in lower case",
        ),
        (
            region(good) + "y:\n  displayName: Other\n  instead: x\n  evidence: []\n  domains: [nodot]\n",
            "no domain in lower case",
        ),
    ] {
        let message = Catalogue::parse(&yaml).unwrap_err().to_string();
        assert!(message.contains(problem), "expected {problem:?}, got {message:?}");
    }
}
