//! What people put into Secrets and specs: seeds, clients, certificates, requests (design section 3).

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed};
use emailasset::api::EmailAsset;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::{
    Action, CLIENT, Certificates, Rotation, SharedStage, condition, generation_of, mailbox, random_suffix, text,
    wait_for,
};

#[tokio::test]
async fn a_changed_seed_is_redeemed_and_taken() {
    let stage = SharedStage::join().await;
    let first = stage.settle("changed", Rotation::Strict, &json!({})).await;
    let second = stage.seed_rotating("changed", Rotation::Strict).await;
    stage.wait_for_generation("changed", 2).await;
    let token = stage.server.introspect(&stage.access_token("changed").await).await;
    assert_eq!(token.grant_id.as_deref(), Some(second.as_str()));
    assert_eq!(stage.requests_of_grant(&first).await, 1);
    assert_eq!(stage.requests_of_grant(&second).await, 1);
}

#[tokio::test]
async fn a_refused_seed_is_said_and_the_grant_goes_on() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("refused", Rotation::Strict, &json!({})).await;
    let nonsense = format!("a-token-that-nobody-issued-{}", random_suffix());
    stage
        .put_secret("refused-seed", &json!({"refresh_token": nonsense}))
        .await;
    let said = stage
        .wait_for_condition("refused", Refreshed, "False", "SeedRejected")
        .await;
    assert_eq!(condition(&said, Ready).unwrap().0, "True");
    assert_eq!(condition(&said, Authorized).unwrap().0, "True");

    stage.request_refresh("refused", "routine").await;
    stage.wait_for_generation("refused", 2).await;
    stage.assert_token_works("refused").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 2);
    stage
        .wait_for_condition("refused", Refreshed, "False", "SeedRejected")
        .await;
    let sent = stage.server.requests_since(0).await;
    let of_nonsense = sent
        .iter()
        .filter(|request| request.account.as_deref() == Some(&mailbox("refused")) || request.grant_id.is_none());
    assert!(of_nonsense.count() >= 1);
}

#[tokio::test]
async fn a_reverted_seed_is_never_sent_again() {
    let stage = SharedStage::join().await;
    let first = stage
        .server
        .mint_rotating(CLIENT, &mailbox("reverted"), Rotation::Strict)
        .await;
    let seed = json!({"refresh_token": first.refresh_token});
    stage.put_secret("reverted-seed", &seed).await;
    stage.apply(&stage.manifest("reverted", "Strict", &json!({}))).await;
    stage.wait_until_ready("reverted").await;
    let second = stage.seed_rotating("reverted", Rotation::Strict).await;
    stage.wait_for_generation("reverted", 2).await;

    stage.put_secret("reverted-seed", &seed).await;
    stage.wait_for_marker("after-revert").await;
    assert_eq!(stage.requests_of_grant(&first.grant_id).await, 1);
    stage.request_refresh("reverted", "goes-on").await;
    stage.wait_for_generation("reverted", 3).await;
    assert_eq!(stage.requests_of_grant(&second).await, 2);
    stage.assert_token_works("reverted").await;
}

#[tokio::test]
async fn each_message_has_the_command_that_leads_from_a_missing_client_to_a_token() {
    let stage = SharedStage::join().await;
    let client = stage.server.register("late-client", "client_secret_basic").await;
    let minted = stage
        .server
        .mint_rotating("late-client", &mailbox("late"), Rotation::Strict)
        .await;
    stage
        .put_secret("late-seed", &json!({"refresh_token": minted.refresh_token}))
        .await;
    let own = json!({"oauth2": {"clientCredentialsRef": {"name": "late-oauth"}}});
    stage.apply(&stage.manifest("late", "Strict", &own)).await;

    let missing = stage.wait_for_condition("late", Ready, "False", "ClientMissing").await;
    assert!(condition(&missing, emailasset::api::ConditionType::Stalled).is_some());
    let message = condition(&missing, Ready).unwrap().2;
    let filled = message.replace("client_id=…", "client_id=late-client").replace(
        "client_secret=…",
        &format!("client_secret={}", client.client_secret.unwrap()),
    );
    assert_ne!(filled, message, "it has places for ID and secret");
    stage.run_command_of(&filled).await;

    let unnamed = stage.wait_for_condition("late", Ready, "False", "HostNotAllowed").await;
    stage.run_command_of(&condition(&unnamed, Ready).unwrap().2).await;
    stage.wait_until_ready("late").await;
    stage.assert_token_works("late").await;
    assert_eq!(stage.requests_of_grant(&minted.grant_id).await, 1);
}

