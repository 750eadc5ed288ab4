//! Queues: each message to one consumer, until one has accepted it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytestring::ByteString;

use super::job::Job;
use super::settings::{QueueSettings, WhenFull};
use crate::consumer::{Carries, Consumer};
use crate::statistics::{DestinationKind, DestinationStatistics, Meter};
use crate::sync::{Mutex, MutexGuard};
use crate::{DeliveryRef, Message, Outcome, PublishError, Timestamp};

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    name: ByteString,
    pub(super) settings: Arc<QueueSettings>,
    pub(super) meter: Meter,
    to_be_swept: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What waits for a consumer, by sequence.
    ready: VecDeque<Entry>,
    seats: Vec<Option<Seat>>,
    free_seats: Vec<u32>,
    /// What the next consumer is told from all others by.
    next_consumer: u32,
    /// The seats of those that may have room, in the order of their turns.
    turn: VecDeque<u32>,
    /// Who waits for room, first come first served.
    publishers: VecDeque<Parked>,
    next_sequence: u64,
    /// Of all messages: ready, given out, and those that have room reserved.
    load: Load,
    /// Whether a message may expire.
    expires: bool,
    /// Whether anything happened since the last sweep.
    used: bool,
    /// Taken out of the map: whoever still holds this one looks the queue up again.
    forgotten: bool,
}

/// A message in a queue.
#[derive(Debug)]
struct Entry {
    /// Where it stands among the others, for when it comes back.
    sequence: u64,
    message: Arc<Message>,
    expires_at: Option<Timestamp>,
}

impl Carries for Entry {
    fn message(&self) -> &Arc<Message> {
        &self.message
    }
}

#[derive(Debug)]
struct Seat {
    number: u32,
    consumer: Consumer<Entry>,
    in_turn: bool,
}

/// What a consumer is known by. Seats are used again, so that whoever comes late with an old key must not find who sits
/// there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeatKey {
    at: u32,
    number: u32,
}

/// A publisher that waits, and the room that it needs here.
#[derive(Debug)]
struct Parked {
    job: Box<Job>,
    needs: Needs,
}

/// The room that a publisher needs in a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    pub(super) load: Load,
    /// What it settles there itself.
    pub(super) frees: Load,
}

/// So many messages of so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Load {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            messages: 1,
            bytes: message.size(),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
    }

    /// Nothing where `other` is more: what was looked at without the queue's lock may be gone.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// What an operation leaves to be done when no lock is held, each in the order it came.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    pub(super) dead: VecDeque<Dead>,
    /// Queues that have room, and publishers who wait for it.
    pub(super) room: VecDeque<Arc<Queue>>,
    /// Publishers who waited long enough, and for which queue.
    pub(super) overdue: VecDeque<(Box<Job>, Arc<Queue>)>,
}

impl Aftermath {
    /// By the queues' names: they are swept in the order of their hashes, which differs from start to start.
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
    pub(super) reason: DeadReason,
    pub(super) queue: Arc<Queue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeadReason {
    Expired,
    Rejected,
    MaxDeliveries,
}

impl DeadReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::MaxDeliveries => "max-deliveries",
        }
    }
}

/// Why a queue did not take something.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// It was forgotten meanwhile: look it up again.
    Forgotten,
    /// It is full, and so is waited for.
    Full,
    /// It is full, and nobody waits.
    Refused(PublishError),
}

