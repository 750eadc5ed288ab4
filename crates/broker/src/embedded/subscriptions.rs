//! Durable subscriptions: topics' messages that wait for a user who is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytestring::ByteString;

use super::Engine;
use super::journal::{Change, JournalError, Key, RecoveredQueue};
use super::queue::{Aftermath, Away, Keeper, Queue};
use super::settings::SubscriptionSettings;
use super::subscription_name::{Identity, Stored};
use crate::Headers;
use crate::destination::{Destination, Pattern};
use crate::errors::{PublishError, Refused, StartError, SubscribeError};
use crate::hub::accounts::Payer;
use crate::hub::consumer::Consumer;
use crate::hub::keeping::KeptPlace;
use crate::hub::kept;
use crate::message::{Message, Publish};
use crate::request::{DurableName, Subscribed};
use crate::selector::Selector;
use crate::session_id::SessionId;
use crate::statistics::DestinationKind;
use crate::sync::Mutex;
use crate::timestamp::Timestamp;

/// The durable subscriptions of a broker.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: Mutex<All>,
    /// Their number, read before each publish to a topic.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct All {
    by_name: HashMap<DurableName, Known>,
    /// The time of the last sweep.
    swept: Timestamp,
}

impl Subscriptions {
    /// Notes the number of `all`.
    fn counted(&self, all: &All) {
        self.count.store(all.by_name.len(), Ordering::Relaxed);
    }
}

/// One of them.
#[derive(Debug)]
struct Known {
    subscription: Arc<Subscription>,
    place: KeptPlace,
    /// The journal's mark that it exists.
    mark: Option<Key>,
    /// The session and its number of it, while one uses it.
    used_by: Option<(SessionId, u32)>,
    /// The time when that ended; 0 if it is not known.
    since: Timestamp,
}

/// A durable subscription, as its topics know it.
#[derive(Debug)]
pub(super) struct Subscription {
    identity: Identity,
    selector: Option<Selector>,
    queue: Arc<Queue>,
    /// A message without content.
    mark: Arc<Message>,
}

impl Subscription {
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    fn wants(&self, message: &Message) -> bool {
        let selector = self.selector.as_ref();
        selector.is_none_or(|selector| selector.matches(message))
    }
}

/// The least jump of the clock, in milliseconds: nothing ends by it.
const JUMP: u64 = 60 * 60 * 1000;

impl Engine {
    /// Starts to deliver to a session what its user's durable subscription has, and begins that if there is none.
    pub(super) fn consume_durable(
        &self,
        consumer: &Arc<Consumer>,
        name: &DurableName,
        after: &mut Aftermath,
    ) -> Result<Subscribed, SubscribeError> {
        let refused = |reason: String| {
            Err(SubscribeError::Refused {
                reason: reason.into(),
            })
        };
        let pattern = consumer.pattern();
        let selector = consumer.options().selector.clone();
        if let Some(selector) = &selector {
            Selector::parse(selector)?;
        }
        let Some(keeper) = self.keeper_of_topics(pattern) else {
            let option = "durable";
            return Err(SubscribeError::Unsupported { option });
        };
        if name.id.is_empty() {
            return refused("a durable subscription needs an `id`".into());
        }
        if pattern.is_scanned() {
            return refused(format!(
                "the pattern {:?} of a durable subscription has too many wildcards, or `?`, or several `*` in a segment",
                pattern.as_str()
            ));
        }
        let identity = Identity {
            name: name.clone(),
            pattern: pattern.as_str().into(),
            selector,
        };
        let checked = keeper.journal.check(0);
        let mut all = self.subscriptions.all.lock();
        let is_new = !all.by_name.contains_key(name);
        if let (Err(error), true) | (Err(error @ JournalError::Failed { .. }), _) =
            (&checked, is_new)
        {
            return refused(error.to_string());
        }
        if is_new {
            self.check_number(&all, name)?;
            let longest = Stored::Exists(identity.clone(), Timestamp::from_millis(u64::MAX));
            if let Err(length) = longest.to_name() {
                return refused(format!(
                    "the names of user, `id`, destination and selector of a durable subscription take {length} bytes, and {} \
                     may be used; shorten one",
                    Destination::MAX_LENGTH
                ));
            }
            let payer = || self.hub.account_of(consumer.session());
            let known = self.begin(identity.clone(), pattern, keeper, &payer)?;
            all.by_name.insert(name.clone(), known);
            self.subscriptions.counted(&all);
        }
        let Some(known) = all.by_name.get_mut(name) else {
            return Err(SubscribeError::BrokerUnavailable);
        };
        let subscription = Arc::clone(&known.subscription);
        if subscription.identity != identity {
            let Identity {
                pattern, selector, ..
            } = &subscription.identity;
            let with = selector.as_ref();
            let with = with.map_or(String::new(), |selector| {
                format!(" with the selector {selector:?}")
            });
            return refused(format!(
                "the durable subscription {:?} of {:?} is to {pattern:?}{with}; end it first, by UNSUBSCRIBE with \
                 `durable:true`, or use another `id`",
                name.id, name.user
            ));
        }
        if known.used_by.is_some() {
            return refused(format!(
                "another session of {:?} uses the durable subscription {:?}; close it, or use another `id`",
                name.user, name.id
            ));
        }
        known.used_by = Some((consumer.session(), consumer.slot()));
        self.mark(known, Timestamp::from_millis(0), after);
        drop(all);
        let missed = subscription.queue.take_missed(after);
        // Only its end removes the queue, and this session is the only one that may ask for that.
        let subscribed = subscription
            .queue
            .subscribe(consumer, self.hub.now(), after);
        subscribed.map_err(|_| SubscribeError::BrokerUnavailable)?;
        Ok(Subscribed {
            missed,
            ..Subscribed::default()
        })
    }

