//! The tools themselves: each part does what the other tests take for granted.

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Action, AuthorizationServer, Cluster, Fault, Match, Operator, OperatorOptions, Rotation, Step, free_address, until,
    wait_for, wait_until_gone,
};

const MAILBOX: &str = "support@example.com";

mod cluster {
    use super::*;

    #[tokio::test]
    async fn a_new_namespace_has_its_default_service_account() {
        let cluster = Cluster::shared();
        let namespace = cluster.namespace("harness").await;
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client().await, &namespace);
        assert!(accounts.get("default").await.is_ok());
    }

    #[tokio::test]
    async fn kubectl_and_server_are_of_the_same_version() {
        let versions = Cluster::shared().kubectl(&["version", "--output=json"]).await;
        let versions: Value = serde_json::from_str(&versions).unwrap();
        assert_eq!(
            versions["clientVersion"]["gitVersion"],
            versions["serverVersion"]["gitVersion"]
        );
        assert_eq!(versions["serverVersion"]["minor"], "37");
    }

    #[tokio::test]
    async fn a_service_account_may_do_nothing_until_it_is_allowed_to() {
        let cluster = Cluster::shared();
        let namespace = cluster.namespace("harness").await;
        let client = cluster.client_as_service_account(&namespace, "operator").await;
        let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
        assert!(matches!(maps.get("settings").await, Err(kube::Error::Api(status)) if status.code == 403));

        let account = format!("{namespace}:operator");
        let arguments = [
            "create",
            "rolebinding",
            "operator",
            "--clusterrole=edit",
            "--serviceaccount",
            &account,
            "-n",
            &namespace,
        ];
        cluster.kubectl(&arguments).await;
        until("the right arrives", || async {
            maps.create(&PostParams::default(), &map("settings")).await.ok()
        })
        .await;
    }

    #[tokio::test]
    async fn the_requests_of_a_service_account_are_known() {
        let cluster = Cluster::shared();
        let namespace = cluster.namespace("harness").await;
        let client = cluster.client_as_service_account(&namespace, "operator").await;
        let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
        let _ = maps.get("settings").await;
        let _ = maps.create(&PostParams::default(), &map("other")).await;

        let requests = until("both requests are in the log", || async {
            Some(cluster.requests_of(&namespace, "operator")).filter(|requests| requests.len() == 2)
        });
        let requests = requests.await;
        assert_eq!(
            (requests[0].verb.as_str(), requests[0].name.as_str(), requests[0].code),
            ("get", "settings", 403)
        );
        assert!(requests[1].is_write());
        assert_eq!(requests[1].resource, "configmaps");
    }

    #[tokio::test]
    async fn what_an_owner_owned_is_collected_with_it() {
        let cluster = Cluster::shared();
        let namespace = cluster.namespace("harness").await;
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await, &namespace);
        let owner = maps.create(&PostParams::default(), &map("owner")).await.unwrap();
        let mut dependent = map("dependent");
        dependent.metadata.owner_references =
            Some(vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                name: "owner".into(),
                uid: owner.metadata.uid.unwrap(),
                ..Default::default()
            }]);
        maps.create(&PostParams::default(), &dependent).await.unwrap();
        maps.delete("owner", &DeleteParams::background()).await.unwrap();
        wait_until_gone(&maps, "dependent").await;
    }

    /// Two kinds of absence: a killed API server refuses connections, a frozen one accepts them and says nothing.
    #[tokio::test]
    async fn an_own_api_server_can_be_killed_and_frozen_without_losing_data() {
        let cluster = Cluster::own().await;
        let client = cluster.client().await;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        maps.create(&PostParams::default(), &map("before")).await.unwrap();

        cluster.stop_api_server().await;
        assert!(is_refused(&client).await);
        let waiting = tokio::spawn({
            let maps = maps.clone();
            async move { wait_for(&maps, "before", "is there again", |_| true).await }
        });
        cluster.start_api_server().await;
        waiting.await.unwrap();

        cluster.pause_api_server().await;
        let mut get = std::pin::pin!(maps.get("before"));
        let answer = tokio::time::timeout(std::time::Duration::from_millis(300), get.as_mut()).await;
        assert!(answer.is_err(), "a frozen API server answers nothing");
        cluster.resume_api_server().await;
        get.await.unwrap();
    }

    async fn is_refused(client: &Client) -> bool {
        let request = http::Request::get("/version").body(Vec::new()).unwrap();
        client.send(request.map(Into::into)).await.is_err()
    }

    fn map(name: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }
}

mod authorization_server {
    use super::*;

