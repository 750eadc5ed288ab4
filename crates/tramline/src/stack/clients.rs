//! The hub as clients may use it: every call for a client takes an [`Authorized`], which only the policy makes.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{
    Address, BrokerStatistics, CommitError, Confirm, DestinationKind, Hold, Hub, Member,
    MemberDescription, NodeId, Observer, OpenError, OpenSession, Outbox, Pattern, Publish,
    PublishError, Published, Refused, Separator, SessionId, Settle, SettleError, StartError,
    SubscribeError, SubscribeRequest, Subscribed, Timestamp, Transaction, UnsubscribeError,
};
#[cfg(feature = "console")]
use tramline_broker::{Destination, Message};

use super::policy::Authorized;
use crate::model::clock::wall_clock;
use crate::model::inbound::SessionRecord;
use crate::net::measures::Measures;

/// The stack's handle of its hub. Apart from the application's [`Publisher`](crate::Publisher), no other part of the
/// stack has one: so nothing that a client sends reaches the hub without the policy.
pub(crate) struct ClientHub {
    hub: Hub,
    measures: Arc<Measures>,
}

impl ClientHub {
    pub(crate) fn new(hub: Hub, measures: Arc<Measures>) -> Self {
        Self { hub, measures }
    }

    /// Registers a connection's session, before it is open.
    pub(crate) fn register(&self, session: &Arc<SessionRecord>, outbox: Outbox) -> Arc<Member> {
        let context = Arc::clone(session);
        self.hub.register(session.id(), Arc::new(outbox), context)
    }

    /// Removes a session whose task has ended.
    pub(crate) fn unregister(&self, session: SessionId) {
        self.hub.unregister(session);
    }

    pub(crate) fn open(&self, session: Authorized<OpenSession>) -> Confirm<Result<(), OpenError>> {
        self.hub.open(session.into_inner())
    }

    /// Closes a session: nothing is delivered to it any more.
    pub(crate) fn close(&self, session: SessionId) {
        self.pass_time();
        self.hub.close(session);
    }

    /// Publishes the messages of one session, in order.
    pub(crate) fn publish(
        &self,
        session: &Member,
        batch: Batch,
    ) -> Confirm<Result<Published, Refused>> {
        let mut publishes = batch.into_publishes();
        self.measures.sample(&mut publishes);
        self.hub.publish_by(session, publishes, wall_clock().into())
    }

    /// Settles a delivery: a session may settle its own.
    pub(crate) fn settle(
        &self,
        session: SessionId,
        settle: Settle,
    ) -> Confirm<Result<(), SettleError>> {
        self.pass_time();
        self.hub.settle(session, settle)
    }

    /// Settles a delivery without waiting for the answer; the hub counts a failure, and the stack's observer logs it.
    pub(crate) fn settle_unawaited(&self, session: SessionId, settle: Settle) {
        self.pass_time();
        self.hub.settle_unawaited(session, settle);
    }

    /// Carries out a session's transaction.
    pub(crate) fn commit(
        &self,
        session: SessionId,
        settles: Vec<Settle>,
        publishes: Batch,
    ) -> Confirm<Result<Published, CommitError>> {
        let transaction = Transaction::new(settles, publishes.into_publishes());
        self.hub.commit(session, transaction, wall_clock().into())
    }

    /// Counts a frame that a session keeps for a transaction against its client's shares.
    pub(crate) fn hold(
        &self,
        session: &Member,
        bytes: usize,
        hold: &mut Hold,
    ) -> Result<(), PublishError> {
        self.hub.hold(session, bytes, hold)
    }

    /// Reports that a session's outbox has room again.
    pub(crate) fn room_again(&self, session: SessionId) {
        self.pass_time();
        self.hub.room_again(session);
    }

    pub(crate) fn subscribe(
        &self,
        request: Authorized<SubscribeRequest>,
    ) -> Confirm<Result<Subscribed, SubscribeError>> {
        self.pass_time();
        self.hub.subscribe(request.into_inner())
    }

    /// Records a subscription that the application answers, for the registry: nothing is delivered to it. Returns false
    /// if the session is closed.
    pub(crate) fn record(
        &self,
        session: SessionId,
        slot: u32,
        id: &ByteString,
        destination: &ByteString,
    ) -> bool {
        let request = SubscribeRequest::new(session, slot, Address::Application)
            .described(id.clone(), destination.clone());
        matches!(self.hub.subscribe(request).into_ready(), Ok(Ok(_)))
    }

    /// Ends a subscription; needs no permission.
    pub(crate) fn unsubscribe(
        &self,
        session: SessionId,
        slot: u32,
    ) -> Confirm<Result<(), UnsubscribeError>> {
        self.pass_time();
        self.hub.unsubscribe(session, slot)
    }

    /// Ends a subscription, and what the broker keeps of it; needs no permission.
    pub(crate) fn unsubscribe_durable(
        &self,
        session: SessionId,
        slot: u32,
    ) -> Confirm<Result<(), UnsubscribeError>> {
        self.pass_time();
        self.hub.unsubscribe_durable(session, slot)
    }