    fn check_number(&self, all: &All, name: &DurableName) -> Result<(), SubscribeError> {
        let SubscriptionSettings { max, max_each, .. } = self.subscription_settings;
        let of_user = all.by_name.keys().filter(|other| other.user == name.user);
        let reason = if all.by_name.len() >= max {
            format!("there are {max} durable subscriptions, as many as there may be")
        } else if of_user.take(max_each).count() >= max_each {
            let user = &name.user;
            format!(
                "{user:?} has {max_each} durable subscriptions, as many as a user may have; end one"
            )
        } else {
            return Ok(());
        };
        Err(SubscribeError::Refused {
            reason: reason.into(),
        })
    }

    /// Begins a subscription that the journal knows nothing of, or only messages.
    fn begin(
        &self,
        identity: Identity,
        pattern: &Pattern,
        keeper: Keeper,
        payer: Payer<'_>,
    ) -> Result<Known, SubscribeError> {
        let refused = |reason: String| SubscribeError::Refused {
            reason: reason.into(),
        };
        let selector = identity.selector.as_deref().map(Selector::parse);
        let name = |stored: Stored| {
            let name = stored.to_name();
            name.map_err(|length| refused(format!("its name takes {length} bytes")))
        };
        let messages = name(Stored::Messages(identity.clone()))?;
        let nowhere = Destination::parse(messages.clone());
        let nowhere = nowhere.map_err(|error| refused(error.to_string()))?;
        let mark = Publish::new(nowhere, Headers::new(), "");
        let mark = Arc::new(Message::new(mark, ByteString::new(), None));
        let away = Away {
            missed: name(Stored::Missed(identity.clone()))?,
            mark: Arc::clone(&mark),
        };
        let queue = Queue::new(
            messages,
            Arc::new(self.subscription_settings.of_queue()),
            self.hub.meter(),
            Some(keeper),
        );
        let subscription = Arc::new(Subscription {
            selector: selector.transpose()?,
            queue: Arc::new(queue.of_subscription(away)),
            mark,
            identity,
        });
        let kept: kept::Kept = Arc::clone(&subscription) as _;
        let place = self.hub.keep(pattern, payer, kept)?;
        Ok(Known {
            subscription,
            place,
            mark: None,
            used_by: None,
            since: Timestamp::from_millis(0),
        })
    }

    /// Writes in the journal since when nobody uses a subscription, in place of what was there.
    fn mark(&self, known: &mut Known, since: Timestamp, after: &mut Aftermath) {
        let identity = known.subscription.identity.clone();
        let (Some(journal), Ok(name)) = (&self.journal, Stored::Exists(identity, since).to_name())
        else {
            return;
        };
        let mut changes = vec![Change::Enqueue {
            queue: &name,
            message: &known.subscription.mark,
        }];
        changes.extend(known.mark.map(|key| Change::Remove { key }));
        let appended = journal.append(&changes);
        after.awaited = after.awaited | known.subscription.queue.awaits(appended.ticket);
        (known.mark, known.since) = (Some(appended.first), since);
    }

