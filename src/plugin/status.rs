//! `status`: how assets stand. The exit code says whether all that was asked about is ready.

use jiff::Timestamp;
use kube::api::ListParams;
use serde_json::json;

use super::arguments::{DataFormat, StatusArguments, StatusFormat};
use super::cluster::{ASSETS, Cluster, Right};
use super::exit::{Exit, Problem};
use super::report::Report;
use super::story::story;
use super::table::{Columns, Span, table};
use super::terminal::{Screen, print, tell};
use super::{output, table};

/// One page of a list.
const PAGE: u32 = 500;

/// Tells it.
pub(super) async fn run(cluster: &Cluster, arguments: &StatusArguments) -> Result<Exit, Problem> {
    match &arguments.name {
        Some(name) => one(cluster, name, arguments.output).await,
        None => many(cluster, arguments).await,
    }
}

async fn one(cluster: &Cluster, name: &str, format: Option<StatusFormat>) -> Result<Exit, Problem> {
    let asset = cluster.asset(name).await?;
    let now = Timestamp::now();
    let report = Report::of(&asset, now);
    let screen = Screen::of_output();
    let text = match format {
        None => story(&asset, now, screen),
        Some(StatusFormat::Wide) => table(std::slice::from_ref(&report), now, Span::One, Columns::Wide, screen),
        Some(StatusFormat::Json) => output::data(&report, DataFormat::Json)?,
        Some(StatusFormat::Yaml) => output::data(&report, DataFormat::Yaml)?,
    };
    print(&text);
    Ok(exit(report.ready))
}

async fn many(cluster: &Cluster, arguments: &StatusArguments) -> Result<Exit, Problem> {
    let span = if arguments.all_namespaces { Span::All } else { Span::One };
    let now = Timestamp::now();
    let reports = list(cluster, span, now).await?;
    let columns = if arguments.output == Some(StatusFormat::Wide) {
        Columns::Wide
    } else {
        Columns::Usual
    };
    let listed = json!({ "assets": reports });
    match arguments.output {
        Some(StatusFormat::Json) => print(&output::data(&listed, DataFormat::Json)?),
        Some(StatusFormat::Yaml) => print(&output::data(&listed, DataFormat::Yaml)?),
        _ if reports.is_empty() => tell(&nothing(cluster, span)),
        _ => print(&table::table(&reports, now, span, columns, Screen::of_output())),
    }
    Ok(exit(reports.iter().all(|report| report.ready)))
}

/// All assets, page by page: a large cluster answers none of it at once.
async fn list(cluster: &Cluster, span: Span, now: Timestamp) -> Result<Vec<Report>, Problem> {
    let (api, right) = match span {
        Span::One => (cluster.assets(), cluster.right("list", ASSETS, None)),
        Span::All => (
            cluster.all_assets(),
            Right {
                verb: "list",
                resource: ASSETS,
                namespace: None,
                name: None,
            },
        ),
    };
    let mut parameters = ListParams::default().limit(PAGE);
    let mut reports = Vec::new();
    loop {
        let page = cluster.call(right, api.list(&parameters)).await?;
        reports.extend(page.items.iter().map(|asset| Report::of(asset, now)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(reports),
        }
    }
}

fn nothing(cluster: &Cluster, span: Span) -> String {
    match span {
        Span::One => format!("There is no EmailAsset in namespace {}.", cluster.namespace),
        Span::All => "There is no EmailAsset in this cluster.".to_owned(),
    }
}

const fn exit(all_ready: bool) -> Exit {
    if all_ready { Exit::Fine } else { Exit::Found }
}
