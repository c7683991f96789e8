//! What exists in the model: one grant Secret, one authorization server, the calls between them, and two operator processes.
//!
//! Everything is as small as it can be without hiding a fault. Tokens are numbers: the server issues 0, 1, 2 … and accepts only the newest. Time has no
//! clock: that `duration` + 60 s have passed for an attempt is a fact that some step makes true ([`Call::overdue`]). A resourceVersion is whether an
//! operator's view is the Secret as it is now ([`View::current`]): a write makes all other views stale, and compare-and-set works only on a current one.

use std::collections::BTreeSet;

/// Counts stored answers of one grant (invariant 1).
pub type Generation = u8;
/// A refresh token: the how-manieth one that the server issued.
pub type Token = u8;
/// Which sign-in a grant comes from.
pub type SignIn = u8;
/// Names an attempt: its place in [`World::calls`].
pub type AttemptId = usize;
/// Which of the two operator replicas.
pub type Replica = usize;

/// One moment of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The grant Secret on the API server.
    pub grant: Grant,
    /// Whether the API server answers anybody.
    pub api_server: Availability,
    /// The generation in the token Secret that consumers mount.
    pub published: Generation,
    /// The generation that status shows; its write may fail for ever.
    pub status: Generation,
    /// The generation that ought to exist by now: above [`Grant::generation`], a refresh is due.
    pub due: Generation,
    /// The authorization server.
    pub server: Server,
    /// How often a person deleted the grant Secret and signed in again.
    pub sign_ins: SignIn,
    /// Every attempt that was opened, and how far its call came.
    pub calls: Vec<Call>,
    /// The replicas.
    pub operators: [Operator; 2],
    /// Who holds the Lease. That says nothing about who believes to hold it.
    pub lease: Replica,
    /// How often the Lease may still move away from a living holder.
    pub lease_moves_left: u8,
    /// How many faults may still happen.
    pub faults_left: u8,
    /// What has happened, for the properties to look at.
    pub history: History,
}

/// Whether something can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    Up,
    Down,
}

/// The grant Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    pub origin: SignIn,
    pub generation: Generation,
    pub token: Token,
    /// The one open attempt (invariant 2).
    pub attempt: Option<AttemptId>,
    /// What is known of the attempts of this generation that ended without an answer. Stays until an answer is stored.
    pub unknown: Unknown,
    pub verdict: Verdict,
}

/// The attempts of a generation whose outcome nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    Never,
    /// This was the last one. Another may follow, with care.
    Last(AttemptId),
    /// The retry was lost too, and no other may follow ([`crate::protocol::Retries::Once`]).
    GivenUp,
}

/// What the operators think of the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Usable,
    /// The server said `invalid_grant`: `GrantLost` or `GrantRevoked`.
    Dead,
}

/// A server with strict rotation: a spent token that comes back ends the whole grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub newest: Token,
    pub grant: ServerGrant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerGrant {
    Alive,
    Killed,
}

/// An attempt and its token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub origin: SignIn,
    pub generation: Generation,
    pub token: Token,
    pub opener: Replica,
    /// With `opener`, the holder: random per process in the design.
    pub incarnation: u8,
    pub age: Age,
    pub progress: Progress,
}

/// How long ago an attempt was opened, as seen by those who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Age {
    /// Its opener may still send.
    Young,
    /// `duration` + 60 s have passed since anybody saw it.
    Overdue,
}

/// Where a token request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    Unsent,
    /// On its way to the server.
    Sent,
    /// On its way back with a new refresh token.
    Granted(Token),
    /// On its way back with `invalid_grant`.
    Refused,
    /// On its way back with 429 or 503: nothing was redeemed.
    Throttled,
    /// Lost, in either direction.
    Lost,
    /// Read by its opener.
    Received,
}

/// One replica: a slot that holds one process at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    pub process: Process,
    /// Whether its own way to the API server works.
    pub link: Availability,
    /// Whether its fence says that it leads. May be wrong.
    pub fence: Fence,
    /// Grows with every start of a process in this replica.
    pub incarnation: u8,
    /// The incarnation whose pod brought the spool directory in use: earlier holders since then are known to be dead.
    pub spool_since: u8,
    /// What its watch last showed.
    pub view: Option<View>,
    /// The redeem task.
    pub task: Task,
    /// The answer in the spool directory: survives the process, not the pod.
    pub spool: Option<Answer>,
    /// Whether it was kept from finishing until its attempt was overdue.
    pub receiver: Receiver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    Running,
    /// Stopped by SIGSTOP, a paused machine, a starved node.
    Frozen,
    /// Killed; the container has not been started again yet.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fence {
    Leads,
    Follows,
}

/// A cached Secret and whether it is still what the API server holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    pub grant: Grant,
    pub current: Currency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Currency {
    Current,
    Stale,
}

/// What the detached redeem task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    Idle,
    /// The attempt is recorded; the deadline is not yet looked at.
    Opened(AttemptId),
    /// The deadline was good a moment ago; nothing has been sent.
    Checked(AttemptId),
    /// Sent.
    Waiting(AttemptId),
    /// The answer is in memory only.
    Holding(Answer),
    /// The end of an attempt is known and must be written.
    Ending(AttemptId, End),
}

