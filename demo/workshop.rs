//! The processes and files of one demo, and how they end.
//!
//! Each process leads a group of its own, so that Ctrl-C reaches the demo alone, which then ends them in order. Should the demo itself be killed, they end too:
//! the cluster and the authorization server with their standard input, the operator by the kernel's parent-death signal. With `KEEP=1` neither is so, and what
//! runs is written down for `make demo-stop`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::kubectl::Kubectl;

/// How long any part may take to start. A loaded machine needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a process may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// From one look to the next.
const TICK: Duration = Duration::from_millis(50);
/// What is written down for `make demo-stop`.
const KEPT: &str = "kept.json";

/// Whether the demo's parts outlive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// Everything ends.
    Remove,
    /// Everything goes on, to play with.
    Keep,
}

/// The folder and the processes of one demo.
#[derive(Debug)]
pub(crate) struct Workshop {
    /// The folder with logs, certificates and data.
    pub(crate) folder: PathBuf,
    /// Whether the parts outlive the demo.
    pub(crate) afterwards: Afterwards,
    processes: Vec<Process>,
    frozen: Option<Pid>,
    /// What to take out of a cluster that is not ours.
    pub(crate) guest: Option<Guest>,
}

/// One process.
#[derive(Debug)]
struct Process {
    name: &'static str,
    child: Child,
}

/// What the demo put into a cluster of the user's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Guest {
    program: Vec<OsString>,
    kubeconfig: OsString,
    /// Objects to delete, as kubectl names them.
    pub(crate) objects: Vec<String>,
}

/// A demo that was kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    pids: Vec<u32>,
    guest: Option<Guest>,
}

impl Guest {
    /// Nothing so far.
    pub(crate) fn of(kubectl: &Kubectl) -> Self {
        Self {
            program: kubectl.program.clone(),
            kubeconfig: kubectl.kubeconfig.clone(),
            objects: Vec::new(),
        }
    }

    /// Takes everything out again, the last thing first.
    async fn leave(&self) -> Result<()> {
        let kubectl = Kubectl {
            program: self.program.clone(),
            kubeconfig: self.kubeconfig.clone(),
        };
        for object in self.objects.iter().rev() {
            kubectl
                .run(&["delete", object, "--ignore-not-found", "--timeout=60s"])
                .await?;
        }
        Ok(())
    }
}

impl Workshop {
    /// A fresh folder below `target/demo`.
    pub(crate) fn open(afterwards: Afterwards) -> Result<Self> {
        remove_leftovers(&all_demos()?);
        let folder = all_demos()?.join(std::process::id().to_string());
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            folder,
            afterwards,
            processes: Vec::new(),
            frozen: None,
            guest: None,
        })
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Starts a process that prints one line of JSON when it can be used, and returns that. `stay` is the flag that keeps it after its standard input ends.
    pub(crate) async fn start_with_hello(
        &mut self,
        name: &'static str,
        mut command: Command,
        stay: &str,
    ) -> Result<Value> {
        let output = self.folder.join(format!("{name}.out"));
        command.stdout(File::create(&output)?);
        match self.afterwards {
            Afterwards::Keep => command.arg(stay).stdin(Stdio::null()),
            // Never written to: it ends when we do.
            Afterwards::Remove => command.stdin(Stdio::piped()),
        };
        self.spawn(name, command)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let said = fs::read_to_string(&output).unwrap_or_default();
            if let Some((line, _)) = said.split_once('\n') {
                return Ok(serde_json::from_str(line)?);
            }
            self.check_alive(name)?;
            sleep(TICK).await;
        }
        bail!(
            "{name} did not start within {PATIENCE:?}; see {}",
            self.log(name).display()
        )
    }

    /// Starts an operator and waits until it is ready.
    pub(crate) async fn start_operator(&mut self, settings: &OperatorSettings, http: &reqwest::Client) -> Result<()> {
        let program = beside_us("emailasset-operator")?;
        let listen = free_port()?;
        let mut command = match self.afterwards {
            Afterwards::Keep => Command::new(&program),
            Afterwards::Remove => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).arg(&program);
                command
            }
        };
        command
            .args(&settings.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KUBECONFIG", &settings.kubeconfig)
            .env("POD_NAME", "demo")
            .env("POD_NAMESPACE", settings.namespace)
            .env("EMAILASSET_LISTEN", &listen)
            .env("EMAILASSET_SPOOL_DIR", self.spool())
            .env("EMAILASSET_CA_BUNDLE", &settings.authority)
            .env("EMAILASSET_ALLOW_PRIVATE_ADDRESSES", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        self.spawn("operator", command)?;
        let page = format!("http://{listen}/readyz");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if http
                .get(&page)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            self.check_alive("operator")?;
            sleep(TICK).await;
        }
        bail!("the operator is not ready; see {}", self.log("operator").display())
    }

    /// kill -9 for the operator. Returns when it is gone.
    pub(crate) async fn kill_operator(&mut self) -> Result<()> {
        let place = self.processes.iter().position(|process| process.name == "operator");
        let mut operator = self.processes.remove(place.context("an operator runs")?);
        operator.child.kill().await?;
        Ok(())
    }

    /// Freezes the API server of our own cluster.
    pub(crate) fn pause(&mut self, api_server: i32) -> Result<()> {
        let pid = Pid::from_raw(api_server);
        kill(pid, Signal::SIGSTOP)?;
        self.frozen = Some(pid);
        Ok(())
    }

    /// Lets it go on.
    pub(crate) fn resume(&mut self) -> Result<()> {
        if let Some(pid) = self.frozen.take() {
            kill(pid, Signal::SIGCONT)?;
        }
        Ok(())
    }

    /// The operator's spool.
    pub(crate) fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    /// The sizes of the answers that wait in the spool.
    pub(crate) fn spooled(&self) -> Vec<u64> {
        let files = fs::read_dir(self.spool()).into_iter().flatten().flatten();
        files
            .filter(|file| file.path().extension() == Some(OsStr::new("answer")))
            .filter_map(|file| file.metadata().ok().map(|known| known.len()))
            .collect()
    }

    /// What a process complained of.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Leaves everything running and writes down how to end it.
    pub(crate) fn keep(mut self) -> Result<()> {
        let kept = Kept {
            pids: self.processes.iter().filter_map(|process| process.child.id()).collect(),
            guest: self.guest.take(),
        };
        self.write(KEPT, &serde_json::to_string(&kept)?)?;
        Ok(())
    }

    /// Ends everything and removes the folder.
    pub(crate) async fn close(mut self, logs: Logs) -> Result<()> {
        // Interrupted at the worst moment: without it the operator would wait for its API server.
        let _ = self.resume();
        // The last that was started ends first: the operator needs the cluster to hand over its Lease.
        while let Some(mut process) = self.processes.pop() {
            if process.name == "operator" {
                end(&mut process.child).await;
                if let Some(guest) = self.guest.take() {
                    guest.leave().await?;
                }
            } else {
                end(&mut process.child).await;
            }
        }
        if let Some(guest) = self.guest.take() {
            guest.leave().await?;
        }
        if logs == Logs::Remove {
            fs::remove_dir_all(&self.folder)?;
        }
        Ok(())
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log(name))?;
        let child = command
            .stderr(log)
            .process_group(0)
            .kill_on_drop(self.afterwards == Afterwards::Remove)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        self.processes.push(Process { name, child });
        Ok(())
    }

    fn check_alive(&mut self, name: &str) -> Result<()> {
        let log = self.log(name);
        let Some(process) = self.processes.iter_mut().find(|process| process.name == name) else {
            bail!("{name} was not started");
        };
        match process.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<_> = said.lines().rev().take(5).collect();
                let last: Vec<_> = last.into_iter().rev().collect();
                bail!("{name} ended ({status}). Its last words:\n{}", last.join("\n"))
            }
        }
    }
}

