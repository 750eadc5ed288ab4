//! The sessions of this node, and their subscriptions.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytestring::ByteString;

use super::accounts::{Account, Accounts, Share};
use super::consumer::Consumer;
use super::descriptions::{MemberDescription, NodeId, SubscriptionDescription};
use super::events::{Change, Events};
use super::nodes::MemberEvent;
use super::topics;
use super::window::Window;
use crate::Headers;
use crate::destination::Destination;
use crate::hub::outbox::{Lost, Outbox};
use crate::message::Message;
use crate::request::Subscribed;
use crate::session_id::SessionId;
use crate::sync::Mutex;

/// One in loom models, so that they see races that shards would hide.
const SHARDS: usize = if cfg!(loom) { 1 } else { 16 };

/// The members of a hub, by id and by the name of their user. A member is in the first map from its registration on,
/// and in the second while it is open.
#[derive(Debug)]
pub(super) struct Members {
    by_id: [Mutex<HashMap<SessionId, Arc<Member>>>; SHARDS],
    by_user: [Mutex<HashMap<ByteString, Vec<Arc<Member>>>>; SHARDS],
    hasher: RandomState,
}

/// A session in the hub of its node.
pub struct Member {
    id: SessionId,
    outbox: Arc<Outbox>,
    context: Option<Arc<dyn SessionContext>>,
    state: Mutex<MemberState>,
}

#[derive(Debug, Default)]
struct MemberState {
    phase: Phase,
    user: Option<ByteString>,
    /// The address whose share an anonymous session has.
    address: Option<Box<str>>,
    /// Made when it is first needed.
    account: Option<Arc<Account>>,
    held: Vec<HeldSubscription>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Registered, and not open.
    #[default]
    Connecting,
    /// The engine has not confirmed it: it is no target, and not announced.
    Opening,
    Open,
    /// Its subscriptions have ended, and it makes no new ones.
    Closed,
}

/// A record of the caller's own for a session, beyond id, user and subscriptions.
pub trait SessionContext: Any + fmt::Debug + Send + Sync {
    /// Describes the session for other nodes.
    fn describe(&self) -> Headers {
        Headers::new()
    }
}

/// A subscription of a member.
#[derive(Debug)]
struct HeldSubscription {
    slot: u32,
    /// The length of the id in `texts`, in bytes.
    id_len: u32,
    /// The client's id, followed by the destination as the client wrote it: one allocation.
    texts: Box<str>,
    active: bool,
    place: SubscriptionPlace,
    /// The session's share that a pattern takes.
    _share: Option<Share>,
}

impl HeldSubscription {
    fn described(&self) -> SubscriptionDescription {
        let (id, destination) = self.texts.split_at(self.id_len as usize);
        SubscriptionDescription {
            slot: self.slot,
            id: id.into(),
            destination: destination.into(),
        }
    }
}

/// The origin of a subscription's messages.
#[derive(Clone, Debug)]
pub(super) enum SubscriptionPlace {
    /// One of the session's user destinations.
    User(Destination, Option<Arc<Window>>),
    /// A topic or a pattern of topics.
    Topic(topics::TopicPlace, Option<Arc<Window>>),
    /// The engine.
    Consumer(Arc<Consumer>),
    /// The application.
    Application,
}

impl SubscriptionPlace {
    pub(super) fn window(&self) -> Option<&Arc<Window>> {
        match self {
            Self::User(_, window) | Self::Topic(_, window) => window.as_ref(),
            Self::Consumer(_) | Self::Application => None,
        }
    }
}

/// A subscription that has its place, and is not recorded.
pub(super) struct Placed {
    pub(super) place: SubscriptionPlace,
    pub(super) share: Option<Share>,
    /// The hub's answer, where the engine has none.
    pub(super) subscribed: Subscribed,
}

