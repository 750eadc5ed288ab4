//! A model of the embedded broker, as plain as possible: lists that are searched from their beginning, without indexes
//! or locks. It does what the broker does, and compares everything observable after each operation: every delivery with
//! its tag and count, every answer, every number of the statistics.
//!
//! The property test in `main.rs` generates operations; so does the fuzz target, which includes this folder.
//!
//! Sizes are whole [`UNIT`]s of body, so large that headers, names and ids never decide what fits.

mod letters;
mod outboxes;
mod patterns;
mod publishing;
mod queues;
mod rules;
mod sessions;
mod statistics;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use tramline_broker::{AckMode, Counts, Hub, Outbox, Outcome, Position, SessionId, Timestamp};

pub(crate) use self::letters::{Letter, Life, To};
use self::publishing::{Answer, Job};
use self::queues::Queue;
use self::rules::Rules;

/// The unit of all sizes: bytes of body.
const UNIT: usize = 64 * 1024;

/// The memory limit of all messages, in units.
const MEMORY: usize = 40;

/// The maximum number of sessions in a model.
const SESSIONS: usize = 8;

const START: u64 = 1_000_000;

/// The interval between searches for unused destinations.
const SWEEP: u64 = 10_000;

/// An operation on a broker. Sessions are numbered in the order of their opening, subscriptions over all sessions.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Opens a session, of a user or anonymous, whose outbox holds this many units, or is unlimited.
    Open(Option<String>, Option<usize>),
    /// Closes a session.
    Close(usize),
    /// Subscribes to the destination that a text means.
    Subscribe(usize, Wanted, AckMode, u32),
    /// Ends the subscription of this number.
    Unsubscribe(usize, u32),
    /// Publishes a batch.
    Publish(Vec<Letter>),
    /// Settles one of a session's deliveries.
    Settle(usize, Settling),
    /// Settles and publishes in one transaction.
    Commit(usize, Vec<Settling>, Vec<Letter>),
    /// Takes this many deliveries out of a session's outbox; a session that was ended is closed.
    Take(usize, usize),
    /// Sweeps this many milliseconds later.
    Sweep(u64),
}

/// The destination of a subscription.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// A pattern of topics, or a queue.
    Pattern(String),
    /// A user destination.
    User(String),
}

/// Selects a delivery to settle: the one at this index among those of a session, modulo their number.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    pub(crate) place: usize,
    pub(crate) named: Named,
    pub(crate) outcome: Outcome,
}

/// How a delivery is referred to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named {
    /// By subscription and tag.
    Tag,
    /// By subscription and message id, if a receiver saw that id.
    Id,
    /// By message id alone, if a receiver saw that id.
    IdAlone,
    /// By a reference that was never given out.
    Wrongly,
}

/// The broker, and its expected state.
pub(crate) struct World {
    broker: Hub,
    now: u64,
    swept: Option<u64>,
    sessions: Vec<ModelSession>,
    /// By slot, including ended ones.
    subscriptions: Vec<Subscription>,
    messages: Vec<Message>,
    topics: BTreeMap<String, Topic>,
    queues: BTreeMap<String, Queue>,
    totals: Counts,
    answers: Vec<Answer>,
    /// Dead letters that the current operation has still to handle.
    dead: VecDeque<Dead>,
    overdue: VecDeque<(Job, String)>,
    room: VecDeque<String>,
    /// Messages that are nowhere else for a moment.
    held: Vec<usize>,
    ids: HashSet<String>,
    epochs: HashSet<u64>,
    letters: usize,
    turns: usize,
}

struct ModelSession {
    id: SessionId,
    user: Option<String>,
    outbox: Arc<Outbox>,
    /// In units.
    limit: Option<usize>,
    open: bool,
    /// The queued deliveries.
    items: Vec<Item>,
    /// It takes no more deliveries.
    shut: bool,
    /// Its overflow is still to be reported.
    ended: bool,
    room_wanted: bool,
}

/// A delivery in an outbox.
#[derive(Clone, Debug)]
struct Item {
    message: usize,
    slot: u32,
    tag: u32,
    /// Items of one turn go to different subscriptions in any order.
    turn: usize,
    /// The message's count at its delivery.
    redeliveries: u32,
}

