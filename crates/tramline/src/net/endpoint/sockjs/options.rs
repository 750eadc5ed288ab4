//! The SockJS options of an endpoint.

use std::time::Duration;

use bytestring::ByteString;
use tramline_sockjs::{Config, OnAbort, Transport};

/// SockJS options of an endpoint, for [`Endpoint::sockjs`](crate::endpoint::Endpoint::sockjs).
///
/// The defaults are Spring's; each option names Spring's own in its text.
///
/// # Rules
///
/// - A session belongs to the user who opened it. A request for it by another user, or by none, receives 404, as if
///   there were no such session. A session without a user is protected by its name alone, which the client made up and
///   keeps secret; it is not bound to an address, since phones change theirs between two polls. An address that has asked
///   for 100 sessions that are not there within 10 s reaches only those that were opened from it, and those of its
///   users; other requests receive 429.
/// - [`allowed_origins`](crate::MessagingBuilder::allowed_origins) applies to every request of another origin's page. A
///   browser names the page that asks; for the transports `htmlfile` and `jsonp` it does so by `Referer` or
///   `Sec-Fetch-Site` only, and without either these receive 403, unless all origins are allowed. The same pages may
///   embed the iframe page.
/// - The messages for a client that reads slowly wait in its session's outbox, under
///   [`Limits::outbox`](crate::Limits::outbox) and its policy, as over WebSocket.
///
/// # Memory
///
/// An idle session over HTTP takes some 2 KiB and no buffer. Outbound it holds at most its outbox, plus 64 KiB or
/// [`message_cache`](Self::message_cache) messages that are ready to send, whichever is less, and what one write adds
/// to that (64 messages or 64 KiB, escaped); a client that does not fetch them is closed with 4500. Inbound it holds at
/// most 64 KiB and one request's messages; further requests wait unread at their clients, and a body has
/// [`body_time`](Self::body_time) to arrive. Abandoned sessions are removed after twice
/// [`disconnect_delay`](Self::disconnect_delay), and there are never more than [`max_sessions`](Self::max_sessions).
///
/// # Example: streams of 1 MiB, and no transport that runs another page's scripts
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
    pub(super) max_sessions_per_address: usize,
    pub(super) remember_time: Duration,
    pub(super) body_time: Duration,
}

impl Default for SockJs {
    fn default() -> Self {
        Self {
            config: Config::default(),
            transports: Transport::ALL.to_vec(),
            client_library_url: ByteString::new(),
            cors: true,
            session_cookie: false,
            message_cache: 100,
            max_sessions: 100_000,
            max_sessions_per_address: 1000,
            remember_time: Duration::from_secs(60),
            body_time: Duration::from_secs(30),
        }
    }
}

