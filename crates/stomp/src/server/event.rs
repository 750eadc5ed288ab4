use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::ServerError;
use crate::ack_mode::AckMode;
use crate::headers::Headers;

/// What a client did.
///
/// Where an event has a `receipt`, the client waits for
/// [`ServerConnection::receipt`](crate::ServerConnection::receipt), or for an ERROR that names it.
///
/// Texts and bodies are slices of what was received and keep it alive: copy what you keep for
/// longer than the event.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// The client wants a session. Answer with `accept` or `refuse`: nothing more comes before.
    Connect(Connect),
    /// The client sends a message.
    Send(Send),
    /// The client subscribes; the connection knows the subscription from now on.
    Subscribe(Subscribe),
    /// The client ends a subscription; the connection has forgotten it.
    Unsubscribe(Unsubscribe),
    /// The client has consumed a message, and in [`AckMode::Client`] all of the subscription that
    /// came before it.
    Ack(Acknowledge),
    /// The client did not consume a message; as with `Ack`, in [`AckMode::Client`] this is about
    /// those before it too.
    Nack(Acknowledge),
    /// The client opens a transaction; the connection knows it from now on.
    Begin(Transaction),
    /// The client completes a transaction: what it holds happens now, all of it or nothing. Its
    /// id is free.
    Commit(Transaction),
    /// The client gives a transaction up: nothing of what it holds happens. Its id is free.
    Abort(Transaction),
    /// The client ends its session: what it sends after this is ignored, and its subscriptions
    /// and open transactions are forgotten. Such a transaction counts as aborted
    /// (STOMP 1.2, "BEGIN").
    Disconnect(Disconnect),
    /// The session cannot go on. An ERROR frame is queued already: write what
    /// `poll_transmit` has and close. Nothing more comes; open transactions count as aborted.
    Failed(ServerError),
}

/// A CONNECT or STOMP frame whose version and heart-beat are agreed.
///
/// `Debug` shows neither the passcode nor what `headers` call so.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connect {
    /// The user name to log in with.
    pub login: Option<ByteString>,
    /// The password.
    pub passcode: Option<ByteString>,
    /// The virtual host. 1.1 requires it, but browsers' clients leave it out, so it stays
    /// optional in every version.
    pub host: Option<ByteString>,
    /// All headers but `passcode`, which so travels in one place only.
    pub headers: Headers,
}

/// A SEND frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Send {
    /// Where to.
    pub destination: ByteString,
    /// The open transaction that the message belongs to.
    pub transaction: Option<ByteString>,
    /// All headers, as sent.
    pub headers: Headers,
    /// The message.
    pub body: Bytes,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
}

/// A SUBSCRIBE frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Subscribe {
    /// The client's name for the subscription; the destination where a 1.0 client gave none.
    pub id: ByteString,
    /// The connection's number for the subscription, never used twice.
    pub slot: u32,
    /// What to.
    pub destination: ByteString,
    /// How its messages are acknowledged.
    pub ack: AckMode,
    /// All headers, as sent.
    pub headers: Headers,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
}

/// An UNSUBSCRIBE frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Unsubscribe {
    /// The client's name for the subscription.
    pub id: ByteString,
    /// The number that the subscription had.
    pub slot: u32,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
}

/// An ACK or NACK frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Acknowledge {
    /// The delivery that it is about. Its subscription, where one is named, lives and is not
    /// [`AckMode::Auto`]; whether such a delivery waits for its answer is for the caller to find
    /// out.
    pub delivery: DeliveryId,
    /// All headers, as sent.
    pub headers: Headers,
    /// The open transaction that it belongs to.
    pub transaction: Option<ByteString>,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
}

/// How a client names a delivery, which its version decides.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryId {
    /// 1.2: what the `ack` header of the MESSAGE said, which
    /// [`tagged_head`](crate::ServerConnection::tagged_head) wrote.
    Tag {
        /// The subscription's slot.
        slot: u32,
        /// The caller's number for the delivery.
        tag: u32,
    },
    /// 1.0 and 1.1: the message's id.
    Message {
        /// The subscription's slot. A 1.0 client may leave the subscription out; then it means
        /// any of the session's.
        slot: Option<u32>,
        /// The `message-id` of the MESSAGE.
        message_id: ByteString,
    },
}

/// A BEGIN, COMMIT or ABORT frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Transaction {
    /// The client's name for the transaction.
    pub id: ByteString,
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
}

/// A DISCONNECT frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Disconnect {
    /// The receipt asked for.
    pub receipt: Option<ByteString>,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("login", &self.login)
            .field("passcode", &self.passcode.as_ref().map(|_| "***"))
            .field("host", &self.host)
            .field("headers", &self.headers)
            .finish()
    }
}
