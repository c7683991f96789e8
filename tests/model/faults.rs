//! What happens to the operators: the authorization server, the network, time, and everything that breaks.
//!
//! A fault is paid from the budget of the run; its end (a restart, a resume, a healed link) is free and may come at any later moment, or never. What would
//! open a window that is closed in this run does not happen: so "no window" is a statement about the world, not about the protocol.

use crate::protocol::{Fault, Protocol, Rule};
use crate::world::{
    Age, AttemptId, Availability, Fence, Grant, Operator, Process, Progress, Receiver, Replica, ServerGrant, Task,
    Unknown, Window, World,
};

/// Something that no operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server handles a request.
    Serve(AttemptId),
    /// `duration` + 60 s pass for those who wait for this attempt.
    GrowOverdue(AttemptId),
    /// The published token has used up its time.
    RefreshBecomesDue,
    /// The grant Secret is deleted, a person signs in, a new one is created. Status is the only number that survived.
    ReplaceGrant,
    Crash(Replica),
    Restart(Replica),
    Destroy(Replica),
    Freeze(Replica),
    Resume(Replica),
    CutOff(Replica),
    Reconnect(Replica),
    ApiServerStops,
    ApiServerReturns,
    LoseRequest(AttemptId),
    LoseAnswer(AttemptId),
    Throttle(AttemptId),
}

/// Every event that could be possible with so many attempts.
pub fn every_event(attempts: usize) -> impl Iterator<Item = Event> {
    let of_calls = (0..attempts).flat_map(|id| {
        [
            Event::Serve(id),
            Event::GrowOverdue(id),
            Event::LoseRequest(id),
            Event::LoseAnswer(id),
            Event::Throttle(id),
        ]
    });
    let of_replicas = (0..2).flat_map(|replica| {
        [
            Event::Crash(replica),
            Event::Restart(replica),
            Event::Destroy(replica),
            Event::Freeze(replica),
            Event::Resume(replica),
            Event::CutOff(replica),
            Event::Reconnect(replica),
        ]
    });
    [
        Event::RefreshBecomesDue,
        Event::ReplaceGrant,
        Event::ApiServerStops,
        Event::ApiServerReturns,
    ]
    .into_iter()
    .chain(of_calls)
    .chain(of_replicas)
}

impl Protocol {
    /// The world after this event.
    pub fn event(&self, world: &World, event: Event) -> Option<World> {
        match event {
            Event::Serve(id) => self.serve(world, id),
            Event::GrowOverdue(id) => self.grow_overdue(world, id),
            Event::RefreshBecomesDue => self.refresh_becomes_due(world),
            Event::ReplaceGrant => self.replace_grant(world),
            Event::Crash(replica) => self.crash(world, replica),
            Event::Restart(replica) => restart(world, replica),
            Event::Destroy(replica) => self.destroy(world, replica),
            Event::Freeze(replica) => self.change_process(world, replica, Process::Running, Process::Frozen),
            Event::Resume(replica) => self.change_process(world, replica, Process::Frozen, Process::Running),
            Event::CutOff(replica) => self.change_link(world, replica, Availability::Down),
            Event::Reconnect(replica) => self.change_link(world, replica, Availability::Up),
            Event::ApiServerStops => self.change_api_server(world, Availability::Down),
            Event::ApiServerReturns => self.change_api_server(world, Availability::Up),
            Event::LoseRequest(id) => self.lose_request(world, id),
            Event::LoseAnswer(id) => self.lose_answer(world, id),
            Event::Throttle(id) => self.throttle(world, id),
        }
    }

    /// The same world, one fault poorer; `None` if this run does not have that fault or has no more.
    fn paid(&self, world: &World, fault: Fault) -> Option<World> {
        if world.faults_left == 0 || !self.faults.contains(&fault) {
            return None;
        }
        Some(World {
            faults_left: world.faults_left - 1,
            ..world.clone()
        })
    }

    /// Pays for a fault, if this run has it and can still afford it.
    pub fn spend(&self, next: &mut World, fault: Fault) -> Option<()> {
        if !self.faults.contains(&fault) {
            return None;
        }
        next.faults_left = next.faults_left.checked_sub(1)?;
        Some(())
    }

    /// Notes that a window was hit; `None` where this run keeps it closed.
    pub fn open_window(&self, next: &mut World, window: Window) -> Option<()> {
        self.windows.contains(&window).then(|| {
            next.history.windows.insert(window);
        })
    }

