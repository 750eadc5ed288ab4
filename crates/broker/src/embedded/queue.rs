//! Queues: each message goes to one consumer at a time, until one has accepted it.

mod kept;
mod settling;
mod stored;
#[cfg(test)]
mod tests;

use std::cmp::Ordering::{Equal, Greater, Less};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;

pub(super) use self::kept::Away;
use super::job::Job;
use super::journal::{Awaited, Durability, Journal, Key};
use super::ledger::{At, Ledger, Load};
use super::seat::{QueuedMessage, Seat, SeatKey};
use super::settings::{QueueSettings, WhenFull};
use crate::errors::PublishError;
use crate::hub::consumer::Consumer;
use crate::message::{DeadLetterReason, Message};
use crate::selector::Selector;
use crate::statistics::{Count, DestinationKind, DestinationStatistics, Meter};
use crate::sync::{Mutex, MutexGuard};
use crate::timestamp::Timestamp;

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    name: ByteString,
    pub(super) settings: Arc<QueueSettings>,
    pub(super) meter: Meter,
    to_be_swept: AtomicBool,
    /// Where its messages are stored, if it is durable.
    keeper: Option<Keeper>,
    /// Set for a durable subscription's queue.
    away: Option<Box<Away>>,
    state: Mutex<Contents>,
}

/// A consumer's place in a queue, stored as the [`Consumer`]'s record.
#[derive(Debug)]
pub(super) struct Seating {
    /// Weak, since the queue owns the consumer.
    pub(super) queue: Weak<Queue>,
    pub(super) key: SeatKey,
}

/// The journal of a durable queue.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) durability: Durability,
}

#[derive(Debug, Default)]
struct Contents {
    /// The messages that wait for a consumer, by sequence.
    ready: VecDeque<QueuedMessage>,
    /// Messages behind these that are in the journal only.
    stored: StoredTail,
    seats: Vec<Option<Seat>>,
    free_seats: Vec<u32>,
    /// The number of the next consumer.
    next_consumer: u32,
    /// The seats of consumers that may have room, in the order of their turns.
    turn: VecDeque<u32>,
    /// The number of consumers with a selector.
    selective: usize,
    /// Publishers that wait for room, first come first served.
    publishers: VecDeque<Parked>,
    next_sequence: u64,
    ledger: Ledger,
    /// The journal's mark that messages of a durable subscription were dropped.
    missed: Option<Key>,
    /// True if a message may expire.
    expires: bool,
    /// True if anything happened since the last sweep.
    used: bool,
    /// Removed from the map: a holder of this queue must look it up again.
    removed: bool,
}

/// The end of a durable queue that is not in memory: eight bytes a message.
#[derive(Debug, Default)]
struct StoredTail {
    /// In order.
    keys: VecDeque<Key>,
    /// The bytes of these messages, and of those being fetched.
    bytes: usize,
    /// Those that are being fetched.
    fetching: Vec<Key>,
}

/// A waiting publisher, and the room that it needs here.
#[derive(Debug)]
struct Parked {
    job: Box<Job>,
    needs: Needs,
}

/// The room that a publisher needs in a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    pub(super) load: Load,
    /// The room that the publisher itself frees there.
    pub(super) frees: Load,
}

/// Follow-up work of an operation, to be done in order when no lock is held.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    pub(super) dead: VecDeque<Dead>,
    /// Queues that have room, and publishers waiting for it.
    pub(super) room: VecDeque<Arc<Queue>>,
    /// Publishers whose time to wait is over, with the queue they waited for.
    pub(super) overdue: VecDeque<(Box<Job>, Arc<Queue>)>,
    /// Messages of durable queues to fetch from the journal.
    pub(super) fetches: Vec<(Arc<Queue>, Vec<Key>)>,
    /// The records that the answer waits for.
    pub(super) awaited: Awaited,
}

impl Aftermath {
    /// Sorts by queue name: queues are swept in the order of their hashes, which differs from start to start.
    pub(super) fn sort(&mut self) {
        let dead = self.dead.make_contiguous();
        dead.sort_by(|a, b| a.queue.name.cmp(&b.queue.name));
        let room = self.room.make_contiguous();
        room.sort_by(|a, b| a.name.cmp(&b.name));
        let overdue = self.overdue.make_contiguous();
        overdue.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    }
}

