//! Sessions and their subscriptions.

use std::num::NonZeroU32;
use std::sync::Arc;

use tramline_broker::{
    AckMode, Destination, OpenSession, Outbox, Overflow, Pattern, SessionId, SubscribeError,
    SubscribeRequest,
};

use super::rules::{Rules, limit};
use super::{ModelSession, SESSIONS, Source, Subscription, Topic, Wanted, World, patterns};

/// The maximum number of unsettled deliveries of a subscription.
const MAX_PREFETCH: u32 = 10_000;

impl World {
    pub(super) fn open(&mut self, user: Option<String>, limit: Option<usize>) {
        if self.sessions.len() < SESSIONS {
            self.open_anyhow(user, limit);
        }
    }

    pub(super) fn open_anyhow(&mut self, user: Option<String>, units: Option<usize>) {
        let bytes = units.map_or(usize::MAX / 2, limit);
        let session = ModelSession {
            id: SessionId::random(),
            user,
            outbox: Arc::new(Outbox::new(bytes, Overflow::Close)),
            limit: units,
            open: true,
            items: Vec::new(),
            shut: false,
            ended: false,
            room_wanted: false,
        };
        let outbox = Arc::clone(&session.outbox);
        let user = session.user.clone().map(Into::into);
        let opened = self.broker.open(OpenSession::new(session.id, user, outbox));
        assert!(matches!(opened.into_ready(), Ok(Ok(()))), "opens at once");
        self.sessions.push(session);
    }

    pub(super) fn close(&mut self, at: usize) {
        if self.sessions.get(at).is_none_or(|session| !session.open) {
            return;
        }
        self.broker.close(self.sessions[at].id);
        self.sessions[at].open = false;
        self.sessions[at].shut = true;
        self.end(&self.held(at));
        self.sessions[at].outbox.close();
        self.sessions[at].items.clear();
        self.sessions[at].ended = false;
        self.sessions[at].room_wanted = false;
    }

    /// A session's subscriptions, in the order they were made.
    pub(super) fn held(&self, session: usize) -> Vec<u32> {
        let slots = 0..self.subscriptions.len() as u32;
        slots
            .filter(|slot| {
                let held = &self.subscriptions[*slot as usize];
                held.active && held.session == session
            })
            .collect()
    }

    pub(super) fn subscribe(
        &mut self,
        session: usize,
        wanted: Wanted,
        ack: AckMode,
        prefetch: u32,
    ) {
        let Some(count) = NonZeroU32::new(prefetch) else {
            return;
        };
        if session >= self.sessions.len() || self.would_crowd(session, &wanted) {
            return;
        }
        let (source, request) = match wanted {
            Wanted::Pattern(text) => {
                let separator = self.broker.separator(&text);
                assert_eq!(separator, Rules::separator(&text));
                let Ok(pattern) = Pattern::parse_separated(text.clone(), separator) else {
                    return;
                };
                let source = if Rules::is_queue(&text) {
                    Source::Queue(text)
                } else {
                    Source::Topic(text)
                };
                (source, tramline_broker::Address::from(pattern))
            }
            Wanted::User(text) => {
                let Ok(path) = Destination::parse(text.clone()) else {
                    return;
                };
                (Source::User(text), tramline_broker::Address::User { path })
            }
        };
        let slot = self.subscriptions.len() as u32;
        let request = SubscribeRequest::new(self.sessions[session].id, slot, request)
            .acknowledged(ack)
            .prefetch(count);
        let answer = self.broker.subscribe(request).into_ready();
        let answer = answer.expect("the embedded broker knows at once");
        let expected = self.may_subscribe(session, &source, prefetch);
        assert_eq!(answer.as_ref().err().map(kind), expected, "{answer:?}");
        if expected.is_none() {
            self.subscriptions.push(Subscription {
                session,
                source,
                active: true,
                ack,
                prefetch: prefetch as usize,
                last_tag: 0,
                unsettled: Vec::new(),
                waiting: Vec::new(),
            });
            self.begin(slot);
        }
    }

