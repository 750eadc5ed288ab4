//! Presence: the users at a destination.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};

use bytestring::ByteString;
use matchit::InsertError;
use parking_lot::Mutex;
use serde::Serialize;
use tramline_broker::{Destination, Separator};

use super::shared::MessagingStack;
use crate::app::extract::Json;
use crate::app::publisher::Publisher;
use crate::app::router::{as_written, captures, in_our_words, slashed};
use crate::app::template::{ReplyTo, Template, TemplateError};
use crate::model::clock::now;
use crate::model::events::Event;
use crate::model::log::{Source, log_client};
use crate::model::reply::{IntoReply, Payload};

/// The destinations for which presence is kept: which users are subscribed to each, and who joins and leaves.
///
/// A user is *present* from the first of its subscriptions to the destination, in whichever session, to the end of the
/// last one. Anonymous sessions and subscriptions to patterns do not count.
/// [Listeners](crate::MessagingBuilder::on_event) receive an event when a user joins or leaves, and so do the
/// subscribers of a topic that is [named](Self::announce) for it; [`Presence`] lists the users that are present. Costs
/// memory for each user at each such destination, and nothing for destinations without users.
///
/// # Example: the members of a room
///
/// ```
/// use tramline::presence::{Presence, Presences};
/// use tramline::{Json, MessageRouter, Path, subscribe};
///
/// let presences = Presences::new().announce("/topic/rooms/{room}", "/topic/rooms/{room}/presence");
///
/// // A page that opens follows the topic, and then asks once, by SUBSCRIBE to "/app/rooms/7/members": in this order, so
/// // that it misses nobody.
/// async fn members(presence: Presence, Path(room): Path<u32>) -> Json<Vec<String>> {
///     Json(presence.members(&format!("/topic/rooms/{room}")))
/// }
/// let routes: MessageRouter = MessageRouter::new().route("/rooms/{room}/members", subscribe(members));
/// # let _ = (presences, routes);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "give it to `Messaging::builder().presence(..)`"]
pub struct Presences {
    rules: Vec<(ByteString, Option<ByteString>)>,
}

impl Presences {
    /// Presence for no destination.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps presence for the destinations that `pattern` matches, for [`Presence`] and
    /// [events](crate::events::Event::Joined) alone. `{name}` matches one segment and `{*name}` all that is left; if
    /// several patterns match, the one wins whose first differing segment is fixed, as for
    /// [routes](crate::MessageRouter::route).
    pub fn track(mut self, pattern: impl Into<ByteString>) -> Self {
        self.rules.push((pattern.into(), None));
        self
    }

    /// Keeps presence as [`track`](Self::track) does, and publishes each change at `topic`, which may use the captures
    /// of `pattern`: `{"event":"joined","user":"alice"}` or `"left"`, as JSON, in the order in which it happened.
    ///
    /// A client that subscribes to `topic` before the destination itself receives its own `joined` too. If `.`
    /// separates the segments of `topic`, and not those of the destination, a captured value with a `.` is not
    /// announced, and the log has a line.
    ///
    /// Where the broker joins several nodes, each announces to its own clients what it sees: when another node is gone,
    /// its users have left.
    pub fn announce(
        mut self,
        pattern: impl Into<ByteString>,
        topic: impl Into<ByteString>,
    ) -> Self {
        self.rules.push((pattern.into(), Some(topic.into())));
        self
    }
}

/// The users at the destinations for which [presence](Presences) is kept: from
/// [`Messaging::presence`](crate::Messaging::presence), or an extractor.
///
/// It covers all nodes that the broker joins. Keeping one does not keep the messaging alive.
#[derive(Clone)]
pub struct Presence(Weak<MessagingStack>);

impl Presence {
    pub(super) fn of(stack: Weak<MessagingStack>) -> Self {
        Self(stack)
    }

    /// The names of the users at `destination`, in order; empty if no presence is kept for it.
    pub fn members(&self, destination: &str) -> Vec<String> {
        let stack = self.0.upgrade();
        stack.map_or_else(Vec::new, |stack| stack.presence.members(destination))
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presence")
    }
}

/// The users that are present, by destination, and the rules.
pub(crate) struct PresenceTable {
    /// The topic of each rule's announcements.
    rules: matchit::Router<Option<Template>>,
    is_empty: bool,
    state: Mutex<PresentUsers>,
}

#[derive(Default)]
struct PresentUsers {
    here: HashMap<Box<str>, BTreeMap<ByteString, u32>>,
    /// Changes to announce, in order, by the one thread that is announcing.
    changes: VecDeque<Change>,
    telling: bool,
}

/// The capacity that an empty queue of changes keeps.
const KEPT_CAPACITY: usize = 64;

