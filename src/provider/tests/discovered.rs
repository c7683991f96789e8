//! Endpoints that an issuer's metadata tell.

use super::*;

const ISSUER: &str = "https://id.example.com/realms/mail";

/// As a server writes them, with these members put into it.
#[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
fn metadata(over: Value) -> Value {
    let mut metadata = json!({
        "issuer": ISSUER,
        "token_endpoint": "https://id.example.com/token",
        "authorization_endpoint": "https://id.example.com/auth",
        "device_authorization_endpoint": "https://id.example.com/device",
        "revocation_endpoint": "https://id.example.com/revoke",
        "authorization_response_iss_parameter_supported": true,
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"],
    });
    for (name, value) in over.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    metadata
}

fn read(over: Value) -> Result<Discovered, UnusableMetadata> {
    Discovered::of_metadata(ISSUER, metadata(over).as_object().unwrap())
}

fn found(over: Value) -> Discovered {
    read(over).unwrap()
}

/// A spec with the issuer alone.
#[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
fn issuer_alone(grant: &str, oauth2: Value) -> EmailAssetSpec {
    let mut fields = json!({"grant": grant, "issuer": ISSUER});
    for (name, value) in oauth2.as_object().unwrap() {
        fields[name] = value.clone();
    }
    let mut spec = spec(None, fields, json!({}));
    if grant != "RefreshToken" {
        spec.oauth2.refresh_token_secret_ref = None;
    }
    spec
}

fn resolved(spec: &EmailAssetSpec, found: &Discovered) -> Endpoints {
    resolve_discovered(spec, catalogue(), Some(found)).unwrap()
}

#[test]
fn the_issuer_alone_is_enough() {
    let code = resolved(&issuer_alone("AuthorizationCode", json!({})), &found(json!({})));
    let text = |url: Option<&url::Url>| url.map(ToString::to_string).unwrap_or_default();
    assert_eq!(code.token_url.as_str(), "https://id.example.com/token");
    assert_eq!(code.refresh_url, code.token_url);
    assert_eq!(
        text(code.sign_in.authorization_url.as_ref()),
        "https://id.example.com/auth"
    );
    assert_eq!(text(code.revocation_url.as_ref()), "https://id.example.com/revoke");
    assert_eq!(code.sign_in.names_issuer, NamesIssuer::Always);
    assert_eq!(code.authentication_with_secret, ClientAuthentication::ClientSecretPost);
    assert_eq!(code.sign_in.identity.issuer.as_deref(), Some(ISSUER));
    assert!(
        code.own_hosts.is_empty(),
        "being named by an issuer frees no credential"
    );
    let device = resolved(&issuer_alone("DeviceCode", json!({})), &found(json!({})));
    assert_eq!(
        text(device.sign_in.device_authorization_url.as_ref()),
        "https://id.example.com/device"
    );
    let seed = resolved(&issuer_alone("RefreshToken", json!({})), &found(json!({})));
    assert_eq!(seed.token_url, code.token_url);
    for provider in ["oidc", "keycloak", "authentik", "stalwart"] {
        let mut spec = issuer_alone("AuthorizationCode", json!({}));
        spec.provider = Some(provider.to_owned());
        assert_eq!(
            resolved(&spec, &found(json!({}))).token_url,
            code.token_url,
            "{provider}"
        );
    }
}

#[test]
fn until_it_was_asked_the_endpoints_are_not_known() {
    let spec = issuer_alone("RefreshToken", json!({}));
    let unknown = resolve(&spec, catalogue()).unwrap_err();
    assert_eq!(
        unknown,
        ResolveError::Undiscovered {
            issuer: ISSUER.to_owned()
        }
    );
    assert_eq!(issuer_to_ask(&spec, catalogue()), Some(ISSUER));
    let of_another = Discovered {
        issuer: "https://id.example.com/realms/other".to_owned(),
        ..found(json!({}))
    };
    assert_eq!(
        resolve_discovered(&spec, catalogue(), Some(&of_another)),
        Err(unknown),
        "what another issuer says does not count"
    );
}

#[test]
fn nobody_is_asked_about_what_is_known() {
    let written = issuer_alone("RefreshToken", json!({"tokenURL": "https://id.example.com/own"}));
    let mut google = issuer_alone("RefreshToken", json!({"issuer": "https://accounts.google.com"}));
    google.provider = Some("google".to_owned());
    let without = spec(Some("keycloak"), json!({}), json!({}));
    for spec in [&written, &google, &without] {
        assert_eq!(issuer_to_ask(spec, catalogue()), None);
    }
    let endpoints = resolved(&written, &found(json!({})));
    assert_eq!(endpoints.token_url.as_str(), "https://id.example.com/own");
    assert_eq!(endpoints.discovered, None);
}

