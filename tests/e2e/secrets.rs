//! The two Secrets of an asset: whose they are, how they come, change, move and go (design section 3).

use emailasset::api::ConditionType::{Authorized, Ready};
use emailasset::api::EmailAsset;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::{
    CLIENT, Rotation, SharedStage, Stage, condition, generation_of, mailbox, text, until, wait_for, wait_until_gone,
};

#[tokio::test]
async fn a_strangers_secret_in_the_tokens_place_stays_until_it_is_handed_over() {
    strangers_secret_stays_until_it_is_handed_over("taken-token", "taken-token-token").await;
}

#[tokio::test]
async fn a_strangers_secret_in_the_grants_place_stays_until_it_is_handed_over() {
    strangers_secret_stays_until_it_is_handed_over("taken-grant", "taken-grant-grant").await;
}

async fn strangers_secret_stays_until_it_is_handed_over(asset: &str, place: &str) {
    let stage = SharedStage::join().await;
    stage.put_secret(place, &json!({"password": "of somebody else"})).await;
    let before = stage.secret(place).await;
    // The watch has shown it when it has shown what was made later: of a stranger that it has not shown nobody can know.
    stage.wait_for_marker(&format!("before-{asset}")).await;
    let grant = stage.seed_rotating(asset, Rotation::Strict).await;
    stage.apply(&stage.manifest(asset, "Strict", &json!({}))).await;

    let refused = stage.wait_for_condition(asset, Ready, "False", "SecretConflict").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 0, "nothing is redeemed");
    assert_eq!(
        stage.secret(place).await.metadata.resource_version,
        before.metadata.resource_version,
        "the stranger is not touched"
    );
    stage.run_command_of(&condition(&refused, Ready).unwrap().2).await;
    stage.wait_until_ready(asset).await;
    stage.assert_token_works(asset).await;
    let now = stage.secret(place).await;
    assert_ne!(now.metadata.uid, before.metadata.uid);
    assert!(!now.data.unwrap().contains_key("password"));
}

#[tokio::test]
async fn a_token_secret_moves_to_its_new_name_without_a_request() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("moving", Rotation::None, &json!({})).await;
    let token = stage.access_token("moving").await;
    stage.change_spec("moving", &json!({"secret": {"name": "moved"}})).await;
    let moved = wait_for(&stage.secrets, "moved", "exists", |_| true).await;
    assert_eq!(text(&moved, "access_token"), token);
    wait_until_gone(&stage.secrets, "moving-token").await;
    let status = stage.wait_until_ready("moving").await.status.unwrap();
    let shown = wait_for(&stage.assets, "moving", "the new name is shown", |asset| {
        let token = asset.status.as_ref().and_then(|status| status.token.as_ref());
        token.and_then(|token| token.secret_name.as_deref()) == Some("moved")
    });
    shown.await;
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
}

#[tokio::test]
async fn formats_come_and_go_with_the_token_that_is_there() {
    let stage = SharedStage::join().await;
    for (asset, rotation) in [("formats-none", Rotation::None), ("formats-strict", Rotation::Strict)] {
        let grant = stage.settle(asset, rotation, &json!({})).await;
        let token = stage.access_token(asset).await;
        let secret = format!("{asset}-token");
        let with = json!({"smtp": {"host": "smtp.example.com"}, "secret": {"formats": ["Msmtp", "JSON"]}});
        stage.change_spec(asset, &with).await;
        let shown = wait_for(&stage.secrets, &secret, "has the formats", |secret| {
            secret.data.as_ref().is_some_and(|data| data.contains_key("msmtprc"))
        });
        let shown = shown.await;
        let document: Value = serde_json::from_str(&text(&shown, "token.json")).unwrap();
        assert_eq!(document["access_token"], token);
        assert_eq!(document["expires_at"], text(&shown, "expires_at"));
        assert!(text(&shown, "msmtprc").contains(&format!("user {}\n", mailbox(asset))));

        stage.request_refresh(asset, "with-formats").await;
        stage.wait_for_generation(asset, 2).await;
        let next = stage.secret(&secret).await;
        let document: Value = serde_json::from_str(&text(&next, "token.json")).unwrap();
        assert_eq!(
            document["access_token"],
            text(&next, "access_token"),
            "all keys belong to one token"
        );

        stage.change_spec(asset, &json!({"secret": {"formats": null}})).await;
        wait_for(&stage.secrets, &secret, "has lost the formats", |secret| {
            let data = secret.data.as_ref().unwrap();
            !data.contains_key("msmtprc") && !data.contains_key("token.json")
        })
        .await;
        stage.assert_token_works(asset).await;
        assert_eq!(stage.requests_of_grant(&grant).await, 2, "one for each generation");
    }
}

