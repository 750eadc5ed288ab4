//! Topics: their subscribers, and the single order of each destination's messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;

use super::accounts::Payer;
use super::names::{NameQuota, Names, NoMoreNames};
use super::outbox::Burst;
use super::patterns::{Group, Patterns};
use super::settings::{HubSettings, TopicSettings};
use super::subscribers::{Key, Sink, Subscribers};
use super::window::Origin;
use crate::destination::{Destination, Pattern, Separator};
use crate::feed::Feed;
use crate::hub::Lost;
use crate::message::{Message, Position, Publish};
use crate::statistics::{Count, Counters, DestinationKind, DestinationStatistics, Meter};
use crate::sync::{AtomicU64, Mutex, RwLock};

/// All topics of a hub.
#[derive(Debug)]
pub(super) struct Topics {
    settings: Arc<HubSettings>,
    totals: Arc<Counters>,
    names: Names<Topic>,
    patterns: RwLock<Patterns>,
    /// Counts changes of the set of pattern groups; topics store the version they saw.
    patterns_version: AtomicU64,
    next_epoch: std::sync::atomic::AtomicU64,
}

/// One destination. Holding the lock on its state is its *turn*: a message is numbered and queued in one turn, so that
/// every subscriber sees the same order.
#[derive(Debug)]
pub(super) struct Topic {
    name: ByteString,
    state: Mutex<TopicState>,
    settings: Arc<TopicSettings>,
    pub(super) origin: Arc<Origin>,
}

#[derive(Debug)]
struct TopicState {
    epoch: u64,
    sequence: u64,
    /// The feed that brings the messages of the subscribers of exactly this destination.
    feed: Feed,
    subscribers: Subscribers,
    groups: Vec<Arc<Group>>,
    groups_version: u64,
    /// True if anything happened since the last sweep.
    used: bool,
    /// Removed from the map: a holder of this topic must look it up again.
    forgotten: bool,
}

/// A subscription's place, by which it is removed.
#[derive(Clone, Debug)]
pub(super) enum TopicPlace {
    Topic(Arc<Topic>, Key),
    Group(Arc<Group>, Key),
}

impl TopicPlace {
    /// The pattern of the subscription.
    pub(super) fn pattern(&self) -> Option<Pattern> {
        match self {
            // It was a pattern without wildcards, which means the same with any separator.
            Self::Topic(topic, _) => Pattern::parse(topic.name.clone()).ok(),
            Self::Group(group, _) => Some(group.pattern.clone()),
        }
    }
}

impl Topics {
    /// `first_epoch` must differ between starts of the process.
    pub(super) fn new(
        first_epoch: u64,
        quota: Arc<NameQuota>,
        settings: Arc<HubSettings>,
        totals: Arc<Counters>,
    ) -> Self {
        Self {
            settings,
            totals,
            names: Names::new(quota),
            patterns: RwLock::default(),
            patterns_version: AtomicU64::new(1),
            next_epoch: std::sync::atomic::AtomicU64::new(first_epoch),
        }
    }

    /// Adds a subscriber of `payer`. `feed` brings its messages; if there are other subscribers already, their feed
    /// stays.
    pub(super) fn subscribe(
        &self,
        pattern: &Pattern,
        payer: Payer<'_>,
        sink: Sink,
        feed: Feed,
    ) -> Result<TopicPlace, NoMoreNames> {
        let Some(destination) = pattern.as_destination() else {
            // Under the index's lock, so that the group is not removed between lookup and use.
            let mut patterns = self.patterns.write();
            let (group, new) = patterns.group(pattern);
            let key = group.subscribers.lock().add(sink);
            if new {
                group.set_feed(feed);
                self.patterns_version.fetch_add(1, Ordering::Release);
            }
            return Ok(TopicPlace::Group(group, key));
        };
        loop {
            let topic = self.topic(&destination, payer, (Vec::new(), 0))?;
            let mut state = topic.state.lock();
            if !state.forgotten {
                state.used = true;
                if state.subscribers.is_empty() {
                    state.feed = feed;
                }
                let key = state.subscribers.add(sink);
                drop(state);
                return Ok(TopicPlace::Topic(topic, key));
            }
        }
    }

    pub(super) fn unsubscribe(&self, place: &TopicPlace) {
        match place {
            TopicPlace::Topic(topic, key) => topic.state.lock().subscribers.remove(key),
            TopicPlace::Group(group, key) => {
                let mut subscribers = group.subscribers.lock();
                subscribers.remove(key);
                let unused = subscribers.is_empty();
                drop(subscribers);
                if !unused {
                    return;
                }
                // A subscriber that came meanwhile keeps it.
                let mut patterns = self.patterns.write();
                if patterns.forget(&group.pattern) {
                    self.patterns_version.fetch_add(1, Ordering::Release);
                }
            }
        }
    }

    /// Changes the feed of the subscribers of `pattern`.
    pub(super) fn set_feed(&self, pattern: &Pattern, feed: Feed) {
        match pattern.as_destination() {
            Some(destination) => {
                if let Some(topic) = self.names.get(&destination) {
                    topic.state.lock().feed = feed;
                }
            }
            None => {
                if let Some(group) = self.patterns.read().find(pattern) {
                    group.set_feed(feed);
                }
            }
        }
    }

