//! The embedded broker against an obvious model: a list of subscriptions that is asked one by one.
//!
//! Lines; sessions are numbered from 0 in the order of their opening:
//!
//! | | |
//! |---|---|
//! | `o` name | open a session of this user, or an anonymous one; eight at most |
//! | `c` session | close it |
//! | `s` session pattern, `v` session path | subscribe; to a user destination |
//! | `u` session slot | unsubscribe |
//! | `p` destinations | publish a batch, one message to each of the destinations between commas |
//! | `U` session path, `T` session path | publish to the session's user, to the session |
//! | `w` | sweep |
//!
//! Held to be true:
//!
//! - Each message reaches the subscriptions that the model names, once, in the order of publishing, and `publish`
//!   counts them right. A destination that nobody wants is not remembered. A batch with a destination that is not served is refused whole.
//! - All who receive a message see one position; within an epoch positions count every message of the destination;
//!   an epoch belongs to one destination, and ends only by a sweep that found no subscription to it.
//! - Message ids differ.
//! - When all sessions are closed, two sweeps leave nothing: no destination, no session, no hold on an outbox.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    task::{Context, Waker},
};

use tramline_broker::{
    Broker, Destination, EmbeddedBroker, Headers, OpenSession, Outbox, Overflow, Pattern, Position,
    Publish, PublishError, SessionId, Source, SubscribeError, SubscribeRequest, Target,
};

use crate::script;

const PREFIXES: [&str; 2] = ["/t", "/ü/"];

/// Tries one input.
pub fn run(data: &[u8]) {
    let mut model = Model::new();
    for (letter, argument) in script::lines(data) {
        model.apply(letter, argument);
    }
    model.finish();
}

struct Model {
    broker: EmbeddedBroker,
    sessions: Vec<Session>,
    subscriptions: Vec<Subscription>,
    next_slot: u32,
    /// By number of the message: where it went, and what its receivers saw.
    published: Vec<Message>,
    /// Of what positions depend on: messages and sweeps.
    history: Vec<Step>,
}

enum Step {
    Message(usize),
    /// And the patterns that were subscribed to.
    Sweep(HashSet<String>),
}

struct Session {
    id: SessionId,
    user: Option<String>,
    outbox: Arc<Outbox>,
    open: bool,
}

struct Subscription {
    session: usize,
    slot: u32,
    source: Wanted,
    /// Numbers of the messages that are in the outbox.
    expected: Vec<usize>,
}

enum Wanted {
    Pattern(String),
    User(String),
}

struct Message {
    destination: String,
    to_topic: bool,
    /// Id and position, once one of its receivers was asked.
    seen: Option<(String, Option<Position>)>,
}

/// What is known of a destination's order.
#[derive(Default)]
struct Life {
    last: Option<Position>,
    /// Messages since.
    passed: u64,
    /// A sweep since may have forgotten it.
    forgettable: bool,
}

impl Model {
    fn new() -> Self {
        let broker = PREFIXES
            .iter()
            .fold(EmbeddedBroker::new(), |broker, prefix| {
                broker.topics(*prefix)
            });
        Self {
            broker,
            sessions: Vec::new(),
            subscriptions: Vec::new(),
            next_slot: 0,
            published: Vec::new(),
            history: Vec::new(),
        }
    }

