//! For any order of operations, no message is lost, duplicated or reordered on its way to the receivers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tramline_sockjs::{
    Config, OnAbort, Output, PayloadLimits, Receive, Receiver, SockJsSession, Transport, frame,
    parse_messages,
};

#[derive(Clone, Debug)]
enum Operation {
    Send(String),
    Attach(Receive),
    Poll,
    /// The client goes away between two pieces; it keeps those that it got.
    Abort,
    /// The server notices that an earlier response is over.
    LateDetach,
    Pass(Duration),
    Heartbeats(bool),
    Close,
}

fn operation() -> impl Strategy<Value = Operation> {
    let receivers: Vec<Receive> = Transport::ALL
        .into_iter()
        .filter_map(|transport| transport.receive("c=f")?.ok())
        .collect();
    prop_oneof![
        6 => any::<String>().prop_map(Operation::Send),
        6 => prop::sample::select(receivers).prop_map(Operation::Attach),
        12 => Just(Operation::Poll),
        1 => Just(Operation::Abort),
        2 => Just(Operation::LateDetach),
        3 => (0u64..40_000).prop_map(|millis| Operation::Pass(Duration::from_millis(millis))),
        1 => any::<bool>().prop_map(Operation::Heartbeats),
    ]
}

proptest! {
    #[test]
    fn messages_arrive_once_and_in_order(
        operations in prop::collection::vec(operation(), 0..120),
        response_limit in 0usize..200,
        close in any::<bool>(),
    ) {
        let mut client = Client::new(response_limit);
        for operation in operations {
            client.apply(operation);
            client.check()?;
        }
        if close {
            client.apply(Operation::Close);
        }
        client.collect_the_rest();
        client.check()?;
        prop_assert_eq!(&client.received, &client.sent);
        prop_assert_eq!(client.session.queued(), 0);
        prop_assert_eq!(client.closed, close);
    }
}

/// A client that parses its frames, and a session that never times out for lack of a receiver.
struct Client {
    session: SockJsSession,
    config: Arc<Config>,
    now: Instant,
    attached: Option<Receiver>,
    past: Vec<Receiver>,
    /// Bytes of the current response, without the prelude.
    response: usize,
    sent: Vec<String>,
    received: Vec<String>,
    opened: bool,
    closed: bool,
    complaint: Option<String>,
}

