//! The bounded queue toward one session.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytestring::ByteString;
use parking_lot::Mutex;

use crate::Message;

/// The bounded queue toward one session: the broker puts deliveries in, the session's task takes them out.
///
/// * **Order**: deliveries come out as they were put in.
/// * **Bound**: the queued messages' [sizes](Message::size) stay within the limit; one message larger than the limit
///   passes when the queue is empty. What happens beyond is the [`Overflow`] policy.
/// * **Cost**: an empty outbox holds no queue; a delivery costs its place in the queue (16 bytes) and no allocation
///   of its own.
///
/// # Example: a slow consumer is closed, not waited for
///
/// ```
/// use std::sync::Arc;
/// use std::task::{Context, Waker};
/// use tramline_broker::{Destination, Ending, Headers, Message, Outbox, Overflow, Publish, Taken};
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
/// assert!(matches!(taken, Taken::Ending(Ending::Overflow { limit: 1024, .. })));
/// # Ok::<(), tramline_broker::DestinationError>(())
/// ```
pub struct Outbox {
    limit: usize,
    overflow: Overflow,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Delivery>,
    bytes: usize,
    ending: Option<Box<Ending>>,
    closed: bool,
    waker: Option<Waker>,
}

/// One message on its way to one subscription of a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The message, shared with its other receivers.
    pub message: Arc<Message>,
    /// The session's name for the subscription: what it gave to [`Broker::subscribe`](crate::Broker::subscribe).
    pub slot: u32,
    /// How often the message was delivered before; 0 the first time, always 0 on topics.
    pub redeliveries: u32,
}

/// What an outbox does with a message that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Ends the session: it hears the reason and is closed with 4500. The default, as Spring's `TERMINATE`: a client
    /// that missed messages without knowing is worse off than one that reconnects.
    #[default]
    Close,
}

/// What [`Outbox::poll_take`] found.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Taken {
    /// Deliveries were moved into the batch.
    Some {
        /// Whether there is more to take right now.
        more: bool,
    },
    /// Nothing is queued, and the session has to end. Said once.
    Ending(Ending),
    /// Nothing is queued.
    Nothing,
}

/// Why a session has to end, told to its task through the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The session did not take its messages fast enough; what was queued is gone.
    Overflow {
        /// Bytes queued when it happened, the message that did not fit included.
        queued: usize,
        /// The outbox's limit in bytes.
        limit: usize,
    },
    /// Somebody on the server's side ended it.
    Requested {
        /// The WebSocket close code.
        code: u16,
        /// The reason the client reads.
        reason: ByteString,
    },
}

impl Outbox {
    /// An empty outbox for at most `limit` bytes of queued messages.
    pub fn new(limit: usize, overflow: Overflow) -> Self {
        Self {
            limit,
            overflow,
            state: Mutex::default(),
        }
    }

    /// Queues `messages` for the subscription `slot` and wakes the session. For brokers.
    ///
    /// Never blocks on the session. An outbox whose session ended takes nothing and says nothing: the broker hears of
    /// that end by [`Broker::close`](crate::Broker::close).
    pub fn push(&self, slot: u32, messages: &[Arc<Message>]) {
        self.push_deliveries(messages.iter().map(|message| Delivery {
            message: Arc::clone(message),
            slot,
            redeliveries: 0,
        }));
    }

    fn push_deliveries(&self, deliveries: impl IntoIterator<Item = Delivery>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let was_empty = state.queue.is_empty();
        for delivery in deliveries {
            let queued = state.bytes + delivery.message.size();
            if queued > self.limit && !state.queue.is_empty() {
                match self.overflow {
                    Overflow::Close => {
                        state.overflow(Ending::Overflow {
                            queued,
                            limit: self.limit,
                        });
                        return;
                    }
                }
            }
            state.bytes = queued;
            state.queue.push_back(delivery);
        }
        if was_empty {
            state.wake();
        }
    }

    /// Asks the session to end. What is queued, and what comes while the session finishes what it is doing, is still
    /// written, unless the session is too slow for that; the first request counts.
    pub fn end(&self, ending: Ending) {
        let mut state = self.state.lock();
        if !state.closed && state.ending.is_none() {
            state.ending = Some(Box::new(ending));
            state.wake();
        }
    }

    /// Wakes the session's task without giving it anything, so that it looks at its timers.
    pub fn wake(&self) {
        self.state.lock().wake();
    }

    /// Moves deliveries into `batch`, until it has `max_items` of them or `max_bytes` more.
    ///
    /// Unless it says that there is [more](Taken::Some), the task of `context` is woken when there is something again,
    /// and by [`wake`](Self::wake). For the session's one task.
    pub fn poll_take(
        &self,
        context: &mut Context<'_>,
        batch: &mut Vec<Delivery>,
        max_items: usize,
        max_bytes: usize,
    ) -> Taken {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            state.register(context.waker());
            return state
                .ending
                .take()
                .map_or(Taken::Nothing, |ending| Taken::Ending(*ending));
        }
        let mut bytes = 0;
        while batch.len() < max_items && bytes < max_bytes {
            let Some(delivery) = state.queue.pop_front() else {
                break;
            };
            bytes += delivery.message.size();
            batch.push(delivery);
        }
        state.bytes -= bytes;
        let more = !state.queue.is_empty() || state.ending.is_some();
        if state.queue.is_empty() {
            // A session that was busy once does not hold its queue for ever.
            if state.queue.capacity() > KEPT_CAPACITY {
                state.queue = VecDeque::new();
            }
            state.register(context.waker());
        }
        Taken::Some { more }
    }

    /// For a session that cannot write: registers it to be woken, and tells whether it overflowed meanwhile.
    pub fn poll_overflow(&self, context: &mut Context<'_>) -> Option<Ending> {
        let mut state = self.state.lock();
        state.register(context.waker());
        state
            .ending
            .take_if(|ending| matches!(**ending, Ending::Overflow { .. }))
            .map(|ending| *ending)
    }

    /// Drops what is queued and takes nothing more: the session is over.
    pub fn close(&self) {
        let mut state = self.state.lock();
        *state = State {
            closed: true,
            ..State::default()
        };
    }

    /// Takes nothing more from now on, while what is queued can still be taken out; whether that is nothing.
    pub fn seal(&self) -> bool {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.is_empty()
    }

    /// Bytes queued now.
    pub fn queued_bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

