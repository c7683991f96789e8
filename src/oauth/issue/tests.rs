use std::time::Duration;

use secrecy::SecretString;

use super::*;
use crate::oauth::assertion::tests::{parts, rsa_pem, rsa_signed};
use crate::oauth::tests::server::{Server, Step, install_tls_provider, ok_json, response};
use crate::oauth::{Class, ClientAuthentication, ClientKey, HttpSettings, PrivateAddresses, ProxySetting, SigningKey};

const TOKEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"eyJ0.app-only"}"#;

fn token_client() -> TokenClient {
    install_tls_provider();
    TokenClient::new(HttpSettings {
        timeout: Duration::from_secs(60),
        private_addresses: PrivateAddresses::Allow,
        proxy: ProxySetting::Direct,
        ..HttpSettings::default()
    })
    .unwrap()
}

fn endpoint(server: &Server) -> Url {
    let mut url = server.url("localhost");
    url.set_path("/0f0f/oauth2/v2.0/token");
    url
}

fn to_client(server: &Server, authentication: ClientAuthentication) -> Issuance {
    Issuance {
        token_endpoint: endpoint(server),
        to: IssuedTo::Client(ClientCredentials {
            client_id: "our-client".to_owned(),
            client_secret: Some(SecretString::from("s3cret+/")),
            authentication,
        }),
        scopes: vec!["https://outlook.office365.com/.default".to_owned()],
        certificate_authority: Some(server.authority.clone()),
    }
}

fn key() -> SigningKey {
    SigningKey::from_pem(&rsa_pem()).unwrap()
}

fn delegate(server: &Server) -> Issuance {
    Issuance {
        to: IssuedTo::Delegate {
            account: ServiceAccount {
                email: "mail@project.iam.gserviceaccount.com".to_owned(),
                key: key().with_key_id("0a1b2c"),
            },
            mailbox: "support@example.com".to_owned(),
            form: MailboxAssertion {
                audience: endpoint(server).to_string(),
                lifetime: jiff::SignedDuration::from_hours(1),
                backdate: jiff::SignedDuration::from_secs(30),
            },
        },
        scopes: vec!["https://mail.google.com/".to_owned()],
        ..to_client(server, ClientAuthentication::None)
    }
}

/// The body of a request, and the value of one of its parameters.
fn body(request: &str) -> &str {
    request.split("\r\n\r\n").nth(1).unwrap()
}

