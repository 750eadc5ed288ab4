//! Relays, sessions and waits.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Runtime;
use tramline_broker::{
    AckMode, Address, Confirm, Control, Delivery, DeliveryRef, Destination, Headers, Hub,
    OpenSession, Outbox, Outcome, Overflow, Pattern, Publish, Published, Refused, SessionId,
    Settle, SettleError, SubscribeError, SubscribeRequest, Taken,
};
use tramline_relay::StompRelay;

use crate::brokers::TestBroker;

/// The maximum wait; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The runtime of all relays: tests block on threads of their own.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// A relay to a broker.
pub(crate) fn relay(broker: &TestBroker) -> StompRelay {
    relay_to(&broker.address())
}

/// A relay to an address.
pub(crate) fn relay_to(address: &str) -> StompRelay {
    StompRelay::new([address])
        .topics("/topic")
        .queues("/queue")
        .login("guest", "guest")
        .runtime(runtime().handle().clone())
}

/// A session of a node.
pub(crate) struct Session {
    pub(crate) hub: Hub,
    pub(crate) id: SessionId,
    pub(crate) outbox: Arc<Outbox>,
}

impl Session {
    pub(crate) fn open(hub: &Hub, user: Option<&str>) -> Self {
        let id = SessionId::random();
        let outbox = Arc::new(Outbox::new(1 << 24, Overflow::Close));
        let user = user.map(|user| user.to_owned().into());
        wait(hub.open(OpenSession::new(id, user, Arc::clone(&outbox)))).expect("it is opened");
        Self {
            hub: hub.clone(),
            id,
            outbox,
        }
    }

    pub(crate) fn request(&self, slot: u32, pattern: &str) -> SubscribeRequest {
        let pattern = Pattern::parse(pattern.to_owned()).unwrap();
        let ack = match pattern.as_str().starts_with("/topic") {
            true => AckMode::Auto,
            false => AckMode::ClientIndividual,
        };
        SubscribeRequest::new(self.id, slot, pattern).acknowledged(ack)
    }

    pub(crate) fn try_subscribe(&self, slot: u32, pattern: &str) -> Result<(), SubscribeError> {
        wait(self.hub.subscribe(self.request(slot, pattern))).map(drop)
    }

    #[track_caller]
    pub(crate) fn subscribe(&self, slot: u32, pattern: &str) {
        self.try_subscribe(slot, pattern).expect("it is subscribed");
    }

    #[track_caller]
    pub(crate) fn subscribe_user(&self, slot: u32, path: &str) {
        let path = Destination::parse(path.to_owned()).unwrap();
        let request = SubscribeRequest::new(self.id, slot, Address::User { path });
        wait(self.hub.subscribe(request)).expect("it is subscribed");
    }

    /// Waits for the next delivery; notices of missed messages in front of it are passed over.
    #[track_caller]
    pub(crate) fn take(&self) -> Delivery {
        until("a delivery", || {
            let mut taken = Vec::new();
            match self.poll(&mut taken) {
                Taken::Control(Control::MessagesMissed { .. }) => None,
                Taken::Control(other) => panic!("nothing was to end: {other:?}"),
                _ => taken.pop(),
            }
        })
    }

    /// Waits for the next delivery; any instruction is a failure.
    #[track_caller]
    pub(crate) fn take_only(&self) -> Delivery {
        until("a delivery", || {
            let mut taken = Vec::new();
            match self.poll(&mut taken) {
                Taken::Control(control) => panic!("nothing was to come but messages: {control:?}"),
                _ => taken.pop(),
            }
        })
    }

    /// Waits for the next delivery with `persistent:true`, and settles others.
    #[track_caller]
    pub(crate) fn take_persistent(&self) -> Delivery {
        loop {
            let taken = self.take();
            if taken.message.headers().get("persistent") == Some("true") {
                return taken;
            }
            self.settle(&taken).expect("it is settled");
        }
    }

    #[track_caller]
    pub(crate) fn body(&self) -> String {
        body(&self.take())
    }

    /// Waits for an instruction and a delivery, which come in any order.
    #[track_caller]
    pub(crate) fn notice_and_delivery(&self) -> (Control, Delivery) {
        let (mut control, mut taken) = (None, Vec::new());
        until("an instruction and a delivery", || {
            if let Taken::Control(came) = self.poll(&mut taken) {
                control = Some(came);
            }
            Some((control.take_if(|_| !taken.is_empty())?, taken.remove(0)))
        })
    }

    /// Waits for the next instruction; deliveries in front of it are dropped.
    #[track_caller]
    pub(crate) fn control(&self) -> Control {
        until("an instruction", || {
            let mut taken = Vec::new();
            match self.poll(&mut taken) {
                Taken::Control(control) => Some(control),
                _ => None,
            }
        })
    }

    fn poll(&self, taken: &mut Vec<Delivery>) -> Taken {
        let mut context = Context::from_waker(Waker::noop());
        self.outbox.poll_take(&mut context, taken, 1, usize::MAX)
    }

    pub(crate) fn settle(&self, delivery: &Delivery) -> Result<(), SettleError> {
        let tag = DeliveryRef::Tag(delivery.tag);
        let settle = Settle::new(Some(delivery.slot), tag, Outcome::Accepted);
        wait(self.hub.settle(self.id, settle))
    }
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.message.body()).into_owned()
}

/// Starts a node.
#[track_caller]
pub(crate) fn node(relay: StompRelay) -> Hub {
    let hub = Hub::new(relay);
    wait(hub.start()).expect("the relay starts");
    hub
}

pub(crate) fn message(destination: &str, body: &str) -> Publish {
    let destination = Destination::parse(destination.to_owned()).unwrap();
    Publish::new(destination, Headers::new(), body.to_owned())
}

pub(crate) fn publishing(hub: &Hub, publish: Publish) -> Confirm<Result<Published, Refused>> {
    hub.publish(vec![publish], SystemTime::now().into())
}

#[track_caller]
pub(crate) fn send(hub: &Hub, destination: &str, body: &str) {
    wait(publishing(hub, message(destination, body))).expect("it is published");
}

/// Waits until `ask` returns a value.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
pub(crate) fn wait<T>(mut confirm: Confirm<T>) -> T {
    until("an answer", || {
        let mut context = Context::from_waker(Waker::noop());
        match std::pin::Pin::new(&mut confirm).poll(&mut context) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    })
}

/// A destination that no other test uses.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}/{}", SessionId::random())
}