#[test]
fn what_the_spec_writes_out_wins() {
    let spec = issuer_alone(
        "AuthorizationCode",
        json!({
            "authorizationURL": "https://login.example.com/auth", "refreshURL": "https://id.example.com/refresh",
            "revocationURL": "https://id.example.com/own-revoke", "clientAuthentication": "ClientSecretBasic",
        }),
    );
    let endpoints = resolved(&spec, &found(json!({})));
    assert_eq!(
        endpoints.sign_in.authorization_url.as_ref().unwrap().as_str(),
        "https://login.example.com/auth"
    );
    assert_eq!(endpoints.refresh_url.as_str(), "https://id.example.com/refresh");
    assert_eq!(
        endpoints.revocation_url.as_ref().unwrap().as_str(),
        "https://id.example.com/own-revoke"
    );
    assert_eq!(
        endpoints.client_authentication,
        Some(ClientAuthentication::ClientSecretBasic)
    );
    assert_eq!(
        endpoints.sign_in.names_issuer,
        NamesIssuer::Perhaps,
        "its word is about its own endpoint"
    );
    let shown = endpoints.to_status(None);
    assert_eq!(shown.discovered, ["tokenURL", "iss"]);
}

#[test]
fn the_issuer_of_a_provider_is_not_asked() {
    for issuer in [
        "https://accounts.google.com",
        "https://login.microsoftonline.com/common/v2.0",
    ] {
        for grant in ["RefreshToken", "AuthorizationCode"] {
            let spec = issuer_alone(grant, json!({"issuer": issuer}));
            let refusal = resolve(&spec, catalogue()).unwrap_err();
            assert!(
                matches!(refusal, ResolveError::IssuerOfProvider { .. }),
                "{issuer}: {refusal}"
            );
        }
    }
}

#[test]
fn an_endpoint_that_the_issuer_does_not_have_is_asked_of_people() {
    let nothing = found(json!({"device_authorization_endpoint": null, "authorization_endpoint": null}));
    let missing = |grant| {
        resolve_discovered(&issuer_alone(grant, json!({})), catalogue(), Some(&nothing))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        missing("DeviceCode"),
        "grant DeviceCode needs the server's device authorization endpoint, and the metadata of the issuer https://id.example.com/realms/mail name none: turn it on at the server, use another grant, or set spec.oauth2.deviceAuthorizationURL"
    );
    assert!(missing("AuthorizationCode").ends_with("or set spec.oauth2.authorizationURL"));
}

#[test]
fn metadata_that_could_not_be_called_are_refused() {
    for url in [
        "http://id.example.com/token",
        "https://user:s3cret@id.example.com/token",
        "https://id.example.com/token#x",
        "https://id.example.com\\@trap.example.com/token",
        "https:///token",
        "https:id.example.com/token",
        "https:/id.example.com/token",
        "HTTPS://id.example.com/token",
        "file:///etc/passwd",
        "token",
        "",
    ] {
        let refusal = read(json!({"token_endpoint": url})).unwrap_err().to_string();
        assert!(
            refusal.starts_with("the token_endpoint in its metadata cannot be used: "),
            "{url}: {refusal}"
        );
        assert!(!refusal.contains("s3cret"), "{refusal}");
    }
    assert!(read(json!({"token_endpoint": ["https://id.example.com/token"]})).is_err());
    assert!(read(json!({"revocation_endpoint": "http://id.example.com/revoke"})).is_err());
    assert_eq!(
        read(json!({"token_endpoint": null})),
        Err(UnusableMetadata::NoTokenEndpoint)
    );
    let traps = json!({"authorization_endpoint": "https://id.example.com/auth?redirect_uri=https://trap.example.com"});
    let spec = issuer_alone("AuthorizationCode", json!({}));
    let refusal = resolve_discovered(&spec, catalogue(), Some(&found(traps))).unwrap_err();
    assert!(matches!(refusal, ResolveError::BadUrl { .. }), "{refusal}");
}

#[test]
fn endpoints_at_other_hosts_get_nothing() {
    let named = InputSecret {
        hosts: Some("id.example.com"),
        ..CLIENT
    };
    let check = |spec: &EmailAssetSpec, over: Value| check_hosts(&resolved(spec, &found(over)), &[named]);
    let code = issuer_alone("AuthorizationCode", json!({}));
    let device = issuer_alone("DeviceCode", json!({}));
    let revoking = issuer_alone("AuthorizationCode", json!({"grantDeletionPolicy": "Revoke"}));
    assert_eq!(check(&code, json!({})), Ok(()));
    let trap = "https://trap.example.com/x";
    assert!(check(&code, json!({"token_endpoint": trap})).is_err());
    assert!(check(&device, json!({"device_authorization_endpoint": trap})).is_err());
    assert!(check(&revoking, json!({"revocation_endpoint": trap})).is_err());
    assert_eq!(
        check(&code, json!({"revocation_endpoint": trap})),
        Ok(()),
        "it is never called, so it is no reason to refuse"
    );
    let moved = resolved(&code, &found(json!({"revocation_endpoint": trap})));
    assert_eq!(moved.revocation_url, None);
}

