//! What operators do, one step at a time. Between any two steps anything else may happen.
//!
//! ```text
//! watch -> open -> check deadline -> send ~> (server) ~> receive -> spool -> store -> publish -> status
//!                        |                       |
//!                        `-> not sent            `-> refused, throttled, unknown: end the attempt
//! ```
//!
//! Each step is a function that answers `None` where it cannot be taken. [`crate::faults`] holds what happens *to* operators.

use crate::protocol::{Fault, Protocol, Retries, Rule};
use crate::world::{
    Age, Answer, AttemptId, Call, Currency, End, Fence, Grant, Process, Progress, Receiver, Replica, Rescue, Task,
    Unknown, Verdict, Window, World,
};

/// A step of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The watch delivers the Secret as it is now.
    Watch,
    /// Takes the Lease.
    TakeLease,
    /// Learns that the Lease is lost.
    LearnOfLostLease,
    /// Opens an attempt and learns that it worked.
    Open,
    /// Opens an attempt; the API server's answer is lost.
    OpenUnacknowledged,
    CheckDeadline,
    /// Finds the deadline passed.
    GiveUp,
    Send,
    Receive,
    TimeOut,
    Spool,
    /// Stores the spooled answer.
    Store,
    /// Stores it; the API server's answer is lost, so it will be stored again.
    StoreUnacknowledged,
    /// Writes how the attempt ended.
    EndAttempt,
    /// Calls an attempt unknown that nobody will end.
    Heal,
    Publish,
    WriteStatus,
}

/// All of them, in a fixed order.
pub const EVERY_STEP: &[Step] = &[
    Step::Watch,
    Step::TakeLease,
    Step::LearnOfLostLease,
    Step::Open,
    Step::OpenUnacknowledged,
    Step::CheckDeadline,
    Step::GiveUp,
    Step::Send,
    Step::Receive,
    Step::TimeOut,
    Step::Spool,
    Step::Store,
    Step::StoreUnacknowledged,
    Step::EndAttempt,
    Step::Heal,
    Step::Publish,
    Step::WriteStatus,
];

/// Whether the writer hears that its write worked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acknowledgement {
    Heard,
    Lost,
}

impl Protocol {
    /// The world after `replica` took this step.
    pub fn step(&self, world: &World, replica: Replica, step: Step) -> Option<World> {
        if world.operators[replica].process != Process::Running {
            return None;
        }
        match step {
            Step::Watch => watch(world, replica),
            Step::TakeLease => take_lease(world, replica),
            Step::LearnOfLostLease => learn_of_lost_lease(world, replica),
            Step::Open => self.open(world, replica, Acknowledgement::Heard),
            Step::OpenUnacknowledged => self.open(world, replica, Acknowledgement::Lost),
            Step::CheckDeadline => self.check_deadline(world, replica),
            Step::GiveUp => give_up(world, replica),
            Step::Send => send(world, replica),
            Step::Receive => receive(world, replica),
            Step::TimeOut => self.time_out(world, replica),
            Step::Spool => spool(world, replica),
            Step::Store => self.store(world, replica, Acknowledgement::Heard),
            Step::StoreUnacknowledged => self.store(world, replica, Acknowledgement::Lost),
            Step::EndAttempt => end_attempt(self, world, replica),
            Step::Heal => self.heal(world, replica),
            Step::Publish => publish(world, replica),
            Step::WriteStatus => write_status(world, replica),
        }
    }

