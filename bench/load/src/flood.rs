//! Attackers: clients that send what a server must bear.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::connection::{self, Manner, Target, Writer, session, subscriber};
use crate::frames;

/// One way to harm a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Two sessions send reads full of tiny frames.
    TinyFrames,
    /// 200 sessions with 1,000 SUBSCRIBEs each.
    Subscribes,
    /// 100 sessions with 1,000 patterns each.
    Patterns,
    /// 20,000 patterns that no index holds, and messages that have to be compared with them.
    Globs,
    /// 60 sessions with 16 transactions of a megabyte each.
    Transactions,
    /// 1,000 CONNECT frames that never end.
    HalfConnects,
    /// Two million messages of one byte for a queue without consumers.
    TinyMessages,
    /// A queue filled with large messages.
    FullQueue,
    /// A million names of queues.
    QueueNames,
    /// Messages that no handler takes.
    MissingHandlers,
    /// SockJS sessions that nobody uses.
    SockJsSessions,
    /// SockJS requests for sessions that do not exist.
    SockJsGuesses,
    /// Subscribers of a busy topic that read nothing.
    StalledReaders,
    /// Requests whose heads arrive byte by byte.
    SlowHeads,
}

impl Flood {
    /// Every attack.
    pub const ALL: &[Self] = &[
        Self::TinyFrames,
        Self::Subscribes,
        Self::Patterns,
        Self::Globs,
        Self::Transactions,
        Self::HalfConnects,
        Self::TinyMessages,
        Self::FullQueue,
        Self::QueueNames,
        Self::MissingHandlers,
        Self::SockJsSessions,
        Self::SockJsGuesses,
        Self::StalledReaders,
        Self::SlowHeads,
    ];

    /// The attack of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|flood| flood.name() == name)
    }

    /// What commands call it.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What it does, for tables.
    pub fn what(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::TinyFrames => ("tiny-frames", "2 sessions, reads full of tiny SEND frames"),
            Self::Subscribes => ("subscribes", "200 sessions × 1,000 SUBSCRIBEs"),
            Self::Patterns => (
                "patterns",
                "100 sessions × 1,000 patterns `/topic/{k}x{i}*`",
            ),
            Self::Globs => (
                "globs",
                "20,000 patterns `/topic/*{k}x{i}*` and SENDs to new topics",
            ),
            Self::Transactions => (
                "transactions",
                "60 sessions × 16 open transactions of 1 MiB",
            ),
            Self::HalfConnects => ("half-connects", "1,000 CONNECTs of 370 KiB that never end"),
            Self::TinyMessages => (
                "tiny-messages",
                "2,000,000 messages of one byte into a queue",
            ),
            Self::FullQueue => (
                "full-queue",
                "one session fills a queue with 60 KiB messages",
            ),
            Self::QueueNames => ("queue-names", "SENDs to 1,000,000 queue names"),
            Self::MissingHandlers => (
                "missing-handlers",
                "SENDs that no handler takes, 4 sessions",
            ),
            Self::SockJsSessions => (
                "sockjs-sessions",
                "new SockJS sessions, one after the other",
            ),
            Self::SockJsGuesses => (
                "sockjs-guesses",
                "SockJS requests for guessed session names",
            ),
            Self::StalledReaders => (
                "stalled-readers",
                "50 subscribers of a busy topic read nothing",
            ),
            Self::SlowHeads => ("slow-heads", "2,000 request heads, a byte a second"),
        }
    }
}

/// How long and how much.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// When it ends; what attackers hold, they hold until then.
    pub until: Instant,
    /// Share of the attack's size, for tests; 1 for the whole.
    pub scale: f64,
    done: Arc<Done>,
}

/// What attackers have done, and what became of them.
#[derive(Debug, Default)]
pub struct Done {
    opened: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
    sent: AtomicU64,
}

impl Done {
    /// Connections that the server has accepted.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Frames and requests that were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} connections, {} refused, {} ended by the server; {} frames or requests",
            number(&self.opened),
            number(&self.refused),
            number(&self.ended),
            number(&self.sent)
        )
    }
}

