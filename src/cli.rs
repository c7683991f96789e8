//! The command line of `emailasset-operator`: what can be set, by flag or environment variable, and what each setting means.
//!
//! Nothing happens here but parsing. Times are written as in Kubernetes and Go: `30s`, `1m30s`, `500ms`.

// These comments are the help text, where backticks and backslashes would be printed.
#![allow(clippy::doc_markdown, rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

use std::{net::SocketAddr, num::NonZeroU16, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand};
use url::{Host, Url};

use crate::{provider::Authority, telemetry::logs::Format};

mod duration;
#[cfg(test)]
mod tests;

/// Keeps OAuth 2.0 tokens for mailboxes fresh in Kubernetes Secrets.
///
/// For each EmailAsset the operator redeems the stored grant at the provider's token endpoint, in time and not more often, and writes the access token into the
/// Secret that the mail client mounts. Status, Events and metrics say who must do what when that does not work.
///
/// Without a command it runs the operator. Every flag can be set by the environment variable beside it; a flag wins.
#[derive(Debug, Parser)]
#[command(
    name = "emailasset-operator",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

/// What to do.
// The variants are made once per process: a box would only get in the way.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator (the default)
    Run(Run),
    /// Print the resource definitions (CRDs) as YAML, for kubectl apply -f -
    Crd,
}

impl Cli {
    /// The command that was given, or [`Command::Run`].
    #[must_use]
    pub fn chosen(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

/// The settings of the operator.
#[derive(Debug, Clone, Args)]
pub struct Run {
    /// How it finds its cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// How replicas share the work.
    #[command(flatten)]
    pub replicas: Replicas,
    /// Where it may send credentials, and how.
    #[command(flatten)]
    pub network: Network,
    /// Who it is itself.
    #[command(flatten)]
    pub identity: Identity,
    /// Where people sign in.
    #[command(flatten)]
    pub sign_in: SignIn,
    /// How much it does at a time.
    #[command(flatten)]
    pub limits: Limits,
    /// What it tells about itself.
    #[command(flatten)]
    pub telemetry: Telemetry,
}

/// The cluster and what is watched in it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Cluster {
    /// Kubeconfig file of the cluster
    ///
    /// Without it: the file that KUBECONFIG names, else ~/.kube/config, else the ServiceAccount of the pod.
    #[arg(long, env = "EMAILASSET_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The operator's own namespace
    ///
    /// Its Lease and keys live there. In a pod, set POD_NAMESPACE from the field metadata.namespace.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "emailasset-system"
    )]
    pub namespace: String,

    /// Watch EmailAssets in this namespace only; repeat it, or separate names by commas, for more than one
    ///
    /// Without it, all namespaces are watched. With it, Roles in these namespaces do in place of the ClusterRole.
    #[arg(
        long,
        env = "EMAILASSET_WATCH_NAMESPACE",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    pub watch_namespace: Vec<String>,

    /// Keys of labels and annotations that people may set on token Secrets, by prefix; repeat it, or separate prefixes by commas
    ///
    /// Labels and annotations steer other controllers, for example those that copy Secrets to other namespaces. So only keys that start with one of these
    /// prefixes are taken over from spec.secret.labels and spec.secret.annotations.
    #[arg(
        long,
        env = "EMAILASSET_ALLOW_LABEL",
        value_name = "PREFIX",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/"
    )]
    pub allow_label: Vec<String>,
}

/// Several replicas, and restarts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Replicas and restarts")]
pub struct Replicas {
    /// Let the replicas elect the one that refreshes tokens, by a Lease
    ///
    /// Turn it off only where a second replica can never run, not even during an update.
    #[arg(
        long,
        env = "EMAILASSET_LEADER_ELECTION",
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub leader_election: bool,

    /// The name of this replica in the Lease
    ///
    /// In a pod, set POD_NAME from the field metadata.name. Without it, the host name is taken. A random part is added for each process.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: Option<String>,

    /// Directory for answers of token endpoints that are not in the cluster yet
    ///
    /// A refresh token that was just issued exists nowhere else. Use a directory that outlives the process but not the pod: in Kubernetes, one inside a mounted
    /// emptyDir with medium Memory. It is created with mode 0700. Two running operators cannot share one.
    #[arg(
        long,
        env = "EMAILASSET_SPOOL_DIR",
        value_name = "DIR",
        default_value = "/run/emailasset-operator"
    )]
    pub spool_dir: PathBuf,

    /// How long to finish open requests after SIGTERM
    ///
    /// Give the pod a terminationGracePeriodSeconds that is at least 10 seconds longer.
    #[arg(long, env = "EMAILASSET_SHUTDOWN_GRACE", value_name = "TIME", default_value = "110s", value_parser = duration::parse)]
    pub shutdown_grace: Duration,
}