impl Queue {
    pub(super) fn new(name: ByteString, settings: Arc<QueueSettings>, meter: Meter) -> Self {
        let state = State {
            used: true,
            ..State::default()
        };
        Self {
            name,
            settings,
            meter,
            to_be_swept: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    pub(super) fn name(&self) -> &ByteString {
        &self.name
    }

    /// When a message that comes now expires if it does not say so itself.
    pub(super) fn expiry_by_default(&self, now: Timestamp) -> Option<Timestamp> {
        // Never at once: among places that send their dead letters to each other a message would go round for ever.
        Some(now + self.settings.time_to_live?.max(Duration::from_millis(1)))
    }

    /// Takes a message in; gives whether a consumer has it already. `waited` is said by the publisher whose turn it is.
    pub(super) fn push(
        self: &Arc<Self>,
        message: &Arc<Message>,
        expires_at: Option<Timestamp>,
        waited: bool,
        now: Timestamp,
        after: &mut Aftermath,
    ) -> Result<bool, NotTaken> {
        let mut state = self.used()?;
        let needs = Load::of(message);
        if (!waited && !state.publishers.is_empty()) || !self.has_room(&state, needs) {
            match self.settings.when_full {
                WhenFull::Wait(time) if !time.is_zero() => return Err(NotTaken::Full),
                WhenFull::Wait(_) => return Err(NotTaken::Refused(self.full(&state))),
                WhenFull::DropNewest => {
                    self.meter.add(|counters| &counters.dropped_newest, 1);
                    return Ok(false);
                }
                WhenFull::DropOldest => {
                    let Some(count) = self.in_the_way(&state, state.load, needs) else {
                        // All that could go is with consumers.
                        self.meter.add(|counters| &counters.dropped_newest, 1);
                        return Ok(false);
                    };
                    self.drop_oldest(&mut state, count);
                }
            }
        }
        state.load.add(needs);
        self.take_in(&mut state, message, expires_at);
        self.hand_out(&mut state, now, after);
        Ok(state.ready.is_empty() && !is_over(expires_at, now))
    }

    /// Sets room aside for a transaction. `waited` is said by one whose turn it is.
    pub(super) fn reserve(&self, needs: Needs, waited: bool) -> Result<(), NotTaken> {
        let mut state = self.used()?;
        let rest = state.load.without(needs.frees);
        // Who makes room of its own would wait for those who wait for that room.
        let first = waited || needs.frees.messages > 0 || state.publishers.is_empty();
        if !first || !self.fits(rest, needs.load) {
            match self.settings.when_full {
                WhenFull::Wait(time)
                    if !time.is_zero() && self.fits(Load::default(), needs.load) =>
                {
                    return Err(NotTaken::Full);
                }
                WhenFull::DropOldest if self.in_the_way(&state, rest, needs.load).is_some() => {}
                _ => return Err(NotTaken::Refused(self.full(&state))),
            }
        }
        state.load.add(needs.load);
        Ok(())
    }

    /// Gives back what was reserved and not used.
    pub(super) fn give_back(self: &Arc<Self>, reserved: Load, after: &mut Aftermath) {
        let mut state = self.state.lock();
        state.load = state.load.without(reserved);
        self.call_publishers(&state, after);
    }

    /// Takes in a message that has its room reserved.
    pub(super) fn push_reserved(
        self: &Arc<Self>,
        message: &Arc<Message>,
        expires_at: Option<Timestamp>,
        reserved: Load,
        now: Timestamp,
        after: &mut Aftermath,
    ) -> bool {
        let mut state = self.state.lock();
        let mut others = state.load.without(reserved);
        let needs = Load::of(message);
        if self.settings.when_full == WhenFull::DropOldest
            && let Some(count) = self.in_the_way(&state, others, needs)
        {
            state.load = others;
            self.drop_oldest(&mut state, count);
            others = state.load;
        }
        state.load = others;
        state.load.add(needs);
        self.take_in(&mut state, message, expires_at);
        self.hand_out(&mut state, now, after);
        state.ready.is_empty() && !is_over(expires_at, now)
    }

    /// Lets a publisher wait until there is room, or gives it back where there is some already.
    pub(super) fn park(&self, job: Box<Job>, needs: Needs) -> Result<(), Box<Job>> {
        let mut state = self.state.lock();
        let first = state.publishers.is_empty() || needs.frees.messages > 0;
        if state.forgotten || (first && self.has_room_for(&state, needs)) {
            return Err(job);
        }
        state.publishers.push_back(Parked { job, needs });
        self.to_be_swept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The next publisher, if there is room for what it has.
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

    /// Starts to deliver to a consumer; gives what it is known by.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        new_consumer: impl FnOnce() -> ConsumerParts,
        now: Timestamp,
        after: &mut Aftermath,
    ) -> Result<SeatKey, NotTaken> {
        let mut state = self.used()?;
        let (outbox, slot, ack, prefetch) = new_consumer();
        let number = state.next_consumer;
        state.next_consumer = number.wrapping_add(1);
        let seat = Seat {
            number,
            consumer: Consumer::new(outbox, slot, ack, prefetch),
            in_turn: true,
        };
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
        self.hand_out(&mut state, now, after);
        Ok(SeatKey { at, number })
    }

    /// Ends a consumer; what it did not settle goes to others.
    pub(super) fn unsubscribe(
        self: &Arc<Self>,
        key: SeatKey,
        now: Timestamp,
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        state.used = true;
        let seat = state.seats.get_mut(key.at as usize);
        let seat = seat.and_then(|seat| seat.take_if(|seat| seat.number == key.number));
        let Some(mut seat) = seat else {
            return;
        };
        state.free_seats.push(key.at);
        state.turn.retain(|waiting| *waiting != key.at);
        if state.seats.len() == state.free_seats.len() {
            (state.seats, state.free_seats, state.turn) = Default::default();
        }
        for entry in seat.consumer.take_all() {
            self.come_back(&mut state, entry, after);
        }
        self.hand_out(&mut state, now, after);
    }

    /// What settling all of `deliveries` one after the other would free; or the first that is not there.
    pub(super) fn would_free<'a>(
        &self,
        key: SeatKey,
        deliveries: &[&'a DeliveryRef],
    ) -> Result<Load, &'a DeliveryRef> {
        let mut state = self.state.lock();
        let mut freed = Load::default();
        match state.seat_mut(key) {
            Some(seat) => {
                for entry in seat.consumer.would_settle(deliveries)? {
                    freed.add(Load::of(&entry.message));
                }
                Ok(freed)
            }
            None => deliveries.first().map_or(Ok(freed), |first| Err(*first)),
        }
    }

    /// Settles a delivery, with those before it where the consumer acknowledges so; false where it does not wait to be.
    pub(super) fn settle(
        self: &Arc<Self>,
        key: SeatKey,
        delivery: &DeliveryRef,
        outcome: Outcome,
        now: Timestamp,
        after: &mut Aftermath,
    ) -> bool {
        let mut state = self.state.lock();
        state.used = true;
        let seat = state.seat_mut(key);
        let Some(settled) = seat.and_then(|seat| seat.consumer.settle(delivery)) else {
            return false;
        };
        let mut accepted = 0;
        for entry in settled {
            match outcome {
                Outcome::Accepted => {
                    accepted += 1;
                    state.load.subtract(Load::of(&entry.message));
                }
                Outcome::Released => self.come_back(&mut state, entry, after),
                Outcome::Rejected => {
                    entry.message.came_back();
                    self.give_up(&mut state, entry, DeadReason::Rejected, after);
                }
            }
        }
        self.meter.add(|counters| &counters.acked, accepted);
        state.sit_down(key);
        self.hand_out(&mut state, now, after);
        true
    }

    /// There is room in the consumer's outbox again.
    pub(super) fn resume(self: &Arc<Self>, key: SeatKey, now: Timestamp, after: &mut Aftermath) {
        let mut state = self.state.lock();
        state.sit_down(key);
        self.hand_out(&mut state, now, after);
    }

    /// Whether something may have to be let go of: asked of every queue, so without its lock.
    pub(super) fn is_to_be_swept(&self) -> bool {
        self.to_be_swept.load(Ordering::Relaxed)
    }

    /// Lets go of messages whose time is over by `now`, and of publishers whose time is by `steady`.
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
                    self.give_up(&mut state, entry, DeadReason::Expired, after);
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
        // What expired made room, and who stood behind those that waited long enough may fit.
        self.call_publishers(&state, after);
    }