    /// Notes that a session no longer uses its user's durable subscription.
    pub(super) fn leave_durable(&self, consumer: &Consumer, after: &mut Aftermath) {
        let Some(name) = consumer.durable() else {
            return;
        };
        let mut all = self.subscriptions.all.lock();
        let user = Some((consumer.session(), consumer.slot()));
        let known = all.by_name.get_mut(name);
        if let Some(known) = known.filter(|known| known.used_by == user) {
            known.used_by = None;
            self.mark(known, self.hub.now(), after);
        }
    }

    /// Ends the durable subscription that a session uses, with its messages.
    pub(super) fn end_durable(&self, consumer: &Consumer, after: &mut Aftermath) {
        let Some(name) = consumer.durable() else {
            return;
        };
        let mut all = self.subscriptions.all.lock();
        let user = Some((consumer.session(), consumer.slot()));
        if all
            .by_name
            .get(name)
            .is_some_and(|known| known.used_by == user)
        {
            self.remove(&mut all, name, after);
        }
    }

    fn remove(&self, all: &mut All, name: &DurableName, after: &mut Aftermath) {
        if let Some(known) = all.by_name.remove(name) {
            self.hub.drop_kept(&known.place);
            known.subscription.queue.end(known.mark.as_slice(), after);
            self.subscriptions.counted(all);
        }
    }

    /// Ends the subscriptions that nobody has used for long enough, and drops expired messages.
    pub(super) fn sweep_durable(&self, after: &mut Aftermath) {
        if self.subscriptions.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (now, steady) = (self.hub.now(), self.hub.steady());
        let mut all = self.subscriptions.all.lock();
        let before = std::mem::replace(&mut all.swept, now).as_millis();
        let jump = now.as_millis().saturating_sub(before);
        let jump = if before > 0 && jump >= JUMP { jump } else { 0 };
        let limit = self.subscription_settings.unused_for.as_millis();
        let mut over = Vec::new();
        for known in all.by_name.values_mut() {
            let queue = &known.subscription.queue;
            if queue.is_to_be_swept() {
                queue.expire(now, steady, after);
            }
            if known.used_by.is_some() {
                continue;
            }
            if known.since.as_millis() == 0 {
                self.mark(known, now, after);
            }
            known.since = Timestamp::from_millis(known.since.as_millis() + jump);
            let unused = now.as_millis().saturating_sub(known.since.as_millis());
            if u128::from(unused) >= limit {
                over.push(known.subscription.identity.name.clone());
            }
        }
        // Each start has another order of the map.
        over.sort_by(|a, b| (&a.user, &a.id).cmp(&(&b.user, &b.id)));
        for name in over {
            self.remove(&mut all, &name, after);
        }
    }

    /// Returns true if a durable subscription may receive messages to this topic.
    pub(super) fn may_keep(&self, destination: &str) -> bool {
        self.subscriptions.count.load(Ordering::Relaxed) > 0
            && self
                .hub
                .settings()
                .covering(&self.durable, destination)
                .is_some()
    }

    fn keeper_of_topics(&self, pattern: &Pattern) -> Option<Keeper> {
        let settings = self.hub.settings();
        let (kind, separator) = settings.kind(pattern.as_str())?;
        let durability = self
            .durable
            .find(separator, |durable| durable.covers(pattern));
        (kind == DestinationKind::Topic).then_some(Keeper {
            journal: Arc::clone(self.journal.as_ref()?),
            durability: *durability?,
        })
    }

    /// Delivers a message to a topic that may have durable subscriptions. `stored` are those whose messages a transaction's
    /// record has.
    pub(super) fn deliver_durable(
        &self,
        destination: &Destination,
        publish: Publish,
        stored: Option<Vec<(Arc<Subscription>, Key)>>,
        after: &mut Aftermath,
    ) -> Result<usize, Refused> {
        let mut keeping = Keeping {
            engine: self,
            is_checked: stored.is_some(),
            stored: stored.unwrap_or_default(),
            after,
        };
        let delivered = self.hub.deliver_kept(destination, publish, &mut keeping);
        let Keeping { stored, after, .. } = keeping;
        for (subscription, key) in stored {
            // It has ended since the record was made.
            subscription.queue.forget(&[key], after);
        }
        delivered
    }