impl Placed {
    pub(super) fn at(place: SubscriptionPlace) -> Self {
        Self {
            place,
            share: None,
            subscribed: Subscribed::default(),
        }
    }
}

/// This node, and where its events are queued if anyone receives them.
pub(super) type Watched<'a> = (NodeId, Option<&'a Events>);

impl Default for Members {
    fn default() -> Self {
        Self {
            by_id: Default::default(),
            by_user: Default::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Members {
    pub(super) fn register(
        &self,
        id: SessionId,
        outbox: Arc<Outbox>,
        context: Option<Arc<dyn SessionContext>>,
    ) -> Arc<Member> {
        let member = Arc::new(Member {
            id,
            outbox,
            context,
            state: Mutex::default(),
        });
        self.id_shard(id).lock().insert(id, Arc::clone(&member));
        member
    }

    /// Makes an opening member a target of messages, and queues that for `events`; returns false if it was closed
    /// meanwhile.
    pub(super) fn open(&self, member: &Arc<Member>, (node, events): Watched<'_>) -> bool {
        // Without the lock, since it is the application's code.
        let details = events.map(|_| member.details());
        let mut state = member.state.lock();
        if state.phase != Phase::Opening {
            return false;
        }
        state.phase = Phase::Open;
        if let (Some(events), Some(details)) = (events, details) {
            let described = member.described(&state, node, details);
            events.push(Change::Here, MemberEvent::Opened(described));
        }
        // Under the member's lock, so that a concurrent close finds it in the map.
        if let Some(user) = state.user.clone() {
            let mut users = self.user_shard(&user).lock();
            let members = users.entry(user).or_default();
            if members.is_empty() {
                members.reserve_exact(1);
            }
            members.push(Arc::clone(member));
        }
        true
    }

    /// Ends a member's subscriptions and stops it being a target; returns their places, and whether it was open or
    /// opening.
    pub(super) fn close(
        &self,
        member: &Member,
        events: Option<&Events>,
    ) -> (Vec<(u32, SubscriptionPlace)>, bool) {
        let mut state = member.state.lock();
        if state.phase == Phase::Connecting {
            // It has no subscriptions yet, and frames that its client sent before it left may still open it.
            return (Vec::new(), false);
        }
        let was = std::mem::replace(&mut state.phase, Phase::Closed);
        if was == Phase::Open
            && let Some(user) = &state.user
        {
            let mut users = self.user_shard(user).lock();
            if let Entry::Occupied(mut members) = users.entry(user.clone()) {
                members.get_mut().retain(|other| other.id != member.id);
                if members.get().is_empty() {
                    members.remove();
                    if users.len() < users.capacity() / 4 {
                        users.shrink_to_fit();
                    }
                }
            }
        }
        let held = std::mem::take(&mut state.held);
        if let Some(events) = events {
            for held in held.iter().filter(|held| held.active) {
                events.push(Change::Here, member.unsubscribed(&state, held));
            }
            if was == Phase::Open {
                let session = member.id;
                events.push(Change::Here, MemberEvent::Closed { session });
            }
        }
        let places = held.into_iter().map(|held| (held.slot, held.place));
        (places.collect(), was != Phase::Closed)
    }

    pub(super) fn remove(&self, id: SessionId) {
        let mut members = self.id_shard(id).lock();
        members.remove(&id);
        if members.len() < members.capacity() / 4 {
            members.shrink_to_fit();
        }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Member>> {
        self.id_shard(id).lock().get(&id).cloned()
    }

    pub(super) fn of_user(&self, name: &str) -> Vec<Arc<Member>> {
        let users = self.user_shard(name).lock();
        users.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn user_names(&self) -> Vec<ByteString> {
        let mut names = Vec::new();
        for shard in &self.by_user {
            names.extend(shard.lock().keys().cloned());
        }
        names.sort_unstable();
        names
    }

    pub(super) fn all(&self) -> Vec<Arc<Member>> {
        let mut all = Vec::new();
        for shard in &self.by_id {
            all.extend(shard.lock().values().cloned());
        }
        all
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.iter().map(|shard| shard.lock().len()).sum()
    }

    fn id_shard(&self, id: SessionId) -> &Mutex<HashMap<SessionId, Arc<Member>>> {
        &self.by_id[id.shard(SHARDS)]
    }

    fn user_shard(&self, name: &str) -> &Mutex<HashMap<ByteString, Vec<Arc<Member>>>> {
        &self.by_user[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl Member {
    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The queue of its deliveries.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The name of its user, once it is open.
    pub fn user(&self) -> Option<ByteString> {
        self.state.lock().user.clone()
    }

    /// Begins to open the session; returns false if it was opened or closed before.
    pub(super) fn begin_open(&self, user: Option<ByteString>, address: Option<ByteString>) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Connecting {
            return false;
        }
        state.phase = Phase::Opening;
        if user.is_none() {
            state.address = address.map(|address| (*address).into());
        }
        state.user = user;
        true
    }

    /// The account that the session's shares are counted in.
    pub(super) fn account(&self, accounts: &Arc<Accounts>) -> Arc<Account> {
        let mut state = self.state.lock();
        let MemberState {
            user,
            address,
            account,
            ..
        } = &mut *state;
        let account =
            account.get_or_insert_with(|| accounts.of_session(user.as_ref(), address.as_deref()));
        Arc::clone(account)
    }

    /// Returns true for a session that was not registered: the hub has it only while it is open.
    pub(super) fn is_temporary(&self) -> bool {
        self.context.is_none()
    }

    /// Returns true if messages can reach it: from [`Hub::open`](crate::Hub::open) to
    /// [`Hub::close`](crate::Hub::close).
    pub fn is_open(&self) -> bool {
        self.state.lock().phase == Phase::Open
    }

    /// Returns true once it is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().phase == Phase::Closed
    }

    /// The record it was [registered](crate::Hub::register) with.
    pub fn context<T: SessionContext>(&self) -> Option<Arc<T>> {
        let context: Arc<dyn Any + Send + Sync> = self.context.clone()?;
        context.downcast().ok()
    }

    /// Its active subscriptions, of those that `wanted` picks by id and destination.
    pub fn subscriptions(
        &self,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Vec<SubscriptionDescription> {
        let state = self.state.lock();
        let active = state.held.iter().filter(|held| held.active);
        active
            .filter(|held| {
                let (id, destination) = held.texts.split_at(held.id_len as usize);
                wanted(id, destination)
            })
            .map(HeldSubscription::described)
            .collect()
    }

    /// Queues a description of the session for the other nodes, if it is open.
    pub(super) fn announce(&self, node: NodeId, events: &Events) {
        let details = self.details();
        let state = self.state.lock();
        if state.phase == Phase::Open {
            let described = self.described(&state, node, details);
            events.push(Change::Repeated, MemberEvent::Opened(described));
        }
    }

    fn details(&self) -> Headers {
        let context = self.context.as_ref();
        context.map_or_else(Headers::new, |context| context.describe())
    }

    fn described(&self, state: &MemberState, node: NodeId, details: Headers) -> MemberDescription {
        let active = state.held.iter().filter(|held| held.active);
        MemberDescription {
            node,
            session: self.id,
            user: state.user.clone(),
            details,
            subscriptions: active.map(HeldSubscription::described).collect(),
        }
    }

    fn unsubscribed(&self, state: &MemberState, held: &HeldSubscription) -> MemberEvent {
        MemberEvent::Unsubscribed {
            session: self.id,
            user: state.user.clone(),
            subscription: held.described(),
        }
    }

    /// Records a subscription that is not active yet; returns its place if the session is not open.
    pub(super) fn hold(
        &self,
        slot: u32,
        id: &str,
        destination: &str,
        (place, share): (SubscriptionPlace, Option<Share>),
    ) -> Result<(), SubscriptionPlace> {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Err(place);
        }
        let held = &mut state.held;
        // Most sessions have one or two.
        if held.len() == held.capacity() && held.len() < 4 {
            held.reserve_exact(1);
        }
        held.push(HeldSubscription {
            slot,
            id_len: u32::try_from(id.len()).unwrap_or(u32::MAX),
            texts: [id, destination].concat().into(),
            active: false,
            place,
            _share: share,
        });
        Ok(())
    }

    /// Makes a recorded subscription active; returns false if it has ended.
    pub(super) fn activate(&self, slot: u32, events: Option<&Events>) -> bool {
        let mut state = self.state.lock();
        let MemberState { held, user, .. } = &mut *state;
        // Usually the one that was recorded last.
        let Some(held) = held.iter_mut().rfind(|held| held.slot == slot) else {
            return false;
        };
        held.active = true;
        if let Some(events) = events {
            let event = MemberEvent::Subscribed {
                session: self.id,
                user: user.clone(),
                subscription: held.described(),
            };
            events.push(Change::Here, event);
        }
        true
    }

    /// Describes the subscription `slot`, if it is active.
    pub fn subscription(&self, slot: u32) -> Option<SubscriptionDescription> {
        let state = self.state.lock();
        let mut active = state.held.iter().filter(|held| held.active);
        Some(active.find(|held| held.slot == slot)?.described())
    }

    /// Removes the record of a subscription; returns its place.
    pub(super) fn release(&self, slot: u32, events: Option<&Events>) -> Option<SubscriptionPlace> {
        let held = self.remove(slot, |_| true, events)?;
        Some(held.place)
    }

    /// Removes the record of a subscription whose place `is` confirms; returns place and description.
    pub(super) fn take(
        &self,
        slot: u32,
        is: impl Fn(&SubscriptionPlace) -> bool,
        events: Option<&Events>,
    ) -> Option<(SubscriptionPlace, SubscriptionDescription)> {
        let held = self.remove(slot, is, events)?;
        let described = held.described();
        Some((held.place, described))
    }

    fn remove(
        &self,
        slot: u32,
        is: impl Fn(&SubscriptionPlace) -> bool,
        events: Option<&Events>,
    ) -> Option<HeldSubscription> {
        let mut state = self.state.lock();
        let mut held = state.held.iter();
        let at = held.rposition(|held| held.slot == slot && is(&held.place))?;
        let held = state.held.remove(at);
        if let Some(events) = events.filter(|_| held.active) {
            events.push(Change::Here, self.unsubscribed(&state, &held));
        }
        Some(held)
    }

    /// The place of the subscription `slot`.
    pub(super) fn place(&self, slot: u32) -> Option<SubscriptionPlace> {
        let state = self.state.lock();
        let held = state.held.iter().find(|held| held.slot == slot)?;
        Some(held.place.clone())
    }

    /// The places of all subscriptions, by their slots.
    pub(super) fn places(&self) -> Vec<(u32, SubscriptionPlace)> {
        let state = self.state.lock();
        let held = state.held.iter();
        held.map(|held| (held.slot, held.place.clone())).collect()
    }

    /// Queues a message for each of the subscriptions to the user destination `path`.
    pub(super) fn deliver(&self, path: &Destination, message: &Arc<Message>) -> (usize, Lost) {
        let message = std::slice::from_ref(message);
        let state = self.state.lock();
        let (mut receivers, mut lost) = (0, Lost::default());
        for held in &state.held {
            match &held.place {
                SubscriptionPlace::User(subscribed, window) if subscribed == path => {
                    lost += match window {
                        Some(window) => window.push(message, self.outbox.policy(), None),
                        None => self.outbox.push(held.slot, message),
                    };
                    receivers += 1;
                }
                _ => {}
            }
        }
        (receivers, lost)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id)
            .field("user", &self.user())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