/// A message that a queue gave up.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) message: Arc<Message>,
    pub(super) reason: DeadLetterReason,
    pub(super) deliveries: u32,
    pub(super) queue: Arc<Queue>,
    /// Its key, if the queue's journal still has it.
    pub(super) key: Option<Key>,
}

/// The reasons why a queue did not take a message.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// The queue was removed meanwhile: look it up again.
    Removed,
    /// The queue is full, and the publisher should wait.
    Full,
    /// The queue is full, and the publisher does not wait.
    Refused(PublishError),
}

impl Queue {
    pub(super) fn new(
        name: ByteString,
        settings: Arc<QueueSettings>,
        meter: Meter,
        keeper: Option<Keeper>,
    ) -> Self {
        let state = Contents {
            used: true,
            ..Contents::default()
        };
        Self {
            name,
            settings,
            meter,
            to_be_swept: AtomicBool::new(false),
            keeper,
            away: None,
            state: Mutex::new(state),
        }
    }

    /// Makes it a durable subscription's.
    pub(super) fn of_subscription(self, away: Away) -> Self {
        Self {
            away: Some(Box::new(away)),
            ..self
        }
    }

    pub(super) fn name(&self) -> &ByteString {
        &self.name
    }

    /// Returns the expiry of a message that arrives now and does not set one itself.
    pub(super) fn expiry_by_default(&self, now: Timestamp) -> Option<Timestamp> {
        // Never at once: between queues that are each other's dead-letter queue, a message would circulate for ever.
        Some(now + self.settings.time_to_live?.max(Duration::from_millis(1)))
    }

    /// Stores a message; returns true if a consumer has it already. `waited` is set for the publisher whose turn it is. A
    /// durable queue's journal removes the message that it `replaces`, in the same record.
    pub(super) fn push(
        self: &Arc<Self>,
        message: &Arc<Message>,
        (expires_at, replaces): (Option<Timestamp>, Option<Key>),
        waited: bool,
        now: Timestamp,
        after: &mut Aftermath,
    ) -> Result<bool, NotTaken> {
        let mut state = self.used()?;
        let needs = Load::one(message.size());
        if (!waited && !state.publishers.is_empty()) || !self.has_room(&state, needs) {
            match self.settings.when_full {
                WhenFull::Wait(time) if !time.is_zero() => return Err(NotTaken::Full),
                WhenFull::Wait(_) => return Err(NotTaken::Refused(self.full(&state))),
                // It drops nothing that was confirmed.
                _ if self.is_durable() => return Err(NotTaken::Refused(self.full(&state))),
                WhenFull::DropNewest => {
                    self.meter.count(Count::DroppedNewest, 1);
                    return Ok(false);
                }
                WhenFull::DropOldest => {
                    let total = state.ledger.total();
                    let Some(count) = self.in_the_way(&state, total, needs) else {
                        // All messages that could be dropped are with consumers.
                        self.meter.count(Count::DroppedNewest, 1);
                        return Ok(false);
                    };
                    self.drop_oldest(&mut state, count);
                }
            }
        }
        let key = self.store(message, replaces, after);
        let sequence = self.take_in(&mut state, message, expires_at, key);
        self.hand_out(&mut state, now, after);
        Ok(state.has_handed_out(sequence) && !is_over(expires_at, now))
    }

    /// Reserves room for a transaction. `waited` is set for a publisher whose turn it is.
    pub(super) fn reserve(&self, needs: Needs, waited: bool) -> Result<(), NotTaken> {
        let mut state = self.used()?;
        let rest = state.ledger.total().less(needs.frees);
        // A transaction that frees room itself would wait for publishers that wait for that room.
        let first = waited || needs.frees.messages > 0 || state.publishers.is_empty();
        if !first || !self.fits(rest, needs.load) {
            match self.settings.when_full {
                WhenFull::Wait(time)
                    if !time.is_zero() && self.fits(Load::default(), needs.load) =>
                {
                    return Err(NotTaken::Full);
                }
                WhenFull::DropOldest
                    if !self.is_durable()
                        && self.in_the_way(&state, rest, needs.load).is_some() => {}
                _ => return Err(NotTaken::Refused(self.full(&state))),
            }
        }
        state.ledger.add(At::Reserved, needs.load);
        Ok(())
    }

