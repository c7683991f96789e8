//! Calls to the API server, and what their failures mean to the person at the keyboard.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, Client, Config};

use super::arguments::ClusterArguments;
use super::exit::{Exit, Problem};
use super::proxy;
use super::terminal::harmless;
use super::words::without_number;
use crate::api::{EmailAsset, EmailProvider};

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest piece of an error from elsewhere that is repeated, in characters.
const LONGEST_QUOTE: usize = 400;

/// A cluster that may be asked, and where in it.
pub(super) struct Cluster {
    client: Client,
    /// The namespace that the command is about.
    pub(super) namespace: String,
    server: String,
}

/// What a call does, for the message when it is not allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right<'a> {
    /// As RBAC names it.
    pub(super) verb: &'static str,
    /// As `kubectl auth can-i` takes it.
    pub(super) resource: &'static str,
    /// Where; none: in all namespaces.
    pub(super) namespace: Option<&'a str>,
    /// The object, where it is one.
    pub(super) name: Option<&'a str>,
}

pub(super) const ASSETS: &str = "emailassets.emailasset.dev";
pub(super) const PROVIDERS: &str = "emailproviders.emailasset.dev";
pub(super) const SECRETS: &str = "secrets";
pub(super) const EVENTS: &str = "events";

impl Cluster {
    /// Reads the kubeconfig. No call is made yet.
    pub(super) async fn connect(arguments: &ClusterArguments) -> Result<Self, Problem> {
        let mut config = config(arguments).await?;
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_LIMIT);
        let namespace = arguments
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| {
            Problem::new(
                Exit::Cluster,
                format!(
                    "The certificates, credentials or proxy of the kubeconfig cannot be used: {}.",
                    innermost(&error)
                ),
            )
        })?;
        Ok(Self {
            client,
            namespace,
            server: server.trim_end_matches('/').to_owned(),
        })
    }

    /// The assets of the namespace.
    pub(super) fn assets(&self) -> Api<EmailAsset> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The assets of all namespaces.
    pub(super) fn all_assets(&self) -> Api<EmailAsset> {
        Api::all(self.client.clone())
    }

    /// The `EmailProvider`s; one that this version cannot read does not hide the others.
    pub(super) fn providers(&self) -> Api<DeserializeGuard<EmailProvider>> {
        Api::all(self.client.clone())
    }

    /// The labels of the namespace, if they may be seen.
    pub(super) async fn labels(&self) -> Option<BTreeMap<String, String>> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found: PartialObjectMeta<Namespace> = api.get_metadata(&self.namespace).await.ok()?;
        Some(found.metadata.labels.unwrap_or_default())
    }

    /// The Secrets of the namespace.
    pub(super) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Events of the namespace.
    pub(super) fn events(&self) -> Api<Event> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A right in this namespace.
    pub(super) fn right<'a>(&'a self, verb: &'static str, resource: &'static str, name: Option<&'a str>) -> Right<'a> {
        Right {
            verb,
            resource,
            namespace: Some(&self.namespace),
            name,
        }
    }

    /// One asset.
    pub(super) async fn asset(&self, name: &str) -> Result<EmailAsset, Problem> {
        self.call(self.right("get", ASSETS, Some(name)), self.assets().get(name))
            .await
    }

    /// One call, within a time limit.
    pub(super) async fn call<T>(
        &self,
        right: Right<'_>,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Problem> {
        match tokio::time::timeout(CALL_LIMIT, call).await {
            Ok(answer) => answer.map_err(|error| explain(&error, right, &self.server)),
            Err(_) => Err(Problem::new(
                Exit::Cluster,
                format!(
                    "The API server {} did not answer within {} s.",
                    self.server,
                    CALL_LIMIT.as_secs()
                ),
            )),
        }
    }
}

async fn config(arguments: &ClusterArguments) -> Result<Config, Problem> {
    let unusable = |what: String| Problem::new(Exit::Cluster, what);
    let read = match &arguments.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        // In a pod there is none, as kubectl knows too.
        Err(_) if arguments.kubeconfig.is_none() && env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            return Config::incluster().map_err(|error| {
                unusable(format!(
                    "There is no kubeconfig, and the pod's own account cannot be used: {}.",
                    innermost(&error)
                ))
            });
        }
        Err(error) => {
            let file = arguments
                .kubeconfig
                .as_ref()
                .map(|file| format!(" at {}", file.display()));
            return Err(unusable(format!(
                "There is no kubeconfig that can be read{}: {}. Set KUBECONFIG or --kubeconfig to the file that kubectl uses.",
                file.unwrap_or_default(),
                harmless(&innermost(&error), LONGEST_QUOTE)
            )));
        }
    };
    let options = KubeConfigOptions {
        context: arguments.context.clone(),
        ..KubeConfigOptions::default()
    };
    let of_kubeconfig = proxy_url(&kubeconfig, arguments.context.as_deref());
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| match &arguments.context {
            // kube reads it while it loads the kubeconfig, and stops at what others pass over.
            _ if matches!(error, KubeconfigError::ParseNoProxy(_)) => unusable(format!(
                "NO_PROXY cannot be read: {}. Take out empty entries, spaces inside entries and anything else but hosts, addresses and networks.",
                harmless(&innermost(&error), LONGEST_QUOTE)
            )),
            Some(context) if !known.contains(context) => unusable(format!(
                "The kubeconfig has no context {context:?}; it has: {}.",
                known.join(", ")
            )),
            _ => unusable(format!(
                "The kubeconfig cannot be used: {}.",
                harmless(&innermost(&error), LONGEST_QUOTE)
            )),
        })?;
    config.proxy_url = proxy::proxy(&config.cluster_url, of_kubeconfig.as_deref(), |name| {
        env::var(name).ok()
    })
    .map_err(|_| unusable("The proxy in proxy-url, HTTPS_PROXY or HTTP_PROXY is no URL.".to_owned()))?;
    Ok(config)
}

