//! What `deploy/` installs works as it is, and gives the operator no more than it needs.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::{Cluster, Deployed, Operator, apply_deployment, until, wait_for};

/// What the operator may do in each namespace where it works. A verb more, and somebody should have a reason.
#[rustfmt::skip]
const WHERE_IT_WORKS: &[(&str, &str)] = &[
    ("secrets",                   "get"), ("secrets",                   "list"),   ("secrets", "watch"),
    ("secrets",                   "create"), ("secrets",                "patch"),  ("secrets", "delete"),
    ("configmaps",                "get"),
    ("emailasset.dev/emailassets", "list"), ("emailasset.dev/emailassets", "watch"),
    ("emailasset.dev/emailassets", "patch"),
    ("emailasset.dev/emailassets/status", "get"), ("emailasset.dev/emailassets/status", "patch"),
    ("events.k8s.io/events",      "create"), ("events.k8s.io/events",   "patch"),
];

/// And for the whole cluster, where `EmailProvider`s are used.
#[rustfmt::skip]
const FOR_PROVIDERS: &[(&str, &str)] = &[
    ("emailasset.dev/emailproviders", "list"), ("emailasset.dev/emailproviders", "watch"),
    ("emailasset.dev/emailproviders/status", "patch"),
    ("namespaces",                "list"), ("namespaces",               "watch"),
];

/// And in its own namespace.
#[rustfmt::skip]
const AT_HOME: &[(&str, &str)] = &[
    ("coordination.k8s.io/leases", "create"),
    ("coordination.k8s.io/leases emailasset-operator", "get"),
    ("coordination.k8s.io/leases emailasset-operator", "update"),
    ("coordination.k8s.io/leases emailasset-operator", "watch"),
    ("secrets",                   "create"),
    ("secrets emailasset-operator-keys", "get"),
];

/// What nobody should get who has taken the operator over: group, resource, verb, namespace, name.
#[rustfmt::skip]
const DENIED: &[(&str, &str, &str, &str, &str)] = &[
    ("",                          "secrets",               "update",           "helpdesk",          ""),
    ("",                          "secrets",               "deletecollection", "helpdesk",          ""),
    ("",                          "configmaps",            "list",             "helpdesk",          ""),
    ("",                          "configmaps",            "create",           "helpdesk",          ""),
    ("",                          "pods",                  "create",           "helpdesk",          ""),
    ("",                          "pods",                  "create",           "emailasset-system", ""),
    ("",                          "pods/exec",             "create",           "helpdesk",          ""),
    ("",                          "serviceaccounts",       "impersonate",      "kube-system",       "admin"),
    ("",                          "users",                 "impersonate",      "",                  "admin"),
    ("",                          "serviceaccounts/token", "create",           "emailasset-system", "emailasset-operator"),
    ("",                          "namespaces",            "patch",            "",                  ""),
    ("emailasset.dev",            "emailproviders",        "create",           "",                  ""),
    ("emailasset.dev",            "emailproviders",        "patch",            "",                  "corp"),
    ("apps",                      "deployments",           "patch",            "emailasset-system", "emailasset-operator"),
    ("coordination.k8s.io",       "leases",                "create",           "kube-system",       ""),
    ("coordination.k8s.io",       "leases",                "update",           "kube-system",       "kube-scheduler"),
    ("coordination.k8s.io",       "leases",                "update",           "emailasset-system", "another"),
    ("emailasset.dev",            "emailassets",           "create",           "helpdesk",          ""),
    ("emailasset.dev",            "emailassets",           "update",           "helpdesk",          "support"),
    ("emailasset.dev",            "emailassets",           "delete",           "helpdesk",          "support"),
    ("emailasset.dev",            "emailassets/status",    "update",           "helpdesk",          "support"),
    ("rbac.authorization.k8s.io", "clusterroles",          "escalate",         "",                  ""),
    ("rbac.authorization.k8s.io", "rolebindings",          "create",           "helpdesk",          ""),
];

