use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use bytestring::ByteString;

pub use self::{
    config::ServerConfig,
    error::{PeerIncompatible, PeerViolation, ServerError},
    event::{
        Acknowledge, Connect, DeliveryId, Disconnect, Send, ServerEvent, Subscribe, Transaction,
        Unsubscribe,
    },
};
use self::{subscriptions::Subscriptions, transactions::Transactions};
use crate::ack_mode::AckMode;
use crate::command::Command;
use crate::decoder::{Decoded, Decoder};
use crate::error_reply::ErrorReply;
use crate::frame::Frame;
use crate::headers::Headers;
use crate::version::Version;
use crate::{
    heart_beat::{Due, Timers},
    outgoing::Outgoing,
};

mod acks;
mod config;
mod error;
mod event;
mod frames;
mod required;
mod subscriptions;
mod transactions;

/// The server's side of one STOMP session.
///
/// It handles versions, the order of frames, subscription ids, ack modes, open transactions and heart-beats, and knows
/// nothing of sockets, clocks and brokers:
///
/// ```text
///                          ┌──────────────────┐
/// bytes ── receive ───────▶│                  │── poll_event ──▶ Connect, Send, Subscribe, …
/// bytes ◀─ poll_transmit ──│ ServerConnection │◀─ accept, refuse, receipt, error
/// clock ── handle_timeout ▶│                  │── message_head ▶ the beginning of a MESSAGE
///                          └──────────────────┘
/// ```
///
/// After every call to `receive`, `accept` and `handle_timeout`, call [`poll_event`](Self::poll_event) and
/// [`poll_transmit`](Self::poll_transmit) until both return `None`, and arm a timer for
/// [`next_timeout`](Self::next_timeout). MESSAGE frames do not pass through here: write
/// [`message_head`](Self::message_head), or [`tagged_head`](Self::tagged_head) if the client has to acknowledge, and
/// the shared [tail](crate::encode_message_tail), then call [`wrote`](Self::wrote).
///
/// The caller keeps the deliveries that ACKs refer to and the contents of transactions: this machine only checks that
/// the subscription takes acknowledgements and that the transaction is open.
///
/// Frames are decoded one per `poll_event`, so a caller that stops polling stops the client; input that was received
/// and not polled is held. Between frames a connection owns no buffer: it takes at most 248 bytes itself, and about 24
/// bytes and the id per subscription.
///
/// # Failures
///
/// When the client violates the protocol, the connection queues an ERROR frame that says what to do, with a
/// `receipt-id` if the frame asked for a receipt in a header that could be read, and returns [`ServerEvent::Failed`]. The
/// session is over then: STOMP has no recoverable errors (STOMP 1.2, "ERROR").
///
/// # Example: a client connects and sends
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use tramline_stomp::{Bytes, ServerConfig, ServerConnection, ServerEvent};
///
/// let now = Instant::now();
/// let mut server = ServerConnection::new(Arc::new(ServerConfig::default()), now);
///
/// server.receive(Bytes::from_static(b"CONNECT\naccept-version:1.1,1.2\nlogin:ann\n\n\0"), now);
/// let Some(ServerEvent::Connect(connect)) = server.poll_event() else { panic!() };
/// assert_eq!(connect.login.as_deref(), Some("ann"));
/// server.accept(Some("ann"), None, now);
/// assert_eq!(
///     server.poll_transmit().unwrap(),
///     "CONNECTED\nversion:1.2\nheart-beat:10000,10000\nuser-name:ann\n\n\0",
/// );
///
/// server.receive(Bytes::from_static(b"SEND\ndestination:/app/hello\nreceipt:1\n\nhi\0"), now);
/// let Some(ServerEvent::Send(send)) = server.poll_event() else { panic!() };
/// assert_eq!((&*send.destination, &send.body[..]), ("/app/hello", &b"hi"[..]));
/// server.receipt(&send.receipt.unwrap());
/// assert_eq!(server.poll_transmit().unwrap(), "RECEIPT\nreceipt-id:1\n\n\0");
/// ```
#[derive(Debug)]
pub struct ServerConnection {
    config: Arc<ServerConfig>,
    decoder: Decoder,
    timers: Timers,
    subscriptions: Subscriptions,
    transactions: Transactions,
    outgoing: Outgoing,
    /// The part of ack tokens that no other session has; zero if `accept` was given no session.
    ack_key: u32,
    /// A failure that `poll_event` has not yet returned.
    failure: Option<Box<ServerError>>,
    state: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Only line ends were received.
    Opening,
    /// `Connect` was returned, and waits for its answer.
    Connecting,
    Connected,
    /// The client has sent DISCONNECT.
    Disconnected,
    Failed,
}

