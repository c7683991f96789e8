//! Completion: scripts for shells, and the answers that kubectl's own completion asks for.
//!
//! kubectl completes a plugin by calling `kubectl_complete-NAME` with the words so far. It reads one candidate a line, a description behind a tab, and a last
//! line that says how to go on (cobra: `:4` no files, `:0` files too).

use std::time::Duration;

use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell, generate};
use kube::api::ListParams;

use super::arguments::{ClusterArguments, CompletionArguments, CompletionShell, Plugin};
use super::cluster::{ASSETS, Cluster};
use super::exit::{Exit, Problem};
use super::providers;
use super::terminal::print;

/// The command's own name on the PATH.
const BINARY: &str = "kubectl-emailasset";
/// A person waits for it with a finger on the key.
const LIMIT: Duration = Duration::from_secs(2);
const SCRIPT: &str = "\
#!/bin/sh
# Lets kubectl complete `kubectl emailasset`: save it as kubectl_complete-emailasset in a folder of the PATH and make it executable.
exec kubectl-emailasset __complete -- \"$@\"
";

/// Prints a completion script.
pub(super) fn run(arguments: &CompletionArguments) -> Exit {
    let script = match arguments.shell {
        CompletionShell::Bash => of_shell(Shell::Bash),
        CompletionShell::Zsh => of_shell(Shell::Zsh),
        CompletionShell::Fish => of_shell(Shell::Fish),
        CompletionShell::Powershell => of_shell(Shell::PowerShell),
        CompletionShell::Kubectl => SCRIPT.to_owned(),
    };
    print(&script);
    Exit::Fine
}

fn of_shell(shell: impl Generator) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Plugin::command(), BINARY, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Answers kubectl's completion.
pub(super) async fn complete(words: &[String]) -> Exit {
    let asked = asked(words);
    let names = match &asked {
        Asked::Asset { cluster } => tokio::time::timeout(LIMIT, assets(cluster))
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let last = words.last().map(String::as_str).unwrap_or_default();
    print(&answer(asked, names, last));
    Exit::Fine
}

/// What the unfinished word can be.
#[derive(Debug)]
enum Asked {
    /// One of these, each with a description.
    Words(Vec<(String, String)>),
    /// The name of an asset.
    Asset {
        /// As said in the words so far.
        cluster: ClusterArguments,
    },
    /// A file.
    File,
    /// Something that only the person knows.
    Anything,
}

fn answer(asked: Asked, names: Vec<String>, last: &str) -> String {
    let (words, directive) = match asked {
        Asked::Words(words) => (words, 4),
        Asked::Asset { .. } => (names.into_iter().map(|name| (name, String::new())).collect(), 4),
        Asked::File => (Vec::new(), 0),
        Asked::Anything => (Vec::new(), 4),
    };
    let mut text = String::new();
    for (word, described) in words.into_iter().filter(|(word, _)| word.starts_with(last)) {
        text.push_str(&word);
        if !described.is_empty() {
            text.push('\t');
            text.push_str(&described);
        }
        text.push('\n');
    }
    format!("{text}:{directive}\n")
}

fn asked(words: &[String]) -> Asked {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", [].as_slice()),
    };
    let whole = Plugin::command();
    let mut command = None;
    let mut positionals = 0_usize;
    let mut cluster = ClusterArguments::default();
    let mut pending: Option<String> = None;
    for word in before {
        if let Some(flag) = pending.take() {
            note(&mut cluster, &flag, word);
        } else if let Some(flag) = word.strip_prefix('-') {
            let flag = flag.trim_start_matches('-');
            match flag.split_once('=') {
                Some((flag, value)) => note(&mut cluster, flag, value),
                None if takes_value(&whole, command, flag) => pending = Some(flag.to_owned()),
                None => {}
            }
        } else if command.is_none() {
            command = whole.find_subcommand(word);
        } else {
            positionals += 1;
        }
    }
    if let Some(flag) = pending {
        return values(&whole, command, &flag);
    }
    if last.starts_with('-') {
        return Asked::Words(flags(&whole, command));
    }
    match command.map(Command::get_name) {
        None => Asked::Words(subcommands(&whole)),
        Some("authorize" | "status" | "refresh" | "token" | "verify") if positionals == 0 => Asked::Asset { cluster },
        Some("import" | "check") => Asked::File,
        Some("providers") if positionals == 0 => Asked::Words(providers::keys()),
        Some("completion") if positionals == 0 => {
            let shells = ["bash", "zsh", "fish", "powershell", "kubectl"];
            Asked::Words(shells.map(|shell| (shell.to_owned(), String::new())).to_vec())
        }
        Some(_) => Asked::Anything,
    }
}