#[tokio::test]
async fn a_format_without_its_server_is_an_invalid_spec_that_leaves_the_token() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("formats-wrong", Rotation::None, &json!({})).await;
    let token = stage.access_token("formats-wrong").await;
    stage
        .change_spec("formats-wrong", &json!({"secret": {"formats": ["Msmtp"]}}))
        .await;
    let refused = stage
        .wait_for_condition("formats-wrong", Ready, "False", "InvalidSpec")
        .await;
    let said = condition(&refused, Ready).unwrap().2;
    assert!(
        said.contains("spec.secret.formats names Msmtp, which needs an SMTP server"),
        "{said}"
    );
    assert_eq!(stage.access_token("formats-wrong").await, token);
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
}

#[tokio::test]
async fn the_secret_of_a_deleted_asset_is_waited_for_and_is_no_conflict() {
    let stage = SharedStage::join().await;
    stage.settle("again", Rotation::None, &json!({})).await;
    let held = json!({"metadata": {"finalizers": ["test.example/hold"]}});
    stage
        .secrets
        .patch("again-token", &PatchParams::default(), &Patch::Merge(&held))
        .await
        .unwrap();
    stage.assets.delete("again", &DeleteParams::default()).await.unwrap();
    wait_until_gone(&stage.assets, "again").await;
    stage.apply(&stage.manifest("again", "None", &json!({}))).await;

    let waiting = stage.wait_for_condition("again", Ready, "False", "Pending").await;
    let said = wait_for(&stage.assets, "again", "it says what it waits for", |asset| {
        condition(asset, Ready).is_some_and(|ready| ready.2.contains("is removing its Secrets"))
    });
    said.await;
    drop(waiting);
    let free = json!({"metadata": {"finalizers": null}});
    stage
        .secrets
        .patch("again-token", &PatchParams::default(), &Patch::Merge(&free))
        .await
        .unwrap();
    stage.wait_until_ready("again").await;
    stage.assert_token_works("again").await;
}

#[tokio::test]
async fn the_deletion_policy_adds_and_removes_the_owner_of_the_grant() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("policy", Rotation::Strict, &json!({})).await;
    let owners = |secret: &Secret| secret.metadata.owner_references.clone().unwrap_or_default().len();
    assert_eq!(owners(&stage.secret("policy-grant").await), 0, "Retain is the default");
    for (policy, count) in [("Delete", 1), ("Retain", 0)] {
        let change = json!({"oauth2": {"grantDeletionPolicy": policy}});
        stage.change_spec("policy", &change).await;
        let what = format!("it has {count} owners");
        wait_for(&stage.secrets, "policy-grant", &what, |secret| owners(secret) == count).await;
    }
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
}

#[tokio::test]
async fn a_retained_grant_is_adopted_with_the_token_that_is_still_valid() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("retained", Rotation::Strict, &json!({})).await;
    let token = stage.access_token("retained").await;
    stage.assets.delete("retained", &DeleteParams::default()).await.unwrap();
    wait_until_gone(&stage.secrets, "retained-token").await;
    assert_eq!(generation_of(&stage.secret("retained-grant").await), Some(1));

    stage.apply(&stage.manifest("retained", "Strict", &json!({}))).await;
    stage.wait_until_ready("retained").await;
    assert_eq!(stage.access_token("retained").await, token);
    assert_eq!(stage.requests_of_grant(&grant).await, 1, "the seed is not sent again");
    let events = stage.events("retained", 1).await;
    assert!(events.iter().any(|(reason, _)| reason == "GrantAdopted"), "{events:?}");

    stage.request_refresh("retained", "go-on").await;
    stage.wait_for_generation("retained", 2).await;
    stage.assert_token_works("retained").await;
}

#[tokio::test]
async fn under_delete_the_grant_goes_with_its_asset() {
    let stage = SharedStage::join().await;
    let policy = json!({"oauth2": {"grantDeletionPolicy": "Delete"}});
    stage.settle("leaving", Rotation::Strict, &policy).await;
    stage.secret("leaving-grant").await;
    stage.assets.delete("leaving", &DeleteParams::default()).await.unwrap();
    wait_until_gone(&stage.secrets, "leaving-grant").await;
    wait_until_gone(&stage.secrets, "leaving-token").await;
}