struct Change {
    event: Event,
    topic: Option<Destination>,
}

#[derive(Serialize)]
struct Announcement<'a> {
    event: &'static str,
    user: &'a str,
}

impl PresenceTable {
    /// Parses the rules, and returns their errors. Announcements go the way of `publisher`; without one, where they go is
    /// not checked.
    pub(crate) fn build(
        presences: Presences,
        publisher: Option<&Publisher>,
    ) -> (Self, Vec<String>) {
        let separator =
            |text: &str| publisher.map_or(Separator::Slash, |publisher| publisher.separator(text));
        let mut errors = Vec::new();
        let mut rules = matchit::Router::new();
        let is_empty = presences.rules.is_empty();
        for (pattern, topic) in presences.rules {
            for destination in std::iter::once(&pattern).chain(&topic) {
                let fixed = destination.split('{').next().unwrap_or_default();
                let wrong = publisher.and_then(|publisher| publisher.wrong_destination(fixed));
                errors.extend(wrong.map(|wrong| format!("presence for {pattern:?}: {wrong}")));
            }
            let read = captures(&pattern).and_then(|captures| {
                let topic_separator = topic.as_deref().map(separator);
                let topic = topic.map(ReplyTo::Destination);
                let topic = topic.map(|topic| Template::parse(&topic, &captures));
                let topic = topic.transpose().map_err(|error| match error {
                    TemplateError::Unclosed(topic) => format!("its topic {topic:?} has an unclosed `{{`"),
                    TemplateError::UnknownCapture(topic, name) => {
                        format!("its topic {topic:?} uses {{{name}}}, which the pattern does not capture")
                    }
                    TemplateError::Destination(error) => error.to_string(),
                })?;
                let dots = separator(&pattern) == Separator::Slash && topic_separator == Some(Separator::Dot);
                let topic = topic.map(|topic| if dots { topic.without_dots() } else { topic });
                let inserted = rules.insert(slashed(&pattern, separator(&pattern)), topic);
                inserted.map_err(|error| match error {
                    InsertError::Conflict { with } => {
                        format!("covers the same destinations as presence for {with:?}; keep one of them")
                    }
                    error => in_our_words(&error),
                })
            });
            if let Err(error) = read {
                errors.push(format!("presence for {pattern:?}: {error}"));
            }
        }
        let table = Self {
            rules,
            is_empty,
            state: Mutex::default(),
        };
        (table, errors)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty
    }

    fn members(&self, destination: &str) -> Vec<String> {
        let state = self.state.lock();
        let here = state.here.get(destination).into_iter();
        here.flat_map(BTreeMap::keys)
            .map(ToString::to_string)
            .collect()
    }

    /// The topic for announcements about `destination`; the outer `None` if no presence is kept for it.
    fn topic(
        &self,
        destination: &str,
        separator: Separator,
        failed: impl Fn(&dyn fmt::Display),
    ) -> Option<Option<Destination>> {
        let slashed = slashed(destination, separator);
        let found = self.rules.at(&slashed).ok()?;
        if found.params.iter().any(|(_, value)| value.is_empty()) {
            return None;
        }
        let Some(topic) = found.value else {
            return Some(None);
        };
        let capture = |name: &str| {
            let value = found.params.get(name)?;
            Some(as_written(value, &slashed, destination))
        };
        if let Some((name, value)) = topic.dotted(capture) {
            failed(&format_args!(
                "{{{name}}} is {value:?}, and must not have a `.`"
            ));
            return Some(None);
        }
        // A value captured from a destination is valid in another; only the length may be too much.
        let topic = topic.destination(capture);
        Some(topic.inspect_err(|error| failed(error)).ok())
    }
}

impl MessagingStack {
    /// A subscription of `user` to `destination` is active, on this node (`here`) or on another.
    pub(crate) fn came(&self, user: &ByteString, destination: &str, here: bool) {
        self.moved(user, destination, here, |here, user| {
            let count = here.entry(user.clone()).or_default();
            *count += 1;
            (*count == 1).then_some("joined")
        });
    }

    /// A subscription of `user` to `destination` has ended.
    pub(crate) fn went(&self, user: &ByteString, destination: &str, here: bool) {
        self.moved(user, destination, here, |here, user| {
            let count = here.get_mut(user)?;
            *count -= 1;
            (*count == 0).then(|| {
                here.remove(user);
                "left"
            })
        });
    }

