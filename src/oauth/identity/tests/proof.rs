use super::issuer::Issuer;
use super::*;
use crate::oauth::FailureKind;
use crate::oauth::tests::server::{Server, Step, ok_json, response};

const METADATA: &str = "/.well-known/openid-configuration";

fn question(issuer: &Issuer, identity: Identity) -> Question {
    let own = crate::provider::Authority::of(&Url::parse(&issuer.url("/")).unwrap());
    Question {
        identity,
        client_id: "our-client".to_owned(),
        nonce: Some("n-0S6".to_owned()),
        allowed: HostPolicy::new(&[own], None),
        certificate_authority: Some(issuer.server.authority.clone()),
    }
}

/// A server outside the catalogue.
async fn outside() -> (Issuer, Question) {
    let issuer = Issuer::start().await;
    issuer.page(METADATA, &issuer.metadata(""));
    let question = question(&issuer, identity_of(&issuer.url("")));
    (issuer, question)
}

/// As the entry `google` has it, but for the hosts.
async fn in_catalogue() -> (Issuer, Question) {
    let issuer = Issuer::start().await;
    let identity = Identity {
        also_issuers: vec!["accounts.example.com".to_owned()],
        keys_url: Some(Url::parse(&issuer.url("/keys")).unwrap()),
        userinfo_url: Some(Url::parse(&issuer.url("/userinfo")).unwrap()),
        accounts: vec![account("email", Counts::EmailVerified)],
        ..identity_of(&issuer.url(""))
    };
    let question = question(&issuer, identity);
    (issuer, question)
}

async fn prove_with(issuer: &Issuer, question: &Question, changes: Value) -> Result<Account, Unproven> {
    let token = issuer.token(&claims_with(&issuer.url(""), changes));
    prove(&client(), question, &answer(Some(&token))).await
}

#[tokio::test]
async fn an_issuer_outside_the_catalogue_is_discovered_once() {
    let (issuer, question) = outside().await;
    let client = client();
    let token = issuer.token(&claims_with(&issuer.url(""), json!({})));
    for _ in 0..3 {
        let account = prove(&client, &question, &answer(Some(&token))).await.unwrap();
        assert_eq!(account.issuer, issuer.url(""));
        assert_eq!(
            (account.subject.as_str(), account.name.as_str()),
            ("248289761001", "jane@example.com")
        );
    }
    let expected = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\naccept: application/json\r\nuser-agent: emailasset-operator/{}\r\nhost: localhost:{}\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
            issuer.server.port
        )
    };
    assert_eq!(
        *issuer.server.requests.lock().unwrap(),
        [expected(METADATA), expected("/keys")]
    );
}

#[tokio::test]
async fn a_provider_of_the_catalogue_is_not_discovered() {
    let (issuer, question) = in_catalogue().await;
    assert_eq!(
        prove_with(&issuer, &question, json!({})).await.unwrap().name,
        "jane@example.com"
    );
    assert_eq!(issuer.asked(), ["GET /keys"]);
    let other_spelling = prove_with(&issuer, &question, json!({"iss": "accounts.example.com"}))
        .await
        .unwrap();
    assert_eq!(other_spelling.issuer, issuer.url(""), "one account has one issuer");
}

