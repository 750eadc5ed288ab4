//! Bursts: a client that reads receives all of it.

use tramline::EmbeddedBroker;

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
