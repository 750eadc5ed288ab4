//! What the stack, its destinations and its users are doing.

use std::sync::Arc;

use serde_json::{Value, json};
use tramline_broker::{DestinationKind, DestinationStatistics, Pattern};

use super::rows::{self, Key, Query, matches};
use crate::model::connected::ConnectedSession;
use crate::stack::registry::{ConnectedUser, Registry};
use crate::stack::shared::MessagingStack;
use crate::stack::watch::Sample;

/// The state of the stack and its broker, and the last hour.
pub(super) fn overview(stack: &Arc<MessagingStack>) -> Value {
    let totals = stack.hub.totals();
    let stats = stack.counters.snapshot();
    let counts = &totals.totals;
    let mut samples = stack.watch.samples();
    samples.push(Sample::of(&stats, totals.bytes));
    json!({
        "broker": if stack.hub.is_available() { "available" } else { "unavailable" },
        "draining": stack.lifecycle.is_closing(),
        "sessions": stats.sessions_open,
        "users": stack.hub.users().len(),
        "destinations": totals.destinations,
        "memory": {
            "all": totals.bytes,
            "for readers": totals.unwritten_bytes,
            "in queues": totals.bytes.saturating_sub(totals.unwritten_bytes),
            "limit": totals.max_bytes,
        },
        "samples": samples,
        "lost": {
            "dropped for newer ones": counts.dropped_oldest,
            "dropped for want of room": counts.dropped_newest,
            "conflated": counts.conflated,
            "expired": counts.expired,
            "dead letters": counts.dead_lettered,
            "discarded": counts.discarded,
            "refused by the broker": counts.refused,
        },
        "ended": {
            "slow consumers": stats.slow_consumers,
            "vanished": stats.vanished,
            "timeouts": stats.timeouts,
            "protocol errors": stats.protocol_errors,
            "sent too fast": stats.too_fast,
        },
        "refused": {
            "logins": stats.logins_refused,
            "denied": stats.denied,
            "rejected": stats.rejected,
            "by interceptors": stats.refused,
            "requests": stats.requests_refused,
            "foreign origins": stats.origins_refused,
        },
        "faults": {
            "panics": stats.handler_panics,
            "faults": stats.faults,
            "handlers too slow": stats.handler_timeouts,
        },
    })
}

/// A page of the destinations.
pub(super) fn destinations(stack: &Arc<MessagingStack>, query: &Query) -> Value {
    let Ok(all) = Pattern::parse("/**") else {
        return Value::Null;
    };
    let wanted = query.text("q");
    let known = stack.hub.statistics(&all, usize::MAX).selected.into_iter();
    let rows = known.filter(|one| matches(wanted, &[&one.destination]));
    rows::page(rows.collect(), query, key_of_destination, |one| {
        let counts = &one.counts;
        json!({
            "destination": &*one.destination,
            "kind": if one.kind == DestinationKind::Queue { "queue" } else { "topic" },
            "subscriptions": one.subscribers,
            "depth": one.depth,
            "unsettled": one.unsettled,
            "bytes": one.bytes,
            "in": one.published_per_second,
            "out": one.delivered_per_second,
            "lost": lost(one),
            "dead": counts.dead_lettered,
        })
    })
}

fn lost(one: &DestinationStatistics) -> u64 {
    let counts = &one.counts;
    counts.dropped_oldest
        + counts.dropped_newest
        + counts.conflated
        + counts.expired
        + counts.discarded
}

fn key_of_destination(one: &DestinationStatistics, by: &str) -> Key {
    match by {
        "subscriptions" => one.subscribers.into(),
        "depth" => one.depth.into(),
        "unsettled" => one.unsettled.into(),
        "bytes" => one.bytes.into(),
        "in" => Key::Number(one.published_per_second.into()),
        "out" => Key::Number(one.delivered_per_second.into()),
        "lost" => lost(one).into(),
        "dead" => one.counts.dead_lettered.into(),
        _ => (&*one.destination).into(),
    }
}

/// A page of the users.
pub(super) fn users(stack: &Arc<MessagingStack>, query: &Query) -> Value {
    let wanted = query.text("q");
    let users = Registry::of(Arc::downgrade(stack)).users().into_iter();
    let rows = users.filter(|user| matches(wanted, &[user.name()]));
    let key = |user: &ConnectedUser, by: &str| match by {
        "sessions" => user.sessions().len().into(),
        _ => user.name().into(),
    };
    rows::page(rows.collect(), query, key, |user| {
        let subscriptions = user
            .sessions()
            .iter()
            .flat_map(ConnectedSession::subscriptions);
        let mut present: Vec<String> = subscriptions
            .map(|one| one.destination.to_string())
            .collect();
        present.sort();
        present.dedup();
        json!({
            "user": user.name(),
            "sessions": user.sessions().len(),
            "destinations": present,
        })
    })
}

/// A page of the recent refusals, the latest first.
pub(super) fn refusals(stack: &Arc<MessagingStack>, query: &Query) -> Value {
    let wanted = query.text("q");
    let mut troubles = stack.watch.troubles();
    troubles.reverse();
    troubles.retain(|one| {
        let user = one.user.as_deref().unwrap_or_default();
        let rule = one.rule.as_deref().unwrap_or_default();
        let address = one
            .remote
            .map_or_else(String::new, |remote| remote.to_string());
        matches(wanted, &[one.what, &one.detail, user, rule, &address])
    });
    rows::page(troubles, query, |_, _| Key::Number(0.0), |one| json!(one))
}