    /// Records an attempt. Only a leader opens, and only with an empty spool and no task of its own.
    fn open(&self, world: &World, replica: Replica, acknowledgement: Acknowledgement) -> Option<World> {
        let operator = &world.operators[replica];
        let view = operator.view?;
        let decided_on = view.grant;
        let may_open = world.reaches_api(replica)
            && operator.fence == Fence::Leads
            && operator.task == Task::Idle
            && operator.spool.is_none()
            && world.calls.len() < self.attempts
            && decided_on.attempt.is_none()
            && decided_on.verdict == Verdict::Usable
            && self.is_due(world, decided_on)
            && self.may_retry(world, decided_on.unknown)
            && (view.current == Currency::Current || !self.keeps(Rule::OpenByCompareAndSet));
        if !may_open {
            return None;
        }

        let mut next = world.clone();
        self.note_a_late_receiver(&mut next, replica, decided_on)?;
        let id = world.calls.len();
        next.calls.push(Call {
            origin: decided_on.origin,
            generation: decided_on.generation,
            token: decided_on.token,
            opener: replica,
            incarnation: operator.incarnation,
            age: Age::Young,
            progress: Progress::Unsent,
        });
        if self.keeps(Rule::RecordBeforeSending) {
            next.write_grant(
                replica,
                Grant {
                    attempt: Some(id),
                    ..world.grant
                },
            );
        }
        match acknowledgement {
            Acknowledgement::Heard => next.operators[replica].task = Task::Opened(id),
            Acknowledgement::Lost => self.spend(&mut next, Fault::LoseAcknowledgement)?,
        }
        Some(next)
    }

    fn is_due(&self, world: &World, grant: Grant) -> bool {
        if self.keeps(Rule::DecideFromSecrets) {
            grant.generation < world.due
        } else {
            world.status < world.due
        }
    }

    fn may_retry(&self, world: &World, unknown: Unknown) -> bool {
        match unknown {
            Unknown::Never => true,
            Unknown::Last(id) => {
                world.calls[id].age == Age::Overdue
                    || !self.keeps(Rule::RetryOnlyWhenOverdue)
                    || !self.keeps(Rule::WaitForOthers)
            }
            Unknown::GivenUp => false,
        }
    }

    /// A retry that is opened while a late receiver still has an answer of this generation is window (b).
    fn note_a_late_receiver(&self, next: &mut World, opener: Replica, grant: Grant) -> Option<()> {
        if grant.unknown == Unknown::Never {
            return Some(());
        }
        let is_late = |replica: Replica| {
            replica != opener
                && next.operators[replica].receiver == Receiver::Late
                && next.unstored_answer(replica, grant.generation).is_some()
        };
        if (0..next.operators.len()).any(is_late) {
            self.open_window(next, Window::ReceiverAway)
        } else {
            Some(())
        }
    }

    fn check_deadline(&self, world: &World, replica: Replica) -> Option<World> {
        let Task::Opened(id) = world.operators[replica].task else {
            return None;
        };
        let in_time = world.calls[id].age == Age::Young || !self.keeps(Rule::CheckDeadlineBeforeSending);
        in_time.then(|| with_task(world, replica, Task::Checked(id)))
    }

    /// Without an answer, the outcome is unknown. Giving up on a request that the server may still serve is a fault of its own.
    fn time_out(&self, world: &World, replica: Replica) -> Option<World> {
        let Task::Waiting(id) = world.operators[replica].task else {
            return None;
        };
        let mut next = with_task(world, replica, Task::Ending(id, End::Unknown));
        match world.calls[id].progress {
            Progress::Lost => {}
            Progress::Sent => self.spend(&mut next, Fault::SlowServer)?,
            _ => return None,
        }
        Some(next)
    }

    /// Stores the spooled answer by compare-and-set on the generation.
    fn store(&self, world: &World, replica: Replica, acknowledgement: Acknowledgement) -> Option<World> {
        let answer = self.storable(world, replica)?;
        let mut next = world.clone();
        if self.fits(world, answer) {
            note_rescues(&mut next, replica, answer);
            let stored = Grant::fresh(answer.origin, answer.from + 1, answer.token);
            next.write_grant(replica, stored);
        }
        match acknowledgement {
            Acknowledgement::Heard => {
                next.operators[replica].spool = None;
                next.operators[replica].receiver = Receiver::InTime;
            }
            Acknowledgement::Lost => self.spend(&mut next, Fault::LoseAcknowledgement)?,
        }
        Some(next)
    }

