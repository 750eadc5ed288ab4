//! The life of a session, told as a client sees it: each piece of output is one chunk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tramline_sockjs::Transport::{WebSocket, Xhr, XhrStreaming};
use tramline_sockjs::{Attach, Config, OnAbort, Output, ReceiverId, Session, TimedOut, Transport};

const STILL_OPEN: &str = "c[2010,\"Another connection still open\"]\n";
const GO_AWAY: &str = "c[3000,\"Go away!\"]\n";

// Opening and polling: sockjs-protocol 0.3.3, Protocol.test_simpleSession

#[test]
fn the_first_poll_opens_and_the_next_waits_for_messages() {
    let mut peer = Peer::new();
    assert_eq!(peer.poll_once(Xhr), "o\n");

    let waiting = peer.attach(Xhr);
    assert_eq!(peer.step(waiting), ("".into(), Output::Pending));
    peer.session.send(&[b"a"]);
    assert_eq!(peer.step(waiting), ("a[\"a\"]\n".into(), Output::End));
    assert_eq!(
        peer.step(waiting),
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
    let first = peer.attach(Xhr);
    assert_eq!(peer.refused(Xhr), STILL_OPEN);
    assert_eq!(peer.refused(WebSocket), STILL_OPEN.trim_end());
    peer.session.send(&[b"x"]);
    assert_eq!(peer.step(first), ("a[\"x\"]\n".into(), Output::End));
}

#[test]
fn the_next_poll_may_overtake_the_detach_of_the_last() {
    let mut peer = Peer::opened();
    let first = peer.attach(Xhr);
    peer.session.send(&[b"1"]);
    assert_eq!(peer.step(first).1, Output::End);

    let second = peer.attach(Xhr);
    peer.session.detach(first, peer.now);
    peer.session.send(&[b"2"]);
    assert_eq!(peer.step(first).1, Output::End);
    assert_eq!(peer.step(second).0, "a[\"2\"]\n");
}

// Streaming: XhrStreaming.test_transport and test_response_limit

#[test]
fn streaming_sends_prelude_open_and_messages_as_chunks_of_their_own() {
    let mut peer = Peer::new();
    let stream = peer.attach(XhrStreaming);
    peer.session.send(&[b"x"]);
    assert_eq!(peer.step(stream), ("h".repeat(2048) + "\n", Output::Data));
    assert_eq!(peer.step(stream), ("o\n".into(), Output::Data));
    assert_eq!(peer.step(stream), ("a[\"x\"]\n".into(), Output::Data));
    assert_eq!(peer.step(stream), ("".into(), Output::Pending));
}

#[test]
fn streaming_ends_with_the_message_that_reaches_the_limit() {
    let mut peer = Peer::with(|config| config.response_limit = 4096);
    let stream = peer.attach(XhrStreaming);
    assert_eq!(peer.drain(stream).1, Output::Pending);
    let message = "x".repeat(128);
    for sent in 1..=31 {
        peer.session.send(&[message.as_bytes()]);
        let end = if sent == 31 {
            Output::End
        } else {
            Output::Data
        };
        assert_eq!(
            peer.step(stream),
            (format!("a[\"{message}\"]\n"), end),
            "{sent}"
        );
    }
    // the next response has its own limit, and does not open again
    let stream = peer.attach(XhrStreaming);
    peer.session.send(&[b"y"]);
    let (chunks, output) = peer.drain(stream);
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
    let stream = peer.attach(XhrStreaming);
    let (chunks, output) = peer.drain(stream);
    assert_eq!(
        (&chunks[1..], output),
        (&[format!("a[\"{large}\"]\n")][..], Output::End)
    );
    assert_eq!(peer.poll_once(Xhr), "a[\"next\"]\n");
}

#[test]
fn a_websocket_gets_bare_frames_and_no_end() {
    let mut peer = Peer::with(|config| config.response_limit = 1);
    let socket = peer.attach(WebSocket);
    peer.session.send(&[b"1"]);
    peer.session.send(&[b"2"]);
    assert_eq!(
        peer.drain(socket),
        (
            vec!["o".into(), "a[\"1\"]".into(), "a[\"2\"]".into()],
            Output::Pending
        )
    );
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(peer.step(socket), (GO_AWAY.trim_end().into(), Output::End));
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
    let stream = peer.attach(XhrStreaming);
    assert_eq!(peer.drain(stream).1, Output::Pending);
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(peer.refused(Xhr), GO_AWAY, "not 2010");
    assert_eq!(peer.step(stream), (GO_AWAY.into(), Output::End));
    assert!(!peer.session.has_receiver());
}

#[test]
fn a_refused_stream_gets_its_prelude() {
    let mut peer = Peer::opened();
    let _first = peer.attach(XhrStreaming);
    assert_eq!(
        peer.refused(XhrStreaming),
        "h".repeat(2048) + "\n" + STILL_OPEN
    );
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
    let stream = peer.attach(XhrStreaming);
    assert_eq!(peer.drain(stream).1, Output::Pending);
    for _ in 0..3 {
        assert_eq!(peer.next_timeout_in(), Some(secs(25)));
        peer.pass(secs(24));
        assert_eq!(peer.step(stream).1, Output::Pending, "not yet");
        peer.pass(secs(1));
        assert_eq!(peer.step(stream), ("h\n".into(), Output::Data));
    }
    let message_at = secs(20);
    peer.pass(message_at);
    peer.session.send(&[b"x"]);
    assert_eq!(peer.step(stream).0, "a[\"x\"]\n");
    assert_eq!(
        peer.next_timeout_in(),
        Some(secs(25)),
        "a message starts the time anew"
    );
}

#[test]
fn a_heartbeat_completes_a_poll() {
    let mut peer = Peer::opened();
    let poll = peer.attach(Xhr);
    assert_eq!(peer.pass(secs(25)), None);
    assert_eq!(peer.step(poll), ("h\n".into(), Output::End));
}

#[test]
fn a_message_takes_the_place_of_a_heartbeat() {
    let mut peer = Peer::opened();
    let stream = peer.attach(XhrStreaming);
    assert_eq!(peer.drain(stream).1, Output::Pending);
    peer.pass(secs(25));
    peer.session.send(&[b"x"]);
    assert_eq!(
        peer.drain(stream),
        (vec!["a[\"x\"]\n".into()], Output::Pending)
    );
}

#[test]
fn heartbeats_can_be_turned_off() {
    let mut peer = Peer::opened();
    let poll = peer.attach(Xhr);
    peer.pass(secs(25));
    peer.session.set_heartbeats(false);
    assert_eq!(
        peer.step(poll).1,
        Output::Pending,
        "the one owed is forgiven"
    );
    assert_eq!(peer.next_timeout_in(), None);
    peer.session.set_heartbeats(true);
    assert_eq!(peer.next_timeout_in(), Some(secs(25)));

    let mut never = Peer::with(|config| config.heartbeat = Duration::ZERO);
    never.attach(Xhr);
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
    let stuck = peer.attach(XhrStreaming);
    peer.session.close(3000, "Go away!", peer.now);
    assert_eq!(peer.pass(secs(5)), Some(TimedOut::Forgotten));
    assert_eq!(peer.step(stuck), ("".into(), Output::End));
}

#[test]
fn a_delay_beyond_time_never_comes() {
    let mut peer = Peer::with(|config| config.disconnect_delay = Duration::MAX);
    assert_eq!(peer.next_timeout_in(), None);
    assert_eq!(peer.pass(secs(1_000_000)), None);
}

// Aborted receivers: HandlingClose.test_abort_xhr_streaming and test_abort_xhr_polling

#[test]
fn an_aborted_receiver_leaves_the_session_and_its_queue_by_default() {
    let mut peer = Peer::opened();
    let poll = peer.attach(Xhr);
    peer.pass(secs(10));
    peer.session.detach(poll, peer.now);
    assert_eq!(peer.next_timeout_in(), Some(secs(5)));
    peer.session.send(&[b"kept"]);
    assert_eq!(peer.pass(secs(4)), None);
    assert_eq!(peer.poll_once(Xhr), "a[\"kept\"]\n");
}

#[test]
fn an_aborted_receiver_closes_the_session_where_so_configured() {
    for transport in [Xhr, XhrStreaming] {
        let mut peer = Peer::with(|config| config.on_abort = OnAbort::Close);
        assert_eq!(peer.poll_once(Xhr), "o\n");
        let receiver = peer.attach(transport);
        peer.session.send(&[b"not taken"]);
        peer.session.detach(receiver, peer.now);
        assert!(peer.session.is_closed());
        assert_eq!(peer.refused(Xhr), "c[1002,\"Connection interrupted\"]\n");
        assert_eq!(peer.pass(secs(5)), Some(TimedOut::Forgotten));
    }
}

#[test]
fn an_ended_receiver_is_not_an_aborted_one() {
    let mut peer = Peer::with(|config| config.on_abort = OnAbort::Close);
    let poll = peer.attach(Xhr);
    assert_eq!(peer.step(poll).1, Output::End);
    peer.session.detach(poll, peer.now);
    assert!(!peer.session.is_closed());
}

#[test]
fn an_abort_before_the_open_frame_costs_nothing() {
    let mut peer = Peer::with(|config| config.on_abort = OnAbort::Close);
    let stream = peer.attach(XhrStreaming);
    assert_eq!(peer.step(stream).0.len(), 2049);
    peer.session.detach(stream, peer.now);
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
    session: Session,
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
            session: Session::new(Arc::new(config), now),
            now,
        }
    }

    #[track_caller]
    fn attach(&mut self, transport: Transport) -> ReceiverId {
        match self.session.attach(transport, self.now) {
            Attach::Accepted(receiver) => receiver,
            Attach::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    #[track_caller]
    fn refused(&mut self, transport: Transport) -> String {
        match self.session.attach(transport, self.now) {
            Attach::Accepted(_) => panic!("accepted: {:?}", self.session),
            Attach::Refused(refusal) => text(refusal.into_bytes()),
        }
    }

    fn step(&mut self, receiver: ReceiverId) -> (String, Output) {
        let mut chunk = Vec::new();
        let output = self.session.poll_output(receiver, self.now, &mut chunk);
        (text(chunk), output)
    }

    /// All chunks until there is nothing more to say.
    fn drain(&mut self, receiver: ReceiverId) -> (Vec<String>, Output) {
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

    /// The body of a poll that is answered at once.
    #[track_caller]
    fn poll_once(&mut self, transport: Transport) -> String {
        let receiver = self.attach(transport);
        let (body, output) = self.step(receiver);
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

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("frames are UTF-8")
}
