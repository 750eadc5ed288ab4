//! Sessions, waits and observers.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use tramline_broker::{
    AckMode, Address, Confirm, Control, Delivery, DeliveryRef, Destination, Ending, Headers, Hub,
    Member, MemberEvent, NodeId, Observer, OpenError, OpenSession, Outbox, Outcome, Overflow,
    Pattern, Publish, SessionId, Settle, SettleError, StartError, SubscribeError, SubscribeRequest,
    Subscribed, Taken, Target, Timestamp,
};

/// The maximum wait; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// The time at which a request made at [`NOW`] has timed out.
pub(crate) const TOO_LATE: Timestamp = Timestamp::from_millis(1_031_000);

/// Waits until `ask` returns a value.
#[track_caller]
pub(crate) fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "it does not come");
        thread::yield_now();
    }
}

#[track_caller]
pub(crate) fn wait<T>(confirm: Confirm<T>) -> T {
    let mut confirm = pin!(confirm);
    until(|| {
        let polled = confirm
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    })
}

/// Returns the answer if it is known.
pub(crate) fn now<T>(confirm: &mut Confirm<T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::Pin::new(confirm).poll(&mut context) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// A session of a node.
pub(crate) struct NodeSession {
    pub(crate) hub: Hub,
    pub(crate) id: SessionId,
    pub(crate) outbox: Arc<Outbox>,
}

impl NodeSession {
    /// Creates a session that is not open yet.
    pub(crate) fn new(hub: &Hub, limit: usize) -> Self {
        Self {
            hub: hub.clone(),
            id: SessionId::random(),
            outbox: Arc::new(Outbox::new(limit, Overflow::Close)),
        }
    }

    pub(crate) fn opening(&self, user: Option<&str>) -> Confirm<Result<(), OpenError>> {
        let user = user.map(|user| user.to_owned().into());
        let open = OpenSession::new(self.id, user, Arc::clone(&self.outbox));
        self.hub.open(open)
    }

    pub(crate) fn open(hub: &Hub) -> Self {
        let session = Self::new(hub, 1 << 20);
        wait(session.opening(None)).unwrap();
        session
    }

    pub(crate) fn open_user(hub: &Hub, user: &str) -> Self {
        let session = Self::new(hub, 1 << 20);
        wait(session.opening(Some(user))).unwrap();
        session
    }

    pub(crate) fn subscribing(
        &self,
        slot: u32,
        pattern: &str,
    ) -> Confirm<Result<Subscribed, SubscribeError>> {
        let address = Pattern::parse(pattern.to_owned()).unwrap();
        let request = SubscribeRequest::new(self.id, slot, address);
        let request = request.acknowledged(AckMode::ClientIndividual);
        let request = match pattern.starts_with("/topic") {
            true => request.acknowledged(AckMode::Auto),
            false => request,
        };
        let id = format!("id-{slot}");
        self.hub
            .subscribe(request.described(id, pattern.to_owned()))
    }

    #[track_caller]
    pub(crate) fn subscribe(&self, slot: u32, pattern: &str) {
        wait(self.subscribing(slot, pattern)).unwrap();
    }

    pub(crate) fn subscribe_user(&self, slot: u32, path: &str) {
        let path = to(path);
        let request = SubscribeRequest::new(self.id, slot, Address::User { path });
        wait(self.hub.subscribe(request)).unwrap();
    }

    /// Waits for the next `count` deliveries.
    #[track_caller]
    pub(crate) fn take(&self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        until(|| {
            self.take_into(&mut taken, count);
            (taken.len() == count).then_some(())
        });
        taken
    }

    /// Takes the queued deliveries.
    pub(crate) fn take_into(&self, taken: &mut Vec<Delivery>, count: usize) {
        let mut context = Context::from_waker(Waker::noop());
        while taken.len() < count {
            let found = self
                .outbox
                .poll_take(&mut context, taken, count, usize::MAX);
            match found {
                Taken::Some { room_wanted, .. } => {
                    if room_wanted {
                        self.hub.room_again(self.id);
                    }
                }
                _ => return,
            }
        }
    }

    #[track_caller]
    pub(crate) fn bodies(&self, count: usize) -> Vec<String> {
        self.take(count).iter().map(body).collect()
    }

    /// Waits for the instruction to end.
    #[track_caller]
    pub(crate) fn ending(&self) -> Ending {
        let mut context = Context::from_waker(Waker::noop());
        until(|| {
            let mut taken = Vec::new();
            match self.outbox.poll_take(&mut context, &mut taken, 1, 1) {
                Taken::Control(Control::End(ending)) => Some(ending),
                _ => None,
            }
        })
    }

    /// Waits for the next instruction.
    #[track_caller]
    pub(crate) fn control(&self) -> Control {
        let mut context = Context::from_waker(Waker::noop());
        until(|| {
            let mut taken = Vec::new();
            match self.outbox.poll_take(&mut context, &mut taken, 0, 1) {
                Taken::Control(control) => Some(control),
                _ => None,
            }
        })
    }

    pub(crate) fn settling(&self, delivery: &Delivery) -> Confirm<Result<(), SettleError>> {
        self.hub.settle(self.id, accepting(delivery))
    }
}

pub(crate) fn accepting(delivery: &Delivery) -> Settle {
    let tag = DeliveryRef::Tag(delivery.tag);
    Settle::new(Some(delivery.slot), tag, Outcome::Accepted)
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.message.body()).into_owned()
}