/// A new refresh token and the generation it was bought with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    pub origin: SignIn,
    pub from: Generation,
    pub attempt: AttemptId,
    pub token: Token,
}

/// How an attempt ended, other than with a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    NotSent,
    /// 429 or 503.
    Answered,
    /// `invalid_grant`.
    Refused,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Receiver {
    InTime,
    Late,
}

/// The ways in which a grant may be lost. All others are a defect of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// (a) The pod or its node was destroyed between answer and write.
    PodDestroyed,
    /// (b) Whoever had the answer was kept from the API server (cut off, frozen or down) until the other's single retry.
    ReceiverAway,
    /// (c) Frozen past `duration` + 60 s between the last deadline check and sending.
    FrozenBeforeSending,
    /// (d) The answer was lost on the wire, or came after its reader had given up.
    AnswerLost,
    /// (d), the last metre: the process died after the server rotated and before the answer was spooled.
    DiedBeforeSpooling,
}

/// What the properties need to know of the past.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    pub windows: BTreeSet<Window>,
    /// The highest generation that the grant Secret ever held.
    pub highest: Generation,
    /// The remarkable good ends, to show that the model reaches them.
    pub rescues: BTreeSet<Rescue>,
}

/// Answers that a simpler protocol would have dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rescue {
    /// Stored by a process that did not lead.
    WithoutLeading,
    /// Stored after its attempt had been called unknown.
    AfterCalledUnknown,
    /// Spooled by a process that was killed, stored by the next one.
    ByTheNextProcess,
}

impl World {
    /// A grant of generation 0 that is due for its first refresh; replica 0 leads.
    pub fn new(faults_left: u8, lease_moves_left: u8) -> Self {
        let grant = Grant::fresh(0, 0, 0);
        let mut operators = [Operator::started(grant); 2];
        operators[0].fence = Fence::Leads;
        Self {
            grant,
            api_server: Availability::Up,
            published: 0,
            status: 0,
            due: 1,
            server: Server {
                newest: 0,
                grant: ServerGrant::Alive,
            },
            sign_ins: 0,
            calls: Vec::new(),
            operators,
            lease: 0,
            lease_moves_left,
            faults_left,
            history: History {
                windows: BTreeSet::new(),
                highest: 0,
                rescues: BTreeSet::new(),
            },
        }
    }

    /// Whether this replica can talk to the API server now.
    pub fn reaches_api(&self, replica: Replica) -> bool {
        let operator = &self.operators[replica];
        operator.process == Process::Running && operator.link == Availability::Up && self.api_server == Availability::Up
    }

    /// Replaces the grant Secret: all other views are stale from now on.
    pub fn write_grant(&mut self, writer: Replica, grant: Grant) {
        self.grant = grant;
        self.history.highest = self.history.highest.max(grant.generation);
        for (replica, operator) in self.operators.iter_mut().enumerate() {
            if replica == writer {
                operator.view = Some(View {
                    grant,
                    current: Currency::Current,
                });
            } else if let Some(view) = &mut operator.view {
                view.current = Currency::Stale;
            }
        }
    }

    /// Whether somebody waits for the answer of this call.
    pub fn has_reader(&self, id: AttemptId) -> bool {
        self.operators.iter().any(|operator| operator.task == Task::Waiting(id))
    }

    /// The answer for `generation` that this replica has and the Secret has not: spooled, in memory, or waiting in its socket.
    pub fn unstored_answer(&self, replica: Replica, generation: Generation) -> Option<Token> {
        let operator = &self.operators[replica];
        let in_hand = match operator.task {
            Task::Holding(answer) => Some(answer),
            Task::Waiting(id) => match self.calls[id].progress {
                Progress::Granted(token) => Some(Answer {
                    origin: self.calls[id].origin,
                    from: self.calls[id].generation,
                    attempt: id,
                    token,
                }),
                _ => None,
            },
            _ => None,
        };
        [operator.spool, in_hand]
            .into_iter()
            .flatten()
            .find(|answer| answer.from == generation)
            .map(|answer| answer.token)
    }
}

impl Grant {
    /// A grant that was just stored: no attempt, nothing unknown.
    pub fn fresh(origin: SignIn, generation: Generation, token: Token) -> Self {
        Self {
            origin,
            generation,
            token,
            attempt: None,
            unknown: Unknown::Never,
            verdict: Verdict::Usable,
        }
    }
}

impl Operator {
    fn started(grant: Grant) -> Self {
        Self {
            process: Process::Running,
            link: Availability::Up,
            fence: Fence::Follows,
            incarnation: 0,
            spool_since: 0,
            view: Some(View {
                grant,
                current: Currency::Current,
            }),
            task: Task::Idle,
            spool: None,
            receiver: Receiver::InTime,
        }
    }

    /// Whether it can neither work nor write, however long one waits.
    pub fn is_away(&self) -> bool {
        self.process != Process::Running || self.link == Availability::Down
    }
}
