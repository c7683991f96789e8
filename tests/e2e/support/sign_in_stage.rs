//! A stage on which people sign in: an operator with sign-in pages, and the authorization server's client with the operator's callback.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, mpsc};

use emailasset::api::{ConditionType, EmailAsset};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use url::Url;

use super::authorization_server::TokenRequest;
use super::browser::Browser;
use super::sign_ins::Twist;
use super::stage::{CLIENT, Stage, condition, mailbox, merge, text};
use super::{Operator, free_address, until, wait_for};

/// The button of an asset's page, which leads to the provider.
pub(crate) const BUTTON: &str = "form button[type=submit]";

/// A redirect URI on the person's own machine where nobody listens: for browsers that are stopped before it.
pub(crate) const LOOPBACK_REDIRECT: &str = "http://127.0.0.1:9/callback";

/// A stage and the operator on it, shared or not.
pub(crate) struct SignInStage {
    stage: Stage,
    /// It logs everything, so that the search for leaked secrets has something to search.
    pub(crate) operator: Arc<Operator>,
    /// Where its pages are.
    pub(crate) pages: SocketAddr,
}

impl Deref for SignInStage {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl SignInStage {
    /// The stage of this run.
    pub(crate) async fn join() -> Self {
        static KEPT: OnceLock<SignInStage> = OnceLock::new();
        KEPT.get_or_init(keep).for_this_test().await
    }

    async fn for_this_test(&self) -> Self {
        Self {
            stage: self.stage.for_this_test().await,
            operator: Arc::clone(&self.operator),
            pages: self.pages,
        }
    }

    /// A stage for one test.
    pub(crate) async fn alone(prefix: &str) -> Self {
        let stage = Stage::set(prefix).await;
        let pages = free_address();
        let operator = stage
            .operator_with_sign_in(pages, pages, &["--log-level", "trace"])
            .await;
        Self {
            stage,
            operator: Arc::new(operator),
            pages,
        }
    }
}

/// How people sign in, on any stage.
impl Stage {
    /// An operator whose sign-in pages listen at `listen` and are known to the world at `public`; with a balancer before it these are two.
    pub(crate) async fn operator_with_sign_in(
        &self,
        public: SocketAddr,
        listen: SocketAddr,
        arguments: &[&str],
    ) -> Operator {
        let (url, listen) = (format!("http://{public}"), listen.to_string());
        let arguments = [&["--public-url", &url, "--sign-in-listen", &listen], arguments].concat();
        self.operator_with(&arguments, &[]).await
    }

    /// One more such operator, with a spool of its own as in a pod of its own.
    pub(crate) async fn replica_with_sign_in(&self, public: SocketAddr, listen: SocketAddr) -> Operator {
        let (url, listen) = (format!("http://{public}"), listen.to_string());
        self.other_replica(&["--public-url", &url, "--sign-in-listen", &listen])
            .await
    }