    /// Releases reserved room that was not used.
    pub(super) fn give_back(self: &Arc<Self>, reserved: Load, after: &mut Aftermath) {
        let mut state = self.state.lock();
        state.ledger.remove(At::Reserved, reserved);
        self.call_publishers(&state, after);
    }

    /// Stores a message whose room is reserved, and which the journal of a durable queue has under `key`.
    pub(super) fn push_reserved(
        self: &Arc<Self>,
        message: &Arc<Message>,
        (expires_at, key): (Option<Timestamp>, Option<Key>),
        reserved: Load,
        now: Timestamp,
        after: &mut Aftermath,
    ) -> bool {
        let mut state = self.state.lock();
        state.ledger.remove(At::Reserved, reserved);
        let total = state.ledger.total();
        if self.settings.when_full == WhenFull::DropOldest
            && let Some(count) = self.in_the_way(&state, total, Load::one(message.size()))
        {
            self.drop_oldest(&mut state, count);
        }
        let sequence = self.take_in(&mut state, message, expires_at, key);
        self.hand_out(&mut state, now, after);
        state.has_handed_out(sequence) && !is_over(expires_at, now)
    }

    /// Parks a publisher until there is room, or returns it if there is room already.
    pub(super) fn park(&self, job: Box<Job>, needs: Needs) -> Result<(), Box<Job>> {
        let mut state = self.state.lock();
        let first = state.publishers.is_empty() || needs.frees.messages > 0;
        if state.removed || (first && self.has_room_for(&state, needs)) {
            return Err(job);
        }
        state.publishers.push_back(Parked { job, needs });
        self.to_be_swept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the next publisher, if there is room for its message.
    pub(super) fn next_publisher(&self) -> Option<Box<Job>> {
        let mut state = self.state.lock();
        let needs = state.publishers.front()?.needs;
        if !self.has_room_for(&state, needs) {
            return None;
        }
        let next = state.publishers.pop_front();
        if state.publishers.is_empty() {
            state.publishers = VecDeque::new();
        }
        next.map(|parked| parked.job)
    }

    /// Starts to deliver to a consumer, which keeps its [`Seating`].
    pub(super) fn subscribe(
        self: &Arc<Self>,
        consumer: &Arc<Consumer>,
        now: Timestamp,
        after: &mut Aftermath,
    ) -> Result<(), NotTaken> {
        let mut state = self.used()?;
        let number = state.next_consumer;
        state.next_consumer = number.wrapping_add(1);
        // A durable subscription's queue has only what its selector picked.
        let selector = consumer.options().selector.as_deref();
        let selector = selector.filter(|_| self.away.is_none());
        let seat = Seat {
            number,
            consumer: Arc::clone(consumer),
            in_turn: true,
            last_token: 0,
            given: VecDeque::new(),
            held: 0,
            // The engine has refused those that are invalid.
            selector: selector.and_then(|text| Selector::parse(text).ok()),
            looked_up_to: 0,
        };
        state.selective += usize::from(seat.selector.is_some());
        let at = match state.free_seats.pop() {
            Some(at) => {
                state.seats[at as usize] = Some(seat);
                at
            }
            None => {
                state.seats.push(Some(seat));
                (state.seats.len() - 1) as u32
            }
        };
        state.turn.push_back(at);
        // Before its first delivery, which it may settle at once.
        consumer.set_record(Seating {
            queue: Arc::downgrade(self),
            key: SeatKey { at, number },
        });
        self.hand_out(&mut state, now, after);
        Ok(())
    }

    /// Ends a consumer, and returns its unsettled messages to the queue: [`serve`](Self::serve) hands them out to others.
    pub(super) fn unsubscribe(self: &Arc<Self>, key: SeatKey, after: &mut Aftermath) {
        let mut state = self.state.lock();
        state.used = true;
        let seat = state.seats.get_mut(key.at as usize);
        let seat = seat.and_then(|seat| seat.take_if(|seat| seat.number == key.number));
        let Some(seat) = seat else {
            return;
        };
        state.selective -= usize::from(seat.selector.is_some());
        state.free_seats.push(key.at);
        state.turn.retain(|waiting| *waiting != key.at);
        if state.seats.len() == state.free_seats.len() {
            (state.seats, state.free_seats, state.turn) = Default::default();
        }
        for (_, entry) in seat.given {
            self.come_back(&mut state, At::Given, entry, after);
        }
        self.stow(&mut state);
    }

    /// Hands out what came back.
    pub(super) fn serve(self: &Arc<Self>, now: Timestamp, after: &mut Aftermath) {
        self.hand_out(&mut self.state.lock(), now, after);
    }

    /// Puts a consumer back into the turn order: there is room in its outbox.
    pub(super) fn room_again(
        self: &Arc<Self>,
        key: SeatKey,
        now: Timestamp,
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        state.sit_down(key);
        self.hand_out(&mut state, now, after);
    }

    /// Returns true if a message or a publisher may be due. Called for every queue, so it does not take the lock.
    pub(super) fn is_to_be_swept(&self) -> bool {
        self.to_be_swept.load(Ordering::Relaxed)
    }

    /// Drops messages that have expired by `now`, and publishers whose deadline has passed by `steady`.
    pub(super) fn expire(
        self: &Arc<Self>,
        now: Timestamp,
        steady: Timestamp,
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        if state.expires {
            state.expires = false;
            for entry in std::mem::take(&mut state.ready) {
                if is_over(entry.expires_at, now) {
                    self.give_up(
                        &mut state,
                        At::Ready,
                        entry,
                        DeadLetterReason::Expired,
                        after,
                    );
                } else {
                    state.expires |= entry.expires_at.is_some();
                    state.ready.push_back(entry);
                }
            }
        }
        if state
            .publishers
            .iter()
            .any(|parked| parked.job.deadline <= steady)
        {
            let (overdue, rest) = std::mem::take(&mut state.publishers)
                .into_iter()
                .partition::<VecDeque<_>, _>(|parked| parked.job.deadline <= steady);
            state.publishers = rest;
            let overdue = overdue.into_iter();
            after
                .overdue
                .extend(overdue.map(|parked| (parked.job, Arc::clone(self))));
        }
        let to_be_swept = state.expires || !state.publishers.is_empty();
        self.to_be_swept.store(to_be_swept, Ordering::Relaxed);
        // Expired messages freed room, and a publisher behind those that timed out may fit.
        self.call_publishers(&state, after);
    }

    /// Marks the queue as removed, unless it is in use.
    pub(super) fn retire(&self) -> bool {
        // A queue whose lock is taken is in use; no thread blocks on it while holding the shard's lock.
        let Some(mut state) = self.state.try_lock() else {
            return false;
        };
        let used = std::mem::take(&mut state.used);
        let empty = state.ledger.total() == Load::default() && state.publishers.is_empty();
        state.removed = !used && empty && state.seats.is_empty();
        state.removed
    }

    /// The first messages that wait and are in memory.
    pub(super) fn peek(&self, limit: usize) -> Vec<Arc<Message>> {
        let state = self.state.lock();
        let ready = state.ready.iter().take(limit);
        ready.map(|entry| Arc::clone(&entry.message)).collect()
    }

    pub(super) fn statistics(&self) -> DestinationStatistics {
        let state = self.state.lock();
        DestinationStatistics {
            destination: self.name.clone(),
            kind: DestinationKind::Queue,
            subscribers: state.seats.len() - state.free_seats.len(),
            depth: state.ready.len() + state.stored.len(),
            unsettled: state.ledger.at(At::Given).messages
                + state.ledger.at(At::HeldMessages).messages,
            bytes: state.ledger.total().bytes,
            counts: self.meter.counts(),
            published_per_second: self.meter.published_per_second(),
            delivered_per_second: self.meter.delivered_per_second(),
        }
    }

    /// The error for publishers that waited for room in vain.
    pub(super) fn full_error(&self) -> PublishError {
        self.full(&self.state.lock())
    }

    fn used(&self) -> Result<MutexGuard<'_, Contents>, NotTaken> {
        let mut state = self.state.lock();
        if state.removed {
            return Err(NotTaken::Removed);
        }
        state.used = true;
        Ok(state)
    }