/// Attacks until the plan's time is over; refusals are counted, and are no errors.
pub async fn run(flood: Flood, target: Target, time: Duration, scale: f64) -> Arc<Done> {
    let done = Arc::new(Done::default());
    let plan = Plan {
        target,
        until: Instant::now() + time,
        scale,
        done: Arc::clone(&done),
    };
    match flood {
        Flood::TinyFrames => plan.stream(2, |_, _| frames::send("/topic/x", b"x")).await,
        Flood::Subscribes => {
            let frame = |k, i| subscribe(i, &format!("/topic/{k}.{i}"));
            plan.crowd(200, 1_000, frame).await;
        }
        Flood::Patterns => {
            let frame = |k, i| subscribe(i, &format!("/topic/{k}x{i}*"));
            plan.crowd(100, 1_000, frame).await;
        }
        Flood::Globs => plan.globs().await,
        Flood::Transactions => plan.crowd(60, 16 * 17, transaction).await,
        Flood::HalfConnects => plan.half_connects().await,
        Flood::TinyMessages => {
            plan.bounded_stream(1, 2_000_000, |_, _| frames::send("/queue/tiny", b"x"))
                .await;
        }
        Flood::FullQueue => {
            let frame = frames::send("/queue/full", &[b'x'; 60 * 1024]);
            plan.stream(1, move |_, _| frame.clone()).await;
        }
        Flood::QueueNames => {
            let frame = |k, i| frames::send(&format!("/queue/{k}.{i}"), b"x");
            plan.bounded_stream(4, 250_000, frame).await;
        }
        Flood::MissingHandlers => {
            let frame = |_, i| frames::send(&format!("/app/missing/{i}"), b"x");
            plan.stream(4, frame).await;
        }
        Flood::SockJsSessions => plan.requests("xhr", "").await,
        Flood::SockJsGuesses => plan.requests("xhr_send", "[\"x\"]").await,
        Flood::StalledReaders => plan.stalled_readers().await,
        Flood::SlowHeads => plan.slow_heads().await,
    }
    sleep_until(plan.until).await;
    done
}

fn subscribe(id: u64, destination: &str) -> Vec<u8> {
    frames::subscribe(&id.to_string(), destination, None)
}

/// BEGIN, then sixteen messages of 60 KiB; sixteen times, each in a transaction of its own.
fn transaction(_session: u64, index: u64) -> Vec<u8> {
    let name = index / 17;
    if index.is_multiple_of(17) {
        return frames::text(format!("BEGIN\ntransaction:{name}\n\n\0").as_bytes());
    }
    let mut frame = format!("SEND\ndestination:/queue/t\ntransaction:{name}\n\n").into_bytes();
    frame.resize(frame.len() + 60 * 1024, b'x');
    frame.push(0);
    frames::text(&frame)
}

impl Plan {
    fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn count_sent(&self, count: u64) {
        self.done.sent.fetch_add(count, Ordering::Relaxed);
    }

