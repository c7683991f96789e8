//! `EmailProvider`s: one OAuth client for many namespaces, and who may use it.
//!
//! What is promised, and the tests that hold it; the tables of rules themselves are in `src/api/allow/tests.rs`:
//!
//! | promise | held by |
//! |---|---|
//! | rules hold for `email`, `username` | [`its_rules_hold_from_the_first_token_to_the_last`], and in [`grants`] for each grant |
//! | for `loginEmail` | `a_service_account_opens_…`, `a_code_brings_in_…` |
//! | for the account that signs in | [`people_sign_in_through_a_callback_of_its_own_and_only_with_the_account_that_the_rules_cover`] |
//! | for the account that signed in for an older grant | `a_code_brings_in_…` |
//! | for grants without a person | `a_client_gets_tokens_…`, `a_service_account_opens_…`, [`its_rules_hold_from_the_first_token_to_the_last`] |
//! | for app-wide tokens | `a_client_gets_tokens_…` |
//! | on the page, at the callback, for what the plugin hands over, while a code waits, for a request to refresh | `no_code_of_a_sign_in_…`, `a_code_brings_in_…`, `a_client_gets_tokens_…` |
//! | changes reach its assets at once | [`trouble_with_its_client_reaches_its_assets_and_so_does_the_cure`], [`its_rules_hold_from_the_first_token_to_the_last`] |
//! | one that comes or goes concerns nobody who does not name it | [`one_that_is_deleted_takes_no_valid_token_away_and_touches_nobody_else`], `one_that_is_broken_…` |
//! | a broken one takes no valid token away | `one_that_is_broken_…`, [`trouble_with_its_client_reaches_its_assets_and_so_does_the_cure`] |

mod grants;

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed, Stalled};
use emailasset::api::{EmailAsset, EmailProvider};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{
    Action, AuthorizationServer, Browser, Cluster, Rotation, Stage, condition, free_address, mailbox, text, wait_for,
};

/// A platform namespace with the operator and the client, and a team's namespace with the assets.
struct Shared {
    stage: Stage,
    team: String,
    assets: Api<EmailAsset>,
    secrets: Api<Secret>,
    providers: Api<EmailProvider>,
}

impl Shared {
    /// A cluster of its own: an operator that may see `EmailProvider`s writes the status of all of them.
    async fn set() -> Self {
        let cluster: &'static Cluster = Box::leak(Box::new(Cluster::own().await));
        let stage = Stage::set_in(cluster, "platform").await;
        stage.server.set_rotation(Rotation::None).await;
        let team = cluster.namespace("team").await;
        let account = format!("{}:operator", stage.namespace);
        cluster
            .kubectl(&[
                "create",
                "rolebinding",
                "operator",
                "-n",
                &team,
                "--clusterrole=emailasset-operator",
                "--serviceaccount",
                &account,
            ])
            .await;
        may_see_providers(cluster, &stage.namespace).await;
        // Without the annotation that would allow any host: the provider's own are allowed by themselves.
        let client = stage.secrets.get("oauth-client").await.unwrap();
        let shared = Self {
            assets: Api::namespaced(stage.client.clone(), &team),
            secrets: Api::namespaced(stage.client.clone(), &team),
            providers: Api::all(stage.client.clone()),
            stage,
            team,
        };
        let data = json!({"client_id": text(&client, "client_id"), "client_secret": text(&client, "client_secret")});
        shared.put_client("shared-client", &data).await;
        shared
    }