/// What becomes of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logs {
    /// They go with everything else.
    Remove,
    /// They stay for a look.
    Leave,
}

/// What an operator is started with.
#[derive(Debug, Clone)]
pub(crate) struct OperatorSettings {
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Its own namespace.
    pub(crate) namespace: &'static str,
    /// Whose rights it has.
    pub(crate) kubeconfig: PathBuf,
    /// A certificate authority to trust.
    pub(crate) authority: PathBuf,
}

/// Ends every demo that was kept; how many there were.
pub(crate) async fn stop_kept() -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(all_demos()?).into_iter().flatten().flatten() {
        let folder = entry.path();
        let Ok(text) = fs::read_to_string(folder.join(KEPT)) else {
            continue;
        };
        let kept: Kept = serde_json::from_str(&text)?;
        for pid in kept.pids.iter().rev().filter(|pid| belongs_to(**pid, &folder)) {
            end_kept(*pid, &folder).await?;
        }
        if let Some(guest) = &kept.guest {
            guest.leave().await?;
        }
        fs::remove_dir_all(&folder)?;
        count += 1;
    }
    Ok(count)
}

/// A program that the same build made.
pub(crate) fn beside_us(name: &str) -> Result<PathBuf> {
    let us = std::env::current_exe()?;
    let profile = us.parent().and_then(Path::parent).context("where the build put us")?;
    let program = profile.join(name);
    if !program.is_file() {
        bail!("{} is not there: run `make demo`", program.display());
    }
    Ok(program)
}

/// `target/demo`.
fn all_demos() -> Result<PathBuf> {
    let us = std::env::current_exe()?;
    let target = us.ancestors().nth(3).context("where the build put us")?;
    Ok(target.join("demo"))
}

/// Removes the folders of demos that have ended, which failed or were killed. They are named after their process.
fn remove_leftovers(demos: &Path) {
    for demo in fs::read_dir(demos).into_iter().flatten().flatten() {
        let runs = Path::new("/proc").join(demo.file_name()).exists();
        if !runs && !demo.path().join(KEPT).exists() {
            // Another demo may be removing it as well.
            let _ = fs::remove_dir_all(demo.path());
        }
    }
}

async fn end(child: &mut Child) {
    // The ID is only free for others once we have waited; then there is none any more.
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(LAST_WORDS, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

async fn end_kept(pid: u32, folder: &Path) -> Result<()> {
    let id = Pid::from_raw(i32::try_from(pid)?);
    let deadline = Instant::now() + LAST_WORDS;
    let _ = kill(id, Signal::SIGTERM);
    while belongs_to(pid, folder) {
        if Instant::now() > deadline {
            let _ = kill(id, Signal::SIGKILL);
        }
        sleep(TICK).await;
    }
    Ok(())
}

/// Whether this process is one that a demo in this folder started: its arguments or its environment name the folder.
fn belongs_to(pid: u32, folder: &Path) -> bool {
    let mark = folder.as_os_str().as_encoded_bytes();
    ["cmdline", "environ"].into_iter().any(|file| {
        let known = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        known.windows(mark.len()).any(|part| part == mark)
    })
}

fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
