//! Queues: who gets which message, how often, and what becomes of one that nobody accepts.

use tramline::EmbeddedBroker;
use tramline::broker::{Prefix, QueueSettings, Separator};
use tramline::policy::{Policy, deny, permit, role};
use tramline_stomp::Version;

use crate::support::{Client, FrameExt, Server, Setup, ack, broker, eventually, nack, rejected};

async fn server() -> Server {
    Setup::open_to_all(broker()).start().await
}

/// A server whose queues are of this kind; what they give up goes to `/queue/dead`.
async fn with_queues(settings: QueueSettings) -> Server {
    let settings = settings.dead_letters("/queue/dead");
    let broker = broker().queue_settings("/queue/x", settings);
    Setup::open_to_all(broker).start().await
}

#[tokio::test]
async fn messages_wait_for_the_first_consumer() {
    for version in Version::ALL {
        let server = server().await;
        let mut sender = Client::connect_in(&server, version).await;
        for body in ["1", "2", "3"] {
            sender
                .done(format!("SEND\ndestination:/queue/x\nmood:good\n\n{body}\0"))
                .await;
        }
        let waiting = server.of("/queue/x");
        assert_eq!((waiting.depth, waiting.subscribers), (3, 0));
        drop(sender);
        let mut consumer = Client::connect_in(&server, version).await;
        consumer.consume("s", "/queue/x", "").await;
        for message in consumer.expect_bodies(["1", "2", "3"]).await {
            message.has("redelivered", None).has("mood", "good");
        }
        server.loaded("/queue/x", (0, 0)).await;
        assert_eq!(server.of("/queue/x").counts.acked, 3);
        // What is done is gone: a second consumer finds nothing.
        let mut late = Client::connect_in(&server, version).await;
        late.consume("s", "/queue/x", "").await;
        late.hears_nothing().await;
    }
}

#[tokio::test]
async fn consumers_take_turns() {
    let server = server().await;
    let mut consumers = Vec::new();
    for _ in 0..3 {
        let mut consumer = Client::connect(&server).await;
        consumer.consume("s", "/queue/x", "").await;
        consumers.push(consumer);
    }
    server
        .publish("/queue/x", ["1", "2", "3", "4", "5", "6"])
        .await;
    for (consumer, bodies) in consumers
        .iter_mut()
        .zip([["1", "4"], ["2", "5"], ["3", "6"]])
    {
        consumer.expect_bodies(bodies).await;
        consumer.hears_nothing().await;
    }
    let counts = server.of("/queue/x").counts;
    assert_eq!(
        (counts.published, counts.delivered, counts.redelivered),
        (6, 6, 0)
    );
}

#[tokio::test]
async fn a_busy_consumer_is_passed_over() {
    let server = server().await;
    let mut busy = Client::connect(&server).await;
    busy.consume("s", "/queue/x", "ack:client-individual\nprefetch-count:1\n")
        .await;
    let mut idle = Client::connect(&server).await;
    idle.consume("s", "/queue/x", "ack:client\n").await;
    server.publish("/queue/x", ["1", "2", "3", "4"]).await;
    let first = busy.expect_bodies(["1"]).await;
    idle.expect_bodies(["2", "3", "4"]).await;
    busy.done(ack(&first[0])).await;
    assert_eq!(server.load("/queue/x"), (0, 3));
    server.publish("/queue/x", ["5", "6"]).await;
    // Both have room now.
    let mut got = [
        busy.expect("MESSAGE").await.text().to_owned(),
        idle.expect("MESSAGE").await.text().to_owned(),
    ];
    got.sort();
    assert_eq!(got, ["5", "6"]);
}

#[tokio::test]
async fn two_subscriptions_of_one_session_compete_too() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    client.consume("a", "/queue/x", "ack:client\n").await;
    client.consume("b", "/queue/x", "ack:client\n").await;
    server.publish("/queue/x", ["1", "2", "3", "4"]).await;
    let got = client.expect_bodies(["1", "2", "3", "4"]).await;
    for (message, (id, tag)) in
        got.iter()
            .zip([("a", "0-1"), ("b", "1-1"), ("a", "0-2"), ("b", "1-2")])
    {
        message.has("subscription", id);
        let token = message.headers.get("ack").unwrap();
        assert!(token.starts_with(&format!("{tag}-")), "{token}");
    }
    client.done("UNSUBSCRIBE\nid:a\n\n\0").await;
    for message in client.expect_bodies(["1", "3"]).await {
        message.has("subscription", "b").has("redelivered", "true");
    }
    // Acknowledging the last settles all, and none of the other subscription's, which has none.
    client.done("ACK\nid:1-4-$KEY\n\n\0").await;
    assert_eq!(server.load("/queue/x"), (0, 0));
}