    /// A client in the operator's namespace, without any annotation.
    async fn put_client(&self, name: &str, data: &Value) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        self.stage
            .secrets
            .patch(name, &PatchParams::apply("admin").force(), &Patch::Apply(&secret))
            .await
            .unwrap();
    }

    /// The stage as the team sees it.
    fn desk(&self) -> Stage {
        self.stage.in_namespace(&self.team)
    }

    async fn apply_provider(&self, name: &str, allow: Value) {
        self.apply_provider_with(name, json!({"allow": allow})).await;
    }

    /// At the server of this issuer, which tells its endpoints.
    async fn apply_provider_of(&self, issuer: &str, name: &str, allow: Value) {
        let oauth2 = json!({"issuer": issuer, "tokenURL": null});
        self.apply_provider_with(name, json!({"allow": allow, "oauth2": oauth2}))
            .await;
    }

    /// With this over the usual; null takes a field away.
    async fn apply_provider_with(&self, name: &str, over: Value) {
        let mut spec = json!({
            "oauth2": {
                "clientCredentialsRef": {"name": "shared-client"},
                "tokenURL": self.stage.server.endpoints.token_url,
                "rotation": "None",
            },
        });
        json_patch::merge(&mut spec, &over);
        let manifest = json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailProvider", "metadata": {"name": name}, "spec": spec,
        });
        self.providers
            .patch(name, &PatchParams::apply("admin").force(), &Patch::Apply(&manifest))
            .await
            .expect("the EmailProvider is accepted");
    }

    /// A rule for the team and these mailboxes.
    fn rule(&self, mailboxes: &[&str]) -> Value {
        json!([{"namespaces": {"names": [self.team]}, "mailboxes": mailboxes, "grants": ["RefreshToken"]}])
    }

    /// An asset of the team with a seed of its own.
    async fn asset(&self, name: &str, provider: &str) -> EmailAsset {
        let minted = self.stage.server.mint(crate::support::CLIENT, &mailbox(name)).await;
        let seed = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{name}-seed")},
            "stringData": {"refresh_token": minted.refresh_token},
        });
        self.secrets
            .patch(
                &format!("{name}-seed"),
                &PatchParams::apply("dev").force(),
                &Patch::Apply(&seed),
            )
            .await
            .unwrap();
        let seeded = json!({
            "grant": "RefreshToken",
            "refreshTokenSecretRef": {"name": format!("{name}-seed"), "key": "refresh_token"},
        });
        self.apply_asset(name, provider, seeded).await
    }

    /// An asset of the team.
    async fn apply_asset(&self, name: &str, provider: &str, oauth2: Value) -> EmailAsset {
        let manifest = json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "metadata": {"name": name},
            "spec": {"email": mailbox(name), "providerRef": {"name": provider}, "oauth2": oauth2},
        });
        self.assets
            .patch(name, &PatchParams::apply("dev").force(), &Patch::Apply(&manifest))
            .await
            .expect("the asset is accepted")
    }

    /// An asset of the team with a client of its own, which no `EmailProvider` concerns.
    async fn asset_of_its_own(&self) -> EmailAsset {
        let client = self.stage.secrets.get("oauth-client").await.unwrap();
        let own_client = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "own-client", "annotations": {"emailasset.dev/hosts": self.stage.host()}},
            "stringData": {"client_id": text(&client, "client_id"), "client_secret": text(&client, "client_secret")},
        });
        let parameters = PatchParams::apply("dev").force();
        self.secrets
            .patch("own-client", &parameters, &Patch::Apply(&own_client))
            .await
            .unwrap();
        let minted = self.stage.server.mint(crate::support::CLIENT, &mailbox("carol")).await;
        let seed = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "carol-seed", "annotations": {"emailasset.dev/hosts": self.stage.host()}},
            "stringData": {"refresh_token": minted.refresh_token},
        });
        self.secrets
            .patch("carol-seed", &parameters, &Patch::Apply(&seed))
            .await
            .unwrap();
        let manifest = self.stage.manifest(
            "carol",
            "None",
            &json!({"oauth2": {"clientCredentialsRef": {"name": "own-client"}}}),
        );
        self.assets
            .patch("carol", &parameters, &Patch::Apply(&manifest))
            .await
            .unwrap();
        self.wait("carol", Ready, "True", "Fresh").await
    }

    async fn wait(&self, asset: &str, kind: emailasset::api::ConditionType, status: &str, reason: &str) -> EmailAsset {
        wait_for(
            &self.assets,
            asset,
            &format!("{kind} is {status} ({reason})"),
            |asset| condition(asset, kind).is_some_and(|said| said.0 == status && said.1 == reason),
        )
        .await
    }

    async fn wait_for_provider(&self, name: &str, status: &str, reason: &str) -> EmailProvider {
        wait_for(
            &self.providers,
            name,
            &format!("it is {status} ({reason})"),
            |provider| {
                let shown = provider.status.as_ref().map(|shown| shown.conditions.as_slice());
                shown
                    .unwrap_or_default()
                    .iter()
                    .any(|said| said.type_ == "Ready" && said.status == status && said.reason == reason)
            },
        )
        .await
    }

    /// Waits until the operator has looked at the provider as it is now.
    async fn wait_for_provider_seen(&self, name: &str) {
        wait_for(&self.providers, name, "the operator has seen it", |provider| {
            let seen = provider.status.as_ref().and_then(|status| status.observed_generation);
            seen == provider.metadata.generation
        })
        .await;
    }

    async fn request_refresh(&self, asset: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {"emailasset.dev/refresh": value}}});
        self.assets
            .patch(asset, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn put_client_secret(&self, value: &str) {
        let patch = json!({"stringData": {"client_secret": value}});
        self.stage
            .secrets
            .patch("shared-client", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn token(&self, asset: &str) -> Secret {
        self.secrets.get(&format!("{asset}-token")).await.unwrap()
    }
}

async fn may_see_providers(cluster: &Cluster, namespace: &str) {
    let account = format!("{namespace}:operator");
    cluster
        .kubectl(&[
            "create",
            "clusterrolebinding",
            &format!("providers-{namespace}"),
            "--clusterrole=emailasset-operator-providers",
            "--serviceaccount",
            &account,
        ])
        .await;
    let user = format!("system:serviceaccount:{account}");
    for resource in ["emailproviders", "namespaces"] {
        crate::support::until("the right to see EmailProviders arrives", || async {
            cluster
                .try_kubectl(&["auth", "can-i", "list", resource, "--as", &user])
                .await
                .ok()
        })
        .await;
    }
}

#[tokio::test]
async fn a_team_uses_a_client_that_it_cannot_read_and_cannot_send_elsewhere() {
    let shared = Shared::set().await;
    let _operator = shared
        .stage
        .operator_with(&["--watch-namespace", &shared.team], &[])
        .await;
    shared
        .apply_provider(
            "corp",
            shared.rule(&["alice@example.com", "bob@example.com", "dave@example.com"]),
        )
        .await;
    shared.wait_for_provider("corp", "True", "Usable").await;
    let table = shared.stage.cluster.kubectl(&["get", "emp", "corp"]).await;
    assert!(
        table.contains("True") && table.contains("Usable") && table.contains("REASON"),
        "{table}"
    );

    shared.asset("alice", "corp").await;
    let asset = shared.wait("alice", Ready, "True", "Fresh").await;
    let token = text(&shared.token("alice").await, "access_token");
    assert!(shared.stage.server.introspect(&token).await.active);
    let shown = serde_json::to_string(&asset.status).unwrap();
    assert!(!shown.contains("shared-client"), "{shown}");
    let table = shared.stage.cluster.kubectl(&["get", "ea", "-n", &shared.team]).await;
    let row: Vec<&str> = table.lines().last().unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..4], ["alice", "alice@example.com", "emp/corp", "True"]);

    // Whoever may do everything in the team's namespace reads no client.
    let dev = shared
        .stage
        .cluster
        .client_as_service_account(&shared.team, "dev")
        .await;
    let theirs: Api<Secret> = Api::namespaced(dev, &shared.stage.namespace);
    assert!(matches!(theirs.get("shared-client").await, Err(kube::Error::Api(answer)) if answer.code == 403));
    // And an asset cannot send it elsewhere.
    for oauth2 in [
        json!({"tokenURL": "https://evil.example/token"}),
        json!({"refreshURL": "https://evil.example/token"}),
        json!({"clientCredentialsRef": {"name": "shared-client"}}),
    ] {
        let overrule = json!({"spec": {"oauth2": oauth2}});
        let refused = shared
            .assets
            .patch("alice", &PatchParams::default(), &Patch::Merge(&overrule))
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("an asset cannot change them"), "{refused}");
    }
}

