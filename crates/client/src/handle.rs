//! The state that clients and the driver share: the queue of commands and the state of the connection.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};
use tramline_stomp::{AckMode, Connected, Headers};

use crate::BoxFuture;
use crate::error::Error;
use crate::inbox::{Inbox, Target};
use crate::message::{Settlement, Settler};
use crate::replies::Replies;
use crate::state::State;

/// The channel for the answer to a caller.
pub(crate) type Reply = oneshot::Sender<Result<(), Error>>;

/// Commands to the driver, carried out in their order.
#[derive(Debug)]
pub(crate) enum Command {
    Send {
        destination: ByteString,
        headers: Headers,
        body: Bytes,
        transaction: Option<u64>,
        confirm: Confirm,
        /// Released when the driver has queued the frame.
        room: OwnedSemaphorePermit,
    },
    /// ACK or NACK.
    Settle {
        settlement: Settlement,
        transaction: Option<u64>,
        headers: Headers,
        confirm: Confirm,
        /// Released when the driver has queued the frame.
        room: OwnedSemaphorePermit,
    },
    Subscribe {
        wanted: Wanted,
        target: Target,
        receipt: Option<Reply>,
        /// Released when the driver has queued the frame.
        room: OwnedSemaphorePermit,
    },
    Unsubscribe(Arc<Inbox>, Option<Reply>),
    /// BEGIN, with a number that the caller chose.
    Begin(u64, Reply),
    Commit(u64, Reply),
    Abort(u64, Option<Reply>),
    Disconnect(Reply),
}

/// When the caller of a command is answered.
#[derive(Debug)]
pub(crate) enum Confirm {
    Never,
    /// When the frame is queued.
    Taken(Reply),
    /// When the frame is written.
    Flushed(Reply),
    /// When its RECEIPT has come.
    Receipt(Reply),
}

impl Confirm {
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Never => {}
            Self::Taken(reply) | Self::Flushed(reply) | Self::Receipt(reply) => {
                let _ = reply.send(Err(error));
            }
        }
    }
}

/// A subscription as the application wants it, on every connection.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) destination: ByteString,
    pub(crate) ack: AckMode,
    pub(crate) headers: Headers,
    /// Asks for a RECEIPT.
    pub(crate) confirmed: bool,
    /// The server delivers without SUBSCRIBE, under the destination as the id.
    pub(crate) implicit: bool,
}

/// The clients' side. When the last one is dropped, the driver disconnects.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) inbox_limit: usize,
    pub(crate) inner: Arc<ClientInner>,
    /// The answers to requests, by the destination they come to. Locked while it is subscribed to.
    pub(crate) replies: tokio::sync::Mutex<HashMap<ByteString, Arc<Replies>>>,
    commands: mpsc::UnboundedSender<Command>,
    transactions: AtomicU64,
}

/// The part that both sides see.
#[derive(Debug)]
pub(crate) struct ClientInner {
    /// Free bytes in the queue. Closed at the end.
    room: Arc<Semaphore>,
    queue_limit: u32,
    answer_timeout: Duration,
    leave: Notify,
    end: OnceLock<Error>,
    connected: Mutex<Arc<Connected>>,
    text_only: AtomicBool,
    /// Sends fail while there is no connection.
    fails_when_down: bool,
    /// The reason why there is no connection at the moment.
    down: Mutex<Option<Error>>,
    pub(crate) state: watch::Sender<State>,
}

/// The options of a [`Handle`].
pub(crate) struct HandleConfig {
    pub(crate) inbox: usize,
    pub(crate) send_queue: usize,
    pub(crate) answer_timeout: Duration,
    pub(crate) fails_when_down: bool,
}

impl Handle {
    pub(crate) fn new(
        connected: Connected,
        text_only: bool,
        config: &HandleConfig,
    ) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let queue_limit = u32::try_from(config.send_queue)
            .unwrap_or(u32::MAX)
            .clamp(1, MAX_QUEUE);
        // Bounded by `room`; commands without it are bounded by the subscriptions, transactions and callers.
        let (commands, received) = mpsc::unbounded_channel();
        let inner = Arc::new(ClientInner {
            room: Arc::new(Semaphore::new(queue_limit as usize)),
            queue_limit,
            answer_timeout: config.answer_timeout,
            leave: Notify::new(),
            end: OnceLock::new(),
            connected: Mutex::new(Arc::new(connected)),
            text_only: AtomicBool::new(text_only),
            fails_when_down: config.fails_when_down,
            down: Mutex::new(None),
            state: watch::Sender::new(State::Connected),
        });
        let handle = Self {
            inbox_limit: config.inbox,
            commands,
            inner,
            replies: tokio::sync::Mutex::default(),
            transactions: AtomicU64::new(0),
        };
        (handle, received)
    }

    /// Returns what messages need to be acknowledged, which does not keep the connection open.
    pub(crate) fn mail(&self) -> Mail {
        Mail {
            commands: self.commands.downgrade(),
            inner: self.inner.clone(),
        }
    }

    pub(crate) fn next_transaction(&self) -> u64 {
        self.transactions.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a command without waiting: its caller has room or needs none.
    pub(crate) fn submit(&self, command: Command) -> Result<(), Error> {
        if matches!(command, Command::Disconnect(_)) {
            self.inner.leave.notify_one();
        }
        self.commands.send(command).map_err(|_| self.inner.end())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.leave.notify_one();
    }
}

