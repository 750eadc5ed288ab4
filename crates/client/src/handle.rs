//! The state that clients and the driver share: the queue of commands and the end of the connection.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use bytestring::ByteString;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tramline_stomp::{Connected, Headers};

use crate::error::Error;
use crate::inbox::Inbox;

/// The channel for the answer to a caller.
pub(crate) type Reply = oneshot::Sender<Result<(), Error>>;

/// Commands to the driver, carried out in their order.
#[derive(Debug)]
pub(crate) enum Command {
    Send {
        destination: ByteString,
        headers: Headers,
        body: Bytes,
        receipt: Option<Reply>,
        /// Released when the driver has queued the frame.
        room: OwnedSemaphorePermit,
    },
    Subscribe {
        destination: ByteString,
        headers: Headers,
        inbox: Arc<Inbox>,
        receipt: Option<Reply>,
        /// Released when the driver has queued the frame.
        room: OwnedSemaphorePermit,
    },
    Unsubscribe(Arc<Inbox>),
    Disconnect(Reply),
}

/// The clients' side. When the last one is dropped, the driver disconnects.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) connected: Connected,
    pub(crate) inbox_limit: usize,
    commands: mpsc::UnboundedSender<Command>,
    inner: Arc<ClientInner>,
}

/// The part that both sides see.
#[derive(Debug)]
pub(crate) struct ClientInner {
    /// Free bytes in the queue. Closed at the end.
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
    ) -> (Self, Arc<ClientInner>, mpsc::UnboundedReceiver<Command>) {
        let queue_limit = u32::try_from(queue_limit)
            .unwrap_or(u32::MAX)
            .clamp(1, MAX_QUEUE);
        // Bounded by `room`; commands without it are bounded by the subscriptions and callers.
        let (commands, received) = mpsc::unbounded_channel();
        let inner = Arc::new(ClientInner {
            room: Arc::new(Semaphore::new(queue_limit as usize)),
            queue_limit,
            leave: Notify::new(),
            end: OnceLock::new(),
        });
        let handle = Self {
            connected,
            inbox_limit,
            commands,
            inner: inner.clone(),
        };
        (handle, inner, received)
    }

    /// Waits for room in the queue, first come, first served. A message larger than the whole queue takes it alone.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let bytes = bytes.saturating_add(OVERHEAD);
        let permits = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(self.inner.queue_limit);
        let room = self.inner.room.clone().acquire_many_owned(permits).await;
        room.map_err(|_| self.inner.end())
    }

    /// Queues a command without waiting: its caller has room or needs none.
    pub(crate) fn submit(&self, command: Command) -> Result<(), Error> {
        if matches!(command, Command::Disconnect(_)) {
            self.inner.leave.notify_one();
        }
        self.commands.send(command).map_err(|_| self.inner.end())
    }

    /// Submits a command and waits for its reply.
    pub(crate) async fn answer(
        &self,
        reply: oneshot::Receiver<Result<(), Error>>,
    ) -> Result<(), Error> {
        reply.await.unwrap_or_else(|_| Err(self.inner.end()))
    }

    /// The reason why the connection has ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.inner.end.get()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.leave.notify_one();
    }
}

impl ClientInner {
    /// Waits until a caller disconnects; commands queued before may still have to be written.
    pub(crate) async fn leaving(&self) {
        self.leave.notified().await;
    }

    /// Closes the queue, for this reason. The first reason counts.
    pub(crate) fn finish(&self, error: Error) {
        let _ = self.end.set(error);
        self.room.close();
    }

    pub(crate) fn end(&self) -> Error {
        self.end.get().cloned().unwrap_or(Error::Disconnected)
    }
}

/// The approximate cost of a frame in the queue besides headers and body, in bytes.
const OVERHEAD: usize = 256;

/// In bytes: more than any sensible queue, and far from a semaphore's limit.
const MAX_QUEUE: u32 = 1 << 28;
