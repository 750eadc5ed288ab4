//! Moving dead letters back, for operators.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytestring::ByteString;
use tramline_broker::{
    AckMode, CommitError, Delivery, DeliveryRef, Destination, Hub, OpenError, OpenSession, Outbox,
    Outcome, Overflow, Pattern, Publish, SessionContext, SessionId, Settle, SubscribeError,
    SubscribeRequest, Taken, Transaction, is_dead_letter_header,
};

use super::publisher::Publisher;
use crate::model::clock::wall_clock;

/// The reason why dead letters stay where they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReturnError {
    #[error("the broker does not show what waits in {0}: it is no queue of this node")]
    NoQueue(Destination),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error("{moved} messages were moved, and then: {error}")]
    Commit { moved: usize, error: CommitError },
}

/// Deliveries that the mover has and did not settle. One whose origin is not known keeps its place among them.
const PREFETCH: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// Another consumer has what does not come within this time.
const PATIENCE: Duration = Duration::from_secs(2);

const OUTBOX: usize = 16 * 1024 * 1024;
const SLOT: u32 = 0;

/// A session of the server's own, which ends when it is dropped.
struct Mover {
    hub: Hub,
    id: SessionId,
    outbox: Arc<Outbox>,
}

#[derive(Debug)]
struct Nameless;

impl SessionContext for Nameless {}

impl Publisher {
    /// Moves dead letters back to the destinations that their `original-destination` names, `most` at most of those that
    /// wait now; returns how many were moved. Each is settled and published in one transaction. Others stay.
    pub(crate) async fn return_dead_letters(
        &self,
        queue: &Destination,
        most: usize,
    ) -> Result<usize, ReturnError> {
        let no_queue = || ReturnError::NoQueue(queue.clone());
        let waiting = self.hub.peek(queue, most).ok_or_else(no_queue)?.len();
        if waiting == 0 {
            return Ok(0);
        }
        let mover = self.mover(queue).await?;
        let (mut seen, mut moved) = (0, 0);
        while seen < waiting {
            let next = tokio::time::timeout(PATIENCE, mover.next()).await;
            let Ok(deliveries) = next else { break };
            for delivery in deliveries {
                seen += 1;
                let Some(publish) = self.original(&delivery) else {
                    continue;
                };
                let settle = Settle::new(
                    Some(SLOT),
                    DeliveryRef::Only(delivery.tag),
                    Outcome::Accepted,
                );
                let transaction = Transaction::new(vec![settle], vec![publish]);
                let commit = self.hub.commit(mover.id, transaction, wall_clock().into());
                let committed = self.answer(commit).await;
                committed.map_err(|error| ReturnError::Commit { moved, error })?;
                moved += 1;
            }
        }
        Ok(moved)
    }

    async fn mover(&self, queue: &Destination) -> Result<Mover, ReturnError> {
        let id = SessionId::random();
        let outbox = Arc::new(Outbox::new(OUTBOX, Overflow::Close));
        self.hub
            .register(id, Arc::clone(&outbox), Arc::new(Nameless));
        let mover = Mover {
            hub: self.hub.clone(),
            id,
            outbox,
        };
        let open = OpenSession::new(id, None, Arc::clone(&mover.outbox));
        self.answer(self.hub.open(open)).await?;
        let request = SubscribeRequest::new(id, SLOT, Pattern::from(queue.clone()))
            .acknowledged(AckMode::ClientIndividual)
            .prefetch(PREFETCH);
        self.answer(self.hub.subscribe(request)).await?;
        Ok(mover)
    }

    /// The message as it was before it became a dead letter.
    fn original(&self, delivery: &Delivery) -> Option<Publish> {
        let message = &delivery.message;
        let original = message.headers().get("original-destination")?;
        let original = Destination::parse(ByteString::from(original)).ok()?;
        if !self.hub.serves(&original) {
            return None;
        }
        let mut headers = message.headers().clone();
        headers.retain(|name, _| !is_dead_letter_header(name));
        let publish = Publish::new(original, headers, message.body().clone());
        Some(publish.immediate())
    }
}

impl Mover {
    /// Waits for deliveries.
    async fn next(&self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        poll_fn(|context| {
            match self.outbox.poll_take(context, &mut deliveries, 64, OUTBOX) {
                Taken::Some {
                    room_wanted: true, ..
                } => self.hub.room_again(self.id),
                Taken::Nothing => return Poll::Pending,
                _ => {}
            }
            match deliveries.is_empty() {
                true => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                false => Poll::Ready(()),
            }
        })
        .await;
        deliveries
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.hub.unregister(self.id);
    }
}
