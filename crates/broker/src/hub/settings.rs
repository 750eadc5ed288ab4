//! Settings of a hub: destinations and limits.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;

use crate::destination::{Destination, Pattern, Separator};
use crate::hub::accounts::RESOURCES;
use crate::hub::accounts::Shares;
use crate::hub::by_pattern::ByPattern;
use crate::hub::history::History;
use crate::hub::outbox::Overflow;
use crate::statistics::DestinationKind;

/// The destinations that an engine carries, and the limits of its node's hub: the answer of
/// [`Broker::settings`](crate::Broker::settings).
///
/// # Example: dots below a prefix
///
/// ```
/// use tramline_broker::{HubSettings, Prefix, Separator};
///
/// let settings = HubSettings::new().topics(Prefix::new("/topic").separator(Separator::Dot)).queues("/queue");
/// assert_eq!(settings.separator("/topic/price.stock.*"), Separator::Dot);
/// assert_eq!(settings.separator("/queue/orders"), Separator::Slash);
/// assert!(!settings.serves("/exchange/orders"));
/// ```
#[derive(Clone, Debug)]
pub struct HubSettings {
    prefixes: Vec<(Prefix, DestinationKind)>,
    topic_settings: ByPattern<Arc<TopicSettings>>,
    history: ByPattern<Arc<History>>,
    pub(crate) max_history_bytes: usize,
    pub(crate) max_destinations: usize,
    /// Of a session, and of a user or address.
    max_destinations_each: (usize, usize),
    max_patterns: Shares,
    max_scanned_patterns: Shares,
    pub(crate) max_bytes: usize,
    /// Of a session, and of a user or address; `None` for a part of `max_bytes`.
    max_bytes_each: (Option<usize>, Option<usize>),
    pub(crate) prefetch: NonZeroU32,
    pub(crate) max_prefetch: u32,
}

impl HubSettings {
    /// The default of [`max_bytes`](Self::max_bytes): 1 GiB.
    pub const DEFAULT_MAX_BYTES: usize = 1024 * 1024 * 1024;

    /// The default of [`max_destinations`](Self::max_destinations).
    pub const DEFAULT_MAX_DESTINATIONS: usize = 1_000_000;

    /// The default of [`max_destinations_each`](Self::max_destinations_each): of a session, and of a user or address.
    pub const DEFAULT_MAX_DESTINATIONS_EACH: (usize, usize) = (10_000, 100_000);

    /// The default of [`max_patterns`](Self::max_patterns).
    pub const DEFAULT_MAX_PATTERNS: Shares = Shares::new(1_024, 100_000, 1_000_000);

    /// The default of [`max_scanned_patterns`](Self::max_scanned_patterns).
    pub const DEFAULT_MAX_SCANNED_PATTERNS: Shares = Shares::new(16, 100, 1_000);

    /// The default of [`default_prefetch`](Self::default_prefetch).
    pub const DEFAULT_PREFETCH: NonZeroU32 = NonZeroU32::new(100).unwrap();

    /// The default of [`max_prefetch`](Self::max_prefetch).
    pub const DEFAULT_MAX_PREFETCH: u32 = 10_000;

    /// The default of [`max_history_bytes`](Self::max_history_bytes): 256 MiB.
    pub const DEFAULT_MAX_HISTORY_BYTES: usize = 256 * 1024 * 1024;

    /// Creates settings without destinations: add them with [`topics`](Self::topics) and [`queues`](Self::queues).
    pub fn new() -> Self {
        Self {
            prefixes: Vec::new(),
            topic_settings: ByPattern::default(),
            history: ByPattern::default(),
            max_history_bytes: Self::DEFAULT_MAX_HISTORY_BYTES,
            max_destinations: Self::DEFAULT_MAX_DESTINATIONS,
            max_destinations_each: Self::DEFAULT_MAX_DESTINATIONS_EACH,
            max_patterns: Self::DEFAULT_MAX_PATTERNS,
            max_scanned_patterns: Self::DEFAULT_MAX_SCANNED_PATTERNS,
            max_bytes: Self::DEFAULT_MAX_BYTES,
            max_bytes_each: (None, None),
            prefetch: Self::DEFAULT_PREFETCH,
            max_prefetch: Self::DEFAULT_MAX_PREFETCH,
        }
    }

