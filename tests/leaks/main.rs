//! The last step of a test run: no log of the end-to-end tests holds a secret (invariant 5).
//!
//! Cargo runs test binaries in the order of their names, so this one comes after `e2e` and finds its folder: the logs of
//! every operator that was started, what tests wrote down of statuses, Events and metrics, the API server's audit log,
//! and the list of all tokens and client secrets that the authorization servers issued.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking, in helpers too"
)]

mod search;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use search::Forbidden;

#[test]
fn no_log_of_the_last_run_holds_a_secret() {
    let run = last_run();
    let secrets = fs::read_to_string(run.join("secrets-that-no-log-may-hold")).expect("the run has noted its secrets");
    let forbidden = Forbidden::new(secrets.lines());
    let mut logs = 0;
    let mut found = Vec::new();
    for path in files_below(&run).into_iter().filter(|path| is_public(path)) {
        let text = String::from_utf8_lossy(&fs::read(&path).expect("a log can be read")).into_owned();
        logs += 1;
        for leak in forbidden.search(&text) {
            found.push(format!(
                "{}:{}: …{}[secret {}]",
                path.display(),
                leak.line,
                leak.before,
                leak.secret
            ));
        }
    }
    assert!(logs > 0, "no log in {}", run.display());
    assert!(
        found.is_empty(),
        "{} leaks in {logs} files:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn a_leak_in_any_form_would_be_found() {
    let secret = "0dMn-Xyz_q81Lk29Pp~/+aaZZ";
    let forbidden = Forbidden::new(["another-secret-of-some-length", secret]);
    let basic = base64::engine::general_purpose::STANDARD;
    let leaks = [
        format!("token={secret}"),
        format!("a part: {}", secret.get(3..19).unwrap()),
        format!("Authorization: Basic {}", basic.encode(format!("client:{secret}"))),
        format!("Authorization: Basic {}", basic.encode(format!("client1:{secret}"))),
        format!("data: {}", basic.encode(secret)),
        format!(
            "data: {}",
            base64::engine::general_purpose::URL_SAFE.encode(format!("xx{secret}yy"))
        ),
        format!(
            "refresh_token={}&scope=",
            secret.replace('~', "%7E").replace('/', "%2F").replace('+', "%2B")
        ),
    ];
    for leak in &leaks {
        let found = forbidden.search(&format!("a line\n{leak}\n"));
        assert_eq!(found.len(), 1, "{leak}");
        assert_eq!((found[0].secret, found[0].line), (1, 2), "{leak}");
    }
    assert!(
        forbidden.search(secret.get(..15).unwrap()).is_empty(),
        "15 characters are no leak"
    );
    assert!(
        forbidden
            .search("asset=shared/support generation=3 token published")
            .is_empty()
    );
}

/// What an operator wrote, or what whoever may read statuses, Events and metrics could see. The servers' own files may hold secrets.
fn is_public(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ends = |end: &str| name.ends_with(end);
    name.starts_with("operator-") && ends(".log") || name.starts_with("seen-") || name == "audit.log"
}

fn last_run() -> PathBuf {
    let runs = fs::read_dir(Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e"));
    let runs = runs.expect("there was a run of the end-to-end tests: cargo test --test e2e");
    let noted = runs
        .flatten()
        .map(|run| run.path())
        .filter(|run| run.join("secrets-that-no-log-may-hold").exists());
    let newest = noted.max_by_key(|run| run.metadata().and_then(|about| about.modified()).ok());
    newest.expect("there was a run of the end-to-end tests: cargo test --test e2e")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { files_below(&path) } else { vec![path] }
        })
        .collect()
}
