//! Topics: their subscribers, and the single order of each destination's messages.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;

use super::accounts::Payer;
use super::kept::{Keeper, Kept};
use super::names::{NameQuota, Names, NoMoreNames};
use super::outbox::Burst;
use super::patterns::{Group, Patterns};
use super::reader::{Begun, Live, Reader};
use super::settings::{HubSettings, TopicSettings};
use super::shelf::{ReadFrom, Shelf, Shelves};
use super::subscribers::{Key, Sender, Sink, Subscriber, Subscribers};
use super::window::Origin;
use crate::destination::{Destination, Pattern, Separator};
use crate::errors::{PublishError, SubscribeError};
use crate::feed::Feed;
use crate::hub::outbox::Lost;
use crate::message::{Gap, Message, Position, Publish};
use crate::request::{Past, Start, SubscribeOptions, Subscribed};
use crate::statistics::{Count, Counters, DestinationKind, DestinationStatistics, Meter};
use crate::sync::{AtomicU64, Mutex, RwLock};
use crate::timestamp::Timestamp;

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
    shelves: Arc<Shelves>,
    /// The topics that keep messages, by name.
    with_shelf: Mutex<BTreeMap<ByteString, Arc<Shelf>>>,
}

/// One destination. Holding the lock on its state is its *turn*: a message is numbered and queued in one turn, so that
/// every subscriber sees the same order.
#[derive(Debug)]
pub(super) struct Topic {
    name: ByteString,
    state: Mutex<TopicState>,
    settings: Arc<TopicSettings>,
    pub(super) origin: Arc<Origin>,
    /// The messages that it keeps. Locked inside a turn.
    shelf: Option<Arc<Shelf>>,
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

impl TopicState {
    /// Adds the subscriptions that the engine keeps to `kept`.
    fn add_kept(&self, kept: &mut Vec<Kept>) {
        self.subscribers.add_kept(kept);
        for group in &self.groups {
            group.subscribers.lock().add_kept(kept);
        }
    }
}

/// The reasons why messages were not delivered.
#[derive(Debug)]
pub(super) enum NotDelivered {
    Names(NoMoreNames),
    /// A kept subscription does not take the first of them.
    Refused(PublishError),
}

impl From<NoMoreNames> for NotDelivered {
    fn from(error: NoMoreNames) -> Self {
        Self::Names(error)
    }
}

/// A subscription's place, by which it is removed.
#[derive(Clone, Debug)]
pub(super) enum TopicPlace {
    Topic(Arc<Topic>, Key),
    Group(Arc<Group>, Key),
    Reader(Arc<ReaderPlace>),
}

/// The place of a subscription that looks at each message, at least at first.
#[derive(Debug)]
pub(super) struct ReaderPlace {
    reader: Arc<Reader>,
    home: Home,
    /// `None` once it has ended.
    key: Mutex<Option<Key>>,
}

#[derive(Debug)]
enum Home {
    Topic(Arc<Topic>),
    Group(Arc<Group>),
}

/// A subscription that found no place.
#[derive(Debug)]
pub(super) enum NoPlace {
    Names(NoMoreNames),
    Refused(SubscribeError),
}

impl From<NoMoreNames> for NoPlace {
    fn from(error: NoMoreNames) -> Self {
        Self::Names(error)
    }
}

impl TopicPlace {
    /// The pattern of the subscription.
    pub(super) fn pattern(&self) -> Option<Pattern> {
        match self {
            // It was a pattern without wildcards, which means the same with any separator.
            Self::Topic(topic, _) => Pattern::parse(topic.name.clone()).ok(),
            Self::Group(group, _) => Some(group.pattern.clone()),
            Self::Reader(place) => match &place.home {
                Home::Topic(topic) => Pattern::parse(topic.name.clone()).ok(),
                Home::Group(group) => Some(group.pattern.clone()),
            },
        }
    }

