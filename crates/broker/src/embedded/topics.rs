//! Topics: who subscribed, and the one order of each destination's messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;

use super::names::{Names, NoMoreNames, Quota};
use super::patterns::{Group, Patterns};
use super::settings::TopicSettings;
use super::subscribers::{Key, Sink, Subscribers};
use crate::destination::Segments;
use crate::outbox::Burst;
use crate::statistics::{DestinationKind, DestinationStatistics};
use crate::sync::{AtomicU64, Mutex, RwLock};
use crate::window::Origin;
use crate::{Destination, Message, Pattern, Position, Publish, Separator};

/// All topics of a broker.
#[derive(Debug)]
pub(super) struct Topics {
    names: Names<Topic>,
    patterns: RwLock<Patterns>,
    /// Counts changes of the set of pattern groups; topics remember which set they saw.
    patterns_version: AtomicU64,
    next_epoch: std::sync::atomic::AtomicU64,
}

/// One destination. The lock on its state is its *turn*: numbering and queueing of a message happen in one, so that every
/// subscriber sees the same order.
#[derive(Debug)]
pub(super) struct Topic {
    state: Mutex<TopicState>,
    settings: Arc<TopicSettings>,
    pub(super) origin: Arc<Origin>,
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
#[derive(Clone, Debug)]
pub(super) enum Place {
    Topic(Arc<Topic>, Key),
    Group(Arc<Group>, Key),
}

/// What a topic that becomes known needs: its settings and its books.
pub(super) type Details = (Arc<TopicSettings>, Arc<Origin>);

impl Topics {
    /// `first_epoch` must differ between starts of the process.
    pub(super) fn new(first_epoch: u64, quota: Arc<Quota>) -> Self {
        Self {
            names: Names::new(quota),
            patterns: RwLock::default(),
            patterns_version: AtomicU64::new(1),
            next_epoch: std::sync::atomic::AtomicU64::new(first_epoch),
        }
    }

    pub(super) fn subscribe(
        &self,
        pattern: &Pattern,
        sink: Sink,
        details: impl Fn(&str) -> Details,
    ) -> Result<Place, NoMoreNames> {
        let Some(destination) = pattern.as_destination() else {
            // Under the index's lock, so that the group is not forgotten between being found and being used.
            let mut patterns = self.patterns.write();
            let (group, new) = patterns.group(pattern);
            let key = group.subscribers.lock().add(sink);
            if new {
                self.patterns_version.fetch_add(1, Ordering::Release);
            }
            return Ok(Place::Group(group, key));
        };
        loop {
            let topic = self.topic(&destination, (Vec::new(), 0), &details)?;
            let mut state = topic.state.lock();
            if !state.forgotten {
                state.used = true;
                let key = state.subscribers.add(sink);
                drop(state);
                return Ok(Place::Topic(topic, key));
            }
        }
    }

    pub(super) fn unsubscribe(&self, place: &Place) {
        match place {
            Place::Topic(topic, key) => topic.state.lock().subscribers.remove(key),
            Place::Group(group, key) => {
                group.subscribers.lock().remove(key);
                let mut patterns = self.patterns.write();
                if patterns.forget(&group.pattern) {
                    self.patterns_version.fetch_add(1, Ordering::Release);
                }
            }
        }
    }

    /// Publishes messages that all go to `destination`, in one turn; gives how many subscriptions they reached, and
    /// `None` where nobody listens.
    pub(super) fn publish(
        &self,
        destination: &Destination,
        separator: Separator,
        messages: Vec<Publish>,
        details: impl Fn(&str) -> Details,
        mut make: impl FnMut(Publish, Position) -> Arc<Message>,
    ) -> Result<Option<usize>, NoMoreNames> {
        loop {
            let Some(topic) = self.topic_for_publish(destination, separator, &details)? else {
                return Ok(None);
            };
            let mut state = topic.state.lock();
            if state.forgotten {
                continue;
            }
            state.used = true;
            self.look_again(&mut state, destination, separator);
            let epoch = state.epoch;
            let messages: Vec<Arc<Message>> = messages
                .into_iter()
                .map(|publish| {
                    state.sequence += 1;
                    let sequence = state.sequence;
                    make(publish, Position { epoch, sequence })
                })
                .collect();
            let overflow = &topic.settings.overflow;
            let burst = Burst::new(&messages, overflow);
            let mut lost = state.subscribers.deliver(&messages, &burst, &topic.origin);
            let mut receivers = state.subscribers.len();
            for group in &state.groups {
                let subscribers = group.subscribers.lock();
                lost += subscribers.deliver(&messages, &burst, &topic.origin);
                receivers += subscribers.len();
            }
            let deliveries = receivers * messages.len();
            let meter = &topic.origin.meter;
            meter.add(|counters| &counters.published, messages.len());
            meter.add(|counters| &counters.delivered, deliveries);
            meter.lost(lost, overflow);
            return Ok(Some(deliveries));
        }
    }

    /// Makes sure that publishing to `destination` finds it known, if anybody listens.
    pub(super) fn prepare(
        &self,
        destination: &Destination,
        separator: Separator,
        details: impl Fn(&str) -> Details,
    ) -> Result<(), NoMoreNames> {
        self.topic_for_publish(destination, separator, &details)
            .map(drop)
    }

    /// Forgets topics that have no subscribers and were not used since the sweep before.
    pub(super) fn sweep(&self, seconds: f32) {
        self.names.sweep(|topic| {
            topic.origin.meter.measure(seconds);
            // A topic whose turn somebody has is used; nobody waits for it with the shard in hand.
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
        separator: impl Fn(&str) -> Separator,
    ) -> impl Iterator<Item = DestinationStatistics> {
        let selected = self.names.select(|name, _| select(name)).into_iter();
        selected.map(move |(destination, topic)| {
            let mut state = topic.state.lock();
            self.look_again(&mut state, &destination, separator(&destination));
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

    /// The topic, made with the pattern groups that match it, as far as they are known.
    fn topic(
        &self,
        destination: &Destination,
        (groups, groups_version): (Vec<Arc<Group>>, u64),
        details: impl Fn(&str) -> Details,
    ) -> Result<Arc<Topic>, NoMoreNames> {
        self.names.get_or_insert(destination, |_: ByteString| {
            let (settings, origin) = details(destination);
            Topic {
                state: Mutex::new(TopicState {
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

    /// As [`Topics::topic`], but a name that nobody listens to is not remembered.
    fn topic_for_publish(
        &self,
        destination: &Destination,
        separator: Separator,
        details: impl Fn(&str) -> Details,
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
        self.topic(destination, (groups, version), details)
            .map(Some)
    }

    /// Makes sure that a topic knows the groups that match it.
    fn look_again(&self, state: &mut TopicState, destination: &str, separator: Separator) {
        // Read before the groups: a change in between only makes the topic look again.
        let version = self.patterns_version.load(Ordering::Acquire);
        if state.groups_version != version {
            state.groups = self.matching(destination, separator);
            state.groups_version = version;
        }
    }

    fn matching(&self, destination: &str, separator: Separator) -> Vec<Arc<Group>> {
        self.patterns
            .read()
            .matching(Segments::new(destination, separator))
    }
}