    /// Marks the queue as forgotten, unless somebody uses it.
    pub(super) fn forget(&self) -> bool {
        // A queue that somebody has in hand is used; nobody waits for it with the shard in hand.
        let Some(mut state) = self.state.try_lock() else {
            return false;
        };
        let used = std::mem::take(&mut state.used);
        let empty = state.load == Load::default() && state.publishers.is_empty();
        state.forgotten = !used && empty && state.seats.is_empty();
        state.forgotten
    }

    pub(super) fn statistics(&self) -> DestinationStatistics {
        let state = self.state.lock();
        DestinationStatistics {
            destination: self.name.clone(),
            kind: DestinationKind::Queue,
            subscribers: state.seats.len() - state.free_seats.len(),
            depth: state.ready.len(),
            unsettled: state
                .seats
                .iter()
                .flatten()
                .map(|seat| seat.consumer.unsettled())
                .sum(),
            bytes: state.load.bytes,
            counts: self.meter.counts(),
            published_per_second: self.meter.published_per_second(),
            delivered_per_second: self.meter.delivered_per_second(),
        }
    }

    /// The error for those who waited for room and found none.
    pub(super) fn full_error(&self) -> PublishError {
        self.full(&self.state.lock())
    }

    fn used(&self) -> Result<MutexGuard<'_, State>, NotTaken> {
        let mut state = self.state.lock();
        if state.forgotten {
            return Err(NotTaken::Forgotten);
        }
        state.used = true;
        Ok(state)
    }

    fn has_room(&self, state: &State, needs: Load) -> bool {
        self.fits(state.load, needs)
    }

    fn has_room_for(&self, state: &State, needs: Needs) -> bool {
        self.fits(state.load.without(needs.frees), needs.load)
    }

    /// How many of those that wait longest have to go so that there is room for `needs` beside `load`; `None` where that
    /// does not help.
    fn in_the_way(&self, state: &State, mut load: Load, needs: Load) -> Option<usize> {
        let mut ready = state.ready.iter();
        let mut count = 0;
        while !self.fits(load, needs) {
            load = load.without(Load::of(&ready.next()?.message));
            count += 1;
        }
        Some(count)
    }

    fn drop_oldest(&self, state: &mut State, count: usize) {
        for oldest in state.ready.drain(..count) {
            state.load.subtract(Load::of(&oldest.message));
        }
        self.meter.add(|counters| &counters.dropped_oldest, count);
    }

    /// Whether there is room beside `load`. One message larger than the limit passes when there is nothing else.
    fn fits(&self, load: Load, needs: Load) -> bool {
        let QueueSettings {
            max_messages,
            max_bytes,
            ..
        } = *self.settings;
        load.messages + needs.messages <= max_messages
            && (load.bytes + needs.bytes <= max_bytes || load.messages == 0)
    }

    fn full(&self, state: &State) -> PublishError {
        PublishError::QueueFull {
            queue: self.name.clone(),
            messages: state.load.messages,
            max_messages: self.settings.max_messages,
            bytes: state.load.bytes,
            max_bytes: self.settings.max_bytes,
        }
    }

    fn take_in(&self, state: &mut State, message: &Arc<Message>, expires_at: Option<Timestamp>) {
        self.meter.add(|counters| &counters.published, 1);
        self.note_expiry(state, expires_at);
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.ready.push_back(Entry {
            sequence,
            message: Arc::clone(message),
            expires_at,
        });
    }

    /// Has the sweeps look at the queue, where a message may expire.
    fn note_expiry(&self, state: &mut State, expires_at: Option<Timestamp>) {
        if expires_at.is_some() {
            state.expires = true;
            self.to_be_swept.store(true, Ordering::Relaxed);
        }
    }

    /// Gives what is ready to those who have room, one after the other.
    fn hand_out(self: &Arc<Self>, state: &mut State, now: Timestamp, after: &mut Aftermath) {
        let mut delivered = 0;
        let mut redelivered = 0;
        while let Some(&key) = state.turn.front()
            && let Some(entry) = state.ready.pop_front()
        {
            if is_over(entry.expires_at, now) {
                self.give_up(state, entry, DeadReason::Expired, after);
                continue;
            }
            state.turn.pop_front();
            let again = entry.message.redeliveries() > 0;
            // A seat leaves the turns before it is given up.
            let Some(seat) = state.seats.get_mut(key as usize).and_then(Option::as_mut) else {
                state.ready.push_front(entry);
                continue;
            };
            match seat.consumer.offer(entry) {
                Ok(()) => {
                    delivered += 1;
                    redelivered += usize::from(again);
                    state.turn.push_back(key);
                }
                Err(entry) => {
                    seat.in_turn = false;
                    state.ready.push_front(entry);
                }
            }
        }
        if state.ready.is_empty() && state.ready.capacity() > KEPT_CAPACITY {
            state.ready = VecDeque::new();
        }
        self.meter.add(|counters| &counters.delivered, delivered);
        self.meter
            .add(|counters| &counters.redelivered, redelivered);
        self.call_publishers(state, after);
    }

    /// Has those who wait for room be looked at, if there is some.
    fn call_publishers(self: &Arc<Self>, state: &State, after: &mut Aftermath) {
        if let Some(first) = state.publishers.front()
            && self.has_room_for(state, first.needs)
        {
            after.room.push_back(Arc::clone(self));
        }
    }

    /// Puts a message back where it stood, unless it came back too often.
    fn come_back(self: &Arc<Self>, state: &mut State, entry: Entry, after: &mut Aftermath) {
        let deliveries = entry.message.came_back();
        if self
            .settings
            .max_deliveries
            .is_some_and(|most| deliveries >= most)
        {
            return self.give_up(state, entry, DeadReason::MaxDeliveries, after);
        }
        self.note_expiry(state, entry.expires_at);
        let at = state
            .ready
            .partition_point(|other| other.sequence < entry.sequence);
        state.ready.insert(at, entry);
    }

    fn give_up(
        self: &Arc<Self>,
        state: &mut State,
        entry: Entry,
        reason: DeadReason,
        after: &mut Aftermath,
    ) {
        state.load.subtract(Load::of(&entry.message));
        if reason == DeadReason::Expired {
            self.meter.add(|counters| &counters.expired, 1);
        }
        after.dead.push_back(Dead {
            message: entry.message,
            reason,
            queue: Arc::clone(self),
        });
    }
}

