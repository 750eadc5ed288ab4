//! The life of a session as a client sees it: each piece of output is one chunk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tramline_sockjs::Receive::{EventSource, WebSocket, Xhr, XhrStreaming};
use tramline_sockjs::{
    Config, OnAbort, Output, Receive, Receiver, SockJsSession, TimedOut, Transport,
};

const STILL_OPEN: &str = "c[2010,\"Another connection still open\"]\n";
const GO_AWAY: &str = "c[3000,\"Go away!\"]\n";

// Opening and polling: sockjs-protocol 0.3.3, Protocol.test_simpleSession

#[test]
fn the_first_poll_opens_and_the_next_waits_for_messages() {
    let mut peer = Peer::new();
    assert_eq!(peer.poll_once(Xhr), "o\n");

    let mut waiting = peer.attach(Xhr);
    assert_eq!(peer.step(&mut waiting), ("".into(), Output::Pending));
    peer.session.send(&[b"a"]);
    assert_eq!(peer.step(&mut waiting), ("a[\"a\"]\n".into(), Output::End));
    assert_eq!(
        peer.step(&mut waiting),
        ("".into(), Output::End),
        "it has been let go"
    );
}

#[test]
fn a_poll_takes_everything_that_gathered_in_one_frame() {
    let mut peer = Peer::opened();
    peer.session.send(&[b"one"]);
    peer.session.send(&[b"tw", b"o"]);
    peer.session.send(&[]);
    assert_eq!(peer.poll_once(Xhr), "a[\"one\",\"two\",\"\"]\n");
    assert_eq!(peer.session.queued(), 0);
}

#[test]
fn a_poll_is_bounded_by_the_response_limit() {
    let mut peer = Peer::with(|config| config.response_limit = 20);
    assert_eq!(peer.poll_once(Xhr), "o\n");
    for _ in 0..3 {
        peer.session.send(&[b"0123456789"]);
    }
    assert_eq!(peer.poll_once(Xhr), "a[\"0123456789\",\"0123456789\"]\n");
    assert_eq!(peer.poll_once(Xhr), "a[\"0123456789\"]\n");
}

#[test]
fn a_second_receiver_is_refused_and_the_first_unharmed() {
    let mut peer = Peer::opened();
    let mut first = peer.attach(Xhr);
    assert_eq!(peer.refused(Xhr), STILL_OPEN);
    assert_eq!(peer.refused(WebSocket), STILL_OPEN.trim_end());
    peer.session.send(&[b"x"]);
    assert_eq!(peer.step(&mut first), ("a[\"x\"]\n".into(), Output::End));
}

#[test]
fn the_next_poll_may_overtake_the_detach_of_the_last() {
    let mut peer = Peer::opened();
    let mut first = peer.attach(Xhr);
    peer.session.send(&[b"1"]);
    assert_eq!(peer.step(&mut first).1, Output::End);

    let mut second = peer.attach(Xhr);
    peer.session.detach(&first, peer.now);
    peer.session.send(&[b"2"]);
    assert_eq!(peer.step(&mut first).1, Output::End);
    assert_eq!(peer.step(&mut second).0, "a[\"2\"]\n");
}

// Streaming: XhrStreaming.test_transport and test_response_limit

#[test]
fn streaming_sends_prelude_open_and_messages_as_chunks_of_their_own() {
    let mut peer = Peer::new();
    let mut stream = peer.attach(XhrStreaming);
    peer.session.send(&[b"x"]);
    assert_eq!(
        peer.step(&mut stream),
        ("h".repeat(2048) + "\n", Output::Data)
    );
    assert_eq!(peer.step(&mut stream), ("o\n".into(), Output::Data));
    assert_eq!(peer.step(&mut stream), ("a[\"x\"]\n".into(), Output::Data));
    assert_eq!(peer.step(&mut stream), ("".into(), Output::Pending));
}

