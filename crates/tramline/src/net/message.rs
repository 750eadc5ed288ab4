//! Messages of raw sockets.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use bytestring::ByteString;
use tramline_sockjs::frame::escape_into;

use crate::net::wire;

/// A WebSocket message.
///
/// Cheap to clone: the payload is shared, not copied. To send one message to many connections, see [`SharedMessage`].
///
/// # Example: text and bytes
///
/// ```
/// use tramline::raw::Message;
///
/// let message = Message::from("Grüezi");
/// assert_eq!(message.as_text(), Some("Grüezi"));
/// assert_eq!(message.len(), 7);
/// assert_eq!(Message::from(vec![1, 2, 3]).as_text(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Text, as a browser's `socket.send("…")` sends it. Always UTF-8: a client that sends something else is closed with
    /// 1007 before a handler sees it.
    Text(ByteString),
    /// Bytes of any kind. They cannot travel over SockJS.
    Binary(Bytes),
}

impl Message {
    /// The text, if it is a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload.
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Bytes of payload.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns true if the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident,)*) => {
        $(
            impl From<$from> for Message {
                fn from(payload: $from) -> Self {
                    Self::$variant(payload.into())
                }
            }

            impl From<$from> for Outgoing {
                fn from(payload: $from) -> Self {
                    Message::from(payload).into()
                }
            }
        )*
    };
}

from! {
    &'static str => Text,
    String => Text,
    ByteString => Text,
    &'static [u8] => Binary,
    Vec<u8> => Binary,
    Bytes => Binary,
}

/// One message for many connections: each of its wire forms is made once, however many receive it.
///
/// A plain [`Message`] shares its payload too, but over SockJS it would be escaped anew for each connection.
/// [`Sessions::broadcast`](crate::raw::Sessions::broadcast) does this by itself; make one where your application keeps
/// the list of receivers, such as the members of a room.
///
/// # Example: a room
///
/// ```
/// use tramline::raw::{SharedMessage, SocketSender};
///
/// fn say(room: &[SocketSender], line: String) -> usize {
///     let line = SharedMessage::from(line);
///     room.iter().filter(|member| member.try_send(&line).is_ok()).count()
/// }
/// # assert_eq!(say(&[], String::new()), 0);
/// ```
#[derive(Clone, Debug)]
pub struct SharedMessage(Arc<Forms>);

#[derive(Debug)]
pub(crate) struct Forms {
    message: Message,
    escaped: OnceLock<Bytes>,
    /// Compressed; `None` if that gains nothing.
    deflated: OnceLock<Option<Bytes>>,
    pub(crate) deflated_escaped: OnceLock<Option<Bytes>>,
}

impl<M: Into<Message>> From<M> for SharedMessage {
    fn from(message: M) -> Self {
        Self(Arc::new(Forms {
            message: message.into(),
            escaped: OnceLock::new(),
            deflated: OnceLock::new(),
            deflated_escaped: OnceLock::new(),
        }))
    }
}

impl SharedMessage {
    pub(crate) fn into_item(self) -> Item {
        Item::Shared(self.0)
    }
}

/// Something that can be sent: a [`Message`], anything that converts into one, or a [`SharedMessage`].
#[derive(Clone, Debug)]
pub struct Outgoing(pub(crate) Item);

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Message(Message),
    Shared(Arc<Forms>),
    Ping(Bytes),
}

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        Self(Item::Message(message))
    }
}

impl From<SharedMessage> for Outgoing {
    fn from(message: SharedMessage) -> Self {
        Self(Item::Shared(message.0))
    }
}

impl From<&SharedMessage> for Outgoing {
    fn from(message: &SharedMessage) -> Self {
        message.clone().into()
    }
}

impl Item {
    /// The message, unless it is a ping.
    pub(crate) fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Shared(forms) => Some(&forms.message),
            Self::Ping(_) => None,
        }
    }

    /// Its size in a queue: payload and entry.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.message().map_or(0, Message::len)
    }

    /// Lends the text as escaped for a SockJS message, and the other shared forms if there are any. `None` if it is not
    /// text.
    pub(crate) fn escaped<T>(&self, take: impl FnOnce(&Bytes, Option<&Forms>) -> T) -> Option<T> {
        let escape = |text: &str| {
            let mut escaped = Vec::with_capacity(text.len() + text.len() / 8);
            escape_into(&mut escaped, text);
            Bytes::from(escaped)
        };
        match self {
            Self::Message(message) => Some(take(&escape(message.as_text()?), None)),
            Self::Shared(forms) => {
                let text = forms.message.as_text()?;
                Some(take(
                    forms.escaped.get_or_init(|| escape(text)),
                    Some(forms),
                ))
            }
            Self::Ping(_) => None,
        }
    }

    /// Lends the payload compressed. `None` if that gains nothing.
    pub(crate) fn deflated<T>(&self, take: impl FnOnce(&Bytes) -> T) -> Option<T> {
        match self {
            Self::Message(message) => wire::deflate(message.as_bytes()).as_ref().map(take),
            Self::Shared(forms) => {
                let deflate = || wire::deflate(forms.message.as_bytes());
                forms.deflated.get_or_init(deflate).as_ref().map(take)
            }
            Self::Ping(_) => None,
        }
    }
}

/// A result of [`Socket::receive_event`](crate::raw::Socket::receive_event).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Received {
    /// A whole message.
    Message(Message),
    /// A part of a message, if the endpoint has [`partial_messages`](crate::raw::RawEndpointBuilder::partial_messages);
    /// then there are no whole ones. All parts of a message are of the same kind, and text is cut between characters.
    /// The parts are those that arrived, not the fragments that the client made: proxies may fragment anew.
    Part {
        /// The piece; the last one may be empty.
        part: Message,
        /// True for the last part of a message.
        is_last: bool,
    },
    /// A pong, if the endpoint reports [`pongs`](crate::raw::RawEndpointBuilder::pongs): the answer to a
    /// [`ping`](crate::raw::SocketSender::ping) or a keep-alive ping (whose payload is empty), or unsolicited.
    Pong(Bytes),
}
