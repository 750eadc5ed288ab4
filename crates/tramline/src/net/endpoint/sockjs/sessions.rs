//! The table of sessions by the name their client gave them.

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::Mutex;

use crate::net::transport::sockjs::HttpLink;
use crate::net::wheel::TICK;

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<ByteString, Known>>);

#[derive(Debug)]
struct Known {
    link: Arc<HttpLink>,
    /// The user who opened it; nobody else may use it.
    owner: Option<ByteString>,
}

/// The result of looking up a name.
pub(super) enum Found {
    Session(Arc<HttpLink>),
    /// Answered as if there were none.
    NotYours,
}

/// The result of opening a session.
pub(super) enum Opened {
    New(Arc<HttpLink>, SessionPlace),
    /// There is one of that name already.
    Found(Found),
    Full,
}

impl Sessions {
    pub(super) fn find(&self, name: &str, owner: Option<&ByteString>) -> Option<Found> {
        let sessions = self.0.lock();
        sessions.get(name).map(|known| known.found_by(owner))
    }

    /// Adds the session that `make` makes, if there is none of this name and fewer than `limit` in all.
    pub(super) fn open(
        self: &Arc<Self>,
        name: &str,
        owner: Option<ByteString>,
        limit: usize,
        make: impl FnOnce() -> Arc<HttpLink>,
    ) -> Opened {
        let mut sessions = self.0.lock();
        if let Some(known) = sessions.get(name) {
            return Opened::Found(known.found_by(owner.as_ref()));
        }
        if sessions.len() >= limit {
            return Opened::Full;
        }
        let (name, link) = (ByteString::from(name), make());
        let known = Known {
            link: Arc::clone(&link),
            owner,
        };
        sessions.insert(name.clone(), known);
        let place = SessionPlace {
            sessions: Arc::clone(self),
            name,
            link: Arc::clone(&link),
        };
        Opened::New(link, place)
    }
}

impl Known {
    fn found_by(&self, user: Option<&ByteString>) -> Found {
        if self.owner.as_ref() == user {
            Found::Session(Arc::clone(&self.link))
        } else {
            Found::NotYours
        }
    }
}

/// A session's place in the table, freed when this is dropped.
pub(super) struct SessionPlace {
    sessions: Arc<Sessions>,
    name: ByteString,
    link: Arc<HttpLink>,
}

impl SessionPlace {
    /// Keeps the place of an ended session for as long as its close frame can still be requested.
    pub(super) async fn keep_close_frame(self) {
        let now = || tokio::time::Instant::now().into_std();
        while let Some(until) = self.link.remembered_until(now()) {
            tokio::time::sleep_until((until + TICK).into()).await;
        }
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        let mut sessions = self.sessions.0.lock();
        sessions.remove(&self.name);
        if sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
    }
}