    /// Serves the destinations below `prefix` as topics: `/topic` for `/topic/greetings`. May be called repeatedly.
    #[must_use]
    pub fn topics(mut self, prefix: impl Into<Prefix>) -> Self {
        self.prefixes.push((prefix.into(), DestinationKind::Topic));
        self
    }

    /// Serves the destinations below `prefix` as queues: `/queue` for `/queue/orders`. May be called repeatedly.
    #[must_use]
    pub fn queues(mut self, prefix: impl Into<Prefix>) -> Self {
        self.prefixes.push((prefix.into(), DestinationKind::Queue));
        self
    }

    /// Sets the settings of the topics that `pattern` covers. The first pattern that covers a topic counts.
    #[must_use]
    pub fn topic_settings(
        mut self,
        pattern: impl Into<ByteString>,
        settings: TopicSettings,
    ) -> Self {
        self.topic_settings.push(pattern.into(), Arc::new(settings));
        self
    }

    /// Keeps messages of the topics that `pattern` covers, for subscribers that come back: see [`History`]. The first pattern
    /// that covers a topic counts.
    #[must_use]
    pub fn history(mut self, pattern: impl Into<ByteString>, history: History) -> Self {
        self.history.push(pattern.into(), Arc::new(history));
        self
    }

    /// Sets the maximum size of what all topics together keep as [history](Self::history). Beyond it, a topic that receives a
    /// message drops its oldest ones, and subscribers that come back to it are told of the gap; publishing is not refused.
    /// Default 268,435,456 (256 MiB): a quarter of [`max_bytes`](Self::max_bytes), so that history leaves room for what is
    /// on its way.
    #[must_use]
    pub fn max_history_bytes(mut self, bytes: usize) -> Self {
        self.max_history_bytes = bytes;
        self
    }

    /// Sets the maximum number of destinations of the hub and its engine; beyond it, SUBSCRIBE and SEND to a new name
    /// are refused with an error that names the limit. Default 1,000,000: at about a kilobyte each they fit into a
    /// server's memory, and no sensible application comes near.
    #[must_use]
    pub fn max_destinations(mut self, limit: usize) -> Self {
        self.max_destinations = limit;
        self
    }

    /// Sets the maximum numbers of destinations that one session, and all sessions of one user or all anonymous ones
    /// from one address, may be the first to use; a destination counts until it is no longer used. Beyond it, SUBSCRIBE
    /// and SEND to a new name are refused with [`ShareUsedUp`](crate::ShareUsedUp), and others go on. Default 10,000 and
    /// 100,000: a hundredth and a tenth of all, so that no client takes the names of the others, and still enough for
    /// an office or a proxy behind one address.
    ///
    /// A sixteenth of [`max_destinations`](Self::max_destinations) is reserved for names that the application itself
    /// uses first.
    #[must_use]
    pub fn max_destinations_each(mut self, session: usize, account: usize) -> Self {
        self.max_destinations_each = (session, account);
        self
    }

    /// Sets the maximum numbers of subscriptions with wildcards that are indexed: of a session, of a user or an
    /// address, and in all. Beyond it, SUBSCRIBE is refused with [`ShareUsedUp`](crate::ShareUsedUp). Default 1,024,
    /// 100,000 and 1,000,000: each takes about half a kilobyte.
    #[must_use]
    pub fn max_patterns(mut self, shares: Shares) -> Self {
        self.max_patterns = shares;
        self
    }

    /// Sets the maximum numbers of subscriptions to patterns that are [compared one by
    /// one](crate::Pattern::is_scanned): of a session, of a user or an address, and in all. Beyond it, SUBSCRIBE is
    /// refused with [`ShareUsedUp`](crate::ShareUsedUp). Default 16, 100 and 1,000: comparing a thousand takes a few
    /// tenths of a millisecond, once for each destination after each change in the set of patterns.
    #[must_use]
    pub fn max_scanned_patterns(mut self, shares: Shares) -> Self {
        self.max_scanned_patterns = shares;
        self
    }