#[test]
fn streaming_ends_with_the_message_that_reaches_the_limit() {
    let mut peer = Peer::with(|config| config.response_limit = 4096);
    let mut stream = peer.attach(XhrStreaming);
    assert_eq!(peer.drain(&mut stream).1, Output::Pending);
    let message = "x".repeat(128);
    for sent in 1..=31 {
        peer.session.send(&[message.as_bytes()]);
        let end = if sent == 31 {
            Output::End
        } else {
            Output::Data
        };
        assert_eq!(
            peer.step(&mut stream),
            (format!("a[\"{message}\"]\n"), end),
            "{sent}"
        );
    }
    // the next response has its own limit, and does not open again
    let mut stream = peer.attach(XhrStreaming);
    peer.session.send(&[b"y"]);
    let (chunks, output) = peer.drain(&mut stream);
    assert_eq!(
        (&chunks[1..], output),
        (&["a[\"y\"]\n".to_owned()][..], Output::Pending)
    );
}

#[test]
fn a_message_beyond_the_limit_goes_out_whole() {
    let mut peer = Peer::with(|config| config.response_limit = 10);
    assert_eq!(peer.poll_once(Xhr), "o\n");
    let large = "x".repeat(1000);
    peer.session.send(&[large.as_bytes()]);
    peer.session.send(&[b"next"]);
    let mut stream = peer.attach(XhrStreaming);
    let (chunks, output) = peer.drain(&mut stream);
    assert_eq!(
        (&chunks[1..], output),
        (&[format!("a[\"{large}\"]\n")][..], Output::End)
    );
    assert_eq!(peer.poll_once(Xhr), "a[\"next\"]\n");
}

#[test]
fn a_websocket_gets_bare_frames_and_no_end() {
    let mut peer = Peer::with(|config| config.response_limit = 1);
    let mut socket = peer.attach(WebSocket);
    peer.session.send(&[b"1"]);
    peer.session.send(&[b"2"]);
    assert_eq!(
        peer.drain(&mut socket),
        (
            vec!["o".into(), "a[\"1\"]".into(), "a[\"2\"]".into()],
            Output::Pending
        )
    );
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(
        peer.step(&mut socket),
        (GO_AWAY.trim_end().into(), Output::End)
    );
}

// Closing: Protocol.test_closeSession, HandlingClose.test_close_frame and test_close_request

#[test]
fn a_closed_session_answers_with_its_close_frame_again_and_again() {
    let mut peer = Peer::new();
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(peer.poll_once(Xhr), "o\n");
    for _ in 0..3 {
        assert_eq!(peer.refused(Xhr), GO_AWAY);
    }
    assert_eq!(
        peer.refused(XhrStreaming),
        "h".repeat(2048) + "\n" + GO_AWAY
    );
}

#[test]
fn last_words_come_before_the_close_frame() {
    let mut peer = Peer::opened();
    peer.session.send(&[b"ERROR"]);
    peer.session.close(1002, "why", peer.now);
    peer.session.send(&[b"too late"]);
    assert_eq!(peer.poll_once(Xhr), "a[\"ERROR\"]\n");
    assert_eq!(peer.refused(Xhr), "c[1002,\"why\"]\n");
}

#[test]
fn closing_under_a_receiver_ends_it_and_newcomers_hear_of_the_close() {
    let mut peer = Peer::opened();
    let mut stream = peer.attach(XhrStreaming);
    assert_eq!(peer.drain(&mut stream).1, Output::Pending);
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(peer.refused(Xhr), GO_AWAY, "not 2010");
    assert_eq!(peer.step(&mut stream), (GO_AWAY.into(), Output::End));
    assert!(!peer.session.has_receiver());
}

#[test]
fn a_refused_stream_gets_its_prelude() {
    let mut peer = Peer::opened();
    let _first = peer.attach(XhrStreaming);
    let mut refused = peer.session.attach(XhrStreaming, peer.now);
    assert_eq!(
        peer.drain(&mut refused),
        (
            vec!["h".repeat(2048) + "\n", STILL_OPEN.into()],
            Output::End
        ),
        "each is a chunk of its own"
    );
    assert_eq!(peer.step(&mut refused), (String::new(), Output::End));
    peer.session.detach(&refused, peer.now);
    assert!(peer.session.has_receiver() && !peer.session.is_closed());
    assert!(!peer.session.has_sent_close_frame());
}

// The `test_response_limit` of EventSource and HtmlFile: framing counts

