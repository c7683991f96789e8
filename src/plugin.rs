//! `kubectl emailasset`: what a person asks for on a laptop.
//!
//! ```text
//! arguments ──> run ──> one file for each command ──> Exit, or a Problem in words
//! ```
//!
//! `authorize` signs a person in without an ingress, `status` tells how assets stand ([`story()`], [`Report`]), `refresh` asks for a new token, `token` prints it,
//! `verify` logs in with it, `import` makes manifests of other tools' token files, `check` holds manifests against the operator's own rules, `providers` tells what the catalogue knows, and which `EmailProvider`s a namespace may use. No command has or wants a right outside the
//! asset's namespace (but `status -A`, which lists, and `providers`, which does without). What goes to standard output is the answer; all that is said besides goes to standard error.

mod arguments;
mod authorize;
mod check;
mod cluster;
mod completion;
mod exit;
mod files;
mod import;
mod output;
mod providers;
mod proxy;
mod published;
mod refresh;
mod report;
mod status;
mod story;
mod table;
mod terminal;
mod token;
mod verify;
mod words;

#[cfg(test)]
mod tests;

use arguments::Command;
use cluster::Cluster;

pub use arguments::Plugin;
pub use exit::{Exit, Problem};
pub use report::{Act, GrantReport, LastRefusal, Report, Token, Trouble, Who};
pub use story::story;
pub use terminal::{Paint, Screen};

/// Runs a command. What it has to say is printed when this returns; a problem is said on standard error.
pub async fn run(plugin: Plugin) -> Exit {
    match carry_out(&plugin).await {
        Ok(exit) => exit,
        Err(problem) => {
            let screen = Screen::of_errors();
            terminal::tell(&format!("{} {}", screen.bad("error:"), problem.message));
            problem.exit
        }
    }
}

async fn carry_out(plugin: &Plugin) -> Result<Exit, Problem> {
    let cluster = || Cluster::connect(&plugin.cluster);
    match &plugin.command {
        Command::Status(arguments) => status::run(&cluster().await?, arguments).await,
        Command::Refresh(arguments) => refresh::run(&cluster().await?, arguments).await,
        Command::Authorize(arguments) => authorize::run(&cluster().await?, arguments).await,
        Command::Token(arguments) => token::run(&cluster().await?, arguments).await,
        Command::Verify(arguments) => verify::run(&cluster().await?, arguments).await,
        Command::Import(arguments) => import::run(arguments, plugin.cluster.namespace.as_deref()),
        Command::Check(arguments) => check::run(arguments),
        Command::Providers(arguments) => providers::run(arguments, &plugin.cluster).await,
        Command::Completion(arguments) => Ok(completion::run(arguments)),
        Command::Complete { words } => Ok(completion::complete(words).await),
    }
}