    /// The limits of shares, in the order of [`Resource`](crate::Resource).
    pub(crate) fn shares(&self) -> [Shares; RESOURCES] {
        let (session, account) = self.max_destinations_each;
        // The quota of names bounds all of them.
        let destinations = Shares::new(session, account, usize::MAX);
        let (session, account) = self.bytes_each();
        let bytes = Shares::new(session, account, self.max_bytes);
        [
            destinations,
            self.max_patterns,
            self.max_scanned_patterns,
            bytes,
        ]
    }

    /// Sets the maximum size of all messages in queues, in outboxes, and waiting to be settled, each counted once by
    /// its headers and body and [400 bytes more](crate::Message::OVERHEAD), and of open transactions. Beyond the limit,
    /// publishing is refused with an error that names it. Default 1,073,741,824 (1 GiB).
    ///
    /// Clients leave a sixteenth for the application's own messages, such as replies and notices, and their messages to
    /// queues a further sixteenth for topics and users.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the maximum size of the messages that one session's client has sent, and all sessions of one user or all
    /// anonymous ones from one address, and that wait as [`max_bytes`](Self::max_bytes) describes. Beyond it, SEND is
    /// refused with [`ShareUsedUp`](crate::ShareUsedUp), and others go on. `None`, the default, is a sixteenth and a
    /// quarter of `max_bytes`, and never less than 1 MiB: 64 MiB, as much as one queue holds, and 256 MiB.
    #[must_use]
    pub fn max_bytes_each(
        mut self,
        session: impl Into<Option<usize>>,
        account: impl Into<Option<usize>>,
    ) -> Self {
        self.max_bytes_each = (session.into(), account.into());
        self
    }

    fn bytes_each(&self) -> (usize, usize) {
        let part = |of: usize| (self.max_bytes / of).max(1024 * 1024);
        let (session, account) = self.max_bytes_each;
        (session.unwrap_or(part(16)), account.unwrap_or(part(4)))
    }

    /// The part of all memory, `max_bytes`, that clients' messages to destinations of `kind` may take.
    pub(crate) fn without_reserve(max_bytes: usize, kind: DestinationKind) -> usize {
        let reserves = match kind {
            DestinationKind::Topic => 1,
            DestinationKind::Queue => 2,
        };
        max_bytes - max_bytes / 16 * reserves
    }

    /// The number of unsettled deliveries for a subscription without a `prefetch-count`. Default 100: enough that no
    /// consumer waits for a round trip, and few enough that the work spreads over the consumers.
    #[must_use]
    pub fn default_prefetch(mut self, count: NonZeroU32) -> Self {
        self.prefetch = count;
        self
    }

    /// The maximum `prefetch-count` of a subscription; a larger one is refused. Default 10,000.
    #[must_use]
    pub fn max_prefetch(mut self, count: u32) -> Self {
        self.max_prefetch = count;
        self
    }

    /// Returns true if `destination`, the text of a destination or pattern, is below one of the prefixes.
    pub fn serves(&self, destination: &str) -> bool {
        self.kind(destination).is_some()
    }

    /// The separator of the segments of `destination`, the text of a destination or pattern.
    pub fn separator(&self, destination: &str) -> Separator {
        self.kind(destination)
            .map_or(Separator::Slash, |(_, separator)| separator)
    }

    /// Returns the kind of `destination` and the separator of its segments; `None` if no prefix covers it.
    pub fn kind(&self, destination: &str) -> Option<(DestinationKind, Separator)> {
        let (prefix, kind) = self
            .prefixes
            .iter()
            .find(|(prefix, _)| prefix.covers(destination))?;
        Some((*kind, prefix.separator))
    }

    /// The settings of a topic.
    pub fn settings_of_topic(&self, destination: &str) -> Arc<TopicSettings> {
        let settings = self.covering(&self.topic_settings, destination);
        settings.cloned().unwrap_or_default()
    }