/// The way to token endpoints and mail servers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// PEM file with certificate authorities to trust, besides those of the system
    ///
    /// For all providers. For one asset, use spec.oauth2.caBundleRef.
    #[arg(long, env = "EMAILASSET_CA_BUNDLE", value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,

    /// DANGEROUS: connect also to loopback, link-local and metadata addresses
    ///
    /// Whoever may create an EmailAsset chooses which hosts the operator calls. With this flag they reach what listens on the operator's node or pod only, and the
    /// cloud's metadata service, which hands out the node's credentials. Meant for tests on one machine.
    #[arg(long, env = "EMAILASSET_ALLOW_PRIVATE_ADDRESSES")]
    pub allow_private_addresses: bool,

    /// The longest that one request to a token endpoint may take
    ///
    /// After that its outcome is unknown: the provider may have rotated the refresh token. Rather too long than too short.
    #[arg(long, env = "EMAILASSET_TOKEN_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub token_timeout: Duration,
}

/// The operator's own identity.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Federated identity")]
pub struct Identity {
    /// File with a projected ServiceAccount token that stands for OAuth clients
    ///
    /// For assets with clientAuthentication FederatedToken. It is read for each request, since the kubelet replaces it. Entra wants the audience
    /// api://AzureADTokenExchange.
    #[arg(long, env = "EMAILASSET_FEDERATED_TOKEN_FILE", value_name = "FILE")]
    pub federated_token_file: Option<PathBuf>,

    /// Which clients that token may stand for, and in which namespace
    ///
    /// As NAMESPACE/CLIENT-ID, separated by commas or given several times; * for any namespace. Whoever may make assets in that namespace can open every mailbox that
    /// the client opens.
    #[arg(
        long,
        env = "EMAILASSET_FEDERATED_CLIENT",
        value_name = "NAMESPACE/CLIENT",
        value_delimiter = ',',
        value_parser = federated_client
    )]
    pub federated_client: Vec<String>,

    /// Hosts that may be sent that token besides those of the catalogue
    ///
    /// As HOST or HOST:PORT, separated by commas or given several times.
    #[arg(long, env = "EMAILASSET_FEDERATED_HOST", value_name = "HOST", value_delimiter = ',', value_parser = host)]
    pub federated_host: Vec<Authority>,
}

fn federated_client(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, client)) if !namespace.is_empty() && !client.is_empty() => Ok(text.to_owned()),
        _ => Err("expected NAMESPACE/CLIENT-ID, such as helpdesk/11111111-2222-3333-4444-555555555555".to_owned()),
    }
}

fn host(text: &str) -> Result<Authority, String> {
    Authority::parse(text).ok_or_else(|| "expected a host name, with a port if need be: sts.example.com".to_owned())
}

/// The pages where people sign in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sign-in")]
pub struct SignIn {
    /// The address under which people reach the sign-in pages, such as https://mail.example.com
    ///
    /// Links in the status and the callback URLs that are registered at providers begin with it, so it should never change. Without it nobody can sign in in a
    /// browser; kubectl emailasset authorize works all the same. Plain http is for a loopback address alone.
    #[arg(long, env = "EMAILASSET_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    pub public_url: Option<Url>,

    /// Address and port of the sign-in pages
    ///
    /// Put an Ingress or a Gateway with TLS before it. It answers only where --public-url is set.
    #[arg(
        long,
        env = "EMAILASSET_SIGN_IN_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "[::]:8081"
    )]
    pub sign_in_listen: SocketAddr,
}

/// https with a host, nothing after it but perhaps a path.
fn public_url(text: &str) -> Result<Url, String> {
    let expected = "expected an https URL such as https://mail.example.com, without query and fragment";
    let url = Url::parse(text).map_err(|_| expected.to_owned())?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if plain && (url.scheme() == "https" || url.scheme() == "http" && loopback) {
        Ok(url)
    } else {
        Err(expected.to_owned())
    }
}

/// Limits on parallel work.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Assets that are worked on at a time, each with at most one request to the API server
    #[arg(long, env = "EMAILASSET_CONCURRENCY", value_name = "NUMBER", default_value = "32")]
    pub concurrency: NonZeroU16,

    /// Requests to one token endpoint host at a time
    ///
    /// A host that does not answer delays only its own assets.
    #[arg(
        long,
        env = "EMAILASSET_REQUESTS_PER_HOST",
        value_name = "NUMBER",
        default_value = "16"
    )]
    pub requests_per_host: NonZeroU16,
}

/// Logs, health and metrics.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs, health and metrics")]
pub struct Telemetry {
    /// Address and port for /healthz, /readyz and /metrics
    ///
    /// [::] is all addresses, IPv4 and IPv6.
    #[arg(
        long,
        env = "EMAILASSET_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "[::]:8080"
    )]
    pub listen: SocketAddr,

    /// How lines of the log look, on standard error
    #[arg(long, env = "EMAILASSET_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub log_format: Format,

    /// What is logged: error, warn, info, debug or trace, or levels by module (info,emailasset=debug)
    ///
    /// No level shows a token or a client secret. Other libraries log at info at most.
    #[arg(long, env = "EMAILASSET_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,
}
