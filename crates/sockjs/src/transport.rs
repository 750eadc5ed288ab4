//! The facts of each transport.

use std::fmt;

use crate::headers;

/// How the frames of a session travel: the last segment of a transport path.
///
/// Everything that differs between transports is a row in this type's tables; [`Session`](crate::Session) has no other
/// knowledge of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// `websocket`: SockJS frames as text messages of a WebSocket; both directions. The session lives exactly as long as
    /// the WebSocket, and two may bear the same session id (sockjs-protocol 0.3.3, "WebSocket protocols").
    WebSocket,
    /// `xhr`: long polling; each request gets one frame. Creates the session if it is new ("XhrPolling").
    Xhr,
    /// `xhr_send`: messages from the client, for all HTTP receivers. Never creates a session: unknown is 404.
    XhrSend,
    /// `xhr_streaming`: one response carries frames until the response limit ("XhrStreaming").
    XhrStreaming,
}

impl Transport {
    /// All transports that [`route`](crate::route) can answer with.
    pub const ALL: [Self; 4] = [
        Self::WebSocket,
        Self::Xhr,
        Self::XhrSend,
        Self::XhrStreaming,
    ];

    /// The name in the path.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Xhr => "xhr",
            Self::XhrSend => "xhr_send",
            Self::XhrStreaming => "xhr_streaming",
        }
    }

    /// The transport with this exact, lower-case name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.name() == name)
    }

    /// The only method, besides `OPTIONS`, that asks for this transport; any other gets 405 with [`allow`](Self::allow)
    /// and neither body nor content type.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::WebSocket => "GET",
            Self::Xhr | Self::XhrSend | Self::XhrStreaming => "POST",
        }
    }

    /// The value of `Allow` in a 405, and of `Access-Control-Allow-Methods` in the answer to `OPTIONS`.
    ///
    /// A WebSocket is not subject to CORS, so it answers no `OPTIONS` (see [`is_cors`](Self::is_cors)).
    #[must_use]
    pub const fn allow(self) -> &'static str {
        match self {
            Self::WebSocket => "GET",
            Self::Xhr | Self::XhrSend | Self::XhrStreaming => "OPTIONS, POST",
        }
    }

    /// Whether browsers ask by `OPTIONS` first, and answers carry CORS headers.
    #[must_use]
    pub const fn is_cors(self) -> bool {
        !matches!(self, Self::WebSocket)
    }

    /// Whether a request of this transport receives frames, and so goes to [`Session::attach`](crate::Session::attach).
    #[must_use]
    pub const fn is_receiver(self) -> bool {
        !matches!(self, Self::XhrSend)
    }

    /// The `Content-Type` of its successful answers, including the 204 of `xhr_send` (without one, Firefox takes the empty
    /// body for broken XML and says so). A WebSocket's 101 has none.
    #[must_use]
    pub const fn content_type(self) -> Option<&'static str> {
        match self {
            Self::WebSocket => None,
            Self::Xhr | Self::XhrStreaming => Some(headers::JAVASCRIPT),
            Self::XhrSend => Some(headers::TEXT),
        }
    }

    /// What its responses begin with, and wrap frames in.
    pub(crate) const fn framing(self) -> Framing {
        match self {
            Self::WebSocket => Framing {
                prelude: b"",
                suffix: b"",
                ends: Ends::WithConnection,
            },
            Self::Xhr | Self::XhrSend => Framing {
                prelude: b"",
                suffix: b"\n",
                ends: Ends::AfterFrame,
            },
            Self::XhrStreaming => Framing {
                prelude: STREAMING_PRELUDE,
                suffix: b"\n",
                ends: Ends::AtLimit,
            },
        }
    }
}

/// Prints the name in the path.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A transport's row: all that a session needs to know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    /// Sent once, before anything else.
    pub(crate) prelude: &'static [u8],
    /// Put behind every frame.
    pub(crate) suffix: &'static [u8],
    /// When we end the response.
    pub(crate) ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    AfterFrame,
    AtLimit,
    WithConnection,
}

/// 2048 `h` and a newline: browsers hold the first KiB or two of a response back before they show any of it.
const STREAMING_PRELUDE: &[u8] = &{
    let mut prelude = [b'h'; 2049];
    prelude[2048] = b'\n';
    prelude
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_allow_options_and_websocket_does_not() {
        for transport in Transport::ALL {
            assert_eq!(
                transport.allow().contains("OPTIONS"),
                transport.is_cors(),
                "{transport}"
            );
            assert!(
                transport.allow().ends_with(transport.method()),
                "{transport}"
            );
        }
        assert_eq!(Transport::Xhr.allow(), "OPTIONS, POST");
    }

    #[test]
    fn the_prelude_is_2048_h_and_a_newline() {
        let (newline, hs) = STREAMING_PRELUDE.split_last().unwrap();
        assert_eq!((*newline, hs.len()), (b'\n', 2048));
        assert!(hs.iter().all(|byte| *byte == b'h'));
    }
}
