//! Sessions, as rows and one by one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use serde_json::{Value, json};
use tramline_broker::SessionId;

use super::Problem;
use super::rows::{self, Key, Query, matches};
use crate::model::clock::now;
use crate::model::connected::ConnectedSession;
use crate::stack::registry::Registry;
use crate::stack::shared::MessagingStack;

/// A session as a row.
struct Row {
    session: ConnectedSession,
    user: String,
    address: String,
    facts: Facts,
}

/// What only the session's own node knows.
#[derive(Default)]
struct Facts {
    transport: &'static str,
    seconds: u64,
    queued: usize,
    read: u64,
    written: u64,
}

impl Facts {
    fn of(session: &ConnectedSession, now: Instant) -> Self {
        let Some((member, record)) = session.local() else {
            return Self::default();
        };
        let traffic = &record.traffic;
        let (read, written) = traffic.bytes();
        Self {
            transport: traffic.transport,
            seconds: now.saturating_duration_since(traffic.opened).as_secs(),
            queued: member.outbox().queued_bytes(),
            read,
            written,
        }
    }
}

impl Row {
    fn of(session: ConnectedSession, now: Instant) -> Self {
        let user = session.user();
        let address = session.handshake().remote();
        Self {
            user: user.map_or_else(String::new, |user| user.name().to_owned()),
            address: address.map_or_else(String::new, |address| address.to_string()),
            facts: Facts::of(&session, now),
            session,
        }
    }

    fn key(&self, by: &str) -> Key {
        let facts = &self.facts;
        match by {
            "address" => (&*self.address).into(),
            "transport" => facts.transport.into(),
            "seconds" => facts.seconds.into(),
            "queued" => facts.queued.into(),
            "read" => facts.read.into(),
            "written" => facts.written.into(),
            _ => (&*self.user).into(),
        }
    }

    fn json(&self, last: Option<&String>) -> Value {
        let facts = &self.facts;
        json!({
            "id": self.session.id().to_string(),
            "user": self.user,
            "address": self.address,
            "node": self.session.node().map(|node| node.to_string()),
            "transport": facts.transport,
            "seconds": facts.seconds,
            "queued": facts.queued,
            "read": facts.read,
            "written": facts.written,
            "trouble": last,
        })
    }
}

/// The last refusal of each session that has one.
fn troubles(stack: &Arc<MessagingStack>) -> HashMap<SessionId, String> {
    let troubles = stack.watch.troubles().into_iter();
    let texts = troubles.map(|trouble| {
        (
            trouble.session,
            format!("{}: {}", trouble.what, trouble.detail),
        )
    });
    texts.collect()
}

/// A page of the sessions.
pub(super) fn page(stack: &Arc<MessagingStack>, query: &Query) -> Value {
    let (now, wanted) = (now(), query.text("q"));
    let sessions = Registry::of(Arc::downgrade(stack)).sessions().into_iter();
    let rows = sessions.map(|session| Row::of(session, now));
    let rows = rows.filter(|row| {
        matches(wanted, &[&row.user, &row.address, row.facts.transport])
            || (!wanted.is_empty() && row.session.id().to_string().starts_with(wanted))
    });
    let troubles = troubles(stack);
    rows::page(rows.collect(), query, Row::key, |row| {
        row.json(troubles.get(&row.session.id()))
    })
}

/// One session, with its subscriptions.
pub(super) fn one(stack: &Arc<MessagingStack>, id: &str) -> Result<Value, Problem> {
    let gone = || Problem::new(StatusCode::NOT_FOUND, format!("there is no session {id:?}"));
    let id: SessionId = id.parse().map_err(|_| gone())?;
    let session = Registry::of(Arc::downgrade(stack))
        .session(id)
        .ok_or_else(gone)?;
    let subscriptions = session.subscriptions().into_iter();
    let subscriptions =
        subscriptions.map(|one| json!({"id": &*one.id, "destination": &*one.destination}));
    let subscriptions: Vec<Value> = subscriptions.collect();
    let row = Row::of(session, now());
    let mut found = row.json(troubles(stack).get(&id));
    found["path"] = row.session.handshake().path().into();
    found["origin"] = row.session.handshake().origin().into();
    found["subscriptions"] = subscriptions.into();
    Ok(found)
}