    pub(crate) fn node(&self) -> NodeId {
        self.hub.node()
    }

    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        self.hub.observe(observer);
    }

    pub(crate) fn answers_late(&self) -> bool {
        self.hub.answers_late()
    }

    pub(crate) fn is_persistent(&self, destination: &str) -> bool {
        self.hub.is_persistent(destination)
    }

    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.hub.prefixes()
    }

    pub(crate) fn serves(&self, destination: &str) -> bool {
        self.hub.serves(destination)
    }

    pub(crate) fn is_topic_of_nodes(&self, destination: &str) -> bool {
        self.hub.is_topic_of_nodes(destination)
    }

    pub(crate) fn separator(&self, destination: &str) -> Separator {
        self.hub.separator(destination)
    }

    pub(crate) fn statistics(&self, pattern: &Pattern, limit: usize) -> BrokerStatistics {
        self.hub.statistics(pattern, limit)
    }

    /// Statistics of no single destination.
    /// The first messages that wait in a queue; they stay there.
    #[cfg(feature = "console")]
    pub(crate) fn peek(&self, queue: &Destination, limit: usize) -> Option<Vec<Arc<Message>>> {
        self.hub.peek(queue, limit)
    }

    /// The bytes of all messages.
    pub(crate) fn memory(&self) -> usize {
        self.hub.memory()
    }

    #[cfg(any(feature = "metrics", feature = "console"))]
    pub(crate) fn totals(&self) -> BrokerStatistics {
        self.hub.totals()
    }

    pub(crate) fn kind(&self, destination: &str) -> Option<DestinationKind> {
        self.hub.kind(destination)
    }

    pub(crate) fn is_available(&self) -> bool {
        self.hub.is_available()
    }

    pub(crate) fn sweep(&self) {
        self.hub.sweep(wall_clock().into());
    }

    pub(crate) fn start(&self) -> Confirm<Result<(), StartError>> {
        self.hub.start()
    }

    pub(crate) fn stop(&self, deadline: Timestamp) -> Confirm<()> {
        self.hub.stop(deadline)
    }

    /// Ends a session for the application, on this node or another.
    pub(crate) fn end_session(&self, session: SessionId, code: u16, reason: ByteString) -> bool {
        self.hub.end_session(session, code, reason)
    }

    /// Has a session, on this node or another, check its subscriptions again.
    pub(crate) fn recheck_session(&self, session: SessionId) -> bool {
        self.hub.recheck_session(session)
    }

    /// The number of sessions of this node, open or not.
    pub(crate) fn registered(&self) -> usize {
        self.hub.registered()
    }

    pub(crate) fn members(&self) -> Vec<Arc<Member>> {
        self.hub.members()
    }

    pub(crate) fn members_of(&self, user: &str) -> Vec<Arc<Member>> {
        self.hub.members_of(user)
    }

    pub(crate) fn member(&self, session: SessionId) -> Option<Arc<Member>> {
        self.hub.member(session)
    }

    pub(crate) fn remote_members(&self) -> Vec<MemberDescription> {
        self.hub.remote_members()
    }

    pub(crate) fn remote_members_of(&self, user: &str) -> Vec<MemberDescription> {
        self.hub.remote_members_of(user)
    }

    pub(crate) fn remote_member(&self, session: SessionId) -> Option<MemberDescription> {
        self.hub.remote_member(session)
    }

    /// Nothing that has expired is handed out by what the hub is asked for next.
    fn pass_time(&self) {
        self.hub.pass_time(wall_clock().into());
    }

    pub(crate) fn users(&self) -> Vec<ByteString> {
        self.hub.users()
    }
}

impl fmt::Debug for ClientHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hub.fmt(f)
    }
}

/// A message that a session publishes.
#[derive(Debug)]
pub(crate) struct OwnPublish {
    session: SessionId,
    publish: Publish,
}

impl OwnPublish {
    pub(super) fn new(session: SessionId, publish: Publish) -> Self {
        Self { session, publish }
    }

    pub(crate) fn size_hint(&self) -> usize {
        self.publish.size_hint()
    }
}

/// Messages that one session may publish, in their order.
#[derive(Debug, Default)]
pub(crate) struct Batch(Vec<Publish>);

impl Batch {
    /// Adds what `session` may publish.
    ///
    /// # Panics
    ///
    /// If another session was permitted to.
    pub(crate) fn add(&mut self, session: SessionId, publish: Authorized<OwnPublish>) {
        let OwnPublish {
            session: permitted,
            publish,
        } = publish.into_inner();
        assert_eq!(permitted, session, "a permission of another session");
        self.0.push(publish);
    }

    /// What the broker gave back of a session's batch.
    pub(crate) fn rest_of(refused: Refused) -> Self {
        Self(refused.rest)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn size_hint(&self) -> usize {
        self.0.iter().map(Publish::size_hint).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn into_publishes(self) -> Vec<Publish> {
        self.0
    }
}
