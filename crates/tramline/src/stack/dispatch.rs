//! The one place where clients' wishes reach the broker.
//!
//! Everything here that a client asks for takes an [`Authorized`], which only the policy makes. `cargo xtask tidy` checks
//! that no other module but `publisher`, for the application's own messages, calls the broker's methods.

use tramline_broker::{
    Broker, CommitError, Confirm, OpenError, OpenSession, Publish, Published, Refused, SessionId,
    Settle, SettleError, SubscribeError, SubscribeRequest, Transaction,
};

use crate::model::clock::wall_clock;
use crate::stack::policy::Authorized;

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
) -> Confirm<Result<Published, Refused>> {
    broker.publish(inner(batch), wall_clock().into())
}

/// Settles deliveries: what was given to a session is its to settle.
pub(crate) fn settle(
    broker: &dyn Broker,
    session: SessionId,
    settle: Settle,
) -> Confirm<Result<(), SettleError>> {
    broker.settle(session, settle)
}

/// Does what one session put into a transaction.
pub(crate) fn commit(
    broker: &dyn Broker,
    session: SessionId,
    settles: Vec<Settle>,
    publishes: Vec<Authorized<Publish>>,
) -> Confirm<Result<Published, CommitError>> {
    let transaction = Transaction::new(settles, inner(publishes));
    broker.commit(session, transaction, wall_clock().into())
}

/// Tells that a session's outbox has room again.
pub(crate) fn resume(broker: &dyn Broker, session: SessionId) {
    broker.resume(session);
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

/// Reuses the vector's memory: the wrapper is the same in size.
fn inner<T>(authorized: Vec<Authorized<T>>) -> Vec<T> {
    authorized.into_iter().map(Authorized::into_inner).collect()
}

/// Forgets a session that ended.
pub(crate) fn close(broker: &dyn Broker, session: SessionId) {
    broker.close(session);
}
