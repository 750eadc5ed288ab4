//! Random conversations of three sessions about one queue: whatever they say, in the end each message was accepted once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tramline_stomp::{Frame, Version};

use parking_lot::Mutex;

use crate::support::{Client, FrameExt, Server, Setup, ack, answer, broker, eventually, nack};

const SUBSCRIBE: &str =
    "SUBSCRIBE\nid:s\ndestination:/queue/x\nack:client-individual\nprefetch-count:3\n\n\0";

/// A number that looks random and is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// One session, and what it has in its hands.
struct Actor {
    client: Client,
    version: Version,
    hand: Vec<Frame>,
    open: Option<Open>,
}

#[derive(Default)]
struct Open {
    sends: Vec<String>,
    acked: Vec<Frame>,
    nacked: Vec<Frame>,
}

impl Actor {
    async fn connect(server: &Server, version: Version) -> Self {
        Self {
            client: Client::connect_in(server, version).await,
            version,
            hand: Vec::new(),
            open: None,
        }
    }

    /// Says a frame, and takes what is delivered meanwhile.
    async fn say(&mut self, frame: &str) {
        let messages = self.client.messages_until_done(frame).await;
        self.hand.extend(messages);
    }

    fn takes(&mut self, random: &mut Random) -> Option<Frame> {
        let at = random.below(self.hand.len().max(1));
        (at < self.hand.len()).then(|| self.hand.remove(at))
    }

    async fn abort(&mut self) {
        if let Some(open) = self.open.take() {
            self.say("ABORT\ntransaction:t\n\n\0").await;
            self.hand.extend(open.acked);
            self.hand.extend(open.nacked);
        }
    }
}

/// What is known of the messages, which are numbers.
#[derive(Default)]
struct Books {
    next: usize,
    sent: Vec<String>,
    accepted: Vec<String>,
    /// How often each was seen.
    seen: HashMap<String, u32>,
}

impl Books {
    fn next(&mut self) -> String {
        self.next += 1;
        self.next.to_string()
    }

    fn accept(&mut self, message: &Frame) {
        self.accepted.push(message.text().to_owned());
    }

    /// A message that was seen before says so.
    fn see(&mut self, message: &Frame) {
        let seen = self.seen.entry(message.text().to_owned()).or_default();
        let count = message.headers.get("delivery-count");
        let count: u32 = count.map_or(0, |count| count.parse().unwrap());
        assert!(count >= *seen, "seen {seen} times: {message:?}");
        message.has("redelivered", (count > 0).then_some("true"));
        *seen += 1;
    }
}

async fn step(server: &Server, actor: &mut Actor, books: &mut Books, random: &mut Random) {
    let version = actor.version;
    let inside = if actor.open.is_some() && random.below(2) == 0 {
        "transaction:t\n"
    } else {
        ""
    };
    match random.below(12) {
        0..=3 => {
            let body = books.next();
            let frame = format!("SEND\ndestination:/queue/x\n{inside}\n{body}\0");
            actor.say(&frame).await;
            match &mut actor.open {
                Some(open) if !inside.is_empty() => open.sends.push(body),
                _ => books.sent.push(body),
            }
        }
        4..=6 => {
            let Some(message) = actor.takes(random) else {
                return;
            };
            actor.say(&answer(version, "ACK", &message, inside)).await;
            match &mut actor.open {
                Some(open) if !inside.is_empty() => open.acked.push(message),
                _ => books.accept(&message),
            }
        }
        7 if version > Version::V1_0 => {
            let Some(message) = actor.takes(random) else {
                return;
            };
            actor.say(&answer(version, "NACK", &message, inside)).await;
            match &mut actor.open {
                Some(open) if !inside.is_empty() => open.nacked.push(message),
                _ => {}
            }
        }
        8 | 9 => match actor.open.take() {
            None => {
                actor.say("BEGIN\ntransaction:t\n\n\0").await;
                actor.open = Some(Open::default());
            }
            Some(open) if random.below(3) > 0 => {
                actor.say("COMMIT\ntransaction:t\n\n\0").await;
                books.sent.extend(open.sends);
                for message in &open.acked {
                    books.accept(message);
                }
            }
            aborted => {
                actor.open = aborted;
                actor.abort().await;
            }
        },
        10 => {
            actor.abort().await;
            actor.say("UNSUBSCRIBE\nid:s\n\n\0").await;
            see(actor, books);
            actor.hand.clear();
            actor.say(SUBSCRIBE).await;
        }
        11 => {
            let fresh = Actor::connect(server, version).await;
            let mut left = std::mem::replace(actor, fresh);
            if random.below(2) == 0 {
                left.say("DISCONNECT\n\n\0").await;
                see(&mut left, books);
            }
            drop(left);
            server
                .counted("it is gone", |stats| stats.sessions_open == 3)
                .await;
            actor.say(SUBSCRIBE).await;
        }
        _ => {}
    }
}

