use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::ServerError;
use crate::ack_mode::AckMode;
use crate::headers::Headers;

/// An event of the client.
///
/// If an event has a `receipt`, the client waits for [`ServerConnection::receipt`](crate::ServerConnection::receipt),
/// or for an ERROR with its `receipt-id`.
///
/// Texts and bodies are slices of the input and keep it alive: copy what you keep for longer than the event.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// The client opens a session. Answer with `accept` or `refuse`: no event follows before.
    Connect(Connect),
    /// The client sends a message.
    Send(Send),
    /// The client subscribes; the connection keeps the subscription from now on.
    Subscribe(Subscribe),
    /// The client ends a subscription; the connection has removed it.
    Unsubscribe(Unsubscribe),
    /// The client has consumed a message and, in [`AckMode::Client`], all messages of the subscription before it.
    Ack(Acknowledge),
    /// The client did not consume a message; as with `Ack`, in [`AckMode::Client`] this includes those before it.
    Nack(Acknowledge),
    /// The client opens a transaction; the connection keeps it from now on.
    Begin(Transaction),
    /// The client completes a transaction: carry out its contents completely or not at all. Its id is free.
    Commit(Transaction),
    /// The client aborts a transaction: discard its contents. Its id is free.
    Abort(Transaction),
    /// The client ends its session: the connection ignores later input, and has dropped subscriptions and open
    /// transactions. Such a transaction counts as aborted (STOMP 1.2, "BEGIN").
    Disconnect(Disconnect),
    /// The session has failed. An ERROR frame is queued already: write what `poll_transmit` returns and close. No event
    /// follows; open transactions count as aborted.
    Failed(ServerError),
}

/// A CONNECT or STOMP frame whose version and heart-beat are negotiated.
///
/// `Debug` hides the passcode, and headers of that name.
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
    /// All headers except `passcode`, which is thus in one place only.
    pub headers: Headers,
}

/// A SEND frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Send {
    /// The destination.
    pub destination: ByteString,
    /// The open transaction that the message belongs to.
    pub transaction: Option<ByteString>,
    /// All headers, as sent.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// The requested receipt.
    pub receipt: Option<ByteString>,
}

/// A SUBSCRIBE frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Subscribe {
    /// The client's id of the subscription; the destination if a 1.0 client sent none.
    pub id: ByteString,
    /// The connection's number for the subscription, never reused.
    pub slot: u32,
    /// The destination.
    pub destination: ByteString,
    /// The acknowledgement mode.
    pub ack: AckMode,
    /// All headers, as sent.
    pub headers: Headers,
    /// The requested receipt.
    pub receipt: Option<ByteString>,
}

/// An UNSUBSCRIBE frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Unsubscribe {
    /// The client's id of the subscription.
    pub id: ByteString,
    /// The number that the subscription had.
    pub slot: u32,
    /// All headers, as sent.
    pub headers: Headers,
    /// The requested receipt.
    pub receipt: Option<ByteString>,
}

/// An ACK or NACK frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Acknowledge {
    /// The delivery. Its subscription, if it has one, is live and not [`AckMode::Auto`]; the caller checks that such a
    /// delivery is unsettled.
    pub delivery: DeliveryId,
    /// All headers, as sent.
    pub headers: Headers,
    /// The open transaction that it belongs to.
    pub transaction: Option<ByteString>,
    /// The requested receipt.
    pub receipt: Option<ByteString>,
}

/// A client's reference to a delivery; its form depends on the version.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryId {
    /// 1.2: the `ack` header of the MESSAGE, which [`tagged_head`](crate::ServerConnection::tagged_head) wrote.
    Tag {
        /// The subscription's slot.
        slot: u32,
        /// The caller's number for the delivery.
        tag: u32,
    },
    /// 1.0 and 1.1: the message's id.
    Message {
        /// The subscription's slot. A 1.0 client may omit the subscription; then it means any of the session's.
        slot: Option<u32>,
        /// The `message-id` of the MESSAGE.
        message_id: ByteString,
    },
}

/// A BEGIN, COMMIT or ABORT frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Transaction {
    /// The client's id of the transaction.
    pub id: ByteString,
    /// The requested receipt.
    pub receipt: Option<ByteString>,
}

/// A DISCONNECT frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Disconnect {
    /// The requested receipt.
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
