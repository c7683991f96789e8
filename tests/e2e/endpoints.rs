//! Where credentials may go, for every endpoint that gets one (invariant 11): the ways of `hosts.rs`, tried at the endpoints beside the token endpoint and with the
//! grants that need no person. What must stay away is counted by the trap: a request of any kind.

use emailasset::api::ConditionType::Ready;
use emailasset::api::EmailAsset;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::hosts::stage_and_trap;
use crate::support::{AuthorizationServer, CLIENT, Rotation, SharedStage, condition, wait_until_gone};

const MAIL: &str = "https://mail.google.com/";

/// An endpoint, and the grant with which a credential gets there.
#[derive(Debug, Clone, Copy)]
enum Endpoint {
    /// A refresh token is redeemed.
    Refresh,
    /// A refresh token is given back.
    Revocation,
    /// A sign-in with a code begins.
    Device,
    /// A client asks for a token of its own.
    Client,
    /// A service account asks for a mailbox.
    Delegate,
}

use Endpoint::{Client, Delegate, Device, Refresh, Revocation};

const ALL: [Endpoint; 5] = [Refresh, Revocation, Device, Client, Delegate];

impl Endpoint {
    const fn field(self) -> &'static str {
        match self {
            Refresh => "refreshURL",
            Revocation => "revocationURL",
            Device => "deviceAuthorizationURL",
            Client | Delegate => "tokenURL",
        }
    }

    /// A name for an asset.
    fn asset(self, way: &str) -> String {
        format!("{way}-{self:?}").to_lowercase()
    }

    /// The endpoint of this kind at a server.
    fn at(self, server: &AuthorizationServer) -> String {
        let endpoints = &server.endpoints;
        match self {
            Refresh | Client | Delegate => &endpoints.token_url,
            Revocation => &endpoints.revocation_url,
            Device => &endpoints.device_authorization_url,
        }
        .clone()
    }

    /// An asset that uses this endpoint, at this URL.
    fn manifest(self, stage: &SharedStage, asset: &str, url: &str) -> Value {
        let mut manifest = stage.manifest(asset, "None", &json!({"oauth2": {(self.field()): url}}));
        let oauth2 = manifest["spec"]["oauth2"].as_object_mut().unwrap();
        if matches!(self, Revocation) {
            oauth2.insert("grantDeletionPolicy".to_owned(), json!("Revoke"));
        }
        let grant = match self {
            Refresh | Revocation => return manifest,
            Device => "DeviceCode",
            Client => "ClientCredentials",
            Delegate => "JWTBearer",
        };
        oauth2.remove("refreshTokenSecretRef");
        oauth2.remove("rotation");
        oauth2.insert("grant".to_owned(), json!(grant));
        let scope = if matches!(self, Delegate) { MAIL } else { "mail" };
        oauth2.insert("scopes".to_owned(), json!([scope]));
        if matches!(self, Device) {
            oauth2.insert("issuer".to_owned(), json!(stage.server.endpoints.url));
        }
        if matches!(self, Delegate) {
            oauth2.insert("clientCredentialsRef".to_owned(), json!({"name": "service-account"}));
        }
        manifest
    }

    /// The Secrets whose contents would go there.
    fn secrets(self, asset: &str) -> Vec<String> {
        match self {
            Refresh | Revocation => vec!["oauth-client".to_owned(), format!("{asset}-seed")],
            Device | Client => vec!["oauth-client".to_owned()],
            Delegate => vec!["service-account".to_owned()],
        }
    }

    /// Makes what an honest asset of this kind needs.
    async fn prepare(self, stage: &SharedStage, asset: &str) {
        match self {
            Refresh | Revocation => {
                stage.seed_rotating(asset, Rotation::None).await;
            }
            Delegate => {
                let file = stage
                    .server
                    .service_account_key("mail@endpoints.iam.gserviceaccount.com")
                    .await;
                stage
                    .put_secret("service-account", &json!({"key.json": file.to_string()}))
                    .await;
            }
            Device | Client => {}
        }
    }
}

#[tokio::test]
async fn no_endpoint_of_somebody_elses_gets_anything() {
    let (stage, trap) = stage_and_trap().await;
    for endpoint in ALL {
        let asset = endpoint.asset("foreign");
        endpoint.prepare(&stage, &asset).await;
        let manifest = endpoint.manifest(&stage, &asset, &endpoint.at(&trap));
        stage.apply(&manifest).await;
        is_refused(&stage, endpoint, &asset).await;
    }
    nothing_came(&stage, &trap, "after-foreign").await;
}

