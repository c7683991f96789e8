//! The `EmailProvider`s of the cluster that a namespace may use, for which mailboxes and by which grants.
//!
//! The catalogue is known without a cluster, so nothing here may hold up or fail the command: what cannot be seen is left out, with a word about it on standard error.

use std::env;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::ListParams;
use serde::Serialize;

use crate::api::{ConditionType, EmailProvider, Grant};
use crate::lifecycle;
use crate::plugin::arguments::ClusterArguments;
use crate::plugin::cluster::{Cluster, PROVIDERS, Right};
use crate::plugin::exit::Problem;
use crate::plugin::table;
use crate::plugin::terminal::{Screen, harmless, tell};

/// A cluster that is not there shall not be felt.
const LIMIT: Duration = Duration::from_secs(3);
/// Longest text of a cell, in characters.
const LONGEST: usize = 253;
const TITLES: [&str; 5] = ["EMAILPROVIDER", "PROVIDER", "READY", "GRANTS", "MAILBOXES"];
/// The places of those titles that are left out where a terminal is narrow, in this order.
const LEFT_OUT: [usize; 2] = [1, 2];

/// What one namespace may use.
pub(super) struct Shared {
    namespace: String,
    /// One for each rule.
    pub(super) rules: Vec<Usable>,
}

/// One rule of an `EmailProvider` that covers the namespace.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usable {
    /// As in `spec.providerRef.name`.
    name: String,
    /// The entry of the catalogue that it begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// Whether assets can use it now.
    ready: bool,
    /// By which grants.
    grants: Vec<Grant>,
    /// For which mailboxes.
    mailboxes: Vec<String>,
}

/// What the cluster tells; none where there is no cluster, no right to see them, or none of them.
pub(super) async fn seen(arguments: &ClusterArguments) -> Option<Shared> {
    match tokio::time::timeout(LIMIT, ask(arguments)).await {
        Ok(Ok(shared)) => shared,
        Ok(Err(problem)) => {
            tell(&format!("EmailProviders of the cluster are not shown. {problem}"));
            None
        }
        Err(_) => {
            tell(&format!(
                "EmailProviders of the cluster are not shown: it did not answer within {} s.",
                LIMIT.as_secs()
            ));
            None
        }
    }
}

async fn ask(arguments: &ClusterArguments) -> Result<Option<Shared>, Problem> {
    let cluster = match Cluster::connect(arguments).await {
        Ok(cluster) => cluster,
        Err(_) if !names_a_cluster(arguments) => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let right = Right {
        verb: "list",
        resource: PROVIDERS,
        namespace: None,
        name: None,
    };
    let api = cluster.providers();
    let listed = cluster.call(right, api.list(&ListParams::default())).await?;
    let providers: Vec<EmailProvider> = listed.items.into_iter().filter_map(|item| item.0.ok()).collect();
    if providers.is_empty() {
        return Ok(None);
    }
    let labels = cluster.labels().await;
    let rules = providers
        .iter()
        .flat_map(|provider| {
            let here = provider.spec.rules_for(&cluster.namespace, labels.as_ref());
            here.into_iter().map(|rule| Usable {
                name: provider.name_any(),
                provider: provider.spec.provider.clone(),
                ready: is_ready(provider),
                grants: rule.covered_grants().to_vec(),
                mailboxes: rule.mailboxes.clone(),
            })
        })
        .collect();
    Ok(Some(Shared {
        namespace: cluster.namespace,
        rules,
    }))
}

/// Whoever has said nothing of a cluster wants to hear of none.
fn names_a_cluster(arguments: &ClusterArguments) -> bool {
    arguments.context.is_some() || arguments.kubeconfig.is_some() || env::var_os("KUBECONFIG").is_some()
}

fn is_ready(provider: &EmailProvider) -> bool {
    let conditions = provider.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = lifecycle::condition(conditions.unwrap_or_default(), ConditionType::Ready);
    ready.is_some_and(|ready| ready.status == "True")
}

impl Shared {
    /// A table with a line for each rule.
    pub(super) fn table(&self, screen: Screen) -> String {
        let namespace = &self.namespace;
        if self.rules.is_empty() {
            return format!("\nNo EmailProvider of this cluster may be used in namespace {namespace}.\n");
        }
        let rows: Vec<Vec<String>> = self.rules.iter().map(Usable::row).collect();
        format!(
            "\nEmailProviders of this cluster for namespace {namespace} (spec.providerRef.name)\n\n{}",
            table::grid(&TITLES, &rows, &LEFT_OUT, screen)
        )
    }
}

impl Usable {
    fn row(&self) -> Vec<String> {
        let grants: Vec<&str> = self.grants.iter().map(|grant| grant.as_str()).collect();
        let cells = [
            self.name.clone(),
            self.provider.clone().unwrap_or_else(|| "-".to_owned()),
            if self.ready { "yes" } else { "no" }.to_owned(),
            grants.join(", "),
            self.mailboxes.join(", "),
        ];
        cells.map(|cell| harmless(&cell, LONGEST)).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(name: &str, provider: Option<&str>, grants: &[Grant]) -> Usable {
        Usable {
            name: name.to_owned(),
            provider: provider.map(str::to_owned),
            ready: provider.is_some(),
            grants: grants.to_vec(),
            mailboxes: vec!["*@example.com".to_owned(), "news@example.org".to_owned()],
        }
    }

    #[test]
    fn there_is_a_line_for_each_rule() {
        let shared = Shared {
            namespace: "helpdesk".to_owned(),
            rules: vec![
                usable("corp", Some("google"), &[Grant::AuthorizationCode, Grant::DeviceCode]),
                usable("own", None, &[Grant::RefreshToken]),
            ],
        };
        assert_eq!(
            shared.table(Screen::Plain),
            "\n\
             EmailProviders of this cluster for namespace helpdesk (spec.providerRef.name)\n\
             \n\
             EMAILPROVIDER   PROVIDER   READY   GRANTS                          MAILBOXES\n\
             corp            google     yes     AuthorizationCode,_DeviceCode   *@example.com,_news@example.org\n\
             own             -          no      RefreshToken                    *@example.com,_news@example.org\n"
        );
    }

    #[test]
    fn a_namespace_that_may_use_none_is_told_so() {
        let shared = Shared {
            namespace: "sales".to_owned(),
            rules: Vec::new(),
        };
        assert!(shared.table(Screen::Plain).contains("may be used in namespace sales"));
    }
}
