//! Endpoints that an issuer's metadata tell, asked of the certified server; and the ways in which somebody who may edit
//! assets but not read Secrets tries to have a credential sent elsewhere by them (invariant 11).
//!
//! The trap is a second authorization server. Metadata that lie are pages that the first server serves below addresses
//! of their own: its host is allowed, its words are not to be trusted.

use std::sync::atomic::{AtomicUsize, Ordering};

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed, Stalled};
use emailasset::api::EmailAsset;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{
    Action, AuthorizationServer, CLIENT, Rotation, SharedStage, SignInStage, Stage, commands, condition, mailbox,
    sign_in, text, until, wait_until_gone,
};

const OPENID: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn the_issuer_is_all_that_a_server_of_ones_own_needs() {
    let stage = SharedStage::join().await;
    for (asset, provider) in [("found-oidc", Some("oidc")), ("found-plain", None)] {
        stage.seed_rotating(asset, Rotation::Strict).await;
        let mut manifest = by_issuer(&stage, asset, &stage.server.endpoints.url, &json!({}));
        if let Some(provider) = provider {
            manifest["spec"]["provider"] = json!(provider);
        }
        stage.apply(&manifest).await;
        let ready = stage.wait_until_ready(asset).await;
        stage.assert_token_works(asset).await;
        let shown = endpoints(&ready);
        assert_eq!(shown["tokenURL"], json!(stage.server.endpoints.token_url));
        assert_eq!(shown["issuer"], json!(stage.server.endpoints.url));
        assert!(shown["discovered"].as_array().unwrap().contains(&json!("tokenURL")));
    }
}

#[tokio::test]
async fn a_person_signs_in_where_the_issuer_says() {
    let stage = SignInStage::join().await;
    let asset = "found-sign-in";
    stage.server.add_person(&mailbox(asset)).await;
    let mut manifest = stage.sign_in_manifest(asset, "AuthorizationCode", &json!({}));
    for url in ["tokenURL", "authorizationURL"] {
        manifest["spec"]["oauth2"].as_object_mut().unwrap().remove(url);
    }
    stage.apply(&manifest).await;
    let waiting = stage.wait_for_link(asset, |_| true).await;
    let callback = sign_in(&waiting)["callbackURL"].as_str().unwrap().to_owned();
    stage.register_callback(&callback).await;
    let shown = endpoints(&waiting);
    assert_eq!(
        shown["authorizationURL"],
        json!(stage.server.endpoints.authorization_url)
    );
    stage.sign_in_well(asset).await;
    stage.assert_token_works(asset).await;
}

#[tokio::test]
async fn a_server_with_the_metadata_of_rfc_8414_alone_is_found() {
    let stage = SharedStage::join().await;
    let asset = "found-rfc-8414";
    let (issuer, _) = issuer_at(&stage, asset);
    let page = metadata(&stage, &issuer, &json!({}));
    let path = format!("/.well-known/oauth-authorization-server/{asset}");
    stage.server.serve_page(&path, &Action::answer_json(200, &page)).await;
    settle(&stage, asset, &issuer).await;
    stage.assert_token_works(asset).await;
}