#[tokio::test]
async fn a_consumer_has_as_many_at_a_time_as_it_wants() {
    for (headers, broker, most) in [
        ("prefetch-count:1\n", broker(), 1),
        ("prefetch-count:3\n", broker(), 3),
        ("", broker(), 100),
        // As RabbitMQ's clients write it: no wish.
        ("prefetch-count:0\n", broker(), 100),
        ("", broker().default_prefetch(2.try_into().unwrap()), 2),
        ("prefetch-count:5\n", broker().max_prefetch(5), 5),
        ("", broker().max_prefetch(5), 5),
    ] {
        let server = Setup::open_to_all(broker).start().await;
        let publisher = server.messaging().publisher();
        for _ in 0..=most {
            publisher.send("/queue/x", "m").await.unwrap();
        }
        let mut client = Client::connect(&server).await;
        client
            .consume(
                "s",
                "/queue/x",
                &format!("ack:client-individual\n{headers}"),
            )
            .await;
        let first = client.expect_bodies(["m"]).await;
        for _ in 1..most {
            client.expect_bodies(["m"]).await;
        }
        client.hears_nothing().await;
        assert_eq!(server.load("/queue/x"), (1, most), "{headers:?}");
        client.done(ack(&first[0])).await;
        client.expect_bodies(["m"]).await;
        assert_eq!(server.load("/queue/x"), (0, most));
    }
}

#[tokio::test]
async fn a_prefetch_count_that_cannot_be_is_refused() {
    let server = Setup::open_to_all(broker().max_prefetch(50)).start().await;
    let number = |value: &str| {
        format!(
            "the header `prefetch-count` is {value:?}; it must be a number from 0 to 4294967295"
        )
    };
    let long = "9".repeat(100);
    for (value, body) in [
        ("-1", number("-1")),
        ("many", number("many")),
        ("", number("")),
        ("1.5", number("1.5")),
        ("4294967296", number("4294967296")),
        (&long, number(&long[..32])),
        (
            "51",
            "a prefetch-count of 51 is too large; at most 50 are given out before some are acknowledged".into(),
        ),
    ] {
        for destination in ["/queue/x", "/topic/x", "/user/queue/x"] {
            let mut client = Client::connect(&server).await;
            let frame = format!(
                "SUBSCRIBE\nreceipt:7\nid:s\ndestination:{destination}\nack:client\nprefetch-count:{value}\n\n\0"
            );
            let expected = ("subscription refused", &*body);
            server.refuses(&mut client, &frame, expected, rejected).await;
        }
    }
}

#[tokio::test]
async fn many_queues_cannot_be_consumed_at_once() {
    let server = server().await;
    for pattern in ["/queue/*", "/queue/**", "/queue/a?"] {
        let mut client = Client::connect(&server).await;
        let frame = format!("SUBSCRIBE\nreceipt:7\nid:s\ndestination:{pattern}\n\n\0");
        let body = format!("{pattern:?} has wildcards; a queue is consumed by its own name");
        let expected = ("subscription refused", &*body);
        server
            .refuses(&mut client, &frame, expected, rejected)
            .await;
    }
}

