//! Messages for slow subscribers, and acknowledgement windows.

use tramline_broker::{Control, Ending, Hub, Outbox, Overflow, Taken, TopicSettings};

use crate::support::*;

fn overflowing(overflow: Overflow) -> Hub {
    let settings = TopicSettings::default().overflow(overflow);
    Hub::new(broker().topic_settings("/topic/a/**", settings))
}

/// Pads a text, so that with its destination three such messages fit into 1,000 bytes.
fn padded(text: &str) -> String {
    format!("{text:x<250}")
}

fn send_padded(broker: &Hub, destination: &str, texts: &[&str]) {
    for text in texts {
        send(broker, destination, &[&padded(text)]);
    }
}

fn unpadded(client: &Client<'_>) -> Vec<String> {
    let bodies = client.bodies();
    let trimmed = bodies.iter().map(|body| body.trim_end_matches('x'));
    trimmed.map(str::to_owned).collect()
}

fn prices(broker: &Hub, prices: &[(&str, &str)]) {
    for (key, price) in prices {
        let message = with_headers("/topic/a", &padded(price), &[("key", key)]);
        publish(broker, vec![message]);
    }
}

#[test]
fn a_slow_consumer_is_closed_with_the_reason() {
    let broker = Hub::new(broker());
    let slow = Client::slow(&broker, 1_000);
    slow.subscribe(0, "/topic/a", AUTO);
    send_padded(&broker, "/topic/a", &["1", "2", "3", "4", "5"]);
    let (taken, how) = slow.take_some(10);
    assert!(taken.is_empty());
    let Taken::Control(Control::End(Ending::Overflow { queued, limit })) = how else {
        panic!("{how:?}");
    };
    assert!(limit == 1_000 && queued > limit);
    assert_eq!(counts(&broker, "/topic/a").closed, 1);
    slow.close();
    assert_eq!(bytes(&broker), 0);
}

#[test]
fn the_oldest_of_the_same_subscription_go() {
    let broker = overflowing(Overflow::DropOldest);
    let slow = Client::slow(&broker, 1_000);
    slow.subscribe(0, "/topic/a", AUTO);
    send_padded(&broker, "/topic/a", &["1", "2", "3", "4", "5"]);
    assert_eq!(unpadded(&slow), ["3", "4", "5"]);
    assert_eq!(counts(&broker, "/topic/a").dropped_oldest, 2);
}

#[test]
fn what_others_fill_is_not_dropped_for_a_new_one() {
    let broker = overflowing(Overflow::DropOldest);
    let slow = Client::slow(&broker, 1_000);
    slow.subscribe(0, "/topic/a", AUTO);
    slow.subscribe(1, "/topic/b", AUTO);
    slow.subscribe(2, "/queue/a", AUTO);
    send_padded(&broker, "/topic/b", &["b", "c"]);
    send_padded(&broker, "/queue/a", &["d"]);
    send_padded(&broker, "/topic/a", &["1", "2"]);
    assert_eq!(counts(&broker, "/topic/a").dropped_oldest, 2);
    assert_eq!(unpadded(&slow), ["b", "c", "d"]);
}

#[test]
fn the_new_one_goes() {
    let broker = overflowing(Overflow::DropNewest);
    let slow = Client::slow(&broker, 1_000);
    slow.subscribe(0, "/topic/a", AUTO);
    send_padded(&broker, "/topic/a", &["1", "2", "3", "4", "5"]);
    assert_eq!(unpadded(&slow), ["1", "2", "3"]);
    assert_eq!(counts(&broker, "/topic/a").dropped_newest, 2);
}

#[test]
fn only_the_latest_of_a_key_waits_full_or_not() {
    let broker = overflowing(Overflow::latest("key"));
    let client = Client::open(&broker);
    client.subscribe(0, "/topic/a", AUTO);
    let all = [
        ("acme", "1"),
        ("acme", "2"),
        ("acme", "3"),
        ("bolt", "4"),
        ("acme", "5"),
        ("bolt", "6"),
    ];
    prices(&broker, &all);
    assert_eq!(unpadded(&client), ["5", "6"]);
    prices(&broker, &[("acme", "7"), ("acme", "8")]);
    assert_eq!(unpadded(&client), ["8"], "what was taken is not replaced");
    assert_eq!(counts(&broker, "/topic/a").conflated, 5);
}

