//! The bounded queue toward one session.

mod control;
mod latest;
mod paced;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use self::control::Instructions;
pub use self::control::{Control, Ending, Lost};
use self::latest::Latest;
use crate::message::Message;
use crate::sync::Mutex;

/// The bounded queue toward one session: the broker adds deliveries, the session's task takes them.
///
/// * **Order**: deliveries come out as they were put in.
/// * **Bound**: the queued messages' [sizes](Message::size) stay within the limit; one message larger than the limit
///   passes when the queue is empty. The [`Overflow`] policy, the destination's or else the outbox's own, says what
///   happens beyond.
/// * **Deliveries with a tag** have to be settled, and are only added while there is room.
/// * **Cost**: an empty outbox holds no queue; a delivery costs its place in the queue (24 bytes) and no allocation of
///   its own.
///
/// # Example: a slow consumer is closed, not waited for
///
/// ```
/// use std::sync::Arc;
/// use std::task::{Context, Waker};
/// use tramline_broker::{Control, Destination, Ending, Headers, Message, Outbox, Overflow, Publish, Taken};
///
/// let outbox = Outbox::new(1024, Overflow::Close);
/// let body = vec![b'x'; 1000];
/// let publish = Publish::new(Destination::parse("/topic/a")?, Headers::new(), body);
/// let message = Arc::new(Message::new(publish, "m-1".into(), None));
/// outbox.push(0, &[message.clone()]);
/// outbox.push(0, &[message]);
///
/// let mut batch = Vec::new();
/// let taken = outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch, 64, 65_536);
/// assert!(matches!(taken, Taken::Control(Control::End(Ending::Overflow { limit: 1024, .. }))));
/// # Ok::<(), tramline_broker::DestinationError>(())
/// ```
pub struct Outbox {
    limit: usize,
    overflow: Overflow,
    state: Mutex<OutboxState>,
}

#[derive(Default)]
struct OutboxState {
    /// `None` for a withdrawn delivery; never at the front.
    queue: VecDeque<Option<Delivery>>,
    /// The number of `None`s.
    empty: u32,
    bytes: usize,
    /// Instructions that the session has not taken.
    control: Option<Box<Instructions>>,
    closed: bool,
    /// A delivery with a tag found no room; the session must report room when there is some.
    room_wanted: bool,
    waker: Option<Waker>,
    latest: Option<Box<Latest>>,
}

/// One message on its way to one subscription of a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The message, shared with its other receivers.
    pub message: Arc<Message>,
    /// The session's number for the subscription, from its [`Hub::subscribe`](crate::Hub::subscribe).
    pub slot: u32,
    /// The number to [settle](crate::Hub::settle) the delivery by, unique within the subscription; 0 if nothing has to
    /// be settled.
    pub tag: u32,
    /// How often the message was delivered before, or may have been: 0 the first time, and always for topics.
    pub redeliveries: u32,
}

/// The treatment of messages for a subscriber whose outbox is full.
///
/// Whatever is dropped is counted, in the [statistics](crate::DestinationStatistics) of its destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Ends the session: it receives the reason and is closed with 4500. The default, as Spring's `TERMINATE`: a client
    /// that unknowingly missed messages is worse off than one that reconnects.
    #[default]
    Close,
    /// Drops the oldest messages that wait for the same subscription until the new one fits; drops the new one if it
    /// still does not fit, as when another subscription fills the outbox. For states that a later one replaces.
    DropOldest,
    /// Drops the new message. For streams whose earliest messages matter.
    DropNewest,
    /// Keeps only the latest of the waiting messages that have the same destination and the same value in the header
    /// `key`: conflation, full outbox or not. A slow client sees fewer prices, not older ones. Messages without the
    /// header are not conflated; if the rest does not fit, the session is closed as with [`Close`](Self::Close).
    Latest {
        /// The header's name.
        key: Arc<str>,
    },
}

impl Overflow {
    /// Creates [`Overflow::Latest`] for the header `key`.
    pub fn latest(key: impl Into<Arc<str>>) -> Self {
        Self::Latest { key: key.into() }
    }
}

