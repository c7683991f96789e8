//! The kubectl plugin: see `kubectl emailasset --help`.

use std::process::ExitCode;

use clap::Parser;
use emailasset::{operator, plugin};

fn main() -> anyhow::Result<ExitCode> {
    let asked = plugin::Plugin::parse();
    let exit = operator::block_on(async { Ok(plugin::run(asked).await) })?;
    Ok(ExitCode::from(exit.code()))
}