    /// Delivers kept messages, if the subscription has some to read and there is room.
    pub(super) fn go_on(&self) {
        if let Self::Reader(place) = self {
            place.go_on();
        }
    }
}

impl ReaderPlace {
    /// Delivers kept messages. A reader that has none left, and takes all that is live, becomes a subscriber like others.
    fn go_on(&self) {
        if !self.reader.go_on() {
            return;
        }
        let Some(Live {
            outbox,
            slot,
            window,
        }) = self.reader.live()
        else {
            return;
        };
        let mut key = self.key.lock();
        let Some(reading) = key.as_mut().filter(|key| matches!(key, Key::Reader(_))) else {
            return;
        };
        let sink = match window {
            Some(window) => Sink::Window(Arc::clone(window)),
            None => Sink::Direct(Subscriber {
                outbox: Arc::clone(outbox),
                slot,
            }),
        };
        let change = |subscribers: &mut Subscribers| {
            subscribers.remove(reading);
            *reading = subscribers.add(sink);
        };
        match &self.home {
            Home::Topic(topic) => change(&mut topic.state.lock().subscribers),
            Home::Group(group) => change(&mut group.subscribers.lock()),
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
            totals,
            names: Names::new(quota),
            patterns: RwLock::default(),
            patterns_version: AtomicU64::new(1),
            next_epoch: std::sync::atomic::AtomicU64::new(first_epoch),
            shelves: Shelves::new(settings.max_history_bytes, first_epoch),
            with_shelf: Mutex::default(),
            settings,
        }
    }

    /// Adds a subscriber of `payer`; returns the position that it starts after, if there is history. `feed` brings its
    /// messages; if there are other subscribers already, their feed stays.
    pub(super) fn subscribe(
        &self,
        pattern: &Pattern,
        payer: Payer<'_>,
        sink: Sink,
        feed: Feed,
    ) -> Result<(TopicPlace, Option<Position>), NoPlace> {
        let Some(destination) = pattern.as_destination() else {
            let (group, key) = self.join_group(pattern, sink, feed);
            let has_history = self.settings.has_history(pattern);
            let start = has_history.then(|| self.shelves.position());
            return Ok((TopicPlace::Group(group, key), start));
        };
        let last = |topic: &Topic| Ok(topic.shelf.as_ref().map(|shelf| shelf.lock().last()));
        let (topic, key, start) = self.join_topic(&destination, payer, sink, feed, last)?;
        Ok((TopicPlace::Topic(topic, key), start))
    }

    /// Adds a subscriber that looks at each message. `options` say which kept messages it receives first.
    pub(super) fn read(
        &self,
        pattern: &Pattern,
        payer: Payer<'_>,
        reader: Reader,
        feed: Feed,
        options: &SubscribeOptions,
    ) -> Result<(TopicPlace, Subscribed), NoPlace> {
        let reader = Arc::new(reader);
        let sink = Sink::Reader(Arc::clone(&reader));
        let from = Beginning::of(options, self.shelves.epoch);
        let (home, key, subscribed) = match pattern.as_destination() {
            Some(destination) => {
                let begin = |topic: &Topic| match (&topic.shelf, from.at(&destination)) {
                    (None, _) => Ok(Subscribed::default()),
                    (Some(shelf), None) => Ok(Subscribed::after(shelf.lock().last())),
                    (Some(shelf), Some(from)) => {
                        let found = reader.read(shelf, from);
                        let found = found.map_err(|last| from.is_ahead(&destination, last))?;
                        let mut subscribed = Subscribed::after(found.after);
                        subscribed.gap = found.gap;
                        subscribed.recovered = recovered(&reader, found.count);
                        Ok(subscribed)
                    }
                };
                let (topic, key, found) =
                    self.join_topic(&destination, payer, sink, feed, begin)?;
                (Home::Topic(topic), key, Ok(found))
            }
            None => {
                let reads = !matches!(from, Beginning::Live);
                if reads {
                    reader.look();
                }
                let (group, key) = self.join_group(pattern, sink, feed);
                let subscribed = match (reads, self.settings.has_history(pattern)) {
                    (true, _) => self.begin_each(pattern, &reader, &from),
                    (false, true) => Ok(Subscribed::after(self.shelves.position())),
                    (false, false) => Ok(Subscribed::default()),
                };
                (Home::Group(group), key, subscribed)
            }
        };
        let place = TopicPlace::Reader(Arc::new(ReaderPlace {
            reader,
            home,
            key: Mutex::new(Some(key)),
        }));
        match subscribed {
            Ok(subscribed) => {
                place.go_on();
                Ok((place, subscribed))
            }
            Err(error) => {
                self.unsubscribe(&place);
                Err(NoPlace::Refused(error))
            }
        }
    }

