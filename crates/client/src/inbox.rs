use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytestring::ByteString;
use parking_lot::Mutex;

use crate::error::Error;
use crate::message::Message;
use crate::replies::Replies;

/// The treatment of messages that arrive faster than the application reads a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The client stops reading from the server until half of the inbox is read, so that the server holds messages
    /// back. Nothing is lost, unless the server has a limit of its own. The default.
    ///
    /// Meanwhile *all* subscriptions of the connection wait, and receipts too; and the client does not notice a dead
    /// server, since it does not read. Sends and our heart-beats go on. So a task that awaits a receipt, or another
    /// subscription, while no task reads this one may wait for ever: read in a task of its own, or choose
    /// [`End`](Self::End).
    #[default]
    PushBack,
    /// The oldest unread messages are dropped, and counted by
    /// [`Subscription::dropped`](crate::Subscription::dropped): for prices and positions, where the newest counts. Only with
    /// `ack:auto`, since a dropped message would never be acknowledged.
    DropOldest,
    /// The subscription ends: its queued messages can still be read, then comes [`Error::InboxFull`]. The client
    /// unsubscribes, and the connection goes on.
    End,
}

/// The queue between the driver and one subscription.
///
/// A message is accepted while the queue is below its limit, so it holds at most one message more than that, and a
/// message larger than the limit passes.
#[derive(Debug)]
pub(crate) struct Inbox {
    limit: usize,
    overflow: Overflow,
    state: Mutex<InboxState>,
}

#[derive(Debug, Default)]
struct InboxState {
    /// The id on the wire; the driver sets it when it subscribes.
    id: Option<ByteString>,
    /// How many messages there was no room for.
    dropped: u64,
    queue: VecDeque<Message>,
    /// The cost of `queue`.
    bytes: usize,
    end: End,
    reader: Option<Waker>,
    /// The driver, while it waits for room.
    driver: Option<Waker>,
}

/// The end of a subscription.
#[derive(Debug, Default)]
enum End {
    #[default]
    Open,
    /// It accepts no more messages; the reason follows the last one.
    Because(Error),
    Told,
}

/// Where the messages of a subscription go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Inbox(Arc<Inbox>),
    Replies(Arc<Replies>),
}

impl Target {
    pub(crate) fn push(&self, message: Message) -> Pushed {
        match self {
            Self::Inbox(inbox) => inbox.push(message),
            Self::Replies(replies) => {
                replies.deliver(message);
                Pushed::Taken
            }
        }
    }

    /// Ends it, for this reason.
    pub(crate) fn end(&self, error: &Error) {
        match self {
            Self::Inbox(inbox) => inbox.end(error.clone()),
            Self::Replies(replies) => replies.fail(error),
        }
    }
}

/// The result of pushing a message.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    Taken,
    /// Accepted, and now there is no room: wait for [`Inbox::poll_room`].
    Full,
    /// Not accepted: unsubscribe.
    Refused,
}

impl Inbox {
    pub(crate) fn new(limit: usize, overflow: Overflow) -> Self {
        Self {
            limit,
            overflow,
            state: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> Option<ByteString> {
        self.state.lock().id.clone()
    }

    pub(crate) fn set_id(&self, id: ByteString) {
        self.state.lock().id = Some(id);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    pub(crate) fn push(&self, message: Message) -> Pushed {
        let mut state = self.state.lock();
        if !matches!(state.end, End::Open) {
            return Pushed::Refused;
        }
        let mut dropped = Vec::new();
        if self.overflow == Overflow::DropOldest {
            while state.bytes >= self.limit
                && let Some(oldest) = state.queue.pop_front()
            {
                state.bytes -= oldest.cost();
                state.dropped += 1;
                dropped.push(oldest);
            }
        }
        if state.bytes >= self.limit && !state.queue.is_empty() {
            // An inbox that pushes back gets here only during a disconnect.
            if self.overflow == Overflow::End {
                let limit = self.limit;
                state.end = End::Because(Error::InboxFull { limit });
            }
            return Pushed::Refused;
        }
        state.bytes += message.cost();
        state.queue.push_back(message);
        let full = state.bytes >= self.limit && self.overflow == Overflow::PushBack;
        wake(state.reader.take(), state);
        if full { Pushed::Full } else { Pushed::Taken }
    }

    /// Ready when half of the inbox is free, or it has no reader any more.
    pub(crate) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if self.has_room(&state) {
            return Poll::Ready(());
        }
        state.driver = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_next(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        let mut state = self.state.lock();
        if let Some(message) = state.queue.pop_front() {
            state.bytes -= message.cost();
            if self.has_room(&state) {
                wake(state.driver.take(), state);
            }
            return Poll::Ready(Some(Ok(message)));
        }
        match mem::replace(&mut state.end, End::Told) {
            End::Open => {
                state.end = End::Open;
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
            End::Because(error) => Poll::Ready(Some(Err(error))),
            End::Told => Poll::Ready(None),
        }
    }

    /// Ends the messages, for this reason. The first reason counts.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.state.lock();
        if matches!(state.end, End::Open) {
            state.end = End::Because(error);
        }
        wake(state.reader.take(), state);
    }

    /// Removes the unread messages, which will come again.
    pub(crate) fn withdraw(&self) {
        let mut state = self.state.lock();
        state.bytes = 0;
        let unread = mem::take(&mut state.queue);
        wake(state.driver.take(), state);
        drop(unread);
    }

    /// Closes the reader's side.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.end = End::Told;
        state.bytes = 0;
        let unread = mem::take(&mut state.queue);
        wake(state.driver.take(), state);
        drop(unread);
    }

    fn has_room(&self, state: &InboxState) -> bool {
        state.queue.is_empty() || state.bytes <= self.limit / 2
    }
}

/// Wakes with the lock released, because a waker may run anything.
fn wake(waker: Option<Waker>, state: parking_lot::MutexGuard<'_, InboxState>) {
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
