//! Payloads from the client: a JSON array of strings.

use bytestring::ByteString;

/// Limits on one payload, checked before memory is allocated beyond them.
///
/// # Example: a stricter endpoint
///
/// ```
/// use tramline_sockjs::{PayloadError, PayloadLimits, parse_messages};
///
/// let mut limits = PayloadLimits::default();
/// limits.messages = 1;
/// assert_eq!(parse_messages(br#"["a","b"]"#, &limits), Err(PayloadError::TooManyMessages { limit: 1 }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PayloadLimits {
    /// Maximum bytes of the payload: 512 KiB. A STOMP frame with a 64 KiB body takes six times as much when each of its
    /// bytes is written `\u0000`; this leaves room for that and its headers.
    pub bytes: usize,
    /// Maximum messages in the payload: 4096. A client sends all messages that collected during its last request; an
    /// empty message costs its sender three bytes and us a [`ByteString`], ten times that.
    pub messages: usize,
    /// Maximum bytes of one message after unescaping; `None`, the default, for no limit but [`bytes`](Self::bytes): the
    /// content of a message, such as STOMP, has limits of its own. For messages that are used unparsed.
    pub message: Option<usize>,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self {
            bytes: 512 * 1024,
            messages: 4096,
            message: None,
        }
    }
}