    /// The spooled answer, if the rules let this replica store it now.
    pub fn storable(&self, world: &World, replica: Replica) -> Option<Answer> {
        let operator = &world.operators[replica];
        let may_store =
            world.reaches_api(replica) && (operator.fence == Fence::Leads || self.keeps(Rule::StoreWithoutLeading));
        operator.spool.filter(|_| may_store)
    }

    fn fits(&self, world: &World, answer: Answer) -> bool {
        let same_generation = world.grant.generation == answer.from;
        if !self.keeps(Rule::NeverStoreOverAHigherGeneration) {
            return true;
        }
        if !self.keeps(Rule::StoreByGeneration) {
            return same_generation && world.grant.attempt == Some(answer.attempt);
        }
        same_generation && (world.grant.origin == answer.origin || !self.keeps(Rule::StoreOverTheSameGrant))
    }

    /// Ends an attempt that nobody else will end: of an earlier process of this replica at once, of another when it is overdue, an own one that this
    /// process never learned to have opened as not sent.
    fn heal(&self, world: &World, replica: Replica) -> Option<World> {
        let operator = &world.operators[replica];
        let id = operator
            .view
            .filter(|view| view.current == Currency::Current)?
            .grant
            .attempt?;
        let spool_is_healed = operator.spool.is_none() || !self.keeps(Rule::SpoolBeforeHealing);
        if !world.reaches_api(replica) || operator.task != Task::Idle || !spool_is_healed {
            return None;
        }

        let call = &world.calls[id];
        let own = call.opener == replica && call.incarnation == operator.incarnation;
        let predecessors =
            call.opener == replica && (operator.spool_since..operator.incarnation).contains(&call.incarnation);
        let overdue = call.age == Age::Overdue || !self.keeps(Rule::WaitForOthers);
        let mut next = world.clone();
        if own {
            next.write_grant(
                replica,
                Grant {
                    attempt: None,
                    ..world.grant
                },
            );
        } else if predecessors || overdue {
            next.write_grant(replica, self.with_unknown(world.grant, id));
        } else {
            return None;
        }
        Some(next)
    }

    /// The same grant once this attempt is called unknown. That sticks to the generation: whatever attempt follows is a retry.
    fn with_unknown(&self, grant: Grant, id: AttemptId) -> Grant {
        let unknown = match (self.retries, grant.unknown) {
            (Retries::Once, Unknown::Last(_) | Unknown::GivenUp) => Unknown::GivenUp,
            _ => Unknown::Last(id),
        };
        Grant {
            attempt: None,
            unknown,
            ..grant
        }
    }
}

fn watch(world: &World, replica: Replica) -> Option<World> {
    let is_current = world.operators[replica]
        .view
        .is_some_and(|view| view.current == Currency::Current);
    if !world.reaches_api(replica) || is_current {
        return None;
    }
    let mut next = world.clone();
    next.operators[replica].view = Some(crate::world::View {
        grant: world.grant,
        current: Currency::Current,
    });
    Some(next)
}

/// A Lease is taken from another holder only a bounded number of times, and the former holder does not learn of it at once.
fn take_lease(world: &World, replica: Replica) -> Option<World> {
    if !world.reaches_api(replica) || world.operators[replica].fence == Fence::Leads {
        return None;
    }
    let mut next = world.clone();
    if world.lease != replica {
        next.lease_moves_left = world.lease_moves_left.checked_sub(1)?;
    }
    next.lease = replica;
    next.operators[replica].fence = Fence::Leads;
    Some(next)
}

fn learn_of_lost_lease(world: &World, replica: Replica) -> Option<World> {
    if world.lease == replica || world.operators[replica].fence == Fence::Follows {
        return None;
    }
    let mut next = world.clone();
    next.operators[replica].fence = Fence::Follows;
    Some(next)
}