pub(crate) fn to(destination: &str) -> Destination {
    Destination::parse(destination.to_owned()).unwrap()
}

pub(crate) fn message(destination: &str, body: &str) -> Publish {
    Publish::new(to(destination), Headers::new(), body.to_owned())
}

pub(crate) fn to_user(name: &str, path: &str, body: &str) -> Publish {
    let (name, path) = (name.to_owned().into(), to(path));
    Publish::new(Target::User { name, path }, Headers::new(), body.to_owned())
}

#[track_caller]
pub(crate) fn send(hub: &Hub, destination: &str, body: &str) {
    wait(hub.publish(vec![message(destination, body)], NOW)).unwrap();
}

/// The events that an observer received, as texts.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<String>>);

impl Seen {
    /// Creates an observer of `hub`.
    pub(crate) fn of(hub: &Hub) -> Arc<Self> {
        let seen = Arc::new(Self::default());
        let observer: Arc<dyn Observer> = Arc::<Self>::clone(&seen);
        assert!(hub.observe(observer));
        seen
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until the last events are `expected`.
    #[track_caller]
    pub(crate) fn ends_with(&self, expected: &[&str]) {
        let started = Instant::now();
        while !self
            .all()
            .ends_with(&expected.iter().map(ToString::to_string).collect::<Vec<_>>())
        {
            assert!(started.elapsed() < PATIENCE, "{:?}", self.all());
            thread::yield_now();
        }
    }

    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

impl Observer for Seen {
    fn member(&self, _node: NodeId, event: &MemberEvent) {
        let name = |user: &Option<ByteString>| user.as_deref().unwrap_or("nobody").to_owned();
        self.note(match event {
            MemberEvent::Opened(member) => format!("{} opened", name(&member.user)),
            MemberEvent::Subscribed {
                user, subscription, ..
            } => format!("{} subscribed {}", name(user), subscription.destination),
            MemberEvent::Unsubscribed {
                user, subscription, ..
            } => format!("{} unsubscribed {}", name(user), subscription.destination),
            MemberEvent::Closed { .. } => "closed".to_owned(),
            _ => "other".to_owned(),
        });
    }

    fn ending(&self, _session: &Member, code: u16, reason: &ByteString) {
        self.note(format!("ending {code} {reason}"));
    }

    fn available(&self, available: bool) {
        self.note(format!("available {available}"));
    }

    fn settlement_failed(&self, _session: SessionId, error: &SettleError) {
        self.note(format!("not settled: {error}"));
    }

    fn start_failed(&self, error: &StartError) {
        self.note(error.to_string());
    }
}
