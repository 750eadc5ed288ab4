//! The nodes that share the broker: they talk by a topic of their own.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tramline_broker::{
    Activation, Command, Feed, Headers, MemberEvent, NodeId, Publish, SubscribeError, Target,
};
use tramline_stomp::AckMode;

use super::state::{Answer, Engine, Expected, Peer, Request, Role};
use crate::envelope::{Event, Letter, Says};
use crate::link::LinkId;
use crate::names::{NODES, Shape};

/// How often a node says that it is there.
const ALIVE: Duration = Duration::from_secs(5);

/// A node that was silent for so long is gone.
const GONE: Duration = Duration::from_secs(20);

impl Engine {
    /// Confirms a user's or session's source: what other nodes send comes by the topic that all nodes have.
    pub(super) fn activate_person(&mut self, activation: Activation) {
        match self.options.nodes.is_none() || self.was_joined {
            true => activation.confirm(Feed::NODE),
            false => self.joining.push((Instant::now(), activation)),
        }
    }

    fn topic(&self) -> Option<String> {
        let name = self.options.nodes.as_ref()?;
        Some(format!("/topic/{NODES}.{name}"))
    }

    pub(super) fn nodes_link(&self) -> Option<LinkId> {
        self.up(Role::Nodes).filter(|_| self.joined)
    }

    /// Subscribes to the topic of the nodes.
    pub(super) fn join(&mut self, link: LinkId) {
        let (Some(topic), Some(kind)) = (self.topic(), self.kind) else {
            return;
        };
        self.send(link, Expected::Nodes, |machine, receipt| {
            machine.subscribe(&topic, AckMode::Auto, kind.topic_headers(), Some(receipt))
        });
    }

    /// Handles the answer to that subscription.
    pub(super) fn joined(&mut self, answer: &Answer) {
        if !matches!(answer, Answer::Done) {
            return;
        }
        (self.joined, self.was_joined) = (true, true);
        let now = Instant::now();
        // They could not be heard while the link was away.
        for peer in self.peers.values_mut() {
            peer.seen = now;
        }
        self.say(Says::Joined);
        self.describe();
        for (_, activation) in std::mem::take(&mut self.joining) {
            activation.confirm(Feed::NODE);
        }
        self.resume_batches();
        self.look_ready();
    }

    /// Sends the other nodes a letter that needs no confirmation; returns false if they are not joined.
    fn say(&mut self, says: Says) -> bool {
        self.post(says, b"", None)
    }

    fn post(&mut self, says: Says, body: &[u8], expected: Option<Expected>) -> bool {
        let (Some(link), Some(topic), Some(kind)) = (self.nodes_link(), self.topic(), self.kind)
        else {
            return false;
        };
        let Some(letter) = Letter::new(self.hub.node(), says).encode(body) else {
            return false;
        };
        let mut headers = Headers::new();
        kind.complete_send(Shape::Topic, (None, self.hub.now()), &mut headers);
        let sent = match expected {
            Some(expected) => self.send(link, expected, |machine, receipt| {
                machine.send(&topic, headers, letter, Some(receipt));
            }),
            None => self.send_plain(link, |machine| machine.send(&topic, headers, letter, None)),
        };
        sent.is_some()
    }

    /// Returns true if a message to a user or session may have receivers on other nodes that are known of.
    pub(super) fn must_reach_others(&self, target: &Target) -> bool {
        if self.options.nodes.is_none() {
            return false;
        }
        match target {
            Target::Session { id, .. } => self
                .peers
                .values()
                .any(|peer| peer.sessions.contains_key(id)),
            Target::User { name, .. } => {
                let mut users = self.peers.values().flat_map(|peer| peer.sessions.values());
                users.any(|user| user.as_ref() == Some(name))
            }
            _ => false,
        }
    }

    /// Delivers a message for a user or session here, and sends it to the other nodes. Returns the number of receivers here,
    /// and whether `expected` will be answered.
    pub(super) fn broadcast(&mut self, publish: Publish, expected: Expected) -> (usize, bool) {
        let is_here = match &publish.target {
            Target::Session { id, .. } => self.hub.member(*id).is_some(),
            _ => false,
        };
        if is_here || self.nodes_link().is_none() {
            return (self.hub.deliver_here(publish), false);
        }
        let target = publish.target.clone();
        let message = self.hub.message(publish.clone());
        let receivers = self
            .hub
            .deliver_here(publish.numbered(message.id().clone(), None));
        let says = Says::message(&target, &message);
        let sent = says.is_some_and(|says| self.post(says, message.body(), Some(expected)));
        (receivers, sent)
    }

