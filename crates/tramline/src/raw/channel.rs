//! The state that a handler, the senders to its client and the connection's task share.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use http::Extensions;
use parking_lot::Mutex;
use tramline_websocket::CloseCode;

use super::closed::Closed;
use super::limits::Overflow;
use super::send_error::SendError;
use super::shared::RawStack;
use crate::model::inbound::SessionInfo;
use crate::net::message::{Item, Received};
use crate::net::wheel::Sleeper;

/// One connection, shared by its handler, senders and task.
pub(crate) struct Channel {
    pub(super) stack: Arc<RawStack>,
    pub(super) opening: Opening,
    pub(super) transport: &'static str,
    text_only: bool,
    state: Mutex<ChannelState>,
}

/// The initial state of a session.
pub(crate) struct Opening {
    pub(super) info: SessionInfo,
    pub(super) attributes: Extensions,
    pub(super) protocol: Option<ByteString>,
    pub(super) local: Option<SocketAddr>,
}

#[derive(Default)]
struct ChannelState {
    /// Received messages that wait for the handler: at most those of one read.
    incoming: VecDeque<Received>,
    outgoing: VecDeque<Item>,
    /// The total size of the outgoing items.
    queued: usize,
    asked: Option<Box<Asked>>,
    closed: Option<Arc<Closed>>,
    task: Option<Waker>,
    receiver: Option<Waker>,
    waiting: Option<Box<Wakers>>,
    /// The task is running and will check everything before it sleeps: it need not be woken.
    awake: bool,
}

/// Wakers for rare events.
#[derive(Default)]
struct Wakers {
    room: Vec<Waker>,
    end: Vec<Waker>,
}

/// The server's request to end the connection.
#[derive(Clone)]
pub(super) enum Asked {
    /// Once everything queued is written.
    Close(CloseCode, ByteString),
    /// At once: the client took too little.
    Overflow { queued: usize },
}

/// The outcome of [`Channel::take`].
pub(super) enum Taken {
    Items { more: bool },
    Asked(Asked),
    Nothing,
}

impl Channel {
    pub(super) fn new(
        stack: Arc<RawStack>,
        opening: Opening,
        transport: &'static str,
        text_only: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            stack,
            opening,
            transport,
            text_only,
            state: Mutex::default(),
        })
    }

    // The application's side.

    /// Queues `item` if there is room; otherwise the caller is woken when there may be.
    pub(super) fn poll_send(
        &self,
        context: &mut Context<'_>,
        item: &mut Option<Item>,
    ) -> Poll<Result<(), SendError>> {
        let Some(new) = item.take() else {
            return Poll::Ready(Ok(()));
        };
        self.check(&new)?;
        let mut state = self.state.lock();
        state.check_open()?;
        if self.has_room(&state, &new) {
            state.push(new);
            return Poll::Ready(Ok(()));
        }
        *item = Some(new);
        register(&mut state.waiting.get_or_insert_default().room, context);
        Poll::Pending
    }

    /// Queues `item`, or applies the overflow policy.
    pub(super) fn try_send(&self, item: Item) -> Result<(), SendError> {
        self.check(&item)?;
        let mut state = self.state.lock();
        state.check_open()?;
        if !self.has_room(&state, &item) {
            let limits = &self.stack.limits;
            let (queued, limit) = (state.queued + item.size(), limits.outbox);
            match limits.overflow {
                Overflow::Close => {
                    state.outgoing = VecDeque::new();
                    state.queued = 0;
                    state.asked = Some(Box::new(Asked::Overflow { queued }));
                    state.end_waiting();
                    state.wake_task();
                    return Err(SendError::Overflow { queued, limit });
                }
                Overflow::DropOldest => {
                    while !self.has_room(&state, &item) {
                        state.pop();
                        self.stack.counters.messages_dropped.increment();
                    }
                }
                Overflow::Refuse => {
                    self.stack.counters.messages_dropped.increment();
                    return Err(SendError::Full { queued, limit });
                }
            }
        }
        state.push(item);
        Ok(())
    }

    fn check(&self, item: &Item) -> Result<(), SendError> {
        if !self.text_only {
            return Ok(());
        }
        match item.message() {
            None => Err(SendError::PingOverSockJs),
            Some(message) if message.as_text().is_none() => Err(SendError::BinaryOverSockJs),
            Some(_) => Ok(()),
        }
    }

    fn has_room(&self, state: &ChannelState, item: &Item) -> bool {
        state.outgoing.is_empty() || state.queued + item.size() <= self.stack.limits.outbox
    }

    /// The next message; `None` when nothing more will come.
    pub(super) fn poll_receive(&self, context: &Context<'_>) -> Poll<Option<Received>> {
        let mut state = self.state.lock();
        if let Some(received) = state.incoming.pop_front() {
            if state.incoming.is_empty() {
                shrink(&mut state.incoming);
                // The task has stopped reading.
                state.wake_task();
            }
            return Poll::Ready(Some(received));
        }
        if state.is_over() {
            return Poll::Ready(None);
        }
        set(&mut state.receiver, context);
        Poll::Pending
    }

    /// Asks for the end; only the first request counts.
    pub(super) fn close(&self, code: CloseCode, reason: ByteString) {
        let mut state = self.state.lock();
        if !state.is_over() {
            state.asked = Some(Box::new(Asked::Close(code, reason)));
            state.end_waiting();
            state.wake_task();
        }
    }

    /// Returns true if nothing can be sent any more.
    pub(super) fn is_over(&self) -> bool {
        self.state.lock().is_over()
    }

    pub(super) fn closed(&self) -> Option<Arc<Closed>> {
        self.state.lock().closed.clone()
    }

    pub(super) fn poll_closed(&self, context: &Context<'_>) -> Poll<Arc<Closed>> {
        let mut state = self.state.lock();
        if let Some(closed) = &state.closed {
            return Poll::Ready(Arc::clone(closed));
        }
        register(&mut state.waiting.get_or_insert_default().end, context);
        Poll::Pending
    }

    // The task's side.

    /// Records that the task is running, or that it is about to sleep and must be woken by events. Set before its last
    /// check.
    pub(super) fn set_awake(&self, awake: bool) {
        self.state.lock().awake = awake;
    }

    /// Passes on the messages of one read; the handler is woken, unless the task itself polls it.
    pub(super) fn received(&self, received: &mut Vec<Received>, context: &Context<'_>) {
        let mut state = self.state.lock();
        state.incoming.reserve_exact(received.len());
        state.incoming.extend(received.drain(..));
        if let Some(receiver) = state
            .receiver
            .take_if(|receiver| !receiver.will_wake(context.waker()))
        {
            receiver.wake();
        }
    }

    /// Returns true if a received message waits for the handler.
    pub(super) fn has_incoming(&self) -> bool {
        !self.state.lock().incoming.is_empty()
    }

    /// Moves items into `batch`, until it has `max_items` of them or `max_bytes`.
    pub(super) fn take(
        &self,
        context: &Context<'_>,
        batch: &mut Vec<Item>,
        max_items: usize,
        max_bytes: usize,
    ) -> Taken {
        let mut state = self.state.lock();
        set(&mut state.task, context);
        if state.outgoing.is_empty() {
            return match &state.asked {
                Some(asked) => Taken::Asked((**asked).clone()),
                None => Taken::Nothing,
            };
        }
        let limit = state.queued.saturating_sub(max_bytes);
        while batch.len() < max_items && state.queued > limit {
            let Some(item) = state.pop() else { break };
            batch.push(item);
        }
        if state.outgoing.is_empty() {
            shrink(&mut state.outgoing);
        }
        if let Some(waiting) = &mut state.waiting {
            waiting.room.drain(..).for_each(Waker::wake);
        }
        Taken::Items {
            more: !state.outgoing.is_empty() || state.asked.is_some(),
        }
    }

    /// For a task that cannot write: registers its waker, and returns the queued size if that was too much.
    pub(super) fn poll_overflow(&self, context: &Context<'_>) -> Option<usize> {
        let mut state = self.state.lock();
        set(&mut state.task, context);
        match state.asked.as_deref() {
            Some(Asked::Overflow { queued }) => Some(*queued),
            _ => None,
        }
    }

    /// Records the connection's end: nothing can be sent any more, and nothing more is received. Returns the queued
    /// items.
    pub(super) fn end(&self, closed: Closed) -> VecDeque<Item> {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return VecDeque::new();
        }
        state.closed = Some(Arc::new(closed));
        state.queued = 0;
        let queued = std::mem::take(&mut state.outgoing);
        state.end_waiting();
        if let Some(waiting) = state.waiting.take() {
            waiting.end.into_iter().for_each(Waker::wake);
        }
        queued
    }
}