    fn has_room(&self, state: &Contents, needs: Load) -> bool {
        self.fits(state.ledger.total(), needs)
    }

    fn has_room_for(&self, state: &Contents, needs: Needs) -> bool {
        // An estimate: what the publisher settles may have gone back to the queue since.
        self.fits(state.ledger.total().less_about(needs.frees), needs.load)
    }

    /// Returns how many of the longest-waiting messages must go to make room for `needs` besides `load`; `None` if that
    /// does not help.
    fn in_the_way(&self, state: &Contents, mut load: Load, needs: Load) -> Option<usize> {
        let mut ready = state.ready.iter();
        let mut count = 0;
        while !self.fits(load, needs) {
            load = load.less(ready.next()?.load());
            count += 1;
        }
        Some(count)
    }

    fn drop_oldest(&self, state: &mut Contents, count: usize) {
        for oldest in state.ready.drain(..count) {
            state.ledger.remove(At::Ready, oldest.load());
        }
        self.meter.count(Count::DroppedOldest, count);
    }

    /// Returns true if there is room besides `load`. A message larger than the limit passes when there is nothing else.
    fn fits(&self, load: Load, needs: Load) -> bool {
        let QueueSettings {
            max_messages,
            max_bytes,
            ..
        } = *self.settings;
        load.messages + needs.messages <= max_messages
            && (load.bytes + needs.bytes <= max_bytes || load.messages == 0)
    }