#[tokio::test]
async fn an_issuer_is_asked_once_for_many_assets_and_not_at_a_restart() {
    let mut stage = SharedStage::alone("many-found", &[]).await;
    let (issuer, path) = issuer_at(&stage, "many");
    serve(&stage, &path, &metadata(&stage, &issuer, &json!({}))).await;
    let names: Vec<String> = (0..20).map(|index| format!("many-{index}")).collect();
    futures::future::join_all(names.iter().map(|asset| settle(&stage, asset, &issuer))).await;
    assert_eq!(stage.server.asked(&path).await, 1);

    // A restart knows the endpoints from the statuses.
    stage.restart().await;
    stage.wait_for_marker("after-many").await;
    assert_eq!(stage.server.asked(&path).await, 1);
    // What is due goes out at once, and the issuer is asked beside it, once for all.
    let due = names.iter().take(5);
    futures::future::join_all(due.map(|asset| stage.refresh_answered(asset, "after-the-restart"))).await;
    stage.server.wait_until_asked(&path, 2).await;
    stage.wait_for_marker("after-due").await;
    assert_eq!(stage.server.asked(&path).await, 2);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_asked_again_and_a_request_ends_the_pause() {
    let stage = SharedStage::join().await;
    let asset = "found-later";
    let (issuer, path) = issuer_at(&stage, asset);
    let down = Action::answer(503, "text/html", "<html>down</html>");
    stage.server.serve_page(&path, &down).await;
    stage.seed_rotating(asset, Rotation::None).await;
    stage.apply(&by_issuer(&stage, asset, &issuer, &json!({}))).await;
    let said = stage.wait_for_condition(asset, Ready, "False", "Retrying").await;
    let (_, _, message) = condition(&said, Ready).unwrap();
    assert!(message.contains(&issuer) && message.contains("HTTP 503"), "{message}");
    assert_eq!(condition(&said, Refreshed).unwrap().1, "Retrying");
    assert_eq!(condition(&said, Stalled), None, "it passes by itself");
    serve(&stage, &path, &metadata(&stage, &issuer, &json!({}))).await;
    stage.request_refresh(asset, "it-is-up").await;
    stage.wait_until_ready(asset).await;
}

#[tokio::test]
async fn what_the_issuer_said_last_serves_while_it_is_down_also_after_a_restart() {
    let mut stage = SharedStage::alone("stale-found", &[]).await;
    let asset = "stale";
    let (issuer, path) = issuer_at(&stage, asset);
    serve(&stage, &path, &metadata(&stage, &issuer, &json!({}))).await;
    settle(&stage, asset, &issuer).await;
    let before = stage.server.asked(&path).await;
    let down = Action::answer(503, "text/html", "<html>down</html>");
    stage.server.serve_page(&path, &down).await;
    stage.restart().await;
    let refreshed = stage.refresh_answered(asset, "while-it-is-down").await;
    stage.server.wait_until_asked(&path, before + 1).await;
    assert_eq!(condition(&refreshed, Refreshed).unwrap().0, "True");
    let refreshed = stage.refresh_answered(asset, "and-again").await;
    assert_eq!(condition(&refreshed, Ready).unwrap().0, "True");
    assert_eq!(condition(&refreshed, Refreshed).unwrap().0, "True");
}

#[tokio::test]
async fn a_discovery_that_fails_touches_no_grant_and_no_valid_token() {
    let stage = SharedStage::join().await;
    let asset = "found-and-lost";
    let (issuer, path) = issuer_at(&stage, asset);
    serve(&stage, &path, &metadata(&stage, &issuer, &json!({}))).await;
    let grant = settle(&stage, asset, &issuer).await;
    let kept = stage.secret(&format!("{asset}-grant")).await;
    let token = stage.access_token(asset).await;
    let nothing = format!("{issuer}/nothing");
    stage.change_spec(asset, &json!({"oauth2": {"issuer": nothing}})).await;
    let said = stage
        .wait_for_condition(asset, Refreshed, "False", "EndpointUnusable")
        .await;
    assert_eq!(condition(&said, Ready).unwrap().0, "True", "its token is valid");
    assert_eq!(condition(&said, Authorized).unwrap().0, "True");
    stage.request_refresh(asset, "at-nothing").await;
    stage.wait_for_marker("after-found-and-lost").await;
    let still = stage.secret(&format!("{asset}-grant")).await;
    assert_eq!(still.metadata.resource_version, kept.metadata.resource_version);
    assert_eq!(stage.access_token(asset).await, token);

    stage.change_spec(asset, &json!({"oauth2": {"issuer": issuer}})).await;
    stage.refresh_answered(asset, "as-before").await;
    // The request that was made meanwhile is answered too, with the other one or before it.
    assert!(matches!(stage.requests_of_grant(&grant).await, 2 | 3));
    stage.assert_token_works(asset).await;
}

#[tokio::test]
async fn another_token_endpoint_in_the_metadata_gets_nothing() {
    let (stage, trap) = stage_and_trap().await;
    let token = json!({"token_endpoint": trap.endpoints.token_url});
    is_refused(&stage, &trap, "liar-token", &token, &json!({})).await;
}

#[tokio::test]
async fn another_revocation_endpoint_in_the_metadata_gets_nothing() {
    let (stage, trap) = stage_and_trap().await;
    let revocation = json!({"revocation_endpoint": trap.endpoints.revocation_url});
    let revoke = json!({"oauth2": {"grantDeletionPolicy": "Revoke"}});
    is_refused(&stage, &trap, "liar-revocation", &revocation, &revoke).await;
}

#[tokio::test]
async fn another_device_authorization_endpoint_in_the_metadata_gets_nothing() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "liar-device";
    let (issuer, path) = issuer_at(&stage, asset);
    let lie = json!({"device_authorization_endpoint": trap.endpoints.device_authorization_url});
    serve(&stage, &path, &metadata(&stage, &issuer, &lie)).await;
    let mut manifest = by_issuer(&stage, asset, &issuer, &json!({"oauth2": {"grant": "DeviceCode"}}));
    manifest["spec"]["oauth2"]
        .as_object_mut()
        .unwrap()
        .remove("refreshTokenSecretRef");
    stage.apply(&manifest).await;
    stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let requests = trap.counters().await.requests;
    stage.wait_for_marker("after-liar-device").await;
    assert_eq!(trap.counters().await.requests, requests);
}

