//! Ordinary load, and what it costs the server.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::connection::{Manner, Reader, Target, Writer, session, subscriber};
use crate::frames::{self, Template};
use crate::latencies::Latencies;
use crate::process::{self, Usage};

/// A named workload.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// What commands call it.
    pub name: &'static str,
    /// What it does, for tables.
    pub what: &'static str,
    /// What `--quick` runs.
    pub quick: Workload,
    /// What is run otherwise.
    pub full: Workload,
}

/// What is done to the server.
#[derive(Clone, Copy, Debug)]
pub enum Workload {
    /// One publisher, one topic, many subscribers.
    FanOut(FanOut),
    /// Sessions whose messages go through a handler and come back.
    Echo {
        /// Sessions, each with a topic of its own.
        sessions: usize,
        /// Messages a second, of all sessions.
        rate: u32,
        /// Messages of all sessions.
        messages: u32,
    },
    /// Sessions with one subscription and a browser's handshake that do nothing.
    Idle {
        /// How many.
        sessions: usize,
        /// Time to wait before memory is read.
        settle: Duration,
    },
    /// Connections, each with handshake, CONNECT and SUBSCRIBE.
    Connect {
        /// How many.
        sessions: usize,
    },
}

/// One publisher, one topic, many subscribers.
#[derive(Clone, Copy, Debug)]
pub struct FanOut {
    /// Sessions that subscribe.
    pub subscribers: usize,
    /// Bytes of a body.
    pub size: usize,
    /// Messages that are sent in one write.
    pub burst: u32,
    /// Messages that are published and measured, after a tenth of them that are not.
    pub messages: u32,
    /// Messages a second; `None` waits for each burst to arrive everywhere before the next is sent.
    pub rate: Option<u32>,
}

const SINGLE: FanOut = FanOut {
    subscribers: 1_000,
    size: 128,
    burst: 1,
    messages: 300,
    rate: None,
};

const fn times(messages: u32, plan: FanOut) -> Workload {
    Workload::FanOut(FanOut { messages, ..plan })
}

const BURSTS: FanOut = FanOut {
    burst: 16,
    ..SINGLE
};
const LARGE: FanOut = FanOut {
    size: 4096,
    ..SINGLE
};
const TIMED: FanOut = FanOut {
    rate: Some(25),
    ..SINGLE
};
const MIXED_RATE: u32 = 4_000;

/// Every workload that has a name.
pub const NAMED: &[Named] = &[
    Named {
        name: "fan-out",
        what: "1 → 1,000 × 128 B",
        quick: times(60, SINGLE),
        full: times(300, SINGLE),
    },
    Named {
        name: "bursts",
        what: "1 → 1,000 × 128 B, bursts of 16",
        quick: times(480, BURSTS),
        full: times(6_400, BURSTS),
    },
    Named {
        name: "large",
        what: "1 → 1,000 × 4 KiB",
        quick: times(60, LARGE),
        full: times(300, LARGE),
    },
    Named {
        name: "latency",
        what: "1 → 1,000 × 128 B, 25 a second",
        quick: times(50, TIMED),
        full: times(250, TIMED),
    },
    Named {
        name: "echo",
        what: "64 sessions, 4,000 a second through a handler",
        quick: Workload::Echo {
            sessions: 64,
            rate: MIXED_RATE,
            messages: 2 * MIXED_RATE,
        },
        full: Workload::Echo {
            sessions: 64,
            rate: MIXED_RATE,
            messages: 10 * MIXED_RATE,
        },
    },
    Named {
        name: "idle",
        what: "idle sessions, one subscription each",
        quick: Workload::Idle {
            sessions: 2_000,
            settle: Duration::from_millis(500),
        },
        full: Workload::Idle {
            sessions: 9_000,
            settle: Duration::from_secs(3),
        },
    },
    Named {
        name: "connect",
        what: "handshake + CONNECT + SUBSCRIBE",
        quick: Workload::Connect { sessions: 1_000 },
        full: Workload::Connect { sessions: 5_000 },
    },
];

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Messages, or sessions, that should have arrived.
    pub expected: u64,
    /// Those that did.
    pub delivered: u64,
    /// Those that did not come within three seconds after the last.
    pub lost: u64,
    /// Messages that were not the next of their publisher.
    pub disordered: u64,
    /// How the first connection that the server ended was ended.
    pub ended: Option<String>,
    /// CPUs that other programs used while it was measured.
    pub others: f64,
    /// CPUs that this program used.
    pub generator: f64,
    /// What was measured.
    pub figures: Vec<Figure>,
}

