//! What can be asked: the command line. The comments on it are what `--help` prints, so they have no marks of Markdown.

#![allow(clippy::doc_markdown, reason = "the comments are printed in a terminal")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::exit::EXIT_CODES;
use crate::api::duration;

/// Signs people in for EmailAssets, tells how these stand, hands out their tokens, and checks and makes their manifests
#[derive(Debug, Parser)]
#[command(
    name = "kubectl emailasset",
    bin_name = "kubectl emailasset",
    version,
    after_help = EXIT_CODES,
    max_term_width = 100
)]
pub struct Plugin {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
}

/// Which cluster, and where in it.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ClusterArguments {
    /// Namespace; default: that of the kubeconfig's context
    #[arg(short, long, global = true, help_heading = "Cluster")]
    pub(super) namespace: Option<String>,
    /// Context of the kubeconfig; default: the current one
    #[arg(long, global = true, help_heading = "Cluster")]
    pub(super) context: Option<String>,
    /// Path of the kubeconfig; default: KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub(super) kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sign in for an asset: in the browser of this machine, or with a code on any device
    Authorize(AuthorizeArguments),
    /// Tell how assets stand: what is valid until when, what comes next, who must act
    Status(StatusArguments),
    /// Ask the operator for a new token now, and wait until it has answered
    Refresh(RefreshArguments),
    /// Print the access token of an asset, for scripts and mail programs
    Token(TokenArguments),
    /// Log in to the mail servers of an asset with its token, from this machine, and show the conversation
    Verify(VerifyArguments),
    /// Make manifests of the token file of another tool, and print them
    Import(ImportArguments),
    /// Check manifests without a cluster, by the operator's own rules
    Check(CheckArguments),
    /// Tell what is known about mail providers: endpoints, grants, servers, limits, and where each fact stands; and which EmailProviders of the cluster the namespace
    /// may use
    Providers(ProvidersArguments),
    /// Print a completion script
    Completion(CompletionArguments),
    /// What kubectl's own completion asks
    #[command(name = "__complete", hide = true, disable_help_flag = true)]
    Complete {
        /// The words so far, the last one unfinished
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct AuthorizeArguments {
    /// The asset
    pub(super) name: String,
    /// Sign in with a code on any device, instead of the browser of this machine; the asset has to have grant DeviceCode
    #[arg(long)]
    pub(super) device: bool,
    /// Print the link instead of opening a browser
    #[arg(long)]
    pub(super) no_browser: bool,
    /// Port of this machine to which the provider sends the browser back; 0: any free one. Set it where the redirect URI is registered with a port
    #[arg(long, default_value_t = 0, conflicts_with = "device")]
    pub(super) port: u16,
    /// How long to wait for the person, such as 90s or 10m
    #[arg(long, default_value = "10m", value_parser = parse_duration, value_name = "DURATION")]
    pub(super) timeout: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct StatusArguments {
    /// One asset, told as a story; without it, a table of all of the namespace
    pub(super) name: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    pub(super) all_namespaces: bool,
    /// For programs: json or yaml; for people: wide
    #[arg(short, long, value_enum)]
    pub(super) output: Option<StatusFormat>,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct RefreshArguments {
    /// The asset
    pub(super) name: String,
    /// For programs: what the asset is like afterwards
    #[arg(short, long, value_enum)]
    pub(super) output: Option<DataFormat>,
    /// How long to wait for the operator, such as 30s
    #[arg(long, default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    pub(super) timeout: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct TokenArguments {
    /// The asset
    pub(super) name: String,
    /// The token alone, or as the base64 initial response of a SASL mechanism
    #[arg(long, value_enum, default_value_t = TokenFormat::Token)]
    pub(super) format: TokenFormat,
    /// Whose host and port stand in an oauthbearer response; default: the first of imap, smtp, pop3 that the Secret knows
    #[arg(long, value_enum)]
    pub(super) protocol: Option<Protocol>,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct VerifyArguments {
    /// The asset
    pub(super) name: String,
    /// Only this server; default: all that the token Secret knows
    #[arg(long, value_enum)]
    pub(super) protocol: Option<Protocol>,
    /// A mail server that is yours and not in the catalogue. Whoever may change the asset chooses its servers, and the token is sent to them
    #[arg(long, value_name = "HOST")]
    pub(super) allow_host: Vec<String>,
    /// Connect to loopback, link-local and metadata addresses too, such as those of kubectl port-forward
    #[arg(long)]
    pub(super) allow_private_addresses: bool,
    /// PEM file with certificates to trust besides those of this machine
    #[arg(long, value_name = "FILE")]
    pub(super) ca_bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ImportArguments {
    /// The tool that wrote the file
    #[arg(long, value_enum, default_value_t = Tool::Auto)]
    pub(super) from: Tool,
    /// The file; - for standard input
    pub(super) file: PathBuf,
    /// The mailbox; needed unless the file says
    #[arg(long)]
    pub(super) email: Option<String>,
    /// Which account of the file, where it holds several: as the file names it
    #[arg(long)]
    pub(super) account: Option<String>,
    /// Name of the asset; default: what stands before the @ of the mailbox
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Entry of the catalogue; default: that of the file's token endpoint
    #[arg(long)]
    pub(super) provider: Option<String>,
    /// Tenant at Microsoft; default: as in the file
    #[arg(long)]
    pub(super) tenant: Option<String>,
    /// Client ID, where the file has none
    #[arg(long, value_name = "ID")]
    pub(super) client_id: Option<String>,
    /// Secret of the cluster that holds the OAuth client already; then none is printed
    #[arg(long, value_name = "SECRET")]
    pub(super) client_secret_ref: Option<String>,
    /// Make no seed of the file: a person signs in anew. For files whose tokens are encrypted
    #[arg(long)]
    pub(super) sign_in: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct CheckArguments {
    /// YAML or JSON files, each with any number of documents; - for standard input
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Public URL of the operator's sign-in pages: tells which redirect URI has to be registered
    #[arg(long, value_name = "URL")]
    pub(super) public_url: Option<url::Url>,
    /// What keys of labels and annotations of a token Secret may begin with, as in the operator's own --allow-label
    #[arg(
        long,
        value_name = "PREFIX",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/"
    )]
    pub(super) allow_label: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ProvidersArguments {
    /// One provider, as in spec.provider; without it, a table of all, and of the EmailProviders that the namespace may use where the cluster tells
    pub(super) key: Option<String>,
    /// For programs: the facts as the catalogue has them
    #[arg(short, long, value_enum)]
    pub(super) output: Option<DataFormat>,
}

#[derive(Debug, Args)]
pub(super) struct CompletionArguments {
    /// The shell; kubectl: the script that kubectl's own completion calls
    #[arg(value_enum)]
    pub(super) shell: CompletionShell,
}

/// How a status is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusFormat {
    /// One document, for programs
    Json,
    /// The same as YAML
    Yaml,
    /// The table with more columns
    Wide,
}

/// How data is printed for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DataFormat {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How a token is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TokenFormat {
    /// The access token
    Token,
    /// Initial response of XOAUTH2, in base64
    Xoauth2,
    /// Initial response of OAUTHBEARER (RFC 7628), in base64
    Oauthbearer,
}

/// A mail protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Protocol {
    /// SMTP
    Smtp,
    /// IMAP
    Imap,
    /// POP3
    Pop3,
}

/// A tool whose token files can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Tool {
    /// Find out by the contents
    Auto,
    /// Mutt's or NeoMutt's mutt_oauth2.py, decrypted
    #[value(name = "mutt_oauth2")]
    MuttOauth2,
    /// What `pizauth dump` writes
    Pizauth,
    /// The token file of the SASL plugin sasl-xoauth2
    SaslXoauth2,
    /// emailproxy.config of email-oauth2-proxy
    EmailOauth2Proxy,
    /// A Google file of type authorized_user
    GoogleAuthorizedUser,
}

/// For whom a completion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompletionShell {
    /// Bash, for the command kubectl-emailasset
    Bash,
    /// Zsh, for the command kubectl-emailasset
    Zsh,
    /// Fish, for the command kubectl-emailasset
    Fish,
    /// PowerShell, for the command kubectl-emailasset
    Powershell,
    /// A script kubectl_complete-emailasset: with it on the PATH, kubectl's completion covers `kubectl emailasset`
    Kubectl,
}

/// A Go-style duration, such as `90s` or `10m`, longer than nothing.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = duration::parse(text).ok();
    parsed
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .filter(|parsed| !parsed.is_zero())
        .ok_or_else(|| "a duration such as 90s, 10m or 1h30m is accepted".to_owned())
}
