//! The embedded broker with a store: what was confirmed is there after a crash, and what was settled is not.

mod support;

use std::sync::Arc;

use support::client::{Client, NOW, hub, send, settle, to, wait};
use support::disk::{Disk, Loss};
use support::scenario;
use tramline_broker::{
    BrokerStatistics, Durability, EmbeddedBroker, Hub, Journal, Outcome, Pattern, PublishError,
    QueueSettings, SettleError, Timestamp, WhenFull,
};
use tramline_store::{Store, StoreOptions};

fn options() -> StoreOptions {
    StoreOptions::default().file_bytes(16 * 1024)
}

fn open(disk: &Arc<Disk>) -> Store {
    Store::open_in(disk.clone(), options()).unwrap()
}

/// The disk after the power failed now.
fn crashed(disk: &Disk, loss: Loss) -> Arc<Disk> {
    Arc::new(disk.after_crash(disk.operations(), loss))
}

fn seen(bodies: &[&str]) -> Vec<(String, u32)> {
    bodies.iter().map(|body| ((*body).to_owned(), 1)).collect()
}

fn fresh(bodies: &[&str]) -> Vec<(String, u32)> {
    bodies.iter().map(|body| ((*body).to_owned(), 0)).collect()
}

fn statistics(hub: &Hub) -> BrokerStatistics {
    hub.statistics(&Pattern::parse("/queue/*").unwrap(), 10)
}

fn depth(hub: &Hub, queue: &str) -> usize {
    let pattern = Pattern::parse(queue.to_owned()).unwrap();
    let statistics = hub.statistics(&pattern, 1).selected;
    statistics
        .first()
        .map_or(0, |queue| queue.depth + queue.unsettled)
}

#[test]
fn confirmed_messages_survive_a_loss_of_power_and_settled_ones_do_not_return() {
    let disk = Arc::new(Disk::default());
    {
        let hub = hub(open(&disk));
        send(&hub, "/queue/a", &["1", "2", "3", "4"]).unwrap();
        let client = Client::consuming(&hub, "/queue/a");
        let deliveries = client.take(4);
        client.settle(&deliveries[0], Outcome::Accepted);
        client.settle(&deliveries[2], Outcome::Accepted);
        let disk = crashed(&disk, Loss::Everything);
        // The consumer may have had the others.
        let hub = support::client::hub(open(&disk));
        assert_eq!(depth(&hub, "/queue/a"), 2);
        let client = Client::consuming(&hub, "/queue/a");
        let deliveries = client.take(2);
        assert_eq!(deliveries[0].message.headers().get("kind"), Some("order"));
        let bodies: Vec<_> = deliveries
            .iter()
            .map(|delivery| delivery.message.body().clone())
            .collect();
        assert_eq!(bodies, ["2", "4"]);
        assert!(deliveries.iter().all(|delivery| delivery.redeliveries == 1));
    }
}

#[test]
fn after_an_orderly_stop_counts_are_exact() {
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    send(&hub, "/queue/a", &["1", "2", "3"]).unwrap();
    let client = Client::consuming(&hub, "/queue/a");
    let deliveries = client.take(3);
    client.settle(&deliveries[1], Outcome::Accepted);
    client.close();
    send(&hub, "/queue/a", &["4"]).unwrap();
    wait(hub.stop(NOW));
    drop(hub);
    let hub = support::client::hub(open(&disk));
    let client = Client::consuming(&hub, "/queue/a");
    let expected = [seen(&["1", "3"]), fresh(&["4"])].concat();
    assert_eq!(client.bodies(3), expected);
}

#[test]
fn a_transaction_is_whole_at_every_crash_point() {
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    send(&hub, "/queue/a", &["1"]).unwrap();
    let client = Client::consuming(&hub, "/queue/a");
    let deliveries = client.take(1);
    let before = disk.operations();
    let publishes = vec![
        to("/queue/b", "2"),
        to("/queue/c", "3"),
        to("/queue/b", "4"),
    ];
    client.commit(vec![settle(&deliveries[0], Outcome::Accepted)], publishes);
    let after = disk.operations();
    let mut whole = 0;
    for point in before..=after {
        for loss in Loss::ALL {
            let store = open(&Arc::new(disk.after_crash(point, loss)));
            let found = support::contents(&store);
            let bodies = |queue: &str| {
                let messages = found.get(queue).cloned().unwrap_or_default();
                messages
                    .into_iter()
                    .map(|(body, _)| body)
                    .collect::<Vec<_>>()
            };
            let parts = ["/queue/a", "/queue/b", "/queue/c"].map(bodies);
            let is_whole = parts == [vec![], vec!["2".into(), "4".into()], vec!["3".to_owned()]];
            let is_nothing = parts == [vec!["1".to_owned()], vec![], vec![]];
            assert!(is_whole || is_nothing, "at {point}, {loss:?}: {parts:?}");
            assert!(
                is_whole || point < after,
                "it was confirmed at {point}, {loss:?}"
            );
            whole += usize::from(is_whole);
        }
    }
    assert!(whole >= Loss::ALL.len());
}

