use bytes::Bytes;
use bytestring::ByteString;

use super::{ClientError, name, required};
use crate::command::Command;
use crate::frame::Frame;
use crate::headers::Headers;
use crate::version::Version;

/// A MESSAGE frame.
///
/// # Example: a redelivered message
///
/// ```
/// use std::time::Instant;
/// use tramline_stomp::{Bytes, ClientConfig, ClientConnection, ClientEvent};
///
/// let now = Instant::now();
/// let mut client = ClientConnection::new(ClientConfig::new("example"), now);
/// client.receive(Bytes::from_static(b"CONNECTED\nversion:1.2\n\n\0"), now);
/// client.poll_event();
/// client.receive(
///     Bytes::from_static(
///         b"MESSAGE\nsubscription:0\nack:0-7\nredelivered:true\ndelivery-count:2\n\
///           message-id:m\ndestination:/queue/jobs\n\njob\0",
///     ),
///     now,
/// );
/// let Some(ClientEvent::Message(message)) = client.poll_event() else { panic!() };
/// assert_eq!(message.ack.as_deref(), Some("0-7"));
/// assert!(message.redelivered());
/// assert_eq!(message.delivery_count(), Some(2));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Message {
    /// The id that [`ClientConnection::subscribe`](crate::ClientConnection::subscribe) returned.
    pub subscription: ByteString,
    /// The server's id of the message.
    pub message_id: ByteString,
    /// The header `ack`, by which a 1.2 client acknowledges the message. Absent if it needs no acknowledgement; older
    /// versions do not use it.
    pub ack: Option<ByteString>,
    /// The destination of the message.
    pub destination: ByteString,
    /// All headers, as sent.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Message {
    /// Returns what is needed to acknowledge the message later: copies of its ids, which do not keep its frame alive.
    pub fn delivery(&self) -> Delivery {
        let copy = |text: &ByteString| ByteString::from(&**text);
        Delivery {
            subscription: copy(&self.subscription),
            message_id: copy(&self.message_id),
            ack: self.ack.as_ref().map(copy),
        }
    }

    /// Returns true if the message was delivered before, to this client or another: it may have been processed already.
    /// Most brokers send `redelivered:true` then.
    pub fn redelivered(&self) -> bool {
        self.headers.get("redelivered") == Some("true")
    }

    /// How often the message was delivered before, if the server counts: `delivery-count`.
    pub fn delivery_count(&self) -> Option<u32> {
        self.headers.get("delivery-count")?.parse().ok()
    }
}

/// The ids of a received message, for [`ClientConnection::ack`](crate::ClientConnection::ack) and `nack`: from
/// [`Message::delivery`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Delivery {
    subscription: ByteString,
    message_id: ByteString,
    ack: Option<ByteString>,
}

impl Delivery {
    /// Creates it from the headers of a message: `subscription`, `message-id` and, in 1.2, `ack`.
    pub fn new(subscription: ByteString, message_id: ByteString, ack: Option<ByteString>) -> Self {
        Self {
            subscription,
            message_id,
            ack,
        }
    }

    /// Creates an ACK or NACK without its transaction and receipt.
    pub(super) fn frame(
        &self,
        command: Command,
        version: Version,
    ) -> Result<Frame, NotAcknowledgeable> {
        let frame = Frame::new(command);
        match (version, &self.ack) {
            (Version::V1_0, _) if command == Command::Nack => Err(NotAcknowledgeable::NackIn1_0),
            (Version::V1_0, _) => Ok(frame.header(name("message-id"), self.message_id.clone())),
            (Version::V1_1, _) => Ok(frame
                .header(name("subscription"), self.subscription.clone())
                .header(name("message-id"), self.message_id.clone())),
            (Version::V1_2, Some(ack)) => Ok(frame.header(name("id"), ack.clone())),
            (Version::V1_2, None) => Err(NotAcknowledgeable::NoAckHeader),
        }
    }
}

impl From<&Message> for Delivery {
    /// For immediate use: it shares the message's frame.
    fn from(message: &Message) -> Self {
        Self {
            subscription: message.subscription.clone(),
            message_id: message.message_id.clone(),
            ack: message.ack.clone(),
        }
    }
}

impl From<&Delivery> for Delivery {
    fn from(delivery: &Delivery) -> Self {
        delivery.clone()
    }
}

/// A message cannot be acknowledged: an error of the caller; the session goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAcknowledgeable {
    /// A 1.2 server sent the message without the header `ack`: its subscription is
    /// [`AckMode::Auto`](crate::AckMode::Auto), or the server does not offer acknowledgements.
    #[error(
        "the message has no header `ack`, so it needs no ACK; subscribe with `AckMode::Client` or \
         `AckMode::ClientIndividual`"
    )]
    NoAckHeader,

    /// NACK in a 1.0 session.
    #[error("STOMP 1.0 has no NACK; agree on 1.1 or 1.2, or leave the message without an ACK")]
    NackIn1_0,
}

pub(super) fn read(frame: Frame) -> Result<Message, ClientError> {
    Ok(Message {
        subscription: required(&frame, "subscription")?,
        message_id: required(&frame, "message-id")?,
        ack: frame.headers.get_bytestring("ack").cloned(),
        destination: required(&frame, "destination")?,
        headers: frame.headers,
        body: frame.body,
    })
}