/// One number.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its value.
    pub value: f64,
}

/// Runs a workload against the server, whose process is `pid`.
///
/// # Errors
///
/// A connection cannot be opened, or the process's usage cannot be read.
pub async fn run(workload: Workload, target: &Target, pid: u32) -> io::Result<Outcome> {
    match workload {
        Workload::FanOut(plan) => fan_out(plan, target, pid).await,
        Workload::Echo {
            sessions,
            rate,
            messages,
        } => echo(sessions, rate, messages, target, pid).await,
        Workload::Idle { sessions, settle } => idle(sessions, settle, target, pid).await,
        Workload::Connect { sessions } => connect(sessions, target, pid).await,
    }
}

async fn fan_out(plan: FanOut, target: &Target, pid: u32) -> io::Result<Outcome> {
    let tally = Tally::new();
    let readers = open(plan.subscribers, target, Manner::default(), one_topic).await?;
    let _writers: Vec<Writer> = readers
        .into_iter()
        .map(|(writer, reader)| {
            tokio::spawn(Arc::clone(&tally).count(reader));
            writer
        })
        .collect();
    let (publisher, reader) = session(target, Manner::default()).await?;
    tokio::spawn(Arc::clone(&tally).count(reader));

    let mut load = Publisher {
        plan,
        template: Template::new(TOPIC, plan.size),
        writer: publisher,
        tally: &tally,
        number: 0,
    };
    load.publish((plan.messages / 10).max(plan.burst)).await?;
    tally.begin();
    let before = Measure::take(pid)?;
    let expected = load.publish(plan.messages).await?;
    let spent = before.until_now(pid)?;
    let mut figures = vec![spent.per("CPU per delivery", expected)];
    if plan.rate.is_some() {
        figures.extend(tally.latencies());
    }
    Ok(tally.outcome(expected, &spent, figures))
}

struct Publisher<'a> {
    plan: FanOut,
    template: Template,
    writer: Writer,
    tally: &'a Tally,
    number: u32,
}

impl Publisher<'_> {
    /// Publishes, and waits for what arrives; returns how many deliveries there should be.
    async fn publish(&mut self, messages: u32) -> io::Result<u64> {
        let subscribers = self.plan.subscribers as u64;
        let begin = Instant::now();
        let already = self.tally.lock().delivered;
        let mut sent = 0;
        let mut bytes = Vec::new();
        while sent < messages {
            let due = match self.plan.rate {
                Some(rate) => begin + Duration::from_secs(1) * sent / rate,
                None => Instant::now(),
            };
            wait_until(due).await;
            bytes.clear();
            let burst = self.plan.burst.min(messages - sent);
            for _ in 0..burst {
                // The time when it should have been sent: a late generator is no excuse for the server.
                self.template
                    .write(&mut bytes, due - self.tally.origin, self.number);
                self.number += 1;
            }
            self.writer.send(&bytes).await?;
            sent += burst;
            let goal = already + u64::from(sent) * subscribers;
            if (self.plan.rate.is_none() || sent == messages) && !self.tally.reach(goal).await {
                break;
            }
        }
        Ok(u64::from(messages) * subscribers)
    }
}

