//! What is left of a grant when processes, connections and the API server fail (invariants 1, 2 and 9, `docs/protocol.md`).
//!
//! - [`steps`]: the operator is killed at every step of a refresh.
//! - [`moments`]: the operator is killed at random moments of many refreshes.
//! - [`outages`]: the API server fails between an answer and its writing.
//! - [`lost`]: the answer never arrives.
//! - [`refused`]: the status cannot be written.
//!
//! `EMAILASSET_ROUNDS` is the number of random kills, `EMAILASSET_SEED` repeats a run of them.

pub(crate) mod evidence;
mod lost;
pub(crate) mod moments;
mod outages;
mod refused;
mod steps;

#[test]
fn what_people_install_cannot_be_told_to_kill_itself() {
    let tree = |edges| {
        let output = std::process::Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "--depth=0",
                "--format={p} {f}",
                "--invert=fail",
                "--edges",
            ])
            .arg(edges)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!tree("normal").contains("failpoints"), "cargo build has no failpoints");
    assert!(
        tree("normal,dev").contains("failpoints"),
        "cargo test has, or the tests here show nothing"
    );
}