fn give_up(world: &World, replica: Replica) -> Option<World> {
    let Task::Opened(id) = world.operators[replica].task else {
        return None;
    };
    (world.calls[id].age == Age::Overdue).then(|| with_task(world, replica, Task::Ending(id, End::NotSent)))
}

fn send(world: &World, replica: Replica) -> Option<World> {
    let Task::Checked(id) = world.operators[replica].task else {
        return None;
    };
    let mut next = with_task(world, replica, Task::Waiting(id));
    next.calls[id].progress = Progress::Sent;
    Some(next)
}

fn receive(world: &World, replica: Replica) -> Option<World> {
    let Task::Waiting(attempt) = world.operators[replica].task else {
        return None;
    };
    let call = &world.calls[attempt];
    let task = match call.progress {
        Progress::Granted(token) => Task::Holding(Answer {
            origin: call.origin,
            from: call.generation,
            attempt,
            token,
        }),
        Progress::Refused => Task::Ending(attempt, End::Refused),
        Progress::Throttled => Task::Ending(attempt, End::Answered),
        _ => return None,
    };
    let mut next = with_task(world, replica, task);
    next.calls[attempt].progress = Progress::Received;
    Some(next)
}

fn spool(world: &World, replica: Replica) -> Option<World> {
    let Task::Holding(answer) = world.operators[replica].task else {
        return None;
    };
    let mut next = with_task(world, replica, Task::Idle);
    next.operators[replica].spool = Some(answer);
    Some(next)
}

fn end_attempt(protocol: &Protocol, world: &World, replica: Replica) -> Option<World> {
    let Task::Ending(id, end) = world.operators[replica].task else {
        return None;
    };
    if !world.reaches_api(replica) {
        return None;
    }
    let mut next = with_task(world, replica, Task::Idle);
    let still_ours = world.grant.attempt == Some(id);
    let superseded = world.grant.generation > world.calls[id].generation;
    let ended = Grant {
        attempt: world.grant.attempt.filter(|open| *open != id),
        ..world.grant
    };
    match end {
        End::NotSent | End::Answered if still_ours => next.write_grant(replica, ended),
        End::Unknown if still_ours => next.write_grant(replica, protocol.with_unknown(world.grant, id)),
        // The Secret is read again before the grant is called dead (invariant 2).
        End::Refused if !superseded => next.write_grant(
            replica,
            Grant {
                verdict: Verdict::Dead,
                ..ended
            },
        ),
        _ => {}
    }
    Some(next)
}

fn publish(world: &World, replica: Replica) -> Option<World> {
    let operator = &world.operators[replica];
    let generation = operator.view?.grant.generation;
    if !world.reaches_api(replica) || operator.fence == Fence::Follows || generation <= world.published {
        return None;
    }
    let mut next = world.clone();
    next.published = generation;
    Some(next)
}

fn write_status(world: &World, replica: Replica) -> Option<World> {
    let leads = world.operators[replica].fence == Fence::Leads;
    if !world.reaches_api(replica) || !leads || world.status >= world.published {
        return None;
    }
    let mut next = world.clone();
    next.status = world.published;
    Some(next)
}

fn with_task(world: &World, replica: Replica, task: Task) -> World {
    let mut next = world.clone();
    next.operators[replica].task = task;
    next
}

fn note_rescues(next: &mut World, replica: Replica, answer: Answer) {
    let operator = &next.operators[replica];
    let rescues = [
        (operator.fence == Fence::Follows, Rescue::WithoutLeading),
        (
            next.grant.unknown == Unknown::Last(answer.attempt),
            Rescue::AfterCalledUnknown,
        ),
        (
            next.calls[answer.attempt].incarnation < operator.incarnation,
            Rescue::ByTheNextProcess,
        ),
    ];
    next.history.rescues.extend(
        rescues
            .iter()
            .filter(|(happened, _)| *happened)
            .map(|(_, rescue)| *rescue),
    );
}
