//! Messages, as publishers send them and as subscribers receive them.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_stomp::Headers;

use crate::destination::{Destination, Target};
use crate::hub::accounts::{Account, Charge};
use crate::selector::{Properties, Property};
use crate::timestamp::Timestamp;

/// A message as subscribers receive it: shared by all of them and immutable.
pub struct Message {
    id: ByteString,
    destination: ByteString,
    headers: Headers,
    body: Bytes,
    place: Place,
    size: usize,
    extra: Option<Box<Extra>>,
    _charge: Option<Charge>,
    wire: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// A message's place in its topic. One value, so that a message is no larger than it has to be.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// It has none.
    Nowhere,
    Passing(Position),
    /// The topic keeps it.
    Kept(Position),
}

impl Message {
    /// The bytes that a message takes besides its [size](Self::size), as they count against the hub's memory: its records,
    /// its place in a queue or outbox, and what the allocator adds.
    pub const OVERHEAD: usize = 400;

    /// Creates the message that subscribers receive for a `publish`. Engines call
    /// [`LocalHub::message`](crate::LocalHub::message) instead, which sets an id and counts it against the hub's
    /// memory.
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
            place: position.map_or(Place::Nowhere, Place::Passing),
            size,
            extra: publish.extra,
            _charge: None,
            wire: OnceLock::new(),
        }
    }

    /// Counts the message in `account` for as long as it exists; a kept one twice, for the encoded form that stays with it.
    /// It is `unwritten` if it waits for readers.
    pub(crate) fn charged(mut self, account: Arc<Account>, unwritten: bool) -> Self {
        let forms = 1 + usize::from(self.is_kept());
        let bytes = forms * self.size + Self::OVERHEAD;
        self._charge = Some(account.charge(bytes, unwritten));
        self
    }

    /// Marks the message as one that its topic keeps.
    pub(crate) fn kept(mut self) -> Self {
        if let Place::Passing(position) = self.place {
            self.place = Place::Kept(position);
        }
        // Only the server writes it on such a message.
        if self.headers.get("position").is_some() {
            self.headers.retain(|name, _| name != "position");
        }
        self
    }

    /// Returns the same message with other headers and another body, for one receiver.
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
            place: self.place,
            extra: self.extra.clone(),
            _charge: None,
            wire: OnceLock::new(),
        }
    }

    /// Returns true if this and `other` have the same destination and the same value in the header `key`, so that the
    /// later replaces the earlier.
    pub(crate) fn replaces(&self, other: &Self, key: &str) -> bool {
        self.destination == other.destination && self.headers.get(key) == other.headers.get(key)
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

    /// Its position in the topic's order; `None` for messages to a user or session, which have none.
    pub fn position(&self) -> Option<Position> {
        match self.place {
            Place::Nowhere => None,
            Place::Passing(position) | Place::Kept(position) => Some(position),
        }
    }

    /// Returns true if its topic keeps it, so that a client can [resume](crate::Start::After) from its position.
    pub fn is_kept(&self) -> bool {
        matches!(self.place, Place::Kept(_))
    }

    /// The time it was published, if its publisher or engine set one.
    pub fn time(&self) -> Option<Timestamp> {
        self.extra.as_ref()?.time
    }

    /// The time at which it expires: it is not handed out from then on.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.extra.as_ref()?.expires_at
    }

    /// Its priority, if its publisher set one: 0 is the lowest, 4 the usual one, 9 the highest.
    pub fn priority(&self) -> Option<u8> {
        self.extra.as_ref()?.priority
    }

    /// Its W3C trace context, as in a `traceparent` header, if its publisher set one.
    pub fn trace_context(&self) -> Option<&ByteString> {
        self.extra.as_ref()?.trace_context.as_ref()
    }

    /// The moment of its publishing, if its publisher [measures](Publish::sample) its way.
    pub fn sampled_at(&self) -> Option<Instant> {
        self.extra.as_ref()?.sampled_at
    }

    /// Turns the message into a dead letter for `destination`: with its headers, except those of its time to live, and
    /// with `dead-letter-reason`, `original-destination` and `original-delivery-count`. It is
    /// [immediate](Publish::immediate): no publisher waits for room.
    pub fn dead_letter(
        &self,
        destination: Destination,
        reason: DeadLetterReason,
        deliveries: u32,
    ) -> Publish {
        let mut headers = self.headers.clone();
        headers.retain(|name, _| {
            !matches!(name, "expires" | "expiration") && !is_dead_letter_header(name)
        });
        let name = ByteString::from_static;
        headers.push(name("dead-letter-reason"), reason.as_str());
        headers.push(name("original-destination"), self.destination());
        headers.push(name("original-delivery-count"), deliveries.to_string());
        Publish::new(destination, headers, self.body.clone()).immediate()
    }

    /// The bytes that the message counts for in queues and outboxes: body, header and destination texts.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A slot for the message's encoded forms, so that each is made at most once for all receivers. The broker never
    /// reads it.
    ///
    /// The first caller decides the type. One process has one kind of writer, so a second type is a programming error
    /// and gets `None`.
    pub fn wire_forms<T: Default + Send + Sync + 'static>(&self) -> Option<&T> {
        self.wire.get_or_init(|| Box::<T>::default()).downcast_ref()
    }
}

