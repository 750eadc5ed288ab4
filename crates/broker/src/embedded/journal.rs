//! The interface between the embedded broker and a store that keeps its queues.

use std::fmt;
use std::ops::BitOr;

use bytestring::ByteString;

use crate::message::{Message, Publish};

/// Keeps the messages of durable queues: `tramline-store` on disk, or a test its own way.
///
/// The [`EmbeddedBroker`](crate::EmbeddedBroker) calls it with locks of its queues held, so no method blocks or calls
/// back before it returns; only [`when_stored`](Self::when_stored) and [`stop`](Self::stop), for which the broker holds
/// none, may answer at once that the journal has ended. Other callbacks come later, from the journal's own thread, in the
/// order of the calls. A journal that has ended drops the callback of [`fetch`](Self::fetch).
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// The names of the queues that it had messages for when it was opened.
    fn queue_names(&self) -> Vec<ByteString>;

    /// Gives the queues and messages that it had when it was opened; the second call returns none.
    fn recover(&self) -> Vec<RecoveredQueue>;

    /// Checks that a message, or the messages of a transaction, of `bytes` can be stored now. Changes that free room
    /// are appended without it.
    ///
    /// # Errors
    ///
    /// The reason, for the publisher.
    fn check(&self, bytes: usize) -> Result<(), JournalError>;

    /// Appends one record: all of its changes are kept, or none. Its [`Change::Enqueue`]s are numbered upward from
    /// [`Appended::first`], in order.
    fn append(&self, changes: &[Change<'_>]) -> Appended;

    /// Calls `done` when every record up to `ticket` is stored as `durability` says, or with the reason why it will not
    /// be.
    fn when_stored(&self, ticket: Ticket, durability: Durability, done: WhenStored);

    /// Reads messages, and calls `done` with an answer for each of `keys`, in order.
    fn fetch(&self, keys: Vec<Key>, done: WhenFetched);

    /// Stores everything and ends; `done` is called then. Later calls of [`check`](Self::check) are errors.
    fn stop(&self, done: Box<dyn FnOnce() + Send>);
}

/// The callback of [`Journal::when_stored`].
pub type WhenStored = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// The callback of [`Journal::fetch`].
pub type WhenFetched = Box<dyn FnOnce(Vec<Fetched>) + Send>;

/// The number of a stored message. Numbers go up in the order of storing and are never used again, so the messages of a
/// queue are in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// The number of a record, by which a caller waits for it. Numbers go up in the order of appending, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// When the messages of a queue count as stored, and their publishers receive their receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The device has them (`fdatasync`): they survive a loss of power.
    Synced,
    /// The operating system has them: they survive the end of the process, however it ends, and are lost if the machine
    /// fails within the next seconds. For queues whose publishers cannot wait for the device.
    Written,
}

/// One change of a record.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change<'a> {
    /// A message is at the end of a queue.
    Enqueue {
        /// The queue's name.
        queue: &'a ByteString,
        /// The message.
        message: &'a Message,
    },
    /// A message has left its queue.
    Remove {
        /// The message.
        key: Key,
    },
    /// A message came back to its queue.
    Redelivered {
        /// The message.
        key: Key,
        /// How often it came back in all.
        count: u32,
    },
}

/// The answer of [`Journal::append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The key of the record's first [`Change::Enqueue`].
    pub first: Key,
    /// The record.
    pub ticket: Ticket,
}

/// A queue that a journal had when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// Its name.
    pub name: ByteString,
    /// Its messages, in order.
    pub keys: Vec<Key>,
    /// The sum of their [sizes](Message::size).
    pub bytes: usize,
}

/// A message that was asked for.
#[derive(Debug)]
pub struct Fetched {
    /// Its key.
    pub key: Key,
    /// The message; `None` if it can no longer be read. The journal has reported why.
    pub message: Option<FetchedMessage>,
}

/// A message as its journal kept it.
#[derive(Debug)]
pub struct FetchedMessage {
    /// The message, with its id and times.
    pub publish: Publish,
    /// The message's [size](Message::size) when it was stored.
    pub size: usize,
    /// How often it came back to its queue.
    pub redeliveries: u32,
    /// True if a consumer may have had it before the broker ended, without that being recorded.
    pub maybe_delivered: bool,
}

/// A message cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The store has reached its limit, or the disk is full.
    #[error(
        "the store holds {used} bytes of {max}; wait until messages are consumed, or raise its limit"
    )]
    Full {
        /// The bytes that it takes on disk.
        used: u64,
        /// Its limit.
        max: u64,
    },
    /// The message or transaction is larger than a record can be.
    #[error("it has {bytes} bytes, and the store takes {max} at once; send less")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Storing failed for good: nothing more is confirmed until the store is opened anew.
    #[error("the store has failed and takes nothing until it is opened again: {reason}")]
    Failed {
        /// The first failure.
        reason: ByteString,
    },
}

/// The records that an answer waits for, by what they wait for; zero for none. It is made for every publish, durable or
/// not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Awaited {
    written: Ticket,
    synced: Ticket,
}

impl Awaited {
    pub(super) fn one(ticket: Ticket, durability: Durability) -> Self {
        let mut awaited = Self::default();
        match durability {
            Durability::Synced => awaited.synced = ticket,
            Durability::Written => awaited.written = ticket,
        }
        awaited
    }

    /// The last record to wait for. Records are stored in order, so it stands for those before it.
    pub(super) fn last(self) -> Option<(Ticket, Durability)> {
        let none = Ticket::default();
        let durability = match self.synced > none {
            true => Durability::Synced,
            false => Durability::Written,
        };
        let last = self.synced.max(self.written);
        (last > none).then_some((last, durability))
    }
}

impl BitOr for Awaited {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            written: self.written.max(other.written),
            synced: self.synced.max(other.synced),
        }
    }
}
