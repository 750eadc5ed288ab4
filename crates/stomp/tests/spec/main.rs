//! The STOMP specifications, clause by clause, as far as they bind a server's machine.
//!
//! Modules are the sections of the 1.2 text; tests of 1.0 or 1.1 rules that differ have the version in their names.
//! Rules that only a broker can keep (what a receipt confirms, what an ACK settles) are tested in the broker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tramline_stomp::{
    Bytes, Command, Decoded, Decoder, ErrorReply, Frame, Headers, HeartBeat, Limits, ServerConfig,
    ServerConnection, ServerEvent, Version, encode_message_tail,
};

mod body;
mod client_frames;
mod connecting;
mod frames;
mod heart_beating;
mod server_frames;
mod size_limits;
mod standard_headers;
mod value_encoding;

struct Session {
    server: ServerConnection,
    now: Instant,
}

impl Session {
    fn fresh(config: ServerConfig) -> Self {
        let now = Instant::now();
        Self {
            server: ServerConnection::new(Arc::new(config), now),
            now,
        }
    }

    /// A session of this version.
    fn of(version: Version) -> Self {
        let mut session = Self::fresh(ServerConfig::default());
        session.connect(&format!("accept-version:{version}\n"));
        session
    }

    /// Connects with these headers; returns CONNECTED.
    fn connect(&mut self, headers: &str) -> Frame {
        let event = self.event(&format!("CONNECT\n{headers}\n\0"));
        assert!(matches!(event, Some(ServerEvent::Connect(_))), "{event:?}");
        self.server.accept(Some("ann"), Some("s-1"), self.now);
        let mut written = self.written();
        assert_eq!(written.len(), 1);
        written.remove(0)
    }

    fn event(&mut self, wire: &str) -> Option<ServerEvent> {
        let wire = Bytes::copy_from_slice(wire.as_bytes());
        self.server.receive(wire, self.now);
        self.server.poll_event()
    }

    #[track_caller]
    fn send(&mut self, wire: &str) -> tramline_stomp::Send {
        match self.event(wire) {
            Some(ServerEvent::Send(send)) => send,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn subscribe(&mut self, headers: &str) -> tramline_stomp::Subscribe {
        match self.event(&format!("SUBSCRIBE\n{headers}\n\n\0")) {
            Some(ServerEvent::Subscribe(subscribe)) => subscribe,
            other => panic!("{other:?}"),
        }
    }

    fn written(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(bytes) = self.server.poll_transmit() {
            frames.extend(frame(self.server.version(), bytes));
        }
        frames
    }

    /// Returns the ERROR for this input, which must end the session.
    #[track_caller]
    fn refusal(&mut self, wire: &str) -> Frame {
        let event = self.event(wire);
        assert!(
            matches!(event, Some(ServerEvent::Failed(_))),
            "{wire:?}: {event:?}"
        );
        let mut written = self.written();
        assert_eq!(written.len(), 1, "{written:?}");
        assert_eq!(written[0].command, Command::Error);
        assert_eq!(self.event("SEND\ndestination:/a\n\n\0"), None);
        assert!(!self.server.is_connected());
        written.remove(0)
    }
}

/// Returns the single frame of these bytes; nothing for a heart-beat.
fn frame(version: Version, bytes: Bytes) -> Option<Frame> {
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(version);
    decoder.feed(bytes);
    let decoded = decoder.next().unwrap().unwrap();
    assert_eq!(decoder.next(), Ok(None));
    match decoded {
        Decoded::Frame(frame) => Some(frame),
        Decoded::HeartBeat => None,
    }
}

#[track_caller]
fn refusal(version: Version, wire: &str) -> Frame {
    Session::of(version).refusal(wire)
}