#[tokio::test]
async fn a_client_that_goes_missing_leaves_the_valid_token_and_comes_back_at_once() {
    let stage = SharedStage::join().await;
    let (id, secret) = own_client(&stage, "absent-client", "client_secret_basic").await;
    put_client(
        &stage,
        "absent-oauth",
        &json!({"client_id": id, "client_secret": secret}),
    )
    .await;
    let minted = stage.server.mint(&id, &mailbox("absent")).await;
    stage
        .put_secret("absent-seed", &json!({"refresh_token": minted.refresh_token}))
        .await;
    let own = json!({"oauth2": {"clientCredentialsRef": {"name": "absent-oauth"}}});
    stage.apply(&stage.manifest("absent", "Strict", &own)).await;
    stage.wait_until_ready("absent").await;

    stage
        .secrets
        .delete("absent-oauth", &DeleteParams::default())
        .await
        .unwrap();
    let said = stage
        .wait_for_condition("absent", Refreshed, "False", "ClientMissing")
        .await;
    assert_eq!(condition(&said, Ready).unwrap().0, "True");
    stage.request_refresh("absent", "waits").await;
    put_client(
        &stage,
        "absent-oauth",
        &json!({"client_id": id, "client_secret": secret}),
    )
    .await;
    stage.wait_for_generation("absent", 2).await;
    stage.wait_for_condition("absent", Refreshed, "True", "Refreshed").await;
}

#[tokio::test]
async fn line_ends_around_credentials_do_not_matter() {
    let stage = SharedStage::join().await;
    let (id, secret) = own_client(&stage, "wordy-client", "client_secret_basic").await;
    let wordy = json!({"client_id": format!("{id}\n"), "client_secret": format!("{secret}\r\n")});
    put_client(&stage, "wordy-oauth", &wordy).await;
    let minted = stage.server.mint(&id, &mailbox("wordy")).await;
    let seed = json!({"refresh_token": format!("{}\n", minted.refresh_token)});
    stage.put_secret("wordy-seed", &seed).await;
    let own = json!({"oauth2": {"clientCredentialsRef": {"name": "wordy-oauth"}}});
    stage.apply(&stage.manifest("wordy", "Strict", &own)).await;
    stage.wait_until_ready("wordy").await;
    stage.assert_token_works("wordy").await;
}

#[tokio::test]
async fn a_seed_that_cannot_be_used_is_described_and_nothing_is_sent() {
    let stage = SharedStage::join().await;
    let spec = json!({});
    for (asset, data, says) in [
        ("wrong-key", json!({"refresh-token": "abc"}), "has no key refresh_token"),
        ("empty", json!({"refresh_token": ""}), "is empty"),
        ("lines", json!({"refresh_token": "one\ntwo"}), "is not one line of text"),
    ] {
        stage.put_secret(&format!("{asset}-seed"), &data).await;
        stage.apply(&stage.manifest(asset, "Strict", &spec)).await;
        let said = stage.wait_for_condition(asset, Ready, "False", "SeedRequired").await;
        let message = condition(&said, Ready).unwrap().2;
        assert!(message.contains(says), "{asset}: {message}");
        // It is mended without a restart and without waiting.
        stage.seed_rotating(asset, Rotation::Strict).await;
        stage.wait_until_ready(asset).await;
    }
}

#[tokio::test]
async fn binary_data_is_described_and_never_shown() {
    let stage = SharedStage::join().await;
    // 0xff is in no UTF-8 text.
    let binary = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "binary-seed", "annotations": {"emailasset.dev/hosts": stage.host()}},
        "data": {"refresh_token": "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno"},
    });
    let parameters = PatchParams::apply("person");
    stage
        .secrets
        .patch("binary-seed", &parameters, &Patch::Apply(&binary))
        .await
        .unwrap();
    stage.apply(&stage.manifest("binary", "Strict", &json!({}))).await;
    let said = stage.wait_for_condition("binary", Ready, "False", "SeedRequired").await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(message.contains("not one line of text"), "{message}");
    assert!(message.contains("binary-seed"), "{message}");
}