/// A payload was refused; always the peer's fault.
///
/// `xhr_send` answers 413 to one that is too large and 500 to the rest, with the error's text, which for the first two
/// is what sockjs-protocol 0.3.3 requires ("XhrPolling", `test_invalid_json`). A WebSocket ignores
/// [`Empty`](Self::Empty), closes on [`BrokenJson`](Self::BrokenJson) without a SockJS close frame, and on the others
/// with one. A [message](Self::MessageTooLarge) that is too large ends its session on any transport: no later message
/// could replace it.
/// makes up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// No bytes at all.
    #[error("Payload expected.")]
    Empty,
    /// Not UTF-8, not JSON, or JSON but neither an array of strings nor a string.
    #[error("Broken JSON encoding.")]
    BrokenJson,
    /// More bytes than [`PayloadLimits::bytes`].
    #[error("Payload too large: {size} bytes, {limit} allowed.")]
    TooLarge {
        /// Bytes of the payload.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More messages than [`PayloadLimits::messages`].
    #[error("Too many messages in one payload: {limit} allowed.")]
    TooManyMessages {
        /// Messages allowed.
        limit: usize,
    },
    /// A message of more bytes than [`PayloadLimits::message`].
    #[error("Message too large: {size} bytes, {limit} allowed.")]
    MessageTooLarge {
        /// Bytes of the message without its escapes.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// Parses the messages in the body of an `xhr_send`, or in a text message of a `websocket`, in order.
///
/// A payload is a JSON array of strings, possibly empty. A single string counts as an array of one: the protocol leaves
/// the choice to the transport, and old clients sent their WebSocket messages that way. The request's content type is
/// ignored, because browsers cannot always set it ("XhrPolling", `test_content_types`).
///
/// JavaScript strings may hold half a surrogate pair, as when an emoji was cut in two. Rust's cannot, so each lone half
/// becomes U+FFFD: one wrong character is a smaller loss than the message, or the session.
///
/// Source: sockjs-protocol 0.3.3, "Framing accepted by the server".
///
/// # Errors
///
/// See [`PayloadError`]. A payload is accepted as a whole or not at all: with an error, none of its messages is
/// delivered.
///
/// # Example: an array, a string, nothing
///
/// ```
/// use tramline_sockjs::{PayloadError, PayloadLimits, parse_messages};
///
/// let limits = PayloadLimits::default();
/// assert_eq!(parse_messages(br#"["a","line\nend"]"#, &limits).unwrap(), ["a", "line\nend"]);
/// assert_eq!(parse_messages(br#""a""#, &limits).unwrap(), ["a"]);
/// assert_eq!(parse_messages(b"[]", &limits).unwrap(), [""; 0]);
/// assert_eq!(parse_messages(b"", &limits), Err(PayloadError::Empty));
/// ```
///
/// # Example: half a surrogate pair is replaced
///
/// ```
/// use tramline_sockjs::{PayloadLimits, parse_messages};
///
/// let messages = parse_messages(br#"["\ud83d\ude00 \ud83d"]"#, &PayloadLimits::default()).unwrap();
/// assert_eq!(messages, ["\u{1f600} \u{fffd}"]);
/// ```
pub fn parse_messages(
    payload: &[u8],
    limits: &PayloadLimits,
) -> Result<Vec<ByteString>, PayloadError> {
    if payload.is_empty() {
        return Err(PayloadError::Empty);
    }
    if payload.len() > limits.bytes {
        return Err(PayloadError::TooLarge {
            size: payload.len(),
            limit: limits.bytes,
        });
    }
    let text = std::str::from_utf8(payload).map_err(|_| PayloadError::BrokenJson)?;
    Reader { rest: text }.messages(limits)
}

/// Parses JSON from the front of `rest`.
///
/// A general JSON library refuses lone surrogates and would build every value that is not a string; arrays of strings
/// are simple enough to parse by hand.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn messages(mut self, limits: &PayloadLimits) -> Result<Vec<ByteString>, PayloadError> {
        let mut messages = Vec::new();
        self.skip_whitespace();
        if self.take('[') {
            self.skip_whitespace();
            let mut more = !self.take(']');
            while more {
                self.message_into(&mut messages, limits)?;
                more = self.take(',');
                if !more && !self.take(']') {
                    return Err(PayloadError::BrokenJson);
                }
                self.skip_whitespace();
            }
        } else {
            self.message_into(&mut messages, limits)?;
        }
        self.skip_whitespace();
        if self.rest.is_empty() {
            Ok(messages)
        } else {
            Err(PayloadError::BrokenJson)
        }
    }

    /// Parses one string, with the white space after it.
    fn message_into(
        &mut self,
        messages: &mut Vec<ByteString>,
        limits: &PayloadLimits,
    ) -> Result<(), PayloadError> {
        if messages.len() == limits.messages {
            let limit = limits.messages;
            return Err(PayloadError::TooManyMessages { limit });
        }
        let message = self.string().ok_or(PayloadError::BrokenJson)?;
        if let Some(limit) = limits.message.filter(|limit| message.len() > *limit) {
            let size = message.len();
            return Err(PayloadError::MessageTooLarge { size, limit });
        }
        messages.push(message.into());
        self.skip_whitespace();
        Ok(())
    }

    fn string(&mut self) -> Option<String> {
        if !self.take('"') {
            return None;
        }
        let mut text = String::new();
        loop {
            // All three kinds of byte are ASCII, so the cut is at a character boundary.
            let plain = self
                .rest
                .bytes()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
            let (head, rest) = self.rest.split_at(plain);
            text.push_str(head);
            self.rest = rest;
            if self.take('"') {
                return Some(text);
            }
            if !self.take('\\') {
                return None; // a raw control character
            }
            text.push(self.escape()?);
        }
    }

    /// Parses an escape after its backslash.
    fn escape(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let letter = characters.next()?;
        self.rest = characters.as_str();
        Some(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.hex4()?;
                self.with_second_half(unit)
            }
            _ => return None,
        })
    }

    /// Returns the character that starts with `unit`. A first half looks for its second in the next escape, and
    /// consumes nothing else.
    fn with_second_half(&mut self, unit: u16) -> char {
        let mut ahead = Reader { rest: self.rest };
        if (0xd800..0xdc00).contains(&unit)
            && ahead.take('\\')
            && ahead.take('u')
            && let Some(second) = ahead.hex4()
            && let Some(Ok(character)) = char::decode_utf16([unit, second]).next()
        {
            self.rest = ahead.rest;
            return character;
        }
        char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None; // from_str_radix would take a plus sign
        }
        self.rest = rest;
        u16::from_str_radix(digits, 16).ok()
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_whitespace(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(payload: &str) -> Result<Vec<String>, PayloadError> {
        let messages = parse_messages(payload.as_bytes(), &PayloadLimits::default())?;
        Ok(messages.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn arrays_strings_and_white_space() {
        assert_eq!(parse(r#" [ "a" , "b" ] "#).unwrap(), ["a", "b"]);
        assert_eq!(parse("\r\n\t\"a\" ").unwrap(), ["a"]);
        assert_eq!(parse("[ ]").unwrap(), [""; 0]);
        assert_eq!(parse(r#"[""]"#).unwrap(), [""]);
    }

    #[test]
    fn escapes() {
        assert_eq!(
            parse(r#"["\"\\\/\b\f\n\r\t\u0041\u00E9\u20ac"]"#).unwrap(),
            ["\"\\/\u{8}\u{c}\n\r\tAé€"]
        );
        assert_eq!(
            parse("\"\u{7f}é€😀\u{ffff}\"").unwrap(),
            ["\u{7f}é€😀\u{ffff}"]
        );
    }

    #[test]
    fn lone_surrogates_are_replaced_and_their_neighbours_kept() {
        assert_eq!(parse(r#""\ud83d\ude00""#).unwrap(), ["😀"]);
        assert_eq!(parse(r#""a\ud83db""#).unwrap(), ["a\u{fffd}b"]);
        assert_eq!(parse(r#""\ud83d\n""#).unwrap(), ["\u{fffd}\n"]);
        assert_eq!(parse(r#""\ud83d\u0041""#).unwrap(), ["\u{fffd}A"]);
        assert_eq!(parse(r#""\ude00\ud83d""#).unwrap(), ["\u{fffd}\u{fffd}"]);
        assert_eq!(parse(r#""\ud83d\ud83d\ude00""#).unwrap(), ["\u{fffd}😀"]);
    }

    #[test]
    fn broken_json_is_refused() {
        let broken = [
            r#"["x"#,
            r#"["x""#,
            r#"["x","#,
            r#"["x",]"#,
            r#"[,"x"]"#,
            "[",
            "]",
            " ",
            "x",
            "null",
            "[1]",
            r#"[["a"]]"#,
            r#"{"a":"b"}"#,
            r#"["a" "b"]"#,
            r#"["a"]]"#,
            r#"["a"]x"#,
            r#""a","b""#,
            r#""\x""#,
            r#""\u12""#,
            r#""\u+123""#,
            r#""\u00é""#,
            "\"a\nb\"",
            "\"\0\"",
            "\"\\",
            "['a']",
            "\u{a0}[]",
        ];
        for payload in broken {
            assert_eq!(parse(payload), Err(PayloadError::BrokenJson), "{payload}");
        }
        let limits = PayloadLimits::default();
        assert_eq!(
            parse_messages(b"[\"\xff\"]", &limits),
            Err(PayloadError::BrokenJson)
        );
    }

    #[test]
    fn limits_are_inclusive() {
        let limits = PayloadLimits {
            bytes: 10,
            messages: 2,
            message: None,
        };
        assert_eq!(parse_messages(br#"["a","bc"]"#, &limits).unwrap().len(), 2);
        assert_eq!(
            parse_messages(br#"["a","bcd"]"#, &limits),
            Err(PayloadError::TooLarge {
                size: 11,
                limit: 10
            })
        );
        assert_eq!(
            parse_messages(br#"["","",""]"#, &limits),
            Err(PayloadError::TooManyMessages { limit: 2 })
        );
    }

    #[test]
    fn a_message_counts_as_it_is_without_escapes() {
        let limits = PayloadLimits {
            message: Some(4),
            ..PayloadLimits::default()
        };
        let fits = br#"["\u0000\u0000\u0000\u0000","\ud83d\ude00"]"#;
        assert_eq!(parse_messages(fits, &limits).unwrap().len(), 2);
        for too_large in [
            "[\"abcde\"]",
            "\"\u{e4}\u{e4}x\"",
            r#"["a","\ud83d\ude00b"]"#,
        ] {
            assert_eq!(
                parse_messages(too_large.as_bytes(), &limits),
                Err(PayloadError::MessageTooLarge { size: 5, limit: 4 }),
                "{too_large}"
            );
        }
    }

    #[test]
    fn texts_are_those_of_the_script() {
        assert_eq!(PayloadError::Empty.to_string(), "Payload expected.");
        assert_eq!(
            PayloadError::BrokenJson.to_string(),
            "Broken JSON encoding."
        );
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(messages in prop::collection::vec(any::<String>(), 0..8)) {
            prop_assert_eq!(parse(&serde_json::to_string(&messages).unwrap()).unwrap(), messages);
        }

        #[test]
        fn reads_what_the_frame_writer_writes(messages in prop::collection::vec(any::<String>(), 0..8)) {
            let mut frame = Vec::new();
            crate::frame::message_array(&mut frame, messages.iter().map(String::as_str));
            prop_assert_eq!(parse(std::str::from_utf8(&frame[1..]).unwrap()).unwrap(), messages);
        }

        #[test]
        fn agrees_with_serde_json_on_anything(payload in r#"[\[\]", a-c\\u0-9é]{0,24}"#) {
            let ours = parse(&payload);
            let theirs = serde_json::from_str::<Vec<String>>(&payload)
                .or_else(|_| serde_json::from_str::<String>(&payload).map(|text| vec![text]));
            if let Ok(theirs) = theirs {
                prop_assert_eq!(ours.unwrap(), theirs);
            } else if !payload.contains("\\u") && !payload.is_empty() {
                prop_assert_eq!(ours, Err(PayloadError::BrokenJson));
            }
        }

        #[test]
        fn never_panics(payload: Vec<u8>) {
            let _ = parse_messages(&payload, &PayloadLimits::default());
        }
    }
}