#[tokio::test]
async fn trouble_with_its_client_reaches_its_assets_and_so_does_the_cure() {
    let shared = Shared::set().await;
    let _operator = shared
        .stage
        .operator_with(&["--watch-namespace", &shared.team], &[])
        .await;
    shared
        .apply_provider(
            "corp",
            shared.rule(&["alice@example.com", "bob@example.com", "dave@example.com"]),
        )
        .await;
    shared.asset("alice", "corp").await;
    shared.wait("alice", Ready, "True", "Fresh").await;
    let client = shared.stage.secrets.get("oauth-client").await.unwrap();

    // The provider's client secret is wrong: its users say so, and go on with what they have.
    let right = text(&client, "client_secret");
    shared.put_client_secret("wrong-client-secret-of-a-test").await;
    shared.request_refresh("alice", "1").await;
    let failing = shared.wait("alice", Refreshed, "False", "ClientRejected").await;
    assert_eq!(condition(&failing, Ready).unwrap().0, "True");
    let message = condition(&failing, Refreshed).unwrap().2;
    assert!(!message.contains("shared-client"), "{message}");
    shared.put_client_secret(&right).await;
    shared.request_refresh("alice", "2").await;
    shared.wait("alice", Refreshed, "True", "Refreshed").await;

    // A first token fails for a mistake of the provider's, and its correction ends the wait of a quarter of an hour.
    let token_url = |url: String| {
        let patch = json!({"spec": {"oauth2": {"tokenURL": url}}});
        let providers = shared.providers.clone();
        async move {
            providers
                .patch("corp", &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
    };
    let endpoints = &shared.stage.server.endpoints;
    token_url(format!("{}/no-such-endpoint", endpoints.url)).await;
    shared.wait_for_provider_seen("corp").await;
    shared.asset("bob", "corp").await;
    shared.wait("bob", Ready, "False", "EndpointUnusable").await;
    token_url(endpoints.token_url.clone()).await;
    shared.wait("bob", Ready, "True", "Fresh").await;

    // The client goes, and comes back.
    shared
        .stage
        .secrets
        .delete("shared-client", &DeleteParams::default())
        .await
        .unwrap();
    let missing = shared.wait("alice", Refreshed, "False", "ClientMissing").await;
    assert_eq!(condition(&missing, Ready).unwrap().0, "True");
    let message = condition(&missing, Refreshed).unwrap().2;
    assert!(
        message.contains("EmailProvider corp") && !message.contains("shared-client"),
        "{message}"
    );
    shared.wait_for_provider("corp", "False", "ClientMissing").await;
    let back = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shared-client"},
        "stringData": {"client_id": text(&client, "client_id"), "client_secret": right},
    });
    shared
        .stage
        .secrets
        .patch(
            "shared-client",
            &PatchParams::apply("admin").force(),
            &Patch::Apply(&back),
        )
        .await
        .unwrap();
    shared.wait("alice", Refreshed, "True", "Refreshed").await;
    shared.wait_for_provider("corp", "True", "Usable").await;
}