#[test]
fn a_dead_letter_and_its_removal_are_one_record() {
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    send(&hub, "/queue/tries", &["1"]).unwrap();
    let client = Client::consuming(&hub, "/queue/tries");
    let before = disk.operations();
    let delivery = client.take(1).remove(0);
    client.settle(&delivery, Outcome::Rejected);
    for point in before..=disk.operations() {
        for loss in Loss::ALL {
            let found = support::contents(&open(&Arc::new(disk.after_crash(point, loss))));
            let queues: Vec<_> = found.keys().map(String::as_str).collect();
            let is_one = queues == ["/queue/tries"] || queues == ["/queue/dead"];
            assert!(is_one, "at {point}, {loss:?}: {queues:?}");
        }
    }
    let hub = support::client::hub(open(&crashed(&disk, Loss::Everything)));
    let letter = Client::consuming(&hub, "/queue/dead").take(1).remove(0);
    let headers = letter.message.headers();
    assert_eq!(headers.get("dead-letter-reason"), Some("rejected"));
    assert_eq!(headers.get("original-destination"), Some("/queue/tries"));
}

#[test]
fn deliveries_are_counted_across_restarts() {
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    send(&hub, "/queue/tries", &["1"]).unwrap();
    Client::consuming(&hub, "/queue/tries").take(1);
    for member in hub.members() {
        hub.close(member.id());
    }
    wait(hub.stop(NOW));
    drop(hub);
    // The second delivery is the last.
    let hub = support::client::hub(open(&disk));
    let client = Client::consuming(&hub, "/queue/tries");
    assert_eq!(client.bodies(1), seen(&["1"]));
    client.close();
    assert_eq!(depth(&hub, "/queue/tries"), 0);
    assert_eq!(Client::consuming(&hub, "/queue/dead").take(1).len(), 1);
}

#[test]
fn what_expired_meanwhile_is_not_delivered() {
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    let mut short = to("/queue/a", "short");
    short.headers.push("expiration", "1000");
    let batch = vec![short, to("/queue/a", "long")];
    wait(hub.publish(batch, NOW)).unwrap();
    wait(hub.stop(NOW));
    drop(hub);
    let hub = support::client::hub(open(&disk));
    hub.pass_time(Timestamp::from_millis(NOW.as_millis() + 1001));
    let client = Client::consuming(&hub, "/queue/a");
    assert_eq!(client.bodies(1), fresh(&["long"]));
    assert_eq!(statistics(&hub).totals.expired, 1);
}

/// Only the beginning of a long queue is in memory, and all of it comes in order.
#[test]
fn a_backlog_is_on_disk() {
    const COUNT: usize = 20_000;
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    for chunk in 0..COUNT / 1000 {
        let bodies: Vec<_> = (0..1000)
            .map(|at| (chunk * 1000 + at).to_string())
            .collect();
        let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
        send(&hub, "/queue/long", &bodies).unwrap();
    }
    assert_eq!(depth(&hub, "/queue/long"), COUNT);
    let in_memory = statistics(&hub).bytes;
    assert!(in_memory < 1_000_000, "{in_memory} bytes are in memory");
    let client = Client::consuming(&hub, "/queue/long");
    let mut next = 0;
    while next < COUNT {
        for delivery in client.take(1) {
            let expected = next.to_string();
            assert_eq!(delivery.message.body(), expected.as_bytes());
            client.settle(&delivery, Outcome::Accepted);
            next += 1;
        }
    }
    assert_eq!(depth(&hub, "/queue/long"), 0);
    let store_is_empty = support::contents(&open(&crashed(&disk, Loss::Everything)));
    assert!(store_is_empty.is_empty());
}