fn parameter(request: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(body(request).as_bytes());
    pairs
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn a_client_asks_for_its_own_token_with_exactly_this() {
    const SCOPE: &str = "&scope=https%3A%2F%2Foutlook.office365.com%2F.default";
    for (authentication, expected) in [
        (
            ClientAuthentication::ClientSecretPost,
            format!("grant_type=client_credentials&client_id=our-client&client_secret=s3cret%2B%2F{SCOPE}"),
        ),
        (
            ClientAuthentication::ClientSecretBasic,
            format!("grant_type=client_credentials{SCOPE}"),
        ),
        (
            ClientAuthentication::Federated("a.federated.token".into()),
            format!(
                "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.federated.token&client_id=our-client{SCOPE}"
            ),
        ),
    ] {
        let server = Server::start(vec![ok_json(TOKEN)]).await;
        let outcome = token_client()
            .issue(&to_client(&server, authentication), &Situation::default())
            .await;
        let Outcome::Answered(answer) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(answer.access_token.expose_secret(), "eyJ0.app-only");
        assert!(answer.refresh_token.is_none());
        let requests = server.requests.lock().unwrap().clone();
        let mut sent: Vec<&str> = body(&requests[0]).split('&').collect();
        let mut wanted: Vec<&str> = expected.split('&').collect();
        sent.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(sent, wanted);
        assert!(
            requests[0].starts_with("POST /0f0f/oauth2/v2.0/token HTTP/1.1\r\n"),
            "{}",
            requests[0]
        );
    }
}

#[tokio::test]
async fn a_client_with_a_key_signs_anew_for_each_request_and_sends_no_secret() {
    let server = Server::start(vec![ok_json(TOKEN), ok_json(TOKEN)]).await;
    let audience = endpoint(&server);
    let issuance = to_client(
        &server,
        ClientAuthentication::PrivateKeyJwt(ClientKey {
            key: key(),
            audience: audience.clone(),
        }),
    );
    let (client, mut names) = (token_client(), Vec::new());
    for _ in 0..2 {
        assert!(matches!(
            client.issue(&issuance, &Situation::default()).await,
            Outcome::Answered(_)
        ));
    }
    for request in &*server.requests.lock().unwrap() {
        assert_eq!(parameter(request, "client_id").as_deref(), Some("our-client"));
        assert_eq!(parameter(request, "client_secret"), None);
        assert!(!request.to_ascii_lowercase().contains("authorization:"));
        let assertion = parameter(request, "client_assertion").unwrap();
        assert!(rsa_signed(&assertion));
        let claims: serde_json::Value = serde_json::from_str(&parts(&assertion)[1]).unwrap();
        assert_eq!(
            (&claims["aud"], &claims["iss"]),
            (&audience.as_str().into(), &"our-client".into())
        );
        let now = Timestamp::now().as_second();
        let (begin, end) = (claims["nbf"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert!(end - begin <= 300 && begin <= now - 30 && end > now, "{claims}");
        names.push(claims["jti"].as_str().unwrap().to_owned());
    }
    assert_ne!(names[0], names[1], "a server may refuse an assertion that it has seen");
}

#[tokio::test]
async fn a_service_account_sends_its_assertion_and_nothing_else() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    assert!(matches!(
        token_client().issue(&delegate(&server), &Situation::default()).await,
        Outcome::Answered(_)
    ));
    let request = server.requests.lock().unwrap()[0].clone();
    let assertion = parameter(&request, "assertion").unwrap();
    assert_eq!(
        body(&request),
        format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}")
    );
    assert!(rsa_signed(&assertion));
    let claims: serde_json::Value = serde_json::from_str(&parts(&assertion)[1]).unwrap();
    assert_eq!(claims["sub"], "support@example.com");
    assert_eq!(claims["aud"], endpoint(&server).as_str());
    let lower = request.to_ascii_lowercase();
    assert!(
        lower.contains("content-type: application/x-www-form-urlencoded\r\n")
            && lower.contains("accept: application/json\r\n")
    );
}

/// A server repeats what it was sent; an assertion is good for minutes.
#[tokio::test]
async fn an_assertion_that_a_server_repeats_is_repeated_nowhere() {
    let server = Server::start(vec![Step::Answer(String::new())]).await;
    for issuance in [
        delegate(&server),
        to_client(
            &server,
            ClientAuthentication::Federated("a.federated.token-of-some-length".into()),
        ),
        to_client(
            &server,
            ClientAuthentication::PrivateKeyJwt(ClientKey {
                key: key(),
                audience: endpoint(&server),
            }),
        ),
    ] {
        let written = write(&issuance, Timestamp::now());
        let secrets = request::hide_assertions(&written, issuance.secrets());
        let body = String::from_utf8(written.unwrap().into_body()).unwrap();
        let sent = form_urlencoded::parse(body.as_bytes())
            .find(|(name, _)| name.ends_with("assertion"))
            .unwrap()
            .1
            .into_owned();
        assert!(secrets.leak_into(&format!("cannot read {sent} at all")));
    }
}

#[tokio::test]
async fn a_refusal_is_read_as_everywhere() {
    let refusal = response(
        "401 Unauthorized",
        "",
        r#"{"error":"unauthorized_client","error_description":"Client is unauthorized to retrieve access tokens using this method"}"#,
    );
    let server = Server::start(vec![Step::Answer(refusal)]).await;
    let Outcome::Refused(refusal) = token_client().issue(&delegate(&server), &Situation::default()).await else {
        panic!("refused")
    };
    assert_eq!(
        (refusal.class, refusal.code.as_str()),
        (Class::AdminConfig, "unauthorized_client")
    );
}