    fn full(&self, state: &Contents) -> PublishError {
        let total = state.ledger.total();
        PublishError::QueueFull {
            queue: self.name.clone(),
            messages: total.messages,
            max_messages: self.settings.max_messages,
            bytes: total.bytes,
            max_bytes: self.settings.max_bytes,
        }
    }

    /// Adds a message; returns its place in the order if it is in memory.
    fn take_in(
        &self,
        state: &mut Contents,
        message: &Arc<Message>,
        expires_at: Option<Timestamp>,
        key: Option<Key>,
    ) -> Option<u64> {
        // Its topic has counted what a durable subscription receives.
        let published = usize::from(self.away.is_none());
        self.meter.count(Count::Published, published);
        state.ledger.add(At::Ready, Load::one(message.size()));
        let is_away = self.away.is_some() && !state.has_consumers();
        let sequence = match key {
            Some(key) if is_away || state.keeps_in_journal() => {
                state.stored.add(key, message.size());
                return None;
            }
            Some(key) => key.0,
            None => state.next_sequence,
        };
        self.note_expiry(state, expires_at);
        state.next_sequence = state.next_sequence.max(sequence + 1);
        let entry = QueuedMessage {
            sequence,
            message: Arc::clone(message),
            expires_at,
            redeliveries: 0,
            maybe_delivered: false,
        };
        state.insert(entry);
        Some(sequence)
    }

    /// Makes the sweeps look at the queue if the message may expire.
    fn note_expiry(&self, state: &mut Contents, expires_at: Option<Timestamp>) {
        if expires_at.is_some() {
            state.expires = true;
            self.to_be_swept.store(true, Ordering::Relaxed);
        }
    }

    /// Delivers ready messages to consumers with room, in turn.
    fn hand_out(self: &Arc<Self>, state: &mut Contents, now: Timestamp, after: &mut Aftermath) {
        let mut delivered = 0;
        let mut redelivered = 0;
        while !state.ready.is_empty()
            && let Some(key) = state.turn.pop_front()
        {
            // A seat leaves the turn order before it is freed.
            let Some(seat) = state.seats.get_mut(key as usize).and_then(Option::as_mut) else {
                continue;
            };
            let at = seat.first_of(&state.ready);
            let Some((at, entry)) = at.and_then(|at| Some((at, state.ready.remove(at)?))) else {
                seat.in_turn = false;
                continue;
            };
            if is_over(entry.expires_at, now) {
                state.turn.push_front(key);
                self.give_up(state, At::Ready, entry, DeadLetterReason::Expired, after);
                continue;
            }
            let (again, load) = (entry.redeliveries > 0, entry.load());
            match seat.offer(entry) {
                Ok(()) => {
                    state.ledger.shift(At::Ready, At::Given, load);
                    delivered += 1;
                    redelivered += usize::from(again);
                    state.turn.push_back(key);
                }
                Err(entry) => {
                    seat.in_turn = false;
                    state.ready.insert(at, entry);
                }
            }
        }
        if state.ready.is_empty() && state.ready.capacity() > KEPT_CAPACITY {
            state.ready = VecDeque::new();
        }
        self.fetch_more(state, after);
        self.meter.count(Count::Delivered, delivered);
        self.meter.count(Count::Redelivered, redelivered);
        self.call_publishers(state, after);
    }