    pub(super) fn announce(&mut self, event: &MemberEvent) {
        // A link that is away loses it; all sessions are described when it is back.
        if let Some(says) = Says::event(event) {
            self.say(says);
        }
    }

    pub(super) fn command(&mut self, node: NodeId, command: &Command) {
        let said = Says::command(node, command).is_some_and(|says| self.say(says));
        if !said {
            tracing::warn!(%node, "a session of another node was not ended: the nodes are not joined");
        }
    }

    /// Describes all sessions to the other nodes.
    fn describe(&mut self) {
        self.say(Says::Describes);
        // Each comes back as a request, and the one behind them ends the description.
        self.hub.announce_members();
        if let Some(requests) = self.requests.upgrade() {
            // The queue is there as long as this task.
            let _ = requests.send(Request::Described);
        }
    }

    pub(super) fn described(&mut self) {
        self.say(Says::Described);
    }

    /// Tells the other nodes that this one leaves.
    pub(super) fn farewell(&mut self) {
        self.say(Says::Left);
        for (_, activation) in std::mem::take(&mut self.joining) {
            activation.refuse(SubscribeError::BrokerUnavailable);
        }
    }

    /// Handles another node's letter.
    pub(super) fn letter(&mut self, letter: &Bytes) {
        let Some((from, says, body)) = Letter::decode(letter) else {
            tracing::warn!("something that is no node writes to the topic of the nodes");
            return;
        };
        if from == self.hub.node() {
            return;
        }
        if let Says::Left = says {
            self.peers.remove(&from);
            self.hub.node_gone(from);
            return;
        }
        let seen = Instant::now();
        let peer = self.peers.entry(from).or_insert_with(|| Peer {
            seen,
            sessions: HashMap::new(),
            unnamed: HashSet::new(),
        });
        peer.seen = seen;
        match says {
            Says::Joined => self.describe(),
            Says::Alive | Says::Left => {}
            Says::Describes => peer.unnamed = peer.sessions.keys().copied().collect(),
            Says::Described => {
                let gone = std::mem::take(&mut peer.unnamed);
                for session in gone {
                    peer.sessions.remove(&session);
                    self.hub.announced(from, MemberEvent::Closed { session });
                }
            }
            Says::Event(event) => self.event(from, event),
            Says::End {
                to,
                session,
                code,
                reason,
            } => {
                if to != self.hub.node().to_string() {
                    return;
                }
                if let Ok(session) = session.parse() {
                    let reason = reason.into();
                    self.hub.command(Command::End {
                        session,
                        code,
                        reason,
                    });
                }
            }
            Says::Message(addressed) => {
                if let Some(publish) = addressed.read(body) {
                    self.hub.deliver_here(publish);
                }
            }
        }
    }

    fn event(&mut self, from: NodeId, event: Event) {
        let (Some(peer), Some((session, event))) = (self.peers.get_mut(&from), event.read(from))
        else {
            return;
        };
        peer.unnamed.remove(&session);
        match &event {
            MemberEvent::Closed { .. } => {
                peer.sessions.remove(&session);
            }
            MemberEvent::Opened(member) => {
                peer.sessions.insert(session, member.user.clone());
            }
            _ => {}
        }
        self.hub.announced(from, event);
    }

    /// Says that this node is there, and drops those that no longer say so.
    pub(super) fn tick_nodes(&mut self, now: Instant) {
        let late: Vec<_> = self
            .joining
            .extract_if(.., |(since, _)| {
                now.duration_since(*since) >= self.options.wait_time
            })
            .collect();
        for (_, activation) in late {
            activation.refuse(SubscribeError::BrokerUnavailable);
        }
        if !self.joined {
            return;
        }
        if now.duration_since(self.alive_at) >= ALIVE {
            self.alive_at = now;
            self.say(Says::Alive);
        }
        let gone = |peer: &Peer| now.duration_since(peer.seen) >= GONE;
        let gone: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(_, peer)| gone(peer))
            .map(|(node, _)| *node)
            .collect();
        for node in gone {
            self.peers.remove(&node);
            self.hub.node_gone(node);
        }
    }
}
