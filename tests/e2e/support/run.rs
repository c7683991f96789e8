//! The folder of one test run, and names and ports that no other test has.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use rand::Rng;

/// The folder of this run: data, logs, certificates. The folders of runs that are over are removed first.
pub(crate) fn run_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let all_runs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
        remove_ended_runs(&all_runs);
        let directory = all_runs.join(std::process::id().to_string());
        fs::create_dir_all(&directory).expect("the run's folder can be made");
        directory
    })
}

/// In the folder of a run: every token and client secret that was in play, one a line.
pub(crate) const SECRETS_FILE: &str = "secrets-that-no-log-may-hold";

/// Notes a secret that no server issued, for the search over all logs.
pub(crate) fn note_secret(secret: &str) {
    let file = fs::File::options()
        .create(true)
        .append(true)
        .open(run_directory().join(SECRETS_FILE));
    let mut file = file.expect("a file can be made in the run's folder");
    // One write: other tests and servers append to it as well.
    file.write_all(format!("{}\n", secret.trim()).as_bytes())
        .expect("the file can be written");
}

/// Eight random lower-case letters and digits, fit for the name of any Kubernetes object.
pub(crate) fn random_suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..8)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect()
}

/// An address on loopback where nothing listens.
///
/// It lies below the range from which Linux takes ports for outgoing connections, so that no connection takes it before
/// the part that it is meant for does.
pub(crate) fn free_address() -> SocketAddr {
    let mut random = rand::rng();
    (0..100)
        .map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, random.random_range(20_000..32_000))))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("one of 100 random ports is free")
}

/// Lets rustls use ring, as the operator's own `main` does.
pub(crate) fn use_ring() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // An error means that somebody installed one before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn remove_ended_runs(all_runs: &Path) {
    let Ok(runs) = fs::read_dir(all_runs) else { return };
    for run in runs.flatten() {
        let process = Path::new("/proc").join(run.file_name());
        if !process.exists() {
            // Another run may be removing it as well.
            let _ = fs::remove_dir_all(run.path());
        }
    }
}