/// Deliveries that an idle outbox may keep room for: the common single message must not allocate each time.
const KEPT_CAPACITY: usize = 4;

impl State {
    fn overflow(&mut self, ending: Ending) {
        self.queue = VecDeque::new();
        self.bytes = 0;
        self.closed = true;
        self.ending = Some(Box::new(ending));
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
            .field("ending", &state.ending)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tramline_stomp::Headers;

    use super::*;
    use crate::{Destination, Publish};

    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn message(size: usize) -> Arc<Message> {
        let destination = Destination::parse("/t").unwrap();
        let publish = Publish::new(destination, Headers::new(), vec![b'x'; size - 3]);
        Arc::new(Message::new(publish, "m".into(), None))
    }

    fn take(outbox: &Outbox, waker: &Waker, max_items: usize, max_bytes: usize) -> (Taken, usize) {
        let mut batch = Vec::new();
        let taken = outbox.poll_take(
            &mut Context::from_waker(waker),
            &mut batch,
            max_items,
            max_bytes,
        );
        (taken, batch.len())
    }

    const ALL: Taken = Taken::Some { more: false };

    #[test]
    fn a_push_wakes_once_until_the_queue_was_emptied() {
        let counter = Arc::new(CountingWaker::default());
        let waker = Waker::from(Arc::clone(&counter));
        let outbox = Outbox::new(1000, Overflow::Close);
        assert_eq!(take(&outbox, &waker, 64, 1000), (Taken::Nothing, 0));
        outbox.push(0, &[message(10)]);
        outbox.push(0, &[message(10)]);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert_eq!(take(&outbox, &waker, 64, 1000), (ALL, 2));
        outbox.push(0, &[message(10)]);
        assert_eq!(
            counter.0.load(Ordering::Relaxed),
            2,
            "taking all registered the waker again"
        );
    }

    #[test]
    fn batches_are_bounded_in_items_and_bytes() {
        let outbox = Outbox::new(1000, Overflow::Close);
        outbox.push(0, &[message(100), message(100), message(100), message(100)]);
        assert_eq!(
            take(&outbox, Waker::noop(), 1, 1000),
            (Taken::Some { more: true }, 1)
        );
        assert_eq!(
            take(&outbox, Waker::noop(), 64, 101),
            (Taken::Some { more: true }, 2)
        );
        assert_eq!(outbox.queued_bytes(), 100);
    }

    #[test]
    fn one_message_over_the_limit_passes_an_empty_outbox() {
        let outbox = Outbox::new(50, Overflow::Close);
        outbox.push(0, &[message(100)]);
        assert_eq!(take(&outbox, Waker::noop(), 64, 1000), (ALL, 1));
    }

    #[test]
    fn a_requested_end_comes_after_what_is_queued_and_once() {
        let outbox = Outbox::new(1000, Overflow::Close);
        outbox.push(0, &[message(10)]);
        let ending = Ending::Requested {
            code: 1001,
            reason: "going away".into(),
        };
        outbox.end(ending.clone());
        outbox.push(0, &[message(10)]);
        assert_eq!(
            take(&outbox, Waker::noop(), 64, 1000),
            (Taken::Some { more: true }, 2)
        );
        assert_eq!(
            take(&outbox, Waker::noop(), 64, 1000),
            (Taken::Ending(ending), 0)
        );
        outbox.push(0, &[message(10)]);
        assert_eq!(
            take(&outbox, Waker::noop(), 64, 1000),
            (ALL, 1),
            "a reply of the last handler"
        );
        assert_eq!(take(&outbox, Waker::noop(), 64, 1000), (Taken::Nothing, 0));
    }

    #[test]
    fn a_blocked_session_hears_of_its_overflow() {
        let outbox = Outbox::new(15, Overflow::Close);
        let mut context = Context::from_waker(Waker::noop());
        outbox.push(0, &[message(10)]);
        assert_eq!(outbox.poll_overflow(&mut context), None);
        outbox.push(0, &[message(10)]);
        let overflow = Ending::Overflow {
            queued: 20,
            limit: 15,
        };
        assert_eq!(outbox.poll_overflow(&mut context), Some(overflow));
        outbox.push(0, &[message(10)]);
        assert_eq!(outbox.queued_bytes(), 0);
    }

    #[test]
    fn an_idle_outbox_is_small_and_holds_no_queue() {
        assert!(size_of::<Outbox>() <= 104, "{}", size_of::<Outbox>());
        assert_eq!(size_of::<Delivery>(), 16);
        let outbox = Outbox::new(100_000, Overflow::Close);
        for _ in 0..100 {
            outbox.push(0, &[message(10)]);
        }
        assert_eq!(take(&outbox, Waker::noop(), 100, 100_000).1, 100);
        assert_eq!(outbox.state.lock().queue.capacity(), 0);
    }
}
