use std::fmt::Write;
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::dns::{Name, Resolve, Resolving};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;

use super::*;
use crate::oauth::resolver::GuardedResolver;
use crate::oauth::tests::server::{Proxy, Server, Step, install_tls_provider, ok_json, response};
use crate::oauth::{CaBundle, Cause, ClientAuthentication, ClientCredentials, PrivateAddresses, ProxySetting};

const TOKEN: &str = r#"{"access_token":"new-access-token","refresh_token":"new-refresh-token","expires_in":60}"#;

fn settings() -> HttpSettings {
    HttpSettings {
        timeout: Duration::from_secs(20),
        private_addresses: PrivateAddresses::Allow,
        proxy: ProxySetting::Direct,
        ..HttpSettings::default()
    }
}

/// Long enough to connect on a busy machine, short enough to wait for.
fn hurried() -> HttpSettings {
    HttpSettings {
        timeout: Duration::from_millis(700),
        ..settings()
    }
}

fn client(settings: HttpSettings) -> TokenClient {
    install_tls_provider();
    TokenClient::new(settings).unwrap()
}

fn redemption(token_endpoint: Url, authority: Option<CaBundle>) -> Redemption {
    Redemption {
        token_endpoint,
        client: ClientCredentials {
            client_id: "my client".to_owned(),
            client_secret: Some(SecretString::from("the-client-secret:+/")),
            authentication: ClientAuthentication::ClientSecretBasic,
        },
        refresh_token: SecretString::from("the-old-refresh-token"),
        scopes: Some(vec!["mail".to_owned(), "offline_access".to_owned()]),
        extra_parameters: vec![("redirect_uri".to_owned(), "oob".to_owned())],
        certificate_authority: authority,
    }
}

async fn redeem_at(server: &Server, settings: HttpSettings) -> Outcome {
    client(settings)
        .redeem(
            &redemption(server.url("localhost"), Some(server.authority.clone())),
            &Situation::default(),
        )
        .await
}

async fn redeem_after(step: Step) -> Outcome {
    redeem_at(&Server::start(vec![step]).await, settings()).await
}

fn not_sent(outcome: Outcome) -> TransportFailure {
    match outcome {
        Outcome::NotSent(failure) => failure,
        other => panic!("expected not sent, found {other:?}"),
    }
}

fn unknown(outcome: Outcome) -> TransportFailure {
    match outcome {
        Outcome::Unknown(failure) => failure,
        other => panic!("expected unknown, found {other:?}"),
    }
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn answered(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Answered(answer) => answer,
        other => panic!("expected an answer, found {other:?}"),
    }
}

#[tokio::test]
async fn the_request_on_the_wire_is_exactly_this() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    let answer = answered(redeem_at(&server, settings()).await);
    assert_eq!(answer.access_token.expose_secret(), "new-access-token");
    assert_eq!(answer.refresh_token.unwrap().expose_secret(), "new-refresh-token");
    assert_eq!(answer.expires_in, Some(SignedDuration::from_secs(60)));
    let expected = format!(
        "POST /token HTTP/1.1\r\n\
         accept: application/json\r\n\
         content-type: application/x-www-form-urlencoded\r\n\
         authorization: Basic bXkrY2xpZW50OnRoZS1jbGllbnQtc2VjcmV0JTNBJTJCJTJG\r\n\
         user-agent: emailasset-operator/{}\r\n\
         host: localhost:{}\r\n\
         content-length: 103\r\n\
         \r\n\
         grant_type=refresh_token&refresh_token=the-old-refresh-token&scope=mail+offline_access&redirect_uri=oob",
        env!("CARGO_PKG_VERSION"),
        server.port
    );
    assert_eq!(server.requests.lock().unwrap().concat(), expected);
}

#[tokio::test]
async fn a_second_redemption_uses_the_connection_of_the_first() {
    let server = Server::start(vec![ok_json(TOKEN), ok_json(TOKEN)]).await;
    let client = client(settings());
    for _ in 0..2 {
        answered(
            client
                .redeem(
                    &redemption(server.url("localhost"), Some(server.authority.clone())),
                    &Situation::default(),
                )
                .await,
        );
    }
    assert_eq!((*server.connections.lock().unwrap(), server.request_count()), (1, 2));
}

