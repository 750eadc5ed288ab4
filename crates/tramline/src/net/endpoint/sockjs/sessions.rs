//! The table of sessions by the name their client gave them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::Mutex;

use crate::model::clock::now;
use crate::model::rates::Rates;
use crate::net::places::{Full, Place, Places};
use crate::net::proof::Proof;
use crate::net::transport::sockjs::HttpLink;
use crate::net::wheel::TICK;

/// Failed look-ups of sessions that an address can make within [`LOOKUP_TIME`].
pub(crate) const LOOKUPS: u32 = 100;

/// The time for which failed look-ups are counted, from the first.
pub(crate) const LOOKUP_TIME: Duration = Duration::from_secs(10);

/// The sessions over HTTP of one endpoint, and those that have ended and are remembered.
#[derive(Debug)]
pub(super) struct Sessions {
    table: Mutex<Table>,
    open: Arc<Places>,
    ended: Arc<Places>,
}

#[derive(Debug)]
struct Table {
    known: HashMap<ByteString, Known>,
    failed_lookups: Rates<Option<IpAddr>>,
}

#[derive(Debug)]
struct Known {
    link: Arc<HttpLink>,
    /// The user who opened it; nobody else may use it.
    owner: Option<ByteString>,
    /// The network from which it was opened.
    address: Option<IpAddr>,
}

/// The client that asks for a session.
pub(super) struct Asker<'a> {
    pub(super) user: Option<&'a ByteString>,
    /// Its [network](crate::model::network::network), as far as it is known.
    pub(super) address: Option<IpAddr>,
    /// What its request shows.
    pub(super) proof: Proof,
}

/// The result of looking up a name.
pub(super) enum Found {
    Session(Arc<HttpLink>),
    /// Answered as if there were none.
    NotYours,
    /// The asker's address has asked too often for sessions that are not there.
    Throttled,
}

/// The result of opening a session.
pub(super) enum Opened {
    New(Arc<HttpLink>, SessionPlace),
    /// There is one of that name already.
    Found(Found),
    Full(Full),
}

impl Sessions {
    /// `most` bounds the open sessions, and the remembered ones; `most_per_address` those of one address, except open ones
    /// that have a user.
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        let places = || Places::new(most, most_per_address);
        Self {
            table: Mutex::new(Table {
                known: HashMap::new(),
                failed_lookups: Rates::new(LOOKUP_TIME),
            }),
            open: places(),
            ended: places(),
        }
    }

    /// The session of this name, `None` if there is none and the asker may open it.
    pub(super) fn find(&self, name: &str, asker: &Asker<'_>, may_open: bool) -> Option<Found> {
        let mut table = self.table.lock();
        if may_open && !table.known.contains_key(name) {
            return None;
        }
        Some(table.find(name, asker))
    }

    /// Adds the session that `make` makes, if there is none of this name and a place for it.
    pub(super) fn open(
        self: &Arc<Self>,
        name: &str,
        asker: &Asker<'_>,
        make: impl FnOnce(Place) -> Arc<HttpLink>,
    ) -> Opened {
        let mut table = self.table.lock();
        if table.known.contains_key(name) {
            return Opened::Found(table.find(name, asker));
        }
        let counts_for = asker.address.filter(|_| asker.user.is_none());
        let place = match self.open.take(counts_for) {
            Ok(place) => place,
            // Another way to guess names.
            Err(_) if table.has_failed(asker) => return Opened::Found(Found::Throttled),
            Err(full) => return Opened::Full(full),
        };
        let (name, link) = (ByteString::from(name), make(place));
        let known = Known {
            link: Arc::clone(&link),
            owner: asker.user.cloned(),
            address: asker.address,
        };
        table.known.insert(name.clone(), known);
        let place = SessionPlace {
            sessions: Arc::clone(self),
            name,
            address: asker.address,
            link: Arc::clone(&link),
        };
        Opened::New(link, place)
    }
}

impl Table {
    /// An address that has failed too often still reaches the sessions that were opened from it and those of its user, and
    /// no others: its neighbours go on, and a client that guesses does not learn which names exist.
    fn find(&mut self, name: &str, asker: &Asker<'_>) -> Found {
        let known = self.known.get(name);
        let is_askers =
            |known: &&Known| known.owner.as_ref() == asker.user && known.link.admits(asker.proof);
        let known = known.filter(is_askers);
        let found = known.map(|known| Found::Session(Arc::clone(&known.link)));
        if known.is_some_and(|known| known.owner.is_some() || known.address == asker.address) {
            return found.unwrap_or(Found::NotYours);
        }
        match found {
            Some(found) if *self.failures(asker) < LOOKUPS => found,
            None if !self.has_failed(asker) => Found::NotYours,
            _ => Found::Throttled,
        }
    }

    /// Counts a failed look-up; returns true if it is one too many.
    fn has_failed(&mut self, asker: &Asker<'_>) -> bool {
        let failures = self.failures(asker);
        let is_exhausted = *failures >= LOOKUPS;
        *failures += u32::from(!is_exhausted);
        is_exhausted
    }

    fn failures(&mut self, asker: &Asker<'_>) -> &mut u32 {
        self.failed_lookups.number(asker.address, now())
    }
}

/// A session's place in the table, freed when this is dropped.
pub(super) struct SessionPlace {
    sessions: Arc<Sessions>,
    name: ByteString,
    address: Option<IpAddr>,
    link: Arc<HttpLink>,
}

impl SessionPlace {
    /// Keeps the place of an ended session for as long as what is queued can be requested, and `time` longer: until then
    /// late requests get the close frame again.
    pub(super) async fn remember(self, time: Duration) {
        while let Some(until) = self.link.remembered_until(now()) {
            tokio::time::sleep_until((until + TICK).into()).await;
        }
        if !time.is_zero() && self.link.has_ended(&self.sessions.ended, self.address) {
            tokio::time::sleep(time).await;
        }
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.link.leave();
        let known = &mut self.sessions.table.lock().known;
        known.remove(&self.name);
        if known.len() < known.capacity() / 4 {
            known.shrink_to_fit();
        }
    }
}