fn proxy_url(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let chosen = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == chosen)?;
    let name = &context.context.as_ref()?.cluster;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == *name)?;
    cluster.cluster.as_ref()?.proxy_url.clone()
}

/// What a failed call means.
fn explain(error: &kube::Error, right: Right<'_>, server: &str) -> Problem {
    let kube::Error::Api(status) = error else {
        let why = harmless(&innermost(error), LONGEST_QUOTE);
        let message = match error {
            kube::Error::Auth(_) => format!("The kubeconfig's way to log in does not work: {why}."),
            kube::Error::SerdeError(_) => {
                format!("What the API server {server} answered cannot be read: {why}. Is it a Kubernetes API server?")
            }
            _ => format!("The API server {server} cannot be reached: {why}."),
        };
        return Problem::new(Exit::Cluster, message);
    };
    let place = right
        .namespace
        .map_or_else(|| "-A".to_owned(), |namespace| format!("-n {namespace}"));
    match status.code {
        401 => Problem::new(
            Exit::Cluster,
            format!("The API server {server} does not accept the kubeconfig's credentials (401): log in again."),
        ),
        403 => Problem::new(
            Exit::Cluster,
            format!(
                "You may not {} {}. Ask an admin of the cluster for that right; this says whether you have it:\n  kubectl auth can-i {} {} {place}",
                right.verb,
                of_place(right),
                right.verb,
                right.resource
            ),
        ),
        // The page of a path that the API server does not serve has no details.
        404 if status.details.as_ref().is_none_or(|details| details.name.is_empty())
            && matches!(right.resource, ASSETS | PROVIDERS) =>
        {
            Problem::new(
                Exit::Cluster,
                format!(
                    "The cluster at {server} knows no {}s: the operator is not installed there.",
                    kind(right)
                ),
            )
        }
        404 => Problem::new(Exit::Found, format!("There is no {}.", of_place(right))),
        code => Problem::new(
            Exit::Cluster,
            format!(
                "The API server {server} refused to {} {} ({code}): {}",
                right.verb,
                of_place(right),
                harmless(&status.message, LONGEST_QUOTE)
            ),
        ),
    }
}

fn kind(right: Right<'_>) -> &'static str {
    match right.resource {
        ASSETS => "EmailAsset",
        PROVIDERS => "EmailProvider",
        SECRETS => "Secret",
        _ => "Event",
    }
}

fn of_place(right: Right<'_>) -> String {
    let kind = kind(right);
    match (right.name, right.namespace) {
        (Some(name), Some(namespace)) => format!("{kind} {namespace}/{name}"),
        (_, Some(namespace)) => format!("{kind}s in namespace {namespace}"),
        (_, None) if right.resource == PROVIDERS => format!("{kind}s"),
        (_, None) => format!("{kind}s in all namespaces"),
    }
}

/// The cause behind all causes: what a person can act on.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    without_number(last.to_string().trim_end_matches('.')).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str, name: &str) -> kube::Error {
        let status: kube::core::Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "code": code, "message": message, "reason": "", "details": {"name": name, "kind": "", "group": ""},
        }))
        .unwrap();
        kube::Error::Api(Box::new(status))
    }

    const GET: Right<'_> = Right {
        verb: "get",
        resource: ASSETS,
        namespace: Some("helpdesk"),
        name: Some("support"),
    };

    #[test]
    fn a_missing_right_names_the_command_that_shows_it() {
        let problem = explain(&refused(403, "forbidden", "support"), GET, "https://api");
        assert_eq!(problem.exit, Exit::Cluster);
        assert_eq!(
            problem.message,
            "You may not get EmailAsset helpdesk/support. Ask an admin of the cluster for that right; this says whether you have it:\n  kubectl auth can-i get \
             emailassets.emailasset.dev -n helpdesk"
        );
    }

    #[test]
    fn a_missing_asset_is_told_apart_from_a_cluster_without_the_operator() {
        let missing = explain(&refused(404, "not found", "support"), GET, "https://api");
        assert_eq!(
            (missing.exit, missing.message.as_str()),
            (Exit::Found, "There is no EmailAsset helpdesk/support.")
        );
        let unknown = explain(&refused(404, "404 page not found", ""), GET, "https://api");
        assert_eq!(unknown.exit, Exit::Cluster);
        assert!(unknown.message.contains("not installed"), "{unknown}");
    }

    #[test]
    fn no_message_holds_a_control_character_of_the_server() {
        let problem = explain(&refused(500, "\u{1b}[31mred\r\n", ""), GET, "https://api");
        assert!(!problem.message.contains('\u{1b}'), "{problem}");
    }
}