    #[tokio::test]
    async fn a_strict_server_issues_a_new_refresh_token_and_kills_the_grant_on_replay() {
        let server = AuthorizationServer::start().await;
        server.set_access_token_lifetime(77).await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let first = server.mint("helpdesk", MAILBOX).await;

        let (status, answer) = server.refresh(&client, &first.refresh_token).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["expires_in"], 77);
        assert_ne!(text(&answer, "refresh_token"), first.refresh_token);
        let token = server.introspect(text(&answer, "access_token")).await;
        assert!(token.active);
        assert_eq!(token.account.as_deref(), Some(MAILBOX));

        assert_invalid_grant(server.refresh(&client, &first.refresh_token).await);
        assert!(!server.introspect(text(&answer, "access_token")).await.active);
        assert_invalid_grant(server.refresh(&client, text(&answer, "refresh_token")).await);
        assert_eq!(server.counters().await.grants_killed_by_replay, 1);
    }

    #[tokio::test]
    async fn a_strict_server_answers_one_of_two_refreshes_at_the_same_moment_and_kills_the_grant() {
        let server = AuthorizationServer::start().await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let first = server.mint("helpdesk", MAILBOX).await;
        let fault = server
            .inject(Fault {
                times: Some(2),
                hang: true,
                ..Fault::default()
            })
            .await;
        let (one, two, ()) = tokio::join!(
            server.refresh(&client, &first.refresh_token),
            server.refresh(&client, &first.refresh_token),
            async {
                fault.wait_until_held(2).await;
                fault.release().await;
            }
        );
        let mut statuses = [one.unwrap().0, two.unwrap().0];
        statuses.sort();
        assert_eq!(statuses, [StatusCode::OK, StatusCode::BAD_REQUEST]);
        assert_eq!(server.counters().await.grants_killed_by_replay, 1);
    }

    #[tokio::test]
    async fn a_soft_server_issues_a_new_refresh_token_and_honours_the_old_one() {
        let server = AuthorizationServer::start().await;
        server.set_rotation(Rotation::Soft).await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let first = server.mint("helpdesk", MAILBOX).await;
        for _ in 0..2 {
            let (status, answer) = server.refresh(&client, &first.refresh_token).await.unwrap();
            assert_eq!(status, StatusCode::OK);
            assert_ne!(text(&answer, "refresh_token"), first.refresh_token);
        }
        assert_eq!(server.counters().await.grants_killed_by_replay, 0);
    }

    #[tokio::test]
    async fn a_server_that_does_not_rotate_answers_the_same_refresh_token() {
        let server = AuthorizationServer::start().await;
        server.set_rotation(Rotation::None).await;
        let client = server.register("helpdesk", "none").await;
        let first = server.mint("helpdesk", MAILBOX).await;
        for _ in 0..2 {
            let (_, answer) = server.refresh(&client, &first.refresh_token).await.unwrap();
            assert_eq!(text(&answer, "refresh_token"), first.refresh_token);
        }
    }

    #[tokio::test]
    async fn an_answer_lost_after_rotation_leaves_a_token_that_is_refused() {
        let server = AuthorizationServer::start().await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let first = server.mint("helpdesk", MAILBOX).await;
        let fault = server
            .inject(Fault {
                step: Step::After,
                action: Action::Drop,
                ..Fault::default()
            })
            .await;
        assert!(server.refresh(&client, &first.refresh_token).await.is_err());
        assert_eq!(fault.hits().await, 1);
        assert_invalid_grant(server.refresh(&client, &first.refresh_token).await);
        assert_eq!(server.counters_of(&first.grant_id).await.answered_with_token, 0);
    }

    #[tokio::test]
    async fn a_connection_cut_before_processing_leaves_the_token_good() {
        let server = AuthorizationServer::start().await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let first = server.mint("helpdesk", MAILBOX).await;
        server
            .inject(Fault {
                action: Action::Drop,
                ..Fault::default()
            })
            .await;
        assert!(server.refresh(&client, &first.refresh_token).await.is_err());
        let (status, _) = server.refresh(&client, &first.refresh_token).await.unwrap();
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_fault_strikes_only_the_requests_it_is_for() {
        let server = AuthorizationServer::start().await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let one = server.mint("helpdesk", "one@example.com").await;
        let two = server.mint("helpdesk", "two@example.com").await;
        let action = Action::answer_json(503, &json!({"error": "temporarily_unavailable"}));
        let applies_to = Match {
            account: Some("two@example.com".into()),
            ..Match::default()
        };
        server
            .inject(Fault {
                applies_to,
                times: None,
                action,
                ..Fault::default()
            })
            .await;

        assert_eq!(
            server.refresh(&client, &one.refresh_token).await.unwrap().0,
            StatusCode::OK
        );
        assert_eq!(
            server.refresh(&client, &two.refresh_token).await.unwrap().0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        server.clear_faults().await;
        assert_eq!(
            server.refresh(&client, &two.refresh_token).await.unwrap().0,
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn overlapping_refreshes_of_one_grant_are_counted() {
        let server = AuthorizationServer::start().await;
        server.set_rotation(Rotation::None).await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let grant = server.mint("helpdesk", MAILBOX).await;
        let fault = server
            .inject(Fault {
                hang: true,
                ..Fault::default()
            })
            .await;
        let (held, passed) = tokio::join!(server.refresh(&client, &grant.refresh_token), async {
            fault.wait_until_held(1).await;
            let passed = server.refresh(&client, &grant.refresh_token).await;
            fault.release().await;
            passed
        });
        assert_eq!((held.unwrap().0, passed.unwrap().0), (StatusCode::OK, StatusCode::OK));
        assert_eq!(server.counters_of(&grant.grant_id).await.max_overlapping, 2);
    }

    #[tokio::test]
    async fn a_revoked_grant_is_refused() {
        let server = AuthorizationServer::start().await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let grant = server.mint("helpdesk", MAILBOX).await;
        server.revoke(&grant.grant_id).await;
        assert_invalid_grant(server.refresh(&client, &grant.refresh_token).await);
    }

    #[tokio::test]
    async fn the_log_of_requests_holds_no_token() {
        let server = AuthorizationServer::start().await;
        let client = server.register("helpdesk", "client_secret_basic").await;
        let grant = server.mint("helpdesk", MAILBOX).await;
        server.refresh(&client, &grant.refresh_token).await.unwrap();
        let requests = server.requests_since(0).await;
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].account.as_deref(), Some(MAILBOX));
        assert!(requests[0].parameters["refresh_token"].starts_with("sha256:"));
        let written = format!("{requests:?}");
        let secrets = server.secrets().await;
        assert!(secrets.contains(&grant.refresh_token));
        assert!(secrets.iter().all(|secret| !written.contains(secret)));
    }

    #[tokio::test]
    async fn the_plain_server_gives_every_request_a_token_of_its_own() {
        let server = AuthorizationServer::start_plain().await;
        server.set_rotation(Rotation::None).await;
        let client = serde_json::from_value(json!({"clientId": "anyone"})).unwrap();
        let (_, one) = server.refresh(&client, "anything").await.unwrap();
        let (_, two) = server.refresh(&client, "anything").await.unwrap();
        assert_ne!(text(&one, "access_token"), text(&two, "access_token"));
        assert!((1400..1600).contains(&text(&one, "access_token").len()));
        assert_eq!(server.counters().await.refresh_requests, 2);
    }

    fn text<'answer>(answer: &'answer Value, name: &str) -> &'answer str {
        answer[name].as_str().unwrap()
    }

    fn assert_invalid_grant(answer: Result<(StatusCode, Value), reqwest::Error>) {
        let (status, body) = answer.unwrap();
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_grant"))
        );
    }
}

