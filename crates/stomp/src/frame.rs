use bytes::Bytes;
use bytestring::ByteString;

use crate::command::Command;
use crate::escape::Escaping;
use crate::headers::Headers;
use crate::version::Version;

/// One STOMP frame.
///
/// # Example: a frame on the wire
///
/// ```
/// use tramline_stomp::{Command, Frame, Version};
///
/// let frame = Frame::new(Command::Send)
///     .header("destination", "/app/hello")
///     .header("note", "a:b")
///     .body("Ann");
///
/// let mut wire = Vec::new();
/// frame.encode(Version::V1_2, &mut wire);
/// assert_eq!(wire, b"SEND\ndestination:/app/hello\nnote:a\\cb\ncontent-length:3\n\nAnn\0");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The command.
    pub command: Command,
    /// The headers, as sent.
    pub headers: Headers,
    /// The body; empty unless the command [may have one](Command::may_have_body).
    pub body: Bytes,
}

impl Frame {
    /// Creates a frame without headers and body.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Appends the frame to `out`, encoded as `version` requires.
    ///
    /// - Lines end with LF. Header values are neither trimmed nor checked.
    /// - SEND, MESSAGE and ERROR always end their headers with a computed `content-length`, zero
    ///   included; one among the headers is dropped. Other commands have no body: one that is
    ///   set is not written.
    /// - A character that the version cannot express becomes a space: LF and CR in 1.0 and in
    ///   CONNECT and CONNECTED of every version (and a colon in a name there), CR in 1.1, NUL
    ///   everywhere. So no value can smuggle in a header or a frame.
    /// - A header with an empty name cannot be encoded and is left out.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.reserve(self.headers.encoded_len_hint() + self.body.len() + HEAD_ROOM);
        out.extend_from_slice(self.command.as_str().as_bytes());
        out.push(b'\n');
        let escaping = Escaping::of(self.command, version);
        write_headers(escaping, &self.headers, |name| name == CONTENT_LENGTH, out);
        if self.command.may_have_body() {
            write_body(&self.body, out);
        } else {
            out.extend_from_slice(b"\n\0");
        }
    }

    /// Encodes the frame into a buffer of its own.
    pub fn to_bytes(&self, version: Version) -> Bytes {
        let mut out = Vec::new();
        self.encode(version, &mut out);
        out.into()
    }
}

/// Appends everything of a MESSAGE except its head, which differs per subscription.
///
/// [`ServerConnection::message_head`] followed by this tail is one whole frame, so that the subscribers of a
/// destination share one encoded tail per version. The tail owns `message-id`, `destination` and `content-length`, and
/// the head owns `subscription`, `ack`, `redelivered` and `delivery-count`: headers of these names are left out.
/// Otherwise the rules of [`Frame::encode`] apply.
///
/// # Example: the shared part of a message
///
/// ```
/// use tramline_stomp::{Headers, Version, encode_message_tail};
///
/// let headers = Headers::from_iter([("content-type", "text/plain"), ("content-length", "99")]);
/// let mut tail = Vec::new();
/// encode_message_tail(Version::V1_1, "7-1", "/topic/a", &headers, b"hi", &mut tail);
/// assert_eq!(
///     tail,
///     b"message-id:7-1\ndestination:/topic/a\ncontent-type:text/plain\ncontent-length:2\n\nhi\0",
/// );
/// ```
///
/// [`ServerConnection::message_head`]: crate::ServerConnection::message_head
pub fn encode_message_tail(
    version: Version,
    message_id: &str,
    destination: &str,
    headers: &Headers,
    body: &[u8],
    out: &mut Vec<u8>,
) {
    out.reserve(
        message_id.len()
            + destination.len()
            + headers.encoded_len_hint()
            + body.len()
            + 2 * HEAD_ROOM,
    );
    let escaping = Escaping::of(Command::Message, version);
    write_header(escaping, "message-id", message_id, out);
    write_header(escaping, "destination", destination, out);
    write_headers(escaping, headers, is_message_header, out);
    write_body(body, out);
}

/// Returns true if a server writes this header of each MESSAGE itself, so that one of a message is left out.
pub fn is_message_header(name: &str) -> bool {
    matches!(
        name,
        "message-id"
            | "destination"
            | "subscription"
            | "ack"
            | "redelivered"
            | "delivery-count"
            | CONTENT_LENGTH
    )
}

/// Encodes the head of a MESSAGE for one subscription.
pub(crate) fn encode_message_head(version: Version, subscription: &str) -> Vec<u8> {
    const COMMAND: &[u8] = b"MESSAGE\n";
    let mut head = Vec::with_capacity(COMMAND.len() + "subscription:\n".len() + subscription.len());
    head.extend_from_slice(COMMAND);
    let escaping = Escaping::of(Command::Message, version);
    write_header(escaping, "subscription", subscription, &mut head);
    head
}

fn write_headers(
    escaping: Escaping,
    headers: &Headers,
    skip: impl Fn(&str) -> bool,
    out: &mut Vec<u8>,
) {
    for (name, value) in headers.iter() {
        if !name.is_empty() && !skip(name) {
            write_header(escaping, name, value, out);
        }
    }
}

fn write_header(escaping: Escaping, name: &str, value: &str, out: &mut Vec<u8>) {
    escaping.write_name(name, out);
    out.push(b':');
    escaping.write_value(value, out);
    out.push(b'\n');
}

/// Writes `content-length`, the blank line, the body and the closing NUL.
fn write_body(body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(CONTENT_LENGTH.as_bytes());
    out.push(b':');
    write_decimal(body.len() as u64, out);
    out.extend_from_slice(b"\n\n");
    out.extend_from_slice(body);
    out.push(0);
}

pub(crate) fn write_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(crate) const CONTENT_LENGTH: &str = "content-length";

/// Room for command, `content-length` line, blank line and NUL.
const HEAD_ROOM: usize = 56;

#[cfg(test)]
mod tests;
