//! `kubectl emailasset`: what a person asks for on a laptop.
//!
//! `status` tells the story of an asset (what is valid until when, what happens next, what went wrong and who must act), `refresh` asks the operator for a new
//! token. Telling is a pure function over the resource ([`story`]); it needs no right but to read EmailAssets.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    config::KubeConfigOptions,
};
use serde_json::json;

use crate::{
    api::{ConditionType, EmailAsset, names},
    lifecycle,
};

/// How long one call to the API server may take.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Looks at EmailAssets and asks for refreshes.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl emailasset",
    bin_name = "kubectl emailasset",
    version,
    max_term_width = 100
)]
pub struct Plugin {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: Cluster,
}

#[derive(Debug, Args)]
struct Cluster {
    /// Namespace; default: that of the kubeconfig's context
    #[arg(short, long, global = true)]
    namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    context: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell how assets stand: what is valid until when, what comes next, who must act
    Status {
        /// One asset; without it, all of the namespace
        name: Option<String>,
    },
    /// Ask the operator for a new token now, and wait until it has answered
    Refresh {
        /// The asset
        name: String,
    },
}

/// Runs a command and returns what it has to say.
///
/// # Errors
/// When the cluster cannot be asked, or there is no such asset.
pub async fn run(plugin: Plugin) -> Result<String> {
    let options = KubeConfigOptions {
        context: plugin.cluster.context.clone(),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_kubeconfig(&options)
        .await
        .context("no kubeconfig that can be used; set KUBECONFIG or --context")?;
    let namespace = plugin
        .cluster
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("the kubeconfig's certificates or credentials cannot be used")?;
    let assets: Api<EmailAsset> = Api::namespaced(client, &namespace);
    match plugin.command {
        Command::Status { name } => status(&assets, &namespace, name.as_deref()).await,
        Command::Refresh { name } => refresh(&assets, &namespace, &name).await,
    }
}

async fn status(assets: &Api<EmailAsset>, namespace: &str, name: Option<&str>) -> Result<String> {
    let found = match name {
        Some(name) => vec![get(assets, namespace, name).await?],
        None => within(assets.list(&ListParams::default())).await?.items,
    };
    if found.is_empty() {
        return Ok(format!("There is no EmailAsset in namespace {namespace}.\n"));
    }
    let stories: Vec<String> = found.iter().map(|asset| story(asset, Timestamp::now())).collect();
    Ok(stories.join("\n"))
}

async fn refresh(assets: &Api<EmailAsset>, namespace: &str, name: &str) -> Result<String> {
    let request = Timestamp::now().to_string();
    let patch = json!({"metadata": {"annotations": {names::REFRESH: request}}});
    within(assets.patch(name, &PatchParams::default(), &Patch::Merge(&patch)))
        .await
        .with_context(|| format!("EmailAsset {namespace}/{name} cannot be asked for a refresh"))?;
    let answered = |asset: &EmailAsset| {
        let handled = asset
            .status
            .as_ref()
            .and_then(|status| status.handled_requests.as_ref());
        handled.and_then(|handled| handled.refresh.as_ref()) == Some(&request)
    };
    for _ in 0..60 {
        let asset = get(assets, namespace, name).await?;
        if answered(&asset) {
            return Ok(story(&asset, Timestamp::now()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bail!(
        "the operator has not answered within 30 s: it may be waiting as the provider asked, or not be running; see kubectl emailasset status {name} -n {namespace}"
    )
}

async fn get(assets: &Api<EmailAsset>, namespace: &str, name: &str) -> Result<EmailAsset> {
    within(assets.get(name))
        .await
        .with_context(|| format!("EmailAsset {namespace}/{name} cannot be read"))
}

async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T> {
    Ok(tokio::time::timeout(CALL_LIMIT, call)
        .await
        .context("the API server did not answer in time")??)
}

/// How one asset stands, for a person.
#[must_use]
pub fn story(asset: &EmailAsset, now: Timestamp) -> String {
    let mut told = format!(
        "{}/{} ({})\n",
        asset.namespace().unwrap_or_default(),
        asset.name_any(),
        asset.spec.email
    );
    let Some(status) = asset.status.as_ref().filter(|status| !status.conditions.is_empty()) else {
        told.push_str("  The operator has not looked at it yet. Is it running?\n");
        return told;
    };
    for kind in [
        ConditionType::Ready,
        ConditionType::Authorized,
        ConditionType::Refreshed,
    ] {
        if let Some(said) = lifecycle::condition(&status.conditions, kind) {
            let mark = match said.status.as_str() {
                "True" => "yes",
                "False" => "no",
                _ => "unknown",
            };
            line(
                &mut told,
                &format!("{kind}:"),
                &format!("{mark} ({}). {}", said.reason, said.message),
            );
        }
    }
    if let Some(token) = &status.token {
        let at = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.as_ref()
                .map(|time| format!("{} ({})", time.0, distance(time.0, now)))
        };
        if let Some(name) = &token.secret_name {
            line(&mut told, "Token Secret:", name);
        }
        if let Some(end) = at(&token.expiration_time) {
            line(&mut told, "Valid until:", &end);
        }
        if let Some(next) = at(&token.renewal_time) {
            line(&mut told, "Renewed at:", &next);
        }
    }
    if let Some(failure) = &status.failure {
        let next = failure
            .next_attempt_time
            .as_ref()
            .map(|time| format!("; next try {}", distance(time.0, now)));
        let class = failure.class.as_deref().unwrap_or_default();
        let count = failure.count.unwrap_or_default();
        line(
            &mut told,
            "Failures:",
            &format!("{count} in a row ({class}){}", next.unwrap_or_default()),
        );
    }
    told
}

fn line(told: &mut String, label: &str, text: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(told, "  {label:<14}{text}");
}

/// A moment relative to now, in words.
fn distance(moment: Timestamp, now: Timestamp) -> String {
    let apart = moment.duration_since(now);
    let words = roughly(apart.abs());
    if apart.is_negative() {
        format!("{words} ago")
    } else {
        format!("in {words}")
    }
}

fn roughly(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5_999 => format!("{} min", seconds / 60),
        seconds @ 6_000..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(status: &serde_json::Value) -> EmailAsset {
        serde_json::from_value(json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset",
            "metadata": {"name": "support", "namespace": "helpdesk"},
            "spec": {"email": "support@example.com", "oauth2": {
                "grant": "RefreshToken", "refreshTokenSecretRef": {"name": "seed", "key": "refresh_token"}}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_story_says_what_is_valid_until_when_and_what_comes_next() {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-25T10:00:00Z"});
        let asset = asset(&json!({
            "observedGeneration": 1,
            "conditions": [
                condition("Ready", "True", "Fresh", "Secret helpdesk/support-token holds a valid access token."),
                condition("Refreshed", "False", "Retrying", "Google could not answer."),
            ],
            "token": {"secretName": "support-token", "expirationTime": "2026-11-25T11:00:00Z", "renewalTime": "2026-11-25T10:35:00Z"},
            "failure": {"class": "RETRY", "count": 3, "nextAttemptTime": "2026-11-25T10:00:20Z"},
        }));
        let told = story(&asset, "2026-11-25T10:00:00Z".parse().unwrap());
        assert_eq!(
            told,
            "helpdesk/support (support@example.com)\n\
             \x20 Ready:        yes (Fresh). Secret helpdesk/support-token holds a valid access token.\n\
             \x20 Refreshed:    no (Retrying). Google could not answer.\n\
             \x20 Token Secret: support-token\n\
             \x20 Valid until:  2026-11-25T11:00:00Z (in 60 min)\n\
             \x20 Renewed at:   2026-11-25T10:35:00Z (in 35 min)\n\
             \x20 Failures:     3 in a row (RETRY); next try in 20 s\n"
        );
    }

    #[test]
    fn an_asset_that_nobody_looked_at_makes_one_ask_for_the_operator() {
        let told = story(&asset(&json!({"observedGeneration": -1})), Timestamp::now());
        assert!(told.contains("Is it running?"), "{told}");
    }
}
