//! SockJS frames, from server to client.
//!
//! | Frame | Means |
//! |---|---|
//! | `o` | open: the session exists |
//! | `h` | heartbeat: the session is alive |
//! | `a["one","two"]` | messages, in order |
//! | `c[3000,"Go away!"]` | closed, with a code and a reason |
//!
//! The frames here are bare, as a WebSocket carries them, one per text message; [`SockJsSession`](crate::SockJsSession) adds the
//! framing of HTTP transports. Source: sockjs-protocol 0.3.3, "Protocol and framing".

mod escape;

pub use escape::escape_into;

/// The open frame, the first of every session.
pub const OPEN: &[u8] = b"o";

/// The heartbeat frame.
pub const HEARTBEAT: &[u8] = b"h";

/// Code and reason of an ordinary end, for servers whose application gives no other.
pub const GO_AWAY: (u16, &str) = (3000, "Go away!");

/// Code and reason for a second receiver on a session that has one.
pub const STILL_OPEN: (u16, &str) = (2010, "Another connection still open");

/// Code and reason after a receiver was cut off; see [`OnAbort::Close`](crate::OnAbort::Close).
pub const INTERRUPTED: (u16, &str) = (1002, "Connection interrupted");

/// The close frame.
///
/// `sockjs-client` reports code and reason to the application unchanged. The reason is escaped, so it may be any text.
///
/// # Example: the usual one, and a reason with quotes
///
/// ```
/// use tramline_sockjs::frame;
///
/// assert_eq!(frame::close(3000, "Go away!"), br#"c[3000,"Go away!"]"#);
/// assert_eq!(frame::close(4001, r#"no "guests""#), br#"c[4001,"no \"guests\""]"#);
/// ```
#[must_use]
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = format!("c[{code},\"").into_bytes();
    escape_into(&mut frame, reason);
    frame.extend_from_slice(b"\"]");
    frame
}

/// Appends one message frame with all of `messages`.
///
/// # Example: two messages
///
/// ```
/// use tramline_sockjs::frame;
///
/// let mut out = Vec::new();
/// frame::message_array(&mut out, ["one", "t\"w\"o"]);
/// assert_eq!(out, br#"a["one","t\"w\"o"]"#);
/// ```
pub fn message_array<'a>(out: &mut Vec<u8>, messages: impl IntoIterator<Item = &'a str>) {
    out.extend_from_slice(b"a[");
    for (index, message) in messages.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'"');
        escape_into(out, message);
        out.push(b'"');
    }
    out.push(b']');
}

/// Appends one message frame with one message, whose text is the concatenation of `escaped_parts`, each the output of
/// [`escape_into`].
///
/// With it, one escaped tail, shared by many sessions, follows the head of each.
///
/// # Example: private head, shared tail
///
/// ```
/// use tramline_sockjs::frame;
///
/// let (mut head, mut tail) = (Vec::new(), Vec::new());
/// frame::escape_into(&mut head, "to:alice\n");
/// frame::escape_into(&mut tail, "\nhello");
///
/// let mut out = Vec::new();
/// frame::escaped_message(&mut out, &[&head, &tail]);
/// assert_eq!(out, br#"a["to:alice\n\nhello"]"#);
/// ```
pub fn escaped_message(out: &mut Vec<u8>, escaped_parts: &[&[u8]]) {
    out.reserve(6 + escaped_parts.iter().map(|part| part.len()).sum::<usize>());
    out.extend_from_slice(b"a[\"");
    for part in escaped_parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\"]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_messages_make_an_empty_array() {
        let mut out = Vec::new();
        message_array(&mut out, []);
        assert_eq!(out, b"a[]");
    }

    #[test]
    fn the_well_known_closes() {
        let frame = |(code, reason)| String::from_utf8(close(code, reason)).unwrap();
        assert_eq!(frame(GO_AWAY), r#"c[3000,"Go away!"]"#);
        assert_eq!(
            frame(STILL_OPEN),
            r#"c[2010,"Another connection still open"]"#
        );
        assert_eq!(frame(INTERRUPTED), r#"c[1002,"Connection interrupted"]"#);
    }

    #[test]
    fn one_escaped_message_is_an_array_of_one() {
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        message_array(&mut whole, ["abc"]);
        escaped_message(&mut parts, &[b"a", b"", b"bc"]);
        assert_eq!(whole, parts);
    }
}
