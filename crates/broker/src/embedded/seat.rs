//! The consumers of a queue, and their unsettled messages.

use std::collections::VecDeque;
use std::sync::Arc;

use super::journal::Key;
use super::ledger::Load;
use crate::feed::Token;
use crate::hub::consumer::Consumer;
use crate::message::Message;
use crate::request::Outcome;
use crate::selector::Selector;
use crate::timestamp::Timestamp;

/// A message in a queue.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    /// Its place in the queue, kept for when it comes back.
    pub(super) sequence: u64,
    pub(super) message: Arc<Message>,
    pub(super) expires_at: Option<Timestamp>,
    /// How often it was delivered and came back.
    pub(super) redeliveries: u32,
    /// True if a consumer may have had it before the broker started.
    pub(super) maybe_delivered: bool,
}

impl QueuedMessage {
    pub(super) fn load(&self) -> Load {
        Load::one(self.message.size())
    }

    /// How often it was delivered before, as its consumer sees it.
    fn shown_redeliveries(&self) -> u32 {
        self.redeliveries.max(self.maybe_delivered.into())
    }
}

/// A message that the journal gave back.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) key: Key,
    pub(super) message: Arc<Message>,
    /// Its size when it was stored.
    pub(super) size: usize,
    pub(super) redeliveries: u32,
    pub(super) maybe_delivered: bool,
}

/// A consumer, and its unsettled messages.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) number: u32,
    pub(super) consumer: Arc<Consumer>,
    pub(super) in_turn: bool,
    pub(super) last_token: u64,
    /// By token.
    pub(super) given: VecDeque<(Token, QueuedMessage)>,
    /// The number of its messages that a transaction is settling.
    pub(super) held: usize,
    /// Picks the messages that it takes; `None` for all.
    pub(super) selector: Option<Selector>,
    /// No ready message with a lower sequence is for its selector, so that each is looked at once.
    pub(super) looked_up_to: u64,
}

impl Seat {
    /// Returns the place of the first of the `ready` messages that it takes.
    pub(super) fn first_of(&mut self, ready: &VecDeque<QueuedMessage>) -> Option<usize> {
        let Some(selector) = &self.selector else {
            return (!ready.is_empty()).then_some(0);
        };
        let from = ready.partition_point(|entry| entry.sequence < self.looked_up_to);
        let mut rest = ready.range(from..);
        let found = rest.position(|entry| selector.matches(&*entry.message));
        let at = found.map(|at| from + at);
        let reached = match at {
            Some(at) => ready.get(at).map(|entry| entry.sequence),
            None => ready.back().map(|last| last.sequence + 1),
        };
        self.looked_up_to = self.looked_up_to.max(reached.unwrap_or_default());
        at
    }

    /// Returns true if it waits for a message such as this one, which is ready now.
    pub(super) fn waits_for(&mut self, entry: &QueuedMessage) -> bool {
        let selector = self.selector.as_ref();
        let wants = selector.is_some_and(|selector| selector.matches(&*entry.message));
        if wants {
            self.looked_up_to = self.looked_up_to.min(entry.sequence);
        }
        wants && !self.in_turn
    }

    /// Delivers a message to the consumer, or returns it if there is no credit or no room.
    pub(super) fn offer(&mut self, entry: QueuedMessage) -> Result<(), QueuedMessage> {
        let token = Token(self.last_token + 1);
        let credit = self.given.len() + self.held < self.consumer.credit().get() as usize;
        if !credit
            || !self
                .consumer
                .offer(token, &entry.message, entry.shown_redeliveries())
        {
            return Err(entry);
        }
        self.last_token = token.0;
        self.given.push_back((token, entry));
        Ok(())
    }

    pub(super) fn take(&mut self, token: Token) -> Option<QueuedMessage> {
        let at = self.given.binary_search_by_key(&token, |(token, _)| *token);
        let (_, entry) = self.given.remove(at.ok()?)?;
        if self.given.is_empty() && self.given.capacity() > KEPT_GIVEN {
            self.given = VecDeque::new();
        }
        Some(entry)
    }

    pub(super) fn put_back(&mut self, token: Token, entry: QueuedMessage) {
        let at = self.given.partition_point(|(other, _)| *other < token);
        self.given.insert(at, (token, entry));
    }
}

/// Identifies a consumer of a queue. Seats are reused, so an old key must not find the consumer that has the seat now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeatKey {
    pub(super) at: u32,
    pub(super) number: u32,
}

/// Messages that a transaction has taken from their consumer, to settle or put back.
#[derive(Debug)]
pub(super) struct HeldMessages {
    pub(super) key: SeatKey,
    pub(super) entries: Vec<(Token, QueuedMessage)>,
    pub(super) outcome: Outcome,
}

impl HeldMessages {
    /// The room that settling frees in the queue.
    pub(super) fn frees(&self) -> Load {
        let mut freed = Load::default();
        // A released message stays in the queue.
        if self.outcome != Outcome::Released {
            for (_, entry) in &self.entries {
                freed.add(entry.load());
            }
        }
        freed
    }
}

/// Capacity that a consumer's list may keep while it is empty, so that single messages do not allocate each time.
const KEPT_GIVEN: usize = 16;