#[tokio::test]
async fn an_issuer_that_no_secret_names_is_not_even_asked() {
    let (stage, trap) = stage_and_trap().await;
    let port = trap.endpoints.url.rsplit(':').next().unwrap();
    for (asset, issuer) in [
        ("thief-issuer", trap.endpoints.url.clone()),
        ("thief-issuer-name", format!("https://localhost:{port}")),
    ] {
        stage.seed_rotating(asset, Rotation::None).await;
        stage.apply(&by_issuer(&stage, asset, &issuer, &json!({}))).await;
        assert_refused(&stage, &trap, asset).await;
    }
    assert_eq!(trap.asked(OPENID).await, 0);
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn the_command_in_the_message_has_the_right_issuer_asked() {
    let stage = SharedStage::join().await;
    let asset = "right-issuer";
    let (there, path) = issuer_at(&stage, asset);
    let issuer = there.replace("127.0.0.1", "localhost");
    serve(&stage, &path, &metadata(&stage, &issuer, &json!({}))).await;
    let client = stage.secret("oauth-client").await;
    let data = json!({"client_id": CLIENT, "client_secret": text(&client, "client_secret")});
    stage.put_secret("right-issuer-client", &data).await;
    stage.seed_rotating(asset, Rotation::Strict).await;
    let own = json!({"oauth2": {"clientCredentialsRef": {"name": "right-issuer-client"}}});
    stage.apply(&by_issuer(&stage, asset, &issuer, &own)).await;
    let said = stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let message = condition(&said, Ready).unwrap().2;
    assert_eq!(commands(&message).len(), 2, "{message}");
    assert_eq!(stage.server.asked(&path).await, 0);
    stage.run_command_of(&message).await;
    stage.wait_until_ready(asset).await;
    stage.assert_token_works(asset).await;
}

#[tokio::test]
async fn an_issuer_beside_a_provider_of_the_catalogue_is_refused() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "thief-google";
    let mut manifest = by_issuer(&stage, asset, &trap.endpoints.url, &json!({"provider": "google"}));
    manifest["spec"]["oauth2"]["grant"] = json!("AuthorizationCode");
    manifest["spec"]["oauth2"]
        .as_object_mut()
        .unwrap()
        .remove("refreshTokenSecretRef");
    stage.apply(&manifest).await;
    stage.wait_for_condition(asset, Ready, "False", "InvalidSpec").await;
    assert_eq!(trap.asked(OPENID).await, 0);
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn metadata_that_are_not_the_issuers_own_are_not_believed() {
    let (stage, trap) = stage_and_trap().await;
    for (asset, named) in [
        ("other-issuer", json!(stage.server.endpoints.url)),
        (
            "slash-issuer",
            json!(format!("{}/slash-issuer/", stage.server.endpoints.url)),
        ),
        (
            "template-issuer",
            json!(format!("{}/{{tenantid}}", stage.server.endpoints.url)),
        ),
        ("no-issuer", Value::Null),
    ] {
        let said = ends_in(&stage, asset, &json!({"issuer": named}), "EndpointUnusable").await;
        assert!(said.contains("to the letter"), "{said}");
    }
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn endpoints_that_only_look_right_are_not_called() {
    let (stage, trap) = stage_and_trap().await;
    let (right, wrong) = (stage.host(), trap.endpoints.url.trim_start_matches("https://"));
    for (asset, url) in [
        ("trick-user", format!("https://{right}@{wrong}/token")),
        ("trick-fragment", format!("https://{wrong}#@{right}/token")),
        ("trick-backslash", format!("https://{wrong}\\@{right}/token")),
        ("trick-plain", format!("http://{right}/token")),
        ("trick-file", "file:///var/run/secrets/token".to_owned()),
    ] {
        let said = ends_in(&stage, asset, &json!({"token_endpoint": url}), "EndpointUnusable").await;
        assert!(said.contains("token_endpoint"), "{said}");
    }
    ends_in(
        &stage,
        "trick-none",
        &json!({"token_endpoint": null}),
        "EndpointUnusable",
    )
    .await;
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn an_issuer_over_http_is_no_issuer() {
    let stage = SharedStage::join().await;
    let issuer = stage.server.endpoints.url.replace("https://", "http://");
    let manifest = by_issuer(&stage, "http-issuer", &issuer, &json!({}));
    let tried = stage
        .assets
        .patch("http-issuer", &PatchParams::apply("person"), &Patch::Apply(&manifest))
        .await;
    match tried {
        Err(kube::Error::Api(status)) => {
            assert!(status.message.contains("spec.oauth2.issuer"), "{}", status.message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_redirect_of_an_allowed_issuer_is_not_followed() {
    let (stage, trap) = stage_and_trap().await;
    for status in [301, 302, 307, 308] {
        let asset = format!("moved-issuer-{status}");
        let (_, path) = issuer_at(&stage, &asset);
        let mut moved = Action::answer(status, "text/plain", "");
        if let Action::Answer { headers, .. } = &mut moved {
            headers.insert("location", format!("{}{OPENID}", trap.endpoints.url));
        }
        stage.server.serve_page(&path, &moved).await;
        let said = is_unusable(&stage, &asset, "EndpointUnusable").await;
        assert!(said.contains("redirect"), "{said}");
    }
    assert_eq!(trap.asked(OPENID).await, 0);
    assert_eq!(trap.counters().await.token_requests, 0);
}

#[tokio::test]
async fn a_document_without_end_is_not_read_to_its_end() {
    let stage = SharedStage::join().await;
    let asset = "huge-issuer";
    let (_, path) = issuer_at(&stage, asset);
    let huge = Action::Answer {
        status: 200,
        headers: [("content-type", "application/json".to_owned())].into(),
        body: " ".repeat(1 << 20),
        repeat: 64,
        trickle: 0,
    };
    stage.server.serve_page(&path, &huge).await;
    let said = is_unusable(&stage, asset, "EndpointUnusable").await;
    assert!(said.contains("larger than the limit"), "{said}");
}

#[tokio::test]
async fn a_slow_issuer_delays_no_other_asset() {
    let stage = SharedStage::alone("slow-found", &["--token-timeout", "3s"]).await;
    let asset = "slow-issuer";
    let (issuer, path) = issuer_at(&stage, asset);
    let slow = Action::Answer {
        status: 200,
        headers: [("content-type", "application/json".to_owned())].into(),
        body: " ".to_owned(),
        repeat: 600,
        trickle: 100,
    };
    stage.server.serve_page(&path, &slow).await;
    stage.seed_rotating(asset, Rotation::None).await;
    stage.apply(&by_issuer(&stage, asset, &issuer, &json!({}))).await;
    stage.wait_for_condition(asset, Ready, "False", "Pending").await;
    stage.wait_for_marker("beside-the-slow-one").await;
    let said = stage.wait_for_condition(asset, Ready, "False", "Retrying").await;
    let (_, _, message) = condition(&said, Ready).unwrap();
    assert!(message.contains("took too long"), "{message}");
}

#[tokio::test]
async fn metadata_that_change_later_take_nothing_elsewhere() {
    let mut stage = SharedStage::alone("turned-found", &[]).await;
    let trap = AuthorizationServer::start().await;
    let asset = "turned";
    let (issuer, path) = issuer_at(&stage, asset);
    serve(&stage, &path, &metadata(&stage, &issuer, &json!({}))).await;
    settle(&stage, asset, &issuer).await;
    let lie = json!({"token_endpoint": trap.endpoints.token_url});
    serve(&stage, &path, &metadata(&stage, &issuer, &lie)).await;
    // A new process asks again as soon as something is due, and uses what was known until it has the answer.
    stage.restart().await;
    stage.request_refresh(asset, "which-brings-the-lie").await;
    stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let kept = stage.secret(&format!("{asset}-grant")).await;
    stage.request_refresh(asset, "send-it").await;
    stage.wait_for_marker("after-turned").await;
    assert_eq!(trap.counters().await.token_requests, 0);
    let still = stage.secret(&format!("{asset}-grant")).await;
    assert_eq!(still.metadata.resource_version, kept.metadata.resource_version);

    // Put right, it goes on with the grant it has.
    serve(&stage, &path, &metadata(&stage, &issuer, &json!({}))).await;
    let wishes = AtomicUsize::new(0);
    until("the issuer was asked again", || async {
        let wish = wishes.fetch_add(1, Ordering::Relaxed);
        stage.request_refresh(asset, &format!("mine-again-{wish}")).await;
        let seen = stage.assets.get(asset).await.unwrap();
        condition(&seen, Ready).filter(|said| said.0 == "True")
    })
    .await;
    stage.assert_token_works(asset).await;
}

#[tokio::test]
async fn a_living_grant_goes_to_no_other_issuers_endpoint_even_where_no_secret_is_named() {
    let stage = SharedStage::join().await;
    let trap = AuthorizationServer::start().await;
    let asset = "thief-of-grants";
    let (issuer, path) = issuer_at(&stage, asset);
    serve(&stage, &path, &metadata(&stage, &issuer, &json!({}))).await;
    let grant = settle(&stage, asset, &issuer).await;
    let spec = json!({"oauth2": {
        "clientCredentialsRef": null, "clientID": CLIENT,
        "refreshTokenSecretRef": {"name": "no-seed-by-issuer"}, "issuer": trap.endpoints.url,
    }});
    stage.change_spec(asset, &spec).await;
    stage.request_refresh(asset, "send-it").await;
    stage.wait_for_condition(asset, Ready, "False", "SeedRequired").await;
    stage.wait_for_marker("after-thief-of-grants").await;
    assert_eq!(trap.counters().await.token_requests, 0);
    let spec = json!({"oauth2": {
        "clientCredentialsRef": {"name": "oauth-client"}, "clientID": null,
        "refreshTokenSecretRef": {"name": format!("{asset}-seed")}, "issuer": issuer,
    }});
    stage.change_spec(asset, &spec).await;
    stage.wait_until_ready(asset).await;
    stage.refresh_answered(asset, "mine-again").await;
    assert!(stage.requests_of_grant(&grant).await >= 2);
}

#[tokio::test]
async fn a_retained_grant_is_not_adopted_for_another_issuer() {
    let stage = SharedStage::join().await;
    let trap = AuthorizationServer::start().await;
    let asset = "thief-heir-by-issuer";
    stage.settle(asset, Rotation::Strict, &json!({})).await;
    let before = stage.secret(&format!("{asset}-grant")).await;
    stage.assets.delete(asset, &DeleteParams::default()).await.unwrap();
    wait_until_gone(&stage.secrets, &format!("{asset}-token")).await;
    let mut manifest = by_issuer(
        &stage,
        asset,
        &trap.endpoints.url,
        &json!({"oauth2": {
            "clientID": CLIENT, "refreshTokenSecretRef": {"name": "no-heir-by-issuer"},
        }}),
    );
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
async fn any_other_secret_of_the_namespace_is_no_seed_for_a_strange_issuer() {
    let (stage, trap) = stage_and_trap().await;
    let database: Value = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database-2"},
        "stringData": {"password": "the-password-of-the-database"},
    });
    stage
        .secrets
        .patch("database-2", &PatchParams::apply("dba"), &Patch::Apply(&database))
        .await
        .unwrap();
    let asset = "thief-database-by-issuer";
    let (issuer, path) = issuer_at(&stage, asset);
    let lie = json!({"token_endpoint": trap.endpoints.token_url});
    serve(&stage, &path, &metadata(&stage, &issuer, &lie)).await;
    let seed = json!({"oauth2": {"refreshTokenSecretRef": {"name": "database-2", "key": "password"}}});
    stage.apply(&by_issuer(&stage, asset, &issuer, &seed)).await;
    let said = stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(message.contains("/database-2"), "{message}");
    assert_eq!(stage.server.asked(&path).await, 0, "its Secret names no host at all");
    assert_eq!(trap.counters().await.token_requests, 0);
}

/// An issuer of this name at the first server, and where its metadata are asked for.
fn issuer_at(stage: &Stage, name: &str) -> (String, String) {
    (
        format!("{}/{name}", stage.server.endpoints.url),
        format!("/{name}{OPENID}"),
    )
}

/// The metadata of an issuer whose endpoints are the first server's, with these members put over it.
fn metadata(stage: &Stage, issuer: &str, over: &Value) -> Value {
    let endpoints = &stage.server.endpoints;
    let mut metadata = json!({
        "issuer": issuer,
        "token_endpoint": endpoints.token_url,
        "authorization_endpoint": endpoints.authorization_url,
        "device_authorization_endpoint": endpoints.device_authorization_url,
        "revocation_endpoint": endpoints.revocation_url,
    });
    for (name, value) in over.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    metadata
}

async fn serve(stage: &Stage, path: &str, metadata: &Value) {
    stage.server.serve_page(path, &Action::answer_json(200, metadata)).await;
}

/// An asset that names its issuer and no endpoint.
fn by_issuer(stage: &Stage, asset: &str, issuer: &str, spec: &Value) -> Value {
    let mut manifest = stage.manifest(asset, "Strict", spec);
    let oauth2 = manifest["spec"]["oauth2"].as_object_mut().unwrap();
    oauth2.remove("tokenURL");
    oauth2.insert("issuer".to_owned(), json!(issuer));
    manifest
}

/// An asset that has its first token by way of its issuer; the grant's ID at the server.
async fn settle(stage: &SharedStage, asset: &str, issuer: &str) -> String {
    let grant = stage.seed_rotating(asset, Rotation::Strict).await;
    stage.apply(&by_issuer(stage, asset, issuer, &json!({}))).await;
    stage.wait_until_ready(asset).await;
    grant
}

/// An asset whose issuer's metadata are what `over` makes of them ends in this reason; the message.
async fn ends_in(stage: &SharedStage, asset: &str, over: &Value, reason: &str) -> String {
    let (issuer, path) = issuer_at(stage, asset);
    serve(stage, &path, &metadata(stage, &issuer, over)).await;
    is_unusable(stage, asset, reason).await
}

/// The issuer that bears the asset's name leads nowhere, and an admin must act; the message.
async fn is_unusable(stage: &SharedStage, asset: &str, reason: &str) -> String {
    let (issuer, _) = issuer_at(stage, asset);
    let grant = stage.seed_rotating(asset, Rotation::Strict).await;
    stage.apply(&by_issuer(stage, asset, &issuer, &json!({}))).await;
    let said = stage.wait_for_condition(asset, Ready, "False", reason).await;
    assert_eq!(condition(&said, Stalled).unwrap().0, "True");
    assert_eq!(stage.requests_of_grant(&grant).await, 0);
    let (_, _, message) = condition(&said, Ready).unwrap();
    assert!(message.contains(&issuer), "{message}");
    message
}

/// The issuer's own host is allowed; what its metadata say is not, and the trap has seen nothing.
async fn is_refused(stage: &SharedStage, trap: &AuthorizationServer, asset: &str, over: &Value, spec: &Value) {
    let (issuer, path) = issuer_at(stage, asset);
    serve(stage, &path, &metadata(stage, &issuer, over)).await;
    stage.seed_rotating(asset, Rotation::None).await;
    stage.apply(&by_issuer(stage, asset, &issuer, spec)).await;
    assert_refused(stage, trap, asset).await;
}

/// It ends in `HostNotAllowed` with the commands that would allow it, also when it is asked for.
async fn assert_refused(stage: &SharedStage, trap: &AuthorizationServer, asset: &str) {
    let said = stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    assert_eq!(condition(&said, Stalled).unwrap().0, "True");
    let message = condition(&said, Ready).unwrap().2;
    for secret in ["oauth-client", &format!("{asset}-seed")] {
        let command = format!(
            "kubectl annotate secret -n {} {secret} emailasset.dev/hosts=",
            stage.namespace
        );
        assert!(message.contains(&command), "{message}");
    }
    stage.request_refresh(asset, "please").await;
    stage.wait_for_marker(&format!("after-{asset}")).await;
    assert_eq!(trap.counters().await.token_requests, 0);
    let token = stage.secrets.get_opt(&format!("{asset}-token")).await.unwrap();
    assert!(token.is_none());
}

fn endpoints(asset: &EmailAsset) -> Value {
    serde_json::to_value(asset.status.as_ref().unwrap()).unwrap()["endpoints"].clone()
}

/// The shared stage, and a server that no Secret names.
async fn stage_and_trap() -> (SharedStage, AuthorizationServer) {
    static TRAP: OnceCell<AuthorizationServer> = OnceCell::const_new();
    let trap = TRAP.get_or_init(AuthorizationServer::start).await;
    (SharedStage::join().await, trap.for_this_test())
}