struct Subscription {
    session: usize,
    source: Source,
    active: bool,
    ack: AckMode,
    prefetch: usize,
    last_tag: u32,
    /// Tags and messages.
    unsettled: Vec<(u32, usize)>,
    /// Messages that wait in a window.
    waiting: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Source {
    Topic(String),
    Queue(String),
    User(String),
}

struct Topic {
    /// Unique, even among topics of the same name.
    life: usize,
    used: bool,
    /// Known after the first delivery.
    epoch: Option<u64>,
    sequence: u64,
    counts: Counts,
}

/// A message as the broker created it.
#[derive(Debug)]
struct Message {
    letter: Letter,
    /// As receivers see it.
    destination: String,
    expires_at: Option<u64>,
    redeliveries: u32,
    /// Its topic's life, and its number there.
    sequence: Option<(usize, u64)>,
    /// Its position in its queue.
    place: u64,
    /// If it is a dead letter: the reason, the original destination, and the number of deliveries.
    dead: Option<(&'static str, String, u32)>,
    /// The id and position that its first receiver saw.
    seen: Option<(String, Option<Position>)>,
}

/// A message that a queue gave up.
struct Dead {
    message: usize,
    reason: &'static str,
    queue: String,
}

/// Messages and units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Load {
    messages: usize,
    units: usize,
}

impl Load {
    fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            units: self.units + other.units,
        }
    }

    fn less(self, other: Self) -> Self {
        Self {
            messages: self.messages - other.messages,
            units: self.units - other.units,
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            broker: Rules::broker(),
            now: START,
            swept: None,
            sessions: Vec::new(),
            subscriptions: Vec::new(),
            messages: Vec::new(),
            topics: BTreeMap::new(),
            queues: BTreeMap::new(),
            totals: Counts::default(),
            answers: Vec::new(),
            dead: VecDeque::new(),
            overdue: VecDeque::new(),
            room: VecDeque::new(),
            held: Vec::new(),
            ids: HashSet::new(),
            epochs: HashSet::new(),
            letters: 0,
            turns: 0,
        }
    }

    /// Applies an operation, unless it is impossible here, and compares.
    pub(crate) fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Open(user, limit) => self.open(user, limit),
            Operation::Close(session) => self.close(session),
            Operation::Subscribe(session, wanted, ack, prefetch) => {
                self.subscribe(session, wanted, ack, prefetch);
            }
            Operation::Unsubscribe(session, slot) => self.unsubscribe(session, slot),
            Operation::Publish(letters) => self.publish(letters),
            Operation::Settle(session, settling) => self.settle(session, &settling),
            Operation::Commit(session, settlings, letters) => {
                self.commit(session, &settlings, letters);
            }
            Operation::Take(session, count) => self.take(session, count),
            Operation::Sweep(millis) => self.sweep(millis),
        }
        self.check_answers();
        self.check_statistics();
    }

    /// Ends everything, and checks that nothing is lost and nothing left over.
    pub(crate) fn finish(mut self) {
        // Publishers that still wait for room are refused; those that take that room have none left to wait for.
        while !self.answers.is_empty() {
            self.apply(Operation::Sweep(SWEEP));
        }
        for session in 0..self.sessions.len() {
            while self.sessions[session].open && !self.sessions[session].items.is_empty() {
                self.apply(Operation::Take(session, 3));
            }
            self.apply(Operation::Close(session));
        }
        self.drain_queues();
        let holders = self.sessions.iter().map(|session| &session.outbox);
        assert!(holders.map(Arc::strong_count).all(|count| count == 1));
        assert_eq!(self.used(), 0);
        let nothing = patterns::parse("/none");
        assert_eq!(self.broker.statistics(&nothing, 0).bytes, 0);
        for _ in 0..3 {
            self.apply(Operation::Sweep(SWEEP));
        }
        assert_eq!(self.broker.destinations(), 0, "{:?}", self.broker);
        assert_eq!(self.broker.sessions(), 0);
    }

    /// Accepts all remaining messages with one last consumer.
    fn drain_queues(&mut self) {
        let last = self.sessions.len();
        self.open_anyhow(None, None);
        // A message that expires on the way may create another queue.
        let is_left =
            |world: &Self, name: &String| !world.is_subscribed(&Source::Queue(name.clone()));
        while let Some(name) = self.queues.keys().find(|name| is_left(self, name)).cloned() {
            let wanted = Wanted::Pattern(name);
            self.apply(Operation::Subscribe(last, wanted, AckMode::Client, 10_000));
        }
        while !self.sessions[last].items.is_empty() {
            self.apply(Operation::Take(last, 100));
        }
        let settling = Settling {
            place: 0,
            named: Named::Tag,
            outcome: Outcome::Accepted,
        };
        while !self.unsettled_of(last).is_empty() {
            self.apply(Operation::Settle(last, settling.clone()));
        }
        self.apply(Operation::Close(last));
    }

    fn sweep(&mut self, millis: u64) {
        self.now += millis;
        self.broker.sweep(self.timestamp());
        let queues: Vec<String> = self.queues.keys().cloned().collect();
        for queue in &queues {
            self.expire(queue);
        }
        self.finish_up();
        let Some(swept) = self.swept else {
            self.swept = Some(self.now);
            return;
        };
        if self.now - swept >= SWEEP {
            self.swept = Some(self.now);
            self.forget();
        }
    }

    /// Removes destinations that were not used since the last time.
    fn forget(&mut self) {
        let names: Vec<String> = self.topics.keys().cloned().collect();
        for name in names {
            let held = self.is_subscribed(&Source::Topic(name.clone()));
            let topic = self.topics.get_mut(&name).expect("it is known");
            if !std::mem::take(&mut topic.used) && !held {
                self.topics.remove(&name);
            }
        }
        let names: Vec<String> = self.queues.keys().cloned().collect();
        for name in names {
            let empty = self.load(&name) == Load::default();
            let held = self.is_subscribed(&Source::Queue(name.clone()));
            let queue = self.queues.get_mut(&name).expect("it is known");
            let used = std::mem::take(&mut queue.used);
            if !used && empty && !held && queue.publishers.is_empty() {
                self.queues.remove(&name);
            }
        }
    }

    fn is_subscribed(&self, source: &Source) -> bool {
        let mut active = self.subscriptions.iter().filter(|held| held.active);
        active.any(|held| held.source == *source)
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    /// Units of all messages that exist, each counted once.
    fn used(&self) -> usize {
        let mut live: BTreeSet<usize> = self.held.iter().copied().collect();
        live.extend(self.dead.iter().map(|dead| dead.message));
        for session in &self.sessions {
            live.extend(session.items.iter().map(|item| item.message));
        }
        for held in self.subscriptions.iter().filter(|held| held.active) {
            live.extend(held.unsettled.iter().map(|(_, message)| *message));
            live.extend(&held.waiting);
        }
        let mut jobs: Vec<&Job> = self.overdue.iter().map(|(job, _)| job).collect();
        for queue in self.queues.values() {
            live.extend(&queue.ready);
            jobs.extend(queue.publishers.iter().map(|parked| &parked.job));
        }
        live.extend(jobs.into_iter().filter_map(Job::waiting));
        live.iter().map(|message| self.units(*message)).sum()
    }

    fn units(&self, message: usize) -> usize {
        self.messages[message].letter.units
    }

    fn load_of(&self, message: usize) -> Load {
        Load {
            messages: 1,
            units: self.units(message),
        }
    }

    /// Counts in the totals, and for a queue.
    fn count(&mut self, queue: &str, count: impl Fn(&mut Counts)) {
        count(&mut self.totals);
        let queue = self.queues.get_mut(queue).expect("it is known");
        count(&mut queue.counts);
    }

    /// Counts in the totals, and for a message's topic if it has one that is still known.
    fn count_for(&mut self, message: usize, count: impl Fn(&mut Counts)) {
        count(&mut self.totals);
        let life = self.messages[message].sequence.map(|(life, _)| life);
        let mut topics = self.topics.values_mut();
        if let Some(topic) = topics.find(|topic| Some(topic.life) == life) {
            count(&mut topic.counts);
        }
    }

    fn next_turn(&mut self) -> usize {
        self.turns += 1;
        self.turns
    }
}
