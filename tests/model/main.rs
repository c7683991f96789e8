//! Model checks of the crash-safety protocol (invariants 1, 2 and 9).
//!
//! `docs/protocol.md` tells the protocol, its rules and its windows in words; this test holds them against every order of steps and faults, up to a bound.
//! Begin with `world.rs`, then `steps.rs` and `faults.rs`; `protocol.rs` says what can be varied.
//!
//! `cargo test --test model` looks a little way; `EMAILASSET_SOAK=1 cargo test --release --test model -- --nocapture` looks further and prints how many
//! states it saw.
#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "all modules of a test are test code"
)]

mod faults;
mod properties;
mod protocol;
mod steps;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::properties::{
    LOST, LOST_ONLY_IN_A_WINDOW, NEVER_FALLS, NEWER_SIGN_IN_STAYS, NEWEST_TOKEN_EXISTS, NO_OVERLAP, ONLY_WHEN_DUE,
};
use crate::protocol::{Bounds, EVERY_FAULT, Fault, Protocol, Rule};
use crate::world::Window;

/// As far as one looks to find a harm that is known to be there.
const TWO_FAULTS: Bounds = Bounds {
    faults: 2,
    lease_moves: 1,
    attempts: 2,
    refreshes: 1,
};

/// How far this run looks.
fn bounds(quick: Bounds, soak: Bounds) -> Bounds {
    if std::env::var_os("EMAILASSET_SOAK").is_some() {
        soak
    } else {
        quick
    }
}

/// Explores everything within the bounds: each `always` held, each `sometimes` was seen.
fn assert_holds(name: &str, protocol: Protocol) {
    let started = Instant::now();
    let bounds = protocol.clone();
    let checker = protocol.checker().threads(threads()).spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps, depth {}, {:.1} s (faults {}, attempts {}, refreshes {}, moves of the Lease {})",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f32(),
        bounds.fault_budget,
        bounds.attempts,
        bounds.refreshes,
        bounds.lease_moves,
    );
    checker.assert_properties();
}

/// Finds a way into this window, by these faults, that loses the grant; and nothing else goes wrong on the way.
fn assert_real(window: Window, faults: &'static [Fault]) {
    let protocol = Protocol::designed(TWO_FAULTS).with_window(window).with_faults(faults);
    let found_all = HasDiscoveries::AllOf(BTreeSet::from([LOST]));
    let checker = protocol
        .checker()
        .threads(threads())
        .finish_when(found_all)
        .spawn_bfs()
        .join();
    let path = checker
        .discovery(LOST)
        .unwrap_or_else(|| panic!("{window:?} by {faults:?} loses nothing"));
    println!("{window:?} by {faults:?}: {:?}", path.clone().into_actions());
    let windows = path
        .into_states()
        .pop()
        .expect("a path has a last state")
        .history
        .windows;
    assert_eq!(windows, BTreeSet::from([window]));
}

/// Finds a counterexample to one of these properties once the rule is broken; no window is open.
fn assert_needed(rule: Rule, faults: &'static [Fault], expected: &[&'static str]) {
    assert_needed_with(
        Protocol::designed(TWO_FAULTS).with_faults(faults).without(rule),
        expected,
    );
}

