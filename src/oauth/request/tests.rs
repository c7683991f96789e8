use super::*;
use crate::oauth::SigningKey;
use crate::oauth::assertion::tests::{parts, rsa_pem, rsa_signed};

fn redemption() -> Redemption {
    Redemption {
        token_endpoint: Url::parse("https://id.example.com/token?tenant=a").unwrap(),
        client: ClientCredentials {
            client_id: "client:id é".to_owned(),
            client_secret: Some(SecretString::from("p+w/=%: ~*")),
            authentication: ClientAuthentication::ClientSecretPost,
        },
        refresh_token: SecretString::from("1//r+t=&~"),
        scopes: None,
        extra_parameters: Vec::new(),
        certificate_authority: None,
    }
}

fn parameters(request: &HttpRequest) -> Vec<(String, String)> {
    form_urlencoded::parse(request.body()).into_owned().collect()
}

fn client_with(authentication: ClientAuthentication) -> ClientCredentials {
    ClientCredentials {
        authentication,
        ..redemption().client
    }
}

fn with(authentication: ClientAuthentication) -> Redemption {
    let mut redemption = redemption();
    redemption.client.authentication = authentication;
    redemption
}

fn body(redemption: &Redemption) -> String {
    String::from_utf8(write(redemption).unwrap().into_body()).unwrap()
}

fn authorization(redemption: &Redemption) -> Option<String> {
    let request = write(redemption).unwrap();
    let header = request.headers().get(http::header::AUTHORIZATION)?;
    assert!(header.is_sensitive());
    Some(header.to_str().unwrap().to_owned())
}

#[test]
fn a_secret_in_the_body_is_url_encoded() {
    let redemption = with(ClientAuthentication::ClientSecretPost);
    assert_eq!(
        body(&redemption),
        "grant_type=refresh_token&refresh_token=1%2F%2Fr%2Bt%3D%26%7E&client_id=client%3Aid+%C3%A9&client_secret=p%2Bw%2F%3D%25%3A+%7E*"
    );
    assert_eq!(authorization(&redemption), None);
}

#[test]
fn a_basic_header_encodes_id_and_secret_before_base64() {
    use base64::Engine;
    let redemption = with(ClientAuthentication::ClientSecretBasic);
    assert_eq!(
        body(&redemption),
        "grant_type=refresh_token&refresh_token=1%2F%2Fr%2Bt%3D%26%7E"
    );
    // RFC 6749 section 2.3.1 and appendix B: a colon in the ID must not end it.
    let expected = base64::engine::general_purpose::STANDARD.encode("client%3Aid+%C3%A9:p%2Bw%2F%3D%25%3A+%7E*");
    assert_eq!(authorization(&redemption), Some(format!("Basic {expected}")));
}

#[test]
fn a_public_client_sends_its_id_and_no_secret() {
    let public = with(ClientAuthentication::None);
    let expected = "grant_type=refresh_token&refresh_token=1%2F%2Fr%2Bt%3D%26%7E&client_id=client%3Aid+%C3%A9";
    assert_eq!(body(&public), expected);
    for authentication in [
        ClientAuthentication::ClientSecretBasic,
        ClientAuthentication::ClientSecretPost,
    ] {
        let mut without_secret = with(authentication);
        without_secret.client.client_secret = None;
        assert_eq!(body(&without_secret), expected);
        assert_eq!(authorization(&without_secret), None);
    }
}

#[test]
fn scopes_are_sent_only_when_there_are_some() {
    let mut redemption = with(ClientAuthentication::ClientSecretBasic);
    redemption.scopes = Some(Vec::new());
    assert!(!body(&redemption).contains("scope"));
    redemption.scopes = Some(vec![
        "https://mail.example.com/".to_owned(),
        "offline_access".to_owned(),
    ]);
    assert!(body(&redemption).ends_with("&scope=https%3A%2F%2Fmail.example.com%2F+offline_access"));
}

#[test]
fn extra_parameters_are_sent_and_cannot_replace_ours() {
    let mut redemption = with(ClientAuthentication::ClientSecretBasic);
    redemption.extra_parameters = vec![("redirect_uri".to_owned(), "https://op.example.com/cb".to_owned())];
    assert!(body(&redemption).ends_with("&redirect_uri=https%3A%2F%2Fop.example.com%2Fcb"));
    for name in OWN_PARAMETERS {
        redemption.extra_parameters = vec![(name.to_owned(), "x".to_owned())];
        assert_eq!(
            write(&redemption).err(),
            Some(RequestError::OwnParameter(name.to_owned()))
        );
    }
}

#[test]
fn method_path_and_headers_are_those_of_the_rfc() {
    let request = write(&redemption()).unwrap();
    assert_eq!(request.method(), http::Method::POST);
    assert_eq!(request.uri(), "https://id.example.com/token?tenant=a");
    assert_eq!(request.headers()["accept"], "application/json");
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
}

#[test]
fn a_redemption_prints_no_secret() {
    let printed = format!("{:?}", redemption());
    assert!(!printed.contains("r+t") && !printed.contains("p+w"), "{printed}");
}

/// However a token is asked for, the client proves itself in the same way.
#[test]
fn every_request_carries_the_assertion_of_a_client_that_has_one() {
    let endpoint = Url::parse("https://id.example.com/token").unwrap();
    let key = SigningKey::from_pem(&rsa_pem()).unwrap();
    let signing = ClientAuthentication::PrivateKeyJwt(ClientKey {
        key,
        audience: endpoint.clone(),
    });
    for authentication in [signing, ClientAuthentication::Federated("head.body.signature".into())] {
        let client = client_with(authentication.clone());
        let requests = [
            write(&with(authentication)).unwrap(),
            write_code(&CodeExchange {
                token_endpoint: endpoint.clone(),
                client: client.clone(),
                code: "code".into(),
                verifier: "verifier-verifier-verifier-verifier-verifier".into(),
                redirect_uri: "http://127.0.0.1:1/".to_owned(),
                certificate_authority: None,
            })
            .unwrap(),
            write_device_start(&DeviceRequest {
                device_authorization_endpoint: Url::parse("https://id.example.com/device").unwrap(),
                client: client.clone(),
                scopes: vec!["mail".to_owned()],
                certificate_authority: None,
            })
            .unwrap(),
            write_device_poll(&DevicePoll {
                token_endpoint: endpoint.clone(),
                client: client.clone(),
                device_code: "device".into(),
                certificate_authority: None,
            })
            .unwrap(),
            write_client_credentials(&endpoint, &client, &["mail".to_owned()]).unwrap(),
        ];
        for request in &requests {
            let sent = parameters(request);
            let of = |name: &str| {
                let found: Vec<_> = sent.iter().filter(|(found, _)| found == name).collect();
                assert!(found.len() <= 1, "{name} is sent once");
                found.first().map(|(_, value)| value.as_str())
            };
            assert_eq!(of("client_assertion_type"), Some(ASSERTION_TYPE));
            assert_eq!(of("client_id"), Some("client:id é"));
            assert_eq!(of("client_secret"), None);
            assert_eq!(request.headers().get(http::header::AUTHORIZATION), None);
            let assertion = of("client_assertion").unwrap();
            assert!(assertion == "head.body.signature" || rsa_signed(assertion));
            if assertion != "head.body.signature" {
                let claims: serde_json::Value = serde_json::from_str(&parts(assertion)[1]).unwrap();
                assert_eq!(
                    claims["aud"], "https://id.example.com/token",
                    "also at the device endpoint"
                );
            }
        }
    }
}
