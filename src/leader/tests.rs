//! Real candidates against a scripted API server, in virtual time.
//!
//! [`world`] is the API server and the network between; a candidate is frozen like by SIGSTOP: nothing of it runs while the clock goes on.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::*;

mod chaos;
mod world;

use world::{Node, World};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_first_replica_leads_at_once() {
    let world = World::new();
    let mut one = world.start("one");
    let began = Instant::now();
    one.leads().await;
    assert!(began.elapsed() < SECOND);
    assert!(one.fence.open().is_some_and(|permit| permit.holds()));
    assert_eq!(world.spec().lease_transitions, Some(0));
    assert_eq!(world.spec().lease_duration_seconds, Some(15));
}

#[tokio::test(start_paused = true)]
async fn a_leader_keeps_the_lease_for_hours_and_writes_only_renewals() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    let mut two = world.start("two");
    let permit = one.fence.open().expect("is open");
    let writes = world.writes();
    for _ in 0..2 * 3600 {
        sleep(SECOND).await;
        assert!(one.fence.open().is_some() && two.fence.open().is_none());
    }
    let renewals = world.writes() - writes;
    assert!((1430..=1441).contains(&renewals), "{renewals} writes in two hours");
    assert!(!two.has_led() && world.spec().lease_transitions == Some(0));
    assert!(
        !permit.holds(),
        "a permit ends with its deadline, whatever was renewed since"
    );
}

#[tokio::test(start_paused = true)]
async fn a_crashed_leader_is_followed_within_17_seconds() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    let mut two = world.start("two");
    sleep(SECOND * 33).await;
    one.crash();
    let crashed = Instant::now();
    two.leads().await;
    assert!(crashed.elapsed() <= SECOND * 17, "{:?}", crashed.elapsed());
    assert_eq!(world.spec().lease_transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_to_stop_hands_over_at_once() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    let mut two = world.start("two");
    sleep(SECOND * 33).await;
    let permit = one.fence.open().expect("is open");
    one.shutdown.cancel();
    let told = Instant::now();
    two.leads().await;
    assert!(told.elapsed() < SECOND, "{:?}", told.elapsed());
    assert!(one.fence.open().is_none() && !permit.holds());
    one.ended().await;
    assert_eq!(world.spec().holder_identity.as_deref(), Some("two"));
}

