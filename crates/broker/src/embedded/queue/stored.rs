//! A durable queue and its journal.

use std::sync::Arc;

use super::{Aftermath, Contents, Queue, StoredTail};
use crate::embedded::journal::{Awaited, Change, JournalError, Key};
use crate::embedded::ledger::{At, Load};
use crate::embedded::seat::{Arrived, QueuedMessage};
use crate::errors::PublishError;
use crate::message::Message;
use crate::statistics::Count;
use crate::timestamp::Timestamp;

/// The number of ready messages that a durable queue has in memory, besides those it fetches: enough that consumers do
/// not wait for the disk.
const IN_MEMORY: usize = 1024;

/// The same in bytes.
const IN_MEMORY_BYTES: usize = 1024 * 1024;

impl Queue {
    pub(in crate::embedded) fn is_durable(&self) -> bool {
        self.keeper.is_some()
    }

    /// Checks that the journal of a durable queue takes a message of `bytes`.
    pub(in crate::embedded) fn check_store(&self, bytes: usize) -> Result<(), PublishError> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        keeper.journal.check(bytes).map_err(|error| {
            self.meter.count(Count::Refused, 1);
            PublishError::Refused {
                reason: error.to_string().into(),
            }
        })
    }

    /// Returns true if the journal has failed, so that nothing can be settled.
    pub(in crate::embedded) fn has_failed(&self) -> bool {
        let check = self.keeper.as_ref().map(|keeper| keeper.journal.check(0));
        matches!(check, Some(Err(JournalError::Failed { .. })))
    }

    /// Appends a message to the journal of a durable queue, and removes the one that it replaces.
    pub(super) fn store(
        &self,
        message: &Message,
        replaces: Option<Key>,
        after: &mut Aftermath,
    ) -> Option<Key> {
        let keeper = self.keeper.as_ref()?;
        let enqueue = Change::Enqueue {
            queue: &self.name,
            message,
        };
        let appended = match replaces {
            Some(key) => keeper.journal.append(&[enqueue, Change::Remove { key }]),
            None => keeper.journal.append(&[enqueue]),
        };
        after.awaited = after.awaited | Awaited::one(appended.ticket, keeper.durability);
        Some(appended.first)
    }

    /// Removes messages from the journal of a durable queue.
    pub(in crate::embedded) fn forget(&self, keys: &[Key], after: &mut Aftermath) {
        if let Some(keeper) = self.keeper.as_ref().filter(|_| !keys.is_empty()) {
            let removals = keys.iter().map(|key| Change::Remove { key: *key });
            let appended = keeper.journal.append(&removals.collect::<Vec<_>>());
            after.awaited = after.awaited | Awaited::one(appended.ticket, keeper.durability);
        }
    }

    /// Says to wait for a record that others have appended for this queue.
    pub(in crate::embedded) fn awaits(&self, ticket: crate::embedded::journal::Ticket) -> Awaited {
        let durability = self.keeper.as_ref().map(|keeper| keeper.durability);
        durability.map_or_else(Awaited::default, |durability| {
            Awaited::one(ticket, durability)
        })
    }

    /// Records that a message came back to a durable queue. Nobody waits for it: without it the message counts one
    /// delivery less.
    pub(super) fn note_redelivery(&self, entry: &QueuedMessage) {
        if let Some(keeper) = &self.keeper {
            keeper.journal.append(&[Change::Redelivered {
                key: Key(entry.sequence),
                count: entry.redeliveries,
            }]);
        }
    }

    /// Begins with the messages that the journal had.
    pub(in crate::embedded) fn recover(&self, keys: Vec<Key>, bytes: usize) {
        let mut state = self.state.lock();
        let messages = keys.len();
        state.ledger.add(At::Ready, Load { messages, bytes });
        state.stored.keys = keys.into();
        state.stored.bytes = bytes;
    }

    /// Asks for the next stored messages, if consumers will soon have taken those in memory.
    pub(super) fn fetch_more(self: &Arc<Self>, state: &mut Contents, after: &mut Aftermath) {
        let has_consumers = state.has_consumers();
        let stored = &mut state.stored;
        if !stored.fetching.is_empty()
            || stored.keys.is_empty()
            || !has_consumers
            || state.ready.len() >= IN_MEMORY / 2
        {
            return;
        }
        let average = stored.bytes / stored.keys.len();
        let count = (IN_MEMORY_BYTES / average.max(1)).clamp(1, IN_MEMORY);
        let keys: Vec<_> = stored.keys.drain(..count.min(stored.keys.len())).collect();
        if stored.keys.capacity() > 4 * stored.keys.len() + IN_MEMORY {
            stored.keys.shrink_to_fit();
        }
        stored.fetching.clone_from(&keys);
        after.fetches.push((Arc::clone(self), keys));
    }

    /// Takes messages that were fetched, and hands them out. Of `asked` messages, those that have not arrived are lost.
    pub(in crate::embedded) fn arrive(
        self: &Arc<Self>,
        arrived: Vec<Arrived>,
        asked: usize,
        now: Timestamp,
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        if state.removed {
            return;
        }
        let lost = asked - arrived.len();
        state.stored.fetching = Vec::new();
        for message in arrived {
            let size = message.size.min(state.stored.bytes);
            state.stored.bytes -= size;
            state.ledger.remove(At::Ready, Load::one(size));
            state
                .ledger
                .add(At::Ready, Load::one(message.message.size()));
            let expires_at = message.message.expires_at();
            self.note_expiry(&mut state, expires_at);
            state.insert(QueuedMessage {
                sequence: message.key.0,
                message: message.message,
                expires_at,
                redeliveries: message.redeliveries,
                maybe_delivered: message.maybe_delivered,
            });
        }
        self.meter.count(Count::Discarded, lost);
        let mut gone = Load {
            messages: lost,
            bytes: 0,
        };
        if state.stored.keys.is_empty() {
            // The sizes of lost messages are not known one by one.
            gone.bytes = std::mem::take(&mut state.stored.bytes);
        }
        state.ledger.remove(At::Ready, gone);
        self.stow(&mut state);
        self.hand_out(&mut state, now, after);
    }
}

impl Contents {
    /// Returns true if the next message of a durable queue is only in the journal: behind others that are, or behind
    /// enough in memory.
    pub(super) fn keeps_in_journal(&self) -> bool {
        let bytes = self.ledger.at(At::Ready).bytes - self.stored.bytes;
        let is_enough = self.ready.len() >= IN_MEMORY || bytes > IN_MEMORY_BYTES;
        self.stored.len() > 0 || (is_enough && !self.ready.is_empty())
    }
}

impl StoredTail {
    /// The number of messages.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.fetching.len()
    }

    pub(super) fn add(&mut self, key: Key, bytes: usize) {
        self.bytes += bytes;
        // Transactions store before they have the queue's lock.
        let at = match self.keys.back() {
            Some(last) if *last > key => self.keys.partition_point(|other| *other < key),
            _ => self.keys.len(),
        };
        self.keys.insert(at, key);
    }
}