/// The result of [`Outbox::poll_take`].
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Taken {
    /// Deliveries were moved into the batch; none if deliveries were withdrawn and only their room is to be reported.
    Some {
        /// True if there is more to take right now.
        more: bool,
        /// True if deliveries that found no room wait for it: report it with
        /// [`Hub::room_again`](crate::Hub::room_again).
        room_wanted: bool,
        /// True if messages are [conflated](Overflow::Latest) here: what is written early is old when it arrives.
        conflates: bool,
    },
    /// An instruction, returned once: an [`End`](Control::End) only when nothing is queued, others before what is.
    Control(Control),
    /// Nothing is queued.
    Nothing,
}

impl Outbox {
    /// Creates an empty outbox for at most `limit` bytes of queued messages.
    pub fn new(limit: usize, overflow: Overflow) -> Self {
        Self {
            limit,
            overflow,
            state: Mutex::default(),
        }
    }

    /// Queues `messages` for the subscription `slot` and wakes the session; the outbox's own policy treats messages
    /// that do not fit. Returns how many were lost to it. For brokers.
    ///
    /// Never blocks on the session. After its session ended, an outbox ignores messages and reports nothing: the broker
    /// receives that end by [`Hub::close`](crate::Hub::close).
    pub fn push(&self, slot: u32, messages: &[Arc<Message>]) -> Lost {
        self.push_burst(slot, &Burst::new(messages, &self.overflow))
    }

    pub(crate) fn push_burst(&self, slot: u32, burst: &Burst<'_>) -> Lost {
        let mut state = self.state.lock();
        if state.closed {
            return Lost::default();
        }
        match burst.interval {
            None => self.push_now(&mut state, slot, burst),
            Some(interval) => self.push_paced(&mut state, slot, burst, interval),
        }
    }

    /// Queues messages if the subscription's interval does not run, and begins it; otherwise holds them.
    #[cold]
    fn push_paced(
        &self,
        state: &mut OutboxState,
        slot: u32,
        burst: &Burst<'_>,
        interval: Duration,
    ) -> Lost {
        let paced = &mut state.latest.get_or_insert_default().paced;
        if !paced.runs(slot) {
            paced.begin(slot, burst.overflow);
            let begun = Control::IntervalBegins { slot, interval };
            state.control.get_or_insert_default().add(begun);
            state.wake();
            return self.push_now(state, slot, burst);
        }
        let mut lost = Lost::default();
        for message in burst.messages {
            if let Some(older) = paced.hold(slot, message, burst.overflow) {
                state.bytes -= older.size();
                lost.conflated += 1;
            }
            state.bytes += message.size();
        }
        if state.bytes > self.limit {
            let (queued, limit) = (state.bytes, self.limit);
            state.overflow(Ending::Overflow { queued, limit });
            lost.sessions = 1;
        }
        lost
    }

    /// Queues what was held for a subscription while its interval ran; returns true if that begins another one. For the
    /// session, when the time of a [`Control::IntervalBegins`] is over.
    pub fn interval_is_over(&self, slot: u32) -> bool {
        let mut state = self.state.lock();
        let Some((held, overflow)) = state
            .latest
            .as_mut()
            .and_then(|latest| latest.paced.next(slot))
        else {
            return false;
        };
        state.bytes -= held.iter().map(|message| message.size()).sum::<usize>();
        self.push_now(&mut state, slot, &Burst::new(&held, &overflow));
        if state.queue.is_empty() {
            state.latest.take_if(|latest| latest.is_unused());
        }
        !held.is_empty()
    }