#[tokio::test]
async fn the_operator_starts_under_its_own_service_account() {
    let cluster = Cluster::own().await;
    let deployed = apply_deployment(&cluster).await;
    let (options, address) = deployed.operator(&cluster, "replica-1").await;
    let mut operator = Operator::start(options);
    wait_until_ready(address).await;
    let leases: Api<Lease> = Api::namespaced(cluster.client().await, deployed.namespace());
    wait_for(&leases, "emailasset-operator", "the replica holds it", |lease| {
        holder(lease).starts_with("replica-1_")
    })
    .await;

    operator.terminate();
    assert!(operator.wait().await.success());
    wait_for(&leases, "emailasset-operator", "it is handed over", |lease| {
        holder(lease).is_empty()
    })
    .await;

    // A watch is in the log when it has ended.
    let requests = until("the watches are in the log", || async {
        let requests = cluster.requests_of(deployed.namespace(), deployed.service_account());
        let watched = |resource: &str| {
            requests
                .iter()
                .any(|request| request.verb == "watch" && request.resource == resource)
        };
        (watched("secrets") && watched("emailassets")).then_some(requests)
    });
    for request in requests.await {
        assert_ne!(request.code, 403, "{request:?}");
    }
}

#[tokio::test]
async fn the_operator_may_do_what_it_needs_and_nothing_else() {
    let cluster = Cluster::own().await;
    let deployed = apply_deployment(&cluster).await;
    let operator = client_of(&cluster, &deployed).await;
    let everywhere: BTreeSet<_> = named(WHERE_IT_WORKS).union(&named(FOR_PROVIDERS)).cloned().collect();
    assert_eq!(rights(&cluster, &operator, "kube-system").await, everywhere);
    let at_home = everywhere.union(&named(AT_HOME)).cloned().collect();
    assert_eq!(rights(&cluster, &operator, deployed.namespace()).await, at_home);

    for &denied in DENIED {
        assert!(!may(&operator, denied).await, "the operator may {denied:?}");
    }
    // RBAC cannot say "the Secrets that assets name" (docs/deploy.md): this is what a cluster-wide operator costs.
    assert!(may(&operator, ("", "secrets", "get", "kube-system", "anything")).await);
}

#[tokio::test]
async fn for_some_namespaces_roles_are_enough() {
    let cluster = Cluster::own().await;
    cluster.kubectl(&["create", "namespace", "helpdesk"]).await;
    let deployed = Deployed::apply(&cluster, "deploy/kustomize/namespaced").await;
    deployed.wait_for_rights(&cluster, "helpdesk").await;
    let (options, address) = deployed.operator(&cluster, "namespaced-1").await;
    let _operator = Operator::start(options);
    wait_until_ready(address).await;

    let operator = client_of(&cluster, &deployed).await;
    assert_eq!(rights(&cluster, &operator, "helpdesk").await, named(WHERE_IT_WORKS));
    assert_eq!(rights(&cluster, &operator, deployed.namespace()).await, named(AT_HOME));
    assert_eq!(rights(&cluster, &operator, "kube-system").await, named(&[]));
}

#[tokio::test]
async fn its_pods_are_admitted_under_the_restricted_pod_security_level() {
    let cluster = Cluster::shared();
    let deployed = apply_deployment(cluster).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, deployed.namespace());
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let try_to_run = async |pod: Value| pods.create(&dry_run, &serde_json::from_value(pod).unwrap()).await;

    try_to_run(deployed.pod()).await.expect("the pod is admitted");
    // So the level is enforced, and not only named.
    let mut loose = deployed.pod();
    loose["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let refusal = try_to_run(loose).await.expect_err("the pod is refused");
    assert!(refusal.to_string().contains("restricted"), "{refusal}");
}

/// A kustomization of an admin's own, which takes the option up.
#[tokio::test]
async fn an_identity_of_the_operators_own_is_one_line_of_kustomization_away() {
    let cluster = Cluster::shared();
    let deployed = apply_deployment(cluster).await;
    let folder = tempfile::tempdir().unwrap();
    // kustomize takes folders relative to its own alone.
    let up = "../".repeat(folder.path().components().count() - 1);
    let ours = format!(
        "{up}{}/deploy/kustomize",
        env!("CARGO_MANIFEST_DIR").trim_start_matches('/')
    );
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [ours], "components": [format!("{ours}/federated-identity")],
    });
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization.to_string()).unwrap();
    let rendered = cluster.kubectl(&["kustomize", folder.path().to_str().unwrap()]).await;
    let with_identity = Deployed::of(&rendered);
    let pod = with_identity.pod();
    let container = &pod["spec"]["containers"][0];
    let argument = |flag: &str| {
        let arguments = container["args"].as_array().unwrap().iter();
        arguments
            .filter_map(Value::as_str)
            .find_map(|argument| argument.strip_prefix(flag))
            .map(str::to_owned)
    };
    let file = argument("--federated-token-file=").unwrap();
    assert!(argument("--federated-client=").unwrap().contains('/'));
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["name"] == "federated-token").unwrap();
    assert_eq!(file, format!("{}/token", mount["mountPath"].as_str().unwrap()));

    let pods: Api<Pod> = Api::namespaced(cluster.client().await, deployed.namespace());
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let admitted = pods.create(&dry_run, &serde_json::from_value(pod).unwrap()).await;
    admitted.expect("a projected token needs no more than the level allows");
}