#[tokio::test]
async fn another_client_asks_for_a_new_seed_and_the_old_client_restores_the_grant() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("faithful", Rotation::Strict, &json!({})).await;
    own_client(&stage, "other-client", "client_secret_basic").await;
    let other = json!({"oauth2": {"clientID": "other-client"}});
    stage.change_spec("faithful", &other).await;
    let said = stage
        .wait_for_condition("faithful", Ready, "False", "SeedRequired")
        .await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(
        message.contains(CLIENT) && message.contains("spec.oauth2.clientID"),
        "{message}"
    );
    stage.request_refresh("faithful", "in-vain").await;
    stage.wait_for_marker("after-faithful").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 1, "nothing is sent");

    stage
        .change_spec("faithful", &json!({"oauth2": {"clientID": null}}))
        .await;
    stage.wait_until_ready("faithful").await;
    stage.request_refresh("faithful", "again").await;
    stage.wait_for_generation("faithful", 2).await;
    stage.assert_token_works("faithful").await;
}

#[tokio::test]
async fn another_key_of_the_seed_secret_is_another_seed() {
    let stage = SharedStage::join().await;
    let [first, second] = [(); 2].map(|()| stage.server.mint_rotating(CLIENT, "keys@example.com", Rotation::Strict));
    let (first, second) = (first.await, second.await);
    let both = json!({"refresh_token": first.refresh_token, "next": second.refresh_token});
    stage.put_secret("keys-seed", &both).await;
    stage.apply(&stage.manifest("keys", "Strict", &json!({}))).await;
    stage.wait_until_ready("keys").await;
    stage
        .change_spec("keys", &json!({"oauth2": {"refreshTokenSecretRef": {"key": "next"}}}))
        .await;
    stage.wait_for_generation("keys", 2).await;
    assert_eq!(stage.requests_of_grant(&first.grant_id).await, 1);
    assert_eq!(stage.requests_of_grant(&second.grant_id).await, 1);
}

#[tokio::test]
async fn the_client_file_of_googles_console_works_as_it_is() {
    let stage = SharedStage::join().await;
    let (id, secret) = own_client(&stage, "1234-abc.apps.googleusercontent.com", "client_secret_basic").await;
    let file = json!({"web": {
        "client_id": id, "project_id": "helpdesk", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token", "client_secret": secret, "redirect_uris": ["https://example.com/callback"],
    }});
    let pretty = serde_json::to_string_pretty(&file).unwrap();
    put_client(&stage, "console-oauth", &json!({"client_secret.json": pretty})).await;
    works_with_client(
        &stage,
        "console",
        &id,
        json!({"clientCredentialsRef": {"name": "console-oauth"}}),
    )
    .await;
}

