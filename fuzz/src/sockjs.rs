//! SockJS: what a client sends, the paths it asks for, and a session under several requests.
//!
//! The whole input is a payload and a path. Then it is a script. First line: whether a session without a receiver ends
//! after five seconds (`1`) or never (`0`), whether an abort closes it (`1`), and the limit of a response in bytes (one
//! piece's length, times four). Then lines:
//!
//! | | |
//! |---|---|
//! | `s` text | the server sends |
//! | `x`, `y`, `w` | a request for `xhr`, `xhr_streaming`, `websocket` |
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
//! - Nothing is lost, doubled or overtaken: what was received is the beginning of what was sent, and all of it unless
//!   the session timed out or an abort closed it.
//! - The open frame is first and comes once; nothing follows the close frame; no message starts beyond a
//!   response's limit; a second receiver is refused.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tramline_sockjs::{
    Attach, Config, MAX_ID_LEN, OnAbort, Output, PayloadError, PayloadLimits, ReceiverId, Route,
    Session, TimedOut, Transport, frame, parse_messages, route,
};

use crate::script;

/// Tries one input.
pub fn run(data: &[u8]) {
    payload(data);
    path(data);

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
    let parsed = parse_messages(data, &limits);
    let text = std::str::from_utf8(data);
    let expected: Result<Vec<String>, _> = serde_json::from_slice(data)
        .or_else(|_| serde_json::from_slice(data).map(|text: String| vec![text]));
    match parsed {
        Ok(messages) => {
            assert!(messages.len() <= limits.messages && data.len() <= limits.bytes);
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

/// A client that understands what it gets.
struct Client {
    session: Session,
    config: Arc<Config>,
    now: Instant,
    attached: Option<(ReceiverId, Transport)>,
    past: Vec<ReceiverId>,
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
        if closing {
            config.on_abort = OnAbort::Close;
        }
        let config = Arc::new(config);
        Self {
            session: Session::new(config.clone(), now),
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
            b'p' => {
                self.poll();
            }
            b'.' => while self.poll() {},
            b'a' => {
                if let Some((receiver, _)) = self.attached.take() {
                    let before = self.session.is_closed();
                    self.session.detach(receiver, self.now);
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
                    self.session.detach(receiver, self.now);
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
        match self.session.attach(transport, self.now) {
            Attach::Accepted(receiver) => {
                assert_eq!(self.attached, None, "two receivers");
                self.attached = Some((receiver, transport));
                self.response = 0;
            }
            Attach::Refused(refusal) => {
                let still_open = refusal.frame.starts_with(b"c[2010");
                assert_eq!(still_open, !self.session.is_closed());
                self.told |= !still_open;
                assert!(
                    !still_open || self.attached.is_some(),
                    "refused for nothing"
                );
            }
        }
    }

    /// Says whether there may be more.
    fn poll(&mut self) -> bool {
        let Some((receiver, transport)) = self.attached else {
            return false;
        };
        let mut piece = Vec::new();
        let output = self.session.poll_output(receiver, self.now, &mut piece);
        if !self.timed_out {
            assert_eq!(output == Output::Pending, piece.is_empty(), "{output:?}");
        }
        self.understand(transport, &piece);
        match output {
            Output::Pending => return false,
            Output::Data if transport == Transport::XhrStreaming => {
                let limit = self.config.response_limit.max(1);
                assert!(self.response < limit, "beyond the limit");
            }
            Output::Data => assert_ne!(transport, Transport::Xhr, "a poll with two pieces"),
            Output::End => {
                self.past.push(receiver);
                self.attached = None;
            }
        }
        output == Output::Data
    }

    fn understand(&mut self, transport: Transport, piece: &[u8]) {
        if piece.is_empty() || piece.len() == 2049 && piece.starts_with(b"hh") {
            return;
        }
        assert!(!self.timed_out, "output of a session that is over");
        let room = match transport {
            Transport::XhrStreaming => self.config.response_limit.saturating_sub(self.response),
            _ => self.config.response_limit,
        };
        self.response += piece.len();
        let suffix: &[u8] = match transport {
            Transport::WebSocket => b"",
            _ => b"\n",
        };
        let bare = piece.strip_suffix(suffix).expect("the transport's suffix");
        assert!(!self.closed, "output after the close frame");
        match bare {
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
                let mut escaped = Vec::new();
                frame::escape_into(&mut escaped, last);
                let before_last = bare.len() - escaped.len() - r#"",""#.len() - r#""]"#.len();
                assert!(
                    messages.len() == 1 || before_last < room,
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