#[test]
fn every_stream_ends_at_its_limit_and_every_poll_after_its_frame() {
    let message = "x".repeat(4096);
    for (receive, open, framed) in [
        (
            EventSource,
            "data: o\r\n\r\n",
            format!("data: a[\"{message}\"]\r\n\r\n"),
        ),
        (
            callback("htmlfile"),
            "<script>\np(\"o\");\n</script>\r\n",
            format!("<script>\np(\"a[\\\"{message}\\\"]\");\n</script>\r\n"),
        ),
    ] {
        let mut peer = Peer::with(|config| config.response_limit = 4096);
        let mut stream = peer.attach(receive.clone());
        let (chunks, output) = peer.drain(&mut stream);
        assert_eq!(
            (chunks.len(), &*chunks[1], output),
            (2, open, Output::Pending)
        );
        peer.session.send(&[message.as_bytes()]);
        peer.session.send(&[b"next"]);
        assert_eq!(peer.step(&mut stream), (framed, Output::End));
        assert_eq!(peer.poll_once(Xhr), "a[\"next\"]\n");
    }
    let mut peer = Peer::new();
    let jsonp = callback("jsonp");
    assert_eq!(peer.poll_once(jsonp.clone()), "/**/f(\"o\");\r\n");
    peer.session.send(&[b"1"]);
    peer.session.send(&[b"2"]);
    let both = "/**/f(\"a[\\\"1\\\",\\\"2\\\"]\");\r\n";
    assert_eq!(peer.poll_once(jsonp.clone()), both);
    let _waiting = peer.attach(Xhr);
    assert_eq!(
        peer.refused(jsonp),
        "/**/f(\"c[2010,\\\"Another connection still open\\\"]\");\r\n"
    );
}

/// A limit counts the bytes on the wire, including the transport's escapes.
#[test]
fn no_message_starts_beyond_the_limit_of_an_escaping_transport() {
    let mut peer = Peer::with(|config| config.response_limit = 40);
    assert_eq!(peer.poll_once(Xhr), "o\n");
    for _ in 0..3 {
        peer.session.send(&[br"\n\n\n\n\n"]);
    }
    let wire = r"\\n\\n\\n\\n\\n";
    assert_eq!(
        peer.poll_once(callback("jsonp")),
        format!("/**/f(\"a[\\\"{wire}\\\",\\\"{wire}\\\"]\");\r\n")
    );
}

#[test]
fn the_close_is_heard_when_some_receiver_got_its_frame() {
    let mut peer = Peer::opened();
    peer.session.send(&[b"last words"]);
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(peer.poll_once(Xhr), "a[\"last words\"]\n");
    assert!(!peer.session.has_sent_close_frame());
    assert_eq!(peer.refused(Xhr), GO_AWAY);
    assert!(peer.session.has_sent_close_frame());
}

#[test]
fn messages_are_counted_while_they_wait() {
    let mut peer = Peer::opened();
    peer.session.send(&[b"1"]);
    peer.session.send(&[]);
    assert_eq!(peer.session.queued_messages(), 2);
    peer.poll_once(Xhr);
    assert_eq!(peer.session.queued_messages(), 0);
}

#[test]
fn reasons_are_escaped() {
    let mut peer = Peer::opened();
    peer.session.close(4000, "\"\n]", peer.now);
    assert_eq!(peer.refused(Xhr), "c[4000,\"\\\"\\n]\"]\n");
}

// Time

#[test]
fn a_quiet_receiver_gets_heartbeats() {
    let mut peer = Peer::opened();
    let mut stream = peer.attach(XhrStreaming);
    assert_eq!(peer.drain(&mut stream).1, Output::Pending);
    for _ in 0..3 {
        assert_eq!(peer.next_timeout_in(), Some(secs(25)));
        peer.pass(secs(24));
        assert_eq!(peer.step(&mut stream).1, Output::Pending, "not yet");
        peer.pass(secs(1));
        assert_eq!(peer.step(&mut stream), ("h\n".into(), Output::Data));
    }
    let message_at = secs(20);
    peer.pass(message_at);
    peer.session.send(&[b"x"]);
    assert_eq!(peer.step(&mut stream).0, "a[\"x\"]\n");
    assert_eq!(
        peer.next_timeout_in(),
        Some(secs(25)),
        "a message starts the time anew"
    );
}