    /// Runs `count` attackers concurrently until all have ended or the time is over.
    async fn attackers<F>(&self, count: u64, attack: impl Fn(Self, u64) -> F)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for index in 0..self.scaled(count) {
            tasks.spawn(timeout_at(self.until, attack(self.clone(), index)));
        }
        while let Some(ended) = tasks.join_next().await {
            // Beyond the time, and what the server ended, is how attacks go.
            if let Ok(Ok(Err(_))) = ended {
                self.done.ended.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A session that reads, and drops, what it is sent; `None` when the server does not let it in.
    async fn session(&self) -> Option<Writer> {
        let opened = session(&self.target, Manner::default()).await;
        let count = match &opened {
            Ok(_) => &self.done.opened,
            Err(_) => &self.done.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let (writer, reader) = opened.ok()?;
        tokio::spawn(reader.receive_all(|_| {}));
        Some(writer)
    }

    /// Sessions that each send so many frames as fast as they can, and then stay.
    async fn crowd(
        &self,
        sessions: u64,
        each: u64,
        frame: impl Fn(u64, u64) -> Vec<u8> + Copy + Send + 'static,
    ) {
        let each = self.scaled(each);
        self.attackers(sessions, move |plan, session| async move {
            let Some(writer) = plan.session().await else {
                return Ok(());
            };
            for index in 0..each {
                writer.send(&frame(session, index)).await?;
                plan.count_sent(1);
            }
            sleep_until(plan.until).await;
            drop(writer);
            Ok(())
        })
        .await;
    }

    /// Sessions that send until the time is over, and come again when they are closed.
    async fn stream(
        &self,
        sessions: u64,
        frame: impl Fn(u64, u64) -> Vec<u8> + Clone + Send + 'static,
    ) {
        self.bounded_stream(sessions, u64::MAX, frame).await;
    }

    async fn bounded_stream(
        &self,
        sessions: u64,
        each: u64,
        frame: impl Fn(u64, u64) -> Vec<u8> + Clone + Send + 'static,
    ) {
        /// Bytes of one write: what a server takes in one read.
        const WRITE: usize = 64 * 1024;
        let each = self.scaled(each);
        self.attackers(sessions, move |plan, session| {
            let frame = frame.clone();
            async move {
                let mut index = 0;
                while index < each && !plan.is_over() {
                    let Some(writer) = plan.session().await else {
                        sleep(Duration::from_millis(100)).await;
                        continue;
                    };
                    while index < each {
                        let mut bytes = Vec::with_capacity(2 * WRITE);
                        let first = index;
                        while bytes.len() < WRITE && index < each {
                            bytes.extend(frame(session, index));
                            index += 1;
                        }
                        if writer.send(&bytes).await.is_err() {
                            plan.done.ended.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        plan.count_sent(index - first);
                        // The reader has its turn, and so has the clock.
                        tokio::task::yield_now().await;
                    }
                }
                sleep_until(plan.until).await;
                Ok(())
            }
        })
        .await;
    }

    async fn globs(&self) {
        let patterns = self.crowd(20, 1_000, |k, i| subscribe(i, &format!("/topic/*{k}x{i}*")));
        let publisher = self.attackers(1, |plan, _| async move {
            let Some(writer) = plan.session().await else {
                return Ok(());
            };
            for index in 0_u64.. {
                // New names: what matched an old one is remembered.
                let frame = frames::send(&format!("/topic/{index}x"), b"x");
                writer.send(&frame).await?;
                plan.count_sent(1);
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        });
        tokio::join!(patterns, publisher);
    }

    /// Each header line in a message of its own, as clients split large frames; the frame never ends.
    async fn half_connects(&self) {
        const LINES: u64 = 47;
        const LINE: usize = 8_000;
        self.attackers(1_000, |plan, _| async move {
            let (writer, reader) = connection::open(&plan.target, Manner::default()).await?;
            plan.done.opened.fetch_add(1, Ordering::Relaxed);
            writer
                .send(&frames::text(b"CONNECT\naccept-version:1.2\n"))
                .await?;
            let value = "x".repeat(LINE);
            for line in 0..LINES {
                let line = format!("h{line}:{value}\n");
                writer.send(&frames::text(line.as_bytes())).await?;
            }
            plan.count_sent(1);
            Err(reader.receive_all(|_| {}).await)
        })
        .await;
    }

    /// POSTs to ever new SockJS session names, on 16 connections.
    async fn requests(&self, what: &'static str, body: &'static str) {
        self.attackers(16, move |plan, lane| async move {
            let Target { address, path } = plan.target.clone();
            let mut number = 0_u64;
            while !plan.is_over() {
                let Ok(mut stream) = connection::tcp(&plan.target, Manner::default()).await else {
                    plan.done.refused.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(100)).await;
                    continue;
                };
                plan.done.opened.fetch_add(1, Ordering::Relaxed);
                let mut answer = vec![0; 4096];
                loop {
                    number += 1;
                    let request = format!(
                        "POST {path}/000/{lane}x{number}/{what} HTTP/1.1\r\nHost: {address}\r\nOrigin: \
                         http://{address}\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(request.as_bytes()).await.is_err() {
                        break;
                    }
                    plan.count_sent(1);
                    // Any answer will do; a closed connection is opened again.
                    if stream.read(&mut answer).await.is_ok_and(|count| count > 0) {
                        continue;
                    }
                    break;
                }
                plan.done.ended.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
        .await;
    }

    async fn stalled_readers(&self) {
        let readers = self.attackers(50, |plan, _| async move {
            let manner = Manner {
                receive_buffer: Some(4096),
                ..Manner::default()
            };
            let held = subscriber(&plan.target, manner, "/topic/busy").await?;
            plan.done.opened.fetch_add(1, Ordering::Relaxed);
            sleep_until(plan.until).await;
            drop(held);
            Ok(())
        });
        let publisher = self.attackers(1, |plan, _| async move {
            let Some(writer) = plan.session().await else {
                return Ok(());
            };
            let frame = frames::send("/topic/busy", &[b'x'; 4096]);
            loop {
                writer.send(&frame).await?;
                plan.count_sent(1);
                sleep(Duration::from_millis(2)).await;
            }
        });
        tokio::join!(readers, publisher);
    }

    async fn slow_heads(&self) {
        self.attackers(2_000, |plan, _| async move {
            while !plan.is_over() {
                let Ok(mut stream) = connection::tcp(&plan.target, Manner::default()).await else {
                    plan.done.refused.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_secs(1)).await;
                    continue;
                };
                plan.done.opened.fetch_add(1, Ordering::Relaxed);
                let head = b"GET /stomp HTTP/1.1\r\nX-Slow: "
                    .iter()
                    .chain([&b'x'].into_iter().cycle());
                for byte in head {
                    if stream.write_all(&[*byte]).await.is_err() {
                        plan.done.ended.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    plan.count_sent(1);
                    sleep(Duration::from_secs(1)).await;
                }
            }
            Ok(())
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_is_found_by_its_name() {
        for flood in Flood::ALL {
            assert_eq!(Flood::named(flood.name()), Some(*flood));
        }
        assert_eq!(Flood::named("x"), None);
    }
}
