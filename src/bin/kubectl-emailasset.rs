//! The kubectl plugin: see `kubectl emailasset --help`.

use std::io::Write;

use clap::Parser;
use emailasset::{operator, plugin};

fn main() -> anyhow::Result<()> {
    let told = operator::block_on(plugin::run(plugin::Plugin::parse()))?;
    Ok(std::io::stdout().write_all(told.as_bytes())?)
}
