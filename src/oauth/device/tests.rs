use std::time::Duration;

use super::*;
use crate::oauth::tests::server::{Server, Step, install_tls_provider, ok_json, response};
use crate::oauth::{ClientAuthentication, HttpSettings, PrivateAddresses, ProxySetting};

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

fn credentials(authentication: ClientAuthentication) -> ClientCredentials {
    ClientCredentials {
        client_id: "our-client".to_owned(),
        client_secret: Some(SecretString::from("the-client-secret")),
        authentication,
    }
}

fn request(server: &Server, authentication: ClientAuthentication) -> DeviceRequest {
    let mut endpoint = server.url("localhost");
    endpoint.set_path("/device");
    DeviceRequest {
        device_authorization_endpoint: endpoint,
        client: credentials(authentication),
        scopes: vec![
            "https://mail.example.com/IMAP".to_owned(),
            "offline_access".to_owned(),
            "openid".to_owned(),
        ],
        certificate_authority: Some(server.authority.clone()),
    }
}

fn poll(server: &Server, authentication: ClientAuthentication) -> DevicePoll {
    DevicePoll {
        token_endpoint: server.url("localhost"),
        client: credentials(authentication),
        device_code: SecretString::from("GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS"),
        certificate_authority: Some(server.authority.clone()),
    }
}

async fn begin(body: &str) -> Result<DeviceAuthorization, DeviceFailure> {
    let server = Server::start(vec![ok_json(body)]).await;
    client()
        .begin_device(&request(&server, ClientAuthentication::None), &Situation::default())
        .await
}

fn on_the_wire(path: &str, header: &str, port: u16, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\naccept: application/json\r\ncontent-type: application/x-www-form-urlencoded\r\n{header}user-agent: emailasset-operator/{}\r\nhost: localhost:{port}\r\ncontent-length: {}\r\n\r\n{body}",
        env!("CARGO_PKG_VERSION"),
        body.len()
    )
}

const GIVEN: &str = r#"{"device_code":"GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS","user_code":"WDJB-MJHT","verification_uri":"https://example.com/device",
    "verification_uri_complete":"https://example.com/device?user_code=WDJB-MJHT","expires_in":1800,"interval":7}"#;

const BASIC: &str = "authorization: Basic b3VyLWNsaWVudDp0aGUtY2xpZW50LXNlY3JldA==\r\n";

#[tokio::test]
async fn asking_for_a_code_is_exactly_this() {
    let scope = "scope=https%3A%2F%2Fmail.example.com%2FIMAP+offline_access+openid";
    for (authentication, header, body) in [
        (ClientAuthentication::None, "", format!("{scope}&client_id=our-client")),
        (
            ClientAuthentication::ClientSecretPost,
            "",
            format!("{scope}&client_id=our-client&client_secret=the-client-secret"),
        ),
        (ClientAuthentication::ClientSecretBasic, BASIC, scope.to_owned()),
    ] {
        let server = Server::start(vec![ok_json(GIVEN)]).await;
        let given = client()
            .begin_device(&request(&server, authentication), &Situation::default())
            .await
            .unwrap();
        assert_eq!(
            given.device_code.expose_secret(),
            "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS"
        );
        assert_eq!(given.user_code, "WDJB-MJHT");
        assert_eq!(given.verification_url.as_str(), "https://example.com/device");
        let complete = given.verification_url_complete.unwrap();
        assert_eq!(complete.as_str(), "https://example.com/device?user_code=WDJB-MJHT");
        assert_eq!((given.expires_in.as_secs(), given.interval.as_secs()), (1800, 7));
        let sent = server.requests.lock().unwrap().concat();
        assert_eq!(sent, on_the_wire("/device", header, server.port, &body));
    }
}

#[tokio::test]
async fn asking_whether_the_person_is_done_is_exactly_this() {
    let code = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS";
    for (authentication, header, body) in [
        (ClientAuthentication::None, "", format!("{code}&client_id=our-client")),
        (
            ClientAuthentication::ClientSecretPost,
            "",
            format!("{code}&client_id=our-client&client_secret=the-client-secret"),
        ),
        (ClientAuthentication::ClientSecretBasic, BASIC, code.to_owned()),
    ] {
        let server = Server::start(vec![ok_json(
            r#"{"access_token":"new-access-token","refresh_token":"r","id_token":"a.b.c"}"#,
        )])
        .await;
        let polled = client()
            .poll_device(&poll(&server, authentication), &Situation::default())
            .await;
        let DevicePolled::Answered(answer) = polled else {
            panic!("{polled:?}")
        };
        assert_eq!(answer.access_token.expose_secret(), "new-access-token");
        assert!(answer.refresh_token.is_some() && answer.id_token.is_some());
        let sent = server.requests.lock().unwrap().concat();
        assert_eq!(sent, on_the_wire("/token", header, server.port, &body));
    }
}