fn assert_needed_with(protocol: Protocol, expected: &[&'static str]) {
    let broken = protocol.broken;
    let checker = protocol
        .checker()
        .threads(threads())
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let (property, path) = expected
        .iter()
        .find_map(|property| Some((*property, checker.discovery(property)?)))
        .unwrap_or_else(|| {
            panic!(
                "no counterexample without {broken:?}: {:?}",
                checker.discoveries().keys()
            )
        });
    println!("without {broken:?}, not \"{property}\": {:?}", path.into_actions());
}

fn threads() -> usize {
    if std::env::var_os("EMAILASSET_SOAK").is_some() {
        2
    } else {
        1
    }
}

#[test]
fn outside_the_windows_no_grant_is_lost_by_any_two_faults() {
    let quick = Bounds {
        faults: 2,
        lease_moves: 0,
        attempts: 2,
        refreshes: 1,
    };
    let soak = Bounds {
        faults: 3,
        attempts: 3,
        ..quick
    };
    assert_holds("no window, many faults", Protocol::designed(bounds(quick, soak)));
}

#[test]
fn outside_the_windows_no_grant_is_lost_while_the_lease_moves() {
    let quick = Bounds {
        faults: 1,
        lease_moves: 1,
        attempts: 2,
        refreshes: 1,
    };
    let soak = Bounds {
        faults: 2,
        lease_moves: 2,
        attempts: 3,
        ..quick
    };
    assert_holds("no window, moving Lease", Protocol::designed(bounds(quick, soak)));
}

#[test]
fn outside_the_windows_no_grant_is_lost_over_two_refreshes() {
    let quick = Bounds {
        faults: 1,
        lease_moves: 0,
        attempts: 3,
        refreshes: 2,
    };
    let soak = Bounds {
        faults: 2,
        lease_moves: 1,
        ..quick
    };
    assert_holds("no window, two refreshes", Protocol::designed(bounds(quick, soak)));
}

#[test]
fn with_all_windows_open_a_loss_still_has_a_name() {
    let quick = Bounds {
        faults: 1,
        lease_moves: 1,
        attempts: 2,
        refreshes: 1,
    };
    let soak = Bounds {
        faults: 2,
        attempts: 3,
        ..quick
    };
    let mut protocol = Protocol::designed(bounds(quick, soak));
    protocol.windows = BTreeSet::from([
        Window::PodDestroyed,
        Window::ReceiverAway,
        Window::FrozenBeforeSending,
        Window::AnswerLost,
        Window::DiedBeforeSpooling,
    ]);
    assert_holds("all windows", protocol);
}

#[test]
fn window_a_is_real_a_pod_destroyed_between_answer_and_write() {
    assert_real(Window::PodDestroyed, &[Fault::Destroy]);
}

#[test]
fn window_b_is_real_a_receiver_cut_off_until_the_retry_of_another() {
    assert_real(Window::ReceiverAway, &[Fault::CutOff]);
}

#[test]
fn window_b_is_real_a_receiver_frozen_until_the_retry_of_another() {
    assert_real(Window::ReceiverAway, &[Fault::Freeze]);
}

#[test]
fn window_b_is_real_a_receiver_down_until_the_retry_of_another() {
    assert_real(Window::ReceiverAway, &[Fault::Crash]);
}

#[test]
fn window_c_is_real_a_process_frozen_between_deadline_check_and_sending() {
    assert_real(Window::FrozenBeforeSending, &[Fault::Freeze]);
}

#[test]
fn window_d_is_real_an_answer_lost_on_the_wire() {
    assert_real(Window::AnswerLost, &[Fault::LoseAnswer]);
}

#[test]
fn window_d_is_real_an_answer_that_comes_after_its_reader_gave_up() {
    assert_real(Window::AnswerLost, &[Fault::SlowServer]);
}

#[test]
fn window_d_is_real_a_process_killed_before_the_answer_was_spooled() {
    assert_real(Window::DiedBeforeSpooling, &[Fault::Crash]);
}

#[test]
fn without_a_recorded_attempt_two_leaders_redeem_one_generation() {
    assert_needed(Rule::RecordBeforeSending, &[], &[NO_OVERLAP, LOST_ONLY_IN_A_WINDOW]);
}

#[test]
fn without_compare_and_set_a_stale_cache_redeems_twice() {
    assert_needed(Rule::OpenByCompareAndSet, &[], &[NO_OVERLAP, LOST_ONLY_IN_A_WINDOW]);
}

#[test]
fn without_the_deadline_check_a_frozen_opener_redeems_late() {
    assert_needed(
        Rule::CheckDeadlineBeforeSending,
        &[Fault::Freeze],
        &[NO_OVERLAP, LOST_ONLY_IN_A_WINDOW],
    );
}

#[test]
fn without_the_spool_a_kill_during_an_outage_drops_the_answer() {
    assert_needed(Rule::SpoolBeforeStoring, &[Fault::Crash], &[NEWEST_TOKEN_EXISTS]);
}

#[test]
fn storing_by_attempt_drops_an_answer_that_was_called_lost_too_early() {
    assert_needed(Rule::StoreByGeneration, &[Fault::Freeze], &[NEWEST_TOKEN_EXISTS]);
}

#[test]
fn storing_over_a_higher_generation_brings_back_a_spent_token() {
    let protocol = Protocol::designed(Bounds {
        refreshes: 2,
        ..TWO_FAULTS
    });
    assert_needed_with(
        protocol.without(Rule::NeverStoreOverAHigherGeneration),
        &[NEVER_FALLS, NEWEST_TOKEN_EXISTS],
    );
}

#[test]
fn storing_only_as_leader_loses_the_answer_of_a_former_leader() {
    assert_needed(Rule::StoreWithoutLeading, &[], &[LOST_ONLY_IN_A_WINDOW]);
}

#[test]
fn healing_before_the_spool_is_stored_costs_the_grant() {
    assert_needed(Rule::SpoolBeforeHealing, &[Fault::Crash], &[LOST_ONLY_IN_A_WINDOW]);
}

#[test]
fn calling_the_attempt_of_another_unknown_at_once_costs_the_grant() {
    assert_needed(Rule::WaitForOthers, &[], &[NO_OVERLAP, LOST_ONLY_IN_A_WINDOW]);
}

#[test]
fn retrying_while_the_first_request_may_be_on_the_wire_redeems_twice() {
    assert_needed(
        Rule::RetryOnlyWhenOverdue,
        &[Fault::SlowServer],
        &[NO_OVERLAP, LOST_ONLY_IN_A_WINDOW],
    );
}

#[test]
fn counting_the_wait_through_an_outage_lets_the_retry_overtake_the_answer() {
    let protocol = Protocol::designed(TWO_FAULTS).with_faults(&[Fault::Outage]);
    assert_needed_with(
        protocol.without(Rule::WaitOnlyWhileTheApiServerAnswers),
        &[LOST_ONLY_IN_A_WINDOW],
    );
}

#[test]
fn a_restarted_process_that_retries_at_once_redeems_beside_its_own_last_request() {
    let protocol = Protocol::designed(TWO_FAULTS).with_faults(&[Fault::Crash]);
    assert_needed_with(
        protocol.without(Rule::RetryOnlyWhenOverdue),
        &[NO_OVERLAP, LOST_ONLY_IN_A_WINDOW],
    );
}

/// Safe, but not good: two kills before sending, and a token that the server would still accept is never used again.
#[test]
fn retrying_only_once_gives_up_living_grants() {
    assert_holds(
        "one retry",
        Protocol::designed(Bounds {
            lease_moves: 0,
            ..TWO_FAULTS
        })
        .retrying_once(),
    );
}

/// Two refreshes, and at any moment a person who deletes the grant Secret and signs in again.
const REPLACED: Bounds = Bounds {
    faults: 1,
    lease_moves: 0,
    attempts: 2,
    refreshes: 2,
};

#[test]
fn a_new_sign_in_is_never_overwritten_by_the_grant_before_it() {
    assert_holds(
        "replaced grant",
        Protocol::designed(REPLACED).with_faults(&[Fault::ReplaceGrant]),
    );
}

#[test]
fn storing_by_generation_number_alone_overwrites_a_new_sign_in() {
    let protocol = Protocol::designed(REPLACED).with_faults(&[Fault::ReplaceGrant]);
    assert_needed_with(protocol.without(Rule::StoreOverTheSameGrant), &[NEWER_SIGN_IN_STAYS]);
}

#[test]
fn deciding_from_status_redeems_again_after_a_failed_status_write() {
    assert_needed(Rule::DecideFromSecrets, &[], &[ONLY_WHEN_DUE]);
}

#[test]
fn every_fault_is_listed_once() {
    assert!(
        EVERY_FAULT
            .iter()
            .enumerate()
            .all(|(place, fault)| !EVERY_FAULT[..place].contains(fault))
    );
}
