//! Frames of a session or of a destination, as they pass.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::Mutex;
use serde::Serialize;
use tramline_broker::{Delivery, Headers, SessionId, Timestamp};
use tramline_stomp::ServerEvent;

use crate::model::clock::{now, wall_clock};
use crate::model::inbound::SessionRecord;

/// Traces that run at a time. Each frame is compared with all of them.
pub(crate) const MOST: usize = 4;

/// Frames that a trace keeps until a page has fetched them; older ones are dropped and counted.
const FRAMES: usize = 500;

/// Bytes of a body that are shown, and of a header's value.
const BODY: usize = 512;
const VALUE: usize = 200;

/// Headers of a frame that are shown.
const HEADERS: usize = 40;

/// A trace ends that nobody has asked for so long: the page was closed.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// And after this time in any case.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// The traces of a stack.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    running: AtomicUsize,
    begun: AtomicU64,
    traces: Mutex<Vec<Trace>>,
}

#[derive(Debug)]
struct Trace {
    id: u64,
    of: Of,
    until: Instant,
    asked: Instant,
    count: u64,
    frames: VecDeque<Frame>,
}

/// What is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Session(SessionId),
    /// SENDs to it, subscriptions to it, and its MESSAGEs.
    Destination(ByteString),
}

/// A frame that has passed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Frame {
    /// Counts up by one within its trace, from 1.
    number: u64,
    /// Milliseconds since 1970.
    at: u64,
    session: String,
    user: Option<String>,
    /// True if the client sent it.
    from_client: bool,
    command: String,
    headers: Vec<(String, String)>,
    /// The beginning of the body.
    body: String,
    body_bytes: usize,
}

/// What a page gets that asks for the frames after one.
#[derive(Debug, Serialize)]
pub(crate) struct Seen {
    frames: Vec<Frame>,
    /// The frames after that one which were dropped before anybody asked.
    dropped: u64,
    /// The seconds until it ends.
    seconds_left: u64,
}

impl Traces {
    #[inline]
    pub(crate) fn are_any(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Begins a trace; `None` if too many run.
    pub(crate) fn begin(&self, of: Of) -> Option<u64> {
        let now = now();
        self.end_forgotten(now);
        let mut traces = self.traces.lock();
        if traces.len() >= MOST {
            return None;
        }
        let id = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        traces.push(Trace {
            id,
            of,
            until: now + LONGEST,
            asked: now,
            count: 0,
            frames: VecDeque::new(),
        });
        self.running.store(traces.len(), Ordering::Relaxed);
        Some(id)
    }

    /// The frames after number `after`; `None` if the trace has ended.
    pub(crate) fn read(&self, id: u64, after: u64) -> Option<Seen> {
        let mut traces = self.traces.lock();
        let trace = traces.iter_mut().find(|trace| trace.id == id)?;
        trace.asked = now();
        let first = trace
            .frames
            .front()
            .map_or(trace.count + 1, |frame| frame.number);
        let frames = trace.frames.iter().filter(|frame| frame.number > after);
        Some(Seen {
            frames: frames.cloned().collect(),
            dropped: first.saturating_sub(after + 1),
            seconds_left: trace.until.saturating_duration_since(trace.asked).as_secs(),
        })
    }

    /// Ends a trace; returns false if it has ended.
    pub(crate) fn end(&self, id: u64) -> bool {
        self.retain(|trace| trace.id != id)
    }

    /// Ends those that nobody asks for, and those whose time is over.
    pub(crate) fn end_forgotten(&self, now: Instant) {
        if self.are_any() {
            self.retain(|trace| trace.asked + FORGOTTEN > now && trace.until > now);
        }
    }

    /// Returns true if a trace has ended.
    fn retain(&self, keep: impl Fn(&Trace) -> bool) -> bool {
        let mut traces = self.traces.lock();
        let before = traces.len();
        traces.retain(keep);
        self.running.store(traces.len(), Ordering::Relaxed);
        traces.len() < before
    }

    #[cold]
    pub(crate) fn came(
        &self,
        session: &SessionRecord,
        event: &ServerEvent,
        is_renewal: impl Fn(&str) -> bool,
    ) {
        let nothing = Headers::new();
        let none: &[u8] = &[];
        let (command, destination, headers, body): (&str, Option<&str>, &Headers, &[u8]) =
            match event {
                ServerEvent::Connect(connect) => ("CONNECT", None, &connect.headers, none),
                ServerEvent::Send(send) => {
                    let body = match is_renewal(&send.destination) {
                        true => HIDDEN.as_bytes(),
                        false => &*send.body,
                    };
                    ("SEND", Some(&send.destination), &send.headers, body)
                }
                ServerEvent::Subscribe(subscribe) => {
                    let destination = Some(&*subscribe.destination);
                    ("SUBSCRIBE", destination, &subscribe.headers, none)
                }
                ServerEvent::Unsubscribe(_) => ("UNSUBSCRIBE", None, &nothing, none),
                ServerEvent::Ack(ack) => ("ACK", None, &ack.headers, none),
                ServerEvent::Nack(ack) => ("NACK", None, &ack.headers, none),
                ServerEvent::Begin(_) => ("BEGIN", None, &nothing, none),
                ServerEvent::Commit(_) => ("COMMIT", None, &nothing, none),
                ServerEvent::Abort(_) => ("ABORT", None, &nothing, none),
                ServerEvent::Disconnect(_) => ("DISCONNECT", None, &nothing, none),
                ServerEvent::Failed(error) => {
                    let error = error.to_string();
                    self.add(session, true, "(failed)", None, &nothing, error.as_bytes());
                    return;
                }
                _ => return,
            };
        self.add(session, true, command, destination, headers, body);
    }

    #[cold]
    pub(crate) fn written(&self, session: &SessionRecord, deliveries: &[Delivery]) {
        for Delivery { message, .. } in deliveries {
            let destination = Some(message.destination());
            let (headers, body) = (message.headers(), message.body());
            self.add(session, false, "MESSAGE", destination, headers, body);
        }
    }

    /// A frame that the server has made and encoded.
    #[cold]
    pub(crate) fn answered(&self, session: &SessionRecord, frame: &[u8]) {
        let text = String::from_utf8_lossy(frame);
        let text = text.trim_end_matches(['\0', '\n']);
        if text.is_empty() {
            return; // A heart-beat.
        }
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let command = lines.next().unwrap_or_default();
        let mut headers = Headers::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            headers.push(ByteString::from(name), ByteString::from(value));
        }
        self.add(session, false, command, None, &headers, body.as_bytes());
    }

