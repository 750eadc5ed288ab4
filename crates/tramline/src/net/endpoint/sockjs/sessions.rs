//! The table of sessions by the name their client gave them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::Mutex;

use crate::model::clock::now;
use crate::net::endpoint::proxies::Proxies;
use crate::net::places::{Place, Places};
use crate::net::transport::sockjs::HttpLink;
use crate::net::wheel::TICK;

/// The sessions over HTTP of one endpoint, and those that have ended and are remembered.
#[derive(Debug)]
pub(super) struct Sessions {
    known: Mutex<HashMap<ByteString, Known>>,
    open: Arc<Places>,
    ended: Arc<Places>,
}

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
    /// `most` bounds the open sessions, and the remembered ones.
    pub(super) fn new(most: usize) -> Self {
        let places = || Places::new(most, usize::MAX, Proxies::default());
        Self {
            known: Mutex::default(),
            open: places(),
            ended: places(),
        }
    }

    pub(super) fn find(&self, name: &str, owner: Option<&ByteString>) -> Option<Found> {
        let sessions = self.known.lock();
        sessions.get(name).map(|known| known.found_by(owner))
    }

    /// Adds the session that `make` makes, if there is none of this name and a place for it.
    pub(super) fn open(
        self: &Arc<Self>,
        name: &str,
        owner: Option<ByteString>,
        make: impl FnOnce(Place) -> Arc<HttpLink>,
    ) -> Opened {
        let mut sessions = self.known.lock();
        if let Some(known) = sessions.get(name) {
            return Opened::Found(known.found_by(owner.as_ref()));
        }
        let Ok(place) = self.open.take_for(None) else {
            return Opened::Full;
        };
        let (name, link) = (ByteString::from(name), make(place));
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
    /// Keeps the place of an ended session for as long as what is queued can be requested, and `time` longer: until then
    /// late requests get the close frame again.
    pub(super) async fn remember(self, time: Duration) {
        while let Some(until) = self.link.remembered_until(now()) {
            tokio::time::sleep_until((until + TICK).into()).await;
        }
        if !time.is_zero() && self.link.has_ended(&self.sessions.ended) {
            tokio::time::sleep(time).await;
        }
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.link.leave();
        let mut sessions = self.sessions.known.lock();
        sessions.remove(&self.name);
        if sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
    }
}
