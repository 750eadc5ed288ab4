//! Full queues, slow readers and a full broker: who waits, who is dropped, and who hears of it.

use std::time::Duration;

use serde_json::{Value, json};
use tramline::EmbeddedBroker;
use tramline::broker::{Overflow, PublishError, QueueSettings, TopicSettings, WhenFull};
use tramline::publisher::SendError;
use tramline_stomp::Command;

use crate::support::{
    Client, DEADLINE, ERRORS, FrameExt, Request, Server, Setup, ack, broker, eventually, rejected,
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

/// Over before anybody looks, which happens every second.
const MOMENT: Duration = Duration::from_millis(1);

fn for_two(when_full: WhenFull) -> EmbeddedBroker {
    let settings = QueueSettings::default()
        .max_messages(2)
        .when_full(when_full);
    broker().queue_settings("/queue/x", settings)
}

/// A server whose `/queue/x` has room for two messages, and has two.
async fn full(wait: Duration) -> Server {
    let broker = for_two(WhenFull::Wait(wait));
    let server = Setup::open_to_all(broker).start().await;
    server.publish("/queue/x", ["1", "2"]).await;
    server
}

/// What is said of the queue as it is.
fn is_full(server: &Server) -> String {
    let queue = server.of("/queue/x");
    format!(
        "the queue \"/queue/x\" has no room: it holds {} messages of 2, {} bytes of 67108864; send less, or send it again later",
        queue.depth + queue.unsettled,
        queue.bytes
    )
}

async fn received(server: &Server, messages: u64) {
    let read = |stats: tramline::Stats| stats.messages_received == messages;
    server.counted("the SENDs are read", read).await;
}

/// The next frames, whose order is the network's affair: receipt ids and bodies, sorted.
async fn next_ones<const N: usize>(client: &mut Client) -> [String; N] {
    let mut all = Vec::new();
    for _ in 0..N {
        let (frame, _) = client.expect_any().await;
        all.push(match frame.headers.get("receipt-id") {
            Some(receipt) => format!("receipt {receipt}"),
            None => format!("message {}", frame.text()),
        });
    }
    all.sort();
    all.try_into().unwrap()
}

#[tokio::test]
async fn a_send_to_a_full_queue_waits_and_so_does_what_is_behind_it() {
    let server = full(LONG).await;
    let mut sender = Client::connect(&server).await;
    sender
        .send("SEND\nreceipt:1\ndestination:/queue/x\n\n3\0SUBSCRIBE\nreceipt:2\nid:0\ndestination:/topic/x\n\n\0")
        .await;
    received(&server, 1).await;
    server.serves().await;
    assert_eq!(server.load("/queue/x"), (2, 0));
    let mut consumer = Client::connect(&server).await;
    consumer.consume("s", "/queue/x", "").await;
    consumer.expect_bodies(["1", "2", "3"]).await;
    for receipt in ["1", "2"] {
        sender.expect("RECEIPT").await.has("receipt-id", receipt);
    }
    let counts = server.of("/queue/x").counts;
    assert_eq!((counts.published, counts.refused), (3, 0));
    assert_eq!(server.stats().rejected, 0);
}

/// What it waits for may be just this session's own ACKs, and those may stand behind more SENDs.
#[tokio::test]
async fn a_waiting_senders_own_acks_are_read() {
    let server = full(LONG).await;
    let mut worker = Client::connect(&server).await;
    worker
        .consume("s", "/queue/x", "ack:client-individual\nprefetch-count:1\n")
        .await;
    let first = worker.expect_bodies(["1"]).await;
    for (number, body) in ["3", "4"].iter().enumerate() {
        worker
            .send(&format!(
                "SEND\nreceipt:{body}\ndestination:/queue/x\n\n{body}\0"
            ))
            .await;
        received(&server, number as u64 + 1).await;
    }
    worker
        .send(&ack(&first[0]).replacen("ACK\n", "ACK\nreceipt:a\n", 1))
        .await;
    let expected = ["message 2", "receipt 3", "receipt a"];
    assert_eq!(next_ones(&mut worker).await, expected);
    // It holds 2, and 3 is waiting: for 4 there is no room.
    assert_eq!(server.load("/queue/x"), (1, 1));
    worker
        .send("NACK\nid:0-2-$KEY\nreceipt:b\nrequeue:false\n\n\0")
        .await;
    let expected = ["message 3", "receipt 4", "receipt b"];
    assert_eq!(next_ones(&mut worker).await, expected);
    assert_eq!(server.load("/queue/x"), (1, 1));
}

#[tokio::test]
async fn a_wrong_ack_while_a_send_waits_ends_the_session_and_not_the_message() {
    let server = full(LONG).await;
    let mut client = Client::connect(&server).await;
    client
        .consume("s", "/queue/x", "ack:client\nprefetch-count:1\n")
        .await;
    client.expect_bodies(["1"]).await;
    client.send("SEND\ndestination:/queue/x\n\n3\0").await;
    received(&server, 1).await;
    let body = "no delivery 9 waits to be acknowledged; acknowledge each once, and none after its subscription ended or \
                after a later one in the mode `client`";
    let expected = ("not acknowledged", body);
    server
        .refuses(
            &mut client,
            "ACK\nreceipt:7\nid:0-9-$KEY\n\n\0",
            expected,
            rejected,
        )
        .await;
    let mut heir = Client::connect(&server).await;
    heir.consume("s", "/queue/x", "").await;
    heir.expect_bodies(["1", "2", "3"]).await;
}

#[tokio::test]
async fn heart_beats_and_deliveries_go_on_while_a_send_waits() {
    let broker = for_two(WhenFull::Wait(LONG));
    let server = Setup::open_to_all(broker)
        .limits(|limits| limits.heart_beat.send = 100)
        .start()
        .await;
    server.publish("/queue/x", ["1", "2"]).await;
    let mut sender = Client::open(&server).await;
    sender
        .send("CONNECT\naccept-version:1.2\nheart-beat:0,100\n\n\0")
        .await;
    sender.expect("CONNECTED").await;
    sender.subscribe("0", "/topic/x").await;
    sender
        .send("SEND\nreceipt:1\ndestination:/queue/x\n\n3\0")
        .await;
    received(&server, 1).await;
    for _ in 0..3 {
        sender.expect_heart_beat().await;
    }
    server.publish("/topic/x", ["news"]).await;
    sender.expect("MESSAGE").await;
    let mut consumer = Client::connect(&server).await;
    consumer.consume("s", "/queue/x", "").await;
    sender.expect("RECEIPT").await;
}

/// Each that finds no room is told; those before and behind it have their receipts, and the session goes on.
#[tokio::test]
async fn a_send_that_waited_in_vain_is_refused() {
    for wait in [Duration::ZERO, MOMENT] {
        let broker = for_two(WhenFull::Wait(wait));
        let server = Setup::open_to_all(broker).start().await;
        server.publish("/queue/x", ["1"]).await;
        let mut sender = Client::subscribed(&server, [ERRORS]).await;
        let sends: String = ["x 2", "x 3", "y 4", "x 5", "y 6"]
            .map(|send| {
                let (queue, body) = send.split_once(' ').unwrap();
                format!("SEND\nreceipt:{body}\ndestination:/queue/{queue}\n\n{body}\0")
            })
            .concat();
        sender
            .send(&format!("{sends}SEND\ndestination:/app/log\n\n7\0"))
            .await;
        let (mut receipts, mut refused) = (Vec::new(), Vec::new());
        while receipts.len() + refused.len() < 5 {
            let (frame, _) = sender.expect_any().await;
            let receipt = frame.headers.get("receipt-id").unwrap().to_owned();
            if frame.command == Command::Receipt {
                receipts.push(receipt);
                continue;
            }
            refused.push(receipt);
            let notice: serde_json::Value = serde_json::from_slice(&frame.body).unwrap();
            assert_eq!(notice["kind"], "not-published");
            assert_eq!(notice["destination"], "/queue/x");
            assert_eq!(notice["error"], is_full(&server));
        }
        assert_eq!(receipts, ["2", "4", "6"]);
        assert_eq!(refused, ["3", "5"]);
        assert_eq!(server.stats().rejected, 2);
        assert_eq!(server.of("/queue/x").counts.refused, 2);
        assert_eq!(server.load("/queue/x"), (2, 0));
        assert_eq!(server.load("/queue/y"), (2, 0));
        let gate = server.gate.clone();
        eventually("what is behind them is handled", move || {
            gate.log() == ["7"]
        })
        .await;
        server.serves().await;
    }
}

#[tokio::test]
async fn a_disconnect_waits_for_the_send_in_front_of_it() {
    let server = full(LONG).await;
    let mut sender = Client::connect(&server).await;
    sender
        .send("SEND\nreceipt:1\ndestination:/queue/x\n\n3\0DISCONNECT\nreceipt:2\n\n\0")
        .await;
    received(&server, 1).await;
    let mut consumer = Client::connect(&server).await;
    consumer.consume("s", "/queue/x", "").await;
    for receipt in ["1", "2"] {
        sender.expect("RECEIPT").await.has("receipt-id", receipt);
    }
    sender.expect_close(1000, "").await;
    consumer.expect_bodies(["1", "2", "3"]).await;

    let server = full(MOMENT).await;
    let mut sender = Client::connect(&server).await;
    sender
        .send("SEND\nreceipt:1\ndestination:/queue/x\n\n3\0DISCONNECT\nreceipt:2\n\n\0")
        .await;
    sender.expect("RECEIPT").await.has("receipt-id", "2");
    sender.expect_close(1000, "").await;
    assert_eq!(server.stats().rejected, 1);
}

/// What it sent is sent, whether it hears of it or not.
#[tokio::test]
async fn a_client_may_vanish_while_its_send_waits() {
    let server = full(LONG).await;
    let mut sender = Client::connect(&server).await;
    sender
        .send("SEND\ndestination:/queue/x\n\n3\0SEND\ndestination:/app/log\n\nbehind it\0")
        .await;
    received(&server, 1).await;
    drop(sender);
    server.serves().await;
    let mut consumer = Client::connect(&server).await;
    consumer.consume("s", "/queue/x", "").await;
    consumer.expect_bodies(["1", "2", "3"]).await;
    let gate = server.gate.clone();
    eventually("what stood behind it", move || gate.log() == ["behind it"]).await;
    server
        .counted("it is missed", |stats| {
            (stats.vanished, stats.sessions_open) == (1, 1)
        })
        .await;
}

#[tokio::test]
async fn a_publisher_waits_for_room() {
    let server = full(LONG).await;
    let publisher = server.messaging().publisher();
    let waiting = tokio::spawn(async move { publisher.send("/queue/x", "3").await });
    server.serves().await;
    assert_eq!(server.load("/queue/x"), (2, 0));
    assert!(!waiting.is_finished());
    let mut consumer = Client::connect(&server).await;
    consumer.consume("s", "/queue/x", "").await;
    consumer.expect_bodies(["1", "2", "3"]).await;
    waiting.await.unwrap().unwrap();
}

/// Also where no client was ever there to set the clock going.
#[tokio::test]
async fn a_publisher_that_waited_in_vain_is_told() {
    for wait in [Duration::ZERO, MOMENT] {
        let server = full(wait).await;
        let publisher = server.messaging().publisher();
        let sent = tokio::time::timeout(DEADLINE, publisher.send("/queue/x", "3")).await;
        let error = sent.expect("an answer").unwrap_err();
        let SendError::Publish(PublishError::QueueFull { messages: 2, .. }) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(error.to_string(), is_full(&server));
        assert_eq!(server.of("/queue/x").counts.refused, 1);
        assert_eq!(server.load("/queue/x"), (2, 0));
        server.serves().await;
    }
}

/// A reply that finds no room is a rejection, and takes no other reply with it.
#[tokio::test]
async fn a_handlers_reply_that_finds_no_room() {
    for wait in [Duration::ZERO, MOMENT] {
        let server = full(wait).await;
        let listens = ["/topic/before", "/user/queue/errors", "/topic/after"];
        let mut client = Client::subscribed(&server, listens).await;
        client
            .send("SEND\nreceipt:1\ndestination:/app/three\n\nm\0")
            .await;
        let mut receipts = 0;
        let mut messages = Vec::new();
        for _ in 0..4 {
            let (frame, _) = client.expect_any().await;
            match frame.headers.get("receipt-id") {
                Some(_) => receipts += 1,
                None => messages.push(frame),
            }
        }
        assert_eq!(receipts, 1);
        for (message, destination) in messages.iter().zip(listens) {
            message.has("destination", destination);
        }
        let rejection: Value = serde_json::from_slice(&messages[1].body).unwrap();
        let expected = json!({
            "kind": "not-published",
            "error": is_full(&server),
            "destination": "/app/three",
        });
        assert_eq!(rejection, expected);
        assert_eq!(server.stats().rejected, 1);
        // With room, all three go.
        client.consume("q", "/queue/x", "").await;
        client.expect_bodies(["1", "2"]).await;
        client.send("SEND\ndestination:/app/three\n\nn\0").await;
        client.expect_bodies(["n", "n", "n"]).await;
    }
}

#[tokio::test]
async fn queues_are_bounded_in_bytes_too() {
    let settings = QueueSettings::default()
        .max_bytes(1000)
        .when_full(WhenFull::Wait(Duration::ZERO));
    let server = Setup::open_to_all(broker().queue_settings("/queue/**", settings))
        .start()
        .await;
    let mut sender = Client::subscribed(&server, [ERRORS]).await;
    let send = |bytes: usize| {
        let body = "x".repeat(bytes);
        format!("SEND\nreceipt:7\ndestination:/queue/x\n\n{body}\0")
    };
    sender.send(&send(600)).await;
    sender.expect("RECEIPT").await;
    let bytes = server.of("/queue/x").bytes;
    let body = format!(
        "the queue \"/queue/x\" has no room: it holds 1 messages of 100000, {bytes} bytes of 1000; send less, or send \
         it again later"
    );
    server.has_no_room(&mut sender, &send(600), &body).await;
    // One that is larger than the limit passes where there is nothing else.
    let mut client = Client::connect(&server).await;
    client.consume("s", "/queue/x", "").await;
    client.expect("MESSAGE").await;
    server.loaded("/queue/x", (0, 0)).await;
    client.done("UNSUBSCRIBE\nid:s\n\n\0").await;
    client.send(&send(5000)).await;
    client.expect("RECEIPT").await;
    assert_eq!(server.load("/queue/x"), (1, 0));
}

#[tokio::test]
async fn a_full_queue_may_drop() {
    for (when_full, kept, dropped) in [
        (WhenFull::DropOldest, ["3", "4"], (2, 0)),
        (WhenFull::DropNewest, ["1", "2"], (0, 2)),
    ] {
        let server = Setup::open_to_all(for_two(when_full)).start().await;
        let mut client = Client::connect(&server).await;
        for body in ["1", "2", "3", "4"] {
            client
                .done(format!("SEND\ndestination:/queue/x\n\n{body}\0"))
                .await;
        }
        let counts = server.of("/queue/x").counts;
        assert_eq!((counts.dropped_oldest, counts.dropped_newest), dropped);
        client.consume("s", "/queue/x", "ack:client\n").await;
        let got = client.expect_bodies(kept).await;
        // What consumers have is not dropped.
        client.done("SEND\ndestination:/queue/x\n\n5\0").await;
        client.done(ack(&got[1])).await;
        client.hears_nothing().await;
        let counts = server.of("/queue/x").counts;
        assert_eq!(
            (counts.dropped_oldest, counts.dropped_newest),
            (dropped.0, dropped.1 + 1)
        );
        assert_eq!((counts.acked, counts.refused), (2, 0));
    }
}

const PADDING: usize = 60_000;

/// A text that tells its number and takes its room.
fn numbered(number: usize) -> String {
    format!("{number} {}", "x".repeat(PADDING))
}

fn number(text: &str) -> usize {
    text.split_once(' ').unwrap().0.parse().unwrap()
}

/// A client that reads only what the test has it read, over a socket that takes little before.
async fn slow(server: &Server) -> Client {
    let request = Request::upgrade("/ws").receive_buffer(4096).by_user("anne");
    let mut client = request.open(server).await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    client.expect("CONNECTED").await;
    client
}

async fn with_topics(overflow: Overflow) -> Server {
    let settings = TopicSettings::default().overflow(overflow);
    Setup::open_to_all(broker().topic_settings("/topic/x", settings))
        .limits(|limits| limits.outbox = 256 * 1024)
        .start()
        .await
}

/// Publishes until `lost` tells of so many; gives how many messages that were.
async fn flood(server: &Server, enough: u64, lost: fn(tramline::broker::Counts) -> u64) -> usize {
    let publisher = server.messaging().publisher();
    for number in 0..1000 {
        publisher.send("/topic/x", numbered(number)).await.unwrap();
        tokio::task::yield_now().await;
        if lost(server.of("/topic/x").counts) >= enough {
            return number + 1;
        }
    }
    panic!("the outbox has no end");
}

#[tokio::test]
async fn a_slow_reader_of_a_topic_is_closed() {
    let server = with_topics(Overflow::Close).await;
    let mut slow = slow(&server).await;
    slow.consume("s", "/topic/x", "").await;
    let sent = flood(&server, 1, |counts| counts.closed).await;
    let mut received = 0;
    let (code, reason) = loop {
        match slow.expect_message_or_close().await {
            Ok(message) => assert_eq!(number(message.text()), received),
            Err(close) => break close,
        }
        received += 1;
    };
    assert!(received < sent);
    assert_eq!(code, 4500);
    assert!(
        reason.ends_with("bytes would wait for it, and 262144 may (`Limits::outbox`)"),
        "{reason}"
    );
    server
        .counted("it is gone", |stats| {
            (stats.slow_consumers, stats.sessions_open) == (1, 0)
        })
        .await;
    let counts = server.of("/topic/x").counts;
    assert_eq!(
        (counts.closed, counts.dropped_oldest, counts.dropped_newest),
        (1, 0, 0)
    );
    server.serves().await;
}

#[tokio::test]
async fn a_slow_reader_of_a_topic_that_drops_the_oldest_has_the_newest() {
    let server = with_topics(Overflow::DropOldest).await;
    let mut slow = slow(&server).await;
    slow.consume("s", "/topic/x", "").await;
    let sent = flood(&server, 5, |counts| counts.dropped_oldest).await;
    let counts = server.of("/topic/x").counts;
    let mut seen = Vec::new();
    for _ in 0..sent - counts.dropped_oldest as usize {
        seen.push(number(slow.expect("MESSAGE").await.text()));
    }
    slow.hears_nothing().await;
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&(sent - 1)));
    assert_eq!((counts.dropped_newest, counts.closed), (0, 0));
    assert_eq!(server.stats().slow_consumers, 0);
}

