//! Transports, which carry chunks of STOMP: one small type each, over the same scratch memory.

pub(crate) mod io;
pub(crate) mod keep_alive;
pub(crate) mod messages;
pub(crate) mod slices;
pub(crate) mod sockjs;
pub(crate) mod task;
pub(crate) mod tcp;
pub(crate) mod violation;
pub(crate) mod websocket;

use std::fmt;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::Message;
use tramline_stomp::Version;
use tramline_websocket::Config;

use self::io::Batch;

/// The session's side of a transport.
///
/// Chunks are received by [`poll_receive`](Self::poll_receive). Output is added to a [`Batch`] by
/// [`frame`](Self::frame) and [`message`](Self::message) and sent by [`write`](Self::write), which is called only after
/// [`poll_ready`](Self::poll_ready) has reported that everything written before is sent.
pub(crate) trait Transport: fmt::Debug + Send + Unpin + 'static {
    /// The name for logs and counters.
    const NAME: &'static str;

    /// True if [`close`](Self::close) carries code and reason to the peer; if not, an ERROR frame has to.
    const TELLS_WHY: bool = true;

    /// True if its clients may be browsers, which run a background tab's timers once a minute.
    const FOR_BROWSERS: bool = true;

    /// True if [`next_timeout`](Self::next_timeout) comes nearer only with what is received, or with a timeout.
    const OWN_DEADLINES: bool = true;

    /// Appends the chunks of one read to `chunks`.
    ///
    /// Returns `Err` once the peer has vanished or closed: the chunks that were received before that are appended all
    /// the same, and nothing is received after it. While pending, nothing is appended.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        chunks: &mut Chunks,
    ) -> Poll<Result<(), Lost>>;

    /// Ready when everything written before is sent.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>>;

    /// As [`poll_ready`](Self::poll_ready), for the close handshake.
    fn poll_ready_to_close(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_ready(context)
    }

    /// The number of bytes written but not sent, by which progress shows.
    fn unsent(&self) -> usize;

    /// Adds the transport's own output, such as pongs.
    fn transmit(&mut self, batch: &mut Batch);

    /// Adds one encoded STOMP frame or heart-beat.
    fn frame(&mut self, frame: &[u8], batch: &mut Batch);

    /// Adds a MESSAGE frame: `head` is the subscription's own, the rest is shared by all receivers of the message.
    ///
    /// Returns false if this transport cannot carry the body.
    fn message(
        &mut self,
        head: &[u8],
        version: Version,
        message: &Message,
        batch: &mut Batch,
    ) -> bool;

    /// Writes the batch, and keeps what cannot be written now.
    fn write(&mut self, context: &mut Context<'_>, batch: &Batch) -> std::io::Result<()>;

    /// Called when the session is connected, with or without a user: `config` has the limits from now on.
    fn connected(&mut self, _has_user: bool, _config: Config) {}

    /// Makes the system hold little output that it has not sent, if there is a way to.
    fn keep_short(&mut self) {}

    /// Returns true if the system holds little.
    fn is_short(&self) -> bool {
        false
    }

    /// Called when STOMP's own heart-beats are agreed on, so that those of SockJS are not needed.
    fn heart_beats_agreed(&mut self) {}

    /// Adds our part of the close handshake, if it is still owed; nothing is added to batches after that.
    fn close(&mut self, code: u16, reason: &str, batch: &mut Batch);

    /// Writes what is left and waits for the peer's close.
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// The time at which [`handle_timeout`](Self::handle_timeout) must be called.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Checks the transport's own deadlines; returns `Err` when the peer is gone.
    fn handle_timeout(&mut self, _now: Instant) -> Result<(), Lost> {
        Ok(())
    }
}

/// The chunks of one read, usually one, which needs no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    first: Option<Bytes>,
    rest: Vec<Bytes>,
}

impl Chunks {
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.first.is_none() {
            self.first = Some(chunk);
            return;
        }
        if self.rest.capacity() == 0 {
            self.rest.reserve(15);
        }
        self.rest.push(chunk);
    }
}

impl Extend<Bytes> for Chunks {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, chunks: I) {
        chunks.into_iter().for_each(|chunk| self.push(chunk));
    }
}

impl IntoIterator for Chunks {
    type Item = Bytes;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Bytes>, std::vec::IntoIter<Bytes>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

/// The way in which the peer ended a transport.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It closed, with this code if it gave one.
    Closed {
        code: Option<u16>,
        reason: ByteString,
    },
    /// It vanished: the stream ended or failed, or no request came to collect.
    Vanished(String),
    /// It ended its side of the stream without a close, and may still read.
    HalfClosed,
    /// It does not answer any more.
    Silent(String),
    /// It broke the transport's protocol; the transport's close is already under way.
    Violation { code: u16, error: String },
}
