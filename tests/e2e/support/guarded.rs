//! A server of somebody else's, which does not end by itself when its standard input does.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::run::run_directory;

/// A process group that ends with the test process, however that ends: a shell between the two waits for the end of its standard input, which nobody but us holds.
pub(super) fn start(program: &Path, arguments: &[String], environment: &[(&str, &str)], log: &str) -> Child {
    let log = run_directory().join(log);
    let log = std::fs::File::create(&log).expect("a log can be made in the run's folder");
    Command::new("bash")
        // With `-m` a command in the background has a process group of its own.
        .args([
            "-c",
            r#"set -m; "$@" </dev/null & cat >/dev/null; kill -KILL -- -$!"#,
            "bash",
        ])
        .arg(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("a file has a second handle"))
        .stderr(log)
        .spawn()
        .expect("bash starts a server")
}

/// The folder where `tests/servers/get` has put a server. The first call downloads it, which can take minutes.
pub(super) fn folder_of(server: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/get");
    let output = Command::new(script)
        .arg(server)
        .stderr(Stdio::inherit())
        .output()
        .expect("tests/servers/get runs");
    assert!(
        output.status.success(),
        "tests/servers/get {server} says above why it has none"
    );
    let path = String::from_utf8(output.stdout).expect("a path is text");
    PathBuf::from(path.trim_end())
}