#[test]
fn a_heartbeat_completes_a_poll() {
    let mut peer = Peer::opened();
    let mut poll = peer.attach(Xhr);
    assert_eq!(peer.pass(secs(25)), None);
    assert_eq!(peer.step(&mut poll), ("h\n".into(), Output::End));
}

#[test]
fn a_message_takes_the_place_of_a_heartbeat() {
    let mut peer = Peer::opened();
    let mut stream = peer.attach(XhrStreaming);
    assert_eq!(peer.drain(&mut stream).1, Output::Pending);
    peer.pass(secs(25));
    peer.session.send(&[b"x"]);
    assert_eq!(
        peer.drain(&mut stream),
        (vec!["a[\"x\"]\n".into()], Output::Pending)
    );
}

#[test]
fn heartbeats_can_be_turned_off() {
    let mut peer = Peer::opened();
    let mut poll = peer.attach(Xhr);
    peer.pass(secs(25));
    peer.session.set_heartbeats(false);
    assert_eq!(
        peer.step(&mut poll).1,
        Output::Pending,
        "the one owed is forgiven"
    );
    assert_eq!(peer.next_timeout_in(), None);
    peer.session.set_heartbeats(true);
    assert_eq!(peer.next_timeout_in(), Some(secs(25)));

    let mut never = Peer::with(|config| config.heartbeat = Duration::ZERO);
    let _waiting = never.attach(Xhr);
    assert_eq!(never.next_timeout_in(), None);
}

#[test]
fn a_session_that_nobody_asks_for_is_disconnected_once() {
    let mut peer = Peer::opened();
    peer.session.send(&[b"lost"]);
    assert_eq!(peer.pass(secs(4)), None);
    assert_eq!(peer.pass(secs(1)), Some(TimedOut::Disconnected));
    assert_eq!(peer.pass(secs(100)), None);
    assert_eq!(peer.next_timeout_in(), None);
    assert!(peer.session.is_closed());
    assert_eq!(peer.session.queued(), 0);
    assert_eq!(
        peer.refused(Xhr),
        GO_AWAY,
        "for a request that raced with the end"
    );
}

#[test]
fn a_session_that_was_never_polled_is_disconnected() {
    let mut peer = Peer::new();
    assert_eq!(peer.pass(secs(5)), Some(TimedOut::Disconnected));
}

#[test]
fn polling_keeps_a_session_alive() {
    let mut peer = Peer::opened();
    for _ in 0..10 {
        assert_eq!(peer.pass(secs(4)), None);
        peer.session.send(&[b"x"]);
        assert_eq!(peer.poll_once(Xhr), "a[\"x\"]\n");
    }
    let _waiting = peer.attach(Xhr);
    assert_eq!(peer.pass(secs(20)), None, "and so does waiting");
}

#[test]
fn a_closed_session_is_remembered_for_the_same_time() {
    let mut peer = Peer::opened();
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(peer.pass(secs(4)), None);
    assert_eq!(peer.refused(Xhr), GO_AWAY);
    assert_eq!(
        peer.pass(secs(1)),
        Some(TimedOut::Forgotten),
        "late requests do not prolong it"
    );
}

#[test]
fn a_receiver_that_takes_nothing_does_not_keep_a_closed_session() {
    let mut peer = Peer::opened();
    let mut stuck = peer.attach(XhrStreaming);
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(peer.pass(secs(5)), Some(TimedOut::Forgotten));
    assert_eq!(peer.step(&mut stuck), ("".into(), Output::End));
}

#[test]
fn a_delay_beyond_time_never_comes() {
    let mut peer = Peer::with(|config| config.disconnect_delay = Duration::MAX);
    assert_eq!(peer.next_timeout_in(), None);
    assert_eq!(peer.pass(secs(1_000_000)), None);
}

// Aborted receivers: HandlingClose.test_abort_xhr_streaming and test_abort_xhr_polling

#[test]
fn an_aborted_receiver_leaves_the_session_and_its_queue_where_so_configured() {
    let mut peer = Peer::with(|config| config.on_abort = OnAbort::Keep);
    assert_eq!(peer.poll_once(Xhr), "o\n");
    let poll = peer.attach(Xhr);
    peer.pass(secs(10));
    peer.session.detach(&poll, peer.now);
    assert_eq!(peer.next_timeout_in(), Some(secs(5)));
    peer.session.send(&[b"kept"]);
    assert_eq!(peer.pass(secs(4)), None);
    assert_eq!(peer.poll_once(Xhr), "a[\"kept\"]\n");
}