/// Shrinks an empty queue to room for one: a single message, the common case, need not allocate each time, and a
/// connection that was busy once does not keep its queue.
fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > 1 {
        *queue = VecDeque::new();
    }
}

impl ChannelState {
    fn is_over(&self) -> bool {
        self.asked.is_some() || self.closed.is_some()
    }

    fn check_open(&self) -> Result<(), SendError> {
        if self.is_over() {
            Err(SendError::Closed)
        } else {
            Ok(())
        }
    }

    fn push(&mut self, item: Item) {
        self.queued += item.size();
        if self.outgoing.capacity() == 0 {
            self.outgoing.reserve_exact(1);
        }
        self.outgoing.push_back(item);
        if self.outgoing.len() == 1 {
            self.wake_task();
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.outgoing.pop_front()?;
        self.queued -= item.size();
        Some(item)
    }

    /// Wakes the tasks that would never be woken from now on.
    fn end_waiting(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            receiver.wake();
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.room.drain(..).for_each(Waker::wake);
        }
    }

    fn wake_task(&self) {
        if let Some(task) = self.task.as_ref().filter(|_| !self.awake) {
            task.wake_by_ref();
        }
    }
}

fn set(slot: &mut Option<Waker>, context: &Context<'_>) {
    if !slot
        .as_ref()
        .is_some_and(|waker| waker.will_wake(context.waker()))
    {
        *slot = Some(context.waker().clone());
    }
}

fn register(wakers: &mut Vec<Waker>, context: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
        wakers.push(context.waker().clone());
    }
}

impl Sleeper for Channel {
    fn wake(&self) {
        self.state.lock().wake_task();
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Channel")
            .field("info", &self.opening.info)
            .field("protocol", &self.opening.protocol)
            .field("transport", &self.transport)
            .field("incoming", &state.incoming.len())
            .field("outgoing", &state.outgoing.len())
            .field("queued", &state.queued)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Item>() <= 40, "{}", size_of::<Item>());
        assert!(size_of::<Channel>() <= 352, "{}", size_of::<Channel>());
    }
}
