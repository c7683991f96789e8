//! The operator: see `emailasset-operator --help`.

use std::io::Write;

use clap::Parser;
use emailasset::{
    api,
    cli::{Cli, Command},
    operator,
};

fn main() -> anyhow::Result<()> {
    // Tests kill the process at chosen points, by FAILPOINTS. Only builds for tests have such points (`dev-dependencies` in Cargo.toml).
    let _failpoints = fail::has_failpoints().then(fail::FailScenario::setup);
    match Cli::parse().chosen() {
        Command::Run(settings) => operator::block_on(operator::run(settings)),
        Command::Crd => {
            let definitions = [api::crd_yaml(), api::provider_crd_yaml()].join("---\n");
            Ok(std::io::stdout().write_all(definitions.as_bytes())?)
        }
    }
}
