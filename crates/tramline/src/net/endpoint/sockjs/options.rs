//! What an endpoint's SockJS may be told.

use std::time::Duration;

use bytestring::ByteString;
use tramline_sockjs::{Config, OnAbort, Transport};

/// How an endpoint speaks SockJS: give it to [`Endpoint::sockjs`](crate::endpoint::Endpoint::sockjs).
///
/// The defaults are Spring's; each option names Spring's own in its text.
///
/// # Rules
///
/// - A session belongs to who opened it. A request for it by another user, or by none, hears 404, as if there were no such
///   session. Sessions without a user are held by their name alone, which the client made up and keeps to itself; they are
///   not held to an address, since phones change theirs between two polls.
/// - What a page of another origin may do is decided by
///   [`allowed_origins`](crate::MessagingBuilder::allowed_origins) on every request. A browser says which page it asks for;
///   for the transports `htmlfile` and `jsonp` it does so by `Referer` or `Sec-Fetch-Site` only, and where it says nothing
///   at all these hear 403, unless all origins are allowed. The iframe page may be embedded by the same pages.
/// - A session whose client reads slowly keeps what waits in its outbox, under [`Limits::outbox`](crate::Limits::outbox)
///   and its policy, as over WebSocket.
///
/// # Memory
///
/// An idle session over HTTP takes some 2 KiB and no buffer. Outward it holds at most its outbox, beside 64 KiB or
/// [`message_cache`](Self::message_cache) messages that are ready to go, whichever is less, and what one write adds to that
/// (64 messages or 64 KiB, escaped); a client that is not fetching them is closed with 4500. Inward it holds at most 64 KiB
/// and one request's messages; further requests wait with their clients, unread, and a body
/// has [`body_time`](Self::body_time) to arrive. Sessions that are opened and abandoned are gone
/// after twice [`disconnect_delay`](Self::disconnect_delay), and there are never more than
/// [`max_sessions`](Self::max_sessions).
///
/// # Example: streams of 1 MiB, and no transport by which another page's scripts are run
///
/// ```
/// use tramline::endpoint::SockJsTransport;
/// use tramline::SockJs;
/// # fn endpoint(messaging: tramline::Messaging) -> tramline::endpoint::Endpoint {
/// messaging.endpoint().sockjs(
///     SockJs::default()
///         .response_limit(1024 * 1024)
///         .transports([
///             SockJsTransport::WebSocket,
///             SockJsTransport::XhrStreaming,
///             SockJsTransport::Xhr,
///         ]),
/// )
/// # }
/// # let _ = endpoint;
/// ```
#[derive(Clone, Debug)]
#[must_use = "give it to `Endpoint::sockjs`"]
pub struct SockJs {
    pub(super) config: Config,
    pub(super) transports: Vec<Transport>,
    pub(super) client_library_url: ByteString,
    pub(super) cors: bool,
    pub(super) session_cookie: bool,
    pub(super) message_cache: usize,
    pub(super) max_sessions: usize,
    pub(super) body_time: Duration,
}

impl Default for SockJs {
    fn default() -> Self {
        Self {
            config: Config::default(),
            transports: Transport::ALL.to_vec(),
            client_library_url: ByteString::from_static(
                "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js",
            ),
            cors: true,
            session_cookie: false,
            message_cache: 100,
            max_sessions: 100_000,
            body_time: Duration::from_secs(30),
        }
    }
}