#[tokio::test]
async fn a_slow_reader_of_a_topic_that_drops_the_newest_has_the_oldest() {
    let server = with_topics(Overflow::DropNewest).await;
    let mut slow = slow(&server).await;
    slow.consume("s", "/topic/x", "").await;
    let sent = flood(&server, 5, |counts| counts.dropped_newest).await;
    let counts = server.of("/topic/x").counts;
    let mut seen = Vec::new();
    for _ in 0..sent - counts.dropped_newest as usize {
        seen.push(number(slow.expect("MESSAGE").await.text()));
    }
    slow.hears_nothing().await;
    assert!(seen.is_sorted() && seen[0] == 0, "{seen:?}");
    assert_eq!((counts.dropped_oldest, counts.closed), (0, 0));
}

#[tokio::test]
async fn a_slow_reader_of_a_conflated_topic_has_the_latest_of_each_key() {
    let server = with_topics(Overflow::latest("symbol")).await;
    let mut slow = slow(&server).await;
    slow.consume("s", "/topic/x", "").await;
    let mut sender = Client::connect(&server).await;
    let mut sent = 0;
    while server.of("/topic/x").counts.conflated < 20 {
        let (symbol, body) = (sent % 3, numbered(sent));
        sender
            .done(format!(
                "SEND\ndestination:/topic/x\nsymbol:{symbol}\n\n{body}\0"
            ))
            .await;
        sent += 1;
        assert!(sent < 1000, "nothing is conflated");
    }
    let counts = server.of("/topic/x").counts;
    let mut seen = Vec::new();
    for _ in 0..sent - counts.conflated as usize {
        let message = slow.expect("MESSAGE").await;
        let number = number(message.text());
        message.has("symbol", &*(number % 3).to_string());
        seen.push(number);
    }
    slow.hears_nothing().await;
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen[seen.len() - 3..], [sent - 3, sent - 2, sent - 1]);
    assert_eq!(
        (counts.dropped_oldest, counts.dropped_newest, counts.closed),
        (0, 0, 0)
    );
}

