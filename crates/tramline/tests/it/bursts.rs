//! Bursts: a client that reads receives all of it.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tramline::EmbeddedBroker;
use tramline::broker::{Overflow, TopicSettings};
use tramline::reply::IntoReply;

use crate::support::{Client, FrameExt, Server, Setup};

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::new().topics("/topic").queues("/queue")
}

/// Publishes `count` messages of `size` bytes without a pause, to a topic and to a user.
async fn burst(server: &Server, count: usize, size: usize) {
    let publisher = server.messaging().publisher();
    for number in 0..count {
        let body = format!("{number} {}", "x".repeat(size));
        let sent = publisher.send("/topic/x", body.clone()).await.unwrap();
        assert_eq!(sent.local_receivers, 2);
        let sent = publisher.send_to_user("ada", "/queue/x", body).await;
        assert_eq!(sent.unwrap().local_receivers, 1);
    }
}

async fn numbered(client: &mut Client, count: usize, each: usize) {
    let mut next = vec![0; each];
    for _ in 0..count * each {
        let message = client.expect("MESSAGE").await;
        let (number, _) = message.text().split_once(' ').unwrap();
        let of: usize = message
            .headers
            .get("subscription")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(number, next[of].to_string());
        next[of] += 1;
    }
}

#[tokio::test]
async fn every_reader_receives_a_burst_that_the_application_publishes() {
    for (count, size) in [(500, 1_000), (20, 60_000), (4_000, 10)] {
        let server = Setup::open_to_all(broker()).start().await;
        let mut ada = Client::connect_as(&server, "ada").await;
        let mut ben = Client::connect(&server).await;
        ada.subscribe("0", "/topic/x").await;
        ada.subscribe("1", "/user/queue/x").await;
        ben.subscribe("0", "/topic/x").await;
        burst(&server, count, size).await;
        numbered(&mut ada, count, 2).await;
        numbered(&mut ben, count, 1).await;
        assert_eq!(server.stats().slow_consumers, 0);
    }
}

#[tokio::test]
async fn every_reader_receives_a_transaction_of_the_largest_size() {
    let server = Setup::open_to_all(broker()).start().await;
    let mut reader = Client::connect(&server).await;
    let mut sender = Client::connect(&server).await;
    reader.subscribe("0", "/topic/x").await;
    sender.send("BEGIN\ntransaction:t\n\n\0").await;
    for number in 0..900 {
        let body = format!("{number} {}", "x".repeat(1_000));
        let head = "SEND\ntransaction:t\ndestination:/topic/x";
        sender.send(&format!("{head}\n\n{body}\0")).await;
    }
    sender.done("COMMIT\ntransaction:t\nreceipt:1\n\n\0").await;
    numbered(&mut reader, 900, 1).await;
}

#[tokio::test]
async fn limits_that_contradict_each_other_are_refused() {
    let policy = tramline::policy::Policy::builder().otherwise(tramline::policy::permit());
    let mut limits = tramline::Limits::default();
    limits.outbox = 100_000;
    limits.send_time = std::time::Duration::ZERO;
    let error = tramline::Messaging::builder()
        .broker(broker())
        .policy(policy)
        .limits(limits)
        .build()
        .unwrap_err();
    assert_eq!(
        error.errors().collect::<Vec<_>>(),
        [
            "limit `send_time` is 0: nothing could pass",
            "limit `transaction_bytes` of 1048576 bytes is more than `outbox` of 100000: one COMMIT would overflow the \
             outbox of whoever receives it"
        ]
    );
}

#[tokio::test]
async fn a_publisher_waits_for_readers_before_the_memory_is_used_up() {
    let server = Setup::open_to_all(broker().max_bytes(1 << 20))
        .start()
        .await;
    let mut reader = Client::connect(&server).await;
    reader.subscribe("0", "/topic/x").await;
    let publisher = server.messaging().publisher();
    let publishing = async {
        for number in 0..100 {
            let body = format!("{number} {}", "x".repeat(60_000));
            publisher.send("/topic/x", body).await.unwrap();
        }
    };
    tokio::join!(publishing, numbered(&mut reader, 100, 1));
}

/// Polls a future once.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_publisher_does_not_wait_for_the_consumers_of_queues() {
    let server = Setup::open_to_all(broker().max_bytes(1 << 20))
        .start()
        .await;
    let publisher = server.messaging().publisher();
    for _ in 0..12 {
        let body = "x".repeat(64 * 1024);
        publisher.send("/queue/x", body).await.unwrap();
    }
    let statistics = server.messaging().broker_statistics("/**", 0).unwrap();
    assert!(statistics.bytes > 1 << 19);
    assert_eq!(statistics.unwritten_bytes, 0);
    let sent = poll_once(publisher.send("/topic/x", "news"));
    assert!(matches!(sent, Poll::Ready(Ok(_))), "{sent:?}");
}

/// Publishes the price `number`, which replaces the ones before it.
async fn price(server: &Server, number: usize) {
    let body = format!("{number} {}", "x".repeat(1_000));
    let price = body.with_header("symbol", "a");
    let publisher = server.messaging().publisher();
    let sent = publisher.send("/topic/price", price).await.unwrap();
    assert_eq!(sent.local_receivers, 1);
    // The session's task writes it, if the socket takes it.
    tokio::task::yield_now().await;
}

/// What waits in the system is old when it arrives.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_system_holds_little_of_what_a_later_message_replaces() {
    const PRICES: usize = 6_000;
    let latest = TopicSettings::default().overflow(Overflow::latest("symbol"));
    for own_server in [false, true] {
        let broker = broker().topic_settings("/topic/price", latest.clone());
        let setup = Setup::open_to_all(broker).own_server(own_server);
        let server = setup.start().await;
        let mut reader = Client::connect(&server).await;
        reader.subscribe("0", "/topic/price").await;
        let before = server.stats().messages_sent;
        for number in 0..PRICES {
            price(&server, number).await;
        }
        // What the system took while the reader read nothing, in KB: its receive buffer, and little more.
        let taken = server.stats().messages_sent - before;
        assert!((1..1_000).contains(&taken), "{taken} of {PRICES}");
        loop {
            let message = reader.expect("MESSAGE").await;
            if message.text().starts_with(&format!("{} ", PRICES - 1)) {
                break;
            }
        }
        assert_eq!(server.stats().slow_consumers, 0);
    }
}

/// It takes nothing as soon as its reader's own buffer is full, which is no reason to end it after `send_time`.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_of_conflated_messages_may_pause() {
    let latest = TopicSettings::default().overflow(Overflow::latest("symbol"));
    let broker = broker().topic_settings("/topic/price", latest);
    let setup = Setup::open_to_all(broker);
    let setup = setup.limits(|limits| limits.send_time = Duration::from_millis(300));
    let server = setup.start().await;
    let mut paused = Client::connect(&server).await;
    paused.subscribe("0", "/topic/price").await;
    for number in 0..3_000 {
        price(&server, number).await;
    }
    // Another one pauses as long, and is closed.
    let mut slow = Client::connect(&server).await;
    slow.subscribe("0", "/topic/x").await;
    for _ in 0..200 {
        let body = "x".repeat(64 * 1024);
        let sent = server.messaging().publisher().send("/topic/x", body).await;
        sent.unwrap();
    }
    server
        .counted("the other one is closed", |stats| stats.slow_consumers == 1)
        .await;
    loop {
        let message = paused.expect("MESSAGE").await;
        if message.text().starts_with("2999 ") {
            break;
        }
    }
    assert_eq!(server.stats().slow_consumers, 1);
}