    /// Has a reader begin with the kept messages of each topic that `pattern` covers.
    fn begin_each(
        &self,
        pattern: &Pattern,
        reader: &Reader,
        from: &Beginning<'_>,
    ) -> Result<Subscribed, SubscribeError> {
        let mut subscribed = Subscribed::after(self.shelves.position());
        let covered = self.covered_shelves(pattern)?;
        let mut count = 0;
        for (name, shelf) in covered {
            let Some(from) = from.at(&name) else {
                continue;
            };
            let Begun {
                count: more, gap, ..
            } = reader
                .read(&shelf, from)
                .map_err(|last| from.is_ahead(&name, last))?;
            count += more;
            subscribed.gaps.extend(gap.map(|gap| (name, gap)));
        }
        reader.found_all();
        subscribed.recovered = recovered(reader, count);
        Ok(subscribed)
    }

    /// The shelves of the topics that `pattern` covers.
    fn covered_shelves(
        &self,
        pattern: &Pattern,
    ) -> Result<Vec<(ByteString, Arc<Shelf>)>, SubscribeError> {
        let text = pattern.as_str();
        let literal = &text[..text.find(['*', '?']).unwrap_or(text.len())];
        // `/topic/**` covers `/topic` too.
        let literal = literal.trim_end_matches(['/', '.']);
        let names = self.with_shelf.lock();
        let from = (Bound::Included(literal), Bound::Unbounded);
        let below = names.range::<str, _>(from);
        let below = below.take_while(|(name, _)| name.starts_with(literal));
        let covered = below.filter(|(name, _)| pattern.matches(name));
        let covered = covered.map(|(name, shelf)| (name.clone(), Arc::clone(shelf)));
        let covered: Vec<_> = covered.take(MAX_READ_TOPICS + 1).collect();
        if covered.len() > MAX_READ_TOPICS {
            return Err(SubscribeError::TooManyToRead {
                pattern: text.into(),
                limit: MAX_READ_TOPICS,
            });
        }
        Ok(covered)
    }

    /// The kept messages of a topic: `limit` of those after `from`, or the last ones; `Err` is its last position if `from`
    /// is ahead of that.
    pub(super) fn past(
        &self,
        destination: &Destination,
        from: Option<Position>,
        limit: usize,
    ) -> Result<Past, Position> {
        let topic = self.names.get(destination);
        let Some(shelf) = topic.as_ref().and_then(|topic| topic.shelf.as_ref()) else {
            let gap = from
                .filter(|from| *from != Position::START)
                .map(|after| Gap {
                    after,
                    up_to: Position::START,
                });
            return Ok(Past {
                messages: Vec::new(),
                position: Position::START,
                gap,
            });
        };
        let kept = shelf.lock();
        let found = kept.find(from.map_or(ReadFrom::First, ReadFrom::Position))?;
        let all = kept.after(found.after);
        let skipped = match from {
            Some(_) => 0,
            None => kept.after(found.after).count().saturating_sub(limit),
        };
        let messages: Vec<_> = all.skip(skipped).take(limit).collect();
        let last = messages.last().map(|(sequence, _)| *sequence);
        let is_end = messages.len() < limit || from.is_none();
        let sequence = match is_end {
            true => kept.last().sequence,
            false => last.unwrap_or(found.after),
        };
        Ok(Past {
            position: Position {
                sequence,
                ..kept.last()
            },
            messages: messages
                .into_iter()
                .map(|(_, message)| Arc::clone(message))
                .collect(),
            gap: found.gap,
        })
    }

    fn join_group(&self, pattern: &Pattern, sink: Sink, feed: Feed) -> (Arc<Group>, Key) {
        // Under the index's lock, so that the group is not removed between lookup and use.
        let mut patterns = self.patterns.write();
        let (group, new) = patterns.group(pattern);
        let key = group.subscribers.lock().add(sink);
        if new {
            group.set_feed(feed);
            self.patterns_version.fetch_add(1, Ordering::Release);
        }
        (group, key)
    }

