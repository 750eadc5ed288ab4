//! The contract of all engines, over each broker, with one node and with two.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use tramline_broker::contract::{CLAUSES, Options};
use tramline_broker::{Hub, Order};
use tramline_relay::BrokerKind;

use crate::brokers::shared;
use crate::support::{relay, runtime};

/// The clause about a session that closes while another one publishes.
const AT_CLOSE: &str = "what_a_closed_session_had_goes_to_others_in_order";

/// The reason why a clause cannot be kept, for the few that cannot.
fn exception(clause: &str, kind: BrokerKind, nodes: usize) -> Option<&'static str> {
    match (clause, kind) {
        ("no_more_are_given_out_than_may_be_unsettled", BrokerKind::Artemis) => Some(
            "it counts bytes: a consumer may hold back more messages than it may have unsettled",
        ),
        (AT_CLOSE, _) if nodes > 1 => {
            Some("another node publishes before the broker knows that the session is closed")
        }
        _ => None,
    }
}

fn options(kind: BrokerKind) -> Options {
    Options::default()
        .counts_between_nodes(kind != BrokerKind::Artemis)
        .quiet(Duration::from_millis(150))
        .patience(Duration::from_secs(30))
        .order(Order::Publisher)
}

fn keeps_the_contract(kind: BrokerKind, nodes: usize) {
    let Some(broker) = shared(kind) else { return };
    let _guard = runtime().enter();
    let clauses = Mutex::new(
        CLAUSES
            .iter()
            .filter(|clause| exception(clause.name(), kind, nodes).is_none()),
    );
    let broken = Mutex::new(Vec::new());
    let attempt = || {
        while let Some(clause) = { clauses.lock().unwrap().next() } {
            let hubs = (0..nodes).map(|_| {
                let relay = relay(broker);
                Hub::new(match nodes {
                    1 => relay,
                    _ => relay.nodes(format!("contract-{}", clause.name())),
                })
            });
            let hubs: Vec<Hub> = hubs.collect();
            let kept = catch_unwind(AssertUnwindSafe(|| clause.attempt(hubs, &options(kind))));
            if kept.is_err() {
                broken.lock().unwrap().push(clause.name());
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(attempt);
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "{kind} does not keep {broken:?}");
}

#[test]
fn rabbitmq_keeps_it() {
    keeps_the_contract(BrokerKind::RabbitMq, 1);
}

#[test]
fn rabbitmq_keeps_it_with_two_nodes() {
    keeps_the_contract(BrokerKind::RabbitMq, 2);
}

#[test]
fn activemq_keeps_it() {
    keeps_the_contract(BrokerKind::ActiveMq, 1);
}

#[test]
fn activemq_keeps_it_with_two_nodes() {
    keeps_the_contract(BrokerKind::ActiveMq, 2);
}

#[test]
fn artemis_keeps_it() {
    keeps_the_contract(BrokerKind::Artemis, 1);
}

#[test]
fn artemis_keeps_it_with_two_nodes() {
    keeps_the_contract(BrokerKind::Artemis, 2);
}
