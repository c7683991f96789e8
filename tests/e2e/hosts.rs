//! Where credentials may go (invariant 11): a person who may edit assets but not read Secrets tries to have one sent to
//! a server of their own.
//!
//! That server is a second authorization server, the trap. Its certificate is as good as the first one's, so that
//! nothing but the rules keeps a credential from it. It must never see a token request.

use std::fmt::Write;

use emailasset::api::ConditionType::Ready;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::support::{
    Action, AuthorizationServer, CLIENT, Fault, Rotation, SharedStage, commands, condition, wait_until_gone,
};

#[tokio::test]
async fn another_token_endpoint_gets_nothing() {
    let (stage, trap) = stage_and_trap().await;
    let spec = json!({"oauth2": {"tokenURL": trap.endpoints.token_url}});
    is_refused(&stage, &trap, "thief-token-url", &spec).await;
}

#[tokio::test]
async fn another_refresh_endpoint_beside_the_right_token_endpoint_gets_nothing() {
    let (stage, trap) = stage_and_trap().await;
    let spec = json!({"oauth2": {"refreshURL": trap.endpoints.token_url}});
    is_refused(&stage, &trap, "thief-refresh-url", &spec).await;
}

#[tokio::test]
async fn another_revocation_endpoint_beside_the_right_token_endpoint_gets_nothing() {
    let (stage, trap) = stage_and_trap().await;
    let spec = json!({"oauth2": {"grantDeletionPolicy": "Revoke", "revocationURL": trap.endpoints.revocation_url}});
    is_refused(&stage, &trap, "thief-revocation-url", &spec).await;
}