impl SockJs {
    /// The ways that clients may take; others hear 404, and clients go on to the next. Default: all.
    ///
    /// `xhr_send` comes with `xhr`, `xhr_streaming`, `eventsource` and `htmlfile`, and `jsonp_send` with `jsonp`, named or
    /// not. Spring's `transportHandlers`; it has no `jsonp` any more.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.transports = transports.into_iter().collect();
        self
    }

    /// Whether clients may use WebSocket, by SockJS's `websocket` and at `…/websocket`; `/info` says so. Default: yes. No is
    /// for places where it is known to break. Spring's `webSocketEnabled`.
    pub fn websocket(mut self, enabled: bool) -> Self {
        self.config.websocket = enabled;
        self
    }

    /// How long a receiving client may hear nothing before it gets a heart-beat frame; zero for none. Default: 25 s, the
    /// protocol's number, since load balancers commonly cut connections that are silent for 30 s. Sessions in which STOMP
    /// agreed on heart-beats of its own send none. Spring's `heartbeatTime`.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.config.heartbeat = every;
        self
    }

    /// How long a session lives without a receiving request, and how long a closed one is remembered. Default: 5 s, the
    /// protocol's number; a polling client comes back within a round trip. Requests that send keep no session alive: what
    /// it has to say could not reach such a client. Spring's `disconnectDelay`.
    pub fn disconnect_delay(mut self, delay: Duration) -> Self {
        self.config.disconnect_delay = delay;
        self
    }

    /// Bytes that one streaming response carries before the client has to ask anew. Default: 131,072; a browser keeps all of
    /// a response until it ends. A message is never split. Spring's `streamBytesLimit`.
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.config.response_limit = bytes;
        self
    }

    /// Messages that wait, ready to go, for the next receiving request. Default: 100, Spring's `httpMessageCacheSize`.
    /// Beyond it they wait in the session's outbox, where [`Limits::outbox`](crate::Limits::outbox) counts them; Spring ends
    /// the session. What is sent in one go is not split, so some tens more may come to wait here.
    pub fn message_cache(mut self, messages: usize) -> Self {
        self.message_cache = messages;
        self
    }

    /// Sessions over HTTP requests that the endpoint holds at a time, the closed ones that it remembers included. Default:
    /// 100,000. A request for one more hears 503 and is counted. Such a session needs no open connection, so nothing else
    /// bounds how many a stranger can open within [`disconnect_delay`](Self::disconnect_delay); an abandoned one takes some
    /// 2 KiB. Sessions over WebSocket do not count.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// How long the body of a request that sends may take to arrive. Default: 30 s, in which the largest body passes at
    /// 140 kbit/s, slower than any phone of today. Beyond it the client hears 408 and is counted: until then each such
    /// request holds what has come of its body, 524,288 bytes at most, and those behind it in its session wait. The session's
    /// end ends it too.
    pub fn body_time(mut self, time: Duration) -> Self {
        self.body_time = time;
        self
    }

    /// Whether `/info` tells clients that cookies are needed, so that they use only what sends them. Default: yes, because
    /// all requests of a session must come to the same server, and load balancers see to that by a cookie. Spring's
    /// `sessionCookieNeeded`.
    pub fn cookie_needed(mut self, needed: bool) -> Self {
        self.config.cookie_needed = needed;
        self
    }

    /// Whether the answers of HTTP transports set the cookie `JSESSIONID`, as the request brought it or else as `dummy`:
    /// for load balancers that keep a client on a server by that very cookie. Default: no. Not for applications that have a
    /// `JSESSIONID` of their own, since setting it again loses its `HttpOnly` and `Secure`.
    pub fn session_cookie(mut self, set: bool) -> Self {
        self.session_cookie = set;
        self
    }

    /// Where the iframe page finds the client library: an absolute URL, or a path that begins with a slash. It must suit the
    /// library that the pages use. Default: `sockjs-client` 1 at jsdelivr, as Spring's `clientLibraryUrl`; serve it
    /// yourself where strangers' scripts are not welcome.
    pub fn client_library_url(mut self, url: impl Into<ByteString>) -> Self {
        self.client_library_url = url.into();
        self
    }

    /// Whether answers have CORS headers. Default: yes. No is for applications that set them elsewhere, such as in a CORS
    /// layer; origins are checked all the same. Spring's `suppressCors`, the other way round.
    pub fn cors(mut self, enabled: bool) -> Self {
        self.cors = enabled;
        self
    }

    /// What becomes of a session whose receiving request was cut off. Default: [`OnAbort::Close`], as the protocol's script
    /// has it, so that no gap goes unnoticed.
    pub fn on_abort(mut self, on_abort: OnAbort) -> Self {
        self.config.on_abort = on_abort;
        self
    }

    /// Whether requests of this transport are answered.
    pub(super) fn offers(&self, transport: Transport) -> bool {
        let any = |of: &[Transport]| of.iter().any(|one| self.transports.contains(one));
        match transport {
            Transport::WebSocket => self.config.websocket && any(&[transport]),
            Transport::XhrSend => any(&[
                Transport::Xhr,
                Transport::XhrStreaming,
                Transport::EventSource,
                Transport::HtmlFile,
            ]),
            Transport::JsonpSend => any(&[Transport::Jsonp]),
            _ => any(&[transport]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sends_comes_with_what_receives() {
        let all = SockJs::default();
        assert!(Transport::ALL.iter().all(|one| all.offers(*one)));
        assert!(!all.websocket(false).offers(Transport::WebSocket));

        let streams = SockJs::default().transports([Transport::EventSource]);
        let offered = |options: &SockJs| {
            Transport::ALL.map(|one| if options.offers(one) { one.name() } else { "" })
        };
        let offers = offered(&streams).concat();
        assert_eq!(offers, "xhr_sendeventsource");
        assert_eq!(
            offered(&SockJs::default().transports([Transport::Jsonp])).concat(),
            "jsonpjsonp_send"
        );
        let senders = SockJs::default().transports([Transport::XhrSend, Transport::JsonpSend]);
        assert_eq!(offered(&senders).concat(), "");
    }
}