#[tokio::test]
async fn an_oauth_error_is_a_refusal_that_repeats_no_secret() {
    let body = r#"{"error":"invalid_grant","error_description":"token the-old-refresh-token is revoked"}"#;
    let refusal = refused(redeem_after(Step::Answer(response("400 Bad Request", "", body))).await);
    assert_eq!(
        (refusal.class, refusal.cause, refusal.description),
        (Class::Reauthorize, Cause::InvalidGrant, None)
    );
}

#[tokio::test]
async fn a_basic_header_that_is_echoed_is_not_repeated() {
    let body = r#"{"error":"invalid_client","error_description":"bad header Basic bXkrY2xpZW50OnRoZS1jbGllbnQtc2VjcmV0JTNBJTJCJTJG"}"#;
    let refusal = refused(redeem_after(Step::Answer(response("401 Unauthorized", "", body))).await);
    assert_eq!((refusal.class, refusal.description), (Class::AdminConfig, None));
}

#[tokio::test]
async fn statuses_that_say_nothing_was_issued_are_refusals() {
    for (status, class) in [
        ("429 Too Many Requests", Class::Throttled),
        ("503 Service Unavailable", Class::Retry),
        ("404 Not Found", Class::AdminConfig),
        ("400 Bad Request", Class::Retry),
    ] {
        let refusal = refused(redeem_after(Step::Answer(response(status, "Retry-After: 7\r\n", "<html>"))).await);
        assert_eq!(refusal.class, class, "{status}");
        assert_eq!(refusal.retry_after, Some(SignedDuration::from_secs(7)), "{status}");
    }
}