#[tokio::test(start_paused = true)]
async fn the_fence_closes_before_the_lease_is_given_back() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    world.cut("one");
    one.shutdown.cancel();
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(1)).await;
    assert!(one.fence.open().is_none());
    let told = Instant::now();
    one.ended().await;
    assert!(
        told.elapsed() <= SECOND * 7,
        "ends although the API server does not answer: {:?}",
        told.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lone_replica_that_stops_leaves_the_lease_free_for_its_successor() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    one.shutdown.cancel();
    one.ended().await;
    assert_eq!(world.spec().holder_identity.as_deref(), Some(""));
    let mut two = world.start("two");
    let began = Instant::now();
    two.leads().await;
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_closes_its_fence_before_another_leads() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    let mut two = world.start("two");
    sleep(SECOND * 33).await;
    let deadline = one.fence.open().expect("is open").deadline();
    world.cut("one");
    sleep_until(deadline).await;
    assert!(one.fence.open().is_none());
    two.leads().await;
    assert!(deadline.elapsed() >= SECOND * 3, "the margin: {:?}", deadline.elapsed());
    world.mend("one");
    sleep(SECOND * 60).await;
    assert!(one.fence.open().is_none() && two.fence.open().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_leader_comes_back_after_an_outage_of_the_api_server() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    let two = world.start("two");
    sleep(SECOND).await;
    world.cut("one");
    world.cut("two");
    sleep(SECOND * 100).await;
    assert!(one.fence.open().is_none() && two.fence.open().is_none());
    world.mend("one");
    world.mend("two");
    let mended = Instant::now();
    while one.fence.open().is_none() && two.fence.open().is_none() {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(mended.elapsed() <= SECOND * 7, "{:?}", mended.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_leader_wakes_up_behind_a_closed_fence() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    let mut two = world.start("two");
    sleep(SECOND * 33).await;
    let permit = one.fence.open().expect("is open");
    one.freeze();
    two.leads().await;
    // Asked before its own task had a chance to run again.
    assert!(one.fence.open().is_none() && !permit.holds());
    one.thaw();
    sleep(SECOND * 60).await;
    assert!(one.fence.open().is_none() && two.fence.open().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_without_an_answer_does_not_end_the_leadership() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    for _ in 0..20 {
        world.drop_next_answer("one");
        sleep(SECOND * 7).await;
        assert!(one.fence.open().is_some());
        assert!(!one.has_lost());
    }
    assert_eq!(world.spec().lease_transitions, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_an_answer_is_given_back_at_shutdown() {
    let world = World::new();
    world.drop_next_answer_to_a_write("one");
    let mut one = world.start("one");
    sleep(SECOND).await;
    assert_eq!(world.spec().holder_identity.as_deref(), Some("one"));
    one.shutdown.cancel();
    one.ended().await;
    assert_eq!(world.spec().holder_identity.as_deref(), Some(""));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_claim_at_the_same_moment_one_leads() {
    for _ in 0..20 {
        let world = World::new();
        let (one, two) = (world.start("one"), world.start("two"));
        sleep(SECOND * 5).await;
        assert!(one.fence.open().is_some() != two.fence.open().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_another_machine_is_not_believed() {
    for renewed in ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        let world = World::new();
        world.plant("stranger", renewed, 15);
        let mut one = world.start("one");
        let began = Instant::now();
        one.leads().await;
        assert!(
            (SECOND * 15..=SECOND * 17).contains(&began.elapsed()),
            "{renewed}: {:?}",
            began.elapsed()
        );
        assert_eq!(world.spec().lease_transitions, Some(8));
    }
}

#[tokio::test(start_paused = true)]
async fn a_longer_lease_is_waited_for_within_reason() {
    for (seconds, wait) in [(-1, 15), (1, 15), (60, 60), (i32::MAX, 300)] {
        let world = World::new();
        world.plant("stranger", "2026-01-01T00:00:00Z", seconds);
        let mut one = world.start("one");
        let began = Instant::now();
        one.leads().await;
        let waited = began.elapsed().as_secs();
        assert!((wait..=wait + 2).contains(&waited), "{seconds}: {waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_predecessor_that_is_known_to_be_dead_is_not_waited_for() {
    let world = World::new();
    world.plant("one-before", "2026-01-01T00:00:00Z", 15);
    let mut settings = Settings::new("ns", "one");
    settings.ended = Arc::new(|holder| holder == "one-before");
    let mut one = world.start_with(settings);
    let began = Instant::now();
    one.leads().await;
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_under_its_holder_does_not_make_two_leaders() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    let two = world.start("two");
    for _ in 0..10 {
        sleep(Duration::from_millis(7_300)).await;
        world.delete();
        for _ in 0..200 {
            sleep(Duration::from_millis(100)).await;
            assert!(!(one.fence.open().is_some() && two.fence.open().is_some()));
        }
        assert!(one.fence.open().is_some() || two.fence.open().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_edit_of_the_lease_does_not_unseat_the_leader() {
    let world = World::new();
    let mut one = world.start("one");
    one.leads().await;
    let _two = world.start("two");
    for _ in 0..10 {
        sleep(SECOND * 6).await;
        world.touch();
    }
    sleep(SECOND * 6).await;
    assert!(one.fence.open().is_some() && !one.has_lost());
}

#[tokio::test(start_paused = true)]
async fn without_leader_election_the_fence_is_always_open() {
    let fence = Fence::always();
    let permit = fence.open().expect("is open");
    sleep(SECOND * 3600).await;
    assert!(permit.holds() && fence.open().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_permit_of_an_earlier_term_stays_void() {
    let (keeper, fence) = fence::pair();
    assert!(fence.open().is_none());
    keeper.open_until(Instant::now() + SECOND * 10);
    let permit = fence.open().expect("is open");
    keeper.open_until(Instant::now() + SECOND * 12);
    assert!(permit.holds(), "a renewal does not void it");
    keeper.close();
    assert!(!permit.holds());
    keeper.open_until(Instant::now() + SECOND * 10);
    assert!(!permit.holds() && fence.open().is_some());
    drop(keeper);
    assert!(fence.open().is_none(), "an election that ended leaves no open fence");
}

impl Node {
    async fn leads(&mut self) {
        self.leadership
            .wait_for(|now| *now == Leadership::Leading)
            .await
            .expect("the election runs");
    }
}