/// Who does not acknowledge is as slow as who does not read.
#[tokio::test]
async fn a_window_that_does_not_move_overflows_as_an_outbox_does() {
    for overflow in [Overflow::Close, Overflow::DropOldest, Overflow::DropNewest] {
        let server = with_topics(overflow.clone()).await;
        let mut client = Client::connect(&server).await;
        client
            .consume("s", "/topic/x", "ack:client\nprefetch-count:1\n")
            .await;
        let publisher = server.messaging().publisher();
        publisher.send("/topic/x", numbered(0)).await.unwrap();
        let first = client.expect("MESSAGE").await;
        assert_eq!(number(first.text()), 0);
        for number in 1..10 {
            publisher.send("/topic/x", numbered(number)).await.unwrap();
        }
        let counts = server.of("/topic/x").counts;
        let lost = (counts.closed, counts.dropped_oldest, counts.dropped_newest);
        if overflow == Overflow::Close {
            assert_eq!(lost, (1, 0, 0));
            let (code, reason) = client.expect_message_or_close().await.unwrap_err();
            assert_eq!(code, 4500);
            assert!(
                reason.starts_with("the client reads too slowly: "),
                "{reason}"
            );
            continue;
        }
        // One with the client, and four of some 60,000 bytes wait.
        let (expected, rest) = match overflow {
            Overflow::DropOldest => ((0, 5, 0), [6, 7, 8, 9]),
            _ => ((0, 0, 5), [1, 2, 3, 4]),
        };
        assert_eq!(lost, expected, "{overflow:?}");
        let mut last = first;
        for expected in rest {
            client.done(ack(&last)).await;
            last = client.expect("MESSAGE").await;
            assert_eq!(number(last.text()), expected, "{overflow:?}");
        }
        client.done(ack(&last)).await;
        client.hears_nothing().await;
    }
}

