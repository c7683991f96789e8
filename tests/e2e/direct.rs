//! Tokens that need no person: the client itself asks, or its service account; and clients that prove themselves by a key or by the operator's own identity.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use emailasset::api::ConditionType::{Authorized, Ready, Reconciling, Refreshed, Stalled};
use emailasset::api::EmailAsset;
use kube::api::{Patch, PatchParams};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::support::{
    Action, CLIENT, Fault, Match, Rotation, Stage, condition, generation_of, mailbox, note_secret, until,
};

const MAIL: &str = "https://mail.google.com/";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// An asset without a person; null takes a field away.
fn manifest(stage: &Stage, asset: &str, oauth2: &Value) -> Value {
    let mut spec = json!({"email": mailbox(asset), "oauth2": {"tokenURL": stage.server.endpoints.token_url}});
    for (name, value) in oauth2.as_object().unwrap() {
        spec["oauth2"][name] = value.clone();
    }
    json!({"apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "metadata": {"name": asset}, "spec": spec})
}

/// A key on P-256 with a certificate, which the server knows a client by.
struct ClientKey {
    key: KeyPair,
    certificate: String,
}

impl ClientKey {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let pem = key.serialize_pem();
        // What all keys begin with is no secret.
        pem.lines()
            .filter(|line| line.len() == 64)
            .skip(1)
            .for_each(note_secret);
        let certificate = CertificateParams::new(["mail".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap()
            .pem();
        Self { key, certificate }
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key_raw();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "x": coordinate(&point[1..33]), "y": coordinate(&point[33..])})
    }

    /// Puts it into a Secret as cert-manager would, without any key of ours in it.
    async fn put(&self, stage: &Stage, name: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": name, "annotations": {"emailasset.dev/hosts": stage.host()}},
            "stringData": {"tls.key": self.key.serialize_pem(), "tls.crt": self.certificate},
        });
        stage
            .secrets
            .patch(name, &PatchParams::apply("person").force(), &Patch::Apply(&secret))
            .await
            .expect("a Secret can be made");
    }

    /// What a token of somebody else's who speaks for the client would say.
    fn assertion(&self, client: &str, audience: &str, id: &str) -> String {
        let now = jiff::Timestamp::now().as_second();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims =
            json!({"iss": client, "sub": client, "aud": audience, "jti": id, "iat": now - 30, "exp": now + 3000});
        let signed = format!("{}.{}", part(json!({"alg": "ES256", "typ": "JWT"})), part(claims));
        let random = SystemRandom::new();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key.serialize_der(), &random).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(key.sign(&random, signed.as_bytes()).unwrap());
        note_secret(&signature);
        format!("{signed}.{signature}")
    }
}

async fn register_key(stage: &Stage, client: &str, keys: &[&ClientKey]) {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    stage
        .server
        .register_with(json!({"clientId": client, "authentication": "private_key_jwt", "jwks": {"keys": keys}}))
        .await;
}

fn message(asset: &EmailAsset, kind: emailasset::api::ConditionType) -> String {
    condition(asset, kind).map(|said| said.2).unwrap_or_default()
}

/// Waits until the published token has this generation, and asserts that it is good; what the server knows of it.
async fn works(stage: &Stage, asset: &str, generation: u64) -> crate::support::Introspection {
    stage.wait_for_generation(asset, generation).await;
    let seen = stage.server.introspect(&stage.access_token(asset).await).await;
    assert!(seen.active, "{seen:?}");
    seen
}

