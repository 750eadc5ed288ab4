//! One SockJS session: the machine under all transports.

mod answers;
mod queue;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use answers::Standing;
pub use answers::{Output, Receiver, TimedOut};
use queue::Queue;

use crate::config::{Config, OnAbort};
use crate::frame;
use crate::receive::Ends;
use crate::receive::Receive;

/// One SockJS session, from its open frame until it may be removed.
///
/// A session outlives the requests that carry it. Receiving requests call [`attach`](Self::attach), take the output of
/// [`poll_output`](Self::poll_output) until it returns [`Output::End`], and come again; between two of them the session
/// queues. Sending requests (`xhr_send`, `jsonp_send`) do not touch it: their messages go from
/// [`parse_messages`](crate::parse_messages) to the application.
///
/// # Rules
///
/// - **Order.** The client gets the open frame, then all messages in the order of [`send`](Self::send), then the close
///   frame: messages sent before [`close`](Self::close) still arrive.
/// - **One receiver at a time.** Another is refused with 2010 while the first is attached.
/// - **Once.** A frame handed to a receiver counts as delivered; there are no acknowledgements. [`OnAbort`] says what a
///   cut connection may cost, and how to choose.
/// - **Bounded by its owner.** The session queues everything it is given; check [`queued`](Self::queued) and
///   [`queued_messages`](Self::queued_messages) before [`send`](Self::send) and apply the overflow policy there.
/// - **Time is a parameter.** After any call read [`next_timeout`](Self::next_timeout), and call
///   [`handle_timeout`](Self::handle_timeout) at that time. Calling early or late is harmless.
///
/// An idle session is 104 bytes and owns no buffer.
///
/// # With WebSocket
///
/// The `websocket` transport may use a session too: each piece of output is then one text message, no size limit ends
/// it, and the session ends with the WebSocket. Or it works without one: it sends [`frame::OPEN`],
/// [`frame::message_array`] and [`frame::close`] itself.
///
/// Source: sockjs-protocol, "Protocol and framing" and "Handling close".
///
/// # Example: streaming, then closed
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
/// use tramline_sockjs::{Config, Output, Receive, SockJsSession};
///
/// let now = Instant::now();
/// let mut session = SockJsSession::new(Arc::new(Config::default()), now);
/// let mut stream = session.attach(Receive::XhrStreaming, now);
/// session.send(&[b"last words"]);
/// session.close(3000, "Go away!", now);
///
/// let mut chunks = Vec::new();
/// loop {
///     let mut chunk = Vec::new();
///     let output = session.poll_output(&mut stream, now, &mut chunk);
///     chunks.push(chunk);
///     if output == Output::End {
///         break;
///     }
/// }
/// assert_eq!(chunks[0].len(), 2049); // the prelude
/// assert_eq!(chunks[1..], [&b"o\n"[..], b"a[\"last words\"]\n", b"c[3000,\"Go away!\"]\n"]);
/// ```
#[derive(Clone)]
pub struct SockJsSession {
    config: Arc<Config>,
    queue: Queue,
    /// The close frame, once closed.
    closed: Option<Box<[u8]>>,
    /// The attached receiver.
    receiver: Option<u32>,
    next_receiver: u32,
    /// The time of the last output while there is a receiver, and of its detaching when there is none.
    since: Instant,
    open_owed: bool,
    heartbeat_owed: bool,
    heartbeats: bool,
    close_sent: bool,
    expired: bool,
}

