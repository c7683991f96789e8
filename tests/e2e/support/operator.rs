//! The operator's process.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::run::{random_suffix, run_directory};

/// How long a test waits for a log line or for the end of the process.
const LIMIT: Duration = Duration::from_secs(60);

/// What an operator is started with.
#[derive(Debug, Default)]
pub(crate) struct OperatorOptions {
    /// The arguments, subcommand first.
    pub(crate) args: Vec<OsString>,
    /// Environment variables on top of `KUBECONFIG` and `PATH`; nothing else is inherited.
    pub(crate) env: Vec<(String, OsString)>,
    /// Whose rights it has, as `KUBECONFIG`.
    pub(crate) kubeconfig: PathBuf,
}

/// A running operator. It is killed when this value goes, or the thread that started it (a test's own, normally).
///
/// So start it in the test itself and not on a thread of `spawn_blocking`, which ends when it is idle.
#[derive(Debug)]
pub(crate) struct Operator {
    process: Child,
    pid: Pid,
    log: Arc<Log>,
    log_file: PathBuf,
}

impl Operator {
    /// Starts the operator that this build made.
    pub(crate) fn start(options: OperatorOptions) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_emailasset-operator")), options)
    }

    /// Starts another program in the operator's place, such as one of another build.
    pub(crate) fn start_program(program: &Path, options: OperatorOptions) -> Self {
        // `setpriv` makes the kernel kill the operator when this thread ends, however it ends. It then becomes the
        // operator, which so has the process id that we see.
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(options.args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KUBECONFIG", options.kubeconfig)
            .envs(options.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("setpriv (util-linux) starts the operator");
        let pid = process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .expect("a fresh process has an id");
        let log_file = run_directory().join(format!("operator-{}.log", random_suffix()));
        let log = Arc::new(Log::into(
            File::create_new(&log_file).expect("a log can be made in the run's folder"),
        ));
        tokio::spawn(Arc::clone(&log).follow(process.stdout.take().expect("standard output is piped")));
        tokio::spawn(Arc::clone(&log).follow(process.stderr.take().expect("standard error is piped")));
        Self {
            process,
            pid: Pid::from_raw(pid),
            log,
            log_file,
        }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Everything that the operator has written to standard output and standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lines.lock().expect("nobody panics with the log").join("\n")
    }

    /// The file with that, for a look after the run.
    pub(crate) fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// What the kernel says of its process, for a test that waits for it in vain.
    pub(crate) fn whereabouts(&self) -> String {
        let said = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        let status = said("status");
        let lines = status.lines().filter(|line| {
            ["Name:", "State:", "Threads:", "SigQ:"]
                .iter()
                .any(|start| line.starts_with(start))
        });
        format!(
            "process {} [{}], waiting in {:?}, log {}",
            self.pid,
            lines.collect::<Vec<_>>().join(", ").replace('\t', " "),
            said("wchan"),
            self.log_file.display()
        )
    }

    /// Waits for a line that holds `text`, among those already written too, and returns it.
    pub(crate) async fn wait_for_line(&self, text: &str) -> String {
        let found = timeout(LIMIT, self.log.line_with(text)).await;
        found.unwrap_or_else(|_| {
            panic!(
                "no line with {text:?} within {LIMIT:?}; see {}",
                self.log_file.display()
            )
        })
    }

    /// SIGKILL: no last word. Returns when the process is gone.
    pub(crate) async fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::SIGKILL);
        self.wait().await
    }

    /// SIGTERM: asks it to end. [`Operator::wait`] tells when it did.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGSTOP: time stands still for it.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT: it goes on after [`Operator::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let ended = timeout(LIMIT, self.process.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it still runs after {LIMIT:?}; see {}", self.log_file.display()));
        ended.expect("a child can be waited for")
    }

    fn signal(&self, signal: Signal) {
        // The id is only free for others once we have waited for the process; then tokio knows no id any more.
        if self.process.id().is_some() {
            kill(self.pid, signal).expect("our own child can be signalled");
        }
    }
}

#[derive(Debug)]
struct Log {
    lines: Mutex<Vec<String>>,
    file: Mutex<File>,
    grown: Notify,
}

impl Log {
    fn into(file: File) -> Self {
        Self {
            lines: Mutex::default(),
            file: Mutex::new(file),
            grown: Notify::new(),
        }
    }

    async fn follow(self: Arc<Self>, pipe: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(pipe).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line).into_owned();
            // The file is for people; a full disk shall not fail a test that does not read it.
            let _ = writeln!(self.file.lock().expect("nobody panics with the file"), "{line}");
            self.lines.lock().expect("nobody panics with the log").push(line);
            self.grown.notify_waiters();
        }
    }

    async fn line_with(&self, text: &str) -> String {
        loop {
            let mut grown = std::pin::pin!(self.grown.notified());
            // From here on no new line is missed.
            grown.as_mut().enable();
            let found = self
                .lines
                .lock()
                .expect("nobody panics with the log")
                .iter()
                .find(|line| line.contains(text))
                .cloned();
            if let Some(line) = found {
                return line;
            }
            grown.await;
        }
    }
}