#[tokio::test]
async fn no_endpoint_is_another_ones_under_another_spelling() {
    let (stage, trap) = stage_and_trap().await;
    let port = trap.endpoints.url.rsplit(':').next().unwrap();
    let hosts = ["localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"];
    for endpoint in ALL {
        for (number, host) in hosts.into_iter().enumerate() {
            let url = format!("https://{host}:{port}/{}", path(&endpoint.at(&trap)));
            let asset = endpoint.asset(&format!("spelt{number}"));
            let manifest = endpoint.manifest(&stage, &asset, &url);
            match stage.assets.patch(&asset, &dry_run(), &Patch::Apply(&manifest)).await {
                Ok(_) => {
                    endpoint.prepare(&stage, &asset).await;
                    stage.apply(&manifest).await;
                    is_refused(&stage, endpoint, &asset).await;
                }
                Err(kube::Error::Api(status)) => {
                    assert!(status.message.contains(endpoint.field()), "{url}: {}", status.message);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    nothing_came(&stage, &trap, "after-spelt").await;
}

#[tokio::test]
async fn at_no_endpoint_a_url_that_only_looks_right_is_a_url() {
    let (stage, trap) = stage_and_trap().await;
    let (right, wrong) = (
        stage.host(),
        trap.endpoints.url.trim_start_matches("https://").to_owned(),
    );
    for endpoint in ALL {
        for url in [
            format!("https://{right}@{wrong}/token"),
            format!("https://{wrong}#@{right}/token"),
            format!("https://{wrong}\\@{right}/token"),
            format!("https://{right}.{wrong}/token"),
            format!("https://127.0.0。1:{}/token", wrong.rsplit(':').next().unwrap()),
            format!("http://{wrong}/token"),
        ] {
            let manifest = endpoint.manifest(&stage, "looks-right", &url);
            let tried = stage
                .assets
                .patch("looks-right", &dry_run(), &Patch::Apply(&manifest))
                .await;
            let Err(kube::Error::Api(status)) = tried else {
                panic!("{endpoint:?} {url}: {tried:?}")
            };
            let field = format!("spec.oauth2.{}", endpoint.field());
            assert!(status.message.contains(&field), "{url}: {}", status.message);
        }
    }
}

#[tokio::test]
async fn at_no_endpoint_a_providers_name_covers_another_host() {
    let (stage, trap) = stage_and_trap().await;
    for endpoint in ALL {
        let asset = endpoint.asset("named");
        endpoint.prepare(&stage, &asset).await;
        let mut manifest = endpoint.manifest(&stage, &asset, &endpoint.at(&trap));
        let (provider, parameters) = match endpoint {
            Refresh | Revocation => ("google", json!({})),
            Device => ("microsoft", json!({"tenant": "contoso.onmicrosoft.com"})),
            Client => ("microsoft-app", json!({"tenant": "contoso.onmicrosoft.com"})),
            Delegate => ("google-service-account", json!({})),
        };
        manifest["spec"]["provider"] = json!(provider);
        let oauth2 = manifest["spec"]["oauth2"].as_object_mut().unwrap();
        if endpoint.field() != "tokenURL" {
            oauth2.remove("tokenURL");
        }
        for name in ["issuer", "rotation", "scopes"] {
            oauth2.remove(name);
        }
        if parameters != json!({}) {
            oauth2.insert("parameters".to_owned(), parameters);
        }
        stage.apply(&manifest).await;
        is_refused(&stage, endpoint, &asset).await;
    }
    nothing_came(&stage, &trap, "after-named").await;
}

#[tokio::test]
async fn at_no_endpoint_another_secret_of_the_namespace_is_a_credential() {
    let (stage, trap) = stage_and_trap().await;
    let database = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ledger"},
        "stringData": {"client_id": "postgres", "client_secret": "the-password-of-the-ledger", "key.json": "{}"},
    });
    let person = PatchParams::apply("dba");
    stage
        .secrets
        .patch("ledger", &person, &Patch::Apply(&database))
        .await
        .unwrap();
    for endpoint in ALL {
        let asset = endpoint.asset("ledger");
        let mut manifest = endpoint.manifest(&stage, &asset, &endpoint.at(&trap));
        let oauth2 = &mut manifest["spec"]["oauth2"];
        match endpoint {
            Refresh | Revocation => {
                oauth2["refreshTokenSecretRef"] = json!({"name": "ledger", "key": "client_secret"});
            }
            Device | Client | Delegate => oauth2["clientCredentialsRef"] = json!({"name": "ledger"}),
        }
        stage.apply(&manifest).await;
        let said = stage.wait_for_condition(&asset, Ready, "False", "HostNotAllowed").await;
        let message = condition(&said, Ready).unwrap().2;
        assert!(message.contains("/ledger"), "{endpoint:?}: {message}");
    }
    nothing_came(&stage, &trap, "after-ledger").await;
}

#[tokio::test]
async fn another_assets_grant_is_no_client_for_any_endpoint() {
    let (stage, trap) = stage_and_trap().await;
    stage.settle("rich-aunt", Rotation::Strict, &json!({})).await;
    for endpoint in [Device, Client, Delegate] {
        let asset = endpoint.asset("niece");
        let mut manifest = endpoint.manifest(&stage, &asset, &endpoint.at(&trap));
        manifest["spec"]["oauth2"]["clientCredentialsRef"] = json!({"name": "rich-aunt-grant"});
        stage.apply(&manifest).await;
        stage.wait_for_condition(&asset, Ready, "False", "InvalidSpec").await;
    }
    nothing_came(&stage, &trap, "after-niece").await;
}

/// Nothing is left that could object: no client Secret, and a seed Secret that does not exist.
#[tokio::test]
async fn a_living_grant_is_given_back_to_nobody_else_even_where_no_secret_is_named() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "robbed";
    stage.settle(asset, Rotation::Strict, &json!({})).await;
    let spec = json!({"oauth2": {
        "clientCredentialsRef": null, "clientID": CLIENT, "refreshTokenSecretRef": {"name": "no-seed-to-give-back"},
        "grantDeletionPolicy": "Revoke", "revocationURL": trap.endpoints.revocation_url,
    }});
    is_not_given_away(&stage, &trap, asset, &spec).await;
}

/// They may make Secrets, though not read any: these name all hosts, and the client ID is the right one.
#[tokio::test]
async fn own_secrets_of_a_thief_do_not_have_a_living_grant_given_to_them() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "robbed-by-the-rich";
    stage.settle(asset, Rotation::Strict, &json!({})).await;
    let hosts = format!("{},{}", stage.host(), trap.endpoints.url.trim_start_matches("https://"));
    for (name, data) in [
        (
            "robber-client",
            json!({"client_id": CLIENT, "client_secret": "made-up"}),
        ),
        ("robber-seed", json!({"refresh_token": "made-up"})),
    ] {
        stage.put_secret(name, &data).await;
        let named = json!({"metadata": {"annotations": {"emailasset.dev/hosts": hosts}}});
        let person = PatchParams::default();
        stage.secrets.patch(name, &person, &Patch::Merge(&named)).await.unwrap();
    }
    let spec = json!({"oauth2": {
        "clientCredentialsRef": {"name": "robber-client"}, "refreshTokenSecretRef": {"name": "robber-seed"},
        "grantDeletionPolicy": "Revoke", "revocationURL": trap.endpoints.revocation_url,
    }});
    is_not_given_away(&stage, &trap, asset, &spec).await;
}

