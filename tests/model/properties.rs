//! What must hold in every moment, and what must be seen at least once.

use stateright::{Model, Property};

use crate::faults::{Event, every_event};
use crate::protocol::{Protocol, Retries};
use crate::steps::{EVERY_STEP, Step};
use crate::world::{Generation, Progress, Replica, Rescue, ServerGrant, Task, Unknown, Verdict, Window, World};

/// What the checker chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Operator(Replica, Step),
    World(Event),
}

pub const LOST_ONLY_IN_A_WINDOW: &str = "a grant is lost only in a known window";
pub const NEWEST_TOKEN_EXISTS: &str = "the newest refresh token exists somewhere, unless a window was hit";
pub const NO_OVERLAP: &str = "redemptions of one generation never overlap, unless frozen before sending";
pub const NEVER_FALLS: &str = "the generation never falls";
pub const ONLY_WHEN_DUE: &str = "nothing is redeemed that is not due";
pub const DEAD_MEANS_DEAD: &str = "a grant is called dead only when it is";
pub const NEWER_SIGN_IN_STAYS: &str = "a new sign-in is never overwritten by the grant before it";
pub const REFRESHED: &str = "all due refreshes are published and shown";
pub const LOST: &str = "a grant is lost";
pub const LIVING_GRANT_GIVEN_UP: &str = "a living grant is given up";
pub const RESCUED_WITHOUT_LEADING: &str = "an answer is stored by a process that does not lead";
pub const RESCUED_AFTER_UNKNOWN: &str = "an answer is stored after its attempt was called unknown";
pub const RESCUED_BY_SUCCESSOR: &str = "a spooled answer is stored by the next process";

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.fault_budget, self.lease_moves)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for replica in 0..world.operators.len() {
            actions.extend(EVERY_STEP.iter().map(|step| Action::Operator(replica, *step)));
        }
        actions.extend(every_event(world.calls.len()).map(Action::World));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        match action {
            Action::Operator(replica, step) => self.step(world, replica, step),
            Action::World(event) => self.event(world, event),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(LOST_ONLY_IN_A_WINDOW, |_, world: &World| {
                !is_lost(world) || hit_a_window(world)
            }),
            Property::always(NEWEST_TOKEN_EXISTS, |_, world: &World| {
                is_lost(world) || hit_a_window(world) || world.sign_ins > 0 || newest_token_exists(world)
            }),
            Property::always(NO_OVERLAP, |_, world: &World| {
                world.history.windows.contains(&Window::FrozenBeforeSending)
                    || (0..=world.due).all(|generation| redemptions(world, generation) <= 1)
            }),
            Property::always(NEVER_FALLS, |_, world: &World| {
                world.grant.generation >= world.history.highest
                    && (world.published <= world.grant.generation || world.sign_ins > 0)
            }),
            Property::always(ONLY_WHEN_DUE, |_, world: &World| {
                world.server.newest <= world.due || world.sign_ins > 0
            }),
            Property::always(DEAD_MEANS_DEAD, |_, world: &World| {
                world.grant.verdict == Verdict::Usable || is_lost(world)
            }),
            Property::always(NEWER_SIGN_IN_STAYS, |_, world: &World| {
                world.grant.origin == world.sign_ins
            }),
            Property::sometimes(REFRESHED, |protocol: &Self, world: &World| {
                world.status == protocol.refreshes
            }),
        ];
        if !self.windows.is_empty() {
            properties.push(Property::sometimes(LOST, |_, world: &World| is_lost(world)));
        }
        if self.retries == Retries::Once {
            properties.push(Property::sometimes(LIVING_GRANT_GIVEN_UP, |_, world: &World| {
                world.grant.unknown == Unknown::GivenUp && world.grant.token == world.server.newest && !is_lost(world)
            }));
        }
        if self.rescues_expected() {
            properties.extend([
                Property::sometimes(RESCUED_WITHOUT_LEADING, |_, world: &World| {
                    world.history.rescues.contains(&Rescue::WithoutLeading)
                }),
                Property::sometimes(RESCUED_AFTER_UNKNOWN, |_, world: &World| {
                    world.history.rescues.contains(&Rescue::AfterCalledUnknown)
                }),
                Property::sometimes(RESCUED_BY_SUCCESSOR, |_, world: &World| {
                    world.history.rescues.contains(&Rescue::ByTheNextProcess)
                }),
            ]);
        }
        properties
    }
}

impl Protocol {
    /// With every fault and every rule, the good ends must be seen too.
    fn rescues_expected(&self) -> bool {
        self.broken.is_none() && self.faults == crate::protocol::EVERY_FAULT
    }
}

fn is_lost(world: &World) -> bool {
    world.server.grant == ServerGrant::Killed
}

fn hit_a_window(world: &World) -> bool {
    !world.history.windows.is_empty()
}

fn newest_token_exists(world: &World) -> bool {
    let newest = world.server.newest;
    let held =
        |replica: Replica| (0..newest).any(|generation| world.unstored_answer(replica, generation) == Some(newest));
    world.grant.token == newest || (0..world.operators.len()).any(held)
}

/// How many requests with the token of this generation can still reach the server.
fn redemptions(world: &World, generation: Generation) -> usize {
    let is_live = |id: usize| {
        world.calls[id].progress == Progress::Sent
            || world
                .operators
                .iter()
                .any(|operator| operator.task == Task::Checked(id))
    };
    (0..world.calls.len())
        .filter(|id| world.calls[*id].generation == generation && is_live(*id))
        .count()
}