#[test]
fn conflation_knows_destinations_subscriptions_and_messages_without_a_key() {
    let broker = overflowing(Overflow::latest("key"));
    let client = Client::open(&broker);
    client.subscribe(0, "/topic/a/**", AUTO);
    client.subscribe(1, "/topic/a/x", AUTO);
    let keyed = |destination, text| with_headers(destination, text, &[("key", "k")]);
    publish(
        &broker,
        vec![
            keyed("/topic/a/x", "1"),
            keyed("/topic/a/y", "2"),
            to("/topic/a/x", "3"),
            to("/topic/a/x", "4"),
            keyed("/topic/a/x", "5"),
            keyed("/topic/a/y", "6"),
        ],
    );
    let taken = client.take();
    let of = |slot| {
        let own = taken.iter().filter(move |delivery| delivery.slot == slot);
        own.map(body).collect::<Vec<_>>()
    };
    assert_eq!(of(0), ["3", "4", "5", "6"]);
    assert_eq!(of(1), ["3", "4", "5"]);
}

#[test]
fn conflated_messages_that_do_not_fit_close_the_session() {
    let broker = overflowing(Overflow::latest("key"));
    let slow = Client::slow(&broker, 1_000);
    slow.subscribe(0, "/topic/a", AUTO);
    prices(&broker, &[("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")]);
    assert_eq!(counts(&broker, "/topic/a").closed, 0);
    prices(&broker, &[("d", "5")]);
    let (_, how) = slow.take_some(10);
    assert!(matches!(
        how,
        Taken::Control(Control::End(Ending::Overflow { .. }))
    ));
    assert_eq!(counts(&broker, "/topic/a").closed, 1);
}

#[test]
fn a_window_gives_out_so_many_and_goes_on_with_each_that_is_settled() {
    let broker = Hub::new(broker());
    let client = Client::open(&broker);
    client.prefetch(0, "/topic/a", CLIENT, 2);
    client.prefetch(1, "/topic/**", INDIVIDUAL, 1);
    client.subscribe(2, "/topic/a", AUTO);
    send(&broker, "/topic/a", &["1", "2", "3"]);
    let taken = client.take();
    let of = |slot| {
        taken
            .iter()
            .filter(|delivery| delivery.slot == slot)
            .count()
    };
    assert_eq!([of(0), of(1), of(2)], [2, 1, 3]);
    let tagged = taken.iter().filter(|delivery| delivery.tag > 0).count();
    assert_eq!(tagged, 3);
    drop(taken);
    client.accept(0, 2);
    assert_eq!(client.bodies(), ["3"]);
    client.release(1, 1);
    assert_eq!(client.bodies(), ["2"], "a topic has nobody else to try");
    client.unsubscribe(1);
    client.accept(0, 3);
    assert_eq!(bytes(&broker), 0);
}

#[test]
fn what_waits_in_a_window_is_treated_as_what_waits_in_an_outbox() {
    for (overflow, left) in [
        (Overflow::DropOldest, vec!["1", "4", "5", "6"]),
        (Overflow::DropNewest, vec!["1", "2", "3", "4"]),
    ] {
        let broker = overflowing(overflow);
        let slow = Client::slow(&broker, 1_000);
        slow.prefetch(0, "/topic/a", CLIENT, 1);
        send_padded(&broker, "/topic/a", &["1", "2", "3", "4", "5", "6"]);
        let mut got = unpadded(&slow);
        for tag in 1..4 {
            slow.accept(0, tag);
            got.extend(unpadded(&slow));
        }
        assert_eq!(got, left);
        let counts = counts(&broker, "/topic/a");
        assert_eq!(counts.dropped_oldest + counts.dropped_newest, 2);
    }
}