    fn apply(&mut self, letter: u8, argument: &[u8]) {
        match letter {
            b'o' if self.sessions.len() < 8 => self.open(script::text(argument)),
            b'c' => {
                let (session, _) = script::number(argument);
                self.close(session as usize);
            }
            b's' | b'v' | b'U' | b'T' => {
                let (session, rest) = script::number(argument);
                let session = session as usize;
                if session < self.sessions.len() {
                    let text = script::text(rest);
                    match letter {
                        b's' => self.subscribe(session, text),
                        b'v' => self.subscribe_user(session, text),
                        b'U' => self.publish_user(session, text),
                        _ => self.publish_session(session, text),
                    }
                }
            }
            b'u' => {
                let (session, rest) = script::number(argument);
                let (slot, _) = script::number(rest);
                self.unsubscribe(session as usize, slot as u32);
            }
            b'p' => {
                let text = script::text(argument);
                let destinations: Vec<&str> = text.split(',').collect();
                self.publish(&destinations);
            }
            b'w' => {
                self.broker.sweep(std::time::Instant::now());
                let wanted = self.subscriptions.iter().map(|held| &held.source);
                let patterns = wanted.filter_map(|wanted| match wanted {
                    Wanted::Pattern(pattern) => Some(pattern.clone()),
                    Wanted::User(_) => None,
                });
                self.history.push(Step::Sweep(patterns.collect()));
            }
            _ => {}
        }
    }

    fn open(&mut self, name: String) {
        let session = Session {
            id: SessionId::random(),
            user: (!name.is_empty()).then_some(name),
            outbox: Arc::new(Outbox::new(1 << 24, Overflow::Close)),
            open: true,
        };
        let opened = self.broker.open(OpenSession::new(
            session.id,
            session.user.clone().map(Into::into),
            Arc::clone(&session.outbox),
        ));
        assert!(matches!(opened.into_ready(), Ok(Ok(()))), "opens at once");
        self.sessions.push(session);
    }

    fn close(&mut self, session: usize) {
        if session >= self.sessions.len() {
            return;
        }
        self.take(session);
        self.broker.close(self.sessions[session].id);
        self.sessions[session].open = false;
        self.subscriptions
            .retain(|subscription| subscription.session != session);
        let holders = Arc::strong_count(&self.sessions[session].outbox);
        assert_eq!(holders, 1, "somebody holds a closed session's outbox");
    }

    fn subscribe(&mut self, session: usize, text: String) {
        let Ok(pattern) = Pattern::parse(text.clone()) else {
            return;
        };
        let served = served(&text);
        assert_eq!(self.broker.serves(&text), served);
        let result = self.request(session, Source::Pattern(pattern));
        match result {
            Ok(slot) => {
                assert!(served && self.sessions[session].open);
                self.remember(session, slot, Wanted::Pattern(text));
            }
            Err(SubscribeError::UnknownSession { .. }) => assert!(!self.sessions[session].open),
            Err(SubscribeError::UnknownDestination { .. }) => assert!(!served),
            Err(error) => panic!("{error}"),
        }
    }

    fn subscribe_user(&mut self, session: usize, text: String) {
        let Ok(path) = Destination::parse(text.clone()) else {
            return;
        };
        let result = self.request(session, Source::User { path });
        assert_eq!(result.is_ok(), self.sessions[session].open, "{result:?}");
        if let Ok(slot) = result {
            self.remember(session, slot, Wanted::User(text));
        }
    }

    fn request(&mut self, session: usize, source: Source) -> Result<u32, SubscribeError> {
        let slot = self.next_slot;
        self.next_slot += 1;
        let request = SubscribeRequest::new(self.sessions[session].id, slot, source);
        let answer = self.broker.subscribe(request).into_ready();
        answer
            .expect("the embedded broker never waits")
            .map(|()| slot)
    }

    fn remember(&mut self, session: usize, slot: u32, source: Wanted) {
        self.subscriptions.push(Subscription {
            session,
            slot,
            source,
            expected: Vec::new(),
        });
    }

    fn unsubscribe(&mut self, session: usize, slot: u32) {
        if session >= self.sessions.len() {
            return;
        }
        self.take(session);
        let id = self.sessions[session].id;
        let answer = self.broker.unsubscribe(id, slot).into_ready();
        answer.expect("the embedded broker never waits");
        self.subscriptions
            .retain(|subscription| (subscription.session, subscription.slot) != (session, slot));
    }