    /// Returns the value of the first pattern of `all` that covers `destination`.
    pub(crate) fn covering<'a, T>(
        &self,
        all: &'a ByPattern<T>,
        destination: &str,
    ) -> Option<&'a T> {
        let separator = self.separator(destination);
        all.find(separator, |pattern| pattern.matches(destination))
    }

    /// The history of a topic, if it keeps any.
    pub(crate) fn history_of(&self, destination: &str) -> Option<Arc<History>> {
        self.covering(&self.history, destination).cloned()
    }

    /// Returns true if a topic that `pattern` covers keeps messages.
    pub(crate) fn has_history(&self, pattern: &Pattern) -> bool {
        let separator = self.separator(pattern.as_str());
        self.history
            .find(separator, |kept| kept.overlaps(pattern))
            .is_some()
    }

    /// Returns true if no topic keeps messages.
    pub(crate) fn lacks_history(&self) -> bool {
        self.history.is_empty()
    }

    /// The prefixes, as a text for errors.
    pub(crate) fn prefixes(&self) -> ByteString {
        if self.prefixes.is_empty() {
            return "no prefix at all (none was configured)".into();
        }
        let prefixes: Vec<&str> = self.texts_of_prefixes().collect();
        prefixes.join(", ").into()
    }

    pub(crate) fn texts_of_prefixes(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().map(|(prefix, _)| &*prefix.text)
    }

    /// Returns the prefetch of a subscription that asks for `wanted`, or the limit as the error if that is too much.
    pub(crate) fn prefetch_of(&self, wanted: Option<NonZeroU32>) -> Result<NonZeroU32, u32> {
        let most = NonZeroU32::new(self.max_prefetch).unwrap_or(NonZeroU32::MIN);
        match wanted {
            None => Ok(self.prefetch.min(most)),
            Some(wanted) if wanted <= most => Ok(wanted),
            Some(_) => Err(self.max_prefetch),
        }
    }

    /// Errors in the prefixes and in the settings of topics, one text each.
    pub(crate) fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        for (at, (prefix, _)) in self.prefixes.iter().enumerate() {
            let text = &prefix.text;
            if !text.starts_with('/') {
                errors.push(format!("broker prefix {text:?}: must begin with `/`"));
            }
            let mut before = self.prefixes[..at].iter();
            if before.any(|(other, _)| {
                other.text == *text || other.covers(text) || prefix.covers(&other.text)
            }) {
                errors.push(format!("broker prefix {text:?}: overlaps with another one"));
            }
        }
        for (pattern, settings) in self.topic_settings.iter() {
            let dead_letters = settings.dead_letters.as_ref();
            errors.extend(self.settings_error(pattern, DestinationKind::Topic, dead_letters));
            if let Some(interval) = settings.at_most_every.filter(|time| *time < SHORTEST) {
                errors.push(format!(
                    "topic settings for {pattern:?}: `at_most_every` is {interval:?}; it must be {} ms or more",
                    SHORTEST.as_millis()
                ));
            }
        }
        for (pattern, history) in self.history.iter() {
            errors.extend(self.settings_error(pattern, DestinationKind::Topic, None));
            let wrong = history.error();
            errors.extend(wrong.map(|wrong| format!("history of {pattern:?}: {wrong}")));
        }
        errors
    }

    /// Returns the error in settings for the destinations that `pattern` covers, if there is one.
    pub(crate) fn settings_error(
        &self,
        pattern: &ByteString,
        wanted: DestinationKind,
        dead_letters: Option<&ByteString>,
    ) -> Option<String> {
        let what = match wanted {
            DestinationKind::Topic => "topic",
            DestinationKind::Queue => "queue",
        };
        if let Err(error) = Pattern::parse_separated(pattern.clone(), self.separator(pattern)) {
            return Some(format!("{what} settings for {pattern:?}: {error}"));
        }
        if self.kind(pattern).is_none_or(|(kind, _)| kind != wanted) {
            return Some(format!(
                "{what} settings for {pattern:?}: no prefix of {what}s covers that"
            ));
        }
        let place = dead_letters?;
        (Destination::parse(place.clone()).is_err() || !self.serves(place)).then(|| {
            format!(
                "{what} settings for {pattern:?}: dead letters go to {place:?}, which the broker does not carry"
            )
        })
    }
}

