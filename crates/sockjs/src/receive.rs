//! The framing of each transport's responses.

use crate::form::form_field;
use crate::transport::Transport;

/// A receiving request: its transport, with the request's options for its frames. Created by [`Transport::receive`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receive {
    /// Bare frames, each a message.
    WebSocket,
    /// One frame and a newline.
    Xhr,
    /// A prelude of 2048 `h` and a newline, then frames, each with a newline.
    XhrStreaming,
    /// An empty line, then an event for each frame.
    EventSource,
    /// A page of at least 1 KiB that calls the callback's `start`, then a script element for each frame.
    HtmlFile(Callback),
    /// One call of the callback.
    Jsonp(Callback),
}

/// The name of a JavaScript function of the requesting page, from its query: letters, digits, `-`, `_` and `.`, so that
/// it can be put into a script unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback(Box<str>);

/// Maximum length of a callback in bytes: 128. `sockjs-client` makes `_jp.` and eight characters; a session keeps it
/// while its request waits.
pub const MAX_CALLBACK_LEN: usize = 128;

/// A query's callback was refused; always the peer's fault. sockjs-protocol requires these texts ("JsonPolling",
/// `test_no_callback` and `test_invalid_callback`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// There is no `c` in the query, or it is empty.
    #[error("\"callback\" parameter required")]
    Missing,
    /// It has characters other than letters, digits, `-`, `_` and `.`.
    #[error("invalid \"callback\" parameter")]
    Invalid,
    /// It is longer than [`MAX_CALLBACK_LEN`].
    #[error("invalid \"callback\" parameter: {len} bytes, {MAX_CALLBACK_LEN} allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl Callback {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn from_query(query: &str) -> Result<Self, CallbackError> {
        let name = form_field(query.as_bytes(), "c").unwrap_or_default();
        if name.is_empty() {
            return Err(CallbackError::Missing);
        }
        if name.len() > MAX_CALLBACK_LEN {
            return Err(CallbackError::TooLong { len: name.len() });
        }
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        match std::str::from_utf8(&name) {
            Ok(text) if name.iter().all(allowed) => Ok(Self(text.into())),
            _ => Err(CallbackError::Invalid),
        }
    }
}

/// When a response ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    AfterFrame,
    AtLimit,
    WithConnection,
}

impl Receive {
    /// The transport of the request.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Self::WebSocket => Transport::WebSocket,
            Self::Xhr => Transport::Xhr,
            Self::XhrStreaming => Transport::XhrStreaming,
            Self::EventSource => Transport::EventSource,
            Self::HtmlFile(_) => Transport::HtmlFile,
            Self::Jsonp(_) => Transport::Jsonp,
        }
    }

    pub(crate) const fn ends(&self) -> Ends {
        match self {
            Self::WebSocket => Ends::WithConnection,
            Self::Xhr | Self::Jsonp(_) => Ends::AfterFrame,
            Self::XhrStreaming | Self::EventSource | Self::HtmlFile(_) => Ends::AtLimit,
        }
    }

    /// Appends the prelude, once before the first frame. Browsers buffer the first KiB or two of a response before they
    /// show any of it, hence the padding.
    pub(crate) fn prelude_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket | Self::Xhr | Self::Jsonp(_) => {}
            Self::XhrStreaming => {
                out.resize(out.len() + 2048, b'h');
                out.push(b'\n');
            }
            Self::EventSource => out.extend_from_slice(b"\r\n"),
            Self::HtmlFile(callback) => {
                let begin = out.len();
                for piece in [HTML_BEFORE_CALLBACK, callback.as_str(), HTML_AFTER_CALLBACK] {
                    out.extend_from_slice(piece.as_bytes());
                }
                out.resize(out.len().max(begin + 1024), b' ');
                out.extend_from_slice(b"\r\n\r\n");
            }
        }
    }

    /// Appends the text before a frame.
    pub(crate) fn prefix_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket | Self::Xhr | Self::XhrStreaming => {}
            Self::EventSource => out.extend_from_slice(b"data: "),
            Self::HtmlFile(_) => out.extend_from_slice(b"<script>\np(\""),
            Self::Jsonp(callback) => {
                // The comment keeps a callback from being the first bytes of a file of another kind (Rosetta Flash).
                out.extend_from_slice(b"/**/");
                out.extend_from_slice(callback.as_str().as_bytes());
                out.extend_from_slice(b"(\"");
            }
        }
    }

    /// Appends a part of a frame.
    pub(crate) fn part_into(&self, part: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::WebSocket | Self::Xhr | Self::XhrStreaming => out.extend_from_slice(part),
            Self::EventSource => escape_into(part, out, for_event),
            Self::HtmlFile(_) | Self::Jsonp(_) => escape_into(part, out, for_script),
        }
    }

    /// Appends the text after a frame.
    pub(crate) fn suffix_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self {
            Self::WebSocket => b"",
            Self::Xhr | Self::XhrStreaming => b"\n",
            Self::EventSource => b"\r\n\r\n",
            Self::HtmlFile(_) => b"\");\n</script>\r\n",
            Self::Jsonp(_) => b"\");\r\n",
        });
    }
}