impl SockJsSession {
    /// Creates a session at its first request: the open frame is pending, and its disconnect delay starts.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self {
            config,
            queue: Queue::default(),
            closed: None,
            receiver: None,
            since: now,
            next_receiver: 0,
            open_owed: true,
            heartbeat_owed: false,
            heartbeats: true,
            close_sent: false,
            expired: false,
        }
    }

    /// Attaches a receiving request: poll its output.
    ///
    /// A second request is refused while one is attached (2010). Every request is refused once the session is closed
    /// and has nothing left to deliver; each gets its close frame, until the session is removed. A closed session with
    /// a receiver refuses with its close frame, not with 2010: the client should take the end as final, not try again.
    /// A refused request does not affect the session; its whole output, in the framing of its transport, is that frame.
    pub fn attach(&mut self, receive: Receive, now: Instant) -> Receiver {
        let drained = self.queue.is_empty() && !self.open_owed;
        let standing = if self.closed.is_some() && (drained || self.receiver.is_some()) {
            Standing::Closed
        } else if self.receiver.is_some() {
            Standing::SecondOne
        } else {
            self.receiver = Some(self.next_receiver);
            self.heartbeat_owed = false;
            self.since = now;
            Standing::Attached(self.next_receiver)
        };
        self.next_receiver = self.next_receiver.wrapping_add(1);
        Receiver {
            receive,
            standing,
            sent: 0,
            started: false,
        }
    }

    /// Detaches a receiver whose request is over before [`Output::End`]: the client went away, or the response could
    /// not be written. [`Config::on_abort`] decides what happens to the session; check [`is_closed`](Self::is_closed)
    /// afterwards.
    ///
    /// After [`Output::End`], for a replaced receiver and for a refused one, this does nothing: call it whenever a
    /// response is dropped, for any reason.
    pub fn detach(&mut self, receiver: &Receiver, now: Instant) {
        if !self.is_attached(receiver) {
            return;
        }
        self.receiver = None;
        self.since = now;
        if self.config.on_abort == OnAbort::Close && !self.open_owed && self.closed.is_none() {
            let (code, reason) = frame::INTERRUPTED;
            self.close(code, reason, now);
            self.queue.clear(); // after a gap, order is broken anyway
        }
    }

    /// Ends the answer of the attached receiver, as if it had reached [`Config::response_limit`]: its client comes again, and
    /// nothing is lost. For a server that has to see a new request.
    pub fn end_receiver(&mut self, now: Instant) {
        if self.receiver.take().is_some() {
            self.since = now;
        }
    }

    /// Queues one message for the client: the concatenation of `escaped_parts`, each the output of
    /// [`frame::escape_into`], without quotes. Anything else makes frames that the client cannot read.
    ///
    /// A closed session drops it, since no receiver will read it; see [`is_closed`](Self::is_closed).
    pub fn send(&mut self, escaped_parts: &[&[u8]]) {
        if self.closed.is_none() {
            self.queue.push(escaped_parts);
        }
    }

    /// Returns true after [`handle_timeout`](Self::handle_timeout) has reported that the session timed out: no request
    /// will come for it.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expired
    }

    /// Queued bytes, plus eight for each message's length: bound them before [`send`](Self::send).
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The number of queued messages.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.queue.count()
    }

    /// Appends the next piece for this receiver to `out`: the prelude, or one frame, in the framing of its transport.
    ///
    /// Each piece must be one chunk of a chunked response, or one WebSocket message. Call again until
    /// [`Output::Pending`] or [`Output::End`]. Call only when the response can take more, so that a slow client makes
    /// the queue grow, which its owner bounds.
    ///
    /// All queued messages go into one frame, as far as the response limit permits: a frame stops before the message
    /// that would start beyond it. Polling responses end after their frame, streaming ones after
    /// [`Config::response_limit`] bytes, both after the close frame. A receiver that is no longer attached gets
    /// [`Output::End`].
    pub fn poll_output(
        &mut self,
        receiver: &mut Receiver,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Output {
        let attached = self.is_attached(receiver);
        if !attached && !receiver.is_refused() {
            return Output::End;
        }
        if !receiver.started {
            receiver.started = true;
            let before = out.len();
            receiver.receive.prelude_into(out);
            if out.len() > before {
                if attached {
                    self.since = now;
                }
                return Output::Data;
            }
        }
        if !attached {
            self.refuse(receiver, out);
            return Output::End;
        }
        let room = self.config.response_limit.saturating_sub(receiver.sent);
        let before = out.len();
        let next = self.frame_into(&receiver.receive, room, out);
        if next == Next::Nothing {
            return Output::Pending;
        }
        self.since = now;
        self.heartbeat_owed = false;
        let written = out.len() - before;
        let ends = match receiver.receive.ends() {
            Ends::AfterFrame => true,
            Ends::AtLimit => {
                receiver.sent += written;
                written >= room
            }
            Ends::WithConnection => false,
        };
        if ends || next == Next::Close {
            self.receiver = None;
            return Output::End;
        }
        Output::Data
    }

    /// Closes the session. Its receiver gets the queued messages and then the close frame; later receivers get the
    /// close frame, until the session is removed. Later messages are dropped.
    ///
    /// The first call decides; later ones do nothing.
    ///
    /// # Example: the first reason counts
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Instant;
    /// use tramline_sockjs::{Config, Output, Receive, SockJsSession};
    ///
    /// let now = Instant::now();
    /// let mut session = SockJsSession::new(Arc::new(Config::default()), now);
    /// session.close(4500, "too slow", now);
    /// session.close(3000, "Go away!", now);
    ///
    /// let mut body = Vec::new();
    /// for _ in 0..2 {
    ///     let mut poll = session.attach(Receive::Xhr, now);
    ///     assert_eq!(session.poll_output(&mut poll, now, &mut body), Output::End);
    /// }
    /// assert_eq!(body, b"o\nc[4500,\"too slow\"]\n"); // the open frame comes first even here
    /// ```
    pub fn close(&mut self, code: u16, reason: &str, now: Instant) {
        if self.closed.is_none() {
            self.closed = Some(frame::close(code, reason).into());
            self.since = now;
        }
    }

    /// Returns true if [`close`](Self::close) was called, an abort closed it ([`OnAbort::Close`]), or it timed out.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Returns true if a receiver was given the close frame, so that the client has it or had the time to read it. Until
    /// then a request may still come for it.
    #[must_use]
    pub fn has_sent_close_frame(&self) -> bool {
        self.close_sent
    }

    /// Returns true if a receiver is attached.
    #[must_use]
    pub fn has_receiver(&self) -> bool {
        self.receiver.is_some()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), as of now; `None` for never.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.expired {
            None
        } else if self.closed.is_some() || self.receiver.is_none() {
            self.since.checked_add(self.config.disconnect_delay)
        } else if self.heartbeats && !self.config.heartbeat.is_zero() {
            self.since.checked_add(self.config.heartbeat)
        } else {
            None
        }
    }

    /// Does the work that is due at `now`. A quiet receiver gets a heartbeat, from the next
    /// [`poll_output`](Self::poll_output). A session without requests has timed out, which is returned once.
    ///
    /// A closed session times out [`Config::disconnect_delay`] after its close, or after the last output if that was
    /// later, whether or not a receiver is attached: one that takes nothing for so long will not come back.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<TimedOut> {
        if self.next_timeout().is_none_or(|due| now < due) {
            return None;
        }
        if self.closed.is_some() {
            self.expire();
            return Some(TimedOut::Forgotten);
        }
        if self.receiver.is_some() {
            self.heartbeat_owed = true;
            self.since = now;
            return None;
        }
        let (code, reason) = frame::GO_AWAY;
        self.close(code, reason, now);
        self.expire();
        Some(TimedOut::Disconnected)
    }

    /// Turns heartbeats on or off; they start on. Turn them off for sessions whose content has heart-beats of its own,
    /// such as negotiated STOMP ones: two clocks would only wake phones twice.
    pub fn set_heartbeats(&mut self, on: bool) {
        self.heartbeats = on;
        self.heartbeat_owed &= on;
    }

    fn is_attached(&self, receiver: &Receiver) -> bool {
        matches!(receiver.standing, Standing::Attached(id) if self.receiver == Some(id))
    }

    /// Appends the one frame of a receiver that was refused, once.
    fn refuse(&mut self, receiver: &mut Receiver, out: &mut Vec<u8>) {
        let standing = std::mem::replace(&mut receiver.standing, Standing::Over);
        let receive = &receiver.receive;
        let (code, reason) = frame::STILL_OPEN;
        let still_open;
        let frame = match (standing, &self.closed) {
            (Standing::Closed, Some(close)) => {
                self.close_sent = true;
                close
            }
            (Standing::SecondOne, _) => {
                still_open = frame::close(code, reason).into();
                &still_open
            }
            _ => return,
        };
        receive.prefix_into(out);
        receive.part_into(frame, out);
        receive.suffix_into(out);
    }

    /// Appends the next frame, which should fit into `room`.
    fn frame_into(&mut self, receive: &Receive, room: usize, out: &mut Vec<u8>) -> Next {
        let mut next = Next::Frame;
        let bare = if self.open_owed {
            self.open_owed = false;
            frame::OPEN
        } else if !self.queue.is_empty() {
            self.messages_into(receive, room, out);
            return next;
        } else if let Some(close) = &self.closed {
            self.close_sent = true;
            next = Next::Close;
            close
        } else if self.heartbeat_owed {
            frame::HEARTBEAT
        } else {
            return Next::Nothing;
        };
        receive.prefix_into(out);
        receive.part_into(bare, out);
        receive.suffix_into(out);
        next
    }

    fn messages_into(&mut self, receive: &Receive, room: usize, out: &mut Vec<u8>) {
        let before = out.len();
        out.reserve(self.queue.len().min(room));
        receive.prefix_into(out);
        let mut separator: &[u8] = b"a[\"";
        while let Some(message) = self.queue.front() {
            receive.part_into(separator, out);
            receive.part_into(message, out);
            separator = b"\",\"";
            self.queue.pop();
            if out.len() - before >= room {
                break;
            }
        }
        receive.part_into(b"\"]", out);
        receive.suffix_into(out);
        self.queue.compact();
    }

    fn expire(&mut self) {
        self.expired = true;
        self.open_owed = false;
        self.receiver = None;
        self.queue.clear();
    }
}

/// Shows the state, and only the size of the queue: messages are the application's secrets.
impl fmt::Debug for SockJsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SockJsSession")
            .field("receiver", &self.receiver)
            .field("queued", &self.queued())
            .field(
                "closed",
                &self.closed.as_deref().map(String::from_utf8_lossy),
            )
            .field("open_owed", &self.open_owed)
            .field("heartbeats", &self.heartbeats)
            .field("expired", &self.expired)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    Frame,
    Close,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        assert_eq!(size_of::<SockJsSession>(), 104);
    }
}