#[tokio::test]
async fn an_id_token_without_a_name_sends_us_to_userinfo_with_the_access_token() {
    let (issuer, question) = in_catalogue().await;
    let page = json!({"sub": "248289761001", "email": "jane@example.com", "email_verified": true});
    issuer.page("/userinfo", &page);
    let nameless = json!({"email": null, "email_verified": null});
    assert_eq!(
        prove_with(&issuer, &question, nameless.clone()).await.unwrap().name,
        "jane@example.com"
    );
    let request = issuer.server.requests.lock().unwrap().last().unwrap().clone();
    let expected = format!(
        "GET /userinfo HTTP/1.1\r\naccept: application/json\r\nauthorization: Bearer the-access-token-of-jane\r\nuser-agent: emailasset-operator/{}\r\nhost: localhost:{}\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
        issuer.server.port
    );
    assert_eq!(request, expected);

    for (page, problem) in [
        (
            json!({"sub": "another", "email": "jane@example.com", "email_verified": true}),
            "speaks of another account",
        ),
        (
            json!({"email": "jane@example.com", "email_verified": true}),
            "speaks of another account",
        ),
        (
            json!({"sub": "248289761001", "email": "jane@example.com"}),
            "email_verified is not true",
        ),
        (json!({"sub": "248289761001"}), "none of them is there"),
    ] {
        issuer.page("/userinfo", &page);
        let message = prove_with(&issuer, &question, nameless.clone())
            .await
            .unwrap_err()
            .to_string();
        assert!(message.contains(problem), "{page}: {message}");
    }
    issuer.step(
        "/userinfo",
        Step::Answer(response("401 Unauthorized", "", r#"{"error":"invalid_token"}"#)),
    );
    let message = prove_with(&issuer, &question, nameless).await.unwrap_err().to_string();
    assert_eq!(
        message,
        "The userinfo endpoint cannot be read: localhost answered with HTTP 401. Check the issuer and the server."
    );
}

/// Invariant 11: discovery chooses the address, and people who may edit assets choose the issuer.
#[tokio::test]
async fn an_access_token_goes_to_no_host_that_its_secret_does_not_name() {
    let (issuer, mut question) = outside().await;
    let thief = Server::start(vec![ok_json("{}")]).await;
    let mut metadata = issuer.metadata("");
    metadata["userinfo_endpoint"] = json!(thief.url("localhost").as_str());
    issuer.page(METADATA, &metadata);
    let nameless = json!({"email": null});
    let found = prove_with(&issuer, &question, nameless.clone()).await;
    assert_eq!(
        found,
        Err(Unproven::UserinfoNotAllowed {
            host: "localhost".to_owned()
        })
    );

    issuer.page(METADATA, &issuer.metadata(""));
    question.allowed = HostPolicy::new(&[], None);
    let found = prove_with(&issuer, &question, nameless).await;
    assert_eq!(
        found,
        Err(Unproven::UserinfoNotAllowed {
            host: "localhost".to_owned()
        }),
        "being the issuer's own host is not enough"
    );
    assert_eq!(*thief.connections.lock().unwrap(), 0);
    assert!(!issuer.asked().contains(&"GET /userinfo".to_owned()));
}

#[tokio::test]
async fn a_token_that_is_not_the_issuers_is_never_followed_by_userinfo() {
    let (issuer, question) = in_catalogue().await;
    issuer.page(
        "/userinfo",
        &json!({"sub": "248289761001", "email": "jane@example.com", "email_verified": true}),
    );
    let (stranger, _) = in_catalogue().await;
    let forged = stranger.token(&claims_with(&issuer.url(""), json!({"email": null})));
    let found = prove(&client(), &question, &answer(Some(&forged))).await;
    assert_eq!(found, Err(Unproven::Signature { issuer: issuer.url("") }));
    for changes in [
        json!({"aud": "other", "email": null}),
        json!({"nonce": "other", "email": null}),
    ] {
        assert!(prove_with(&issuer, &question, changes).await.is_err());
    }
    assert!(!issuer.asked().contains(&"GET /userinfo".to_owned()));
}

#[tokio::test]
async fn without_an_id_token_userinfo_counts_only_where_the_catalogue_says_so() {
    let (issuer, mut question) = in_catalogue().await;
    issuer.page(
        "/userinfo",
        &json!({"sub": "248289761001", "email": "jane@example.com", "email_verified": true}),
    );
    let found = prove(&client(), &question, &answer(None)).await;
    assert_eq!(found, Err(Unproven::NoIdToken));
    assert!(issuer.asked().is_empty());
    question.identity.userinfo_alone = UserinfoAlone::Proves;
    let account = prove(&client(), &question, &answer(None)).await.unwrap();
    assert_eq!(
        (account.subject.as_str(), account.name.as_str()),
        ("248289761001", "jane@example.com")
    );
    assert_eq!(issuer.asked(), ["GET /userinfo"]);
    issuer.page(
        "/userinfo",
        &json!({"email": "jane@example.com", "email_verified": true}),
    );
    assert_eq!(prove(&client(), &question, &answer(None)).await, Err(Unproven::Subject));
}

#[tokio::test]
async fn a_provider_that_asserts_nothing_proves_nothing() {
    let (issuer, mut question) = outside().await;
    question.identity = Identity::default();
    let found = prove_with(&issuer, &question, json!({})).await.unwrap_err();
    assert_eq!(found, Unproven::NoIssuer);
    assert!(found.to_string().contains("Set spec.oauth2.issuer"));
    assert!(issuer.asked().is_empty());
}

#[tokio::test]
async fn a_key_that_is_new_is_looked_up_once() {
    let (mut issuer, question) = in_catalogue().await;
    let client = client();
    let claims = claims_with(&issuer.url(""), json!({}));
    prove(&client, &question, &answer(Some(&issuer.token(&claims))))
        .await
        .unwrap();
    issuer.rotate("2");
    prove(&client, &question, &answer(Some(&issuer.token_of_key("2", &claims))))
        .await
        .unwrap();
    assert_eq!(issuer.asked(), ["GET /keys"; 2]);
    let of_nobody = issuer.token_of_key("3", &claims);
    let found = prove(&client, &question, &answer(Some(&of_nobody))).await;
    assert_eq!(found, Err(Unproven::UnknownKey { issuer: issuer.url("") }));
    assert_eq!(issuer.asked(), ["GET /keys"; 3]);
    let found = prove(&super::client(), &question, &answer(Some(&of_nobody))).await;
    assert_eq!(found, Err(Unproven::UnknownKey { issuer: issuer.url("") }));
    assert_eq!(
        issuer.asked(),
        ["GET /keys"; 4],
        "keys that were just read are not read again"
    );
}

#[tokio::test(start_paused = true)]
async fn keys_are_read_again_after_some_minutes() {
    let client = client();
    let documents = client.documents();
    let key = (Url::parse("https://id.example.com/keys").unwrap(), None);
    documents.put(key.clone(), std::sync::Arc::default());
    tokio::time::advance(Duration::from_secs(599)).await;
    assert!(documents.get(&key).is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(documents.get(&key).is_none());
}

/// People may bring their own certificates: what a server says that only they trust is for them alone.
#[tokio::test]
async fn what_is_kept_is_kept_apart_by_trust() {
    let (issuer, question) = in_catalogue().await;
    let client = client();
    let token = issuer.token(&claims_with(&issuer.url(""), json!({})));
    prove(&client, &question, &answer(Some(&token))).await.unwrap();
    let other = Question {
        certificate_authority: None,
        ..question
    };
    let found = prove(&client, &other, &answer(Some(&token))).await.unwrap_err();
    let Unproven::Document {
        problem: DocumentError::Unreachable(failure),
        ..
    } = &found
    else {
        panic!("{found:?}")
    };
    assert_eq!(failure.kind, FailureKind::Certificate);
}

#[tokio::test]
async fn an_issuer_that_calls_itself_otherwise_is_not_believed() {
    let (issuer, mut question) = outside().await;
    for (path, named) in [("", "/"), ("/", ""), ("", "/other"), ("/tenant", "/Tenant")] {
        issuer.page(
            &format!("{}{METADATA}", path.trim_end_matches('/')),
            &issuer.metadata(named),
        );
        question.identity.issuer = Some(issuer.url(path));
        let found = prove_with(&issuer, &question, json!({"iss": issuer.url(path)}))
            .await
            .unwrap_err();
        let message = found.to_string();
        let name = format!(
            "name the issuer {}: the two must be the same to the letter",
            issuer.url(named)
        );
        assert!(message.contains(&name), "{path:?}, {named:?}: {message}");
        assert!(!found.is_temporary());
    }
    assert!(!issuer.asked().contains(&"GET /keys".to_owned()));
}

#[tokio::test]
async fn an_issuer_is_found_where_either_rule_puts_its_metadata() {
    let (issuer, mut question) = outside().await;
    question.identity.issuer = Some(issuer.url("/realms/staff"));
    let iss = json!({"iss": issuer.url("/realms/staff")});
    let nowhere = prove_with(&issuer, &question, iss.clone()).await.unwrap_err();
    assert!(
        nowhere
            .to_string()
            .contains("localhost answered with HTTP 404. Check the issuer"),
        "{nowhere}"
    );
    let asked = [
        "GET /realms/staff/.well-known/openid-configuration",
        "GET /.well-known/oauth-authorization-server/realms/staff",
    ];
    assert_eq!(issuer.asked(), asked);

    issuer.page(
        "/.well-known/oauth-authorization-server/realms/staff",
        &issuer.metadata("/realms/staff"),
    );
    prove_with(&issuer, &question, iss.clone()).await.unwrap();
    issuer.page(
        "/realms/staff/.well-known/openid-configuration",
        &issuer.metadata("/realms/staff"),
    );
    prove_with(&issuer, &question, iss.clone()).await.unwrap();

    issuer.page(
        "/realms/staff/.well-known/openid-configuration",
        &json!({"issuer": issuer.url("/realms/staff")}),
    );
    let found = prove_with(&issuer, &question, iss).await;
    assert_eq!(
        found,
        Err(Unproven::NoKeys {
            issuer: issuer.url("/realms/staff")
        })
    );
}

#[tokio::test]
async fn metadata_say_what_sign_in_needs() {
    let (issuer, question) = outside().await;
    let found = discover(&client(), &issuer.url(""), question.certificate_authority.as_ref())
        .await
        .unwrap();
    assert_eq!(found.names_issuer, crate::provider::NamesIssuer::Always);
    assert_eq!(
        found.endpoints,
        Err(crate::provider::UnusableMetadata::NoTokenEndpoint),
        "keys are all that a proof needs"
    );
    assert_eq!(found.scopes_supported, ["openid", "email"]);
    let little = json!({
        "issuer": issuer.url(""), "jwks_uri": "http://id.example.com/keys", "userinfo_endpoint": 1,
        "authorization_response_iss_parameter_supported": "true", "scopes_supported": "openid",
    });
    issuer.page(METADATA, &little);
    let client = client();
    let found = discover(&client, &issuer.url(""), question.certificate_authority.as_ref())
        .await
        .unwrap();
    assert_eq!((found.keys_url, found.userinfo_url), (None, None), "https only");
    assert_eq!(found.names_issuer, crate::provider::NamesIssuer::Perhaps);
    let mut whole = issuer.metadata("");
    whole["token_endpoint"] = json!(issuer.url("/token"));
    issuer.page(METADATA, &whole);
    let question = question.certificate_authority.as_ref();
    let kept = discover(&client, &issuer.url(""), question).await.unwrap();
    assert!(kept.endpoints.is_err(), "what was read in the last minutes will do");
    let anew = discover_anew(&client, &issuer.url(""), question).await.unwrap();
    let found = anew.endpoints.unwrap();
    assert_eq!(found.token_url.as_str(), issuer.url("/token"));
    assert_eq!(found.names_issuer, crate::provider::NamesIssuer::Always);
    for issuer in [
        "http://id.example.com",
        "id.example.com",
        "https://id.example.com?x",
        "https://id.example.com#x",
    ] {
        assert_eq!(
            discover(&client, issuer, None).await,
            Err(Undiscovered::NoUrl),
            "{issuer}"
        );
    }
}

#[tokio::test]
async fn documents_are_bounded_in_size_and_time() {
    let (issuer, question) = in_catalogue().await;
    issuer.step("/keys", Step::Flood);
    let found = prove_with(&issuer, &question, json!({})).await.unwrap_err();
    assert_eq!(
        found.to_string(),
        "The keys that ID tokens are signed with cannot be read: what localhost answered is larger than the limit. Check the issuer and the server."
    );
    issuer.server.flood_ended.notified().await;

    // Long enough to connect on a busy machine, short enough to wait for.
    let hurried = HttpSettings {
        timeout: Duration::from_secs(3),
        ..settings()
    };
    let token = issuer.token(&claims_with(&issuer.url(""), json!({})));
    let cut = response("200 OK", "", r#"{"keys":[]}"#).replace("]}", "");
    for (step, words) in [
        (
            Step::AnswerAndHang(cut.clone()),
            "what localhost answered broke off or took too long. Sign in again",
        ),
        (
            Step::AnswerAndHang(String::new()),
            "localhost did not answer in time. Sign in again",
        ),
        (
            Step::AnswerAndClose(cut),
            "what localhost answered broke off or took too long. Sign in again",
        ),
        (Step::Reset, "localhost broke the connection before it answered"),
        (
            Step::Answer(response("503 Service Unavailable", "", "")),
            "localhost answered with HTTP 503. Sign in again",
        ),
        (
            Step::Answer(response("200 OK", "", "<html>")),
            "what localhost answered is no JSON object. Check",
        ),
        (
            Step::Answer(response("302 Found", "Location: /other\r\n", "")),
            "localhost answered with HTTP 302, a redirect",
        ),
    ] {
        let settings = match step {
            Step::AnswerAndHang(_) => hurried.clone(),
            _ => settings(),
        };
        issuer.step("/keys", step);
        let found = prove(&client_with(settings), &question, &answer(Some(&token)))
            .await
            .unwrap_err();
        let message = found.to_string();
        assert!(message.contains(words), "expected {words:?}, got {message:?}");
        assert_eq!(found.is_temporary(), message.contains("Sign in again"), "{message}");
    }
}

#[tokio::test]
async fn an_issuer_on_loopback_is_refused_as_a_token_endpoint_is() {
    let (issuer, question) = outside().await;
    let guarded = client_with(HttpSettings {
        private_addresses: PrivateAddresses::Refuse,
        ..settings()
    });
    let token = issuer.token(&claims_with(&issuer.url(""), json!({})));
    let found = prove(&guarded, &question, &answer(Some(&token))).await.unwrap_err();
    assert!(found.to_string().contains("off limits"), "{found}");
    let found = discover_anew(&guarded, &issuer.url(""), question.certificate_authority.as_ref())
        .await
        .unwrap_err();
    assert!(found.to_string().contains("off limits"), "{found}");
    assert!(!found.is_temporary(), "somebody must correct it");
    assert_eq!(*issuer.server.connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn no_token_is_printed() {
    let (issuer, question) = in_catalogue().await;
    issuer.step(
        "/userinfo",
        Step::Answer(response("400 Bad Request", "", "the-access-token-of-jane")),
    );
    let token = issuer.token(&claims_with(&issuer.url(""), json!({"email": null})));
    let answer = answer(Some(&token));
    let found = prove(&client(), &question, &answer).await.unwrap_err();
    let printed = format!("{question:?} {answer:?} {found:?} {found}");
    for secret in [
        "the-access-token",
        token.split('.').nth(1).unwrap(),
        token.rsplit('.').next().unwrap(),
    ] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn a_proof_can_run_as_a_task_of_its_own() {
    fn assert_send<T: Send>(_: T) {}
    let (client, answer) = (client(), answer(None));
    let question = Question {
        identity: Identity::default(),
        client_id: String::new(),
        nonce: None,
        allowed: HostPolicy::new(&[], None),
        certificate_authority: None,
    };
    assert_send(prove(&client, &question, &answer));
}