#[tokio::test]
async fn what_the_server_leaves_out_or_exaggerates_is_bounded() {
    let with = |rest: &str| {
        format!(
            r#"{{"device_code":"d-e-v-i-c-e","user_code":" ABCD 1234 ","verification_url":"https://www.google.com/device"{rest}}}"#
        )
    };
    for (rest, expires, interval) in [
        ("", 600, 5),
        (r#","expires_in":900,"interval":5"#, 900, 5),
        (r#","expires_in":"900","interval":"10""#, 900, 10),
        (r#","expires_in":900.7,"interval":2.5"#, 900, 2),
        (r#","expires_in":0,"interval":0"#, 600, 1),
        (r#","expires_in":-1,"interval":-1"#, 600, 1),
        (r#","expires_in":86400,"interval":86400"#, 3600, 300),
        (r#","expires_in":1e300,"interval":1e300"#, 600, 5),
        (r#","expires_in":null,"interval":null"#, 600, 5),
        (r#","expires_in":[],"interval":{}"#, 600, 5),
        (r#","expires_in":1,"interval":1"#, 1, 1),
    ] {
        let given = begin(&with(rest)).await.unwrap();
        assert_eq!(
            (given.expires_in.as_secs(), given.interval.as_secs()),
            (expires, interval),
            "{rest}"
        );
        assert_eq!(given.user_code, "ABCD 1234");
        assert_eq!(
            given.verification_url.as_str(),
            "https://www.google.com/device",
            "Google's spelling"
        );
        assert_eq!(given.verification_url_complete, None);
    }
}

#[tokio::test]
async fn a_code_that_nobody_could_use_is_refused() {
    let given = |device_code: &str, user_code: &str, page: &str| {
        serde_json::json!({"device_code": device_code, "user_code": user_code, "verification_uri": page}).to_string()
    };
    let page = "https://example.com/device";
    for body in [
        given("", "ABCD", page),
        given("a b", "ABCD", page),
        given(&"d".repeat(9000), "ABCD", page),
        given("d-e-v-i-c-e", "", page),
        given("d-e-v-i-c-e", "  ", page),
        given("d-e-v-i-c-e", "A\nB", page),
        given("d-e-v-i-c-e", "<ABCD>é", page),
        given("d-e-v-i-c-e", &"A".repeat(65), page),
        given("d-e-v-i-c-e", "d-e-v-i-c-e", page),
        given("d-e-v-i-c-e", "ABCD", "http://example.com/device"),
        given("d-e-v-i-c-e", "ABCD", "javascript:alert(1)"),
        given("d-e-v-i-c-e", "ABCD", "https://user@example.com/device"),
        given("d-e-v-i-c-e", "ABCD", "https://example.com\\@evil.example/"),
        given("d-e-v-i-c-e", "ABCD", "https://example.com/ device"),
        given("d-e-v-i-c-e", "ABCD", "example.com/device"),
        given("d-e-v-i-c-e", "ABCD", ""),
        given(
            "d-e-v-i-c-e",
            "ABCD",
            &format!("https://example.com/{}", "x".repeat(2048)),
        ),
        r#"{"device_code":7,"user_code":"ABCD","verification_uri":"https://example.com/device"}"#.to_owned(),
    ] {
        let found = begin(&body).await;
        assert!(
            matches!(&found, Err(DeviceFailure::Unusable { host, .. }) if host == "localhost"),
            "{body:.90}: {found:?}"
        );
        assert!(!format!("{found:?}").contains("d-e-v-i-c-e"));
    }
    let leak = GIVEN.replace("?user_code=WDJB-MJHT", "?c=GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS");
    assert_eq!(
        begin(&leak).await.unwrap().verification_url_complete,
        None,
        "a QR code must not hold the device code"
    );
    let unusable = GIVEN.replace("https://example.com/device?", "ftp://example.com/device?");
    assert_eq!(begin(&unusable).await.unwrap().verification_url_complete, None);
}

#[tokio::test]
async fn a_server_that_gives_no_code_says_why() {
    let server = |step| async move {
        let server = Server::start(vec![step]).await;
        client()
            .begin_device(
                &request(&server, ClientAuthentication::ClientSecretPost),
                &Situation::default(),
            )
            .await
    };
    for (status, body, cause) in [
        ("400 Bad Request", r#"{"error":"invalid_scope"}"#, Cause::InvalidScope),
        (
            "400 Bad Request",
            r#"{"error":"invalid_client","error_description":"the-client-secret is wrong"}"#,
            Cause::InvalidClient,
        ),
        (
            "401 Unauthorized",
            r#"{"error":"unauthorized_client"}"#,
            Cause::UnauthorizedClient,
        ),
        (
            "403 Forbidden",
            r#"{"error_code":"rate_limit_exceeded"}"#,
            Cause::RateLimited,
        ), // Google
        ("404 Not Found", "<html>", Cause::NotFound),
        ("302 Found", "", Cause::Redirect),
        ("429 Too Many Requests", "", Cause::RateLimited),
        ("200 OK", r#"{"error":"invalid_client"}"#, Cause::InvalidClient),
    ] {
        let found = server(Step::Answer(response(status, "", body))).await;
        let Err(DeviceFailure::Refused(refusal)) = found else {
            panic!("{status} {body}: {found:?}")
        };
        assert_eq!((refusal.cause, refusal.description), (cause, None), "{status} {body}");
    }
    for step in [
        Step::Reset,
        Step::Flood,
        ok_json("{}"),
        ok_json("<html>"),
        Step::Answer(response("500 Internal Server Error", "", "")),
        Step::AnswerAndClose(response("200 OK", "", GIVEN).replace("Content-Length: ", "Content-Length: 9")),
    ] {
        let found = server(step).await;
        assert!(matches!(found, Err(DeviceFailure::Unreachable(_))), "{found:?}");
    }
}

/// What each answer means, as a word.
async fn polled(status: &str, body: &str) -> String {
    let server = Server::start(vec![Step::Answer(response(status, "", body))]).await;
    let polled = client()
        .poll_device(&poll(&server, ClientAuthentication::None), &Situation::default())
        .await;
    assert!(!format!("{polled:?}").contains("GmRhmhcxhwAzkoEqiMEg"));
    match polled {
        DevicePolled::Refused(refusal) => format!("Refused {:?} {}", refusal.class, refusal.cause),
        DevicePolled::Unknown(failure) => format!("Unknown {}", failure.kind),
        other => format!("{other:?}").split('(').next().unwrap().to_owned(),
    }
}

#[rustfmt::skip]
const ANSWERS: &[(&str, &str, &str)] = &[
    ("400 Bad Request",           r#"{"error":"authorization_pending"}"#,                          "Pending"),
    ("428 Precondition Required", r#"{"error":"authorization_pending"}"#,                          "Pending"),       // Google
    ("200 OK",                    r#"{"error":"authorization_pending"}"#,                          "Pending"),       // GitHub's manner
    ("400 Bad Request",           r#"{"error":"slow_down"}"#,                                      "SlowDown"),
    ("403 Forbidden",             r#"{"error":"slow_down"}"#,                                      "SlowDown"),      // Google
    ("429 Too Many Requests",     r#"{"error":"slow_down"}"#,                                      "SlowDown"),
    ("429 Too Many Requests",     "",                                                              "SlowDown"),
    ("400 Bad Request",           r#"{"error":"access_denied"}"#,                                  "Declined"),
    ("403 Forbidden",             r#"{"error":"access_denied"}"#,                                  "Declined"),
    ("400 Bad Request",           r#"{"error":"authorization_declined"}"#,                         "Declined"),      // Microsoft
    ("400 Bad Request",           r#"{"error":"expired_token"}"#,                                  "Expired"),
    ("400 Bad Request",           r#"{"error":"bad_verification_code"}"#,                          "Refused Bug invalid_request"),   // Microsoft
    ("400 Bad Request",           r#"{"error":"invalid_grant","error_description":"redeemed"}"#,   "Refused Reauthorize invalid_grant"),
    ("401 Unauthorized",          r#"{"error":"invalid_client"}"#,                                 "Refused AdminConfig invalid_client"),
    ("400 Bad Request",           r#"{"error":"GmRhmhcxhwAzkoEqiMEg"}"#,                           "Refused AdminConfig other"),
    ("403 Forbidden",             "<html>blocked</html>",                                          "Refused AdminConfig access_denied"),
    ("404 Not Found",             "",                                                              "Refused AdminConfig not_found"),
    ("400 Bad Request",           "",                                                              "Unknown server_error"),
    ("503 Service Unavailable",   "",                                                              "Unknown server_error"),
    ("500 Internal Server Error", r#"{"error":"server_error"}"#,                                   "Unknown server_error"),
    ("500 Internal Server Error", "",                                                              "Unknown server_error"),
    ("200 OK",                    "{}",                                                            "Unknown unreadable"),
    ("200 OK",                    r#"{"access_token":"x"}"#,                                       "Answered"),
];

#[tokio::test]
async fn each_answer_to_the_question_has_its_meaning() {
    for (status, body, expected) in ANSWERS {
        assert_eq!(polled(status, body).await, *expected, "{status} {body}");
    }
}

#[tokio::test]
async fn a_question_that_does_not_arrive_can_be_asked_again() {
    let server = Server::start(vec![Step::Reset]).await;
    let mut poll = poll(&server, ClientAuthentication::None);
    assert!(matches!(
        client().poll_device(&poll, &Situation::default()).await,
        DevicePolled::Unknown(_)
    ));
    poll.certificate_authority = None;
    assert!(matches!(
        client().poll_device(&poll, &Situation::default()).await,
        DevicePolled::NotSent(_)
    ));
    assert_eq!(server.request_count(), 1, "each call asks once");
}