#[tokio::test]
async fn a_server_error_without_an_oauth_error_leaves_the_outcome_unknown() {
    for status in ["500 Internal Server Error", "502 Bad Gateway", "504 Gateway Timeout"] {
        let failure = unknown(redeem_after(Step::Answer(response(status, "Retry-After: 7\r\n", "<html>"))).await);
        assert_eq!(
            (failure.kind, failure.class()),
            (FailureKind::ServerError, Class::Retry),
            "{status}"
        );
        assert_eq!(
            failure.answer.unwrap().retry_after,
            Some(SignedDuration::from_secs(7)),
            "{status}"
        );
    }
    let of_a_framework = r#"{"status":500,"error":"Internal Server Error","path":"/token"}"#;
    let of_a_gateway = r#"{"error":{"code":500,"message":"Backend Error","status":"INTERNAL"}}"#;
    for body in [of_a_framework, of_a_gateway] {
        let failure = unknown(redeem_after(Step::Answer(response("500 Oops", "", body))).await);
        assert_eq!(failure.kind, FailureKind::ServerError, "{body}");
    }
    let named = response("500 Internal Server Error", "", r#"{"error":"server_error"}"#);
    assert_eq!(
        refused(redeem_after(Step::Answer(named)).await).cause,
        Cause::ServerError
    );
}

#[tokio::test]
async fn a_yes_that_cannot_be_read_leaves_the_outcome_unknown() {
    for (body, cause) in [
        ("<html>Welcome", Cause::NotJson),
        ("", Cause::NotJson),
        (r#"{"token_type":"Bearer"}"#, Cause::NoAccessToken),
    ] {
        let failure = unknown(redeem_after(ok_json(body)).await);
        assert_eq!(
            (failure.kind, failure.answer.unwrap().cause),
            (FailureKind::Unreadable, cause),
            "{body}"
        );
    }
    let zoho = r#"{"error":"invalid_client"}"#;
    assert_eq!(refused(redeem_after(ok_json(zoho)).await).cause, Cause::InvalidClient);
}

#[tokio::test]
async fn a_body_without_end_is_stopped_at_the_limit() {
    let server = Server::start(vec![Step::Flood]).await;
    let failure = unknown(redeem_at(&server, settings()).await);
    assert_eq!(failure.kind, FailureKind::TooLarge);
    assert_eq!(failure.answer.unwrap().cause, Cause::TooLarge);
    server.flood_ended.notified().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_the_outcome_unknown() {
    let cut = response("200 OK", "", TOKEN).replace(r#","expires_in":60}"#, "");
    let failure = unknown(redeem_after(Step::AnswerAndClose(cut.clone())).await);
    assert_eq!(
        (failure.kind, failure.answer.unwrap().cause),
        (FailureKind::Incomplete, Cause::Incomplete)
    );
    let server = Server::start(vec![Step::AnswerAndHang(cut)]).await;
    assert_eq!(
        unknown(redeem_at(&server, hurried()).await).kind,
        FailureKind::Incomplete
    );
}

#[tokio::test]
async fn a_complete_object_is_an_answer_although_the_body_did_not_end() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    let answer = answered(redeem_after(Step::AnswerAndClose(format!("{head}{TOKEN}"))).await);
    assert_eq!(answer.refresh_token.unwrap().expose_secret(), "new-refresh-token");
    let server = Server::start(vec![Step::AnswerAndHang(format!("{head}{TOKEN}"))]).await;
    answered(redeem_at(&server, hurried()).await);
}

#[tokio::test]
async fn silence_after_the_request_leaves_the_outcome_unknown() {
    let server = Server::start(vec![Step::AnswerAndHang(String::new())]).await;
    assert_eq!(unknown(redeem_at(&server, hurried()).await).kind, FailureKind::Timeout);
    assert_eq!(server.request_count(), 1);
}

#[tokio::test]
async fn a_reset_after_the_request_leaves_the_outcome_unknown_and_is_not_retried() {
    let server = Server::start(vec![Step::Reset, ok_json(TOKEN)]).await;
    assert_eq!(unknown(redeem_at(&server, settings()).await).kind, FailureKind::Reset);
    assert_eq!(server.request_count(), 1);
}

#[tokio::test]
async fn a_reset_on_a_reused_connection_is_not_retried_either() {
    let server = Server::start(vec![ok_json(TOKEN), Step::Reset, ok_json(TOKEN)]).await;
    let client = client(settings());
    let redemption = redemption(server.url("localhost"), Some(server.authority.clone()));
    answered(client.redeem(&redemption, &Situation::default()).await);
    assert_eq!(
        unknown(client.redeem(&redemption, &Situation::default()).await).kind,
        FailureKind::Reset
    );
    assert_eq!((*server.connections.lock().unwrap(), server.request_count()), (1, 2));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(vec![ok_json(TOKEN)]).await;
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("Location: {}\r\n", elsewhere.url("localhost"));
        let refusal = refused(redeem_after(Step::Answer(response(status, &location, ""))).await);
        assert_eq!(
            (refusal.class, refusal.cause),
            (Class::AdminConfig, Cause::Redirect),
            "{status}"
        );
    }
    assert_eq!(*elsewhere.connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = Url::parse(&format!("https://127.0.0.1:{port}/token")).unwrap();
    let failure = not_sent(
        client(settings())
            .redeem(&redemption(url, None), &Situation::default())
            .await,
    );
    assert_eq!((failure.kind, failure.class()), (FailureKind::Connect, Class::Retry));
    assert!(
        failure
            .to_string()
            .starts_with("127.0.0.1 cannot be connected to (Connection refused"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_host_that_takes_the_connection_and_no_tls_is_not_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = Url::parse(&format!(
        "https://127.0.0.1:{}/token",
        listener.local_addr().unwrap().port()
    ))
    .unwrap();
    let impatient = HttpSettings {
        connect_timeout: Duration::from_millis(200),
        ..settings()
    };
    for settings in [impatient, hurried()] {
        let failure = not_sent(
            client(settings)
                .redeem(&redemption(url.clone(), None), &Situation::default())
                .await,
        );
        assert_eq!(
            (failure.kind, failure.class()),
            (FailureKind::ConnectTimeout, Class::Retry)
        );
    }
    let accepted = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let failure = not_sent(
        client(settings())
            .redeem(&redemption(url, None), &Situation::default())
            .await,
    );
    assert_eq!(failure.class(), Class::Retry, "{failure:?}");
    accepted.abort();
}

#[tokio::test]
async fn a_certificate_for_another_name_or_of_a_stranger_is_not_sent() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    let client = client(settings());
    let authority = Some(server.authority.clone());
    let wrong_name = not_sent(
        client
            .redeem(&redemption(server.url("127.0.0.1"), authority), &Situation::default())
            .await,
    );
    assert_eq!(
        (wrong_name.kind, wrong_name.class()),
        (FailureKind::Certificate, Class::AdminConfig),
        "{wrong_name}"
    );
    let stranger = not_sent(
        client
            .redeem(&redemption(server.url("localhost"), None), &Situation::default())
            .await,
    );
    assert_eq!(stranger.kind, FailureKind::Certificate, "{stranger}");
    assert_eq!(server.request_count(), 0);
}

#[tokio::test]
async fn a_ca_bundle_of_the_operator_is_trusted_for_all() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    let settings = HttpSettings {
        ca_bundle: Some(server.authority.clone()),
        ..settings()
    };
    answered(
        client(settings)
            .redeem(&redemption(server.url("localhost"), None), &Situation::default())
            .await,
    );
}

#[tokio::test]
async fn a_ca_bundle_of_one_asset_is_not_trusted_for_another() {
    let server = Server::start(vec![ok_json(TOKEN), ok_json(TOKEN)]).await;
    let client = client(settings());
    answered(
        client
            .redeem(
                &redemption(server.url("localhost"), Some(server.authority.clone())),
                &Situation::default(),
            )
            .await,
    );
    let other = not_sent(
        client
            .redeem(&redemption(server.url("localhost"), None), &Situation::default())
            .await,
    );
    assert_eq!(other.kind, FailureKind::Certificate);
}

#[tokio::test]
async fn loopback_is_refused_by_default_however_it_is_written() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    let client = client(HttpSettings {
        private_addresses: PrivateAddresses::Refuse,
        ..settings()
    });
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "LOCALHOST.",
        "169.254.169.254",
    ] {
        let failure = not_sent(
            client
                .redeem(
                    &redemption(server.url(host), Some(server.authority.clone())),
                    &Situation::default(),
                )
                .await,
        );
        assert_eq!(
            (failure.kind, failure.class()),
            (FailureKind::BlockedAddress, Class::AdminConfig),
            "{host}"
        );
    }
    assert_eq!(*server.connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused_after_dns() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    // `localhost` is the one name that surely resolves here, so its check by name is left out.
    let guarded = reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(GuardedResolver(PrivateAddresses::Refuse))
        .build()
        .unwrap();
    let error = guarded.get(server.url("localhost")).send().await.unwrap_err();
    assert_eq!(why(&error, Sent::No).0, FailureKind::BlockedAddress);
    assert_eq!(*server.connections.lock().unwrap(), 0);
}

/// Knows no name, without asking anybody.
struct EmptyDns;

impl Resolve for EmptyDns {
    fn resolve(&self, _: Name) -> Resolving {
        let nothing = io::Error::other("no such host");
        Box::pin(async { Err(ResolveError::Lookup(nothing).into()) })
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_from_a_host_that_does_not_listen() {
    install_tls_provider();
    let lost = reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(EmptyDns)
        .build()
        .unwrap();
    let error = lost.get("https://nowhere.test/token").send().await.unwrap_err();
    assert_eq!(
        why(&error, Sent::No),
        (FailureKind::Dns, Some("no such host".to_owned()))
    );
}

#[tokio::test]
async fn plain_http_and_names_in_the_url_are_refused() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    let client = client(settings());
    for url in [
        format!("http://localhost:{}/token", server.port),
        format!("ftp://localhost:{}/token", server.port),
        format!("https://user@localhost:{}/token", server.port),
        format!("https://:password@localhost:{}/token", server.port),
    ] {
        let failure = not_sent(
            client
                .redeem(&redemption(Url::parse(&url).unwrap(), None), &Situation::default())
                .await,
        );
        assert_eq!(
            (failure.kind, failure.class()),
            (FailureKind::Endpoint, Class::AdminConfig),
            "{url}"
        );
        assert!(!failure.to_string().contains("password@"), "{failure}");
    }
    assert_eq!(*server.connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_proxy_may_have_any_address_and_resolves_the_name_itself() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    let proxy = Proxy::start(server.port).await;
    let client = client(HttpSettings {
        private_addresses: PrivateAddresses::Refuse,
        proxy: ProxySetting::Through(proxy.url.clone()),
        ..settings()
    });
    answered(
        client
            .redeem(
                &redemption(server.url("token.test"), Some(server.authority.clone())),
                &Situation::default(),
            )
            .await,
    );
    assert_eq!(
        *proxy.asked.lock().unwrap(),
        [format!("CONNECT token.test:{} HTTP/1.1", server.port)]
    );

    let literal = not_sent(
        client
            .redeem(
                &redemption(server.url("127.0.0.1"), Some(server.authority.clone())),
                &Situation::default(),
            )
            .await,
    );
    assert_eq!(literal.kind, FailureKind::BlockedAddress);
    assert_eq!(proxy.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_environment_names_the_proxy_and_the_certificates() {
    let server = Server::start(vec![ok_json(TOKEN)]).await;
    let proxy = Proxy::start(server.port).await;
    let bundle = std::env::temp_dir().join(format!("emailasset-ca-{}.pem", std::process::id()));
    std::fs::write(&bundle, &server.authority_pem).unwrap();
    // Another process: changing the environment of this one is not safe while other tests run.
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "oauth::redeem::tests::child_that_reads_its_environment",
            "--ignored",
        ])
        .env("TEST_TOKEN_ENDPOINT", server.url("token.test").as_str())
        .env("HTTPS_PROXY", proxy.url.as_str())
        .env("NO_PROXY", "direct.test")
        .env("SSL_CERT_FILE", &bundle)
        .env_remove("https_proxy")
        .env_remove("no_proxy")
        .output()
        .await
        .unwrap();
    std::fs::remove_file(bundle).unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(
        *proxy.asked.lock().unwrap(),
        [format!("CONNECT token.test:{} HTTP/1.1", server.port)]
    );
}

#[tokio::test]
#[ignore = "started by the_environment_names_the_proxy_and_the_certificates"]
async fn child_that_reads_its_environment() {
    let endpoint = std::env::var("TEST_TOKEN_ENDPOINT").expect("only for that test");
    install_tls_provider();
    let client = TokenClient::new(HttpSettings::default()).unwrap();
    answered(
        client
            .redeem(&redemption(Url::parse(&endpoint).unwrap(), None), &Situation::default())
            .await,
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_not_sent_and_its_password_is_not_printed() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = format!("http://user:pr0xy-passw0rd@{}", listener.local_addr().unwrap());
    let proxy = ProxySetting::Through(Url::parse(&proxy).unwrap());
    drop(listener);
    let client = client(HttpSettings { proxy, ..settings() });
    let url = Url::parse("https://token.test/token").unwrap();
    let failure = not_sent(client.redeem(&redemption(url, None), &Situation::default()).await);
    assert_eq!(failure.kind, FailureKind::Connect);
    let printed = format!("{client:?} {failure:?} {failure}");
    assert!(!printed.contains("pr0xy-passw0rd"), "{printed}");
}

#[test]
fn a_redemption_can_run_as_a_task_of_its_own() {
    fn assert_send<T: Send>(_: T) {}
    let client = client(settings());
    assert_send(client.redeem(
        &redemption(Url::parse("https://id.example.com/token").unwrap(), None),
        &Situation::default(),
    ));
}

#[tokio::test]
async fn a_request_that_cannot_be_written_is_our_bug() {
    let mut redemption = redemption(Url::parse("https://id.example.com/token").unwrap(), None);
    redemption.extra_parameters = vec![("refresh_token".to_owned(), "x".to_owned())];
    let failure = not_sent(client(settings()).redeem(&redemption, &Situation::default()).await);
    assert_eq!((failure.kind, failure.class()), (FailureKind::Request, Class::Bug));
}

#[tokio::test]
async fn nothing_that_can_be_printed_holds_a_secret() {
    let echo = r#"{"error":"invalid_grant","error_description":"the-client-secret:+/ the-old-refresh-token"}"#;
    let server = Server::start(vec![
        ok_json(TOKEN),
        Step::Answer(response("400 Bad Request", "", echo)),
        Step::Reset,
    ])
    .await;
    let client = client(settings());
    let redemption = redemption(server.url("localhost"), Some(server.authority.clone()));
    let mut printed = format!("{client:?} {redemption:?}");
    for _ in 0..3 {
        write!(printed, "{:?}", client.redeem(&redemption, &Situation::default()).await).unwrap();
    }
    for secret in [
        "the-client-secret",
        "the-old-refresh-token",
        "new-access-token",
        "new-refresh-token",
    ] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