#[test]
fn a_failed_store_confirms_nothing() {
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    send(&hub, "/queue/a", &["1"]).unwrap();
    let client = Client::consuming(&hub, "/queue/a");
    let delivery = client.take(1).remove(0);
    disk.fail_next_sync();
    assert_eq!(
        send(&hub, "/queue/a", &["2"]),
        Err(PublishError::OutcomeUnknown)
    );
    assert!(!hub.is_available());
    let refused = send(&hub, "/queue/a", &["3"]).unwrap_err();
    assert!(
        refused.to_string().contains("the store has failed"),
        "{refused}"
    );
    let answer = wait(hub.settle(client.id(), settle(&delivery, Outcome::Accepted)));
    assert_eq!(answer, Err(SettleError::BrokerUnavailable));
    // Topics go on.
    send(&hub, "/topic/a", &["4"]).unwrap();
    let store = open(&crashed(&disk, Loss::Everything));
    assert_eq!(support::bodies(&store, "/queue/a"), ["1"]);
}

#[test]
fn a_full_store_refuses_messages_and_takes_acknowledgements() {
    let disk = Arc::new(Disk::default());
    let store = Store::open_in(disk, scenario::options()).unwrap();
    let hub = hub(store);
    let client = Client::consuming(&hub, "/queue/a");
    let body = "x".repeat(1000);
    let mut sent = 0;
    let refused = loop {
        match send(&hub, "/queue/a", &[&body]) {
            Ok(()) => sent += 1,
            Err(refused) => break refused,
        }
    };
    let reason = "the broker refused: the store holds";
    assert!(refused.to_string().starts_with(reason), "{refused}");
    assert!(sent > 40, "{sent} messages of 1 KB in 60 KB");
    for delivery in client.take(sent) {
        client.settle(&delivery, Outcome::Accepted);
    }
    // Compaction follows by itself.
    while send(&hub, "/queue/a", &[&body]).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn a_transaction_that_the_store_has_no_room_for_is_refused_whole() {
    let disk = Arc::new(Disk::default());
    let hub = hub(Store::open_in(disk, scenario::options()).unwrap());
    let client = Client::consuming(&hub, "/queue/a");
    let body = "x".repeat(1000);
    let publishes = (0..100).map(|_| to("/queue/a", &body)).collect();
    let transaction = tramline_broker::Transaction::new(Vec::new(), publishes);
    let refused = wait(hub.commit(client.id(), transaction, NOW)).unwrap_err();
    assert!(refused.to_string().contains("the store holds"), "{refused}");
    assert_eq!(depth(&hub, "/queue/a"), 0);
}

#[test]
fn written_is_confirmed_without_a_sync() {
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    send(&hub, "/queue/written", &["1"]).unwrap();
    let killed = open(&crashed(&disk, Loss::Nothing));
    assert_eq!(support::bodies(&killed, "/queue/written"), ["1"]);
    let lost = open(&crashed(&disk, Loss::Everything));
    assert!(support::contents(&lost).is_empty());
    // A sync for another queue is one for all.
    send(&hub, "/queue/a", &["2"]).unwrap();
    let kept = open(&crashed(&disk, Loss::Everything));
    assert_eq!(support::bodies(&kept, "/queue/written"), ["1"]);
}

#[test]
fn what_contradicts_durability_is_reported() {
    let store = || open(&Arc::new(Disk::default()));
    let errors = |broker: EmbeddedBroker| Hub::new(broker).errors().to_vec();
    let durable = || {
        EmbeddedBroker::new()
            .queues("/queue")
            .durable("/queue/a/**", Durability::Synced)
    };
    let one = |broker: EmbeddedBroker, expected: &str| {
        let errors = errors(broker);
        assert!(
            matches!(&errors[..], [error] if error.contains(expected)),
            "{errors:?}"
        );
    };
    one(durable(), "there is no store");
    let dropping = QueueSettings::default().when_full(WhenFull::DropOldest);
    one(
        durable()
            .store(store())
            .queue_settings("/queue/a/b", dropping.clone()),
        "drop messages",
    );
    one(
        durable()
            .store(store())
            .queue_settings("/queue/**", dropping.clone()),
        "drop messages",
    );
    assert!(
        errors(
            durable()
                .store(store())
                .queue_settings("/queue/b", dropping)
        )
        .is_empty()
    );
    let letters = QueueSettings::default().dead_letters("/queue/b");
    one(
        durable()
            .store(store())
            .queue_settings("/queue/a/b", letters),
        "dead letters",
    );

    let disk = Arc::new(Disk::default());
    let before = hub(open(&disk));
    send(&before, "/queue/b", &["1"]).unwrap();
    wait(before.stop(NOW));
    one(
        durable().store(open(&disk)),
        "which no durable pattern covers",
    );
}

#[test]
fn a_store_takes_nothing_after_its_end() {
    let store = open(&Arc::new(Disk::default()));
    store.close().unwrap();
    let refused = store.check(1).unwrap_err();
    assert!(refused.to_string().contains("it was closed"), "{refused}");
}