    /// Strict rotation (RFC 9700 §4.14.2): the newest token is exchanged, any other ends the grant.
    fn serve(&self, world: &World, id: AttemptId) -> Option<World> {
        let call = world.calls.get(id).filter(|call| call.progress == Progress::Sent)?;
        let mut next = world.clone();
        let answer = if world.server.grant == ServerGrant::Alive && world.server.newest == call.token {
            next.server.newest += 1;
            if !world.has_reader(id) {
                self.open_window(&mut next, why_nobody_reads(world, id))?;
            }
            Progress::Granted(next.server.newest)
        } else {
            next.server.grant = ServerGrant::Killed;
            Progress::Refused
        };
        next.calls[id].progress = if world.has_reader(id) { answer } else { Progress::Lost };
        Some(next)
    }

    /// Time passes only when whoever can still work on this attempt has done so: `duration` bounds what a healthy process needs, the 60 s what a request
    /// needs on the wire.
    fn grow_overdue(&self, world: &World, id: AttemptId) -> Option<World> {
        let call = world
            .calls
            .get(id)
            .filter(|call| call.age == Age::Young && call.progress != Progress::Sent)?;
        let time_counts = world.api_server == Availability::Up || !self.keeps(Rule::WaitOnlyWhileTheApiServerAnswers);
        if !time_counts || !world.somebody_minds(id) || (0..2).any(|replica| self.is_busy(world, replica, id)) {
            return None;
        }

        let mut next = world.clone();
        next.calls[id].age = Age::Overdue;
        for replica in 0..2 {
            if world.operators[replica].task == Task::Checked(id) {
                self.open_window(&mut next, Window::FrozenBeforeSending)?;
            }
            if world.operators[replica].is_away() && world.unstored_answer(replica, call.generation).is_some() {
                next.operators[replica].receiver = Receiver::Late;
            }
        }
        Some(next)
    }

    /// Whether this replica is able to go on with this attempt, and so will have done before the attempt is overdue.
    fn is_busy(&self, world: &World, replica: Replica, id: AttemptId) -> bool {
        let operator = &world.operators[replica];
        let works_on_it = match operator.task {
            Task::Checked(attempt) | Task::Waiting(attempt) => attempt == id,
            Task::Holding(answer) => answer.attempt == id,
            Task::Idle | Task::Opened(_) | Task::Ending(..) => false,
        };
        let stores_it = self.storable(world, replica).is_some_and(|answer| answer.attempt == id);
        operator.process == Process::Running && (works_on_it || stores_it)
    }

    fn refresh_becomes_due(&self, world: &World) -> Option<World> {
        if world.due >= self.refreshes || world.grant.generation < world.due || world.sign_ins > 0 {
            return None;
        }
        let mut next = world.clone();
        next.due += 1;
        Some(next)
    }

    /// The new grant gets the generation after the one that status shows (invariant 1). It is never refreshed: the model has one server-side grant only,
    /// the old one, and asks just whether its late answers keep away from the new one.
    fn replace_grant(&self, world: &World) -> Option<World> {
        if world.api_server == Availability::Down || world.sign_ins > 0 {
            return None;
        }
        let mut next = self.paid(world, Fault::ReplaceGrant)?;
        next.sign_ins = 1;
        next.grant = Grant::fresh(next.sign_ins, world.status + 1, world.server.newest);
        next.due = next.grant.generation;
        next.history.highest = next.grant.generation;
        for operator in &mut next.operators {
            operator.view = None;
        }
        Some(next)
    }

    /// The process dies. Its spool stays.
    fn crash(&self, world: &World, replica: Replica) -> Option<World> {
        let mut next = self.killed(world, replica, Fault::Crash)?;
        if world.has_answer_in_flight(replica) {
            self.open_window(&mut next, Window::DiedBeforeSpooling)?;
        }
        if !self.keeps(Rule::SpoolBeforeStoring) {
            next.operators[replica].spool = None;
        }
        Some(next)
    }

    /// The pod or node is gone: so is its spool, and the next process is a stranger to all earlier attempts.
    fn destroy(&self, world: &World, replica: Replica) -> Option<World> {
        let mut next = self.killed(world, replica, Fault::Destroy)?;
        let operator = &world.operators[replica];
        let loses_spooled = operator
            .spool
            .is_some_and(|answer| answer.from == world.grant.generation);
        if loses_spooled || world.has_answer_in_flight(replica) {
            self.open_window(&mut next, Window::PodDestroyed)?;
        }
        next.operators[replica].spool = None;
        next.operators[replica].spool_since = operator.incarnation + 1;
        next.operators[replica].link = Availability::Up;
        Some(next)
    }