async fn echo(
    sessions: usize,
    rate: u32,
    messages: u32,
    target: &Target,
    pid: u32,
) -> io::Result<Outcome> {
    let tally = Tally::new();
    let opened = open(sessions, target, Manner::default(), own_topic).await?;
    let mut writers = Vec::new();
    for (index, (writer, reader)) in opened.into_iter().enumerate() {
        tokio::spawn(Arc::clone(&tally).count(reader));
        writers.push((Template::new(&format!("/app/echo/{index}"), 128), writer));
    }
    let warm_up = messages / 10;
    let mut begin = Instant::now();
    let mut before = Measure::take(pid)?;
    let mut bytes = Vec::new();
    for number in 0..warm_up + messages {
        if number == warm_up {
            tally.reach(u64::from(warm_up)).await;
            tally.begin();
            before = Measure::take(pid)?;
            begin = Instant::now() - Duration::from_secs(1) * warm_up / rate;
        }
        let due = begin + Duration::from_secs(1) * number / rate;
        wait_until(due).await;
        bytes.clear();
        let (template, writer) = &writers[number as usize % sessions];
        let own_number = number / sessions as u32;
        template.write(&mut bytes, due - tally.origin, own_number);
        writer.send_now(&bytes)?;
    }
    tally.reach(u64::from(messages)).await;
    let spent = before.until_now(pid)?;
    let expected = u64::from(messages);
    let mut figures = vec![spent.per("CPU per echo", expected)];
    figures.extend(tally.latencies());
    Ok(tally.outcome(expected, &spent, figures))
}

async fn idle(sessions: usize, settle: Duration, target: &Target, pid: u32) -> io::Result<Outcome> {
    let manner = Manner {
        browser: true,
        ..Manner::default()
    };
    let before = Measure::take(pid)?;
    let opened = open(sessions, target, manner, one_topic).await?;
    sleep(settle).await;
    let spent = before.until_now(pid)?;
    let figures = vec![Figure {
        name: "resident memory per session",
        unit: "B",
        value: spent.resident / sessions as f64,
    }];
    let tally = Tally::new();
    tally.lock().delivered = opened.len() as u64;
    Ok(tally.outcome(sessions as u64, &spent, figures))
}

async fn connect(sessions: usize, target: &Target, pid: u32) -> io::Result<Outcome> {
    // The first connections make the server allocate what later ones share.
    let manner = Manner::default();
    let _first = open(sessions / 10, target, manner, one_topic).await?;
    let before = Measure::take(pid)?;
    let opened = open(sessions, target, manner, one_topic).await?;
    let spent = before.until_now(pid)?;
    let figures = vec![spent.per("CPU per session", sessions as u64)];
    let tally = Tally::new();
    tally.lock().delivered = opened.len() as u64;
    Ok(tally.outcome(sessions as u64, &spent, figures))
}

/// Opens sessions with one subscription each, 64 at a time.
async fn open(
    count: usize,
    target: &Target,
    manner: Manner,
    topic: fn(usize) -> String,
) -> io::Result<Vec<(Writer, Reader)>> {
    const AT_ONCE: usize = 64;
    let mut tasks = JoinSet::new();
    for lane in 0..AT_ONCE {
        let target = target.clone();
        tasks.spawn(async move {
            let mut opened = Vec::new();
            for index in (lane..count).step_by(AT_ONCE) {
                opened.push((index, subscriber(&target, manner, &topic(index)).await?));
            }
            io::Result::Ok(opened)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(lane) = tasks.join_next().await {
        all.extend(lane.map_err(io::Error::other)??);
    }
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, connection)| connection).collect())
}

const TOPIC: &str = "/topic/bench";

fn one_topic(_session: usize) -> String {
    TOPIC.to_owned()
}

fn own_topic(session: usize) -> String {
    format!("/topic/echo/{session}")
}