#[tokio::test]
async fn other_spellings_of_an_address_are_the_same_address() {
    let (stage, trap) = stage_and_trap().await;
    let port = trap.endpoints.url.rsplit(':').next().unwrap();
    for (asset, host) in [
        ("thief-name", "localhost"),
        ("thief-short", "127.1"),
        ("thief-number", "2130706433"),
        ("thief-hex", "0x7f000001"),
        ("thief-six", "[::ffff:127.0.0.1]"),
    ] {
        let spec = json!({"oauth2": {"tokenURL": format!("https://{host}:{port}/token")}});
        let manifest = stage.manifest(asset, "None", &spec);
        let only_try = PatchParams {
            dry_run: true,
            ..PatchParams::apply("person")
        };
        match stage.assets.patch(asset, &only_try, &Patch::Apply(&manifest)).await {
            Ok(_) => is_refused(&stage, &trap, asset, &spec).await,
            Err(kube::Error::Api(status)) => assert!(status.message.contains("tokenURL"), "{}", status.message),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_url_that_only_looks_like_the_right_host_is_no_url() {
    let (stage, trap) = stage_and_trap().await;
    let (right, wrong) = (
        stage.host(),
        trap.endpoints.url.trim_start_matches("https://").to_owned(),
    );
    for url in [
        format!("https://{right}@{wrong}/token"),
        format!("https://{wrong}#@{right}/token"),
        format!("https://{wrong}\\@{right}/token"),
        format!("https://{right}.{wrong}/token"),
        format!("https://127.0.0。1:{}/token", wrong.rsplit(':').next().unwrap()),
        format!("http://{wrong}/token"),
    ] {
        let manifest = stage.manifest("thief-trick", "None", &json!({"oauth2": {"tokenURL": url}}));
        let tried = stage
            .assets
            .patch("thief-trick", &PatchParams::apply("person"), &Patch::Apply(&manifest))
            .await;
        match tried {
            Err(kube::Error::Api(status)) => {
                assert!(status.message.contains("spec.oauth2.tokenURL"), "{}", status.message);
            }
            other => panic!("{url}: {other:?}"),
        }
    }
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn a_providers_name_does_not_cover_another_host() {
    let (stage, trap) = stage_and_trap().await;
    let spec = json!({"provider": "google", "oauth2": {"tokenURL": trap.endpoints.token_url}});
    is_refused(&stage, &trap, "thief-provider", &spec).await;
}

#[tokio::test]
async fn a_client_without_a_secret_does_not_free_the_seed() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "thief-public";
    let mut manifest = stage.manifest(
        asset,
        "None",
        &json!({"oauth2": {"tokenURL": trap.endpoints.token_url, "clientID": CLIENT}}),
    );
    manifest["spec"]["oauth2"]
        .as_object_mut()
        .unwrap()
        .remove("clientCredentialsRef");
    stage.seed_rotating(asset, Rotation::None).await;
    stage.apply(&manifest).await;
    stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn any_other_secret_of_the_namespace_is_no_seed_for_another_host() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "thief-database";
    let database: Value = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"},
        "stringData": {"password": "the-password-of-the-database"},
    });
    stage
        .secrets
        .patch("database", &PatchParams::apply("dba"), &Patch::Apply(&database))
        .await
        .unwrap();
    let spec = json!({"oauth2": {
        "tokenURL": trap.endpoints.token_url, "refreshTokenSecretRef": {"name": "database", "key": "password"},
    }});
    stage.apply(&stage.manifest(asset, "None", &spec)).await;
    let said = stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(message.contains("/database"), "{message}");
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn a_living_grant_goes_to_no_other_host_even_where_no_secret_is_named() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "thief-grant";
    let grant = stage.settle(asset, Rotation::Strict, &json!({})).await;
    // Nothing that could object is left: no client Secret, and a seed Secret that does not exist.
    let spec = json!({"oauth2": {
        "clientCredentialsRef": null, "clientID": CLIENT,
        "refreshTokenSecretRef": {"name": "thief-grant-none"}, "refreshURL": trap.endpoints.token_url,
    }});
    stage.change_spec(asset, &spec).await;
    stage.request_refresh(asset, "send-it").await;
    stage.wait_for_condition(asset, Ready, "False", "SeedRequired").await;
    stage.wait_for_marker("after-thief-grant").await;
    assert_eq!(trap.counters().await.token_requests, 0);

    // Nothing is lost: with the old spec it goes on.
    let spec = json!({"oauth2": {
        "clientCredentialsRef": {"name": "oauth-client"}, "clientID": null,
        "refreshTokenSecretRef": {"name": format!("{asset}-seed")}, "refreshURL": null,
    }});
    stage.change_spec(asset, &spec).await;
    stage.wait_until_ready(asset).await;
    stage.request_refresh(asset, "mine-again").await;
    stage.wait_for_generation(asset, 2).await;
    assert_eq!(stage.requests_of_grant(&grant).await, 2);
}

#[tokio::test]
async fn own_secrets_of_the_thief_do_not_lead_a_living_grant_elsewhere() {
    let stage = SharedStage::join().await;
    // A trap of its own: something does go there.
    let trap = AuthorizationServer::start().await;
    let asset = "thief-rich";
    stage.settle(asset, Rotation::Strict, &json!({})).await;
    // This one may make Secrets, though not read any: both name all hosts, and the client ID is the right one.
    let hosts = format!("{},{}", stage.host(), trap.endpoints.url.trim_start_matches("https://"));
    for (name, data) in [
        ("rich-client", json!({"client_id": CLIENT, "client_secret": "made-up"})),
        ("rich-seed", json!({"refresh_token": "made-up"})),
    ] {
        stage.put_secret(name, &data).await;
        let named = json!({"metadata": {"annotations": {"emailasset.dev/hosts": hosts}}});
        stage
            .secrets
            .patch(name, &PatchParams::default(), &Patch::Merge(&named))
            .await
            .unwrap();
    }
    let spec = json!({"oauth2": {
        "clientCredentialsRef": {"name": "rich-client"}, "refreshTokenSecretRef": {"name": "rich-seed"},
        "refreshURL": trap.endpoints.token_url,
    }});
    let kept = stage.secret(&format!("{asset}-grant")).await;
    let token = crate::support::text(&kept, "refresh_token");
    stage.change_spec(asset, &spec).await;
    stage.request_refresh(asset, "send-it").await;
    trap.wait_for_refreshes(1).await;
    // The first request was answered by their own seed. The next one asks for the grant.
    stage.request_refresh(asset, "send-the-other").await;
    trap.wait_for_refreshes(2).await;
    stage.wait_for_marker("after-thief-rich").await;
    // Their own made-up seed went to their own server, as both Secrets allow; nothing else did.
    let made_up = seen_by(&trap, "made-up").await;
    assert!(made_up >= 1);
    assert_eq!(seen_by(&trap, &token).await, 0);
}

#[tokio::test]
async fn a_retained_grant_is_not_adopted_for_another_endpoint() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "thief-heir";
    stage.settle(asset, Rotation::Strict, &json!({})).await;
    let before = stage.secret(&format!("{asset}-grant")).await;
    stage.assets.delete(asset, &DeleteParams::default()).await.unwrap();
    wait_until_gone(&stage.secrets, &format!("{asset}-token")).await;
    let mut manifest = stage.manifest(asset, "Strict", &json!({"oauth2": {
        "tokenURL": trap.endpoints.token_url, "clientID": CLIENT, "refreshTokenSecretRef": {"name": "no-heir-elsewhere"},
    }}));
    manifest["spec"]["oauth2"]
        .as_object_mut()
        .unwrap()
        .remove("clientCredentialsRef");
    stage.apply(&manifest).await;
    stage.wait_for_condition(asset, Ready, "False", "SecretConflict").await;
    let after = stage.secret(&format!("{asset}-grant")).await;
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn another_assets_grant_is_no_seed() {
    let (stage, trap) = stage_and_trap().await;
    stage.settle("rich-uncle", Rotation::Strict, &json!({})).await;
    let spec = json!({"oauth2": {"tokenURL": trap.endpoints.token_url, "refreshTokenSecretRef": {"name": "rich-uncle-grant"}}});
    stage.apply(&stage.manifest("thief-nephew", "None", &spec)).await;
    stage
        .wait_for_condition("thief-nephew", Ready, "False", "InvalidSpec")
        .await;
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn a_redirect_of_an_allowed_host_is_not_followed() {
    let (stage, trap) = stage_and_trap().await;
    for (status, asset) in [
        (302, "led-astray-302"),
        (307, "led-astray-307"),
        (308, "led-astray-308"),
    ] {
        let mut action = Action::answer(status, "text/plain", "");
        if let Action::Answer { headers, .. } = &mut action {
            headers.insert("location", trap.endpoints.token_url.clone());
        }
        stage
            .server
            .inject(Fault {
                action,
                ..SharedStage::fault(asset)
            })
            .await;
        stage.seed_rotating(asset, Rotation::None).await;
        stage.apply(&stage.manifest(asset, "None", &json!({}))).await;
        stage
            .wait_for_condition(asset, Ready, "False", "EndpointUnusable")
            .await;
    }
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn the_command_in_the_message_makes_a_right_host_work() {
    let stage = SharedStage::join().await;
    let asset = "right-host";
    let grant = stage.seed_rotating(asset, Rotation::Strict).await;
    // The client's Secret is this test's own, since what it allows is changed.
    let client = stage.secret("oauth-client").await;
    let data = json!({"client_id": CLIENT, "client_secret": crate::support::text(&client, "client_secret")});
    stage.put_secret("right-client", &data).await;
    let url = stage.server.endpoints.token_url.replace("127.0.0.1", "localhost");
    let spec = json!({"oauth2": {"tokenURL": url, "clientCredentialsRef": {"name": "right-client"}}});
    stage.apply(&stage.manifest(asset, "Strict", &spec)).await;
    let said = stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let message = condition(&said, Ready).unwrap().2;
    let place = stage.server.endpoints.url.replace("https://127.0.0.1", "localhost");
    let namespace = &stage.namespace;
    let own = stage.host();
    let expected = ["right-client", "right-host-seed"].map(|secret| {
        format!("kubectl annotate secret -n {namespace} {secret} emailasset.dev/hosts={own},{place} --overwrite")
    });
    assert_eq!(commands(&message), expected);
    assert_eq!(stage.requests_of_grant(&grant).await, 0);
    stage.run_command_of(&message).await;
    stage.wait_until_ready(asset).await;
    stage.assert_token_works(asset).await;
}

/// The asset ends in `HostNotAllowed` with the commands that would allow it, and the trap has seen nothing.
async fn is_refused(stage: &SharedStage, trap: &AuthorizationServer, asset: &str, spec: &Value) {
    stage.seed_rotating(asset, Rotation::None).await;
    stage.apply(&stage.manifest(asset, "None", spec)).await;
    let said = stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let message = condition(&said, Ready).unwrap().2;
    for secret in ["oauth-client", &format!("{asset}-seed")] {
        let command = format!(
            "kubectl annotate secret -n {} {secret} emailasset.dev/hosts=",
            stage.namespace
        );
        assert!(message.contains(&command), "{message}");
    }
    // Not by asking for it either.
    stage.request_refresh(asset, "please").await;
    stage.wait_for_marker(&format!("after-{asset}")).await;
    assert_eq!(trap.counters().await.token_requests, 0);
    assert!(
        stage
            .secrets
            .get_opt(&format!("{asset}-token"))
            .await
            .unwrap()
            .is_none()
    );
}

/// How many requests of the trap carried this credential.
async fn seen_by(trap: &AuthorizationServer, credential: &str) -> usize {
    let digest = Sha256::digest(credential)
        .iter()
        .fold(String::new(), |mut digest, byte| {
            let _ = write!(digest, "{byte:02x}");
            digest
        });
    let requests = trap.requests_since(0).await;
    requests
        .iter()
        .filter(|request| request.parameters.values().any(|value| value.contains(&digest)))
        .count()
}

/// The shared stage, and a server that no Secret names.
pub(crate) async fn stage_and_trap() -> (SharedStage, AuthorizationServer) {
    static TRAP: OnceCell<AuthorizationServer> = OnceCell::const_new();
    let trap = TRAP.get_or_init(AuthorizationServer::start).await;
    (SharedStage::join().await, trap.for_this_test())
}
