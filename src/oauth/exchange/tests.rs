use std::fmt::Write;
use std::time::Duration;

use super::*;
use crate::oauth::tests::server::{Server, Step, install_tls_provider, ok_json, response};
use crate::oauth::{Cause, Class, ClientAuthentication, FailureKind, HttpSettings, PrivateAddresses, ProxySetting};

const TOKEN: &str = r#"{"access_token":"new-access-token","refresh_token":"new-refresh-token","expires_in":3599,
    "scope":"https://mail.example.com/ openid","token_type":"Bearer","id_token":"aGVhZA.Ym9keQ.c2ln"}"#;

fn client() -> TokenClient {
    install_tls_provider();
    TokenClient::new(HttpSettings {
        timeout: Duration::from_secs(20),
        private_addresses: PrivateAddresses::Allow,
        proxy: ProxySetting::Direct,
        ..HttpSettings::default()
    })
    .unwrap()
}

fn exchange(server: &Server, path: &str, authentication: ClientAuthentication, redirect_uri: &str) -> CodeExchange {
    let mut token_endpoint = server.url("localhost");
    token_endpoint.set_path(path);
    CodeExchange {
        token_endpoint,
        client: ClientCredentials {
            client_id: "our-client".to_owned(),
            client_secret: Some(SecretString::from("GOCSPX-s3cret+/")),
            authentication,
        },
        code: SecretString::from("4/0AY0e-g7=code"),
        verifier: SecretString::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        redirect_uri: redirect_uri.to_owned(),
        certificate_authority: Some(server.authority.clone()),
    }
}

/// Google and Microsoft take the secret in the body, other servers in the header; a public client has none.
#[tokio::test]
async fn the_request_on_the_wire_is_exactly_this() {
    let code = "grant_type=authorization_code&code=4%2F0AY0e-g7%3Dcode&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    for (path, authentication, redirect_uri, header, rest) in [
        (
            "/token", // Google
            ClientAuthentication::ClientSecretPost,
            "https://mail.example.com/callback/google",
            "",
            "&client_id=our-client&client_secret=GOCSPX-s3cret%2B%2F&redirect_uri=https%3A%2F%2Fmail.example.com%2Fcallback%2Fgoogle",
        ),
        (
            "/contoso.onmicrosoft.com/oauth2/v2.0/token", // Microsoft, a public client on the person's machine
            ClientAuthentication::None,
            "http://localhost:51234",
            "",
            "&client_id=our-client&redirect_uri=http%3A%2F%2Flocalhost%3A51234",
        ),
        (
            "/token", // any other
            ClientAuthentication::ClientSecretBasic,
            "http://127.0.0.1:51234/",
            "authorization: Basic b3VyLWNsaWVudDpHT0NTUFgtczNjcmV0JTJCJTJG\r\n",
            "&redirect_uri=http%3A%2F%2F127.0.0.1%3A51234%2F",
        ),
    ] {
        let server = Server::start(vec![ok_json(TOKEN)]).await;
        let outcome = client()
            .exchange(
                &exchange(&server, path, authentication, redirect_uri),
                &Situation::default(),
            )
            .await;
        let Outcome::Answered(answer) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(answer.access_token.expose_secret(), "new-access-token");
        assert_eq!(answer.refresh_token.unwrap().expose_secret(), "new-refresh-token");
        assert_eq!(answer.id_token.unwrap().expose_secret(), "aGVhZA.Ym9keQ.c2ln");
        let body = format!("{code}{rest}");
        let expected = format!(
            "POST {path} HTTP/1.1\r\n\
             accept: application/json\r\n\
             content-type: application/x-www-form-urlencoded\r\n\
             {header}\
             user-agent: emailasset-operator/{}\r\n\
             host: localhost:{}\r\n\
             content-length: {}\r\n\
             \r\n\
             {body}",
            env!("CARGO_PKG_VERSION"),
            server.port,
            body.len()
        );
        assert_eq!(server.requests.lock().unwrap().concat(), expected);
    }
}

#[tokio::test]
async fn a_code_that_is_refused_repeats_no_secret() {
    let echo = r#"{"error":"invalid_grant","error_description":"code 4/0AY0e-g7=code with dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk is bad"}"#;
    let server = Server::start(vec![
        Step::Answer(response("400 Bad Request", "", echo)),
        Step::Reset,
        ok_json(TOKEN),
    ])
    .await;
    let client = client();
    let exchange = exchange(
        &server,
        "/token",
        ClientAuthentication::ClientSecretPost,
        "https://mail.example.com/cb",
    );
    let mut printed = format!("{exchange:?}");
    let outcome = client.exchange(&exchange, &Situation::default()).await;
    write!(printed, "{outcome:?}").unwrap();
    let Outcome::Refused(refusal) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (refusal.class, refusal.cause, refusal.description),
        (Class::Reauthorize, Cause::InvalidGrant, None)
    );
    let outcome = client.exchange(&exchange, &Situation::default()).await;
    let Outcome::Unknown(failure) = &outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(failure.kind, FailureKind::Reset);
    write!(
        printed,
        "{outcome:?}{:?}",
        client.exchange(&exchange, &Situation::default()).await
    )
    .unwrap();
    for secret in ["4/0AY0e", "dBjftJ", "GOCSPX", "new-access", "new-refresh", "aGVhZA"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    assert_eq!(server.request_count(), 3, "nothing is repeated");
}

#[tokio::test]
async fn a_redirect_uri_that_is_none_is_not_sent() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    let exchange = exchange(&server, "/token", ClientAuthentication::None, "callback");
    let outcome = client().exchange(&exchange, &Situation::default()).await;
    let Outcome::NotSent(failure) = &outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((failure.kind, failure.class()), (FailureKind::Request, Class::Bug));
    assert_eq!(server.request_count(), 0);
}

#[tokio::test]
async fn something_else_under_the_name_of_an_id_token_is_none() {
    for id_token in [r#""""#, "null", "7", r#""a b""#, r#""a.b\n.c""#, r#"{"a":1}"#] {
        let body = format!(r#"{{"access_token":"new-access-token","id_token":{id_token}}}"#);
        let server = Server::start(vec![ok_json(&body)]).await;
        let exchange = exchange(&server, "/token", ClientAuthentication::None, "http://127.0.0.1:1/");
        let outcome = client().exchange(&exchange, &Situation::default()).await;
        let Outcome::Answered(answer) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(answer.id_token.is_none(), "{id_token}");
    }
}
