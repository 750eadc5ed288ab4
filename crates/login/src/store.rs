//! Where web sessions are kept: the application's store, behind one that never brings an ended session back.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::Result;

use crate::ticket::{Ends, Ticket, millis, now};

/// Web sessions in memory: a restart ends them all. Clones share them.
///
/// The default of [`Login`](crate::Login). Only logins make entries, and those that have ended are removed as new ones come.
#[derive(Clone, Default)]
pub struct MemorySessions(Arc<Mutex<Sessions>>);

#[derive(Default)]
struct Sessions {
    by_id: HashMap<Id, Record>,
    /// The number of entries at which ended ones are removed next.
    next_sweep: usize,
}

const LEAST_SWEPT: usize = 128;

/// Without the sessions, whose ids are secrets.
impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessions")
            .field("sessions", &self.0.lock().by_id.len())
            .finish()
    }
}

#[async_trait]
impl SessionStore for MemorySessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let mut sessions = self.0.lock();
        if sessions.by_id.len() >= sessions.next_sweep.max(LEAST_SWEPT) {
            let now = OffsetDateTime::now_utc();
            sessions.by_id.retain(|_, record| record.expiry_date > now);
            sessions.next_sweep = sessions.by_id.len() * 2;
        }
        while sessions.by_id.contains_key(&record.id) {
            record.id = Id::default();
        }
        sessions.by_id.insert(record.id, record.clone());
        Ok(())
    }

    async fn save(&self, record: &Record) -> Result<()> {
        self.0.lock().by_id.insert(record.id, record.clone());
        Ok(())
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let sessions = self.0.lock();
        let found = sessions.by_id.get(id);
        Ok(found
            .filter(|record| record.expiry_date > OffsetDateTime::now_utc())
            .cloned())
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.0.lock().by_id.remove(id);
        Ok(())
    }
}

/// The application's store. A request that began before its session ended may save it afterwards: such a session stays
/// ended. The expiry of what is saved is that of its ticket.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<dyn SessionStore>,
    ends: Ends,
    ended: Arc<Mutex<HashMap<Id, Instant>>>,
}

/// Longer than any request takes.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The key of the time of a revocation, in a record of its own.
const REVOKED: &str = "tramline.revoked";

impl Store {
    pub(crate) fn new(inner: Arc<dyn SessionStore>, ends: Ends) -> Self {
        Self {
            inner,
            ends,
            ended: Arc::default(),
        }
    }

    pub(crate) fn has_ended(&self, id: &Id) -> bool {
        self.ended.lock().contains_key(id)
    }

    /// Sets when the store may remove it: a session's is that of its ticket, and a little later, because `seen` is written
    /// late.
    fn dated(&self, record: &Record) -> Record {
        let mut record = record.clone();
        if let Some(ticket) = Ticket::of(&record) {
            let end = self.ends.at(ticket.since, ticket.seen);
            record.expiry_date = date(end.saturating_add(2 * 60_000));
        }
        record
    }

    /// Ends all sessions of a user that exist now, also those that this process has never seen.
    pub(crate) async fn revoke(&self, user: &str) -> Result<()> {
        let now = now();
        let record = Record {
            id: revocation(user),
            data: [(REVOKED.to_owned(), Value::from(now))].into(),
            expiry_date: date(now.saturating_add(millis(self.ends.absolute))),
        };
        self.inner.save(&record).await
    }

    /// Whether a session of that user which began then was revoked.
    pub(crate) async fn is_revoked(&self, user: &str, since: u64) -> Result<bool> {
        let record = self.inner.load(&revocation(user)).await?;
        let at = record.and_then(|record| record.data.get(REVOKED)?.as_u64());
        Ok(at.is_some_and(|at| since <= at))
    }
}

/// The id of the record of a user's revocation. Anybody can compute it, so [`Store::load`] finds no such session.
fn revocation(user: &str) -> Id {
    let digest = Sha256::new()
        .chain_update("tramline-login revoked\0")
        .chain_update(user)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Id(i128::from_le_bytes(bytes))
}

fn date(millis: u64) -> OffsetDateTime {
    let nanoseconds = i128::from(millis) * 1_000_000;
    // Far away: nobody sees the difference.
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .unwrap_or(time::Date::MAX.midnight().assume_utc())
}

#[async_trait]
impl SessionStore for Store {
    async fn create(&self, record: &mut Record) -> Result<()> {
        *record = self.dated(record);
        self.inner.create(record).await
    }

    async fn save(&self, record: &Record) -> Result<()> {
        if self.has_ended(&record.id) {
            return Ok(());
        }
        self.inner.save(&self.dated(record)).await?;
        if self.has_ended(&record.id) {
            self.inner.delete(&record.id).await?;
        }
        Ok(())
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        if self.has_ended(id) {
            return Ok(None);
        }
        let found = self.inner.load(id).await?;
        Ok(found.filter(|record| !record.data.contains_key(REVOKED)))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let now = Instant::now();
        {
            let mut ended = self.ended.lock();
            ended.retain(|_, until| *until > now);
            ended.insert(*id, now + REMEMBERED);
        }
        self.inner.delete(id).await
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csrf::Token;
    use crate::ticket::TICKET;

    fn store() -> Store {
        let ends = Ends {
            idle: Duration::from_secs(60),
            absolute: Duration::from_secs(3600),
        };
        Store::new(Arc::new(MemorySessions::default()), ends)
    }

    fn record(user: &str, since: u64) -> Record {
        let ticket = Ticket {
            user: user.to_owned(),
            since,
            seen: since,
            csrf: Token::random(),
            print: String::new(),
        };
        Record {
            id: Id::default(),
            data: [(TICKET.to_owned(), serde_json::to_value(ticket).unwrap())].into(),
            expiry_date: OffsetDateTime::now_utc() + Duration::from_secs(14 * 24 * 3600),
        }
    }

    #[tokio::test]
    async fn a_session_that_has_ended_is_not_saved_again() {
        let store = store();
        let mut session = record("ada", now());
        store.create(&mut session).await.unwrap();
        assert!(store.load(&session.id).await.unwrap().is_some());
        store.delete(&session.id).await.unwrap();
        // By a request that had loaded it before.
        store.save(&session).await.unwrap();
        assert!(store.inner.load(&session.id).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_store_may_remove_a_session_when_its_ticket_ends() {
        let store = store();
        let begun = now();
        let mut session = record("ada", begun);
        store.create(&mut session).await.unwrap();
        assert_eq!(session.expiry_date, date(begun + 60_000 + 120_000));
    }

    #[tokio::test]
    async fn a_revocation_is_for_older_sessions_and_no_session_itself() {
        let store = store();
        let before = now();
        store.revoke("ada").await.unwrap();
        assert!(store.is_revoked("ada", before).await.unwrap());
        assert!(!store.is_revoked("ada", before + 60_000).await.unwrap());
        assert!(!store.is_revoked("ben", before).await.unwrap());
        assert!(store.load(&revocation("ada")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn memory_drops_what_has_expired() {
        let sessions = MemorySessions::default();
        for number in 0..LEAST_SWEPT * 3 {
            let mut session = record("ada", now());
            session.expiry_date = OffsetDateTime::now_utc() - Duration::from_secs(1);
            sessions.create(&mut session).await.unwrap();
            assert!(sessions.0.lock().by_id.len() <= LEAST_SWEPT, "{number}");
            assert!(sessions.load(&session.id).await.unwrap().is_none());
        }
    }
}
