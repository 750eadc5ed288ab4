//! The sources that the hub asks an engine for: each once, however many subscriptions share it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};

use super::LocalHub;
use crate::broker::Broker;
use crate::errors::SubscribeError;
use crate::feed::{Feed, Source};
use crate::request::Subscribed;
use crate::session_id::SessionId;
use crate::sync::Mutex;

/// The sources with subscribers on this node, for engines with
/// [`Capabilities::interest`](crate::Capabilities::interest).
#[derive(Debug, Default)]
pub(super) struct Sources(Mutex<SourceTable>);

#[derive(Debug, Default)]
struct SourceTable {
    known: HashMap<Source, KnownSource>,
    /// The sources with a call to the engine in progress, and the calls that follow it: one thread at a time makes
    /// them, so that the calls about a source come in order without a lock being held.
    calls: HashMap<Source, VecDeque<SourceCall>>,
    next: u64,
}

/// A call to the engine about a source.
#[derive(Debug)]
enum SourceCall {
    Activate(Activation),
    Deactivate,
}

#[derive(Debug)]
struct KnownSource {
    /// Distinguishes this life of the source from an earlier one, whose answer may still arrive.
    life: u64,
    users: HashSet<SourceUser>,
    state: SourceState,
}

/// A subscription, by its session and slot.
pub(super) type SourceUser = (SessionId, u32);

enum SourceState {
    /// The engine has not answered; all who wait share its answer.
    Asked(Vec<Answered>),
    Active(Feed),
}

/// Called with the engine's answer.
pub(super) type Answered =
    Box<dyn FnOnce(&Arc<LocalHub>, Result<Subscribed, SubscribeError>) + Send>;

impl Sources {
    /// Adds a user of `source`; `answered` is called once it is active, or refused. Asks the engine if it is new.
    pub(super) fn join(
        &self,
        hub: &Arc<LocalHub>,
        broker: &dyn Broker,
        source: &Source,
        user: SourceUser,
        answered: Answered,
    ) {
        let mut table = self.0.lock();
        let life = table.next;
        let call = match table.known.entry(source.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.users.insert(user);
                match &mut known.state {
                    SourceState::Asked(waiting) => waiting.push(answered),
                    SourceState::Active(feed) => {
                        // The last subscriber may just have left.
                        hub.set_feed(source, *feed);
                        drop(table);
                        // The engine gave a position for those that waited then.
                        answered(hub, Ok(Subscribed::default()));
                    }
                }
                return;
            }
            Entry::Vacant(vacant) => {
                vacant.insert(KnownSource {
                    life,
                    users: HashSet::from([user]),
                    state: SourceState::Asked(vec![answered]),
                });
                // A subscriber that left may have had another feed.
                hub.set_feed(source, Feed::NONE);
                table.next += 1;
                SourceCall::Activate(Activation {
                    hub: Arc::downgrade(hub),
                    source: source.clone(),
                    life,
                    answered: false,
                })
            }
        };
        let call = table.next_call(source, call);
        drop(table);
        self.call(broker, source, call);
    }

    /// Removes a user of `source`. The source ends with its last user.
    pub(super) fn leave(&self, broker: &dyn Broker, source: &Source, user: SourceUser) {
        let mut table = self.0.lock();
        let Entry::Occupied(mut known) = table.known.entry(source.clone()) else {
            // The engine refused it, and its users with it.
            return;
        };
        let left = known.get_mut().users.remove(&user);
        if !left || !known.get().users.is_empty() {
            return;
        }
        let ended = known.remove();
        let call = table.next_call(source, SourceCall::Deactivate);
        drop(table);
        // The waiting users get no answer: dropped outside the lock, since this wakes them.
        drop(ended);
        self.call(broker, source, call);
    }

    /// Ends a source that is active by `feed`, at the engine's wish; returns its users, or `None` if it is not.
    pub(super) fn end(
        &self,
        hub: &LocalHub,
        source: &Source,
        feed: Feed,
    ) -> Option<HashSet<SourceUser>> {
        let mut table = self.0.lock();
        table.active(source, feed)?;
        hub.set_feed(source, Feed::NONE);
        table.known.remove(source).map(|known| known.users)
    }

    /// Returns the users of a source that is active by `feed`.
    pub(super) fn users(&self, source: &Source, feed: Feed) -> Vec<SourceUser> {
        let table = self.0.lock();
        let known = table.active(source, feed);
        known.map_or_else(Vec::new, |known| known.users.iter().copied().collect())
    }

    /// Calls the engine with `call`, and then with the calls queued after it.
    fn call(&self, broker: &dyn Broker, source: &Source, mut call: Option<SourceCall>) {
        while let Some(now) = call {
            match now {
                SourceCall::Activate(activation) => broker.activate(activation),
                SourceCall::Deactivate => broker.deactivate(source),
            }
            let mut table = self.0.lock();
            call = table.calls.get_mut(source).and_then(VecDeque::pop_front);
            if call.is_none() {
                table.calls.remove(source);
            }
        }
    }

    /// Makes the life `life` of a source active; returns the waiting users, or nothing if that life has ended.
    fn confirm(&self, hub: &LocalHub, (source, life): (&Source, u64), feed: Feed) -> Vec<Answered> {
        let mut table = self.0.lock();
        let known = table.known.get_mut(source);
        let Some(known) = known.filter(|known| known.life == life) else {
            return Vec::new();
        };
        hub.set_feed(source, feed);
        match std::mem::replace(&mut known.state, SourceState::Active(feed)) {
            SourceState::Asked(waiting) => waiting,
            SourceState::Active(_) => Vec::new(),
        }
    }

    /// Ends the life `life` of a source; returns the waiting users.
    fn refuse(&self, source: &Source, life: u64) -> Vec<Answered> {
        let mut table = self.0.lock();
        let Entry::Occupied(mut known) = table.known.entry(source.clone()) else {
            return Vec::new();
        };
        if known.get().life != life {
            return Vec::new();
        }
        match &mut known.get_mut().state {
            SourceState::Active(_) => Vec::new(),
            SourceState::Asked(waiting) => {
                let waiting = std::mem::take(waiting);
                known.remove();
                waiting
            }
        }
    }
}

