//! `kubectl emailasset`, run as a person runs it: the built binary, a kubeconfig, and rights in one namespace only.
//!
//! Here the test plays the operator, or a real one refreshes; [`authorize`] is a sign-in with everything real.

mod authorize;
mod person;
mod verify;

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use emailasset::api::{EmailAsset, EmailProvider};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{CLIENT, Cluster, Rotation, Stage, mailbox, until, wait_for, wait_until_gone};
use person::Person;

/// A namespace with an asset that waits for a person, and the test in the operator's place.
struct Desk {
    namespace: String,
    client: Client,
    assets: Api<EmailAsset>,
    secrets: Api<Secret>,
    person: Person,
}

impl Desk {
    async fn open(grant: &str) -> Self {
        let cluster = Cluster::shared();
        let namespace = cluster.namespace("plugin").await;
        let client = cluster.client().await;
        let desk = Self {
            assets: Api::namespaced(client.clone(), &namespace),
            secrets: Api::namespaced(client.clone(), &namespace),
            person: Person::who_signs_in(cluster, &namespace).await,
            client,
            namespace,
        };
        let asset = json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "metadata": {"name": "support"},
            "spec": {"email": "support@example.com", "oauth2": {
                "grant": grant, "clientID": "public", "tokenURL": "https://id.example.com/token",
                "authorizationURL": "https://id.example.com/auth", "deviceAuthorizationURL": "https://id.example.com/device"}},
        });
        desk.assets
            .patch("support", &PatchParams::apply("person").force(), &Patch::Apply(&asset))
            .await
            .unwrap();
        desk
    }

    /// What the operator would write into the status.
    async fn status(&self, status: Value) {
        let patch = json!({ "status": status });
        self.assets
            .patch_status("support", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn prepare(&self) {
        self.status(json!({
            "observedGeneration": 1,
            "signIn": {"authorizationRequest": "https://id.example.com/auth?client_id=public&response_type=code&scope=mail"},
            "conditions": [condition("Ready", "False", "SignInRequired"), condition("Authorized", "False", "SignInRequired")],
        }))
        .await;
    }

    async fn grant(&self) {
        let in_an_hour = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        self.status(json!({
            "conditions": [condition("Ready", "True", "Fresh"), condition("Authorized", "True", "Stored")],
            "grant": {"account": "support@example.com", "grantTime": "2026-11-25T10:00:00Z", "generation": 1},
            "token": {"secretName": "support-token", "expirationTime": in_an_hour},
        }))
        .await;
    }

    /// The Secret that the plugin hands over.
    async fn response(&self) -> Secret {
        let of_type = ListParams::default().fields("type=emailasset.dev/authorization-response");
        until("a response is handed over", || async {
            self.secrets.list(&of_type).await.unwrap().items.pop()
        })
        .await
    }

    async fn take(&self, response: &Secret) {
        let name = response.metadata.name.as_deref().unwrap();
        self.secrets.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "As the operator says.", "lastTransitionTime": "2026-11-25T09:00:00Z"})
}

fn text(secret: &Secret, key: &str) -> String {
    crate::support::text(secret, key)
}

#[tokio::test]
async fn a_consent_is_handed_over_and_its_result_is_told() {
    let desk = Desk::open("AuthorizationCode").await;
    desk.prepare().await;
    let signing_in = desk.person.begin("support").await;
    assert_eq!(signing_in.parameter("client_id"), "public");
    assert_eq!(signing_in.parameter("code_challenge_method"), "S256");
    let redirect_uri = signing_in.parameter("redirect_uri");
    assert!(redirect_uri.starts_with("http://127.0.0.1:"), "{redirect_uri}");

    // Whoever else knocks changes nothing.
    let (status, _) = signing_in.sent_back(&[("code", "forged"), ("state", "guessed")]).await;
    assert_eq!(status, 400);
    signing_in.consented("the-code").await;

    let response = desk.response().await;
    assert_eq!(
        response.metadata.annotations.as_ref().unwrap()["emailasset.dev/for"],
        "support"
    );
    assert!(
        response
            .metadata
            .name
            .as_deref()
            .unwrap()
            .starts_with("support-response-")
    );
    let asset = desk.assets.get("support").await.unwrap();
    assert_eq!(text(&response, "asset_uid"), asset.metadata.uid.unwrap());
    assert_eq!(text(&response, "code"), "the-code");
    assert_eq!(text(&response, "iss"), "https://id.example.com");
    assert_eq!(text(&response, "redirect_uri"), redirect_uri);
    assert_eq!(text(&response, "nonce"), signing_in.parameter("nonce"));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(text(&response, "code_verifier")));
    assert_eq!(challenge, signing_in.parameter("code_challenge"));

    desk.take(&response).await;
    desk.grant().await;
    let said = signing_in.ended().await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.output.starts_with("Signed in as support@example.com. Secret"),
        "{said:?}"
    );
    for secret in ["the-code", &text(&response, "code_verifier")] {
        assert!(!said.output.contains(secret) && !said.errors.contains(secret));
    }
}