#[tokio::test]
async fn one_that_is_deleted_takes_no_valid_token_away_and_touches_nobody_else() {
    let shared = Shared::set().await;
    let _operator = shared
        .stage
        .operator_with(&["--watch-namespace", &shared.team], &[])
        .await;
    shared
        .apply_provider(
            "corp",
            shared.rule(&["alice@example.com", "bob@example.com", "dave@example.com"]),
        )
        .await;
    shared.asset("alice", "corp").await;
    shared.wait("alice", Ready, "True", "Fresh").await;
    let alone = shared.asset_of_its_own().await;

    // The provider goes: what is valid stays valid.
    let before = shared.token("alice").await;
    shared.providers.delete("corp", &DeleteParams::default()).await.unwrap();
    let left = shared.wait("alice", Refreshed, "False", "ProviderNotReady").await;
    assert_eq!(condition(&left, Ready).unwrap().0, "True");
    assert_eq!(condition(&left, Authorized).unwrap().0, "True");
    assert!(condition(&left, Stalled).is_none());
    assert_eq!(shared.token("alice").await.data, before.data);
    shared.asset("dave", "corp").await;
    let new = shared.wait("dave", Ready, "False", "ProviderNotReady").await;
    let message = condition(&new, Ready).unwrap().2;
    assert!(message.contains("does not exist"), "{message}");
    shared
        .apply_provider(
            "corp",
            shared.rule(&["alice@example.com", "bob@example.com", "dave@example.com"]),
        )
        .await;
    shared.wait("alice", Refreshed, "True", "Refreshed").await;
    shared.wait("dave", Ready, "True", "Fresh").await;

    // All this was nobody else's business.
    let still = shared.assets.get("carol").await.unwrap();
    assert_eq!(still.metadata.resource_version, alone.metadata.resource_version);
}