#[tokio::test]
async fn a_client_secret_can_go_into_the_body() {
    let stage = SharedStage::join().await;
    let (id, secret) = own_client(&stage, "post-client", "client_secret_post").await;
    put_client(&stage, "post-oauth", &json!({"client_id": id, "client_secret": secret})).await;
    let oauth2 = json!({"clientCredentialsRef": {"name": "post-oauth"}, "clientAuthentication": "ClientSecretPost"});
    works_with_client(&stage, "post", &id, oauth2).await;
    let sent = stage.server.requests_since(0).await;
    let request = sent
        .iter()
        .find(|request| request.account.as_deref() == Some("post@example.com"))
        .unwrap();
    assert!(!request.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_public_client_needs_no_secret() {
    let stage = SharedStage::join().await;
    stage.server.register("public-client", "none").await;
    let oauth2 = json!({"clientCredentialsRef": null, "clientID": "public-client"});
    works_with_client(&stage, "public", "public-client", oauth2).await;
}

#[tokio::test]
async fn an_asset_can_bring_the_certificate_of_its_server() {
    let other = Certificates::make("certificates-of-nobody");
    let bundle = other.authority.to_str().unwrap();
    let stage = SharedStage::alone("certificate", &["--ca-bundle", bundle]).await;
    let grant = stage.seed_rotating("bundle", Rotation::Strict).await;
    stage.apply(&stage.manifest("bundle", "Strict", &json!({}))).await;
    let said = stage
        .wait_for_condition("bundle", Ready, "False", "EndpointUnusable")
        .await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(
        message.contains("certificate") && message.contains("caBundleRef"),
        "{message}"
    );
    let failure = said.status.unwrap().failure.unwrap();
    assert_eq!(failure.class.as_deref(), Some("ADMIN_CONFIG"));
    assert_eq!(stage.requests_of_grant(&grant).await, 0);

    let with = json!({"oauth2": {"caBundleRef": {"name": "test-ca", "key": "ca.crt"}}});
    stage.change_spec("bundle", &with).await;
    let said = wait_for(&stage.assets, "bundle", "the ConfigMap is missed", |asset| {
        condition(asset, Ready).is_some_and(|ready| ready.2.contains("does not exist"))
    })
    .await;
    assert_eq!(condition(&said, Ready).unwrap().1, "EndpointUnusable");
    let map: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "test-ca"}, "data": {"ca.crt": Certificates::shared().authority_pem},
    }))
    .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    maps.create(&PostParams::default(), &map).await.unwrap();
    stage.request_refresh("bundle", "the-map-is-there").await;
    stage.wait_until_ready("bundle").await;
    stage.assert_token_works("bundle").await;
}

#[tokio::test]
async fn a_suspended_asset_sends_nothing_until_it_goes_on() {
    let stage = SharedStage::join().await;
    let grant = stage.seed_rotating("paused", Rotation::Strict).await;
    let asset = stage.manifest("paused", "Strict", &json!({"suspend": true}));
    stage.apply(&asset).await;
    let said = stage.wait_for_condition("paused", Ready, "False", "Suspended").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 0);
    stage.run_suspend_command(&condition(&said, Ready).unwrap().2).await;
    stage.wait_until_ready("paused").await;

    stage.change_spec("paused", &json!({"suspend": true})).await;
    wait_for(&stage.assets, "paused", "the change was seen", |asset| {
        asset.status.as_ref().and_then(|status| status.observed_generation) == asset.metadata.generation
    })
    .await;
    stage.request_refresh("paused", "not-now").await;
    stage.wait_for_marker("after-paused").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
    assert_eq!(
        condition(&stage.assets.get("paused").await.unwrap(), Ready).unwrap().0,
        "True"
    );
}

#[tokio::test]
async fn a_request_is_answered_once_in_the_status() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("asked", Rotation::None, &json!({})).await;
    let first = stage.access_token("asked").await;
    let answered = stage.refresh_answered("asked", "2026-11-25").await;
    assert_ne!(stage.access_token("asked").await, first);
    assert_eq!(answered.status.unwrap().token.unwrap().refresh_count, Some(2));
    // The same value asks for nothing.
    stage.request_refresh("asked", "2026-11-25").await;
    stage.wait_for_marker("after-asked").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 2);
}

#[tokio::test]
async fn renew_before_moves_the_renewal_and_sends_nothing() {
    let stage = SharedStage::join().await;
    let grant = stage
        .settle("early", Rotation::None, &json!({"renewBefore": "12m"}))
        .await;
    let before_expiry = |asset: &EmailAsset| {
        let token = asset.status.clone().unwrap_or_default().token.unwrap_or_default();
        let (expires, renews) = (token.expiration_time?, token.renewal_time?);
        Some(expires.0.duration_since(renews.0))
    };
    // A tenth of the hour is jitter.
    let between = |asset: &EmailAsset, from: i64| {
        before_expiry(asset).is_some_and(|before| {
            before >= SignedDuration::from_mins(from) && before <= SignedDuration::from_mins(from + 7)
        })
    };
    assert!(between(&stage.assets.get("early").await.unwrap(), 12));
    stage.change_spec("early", &json!({"renewBefore": "22m"})).await;
    wait_for(
        &stage.assets,
        "early",
        "it is renewed 22 minutes before expiry",
        |asset| between(asset, 22),
    )
    .await;
    // More than half of the life is not granted.
    stage.change_spec("early", &json!({"renewBefore": "59m"})).await;
    wait_for(&stage.assets, "early", "it is renewed at half of its life", |asset| {
        before_expiry(asset) == Some(SignedDuration::from_mins(30))
    })
    .await;
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
}