#[tokio::test]
async fn whoever_may_edit_a_namespace_may_edit_its_assets_but_not_their_status() {
    let cluster = Cluster::shared();
    apply_deployment(cluster).await;
    let namespace = cluster.namespace("deploy").await;
    for (role, verb, resource, answer) in [
        ("view", "get", "emailassets", true),
        ("view", "create", "emailassets", false),
        ("edit", "watch", "emailassets", true),
        ("edit", "create", "emailassets", true),
        ("edit", "patch", "emailassets/status", false),
        ("admin", "delete", "emailassets", true),
    ] {
        let client = cluster.client_as_service_account(&namespace, role).await;
        let (role_flag, account) = (format!("--clusterrole={role}"), format!("{namespace}:{role}"));
        // A second binding of the same name is refused, which is fine: it is there.
        let _ = cluster
            .try_kubectl(&[
                "create",
                "rolebinding",
                role,
                &role_flag,
                "--serviceaccount",
                &account,
                "-n",
                &namespace,
            ])
            .await;
        // Every one of these roles may read: when that works, the binding has arrived and the roles are put together.
        let read = ("emailasset.dev", "emailassets", "list", namespace.as_str(), "");
        until("the role arrives", || async { may(&client, read).await.then_some(()) }).await;
        let question = ("emailasset.dev", resource, verb, namespace.as_str(), "");
        assert_eq!(may(&client, question).await, answer, "{role}: {verb} {resource}");
    }
}

async fn wait_until_ready(address: SocketAddr) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    until("the operator is ready", || async {
        let answer = http.get(format!("http://{address}/readyz")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

fn holder(lease: &Lease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

async fn client_of(cluster: &Cluster, deployed: &Deployed) -> Client {
    cluster
        .client_as_service_account(deployed.namespace(), deployed.service_account())
        .await
}

/// What a `ServiceAccount` may do in a namespace, beyond what every one may.
async fn rights(cluster: &Cluster, client: &Client, namespace: &str) -> BTreeSet<(String, String)> {
    let stranger = cluster.client_as_service_account("default", "stranger").await;
    let common = listed_rights(&stranger, namespace).await;
    let own = listed_rights(client, namespace).await;
    own.difference(&common).cloned().collect()
}

async fn listed_rights(client: &Client, namespace: &str) -> BTreeSet<(String, String)> {
    let question = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let reviews: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &question).await.unwrap();
    let answer = answer.status.unwrap();
    assert!(!answer.incomplete, "{:?}", answer.evaluation_error);
    let mut listed = BTreeSet::new();
    for rule in answer.resource_rules {
        let (groups, resources) = (rule.api_groups.unwrap_or_default(), rule.resources.unwrap_or_default());
        let names = rule.resource_names.unwrap_or_default();
        let names = if names.is_empty() { vec![String::new()] } else { names };
        for (group, resource, name) in each_of(&groups, &resources, &names) {
            let group = if group.is_empty() {
                String::new()
            } else {
                format!("{group}/")
            };
            let what = format!("{group}{resource} {name}").trim().to_owned();
            listed.extend(rule.verbs.iter().map(|verb| (what.clone(), verb.clone())));
        }
    }
    listed
}

fn each_of<'list>(
    groups: &'list [String],
    resources: &'list [String],
    names: &'list [String],
) -> impl Iterator<Item = (&'list String, &'list String, &'list String)> {
    groups.iter().flat_map(move |group| {
        resources
            .iter()
            .flat_map(move |resource| names.iter().map(move |name| (group, resource, name)))
    })
}

fn named(rights: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    rights
        .iter()
        .map(|&(what, verb)| (what.to_owned(), verb.to_owned()))
        .collect()
}

async fn may(client: &Client, (group, resource, verb, namespace, name): (&str, &str, &str, &str, &str)) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: Some(subresource.to_owned()),
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &question).await.unwrap();
    answer.status.unwrap().allowed
}
