//! Sessions whose rights have changed.

use super::Hub;
use super::nodes::Command;
use crate::session_id::SessionId;

impl Hub {
    /// Has a session, on this node or another, check its subscriptions again by [`Control::Recheck`](crate::Control::Recheck): the rights of its user
    /// may have changed. Returns false if no node has it open.
    pub fn recheck_session(&self, session: SessionId) -> bool {
        if self.local().recheck(session) {
            return true;
        }
        let Some(remote) = self.local().remote.find(session) else {
            return false;
        };
        self.broker()
            .command(remote.node, Command::Recheck { session });
        true
    }
}