/// However a consumer ends, what it did not settle goes to another, in order and marked.
#[tokio::test]
async fn what_a_consumer_leaves_unsettled_goes_to_others() {
    for version in Version::ALL {
        for end in [
            "cut",
            "reset",
            "close",
            "DISCONNECT",
            "UNSUBSCRIBE",
            "ERROR",
            "silence",
        ] {
            let server = Setup::open_to_all(broker())
                .limits(|limits| {
                    limits.heart_beat.receive = 100;
                    limits.heart_beat_silence = std::time::Duration::ZERO;
                })
                .start()
                .await;
            server.publish("/queue/x", ["1", "2", "3", "4"]).await;
            let mut dying = if end == "silence" {
                let mut client = Client::open(&server).await;
                client
                    .send("CONNECT\naccept-version:1.2\nheart-beat:100,0\n\n\0")
                    .await;
                client.expect("CONNECTED").await;
                client
            } else {
                Client::connect_in(&server, version).await
            };
            dying
                .consume("s", "/queue/x", "ack:client\nprefetch-count:3\n")
                .await;
            dying.expect_bodies(["1", "2", "3"]).await;
            let mut heir = Client::connect(&server).await;
            heir.consume("s", "/queue/x", "ack:client\n").await;
            heir.expect_bodies(["4"]).await[0].has("redelivered", None);
            let mut unsubscribed = None;
            match end {
                "cut" => drop(dying),
                "reset" => dying.reset(),
                "close" => {
                    dying.close(1000, "").await;
                    dying.expect_close(1000, "").await;
                }
                "DISCONNECT" => {
                    dying.done("DISCONNECT\n\n\0").await;
                    dying.expect_close(1000, "").await;
                }
                "UNSUBSCRIBE" => {
                    dying.done("UNSUBSCRIBE\nid:s\n\n\0").await;
                    unsubscribed = Some(dying);
                }
                "ERROR" => {
                    dying.send("SEND\ndestination:/nowhere\n\n\0").await;
                    dying.expect("ERROR").await;
                }
                _ => {
                    dying.expect("ERROR").await;
                }
            }
            for message in heir.expect_bodies(["1", "2", "3"]).await {
                message
                    .has("redelivered", "true")
                    .has("delivery-count", "1");
            }
            let counts = server.of("/queue/x").counts;
            assert_eq!((counts.delivered, counts.redelivered), (7, 3), "{end}");
            assert_eq!(server.load("/queue/x"), (0, 4), "{end}");
            if let Some(mut unsubscribed) = unsubscribed {
                unsubscribed.hears_nothing().await;
            }
        }
    }
}

/// Who finds nobody else waits, in its old place.
#[tokio::test]
async fn what_comes_back_stands_before_what_came_later() {
    let server = server().await;
    let mut first = Client::connect(&server).await;
    first
        .consume("s", "/queue/x", "ack:client-individual\nprefetch-count:3\n")
        .await;
    server.publish("/queue/x", ["1", "2", "3", "4", "5"]).await;
    let got = first.expect_bodies(["1", "2", "3"]).await;
    first.done(ack(&got[1])).await;
    first.expect_bodies(["4"]).await;
    drop(first);
    server.loaded("/queue/x", (4, 0)).await;
    server.publish("/queue/x", ["6"]).await;
    let mut second = Client::connect(&server).await;
    second.consume("s", "/queue/x", "").await;
    let messages = second.expect_bodies(["1", "3", "4", "5", "6"]).await;
    for (message, again) in messages.iter().zip([true, true, true, false, false]) {
        message
            .has("redelivered", again.then_some("true"))
            .has("delivery-count", again.then_some("1"))
            .has("ack", None);
    }
    server.loaded("/queue/x", (0, 0)).await;
}

#[tokio::test]
async fn a_servers_end_returns_what_its_sessions_had() {
    let server = server().await;
    server.publish("/queue/x", ["1", "2"]).await;
    let mut client = Client::connect(&server).await;
    client.consume("s", "/queue/x", "ack:client\n").await;
    client.expect_bodies(["1", "2"]).await;
    let shutdown = server.messaging().shutdown(crate::support::DEADLINE);
    let (left, ()) = tokio::join!(
        shutdown,
        client.expect_close(1001, "the server is going away")
    );
    assert_eq!(left, 0);
    assert_eq!(server.load("/queue/x"), (2, 0));
}

/// The end does not wait until a queue is empty.
#[tokio::test]
async fn a_servers_end_does_not_wait_for_a_backlog() {
    let server = server().await;
    let publisher = server.messaging().publisher();
    let body = "x".repeat(1000);
    const BACKLOG: usize = 20_000;
    for _ in 0..BACKLOG {
        publisher.send("/queue/x", body.clone()).await.unwrap();
    }
    let mut client = Client::connect(&server).await;
    client.consume("s", "/queue/x", "").await;
    let messaging = server.messaging().clone();
    let mut received = 0;
    let close = loop {
        match client.expect_message_or_close().await {
            Ok(_) => received += 1,
            Err(close) => break close,
        }
        if received == 1 {
            let messaging = messaging.clone();
            tokio::spawn(async move { messaging.shutdown(crate::support::DEADLINE).await });
        }
    };
    assert_eq!(close, (1001, "the server is going away".into()));
    assert!(received < BACKLOG, "all of the backlog was written first");
    // What was written was accepted, and nothing else is gone.
    server.loaded("/queue/x", (BACKLOG - received, 0)).await;
}