#[test]
fn an_aborted_receiver_closes_the_session() {
    for receive in [Xhr, XhrStreaming, EventSource, callback("jsonp")] {
        let mut peer = Peer::opened();
        let receiver = peer.attach(receive);
        peer.session.send(&[b"not taken"]);
        peer.session.detach(&receiver, peer.now);
        assert!(peer.session.is_closed());
        assert_eq!(peer.refused(Xhr), "c[1002,\"Connection interrupted\"]\n");
        assert_eq!(peer.pass(secs(5)), Some(TimedOut::Forgotten));
    }
}

#[test]
fn an_ended_receiver_is_not_an_aborted_one() {
    let mut peer = Peer::new();
    let mut poll = peer.attach(Xhr);
    assert_eq!(peer.step(&mut poll).1, Output::End);
    peer.session.detach(&poll, peer.now);
    assert!(!peer.session.is_closed());
}

#[test]
fn an_abort_before_the_open_frame_costs_nothing() {
    let mut peer = Peer::new();
    let mut stream = peer.attach(XhrStreaming);
    assert_eq!(peer.step(&mut stream).0.len(), 2049);
    peer.session.detach(&stream, peer.now);
    assert_eq!(peer.poll_once(Xhr), "o\n");
}

#[test]
fn debug_shows_no_message() {
    let mut peer = Peer::opened();
    peer.session.send(&[b"secret"]);
    assert!(!format!("{:?}", peer.session).contains("secret"));
}

/// A session, its clock, and the client's side of it.
struct Peer {
    session: SockJsSession,
    now: Instant,
}

impl Peer {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn opened() -> Self {
        let mut peer = Self::new();
        assert_eq!(peer.poll_once(Xhr), "o\n");
        peer
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let now = Instant::now();
        let mut config = Config::default();
        change(&mut config);
        Self {
            session: SockJsSession::new(Arc::new(config), now),
            now,
        }
    }

    #[track_caller]
    fn attach(&mut self, receive: Receive) -> Receiver {
        let receiver = self.session.attach(receive, self.now);
        assert!(!receiver.is_refused(), "{receiver:?}");
        receiver
    }

    /// Returns the whole output of a refused request.
    #[track_caller]
    fn refused(&mut self, receive: Receive) -> String {
        let mut receiver = self.session.attach(receive, self.now);
        assert!(receiver.is_refused(), "{:?}", self.session);
        let (chunks, output) = self.drain(&mut receiver);
        assert_eq!(output, Output::End);
        chunks.concat()
    }

    fn step(&mut self, receiver: &mut Receiver) -> (String, Output) {
        let mut chunk = Vec::new();
        let output = self.session.poll_output(receiver, self.now, &mut chunk);
        (text(chunk), output)
    }

    /// Returns all chunks until there is no more output.
    fn drain(&mut self, receiver: &mut Receiver) -> (Vec<String>, Output) {
        let mut chunks = Vec::new();
        loop {
            let (chunk, output) = self.step(receiver);
            if !chunk.is_empty() {
                chunks.push(chunk);
            }
            if output != Output::Data {
                return (chunks, output);
            }
        }
    }

    /// Returns the body of a poll that is answered at once.
    #[track_caller]
    fn poll_once(&mut self, receive: Receive) -> String {
        let mut receiver = self.attach(receive);
        let (body, output) = self.step(&mut receiver);
        assert_eq!(output, Output::End, "{body}");
        body
    }

    fn pass(&mut self, time: Duration) -> Option<TimedOut> {
        self.now += time;
        self.session.handle_timeout(self.now)
    }

    fn next_timeout_in(&self) -> Option<Duration> {
        self.session.next_timeout().map(|at| at - self.now)
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn callback(transport: &str) -> Receive {
    let transport = Transport::from_name(transport).expect("a transport");
    transport
        .receive("c=f")
        .expect("it receives")
        .expect("a callback")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("frames are UTF-8")
}