#[tokio::test]
async fn a_client_gets_its_own_token_and_the_next_without_any_grant() {
    let stage = Stage::set("direct").await;
    let mut operator = stage.operator().await;
    let own =
        json!({"grant": "ClientCredentials", "clientCredentialsRef": {"name": "oauth-client"}, "scopes": ["mail"]});
    stage.apply(&manifest(&stage, "app", &own)).await;
    let asset = stage.wait_until_ready("app").await;
    let seen = works(&stage, "app", 1).await;
    assert_eq!(
        (seen.client_id.as_deref(), seen.scope.as_deref()),
        (Some(CLIENT), Some("mail"))
    );
    assert_eq!(condition(&asset, Authorized).unwrap().0, "True");
    assert!(message(&asset, Authorized).contains("nobody has to sign in"));
    assert!(condition(&asset, Stalled).is_none() && condition(&asset, Reconciling).is_none());
    let status = asset.status.unwrap();
    assert!(status.grant.is_none() && status.sign_in.is_none(), "{status:?}");

    stage.request_refresh("app", "again").await;
    works(&stage, "app", 2).await;
    assert!(
        stage.secrets.get_opt("app-grant").await.unwrap().is_none(),
        "nothing to keep"
    );

    // A restart has nothing to do.
    let before = stage.server.counters().await.token_requests;
    operator.kill().await;
    let _operator = stage.operator().await;
    stage.apply(&manifest(&stage, "marker", &own)).await;
    stage.wait_until_ready("marker").await;
    assert_eq!(stage.server.counters().await.token_requests, before + 1);

    // Another question is another token, at once, and nobody is asked to act.
    let mut other = own.clone();
    other["scopes"] = json!(["mail", MAIL]);
    stage.apply(&manifest(&stage, "app", &other)).await;
    let seen = works(&stage, "app", 3).await;
    assert_eq!(seen.scope.as_deref(), Some(format!("mail {MAIL}").as_str()));
}