    /// Adds a subscriber of one destination, in the turn in which `begin` looks at it.
    fn join_topic<T>(
        &self,
        destination: &Destination,
        payer: Payer<'_>,
        sink: Sink,
        feed: Feed,
        begin: impl Fn(&Topic) -> Result<T, SubscribeError>,
    ) -> Result<(Arc<Topic>, Key, T), NoPlace> {
        loop {
            let topic = self.topic(destination, payer, (Vec::new(), 0))?;
            let mut state = topic.state.lock();
            if !state.forgotten {
                state.used = true;
                let begun = begin(&topic).map_err(NoPlace::Refused)?;
                if state.subscribers.is_empty() {
                    state.feed = feed;
                }
                let key = state.subscribers.add(sink);
                drop(state);
                return Ok((topic, key, begun));
            }
        }
    }

    pub(super) fn unsubscribe(&self, place: &TopicPlace) {
        match place {
            TopicPlace::Topic(topic, key) => topic.state.lock().subscribers.remove(key),
            TopicPlace::Group(group, key) => self.leave_group(group, key),
            TopicPlace::Reader(place) => {
                place.reader.end();
                let Some(key) = place.key.lock().take() else {
                    return;
                };
                match &place.home {
                    Home::Topic(topic) => topic.state.lock().subscribers.remove(&key),
                    Home::Group(group) => self.leave_group(group, &key),
                }
            }
        }
    }

    fn leave_group(&self, group: &Group, key: &Key) {
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
        maker: &impl Maker,
        mut keeper: Option<&mut dyn Keeper>,
    ) -> Result<Option<usize>, NotDelivered> {
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
            let mut kept = Vec::new();
            if let Some(keeper) = &keeper {
                state.add_kept(&mut kept);
                for publish in messages.iter() {
                    let checked = keeper.check(&kept, publish);
                    checked.map_err(NotDelivered::Refused)?;
                }
            }
            let epoch = state.epoch;
            let messages: Vec<Arc<Message>> = std::mem::take(messages)
                .into_iter()
                .map(|publish| {
                    state.sequence += 1;
                    let sequence = state.sequence;
                    maker.make(publish, Position { epoch, sequence }, topic.shelf.is_some())
                })
                .collect();
            if let Some(keeper) = keeper.take() {
                for message in &messages {
                    kept.iter().for_each(|kept| keeper.keep(kept, message));
                }
            }
            // Until all have it, so that who reads the shelf receives each message once.
            let mut shelf = topic.shelf.as_ref().map(|shelf| shelf.lock());
            if let Some(shelf) = &mut shelf {
                shelf.add(&messages, maker.steady());
            }
            let overflow = &topic.settings.overflow;
            let burst = Burst::new(&messages, overflow).paced(topic.settings.at_most_every);
            let sender = Sender {
                origin: &topic.origin,
                shelf: topic.shelf.as_ref(),
            };
            let (mut lost, mut deliveries) = (Lost::default(), 0);
            if is_theirs(state.feed) {
                (lost, deliveries) = state.subscribers.deliver(&messages, &burst, &sender);
            }
            for group in state.groups.iter().filter(|group| is_theirs(group.feed())) {
                let subscribers = group.subscribers.lock();
                let (lost_here, delivered) = subscribers.deliver(&messages, &burst, &sender);
                lost += lost_here;
                deliveries += delivered;
            }
            drop(shelf);
            let meter = &topic.origin.meter;
            meter.count(Count::Published, messages.len());
            meter.count(Count::Delivered, deliveries);
            meter.lost(lost, overflow);
            return Ok(Some(deliveries));
        }
    }

