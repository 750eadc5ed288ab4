//! What one session publishes together.

use tramline_broker::{Publish, Refused, SessionId};

use super::policy::Authorized;

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