#[tokio::test]
async fn a_wrong_account_is_told_in_the_operators_words_while_an_older_grant_stays() {
    let desk = Desk::open("AuthorizationCode").await;
    desk.prepare().await;
    desk.grant().await;
    let signing_in = desk.person.begin("support").await;
    signing_in.consented("another-code").await;
    let response = desk.response().await;
    let events: Api<Event> = Api::namespaced(desk.client.clone(), &desk.namespace);
    let event = serde_json::from_value(json!({
        "metadata": {"generateName": "support-", "namespace": desk.namespace},
        "involvedObject": {"apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "name": "support", "namespace": desk.namespace},
        "type": "Warning", "reason": "WrongAccount", "message": "jane@example.com signed in, but the asset waits for support@example.com.",
    }));
    desk.take(&response).await;
    events.create(&PostParams::default(), &event.unwrap()).await.unwrap();
    let said = signing_in.ended().await;
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.errors.contains("jane@example.com signed in"), "{said:?}");
    assert!(said.errors.contains("(WrongAccount)"), "{said:?}");
    assert_eq!(said.output, "");
}

#[tokio::test]
async fn a_no_at_the_provider_hands_nothing_over() {
    let desk = Desk::open("AuthorizationCode").await;
    desk.prepare().await;
    let signing_in = desk.person.begin("support").await;
    let state = signing_in.parameter("state");
    let answer = [
        ("error", "access_denied"),
        ("error_description", "The user said no"),
        ("state", &state),
    ];
    let (status, page) = signing_in.sent_back(&answer).await;
    assert_eq!(status, 200);
    assert!(page.contains("nothing was changed"), "{page}");
    let said = signing_in.ended().await;
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.errors.contains("access_denied: The user said no"), "{said:?}");
    assert!(
        desk.secrets
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn a_consent_that_nobody_took_is_withdrawn_on_ctrl_c() {
    let desk = Desk::open("AuthorizationCode").await;
    desk.prepare().await;
    let signing_in = desk.person.begin("support").await;
    signing_in.consented("a-code-for-nobody").await;
    let response = desk.response().await;
    signing_in.press_ctrl_c();
    let said = signing_in.ended().await;
    assert_eq!(said.code, 130, "{said:?}");
    wait_until_gone(&desk.secrets, response.metadata.name.as_deref().unwrap()).await;
}

#[tokio::test]
async fn a_code_for_another_device_is_asked_for_shown_and_waited_for() {
    let desk = Desk::open("DeviceCode").await;
    let arguments = ["authorize", "support"];
    let (said, ()) = tokio::join!(desk.person.run(&arguments), async {
        let asked = wait_for(&desk.assets, "support", "a code is asked for", |asset| {
            asset
                .metadata
                .annotations
                .as_ref()
                .is_some_and(|all| all.contains_key("emailasset.dev/sign-in"))
        })
        .await;
        let request = asked.metadata.annotations.unwrap()["emailasset.dev/sign-in"].clone();
        desk.status(json!({
            "observedGeneration": 1, "handledRequests": {"signIn": request},
            "signIn": {"userCode": "ABCD-EFGH", "verificationURL": "https://id.example.com/device"},
        }))
        .await;
        desk.grant().await;
    });
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.errors.contains("ABCD-EFGH"), "{said:?}");
    assert!(said.errors.contains("https://id.example.com/device"), "{said:?}");
    assert!(said.output.starts_with("Signed in as support@example.com."), "{said:?}");
}

