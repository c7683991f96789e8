//! kubectl, as a person uses it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// kubectl with a kubeconfig.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    /// The program, and what comes before the arguments.
    pub(crate) program: Vec<OsString>,
    /// Where the cluster is.
    pub(crate) kubeconfig: OsString,
}

impl Kubectl {
    /// Runs kubectl and returns what it prints.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with_input(arguments, "").await
    }

    /// Runs kubectl with a text on standard input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = self.command(arguments)?.stdin(Stdio::piped()).spawn()?;
        let mut pipe = child.stdin.take().context("standard input is piped")?;
        pipe.write_all(input.as_bytes()).await?;
        drop(pipe);
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs kubectl and reads the JSON that it prints.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        Ok(serde_json::from_str(&self.run(&all).await?)?)
    }

    /// Starts a kubectl that watches; its lines come as they are printed. It ends with the returned value.
    pub(crate) fn watch(&self, arguments: &[&str]) -> Result<Watch> {
        let mut command = self.command(arguments)?;
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("standard output is piped")?;
        Ok(Watch {
            lines: BufReader::new(output).lines(),
            _child: child,
        })
    }

    /// Writes a script that is kubectl with this kubeconfig.
    pub(crate) fn script(&self) -> String {
        let words: Vec<_> = self.program.iter().map(|word| quote(&word.to_string_lossy())).collect();
        format!(
            "#!/bin/sh\nKUBECONFIG={} exec {} \"$@\"\n",
            quote(&self.kubeconfig.to_string_lossy()),
            words.join(" ")
        )
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let (program, first) = self.program.split_first().context("a program")?;
        let mut command = Command::new(program);
        command
            .args(first)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the demo alone, which then ends everything in order.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }
}

/// A kubectl that watches.
#[derive(Debug)]
pub(crate) struct Watch {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Watch {
    /// The next line that it prints; none when it has ended.
    pub(crate) async fn next_line(&mut self) -> Result<Option<String>> {
        Ok(self.lines.next_line().await?)
    }
}

/// kubectl on the search path, if there is one.
pub(crate) fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("kubectl"))
        .find(|file| file.is_file())
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