const HTML_BEFORE_CALLBACK: &str = r#"<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent."#;

const HTML_AFTER_CALLBACK: &str = ";
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>
";

/// Appends a part of a frame with some of its bytes replaced.
fn escape_into(part: &[u8], out: &mut Vec<u8>, escape: fn(u8) -> Option<&'static [u8]>) {
    out.reserve(part.len());
    let mut rest = part;
    while let Some((at, escaped)) = rest
        .iter()
        .enumerate()
        .find_map(|(at, byte)| Some((at, escape(*byte)?)))
    {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(escaped);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// `sockjs-client` decodes percent escapes in events (1.5 and 1.6 with `decodeURI`, which throws at a bare percent
/// sign), and other clients do not. A frame has percent signs in its strings only, so a JSON escape works for both.
fn for_event(byte: u8) -> Option<&'static [u8]> {
    (byte == b'%').then_some(br"\u0025")
}

/// For JavaScript strings in a script element: frames are JSON of our own making, in which line ends and control
/// characters are escaped already. What is left is quote and backslash, and the sign that could begin `</script>` or
/// `<!--`.
fn for_script(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'"' => Some(br#"\""#),
        b'\\' => Some(br"\\"),
        b'<' => Some(br"\u003c"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame;

    fn callback(name: &str) -> Callback {
        Callback::from_query(&format!("c={name}")).unwrap()
    }

    fn framed(receive: &Receive, frame: &[u8]) -> String {
        let mut out = Vec::new();
        receive.prefix_into(&mut out);
        receive.part_into(frame, &mut out);
        receive.suffix_into(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn prelude(receive: &Receive) -> String {
        let mut out = b"before".to_vec();
        receive.prelude_into(&mut out);
        String::from_utf8(out).unwrap()["before".len()..].to_owned()
    }

    // The `test_transport` of each transport's class in sockjs-protocol
    #[test]
    fn each_transport_wraps_frames_in_its_way() {
        let cases = [
            (Receive::WebSocket, r#"a["x"]"#),
            (Receive::Xhr, "a[\"x\"]\n"),
            (Receive::XhrStreaming, "a[\"x\"]\n"),
            (Receive::EventSource, "data: a[\"x\"]\r\n\r\n"),
            (
                Receive::HtmlFile(callback("callback")),
                "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n",
            ),
            (
                Receive::Jsonp(callback("callback")),
                "/**/callback(\"a[\\\"x\\\"]\");\r\n",
            ),
        ];
        for (receive, expected) in cases {
            assert_eq!(framed(&receive, br#"a["x"]"#), expected, "{receive:?}");
        }
    }

    #[test]
    fn preludes() {
        for receive in [
            Receive::WebSocket,
            Receive::Xhr,
            Receive::Jsonp(callback("x")),
        ] {
            assert_eq!(prelude(&receive), "");
        }
        assert_eq!(prelude(&Receive::EventSource), "\r\n");
        assert_eq!(prelude(&Receive::XhrStreaming), "h".repeat(2048) + "\n");
        let page = prelude(&Receive::HtmlFile(callback("_jp.x-1")));
        assert!(page.len() > 1024);
        assert!(page.contains("var c = parent._jp.x-1;\n    c.start();"));
        let long = prelude(&Receive::HtmlFile(callback(&"x".repeat(MAX_CALLBACK_LEN))));
        assert!(long.len() > 1024);
    }

    // sockjs-protocol, HtmlFile.test_invalid_callback
    #[test]
    fn callbacks_are_names() {
        for (query, name) in [
            ("c=%63allback", "callback"),
            ("t=1&c=_jp.a3-B", "_jp.a3-B"),
            ("c=1", "1"),
        ] {
            assert_eq!(Callback::from_query(query).unwrap().as_str(), name);
        }
        for query in ["", "c", "c=", "C=x", "callback=x"] {
            assert_eq!(Callback::from_query(query), Err(CallbackError::Missing));
        }
        for query in [
            "c=%20", "c=*", "c=abc(", "c=abc%28", "c=a+b", "c=%ff", "c=é",
        ] {
            assert_eq!(Callback::from_query(query), Err(CallbackError::Invalid));
        }
        let long = "x".repeat(MAX_CALLBACK_LEN + 1);
        let error = Callback::from_query(&format!("c={long}")).unwrap_err();
        assert_eq!(error, CallbackError::TooLong { len: 129 });
        assert_eq!(
            error.to_string(),
            "invalid \"callback\" parameter: 129 bytes, 128 allowed"
        );
    }

    #[test]
    fn no_message_ends_its_script_element() {
        let mut bare = Vec::new();
        frame::message_array(&mut bare, ["</script><!--<script>"]);
        let html = framed(&Receive::HtmlFile(callback("x")), &bare);
        assert_eq!(html.matches('<').count(), 2, "{html}");
    }

    proptest! {
        /// Raw and percent-decoded, the event's data is the same: it has no percent sign.
        #[test]
        fn an_event_has_no_percent_sign_and_the_same_messages(messages: Vec<String>) {
            let mut bare = Vec::new();
            let spiteful = messages.iter().map(|text| format!("%{text}%20\\%"));
            let messages: Vec<String> = spiteful.collect();
            frame::message_array(&mut bare, messages.iter().map(String::as_str));
            let event = framed(&Receive::EventSource, &bare);
            prop_assert!(!event.contains('%'), "{event}");
            let data = event.strip_prefix("data: a").unwrap().trim_end();
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(data).unwrap(), messages);
        }

        /// A JSON parser reads the script's string as JavaScript does: all its escapes are also JSON's.
        #[test]
        fn a_script_reads_the_frame_that_was_written(messages: Vec<String>) {
            let mut bare = Vec::new();
            frame::message_array(&mut bare, messages.iter().map(String::as_str));
            for receive in [Receive::HtmlFile(callback("x")), Receive::Jsonp(callback("x"))] {
                let script = framed(&receive, &bare);
                let string = &script[script.find('"').unwrap()..=script.rfind('"').unwrap()];
                let read: String = serde_json::from_str(string).unwrap();
                prop_assert_eq!(read.as_bytes(), &bare);
                let unsafe_in_scripts = ['<', '\n', '\r', '\u{2028}', '\u{2029}'];
                prop_assert!(!string.contains(unsafe_in_scripts));
            }
        }

        #[test]
        fn parts_may_be_wrapped_apart(text: String, at: prop::sample::Index) {
            let (bytes, receive) = (text.as_bytes(), Receive::Jsonp(callback("x")));
            let (head, tail) = bytes.split_at(at.index(bytes.len() + 1));
            let (mut parts, mut whole) = (Vec::new(), Vec::new());
            receive.part_into(head, &mut parts);
            receive.part_into(tail, &mut parts);
            receive.part_into(bytes, &mut whole);
            prop_assert_eq!(parts, whole);
        }
    }
}