#[tokio::test]
async fn a_token_secret_deleted_by_hand_comes_back_without_a_request() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("restored", Rotation::Strict, &json!({})).await;
    let before = stage.secret("restored-token").await;
    stage
        .secrets
        .delete("restored-token", &DeleteParams::default())
        .await
        .unwrap();
    let after = wait_for(&stage.secrets, "restored-token", "is a new one", |secret| {
        secret.metadata.uid != before.metadata.uid
    })
    .await;
    assert_eq!(after.data, before.data);
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
}

#[tokio::test]
async fn labels_and_annotations_of_the_spec_come_and_go_and_others_stay() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("labelled", Rotation::None, &json!({})).await;
    let foreign = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "mine"}}});
    stage
        .secrets
        .patch("labelled-token", &PatchParams::default(), &Patch::Merge(&foreign))
        .await
        .unwrap();
    let label = |secret: &Secret, key: &str| secret.metadata.labels.as_ref().and_then(|all| all.get(key).cloned());
    let note = |secret: &Secret, key: &str| {
        secret
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(key).cloned())
    };

    let wanted = json!({"secret": {"labels": {"app.kubernetes.io/part-of": "desk"}, "annotations": {"app.kubernetes.io/owner": "jo"}}});
    stage.change_spec("labelled", &wanted).await;
    let labelled = wait_for(&stage.secrets, "labelled-token", "it has the label", |secret| {
        label(secret, "app.kubernetes.io/part-of").as_deref() == Some("desk")
    })
    .await;
    assert_eq!(note(&labelled, "app.kubernetes.io/owner").as_deref(), Some("jo"));

    stage.change_spec("labelled", &json!({"secret": null})).await;
    let without = wait_for(&stage.secrets, "labelled-token", "the label is gone", |secret| {
        label(secret, "app.kubernetes.io/part-of").is_none()
    })
    .await;
    assert_eq!(note(&without, "app.kubernetes.io/owner"), None);
    assert_eq!(label(&without, "team").as_deref(), Some("a"));
    assert_eq!(note(&without, "note").as_deref(), Some("mine"));
    assert_eq!(stage.requests_of_grant(&grant).await, 1);

    let refused = json!({"secret": {"labels": {"replicator/enabled": "true"}}});
    stage.change_spec("labelled", &refused).await;
    stage
        .wait_for_condition("labelled", Ready, "False", "InvalidSpec")
        .await;
}

#[tokio::test]
async fn a_grant_from_a_backup_is_not_redeemed_before_the_published_token_has_expired() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("backup", Rotation::Strict, &json!({})).await;
    let backup = stage.secret("backup-grant").await;
    stage.request_refresh("backup", "second").await;
    stage.wait_for_generation("backup", 2).await;

    replace(&stage, "backup-grant", backup).await;
    stage
        .wait_for_condition("backup", Authorized, "Unknown", "Pending")
        .await;
    stage.request_refresh("backup", "third").await;
    stage.wait_for_marker("after-backup").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 2, "it would have been a replay");
    assert!(
        stage
            .server
            .introspect(&stage.access_token("backup").await)
            .await
            .active
    );

    expire(&stage, "backup-token").await;
    let lost = stage
        .wait_for_condition("backup", Authorized, "False", "GrantLost")
        .await;
    assert_eq!(stage.requests_of_grant(&grant).await, 3, "then once");
    assert_eq!(condition(&lost, Ready).unwrap().1, "SeedRequired");
}

#[tokio::test]
async fn a_deleted_grant_is_said_and_its_seed_is_not_sent_before_the_token_has_expired() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("erased", Rotation::Strict, &json!({})).await;
    stage
        .secrets
        .delete("erased-grant", &DeleteParams::default())
        .await
        .unwrap();
    stage
        .wait_for_condition("erased", Authorized, "Unknown", "Pending")
        .await;
    stage.request_refresh("erased", "now").await;
    stage.wait_for_marker("after-erased").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
    stage.assert_token_works("erased").await;

    // A new seed mends it at once.
    let second = stage.seed_rotating("erased", Rotation::Strict).await;
    stage.wait_for_generation("erased", 2).await;
    assert_eq!(stage.requests_of_grant(&second).await, 1);
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
    stage.wait_for_condition("erased", Authorized, "True", "Stored").await;
}