/// User destinations follow the session's own limit and policy, acknowledged or not.
#[tokio::test]
async fn messages_to_a_user_overflow_as_the_limits_say() {
    for headers in ["", "ack:client\nprefetch-count:1\n"] {
        let server = Setup::open_to_all(broker())
            .limits(|limits| {
                limits.outbox = 256 * 1024;
                limits.overflow = Overflow::DropNewest;
            })
            .start()
            .await;
        let mut slow = slow(&server).await;
        slow.consume("s", "/user/queue/x", headers).await;
        let publisher = server.messaging().publisher();
        let mut sent = 0;
        let totals = || {
            server
                .messaging()
                .broker_statistics("/**", 0)
                .unwrap()
                .totals
        };
        while totals().dropped_newest < 5 {
            let told = publisher.send_to_user("anne", "/queue/x", numbered(sent));
            told.await.unwrap();
            sent += 1;
            assert!(sent < 1000, "the outbox has no end");
        }
        for expected in 0..sent - totals().dropped_newest as usize {
            let message = slow.expect("MESSAGE").await;
            assert_eq!(number(message.text()), expected);
            if !headers.is_empty() {
                slow.send(&ack(&message)).await;
            }
        }
        slow.hears_nothing().await;
        assert_eq!(server.stats().slow_consumers, 0);
    }
}