#[test]
fn whoever_may_not_read_the_secrets_does_not_choose_who_is_asked() {
    let named = InputSecret {
        hosts: Some("id.example.com"),
        ..CLIENT
    };
    assert_eq!(check_issuer_host(ISSUER, &[named]), Ok(()));
    assert_eq!(check_issuer_host(ISSUER, &[]), Ok(()), "nothing could be sent");
    let refusal = check_issuer_host(ISSUER, &[named, SEED]).unwrap_err();
    assert_eq!(refusal.0.len(), 1, "each Secret speaks for itself: {refusal}");
    for issuer in [
        "https://trap.example.com",
        "https://id.example.com.trap.example.com/realms/mail",
        "https://id.example.com@trap.example.com",
    ] {
        assert!(check_issuer_host(issuer, &[named]).is_err(), "{issuer}");
    }
}

#[test]
fn an_issuer_of_an_email_provider_frees_its_own_host_alone() {
    let spec = issuer_alone("AuthorizationCode", json!({}));
    let under = |over: Value| resolve_under("corp", &spec, catalogue(), Some(&found(over))).unwrap();
    let own = under(json!({}));
    assert_eq!(check_hosts(&own, &[CLIENT]), Ok(()));
    assert_eq!(own.sign_in.callback_key, "p-corp");
    let elsewhere = under(json!({"token_endpoint": "https://trap.example.com/token"}));
    assert!(check_hosts(&elsewhere, &[CLIENT]).is_err());
    assert_eq!(
        resolve_under("corp", &spec, catalogue(), None),
        Err(ResolveError::Undiscovered {
            issuer: ISSUER.to_owned()
        })
    );
}

#[test]
fn a_code_does_not_leave_its_provider_by_way_of_metadata() {
    let over = json!({"authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth"});
    let spec = issuer_alone("AuthorizationCode", json!({}));
    let refusal = resolve_discovered(&spec, catalogue(), Some(&found(over))).unwrap_err();
    assert!(matches!(refusal, ResolveError::CodeLeavesProvider { .. }), "{refusal}");
}

#[test]
fn the_way_to_prove_a_client_follows_what_the_server_says() {
    let spec = issuer_alone("RefreshToken", json!({}));
    let with = |said: Value| {
        let over = json!({"token_endpoint_auth_methods_supported": said});
        resolved(&spec, &found(over)).authentication_with_secret
    };
    let (basic, post) = (
        ClientAuthentication::ClientSecretBasic,
        ClientAuthentication::ClientSecretPost,
    );
    assert_eq!(with(json!(["client_secret_post", "client_secret_basic"])), basic);
    assert_eq!(with(json!(["client_secret_post"])), post);
    assert_eq!(with(json!(["none", "private_key_jwt"])), basic, "none of it is ours");
    assert_eq!(with(json!("client_secret_post")), basic, "it is no list");
    assert_eq!(with(Value::Null), basic, "RFC 8414 section 2");
}

#[test]
fn the_status_brings_back_what_was_found_and_nothing_else() {
    for grant in ["AuthorizationCode", "DeviceCode", "RefreshToken"] {
        let spec = issuer_alone(grant, json!({}));
        let before = resolved(&spec, &found(json!({})));
        let shown = before.to_status(Some(ClientAuthentication::ClientSecretPost));
        let back = Discovered::of_status(ISSUER, &shown).unwrap();
        let after = resolved(&spec, &back);
        assert_eq!(after.token_url, before.token_url);
        assert_eq!(after.sign_in, before.sign_in, "{grant}");
        assert_eq!(after.revocation_url, before.revocation_url);
        assert_eq!(after.authentication_with_secret, before.authentication_with_secret);
        let again = after.to_status(Some(ClientAuthentication::ClientSecretPost));
        assert_eq!(again.token_url, shown.token_url);
        assert_eq!(Discovered::of_status("https://id.example.com/other", &shown), None);
    }
    // What an earlier spec had written out is not what the issuer says.
    let written = issuer_alone("RefreshToken", json!({"tokenURL": "https://id.example.com/own"}));
    let mut shown = resolve(&written, catalogue()).unwrap().to_status(None);
    shown.issuer = Some(ISSUER.to_owned());
    assert_eq!(Discovered::of_status(ISSUER, &shown), None);
    let own_page = issuer_alone(
        "AuthorizationCode",
        json!({"authorizationURL": "https://login.example.com/auth"}),
    );
    let shown = resolved(&own_page, &found(json!({}))).to_status(None);
    let back = Discovered::of_status(ISSUER, &shown).unwrap();
    assert_eq!(back.authorization_url, None);
}