fn is_over(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|at| at <= now)
}

/// What a consumer is made of.
pub(super) type ConsumerParts = (
    Arc<crate::Outbox>,
    u32,
    crate::AckMode,
    std::num::NonZeroU32,
);

/// Room that an empty queue may keep: what comes one by one must not allocate each time.
const KEPT_CAPACITY: usize = 64;

impl State {
    fn seat_mut(&mut self, key: SeatKey) -> Option<&mut Seat> {
        let seat = self.seats.get_mut(key.at as usize)?.as_mut();
        seat.filter(|seat| seat.number == key.number)
    }

    /// Gives a consumer that may have room again its turn, behind the others.
    fn sit_down(&mut self, key: SeatKey) {
        if let Some(seat) = self.seat_mut(key)
            && !seat.in_turn
        {
            seat.in_turn = true;
            self.turn.push_back(key.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AckMode, Destination, Headers, Outbox, Overflow, Publish};

    const NOW: Timestamp = Timestamp::from_millis(1);

    fn subscribe(queue: &Arc<Queue>, after: &mut Aftermath) -> SeatKey {
        let outbox = Arc::new(Outbox::new(1 << 20, Overflow::Close));
        let parts = || (outbox, 0, AckMode::Client, std::num::NonZeroU32::MAX);
        queue.subscribe(parts, NOW, after).unwrap()
    }

    #[test]
    fn an_old_key_does_not_settle_for_who_sits_there_now() {
        let meter = Meter::new(&Arc::default());
        let queue = Arc::new(Queue::new("/queue/a".into(), Arc::default(), meter));
        let mut after = Aftermath::default();
        let publish = Publish::new(Destination::parse("/queue/a").unwrap(), Headers::new(), "x");
        let message = Arc::new(Message::new(publish, "m".into(), None));
        assert!(!queue.push(&message, None, false, NOW, &mut after).unwrap());
        let old = subscribe(&queue, &mut after);
        queue.unsubscribe(old, NOW, &mut after);
        let new = subscribe(&queue, &mut after);
        assert_eq!(old.at, new.at);
        let first = DeliveryRef::Tag(1);
        let accept = |key| {
            queue.settle(
                key,
                &first,
                Outcome::Accepted,
                NOW,
                &mut Aftermath::default(),
            )
        };
        assert!(!accept(old));
        assert!(queue.would_free(old, &[&first]).is_err());
        queue.unsubscribe(old, NOW, &mut after);
        assert!(accept(new));
    }
}