#[tokio::test]
async fn of_two_assets_with_one_rotating_seed_the_younger_sends_nothing() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("elder", Rotation::Strict, &json!({})).await;
    let shared = json!({"email": mailbox("elder"), "oauth2": {"refreshTokenSecretRef": {"name": "elder-seed"}}});
    for younger in ["younger-a", "younger-b", "younger-c"] {
        stage.apply(&stage.manifest(younger, "Strict", &shared)).await;
    }
    for younger in ["younger-a", "younger-b", "younger-c"] {
        let refused = stage
            .wait_for_condition(younger, Ready, "False", "SecretConflict")
            .await;
        let message = condition(&refused, Ready).unwrap().2;
        assert!(message.contains("/elder"), "{message}");
    }
    stage.request_refresh("elder", "still-mine").await;
    stage.wait_for_generation("elder", 2).await;
    assert_eq!(stage.requests_of_grant(&grant).await, 2);
    stage.assert_token_works("elder").await;
}

#[tokio::test]
async fn an_input_may_not_be_a_secret_that_the_operator_writes() {
    let stage = SharedStage::join().await;
    stage.settle("source", Rotation::Strict, &json!({})).await;
    let thieves = [
        (
            "thief-of-grant",
            json!({"oauth2": {"refreshTokenSecretRef": {"name": "source-grant"}}}),
        ),
        (
            "thief-of-token",
            json!({"oauth2": {"refreshTokenSecretRef": {"name": "source-token", "key": "access_token"}}}),
        ),
        (
            "thief-as-client",
            json!({"oauth2": {"clientCredentialsRef": {"name": "source-grant"}}}),
        ),
    ];
    for (thief, spec) in &thieves {
        stage.seed_rotating(thief, Rotation::None).await;
        stage.apply(&stage.manifest(thief, "None", spec)).await;
        stage.wait_for_condition(thief, Ready, "False", "InvalidSpec").await;
    }
    for (thief, _) in &thieves {
        assert!(
            stage
                .secrets
                .get_opt(&format!("{thief}-token"))
                .await
                .unwrap()
                .is_none()
        );
    }
}

#[tokio::test]
async fn a_seed_that_was_sent_stays_with_its_asset_when_an_older_one_comes_to_name_it() {
    let stage = SharedStage::join().await;
    stage.settle("old-hand", Rotation::Strict, &json!({})).await;
    let grant = stage.settle("newcomer", Rotation::Strict, &json!({})).await;
    stage
        .change_spec(
            "old-hand",
            &json!({"oauth2": {"refreshTokenSecretRef": {"name": "newcomer-seed"}}}),
        )
        .await;
    stage
        .wait_for_condition("old-hand", Ready, "False", "SecretConflict")
        .await;
    assert_eq!(stage.requests_of_grant(&grant).await, 1);

    // When the newcomer goes and a fresh seed comes, it is the old hand's turn, without anybody touching that asset.
    stage.assets.delete("newcomer", &DeleteParams::default()).await.unwrap();
    stage.seed_rotating("newcomer", Rotation::Strict).await;
    stage.wait_for_generation("old-hand", 2).await;
    stage.wait_until_ready("old-hand").await;
}

#[tokio::test]
async fn a_token_secret_without_its_annotations_is_written_anew() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("bare-strict", Rotation::Strict, &json!({})).await;
    strip(&stage, "bare-strict-token").await;
    stage.wait_for_generation("bare-strict", 1).await;
    assert_eq!(
        stage.requests_of_grant(&grant).await,
        1,
        "the grant Secret has the token"
    );
    stage.assert_token_works("bare-strict").await;

    // Without a grant Secret nothing says how long the token lives: another one is fetched.
    stage.settle("bare-plain", Rotation::None, &json!({})).await;
    strip(&stage, "bare-plain-token").await;
    stage.wait_for_generation("bare-plain", 2).await;
    stage.assert_token_works("bare-plain").await;
}

#[tokio::test]
async fn a_grant_secret_without_its_annotations_is_not_trusted_until_somebody_decides() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("bare-grant", Rotation::Strict, &json!({})).await;
    strip(&stage, "bare-grant-grant").await;
    let said = stage
        .wait_for_condition("bare-grant", Ready, "False", "SecretConflict")
        .await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(message.contains("a mailbox that it does not name"), "{message}");
    stage.run_command_of(&message).await;
    stage.seed_rotating("bare-grant", Rotation::Strict).await;
    stage.wait_for_generation("bare-grant", 2).await;
    stage.assert_token_works("bare-grant").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 1);
}