    fn publish(&mut self, destinations: &[&str]) {
        let parsed: Result<Vec<Destination>, _> = destinations
            .iter()
            .map(|text| Destination::parse((*text).to_owned()))
            .collect();
        let Ok(parsed) = parsed else { return };
        let served = destinations.iter().all(|destination| served(destination));
        let first = self.published.len();
        let batch = parsed.into_iter().enumerate();
        let batch = batch
            .map(|(at, destination)| numbered(destination.into(), first + at))
            .collect();
        let known = self.broker.destinations();
        let result = self.broker.publish(batch).into_ready();
        let published = match result.expect("the embedded broker never waits") {
            Ok(published) => published,
            Err(PublishError::UnknownDestination { .. }) => {
                assert!(!served, "{destinations:?} are served");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        assert!(served, "one of {destinations:?} is not served");
        let (mut receivers, mut wanted) = (0, HashSet::new());
        for destination in destinations {
            let more = self.expect(destination, true, |_, wanted| {
                matches!(wanted, Wanted::Pattern(pattern) if matches(pattern, destination))
            });
            receivers += more;
            if more > 0 {
                wanted.insert(destination);
            }
        }
        assert!(self.broker.destinations() <= known + wanted.len());
        assert_eq!(published.local_receivers, receivers, "{destinations:?}");
    }

    fn publish_user(&mut self, session: usize, text: String) {
        let (Ok(path), Some(user)) = (
            Destination::parse(text.clone()),
            self.sessions[session].user.clone(),
        ) else {
            return;
        };
        let name = user.clone().into();
        let published = self.publish_one(Target::User { name, path });
        let receivers = self.expect(&text, false, |session, wanted| {
            session.user.as_ref() == Some(&user)
                && matches!(wanted, Wanted::User(path) if *path == text)
        });
        assert_eq!(published, receivers);
    }

    fn publish_session(&mut self, session: usize, text: String) {
        let Ok(path) = Destination::parse(text.clone()) else {
            return;
        };
        let id = self.sessions[session].id;
        let published = self.publish_one(Target::Session { id, path });
        let receivers = self.expect(&text, false, |session, wanted| {
            session.id == id && matches!(wanted, Wanted::User(path) if *path == text)
        });
        assert_eq!(published, receivers);
    }

    fn publish_one(&self, target: Target) -> usize {
        let batch = vec![numbered(target, self.published.len())];
        let answer = self.broker.publish(batch).into_ready();
        let published = answer.expect("the embedded broker never waits");
        published.expect("no prefix is asked for").local_receivers
    }

    /// Notes a message and who has to receive it; answers how many.
    fn expect(
        &mut self,
        destination: &str,
        to_topic: bool,
        wants: impl Fn(&Session, &Wanted) -> bool,
    ) -> usize {
        let number = self.published.len();
        self.history.push(Step::Message(number));
        self.published.push(Message {
            destination: destination.to_owned(),
            to_topic,
            seen: None,
        });
        let mut receivers = 0;
        for subscription in &mut self.subscriptions {
            if wants(&self.sessions[subscription.session], &subscription.source) {
                subscription.expected.push(number);
                receivers += 1;
            }
        }
        receivers
    }

    /// Compares what a session got with what it should have.
    fn take(&mut self, session: usize) {
        let mut batch = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        let outbox = &self.sessions[session].outbox;
        let _ = outbox.poll_take(&mut context, &mut batch, usize::MAX, usize::MAX);
        assert_eq!(outbox.queued_bytes(), 0);
        let mut received: HashMap<u32, Vec<usize>> = HashMap::new();
        for delivery in batch {
            let message = &delivery.message;
            let body = std::str::from_utf8(message.body()).expect("a number");
            let number: usize = body.parse().expect("a number");
            received.entry(delivery.slot).or_default().push(number);
            let known = &mut self.published[number];
            assert_eq!(message.destination(), known.destination);
            assert_eq!(message.position().is_some(), known.to_topic);
            let seen = (message.id().to_string(), message.position());
            assert_eq!(*known.seen.get_or_insert_with(|| seen.clone()), seen);
        }
        for subscription in &mut self.subscriptions {
            if subscription.session == session {
                let received = received.remove(&subscription.slot).unwrap_or_default();
                assert_eq!(
                    received, subscription.expected,
                    "slot {}",
                    subscription.slot
                );
                subscription.expected.clear();
            }
        }
        assert!(received.is_empty(), "for nobody: {received:?}");
    }

    fn finish(&mut self) {
        for session in 0..self.sessions.len() {
            self.close(session);
        }
        self.check_ids();
        self.check_positions();
        assert_eq!(self.broker.sessions(), 0);
        self.broker.sweep(std::time::Instant::now());
        self.broker.sweep(std::time::Instant::now());
        assert_eq!(self.broker.destinations(), 0, "{:?}", self.broker);
    }

    fn check_ids(&self) {
        let ids: Vec<&String> = self
            .published
            .iter()
            .filter_map(|message| Some(&message.seen.as_ref()?.0))
            .collect();
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), distinct.len(), "a message id was used twice");
    }

