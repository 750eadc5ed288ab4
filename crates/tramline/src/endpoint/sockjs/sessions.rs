//! The sessions that requests can find by the name their client gave them.

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::Mutex;

use crate::transport::sockjs::Shared;
use crate::wheel::TICK;

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<ByteString, Known>>);

#[derive(Debug)]
struct Known {
    shared: Arc<Shared>,
    /// Who opened it: nobody else may use it.
    owner: Option<ByteString>,
}

/// What a name leads to.
pub(super) enum Found {
    Known(Arc<Shared>),
    New(Arc<Shared>, Place),
    /// Somebody else's, or nobody's: not told apart.
    NotYours,
    /// Nobody's, and there is no room for one more.
    Full,
}

impl Sessions {
    pub(super) fn find(&self, name: &str, owner: Option<&ByteString>) -> Option<Arc<Shared>> {
        let sessions = self.0.lock();
        let known = sessions
            .get(name)
            .filter(|known| known.owner.as_ref() == owner)?;
        Some(Arc::clone(&known.shared))
    }

    /// The session of this name, made by `open` if there is none yet.
    pub(super) fn find_or_open(
        self: &Arc<Self>,
        name: &str,
        owner: Option<&ByteString>,
        limit: usize,
        open: impl FnOnce() -> Arc<Shared>,
    ) -> Found {
        let mut sessions = self.0.lock();
        if let Some(known) = sessions.get(name) {
            return if known.owner.as_ref() == owner {
                Found::Known(Arc::clone(&known.shared))
            } else {
                Found::NotYours
            };
        }
        if sessions.len() >= limit {
            return Found::Full;
        }
        let (name, shared) = (ByteString::from(name), open());
        let known = Known {
            shared: Arc::clone(&shared),
            owner: owner.cloned(),
        };
        sessions.insert(name.clone(), known);
        let place = Place {
            sessions: Arc::clone(self),
            name,
            shared: Arc::clone(&shared),
        };
        Found::New(shared, place)
    }
}

/// A session's place in the table, given back when this is dropped.
pub(super) struct Place {
    sessions: Arc<Sessions>,
    name: ByteString,
    shared: Arc<Shared>,
}

impl Place {
    /// Keeps the place of a session that is over for as long as its close frame can still be asked for.
    pub(super) async fn keep_close_frame(self) {
        let now = || tokio::time::Instant::now().into_std();
        while let Some(until) = self.shared.remembered_until(now()) {
            tokio::time::sleep_until((until + TICK).into()).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sessions = self.sessions.0.lock();
        sessions.remove(&self.name);
        if sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
    }
}