fn note(cluster: &mut ClusterArguments, flag: &str, value: &str) {
    match flag {
        "n" | "namespace" => cluster.namespace = Some(value.to_owned()),
        "context" => cluster.context = Some(value.to_owned()),
        "kubeconfig" => cluster.kubeconfig = Some(value.into()),
        _ => {}
    }
}

fn arguments<'a>(whole: &'a Command, command: Option<&'a Command>) -> impl Iterator<Item = &'a clap::Arg> {
    let own = command.into_iter().flat_map(Command::get_arguments);
    own.chain(whole.get_arguments())
        .filter(|argument| !argument.is_positional())
}

fn argument<'a>(whole: &'a Command, command: Option<&'a Command>, flag: &str) -> Option<&'a clap::Arg> {
    arguments(whole, command).find(|argument| {
        argument.get_long() == Some(flag) || argument.get_short().is_some_and(|short| flag == short.to_string())
    })
}

fn takes_value(whole: &Command, command: Option<&Command>, flag: &str) -> bool {
    argument(whole, command, flag).is_some_and(|argument| argument.get_action().takes_values())
}

fn values(whole: &Command, command: Option<&Command>, flag: &str) -> Asked {
    let Some(argument) = argument(whole, command, flag) else {
        return Asked::Anything;
    };
    let possible = argument.get_possible_values();
    match argument.get_long() {
        Some("kubeconfig") => Asked::File,
        Some("provider") => Asked::Words(providers::keys()),
        _ if possible.is_empty() => Asked::Anything,
        _ => Asked::Words(
            possible
                .iter()
                .map(|value| {
                    (
                        value.get_name().to_owned(),
                        value.get_help().map(ToString::to_string).unwrap_or_default(),
                    )
                })
                .collect(),
        ),
    }
}

fn flags(whole: &Command, command: Option<&Command>) -> Vec<(String, String)> {
    let described = |argument: &clap::Arg| {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        Some((format!("--{}", argument.get_long()?), help))
    };
    arguments(whole, command).filter_map(described).collect()
}

fn subcommands(whole: &Command) -> Vec<(String, String)> {
    whole
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            (command.get_name().to_owned(), about)
        })
        .collect()
}

async fn assets(arguments: &ClusterArguments) -> Result<Vec<String>, Problem> {
    let cluster = Cluster::connect(arguments).await?;
    let api = cluster.assets();
    let parameters = ListParams::default().limit(500);
    let listed = cluster
        .call(cluster.right("list", ASSETS, None), api.list_metadata(&parameters))
        .await?;
    Ok(listed
        .items
        .into_iter()
        .filter_map(|asset| asset.metadata.name)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let last = words.last().cloned().unwrap_or_default();
        answer(asked(&words), vec!["support".to_owned(), "sales".to_owned()], &last)
    }

    #[test]
    fn kubectl_gets_commands_flags_values_and_assets() {
        assert!(answered(&[""]).contains("authorize\tSign in"));
        assert!(!answered(&[""]).contains("__complete"));
        assert_eq!(answered(&["sta"]).lines().count(), 2);
        assert_eq!(answered(&["status", "sup"]), "support\n:4\n");
        assert_eq!(answered(&["status", "-n", "helpdesk", "s"]), "support\nsales\n:4\n");
        assert_eq!(answered(&["status", "support", ""]), ":4\n");
        assert!(answered(&["status", "-o", ""]).starts_with("json\t"));
        assert!(answered(&["token", "--form"]).starts_with("--format\t"));
        assert_eq!(answered(&["check", ""]), ":0\n");
        assert_eq!(
            answered(&["providers", "goog"]),
            "google\tGoogle\ngoogle-service-account\tGoogle Workspace, by a service account\n:4\n"
        );
        assert!(answered(&["import", "--provider", "microsoft-d"]).starts_with("microsoft-dod\t"));
        assert_eq!(answered(&["status", "-n", ""]), ":4\n");
    }

    #[test]
    fn the_namespace_so_far_is_where_assets_are_looked_for() {
        for words in [
            ["status", "-n", "helpdesk", ""],
            ["-n", "helpdesk", "status", ""],
            ["status", "--namespace", "helpdesk", ""],
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let Asked::Asset { cluster } = asked(&words) else {
                panic!("{words:?}")
            };
            assert_eq!(cluster.namespace.as_deref(), Some("helpdesk"));
        }
    }

    #[test]
    fn every_shell_gets_a_script() {
        for (shell, part) in [
            (Shell::Bash, "complete -F"),
            (Shell::Zsh, "#compdef kubectl-emailasset"),
            (Shell::Fish, "complete -c kubectl-emailasset"),
            (Shell::PowerShell, "Register-ArgumentCompleter"),
        ] {
            assert!(of_shell(shell).contains(part), "{shell}");
        }
    }
}
