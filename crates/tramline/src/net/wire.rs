//! The encoded forms of a message, made at most once each however many receive it.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use tramline_broker::Message;
use tramline_sockjs::frame::escape_into;
use tramline_stomp::{Version, encode_message_tail};
use tramline_websocket::{Deflate, deflate_tail};

/// The value in a [`Message`]'s slot for wire forms.
#[derive(Debug, Default)]
struct Forms {
    plain: [OnceLock<Tail>; Version::ALL.len()],
    sockjs: [OnceLock<Option<Bytes>>; Version::ALL.len()],
    /// Boxed, because most messages have none.
    deflated: OnceLock<Box<Deflated>>,
}

/// Compressed tails; `None` if compression gains nothing.
#[derive(Debug, Default)]
struct Deflated {
    plain: [OnceLock<Option<Bytes>>; Version::ALL.len()],
    sockjs: [OnceLock<Option<Bytes>>; Version::ALL.len()],
}

/// The part of a MESSAGE frame that all its receivers share.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) bytes: Bytes,
    /// True if the body, and so the whole frame, is UTF-8: then it travels as WebSocket text.
    pub(crate) text: bool,
}

/// The tail of the message's MESSAGE frame in `version`.
pub(crate) fn tail(message: &Message, version: Version) -> Option<&Tail> {
    let forms: &Forms = message.wire_forms()?;
    Some(forms.plain[version as usize].get_or_init(|| {
        let mut bytes = Vec::with_capacity(message.size() + ROOM_FOR_NAMES);
        if message.is_kept()
            && let Some(position) = message.position()
        {
            // Writing to a vector does not fail, and digits need no escapes.
            let _ = writeln!(bytes, "position:{position}");
        }
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

/// The tail as escaped for a SockJS message; `None` if the body is not UTF-8, which SockJS cannot carry.
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

/// The bytes before the head of a SockJS message.
pub(crate) const SOCKJS_START: &[u8] = b"a[\"";

/// The bytes after the tail of a SockJS message.
pub(crate) const SOCKJS_END: &[u8] = b"\"]";

/// The compressed tail, for receivers of [`write_deflated_head`](tramline_websocket::write_deflated_head); `None` if
/// compression gains nothing.
pub(crate) fn deflated_tail(message: &Message, version: Version) -> Option<&Bytes> {
    let tail = tail(message, version)?;
    let deflated = deflated(message)?.plain[version as usize].get_or_init(|| deflate(&tail.bytes));
    deflated.as_ref()
}

/// The same for [`sockjs_tail`], together with the message's end.
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

/// Compresses a tail; `None` if that gains nothing.
pub(crate) fn deflate(tail: &[u8]) -> Option<Bytes> {
    deflate_tail(tail, Deflate::default().level).map(Bytes::from)
}

/// Room for the header names and numbers of a tail, so that it is allocated once.
const ROOM_FOR_NAMES: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tramline_broker::{Destination, Headers, Publish};

    use super::*;

    fn message(body: Vec<u8>) -> Message {
        let destination = Destination::parse("/topic/x").unwrap();
        Message::new(
            Publish::new(destination, Headers::new(), body),
            "1".into(),
            None,
        )
    }

    #[test]
    fn a_thousand_receivers_share_one_compressed_tail_for_each_form() {
        let message = message(b"{\"price\":1}".repeat(200));
        let forms: HashSet<usize> = std::thread::scope(|scope| {
            let receivers = (0..4).map(|_| {
                scope.spawn(|| {
                    let each = (0..250).flat_map(|_| {
                        let plain = deflated_tail(&message, Version::V1_2);
                        let sockjs = deflated_sockjs_tail(&message, Version::V1_2);
                        [plain, sockjs].map(|tail| tail.unwrap().as_ptr().addr())
                    });
                    each.collect::<Vec<_>>()
                })
            });
            let receivers: Vec<_> = receivers.collect();
            let each = receivers.into_iter().flat_map(|each| each.join().unwrap());
            each.collect()
        });
        assert_eq!(forms.len(), 2, "a plain one and one for SockJS");
        let whole = tail(&message, Version::V1_2).unwrap().bytes.len();
        assert!(deflated_tail(&message, Version::V1_2).unwrap().len() < whole / 10);
    }

    #[test]
    fn what_does_not_shrink_has_no_compressed_form() {
        let noise = std::iter::successors(Some(1_u32), |state| {
            Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
        });
        let message = message(noise.take(2000).map(|state| (state >> 24) as u8).collect());
        assert_eq!(deflated_tail(&message, Version::V1_2), None);
        assert_eq!(
            deflated_sockjs_tail(&message, Version::V1_2),
            None,
            "it is not even text"
        );
    }
}