    /// The durable subscriptions that a message goes to; the store has room for it.
    pub(super) fn wanted_by(
        &self,
        destination: &Destination,
        message: &Message,
    ) -> Vec<Arc<Subscription>> {
        let kept = self.hub.kept_of(destination).into_iter();
        let kept = kept.filter_map(|kept| kept.downcast::<Subscription>().ok());
        kept.filter(|subscription| subscription.wants(message))
            .collect()
    }

    /// Checks that the durable subscriptions of a topic take a message; returns the bytes that the journal needs for it.
    pub(super) fn check_durable(
        &self,
        kept: &[kept::Kept],
        publish: &Publish,
    ) -> Result<usize, PublishError> {
        let size = publish.size_hint();
        let subscriptions = || {
            kept.iter()
                .filter_map(|kept| kept.downcast_ref::<Subscription>())
        };
        for subscription in subscriptions() {
            subscription.queue.check_kept(size)?;
        }
        let bytes = size * kept.len();
        if let Some(first) = subscriptions().next() {
            first.queue.check_store(bytes)?;
        }
        Ok(bytes)
    }

    /// Begins with the subscriptions that the journal had; returns its other queues.
    pub(super) fn recover_subscriptions(
        &self,
        recovered: Vec<RecoveredQueue>,
    ) -> Result<Vec<RecoveredQueue>, StartError> {
        let mut queues = Vec::new();
        let mut after = Aftermath::default();
        let mut all = self.subscriptions.all.lock();
        for found in recovered {
            let Some(stored) = Stored::from_name(&found.name) else {
                queues.push(found);
                continue;
            };
            let identity = stored.identity();
            let failed = |reason: String| {
                let DurableName { user, id } = &identity.name;
                StartError::new(format!(
                    "its store has a durable subscription {id:?} of {user:?} that it cannot have: {reason}"
                ))
            };
            if !all.by_name.contains_key(&identity.name) {
                let separator = self.hub.settings().separator(&identity.pattern);
                let pattern = Pattern::parse_separated(identity.pattern.clone(), separator);
                let pattern = pattern.map_err(|error| failed(error.to_string()))?;
                let keeper = self.keeper_of_topics(&pattern);
                let keeper = keeper.ok_or_else(|| failed("no durable pattern covers it".into()))?;
                let known = self.begin(identity.clone(), &pattern, keeper, &|| None);
                let known = known.map_err(|error| failed(error.to_string()))?;
                all.by_name.insert(identity.name.clone(), known);
            }
            let known = all.by_name.get_mut(&identity.name);
            let Some(known) = known.filter(|known| known.subscription.identity == *identity) else {
                return Err(failed("it is there twice".into()));
            };
            let queue = &known.subscription.queue;
            match (&stored, found.keys.last()) {
                (Stored::Messages(_), _) => queue.recover(found.keys, found.bytes),
                (Stored::Exists(_, since), Some(mark)) => {
                    (known.mark, known.since) = (Some(*mark), *since);
                }
                (Stored::Missed(_), Some(mark)) => queue.recover_missed(*mark),
                _ => {}
            }
        }
        for known in all.by_name.values_mut() {
            if known.mark.is_none() {
                // The mark was damaged, and the messages are there.
                self.mark(known, Timestamp::from_millis(0), &mut after);
            }
        }
        self.subscriptions.counted(&all);
        Ok(queues)
    }
}

/// One message on its way to durable subscriptions.
struct Keeping<'a> {
    engine: &'a Engine,
    /// True for a transaction's, which was checked before its record was made.
    is_checked: bool,
    stored: Vec<(Arc<Subscription>, Key)>,
    after: &'a mut Aftermath,
}

impl kept::Keeper for Keeping<'_> {
    fn check(&self, kept: &[kept::Kept], publish: &Publish) -> Result<(), PublishError> {
        match self.is_checked {
            true => Ok(()),
            false => self.engine.check_durable(kept, publish).map(drop),
        }
    }

    fn keep(&mut self, kept: &kept::Kept, message: &Arc<Message>) {
        let Some(subscription) = kept.downcast_ref::<Subscription>() else {
            return;
        };
        let known = |(of, _): &(Arc<Subscription>, Key)| std::ptr::eq(&**of, subscription);
        let stored = self.stored.iter().position(known);
        let stored = stored.map(|at| self.stored.swap_remove(at).1);
        if stored.is_some() || subscription.wants(message) {
            let now = self.engine.hub.now();
            subscription.queue.keep(message, stored, now, self.after);
        }
    }
}