#[tokio::test]
async fn a_retained_grant_is_not_inherited_to_be_given_away() {
    let (stage, trap) = stage_and_trap().await;
    let asset = "robbed-heir";
    stage
        .settle(
            asset,
            Rotation::Strict,
            &json!({"oauth2": {"grantDeletionPolicy": "Retain"}}),
        )
        .await;
    let token = stage.access_token(asset).await;
    stage.assets.delete(asset, &DeleteParams::default()).await.unwrap();
    wait_until_gone(&stage.secrets, &format!("{asset}-token")).await;
    let mut manifest = stage.manifest(
        asset,
        "Strict",
        &json!({"oauth2": {
            "clientID": CLIENT, "refreshTokenSecretRef": {"name": "no-seed-of-the-heir"},
            "grantDeletionPolicy": "Revoke", "revocationURL": trap.endpoints.revocation_url,
        }}),
    );
    manifest["spec"]["oauth2"]
        .as_object_mut()
        .unwrap()
        .remove("clientCredentialsRef");
    stage.apply(&manifest).await;
    stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    leaves_without_a_word(&stage, &trap, asset, &token).await;
}

/// The changed asset is refused, and what is left of it when it goes is a living grant that the trap has not seen.
async fn is_not_given_away(stage: &SharedStage, trap: &AuthorizationServer, asset: &str, spec: &Value) {
    let token = stage.access_token(asset).await;
    stage.change_spec(asset, spec).await;
    let said = stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let message = condition(&said, Ready).unwrap().2;
    assert!(message.contains("spec.oauth2.revocationURL is at"), "{message}");
    leaves_without_a_word(stage, trap, asset, &token).await;
}

async fn leaves_without_a_word(stage: &SharedStage, trap: &AuthorizationServer, asset: &str, token: &str) {
    stage.assets.delete(asset, &DeleteParams::default()).await.unwrap();
    wait_until_gone::<EmailAsset>(&stage.assets, asset).await;
    nothing_came(stage, trap, &format!("after-{asset}")).await;
    assert!(stage.server.introspect(token).await.active, "nobody gave it back");
}

/// `HostNotAllowed`, with the command for each Secret that would allow it.
async fn is_refused(stage: &SharedStage, endpoint: Endpoint, asset: &str) {
    let said = stage.wait_for_condition(asset, Ready, "False", "HostNotAllowed").await;
    let message = condition(&said, Ready).unwrap().2;
    for secret in endpoint.secrets(asset) {
        let command = format!(
            "kubectl annotate secret -n {} {secret} emailasset.dev/hosts=",
            stage.namespace
        );
        assert!(message.contains(&command), "{endpoint:?}: {message}");
    }
    // Not by asking for it either.
    stage.request_refresh(asset, "please").await;
}

async fn nothing_came(stage: &SharedStage, trap: &AuthorizationServer, marker: &str) {
    stage.wait_for_marker(marker).await;
    assert_eq!(trap.counters().await.requests, 0);
}

fn dry_run() -> PatchParams {
    PatchParams {
        dry_run: true,
        ..PatchParams::apply("person")
    }
}

fn path(url: &str) -> String {
    url.splitn(4, '/').nth(3).unwrap_or_default().to_owned()
}
