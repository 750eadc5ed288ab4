//! The server: one thread that handles the requests of all nodes in turn. Closures over a channel stand for frames over
//! connections.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, mpsc};
use std::thread;

use bytestring::ByteString;
use tramline_broker::{
    Command, Commit, CommitError, Confirm, Consumer, DestinationKind, Feed, LocalHub, MemberEvent,
    NodeId, Outcome, Position, Promise, Publish, PublishError, Published, Refused, SettleError,
    Source, SubscribeError, Subscribed, Target, Token, Unanswered,
};

type Work = Box<dyn FnOnce(&mut State) + Send>;

/// The server's address. The thread ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Server(mpsc::Sender<Work>);

/// The server's state.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    queues: HashMap<ByteString, Queue>,
    consumers: HashMap<u64, Held>,
    positions: HashMap<ByteString, u64>,
    last: u64,
}

pub(crate) struct Node {
    pub(crate) hub: Arc<LocalHub>,
    pub(crate) feeds: HashMap<Source, Feed>,
}

#[derive(Default)]
struct Queue {
    /// By number; a message that comes back keeps its number.
    waiting: BTreeMap<u64, Letter>,
    turns: VecDeque<u64>,
}

struct Letter {
    publish: Publish,
    redeliveries: u32,
}

struct Held {
    consumer: Arc<Consumer>,
    hub: Arc<LocalHub>,
    unsettled: BTreeMap<Token, (u64, Letter)>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let (work, queue) = mpsc::channel::<Work>();
        let mut state = State::default();
        thread::spawn(move || queue.into_iter().for_each(|work| work(&mut state)));
        Self(work)
    }

    /// Queues `work` for the server's thread. If the server is gone, dropping `work` drops its promise, which answers.
    pub(crate) fn ask<T: Unanswered + Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Confirm<T> {
        let (promise, confirm) = Promise::new();
        let work = move |state: &mut State| promise.keep(work(state));
        drop(self.0.send(Box::new(work)));
        confirm
    }
}