    #[inline]
    fn push_now(&self, state: &mut OutboxState, slot: u32, burst: &Burst<'_>) -> Lost {
        let mut lost = Lost::default();
        let was_empty = state.queue.is_empty();
        if was_empty && burst.messages.len() > KEPT_CAPACITY && burst.hashes.is_empty() {
            // An idle outbox has no more room than that; reserving once beats doubling.
            state.queue.reserve(burst.messages.len());
        }
        for (at, message) in burst.messages.iter().enumerate() {
            if let (Overflow::Latest { key }, Some(hash)) =
                (burst.overflow, burst.hashes.get(at).copied().flatten())
            {
                lost.messages += u32::from(state.take_back_older(slot, key, hash, message));
            }
            let mut queued = state.bytes + message.size();
            if queued > self.limit && !state.queue.is_empty() {
                match burst.overflow {
                    Overflow::Close | Overflow::Latest { .. } => {
                        state.overflow(Ending::Overflow {
                            queued,
                            limit: self.limit,
                        });
                        lost.sessions = 1;
                        return lost;
                    }
                    Overflow::DropOldest => {
                        lost.messages += state.drop_oldest(slot, message.size(), self.limit);
                        queued = state.bytes + message.size();
                    }
                    Overflow::DropNewest => {}
                }
                if queued > self.limit && !state.queue.is_empty() {
                    lost.messages += 1;
                    continue;
                }
            }
            state.bytes = queued;
            state.queue.push_back(Some(Delivery {
                message: Arc::clone(message),
                slot,
                tag: 0,
                redeliveries: 0,
            }));
        }
        if was_empty && !state.queue.is_empty() {
            state.wake();
        }
        lost
    }

    /// Queues a message that has to be settled by `tag`, if there is room for it; if not,
    /// [`poll_take`](Self::poll_take) reports when to try again.
    pub fn try_push(&self, slot: u32, tag: u32, message: &Arc<Message>, redeliveries: u32) -> bool {
        let delivery = Delivery {
            message: Arc::clone(message),
            slot,
            tag,
            redeliveries,
        };
        self.push_within(self.limit, delivery)
    }

    /// Queues a message that its topic keeps, if that leaves half of the room to live messages; if not,
    /// [`poll_take`](Self::poll_take) reports when to try again.
    pub(crate) fn push_kept(&self, slot: u32, message: &Arc<Message>) -> bool {
        let delivery = Delivery {
            message: Arc::clone(message),
            slot,
            tag: 0,
            redeliveries: 0,
        };
        self.push_within(self.limit / 2, delivery)
    }

    /// Has [`poll_take`](Self::poll_take) report room, though nothing found none.
    pub(crate) fn want_room(&self) {
        self.state.lock().room_wanted = true;
    }

    fn push_within(&self, limit: usize, delivery: Delivery) -> bool {
        let mut state = self.state.lock();
        // Others can have the message, or it is kept; an ending session would still write it.
        if state.closed || state.is_ending() {
            return false;
        }
        let queued = state.bytes + delivery.message.size();
        if queued > limit && !state.queue.is_empty() {
            state.room_wanted = true;
            return false;
        }
        let was_empty = state.queue.is_empty();
        state.bytes = queued;
        state.queue.push_back(Some(delivery));
        if was_empty {
            state.wake();
        }
        true
    }

    /// Asks the session to end. Queued messages, and those that arrive while the session finishes its work, are still
    /// written, unless the session is too slow for that; the first request counts.
    pub fn end(&self, ending: Ending) {
        let mut state = self.state.lock();
        if !state.closed && !state.is_ending() {
            state.control.get_or_insert_default().end = Some(ending);
            state.wake();
        }
    }

    /// Passes an instruction other than an end to the session.
    pub(crate) fn instruct(&self, notice: Control) {
        let mut state = self.state.lock();
        if !state.closed {
            state.control.get_or_insert_default().add(notice);
            state.wake();
        }
    }

    /// Withdraws deliveries with a tag that wait for the subscription `slot`: they no longer belong to the session.
    pub(crate) fn withdraw(&self, slot: u32) {
        let mut state = self.state.lock();
        let (mut bytes, mut withdrawn) = (0, 0);
        for place in &mut state.queue {
            if let Some(delivery) =
                place.take_if(|delivery| delivery.slot == slot && delivery.tag != 0)
            {
                bytes += delivery.message.size();
                withdrawn += 1;
            }
        }
        state.bytes -= bytes;
        state.emptied(withdrawn);
        if state.room_wanted && state.queue.is_empty() {
            // No queued delivery is left whose taking would report the room.
            state.wake();
        }
    }

    /// Wakes the session's task without a delivery, so that it checks its timers.
    pub fn wake(&self) {
        self.state.lock().wake();
    }