#[tokio::test]
async fn what_keeps_a_sign_in_from_beginning_is_told() {
    let desk = Desk::open("AuthorizationCode").await;
    desk.status(json!({"observedGeneration": 1, "conditions": [
        condition("Ready", "False", "ClientMissing"), condition("Stalled", "True", "ClientMissing")]}))
        .await;
    let said = desk.person.run(&["authorize", "support"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.errors.contains("No sign-in can begin (ClientMissing)"), "{said:?}");

    let said = desk.person.run(&["authorize", "nobody"]).await;
    assert_eq!(said.code, 1);
    assert_eq!(
        said.errors,
        format!("error: There is no EmailAsset {}/nobody.\n", desk.namespace)
    );
}

#[tokio::test]
async fn a_missing_right_names_the_command_that_shows_it() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("plugin").await;
    let person = Person::with(cluster, &namespace, "stranger", &[]).await;
    let said = person.run(&["status"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.errors.contains(&format!(
            "kubectl auth can-i list emailassets.emailasset.dev -n {namespace}"
        )),
        "{said:?}"
    );
    let said = person.run(&["status", "-A"]).await;
    assert!(
        said.errors.contains("can-i list emailassets.emailasset.dev -A"),
        "{said:?}"
    );
    // It needs no right at all, and no cluster.
    let said = person
        .run_with_input(&["check", "-"], "kind: ConfigMap\napiVersion: v1\n")
        .await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test]
async fn status_refresh_and_token_work_with_a_real_operator() {
    let stage = Stage::set("plugin").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    stage.seed("support").await;
    stage
        .apply(&stage.manifest("support", "Strict", &json!({"imap": {"host": "imap.example.com"}})))
        .await;
    let person = Person::who_signs_in(stage.cluster, &stage.namespace).await;
    stage.wait_until_ready("support").await;

    let said = person.run(&["status", "support"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.output
            .contains("Ready       yes, Secret support-token holds a token"),
        "{said:?}"
    );
    assert!(said.output.contains("To do       nothing"), "{said:?}");
    assert!(!said.output.contains('\u{1b}'), "no colours in a pipe");
    let said = person.run(&["status"]).await;
    assert!(said.output.starts_with("NAME      EMAIL"), "{said:?}");
    let said = person.run(&["status", "-o", "json"]).await;
    let listed: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!(listed["assets"][0]["ready"], true);

    let said = person
        .run(&["__complete", "--", "status", "-n", &stage.namespace, "s"])
        .await;
    assert_eq!(said.output, "support\n:4\n");

    let said = person.run(&["refresh", "support", "-o", "json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    stage.wait_for_generation("support", 2).await;

    let said = person.run(&["token", "support"]).await;
    assert_eq!((said.code, said.errors.as_str()), (0, ""), "{:?}", said.code);
    let token = said.output.trim_end();
    let seen = stage.server.introspect(token).await;
    assert_eq!((seen.active, seen.account), (true, Some(mailbox("support"))));
    let said = person.run(&["token", "support", "--format", "oauthbearer"]).await;
    let response = STANDARD.decode(said.output.trim_end()).unwrap();
    assert_eq!(
        String::from_utf8(response).unwrap(),
        format!(
            "n,a={},\u{1}host=imap.example.com\u{1}port=993\u{1}auth=Bearer {token}\u{1}\u{1}",
            mailbox("support")
        )
    );
    let said = person
        .run(&["token", "support", "--format", "oauthbearer", "--protocol", "smtp"])
        .await;
    assert_eq!(said.code, 1);
    assert!(said.errors.contains("spec.smtp"), "{said:?}");
}

#[tokio::test]
async fn a_token_that_has_ended_is_refused_with_the_reason() {
    let desk = Desk::open("AuthorizationCode").await;
    desk.prepare().await;
    let said = desk.person.run(&["token", "support"]).await;
    assert_eq!(said.code, 1);
    assert!(said.errors.contains("There is no token yet"), "{said:?}");
    assert!(said.errors.contains("SignInRequired"), "{said:?}");

    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "support-token"}, "type": "emailasset.dev/token",
        "stringData": {"access_token": "an-old-token", "expires_at": "2026-01-01T00:00:00Z"},
    });
    desk.secrets
        .create(&PostParams::default(), &serde_json::from_value(secret).unwrap())
        .await
        .unwrap();
    let said = desk.person.run(&["token", "support"]).await;
    assert_eq!((said.code, said.output.as_str()), (1, ""), "{}", said.errors);
    assert!(
        said.errors.contains("ended") && !said.errors.contains("an-old-token"),
        "{said:?}"
    );
}

#[tokio::test]
async fn an_imported_token_file_passes_the_check_and_becomes_a_token() {
    let stage = Stage::set("plugin").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    let person = Person::who_signs_in(stage.cluster, &stage.namespace).await;
    let minted = stage.server.mint(CLIENT, &mailbox("moved")).await;
    let client = stage.secrets.get("oauth-client").await.unwrap();
    let file = json!({
        "client_id": CLIENT, "client_secret": text(&client, "client_secret"), "refresh_token": minted.refresh_token,
        "token_endpoint": stage.server.endpoints.token_url, "access_token": "", "expiry": "0", "user": mailbox("moved"),
    });
    let arguments = ["import", "--from", "sasl-xoauth2", "-", "-n", &stage.namespace];
    let imported = person.run_with_input(&arguments, &file.to_string()).await;
    assert_eq!(imported.code, 0, "{}", imported.errors);
    assert!(
        imported.errors.contains("Stop sasl-xoauth2 before"),
        "{}",
        imported.errors
    );

    let checked = person.run_with_input(&["check", "-"], &imported.output).await;
    assert_eq!(
        checked.output, "1 EmailAsset checked, no errors.\n",
        "{}",
        checked.errors
    );

    let manifests = crate::support::run_directory().join(format!("{}.yaml", stage.namespace));
    std::fs::write(&manifests, &imported.output).unwrap();
    let applied = stage
        .cluster
        .kubectl(&["apply", "-f", manifests.to_str().unwrap()])
        .await;
    std::fs::remove_file(&manifests).unwrap();
    assert!(applied.contains("emailasset.emailasset.dev/moved created"), "{applied}");
    stage.wait_until_ready("moved").await;
    stage.assert_token_works("moved").await;
}

#[tokio::test]
async fn the_catalogue_comes_without_a_cluster_and_beside_it_the_email_providers_that_the_namespace_may_use() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("catalogue").await;
    let person = Person::with(cluster, &namespace, "reader", &[]).await;

    // Nobody said anything of a cluster; one that may not be asked; one that is not there.
    let alone = person
        .command(&["providers"])
        .env_remove("KUBECONFIG")
        .output()
        .await
        .unwrap();
    assert!(alone.status.success() && alone.stderr.is_empty(), "{alone:?}");
    let catalogue = String::from_utf8(alone.stdout).unwrap();
    assert!(
        catalogue.contains("google") && !catalogue.contains("EMAILPROVIDER"),
        "{catalogue}"
    );
    let refused = person.run(&["providers"]).await;
    assert_eq!((refused.code, &refused.output), (0, &catalogue));
    assert!(
        refused.errors.contains("You may not list EmailProviders"),
        "{}",
        refused.errors
    );
    let missing = person.run(&["providers", "--kubeconfig", "no-such-file"]).await;
    assert_eq!((missing.code, &missing.output), (0, &catalogue));
    assert!(missing.errors.contains("are not shown"), "{}", missing.errors);

    let providers: Api<EmailProvider> = Api::all(cluster.client().await);
    let by_label = json!({"selector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    for (kind, namespaces, mailbox) in [
        ("named", json!({"names": [namespace]}), "*@named.example"),
        ("labelled", by_label, "box@labelled.example"),
        ("elsewhere", json!({"names": ["elsewhere"]}), "*@elsewhere.example"),
    ] {
        let name = format!("{kind}-{namespace}");
        let provider = json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailProvider", "metadata": {"name": name},
            "spec": {
                "provider": "google", "oauth2": {"clientID": "1234"},
                "allow": [{"namespaces": namespaces, "mailboxes": [mailbox]}],
            },
        });
        providers
            .patch(&name, &PatchParams::apply("admin").force(), &Patch::Apply(&provider))
            .await
            .unwrap();
    }
    let role = format!("catalogue-{namespace}");
    let resources = "--resource=emailproviders.emailasset.dev,namespaces";
    cluster
        .kubectl(&["create", "clusterrole", &role, "--verb=get,list", resources])
        .await;
    let account = format!("{namespace}:reader");
    let binding = ["create", "clusterrolebinding", &role, "--clusterrole", &role];
    cluster
        .kubectl(&[binding.as_slice(), &["--serviceaccount", &account]].concat())
        .await;
    let said = until("both may be seen", || async {
        let said = person.run(&["providers"]).await;
        said.output.contains("labelled.example").then_some(said)
    })
    .await;
    assert!(
        said.output.starts_with(&catalogue) && said.errors.is_empty(),
        "{said:?}"
    );
    let row = |kind: &str| {
        let row = said.output.lines().find(|line| line.starts_with(&format!("{kind}-")));
        let cells = row.map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        cells.unwrap_or_default()
    };
    assert_eq!(row("named")[3..], ["AuthorizationCode,_DeviceCode", "*@named.example"]);
    assert_eq!(row("labelled")[1], "google");
    assert_eq!(row("elsewhere"), Vec::<String>::new());

    let said = person.run(&["providers", "-o", "json"]).await;
    let listed: Value = serde_json::from_str(&said.output).unwrap();
    let rules = listed["emailProviders"].as_array().unwrap();
    assert_eq!(rules.len(), 2, "{rules:?}");
    assert_eq!(rules[1]["mailboxes"], json!(["*@named.example"]));
    for kind in ["named", "labelled", "elsewhere"] {
        let name = format!("{kind}-{namespace}");
        providers.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}
