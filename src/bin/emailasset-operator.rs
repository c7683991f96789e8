//! The operator: see `emailasset-operator --help`.

use std::io::Write;

use clap::Parser;
use emailasset::{
    api,
    cli::{Cli, Command},
    operator,
};

fn main() -> anyhow::Result<()> {
    match Cli::parse().chosen() {
        Command::Run(settings) => operator::block_on(operator::run(settings)),
        Command::Crd => Ok(std::io::stdout().write_all(api::crd_yaml().as_bytes())?),
    }
}
