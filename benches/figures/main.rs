//! The figures of `make bench`: how fast, how much memory, how little when nothing is due. Each prints a table and writes it to `docs/measurements.md`.
//!
//! ```text
//! cargo bench --bench figures                                   all, about an hour
//! FIGURES=cold ROUNDS=1 COUNTS=200 cargo bench --bench figures   a first look
//! ```
//!
//! Settings come from the environment: `FIGURES` (cold, life, slow), `COUNTS` (assets), `ROUNDS` (of cold starts), `WIDTHS` (of the loop), `IDLE_SECONDS`,
//! `CYCLES` (of refreshes), `OPERATOR` (another build's file) and `OPERATOR_FLAGS`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unchecked_time_subtraction,
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement that cannot go on says so by panicking; its figures are for standard output"
)]

mod bare_loop;
mod cold;
mod ground;
mod life;
mod meter;
mod slow;
#[path = "../../tests/e2e/support/mod.rs"]
mod support;

fn main() {
    // An error means that somebody installed one before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, order] = &arguments[..]
        && first == bare_loop::ARGUMENT
    {
        return runtime.block_on(bare_loop::main(order));
    }
    runtime.block_on(async {
        for figure in meter::setting("FIGURES", "life,slow,cold").split(',') {
            match figure.trim() {
                "cold" => cold::measure().await,
                "life" => life::measure().await,
                "slow" => slow::measure().await,
                other => panic!("FIGURES: {other} is not known; there are cold, life and slow"),
            }
        }
    });
}