/// JMS's names stand for what JMS has in fields of its own.
impl Properties for Message {
    fn property(&self, name: &str) -> Option<Property<'_>> {
        let header = |name| self.headers.get(name).map(Property::Text);
        match name {
            "JMSMessageID" => Some(Property::Text(&self.id)),
            "JMSCorrelationID" => header("correlation-id"),
            "JMSType" => header("type"),
            "JMSPriority" => match self.priority() {
                Some(priority) => Some(Property::Number(priority.into())),
                None => header("priority").or(Some(Property::Number(4))),
            },
            "JMSTimestamp" => match self.time() {
                Some(time) => i64::try_from(time.as_millis()).ok().map(Property::Number),
                None => header("timestamp"),
            },
            "JMSDeliveryMode" => {
                let persistent = self.headers.get("persistent");
                let is_persistent =
                    persistent.is_some_and(|value| value.eq_ignore_ascii_case("true"));
                Some(Property::Text(match is_persistent {
                    true => "PERSISTENT",
                    false => "NON_PERSISTENT",
                }))
            }
            name => header(name),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("destination", &self.destination)
            .field("headers", &self.headers)
            .field("body_len", &self.body.len())
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// A message's position in the order that all subscribers of its destination see.
///
/// Positions compare only within one epoch: a destination that was removed returns with a new epoch, and its sequence
/// starts again at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the destination, unique per broker and start.
    pub epoch: u64,
    /// Counts up by one for each message, from 1.
    pub sequence: u64,
}

impl Position {
    /// Before the first message of a destination, whatever its epoch.
    pub const START: Self = Self {
        epoch: 0,
        sequence: 0,
    };
}

impl std::str::FromStr for Position {
    type Err = InvalidPosition;

    /// Reads `EPOCH-SEQUENCE`.
    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let number = |digits: &str| {
            let is_plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            is_plain.then(|| digits.parse().ok()).flatten()
        };
        let (epoch, sequence) = text.split_once('-').ok_or(InvalidPosition)?;
        Ok(Self {
            epoch: number(epoch).ok_or(InvalidPosition)?,
            sequence: number(sequence).ok_or(InvalidPosition)?,
        })
    }
}

/// A text is no [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is EPOCH-SEQUENCE, two numbers")]
pub struct InvalidPosition;

impl fmt::Display for Position {
    /// Writes `EPOCH-SEQUENCE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.sequence)
    }
}

/// Messages that a subscription misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last position that the client had.
    pub after: Position,
    /// The last position that is missing.
    pub up_to: Position,
}

impl Gap {
    /// Returns the gap from this one to a later one, unless the destination has begun to number anew in between.
    pub(crate) fn with(self, later: Self) -> Option<Self> {
        let same = self.after.epoch == later.up_to.epoch;
        same.then_some(Self {
            after: self.after,
            up_to: later.up_to,
        })
    }
}

/// The reason why a message became a dead letter, for its header `dead-letter-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// Its time to live ended: `expired`.
    Expired,
    /// A consumer rejected it: `rejected`.
    Rejected,
    /// It came back from consumers too often: `max-deliveries`.
    MaxDeliveries,
}

/// Returns true if only the hub writes this header, on dead letters: `original-destination`, `original-delivery-count`,
/// and all that begin with `dead-letter-`.
pub fn is_dead_letter_header(name: &str) -> bool {
    name.starts_with("dead-letter-")
        || matches!(name, "original-destination" | "original-delivery-count")
}

impl DeadLetterReason {
    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::MaxDeliveries => "max-deliveries",
        }
    }
}

/// Properties that most messages do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Extra {
    id: Option<ByteString>,
    position: Option<Position>,
    time: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    priority: Option<u8>,
    trace_context: Option<ByteString>,
    sampled_at: Option<Instant>,
    immediate: bool,
}

