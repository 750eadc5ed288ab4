//! Decisions, for an application's audit log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tramline_broker::SessionId;

use super::decision::{Action, Decision};
use crate::model::inbound::SessionRecord;
use crate::model::user::User;

/// An action of a client that the policy has decided about, for listeners of
/// [`MessagingBuilder::on_decision`](crate::MessagingBuilder::on_decision).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Audited<'a> {
    /// The action, with its destination.
    pub action: Action<'a>,
    /// The decision and its rule. Where a check decides, this is its answer.
    pub decision: &'a Decision,
    /// The session that asked.
    pub session: SessionId,
    /// Its user.
    pub user: Option<User>,
    /// Its client's address.
    pub remote: Option<SocketAddr>,
}

/// A listener for decisions.
#[derive(Clone)]
pub(crate) struct Audit(Arc<dyn Fn(&Audited<'_>) + Send + Sync>);

impl Audit {
    pub(crate) fn new(listener: impl Fn(&Audited<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(crate) fn tell(&self, audited: &Audited<'_>) {
        (self.0)(audited);
    }

    #[cold]
    pub(super) fn decided(&self, action: Action<'_>, session: &SessionRecord, by: &Decision) {
        self.tell(&Audited {
            action,
            decision: by,
            session: session.id(),
            user: session.user(),
            remote: session.handshake().remote(),
        });
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}