/// A queue waits for its consumer: nothing is lost, nothing comes twice.
#[tokio::test]
async fn consumers_that_do_not_read_get_everything_later() {
    for headers in [
        "",
        "prefetch-count:1000\n",
        "ack:client\nprefetch-count:1000\n",
    ] {
        let server = Setup::open_to_all(broker())
            .limits(|limits| limits.outbox = 256 * 1024)
            .start()
            .await;
        let mut slow = slow(&server).await;
        let queues = ["/queue/x", "/queue/y"];
        for queue in queues {
            slow.consume(queue, queue, headers).await;
        }
        const EACH: usize = 150;
        let publisher = server.messaging().publisher();
        for number in 0..EACH {
            for queue in queues {
                publisher.send(queue, numbered(number)).await.unwrap();
            }
        }
        server.serves().await;
        for queue in queues {
            assert!(server.load(queue).0 > 0, "the outbox has no end");
        }
        let mut next = [0; 2];
        for _ in 0..2 * EACH {
            let message = slow.expect("MESSAGE").await;
            message.has("redelivered", None);
            let queue = message.headers.get("destination").unwrap();
            let at = queues.iter().position(|known| *known == queue).unwrap();
            assert_eq!(number(message.text()), next[at], "{headers:?}");
            next[at] += 1;
            if message.headers.get("ack").is_some() && next[at] == EACH {
                slow.send(&ack(&message)).await;
            }
        }
        slow.hears_nothing().await;
        for queue in queues {
            server.loaded(queue, (0, 0)).await;
            let counts = server.of(queue).counts;
            assert_eq!((counts.acked, counts.redelivered), (EACH as u64, 0));
        }
        assert_eq!(server.stats().slow_consumers, 0);
    }
}

