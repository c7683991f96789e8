//! `refresh`: asks for a new token by annotation and waits until the operator has answered.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::arguments::RefreshArguments;
use super::cluster::{ASSETS, Cluster};
use super::exit::{Exit, Problem};
use super::output;
use super::report::Report;
use super::story::story;
use super::terminal::{Screen, Waiting, print};
use crate::api::{EmailAsset, names};

/// Between two looks at the asset.
const PAUSE: Duration = Duration::from_millis(300);

/// Asks and waits.
pub(super) async fn run(cluster: &Cluster, arguments: &RefreshArguments) -> Result<Exit, Problem> {
    let request = Timestamp::now().to_string();
    annotate(cluster, &arguments.name, names::REFRESH, &request).await?;
    let asset = answered(cluster, arguments, &request).await?;
    let now = Timestamp::now();
    let report = Report::of(&asset, now);
    match arguments.output {
        Some(format) => print(&output::data(&report, format)?),
        None => print(&story(&asset, now, Screen::of_output())),
    }
    Ok(if report.ready { Exit::Fine } else { Exit::Found })
}

/// Sets an annotation that asks the operator for something.
pub(super) async fn annotate(
    cluster: &Cluster,
    asset: &str,
    annotation: &str,
    value: &str,
) -> Result<EmailAsset, Problem> {
    let patch = json!({"metadata": {"annotations": {annotation: value}}});
    let assets = cluster.assets();
    let right = cluster.right("patch", ASSETS, Some(asset));
    let parameters = PatchParams::default();
    let patch = Patch::Merge(&patch);
    cluster.call(right, assets.patch(asset, &parameters, &patch)).await
}

async fn answered(cluster: &Cluster, arguments: &RefreshArguments, request: &str) -> Result<EmailAsset, Problem> {
    let name = &arguments.name;
    let _waiting = Waiting::show("Waiting for the operator");
    let looking = async {
        loop {
            let asset = cluster.asset(name).await?;
            let handled = asset
                .status
                .as_ref()
                .and_then(|status| status.handled_requests.as_ref());
            if handled.and_then(|handled| handled.refresh.as_deref()) == Some(request) {
                return Ok(asset);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(arguments.timeout, looking).await {
        Ok(answer) => answer,
        Err(_) => Err(Problem::new(
            Exit::TimedOut,
            format!(
                "The operator has not answered within {} s: it may be waiting as the provider asked, or not be running. What it says: kubectl emailasset status \
                 {name} -n {}",
                arguments.timeout.as_secs(),
                cluster.namespace
            ),
        )),
    }
}