/// ACKs that came before the goodbye count, although they wait for what stands before them.
#[tokio::test]
async fn acks_in_front_of_a_disconnect_count() {
    let server = server().await;
    server.publish("/queue/x", ["1", "2"]).await;
    let mut client = Client::connect(&server).await;
    client
        .consume("s", "/queue/x", "ack:client-individual\n")
        .await;
    let got = client.expect_bodies(["1", "2"]).await;
    client.send("SEND\ndestination:/app/slow\n\na\0").await;
    server.gate.started(1).await;
    let last = format!("{}DISCONNECT\nreceipt:bye\n\n\0", ack(&got[0]));
    client.send(&last).await;
    server.gate.release();
    client.expect("RECEIPT").await.has("receipt-id", "bye");
    client.expect_close(1000, "").await;
    server.loaded("/queue/x", (1, 0)).await;
    assert_eq!(server.of("/queue/x").counts.acked, 1);
}

/// Who closes without DISCONNECT gives its deliveries back at once; an ACK among its last words is too late, and does
/// no harm to what stands behind it.
#[tokio::test]
async fn acks_among_the_last_words_cost_nothing() {
    let server = server().await;
    server.publish("/queue/x", ["1"]).await;
    let mut client = Client::connect(&server).await;
    client.consume("s", "/queue/x", "ack:client\n").await;
    let got = client.expect_bodies(["1"]).await;
    client.send("SEND\ndestination:/app/slow\n\na\0").await;
    server.gate.started(1).await;
    client.send(&ack(&got[0])).await;
    client
        .send("SEND\ndestination:/app/log\n\nlast words\0")
        .await;
    client.close(1000, "").await;
    server.loaded("/queue/x", (1, 0)).await;
    server.gate.release();
    let gate = server.gate.clone();
    eventually("the last words", move || {
        gate.log() == ["slow a", "last words"]
    })
    .await;
    assert_eq!(server.stats().rejected, 0);
}

#[tokio::test]
async fn messages_expire() {
    let server = with_queues(QueueSettings::default()).await;
    let mut client = Client::connect(&server).await;
    for headers in ["expiration:1\n", "expires:0\n", "expires:1000\n", ""] {
        client
            .done(format!(
                "SEND\ndestination:/queue/x\n{headers}\n{headers}\0"
            ))
            .await;
    }
    // Nobody has to ask for them.
    server.loaded("/queue/x", (2, 0)).await;
    let counts = server.of("/queue/x").counts;
    assert_eq!((counts.expired, counts.dead_lettered), (2, 2));
    client.consume("d", "/queue/dead", "").await;
    for _ in 0..2 {
        let dead = client.expect("MESSAGE").await;
        dead.has("dead-letter-reason", "expired")
            .has("original-destination", "/queue/x")
            .has("original-delivery-count", "0")
            .has("expiration", None)
            .has("expires", None);
    }
    client.consume("s", "/queue/x", "ack:client\n").await;
    client.expect_bodies(["expires:0\n", ""]).await;
    // Also when a consumer is there.
    client
        .done("SEND\ndestination:/queue/x\nexpires:1000\n\nold\0")
        .await;
    let dead = client.expect_message("/queue/dead", "old").await;
    dead.has("dead-letter-reason", "expired");
    client.hears_nothing().await;
}

