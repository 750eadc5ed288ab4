//! The queue of a durable subscription: it takes a topic's messages without making their publishers wait, and has none in
//! memory while nobody consumes it.

use std::sync::Arc;

use bytestring::ByteString;

use super::{Aftermath, Contents, Queue, StoredTail};
use crate::embedded::journal::{Awaited, Change, Key};
use crate::embedded::ledger::{At, Load};
use crate::embedded::settings::WhenFull;
use crate::errors::PublishError;
use crate::message::Message;
use crate::statistics::Count;
use crate::timestamp::Timestamp;

/// The part of a durable subscription's queue that other queues do not have.
#[derive(Debug)]
pub(in crate::embedded) struct Away {
    /// The name under which the journal keeps that messages were dropped.
    pub(in crate::embedded) missed: ByteString,
    /// A message without content.
    pub(in crate::embedded) mark: Arc<Message>,
}

impl Queue {
    /// Checks that it takes a message, or that older ones may make room for it.
    pub(in crate::embedded) fn check_kept(&self, bytes: usize) -> Result<(), PublishError> {
        let state = self.state.lock();
        match self.drops_oldest() || state.removed || self.has_room(&state, Load::one(bytes)) {
            true => Ok(()),
            false => Err(self.full(&state)),
        }
    }

    /// Stores a message behind the others. If there is no room for it the oldest ones are dropped, and the consumer is told,
    /// now or when there is one. `stored` is its key if the journal has it already.
    pub(in crate::embedded) fn keep(
        self: &Arc<Self>,
        message: &Arc<Message>,
        stored: Option<Key>,
        now: Timestamp,
        after: &mut Aftermath,
    ) {
        let (Some(keeper), Some(away)) = (&self.keeper, &self.away) else {
            return;
        };
        let mut state = self.state.lock();
        if state.removed {
            // The subscription has ended since.
            return self.forget(stored.as_slice(), after);
        }
        let needs = Load::one(message.size());
        let mut dropped = self.make_room(&mut state, needs);
        let fits = !self.drops_oldest() || self.has_room(&state, needs);
        if !fits {
            // Its consumer has all others.
            dropped.extend(stored);
        }
        let mut changes = Vec::with_capacity(1);
        if fits && stored.is_none() {
            let queue = &self.name;
            changes.push(Change::Enqueue { queue, message });
        }
        let is_missed = !fits || !dropped.is_empty();
        let is_marked = is_missed && !state.has_consumers() && state.missed.is_none();
        if is_marked {
            changes.push(Change::Enqueue {
                queue: &away.missed,
                message: &away.mark,
            });
        }
        changes.extend(dropped.iter().map(|key| Change::Remove { key: *key }));
        let mut key = stored;
        if !changes.is_empty() {
            let appended = keeper.journal.append(&changes);
            after.awaited = after.awaited | Awaited::one(appended.ticket, keeper.durability);
            if is_marked {
                let before = u64::from(fits && stored.is_none());
                state.missed = Some(Key(appended.first.0 + before));
            }
            key = key.or(Some(appended.first));
        }
        if is_missed {
            let lost = dropped.len() + usize::from(!fits && stored.is_none());
            self.meter.count(Count::DroppedOldest, lost);
            let seats = state.seats.iter().flatten();
            seats.for_each(|seat| seat.consumer.missed(None));
        }
        if fits {
            self.take_in(&mut state, message, message.expires_at(), key);
        }
        self.hand_out(&mut state, now, after);
    }

    fn drops_oldest(&self) -> bool {
        self.settings.when_full == WhenFull::DropOldest
    }

    /// Drops the oldest messages until there is room, as far as no consumer has them.
    fn make_room(&self, state: &mut Contents, needs: Load) -> Vec<Key> {
        let mut dropped = Vec::new();
        while self.drops_oldest() && !self.has_room(state, needs) {
            let (key, load) = match state.ready.pop_front() {
                Some(oldest) => (Key(oldest.sequence), oldest.load()),
                None => match state.stored.drop_first() {
                    Some(oldest) => oldest,
                    None => break,
                },
            };
            state.ledger.remove(At::Ready, load);
            dropped.push(key);
        }
        dropped
    }

    /// Leaves ready messages to the journal if nobody consumes them.
    pub(super) fn stow(&self, state: &mut Contents) {
        if self.away.is_none() || state.has_consumers() {
            return;
        }
        while let Some(last) = state.ready.pop_back() {
            state.stored.keys.push_front(Key(last.sequence));
            state.stored.bytes += last.load().bytes;
        }
    }

    /// Returns true if messages were dropped while it had no consumer, once.
    pub(in crate::embedded) fn take_missed(&self, after: &mut Aftermath) -> bool {
        let missed = self.state.lock().missed.take();
        self.forget(missed.as_slice(), after);
        missed.is_some()
    }

    /// Begins with the mark that the journal had.
    pub(in crate::embedded) fn recover_missed(&self, mark: Key) {
        self.state.lock().missed = Some(mark);
    }

    /// Removes everything, and `marks` of the journal with it, in one record. It takes nothing afterwards.
    pub(in crate::embedded) fn end(&self, marks: &[Key], after: &mut Aftermath) {
        let mut state = self.state.lock();
        let Contents {
            ready,
            stored,
            missed,
            ..
        } = std::mem::take(&mut *state);
        state.removed = true;
        let mut keys: Vec<Key> = ready.iter().map(|entry| Key(entry.sequence)).collect();
        keys.extend(stored.fetching.into_iter().chain(stored.keys).chain(missed));
        keys.extend(marks);
        self.forget(&keys, after);
    }
}

impl StoredTail {
    /// Drops the first message that is not being fetched; its size is about the usual one.
    fn drop_first(&mut self) -> Option<(Key, Load)> {
        let average = self.bytes / self.len().max(1);
        let key = self.keys.pop_front()?;
        let bytes = if self.len() == 0 { self.bytes } else { average };
        self.bytes -= bytes;
        Some((key, Load { messages: 1, bytes }))
    }
}
