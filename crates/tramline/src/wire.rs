//! The encoded forms of a message, made at most once each however many receive it.

use std::sync::OnceLock;

use bytes::Bytes;
use tramline_broker::Message;
use tramline_sockjs::frame::escape_into;
use tramline_stomp::{Version, encode_message_tail};
use tramline_websocket::{Deflate, deflate_tail};

/// What sits in a [`Message`]'s slot for wire forms.
#[derive(Debug, Default)]
struct Forms {
    plain: [OnceLock<Tail>; Version::ALL.len()],
    sockjs: [OnceLock<Option<Bytes>>; Version::ALL.len()],
    /// Boxed, because most messages have none.
    deflated: OnceLock<Box<Deflated>>,
}

/// Compressed tails; `None` where that gains nothing.
#[derive(Debug, Default)]
struct Deflated {
    plain: [OnceLock<Option<Bytes>>; Version::ALL.len()],
    sockjs: [OnceLock<Option<Bytes>>; Version::ALL.len()],
}

/// The part of a MESSAGE frame that all its receivers share.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) bytes: Bytes,
    /// Whether the body, and so the whole frame, is UTF-8: then it travels as WebSocket text.
    pub(crate) text: bool,
}

/// The tail of the message's MESSAGE frame in `version`.
pub(crate) fn tail(message: &Message, version: Version) -> Option<&Tail> {
    let forms: &Forms = message.wire_forms()?;
    Some(forms.plain[version as usize].get_or_init(|| {
        let mut bytes = Vec::with_capacity(message.size() + ROOM_FOR_NAMES);
        encode_message_tail(
            version,
            message.id(),
            message.destination(),
            message.headers(),
            message.body(),
            &mut bytes,
        );
        Tail {
            bytes: bytes.into(),
            text: std::str::from_utf8(message.body()).is_ok(),
        }
    }))
}

/// The tail as it stands inside a SockJS message, escaped; `None` if the body is not UTF-8, which SockJS cannot carry.
pub(crate) fn sockjs_tail(message: &Message, version: Version) -> Option<&Bytes> {
    let forms: &Forms = message.wire_forms()?;
    let escaped = forms.sockjs[version as usize].get_or_init(|| {
        let text = std::str::from_utf8(&tail(message, version)?.bytes).ok()?;
        let mut escaped = Vec::with_capacity(text.len() + text.len() / 8);
        escape_into(&mut escaped, text);
        Some(escaped.into())
    });
    escaped.as_ref()
}

/// What comes behind the tail in a SockJS message.
pub(crate) const SOCKJS_END: &[u8] = b"\"]";

/// The tail compressed, for receivers of [`write_deflated_head`](tramline_websocket::write_deflated_head); `None` if
/// that gains nothing.
pub(crate) fn deflated_tail(message: &Message, version: Version) -> Option<&Bytes> {
    let tail = tail(message, version)?;
    let deflated = deflated(message)?.plain[version as usize].get_or_init(|| deflate(&tail.bytes));
    deflated.as_ref()
}

/// The same of [`sockjs_tail`], and with it the message's end.
pub(crate) fn deflated_sockjs_tail(message: &Message, version: Version) -> Option<&Bytes> {
    let tail = sockjs_tail(message, version)?;
    let deflated = deflated(message)?.sockjs[version as usize]
        .get_or_init(|| deflate(&[tail, SOCKJS_END].concat()));
    deflated.as_ref()
}

fn deflated(message: &Message) -> Option<&Deflated> {
    let forms: &Forms = message.wire_forms()?;
    Some(forms.deflated.get_or_init(Box::default))
}

fn deflate(tail: &[u8]) -> Option<Bytes> {
    deflate_tail(tail, Deflate::default().level).map(Bytes::from)
}

/// What the header names and the numbers of a tail take, so that it is allocated once.
const ROOM_FOR_NAMES: usize = 64;
