//! The one place where clients' wishes reach the broker.
//!
//! Everything here that a client asks for takes an [`Authorized`], which only the policy makes. `cargo xtask tidy` checks
//! that no other module but `publisher`, for the application's own messages, calls the broker's methods.

use tramline_broker::{
    Broker, Confirm, OpenError, OpenSession, Publish, PublishError, Published, SessionId,
    SubscribeError, SubscribeRequest,
};

use crate::policy::Authorized;

/// Makes a session known.
pub(crate) fn open(
    broker: &dyn Broker,
    session: Authorized<OpenSession>,
) -> Confirm<Result<(), OpenError>> {
    broker.open(session.into_inner())
}

/// Publishes what one session sent, in its order.
pub(crate) fn publish(
    broker: &dyn Broker,
    batch: Vec<Authorized<Publish>>,
) -> Confirm<Result<Published, PublishError>> {
    // Reuses the vector's memory: the wrapper is the same in size.
    broker.publish(batch.into_iter().map(Authorized::into_inner).collect())
}

/// Starts a subscription.
pub(crate) fn subscribe(
    broker: &dyn Broker,
    request: Authorized<SubscribeRequest>,
) -> Confirm<Result<(), SubscribeError>> {
    broker.subscribe(request.into_inner())
}

/// Ends a subscription: everybody may stop listening.
pub(crate) fn unsubscribe(broker: &dyn Broker, session: SessionId, slot: u32) -> Confirm<()> {
    broker.unsubscribe(session, slot)
}

/// Forgets a session that ended.
pub(crate) fn close(broker: &dyn Broker, session: SessionId) {
    broker.close(session);
}