    fn moved(
        &self,
        user: &ByteString,
        destination: &str,
        here: bool,
        change: impl FnOnce(&mut BTreeMap<ByteString, u32>, &ByteString) -> Option<&'static str>,
    ) {
        let table = &self.presence;
        // Subscriptions to patterns do not count.
        if table.is_empty || destination.contains(['*', '?']) {
            return;
        }
        let separator = self.hub.separator(destination);
        let failed = |error: &dyn fmt::Display| self.not_announced(destination.into())(error);
        let Some(topic) = table.topic(destination, separator, failed) else {
            return;
        };
        // Each node knows all users, and announces what it sees to its own subscribers: so these receive `left` when a node
        // is gone, and when a user leaves two nodes at once. To a queue only the session's node announces.
        let topic = topic.filter(|topic| here || self.hub.is_topic_of_nodes(topic));
        let mut state = table.state.lock();
        let here = state.here.entry(destination.into()).or_default();
        let event = change(here, user);
        if here.is_empty() {
            state.here.remove(destination);
            if state.here.len() < state.here.capacity() / 4 {
                state.here.shrink_to_fit();
            }
        }
        let Some(event) = event else {
            return;
        };
        let (destination, user) = (ByteString::from(destination), user.clone());
        let event = match event {
            "joined" => Event::Joined { destination, user },
            _ => Event::Left { destination, user },
        };
        state.changes.push_back(Change { event, topic });
        if std::mem::replace(&mut state.telling, true) {
            return;
        }
        // One at a time, so that changes are announced in the order in which they happened.
        while let Some(change) = {
            let next = state.changes.pop_front();
            state.telling = next.is_some();
            if next.is_none() {
                state.changes.shrink_to(KEPT_CAPACITY);
            }
            next
        } {
            drop(state);
            self.announce(change);
            state = table.state.lock();
        }
    }

    fn announce(&self, Change { event, topic }: Change) {
        let (name, user) = match &event {
            Event::Joined { user, .. } => ("joined", user),
            Event::Left { user, .. } => ("left", user),
            _ => return,
        };
        if let Some(topic) = topic {
            let announcement = Json(Announcement { event: name, user });
            let mut effects = crate::model::effects::Effects::default();
            if let Some(payload) = announcement.into_reply(&mut effects) {
                self.publish_unwatched(topic, payload);
            }
        }
        self.tell(|| event);
    }

    /// Logs that something about `destination` was not announced, whichever client was the cause.
    fn not_announced(
        &self,
        destination: ByteString,
    ) -> impl Fn(&dyn fmt::Display) + Send + 'static {
        let (stack, counters) = (self.name.clone(), Arc::clone(&self.counters));
        let budget = Arc::clone(&self.log_budget);
        move |error| {
            let suppressed = &counters.log_lines_suppressed;
            log_client!(
                WARN if budget.admit(Source::default(), now(), suppressed),
                { %stack },
                "presence not announced",
                format_args!("about {destination:?}: {error}")
            );
        }
    }

    /// Publishes for the stack itself, on this node if all nodes do; a failure is logged.
    fn publish_unwatched(&self, destination: Destination, payload: Payload) {
        let mut effects = crate::model::effects::Effects::default();
        let failed = self.not_announced(destination.to_string().into());
        let is_told_here = self.hub.is_topic_of_nodes(&destination);
        effects.publish(destination, payload);
        if is_told_here {
            return self.publisher.deliver_here(effects.publishes);
        }
        let confirm = self.publisher.publish_all(effects.publishes);
        match confirm.into_ready() {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => failed(&error),
            Err(confirm) => {
                // A stack whose runtime has shut down has no receivers left.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move {
                        if let Err(error) = confirm.await {
                            failed(&error);
                        }
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tramline_broker::EmbeddedBroker;

    use super::*;
    use crate::stack::messaging::Messaging;
    use crate::stack::policy::{Policy, permit};

    #[test]
    fn where_nobody_is_nothing_is_kept() {
        let messaging = Messaging::builder()
            .presence(Presences::new().announce("/topic/{room}", "/topic/{room}/presence"))
            .broker(EmbeddedBroker::new().topics("/topic"))
            .policy(Policy::builder().otherwise(permit()))
            .build()
            .unwrap();
        let stack = &messaging.handle.stack;
        let alice = ByteString::from_static("alice");
        let rooms = 0..10_000;
        for room in rooms.clone() {
            stack.came(&alice, &format!("/topic/{room}"), true);
        }
        let kept = |stack: &MessagingStack| {
            let state = stack.presence.state.lock();
            (state.here.len(), state.here.capacity())
        };
        assert_eq!(kept(stack).0, rooms.len());
        for room in rooms {
            stack.went(&alice, &format!("/topic/{room}"), true);
            // One more `went` than `came`, which changes nothing.
            stack.went(&alice, &format!("/topic/{room}"), true);
        }
        let (here, capacity) = kept(stack);
        assert!(here == 0 && capacity < 64, "room for {capacity}");
    }
}