impl Client {
    fn new(response_limit: usize) -> Self {
        let now = Instant::now();
        let mut config = Config::default();
        config.response_limit = response_limit;
        config.disconnect_delay = Duration::MAX;
        config.on_abort = OnAbort::Keep;
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
            complaint: None,
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Send(text) => {
                let mut escaped = Vec::new();
                frame::escape_into(&mut escaped, &text);
                let (head, tail) = escaped.split_at(escaped.len() / 2);
                self.session.send(&[head, tail]);
                self.sent.push(text);
            }
            Operation::Attach(receive) => self.attach(&receive),
            Operation::Poll => self.poll(),
            Operation::Abort => {
                if let Some(receiver) = self.attached.take() {
                    self.session.detach(&receiver, self.now);
                }
            }
            Operation::LateDetach => {
                if let Some(receiver) = self.past.pop() {
                    self.session.detach(&receiver, self.now);
                }
            }
            Operation::Pass(time) => {
                self.now += time;
                let over = self.session.handle_timeout(self.now);
                self.expect(over.is_none(), "timed out");
            }
            Operation::Heartbeats(on) => self.session.set_heartbeats(on),
            Operation::Close => self.session.close(3000, "Go away!", self.now),
        }
    }

    fn attach(&mut self, receive: &Receive) {
        let mut receiver = self.session.attach(receive.clone(), self.now);
        if !receiver.is_refused() {
            self.expect(self.attached.is_none(), "two receivers");
            self.attached = Some(receiver);
            self.response = 0;
            return;
        }
        self.expect(
            self.attached.is_some() || self.session.is_closed(),
            "refused for nothing",
        );
        let mut piece = Vec::new();
        while self
            .session
            .poll_output(&mut receiver, self.now, &mut piece)
            == Output::Data
        {
            piece.clear(); // the prelude
        }
        match bare(receive, &piece) {
            Some(frame) => self.closed |= frame.starts_with(b"c[3000"),
            None => self.expect(false, "refused without a frame"),
        }
    }

    fn poll(&mut self) {
        let Some(mut receiver) = self.attached.take() else {
            return;
        };
        let receive = receiver.receive().clone();
        let mut piece = Vec::new();
        let output = self
            .session
            .poll_output(&mut receiver, self.now, &mut piece);
        self.expect(
            (output == Output::Pending) == piece.is_empty(),
            "a piece and its output do not agree",
        );
        self.understand(&receive, &piece);
        if output == Output::End {
            self.past.push(receiver);
            return;
        }
        self.attached = Some(receiver);
        if receive != Receive::WebSocket {
            self.expect(
                self.response < self.config.response_limit.max(1),
                "beyond the limit",
            );
        }
    }

    fn understand(&mut self, receive: &Receive, piece: &[u8]) {
        if piece.is_empty() || is_prelude(receive, piece) {
            return;
        }
        self.response += piece.len();
        let Some(bare) = bare(receive, piece) else {
            return self.expect(false, "not in its transport's framing");
        };
        self.expect(!self.closed, "output after the close frame");
        match &bare[..] {
            b"o" => {
                self.expect(!self.opened, "opened twice");
                self.opened = true;
            }
            b"h" => self.expect(self.opened, "heartbeat before open"),
            [b'a', array @ ..] => {
                self.expect(self.opened, "messages before open");
                match parse_messages(array, &PayloadLimits::default()) {
                    Ok(messages) => self
                        .received
                        .extend(messages.iter().map(ToString::to_string)),
                    Err(error) => self.expect(false, &error.to_string()),
                }
            }
            [b'c', ..] => self.closed = true,
            _ => self.expect(false, "no frame"),
        }
    }

    fn collect_the_rest(&mut self) {
        for _ in 0..1000 {
            let drained = self.opened && self.session.queued() == 0;
            if drained && self.closed == self.session.is_closed() {
                return;
            }
            if self.attached.is_none() {
                self.attach(&Receive::Xhr);
            }
            self.poll();
        }
        self.expect(false, "never drained");
    }

    fn expect(&mut self, fact: bool, complaint: &str) {
        if !fact && self.complaint.is_none() {
            self.complaint = Some(complaint.to_owned());
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.complaint.is_none(), "{:?}", self.complaint);
        prop_assert!(
            self.sent.starts_with(&self.received),
            "sent {:?}, received {:?}",
            self.sent,
            self.received
        );
        Ok(())
    }
}

fn is_prelude(receive: &Receive, piece: &[u8]) -> bool {
    match receive {
        Receive::XhrStreaming => piece.len() == 2049,
        Receive::EventSource => piece == b"\r\n",
        Receive::HtmlFile(_) => piece.starts_with(b"<!doctype html>"),
        _ => false,
    }
}

/// Returns the frame in a piece, as the transport's client reads it.
fn bare(receive: &Receive, piece: &[u8]) -> Option<Vec<u8>> {
    let (prefix, suffix) = match receive {
        Receive::WebSocket => ("", ""),
        Receive::Xhr | Receive::XhrStreaming => ("", "\n"),
        Receive::EventSource => ("data: ", "\r\n\r\n"),
        Receive::HtmlFile(_) => ("<script>\np(", ");\n</script>\r\n"),
        Receive::Jsonp(_) => ("/**/f(", ");\r\n"),
        _ => return None,
    };
    let inner = piece
        .strip_prefix(prefix.as_bytes())?
        .strip_suffix(suffix.as_bytes())?;
    match receive {
        Receive::HtmlFile(_) | Receive::Jsonp(_) => {
            let frame: String = serde_json::from_slice(inner).ok()?;
            Some(frame.into_bytes())
        }
        _ => Some(inner.to_vec()),
    }
}