mod operator {
    use std::path::Path;

    use super::*;

    /// A shell stands in for the operator: what is tested is how the tools treat a process.
    fn shell(script: &str) -> Operator {
        let args = vec!["-c".into(), script.into()];
        let env = vec![("GREETING".to_owned(), "hello".into())];
        Operator::start_program(
            Path::new("/bin/sh"),
            OperatorOptions {
                args,
                env,
                kubeconfig: "/nowhere".into(),
            },
        )
    }

    #[tokio::test]
    async fn its_lines_are_seen_as_they_come() {
        let mut operator = shell("echo $GREETING $KUBECONFIG; echo trouble >&2; exit 3");
        assert_eq!(operator.wait_for_line("hello").await, "hello /nowhere");
        operator.wait_for_line("trouble").await;
        assert_eq!(operator.wait().await.code(), Some(3));
        assert!(operator.log().contains("trouble"));
    }

    #[tokio::test]
    async fn it_can_end_in_peace_and_be_killed() {
        let mut operator = shell("trap 'echo bye; exit 0' TERM; echo up; while :; do :; done");
        operator.wait_for_line("up").await;
        operator.terminate();
        assert!(operator.wait().await.success());

        let mut operator = shell("echo up; while :; do :; done");
        operator.wait_for_line("up").await;
        operator.freeze();
        operator.thaw();
        assert!(!operator.kill().await.success());
    }

    #[tokio::test]
    async fn the_real_one_runs() {
        let kubeconfig = Cluster::shared().kubeconfig().to_owned();
        let args = vec!["--help".into()];
        let mut operator = Operator::start(OperatorOptions {
            args,
            kubeconfig,
            ..OperatorOptions::default()
        });
        assert!(operator.wait().await.success());
    }
}

#[test]
fn a_free_address_is_free() {
    assert!(std::net::TcpListener::bind(free_address()).is_ok());
}