#[tokio::test]
async fn a_key_proves_the_client_in_every_grant_and_may_be_changed() {
    let stage = Stage::set("keys").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    let (first, second) = (ClientKey::new(), ClientKey::new());
    register_key(&stage, "key-client", &[&first]).await;
    first.put(&stage, "key").await;
    let client = json!({"clientCredentialsRef": {"name": "key"}, "clientID": "key-client"});
    let merged = |more: Value| {
        let mut merged = client.clone();
        for (name, value) in more.as_object().unwrap() {
            merged[name] = value.clone();
        }
        merged
    };
    let minted = stage.server.mint("key-client", &mailbox("refreshed")).await;
    stage
        .put_secret("refreshed-seed", &json!({"refresh_token": minted.refresh_token}))
        .await;
    let refreshed = merged(
        json!({"grant": "RefreshToken", "rotation": "Strict", "refreshTokenSecretRef": {"name": "refreshed-seed", "key": "refresh_token"}}),
    );
    let own =
        merged(json!({"grant": "ClientCredentials", "clientAuthentication": "PrivateKeyJWT", "scopes": ["mail"]}));
    stage.apply(&manifest(&stage, "refreshed", &refreshed)).await;
    stage.apply(&manifest(&stage, "own", &own)).await;
    for asset in ["refreshed", "own"] {
        let ready = stage.wait_until_ready(asset).await;
        assert_eq!(works(&stage, asset, 1).await.client_id.as_deref(), Some("key-client"));
        let endpoints = ready.status.unwrap().endpoints.unwrap();
        assert_eq!(endpoints.client_authentication.unwrap().as_str(), "PrivateKeyJWT");
    }

    // Changed while a request is under way: that one ends well, the next is signed with the new key, which the server does not know.
    let held = stage
        .server
        .inject(Fault {
            hang: true,
            ..Fault::default()
        })
        .await;
    stage.request_refresh("own", "held").await;
    held.wait_until_held(1).await;
    second.put(&stage, "key").await;
    held.release().await;
    works(&stage, "own", 2).await;
    stage.request_refresh("own", "unknown key").await;
    let said = stage
        .wait_for_condition("own", Refreshed, "False", "ClientRejected")
        .await;
    assert_eq!(condition(&said, Ready).unwrap().0, "True", "the token is still valid");
    let told = message(&said, Refreshed);
    assert!(told.contains("/key") && !told.contains("sign in"), "{told}");

    // The server learns of it, and the grant that rotates goes on where it was.
    register_key(&stage, "key-client", &[&second]).await;
    stage.request_refresh("own", "known key").await;
    works(&stage, "own", 3).await;
    stage.request_refresh("refreshed", "known key").await;
    works(&stage, "refreshed", 2).await;
    let counters = stage.server.counters_of(&minted.grant_id).await;
    assert_eq!((counters.max_overlapping, counters.killed_by_replay), (1, 0));
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_named_with_its_secret() {
    let stage = Stage::set("badkeys").await;
    let operator = stage.operator().await;
    let (key, other) = (ClientKey::new(), ClientKey::new());
    let own = |secret: &str| json!({"grant": "ClientCredentials", "clientCredentialsRef": {"name": secret}, "clientID": "key-client"});
    let file = stage.server.service_account_key("mail@p.iam.gserviceaccount.com").await;
    let mut elsewhere = file.clone();
    elsewhere["token_uri"] = json!("https://evil.example/token");
    for (name, data, says) in [
        (
            "mismatched",
            json!({"tls.key": key.key.serialize_pem(), "tls.crt": other.certificate}),
            "Key tls.crt of Secret NAMESPACE/mismatched belongs to another private key",
        ),
        (
            "encrypted",
            json!({"tls.key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFHDBOBgkqhkiG9w0BBQ0wQTApBg\n-----END ENCRYPTED PRIVATE KEY-----\n"}),
            "Key tls.key of Secret NAMESPACE/encrypted is encrypted with a passphrase",
        ),
        (
            "nothing",
            json!({"client_id": "key-client"}),
            "Secret NAMESPACE/nothing has nothing with which the client could prove itself",
        ),
        (
            "elsewhere",
            json!({"key.json": elsewhere.to_string()}),
            "Key key.json of Secret NAMESPACE/elsewhere names a token_uri that is not Google's",
        ),
    ] {
        stage.put_secret(name, &data).await;
        let oauth2 = if name == "elsewhere" {
            json!({"grant": "JWTBearer", "clientCredentialsRef": {"name": name}, "scopes": [MAIL]})
        } else {
            own(name)
        };
        stage.apply(&manifest(&stage, name, &oauth2)).await;
        let said = stage.wait_for_condition(name, Ready, "False", "ClientMissing").await;
        let says = says.replace("NAMESPACE", &stage.namespace);
        assert!(message(&said, Ready).starts_with(&says), "{}", message(&said, Ready));
        assert!(condition(&said, Stalled).is_some());
    }
    assert_eq!(stage.server.counters().await.token_requests, 0);
    // Put right, it goes on at once.
    register_key(&stage, "key-client", &[&key]).await;
    stage
        .put_secret(
            "mismatched",
            &json!({"tls.key": key.key.serialize_pem(), "tls.crt": key.certificate}),
        )
        .await;
    stage.wait_until_ready("mismatched").await;
    assert!(!operator.log().contains("MIIFHDBOBgkqhkiG9w0BBQ0wQTApBg"));
}

#[tokio::test]
async fn a_service_account_opens_a_mailbox_once_the_admin_lets_it() {
    const ACCOUNT: &str = "mail@helpdesk.iam.gserviceaccount.com";
    let stage = Stage::set("delegated").await;
    let _operator = stage.operator().await;
    let file = stage.server.service_account_key(ACCOUNT).await;
    stage
        .put_secret("account", &json!({"helpdesk-0a1b2c.json": file.to_string()}))
        .await;
    let delegated = json!({"grant": "JWTBearer", "clientCredentialsRef": {"name": "account"}, "scopes": [MAIL]});
    stage.apply(&manifest(&stage, "box", &delegated)).await;

    // Nothing is delegated yet, and that may be because it has not spread.
    let said = stage.wait_for_condition("box", Ready, "False", "Retrying").await;
    let words = message(&said, Ready);
    assert!(
        words.contains("unauthorized_client") && words.contains("can take up to 24 h: it is tried again by itself"),
        "{words}"
    );
    assert!(condition(&said, Stalled).is_none() && condition(&said, Reconciling).is_some());
    assert_eq!(condition(&said, Authorized).unwrap().0, "Unknown");

    stage.server.delegate(ACCOUNT, &[MAIL]).await;
    stage.request_refresh("box", "delegated").await;
    let ready = stage.wait_until_ready("box").await;
    let seen = works(&stage, "box", 1).await;
    assert_eq!(
        seen.account.as_deref(),
        Some(mailbox("box").as_str()),
        "sub is the mailbox"
    );
    assert!(ready.status.unwrap().grant.is_none());
    assert!(stage.secrets.get_opt("box-grant").await.unwrap().is_none());

    // Another account of the same service: another token at once.
    let mut other = delegated.clone();
    other["loginEmail"] = json!("jane@example.com");
    stage.apply(&manifest(&stage, "box", &other)).await;
    assert_eq!(
        works(&stage, "box", 2).await.account.as_deref(),
        Some("jane@example.com")
    );

    // A deleted key is an admin's matter, and no wait for anything.
    stage.server.delete_key(&file).await;
    stage.request_refresh("box", "deleted").await;
    let said = stage
        .wait_for_condition("box", Refreshed, "False", "ClientRejected")
        .await;
    assert!(
        message(&said, Refreshed).contains("Invalid JWT Signature"),
        "{}",
        message(&said, Refreshed)
    );
    assert_eq!(condition(&said, Ready).unwrap().0, "True");
    assert_eq!(condition(&said, Authorized).unwrap().0, "True", "nobody has to sign in");
    // A new one mends it.
    let file = stage.server.service_account_key(ACCOUNT).await;
    stage
        .put_secret("account", &json!({"helpdesk-0a1b2c.json": file.to_string()}))
        .await;
    stage.request_refresh("box", "new key").await;
    works(&stage, "box", 3).await;
    stage.wait_for_condition("box", Refreshed, "True", "Refreshed").await;
}

#[tokio::test]
async fn a_service_account_is_never_called_dead_whatever_the_server_says() {
    const ACCOUNT: &str = "mail@helpdesk.iam.gserviceaccount.com";
    let stage = Stage::set("grantless").await;
    let _operator = stage.operator().await;
    let file = stage.server.service_account_key(ACCOUNT).await;
    stage.server.delegate(ACCOUNT, &[MAIL]).await;
    stage
        .put_secret("account", &json!({"key.json": file.to_string()}))
        .await;
    let delegated = json!({"grant": "JWTBearer", "clientCredentialsRef": {"name": "account"}, "scopes": [MAIL]});
    stage.apply(&manifest(&stage, "box", &delegated)).await;
    stage.wait_until_ready("box").await;
    for (round, (status, error, reason)) in [
        (400, "invalid_grant", "ClientRejected"),
        (403, "access_denied", "PolicyBlocked"),
        (503, "", "Retrying"),
    ]
    .into_iter()
    .enumerate()
    {
        let fault = Fault {
            applies_to: Match {
                grant_type: Some(BEARER),
                ..Match::default()
            },
            action: Action::answer_json(status, &json!({"error": error})),
            ..Fault::default()
        };
        stage.server.inject(fault).await;
        stage.request_refresh("box", &format!("fails {round}")).await;
        let said = stage.wait_for_condition("box", Refreshed, "False", reason).await;
        assert_eq!(condition(&said, Authorized).unwrap().0, "True");
        stage.request_refresh("box", &format!("works {round}")).await;
        stage.wait_for_condition("box", Refreshed, "True", "Refreshed").await;
    }
}

#[tokio::test]
async fn the_operators_own_identity_is_read_anew_for_each_request_and_only_where_it_is_allowed() {
    let stage = Stage::set("federated").await;
    let key = ClientKey::new();
    register_key(&stage, "federated-client", &[&key]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let audience = stage.server.endpoints.token_url.clone();
    let put = |id: &str| std::fs::write(&file, key.assertion("federated-client", &audience, id)).unwrap();
    put("first");
    let (allowed, host) = (format!("{}/federated-client", stage.namespace), stage.host());
    let operator = stage
        .operator_with(
            &[
                "--federated-token-file",
                file.to_str().unwrap(),
                "--federated-client",
                &allowed,
                "--federated-host",
                &host,
            ],
            &[],
        )
        .await;
    let own = json!({"grant": "ClientCredentials", "clientAuthentication": "FederatedToken", "clientID": "federated-client", "scopes": ["mail"]});
    stage.apply(&manifest(&stage, "own", &own)).await;
    stage.wait_until_ready("own").await;
    works(&stage, "own", 1).await;

    // The server takes an assertion once: had the file not been read again, the second would be refused.
    stage.request_refresh("own", "stale").await;
    stage
        .wait_for_condition("own", Refreshed, "False", "ClientRejected")
        .await;
    put("second");
    stage.request_refresh("own", "replaced").await;
    works(&stage, "own", 2).await;
    std::fs::remove_file(&file).unwrap();
    stage.request_refresh("own", "gone").await;
    let said = stage.wait_for_condition("own", Refreshed, "False", "Retrying").await;
    assert!(
        message(&said, Refreshed).contains("--federated-token-file does not exist"),
        "{}",
        message(&said, Refreshed)
    );
    put("third");
    stage.request_refresh("own", "back").await;
    works(&stage, "own", 3).await;

    // Another client, and another host: nothing is sent.
    let before = stage.server.counters().await.token_requests;
    let mut other = own.clone();
    other["clientID"] = json!("stranger");
    stage.apply(&manifest(&stage, "other-client", &other)).await;
    let said = stage
        .wait_for_condition("other-client", Ready, "False", "ClientMissing")
        .await;
    assert!(
        message(&said, Ready).contains(&format!("--federated-client {}/stranger", stage.namespace)),
        "{}",
        message(&said, Ready)
    );
    let mut other = own;
    other["tokenURL"] = json!("https://localhost:1/token");
    stage.apply(&manifest(&stage, "other-host", &other)).await;
    let said = stage
        .wait_for_condition("other-host", Ready, "False", "HostNotAllowed")
        .await;
    assert!(
        message(&said, Ready).contains("--federated-host localhost:1"),
        "{}",
        message(&said, Ready)
    );
    assert_eq!(stage.server.counters().await.token_requests, before);
    drop(operator);
}

#[tokio::test]
async fn an_asset_may_go_from_a_persons_grant_to_none_and_back_and_keeps_it() {
    let stage = Stage::set("turns").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    let grant = stage.seed("turn").await;
    let with_seed = stage.manifest("turn", "Strict", &json!({}));
    stage.apply(&with_seed).await;
    stage.wait_until_ready("turn").await;
    stage.request_refresh("turn", "once").await;
    works(&stage, "turn", 2).await;
    let own =
        json!({"grant": "ClientCredentials", "clientCredentialsRef": {"name": "oauth-client"}, "scopes": ["mail"]});
    stage.apply(&manifest(&stage, "turn", &own)).await;
    until("the client's own token is published", || async {
        let seen = stage.server.introspect(&stage.access_token("turn").await).await;
        seen.grant_id.is_none().then_some(())
    })
    .await;
    let kept = stage.secrets.get("turn-grant").await.unwrap();
    assert_eq!(generation_of(&kept), Some(2), "a grant is dear: it is left alone");

    stage.apply(&with_seed).await;
    until("the grant's own token is published again", || async {
        let seen = stage.server.introspect(&stage.access_token("turn").await).await;
        (seen.grant_id.as_deref() == Some(&grant)).then_some(())
    })
    .await;
    let asset = stage.wait_until_ready("turn").await;
    assert_eq!(asset.status.unwrap().grant.unwrap().generation, Some(2));
    stage.assert_token_works("turn").await;
    assert_eq!(stage.server.counters_of(&grant).await.killed_by_replay, 0);
    stage.request_refresh("turn", "twice").await;
    works(&stage, "turn", 3).await;
}
