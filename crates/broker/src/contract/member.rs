//! A trial of an engine's nodes, and the sessions on them.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use super::Options;
use crate::broker::Order;
use crate::confirm::Confirm;
use crate::destination::{Destination, Pattern, Target};
use crate::errors::{CommitError, Refused, SettleError, SubscribeError};
use crate::hub::Hub;
use crate::hub::outbox::{Delivery, Ending, Outbox, Overflow, Taken};
use crate::message::Publish;
use crate::request::{
    Address, DeliveryRef, OpenSession, Outcome, Published, Settle, SubscribeRequest, Transaction,
};
use crate::session_id::SessionId;
use crate::timestamp::Timestamp;
use crate::{AckMode, Headers};

/// An outbox limit that no clause exceeds.
const ROOMY: usize = 1 << 24;

/// One attempt at one clause.
pub(super) struct Trial<'a> {
    /// The hubs of the nodes.
    nodes: Vec<Hub>,
    options: &'a Options,
    /// Part of every name in this trial, which makes it unique.
    own: String,
    opened: AtomicUsize,
}

/// A session of a trial.
pub(super) struct TrialMember<'a> {
    trial: &'a Trial<'a>,
    hub: &'a Hub,
    pub(super) id: SessionId,
    pub(super) outbox: Arc<Outbox>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(nodes: Vec<Hub>, options: &'a Options) -> Self {
        assert!(!nodes.is_empty(), "an engine has a node at least");
        let trial = Self {
            nodes,
            options,
            own: format!("contract-{}", SessionId::random()),
            opened: AtomicUsize::new(0),
        };
        for hub in &trial.nodes {
            trial.wait(hub.start()).expect("the engine starts");
        }
        trial
    }

    /// The order that the engine promises.
    pub(super) fn order(&self) -> Order {
        self.options.order
    }

    /// Returns true if a node knows how often the others delivered a message.
    pub(super) fn counts_between_nodes(&self) -> bool {
        self.options.counts_between_nodes || self.nodes.len() == 1
    }

    /// The node that publishes unless a clause says otherwise: not that of the first session.
    fn publisher(&self) -> &Hub {
        &self.nodes[self.nodes.len() - 1]
    }

    /// Returns a topic that is unique to this trial.
    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.options.topics, self.own)
    }

    /// Returns a queue that is unique to this trial.
    pub(super) fn queue(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.options.queues, self.own)
    }

    /// Returns a user that is unique to this trial.
    pub(super) fn user(&self, name: &str) -> String {
        format!("{}-{name}", self.own)
    }

    /// Returns a destination that the broker does not carry.
    pub(super) fn nowhere(&self) -> String {
        let nowhere = format!("/{}/nowhere", self.own);
        assert!(!self.publisher().serves(&nowhere), "{nowhere:?} is served");
        nowhere
    }

    /// Opens a session on the next node.
    pub(super) fn open(&'a self) -> TrialMember<'a> {
        self.open_with(None, ROOMY)
    }

    pub(super) fn open_user(&'a self, user: &str) -> TrialMember<'a> {
        self.open_with(Some(user), ROOMY)
    }

    /// Opens a session whose outbox holds `limit` bytes.
    pub(super) fn open_slow(&'a self, limit: usize) -> TrialMember<'a> {
        self.open_with(None, limit)
    }

    fn open_with(&'a self, user: Option<&str>, limit: usize) -> TrialMember<'a> {
        let id = SessionId::random();
        let outbox = Arc::new(Outbox::new(limit, Overflow::Close));
        let user = user.map(|user| user.to_owned().into());
        let open = OpenSession::new(id, user, Arc::clone(&outbox));
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        let hub = &self.nodes[opened % self.nodes.len()];
        self.wait(hub.open(open)).expect("a session is opened");
        TrialMember {
            trial: self,
            hub,
            id,
            outbox,
        }
    }

    pub(super) fn publish(&self, batch: Vec<Publish>) -> Result<Published, Refused> {
        self.wait(self.publisher().publish(batch, now()))
    }

    /// Like [`publish`](Self::publish), from the `n`th publisher.
    pub(super) fn publish_as(&self, n: usize, batch: Vec<Publish>) -> Result<Published, Refused> {
        let hub = &self.nodes[n % self.nodes.len()];
        self.wait(hub.publish(batch, now()))
    }

    /// Publishes a message for each of `bodies`, in one batch each.
    pub(super) fn send(&self, destination: &str, bodies: &[&str]) {
        for body in bodies {
            let published = self.publish(vec![to(destination, body)]);
            published.expect("a message is published");
        }
    }

    /// Closes the session `id`, which may not exist.
    pub(super) fn close(&self, id: SessionId) {
        for hub in &self.nodes {
            hub.close(id);
        }
    }

    /// Waits until `members` together have received `count` deliveries.
    pub(super) fn take(&self, members: &[TrialMember<'_>], count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        self.until(self.options.patience, |context| {
            for member in members {
                member.take_into(context, &mut taken, count);
            }
            (taken.len() == count).then_some(())
        });
        let came = taken.len();
        assert_eq!(came, count, "of {count} deliveries {came} came in time");
        taken
    }

    /// Blocks until the answer arrives.
    pub(super) fn wait<T>(&self, answer: Confirm<T>) -> T {
        let mut answer = pin!(answer);
        let answer = self.until(self.options.patience, |context| {
            match answer.as_mut().poll(context) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            }
        });
        answer.expect("an answer comes in time")
    }

    /// Calls `ask` whenever the thread is woken, until it returns a value or the time is over.
    fn until<T>(
        &self,
        time: Duration,
        mut ask: impl FnMut(&mut Context<'_>) -> Option<T>,
    ) -> Option<T> {
        struct Unpark(Thread);

        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }

        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let started = Instant::now();
        loop {
            let answer = ask(&mut context);
            let left = time.saturating_sub(started.elapsed());
            if answer.is_some() || left.is_zero() {
                return answer;
            }
            thread::park_timeout(left);
        }
    }
}

impl TrialMember<'_> {
    /// Subscribes to `pattern`, without acknowledgement on topics.
    pub(super) fn subscribe(&self, slot: u32, pattern: &str) {
        self.subscribe_as(slot, pattern, AckMode::Auto, 100);
    }

    /// Subscribes to `pattern` with at most `prefetch` unsettled deliveries.
    pub(super) fn subscribe_as(&self, slot: u32, pattern: &str, ack: AckMode, prefetch: u32) {
        let subscribed = self.try_subscribe(slot, pattern, ack, prefetch);
        subscribed.expect("a subscription is made");
    }

    pub(super) fn try_subscribe(
        &self,
        slot: u32,
        pattern: &str,
        ack: AckMode,
        prefetch: u32,
    ) -> Result<(), SubscribeError> {
        let separator = self.hub.separator(pattern);
        let pattern = Pattern::parse_separated(pattern.to_owned(), separator);
        let pattern = pattern.expect("the options' prefixes make patterns");
        let prefetch = NonZeroU32::new(prefetch).expect("a clause asks for one at least");
        let request = SubscribeRequest::new(self.id, slot, pattern).acknowledged(ack);
        let request = request.prefetch(prefetch);
        let subscribed = self.trial.wait(self.hub.subscribe(request));
        subscribed.map(drop)
    }

    pub(super) fn subscribe_user(&self, slot: u32, path: &str) {
        let path = destination(path);
        let request = SubscribeRequest::new(self.id, slot, Address::User { path });
        let subscribed = self.trial.wait(self.hub.subscribe(request));
        subscribed.expect("a subscription is made");
    }

    pub(super) fn unsubscribe(&self, slot: u32) {
        let ended = self.trial.wait(self.hub.unsubscribe(self.id, slot));
        ended.expect("the subscription ends");
    }

    pub(super) fn close(&self) {
        self.trial.close(self.id);
        self.outbox.close();
    }

    /// Waits for `count` deliveries, and reports room as a session does.
    pub(super) fn take(&self, count: usize) -> Vec<Delivery> {
        self.trial.take(std::slice::from_ref(self), count)
    }

    /// Like [`take`](Self::take), but returns the bodies.
    pub(super) fn bodies(&self, count: usize) -> Vec<String> {
        self.take(count).iter().map(body).collect()
    }

    /// Checks that nothing arrives.
    pub(super) fn nothing(&self) {
        let mut taken = Vec::new();
        self.trial.until(self.trial.options.quiet, |context| {
            self.take_into(context, &mut taken, 1);
            (!taken.is_empty()).then_some(())
        });
        assert!(taken.is_empty(), "nothing was to come: {taken:?}");
    }

    fn take_into(&self, context: &mut Context<'_>, taken: &mut Vec<Delivery>, count: usize) {
        while taken.len() < count {
            match self.outbox.poll_take(context, taken, count, usize::MAX) {
                Taken::Some { room_wanted, .. } => {
                    if room_wanted {
                        self.hub.room_again(self.id);
                    }
                }
                Taken::Nothing => return,
                Taken::Control(control) => panic!("nothing was to end: {control:?}"),
            }
        }
    }

    /// Waits until the session is ended.
    pub(super) fn ending(&self) -> Ending {
        let ending = self.trial.until(self.trial.options.patience, |context| {
            self.outbox.poll_overflow(context)
        });
        ending.expect("the session is ended in time")
    }

    pub(super) fn settle(
        &self,
        slot: impl Into<Option<u32>>,
        delivery: DeliveryRef,
        outcome: Outcome,
    ) -> Result<(), SettleError> {
        let settle = Settle::new(slot.into(), delivery, outcome);
        self.trial.wait(self.hub.settle(self.id, settle))
    }

    /// Settles a delivery that was taken, and expects success.
    pub(super) fn settled(&self, delivery: &Delivery, outcome: Outcome) {
        let settled = self.settle(delivery.slot, DeliveryRef::Tag(delivery.tag), outcome);
        settled.expect("a delivery is settled");
    }

    pub(super) fn commit(
        &self,
        settles: Vec<Settle>,
        publishes: Vec<Publish>,
    ) -> Result<Published, CommitError> {
        let transaction = Transaction::new(settles, publishes);
        let answer = self.hub.commit(self.id, transaction, now());
        self.trial.wait(answer)
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn destination(text: &str) -> Destination {
    let destination = Destination::parse(text.to_owned());
    destination.expect("the options' prefixes make destinations")
}

pub(super) fn to(text: &str, body: &str) -> Publish {
    Publish::new(destination(text), Headers::new(), body.to_owned())
}

pub(super) fn to_user(name: &str, path: &str, body: &str) -> Publish {
    let target = Target::User {
        name: name.to_owned().into(),
        path: destination(path),
    };
    Publish::new(target, Headers::new(), body.to_owned())
}

pub(super) fn to_session(id: SessionId, path: &str, body: &str) -> Publish {
    let path = destination(path);
    Publish::new(
        Target::Session { id, path },
        Headers::new(),
        body.to_owned(),
    )
}

pub(super) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.message.body()).into_owned()
}

/// Returns each message's body and how often it was delivered before.
pub(super) fn tries(deliveries: &[Delivery]) -> Vec<(String, u32)> {
    let tries = deliveries
        .iter()
        .map(|delivery| (body(delivery), delivery.redeliveries));
    tries.collect()
}

pub(super) fn by_tag(delivery: &Delivery) -> DeliveryRef {
    DeliveryRef::Tag(delivery.tag)
}

pub(super) fn accepting(delivery: &Delivery) -> Settle {
    Settle::new(Some(delivery.slot), by_tag(delivery), Outcome::Accepted)
}
