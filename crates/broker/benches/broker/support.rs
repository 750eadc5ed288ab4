//! Sessions in this process that only take their deliveries.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Waker};

use tramline_broker::{
    AckMode, Delivery, Destination, Headers, Hub, OpenSession, Outbox, Overflow, Pattern, Publish,
    SessionId, SubscribeRequest, Timestamp,
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

pub(crate) struct Client {
    pub(crate) id: SessionId,
    pub(crate) outbox: Arc<Outbox>,
}

impl Client {
    pub(crate) fn open(broker: &Hub) -> Self {
        let id = SessionId::random();
        let outbox = Arc::new(Outbox::new(1 << 30, Overflow::Close));
        let open = OpenSession::new(id, None, Arc::clone(&outbox));
        broker.open(open).into_ready().unwrap().unwrap();
        Self { id, outbox }
    }

    pub(crate) fn subscribe(&self, broker: &Hub, slot: u32, pattern: impl Into<String>) {
        let pattern = Pattern::parse(pattern.into()).unwrap();
        let request = SubscribeRequest::new(self.id, slot, pattern);
        broker.subscribe(request).into_ready().unwrap().unwrap();
    }

    /// Subscribes with individual acknowledgement and at most `prefetch` unsettled deliveries.
    pub(crate) fn consume(&self, broker: &Hub, destination: &'static str, prefetch: u32) {
        let request = SubscribeRequest::new(self.id, 0, Pattern::parse(destination).unwrap())
            .acknowledged(AckMode::ClientIndividual)
            .prefetch(NonZeroU32::new(prefetch).unwrap());
        broker.subscribe(request).into_ready().unwrap().unwrap();
    }

    /// Takes all queued deliveries and returns their number.
    pub(crate) fn take(&self, batch: &mut Vec<Delivery>) -> usize {
        batch.clear();
        let mut context = Context::from_waker(Waker::noop());
        self.outbox
            .poll_take(&mut context, batch, usize::MAX, usize::MAX);
        batch.len()
    }
}

/// The publish request that a session's task makes of a small SEND.
pub(crate) fn message(destination: &Destination) -> Publish {
    const BODY: &[u8] = &[b'x'; 128];
    let mut headers = Headers::new();
    headers.push("content-type", "text/plain");
    Publish::new(destination.clone(), headers, BODY)
}

pub(crate) fn publish(broker: &Hub, batch: Vec<Publish>) -> usize {
    let published = broker.publish(batch, NOW).into_ready().unwrap().unwrap();
    published.local_receivers
}
