//! SockJS: what a client sends, the paths it asks for, and a session under several requests.
//!
//! The whole input is a payload, a path, a form, a query and a cookie. Then it is a script. First line: whether a session without a receiver ends
//! after five seconds (`1`) or never (`0`), whether an abort closes it (`1`), and the limit of a response in bytes (one
//! piece's length, times four). Then lines:
//!
//! | | |
//! |---|---|
//! | `s` text | the server sends |
//! | `x`, `y`, `w`, `e`, `f`, `j` | a request for `xhr`, `xhr_streaming`, `websocket`, `eventsource`, `htmlfile`, `jsonp` |
//! | `p`, `.` | poll one piece, poll until nothing comes |
//! | `a`, `l` | the client goes away; an earlier response is found over |
//! | `t` milliseconds | time passes, and `handle_timeout` is called |
//! | `h`, `H` | heartbeats off, on |
//! | `c` text | close |
//!
//! Held to be true:
//!
//! - No input makes anything panic.
//! - `parse_messages` takes what a JSON library takes, with the same result, and more only where half a surrogate pair
//!   is escaped; its limits hold; what it read survives being framed again.
//! - A path with a transport can be put together from its parts, which have no dot and no slash and are not too long.
//! - A form's field is no longer than the form; a callback is a name; a cookie that is set is one header's worth.
//! - Nothing is lost, doubled or overtaken: what was received is the beginning of what was sent, and all of it unless
//!   the session timed out or an abort closed it.
//! - The open frame is first and comes once; nothing follows the close frame; no message starts beyond a
//!   response's limit; a second receiver is refused, with one frame in the framing of its transport.
//! - What a script is given holds no line end and nothing that could end it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tramline_sockjs::{
    CallbackError, Config, IframePage, MAX_CALLBACK_LEN, MAX_ID_LEN, OnAbort, Output, PayloadError,
    PayloadLimits, Receive, Receiver, Route, SockJsSession, TimedOut, Transport, form_field, frame,
    headers, parse_messages, route,
};

use crate::script;

/// Tries one input.
pub fn run(data: &[u8]) {
    payload(data);
    path(data);
    headers_and_forms(data);

    let (mut head, rest) = script::head(data);
    let (finite, closing) = (head.option(2) == 1, head.option(2) == 1);
    let limit = head.pieces().length().saturating_mul(4);
    let mut client = Client::new(finite, closing, limit);
    for (letter, argument) in script::lines(rest) {
        client.apply(letter, argument);
        client.check();
    }
    client.finish();
}

fn payload(data: &[u8]) {
    let mut limits = PayloadLimits::default();
    limits.messages = 8;
    limits.bytes = 1024;
    limits.message = Some(64);
    let parsed = parse_messages(data, &limits);
    let text = std::str::from_utf8(data);
    let expected: Result<Vec<String>, _> = serde_json::from_slice(data)
        .or_else(|_| serde_json::from_slice(data).map(|text: String| vec![text]));
    match parsed {
        Ok(messages) => {
            assert!(messages.len() <= limits.messages && data.len() <= limits.bytes);
            assert!(messages.iter().all(|message| message.len() <= 64));
            match expected {
                Ok(expected) => assert_eq!(messages, expected),
                Err(error) => assert!(
                    text.is_ok_and(|text| text.contains("\\u")),
                    "{messages:?}, but {error}"
                ),
            }
            let mut framed = Vec::new();
            frame::message_array(&mut framed, messages.iter().map(|message| &**message));
            assert_eq!(framed[0], b'a');
            let again = parse_messages(&framed[1..], &PayloadLimits::default());
            assert_eq!(again, Ok(messages));
        }
        Err(PayloadError::Empty) => assert!(data.is_empty()),
        Err(PayloadError::TooLarge { size, limit }) => {
            assert_eq!((size, limit), (data.len(), limits.bytes));
            assert!(size > limit);
        }
        // It stops before it has seen whether the rest is JSON.
        Err(PayloadError::TooManyMessages { limit }) => {
            assert_eq!(limit, limits.messages);
            assert!(expected.is_ok_and(|expected| expected.len() > limit) || text.is_ok());
        }
        Err(PayloadError::MessageTooLarge { size, limit }) => {
            assert!(size > limit && limit == 64 && text.is_ok());
        }
        Err(PayloadError::BrokenJson) => assert!(expected.is_err(), "{expected:?} was refused"),
        Err(error) => panic!("unknown: {error:?}"),
    }
}

