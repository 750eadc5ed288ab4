//! An innocent client beside an attack: echoes at a steady rate, half of them through a handler, half through a queue.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::connection::{Manner, Target, Writer, subscriber};
use crate::frames::{self, Template};
use crate::latencies::Latencies;

/// Time between two messages.
const INTERVAL: Duration = Duration::from_millis(10);

/// The address that the client connects from: shares are per address, and the attackers use another.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The innocent client.
#[derive(Debug)]
pub(crate) struct Victim {
    writer: Writer,
    ways: [Template; 2],
    origin: Instant,
    sent: u32,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// When each message that is still to come was due.
    open: BTreeMap<u32, Duration>,
    latencies: Latencies,
    ended: Option<String>,
}

/// What the client saw during one phase.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) latencies: Latencies,
    pub(crate) lost: u64,
    pub(crate) ended: Option<String>,
    /// How late this program sent its own messages.
    pub(crate) late: Latencies,
}

impl Victim {
    pub(crate) async fn connect(target: &Target) -> io::Result<Self> {
        let manner = Manner {
            from: Some(ADDRESS),
            ..Manner::default()
        };
        let (writer, reader) = subscriber(target, manner, "/topic/echo/victim").await?;
        let queue = frames::subscribe("1", "/queue/victim", None);
        writer.send(&queue).await?;
        let origin = Instant::now();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            let ended = reader
                .receive_all(|message| {
                    let mut state = lock(&shared);
                    if let Some((_, number)) = frames::stamp(message) {
                        if let Some(due) = state.open.remove(&number) {
                            state.latencies.record(origin.elapsed().saturating_sub(due));
                        }
                    } else if message.starts_with(b"ERROR\n") {
                        let text = String::from_utf8_lossy(message).into_owned();
                        state.ended.get_or_insert(text);
                    }
                })
                .await;
            lock(&shared).ended.get_or_insert(ended.to_string());
        });
        Ok(Self {
            writer,
            ways: [
                Template::new("/app/echo/victim", 128),
                Template::new("/queue/victim", 128),
            ],
            origin,
            sent: 0,
            state,
        })
    }

    /// Sends at the steady rate until `over` says so, then waits for the answers, `patience` at most.
    ///
    /// Each message counts from the time when it was due, answered or not: a server that stands still does not make the
    /// client ask less.
    pub(crate) async fn phase(
        &mut self,
        patience: Duration,
        mut over: impl FnMut(Duration) -> io::Result<bool>,
    ) -> io::Result<Phase> {
        lock(&self.state).latencies = Latencies::default();
        let begin = Instant::now();
        let mut late = Latencies::default();
        let mut due = begin;
        let mut bytes = Vec::new();
        while !over(begin.elapsed())? {
            sleep_until(due).await;
            let lateness = due.elapsed();
            let stamp = due - self.origin;
            due += INTERVAL;
            if lock(&self.state).ended.is_some() {
                // Nothing is sent any more, but the attack and its end are still watched.
                continue;
            }
            late.record(lateness);
            bytes.clear();
            self.ways[self.sent as usize % 2].write(&mut bytes, stamp, self.sent);
            lock(&self.state).open.insert(self.sent, stamp);
            self.sent += 1;
            if let Err(error) = self.writer.send_now(&bytes) {
                lock(&self.state).ended.get_or_insert(error.to_string());
            }
        }
        let end = Instant::now() + patience;
        while !lock(&self.state).open.is_empty() && Instant::now() < end {
            sleep_until(Instant::now() + INTERVAL).await;
        }
        let mut state = lock(&self.state);
        let now = self.origin.elapsed();
        let lost = std::mem::take(&mut state.open);
        for due in lost.values() {
            state.latencies.record(now.saturating_sub(*due));
        }
        Ok(Phase {
            latencies: std::mem::take(&mut state.latencies),
            lost: lost.len() as u64,
            ended: state.ended.clone(),
            late,
        })
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