impl State {
    /// Returns an unused number for a feed, token, consumer or message.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn join(&mut self, hub: Arc<LocalHub>) {
        hub.set_available(true);
        let feeds = HashMap::new();
        self.nodes.insert(hub.node(), Node { hub, feeds });
        // Each comes back as an announcement, behind those that are queued.
        let nodes = self.nodes.values();
        nodes.for_each(|node| node.hub.announce_members());
    }

    pub(crate) fn leave(&mut self, node: NodeId) {
        let held = self.consumers.iter();
        let own = held.filter(|(_, held)| held.hub.node() == node);
        for id in own.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.cancel(id);
        }
        if let Some(left) = self.nodes.remove(&node) {
            left.hub.set_available(false);
            for hub in self.others(node) {
                hub.node_gone(node);
                left.hub.node_gone(hub.node());
            }
        }
    }

    fn others(&self, node: NodeId) -> impl Iterator<Item = &Arc<LocalHub>> {
        let hubs = self.nodes.values().map(|node| &node.hub);
        hubs.filter(move |hub| hub.node() != node)
    }

    pub(crate) fn announce(&self, node: NodeId, event: &MemberEvent) {
        if self.nodes.contains_key(&node) {
            let others = self.others(node);
            others.for_each(|hub| hub.announced(node, event.clone()));
        }
    }

    pub(crate) fn command(&self, node: NodeId, command: Command) {
        if let Some(node) = self.nodes.get(&node) {
            node.hub.command(command);
        }
    }

    pub(crate) fn activate(&mut self, node: NodeId, source: Source, feed: Feed) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.feeds.insert(source, feed);
        }
    }

    pub(crate) fn deactivate(&mut self, node: NodeId, source: &Source) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.feeds.remove(source);
        }
    }

    pub(crate) fn publish(
        &mut self,
        from: NodeId,
        batch: Vec<Publish>,
    ) -> Result<Published, Refused> {
        let mut receivers = 0;
        let (mut done, mut batch) = (0, batch.into_iter());
        while let Some(publish) = batch.next() {
            let queue = match self.queue(from, &publish.target) {
                Ok(queue) => queue,
                Err(error) => return Err(Refused::new(done, error).with_rest(batch)),
            };
            done += 1;
            let number = self.number();
            match queue {
                None => receivers += self.fan_out(from, publish, number),
                Some(name) => {
                    let publish = publish.numbered(format!("m-{number}"), None);
                    let redeliveries = 0;
                    let letter = Letter {
                        publish,
                        redeliveries,
                    };
                    let queue = self.queues.entry(name.clone()).or_default();
                    queue.waiting.insert(number, letter);
                    self.dispatch(&name);
                }
            }
        }
        Ok(Published::new(receivers))
    }

    /// Returns the queue's name if `target` is a queue.
    fn queue(&self, from: NodeId, target: &Target) -> Result<Option<ByteString>, PublishError> {
        let node = self.nodes.get(&from);
        let hub = &node.ok_or(PublishError::BrokerUnavailable)?.hub;
        let Target::Destination(destination) = target else {
            return Ok(None);
        };
        match hub.settings().kind(destination) {
            Some((DestinationKind::Queue, _)) => Ok(Some(destination.as_bytestring().clone())),
            Some(_) => Ok(None),
            None => Err(hub.unknown_destination(destination)),
        }
    }

    /// Delivers to each node with subscribers, once per feed; returns the number of deliveries at `from`.
    fn fan_out(&mut self, from: NodeId, publish: Publish, number: u64) -> usize {
        let wanted = publish.target.clone();
        let position = match &wanted {
            Target::Destination(to) => {
                let name = to.as_bytestring().clone();
                let sequence = self.positions.entry(name).or_default();
                *sequence += 1;
                let sequence = *sequence;
                Some(Position { epoch: 1, sequence })
            }
            _ => None,
        };
        let publish = publish.numbered(format!("m-{number}"), position);
        let mut receivers = 0;
        for (id, node) in &self.nodes {
            let feeds = node.feeds.iter();
            let feeds = feeds.filter(|(source, _)| match (source, &wanted) {
                (Source::Pattern(pattern), Target::Destination(to)) => pattern.matches(to),
                (Source::User(user), Target::User { name, .. }) => user == name,
                (Source::Session(session), Target::Session { id, .. }) => session == id,
                _ => false,
            });
            for feed in feeds.map(|(_, feed)| *feed).collect::<HashSet<_>>() {
                let delivered = node.hub.deliver(feed, vec![publish.clone()]);
                receivers += delivered.unwrap_or(0) * usize::from(*id == from);
            }
        }
        receivers
    }

    pub(crate) fn consume(
        &mut self,
        node: NodeId,
        id: u64,
        consumer: Arc<Consumer>,
    ) -> Result<Subscribed, SubscribeError> {
        let node = self.nodes.get(&node);
        let hub = Arc::clone(&node.ok_or(SubscribeError::BrokerUnavailable)?.hub);
        let name = ByteString::from(consumer.pattern().as_str());
        let unsettled = BTreeMap::new();
        self.consumers.insert(
            id,
            Held {
                consumer,
                hub,
                unsettled,
            },
        );
        self.queues
            .entry(name.clone())
            .or_default()
            .turns
            .push_back(id);
        self.dispatch(&name);
        Ok(Subscribed::default())
    }

    pub(crate) fn cancel(&mut self, id: u64) {
        let Some(held) = self.consumers.remove(&id) else {
            return;
        };
        let name = ByteString::from(held.consumer.pattern().as_str());
        let queue = self.queues.entry(name.clone()).or_default();
        queue.turns.retain(|other| *other != id);
        let unsettled = held.unsettled.into_values();
        queue
            .waiting
            .extend(unsettled.map(|(number, letter)| (number, letter.again())));
        self.dispatch(&name);
    }

    pub(crate) fn settle(
        &mut self,
        id: u64,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Result<(), SettleError> {
        if !self.has(id, tokens) {
            return Err(SettleError::Gone);
        }
        let held = self.consumers.get_mut(&id).ok_or(SettleError::Gone)?;
        let name = ByteString::from(held.consumer.pattern().as_str());
        let queue = self.queues.entry(name.clone()).or_default();
        for (number, letter) in tokens
            .iter()
            .filter_map(|token| held.unsettled.remove(token))
        {
            if outcome == Outcome::Released {
                queue.waiting.insert(number, letter.again());
            }
        }
        self.dispatch(&name);
        Ok(())
    }

    fn has(&self, id: u64, tokens: &[Token]) -> bool {
        let held = self.consumers.get(&id);
        held.is_some_and(|held| {
            tokens
                .iter()
                .all(|token| held.unsettled.contains_key(token))
        })
    }

    pub(crate) fn commit(
        &mut self,
        node: NodeId,
        commit: Commit,
        id: impl Fn(&Consumer) -> u64,
    ) -> Result<Published, CommitError> {
        for publish in &commit.publishes {
            self.queue(node, &publish.target)?;
        }
        let settlements = &commit.settlements;
        if !settlements
            .iter()
            .all(|of| self.has(id(&of.consumer), &of.tokens))
        {
            return Err(SettleError::Gone.into());
        }
        for of in settlements {
            self.settle(id(&of.consumer), &of.tokens, of.outcome)?;
        }
        let published = self.publish(node, commit.publishes);
        published.map_err(|refused| refused.error.into())
    }

    /// Delivers a queue's messages to its consumers in turn.
    fn dispatch(&mut self, name: &ByteString) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        let mut turned_down = 0;
        while turned_down < queue.turns.len()
            && let Some(letter) = queue.waiting.first_entry()
        {
            queue.turns.rotate_left(1);
            turned_down += 1;
            let id = queue.turns[queue.turns.len() - 1];
            let Some(held) = self.consumers.get_mut(&id) else {
                continue;
            };
            let (consumer, next) = (&held.consumer, letter.get());
            if held.unsettled.len() >= consumer.credit().get() as usize {
                continue;
            }
            self.last += 1;
            let token = Token(self.last);
            let message = held.hub.message(next.publish.clone());
            if consumer.deliver(token, message, next.redeliveries) {
                held.unsettled.insert(token, letter.remove_entry());
                turned_down = 0;
            }
        }
        if queue.turns.is_empty() && queue.waiting.is_empty() {
            self.queues.remove(name);
        }
    }
}

impl Letter {
    fn again(mut self) -> Self {
        self.redeliveries += 1;
        self
    }
}