    fn add(
        &self,
        session: &SessionRecord,
        from_client: bool,
        command: &str,
        destination: Option<&str>,
        headers: &Headers,
        body: &[u8],
    ) {
        let mut traces = self.traces.lock();
        for trace in traces.iter_mut() {
            let wanted = match &trace.of {
                Of::Session(id) => *id == session.id(),
                Of::Destination(of) => destination == Some(of),
            };
            if !wanted {
                continue;
            }
            trace.count += 1;
            if trace.frames.len() == FRAMES {
                trace.frames.pop_front();
            }
            let mut shown: Vec<(String, String)> =
                headers.iter().take(HEADERS).map(shown).collect();
            if let Some(destination) = destination.filter(|_| headers.get("destination").is_none())
            {
                shown.insert(
                    0,
                    (
                        "destination".into(),
                        beginning(destination.as_bytes(), VALUE),
                    ),
                );
            }
            trace.frames.push_back(Frame {
                number: trace.count,
                at: Timestamp::from(wall_clock()).as_millis(),
                session: session.id().to_string(),
                user: session.user().map(|user| user.name().to_owned()),
                from_client,
                command: command.to_owned(),
                headers: shown,
                body: beginning(body, BODY),
                body_bytes: body.len(),
            });
        }
    }
}

/// In place of what must not be shown.
const HIDDEN: &str = "(hidden)";

/// A header as it is shown: without what may be a secret.
fn shown((name, value): (&str, &str)) -> (String, String) {
    let lower = name.to_ascii_lowercase();
    let is_secret = SECRETS.iter().any(|secret| lower.contains(secret));
    let value = match is_secret {
        true => HIDDEN.to_owned(),
        false => beginning(value.as_bytes(), VALUE),
    };
    (beginning(name.as_bytes(), VALUE), value)
}

/// Parts of the names of headers whose values are not shown.
const SECRETS: [&str; 8] = [
    "pass", "auth", "token", "secret", "cookie", "csrf", "xsrf", "key",
];

/// The first `most` bytes as text, and a sign if there are more.
pub(super) fn beginning(bytes: &[u8], most: usize) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
    match bytes.len() > most {
        true => format!("{}…", shown.trim_end_matches('\u{fffd}')),
        false => shown,
    }
}

impl Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session {id}"),
            Self::Destination(destination) => write!(f, "destination {destination:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_nobody_reads_ends_and_so_does_one_that_is_read() {
        let traces = Traces::default();
        let begun = now();
        let forgotten = traces.begin(Of::Destination("/topic/a".into()));
        traces.end_forgotten(begun + FORGOTTEN / 2);
        assert!(traces.are_any());
        traces.end_forgotten(begun + FORGOTTEN * 2);
        assert!(!traces.are_any());
        assert!(forgotten.and_then(|id| traces.read(id, 0)).is_none());

        let read = traces.begin(Of::Destination("/topic/a".into()));
        if let Some(trace) = traces.traces.lock().first_mut() {
            trace.asked = begun + LONGEST;
        }
        traces.end_forgotten(begun + LONGEST + FORGOTTEN / 2);
        assert!(read.and_then(|id| traces.read(id, 0)).is_none());
    }

    #[test]
    fn long_bodies_are_cut_between_characters() {
        assert_eq!(beginning("ääää".as_bytes(), 3), "ä…");
        assert_eq!(beginning(b"abc", 3), "abc");
    }
}