    fn check_positions(&self) {
        let mut lives: HashMap<&str, Life> = HashMap::new();
        let mut epochs: HashMap<u64, &str> = HashMap::new();
        for step in &self.history {
            let number = match step {
                Step::Message(number) => *number,
                Step::Sweep(held) => {
                    for (destination, life) in &mut lives {
                        life.forgettable |= !held.contains(*destination);
                    }
                    continue;
                }
            };
            let message = &self.published[number];
            let life = lives.entry(&message.destination).or_default();
            if !message.to_topic {
                continue;
            }
            life.passed += 1;
            let Some((_, Some(position))) = message.seen else {
                continue;
            };
            let owner = *epochs.entry(position.epoch).or_insert(&message.destination);
            assert_eq!(owner, message.destination, "an epoch of two destinations");
            match life.last.filter(|last| last.epoch == position.epoch) {
                Some(last) => assert_eq!(position.sequence, last.sequence + life.passed),
                None => {
                    assert!(life.last.is_none() || life.forgettable, "a new epoch");
                    assert!((1..=life.passed).contains(&position.sequence));
                }
            }
            *life = Life {
                last: Some(position),
                ..Life::default()
            };
        }
    }
}

/// A message whose body is its number.
fn numbered(target: Target, number: usize) -> Publish {
    Publish::new(target, Headers::new(), number.to_string())
}

fn served(destination: &str) -> bool {
    PREFIXES.iter().any(|prefix| {
        let below = format!("{}/", prefix.trim_end_matches('/'));
        destination.starts_with(&below)
    })
}

/// Ant's meaning of a pattern, as slowly and plainly as can be said.
fn matches(pattern: &str, destination: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let destination: Vec<&str> = destination.split('/').collect();
    covers(
        &pattern,
        &destination,
        |part| *part == "**",
        |part, segment| {
            let part: Vec<char> = part.chars().collect();
            let segment: Vec<char> = segment.chars().collect();
            covers(
                &part,
                &segment,
                |part| *part == '*',
                |part, letter| *part == '?' || part == letter,
            )
        },
    )
}

/// Row by row: which beginnings of `values` the pattern so far covers.
fn covers<P, V>(
    pattern: &[P],
    values: &[V],
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &V) -> bool,
) -> bool {
    let mut reached = vec![false; values.len() + 1];
    reached[0] = true;
    for part in pattern {
        if is_star(part) {
            for at in 0..values.len() {
                reached[at + 1] |= reached[at];
            }
        } else {
            for at in (0..values.len()).rev() {
                reached[at + 1] = reached[at] && fits(part, &values[at]);
            }
            reached[0] = false;
        }
    }
    reached[values.len()]
}
