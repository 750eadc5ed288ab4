//! Durable subscriptions to topics: what was confirmed waits for a client that is away.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::client::{Client, NOW, durable, hub, send, settle, to, wait};
use support::disk::{Disk, Loss};
use tramline_broker::{
    Durability, EmbeddedBroker, Hub, Outcome, Pattern, SubscribeError, SubscriptionSettings,
    Timestamp, WhenBehind,
};
use tramline_store::{Store, StoreOptions};

const NEWS: &str = "/topic/kept/news";

fn open(disk: &Arc<Disk>) -> Store {
    let options = StoreOptions::default().file_bytes(16 * 1024);
    Store::open_in(disk.clone(), options).unwrap()
}

/// A hub whose power failed now.
fn crash(disk: &mut Arc<Disk>) -> Hub {
    *disk = Arc::new(disk.after_crash(disk.operations(), Loss::Everything));
    hub(open(disk))
}

fn with(disk: &Arc<Disk>, settings: SubscriptionSettings) -> Hub {
    let broker = EmbeddedBroker::new()
        .topics("/topic")
        .store(open(disk))
        .durable("/topic/kept/**", Durability::Synced)
        .durable_subscriptions(settings);
    let hub = Hub::new(broker);
    assert!(hub.errors().is_empty(), "{:?}", hub.errors());
    hub
}

fn bodies(client: &Client<'_>, count: usize) -> Vec<String> {
    client
        .bodies(count)
        .into_iter()
        .map(|(body, _)| body)
        .collect()
}

fn reason(refused: Result<tramline_broker::Subscribed, SubscribeError>) -> String {
    refused.unwrap_err().to_string()
}

#[test]
fn messages_wait_for_a_client_that_is_away() {
    let mut disk = Arc::new(Disk::default());
    let before = hub(open(&disk));
    Client::durable(&before, "news", NEWS).close();
    send(&before, NEWS, &["1", "2"]).unwrap();
    let after = crash(&mut disk);
    send(&after, NEWS, &["3"]).unwrap();
    let client = Client::durable(&after, "news", NEWS);
    let found = client.bodies(3);
    // What was there before the crash may have been delivered.
    let expected = [("1", 1), ("2", 1), ("3", 0)].map(|(body, seen)| (body.to_owned(), seen));
    assert_eq!(found, expected);
}

#[test]
fn it_goes_on_live_and_what_was_settled_does_not_return() {
    let mut disk = Arc::new(Disk::default());
    let before = hub(open(&disk));
    let client = Client::durable(&before, "news", NEWS);
    send(&before, NEWS, &["1", "2", "3"]).unwrap();
    let deliveries = client.take(3);
    assert!(deliveries.iter().all(|delivery| delivery.redeliveries == 0));
    assert_eq!(deliveries[0].message.destination(), NEWS);
    client.settle(&deliveries[1], Outcome::Accepted);
    client.close();
    send(&before, NEWS, &["4"]).unwrap();
    let again = Client::durable(&before, "news", NEWS);
    let found = again.bodies(3);
    let expected = [("1", 1), ("3", 1), ("4", 0)].map(|(body, seen)| (body.to_owned(), seen));
    assert_eq!(found, expected);
    let after = crash(&mut disk);
    let client = Client::durable(&after, "news", NEWS);
    assert_eq!(bodies(&client, 3), ["1", "3", "4"]);
    let message = &Client::durable(&after, "other", NEWS);
    send(&after, NEWS, &["5"]).unwrap();
    assert_eq!(message.take(1)[0].message.destination(), NEWS);
}

#[test]
fn it_ends_by_unsubscribe_for_good() {
    let mut disk = Arc::new(Disk::default());
    let before = hub(open(&disk));
    let client = Client::durable(&before, "news", NEWS);
    send(&before, NEWS, &["1"]).unwrap();
    client.end();
    send(&before, NEWS, &["2"]).unwrap();
    let after = crash(&mut disk);
    assert!(support::contents(&open(&Arc::new(disk.copy()))).is_empty());
    let client = Client::durable(&after, "news", NEWS);
    send(&after, NEWS, &["3"]).unwrap();
    assert_eq!(client.bodies(1), [("3".to_owned(), 0)]);
}

