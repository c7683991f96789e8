//! Many random histories: slow, lossy and cut networks, frozen, crashed and stopped replicas. In none are two fences open at once.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::select_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    SECOND,
    world::{Loses, Node, Weather, World},
};
use crate::leader::{Leadership, Settings};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn weather(rng: &mut StdRng) -> Weather {
    let delay = |rng: &mut StdRng| match rng.random_range(0..100) {
        0..70 => Duration::from_millis(rng.random_range(0..20)),
        70..90 => Duration::from_millis(rng.random_range(0..3_000)),
        // Far longer than anybody waits: the write arrives after the candidate gave it up.
        _ => Duration::from_millis(rng.random_range(0..40_000)),
    };
    let loses = match rng.random_range(0..100) {
        0..4 => Loses::Request,
        4..8 => Loses::Answer,
        _ => Loses::Nothing,
    };
    Weather {
        there: delay(rng),
        back: delay(rng),
        loses,
    }
}

/// What the observer knows of one replica.
#[derive(Default)]
struct Observed {
    /// The deadline of its last permit.
    deadline: Option<Instant>,
    open: bool,
    gave_up: bool,
    terms: u32,
}

struct Story {
    seed: u64,
    rng: StdRng,
    world: World,
    nodes: Vec<Node>,
    observed: Vec<Observed>,
    generation: u32,
}

impl Story {
    fn new(seed: u64) -> Self {
        let shared = Arc::new(Mutex::new(StdRng::seed_from_u64(seed ^ 0x5eed)));
        let world = World::with_weather(move || weather(&mut shared.lock().unwrap()));
        let nodes = NAMES.iter().map(|name| world.start(name)).collect();
        let observed = NAMES.iter().map(|_| Observed::default()).collect();
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            world,
            nodes,
            observed,
            generation: 0,
        }
    }

    /// Asserts that at most one fence is open, and that a new one opened a margin after every other deadline, unless that one was given back.
    fn look(&mut self) {
        let permits: Vec<_> = self.nodes.iter().map(|node| node.fence.open()).collect();
        let open = permits.iter().flatten().count();
        assert!(
            open <= 1,
            "seed {}: {open} open fences at {:?}",
            self.seed,
            Instant::now()
        );
        let margin = Settings::new("", "").margin();
        for (index, permit) in permits.iter().enumerate() {
            let opens = permit.is_some() && !self.observed[index].open;
            if opens {
                self.observed[index].terms += 1;
                for other in self
                    .observed
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index)
                    .map(|(_, other)| other)
                {
                    let ended = other
                        .deadline
                        .is_none_or(|deadline| Instant::now() >= deadline + margin);
                    assert!(
                        ended || other.gave_up,
                        "seed {}: opened within the margin of another",
                        self.seed
                    );
                }
            }
            self.observed[index].open = permit.is_some();
            if let Some(permit) = permit {
                self.observed[index].deadline = Some(permit.deadline());
            }
        }
    }

    async fn watch_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look();
            // A fence that opens is seen at that very moment, since the leadership is announced next.
            let changes = self.nodes.iter_mut().map(|node| Box::pin(change(&mut node.leadership)));
            let _ = timeout(Duration::from_millis(700), select_all(changes)).await;
        }
    }

    /// Ends a replica, crashed or told to stop, and starts another in its place. A crashed one asks its fence no more.
    fn replace(&mut self, index: usize) {
        self.generation += 1;
        let name = format!("{}{}", NAMES[index], self.generation);
        self.nodes[index] = self.world.start(&name);
        let terms = self.observed[index].terms;
        self.observed[index] = Observed {
            terms,
            ..Observed::default()
        };
    }

    async fn trouble(&mut self) {
        let index = self.rng.random_range(0..NAMES.len());
        let name = self.world_name(index);
        let time = Duration::from_millis(self.rng.random_range(100..40_000));
        match self.rng.random_range(0..5) {
            0 => {
                self.world.cut(&name);
                self.watch_for(time).await;
                self.world.mend(&name);
            }
            1 => {
                self.nodes[index].freeze();
                self.watch_for(time).await;
                self.nodes[index].thaw();
            }
            2 => {
                self.nodes[index].crash();
                self.watch_for(time).await;
                self.replace(index);
            }
            3 => {
                self.observed[index].gave_up = true;
                self.nodes[index].shutdown.cancel();
                self.watch_for(time).await;
                self.nodes[index].crash();
                self.replace(index);
            }
            _ => self.watch_for(time).await,
        }
    }

    fn world_name(&self, index: usize) -> String {
        self.nodes[index].name.clone()
    }
}

async fn change(leadership: &mut watch::Receiver<Leadership>) {
    if leadership.changed().await.is_err() {
        // The election of this replica has ended.
        std::future::pending::<()>().await;
    }
}

async fn live_through(seed: u64) -> u32 {
    let mut story = Story::new(seed);
    for _ in 0..6 {
        story.trouble().await;
    }
    story.watch_for(SECOND * 20).await;
    story.observed.iter().map(|one| one.terms).sum()
}

fn never_two(seeds: Range<u64>) {
    let mut terms = 0;
    for seed in seeds.clone() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        terms += runtime.block_on(live_through(seed));
    }
    let stories = u32::try_from(seeds.end - seeds.start).unwrap();
    assert!(
        terms > 2 * stories,
        "{terms} terms in {stories} stories: too few to prove anything"
    );
}

#[test]
fn never_two_open_fences_first_half() {
    never_two(0..100);
}

#[test]
fn never_two_open_fences_second_half() {
    never_two(100..200);
}
