//! `make demo`: the operator's work on a real API server and a certified authorization server, told as a story.
//!
//! ```text
//! main ──> stage (starts the parts) ──> story (what happens, chapter by chapter) ──> say (how it looks)
//!            └─ workshop (processes and files, and their end)  └─ consumer (uses the token all the time)
//! ```
//!
//! The story does what people do: it calls kubectl. It sleeps nowhere; it takes as long as the events that it waits for. `KEEP=1` leaves everything running,
//! `KUBECONFIG` makes it a guest in the user's own cluster, and the argument `stop` ends what was kept.

#![allow(
    clippy::indexing_slicing,
    reason = "what kubectl and the server print is JSON: a name that is not there reads as null"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a story is told on standard output"
)]

mod consumer;
mod kubectl;
mod say;
mod server;
mod stage;
mod story;
mod workshop;

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use say::Voice;
use stage::Ground;
use workshop::{Afterwards, Logs, Workshop};

#[tokio::main]
async fn main() -> ExitCode {
    let voice = Voice::new();
    // An error means that somebody installed one before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match env::args().nth(1).as_deref() {
        Some("stop") => stop(voice).await,
        _ => show(voice).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn stop(voice: Voice) -> Result<ExitCode> {
    match workshop::stop_kept().await? {
        0 => voice.tell("No demo was kept running."),
        count => voice.tell(&format!("Ended and removed: {count}.")),
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(voice: Voice) -> Result<ExitCode> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let afterwards = if is_set("KEEP") {
        Afterwards::Keep
    } else {
        Afterwards::Remove
    };
    let ground = if is_set("KUBECONFIG") {
        Ground::Theirs
    } else {
        Ground::Ours
    };
    let mut workshop = Workshop::open(afterwards)?;
    let told = tokio::select! {
        told = story::tell(&mut workshop, ground, voice) => Some(told),
        signal = interrupted() => { signal?; None }
    };
    match told {
        Some(Ok(())) if afterwards == Afterwards::Keep => {
            workshop.keep()?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Ok(())) => {
            workshop.close(Logs::Remove).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Err(error)) => {
            let folder = workshop.folder.clone();
            workshop.close(Logs::Leave).await?;
            Err(error.context(format!("the demo ended early; its logs are in {}", folder.display())))
        }
        None => {
            voice.forget_meanwhile();
            voice.gap();
            voice.tell("Stopping; everything that was started is taken away again.");
            workshop.close(Logs::Remove).await?;
            // 128 + SIGINT, as shells count.
            Ok(ExitCode::from(130))
        }
    }
}

/// Returns on Ctrl-C, SIGTERM or when the terminal goes away.
async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
