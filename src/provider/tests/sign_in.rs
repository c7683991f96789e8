//! How a person signs in: what is asked of the provider, where the answer may go, and who is believed.

use url::Url;

use super::*;

fn with_grant(grant: &str, provider: Option<&str>, oauth2: &Value) -> Result<Endpoints, ResolveError> {
    let mut fields = oauth2.clone();
    fields["grant"] = grant.into();
    let mut spec = spec(provider, fields, json!({}));
    spec.oauth2.refresh_token_secret_ref = None;
    resolve(&spec, catalogue())
}

#[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
fn code(provider: Option<&str>, oauth2: Value) -> Endpoints {
    with_grant("AuthorizationCode", provider, &oauth2).unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
fn problem(grant: &str, provider: Option<&str>, oauth2: Value) -> String {
    with_grant(grant, provider, &oauth2).unwrap_err().to_string()
}

fn tenant(name: &str) -> Value {
    json!({"parameters": {"tenant": name}})
}

fn request(endpoints: &Endpoints) -> String {
    endpoints
        .sign_in
        .authorization_request("our-client", "jane+x@example.com")
        .unwrap()
        .to_string()
}

/// A server outside the catalogue, with these fields.
fn outside(fields: &Value) -> Value {
    let mut oauth2 = json!({
        "authorizationURL": "https://id.example.com/authorize",
        "deviceAuthorizationURL": "https://id.example.com/device",
        "tokenURL": "https://id.example.com/token",
    });
    for (name, value) in fields.as_object().unwrap() {
        oauth2[name] = value.clone();
    }
    oauth2
}

#[test]
fn google_is_asked_for_a_refresh_token_and_the_account() {
    let endpoints = code(Some("google"), json!({}));
    assert_eq!(
        request(&endpoints),
        "https://accounts.google.com/o/oauth2/v2/auth?response_type=code&client_id=our-client&scope=https%3A%2F%2Fmail.google.com%2F+openid+email\
         &access_type=offline&include_granted_scopes=false&prompt=consent&login_hint=jane%2Bx%40example.com"
    );
    let sign_in = &endpoints.sign_in;
    assert_eq!(sign_in.callback_key, "google");
    assert_eq!(
        (sign_in.loopback_host.as_str(), sign_in.names_issuer),
        ("127.0.0.1", NamesIssuer::Perhaps)
    );
    assert_eq!(
        sign_in.identity.fixed_issuer().as_deref(),
        Some("https://accounts.google.com")
    );
    assert_eq!(
        endpoints.scopes,
        ["https://mail.google.com/"],
        "what must be granted has no identity scopes"
    );
    assert!(endpoints.refresh_scopes.is_empty());
}

#[test]
fn microsoft_is_asked_to_let_the_person_choose_the_account() {
    let endpoints = code(Some("microsoft"), tenant("contoso.onmicrosoft.com"));
    assert_eq!(
        request(&endpoints),
        "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/authorize?response_type=code&client_id=our-client\
         &scope=https%3A%2F%2Foutlook.office.com%2FSMTP.Send+https%3A%2F%2Foutlook.office.com%2FIMAP.AccessAsUser.All+offline_access+openid+profile\
         &prompt=select_account&response_mode=query&login_hint=jane%2Bx%40example.com"
    );
    assert_eq!(endpoints.sign_in.callback_key, "microsoft", "whatever the tenant");
    assert_eq!(endpoints.sign_in.loopback_host, "localhost");
    assert_eq!(
        endpoints.refresh_scopes, endpoints.scopes,
        "a refresh does not ask who it was"
    );
}

#[test]
fn the_tenant_of_microsoft_decides_who_is_believed() {
    let identity = |name: &str| code(Some("microsoft"), tenant(name)).sign_in.identity;
    let id = "11111111-AAAA-4bbb-8ccc-000000000001";
    for (name, expected, issuer) in [
        (
            id,
            Tenant::Id(id.to_ascii_lowercase()),
            Some("11111111-aaaa-4bbb-8ccc-000000000001"),
        ),
        ("Contoso.com", Tenant::Domain("contoso.com".to_owned()), None),
        ("common", Tenant::Any, None),
        ("Organizations", Tenant::Any, None),
        (
            "consumers",
            Tenant::Id("9188040d-6c67-4c5b-b112-36a304b66dad".to_owned()),
            Some("9188040d-6c67-4c5b-b112-36a304b66dad"),
        ),
    ] {
        let identity = identity(name);
        let issuer = issuer.map(|id| format!("https://login.microsoftonline.com/{id}/v2.0"));
        assert_eq!(identity.fixed_issuer(), issuer, "{name}");
        assert_eq!(identity.tenancy.unwrap().tenant, expected, "{name}");
        assert_eq!(
            identity.keys_url.unwrap().as_str(),
            format!("https://login.microsoftonline.com/{name}/discovery/v2.0/keys")
        );
        let claims: Vec<_> = identity.accounts.into_iter().map(|account| account.claim).collect();
        assert_eq!(claims, ["preferred_username", "upn"], "never email");
    }
}

#[test]
fn the_prompt_of_the_spec_wins() {
    let google = code(Some("google"), json!({"prompt": "select_account"}));
    assert!(request(&google).contains("&prompt=select_account&") && request(&google).contains("access_type=offline"));
    assert_eq!(request(&google).matches("prompt=").count(), 1);
    let own = code(None, outside(&json!({"prompt": "login"})));
    assert!(request(&own).contains("&prompt=login&"));
}

#[test]
fn a_server_outside_the_catalogue_is_asked_as_the_standards_have_it() {
    let plain = code(None, outside(&json!({"scopes": ["imap"]})));
    assert_eq!(
        request(&plain),
        "https://id.example.com/authorize?response_type=code&client_id=our-client&scope=imap&login_hint=jane%2Bx%40example.com"
    );
    assert!(!plain.sign_in.identity.names_accounts());

    let issuer = json!({"scopes": ["imap", "offline_access"], "issuer": "https://id.example.com/realms/staff"});
    let openid = code(None, outside(&issuer));
    assert_eq!(openid.sign_in.scopes, ["imap", "offline_access", "openid", "email"]);
    assert!(
        request(&openid).contains("&prompt=consent&"),
        "or offline_access is dropped"
    );
    let identity = &openid.sign_in.identity;
    assert_eq!(
        identity.fixed_issuer().as_deref(),
        Some("https://id.example.com/realms/staff"),
        "to the letter"
    );
    assert_eq!(
        (&identity.keys_url, &identity.userinfo_url),
        (&None, &None),
        "by discovery"
    );

    let listed = json!({"scopes": ["openid", "profile", "imap"], "issuer": "https://id.example.com"});
    assert_eq!(
        code(None, outside(&listed)).sign_in.scopes,
        ["openid", "profile", "imap"]
    );
    let with_query = json!({"authorizationURL": "https://id.example.com/authorize?p=policy"});
    let with_query = code(None, outside(&with_query));
    assert!(request(&with_query).starts_with("https://id.example.com/authorize?p=policy&response_type=code&"));
}

#[test]
fn device_codes_are_asked_for_where_there_are_any() {
    let microsoft = with_grant("DeviceCode", Some("microsoft"), &tenant("contoso.com"))
        .unwrap()
        .sign_in;
    assert_eq!(
        microsoft.device_authorization_url.unwrap().as_str(),
        "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/devicecode"
    );
    assert_eq!(
        (microsoft.authorization_url, microsoft.callback_key.as_str()),
        (None, "")
    );
    let own = with_grant("DeviceCode", None, &outside(&json!({}))).unwrap().sign_in;
    assert_eq!(
        own.device_authorization_url.unwrap().as_str(),
        "https://id.example.com/device"
    );
    for override_ in [
        json!({}),
        json!({"deviceAuthorizationURL": "https://oauth2.googleapis.com/device/code"}),
    ] {
        assert_eq!(
            problem("DeviceCode", Some("google"), override_),
            "spec.oauth2.grant is DeviceCode, which provider google does not offer for mailboxes: Google gives device codes only for a few scopes, and mail is \
             not among them; use AuthorizationCode or RefreshToken"
        );
    }
}

#[test]
fn a_sign_in_that_nobody_knows_the_way_to_is_refused_with_the_field() {
    let token = json!({"tokenURL": "https://id.example.com/token"});
    let missing =
        "spec.oauth2.authorizationURL is missing: grant AuthorizationCode needs the server's authorization endpoint";
    assert!(problem("AuthorizationCode", None, token.clone()).starts_with(missing));
    assert!(
        problem("AuthorizationCode", Some("google"), token.clone()).starts_with(missing),
        "Google's code would go there"
    );
    let missing = "spec.oauth2.deviceAuthorizationURL is missing: grant DeviceCode needs the server's device authorization endpoint";
    assert!(problem("DeviceCode", None, token).starts_with(missing));
    for (field, value, words) in [
        ("authorizationURL", "http://id.example.com/a", "it is not https"),
        (
            "authorizationURL",
            "https://id.example.com/a?redirect_uri=https://evil.example",
            "a parameter that the sign-in sets by itself",
        ),
        (
            "authorizationURL",
            "https://id.example.com/a?x=1&STATE=2",
            "a parameter that the sign-in sets by itself",
        ),
        (
            "authorizationURL",
            "https://id.example.com/a?%73tate=2",
            "a parameter that the sign-in sets by itself",
        ),
        ("issuer", "https://id.example.com/?x", "an issuer has no query"),
        ("issuer", "https://id.example.com/#x", "it has a fragment"),
    ] {
        let message = problem("AuthorizationCode", None, outside(&json!({field: value})));
        assert!(
            message.starts_with(&format!("spec.oauth2.{field} cannot be used")) && message.contains(words),
            "{message}"
        );
    }
}

/// RFC 9700 §4.4: a code of the real provider, sent to somebody who can redeem it there.
#[test]
fn a_code_of_a_provider_goes_to_no_other_token_endpoint() {
    let evil = "https://evil.example/token";
    for (grant, provider, oauth2) in [
        (
            "AuthorizationCode",
            None,
            json!({"authorizationURL": "https://accounts.google.com/o/oauth2/v2/auth", "tokenURL": evil}),
        ),
        (
            "AuthorizationCode",
            None,
            json!({"authorizationURL": "https://ACCOUNTS.google.com:443/other", "tokenURL": evil}),
        ),
        (
            "AuthorizationCode",
            Some("google"),
            json!({"authorizationURL": "https://accounts.google.com/o/oauth2/auth", "tokenURL": evil}),
        ),
        (
            "AuthorizationCode",
            Some("google"),
            json!({"authorizationURL": "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"}),
        ),
        (
            "DeviceCode",
            None,
            json!({"deviceAuthorizationURL": "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode", "tokenURL": evil}),
        ),
    ] {
        let message = problem(grant, provider, oauth2.clone());
        assert!(
            message.contains("what they get there goes only to a token endpoint of"),
            "{oauth2}: {message}"
        );
    }
    let by_hand = json!({
        "authorizationURL": "https://accounts.google.com/o/oauth2/auth",
        "tokenURL": "https://accounts.google.com/o/oauth2/token",
        "scopes": ["https://mail.google.com/"],
    });
    assert!(with_grant("AuthorizationCode", None, &by_hand).is_ok());
}

/// One callback for all would let one server receive another's code.
#[test]
fn each_pair_of_endpoints_has_a_callback_of_its_own() {
    let key = |provider, oauth2| code(provider, oauth2).sign_in.callback_key;
    let written_out = json!({
        "authorizationURL": "https://accounts.google.com/o/oauth2/v2/auth", "tokenURL": "https://OAuth2.googleapis.com:443/token",
    });
    assert_eq!(key(Some("google"), written_out), "google", "the same, written out");
    let keys = [
        key(Some("google"), json!({"authorizationURL": "https://evil.example/auth"})),
        key(
            Some("google"),
            json!({"tokenURL": "https://accounts.google.com/o/oauth2/token", "authorizationURL": "https://accounts.google.com/o/oauth2/v2/auth"}),
        ),
        key(
            Some("google"),
            json!({"refreshURL": "https://evil.example/token", "authorizationURL": "https://accounts.google.com/o/oauth2/v2/auth"}),
        ),
        key(None, outside(&json!({}))),
        key(None, outside(&json!({"tokenURL": "https://id.example.com/token2"}))),
        key(
            None,
            outside(&json!({"authorizationURL": "https://id.example.com/authorize2"})),
        ),
        key(
            None,
            json!({"authorizationURL": "https://id.example.com/authorizehttps", "tokenURL": "https://id.example.com/token"}),
        ),
    ];
    for key in &keys {
        let hexadecimal = key
            .strip_prefix("x-")
            .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(hexadecimal, "{key}");
        // Google with another endpoint for refreshes alone has the pair of Google, and is no Google all the same.
        assert_eq!(keys.iter().filter(|other| *other == key).count(), 1, "{key}");
    }
    assert_eq!(
        keys[3],
        key(
            None,
            outside(&json!({"scopes": ["x"], "issuer": "https://id.example.com"}))
        ),
        "stable"
    );
}

#[test]
fn the_facts_about_signing_in_hold_only_at_the_providers_own_hosts() {
    let elsewhere = code(
        Some("google"),
        json!({"authorizationURL": "https://id.example.com/authorize"}),
    );
    assert!(!request(&elsewhere).contains("access_type") && !request(&elsewhere).contains("prompt"));
    assert_eq!(
        elsewhere.sign_in.identity,
        code(Some("google"), json!({})).sign_in.identity,
        "the tokens are Google's still"
    );
    let microsoft = outside(&tenant("contoso.com"));
    let moved = code(Some("microsoft"), microsoft);
    assert!(!moved.sign_in.identity.names_accounts());
    assert_eq!(moved.sign_in.loopback_host, "127.0.0.1");
    assert!(moved.sign_in.scopes.iter().all(|scope| scope != "openid"));
}

#[test]
fn nobody_else_vouches_for_a_providers_accounts() {
    let message = problem(
        "AuthorizationCode",
        Some("google"),
        json!({"issuer": "https://evil.example"}),
    );
    assert_eq!(
        message,
        "spec.oauth2.issuer: the issuer of provider google is known (https://accounts.google.com): leave it out"
    );
    assert!(
        with_grant(
            "AuthorizationCode",
            Some("google"),
            &json!({"issuer": "https://accounts.google.com"})
        )
        .is_ok()
    );
    let mut own_tenant = tenant("common");
    own_tenant["issuer"] = "https://login.microsoftonline.com/66666666-aaaa-4bbb-8ccc-000000000006/v2.0".into();
    assert!(problem("AuthorizationCode", Some("microsoft"), own_tenant).contains("is known"));
    for (issuer, provider) in [
        ("https://login.microsoftonline.com/common/v2.0", "microsoft"),
        ("https://accounts.google.com", "google"),
    ] {
        let message = problem("AuthorizationCode", None, outside(&json!({"issuer": issuer})));
        assert!(
            message.contains(&format!("set spec.provider to {provider} and leave the issuer out")),
            "{message}"
        );
    }
}

#[test]
fn a_grant_that_begins_without_a_person_knows_nothing_of_signing_in() {
    assert_eq!(google().sign_in, SignIn::default());
    assert_eq!(
        google().sign_in.authorization_request("our-client", "jane@example.com"),
        None
    );
    let status = |endpoints: &Endpoints| serde_json::to_value(endpoints.to_status(None)).unwrap();
    let names = ["issuer", "authorizationURL", "deviceAuthorizationURL"];
    let shown = |endpoints: &Endpoints| names.map(|name| status(endpoints).get(name).cloned());
    assert_eq!(shown(&google()), [None, None, None]);
    assert_eq!(
        shown(&code(Some("google"), json!({}))),
        [
            Some(json!("https://accounts.google.com")),
            Some(json!("https://accounts.google.com/o/oauth2/v2/auth")),
            None
        ]
    );
    let device = with_grant("DeviceCode", Some("microsoft"), &tenant("contoso.com")).unwrap();
    assert_eq!(
        shown(&device),
        [
            Some(json!("https://login.microsoftonline.com/{tid}/v2.0")),
            None,
            Some(json!(
                "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/devicecode"
            ))
        ]
    );
}

/// Invariant 11.
#[test]
fn a_device_endpoint_gets_the_client_only_if_its_secret_names_the_host() {
    let microsoft = with_grant("DeviceCode", Some("microsoft"), &tenant("contoso.com")).unwrap();
    assert_eq!(check_hosts(&microsoft, &[CLIENT]), Ok(()));
    let oauth2 =
        json!({"tokenURL": "https://id.example.com/token", "deviceAuthorizationURL": "https://device.example.com/d"});
    let two = with_grant("DeviceCode", None, &oauth2).unwrap();
    let token_only = InputSecret {
        hosts: Some("id.example.com"),
        ..CLIENT
    };
    let message = check_hosts(&two, &[token_only]).unwrap_err().to_string();
    assert!(message.contains("may not be sent to device.example.com"), "{message}");
    assert!(
        message.ends_with("emailasset.dev/hosts=id.example.com,device.example.com --overwrite"),
        "{message}"
    );
}

#[test]
fn the_authorization_endpoint_is_sent_no_secret_and_needs_no_permission() {
    let google = code(Some("google"), json!({}));
    assert_eq!(check_hosts(&google, &[CLIENT]), Ok(()));
    let elsewhere = code(
        Some("google"),
        json!({"authorizationURL": "https://id.example.com/authorize"}),
    );
    assert_eq!(check_hosts(&elsewhere, &[CLIENT]), Ok(()));
}

#[test]
fn an_access_token_is_shown_to_its_issuer_the_entrys_hosts_and_those_that_the_secret_names() {
    let url = |url: &str| Url::parse(url).unwrap();
    let google = HostPolicy::for_access_token(&code(Some("google"), json!({})), None);
    assert!(google.allows(&url("https://openidconnect.googleapis.com/v1/userinfo")));
    assert!(!google.allows(&url("https://www.googleapis.com/upload")));
    let own = code(None, outside(&json!({"issuer": "https://issuer.example.com"})));
    let policy = HostPolicy::for_access_token(&own, Some("more.example.com"));
    for (target, allowed) in [
        ("https://id.example.com/userinfo", true),
        ("https://more.example.com/userinfo", true),
        ("https://issuer.example.com/userinfo", false),
        ("https://id.example.com:8443/userinfo", false),
        ("http://id.example.com/userinfo", false),
    ] {
        assert_eq!(policy.allows(&url(target)), allowed, "{target}");
    }
    assert!(
        !own.own_hosts.contains(&Authority::parse("id.example.com:443").unwrap()),
        "credentials are another matter"
    );
}

#[test]
fn two_spellings_of_one_account_are_the_same() {
    let plain = Identity::default();
    let gmail = code(Some("google"), json!({})).sign_in.identity;
    for (wanted, asserted) in [
        ("jane@example.com", "jane@example.com"),
        ("Jane@Example.com", "jane@EXAMPLE.COM"),
        ("jane@bücher.example", "jane@xn--bcher-kva.example"),
        ("jane@BÜCHER.example", "jane@bücher.example"),
        ("jané@example.com", "jané@example.com"),
        ("j.doe", "J.Doe"),
    ] {
        for identity in [&plain, &gmail] {
            assert!(identity.same_account(wanted, asserted), "{wanted} {asserted}");
        }
    }
    for (wanted, asserted) in [
        ("j.a.ne@gmail.com", "jane@gmail.com"),
        ("jane@googlemail.com", "Jane@gmail.com"),
        ("ja.ne@GoogleMail.com", "j.ane@gmail.com"),
    ] {
        assert!(gmail.same_account(wanted, asserted), "{wanted} {asserted}");
        assert!(
            !plain.same_account(wanted, asserted),
            "only Google's accounts, {wanted} {asserted}"
        );
    }
    for (wanted, asserted) in [
        ("jane@example.com", ""),
        ("jane@example.com", "jane"),
        ("jane@example.com", "jane@example.com.evil.example"),
        ("jane@example.com", "jane@example.co"),
        ("jane@example.com", "evil@example.com"),
        ("jane@example.com", "jane@mail.example.com"),
        ("jane@example.com", "ja.ne@example.com"),
        ("jane@example.com", "jane+x@example.com"),
        ("jane@gmail.com", "jane+x@gmail.com"),
        ("jane@gmail.com", "jane@gmail.com.evil.example"),
        ("kate@example.com", "\u{212a}ate@example.com"), // the sign of Kelvin
        ("jane@example.com", "jаne@example.com"),        // a Cyrillic letter
        ("jane@example.com", "jane@example.com\0"),
        ("jane@example.com", "jane@ex%61mple.com"),
    ] {
        for identity in [&plain, &gmail] {
            assert!(!identity.same_account(wanted, asserted), "{wanted} {asserted}");
        }
    }
}

#[test]
fn a_new_provider_of_sign_ins_is_a_matter_of_data() {
    let yaml = r"
      example:
        displayName: Example
        parameters: {realm: {description: the realm, example: staff, default: main}}
        tokenURL: https://id.example.com/{realm}/token
        authorizationURL: https://login.example.com/{realm}/authorize
        deviceAuthorizationURL: https://id.example.com/{realm}/device
        authorizationParameters: {force_confirm: 'yes'}
        namesIssuer: Always
        loopbackHost: '[::1]'
        identity:
          issuer: https://id.example.com/{realm}
          keysURL: https://id.example.com/{realm}/keys
          userinfoURL: https://api.example.com/{realm}/me
          userinfoAlone: Proves
          scopes: [openid, email]
          accounts: [{claim: login, when: Address}]
        clientAuthentication: [None]
        refresh: {rotation: Strict, sendScope: Never}
        accessTokenLifetime: 10m
        imap: {host: imap.example.com, port: 993, security: TLS, scopes: [imap]}
    ";
    let catalogue = Catalogue::parse(yaml).unwrap();
    let mut spec = spec(Some("example"), json!({"grant": "AuthorizationCode"}), json!({}));
    spec.oauth2.refresh_token_secret_ref = None;
    let endpoints = resolve(&spec, &catalogue).unwrap();
    let sign_in = &endpoints.sign_in;
    assert!(
        request(&endpoints).starts_with("https://login.example.com/main/authorize?")
            && request(&endpoints).contains("force_confirm=yes")
    );
    assert_eq!(
        (sign_in.names_issuer, sign_in.loopback_host.as_str()),
        (NamesIssuer::Always, "[::1]")
    );
    assert_eq!(
        sign_in.identity.fixed_issuer().as_deref(),
        Some("https://id.example.com/main")
    );
    assert_eq!(
        sign_in.identity.userinfo_url.as_ref().unwrap().as_str(),
        "https://api.example.com/main/me"
    );
    assert_eq!(check_hosts(&endpoints, &[CLIENT]), Ok(()));
    assert!(
        !HostPolicy::new(&endpoints.own_hosts, None).allows(&Url::parse("https://api.example.com/").unwrap()),
        "tokens only"
    );
}

#[test]
fn an_answer_that_names_another_data_centre_is_told_from_one_that_names_a_stranger() {
    let asset = json!({"grant": "AuthorizationCode", "refreshTokenSecretRef": null, "parameters": {"region": "eu"}});
    let endpoints = resolve(&spec(Some("zoho"), asset, json!({})), catalogue()).unwrap();
    let server = endpoints.sign_in.code_server.unwrap();
    assert_eq!(server.parameter, "accounts-server");
    assert_eq!(server.check("https://accounts.zoho.eu"), Ok(()));
    let place = |setting: &str| Err(ForAnother::Place(format!("spec.oauth2.parameters.region to {setting}")));
    assert_eq!(server.check("https://accounts.zoho.in"), place("in"));
    assert_eq!(server.check("https://accounts.zoho.com.au"), place("au"));
    assert_eq!(
        server.check("https://accounts.zoho.eu.evil.example"),
        Err(ForAnother::Stranger)
    );
    assert_eq!(server.check("https://oauth2.googleapis.com"), Err(ForAnother::Stranger));
    let google = json!({"grant": "AuthorizationCode", "refreshTokenSecretRef": null});
    let google = resolve(&spec(Some("google"), google, json!({})), catalogue()).unwrap();
    assert_eq!(google.sign_in.code_server, None);
}