    /// Returns true if a slow session would receive a message twice: which of the two comes first, and so finds room,
    /// is unspecified.
    fn would_crowd(&self, session: usize, wanted: &Wanted) -> bool {
        if self.sessions[session].limit.is_none() {
            return false;
        }
        let held = self.held(session);
        let mut sources = held
            .iter()
            .map(|slot| &self.subscriptions[*slot as usize].source);
        sources.any(|source| match (source, wanted) {
            (Source::User(a), Wanted::User(b)) => a == b,
            (Source::Topic(a), Wanted::Pattern(b)) => {
                let pattern = Pattern::parse_separated(b.clone(), Rules::separator(b));
                pattern.is_ok_and(|b| b.overlaps(&patterns::parse(a)))
            }
            _ => false,
        })
    }

    /// Returns the reason why a subscription is refused.
    fn may_subscribe(&self, session: usize, source: &Source, prefetch: u32) -> Option<Kind> {
        if !self.sessions[session].open {
            return Some(Kind::Session);
        }
        if prefetch > MAX_PREFETCH {
            return Some(Kind::Prefetch);
        }
        match source {
            Source::Topic(text) if !Rules::is_topic(text) => Some(Kind::Destination),
            Source::Queue(text) if patterns::is_wild(text) => Some(Kind::Pattern),
            _ => None,
        }
    }

    fn begin(&mut self, slot: u32) {
        match self.subscriptions[slot as usize].source.clone() {
            Source::Topic(text) if !patterns::is_wild(&text) => self.topic(&text).used = true,
            Source::Topic(_) | Source::User(_) => {}
            Source::Queue(name) => {
                let queue = self.queue(&name);
                queue.used = true;
                queue.turn.push(slot);
                self.hand_out(&name);
            }
        }
        self.finish_up();
    }

    pub(super) fn unsubscribe(&mut self, session: usize, slot: u32) {
        let Some(known) = self.sessions.get(session) else {
            return;
        };
        let answer = self.broker.unsubscribe(known.id, slot).into_ready();
        let ended = answer.expect("the embedded broker knows at once");
        ended.expect("it ends");
        if self.held(session).contains(&slot) {
            self.end(&[slot]);
        }
    }

    /// Ends subscriptions all at once: whatever they had is back before any of it is given out.
    fn end(&mut self, slots: &[u32]) {
        let mut queues = Vec::new();
        for slot in slots {
            let held = &mut self.subscriptions[*slot as usize];
            held.active = false;
            held.waiting.clear();
            let unsettled = std::mem::take(&mut held.unsettled);
            let Source::Queue(name) = held.source.clone() else {
                continue;
            };
            let queue = self.queue(&name);
            queue.used = true;
            queue.turn.retain(|other| other != slot);
            for (_, message) in unsettled {
                self.come_back(&name, message);
            }
            queues.push(name);
        }
        for name in queues {
            self.hand_out(&name);
        }
        self.finish_up();
    }

    /// Returns the topic of that name, creating it if it is unknown.
    pub(super) fn topic(&mut self, name: &str) -> &mut Topic {
        let life = self.next_turn();
        self.topics.entry(name.to_owned()).or_insert_with(|| Topic {
            life,
            used: true,
            epoch: None,
            sequence: 0,
            counts: tramline_broker::Counts::default(),
        })
    }

    /// Returns true if the topic has subscribers.
    pub(super) fn has_listeners(&self, topic: &str) -> bool {
        self.listeners(topic).next().is_some()
    }

    /// Subscriptions that cover a topic.
    pub(super) fn listeners(&self, topic: &str) -> impl Iterator<Item = u32> {
        let slots = 0..self.subscriptions.len() as u32;
        slots.filter(move |slot| {
            let held = &self.subscriptions[*slot as usize];
            held.active
                && matches!(&held.source, Source::Topic(text) if patterns::matches(text, topic))
        })
    }
}

/// Why a subscription is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Session,
    Prefetch,
    Destination,
    Pattern,
}

fn kind(error: &SubscribeError) -> Kind {
    match error {
        SubscribeError::UnknownSession { .. } => Kind::Session,
        SubscribeError::PrefetchTooLarge { .. } => Kind::Prefetch,
        SubscribeError::UnknownDestination { .. } => Kind::Destination,
        SubscribeError::PatternOnQueue { .. } => Kind::Pattern,
        error => panic!("{error}"),
    }
}