#[test]
fn it_is_one_users_and_one_sessions() {
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    let first = Client::durable(&hub, "news", NEWS);
    let second = Client::of(&hub, Some("alice"));
    let refused = reason(second.subscribe(NEWS, durable("news")));
    assert!(
        refused.contains(r#"another session of "alice" uses the durable subscription "news""#),
        "{refused}"
    );
    let bob = Client::of(&hub, Some("bob"));
    bob.subscribe(NEWS, durable("news")).unwrap();
    send(&hub, NEWS, &["1"]).unwrap();
    assert_eq!(bodies(&first, 1), ["1"]);
    assert_eq!(bodies(&bob, 1), ["1"]);
    first.close();
    // It is free, and still to the same.
    let refused = reason(second.subscribe("/topic/kept/*", durable("news")));
    assert!(
        refused.contains("is to \"/topic/kept/news\"; end it first"),
        "{refused}"
    );
    let mut selective = durable("news");
    selective.selector = Some("kind = 'order'".into());
    assert!(reason(second.subscribe(NEWS, selective)).contains("end it first"));
    second.subscribe(NEWS, durable("news")).unwrap();
    assert_eq!(second.bodies(1), [("1".to_owned(), 1)]);

    let anonymous = Client::of(&hub, None);
    let refused = anonymous.subscribe(NEWS, durable("news"));
    assert_eq!(refused, Err(SubscribeError::AnonymousDurable));
    let option = "durable";
    let unsupported = Err(SubscribeError::Unsupported { option });
    for elsewhere in ["/topic/news", "/topic/**", "/queue/a"] {
        assert_eq!(
            bob.subscribe(elsewhere, durable("x")),
            unsupported,
            "{elsewhere}"
        );
    }
    let in_memory = Hub::new(EmbeddedBroker::new().topics("/topic"));
    let client = Client::of(&in_memory, Some("alice"));
    assert_eq!(client.subscribe(NEWS, durable("news")), unsupported);
    assert!(reason(bob.subscribe(NEWS, durable(""))).contains("needs an `id`"));
    let long = "x".repeat(500);
    assert!(reason(bob.subscribe(NEWS, durable(&long))).contains("512 may be used"));
}

#[test]
fn a_pattern_and_a_selector_pick_what_waits() {
    let mut disk = Arc::new(Disk::default());
    let before = hub(open(&disk));
    Client::durable(&before, "all", "/topic/kept/**").close();
    let selective = Client::of(&before, Some("alice"));
    let mut options = durable("some");
    options.selector = Some("kind = 'alarm'".into());
    selective
        .subscribe("/topic/kept/*", options.clone())
        .unwrap();
    selective.close();
    send(&before, NEWS, &["1"]).unwrap();
    let mut alarm = to("/topic/kept/other", "2");
    alarm.headers.replace("kind", "alarm");
    wait(before.publish(vec![alarm], NOW)).unwrap();
    send(&before, "/topic/other", &["3"]).unwrap();
    let after = crash(&mut disk);
    let all = Client::durable(&after, "all", "/topic/kept/**");
    assert_eq!(bodies(&all, 2), ["1", "2"]);
    let selective = Client::of(&after, Some("alice"));
    selective.subscribe("/topic/kept/*", options).unwrap();
    assert_eq!(bodies(&selective, 1), ["2"]);
    assert!(!selective.has_more(), "the selector left one");
}

#[test]
fn a_client_that_is_away_too_long_is_told_that_messages_are_missing() {
    let mut disk = Arc::new(Disk::default());
    let settings = SubscriptionSettings::default().max_messages(3);
    let before = with(&disk, settings.clone());
    Client::durable(&before, "news", NEWS).close();
    send(&before, NEWS, &["1", "2", "3", "4", "5"]).unwrap();
    disk = Arc::new(disk.after_crash(disk.operations(), Loss::Everything));
    let after = with(&disk, settings);
    let client = Client::of(&after, Some("alice"));
    let subscribed = client.subscribe(NEWS, durable("news")).unwrap();
    assert!(subscribed.missed);
    assert_eq!(bodies(&client, 3), ["3", "4", "5"]);
    // It has all of them, so the next one finds no room.
    send(&after, NEWS, &["6"]).unwrap();
    assert!(client.was_told());
    client.close();
    let again = Client::of(&after, Some("alice"));
    assert!(
        !again.subscribe(NEWS, durable("news")).unwrap().missed,
        "it was told"
    );
    assert_eq!(bodies(&again, 3), ["3", "4", "5"]);
}

#[test]
fn publishers_are_refused_where_nothing_may_be_dropped() {
    let disk = Arc::new(Disk::default());
    let settings = SubscriptionSettings::default()
        .max_messages(2)
        .when_behind(WhenBehind::RefusePublisher);
    let hub = with(&disk, settings);
    Client::durable(&hub, "news", NEWS).close();
    let live = Client::of(&hub, Some("bob"));
    live.subscribe(NEWS, tramline_broker::SubscribeOptions::default())
        .unwrap();
    send(&hub, NEWS, &["1", "2"]).unwrap();
    let refused = send(&hub, NEWS, &["3"]).unwrap_err().to_string();
    assert!(refused.contains("subscription:alice:news"), "{refused}");
    let transaction = tramline_broker::Transaction::new(Vec::new(), vec![to(NEWS, "4")]);
    wait(hub.commit(live.id(), transaction, NOW)).unwrap_err();
    assert_eq!(bodies(&live, 2), ["1", "2"]);
    assert!(!live.has_more(), "nobody receives what was refused");
    let client = Client::durable(&hub, "news", NEWS);
    assert_eq!(bodies(&client, 2), ["1", "2"]);
}

#[test]
fn it_ends_when_nobody_has_used_it_for_long() {
    let disk = Arc::new(Disk::default());
    let settings = SubscriptionSettings::default().unused_for(Duration::from_secs(3600));
    let hub = with(&disk, settings.clone());
    let at = |seconds: u64| Timestamp::from_millis(NOW.as_millis() + seconds * 1000);
    let sweep = |hub: &Hub, seconds: u64| {
        // As often as a server does, about.
        (0..=seconds)
            .step_by(600)
            .for_each(|second| hub.sweep(at(second)));
    };
    let there = |disk: &Disk| {
        let found = support::contents(&open(&Arc::new(disk.copy())));
        support::subscription(&found, "news", NEWS).is_some()
    };
    let client = Client::durable(&hub, "news", NEWS);
    sweep(&hub, 6000);
    assert!(there(&disk), "it is in use");
    hub.pass_time(at(6000));
    client.close();
    send(&hub, NEWS, &["1"]).unwrap();
    drop(hub);
    // A start does not begin the time anew.
    let hub = with(&disk, settings);
    for second in (6000..9000).step_by(600) {
        hub.sweep(at(second));
    }
    assert!(there(&disk));
    // A clock that jumps ends nothing.
    hub.sweep(at(1_000_000));
    assert!(there(&disk));
    hub.sweep(at(1_000_600));
    hub.sweep(at(1_001_200));
    send(&hub, NEWS, &["2"]).unwrap();
    assert!(!there(&disk));
}

#[test]
fn a_user_has_so_many_and_all_have_so_many() {
    let disk = Arc::new(Disk::default());
    let hub = with(&disk, SubscriptionSettings::default().max_each(2).max(3));
    Client::durable(&hub, "1", NEWS);
    let second = Client::durable(&hub, "2", NEWS);
    let client = Client::of(&hub, Some("alice"));
    let refused = reason(client.subscribe(NEWS, durable("3")));
    assert!(
        refused.contains("\"alice\" has 2 durable subscriptions"),
        "{refused}"
    );
    let bob = Client::of(&hub, Some("bob"));
    bob.subscribe(NEWS, durable("1")).unwrap();
    let carol = Client::of(&hub, Some("carol"));
    assert!(reason(carol.subscribe(NEWS, durable("1"))).contains("there are 3"));
    second.end();
    client.subscribe(NEWS, durable("3")).unwrap();
}

/// None of it is in memory, and all of it comes in order.
#[test]
fn a_backlog_is_on_disk() {
    const COUNT: usize = 3_000;
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    let client = Client::durable(&hub, "news", NEWS);
    send(&hub, NEWS, &["first"]).unwrap();
    client.close();
    for _ in 0..COUNT / 1000 {
        send(&hub, NEWS, &["x"; 1000]).unwrap();
    }
    let statistics = hub.statistics(&Pattern::parse("/**").unwrap(), 0);
    assert_eq!(statistics.bytes, 0);
    let client = Client::durable(&hub, "news", NEWS);
    let mut expected = std::iter::once("first").chain(std::iter::repeat_n("x", COUNT));
    while expected.size_hint().0 > 0 {
        for delivery in client.take(1) {
            let expected = expected.next().unwrap();
            assert_eq!(delivery.message.body(), expected.as_bytes());
            client.settle(&delivery, Outcome::Accepted);
        }
    }
}

/// A subscription without the record that says so, and with messages, is still there.
#[test]
fn damage_ends_no_subscription() {
    let disk = Arc::new(Disk::default());
    let before = hub(open(&disk));
    before.pass_time(NOW);
    Client::durable(&before, "news", NEWS).close();
    send(&before, NEWS, &["1"]).unwrap();
    wait(before.stop(NOW));
    drop(before);
    disk.flip_where(b"subscribed:1000000:alice");
    let store = open(&disk);
    assert!(store.report().has_losses());
    let after = hub(store);
    let client = Client::durable(&after, "news", NEWS);
    assert_eq!(bodies(&client, 1), ["1"]);
}

/// The power fails after every operation on the disk, in all ways.
#[test]
fn every_crash_point_of_a_subscription() {
    type State = (Option<Vec<String>>, Vec<String>);
    let disk = Arc::new(Disk::default());
    let hub = hub(open(&disk));
    // When each step was begun and confirmed, and what is there then.
    let mut steps: Vec<(usize, usize, State)> = vec![(0, 0, (None, vec![]))];
    let mut step = |state: (Option<&[&str]>, &[&str]), act: &dyn Fn()| {
        let owned = |bodies: &[&str]| bodies.iter().map(|body| (*body).to_owned()).collect();
        let begun = disk.operations();
        act();
        let state = (state.0.map(owned), owned(state.1));
        steps.push((begun, disk.operations(), state));
    };
    let client = Client::of(&hub, Some("alice"));
    step((Some(&[]), &[]), &|| {
        client.subscribe(NEWS, durable("news")).unwrap();
    });
    step((Some(&["1"]), &[]), &|| send(&hub, NEWS, &["1"]).unwrap());
    step((Some(&["1", "2"]), &[]), &|| {
        send(&hub, NEWS, &["2"]).unwrap();
    });
    let deliveries = client.take(2);
    step((Some(&["2"]), &[]), &|| {
        client.settle(&deliveries[0], Outcome::Accepted);
    });
    // A transaction: its message is there for both, and what it settles is gone, or neither.
    step((Some(&["3"]), &["4"]), &|| {
        let accepted = settle(&deliveries[1], Outcome::Accepted);
        client.commit(vec![accepted], vec![to(NEWS, "3"), to("/queue/a", "4")]);
    });
    step((None, &["4"]), &|| client.end());
    let operations = disk.operations();
    for point in 0..=operations {
        for loss in Loss::ALL {
            let store = open(&Arc::new(disk.after_crash(point, loss)));
            let context = format!("at {point}, {loss:?}");
            assert!(
                !store.report().has_losses(),
                "{context}: {}",
                store.report()
            );
            let contents = support::contents(&store);
            let queue = contents.get("/queue/a").into_iter().flatten();
            let queue = queue.map(|(body, _)| body.clone()).collect();
            let found = (support::subscription(&contents, "news", NEWS), queue);
            let sure = steps.iter().rposition(|step| step.1 <= point).unwrap_or(0);
            let possible = steps[sure..]
                .iter()
                .filter(|step| step.0 <= point || step.1 <= point);
            let possible: Vec<_> = possible.map(|step| &step.2).collect();
            assert!(
                possible.contains(&&found),
                "{context}: {found:?} is none of {possible:?}"
            );
        }
    }
    assert!(operations > 5);
}