fn path(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else {
        return;
    };
    match route(path) {
        Route::Greeting => assert!(["", "/"].contains(&path)),
        Route::Info => assert_eq!(path, "/info"),
        Route::RawWebSocket => assert_eq!(path, "/websocket"),
        Route::Iframe => {
            assert!(path.starts_with("/iframe") && path.ends_with(".html"));
            assert_eq!(path.matches('/').count(), 1);
        }
        Route::Transport {
            server,
            session,
            transport,
        } => {
            assert_eq!(path, format!("/{server}/{session}/{}", transport.name()));
            for id in [server, session] {
                assert!(!id.is_empty() && id.len() <= MAX_ID_LEN && !id.contains(['.', '/']));
            }
        }
        _ => {}
    }
}

fn headers_and_forms(data: &[u8]) {
    if let Some(field) = form_field(data, "d") {
        assert!(field.len() <= data.len());
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Transport::Jsonp.receive(text) {
        Some(Ok(Receive::Jsonp(callback))) => {
            let name = callback.as_str();
            assert!((1..=MAX_CALLBACK_LEN).contains(&name.len()));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert!(name.bytes().all(plain), "{name}");
        }
        Some(Err(CallbackError::TooLong { len })) => assert!(len > MAX_CALLBACK_LEN),
        Some(Err(_)) => {}
        other => panic!("jsonp receives, with a callback: {other:?}"),
    }
    let cookie = headers::session_cookie([text]);
    let value = cookie.strip_prefix("JSESSIONID=").expect("the cookie");
    let value = value.strip_suffix("; path=/").expect("its path");
    assert!(value.bytes().all(|byte| byte.is_ascii_graphic()) && !value.contains(';'));
    let page = IframePage::new(text);
    assert!(page.is_cached(page.etag()));
    assert_eq!(page.html().matches("<script").count(), 2);
}

/// A client that understands what it gets.
struct Client {
    session: SockJsSession,
    config: Arc<Config>,
    now: Instant,
    attached: Option<Receiver>,
    past: Vec<Receiver>,
    /// Bytes of the present response, without the prelude.
    response: usize,
    sent: Vec<String>,
    received: Vec<String>,
    opened: bool,
    /// A receiver got the close frame.
    closed: bool,
    /// So did a request that was refused.
    told: bool,
    /// Some may be lost: the session timed out, or an abort closed it.
    cut_off: bool,
    timed_out: bool,
}

impl Client {
    fn new(finite: bool, closing: bool, response_limit: usize) -> Self {
        let now = Instant::now();
        let mut config = Config::default();
        config.response_limit = response_limit;
        if !finite {
            config.disconnect_delay = Duration::MAX;
        }
        config.on_abort = if closing {
            OnAbort::Close
        } else {
            OnAbort::Keep
        };
        let config = Arc::new(config);
        Self {
            session: SockJsSession::new(config.clone(), now),
            config,
            now,
            attached: None,
            past: Vec::new(),
            response: 0,
            sent: Vec::new(),
            received: Vec::new(),
            opened: false,
            closed: false,
            told: false,
            cut_off: false,
            timed_out: false,
        }
    }

    fn apply(&mut self, letter: u8, argument: &[u8]) {
        match letter {
            b's' => self.send(script::text(argument)),
            b'x' => self.attach(Transport::Xhr),
            b'y' => self.attach(Transport::XhrStreaming),
            b'w' => self.attach(Transport::WebSocket),
            b'e' => self.attach(Transport::EventSource),
            b'f' => self.attach(Transport::HtmlFile),
            b'j' => self.attach(Transport::Jsonp),
            b'p' => {
                self.poll();
            }
            b'.' => while self.poll() {},
            b'a' => {
                if let Some(receiver) = self.attached.take() {
                    let before = self.session.is_closed();
                    self.session.detach(&receiver, self.now);
                    self.past.push(receiver);
                    if self.session.is_closed() && !before {
                        assert_eq!(self.config.on_abort, OnAbort::Close);
                        assert!(self.opened, "closed before it was open");
                        self.cut_off = true;
                    }
                }
            }
            b'l' => {
                if let Some(receiver) = self.past.pop() {
                    let before = self.session.has_receiver();
                    self.session.detach(&receiver, self.now);
                    assert_eq!(self.session.has_receiver(), before);
                }
            }
            b't' => self.pass(script::millis(argument)),
            b'h' | b'H' => self.session.set_heartbeats(letter == b'H'),
            b'c' => {
                let reason = script::text(argument);
                self.session.close(3000, &reason, self.now);
                self.session.close(4000, "too late", self.now);
                assert!(self.session.is_closed());
            }
            _ => {}
        }
    }

    fn send(&mut self, text: String) {
        let mut escaped = Vec::new();
        frame::escape_into(&mut escaped, &text);
        let (head, tail) = escaped.split_at(escaped.len() / 2);
        let before = self.session.queued();
        self.session.send(&[head, tail]);
        if self.session.is_closed() {
            assert_eq!(self.session.queued(), before);
        } else {
            self.sent.push(text);
        }
    }

    fn attach(&mut self, transport: Transport) {
        let receive = transport.receive("c=f").expect("it receives");
        let receive = receive.expect("a callback");
        let mut receiver = self.session.attach(receive.clone(), self.now);
        if !receiver.is_refused() {
            assert!(self.attached.is_none(), "two receivers");
            self.attached = Some(receiver);
            self.response = 0;
            return;
        }
        let mut pieces = Vec::new();
        loop {
            let mut piece = Vec::new();
            let output = self
                .session
                .poll_output(&mut receiver, self.now, &mut piece);
            pieces.push(piece);
            match output {
                Output::Pending => panic!("a refusal that waits"),
                Output::Data => assert!(pieces.len() == 1, "more than a prelude"),
                Output::End => break,
            }
        }
        let refusal = bare(&receive, pieces.last().expect("a piece"));
        let still_open = refusal.starts_with(b"c[2010");
        assert_eq!(still_open, !self.session.is_closed());
        self.told |= !still_open;
        assert!(
            !still_open || self.attached.is_some(),
            "refused for nothing"
        );
    }

    /// Says whether there may be more.
    fn poll(&mut self) -> bool {
        let Some(mut receiver) = self.attached.take() else {
            return false;
        };
        let receive = receiver.receive().clone();
        let mut piece = Vec::new();
        let output = self
            .session
            .poll_output(&mut receiver, self.now, &mut piece);
        if !self.timed_out {
            assert_eq!(output == Output::Pending, piece.is_empty(), "{output:?}");
        }
        self.understand(&receive, &piece);
        if output == Output::End {
            self.past.push(receiver);
            return false;
        }
        self.attached = Some(receiver);
        if output == Output::Data {
            match receive {
                Receive::WebSocket => {}
                Receive::Xhr | Receive::Jsonp(_) => panic!("a poll with two pieces"),
                _ => {
                    let limit = self.config.response_limit.max(1);
                    assert!(self.response < limit, "beyond the limit");
                }
            }
        }
        output == Output::Data
    }

    fn understand(&mut self, receive: &Receive, piece: &[u8]) {
        if piece.is_empty() || is_prelude(receive, piece) {
            return;
        }
        assert!(!self.timed_out, "output of a session that is over");
        let room = match receive {
            Receive::XhrStreaming | Receive::EventSource | Receive::HtmlFile(_) => {
                self.config.response_limit.saturating_sub(self.response)
            }
            _ => self.config.response_limit,
        };
        self.response += piece.len();
        let bare = bare(receive, piece);
        assert!(!self.closed, "output after the close frame");
        match &bare[..] {
            b"o" => {
                assert!(!self.opened, "opened twice");
                self.opened = true;
            }
            b"h" => assert!(self.opened, "a heartbeat before the open frame"),
            [b'a', array @ ..] => {
                assert!(self.opened, "messages before the open frame");
                let messages = parse_messages(array, &PayloadLimits::default());
                let messages = messages.expect("an array of strings");
                let last = messages.last().expect("no frame is empty");
                let mut escaped = br#"",""#.to_vec();
                frame::escape_into(&mut escaped, last);
                escaped.extend_from_slice(br#""]"#);
                let behind = on_wire(receive, &escaped) + frame_ends(receive).1.len();
                assert!(
                    messages.len() == 1 || piece.len() - behind < room,
                    "beyond the limit"
                );
                self.received
                    .extend(messages.iter().map(ToString::to_string));
            }
            [b'c', close @ ..] => {
                let (code, _): (u16, String) =
                    serde_json::from_slice(close).expect("a code and a reason");
                assert!([3000, 1002].contains(&code));
                self.closed = true;
            }
            _ => panic!("no frame: {bare:?}"),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let due = self.session.next_timeout().is_some_and(|at| at <= self.now);
        let closed = self.session.is_closed();
        match self.session.handle_timeout(self.now) {
            None => {}
            Some(timed_out) => {
                assert!(due && !self.timed_out);
                assert_eq!(timed_out == TimedOut::Forgotten, closed);
                assert_eq!(self.session.queued(), 0);
                self.cut_off = true;
                self.timed_out = true;
            }
        }
        let next = self.session.next_timeout();
        assert!(next.is_none_or(|at| at > self.now), "due again at once");
    }

    fn finish(&mut self) {
        if !self.timed_out {
            // Each turn takes a frame or ends a response: this is more than enough for all.
            for _ in 0..4 * self.sent.len() + 16 {
                if self.attached.is_none() {
                    self.attach(Transport::Xhr);
                }
                self.poll();
            }
            assert!(self.opened);
        }
        self.check();
        if !self.cut_off {
            assert_eq!(self.received, self.sent);
            assert_eq!(self.session.queued(), 0);
            assert_eq!(self.closed || self.told, self.session.is_closed());
        }
    }

    fn check(&self) {
        assert!(
            self.sent.starts_with(&self.received),
            "sent {:?}, received {:?}",
            self.sent,
            self.received
        );
        assert_eq!(
            self.session.has_receiver(),
            self.attached.is_some() && !self.timed_out
        );
    }
}

fn is_prelude(receive: &Receive, piece: &[u8]) -> bool {
    match receive {
        Receive::XhrStreaming => piece.len() == 2049 && piece.starts_with(b"hh"),
        Receive::EventSource => piece == b"\r\n",
        Receive::HtmlFile(_) => piece.len() > 1024 && piece.starts_with(b"<!doctype html>"),
        _ => false,
    }
}

/// What stands around a frame.
fn frame_ends(receive: &Receive) -> (&'static str, &'static str) {
    match receive {
        Receive::WebSocket => ("", ""),
        Receive::Xhr | Receive::XhrStreaming => ("", "\n"),
        Receive::EventSource => ("data: ", "\r\n\r\n"),
        Receive::HtmlFile(_) => ("<script>\np(\"", "\");\n</script>\r\n"),
        Receive::Jsonp(_) => ("/**/f(\"", "\");\r\n"),
        _ => panic!("an unknown transport: {receive:?}"),
    }
}

fn is_script(receive: &Receive) -> bool {
    matches!(receive, Receive::HtmlFile(_) | Receive::Jsonp(_))
}

/// The frame in a piece, as the transport's client reads it.
fn bare(receive: &Receive, piece: &[u8]) -> Vec<u8> {
    let (prefix, suffix) = frame_ends(receive);
    let inner = piece
        .strip_prefix(prefix.as_bytes())
        .and_then(|piece| piece.strip_suffix(suffix.as_bytes()))
        .expect("the transport's framing");
    assert!(*receive != Receive::EventSource || !inner.contains(&b'%'));
    if !is_script(receive) {
        return inner.to_vec();
    }
    assert!(!inner.contains(&b'<') && !inner.contains(&b'\n'));
    // All escapes of a script's string that are used are JSON's too.
    let json = [b"\"", inner, b"\""].concat();
    let frame: String = serde_json::from_slice(&json).expect("a string");
    frame.into_bytes()
}

/// How many bytes a part of a frame takes.
fn on_wire(receive: &Receive, part: &[u8]) -> usize {
    let extra = |byte: &u8| match byte {
        b'"' | b'\\' if is_script(receive) => 1,
        b'<' if is_script(receive) => 5,
        b'%' if *receive == Receive::EventSource => 5,
        _ => 0,
    };
    part.len() + part.iter().map(extra).sum::<usize>()
}