impl SourceTable {
    /// Returns the source if it is active by `feed`.
    fn active(&self, source: &Source, feed: Feed) -> Option<&KnownSource> {
        let known = self.known.get(source)?;
        matches!(known.state, SourceState::Active(by) if by == feed).then_some(known)
    }

    /// Returns the call to make now: none if another thread is calling the engine about the source, which then makes
    /// it.
    fn next_call(&mut self, source: &Source, call: SourceCall) -> Option<SourceCall> {
        match self.calls.entry(source.clone()) {
            Entry::Occupied(mut calls) => {
                calls.get_mut().push_back(call);
                None
            }
            Entry::Vacant(vacant) => {
                vacant.insert(VecDeque::new());
                Some(call)
            }
        }
    }
}

/// A source that the engine is to deliver from now on. The engine answers with one of its methods, at once or later.
///
/// Dropping it answers that the outcome is unknown. An answer for a source that has ended meanwhile is ignored;
/// [`Broker::deactivate`](crate::Broker::deactivate) has reported that end.
#[must_use = "answer it, or its subscribers are refused"]
pub struct Activation {
    hub: Weak<LocalHub>,
    source: Source,
    life: u64,
    answered: bool,
}

impl Activation {
    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// From now on every message to the source comes by `feed`. Messages that the engine delivers after this call reach
    /// the source's subscribers.
    pub fn confirm(self, feed: Feed) {
        self.confirm_at(feed, Subscribed::default());
    }

    /// Like [`confirm`](Self::confirm), with the position that the source starts at, for the subscriptions that wait for
    /// this answer. Those that join later get no position.
    pub fn confirm_at(mut self, feed: Feed, subscribed: Subscribed) {
        self.answered = true;
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        let life = (&self.source, self.life);
        let mut waiting = hub.sources().confirm(&hub, life, feed);
        let last = waiting.pop();
        for answered in waiting {
            answered(&hub, Ok(subscribed.clone()));
        }
        if let Some(answered) = last {
            answered(&hub, Ok(subscribed));
        }
    }

    /// The source is not delivered; its subscriptions are refused with `error`.
    pub fn refuse(mut self, error: SubscribeError) {
        self.refused(error);
    }

    fn refused(&mut self, error: SubscribeError) {
        self.answered = true;
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        let mut waiting = hub.sources().refuse(&self.source, self.life);
        let last = waiting.pop();
        for answered in waiting {
            answered(&hub, Err(error.clone()));
        }
        if let Some(answered) = last {
            answered(&hub, Err(error));
        }
    }
}

impl Drop for Activation {
    fn drop(&mut self) {
        if !self.answered {
            self.refused(SubscribeError::OutcomeUnknown);
        }
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Activation").field(&self.source).finish()
    }
}

impl fmt::Debug for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(waiting) => write!(f, "Asked, {} wait", waiting.len()),
            Self::Active(feed) => write!(f, "Active by {feed:?}"),
        }
    }
}