/// Looks at the messages that an actor has got and nobody has looked at.
fn see(actor: &mut Actor, books: &mut Books) {
    for message in &mut actor.hand {
        // Marked by a header that the server never writes.
        if message.headers.get("looked-at").is_none() {
            books.see(message);
            message.headers.push("looked-at", "yes");
        }
    }
}

#[tokio::test]
async fn each_message_is_accepted_once() {
    for seed in 0..6 {
        let server = Setup::open_to_all(broker()).start().await;
        let mut random = Random(seed);
        let mut books = Books::default();
        let mut actors = Vec::new();
        for version in Version::ALL {
            let mut actor = Actor::connect(&server, version).await;
            actor.say(SUBSCRIBE).await;
            actors.push(actor);
        }
        for _ in 0..200 {
            let at = random.below(actors.len());
            step(&server, &mut actors[at], &mut books, &mut random).await;
            see(&mut actors[at], &mut books);
            let hands = actors.iter().flat_map(|actor| &actor.hand);
            let mut held: Vec<_> = hands.map(FrameExt::text).collect();
            held.sort_unstable();
            let all = held.len();
            held.dedup();
            assert_eq!(held.len(), all, "seed {seed}: two have the same message");
        }
        for mut actor in actors {
            actor.say("DISCONNECT\n\n\0").await;
            see(&mut actor, &mut books);
        }
        // The rest is for one that takes everything.
        let rest = books.sent.len() - books.accepted.len();
        server.loaded("/queue/x", (rest, 0)).await;
        let mut last = Client::connect(&server).await;
        last.consume("s", "/queue/x", "").await;
        for _ in 0..rest {
            let message = last.expect("MESSAGE").await;
            books.see(&message);
            books.accept(&message);
        }
        last.hears_nothing().await;
        books.sent.sort();
        books.accepted.sort();
        assert_eq!(books.accepted, books.sent, "seed {seed}");
        server.loaded("/queue/x", (0, 0)).await;
        let counts = server.of("/queue/x").counts;
        let all = books.sent.len() as u64;
        assert_eq!((counts.published, counts.acked), (all, all), "seed {seed}");
        assert!(rest > 0 && all as usize > rest, "seed {seed} is too tame");
        let stats = server.stats();
        assert_eq!(
            (stats.rejected, stats.protocol_errors),
            (0, 0),
            "seed {seed}"
        );
    }
}

/// Takes messages, gives some back and sometimes goes away with what it has; notes what it accepted.
async fn consume(server: Arc<Server>, seed: u64, accepted: Arc<Mutex<Vec<String>>>) {
    let mut random = Random(seed);
    loop {
        let mut client = Client::connect(&server).await;
        let mut hand = VecDeque::from(client.messages_until_done(SUBSCRIBE).await);
        loop {
            let message = match hand.pop_front() {
                Some(message) => message,
                None => client.expect("MESSAGE").await,
            };
            match random.below(20) {
                0 => break,
                1..=3 => hand.extend(client.messages_until_done(&nack(&message)).await),
                _ => {
                    hand.extend(client.messages_until_done(&ack(&message)).await);
                    accepted.lock().push(message.text().to_owned());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_is_accepted_once_when_all_happens_at_once() {
    const ALL: usize = 600;
    let server = Arc::new(Setup::open_to_all(broker()).start().await);
    let accepted: Arc<Mutex<Vec<String>>> = Arc::default();
    let consumers: Vec<_> = (0..4)
        .map(|seed| tokio::spawn(consume(Arc::clone(&server), seed, Arc::clone(&accepted))))
        .collect();
    let mut sender = Client::connect(&server).await;
    for first in (0..ALL).step_by(10) {
        sender.send("BEGIN\ntransaction:t\n\n\0").await;
        for number in first..first + 10 {
            sender
                .send(&format!(
                    "SEND\ntransaction:t\ndestination:/queue/x\n\n{number}\0"
                ))
                .await;
        }
        sender.done("COMMIT\ntransaction:t\n\n\0").await;
    }
    let so_far = Arc::clone(&accepted);
    let consumers_died = || consumers.iter().any(tokio::task::JoinHandle::is_finished);
    eventually("all to be accepted", || {
        assert!(!consumers_died(), "a consumer failed");
        so_far.lock().len() >= ALL
    })
    .await;
    for consumer in &consumers {
        consumer.abort();
    }
    let mut accepted: Vec<usize> = accepted
        .lock()
        .iter()
        .map(|body| body.parse().unwrap())
        .collect();
    accepted.sort_unstable();
    assert!(accepted.into_iter().eq(0..ALL));
    assert_eq!(server.of("/queue/x").counts.acked, ALL as u64);
    server.loaded("/queue/x", (0, 0)).await;
}