#[tokio::test]
async fn a_broker_holds_so_many_bytes_and_no_more() {
    let server = Setup::open_to_all(broker().max_bytes(10_000)).start().await;
    let body = "x".repeat(6000);
    server.publish("/queue/x", [&*body]).await;
    let text = |limit: usize| {
        format!(
            "the broker holds as many bytes of messages as it may, {limit}; send it again when some are delivered"
        )
    };
    let refused = || {
        server
            .messaging()
            .broker_statistics("/**", 0)
            .unwrap()
            .totals
            .refused
    };
    // A sixteenth is left to the application, and by messages to queues another one.
    let destinations = [
        ("/queue/x", 8750),
        ("/queue/y", 8750),
        ("/topic/x", 9375),
        ("/user/anne/queue/x", 9375),
    ];
    for (number, (destination, limit)) in destinations.into_iter().enumerate() {
        let mut client = Client::subscribed(&server, [ERRORS]).await;
        let frame = format!("SEND\nreceipt:7\ndestination:{destination}\n\n{body}\0");
        server.has_no_room(&mut client, &frame, &text(limit)).await;
        assert_eq!(refused(), number as u64 + 1, "{destination}");
    }
    let publisher = server.messaging().publisher();
    let error = publisher.send("/topic/x", body.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), text(10_000));
    // As soon as one is done, there is room again.
    let mut client = Client::connect(&server).await;
    client.consume("s", "/queue/x", "ack:client\n").await;
    let message = client.expect("MESSAGE").await;
    client.done(ack(&message)).await;
    client
        .done(format!("SEND\ndestination:/queue/y\n\n{body}\0"))
        .await;
}
