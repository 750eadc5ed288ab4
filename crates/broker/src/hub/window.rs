//! Topics and user destinations for subscribers that acknowledge: a window of unsettled deliveries.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytestring::ByteString;

use super::unsettled::{Identified, Settled, Unsettled};
use crate::AckMode;
use crate::hub::outbox::{Ending, Lost, Outbox, Overflow};
use crate::message::Message;
use crate::request::DeliveryRef;
use crate::statistics::Meter;
use crate::sync::Mutex;

/// A subscription that acknowledges a topic's messages. Messages beyond the window wait here, as they would in the
/// outbox and under the same limit and policy; they are dropped when the subscription ends.
#[derive(Debug)]
pub(crate) struct Window {
    outbox: Arc<Outbox>,
    slot: u32,
    prefetch: u32,
    state: Mutex<WindowState>,
}

#[derive(Debug)]
struct WindowState {
    unsettled: Unsettled<WindowMessage>,
    waiting: VecDeque<WindowMessage>,
    /// The bytes of `waiting`.
    bytes: usize,
}

/// A message in a window, and its topic; a user destination has none.
#[derive(Clone, Debug)]
pub(crate) struct WindowMessage {
    pub(crate) message: Arc<Message>,
    pub(crate) origin: Option<Arc<Origin>>,
}

/// The topic of a message: its counters, and the destination of its rejected messages.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) meter: Meter,
    pub(crate) dead_letters: Option<ByteString>,
}

impl Identified for WindowMessage {
    fn id(&self) -> Option<ByteString> {
        Some(self.message.id().clone())
    }
}

impl Window {
    pub(crate) fn new(outbox: Arc<Outbox>, slot: u32, ack: AckMode, prefetch: NonZeroU32) -> Self {
        Self {
            outbox,
            slot,
            prefetch: prefetch.get(),
            state: Mutex::new(WindowState {
                unsettled: Unsettled::new(ack),
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
            let entry = WindowMessage {
                message: Arc::clone(message),
                origin: origin.cloned(),
            };
            if state.waiting.is_empty() && self.offer(&mut state, &entry) {
                continue;
            }
            if self.outbox.is_closed() {
                break;
            }
            lost += state.wait(entry, overflow, &self.outbox);
        }
        lost
    }

    /// Delivers a message that its topic keeps; returns false if there is no room, or nothing may be unsettled besides.
    pub(crate) fn push_kept(&self, message: &Arc<Message>, origin: &Arc<Origin>) -> bool {
        let mut state = self.state.lock();
        let entry = WindowMessage {
            message: Arc::clone(message),
            origin: Some(Arc::clone(origin)),
        };
        state.waiting.is_empty() && self.offer(&mut state, &entry)
    }

    /// Checks that all of `deliveries` can be settled one after the other; if not, returns the first that cannot.
    pub(crate) fn check<'a>(&self, deliveries: &'a [DeliveryRef]) -> Result<(), &'a DeliveryRef> {
        let mut state = self.state.lock();
        let settled = state.unsettled.would_settle(deliveries);
        settled.map(drop)
    }

    /// Settles `delivery`, and delivers messages that waited for that; returns the settled entries.
    pub(crate) fn settle(&self, delivery: &DeliveryRef) -> Option<Settled<WindowMessage>> {
        let mut state = self.state.lock();
        let settled = state.unsettled.settle(delivery)?;
        self.refill(&mut state);
        Some(settled)
    }

    /// Delivers waiting messages, as far as the outbox has room again.
    pub(crate) fn room_again(&self) {
        self.refill(&mut self.state.lock());
    }

    /// Drops all messages: the subscription has ended.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.unsettled.clear();
        state.waiting = VecDeque::new();
        state.bytes = 0;
    }

    fn offer(&self, state: &mut WindowState, entry: &WindowMessage) -> bool {
        let has_room = state.unsettled.len() < self.prefetch as usize;
        let place = (&*self.outbox, self.slot);
        has_room
            && state
                .unsettled
                .offer(&entry.message, 0, place, || entry.clone())
    }

    fn refill(&self, state: &mut WindowState) {
        while let Some(entry) = state.waiting.pop_front() {
            let size = entry.message.size();
            if !self.offer(state, &entry) {
                state.waiting.push_front(entry);
                return;
            }
            state.bytes -= size;
        }
        state.waiting = VecDeque::new();
    }
}

impl WindowState {
    fn wait(&mut self, entry: WindowMessage, overflow: &Overflow, outbox: &Outbox) -> Lost {
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
