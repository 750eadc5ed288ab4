//! The properties of each transport.

use std::fmt;

use crate::headers;
use crate::receive::{Callback, CallbackError, Receive};

/// The transport of a session's frames: the last segment of a transport path.
///
/// The tables of this type hold everything that a server needs to know of a transport, together with those of
/// [`Receive`] for the framing in its responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// `websocket`: SockJS frames as text messages of a WebSocket; both directions. The session lives exactly as long
    /// as the WebSocket, and two may have the same session id ("WebSocket protocols").
    WebSocket,
    /// `xhr`: long polling; each request gets one frame. Creates the session if it is new ("XhrPolling").
    Xhr,
    /// `xhr_send`: messages from the client, for all HTTP receivers but `jsonp`. Never creates a session: an unknown
    /// one is 404.
    XhrSend,
    /// `xhr_streaming`: one response carries frames until the response limit ("XhrStreaming").
    XhrStreaming,
    /// `eventsource`: frames as server-sent events, until the response limit ("EventSource").
    EventSource,
    /// `htmlfile`: frames as script elements of an endless page in a hidden frame, until the response limit
    /// ("HtmlFile"). For Internet Explorer, which shows other responses only after their end.
    HtmlFile,
    /// `jsonp`: long polling by script elements, for browsers that cannot send requests across origins ("JsonPolling").
    Jsonp,
    /// `jsonp_send`: messages from the client, in a form's field `d`; otherwise like [`XhrSend`](Self::XhrSend).
    JsonpSend,
}

impl Transport {
    /// All transports that [`route`](crate::route) can return.
    pub const ALL: [Self; 8] = [
        Self::WebSocket,
        Self::Xhr,
        Self::XhrSend,
        Self::XhrStreaming,
        Self::EventSource,
        Self::HtmlFile,
        Self::Jsonp,
        Self::JsonpSend,
    ];

    /// The name in the path.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Xhr => "xhr",
            Self::XhrSend => "xhr_send",
            Self::XhrStreaming => "xhr_streaming",
            Self::EventSource => "eventsource",
            Self::HtmlFile => "htmlfile",
            Self::Jsonp => "jsonp",
            Self::JsonpSend => "jsonp_send",
        }
    }

    /// The transport with this exact, lower-case name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.name() == name)
    }

    /// The transport's only method, besides `OPTIONS`; answer any other with 405 and [`allow`](Self::allow), with
    /// neither body nor content type.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::WebSocket | Self::EventSource | Self::HtmlFile | Self::Jsonp => "GET",
            Self::Xhr | Self::XhrSend | Self::XhrStreaming | Self::JsonpSend => "POST",
        }
    }

    /// The value of `Allow` in a 405, and of `Access-Control-Allow-Methods` in the answer to `OPTIONS`.
    #[must_use]
    pub const fn allow(self) -> &'static str {
        match self {
            Self::WebSocket | Self::EventSource | Self::HtmlFile | Self::Jsonp => "GET",
            Self::JsonpSend => "POST",
            Self::Xhr | Self::XhrSend | Self::XhrStreaming => "OPTIONS, POST",
        }
    }

    /// Returns true if browsers may send `OPTIONS` first. Only an `XMLHttpRequest` does.
    #[must_use]
    pub const fn is_preflighted(self) -> bool {
        matches!(self, Self::Xhr | Self::XhrSend | Self::XhrStreaming)
    }

    /// Returns true if answers need CORS headers: if a script of another origin reads them, as an `XMLHttpRequest` or
    /// an `EventSource` does. A WebSocket is not subject to CORS; `htmlfile` and `jsonp` were designed to work without.
    #[must_use]
    pub const fn is_cors(self) -> bool {
        self.is_preflighted() || matches!(self, Self::EventSource)
    }

    /// Returns true if a browser sends a script's [origin](https://www.rfc-editor.org/rfc/rfc6454) with each of its
    /// requests.
    ///
    /// It does not for `htmlfile` and `jsonp`, which it fetches like any frame and any script element: without an
    /// `Origin`, and with the visitor's cookies. A server that restricts origins must check another header (`Referer`,
    /// `Sec-Fetch-Site`) or not offer them: with `jsonp` the page of any stranger could act as its visitor.
    #[must_use]
    pub const fn names_origin(self) -> bool {
        !matches!(self, Self::HtmlFile | Self::Jsonp)
    }

    /// The `Content-Type` of its successful answers, including the 204 of `xhr_send` (without one, Firefox parses the
    /// empty body as XML and logs an error). A WebSocket's 101 has none.
    #[must_use]
    pub const fn content_type(self) -> Option<&'static str> {
        match self {
            Self::WebSocket => None,
            Self::Xhr | Self::XhrStreaming | Self::Jsonp => Some(headers::JAVASCRIPT),
            Self::XhrSend | Self::JsonpSend => Some(headers::TEXT),
            Self::EventSource => Some(headers::EVENT_STREAM),
            Self::HtmlFile => Some(headers::HTML),
        }
    }

    /// Returns the framing for a request of this transport, for [`SockJsSession::attach`](crate::SockJsSession::attach). `None` for
    /// sending transports.
    ///
    /// `query` is the request's, without the question mark; `htmlfile` and `jsonp` have their callback there, as `c`.
    ///
    /// # Errors
    ///
    /// [`CallbackError`], the peer's fault: answer 500 with the error's text, before creating a session.
    ///
    /// # Example: a callback where one is required
    ///
    /// ```
    /// use tramline_sockjs::{CallbackError, Receive, Transport};
    ///
    /// assert_eq!(Transport::Xhr.receive(""), Some(Ok(Receive::Xhr)));
    /// assert_eq!(Transport::XhrSend.receive(""), None);
    ///
    /// let Some(Ok(Receive::Jsonp(callback))) = Transport::Jsonp.receive("t=1&c=%63allback") else { panic!() };
    /// assert_eq!(callback.as_str(), "callback");
    /// assert_eq!(Transport::Jsonp.receive("t=1"), Some(Err(CallbackError::Missing)));
    /// assert_eq!(Transport::Jsonp.receive("c=alert(1)"), Some(Err(CallbackError::Invalid)));
    /// ```
    #[must_use]
    pub fn receive(self, query: &str) -> Option<Result<Receive, CallbackError>> {
        Some(match self {
            Self::XhrSend | Self::JsonpSend => return None,
            Self::WebSocket => Ok(Receive::WebSocket),
            Self::Xhr => Ok(Receive::Xhr),
            Self::XhrStreaming => Ok(Receive::XhrStreaming),
            Self::EventSource => Ok(Receive::EventSource),
            Self::HtmlFile => Callback::from_query(query).map(Receive::HtmlFile),
            Self::Jsonp => Callback::from_query(query).map(Receive::Jsonp),
        })
    }
}

/// Displays the name in the path.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_the_method_and_options_where_browsers_ask_first() {
        for transport in Transport::ALL {
            assert_eq!(
                transport.allow().contains("OPTIONS"),
                transport.is_preflighted(),
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
    fn each_transport_either_sends_or_receives() {
        for transport in Transport::ALL {
            let sends = transport.name().ends_with("_send");
            assert_eq!(transport.receive("c=x").is_none(), sends, "{transport}");
        }
    }
}