/// The way of acknowledgements to the driver.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    commands: mpsc::WeakUnboundedSender<Command>,
    pub(crate) inner: Arc<ClientInner>,
}

impl Settler for Mail {
    fn settle(
        &self,
        settlement: Settlement,
        headers: Headers,
        receipt: bool,
    ) -> BoxFuture<Result<(), Error>> {
        let mail = self.clone();
        Box::pin(async move {
            let room = mail.inner.room(headers.encoded_len_hint()).await?;
            let (reply, answer) = oneshot::channel();
            let command = Command::Settle {
                settlement,
                transaction: None,
                headers,
                confirm: match receipt {
                    true => Confirm::Receipt(reply),
                    false => Confirm::Taken(reply),
                },
                room,
            };
            let commands = mail.commands.upgrade();
            let sent = commands.is_some_and(|commands| commands.send(command).is_ok());
            if !sent {
                return Err(mail.inner.end());
            }
            mail.inner.answer("the acknowledgement", answer).await
        })
    }
}

impl ClientInner {
    /// Waits for room in the queue, first come, first served. A message larger than the whole queue takes it alone.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let bytes = bytes.saturating_add(OVERHEAD);
        let permits = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(self.queue_limit);
        let room = self.room.clone().acquire_many_owned(permits);
        let room = self.in_time("room in the send queue", room).await?;
        room.map_err(|_| self.end())
    }

    /// Waits for the driver's reply.
    pub(crate) async fn answer(
        &self,
        waiting_for: &'static str,
        reply: oneshot::Receiver<Result<(), Error>>,
    ) -> Result<(), Error> {
        let reply = self.in_time(waiting_for, reply).await?;
        reply.unwrap_or_else(|_| Err(self.end()))
    }

    async fn in_time<T>(
        &self,
        waiting_for: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut work = pin!(work);
        // What is there already needs no timer.
        let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if let Poll::Ready(done) = first {
            return Ok(done);
        }
        let after = self.answer_timeout;
        let done = timeout(after, work).await;
        done.map_err(|_| Error::Timeout { waiting_for, after })
    }

    /// Waits until a caller disconnects; commands queued before may still have to be written.
    pub(crate) async fn leaving(&self) {
        self.leave.notified().await;
    }

    /// The reason why the connection has ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.end.get()
    }

    /// Closes the queue, for this reason. The first reason counts.
    pub(crate) fn finish(&self, error: Error) {
        if self.end.set(error.clone()).is_ok() {
            self.state.send_replace(State::Ended(error));
        }
        self.room.close();
    }

    pub(crate) fn end(&self) -> Error {
        self.end.get().cloned().unwrap_or(Error::Disconnected)
    }

    pub(crate) fn connected(&self) -> Arc<Connected> {
        self.connected.lock().clone()
    }

    /// Notes that a connection is open again.
    pub(crate) fn reconnected(&self, connected: Connected, text_only: bool) {
        *self.connected.lock() = Arc::new(connected);
        self.text_only.store(text_only, Ordering::Relaxed);
        *self.down.lock() = None;
        self.state.send_replace(State::Connected);
    }

    pub(crate) fn fails_when_down(&self) -> bool {
        self.fails_when_down
    }

    /// The reason why there is no connection.
    pub(crate) fn why_down(&self) -> Error {
        self.down.lock().clone().unwrap_or_else(|| self.end())
    }

    /// Notes that there is no connection.
    pub(crate) fn lost(&self, error: &Error) {
        *self.down.lock() = Some(error.clone());
    }

    /// Checks that a message can be sent at the moment.
    pub(crate) fn may_send(&self, body: &[u8]) -> Result<(), Error> {
        if self.fails_when_down
            && let Some(error) = &*self.down.lock()
        {
            return Err(error.clone());
        }
        if self.text_only.load(Ordering::Relaxed) && std::str::from_utf8(body).is_err() {
            return Err(Error::invalid_message(
                "SockJS carries text only, and the body is not UTF-8; encode it, for example as base64, or connect by \
                 ws:// or stomp://",
            ));
        }
        Ok(())
    }
}

/// The approximate cost of a frame in the queue besides headers and body, in bytes.
const OVERHEAD: usize = 256;

/// In bytes: more than any sensible queue, and far from a semaphore's limit.
const MAX_QUEUE: u32 = 1 << 28;