#[tokio::test]
async fn a_server_that_rotates_although_the_spec_says_none_is_believed() {
    let stage = SharedStage::join().await;
    let grant = stage.seed_rotating("surprise", Rotation::Strict).await;
    stage.apply(&stage.manifest("surprise", "None", &json!({}))).await;
    stage.wait_until_ready("surprise").await;
    assert_eq!(generation_of(&stage.secret("surprise-grant").await), Some(1));
    stage.request_refresh("surprise", "second").await;
    stage.wait_for_generation("surprise", 2).await;
    stage.assert_token_works("surprise").await;
    let counters = stage.server.counters_of(&grant).await;
    assert_eq!((counters.requests, counters.killed_by_replay), (2, 0));
    let kept = stage.secret("surprise-grant").await;
    assert_eq!(text(&kept, "access_token"), stage.access_token("surprise").await);
}

#[tokio::test]
async fn a_changed_label_of_an_input_sends_nothing() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("tagged", Rotation::Strict, &json!({})).await;
    let label = json!({"metadata": {"labels": {"team": "b"}}});
    let parameters = PatchParams::default();
    stage
        .secrets
        .patch("tagged-seed", &parameters, &Patch::Merge(&label))
        .await
        .unwrap();
    stage.wait_for_marker("after-tagged").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
}

#[tokio::test]
async fn a_replaced_seed_of_a_plain_grant_that_is_refused_leaves_the_token_until_it_ends() {
    let stage = SharedStage::join().await;
    stage.settle("plain-refused", Rotation::None, &json!({})).await;
    let first = stage.access_token("plain-refused").await;
    let fault = crate::support::Fault {
        action: Action::answer_json(400, &json!({"error": "invalid_grant"})),
        ..SharedStage::fault("plain-refused")
    };
    stage.server.inject(fault).await;
    stage.seed_rotating("plain-refused", Rotation::None).await;
    let said = stage
        .wait_for_condition("plain-refused", Refreshed, "False", "SeedRejected")
        .await;
    assert_eq!(condition(&said, Ready).unwrap().0, "True");
    assert_eq!(stage.access_token("plain-refused").await, first);
}

async fn own_client(stage: &SharedStage, id: &str, authentication: &str) -> (String, String) {
    let client = stage.server.register(id, authentication).await;
    (client.client_id, client.client_secret.expect("it has a secret"))
}

async fn put_client(stage: &SharedStage, name: &str, data: &Value) {
    stage.put_secret(name, data).await;
}

/// An asset with this client gets two tokens.
async fn works_with_client(stage: &SharedStage, asset: &str, client: &str, oauth2: Value) {
    let minted = stage
        .server
        .mint_rotating(client, &mailbox(asset), Rotation::Strict)
        .await;
    stage
        .put_secret(
            &format!("{asset}-seed"),
            &json!({"refresh_token": minted.refresh_token}),
        )
        .await;
    let mut manifest = stage.manifest(asset, "Strict", &json!({"oauth2": oauth2}));
    let spec = manifest["spec"]["oauth2"].as_object_mut().unwrap();
    spec.retain(|_, value| !value.is_null());
    stage.apply(&manifest).await;
    stage.wait_until_ready(asset).await;
    stage.request_refresh(asset, "second").await;
    stage.wait_for_generation(asset, 2).await;
    stage.assert_token_works(asset).await;
}

impl SharedStage {
    /// The command that ends a suspension holds JSON in quotes, so it goes through a shell's rules, not through words.
    async fn run_suspend_command(&self, message: &str) {
        let command = crate::support::commands(message)[0];
        let (words, json) = command.split_once(" -p ").expect("it is a patch");
        let mut words: Vec<&str> = words.split_whitespace().skip(1).collect();
        words.extend(["-p", json.trim_matches('\'')]);
        self.cluster.kubectl(&words).await;
    }
}
