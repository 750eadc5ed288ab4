//! What clients and the driver share: the queue of commands and the end of the connection.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use bytestring::ByteString;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tramline_stomp::{Connected, Headers};

use crate::error::Error;
use crate::inbox::Inbox;

/// What a caller waits for.
pub(crate) type Reply = oneshot::Sender<Result<(), Error>>;

/// What the driver is asked to do, in this order.
#[derive(Debug)]
pub(crate) enum Command {
    Send {
        destination: ByteString,
        headers: Headers,
        body: Bytes,
        receipt: Option<Reply>,
        /// Given back when the driver has queued the frame.
        room: OwnedSemaphorePermit,
    },
    Subscribe {
        destination: ByteString,
        headers: Headers,
        inbox: Arc<Inbox>,
        receipt: Option<Reply>,
        /// Given back when the driver has queued the frame.
        room: OwnedSemaphorePermit,
    },
    Unsubscribe(Arc<Inbox>),
    Disconnect(Reply),
}

/// The clients' side. When the last one is dropped, the driver says goodbye.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) connected: Connected,
    pub(crate) inbox_limit: usize,
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// What both sides see.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Bytes that the queue still takes. Closed at the end.
    room: Arc<Semaphore>,
    queue_limit: u32,
    leave: Notify,
    end: OnceLock<Error>,
}

impl Handle {
    pub(crate) fn new(
        connected: Connected,
        inbox_limit: usize,
        queue_limit: usize,
    ) -> (Self, Arc<Shared>, mpsc::UnboundedReceiver<Command>) {
        let queue_limit = u32::try_from(queue_limit)
            .unwrap_or(u32::MAX)
            .clamp(1, MAX_QUEUE);
        // Bounded by `room`; what needs none is bounded by the subscriptions and callers.
        let (commands, received) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            room: Arc::new(Semaphore::new(queue_limit as usize)),
            queue_limit,
            leave: Notify::new(),
            end: OnceLock::new(),
        });
        let handle = Self {
            connected,
            inbox_limit,
            commands,
            shared: shared.clone(),
        };
        (handle, shared, received)
    }

    /// Waits for room in the queue, first come, first served. What is larger than the whole queue
    /// has it for itself.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let bytes = bytes.saturating_add(OVERHEAD);
        let permits = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(self.shared.queue_limit);
        let room = self.shared.room.clone().acquire_many_owned(permits).await;
        room.map_err(|_| self.shared.end())
    }

    /// Queues a command; without waiting, so its caller has room or needs none.
    pub(crate) fn submit(&self, command: Command) -> Result<(), Error> {
        if matches!(command, Command::Disconnect(_)) {
            self.shared.leave.notify_one();
        }
        self.commands.send(command).map_err(|_| self.shared.end())
    }

    /// The answer to a command with a reply.
    pub(crate) async fn answer(
        &self,
        reply: oneshot::Receiver<Result<(), Error>>,
    ) -> Result<(), Error> {
        reply.await.unwrap_or_else(|_| Err(self.shared.end()))
    }

    /// Why the connection has ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.shared.end.get()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.leave.notify_one();
    }
}

impl Shared {
    /// Waits until someone wants to leave; what was queued before may still have to be written.
    pub(crate) async fn leaving(&self) {
        self.leave.notified().await;
    }

    /// From now on nothing is queued any more, for this reason. The first reason stands.
    pub(crate) fn finish(&self, error: Error) {
        let _ = self.end.set(error);
        self.room.close();
    }

    pub(crate) fn end(&self) -> Error {
        self.end.get().cloned().unwrap_or(Error::Disconnected)
    }
}

/// What a frame takes in the queue besides headers and body, roughly, in bytes.
const OVERHEAD: usize = 256;

/// Bytes: more than fits into memory that is meant for a queue, and far from a semaphore's limit.
const MAX_QUEUE: u32 = 1 << 28;