/// Waits more exactly than the timer, whose steps are milliseconds; the receiving tasks go on.
async fn wait_until(due: Instant) {
    const STEP: Duration = Duration::from_millis(2);
    if due.saturating_duration_since(Instant::now()) > STEP {
        sleep_until(due - STEP).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

/// What has arrived, counted by every receiving task.
struct Tally {
    origin: Instant,
    counts: Mutex<Counts>,
    reached: Notify,
}

#[derive(Default)]
struct Counts {
    delivered: u64,
    goal: u64,
    disordered: u64,
    ended: Option<String>,
    latencies: Latencies,
}

impl Tally {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            counts: Mutex::default(),
            reached: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what the warm-up left.
    fn begin(&self) {
        let mut counts = self.lock();
        *counts = Counts {
            ended: counts.ended.take(),
            ..Counts::default()
        };
    }

    /// Counts the messages of one connection until it ends.
    async fn count(self: Arc<Self>, reader: Reader) {
        let mut next = 0;
        let tally = Arc::clone(&self);
        let ended = reader
            .receive_all(|message| {
                if let Some((stamp, number)) = frames::stamp(message) {
                    tally.add(stamp, number == next);
                    next = number + 1;
                } else if message.starts_with(b"ERROR\n") {
                    let text = String::from_utf8_lossy(message).into_owned();
                    tally.lock().ended.get_or_insert(text);
                }
            })
            .await;
        self.lock().ended.get_or_insert(ended.to_string());
    }

    fn add(&self, stamp: Duration, in_order: bool) {
        let latency = self.origin.elapsed().saturating_sub(stamp);
        let mut counts = self.lock();
        counts.delivered += 1;
        counts.disordered += u64::from(!in_order);
        counts.latencies.record(latency);
        if counts.delivered == counts.goal {
            self.reached.notify_one();
        }
    }

    /// Waits until so many are delivered; false when three seconds pass without any.
    async fn reach(&self, goal: u64) -> bool {
        const PATIENCE: Duration = Duration::from_secs(3);
        loop {
            let delivered = {
                let mut counts = self.lock();
                counts.goal = goal;
                counts.delivered
            };
            if delivered >= goal {
                return true;
            }
            let waited = timeout(PATIENCE, self.reached.notified()).await;
            if waited.is_err() && self.lock().delivered == delivered {
                return false;
            }
        }
    }

    fn latencies(&self) -> Vec<Figure> {
        let counts = self.lock();
        let figure = |name, value: Duration| Figure {
            name,
            unit: "µs",
            value: value.as_secs_f64() * 1e6,
        };
        vec![
            figure("p50", counts.latencies.percentile(0.5)),
            figure("p99", counts.latencies.percentile(0.99)),
            figure("p99.9", counts.latencies.percentile(0.999)),
        ]
    }

    fn outcome(&self, expected: u64, spent: &Spent, figures: Vec<Figure>) -> Outcome {
        let counts = self.lock();
        Outcome {
            expected,
            delivered: counts.delivered,
            lost: expected.saturating_sub(counts.delivered),
            disordered: counts.disordered,
            ended: counts.ended.clone(),
            others: spent.others,
            generator: spent.generator,
            figures,
        }
    }
}

/// Readings at the beginning of what is measured.
struct Measure {
    at: Instant,
    machine: Duration,
    server: Usage,
    own: Usage,
}

/// Differences to the end of it.
struct Spent {
    cpu: Duration,
    resident: f64,
    others: f64,
    generator: f64,
}

impl Measure {
    fn take(pid: u32) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            machine: process::machine()?,
            server: process::usage(pid)?,
            own: process::usage(std::process::id())?,
        })
    }

    fn until_now(&self, pid: u32) -> io::Result<Spent> {
        let now = Self::take(pid)?;
        let cpu = now.server.cpu.saturating_sub(self.server.cpu);
        let own = now.own.cpu.saturating_sub(self.own.cpu);
        let all = now.machine.saturating_sub(self.machine);
        let wall = (now.at - self.at).as_secs_f64();
        Ok(Spent {
            cpu,
            resident: now.server.resident as f64 - self.server.resident as f64,
            others: all.saturating_sub(cpu + own).as_secs_f64() / wall,
            generator: own.as_secs_f64() / wall,
        })
    }
}

impl Spent {
    fn per(&self, name: &'static str, count: u64) -> Figure {
        Figure {
            name,
            unit: "µs",
            value: self.cpu.as_secs_f64() * 1e6 / count as f64,
        }
    }
}
