//! The engine's state. Only its task has it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tramline_broker::{
    Activation, Command, Commit, CommitError, Consumer, LocalHub, MemberEvent, Message, NodeId,
    Outcome, Promise, Publish, Published, Refused, SessionId, SettleError, Source, StartError,
    SubscribeError, Subscribed, Token, UnsubscribeError,
};
use tramline_stomp::{ClientConnection, Delivery};

use crate::kind::BrokerKind;
use crate::link::{LinkId, Report};
use crate::names::Spelled;
use crate::options::Options;

/// What the hub asks of the engine.
#[derive(Debug)]
pub(crate) enum Request {
    Activate(Activation),
    Deactivate(Source),
    Publish(Vec<Publish>, Promise<Result<Published, Refused>>),
    Consume(
        u64,
        Arc<Consumer>,
        Promise<Result<Subscribed, SubscribeError>>,
    ),
    Cancel(u64, End, Promise<Result<(), UnsubscribeError>>),
    Settle(u64, Vec<Token>, Outcome, Promise<Result<(), SettleError>>),
    /// The number of the consumer whose deliveries it settles, if any.
    Commit(Option<u64>, Commit, Promise<Result<Published, CommitError>>),
    Announce(MemberEvent),
    /// All sessions were announced.
    Described,
    Command(NodeId, Command),
    Stop(Promise<()>),
}

/// How a consumer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its queue or durable subscription stays.
    Consumer,
    /// Its durable subscription ends too.
    Subscription,
}

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) options: Options,
    pub(super) hub: Arc<LocalHub>,
    /// Known once a link is connected.
    pub(super) kind: Option<BrokerKind>,
    pub(super) reports: mpsc::Sender<(LinkId, Report)>,
    pub(super) requests: mpsc::WeakUnboundedSender<Request>,
    pub(super) links: HashMap<LinkId, Link>,
    /// The links that are opened again whenever they end.
    pub(super) slots: HashMap<Role, Slot>,
    /// Links that carried a transaction and may carry another one.
    pub(super) idle: Vec<LinkId>,
    last: u64,
    /// The address that is tried next.
    pub(super) address: usize,
    pub(super) start: Option<Promise<Result<(), StartError>>>,
    pub(super) stop: Option<Promise<()>>,
    pub(super) ready: bool,

    pub(super) batches: HashMap<u64, Batch>,
    /// The batches that wait for a link, in order.
    pub(super) waiting: VecDeque<u64>,
    pub(super) waiting_bytes: usize,
    /// Destinations that the broker has taken a message for.
    pub(super) sent_to: HashSet<Spelled>,

    pub(super) jobs: VecDeque<Job>,
    pub(super) probing: Option<Job>,
    /// The id of the subscription that the probe tries.
    pub(super) trial: Option<ByteString>,

    pub(super) sources: BTreeMap<u64, TopicSource>,
    pub(super) by_source: HashMap<Source, u64>,
    /// By the ids on the present link.
    pub(super) subscriptions: HashMap<ByteString, u64>,
    /// Destinations that the broker has let us subscribe to.
    pub(super) subscribed_to: HashSet<Spelled>,

    pub(super) consumers: HashMap<u64, ConsumerState>,
    /// The queues of consumers that leave, by their links: what is published to them waits, so that no message is given to a
    /// consumer that is no longer there.
    pub(super) left_queues: HashMap<LinkId, ByteString>,
    pub(super) settles: HashMap<u64, Promise<Result<(), SettleError>>>,
    pub(super) commits: HashMap<u64, CommitState>,
    pub(super) released: Released,

    pub(super) joined: bool,
    /// True once the nodes were joined, so that sessions may be opened also while the broker is away.
    pub(super) was_joined: bool,
    pub(super) joining: Vec<(Instant, Activation)>,
    pub(super) peers: HashMap<NodeId, Peer>,
    pub(super) alive_at: Instant,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Publish,
    Subscribe,
    Probe,
    Nodes,
    Consumer(u64),
    Transaction(u64),
    /// It carries the next transaction.
    Idle,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) role: Role,
    pub(super) task: AbortHandle,
    /// Set once the stream is open.
    pub(super) stream: Option<Stream>,
    pub(super) connected: bool,
    pub(super) since: Instant,
    /// The outstanding receipts, by number.
    pub(super) expected: BTreeMap<u64, Expected>,
    /// True after DISCONNECT: its end is no loss.
    pub(super) leaving: bool,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) machine: ClientConnection,
    pub(super) writer: mpsc::UnboundedSender<Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) link: Option<LinkId>,
    pub(super) attempts: u32,
    pub(super) retry_at: Option<Instant>,
}

