use std::time::Duration;

use super::*;
use crate::oauth::tests::server::{Server, Step, install_tls_provider, ok_json, response};
use crate::oauth::{ClientAuthentication, HttpSettings, PrivateAddresses, ProxySetting};

async fn revoke(server: &Server, authentication: ClientAuthentication) -> Result<(), NotRevoked> {
    install_tls_provider();
    let client = TokenClient::new(HttpSettings {
        timeout: Duration::from_secs(20),
        private_addresses: PrivateAddresses::Allow,
        proxy: ProxySetting::Direct,
        ..HttpSettings::default()
    })
    .unwrap();
    let mut endpoint = server.url("localhost");
    endpoint.set_path("/revoke");
    let revocation = Revocation {
        endpoint,
        client: ClientCredentials {
            client_id: "our-client".to_owned(),
            client_secret: Some(SecretString::from("the client+secret")),
            authentication,
        },
        refresh_token: SecretString::from("the/refresh+token="),
        gone: vec!["invalid_token".to_owned()],
        certificate_authority: Some(server.authority.clone()),
    };
    client.revoke(&revocation, &Situation::default()).await
}

fn last_request(server: &Server) -> String {
    server.requests.lock().unwrap().last().cloned().unwrap()
}

#[tokio::test]
async fn the_request_is_that_of_rfc_7009_with_the_clients_own_authentication() {
    let server = Server::start(vec![Step::Answer(response("200 OK", "", ""))]).await;
    revoke(&server, ClientAuthentication::ClientSecretPost).await.unwrap();
    let request = last_request(&server);
    assert!(request.starts_with("POST /revoke HTTP/1.1\r\n"), "{request}");
    let body = request.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(
        body,
        "token=the%2Frefresh%2Btoken%3D&token_type_hint=refresh_token&client_id=our-client&client_secret=the+client%2Bsecret"
    );

    let server = Server::start(vec![Step::Answer(response("200 OK", "", ""))]).await;
    revoke(&server, ClientAuthentication::ClientSecretBasic).await.unwrap();
    let request = last_request(&server);
    assert!(
        request.contains("authorization: Basic b3VyLWNsaWVudDp0aGUrY2xpZW50JTJCc2VjcmV0\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn what_stands_in_the_body_of_a_yes_does_not_matter() {
    for body in ["", "{}", "<html>done</html>", "OK"] {
        let server = Server::start(vec![Step::Answer(response("200 OK", "", body))]).await;
        assert_eq!(revoke(&server, ClientAuthentication::None).await, Ok(()), "{body}");
    }
}

#[tokio::test]
async fn an_error_in_a_yes_is_a_no() {
    let server = Server::start(vec![ok_json(r#"{"error":"invalid_client"}"#)]).await;
    let no = revoke(&server, ClientAuthentication::ClientSecretPost)
        .await
        .unwrap_err();
    assert!(!no.may_pass(), "{no}");
}

#[tokio::test]
async fn where_the_server_does_not_know_the_token_nothing_is_left_to_give_back() {
    for (body, given_back) in [
        (
            r#"{"error":"invalid_token","error_description":"Token expired or revoked"}"#,
            true,
        ),
        (r#"{"error":"invalid_grant"}"#, false),
        ("invalid_token", false),
    ] {
        let server = Server::start(vec![Step::Answer(response("400 Bad Request", "", body))]).await;
        let ended = revoke(&server, ClientAuthentication::ClientSecretPost).await;
        assert_eq!(ended.is_ok(), given_back, "{body}: {ended:?}");
    }
}

#[tokio::test]
async fn a_no_that_may_pass_is_told_from_one_that_stays() {
    let cases = [
        ("503 Service Unavailable", "", true),
        ("429 Too Many Requests", "", true),
        ("500 Internal Server Error", "oops", true),
        ("400 Bad Request", r#"{"error":"unsupported_token_type"}"#, false),
        ("401 Unauthorized", r#"{"error":"invalid_client"}"#, false),
        ("404 Not Found", "", false),
        ("302 Found", "", false),
    ];
    for (status, body, passes) in cases {
        let server = Server::start(vec![Step::Answer(response(status, "", body))]).await;
        let no = revoke(&server, ClientAuthentication::ClientSecretPost)
            .await
            .unwrap_err();
        assert_eq!(no.may_pass(), passes, "{status}: {no}");
    }
}

#[tokio::test]
async fn a_server_that_repeats_the_token_is_not_quoted() {
    let body = r#"{"error":"invalid_request","error_description":"the/refresh+token= is odd"}"#;
    let server = Server::start(vec![Step::Answer(response("400 Bad Request", "", body))]).await;
    let no = revoke(&server, ClientAuthentication::ClientSecretPost)
        .await
        .unwrap_err();
    assert!(!format!("{no:?} {no}").contains("refresh+token"), "{no:?}");
}