    /// Moves deliveries into `batch`, until it has `max_items` of them or `max_bytes` more.
    ///
    /// Unless it returns that there is [more](Taken::Some), the next delivery or instruction wakes the task of
    /// `context`, and so does [`wake`](Self::wake). For the session's one task.
    pub fn poll_take(
        &self,
        context: &mut Context<'_>,
        batch: &mut Vec<Delivery>,
        max_items: usize,
        max_bytes: usize,
    ) -> Taken {
        let mut state = self.state.lock();
        if state.control.is_some()
            && let Some(notice) = state.take_notice()
        {
            return Taken::Control(notice);
        }
        if state.queue.is_empty() {
            state.register(context.waker());
            if std::mem::take(&mut state.room_wanted) {
                let more = state.control.is_some();
                return Taken::Some {
                    more,
                    room_wanted: true,
                    conflates: false,
                };
            }
            let end = state.control.take().and_then(|control| control.end);
            return end.map_or(Taken::Nothing, |end| Taken::Control(Control::End(end)));
        }
        let conflates = state.latest.is_some();
        state.take(batch, max_items.saturating_sub(batch.len()), max_bytes);
        // Half of it, so that a full outbox is not refilled one delivery at a time.
        let room_wanted = state.room_wanted && state.bytes <= self.limit / 2;
        if room_wanted {
            state.room_wanted = false;
        }
        let more = !state.queue.is_empty() || state.control.is_some();
        if state.queue.is_empty() {
            state.latest.take_if(|latest| latest.is_unused());
            // A session that was busy once does not keep its large queue.
            if state.queue.capacity() > KEPT_CAPACITY {
                state.queue = VecDeque::new();
            }
            state.register(context.waker());
        }
        Taken::Some {
            more,
            room_wanted,
            conflates,
        }
    }

    /// For a session that cannot write: registers its waker, and returns whether it overflowed meanwhile.
    pub fn poll_overflow(&self, context: &mut Context<'_>) -> Option<Ending> {
        let mut state = self.state.lock();
        state.register(context.waker());
        let overflowed =
            |control: &mut Box<Instructions>| matches!(control.end, Some(Ending::Overflow { .. }));
        state.control.take_if(overflowed)?.end
    }

    /// Drops all queued deliveries and takes no more: the session is over.
    pub fn close(&self) {
        let mut state = self.state.lock();
        *state = OutboxState {
            closed: true,
            ..OutboxState::default()
        };
    }

    /// Takes no more deliveries from now on; queued ones can still be taken. Returns true if none are queued.
    pub fn seal(&self) -> bool {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.is_empty()
    }

    /// Returns true if it takes no more deliveries.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// The maximum number of queued bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The policy for destinations that set none.
    pub(crate) fn policy(&self) -> &Overflow {
        &self.overflow
    }

    /// Ends the session because too much waits for it elsewhere; returns false if it was closed already.
    pub(crate) fn overflow(&self, ending: Ending) -> bool {
        let mut state = self.state.lock();
        let open = !state.closed;
        if open {
            state.overflow(ending);
        }
        open
    }

    /// Bytes queued now.
    pub fn queued_bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

/// Capacity that an idle outbox may keep: the common single message must not allocate each time.
const KEPT_CAPACITY: usize = 4;

/// How many more of an outbox's places may be empty than full.
const SPARE_PLACES: usize = 64;

/// Messages that go to many outboxes in one turn, with everything that is computed once for all.
pub(crate) struct Burst<'a> {
    messages: &'a [Arc<Message>],
    overflow: &'a Overflow,
    /// For [`Overflow::Latest`]: the hash of each message's key. Empty for other policies.
    hashes: Vec<Option<u64>>,
    /// The interval in which each subscription receives the latest once.
    interval: Option<Duration>,
}

impl<'a> Burst<'a> {
    pub(crate) fn new(messages: &'a [Arc<Message>], overflow: &'a Overflow) -> Self {
        let hashes = match overflow {
            Overflow::Latest { key } => messages
                .iter()
                .map(|message| latest::hash(message, key))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            messages,
            overflow,
            hashes,
            interval: None,
        }
    }