#[test]
fn a_window_conflates_what_waits_in_it() {
    let broker = overflowing(Overflow::latest("key"));
    let slow = Client::slow(&broker, 1_000);
    slow.prefetch(0, "/topic/a", INDIVIDUAL, 1);
    let all = [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"), ("b", "5")];
    prices(&broker, &all);
    assert_eq!(unpadded(&slow), ["1"]);
    slow.accept(0, 1);
    assert_eq!(unpadded(&slow), ["4"]);
    slow.accept(0, 2);
    assert_eq!(unpadded(&slow), ["5"]);
    assert_eq!(counts(&broker, "/topic/a").conflated, 2);
}

#[test]
fn a_window_that_overflows_closes_the_session_once_and_keeps_nothing() {
    let broker = Hub::new(broker());
    let slow = Client::slow(&broker, 1_000);
    slow.prefetch(0, "/topic/a", CLIENT, 1);
    slow.prefetch(1, "/topic/*", CLIENT, 1);
    let texts = ["1", "2", "3", "4", "5", "6", "7"];
    let batch = texts.map(|text| to("/topic/a", &padded(text)));
    publish(&broker, batch.into());
    let (taken, how) = slow.take_some(10);
    assert!(taken.is_empty());
    assert!(matches!(
        how,
        Taken::Control(Control::End(Ending::Overflow { limit: 1_000, .. }))
    ));
    assert_eq!(counts(&broker, "/topic/a").closed, 1);
    let before = bytes(&broker);
    send_padded(&broker, "/topic/a", &["8", "9"]);
    assert_eq!(bytes(&broker), before, "nothing waits for who is over");
    slow.close();
    assert_eq!(bytes(&broker), 0);
}

#[test]
fn a_window_whose_outbox_was_full_resumes() {
    let broker = overflowing(Overflow::DropNewest);
    let slow = Client::slow(&broker, 1_000);
    slow.prefetch(0, "/topic/a", CLIENT, 100);
    send_padded(&broker, "/topic/a", &["1", "2", "3", "4", "5"]);
    assert_eq!(unpadded(&slow), ["1", "2", "3"]);
    assert_eq!(unpadded(&slow), ["4", "5"]);
}

#[test]
fn user_destinations_follow_the_outboxs_own_policy() {
    for ack in [AUTO, CLIENT] {
        let broker = Hub::new(broker());
        let outbox = Outbox::new(1_000, Overflow::DropOldest);
        let slow = Client::with(&broker, Some("ann"), outbox);
        slow.subscribe_user(0, "/queue/news", ack);
        for text in ["1", "2", "3", "4", "5", "6", "7", "8"] {
            let body: &'static str = padded(text).leak();
            publish(&broker, vec![to_user("ann", "/queue/news", body)]);
        }
        let mut got = unpadded(&slow);
        got.extend(unpadded(&slow));
        let expected = match ack {
            AUTO => vec!["6", "7", "8"],
            _ => vec!["1", "2", "3", "6", "7", "8"],
        };
        assert_eq!(got, expected);
        let totals = totals(&broker);
        assert_eq!(totals.dropped_oldest as usize, 8 - expected.len());
        assert_eq!((totals.published, totals.delivered), (8, 8));
    }
}

#[test]
fn what_a_closed_session_was_subscribed_to_is_let_go() {
    let broker = Hub::new(broker());
    let client = Client::open(&broker);
    client.subscribe(0, "/topic/a", CLIENT);
    client.subscribe(1, "/topic/*", INDIVIDUAL);
    client.subscribe_user(2, "/queue/a", CLIENT);
    client.subscribe(3, "/queue/a", AUTO);
    send(&broker, "/topic/a", &["1"]);
    broker.close(client.id);
    assert_eq!(send(&broker, "/topic/a", &["2"]), 0);
    assert_eq!(send(&broker, "/queue/a", &["2"]), 0);
    assert_eq!(std::sync::Arc::strong_count(&client.outbox), 1);
}