impl SockJs {
    /// Sets the transports that clients may use; others receive 404, and clients try the next. Default: all.
    ///
    /// `xhr_send` comes with `xhr`, `xhr_streaming`, `eventsource` and `htmlfile`, and `jsonp_send` with `jsonp`, named
    /// or not. Spring's `transportHandlers`; it has no `jsonp` any more.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.transports = transports.into_iter().collect();
        self
    }

    /// Allows WebSocket, by SockJS's `websocket` and at `…/websocket`; `/info` reports it. Default: true. Use false
    /// where WebSocket is known to fail. Spring's `webSocketEnabled`.
    pub fn websocket(mut self, enabled: bool) -> Self {
        self.config.websocket = enabled;
        self
    }

    /// Sets the silence after which a receiving client gets a heart-beat frame; zero for none. Default: 25 s, the
    /// protocol's number, since load balancers commonly cut connections that are silent for 30 s. Sessions in which
    /// STOMP agreed on heart-beats of its own send none. Spring's `heartbeatTime`.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.config.heartbeat = every;
        self
    }

    /// Sets how long a session lives without a receiving request, and how long a closed one keeps its queued messages. Default:
    /// 5 s, the protocol's number; a polling client comes back within a round trip. Sending requests keep no session
    /// alive: its messages could not reach such a client. Spring's `disconnectDelay`.
    pub fn disconnect_delay(mut self, delay: Duration) -> Self {
        self.config.disconnect_delay = delay;
        self
    }

    /// Sets the bytes of one streaming response, after which the client has to send a new request. Default: 131,072; a
    /// browser keeps all of a response until it ends. A message is never split. Spring's `streamBytesLimit`.
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.config.response_limit = bytes;
        self
    }

    /// Sets how many messages wait, ready to send, for the next receiving request. Default: 100, Spring's
    /// `httpMessageCacheSize`. Further ones wait in the session's outbox, where
    /// [`Limits::outbox`](crate::Limits::outbox) counts them; Spring ends the session. One write is not split, so some
    /// tens more may wait here.
    pub fn message_cache(mut self, messages: usize) -> Self {
        self.message_cache = messages;
        self
    }

    /// Sets how many sessions over HTTP requests the endpoint holds at a time, and how many ended ones it
    /// [remembers](Self::remember_time). Default: 100,000. A request for one more receives 503 and is counted. Such a session needs no open
    /// connection, so nothing else bounds how many a stranger can open within
    /// [`disconnect_delay`](Self::disconnect_delay); an abandoned one takes some 2 KiB. Sessions over WebSocket do not
    /// count.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets how many sessions over HTTP requests one address may have that have no user, neither from the HTTP request nor
    /// by a login with CONNECT, and how many ended ones of an address are [remembered](Self::remember_time). Default: 1,000,
    /// more than the browsers behind one address open at a time; so one address cannot use up the places of all. A request
    /// for one more receives 503 and is counted.
    ///
    /// The address is the `SocketAddr` in the request's extensions, which [`serve`](fn@crate::serve) puts there; behind a
    /// [trusted proxy](crate::MessagingBuilder::trusted_proxies) the client's own; of IPv6 the network of 64 bits. Sessions
    /// of clients whose address is unknown are bounded by [`max_sessions`](Self::max_sessions) only.
    pub fn max_sessions_per_address(mut self, sessions: usize) -> Self {
        self.max_sessions_per_address = sessions;
        self
    }

    /// Sets how long an ended session is remembered after [`disconnect_delay`](Self::disconnect_delay). Default: 60 s,
    /// in which a delayed request comes through. Zero for not at all.
    ///
    /// In that time each receiving request gets the session's close frame again, and nothing is taken from sending ones.
    /// Without it a late request would open a new session of the same name, and its client would take that for the old
    /// one. A remembered session takes some 1 KiB; if there are [`max_sessions`](Self::max_sessions) of them, further
    /// ones are not remembered.
    pub fn remember_time(mut self, time: Duration) -> Self {
        self.remember_time = time;
        self
    }

    /// Sets the time that the body of a sending request may take to arrive. Default: 30 s, in which the largest body
    /// passes at 140 kbit/s, slower than any phone of today. A slower client receives 408 and is counted: until then
    /// each such request holds the received part of its body, 524,288 bytes at most, and later requests of its session
    /// wait. It also ends with its session.
    pub fn body_time(mut self, time: Duration) -> Self {
        self.body_time = time;
        self
    }

    /// Makes `/info` demand cookies, so that clients use only transports that send them. Default: true, because all
    /// requests of a session must come to the same server, and load balancers ensure that by a cookie. Spring's
    /// `sessionCookieNeeded`.
    pub fn cookie_needed(mut self, needed: bool) -> Self {
        self.config.cookie_needed = needed;
        self
    }

    /// Makes the answers of HTTP transports set the cookie `JSESSIONID`, to the request's value or else to `dummy`: for
    /// load balancers that keep a client on a server by that very cookie. Default: false. Not for applications that
    /// have a `JSESSIONID` of their own, since setting it again loses its `HttpOnly` and `Secure`.
    pub fn session_cookie(mut self, set: bool) -> Self {
        self.session_cookie = set;
        self
    }

    /// Offers the iframe page, for old browsers whose pages are of another origin, and sets the URL of the client library
    /// that it loads: absolute, or a path that begins with a slash. It must suit the library that the pages use. Whoever
    /// serves that file can act in every visitor's name, so serve it yourself. Default: no page, which is 404; Spring's
    /// `clientLibraryUrl` is a CDN's.
    pub fn client_library_url(mut self, url: impl Into<ByteString>) -> Self {
        self.client_library_url = url.into();
        self
    }

    /// Adds CORS headers to answers. Default: true. Use false if the application sets them elsewhere, such as in a CORS
    /// layer; origins are checked all the same. Spring's `suppressCors`, inverted.
    pub fn cors(mut self, enabled: bool) -> Self {
        self.cors = enabled;
        self
    }

    /// Sets the fate of a session whose receiving request was cut off. Default: [`OnAbort::Close`], as in the
    /// protocol's test script, so that no gap goes unnoticed.
    pub fn on_abort(mut self, on_abort: OnAbort) -> Self {
        self.config.on_abort = on_abort;
        self
    }

    /// Returns true if requests of this transport are answered.
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
