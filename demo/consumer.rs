//! A mail client as the operator's users have one: it takes the token from the Secret and uses it, all the time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;

use super::kubectl::Kubectl;
use super::server::Server;
use super::stage::NAMESPACE;

/// How often it uses the token.
const EVERY: Duration = Duration::from_millis(500);

/// A running consumer. It ends with this value.
pub(crate) struct Consumer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// How it fared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// How often it used the token.
    pub(crate) uses: u32,
    /// How often the mailbox stayed closed.
    pub(crate) refusals: u32,
}

impl Consumer {
    /// Starts it on a Secret that is there. It learns of changes by a watch, as a pod does by its volume.
    pub(crate) fn start(kubectl: &Kubectl, server: Arc<Server>, secret: &str, account: &str) -> Result<Self> {
        let read = [
            "get",
            "secret",
            secret,
            "-n",
            NAMESPACE,
            "--watch",
            "-o",
            "go-template={{.data.access_token | base64decode}}{{\"\\n\"}}",
        ];
        let mut watch = kubectl.watch(&read)?;
        let account = account.to_owned();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let notes = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut token = String::new();
            let mut tick = tokio::time::interval(EVERY);
            loop {
                tokio::select! {
                    line = watch.next_line() => match line {
                        Ok(Some(line)) => token = line,
                        _ => return,
                    },
                    _ = tick.tick(), if !token.is_empty() => {
                        let good = server.is_good(&token, &account).await.unwrap_or_default();
                        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                        notes.uses += 1;
                        notes.refusals += u32::from(!good);
                    }
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// How it fared so far.
    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