/// What a receipt answers.
#[derive(Debug)]
pub(super) enum Expected {
    /// A message of this batch.
    Sent(u64),
    /// The probe's job.
    Probe,
    Source(u64),
    Consumer(u64),
    Settle(u64),
    Commit(u64),
    Nodes,
    Cancel(Promise<Result<(), UnsubscribeError>>),
    Bye,
}

/// How a frame with a receipt ended.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Done,
    Refused(String),
    /// The link ended before.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) promise: Promise<Result<Published, Refused>>,
    pub(super) items: VecDeque<Publish>,
    pub(super) done: usize,
    pub(super) receivers: usize,
    pub(super) outstanding: usize,
    pub(super) bytes: usize,
    pub(super) since: Instant,
    /// True while it waits for a link.
    pub(super) waits: bool,
    /// True while its next message waits for the probe, or is on it.
    pub(super) probes: bool,
}

/// What the probe is to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// The next message of a batch.
    Send(u64, Spelled),
    /// The subscription of a source.
    Subscribe(u64, Spelled),
}

#[derive(Debug)]
pub(super) struct TopicSource {
    pub(super) source: Source,
    /// Present while the hub waits for an answer.
    pub(super) asked: Option<Activation>,
    pub(super) since: Instant,
    /// The id on the present link.
    pub(super) id: Option<ByteString>,
}

#[derive(Debug)]
pub(super) struct ConsumerState {
    pub(super) consumer: Arc<Consumer>,
    pub(super) asked: Option<Promise<Result<Subscribed, SubscribeError>>>,
    pub(super) since: Instant,
    /// The id on the present link.
    pub(super) id: Option<ByteString>,
    pub(super) last_token: u64,
    pub(super) unsettled: HashMap<Token, Held>,
    /// Deliveries beyond the credit, which only Artemis sends.
    pub(super) beyond: VecDeque<Token>,
}

/// A delivery that is not settled.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) delivery: Delivery,
    pub(super) message: Arc<Message>,
    pub(super) redeliveries: u32,
}

#[derive(Debug)]
pub(super) struct CommitState {
    pub(super) consumer: Option<u64>,
    pub(super) commit: Commit,
    pub(super) promise: Promise<Result<Published, CommitError>>,
    pub(super) outstanding: usize,
}

/// How often the messages were delivered that went back from this node, by their ids. The oldest are forgotten.
#[derive(Debug, Default)]
pub(super) struct Released {
    counts: HashMap<ByteString, u32>,
    order: VecDeque<ByteString>,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) seen: Instant,
    /// With the names of their users.
    pub(super) sessions: HashMap<SessionId, Option<ByteString>>,
    /// Those that a description in progress has not named yet.
    pub(super) unnamed: HashSet<SessionId>,
}

impl Engine {
    pub(super) fn new(
        options: Options,
        hub: Arc<LocalHub>,
        reports: mpsc::Sender<(LinkId, Report)>,
        requests: mpsc::WeakUnboundedSender<Request>,
        start: Promise<Result<(), StartError>>,
    ) -> Self {
        Self {
            kind: options.kind,
            options,
            hub,
            reports,
            requests,
            links: HashMap::new(),
            slots: HashMap::new(),
            idle: Vec::new(),
            last: 0,
            address: 0,
            start: Some(start),
            stop: None,
            ready: false,
            batches: HashMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sent_to: HashSet::new(),
            jobs: VecDeque::new(),
            probing: None,
            trial: None,
            sources: BTreeMap::new(),
            by_source: HashMap::new(),
            subscriptions: HashMap::new(),
            subscribed_to: HashSet::new(),
            consumers: HashMap::new(),
            left_queues: HashMap::new(),
            settles: HashMap::new(),
            commits: HashMap::new(),
            released: Released::default(),
            joined: false,
            was_joined: false,
            joining: Vec::new(),
            peers: HashMap::new(),
            alive_at: Instant::now(),
        }
    }

    /// Returns an unused number.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Released {
    const KEPT: usize = 10_000;

    pub(super) fn note(&mut self, held: &Held) {
        let id = held.message.id();
        if self
            .counts
            .insert(id.clone(), held.redeliveries + 1)
            .is_none()
        {
            self.order.push_back(id.clone());
        }
        if self.order.len() > Self::KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
    }

    /// Returns how often this node delivered a message that went back, if it did.
    pub(super) fn count(&self, id: &str) -> Option<u32> {
        self.counts.get(id).copied()
    }
}

/// Remembers a destination; the bound keeps an endless stream of names from growing it.
pub(super) fn remember(known: &mut HashSet<Spelled>, spelled: Spelled) {
    const KEPT: usize = 100_000;
    if known.len() >= KEPT {
        known.clear();
    }
    known.insert(spelled);
}
