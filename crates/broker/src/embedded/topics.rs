//! Topics: who subscribed, and the one order of each destination's messages.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytestring::ByteString;
use parking_lot::{Mutex, RwLock};

use super::patterns::{Group, Patterns};
use super::subscribers::{Subscriber, Subscribers};
use crate::{Destination, Message, Pattern, Position, Publish};

const SHARDS: usize = 64;

/// All topics of a broker.
#[derive(Debug)]
pub(super) struct Topics {
    shards: [RwLock<HashMap<ByteString, Arc<Topic>>>; SHARDS],
    hasher: RandomState,
    patterns: RwLock<Patterns>,
    /// Counts changes of the set of pattern groups; topics remember which set they saw.
    patterns_version: AtomicU64,
    next_epoch: AtomicU64,
    /// How many there are.
    count: AtomicUsize,
    /// How many there may be.
    pub(super) limit: usize,
}

/// There are as many destinations as there may be.
#[derive(Debug)]
pub(super) struct Full;

/// One destination. Its lock is its *turn*: numbering and queueing of a message happen in one, so that every
/// subscriber sees the same order.
#[derive(Debug)]
pub(super) struct Topic {
    state: Mutex<TopicState>,
}

#[derive(Debug)]
struct TopicState {
    epoch: u64,
    sequence: u64,
    subscribers: Subscribers,
    groups: Vec<Arc<Group>>,
    groups_version: u64,
    /// Whether anything happened since the last sweep.
    used: bool,
    /// Taken out of the map: whoever still holds this one looks the destination up again.
    forgotten: bool,
}

/// A subscription's place, by which it is ended.
#[derive(Debug)]
pub(super) enum Place {
    Topic(Arc<Topic>, u32),
    Group(Arc<Group>, u32),
}

impl Topics {
    /// `first_epoch` must differ between starts of the process.
    pub(super) fn new(first_epoch: u64, limit: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: RandomState::new(),
            patterns: RwLock::default(),
            patterns_version: AtomicU64::new(1),
            next_epoch: AtomicU64::new(first_epoch),
            count: AtomicUsize::new(0),
            limit,
        }
    }

    pub(super) fn subscribe(
        &self,
        pattern: &Pattern,
        subscriber: Subscriber,
    ) -> Result<Place, Full> {
        let Some(destination) = pattern.as_destination() else {
            // Under the index's lock, so that the group is not forgotten between being found and being used.
            let mut patterns = self.patterns.write();
            let (group, new) = patterns.group(pattern);
            let key = group.subscribers.lock().add(subscriber);
            if new {
                self.patterns_version.fetch_add(1, Ordering::Release);
            }
            return Ok(Place::Group(group, key));
        };
        loop {
            let topic = self.topic(&destination, Vec::new(), 0)?;
            let mut state = topic.state.lock();
            if !state.forgotten {
                state.used = true;
                let key = state.subscribers.add(subscriber);
                drop(state);
                return Ok(Place::Topic(topic, key));
            }
        }
    }

    pub(super) fn unsubscribe(&self, place: &Place) {
        match place {
            Place::Topic(topic, key) => topic.state.lock().subscribers.remove(*key),
            Place::Group(group, key) => {
                group.subscribers.lock().remove(*key);
                let mut patterns = self.patterns.write();
                if patterns.forget(&group.pattern) {
                    self.patterns_version.fetch_add(1, Ordering::Release);
                }
            }
        }
    }

    /// Publishes messages that all go to `destination`, in one turn; gives how many subscriptions they reached.
    pub(super) fn publish(
        &self,
        destination: &Destination,
        messages: Vec<Publish>,
        mut next_id: impl FnMut() -> ByteString,
    ) -> Result<usize, Full> {
        loop {
            let Some(topic) = self.topic_for_publish(destination)? else {
                return Ok(0);
            };
            let mut state = topic.state.lock();
            if state.forgotten {
                continue;
            }
            state.used = true;
            let version = self.patterns_version.load(Ordering::Acquire);
            if state.groups_version != version {
                state.groups = self.patterns.read().matching(destination);
                state.groups_version = version;
            }
            let epoch = state.epoch;
            let messages: Vec<Arc<Message>> = messages
                .into_iter()
                .map(|publish| {
                    state.sequence += 1;
                    let position = Position {
                        epoch,
                        sequence: state.sequence,
                    };
                    Arc::new(Message::new(publish, next_id(), Some(position)))
                })
                .collect();
            state.subscribers.deliver(&messages);
            let mut receivers = state.subscribers.len();
            for group in &state.groups {
                let subscribers = group.subscribers.lock();
                subscribers.deliver(&messages);
                receivers += subscribers.len();
            }
            return Ok(receivers * messages.len());
        }
    }

    /// Forgets topics that have no subscribers and were not used since the sweep before.
    pub(super) fn sweep(&self) {
        for shard in &self.shards {
            let mut shard = shard.write();
            let before = shard.len();
            shard.retain(|_, topic| {
                // A topic whose turn somebody has is used; nobody waits for it with the shard in hand.
                let Some(mut state) = topic.state.try_lock() else {
                    return true;
                };
                let used = std::mem::take(&mut state.used) || !state.subscribers.is_empty();
                state.forgotten = !used;
                used
            });
            self.count
                .fetch_sub(before - shard.len(), Ordering::Relaxed);
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn shard(&self, destination: &str) -> &RwLock<HashMap<ByteString, Arc<Topic>>> {
        &self.shards[self.hasher.hash_one(destination) as usize % SHARDS]
    }

    /// The topic, made with the pattern groups that match it, as far as they are known.
    fn topic(
        &self,
        destination: &Destination,
        groups: Vec<Arc<Group>>,
        groups_version: u64,
    ) -> Result<Arc<Topic>, Full> {
        let shard = self.shard(destination);
        if let Some(topic) = shard.read().get(destination.as_str()) {
            return Ok(Arc::clone(topic));
        }
        let mut shard = shard.write();
        if let Some(topic) = shard.get(destination.as_str()) {
            return Ok(Arc::clone(topic));
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        // A copy: the text may be a slice of a whole frame, which the topic must not keep alive.
        let name = ByteString::from(destination.as_str());
        let topic = Arc::new(Topic {
            state: Mutex::new(TopicState {
                epoch: self.next_epoch.fetch_add(1, Ordering::Relaxed),
                sequence: 0,
                subscribers: Subscribers::default(),
                groups,
                groups_version,
                used: true,
                forgotten: false,
            }),
        });
        shard.insert(name, Arc::clone(&topic));
        Ok(topic)
    }

    /// As [`Topics::topic`], but a name that nobody listens to is not remembered.
    fn topic_for_publish(&self, destination: &Destination) -> Result<Option<Arc<Topic>>, Full> {
        if let Some(topic) = self.shard(destination).read().get(destination.as_str()) {
            return Ok(Some(Arc::clone(topic)));
        }
        // Read before the groups: a change in between only makes the topic look again.
        let version = self.patterns_version.load(Ordering::Acquire);
        let groups = self.patterns.read().matching(destination);
        if groups.is_empty() {
            return Ok(None);
        }
        self.topic(destination, groups, version).map(Some)
    }
}