/// A message to publish, for [`Hub::publish`](crate::Hub::publish).
#[derive(Clone, Debug)]
pub struct Publish {
    /// Its receivers.
    pub target: Target,
    /// The headers its receivers see, besides those that the server sets.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    shown_as: Option<ByteString>,
    extra: Option<Box<Extra>>,
    /// The account of the client that publishes it.
    account: Option<Arc<Account>>,
}

/// The same message of the same client.
impl PartialEq for Publish {
    fn eq(&self, other: &Self) -> bool {
        let accounts = (self.account.as_ref(), other.account.as_ref());
        self.target == other.target
            && self.headers == other.headers
            && self.body == other.body
            && self.shown_as == other.shown_as
            && self.extra == other.extra
            && accounts.0.map(Arc::as_ptr) == accounts.1.map(Arc::as_ptr)
    }
}

impl Eq for Publish {}

impl Publish {
    /// Creates a message with headers and body for `target`.
    pub fn new(target: impl Into<Target>, headers: Headers, body: impl Into<Bytes>) -> Self {
        Self {
            target: target.into(),
            headers,
            body: body.into(),
            shown_as: None,
            extra: None,
            account: None,
        }
    }

    /// Refuses the message at once instead of waiting for room in a full queue: no publisher waits for it.
    #[must_use]
    pub fn immediate(mut self) -> Self {
        self.extra().immediate = true;
        self
    }

    /// Returns true if the message must not wait for room in a full queue.
    pub fn is_immediate(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.immediate)
    }

    /// Sets the time it was published.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.extra().time = Some(time);
        self
    }

    /// Sets the time at which it expires; without, the headers `expires` and `expiration` say it.
    #[must_use]
    pub fn expires_at(mut self, time: Timestamp) -> Self {
        self.extra().expires_at = Some(time);
        self
    }

    /// Sets a priority from 0 to 9; a larger number means 9, as in JMS.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.extra().priority = Some(priority.min(9));
        self
    }

    /// Sets the W3C trace context that it belongs to.
    #[must_use]
    pub fn trace_context(mut self, context: impl Into<ByteString>) -> Self {
        self.extra().trace_context = Some(context.into());
        self
    }

    /// Marks the message as one whose way to its receivers is measured, from this moment on. The mark does not leave the
    /// process.
    pub fn sample(&mut self, now: Instant) {
        self.extra().sampled_at = Some(now);
    }

    /// Sets an engine's own id and position in place of the hub's, for messages from elsewhere, so that receivers on
    /// different nodes see the same message.
    #[must_use]
    pub fn numbered(mut self, id: impl Into<ByteString>, position: Option<Position>) -> Self {
        let extra = self.extra();
        extra.id = Some(id.into());
        extra.position = position;
        self
    }

    /// The engine's id, if it has one.
    pub fn id(&self) -> Option<&ByteString> {
        self.extra.as_ref()?.id.as_ref()
    }

    /// The engine's position, if it has one.
    pub fn position(&self) -> Option<Position> {
        self.extra.as_ref()?.position
    }

    /// Returns true if no time of expiry was set.
    pub(crate) fn lacks_expiry(&self) -> bool {
        let extra = self.extra.as_ref();
        extra.is_none_or(|extra| extra.expires_at.is_none())
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Shows receivers `destination` in place of the target's own: `/user/queue/errors`, not `/queue/errors`.
    #[must_use]
    pub fn shown_as(mut self, destination: impl Into<ByteString>) -> Self {
        self.shown_as = Some(destination.into());
        self
    }

    /// The approximate number of bytes that the message will [count for](Message::size) in queues and outboxes.
    pub fn size_hint(&self) -> usize {
        self.body.len() + self.headers.encoded_len_hint()
    }

    /// The approximate number of bytes that the message will count for in the hub's memory.
    pub(crate) fn memory(&self) -> usize {
        self.size_hint() + Message::OVERHEAD
    }

    /// Sets the account of the client that publishes it.
    pub(crate) fn charge(&mut self, account: &Arc<Account>) {
        self.account = Some(Arc::clone(account));
    }

    /// Takes the account of the client that publishes it.
    pub(crate) fn take_account(&mut self) -> Option<Arc<Account>> {
        self.account.take()
    }

    /// The account of the client that publishes it; `None` for the application's own messages.
    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// The target's destination, unless the target is a user or session.
    pub(crate) fn destination(&self) -> Option<&Destination> {
        match &self.target {
            Target::Destination(destination) => Some(destination),
            _ => None,
        }
    }
}
