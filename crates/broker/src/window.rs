//! Topics and user destinations for subscribers that acknowledge: a window of deliveries on their way.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytestring::ByteString;

use crate::consumer::{Carries, Consumer, Settled};
use crate::statistics::Meter;
use crate::sync::Mutex;
use crate::{AckMode, DeliveryRef, Ending, Lost, Message, Outbox, Overflow};

/// One subscription that acknowledges what a topic sends it. What goes beyond the window waits here, as it would in the
/// outbox, and under the same limit and policy; it ends with the subscription.
#[derive(Debug)]
pub(crate) struct Window {
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    consumer: Consumer<Entry>,
    waiting: VecDeque<Entry>,
    /// Of what waits.
    bytes: usize,
}

/// A message in a window, and its topic's books; a user destination has none.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) message: Arc<Message>,
    pub(crate) origin: Option<Arc<Origin>>,
}

/// What a message's topic wants to know of it.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) meter: Meter,
    /// Where what is rejected goes.
    pub(crate) dead_letters: Option<ByteString>,
}

impl Carries for Entry {
    fn message(&self) -> &Arc<Message> {
        &self.message
    }
}

impl Window {
    pub(crate) fn new(outbox: Arc<Outbox>, slot: u32, ack: AckMode, prefetch: NonZeroU32) -> Self {
        let consumer = Consumer::new(Arc::clone(&outbox), slot, ack, prefetch);
        Self {
            outbox,
            state: Mutex::new(State {
                consumer,
                waiting: VecDeque::new(),
                bytes: 0,
            }),
        }
    }

    pub(crate) fn push(
        &self,
        messages: &[Arc<Message>],
        overflow: &Overflow,
        origin: Option<&Arc<Origin>>,
    ) -> Lost {
        let mut lost = Lost::default();
        let mut state = self.state.lock();
        for message in messages {
            let entry = Entry {
                message: Arc::clone(message),
                origin: origin.cloned(),
            };
            if state.waiting.is_empty()
                && let Ok(()) = state.consumer.offer(entry.clone())
            {
                continue;
            }
            if self.outbox.is_closed() {
                break;
            }
            lost += state.wait(entry, overflow, &self.outbox);
        }
        lost
    }

    /// Whether all of `deliveries` can be settled one after the other; if not, which cannot.
    pub(crate) fn check<'a>(&self, deliveries: &[&'a DeliveryRef]) -> Result<(), &'a DeliveryRef> {
        let mut state = self.state.lock();
        state.consumer.would_settle(deliveries).map(drop)
    }

    /// Settles `delivery` and moves on; gives what that settled.
    pub(crate) fn settle(&self, delivery: &DeliveryRef) -> Option<Settled<Entry>> {
        let mut state = self.state.lock();
        let settled = state.consumer.settle(delivery)?;
        state.refill();
        Some(settled)
    }

    /// Looks whether there is room in the outbox again.
    pub(crate) fn resume(&self) {
        self.state.lock().refill();
    }
}

impl State {
    fn refill(&mut self) {
        while let Some(entry) = self.waiting.pop_front() {
            let size = entry.message.size();
            if let Err(entry) = self.consumer.offer(entry) {
                self.waiting.push_front(entry);
                return;
            }
            self.bytes -= size;
        }
        self.waiting = VecDeque::new();
    }

    fn wait(&mut self, entry: Entry, overflow: &Overflow, outbox: &Outbox) -> Lost {
        let mut lost = Lost::default();
        if let Overflow::Latest { key } = overflow
            && let Some(older) = self.waiting.iter().position(|older| {
                entry.message.headers().get(key).is_some()
                    && older.message.replaces(&entry.message, key)
            })
            && let Some(older) = self.waiting.remove(older)
        {
            self.bytes -= older.message.size();
            lost.messages += 1;
        }
        let limit = outbox.limit();
        if *overflow == Overflow::DropOldest {
            while self.bytes + entry.message.size() > limit
                && let Some(oldest) = self.waiting.pop_front()
            {
                self.bytes -= oldest.message.size();
                lost.messages += 1;
            }
        }
        let queued = self.bytes + entry.message.size();
        if queued > limit && !self.waiting.is_empty() {
            if *overflow == Overflow::DropNewest {
                lost.messages += 1;
            } else {
                self.waiting = VecDeque::new();
                self.bytes = 0;
                lost.sessions += u32::from(outbox.overflow(Ending::Overflow { queued, limit }));
            }
            return lost;
        }
        self.bytes = queued;
        self.waiting.push_back(entry);
        lost
    }
}