    /// The kept subscriptions to `destination`.
    pub(super) fn kept_of(&self, destination: &Destination, separator: Separator) -> Vec<Kept> {
        let mut kept = Vec::new();
        match self.names.get(destination) {
            Some(topic) => {
                let mut state = topic.state.lock();
                self.look_again(&mut state, destination, separator);
                state.add_kept(&mut kept);
            }
            None => {
                for group in self.matching(destination, separator) {
                    group.subscribers.lock().add_kept(&mut kept);
                }
            }
        }
        kept
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

    /// Removes kept messages that are too old, and topics that have neither messages nor subscribers and were not used
    /// since the previous sweep.
    pub(super) fn sweep(&self, seconds: f32, steady: Timestamp) {
        self.names.sweep(|topic| {
            topic.origin.meter.measure(seconds);
            let keeps = topic.shelf.as_ref().is_some_and(|shelf| {
                let mut kept = shelf.lock();
                kept.trim(steady);
                !kept.is_empty()
            });
            // A topic whose lock is taken is in use; no thread blocks on it while holding the shard's lock.
            let Some(mut state) = topic.state.try_lock() else {
                return true;
            };
            let used = std::mem::take(&mut state.used) || !state.subscribers.is_empty() || keeps;
            state.forgotten = !used;
            if !used && topic.shelf.is_some() {
                self.with_shelf.lock().remove(&topic.name);
            }
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
                bytes: topic.shelf.as_ref().map_or(0, |shelf| shelf.lock().bytes()),
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
            let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
            let history = self.settings.history_of(destination);
            let shelf = history.map(|history| {
                let (shelves, origin) = (Arc::clone(&self.shelves), Arc::clone(&origin));
                let shelf = Arc::new(Shelf::new(history, shelves, epoch, origin));
                let known = Arc::clone(&shelf);
                self.with_shelf.lock().insert(name.clone(), known);
                shelf
            });
            Topic {
                name,
                shelf,
                state: Mutex::new(TopicState {
                    feed: Feed::NODE,
                    epoch,
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
        if groups.is_empty() && self.settings.history_of(destination).is_none() {
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

/// Makes the messages that subscribers receive.
pub(super) trait Maker {
    /// Makes the message at a position; `is_kept` says that the topic keeps its messages.
    fn make(&self, publish: Publish, position: Position, is_kept: bool) -> Arc<Message>;

    /// The time, for what is kept.
    fn steady(&self) -> Timestamp;
}

/// Where a subscription begins in the kept messages of its topics.
enum Beginning<'a> {
    Live,
    Last,
    After(Position),
    Each {
        positions: HashMap<&'a str, Position>,
        /// For topics without a position.
        others: ReadFrom,
    },
}

impl<'a> Beginning<'a> {
    fn of(options: &'a SubscribeOptions, epoch: u64) -> Self {
        match &options.start {
            _ if options.retained => Self::Last,
            Start::Live => Self::Live,
            Start::After(position) => Self::After(*position),
            Start::AfterEach(positions) => {
                let positions = positions.iter();
                let positions = positions.map(|(name, position)| (&**name, *position));
                let positions: HashMap<&str, Position> = positions.collect();
                let others = match positions.get(Start::OTHERS) {
                    None => ReadFrom::First,
                    Some(mark) if mark.epoch == epoch => ReadFrom::Mark(mark.sequence),
                    Some(foreign) => ReadFrom::Position(*foreign),
                };
                Self::Each { positions, others }
            }
        }
    }

    fn at(&self, destination: &str) -> Option<ReadFrom> {
        Some(match self {
            Self::Live => return None,
            Self::Last => ReadFrom::Last,
            Self::After(position) => ReadFrom::Position(*position),
            Self::Each { positions, others } => positions
                .get(destination)
                .map_or(*others, |position| ReadFrom::Position(*position)),
        })
    }
}

impl ReadFrom {
    /// The error for a position that no message of the topic has had.
    fn is_ahead(self, destination: &str, last: Position) -> SubscribeError {
        let asked = match self {
            Self::Position(asked) => asked,
            Self::Mark(_) | Self::First | Self::Last => last,
        };
        SubscribeError::PositionAhead {
            destination: destination.into(),
            asked,
            last,
        }
    }
}

/// The number of messages that a subscription receives before what is live; it is not known before a selector has looked at
/// them.
fn recovered(reader: &Reader, count: usize) -> Option<usize> {
    (!reader.has_selector()).then_some(count)
}

/// The most topics whose kept messages one subscription may receive: looking each up takes a few hundred nanoseconds, and
/// a place in a list until it is read.
const MAX_READ_TOPICS: usize = 1_000;