    fn killed(&self, world: &World, replica: Replica, fault: Fault) -> Option<World> {
        if world.operators[replica].process == Process::Down {
            return None;
        }
        let mut next = self.paid(world, fault)?;
        for (id, call) in next.calls.iter_mut().enumerate() {
            let answered = !matches!(call.progress, Progress::Unsent | Progress::Sent | Progress::Received);
            if answered && world.operators[replica].task == Task::Waiting(id) {
                call.progress = Progress::Lost;
            }
        }
        let operator = &mut next.operators[replica];
        operator.process = Process::Down;
        operator.task = Task::Idle;
        operator.view = None;
        operator.fence = Fence::Follows;
        Some(next)
    }

    fn change_process(&self, world: &World, replica: Replica, from: Process, to: Process) -> Option<World> {
        if world.operators[replica].process != from {
            return None;
        }
        let mut next = if to == Process::Frozen {
            self.paid(world, Fault::Freeze)?
        } else {
            world.clone()
        };
        next.operators[replica].process = to;
        Some(next)
    }

    fn change_link(&self, world: &World, replica: Replica, to: Availability) -> Option<World> {
        if world.operators[replica].link == to {
            return None;
        }
        let mut next = if to == Availability::Down {
            self.paid(world, Fault::CutOff)?
        } else {
            world.clone()
        };
        next.operators[replica].link = to;
        Some(next)
    }

    fn change_api_server(&self, world: &World, to: Availability) -> Option<World> {
        if world.api_server == to {
            return None;
        }
        let mut next = if to == Availability::Down {
            self.paid(world, Fault::Outage)?
        } else {
            world.clone()
        };
        next.api_server = to;
        Some(next)
    }

    fn lose_request(&self, world: &World, id: AttemptId) -> Option<World> {
        world.calls.get(id).filter(|call| call.progress == Progress::Sent)?;
        let mut next = self.paid(world, Fault::LoseRequest)?;
        next.calls[id].progress = Progress::Lost;
        Some(next)
    }

    fn lose_answer(&self, world: &World, id: AttemptId) -> Option<World> {
        let call = world.calls.get(id)?;
        let mut next = self.paid(world, Fault::LoseAnswer)?;
        match call.progress {
            Progress::Granted(_) => self.open_window(&mut next, Window::AnswerLost)?,
            Progress::Refused | Progress::Throttled => {}
            _ => return None,
        }
        next.calls[id].progress = Progress::Lost;
        Some(next)
    }

    fn throttle(&self, world: &World, id: AttemptId) -> Option<World> {
        world.calls.get(id).filter(|call| call.progress == Progress::Sent)?;
        let mut next = self.paid(world, Fault::Throttle)?;
        next.calls[id].progress = if world.has_reader(id) {
            Progress::Throttled
        } else {
            Progress::Lost
        };
        Some(next)
    }
}

fn why_nobody_reads(world: &World, id: AttemptId) -> Window {
    let call = &world.calls[id];
    let opener = &world.operators[call.opener];
    let is_dead = opener.process == Process::Down || opener.incarnation != call.incarnation;
    if is_dead {
        Window::DiedBeforeSpooling
    } else {
        Window::AnswerLost
    }
}

/// A new process in the same replica. It takes the lock of the spool directory, so it knows that its predecessors are dead.
fn restart(world: &World, replica: Replica) -> Option<World> {
    let operator = &world.operators[replica];
    if operator.process != Process::Down {
        return None;
    }
    let mut next = world.clone();
    next.operators[replica] = Operator {
        process: Process::Running,
        incarnation: operator.incarnation + 1,
        ..*operator
    };
    Some(next)
}

impl World {
    /// Whether the age of this attempt can still make a difference.
    fn somebody_minds(&self, id: AttemptId) -> bool {
        self.grant.attempt == Some(id)
            || self.grant.unknown == Unknown::Last(id)
            || self
                .operators
                .iter()
                .any(|operator| matches!(operator.task, Task::Opened(own) | Task::Checked(own) if own == id))
    }

    /// Whether this replica would lose an answer that is not in its spool yet.
    fn has_answer_in_flight(&self, replica: Replica) -> bool {
        match self.operators[replica].task {
            Task::Holding(_) => true,
            Task::Waiting(id) => matches!(self.calls[id].progress, Progress::Granted(_)),
            _ => false,
        }
    }
}