/// The shortest [`TopicSettings::at_most_every`]: sessions measure time in ticks of this.
const SHORTEST: Duration = Duration::from_millis(100);

impl Default for HubSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// A prefix of destinations, for [`EmbeddedBroker::topics`](crate::EmbeddedBroker::topics) and
/// [`queues`](crate::EmbeddedBroker::queues); strings convert into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub(crate) text: ByteString,
    pub(crate) separator: Separator,
}

impl Prefix {
    /// Creates a prefix from `text`, with or without a `/` at its end.
    pub fn new(text: impl Into<ByteString>) -> Self {
        let text: ByteString = text.into();
        Self {
            text: text.trim_end_matches('/').into(),
            separator: Separator::Slash,
        }
    }

    /// Sets the separator of the segments below it. Default [`Separator::Slash`].
    #[must_use]
    pub fn separator(mut self, separator: Separator) -> Self {
        self.separator = separator;
        self
    }

    /// The prefix as text, without a `/` at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The separator of the segments below it.
    pub fn separates_by(&self) -> Separator {
        self.separator
    }

    pub(crate) fn covers(&self, destination: &str) -> bool {
        destination
            .strip_prefix(&*self.text)
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

impl From<&'static str> for Prefix {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Prefix {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<ByteString> for Prefix {
    fn from(text: ByteString) -> Self {
        Self::new(text)
    }
}

/// The settings of a topic: see [`EmbeddedBroker::topic_settings`](crate::EmbeddedBroker::topic_settings).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSettings {
    /// The treatment of messages for subscribers that are too slow. Default [`Overflow::Close`].
    pub overflow: Overflow,
    /// The interval in which a subscription receives the latest once: messages that come meanwhile are held until it is
    /// over, and a later one replaces those before it, of the same key with [`Overflow::Latest`], else of the same
    /// destination. For prices and positions that come faster than anybody looks. The statistics count what is replaced
    /// as conflated. Subscriptions that acknowledge receive everything, at their own pace. Default none; at least 100 ms, by
    /// which sessions measure time.
    pub at_most_every: Option<Duration>,
    /// The destination of messages that a subscriber rejects; they arrive there with the headers that
    /// [`QueueSettings::dead_letters`](crate::QueueSettings::dead_letters) names. Default none, since the topic's other
    /// subscribers received them.
    pub dead_letters: Option<ByteString>,
}

impl TopicSettings {
    /// Sets [`TopicSettings::overflow`].
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Sets [`TopicSettings::at_most_every`].
    ///
    /// # Example: each stock's price once a second at most
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline_broker::{EmbeddedBroker, Hub, Overflow, TopicSettings};
    ///
    /// let prices = TopicSettings::default().overflow(Overflow::latest("symbol")).at_most_every(Duration::from_secs(1));
    /// let broker = EmbeddedBroker::new().topics("/topic").topic_settings("/topic/prices", prices.clone());
    /// assert!(Hub::new(broker).errors().is_empty());
    ///
    /// let hasty = prices.at_most_every(Duration::from_millis(1));
    /// let broker = EmbeddedBroker::new().topics("/topic").topic_settings("/topic/prices", hasty);
    /// assert_eq!(
    ///     Hub::new(broker).errors(),
    ///     ["topic settings for \"/topic/prices\": `at_most_every` is 1ms; it must be 100 ms or more"]
    /// );
    /// ```
    #[must_use]
    pub fn at_most_every(mut self, interval: Duration) -> Self {
        self.at_most_every = Some(interval);
        self
    }

    /// Sets [`TopicSettings::dead_letters`].
    #[must_use]
    pub fn dead_letters(mut self, destination: impl Into<ByteString>) -> Self {
        self.dead_letters = Some(destination.into());
        self
    }
}