#[tokio::test]
async fn one_that_is_broken_takes_no_valid_token_away_and_a_new_one_takes_in_nobody_who_does_not_name_it() {
    let shared = Shared::set().await;
    // Its own namespace too, as an operator of all namespaces: it knows which Secrets there are its own.
    let watched = format!("{},{}", shared.team, shared.stage.namespace);
    let _operator = shared.stage.operator_with(&["--watch-namespace", &watched], &[]).await;
    let allow = shared.rule(&["alice@example.com"]);
    shared.apply_provider("corp", allow.clone()).await;
    shared.asset("alice", "corp").await;
    shared.wait("alice", Ready, "True", "Fresh").await;
    let before = shared.token("alice").await;
    let alone = shared.asset_of_its_own().await;
    let token_alone = shared.token("carol").await;

    // Named like an entry of the catalogue, like an asset, and for everybody.
    let everybody = json!([{
        "namespaces": {"selector": {}}, "mailboxes": ["carol@example.com", "*@example.com"],
        "grants": ["RefreshToken"],
    }]);
    for name in ["google", "carol", "example.com"] {
        shared.apply_provider(name, everybody.clone()).await;
        shared.wait_for_provider(name, "True", "Usable").await;
    }

    let ours = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kept-by-operator"},
        "type": "emailasset.dev/token", "stringData": {"access_token": "of-somebody-else"},
    });
    let parameters = PatchParams::apply("admin").force();
    shared
        .stage
        .secrets
        .patch("kept-by-operator", &parameters, &Patch::Apply(&ours))
        .await
        .unwrap();
    // What the API server lets through and nobody can use.
    for (broken, reason, says) in [
        (json!({"provider": "nonsense"}), "InvalidSpec", "not in the catalogue"),
        (
            json!({"oauth2": {"parameters": {"region": "eu"}}}),
            "InvalidSpec",
            "spec.oauth2.parameters.region",
        ),
        (
            json!({"oauth2": {"clientCredentialsRef": {"name": "kept-by-operator"}}}),
            "ClientMissing",
            "kubectl get emailprovider corp -o wide",
        ),
    ] {
        let mut spec = broken;
        spec["allow"] = allow.clone();
        shared.apply_provider_with("corp", spec.clone()).await;
        shared.wait_for_provider("corp", "False", reason).await;
        let left = shared.wait("alice", Refreshed, "False", "ProviderNotReady").await;
        let message = condition(&left, Refreshed).unwrap().2;
        assert!(
            message.contains(says) && message.contains("EmailProvider corp"),
            "{message}"
        );
        assert!(!message.contains("kept-by-operator"), "{message}");
        assert_eq!(condition(&left, Ready).unwrap().0, "True", "{spec}");
        assert_eq!(condition(&left, Authorized).unwrap().0, "True", "{spec}");
        assert!(condition(&left, Stalled).is_none(), "{spec}");
        shared.apply_provider("corp", allow.clone()).await;
        shared.wait("alice", Refreshed, "True", "Refreshed").await;
    }
    assert_eq!(shared.token("alice").await.data, before.data);

    // A way that the provider does not offer is the asset's choice, and it is said whose field that is.
    let gmail = json!({"provider": "google", "oauth2": {"tokenURL": null, "rotation": null}, "allow": [
        {"namespaces": {"names": [shared.team]}, "mailboxes": ["dora@example.com"]},
    ]});
    shared.apply_provider_with("gmail", gmail).await;
    shared
        .apply_asset("dora", "gmail", json!({"grant": "DeviceCode"}))
        .await;
    let said = shared.wait("dora", Ready, "False", "ProviderNotReady").await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(
        message.contains("spec.oauth2.grant is DeviceCode") && message.contains("is this asset's"),
        "{message}"
    );

    let still = shared.assets.get("carol").await.unwrap();
    assert_eq!(still.metadata.resource_version, alone.metadata.resource_version);
    assert_eq!(
        shared.token("carol").await.metadata.resource_version,
        token_alone.metadata.resource_version
    );
}