    /// Sets the interval in which each subscription receives the latest once.
    pub(super) fn paced(mut self, interval: Option<Duration>) -> Self {
        self.interval = interval;
        self
    }

    pub(crate) fn overflow(&self) -> &'a Overflow {
        self.overflow
    }
}

impl OutboxState {
    fn is_ending(&self) -> bool {
        let control = self.control.as_ref();
        control.is_some_and(|control| control.end.is_some())
    }

    #[cold]
    fn take_notice(&mut self) -> Option<Control> {
        let notice = self.control.as_mut()?.take_notice();
        self.control.take_if(|control| control.is_empty());
        notice
    }

    /// Moves deliveries from the front into `batch`, until it has `max_items` or `max_bytes` more.
    fn take(&mut self, batch: &mut Vec<Delivery>, max_items: usize, max_bytes: usize) {
        let (mut places, mut items, mut bytes) = (0, 0, 0);
        while items < max_items
            && bytes < max_bytes
            && let Some(place) = self.queue.pop_front()
        {
            places += 1;
            if let Some(delivery) = place {
                items += 1;
                bytes += delivery.message.size();
                batch.push(delivery);
            }
        }
        self.bytes -= bytes;
        self.empty -= (places - items) as u32;
        if let Some(latest) = &mut self.latest {
            latest.popped(places);
        }
        self.trim();
    }

    /// Removes empty places at the front.
    fn trim(&mut self) {
        while let Some(None) = self.queue.front() {
            self.queue.pop_front();
            self.empty -= 1;
            if let Some(latest) = &mut self.latest {
                latest.popped(1);
            }
        }
    }

    /// Withdraws the waiting message of the same key, since `message` replaces it; returns true if there was one.
    fn take_back_older(&mut self, slot: u32, key: &str, hash: u64, message: &Message) -> bool {
        let place = self.latest.as_ref();
        let place = place.and_then(|latest| latest.place(slot, hash));
        let older = place.and_then(|at| {
            let place = self.queue.get_mut(at)?;
            place.take_if(|older| older.message.replaces(message, key))
        });
        if let Some(older) = &older {
            self.bytes -= older.message.size();
            self.emptied(1);
        }
        let waiting = self.queue.len();
        let latest = self.latest.get_or_insert_default();
        latest.note(slot, hash, waiting);
        older.is_some()
    }

    /// Drops the longest-waiting messages of this subscription until `size` fits; returns their number.
    fn drop_oldest(&mut self, slot: u32, size: usize, limit: usize) -> u32 {
        let mut dropped = 0;
        for place in &mut self.queue {
            if self.bytes + size <= limit {
                break;
            }
            if let Some(oldest) =
                place.take_if(|delivery| delivery.slot == slot && delivery.tag == 0)
            {
                self.bytes -= oldest.message.size();
                dropped += 1;
            }
        }
        self.emptied(dropped);
        dropped
    }

    /// Notes emptied places. Those at the front are dropped at once, those in between when they are many.
    fn emptied(&mut self, places: u32) {
        self.empty += places;
        self.trim();
        let live = self.queue.len() - self.empty as usize;
        if self.empty as usize > live + SPARE_PLACES {
            if let Some(latest) = &mut self.latest {
                let places = self.queue.iter().enumerate();
                let kept = places.filter(|(_, place)| place.is_some());
                latest.closed_up(&kept.map(|(at, _)| at).collect::<Vec<_>>());
            }
            self.queue.retain(Option::is_some);
            self.empty = 0;
        }
    }

    fn overflow(&mut self, ending: Ending) {
        self.queue = VecDeque::new();
        self.empty = 0;
        self.latest = None;
        self.bytes = 0;
        self.room_wanted = false;
        self.closed = true;
        self.control = Some(Box::new(Instructions::ending(ending)));
        self.wake();
    }

    fn register(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) if known.will_wake(waker) => {}
            known => *known = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Outbox")
            .field("limit", &self.limit)
            .field("overflow", &self.overflow)
            .field("queued", &state.queue.len())
            .field("bytes", &state.bytes)
            .field("control", &state.control)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