#[tokio::test]
async fn a_queues_messages_may_have_a_time_to_live() {
    let settings = QueueSettings::default().time_to_live(std::time::Duration::from_millis(1));
    let server = with_queues(settings).await;
    // Nobody is connected, and yet time passes.
    server.publish("/queue/x", ["1"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let mut client = Client::connect(&server).await;
    client.consume("s", "/queue/x", "").await;
    client.consume("d", "/queue/dead", "").await;
    client.expect_message("/queue/dead", "1").await;
    assert_eq!(server.of("/queue/x").counts.expired, 1);
}

#[tokio::test]
async fn an_expiry_that_is_no_number_is_refused() {
    let server = server().await;
    for (header, value) in [
        ("expires", "soon"),
        ("expires", "-1"),
        ("expiration", "1s"),
        ("expiration", "+1"),
        ("expiration", ""),
        ("expiration", "99999999999999999999"),
    ] {
        let mut client = Client::connect(&server).await;
        let frame = format!("SEND\nreceipt:7\ndestination:/queue/x\n{header}:{value}\n\nx\0");
        let body = format!(
            "the header `{header}` is {value:?}; it must be a number of milliseconds, as digits"
        );
        let expected = ("message not published", &*body);
        server
            .refuses(&mut client, &frame, expected, rejected)
            .await;
    }
    let mut client = Client::connect(&server).await;
    client
        .done("SEND\ndestination:/queue/x\nexpiration:18446744073709551615\n\nfor ever\0")
        .await;
    assert_eq!(server.load("/queue/x"), (1, 0));
}

#[tokio::test]
async fn a_message_that_comes_back_too_often_is_a_dead_letter() {
    let server = with_queues(QueueSettings::default().max_deliveries(3)).await;
    let mut client = Client::connect(&server).await;
    client
        .consume("s", "/queue/x", "ack:client-individual\n")
        .await;
    client
        .done("SEND\ndestination:/queue/x\nkind:poison\n\nm\0")
        .await;
    let first = client.expect_bodies(["m"]).await;
    client.done(nack(&first[0])).await;
    let second = client.expect_bodies(["m"]).await;
    // Consumers that die of it count as well.
    drop(client);
    server.loaded("/queue/x", (1, 0)).await;
    let mut client = Client::connect(&server).await;
    client.consume("d", "/queue/dead", "").await;
    client.consume("s", "/queue/x", "ack:client\n").await;
    let third = client.expect_bodies(["m"]).await;
    third[0]
        .has("delivery-count", "2")
        .has("message-id", second[0].headers.get("message-id"));
    client.done(nack(&third[0])).await;
    let dead = client.expect_message("/queue/dead", "m").await;
    dead.has("dead-letter-reason", "max-deliveries")
        .has("original-destination", "/queue/x")
        .has("original-delivery-count", "3")
        .has("redelivered", None)
        .has("delivery-count", None)
        .has("kind", "poison");
    let counts = server.of("/queue/x").counts;
    assert_eq!((counts.dead_lettered, counts.redelivered), (1, 2));
    assert_eq!(server.load("/queue/x"), (0, 0));
}

#[tokio::test]
async fn dead_letters_keep_their_order() {
    let server = with_queues(QueueSettings::default()).await;
    server.publish("/queue/x", ["1", "2", "3"]).await;
    let mut client = Client::connect(&server).await;
    client.consume("s", "/queue/x", "ack:client\n").await;
    let got = client.expect_bodies(["1", "2", "3"]).await;
    let last = got[2].headers.get("ack").unwrap();
    client
        .done(format!("NACK\nid:{last}\nrequeue:false\n\n\0"))
        .await;
    client.consume("d", "/queue/dead", "").await;
    client.expect_bodies(["1", "2", "3"]).await;
}

/// One builder line for Spring's reading of `/queue`.
#[tokio::test]
async fn queues_may_fan_out() {
    let broker = EmbeddedBroker::new().topics("/topic").topics("/queue");
    let server = Setup::open_to_all(broker).start().await;
    server.publish("/queue/x", ["to nobody"]).await;
    let mut one = Client::subscribed(&server, ["/queue/x"]).await;
    let mut other = Client::subscribed(&server, ["/queue/**"]).await;
    server.publish("/queue/x", ["1"]).await;
    one.expect_bodies(["1"]).await;
    other.expect_bodies(["1"]).await;
}

#[tokio::test]
async fn statistics_tell_what_happened() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    client
        .consume("s", "/queue/a", "ack:client\nprefetch-count:2\n")
        .await;
    client.consume("t", "/topic/a", "").await;
    server.publish("/queue/a", ["1", "2", "3"]).await;
    server.publish("/queue/b", ["4"]).await;
    server.publish("/topic/a", ["5"]).await;
    let got = client.expect_bodies(["1", "2", "5"]).await;
    client.done(ack(&got[0])).await;
    client.expect_bodies(["3"]).await;

    let a = server.of("/queue/a");
    assert_eq!((a.subscribers, a.depth, a.unsettled), (1, 0, 2));
    assert_eq!(
        (a.counts.published, a.counts.delivered, a.counts.acked),
        (3, 3, 1)
    );
    let b = server.of("/queue/b");
    assert_eq!((b.subscribers, b.depth, b.unsettled), (0, 1, 0));
    assert!(
        b.bytes > 0 && a.bytes == 2 * b.bytes,
        "{} {}",
        a.bytes,
        b.bytes
    );
    let topic = server.of("/topic/a");
    assert_eq!(
        (topic.subscribers, topic.depth, topic.counts.delivered),
        (1, 0, 1)
    );
    let all = server.messaging().broker_statistics("/**", 2).unwrap();
    let names: Vec<_> = all.selected.iter().map(|one| &*one.destination).collect();
    assert_eq!(names, ["/queue/a", "/queue/b"], "no more than two");
    assert_eq!((all.sessions, all.destinations), (1, 3));
    assert_eq!((all.totals.published, all.totals.delivered), (5, 4));
    assert!(all.bytes >= a.bytes + b.bytes, "{all:?}");
    assert!(server.messaging().broker_statistics("", 1).is_err());
}

/// With dots between the segments, rules and subscriptions count segments by dots.
#[tokio::test]
async fn dots_separate_for_the_policy_as_for_the_broker() {
    let topics = Prefix::new("/topic").separator(Separator::Dot);
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/**", permit())
        .on_message("/topic/secret.**", deny())
        .on_message("/topic/price.*", permit())
        .on_message("/topic/*.public", permit())
        .on_subscribe("/topic/greetings", permit())
        .on_subscribe("/topic/secret.**", deny())
        .on_subscribe("/topic/price.*", permit())
        .on_subscribe("/topic/*.public", permit())
        .otherwise(role("operator"));
    let server = Setup::new()
        .broker(EmbeddedBroker::new().topics(topics).queues("/queue"))
        .policy(policy)
        .start()
        .await;
    let denied = |stats: tramline::Stats| stats.denied;
    for (command, destinations) in [
        (
            "SUBSCRIBE",
            &[
                "/topic/price.a.b",
                "/topic/price.**",
                "/topic/price.*.*",
                "/topic/price/a",
                "/topic/price*",
                "/topic/**",
                "/topic/*.b",
                "/topic/secret.public",
                "/topic/*.public",
                "/topic/s*.public",
                "/topic/a.b.public",
            ][..],
        ),
        (
            "SEND",
            &[
                "/topic/price.a.b",
                "/topic/price",
                "/topic/price/a",
                "/topic/secret",
                "/topic/secret.public",
                "/topic/secret.a.b",
                "/topic/a.b.public",
            ][..],
        ),
    ] {
        let to = if command == "SEND" {
            "SEND to"
        } else {
            "SUBSCRIBE to"
        };
        for destination in destinations {
            let mut client = Client::connect(&server).await;
            let frame = format!("{command}\nreceipt:7\nid:s\ndestination:{destination}\n\n\0");
            let body = format!(
                "{to} {destination:?} is denied to an anonymous session by this server's policy"
            );
            let expected = ("access denied", &*body);
            server.refuses(&mut client, &frame, expected, denied).await;
        }
    }
    let mut client = Client::connect(&server).await;
    for (id, pattern) in [
        "/topic/price.*",
        "/topic/price.?",
        "/topic/price.a",
        "/topic/open.public",
    ]
    .into_iter()
    .enumerate()
    {
        client.consume(&id.to_string(), pattern, "").await;
    }
    server.publish("/topic/price.a.b", ["not for a star"]).await;
    assert_eq!(server.receivers("/topic/price.ab").await, 1);
    client.expect_message("/topic/price.ab", "how many?").await;
    for destination in ["/topic/price.x", "/topic/open.public"] {
        let sent = client
            .messages_until_done(&format!("SEND\ndestination:{destination}\n\nm\0"))
            .await;
        assert!(sent.is_empty());
        client.expect_message(destination, "m").await;
        if destination == "/topic/price.x" {
            client.expect_message(destination, "m").await;
        }
    }
}

#[tokio::test]
async fn statistics_are_asked_for_with_the_separators_that_the_broker_has() {
    let topics = Prefix::new("/topic").separator(Separator::Dot);
    let broker = EmbeddedBroker::new().topics(topics).queues("/queue");
    let server = Setup::open_to_all(broker).start().await;
    let all = ["/topic/price.a", "/topic/price.a.b", "/queue/price.a.b"];
    let mut client = Client::connect(&server).await;
    for destination in all {
        client.consume(destination, destination, "").await;
    }
    for (pattern, expected) in [
        ("/topic/price.*", &all[..1]),
        ("/topic/price.**", &all[..2]),
        ("/queue/price.*", &all[2..]),
    ] {
        let statistics = server.messaging().broker_statistics(pattern, 9).unwrap();
        let names: Vec<_> = statistics
            .selected
            .iter()
            .map(|one| &*one.destination)
            .collect();
        assert_eq!(names, expected, "{pattern}");
    }
}
