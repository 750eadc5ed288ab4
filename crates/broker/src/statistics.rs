//! Counts and rates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytestring::ByteString;

use crate::hub::outbox::{Lost, Overflow};

/// Statistics of a hub and its engine at one moment: see [`Hub::statistics`](crate::Hub::statistics).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BrokerStatistics {
    /// Open sessions.
    pub sessions: usize,
    /// Known destinations.
    pub destinations: usize,
    /// Bytes of all messages in queues, in outboxes, and waiting to be settled, and of open transactions. Each message
    /// counts once.
    pub bytes: usize,
    /// Those of them that are in no queue: they wait for readers.
    pub unwritten_bytes: usize,
    /// The limit of all.
    pub max_bytes: usize,
    /// Counts over all destinations since the start, including removed ones.
    pub totals: Counts,
    /// The requested destinations.
    pub selected: Vec<DestinationStatistics>,
}

/// Statistics of one destination.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DestinationStatistics {
    /// Its name.
    pub destination: ByteString,
    /// Its kind.
    pub kind: DestinationKind,
    /// Its subscriptions: for a topic, including those of patterns that cover it.
    pub subscribers: usize,
    /// Messages that wait for a consumer. 0 for topics, whose messages wait in outboxes.
    pub depth: usize,
    /// Messages delivered to consumers of a queue and not settled.
    pub unsettled: usize,
    /// Bytes of both. 0 for topics.
    pub bytes: usize,
    /// Counts since the destination became known.
    pub counts: Counts,
    /// Messages published per second, over the last ten or so.
    pub published_per_second: f32,
    /// Deliveries made per second, over the last ten or so.
    pub delivered_per_second: f32,
}

impl DestinationStatistics {
    /// Creates empty statistics of a destination. For authors of brokers.
    pub fn new(destination: impl Into<ByteString>, kind: DestinationKind) -> Self {
        Self {
            destination: destination.into(),
            kind,
            subscribers: 0,
            depth: 0,
            unsettled: 0,
            bytes: 0,
            counts: Counts::default(),
            published_per_second: 0.0,
            delivered_per_second: 0.0,
        }
    }
}

/// How a destination hands out its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestinationKind {
    /// Each to every subscriber.
    Topic,
    /// Each to one consumer.
    Queue,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $count:ident,)*) => {
        /// Numbers that only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// One of [`Counts`], for a [`Meter`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Count {
            $($(#[$doc])* $count,)*
        }

        impl Count {
            const ALL: usize = [$(Self::$count),*].len();
        }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.0[Count::$count as usize].load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Messages published.
    published = Published,
    /// Deliveries put into outboxes.
    delivered = Delivered,
    /// Deliveries that a consumer accepted.
    acked = Acked,
    /// Deliveries among `delivered` of messages that had been delivered before.
    redelivered = Redelivered,
    /// Messages whose time ran out before they were settled.
    expired = Expired,
    /// Messages that were sent to a dead-letter destination.
    dead_lettered = DeadLettered,
    /// Deliveries or messages dropped by [`Overflow::DropOldest`], or by a full queue's
    /// [`DropOldest`](crate::WhenFull::DropOldest).
    dropped_oldest = DroppedOldest,
    /// Deliveries or messages dropped by [`Overflow::DropNewest`], or by a full queue's
    /// [`DropNewest`](crate::WhenFull::DropNewest).
    dropped_newest = DroppedNewest,
    /// Deliveries replaced by a later one, by [`Overflow::Latest`].
    conflated = Conflated,
    /// Sessions ended by [`Overflow::Close`].
    closed = Closed,
    /// Messages that were rejected, or came back too often, without a dead-letter destination configured; and those
    /// that such a destination did not take.
    discarded = Discarded,
    /// Messages refused because a queue, or the broker's memory, was full.
    refused = Refused,
    /// Settlements without a waiting caller, as of what was written to clients that send no ACK, that the engine refused
    /// or did not answer: it may deliver the messages again. Only in the totals.
    settlements_failed = SettlementFailed,
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; Count::ALL]);

impl Counters {
    pub(crate) fn count(&self, count: Count, n: usize) {
        if n > 0 {
            self.0[count as usize].fetch_add(n as u64, Ordering::Relaxed);
        }
    }

    /// Counts the messages and sessions lost to full outboxes under a policy.
    pub(crate) fn lost(&self, lost: Lost, overflow: &Overflow) {
        self.count(Count::Closed, lost.sessions as usize);
        self.count(Count::Conflated, lost.conflated as usize);
        let dropped = match overflow {
            Overflow::Close => return,
            Overflow::DropOldest => Count::DroppedOldest,
            Overflow::DropNewest => Count::DroppedNewest,
            Overflow::Latest { .. } => Count::Conflated,
        };
        self.count(dropped, lost.messages as usize);
    }
}

/// Counters for one destination, which also count for its hub: from [`LocalHub::meter`](crate::LocalHub::meter).
#[derive(Debug)]
pub struct Meter {
    counters: Counters,
    totals: Arc<Counters>,
    published: Rate,
    delivered: Rate,
}

impl Meter {
    pub(crate) fn new(totals: &Arc<Counters>) -> Self {
        Self {
            counters: Counters::default(),
            totals: Arc::clone(totals),
            published: Rate::default(),
            delivered: Rate::default(),
        }
    }

    /// Adds `n` to a count.
    pub fn count(&self, count: Count, n: usize) {
        self.counters.count(count, n);
        self.totals.count(count, n);
    }

    /// Counts the messages and sessions lost to full outboxes under a policy.
    pub(crate) fn lost(&self, lost: Lost, overflow: &Overflow) {
        self.counters.lost(lost, overflow);
        self.totals.lost(lost, overflow);
    }

    /// Updates the rates, `seconds` after the last update.
    pub fn measure(&self, seconds: f32) {
        let counts = self.counts();
        self.published.measure(counts.published, seconds);
        self.delivered.measure(counts.delivered, seconds);
    }

    /// The counts since the meter was created.
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Messages published per second, as of the last [`measure`](Self::measure).
    pub fn published_per_second(&self) -> f32 {
        self.published.per_second()
    }

    /// Deliveries made per second, as of the last [`measure`](Self::measure).
    pub fn delivered_per_second(&self) -> f32 {
        self.delivered.per_second()
    }
}

/// The rate of growth of a number.
#[derive(Debug, Default)]
struct Rate {
    before: AtomicU64,
    /// An `f32`'s bits.
    per_second: AtomicU32,
}

impl Rate {
    fn measure(&self, count: u64, seconds: f32) {
        let grown = count - self.before.swap(count, Ordering::Relaxed);
        let rate = grown as f32 / seconds;
        self.per_second.store(rate.to_bits(), Ordering::Relaxed);
    }

    fn per_second(&self) -> f32 {
        f32::from_bits(self.per_second.load(Ordering::Relaxed))
    }
}
