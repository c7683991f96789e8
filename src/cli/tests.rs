use clap::{CommandFactory, error::ErrorKind};

use super::*;

fn parse(words: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(words.split_whitespace()).map(Cli::chosen)
}

fn run(words: &str) -> Run {
    match parse(words) {
        Ok(Command::Run(run)) => run,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn the_definition_of_the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn without_a_command_the_operator_runs_with_its_defaults() {
    for words in ["emailasset-operator", "emailasset-operator run"] {
        let run = run(words);
        assert_eq!(run.cluster.namespace, "emailasset-system");
        assert!(run.cluster.watch_namespace.is_empty());
        assert_eq!(run.cluster.allow_label, ["app.kubernetes.io/"]);
        assert!(run.replicas.leader_election);
        assert_eq!(run.replicas.spool_dir, PathBuf::from("/run/emailasset-operator"));
        assert_eq!(run.replicas.shutdown_grace, Duration::from_secs(110));
        assert!(!run.network.allow_private_addresses);
        assert_eq!(run.network.token_timeout, Duration::from_secs(30));
        assert_eq!(
            (run.limits.concurrency.get(), run.limits.requests_per_host.get()),
            (32, 16)
        );
        assert_eq!(run.telemetry.listen, "[::]:8080".parse().unwrap());
    }
}

#[test]
fn flags_are_taken_with_and_without_the_command() {
    for words in ["emailasset-operator", "emailasset-operator run"] {
        let run = run(&format!(
            "{words} --watch-namespace a,b --watch-namespace c --leader-election=false --log-format json"
        ));
        assert_eq!(run.cluster.watch_namespace, ["a", "b", "c"]);
        assert!(!run.replicas.leader_election);
        assert_eq!(run.telemetry.log_format, Format::Json);
    }
    assert!(run("emailasset-operator --leader-election").replicas.leader_election);
}

#[test]
fn crd_takes_no_settings_of_the_operator() {
    assert!(matches!(parse("emailasset-operator crd"), Ok(Command::Crd)));
    assert!(parse("emailasset-operator crd --concurrency 3").is_err());
}

#[test]
fn values_that_make_no_sense_are_refused_with_the_flag() {
    for words in [
        "--concurrency 0",
        "--token-timeout 30",
        "--token-timeout 0s",
        "--listen 8080",
        "--log-format xml",
    ] {
        let error = parse(&format!("emailasset-operator {words}")).expect_err(words);
        assert!(
            matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue),
            "{words}: {error}"
        );
        let flag = words.split_whitespace().next().unwrap();
        assert!(error.to_string().contains(flag), "{error}");
    }
}

#[test]
fn every_flag_is_explained_has_an_environment_variable_and_stands_in_a_group() {
    for flag in Cli::command()
        .get_arguments()
        .filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
    {
        let name = flag.get_id();
        assert!(flag.get_help().is_some(), "{name} is not explained");
        assert!(flag.get_help_heading().is_some(), "{name} is in no group");
        let variable = flag
            .get_env()
            .unwrap_or_else(|| panic!("{name} has no variable"))
            .to_string_lossy();
        assert!(
            variable.starts_with("EMAILASSET_") || variable.starts_with("POD_"),
            "{variable}"
        );
    }
}

/// Runs in a process of its own, which has the variables.
#[test]
#[ignore = "run by the test below"]
fn child_with_variables() {
    let words = std::env::var("WORDS").unwrap_or_default();
    match parse(&words) {
        Ok(Command::Run(run)) => println!("run {} {:?}", run.telemetry.log_level, run.cluster.watch_namespace),
        Ok(Command::Crd) => println!("crd"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn variables_are_taken_with_every_command_and_flags_win() {
    for (words, outcome) in [
        ("emailasset-operator", r#"run debug ["a", "b"]"#),
        ("emailasset-operator run", r#"run debug ["a", "b"]"#),
        ("emailasset-operator run --log-level warn", r#"run warn ["a", "b"]"#),
        ("emailasset-operator crd", "crd"),
    ] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child
            .args([
                "--exact",
                "cli::tests::child_with_variables",
                "--ignored",
                "--nocapture",
            ])
            .env("WORDS", words);
        let child = child
            .env("EMAILASSET_LOG_LEVEL", "debug")
            .env("EMAILASSET_WATCH_NAMESPACE", "a,b");
        let output = String::from_utf8(child.output().unwrap().stdout).unwrap();
        assert!(output.lines().any(|line| line.ends_with(outcome)), "{words}: {output}");
    }
}

/// To accept a change: `EMAILASSET_ACCEPT=1 cargo test cli`, then read the difference.
#[test]
fn help_reads_as_it_was_accepted() {
    // The values of variables that happen to be set are no part of the text.
    let mut command = Cli::command()
        .term_width(100)
        .version("VERSION")
        .mut_args(|flag| flag.hide_env_values(true));
    let help = command.render_long_help().to_string();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/help.txt");
    if std::env::var_os("EMAILASSET_ACCEPT").is_some() {
        std::fs::write(path, &help).unwrap();
    }
    let accepted = std::fs::read_to_string(path).unwrap_or_default();
    for (found, wanted) in help.lines().zip(accepted.lines()) {
        assert_eq!(found, wanted);
    }
    assert_eq!(help, accepted);
}

#[test]
fn the_operators_own_identity_is_for_the_clients_and_hosts_that_are_named() {
    let plain = run("emailasset-operator");
    assert!(plain.identity.federated_token_file.is_none() && plain.identity.federated_client.is_empty());
    let named = run(
        "emailasset-operator --federated-token-file /var/run/token --federated-client helpdesk/app-1,*/app-2 --federated-host sts.example.com:8443",
    );
    assert_eq!(named.identity.federated_client, ["helpdesk/app-1", "*/app-2"]);
    assert_eq!(named.identity.federated_host[0].to_string(), "sts.example.com:8443");
    for bad in [
        "--federated-client app-1",
        "--federated-client /app-1",
        "--federated-host *.example.com",
    ] {
        assert_eq!(
            parse(&format!("emailasset-operator {bad}")).unwrap_err().kind(),
            ErrorKind::ValueValidation
        );
    }
}