#[tokio::test]
async fn its_rules_hold_from_the_first_token_to_the_last() {
    let shared = Shared::set().await;
    let _operator = shared
        .stage
        .operator_with(&["--watch-namespace", &shared.team], &[])
        .await;
    let labelled = json!([{
        "namespaces": {"selector": {"matchLabels": {"mail": "yes"}}},
        "mailboxes": ["alice@example.com"], "grants": ["RefreshToken"],
    }]);
    shared.apply_provider("corp", labelled.clone()).await;
    shared.apply_provider("domain", shared.rule(&["*@example.com"])).await;
    shared.apply_provider("nobody", json!([])).await;
    shared
        .apply_provider(
            "people",
            json!([{"namespaces": {"names": [shared.team]}, "mailboxes": ["*@example.com"]}]),
        )
        .await;
    shared
        .apply_provider(
            "other",
            json!([{"namespaces": {"names": ["elsewhere"]}, "mailboxes": ["*@example.com"]}]),
        )
        .await;

    // Namespace, mailbox, pattern, grant: each stops it before anything is sent.
    for (asset, provider, says) in [
        ("alice", "corp", "covers namespace"),
        ("boss", "domain", "needs the very address"),
        ("carl", "nobody", "nobody may use it"),
        ("dora", "people", "covers grant RefreshToken"),
        ("emil", "other", "covers namespace"),
    ] {
        shared.asset(asset, provider).await;
        let refused = shared.wait(asset, Ready, "False", "ProviderNotAllowed").await;
        let message = condition(&refused, Ready).unwrap().2;
        assert!(message.contains(says), "{asset}: {message}");
        assert!(condition(&refused, Stalled).is_some());
    }
    assert!(shared.stage.server.requests_since(0).await.is_empty());

    // A label opens it, and closes it again: at once, and what is published stays.
    let label = |value: Value| {
        let patch = json!({"metadata": {"labels": {"mail": value}}});
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(shared.stage.client.clone());
        let team = shared.team.clone();
        async move {
            namespaces
                .patch(&team, &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
    };
    label(json!("yes")).await;
    shared.wait("alice", Ready, "True", "Fresh").await;
    let before = shared.token("alice").await;
    label(Value::Null).await;
    shared.wait("alice", Ready, "False", "ProviderNotAllowed").await;
    shared.request_refresh("alice", "while-it-may-not").await;
    label(json!("yes")).await;
    shared.wait("alice", Ready, "True", "Fresh").await;
    // A name that no rule covers, and a rule that is taken away.
    let rename = |name: Value| {
        let patch = json!({"spec": {"username": name}});
        let assets = shared.assets.clone();
        async move {
            assets
                .patch("alice", &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
    };
    rename(json!("boss@example.com")).await;
    let refused = shared.wait("alice", Ready, "False", "ProviderNotAllowed").await;
    let message = condition(&refused, Ready).unwrap().2;
    assert!(message.contains("boss@example.com (spec.username)"), "{message}");
    assert_eq!(
        text(&shared.token("alice").await, "username"),
        text(&before, "username")
    );
    rename(Value::Null).await;
    shared.wait("alice", Ready, "True", "Fresh").await;
    shared.apply_provider("corp", shared.rule(&["bob@example.com"])).await;
    shared.wait("alice", Ready, "False", "ProviderNotAllowed").await;
    assert!(shared.secrets.get_opt("alice-token").await.unwrap().is_some());
    shared.apply_provider("corp", labelled).await;
    shared.wait("alice", Ready, "True", "Fresh").await;
}

#[tokio::test]
async fn people_sign_in_through_a_callback_of_its_own_and_only_with_the_account_that_the_rules_cover() {
    let stage = Stage::set("provider").await;
    // Before the operator starts: one that was refused asks again only after minutes.
    may_see_providers(stage.cluster, &stage.namespace).await;
    let pages = free_address();
    let _operator = stage.operator_with_sign_in(pages, pages, &[]).await;
    let mut spec = stage.sign_in_manifest("alice", "AuthorizationCode", &json!({}))["spec"].clone();
    let oauth2 = spec["oauth2"].as_object_mut().unwrap();
    oauth2.remove("grant");
    oauth2.remove("loginEmail");
    let name = stage.namespace.clone();
    let provider = json!({
        "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailProvider", "metadata": {"name": name},
        "spec": {
            "oauth2": oauth2,
            "allow": [{"namespaces": {"names": [stage.namespace]}, "mailboxes": ["alice@example.com"]}],
        },
    });
    let providers: Api<EmailProvider> = Api::all(stage.client.clone());
    providers
        .patch(&name, &PatchParams::apply("admin").force(), &Patch::Apply(&provider))
        .await
        .unwrap();
    stage
        .apply(&json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "metadata": {"name": "alice"},
            "spec": {"email": mailbox("alice"), "providerRef": {"name": name}, "oauth2": {"grant": "AuthorizationCode"}},
        }))
        .await;
    let asset = stage
        .wait_for_condition("alice", Ready, "False", "SignInRequired")
        .await;
    let callback = crate::support::sign_in(&asset)["callbackURL"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(callback.ends_with(&format!("/callback/p-{name}")), "{callback}");
    stage.register_callback(&callback).await;
    for person in ["alice", "boss"] {
        stage.server.add_person(&mailbox(person)).await;
    }

    let browser = Browser::open().await;
    stage.sign_in(&browser, "alice", &mailbox("boss")).await;
    stage
        .wait_for_condition("alice", Authorized, "False", "WrongAccount")
        .await;
    assert!(stage.kept("alice").await.iter().all(Option::is_none));
    let browser = browser.beside().await;
    stage.sign_in(&browser, "alice", &mailbox("alice")).await;
    stage.wait_until_ready("alice").await;
}

#[tokio::test]
async fn an_issuer_tells_its_endpoints_and_frees_no_host_but_its_own() {
    let shared = Shared::set().await;
    let _operator = shared
        .stage
        .operator_with(&["--watch-namespace", &shared.team], &[])
        .await;
    let server = &shared.stage.server;
    let trap = AuthorizationServer::start().await;
    let allow = shared.rule(&[&mailbox("found")]);
    shared.apply_provider_of(&server.endpoints.url, "corp", allow).await;
    let ready = shared.wait_for_provider("corp", "True", "Usable").await;
    let shown = serde_json::to_value(ready.status.unwrap()).unwrap();
    assert_eq!(shown["endpoints"]["tokenURL"], json!(server.endpoints.token_url));
    shared.asset("found", "corp").await;
    shared.wait("found", Ready, "True", "Fresh").await;

    let named = format!("{}/liar", server.endpoints.url);
    let lie = json!({"issuer": named, "token_endpoint": trap.endpoints.token_url});
    let path = "/liar/.well-known/openid-configuration";
    server.serve_page(path, &Action::answer_json(200, &lie)).await;
    let allow = shared.rule(&[&mailbox("misled")]);
    shared.apply_provider_of(&named, "liar", allow).await;
    shared.asset("misled", "liar").await;
    let said = shared.wait("misled", Ready, "False", "HostNotAllowed").await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(message.ends_with("kubectl edit emailprovider liar"), "{message}");
    assert!(!message.contains("shared-client"), "{message}");
    assert_eq!(trap.counters().await.token_requests, 0);

    let down = format!("{}/down", server.endpoints.url);
    let path = "/down/.well-known/openid-configuration";
    server
        .serve_page(path, &Action::answer(503, "text/plain", "down"))
        .await;
    shared.apply_provider_of(&down, "down", json!([])).await;
    shared.wait_for_provider("down", "False", "Retrying").await;
}