    /// Delivers messages that all go to `destination`, in one turn, to the subscriptions whose feed `is_theirs`; returns
    /// the number of those, and `None` if there is no subscription at all. Messages that are refused stay in `messages`.
    pub(super) fn deliver(
        &self,
        is_theirs: impl Fn(Feed) -> bool,
        destination: &Destination,
        separator: Separator,
        messages: &mut Vec<Publish>,
        mut make: impl FnMut(Publish, Position) -> Arc<Message>,
    ) -> Result<Option<usize>, NoMoreNames> {
        loop {
            let payer = || messages.first()?.account().cloned();
            let Some(topic) = self.topic_for_publish(destination, &payer, separator)? else {
                return Ok(None);
            };
            let mut state = topic.state.lock();
            if state.forgotten {
                continue;
            }
            state.used = true;
            self.look_again(&mut state, destination, separator);
            let epoch = state.epoch;
            let messages: Vec<Arc<Message>> = std::mem::take(messages)
                .into_iter()
                .map(|publish| {
                    state.sequence += 1;
                    let sequence = state.sequence;
                    make(publish, Position { epoch, sequence })
                })
                .collect();
            let overflow = &topic.settings.overflow;
            let burst = Burst::new(&messages, overflow);
            let (mut lost, mut receivers) = (Lost::default(), 0);
            if is_theirs(state.feed) {
                lost = state.subscribers.deliver(&messages, &burst, &topic.origin);
                receivers = state.subscribers.len();
            }
            for group in state.groups.iter().filter(|group| is_theirs(group.feed())) {
                let subscribers = group.subscribers.lock();
                lost += subscribers.deliver(&messages, &burst, &topic.origin);
                receivers += subscribers.len();
            }
            let deliveries = receivers * messages.len();
            let meter = &topic.origin.meter;
            meter.count(Count::Published, messages.len());
            meter.count(Count::Delivered, deliveries);
            meter.lost(lost, overflow);
            return Ok(Some(deliveries));
        }
    }

    /// Makes sure that publishing to `destination` finds it in the map, if it has subscribers.
    pub(super) fn prepare(
        &self,
        destination: &Destination,
        payer: Payer<'_>,
        separator: Separator,
    ) -> Result<(), NoMoreNames> {
        self.topic_for_publish(destination, payer, separator)
            .map(drop)
    }

    /// Removes topics that have no subscribers and were not used since the previous sweep.
    pub(super) fn sweep(&self, seconds: f32) {
        self.names.sweep(|topic| {
            topic.origin.meter.measure(seconds);
            // A topic whose lock is taken is in use; no thread blocks on it while holding the shard's lock.
            let Some(mut state) = topic.state.try_lock() else {
                return true;
            };
            let used = std::mem::take(&mut state.used) || !state.subscribers.is_empty();
            state.forgotten = !used;
            used
        });
    }

    pub(super) fn statistics(
        &self,
        select: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = DestinationStatistics> {
        let selected = self.names.select(|name, _| select(name)).into_iter();
        selected.map(move |(destination, topic)| {
            let mut state = topic.state.lock();
            let separator = self.settings.separator(&destination);
            self.look_again(&mut state, &destination, separator);
            let groups = state.groups.iter();
            let of_patterns: usize = groups.map(|group| group.subscribers.lock().len()).sum();
            let meter = &topic.origin.meter;
            DestinationStatistics {
                destination,
                kind: DestinationKind::Topic,
                subscribers: state.subscribers.len() + of_patterns,
                depth: 0,
                unsettled: 0,
                bytes: 0,
                counts: meter.counts(),
                published_per_second: meter.published_per_second(),
                delivered_per_second: meter.delivered_per_second(),
            }
        })
    }

    /// Returns the topic, created with the pattern groups that match it, as far as they are known.
    fn topic(
        &self,
        destination: &Destination,
        payer: Payer<'_>,
        (groups, groups_version): (Vec<Arc<Group>>, u64),
    ) -> Result<Arc<Topic>, NoMoreNames> {
        self.names.get_or_insert(destination, payer, |name| {
            let settings = self.settings.settings_of_topic(destination);
            let origin = Arc::new(Origin {
                meter: Meter::new(&self.totals),
                dead_letters: settings.dead_letters.clone(),
            });
            Topic {
                name,
                state: Mutex::new(TopicState {
                    feed: Feed::NODE,
                    epoch: self.next_epoch.fetch_add(1, Ordering::Relaxed),
                    sequence: 0,
                    subscribers: Subscribers::default(),
                    groups,
                    groups_version,
                    used: true,
                    forgotten: false,
                }),
                settings,
                origin,
            }
        })
    }

    /// Like [`Topics::topic`], but a name without subscribers is not stored.
    fn topic_for_publish(
        &self,
        destination: &Destination,
        payer: Payer<'_>,
        separator: Separator,
    ) -> Result<Option<Arc<Topic>>, NoMoreNames> {
        if let Some(topic) = self.names.get(destination) {
            return Ok(Some(topic));
        }
        // Read before the groups: a change in between only makes the topic look again.
        let version = self.patterns_version.load(Ordering::Acquire);
        let groups = self.matching(destination, separator);
        if groups.is_empty() {
            return Ok(None);
        }
        self.topic(destination, payer, (groups, version)).map(Some)
    }

    /// Updates the groups that match a topic.
    fn look_again(&self, state: &mut TopicState, destination: &str, separator: Separator) {
        // Read before the groups: a change in between only makes the topic look again.
        let version = self.patterns_version.load(Ordering::Acquire);
        if state.groups_version != version {
            state.groups = self.matching(destination, separator);
            state.groups_version = version;
        }
    }

    fn matching(&self, destination: &str, separator: Separator) -> Vec<Arc<Group>> {
        self.patterns.read().matching(destination, separator)
    }
}