    /// The manifest of an asset that a person signs in for; `spec` is merged over it.
    pub(crate) fn sign_in_manifest(&self, asset: &str, grant: &str, spec: &Value) -> Value {
        let endpoints = &self.server.endpoints;
        let mut manifest = json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset",
            "metadata": {"name": asset},
            "spec": {
                "email": mailbox(asset),
                "oauth2": {
                    "grant": grant,
                    "clientCredentialsRef": {"name": "oauth-client"},
                    "issuer": endpoints.url,
                    "tokenURL": endpoints.token_url,
                    "scopes": ["mail", "offline_access"],
                    "rotation": "Strict",
                },
            },
        });
        let oauth2 = &mut manifest["spec"]["oauth2"];
        if grant == "DeviceCode" {
            oauth2["deviceAuthorizationURL"] = json!(endpoints.device_authorization_url);
        } else {
            oauth2["authorizationURL"] = json!(endpoints.authorization_url);
            // OpenID Connect Core section 11: without it `offline_access` is ignored.
            oauth2["prompt"] = json!("consent");
        }
        merge(&mut manifest["spec"], spec);
        manifest
    }

    /// An asset that waits for somebody to sign in; the owner of its mailbox has an account, and the callback is registered at the server.
    pub(crate) async fn asset_to_sign_in(&self, asset: &str, spec: &Value) -> EmailAsset {
        self.server.add_person(&mailbox(asset)).await;
        let manifest = self.sign_in_manifest(asset, "AuthorizationCode", spec);
        self.apply(&manifest).await;
        let waiting = self.wait_for_link(asset, |_| true).await;
        let callback = sign_in(&waiting)["callbackURL"]
            .as_str()
            .expect("a callback")
            .to_owned();
        self.register_callback(&callback).await;
        waiting
    }

    /// Waits until the status shows a link that is good enough.
    pub(crate) async fn wait_for_link(&self, asset: &str, good: impl Fn(&str) -> bool) -> EmailAsset {
        wait_for(&self.assets, asset, "there is a link to sign in", |asset| {
            let sign_in = sign_in(asset);
            sign_in["callbackURL"].is_string() && sign_in["url"].as_str().is_some_and(&good)
        })
        .await
    }

    /// Registers the operator's callback at the server, exactly as it stands, as a person does in a provider's console; and the loopback redirect of
    /// `kubectl emailasset authorize`, at one port.
    pub(crate) async fn register_callback(&self, callback: &str) {
        self.register_callback_and(callback, &json!({})).await;
    }

    /// The same with more client metadata (RFC 7591 section 2).
    pub(crate) async fn register_callback_and(&self, callback: &str, metadata: &Value) {
        let secret = self
            .secrets
            .get("oauth-client")
            .await
            .expect("the client's Secret is there");
        let mut client = json!({
            "clientId": CLIENT, "clientSecret": text(&secret, "client_secret"), "authentication": "client_secret_basic",
            "application_type": "web", "redirectUris": [callback, LOOPBACK_REDIRECT],
        });
        merge(&mut client, metadata);
        self.server.register_with(client).await;
    }

    /// The link in the status.
    pub(crate) async fn link(&self, asset: &str) -> String {
        let asset = self.assets.get(asset).await.expect("the asset is there");
        sign_in(&asset)["url"].as_str().expect("a link").to_owned()
    }

    /// A person with a browser of their own goes from the link to the provider's login page.
    pub(crate) async fn open_login(&self, browser: &Browser, asset: &str) {
        browser.goto(&self.link(asset).await).await;
        browser.click(BUTTON).await;
        browser.wait_for_url(&self.server.endpoints.url).await;
    }

    /// The person signs in with their account, up to the consent page.
    pub(crate) async fn log_in(&self, browser: &Browser, asset: &str, account: &str) {
        self.open_login(browser, asset).await;
        browser.sign_in_as(account).await;
    }

    /// The person signs in and consents; the text of the page that tells how it ended.
    pub(crate) async fn sign_in(&self, browser: &Browser, asset: &str, account: &str) -> String {
        self.log_in(browser, asset, account).await;
        self.consent(browser, asset).await
    }

    /// The person says no at the provider, whose login page they see, and reads the page that tells how it ended.
    pub(crate) async fn say_no(&self, browser: &Browser, asset: &str) {
        self.open_login(browser, asset).await;
        browser.cancel().await;
        browser.wait_for_url(&origin(&self.link(asset).await)).await;
    }

    /// Logs in and consents, but the browser is not sent back yet: the callback with the code.
    pub(crate) async fn stop_at_callback(&self, browser: &Browser, asset: &str, account: &str) -> Url {
        let since = self.server.authorization_requests().await.len();
        self.log_in(browser, asset, account).await;
        let asked = self.server.authorization_requests().await.split_off(since);
        let asked = asked
            .into_iter()
            .find(|asked| asked.parameters.get("login_hint") == Some(&mailbox(asset)));
        let state = asked.expect("the browser brought a request").parameters["state"].clone();
        self.server.twist_for(account, Twist::StopAtServer).await;
        browser.consent().await;
        self.server.wait_for_response(&state).await
    }

    /// Consents; the text of the page that tells how it ended.
    pub(crate) async fn consent(&self, browser: &Browser, asset: &str) -> String {
        let link = self.link(asset).await;
        browser.consent().await;
        browser.wait_for_url(&origin(&link)).await;
        browser.text().await
    }

    /// Whoever has an account signs in with a fresh browser, and it works.
    pub(crate) async fn sign_in_well(&self, asset: &str) {
        let browser = Browser::open().await;
        self.sign_in(&browser, asset, &mailbox(asset)).await;
        self.wait_until_ready(asset).await;
    }

    /// Asks for a new link or code by annotation.
    pub(crate) async fn request_sign_in(&self, asset: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {"emailasset.dev/sign-in": value}}});
        self.assets
            .patch(asset, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .expect("an annotation can be set");
    }

    /// Asks for a code by annotation; where to enter it, and the code.
    pub(crate) async fn request_code(&self, asset: &str, value: &str) -> [String; 2] {
        let asked = |asset: &EmailAsset| {
            let handled = asset.status.as_ref().and_then(|status| status.handled_requests.clone());
            handled.and_then(|handled| handled.sign_in).as_deref() == Some(value)
                && sign_in(asset)["userCode"].is_string()
        };
        self.request_sign_in(asset, value).await;
        let asset = wait_for(&self.assets, asset, "there is a code", asked).await;
        let sign_in = sign_in(&asset);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        [text(&sign_in["verificationURL"]), text(&sign_in["userCode"])]
    }

    /// Waits until an Event about the asset has this reason; what it says.
    pub(crate) async fn wait_for_event(&self, asset: &str, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let uid = self.assets.get(asset).await.expect("the asset is there").metadata.uid;
        until(&format!("an Event says {reason}"), || async {
            let all = events.list(&ListParams::default()).await.expect("Events can be listed");
            let about = |event: &Event| {
                event.regarding.as_ref().is_some_and(|regarding| regarding.uid == uid)
                    && event.reason.as_deref() == Some(reason)
            };
            all.into_iter().find(about).map(|event| event.note.unwrap_or_default())
        })
        .await
    }

    /// The message of a condition.
    pub(crate) async fn message_of(&self, asset: &str, kind: ConditionType) -> String {
        let asset = self.assets.get(asset).await.expect("the asset is there");
        condition(&asset, kind).expect("the condition is there").2
    }

    /// The token requests for an account, of one grant type.
    pub(crate) async fn token_requests(&self, account: &str, grant_type: &str) -> Vec<TokenRequest> {
        let all = self.server.requests_since(0).await;
        let fits = |request: &TokenRequest| {
            request.account.as_deref() == Some(account) && request.grant_type.as_deref() == Some(grant_type)
        };
        all.into_iter().filter(fits).collect()
    }

    /// Grant and token Secret of an asset, as they are now.
    pub(crate) async fn kept(&self, asset: &str) -> [Option<Secret>; 2] {
        let [grant, token] = [format!("{asset}-grant"), format!("{asset}-token")];
        [
            self.secrets.get_opt(&grant).await.expect("Secrets can be read"),
            self.secrets.get_opt(&token).await.expect("Secrets can be read"),
        ]
    }
}

/// `status.signIn` as people see it.
pub(crate) fn sign_in(asset: &EmailAsset) -> Value {
    let status = asset.status.as_ref().map(|status| json!(status));
    status.map_or(Value::Null, |status| status["signIn"].clone())
}

/// Scheme, host and port of a URL, with the slash.
pub(crate) fn origin(url: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    format!("{}/", url.origin().ascii_serialization())
}

fn keep() -> SignInStage {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime starts").block_on(async {
            let stage = SignInStage::alone("sign-in").await;
            let kept = stage.for_this_test().await;
            assert!(sender.send(kept).is_ok(), "the first test waits for it");
            // The stage is kept as long as the test process lives.
            std::future::pending::<()>().await;
            drop(stage);
        });
    });
    receiver.recv().expect("the stage was set; its own thread says why not")
}