#[tokio::test]
async fn a_token_secret_that_was_made_immutable_is_complained_of_and_mended() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("frozen", Rotation::Strict, &json!({})).await;
    let frozen = json!({"immutable": true});
    let parameters = PatchParams::default();
    stage
        .secrets
        .patch("frozen-token", &parameters, &Patch::Merge(&frozen))
        .await
        .unwrap();
    stage.request_refresh("frozen", "now").await;
    stage.operator.wait_for_line("frozen-token").await;
    wait_for(&stage.secrets, "frozen-grant", "the answer is stored", |secret| {
        generation_of(secret) == Some(2)
    })
    .await;
    stage.wait_for_marker("after-frozen").await;
    // It cannot be made mutable again, only deleted.
    stage
        .secrets
        .delete("frozen-token", &DeleteParams::default())
        .await
        .unwrap();
    stage.wait_for_generation("frozen", 2).await;
    assert_eq!(stage.requests_of_grant(&grant).await, 2);
}

async fn strip(stage: &SharedStage, secret: &str) {
    let bare = json!({"metadata": {"annotations": null}});
    let parameters = PatchParams::default();
    stage
        .secrets
        .patch(secret, &parameters, &Patch::Merge(&bare))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_namespace_is_deleted_quietly() {
    let alone = Stage::set("quiet-end").await;
    let doomed = alone.cluster.namespace("doomed").await;
    // Rights that do not go with the namespace, as with the ClusterRole of `deploy/`.
    let account = format!("{}:operator", alone.namespace);
    let grant = [
        "create",
        "clusterrolebinding",
        &doomed,
        "--clusterrole=emailasset-operator",
        "--serviceaccount",
        &account,
    ];
    alone.cluster.kubectl(&grant).await;
    let operator = alone.operator_with(&["--watch-namespace", &doomed], &[]).await;
    let secrets: Api<Secret> = Api::namespaced(alone.client.clone(), &doomed);
    let assets: Api<EmailAsset> = Api::namespaced(alone.client.clone(), &doomed);
    let client = alone.secrets.get("oauth-client").await.unwrap();
    create_secret(&secrets, "oauth-client", &client, None).await;
    for index in 0..5 {
        let name = format!("doomed-{index}");
        let minted = alone
            .server
            .mint_rotating(CLIENT, &mailbox(&name), Rotation::Strict)
            .await;
        create_secret(&secrets, &format!("{name}-seed"), &client, Some(&minted.refresh_token)).await;
        let policy = if index % 2 == 0 { "Delete" } else { "Retain" };
        let manifest = alone.manifest(&name, "Strict", &json!({"oauth2": {"grantDeletionPolicy": policy}}));
        assets
            .patch(&name, &PatchParams::apply("person"), &Patch::Apply(&manifest))
            .await
            .unwrap();
        wait_for(&assets, &name, "Ready", |asset| {
            condition(asset, Ready).is_some_and(|ready| ready.0 == "True")
        })
        .await;
    }
    let before = complaints(&operator.log()).len();
    let namespaces: Api<Namespace> = Api::all(alone.client.clone());
    namespaces.delete(&doomed, &DeleteParams::default()).await.unwrap();
    wait_until_gone(&namespaces, &doomed).await;
    let log = operator.log();
    let after = complaints(&log);
    assert!(after.len() <= before, "{:#?}", &after[before..]);
}

fn complaints(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| line.contains(" WARN ") || line.contains("ERROR "))
        .collect()
}

async fn create_secret(secrets: &Api<Secret>, name: &str, like: &Secret, refresh_token: Option<&str>) {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.to_owned());
    secret.metadata.annotations.clone_from(&like.metadata.annotations);
    match refresh_token {
        Some(token) => secret.string_data = Some([("refresh_token".to_owned(), token.to_owned())].into()),
        None => secret.data.clone_from(&like.data),
    }
    secrets.create(&PostParams::default(), &secret).await.unwrap();
}

/// Deletes a Secret and puts an earlier one in its place, as a backup tool does.
async fn replace(stage: &SharedStage, name: &str, mut backup: Secret) {
    stage.secrets.delete(name, &DeleteParams::default()).await.unwrap();
    until("the old one is gone", || async {
        stage.secrets.get_opt(name).await.unwrap().is_none().then_some(())
    })
    .await;
    backup.metadata.resource_version = None;
    backup.metadata.uid = None;
    backup.metadata.managed_fields = None;
    stage.secrets.create(&PostParams::default(), &backup).await.unwrap();
}

/// Makes a published token look as if its time were over.
async fn expire(stage: &SharedStage, token_secret: &str) {
    let past: Value = json!({"metadata": {"annotations": {"emailasset.dev/expiration-time": "2026-01-01T00:00:00Z"}}});
    let parameters = PatchParams::default();
    stage
        .secrets
        .patch(token_secret, &parameters, &Patch::Merge(&past))
        .await
        .unwrap();
}
