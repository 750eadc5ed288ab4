//! What the broker carries.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use bytestring::ByteString;
use tramline_stomp::Headers;

use crate::budget::{Budget, Charge};
use crate::{Destination, Target};

/// A message as the broker hands it to subscribers: shared by all of them, never changed.
pub struct Message {
    id: ByteString,
    destination: ByteString,
    headers: Headers,
    body: Bytes,
    position: Option<Position>,
    size: usize,
    redeliveries: AtomicU32,
    _charge: Option<Charge>,
    wire: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Message {
    /// Makes the message that subscribers get out of what a publisher gave. For authors of brokers.
    ///
    /// `id` must be unique among the messages that one session can receive; `position` is set for topic messages.
    pub fn new(publish: Publish, id: ByteString, position: Option<Position>) -> Self {
        let destination = publish.shown_as.unwrap_or_else(|| {
            let (Target::Destination(shown)
            | Target::User { path: shown, .. }
            | Target::Session { path: shown, .. }) = publish.target;
            shown.as_bytestring().clone()
        });
        let size =
            publish.body.len() + publish.headers.encoded_len_hint() + destination.len() + id.len();
        Self {
            id,
            destination,
            headers: publish.headers,
            body: publish.body,
            position,
            size,
            redeliveries: AtomicU32::new(0),
            _charge: None,
            wire: OnceLock::new(),
        }
    }

    /// Counts the message against `budget` for as long as it exists.
    pub(crate) fn charged(mut self, budget: &Arc<Budget>) -> Self {
        self._charge = Some(budget.charge(self.size));
        self
    }

    /// Says that the message was, or may have been, delivered before. For authors of brokers.
    #[must_use]
    pub fn redelivered(mut self, times: u32) -> Self {
        *self.redeliveries.get_mut() = times;
        self
    }

    /// The same message with other headers and another body: for what one receiver gets in its place.
    #[must_use]
    pub fn with_content(&self, headers: Headers, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let texts = self.destination.len() + self.id.len();
        Self {
            id: self.id.clone(),
            destination: self.destination.clone(),
            size: body.len() + headers.encoded_len_hint() + texts,
            headers,
            body,
            position: self.position,
            redeliveries: AtomicU32::new(self.redeliveries()),
            _charge: None,
            wire: OnceLock::new(),
        }
    }

    /// How often the message was delivered before, or may have been: 0 the first time, and always for topics.
    pub fn redeliveries(&self) -> u32 {
        self.redeliveries.load(Ordering::Relaxed)
    }

    /// Whether this and `other` are of one destination and have the same value in the header `key`, so that the later
    /// takes the place of the earlier.
    pub(crate) fn replaces(&self, other: &Self, key: &str) -> bool {
        self.destination == other.destination && self.headers.get(key) == other.headers.get(key)
    }

    /// Counts one more delivery that came to nothing; gives how many that are.
    pub(crate) fn came_back(&self) -> u32 {
        self.redeliveries.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The `message-id`.
    pub fn id(&self) -> &ByteString {
        &self.id
    }

    /// The destination as its receivers see it.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The publisher's headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Where in its topic's order the message stands; `None` for messages to a user or session, which have none.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// What the message counts for in byte budgets: body, header and destination texts, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A place for whoever writes the message to the wire to keep its encoded forms, so that each is made at most
    /// once however many receive it. The broker never looks inside.
    ///
    /// The first caller decides the type; one process has one kind of writer, so a second type is a programming
    /// error and gets `None`.
    pub fn wire_forms<T: Default + Send + Sync + 'static>(&self) -> Option<&T> {
        self.wire.get_or_init(|| Box::<T>::default()).downcast_ref()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("destination", &self.destination)
            .field("headers", &self.headers)
            .field("body_len", &self.body.len())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// A message's place in the one order that all subscribers of its destination see.
///
/// Positions compare only within one epoch: a destination that was forgotten comes back with a new one, and its
/// sequence starts again at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which life of the destination this is; unique per broker and start.
    pub epoch: u64,
    /// Counts up by one for each message, from 1.
    pub sequence: u64,
}

/// What a publisher gives to [`Broker::publish`](crate::Broker::publish).
#[derive(Clone, Debug)]
pub struct Publish {
    /// Whom it is for.
    pub target: Target,
    /// The headers its receivers see, besides those that the server owns.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    shown_as: Option<ByteString>,
}

impl Publish {
    /// A message with headers and body for `target`.
    pub fn new(target: impl Into<Target>, headers: Headers, body: impl Into<Bytes>) -> Self {
        Self {
            target: target.into(),
            headers,
            body: body.into(),
            shown_as: None,
        }
    }

    /// Lets receivers see `destination` in place of the target's own: `/user/queue/errors`, not `/queue/errors`.
    #[must_use]
    pub fn shown_as(mut self, destination: impl Into<ByteString>) -> Self {
        self.shown_as = Some(destination.into());
        self
    }

    /// About what the message will [count for](Message::size) in byte budgets.
    pub fn size_hint(&self) -> usize {
        self.body.len() + self.headers.encoded_len_hint()
    }

    /// The target's destination, when it has a plain one.
    pub(crate) fn destination(&self) -> Option<&Destination> {
        match &self.target {
            Target::Destination(destination) => Some(destination),
            _ => None,
        }
    }
}