impl ServerConnection {
    /// Creates a connection whose stream begins now.
    pub fn new(config: Arc<ServerConfig>, now: Instant) -> Self {
        Self {
            decoder: Decoder::new(config.limits),
            config,
            timers: Timers::new(now),
            subscriptions: Subscriptions::default(),
            transactions: Transactions::default(),
            outgoing: Outgoing::default(),
            ack_key: 0,
            failure: None,
            state: Phase::Opening,
        }
    }

    /// Takes bytes from the client, cut anywhere. Any byte shows that the client is alive.
    pub fn receive(&mut self, bytes: Bytes, now: Instant) {
        self.timers.read(now);
        self.decoder.feed(bytes);
    }

    /// Returns the client's next event, or `None` until more is received or until [`ServerEvent::Connect`] is answered.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        if let Some(error) = self.failure.take() {
            return Some(ServerEvent::Failed(*error));
        }
        while matches!(self.state, Phase::Opening | Phase::Connected) {
            match self.decoder.next_or_failure() {
                Ok(None) => {
                    if self.state == Phase::Opening && self.holds_too_much() {
                        return Some(self.failed(self.too_large().into(), None));
                    }
                    return None;
                }
                Ok(Some(Decoded::HeartBeat)) => {}
                Ok(Some(Decoded::Frame(frame))) => {
                    let receipt = frame.headers.get_bytestring("receipt").cloned();
                    return Some(match self.frame(frame, receipt.clone()) {
                        Ok(event) => event,
                        Err(error) => self.failed(error, receipt),
                    });
                }
                Err(failure) => return Some(self.failed(failure.error.into(), failure.receipt)),
            }
        }
        None
    }

    /// Opens the session that [`ServerEvent::Connect`] asked for, and starts the heart-beats.
    ///
    /// CONNECTED has `version`, `heart-beat` (this server's, not the negotiated one), and then `user-name`, `session`
    /// and `server` if they are set. Does nothing unless a `Connect` waits for its answer.
    ///
    /// Pass a `session` that no other session has: ack tokens contain a hash of it, so that a client that reconnects and
    /// acknowledges what its last session received fails, instead of settling another delivery of the same number.
    pub fn accept(&mut self, user_name: Option<&str>, session: Option<&str>, now: Instant) {
        if self.state != Phase::Connecting {
            return;
        }
        let name = ByteString::from_static;
        let mut headers = Headers::with_capacity(5);
        headers.push(name("version"), name(self.version().as_str()));
        headers.push(name("heart-beat"), self.config.heart_beat.to_string());
        if let Some(user_name) = user_name {
            headers.push(name("user-name"), user_name);
        }
        if let Some(session) = session {
            self.ack_key = acks::key_of(session);
            headers.push(name("session"), session);
        }
        if let Some(server) = &self.config.server {
            headers.push(name("server"), server.clone());
        }
        self.queue(&Frame {
            command: Command::Connected,
            headers,
            body: Bytes::new(),
        });
        self.timers.read(now);
        self.timers.wrote(now);
        self.timers.start();
        self.state = Phase::Connected;
    }

    /// Answers [`ServerEvent::Connect`] with ERROR. The session is over: write what is queued and
    /// close.
    pub fn refuse(&mut self, error: ErrorReply) {
        self.error(error);
    }

    /// Sends RECEIPT: the client's request is done.
    ///
    /// Also allowed after a failure, for requests before the frame that failed. The RECEIPT then goes in front of the
    /// ERROR, as long as that was not taken from [`poll_transmit`](Self::poll_transmit).
    pub fn receipt(&mut self, receipt_id: &str) {
        self.receipt_with(receipt_id, []);
    }

    /// Sends RECEIPT with further headers: what the client's request has brought.
    pub fn receipt_with(
        &mut self,
        receipt_id: &str,
        headers: impl IntoIterator<Item = (&'static str, String)>,
    ) {
        let name = ByteString::from_static("receipt-id");
        let mut receipt = Frame::new(Command::Receipt).header(name, receipt_id);
        for (name, value) in headers {
            receipt = receipt.header(name, value);
        }
        if self.state == Phase::Failed {
            self.outgoing
                .push_before_last(receipt.to_bytes(self.decoder.version()));
        } else {
            self.queue(&receipt);
        }
    }

    /// Ends the session with ERROR, for a reason of the caller's own. No more events come, not even
    /// [`ServerEvent::Failed`]; write what is queued and close. Does nothing if the session has failed already: there
    /// is one ERROR at most.
    pub fn error(&mut self, error: ErrorReply) {
        if self.state == Phase::Failed {
            return;
        }
        self.queue(&error.into_frame());
        self.end(Phase::Failed);
    }

    /// Returns the next frame or heart-beat to write, encoded; one per call.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.outgoing.pop()
    }

    /// The negotiated version; 1.2 before CONNECT was received.
    pub fn version(&self) -> Version {
        self.decoder.version()
    }

    /// Returns true if the session is open: accepted, not failed, and no DISCONNECT received.
    pub fn is_connected(&self) -> bool {
        self.state == Phase::Connected
    }

    /// Returns true if the session ended with an ERROR.
    pub fn is_failed(&self) -> bool {
        self.state == Phase::Failed
    }

    /// The received bytes that are not yet returned as events.
    pub fn buffered(&self) -> usize {
        self.decoder.buffered()
    }

    /// The bytes queued for [`poll_transmit`](Self::poll_transmit). A client that requests receipts and does not read
    /// them makes this grow: then stop reading from it.
    pub fn queued(&self) -> usize {
        self.outgoing.bytes()
    }

    /// Returns true if this side sends heart-beats, as negotiated.
    pub fn sends_heart_beats(&self) -> bool {
        self.timers.sends()
    }

    /// The number of live subscriptions.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// The head of every MESSAGE to the subscription in this slot: the command and the header `subscription`. `None`
    /// once the subscription or the session has ended, so that the caller drops messages on their way.
    pub fn message_head(&self, slot: u32) -> Option<&[u8]> {
        self.subscriptions
            .get(slot)
            .map(|subscription| &*subscription.head)
    }

    /// Appends the head of a MESSAGE that the client has to acknowledge or that it may have seen before; returns true
    /// if the subscription is live, and appends nothing otherwise.
    ///
    /// - [`message_head`](Self::message_head) comes first.
    /// - In 1.2, unless the subscription is [`AckMode::Auto`], `ack` follows: slot, tag and a number of the session's
    ///   own, if [`accept`](Self::accept) was given a session. The client's ACK or NACK returns slot and tag as
    ///   [`DeliveryId::Tag`]; a token of another session fails. Older versions acknowledge by `message-id`, so they get
    ///   no token.
    /// - If `redeliveries`, the number of times the message was delivered before, is not zero,
    ///   `redelivered:true` and `delivery-count` follow. The count is that number: the first
    ///   redelivery has 1, as AMQP 1.0 counts.
    ///
    /// Allocates nothing if `head` has enough capacity.
    ///
    /// # Example: the second attempt at a delivery
    ///
    /// ```
    /// use std::{sync::Arc, time::Instant};
    /// use tramline_stomp::{Bytes, DeliveryId, ServerConfig, ServerConnection, ServerEvent};
    ///
    /// let now = Instant::now();
    /// let mut server = ServerConnection::new(Arc::new(ServerConfig::default()), now);
    /// server.receive(Bytes::from_static(b"CONNECT\naccept-version:1.2\n\n\0"), now);
    /// server.poll_event();
    /// server.accept(None, None, now);
    /// server.receive(
    ///     Bytes::from_static(b"SUBSCRIBE\nid:jobs\ndestination:/queue/jobs\nack:client\n\n\0"),
    ///     now,
    /// );
    /// let Some(ServerEvent::Subscribe(subscribe)) = server.poll_event() else { panic!() };
    ///
    /// let mut head = Vec::new();
    /// assert!(server.tagged_head(subscribe.slot, 7, 1, &mut head));
    /// assert_eq!(
    ///     head,
    ///     b"MESSAGE\nsubscription:jobs\nack:0-7\nredelivered:true\ndelivery-count:1\n",
    /// );
    ///
    /// server.receive(Bytes::from_static(b"ACK\nid:0-7\n\n\0"), now);
    /// let Some(ServerEvent::Ack(ack)) = server.poll_event() else { panic!() };
    /// assert_eq!(ack.delivery, DeliveryId::Tag { slot: 0, tag: 7 });
    /// ```
    pub fn tagged_head(&self, slot: u32, tag: u32, redeliveries: u32, head: &mut Vec<u8>) -> bool {
        let Some(subscription) = self.subscriptions.get(slot) else {
            return false;
        };
        head.extend_from_slice(&subscription.head);
        if self.version() == Version::V1_2 && subscription.ack != AckMode::Auto {
            acks::write_ack_header(slot, tag, self.ack_key, head);
        }
        if redeliveries > 0 {
            acks::write_redelivery(redeliveries, head);
        }
        true
    }

    /// The acknowledgement mode of the subscription in this slot. `None` once the subscription or the session has
    /// ended.
    pub fn ack_mode(&self, slot: u32) -> Option<AckMode> {
        self.subscriptions
            .get(slot)
            .map(|subscription| subscription.ack)
    }

    /// The number of open transactions.
    pub fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    /// Adds a subscription that the client did not send, with its destination as its id: that of a temporary queue which
    /// a SEND names in `reply-to`, as RabbitMQ does. Returns `None` if there is one with this id, or no place for one more.
    pub fn add_subscription(&mut self, destination: ByteString) -> Option<Subscribe> {
        let (version, ack) = (self.decoder.version(), AckMode::Auto);
        let limit = self.config.max_subscriptions;
        let added = self.subscriptions.add(version, &destination, ack, limit);
        Some(Subscribe {
            id: destination.clone(),
            slot: added.ok()?,
            destination,
            ack,
            headers: Headers::new(),
            receipt: None,
        })
    }

    /// Removes a subscription that will not be served, and frees its id; returns true if it was live.
    pub fn drop_subscription(&mut self, slot: u32) -> bool {
        self.subscriptions.remove_slot(slot)
    }

    /// Notes that something was written to the client, so that no heart-beat is needed.
    pub fn wrote(&mut self, now: Instant) {
        self.timers.wrote(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), unless something is read or written before. `None` if no
    /// heart-beats were negotiated.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }

    /// Queues a heart-beat if one is due; or fails the session, if the client was silent for
    /// [`READ_TOLERANCE`](crate::READ_TOLERANCE) times the negotiated interval and
    /// [`ServerConfig::min_silence`]. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.timers.handle_timeout(now) {
            Due::Nothing => {}
            Due::HeartBeat => self.outgoing.push_heart_beat(),
            Due::PeerGone { silent_for } => {
                let error = ServerError::HeartBeatTimeout { silent_for };
                self.error(error.to_reply());
                self.failure = Some(Box::new(error));
            }
        }
    }

    /// Pauses or resumes reading: while it is paused the client's silence does not count, and its time restarts at the
    /// resume.
    pub fn pause_reading(&mut self, paused: bool, now: Instant) {
        self.timers.pause_reading(paused, now);
    }

    /// Returns true if reading is [paused](Self::pause_reading).
    pub fn is_reading_paused(&self) -> bool {
        self.timers.is_reading_paused()
    }

    /// Fails if [`ServerEvent::Connect`] waits for its answer and [`ServerConfig::max_connect_bytes`] are exceeded by what
    /// came behind it. Call it when the answer does not come at once.
    pub fn limit_held(&mut self) {
        if self.state == Phase::Connecting && self.holds_too_much() {
            let error = ServerError::from(self.too_large());
            self.error(error.to_reply());
            self.failure = Some(Box::new(error));
        }
    }

    fn holds_too_much(&self) -> bool {
        self.decoder.buffered() > self.config.max_connect_bytes
    }

    fn too_large(&self) -> PeerViolation {
        let limit = self.config.max_connect_bytes;
        PeerViolation::ConnectTooLarge { limit }
    }

    fn failed(&mut self, error: ServerError, receipt: Option<ByteString>) -> ServerEvent {
        self.error(error.to_reply().receipt(receipt));
        ServerEvent::Failed(error)
    }

    fn queue(&mut self, frame: &Frame) {
        self.outgoing.push(frame.to_bytes(self.decoder.version()));
    }

    /// Drops everything that belongs to a live session.
    fn end(&mut self, state: Phase) {
        self.state = state;
        self.decoder.finish();
        self.timers.stop();
        self.subscriptions.clear();
        self.transactions.clear();
    }
}

#[cfg(test)]
mod tests;