    /// Schedules the waiting publishers if there is room.
    fn call_publishers(self: &Arc<Self>, state: &Contents, after: &mut Aftermath) {
        if let Some(first) = state.publishers.front()
            && self.has_room_for(state, first.needs)
        {
            after.room.push_back(Arc::clone(self));
        }
    }

    /// Puts a message back at its old place, unless it came back too often.
    fn come_back(
        self: &Arc<Self>,
        state: &mut Contents,
        from: At,
        mut entry: QueuedMessage,
        after: &mut Aftermath,
    ) {
        entry.redeliveries += 1;
        if self
            .settings
            .max_deliveries
            .is_some_and(|most| entry.redeliveries >= most)
        {
            return self.give_up(state, from, entry, DeadLetterReason::MaxDeliveries, after);
        }
        self.note_redelivery(&entry);
        state.ledger.shift(from, At::Ready, entry.load());
        self.note_expiry(state, entry.expires_at);
        state.insert(entry);
    }

    fn give_up(
        self: &Arc<Self>,
        state: &mut Contents,
        from: At,
        entry: QueuedMessage,
        reason: DeadLetterReason,
        after: &mut Aftermath,
    ) {
        state.ledger.remove(from, entry.load());
        if reason == DeadLetterReason::Expired {
            self.meter.count(Count::Expired, 1);
        }
        after.dead.push_back(Dead {
            message: entry.message,
            reason,
            deliveries: entry.redeliveries,
            queue: Arc::clone(self),
            key: self.is_durable().then_some(Key(entry.sequence)),
        });
    }
}

fn is_over(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|at| at <= now)
}

/// Capacity that an empty queue may keep, so that single messages do not allocate each time.
const KEPT_CAPACITY: usize = 64;

impl Contents {
    fn has_consumers(&self) -> bool {
        self.seats.len() > self.free_seats.len()
    }

    /// Puts a ready message at its place.
    fn insert(&mut self, entry: QueuedMessage) {
        self.call_selective(&entry);
        let is_last = |last: &QueuedMessage| last.sequence < entry.sequence;
        if self.ready.back().is_none_or(is_last) {
            return self.ready.push_back(entry);
        }
        let at = self
            .ready
            .partition_point(|other| other.sequence < entry.sequence);
        self.ready.insert(at, entry);
    }

    fn seat_mut(&mut self, key: SeatKey) -> Option<&mut Seat> {
        let seat = self.seats.get_mut(key.at as usize)?.as_mut();
        seat.filter(|seat| seat.number == key.number)
    }

    /// Puts the consumers back into the turn order whose selectors wait for this message.
    fn call_selective(&mut self, entry: &QueuedMessage) {
        if self.selective == 0 {
            return;
        }
        for (at, seat) in (0..).zip(&mut self.seats) {
            if let Some(seat) = seat
                && seat.waits_for(entry)
            {
                seat.in_turn = true;
                self.turn.push_back(at);
            }
        }
    }

    /// Returns true if a consumer has the message that came to this place: it waits neither in memory nor in the journal.
    fn has_handed_out(&self, sequence: Option<u64>) -> bool {
        let Some(sequence) = sequence else {
            return false;
        };
        let ready = &self.ready;
        match ready.back().map(|last| last.sequence.cmp(&sequence)) {
            Some(Equal) => false,
            // Only the messages of a durable queue's transactions come behind later ones.
            Some(Greater) => ready
                .binary_search_by_key(&sequence, |entry| entry.sequence)
                .is_err(),
            Some(Less) | None => true,
        }
    }

    /// Puts a consumer that may have room again at the end of the turn order.
    fn sit_down(&mut self, key: SeatKey) {
        if let Some(seat) = self.seat_mut(key)
            && !seat.in_turn
        {
            seat.in_turn = true;
            self.turn.push_back(key.at);
        }
    }
}
