//! Refused frames that are answered by a notice: the session goes on.

use serde_json::Value;
use tramline::broker::Shares;
use tramline::policy::{Policy, Refusals, deny, permit};
use tramline::reply::RejectedMessage;
use tramline::{MessageRouter, ToUser};

use crate::support::{Client, ERRORS, FrameExt, Server, Setup, broker};

async fn notifying(setup: Setup) -> (Server, Client) {
    let policy = Policy::builder()
        .on_message("/topic/secret", deny())
        .on_message("/app/secret", deny())
        .on_subscribe("/topic/secret", deny())
        .on_subscribe("/app/secret", deny())
        .otherwise(permit());
    let server = setup
        .policy(policy)
        .builder(|builder| builder.refusals(Refusals::Notify))
        .start()
        .await;
    let client = Client::subscribed(&server, [ERRORS]).await;
    (server, client)
}

/// Each frame has its notice, with what tells it apart, and the session goes on.
#[tokio::test]
async fn each_refused_frame_is_told_and_the_session_goes_on() {
    let (server, mut client) = notifying(Setup::new().broker(broker())).await;
    for (frame, destination, kind, text) in [
        ("SEND", "/topic/secret", "denied", "by this server's policy"),
        ("SEND", "/app/secret", "denied", "by this server's policy"),
        ("SEND", "/nowhere", "not-published", "/nowhere"),
        ("SEND", "/topic/*", "not-published", "/topic/*"),
        (
            "SUBSCRIBE",
            "/topic/secret",
            "denied",
            "by this server's policy",
        ),
        (
            "SUBSCRIBE",
            "/app/secret",
            "denied",
            "by this server's policy",
        ),
        (
            "SUBSCRIBE",
            "/app/nothing",
            "not-subscribed",
            "/app/nothing",
        ),
        ("SUBSCRIBE", "/nowhere", "not-subscribed", "/nowhere"),
        ("SUBSCRIBE", "/queue/*", "not-subscribed", "/queue/*"),
    ] {
        let id = if frame == "SUBSCRIBE" { "id:7\n" } else { "" };
        let frame =
            format!("{frame}\ndestination:{destination}\nreceipt:r\ncorrelation-id:c\n{id}\n\0");
        client.send(&frame).await;
        let message = client.expect("MESSAGE").await;
        message
            .has("destination", ERRORS)
            .has("receipt-id", "r")
            .has("correlation-id", "c");
        let notice: Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(notice["kind"], kind, "{frame:?}");
        assert_eq!(notice["destination"], destination, "{frame:?}");
        let error = notice["error"].as_str().unwrap();
        assert!(error.contains(text), "{error}");
    }
    let stats = server.stats();
    assert_eq!((stats.denied, stats.rejected), (4, 5));
    // The ids of subscriptions that were refused are free.
    client.subscribe("7", "/topic/here").await;
    client.post("/topic/here", "still here").await;
    client.expect_message("/topic/here", "still here").await;
}

/// What is no SEND or SUBSCRIBE ends the session.
#[tokio::test]
async fn other_refusals_end_the_session() {
    let (server, mut client) = notifying(Setup::new().broker(broker())).await;
    client.send("ACK\nid:0-1-0\nreceipt:r\n\n\0").await;
    client.expect("ERROR").await;
    server.serves().await;
}

/// What is behind a message that is refused, in the same read, is published.
#[tokio::test]
async fn what_is_behind_a_refused_message_is_published() {
    let (server, mut client) = notifying(Setup::new().broker(broker())).await;
    client.subscribe("1", "/topic/here").await;
    let sends = [
        "SEND\ndestination:/topic/here\n\n1\0",
        "SEND\ndestination:/topic/here\nexpires:soon\nreceipt:2\n\n2\0",
        "SEND\ndestination:/topic/here\n\n3\0",
        "SEND\ndestination:/topic/secret\n\n4\0",
        "SEND\ndestination:/topic/here\nreceipt:5\n\n5\0",
    ];
    client.send(&sends.concat()).await;
    let (mut here, mut told) = (Vec::new(), Vec::new());
    let mut receipts = Vec::new();
    while here.len() + told.len() + receipts.len() < 6 {
        let (frame, _) = client.expect_any().await;
        match frame.headers.get("destination") {
            None => receipts.push(frame.headers.get("receipt-id").unwrap().to_owned()),
            Some(ERRORS) => {
                let notice: Value = serde_json::from_slice(&frame.body).unwrap();
                told.push(notice["kind"].as_str().unwrap().to_owned());
            }
            Some(_) => here.push(frame.text().to_owned()),
        }
    }
    assert_eq!(here, ["1", "3", "5"]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(receipts, ["5"]);
    server.serves().await;
}

#[tokio::test]
async fn the_applications_own_notices_take_their_place() {
    let setup = Setup::new()
        .broker(broker())
        .routes(|routes: MessageRouter| {
            routes.on_rejection(|rejection: RejectedMessage| {
                ToUser::session("/queue/mine", rejection.kind().to_string())
            })
        });
    let (server, mut client) = notifying(setup).await;
    client.subscribe("mine", "/user/queue/mine").await;
    client.post("/topic/secret", "x").await;
    client.expect_message("/user/queue/mine", "denied").await;
    server.serves().await;
}

/// A share that is used up is no reason to lose the session, whatever the setting.
#[tokio::test]
async fn a_share_that_is_used_up_does_not_end_the_session() {
    let broker = broker()
        .max_patterns(Shares::new(1, 100, 100))
        .max_destinations_each(1, 100);
    let server = Setup::open_to_all(broker).start().await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    client.subscribe("1", "/topic/a/*").await;
    client
        .send("SUBSCRIBE\nid:2\ndestination:/topic/b/*\nreceipt:r\n\n\0")
        .await;
    let notice = client.expect("MESSAGE").await;
    notice.has("destination", ERRORS).has("receipt-id", "r");
    client.done("SEND\ndestination:/queue/a\n\nx\0").await;
    client
        .send("SEND\ndestination:/queue/b\nreceipt:s\n\nx\0")
        .await;
    let notice = client.expect("MESSAGE").await;
    notice.has("destination", ERRORS).has("receipt-id", "s");
    let rejection: Value = serde_json::from_slice(&notice.body).unwrap();
    assert_eq!(rejection["destination"], "/queue/b");
    assert_eq!(server.stats().rejected, 2);
    client.done("UNSUBSCRIBE\nid:1\n\n\0").await;
    client.subscribe("2", "/topic/b/*").await;
    server.serves().await;
}

/// What a transaction holds counts against its client's share. Without room for a frame, nothing of it is done, and the
/// session goes on.
#[tokio::test]
async fn a_transaction_beyond_its_clients_share_is_given_up() {
    let broker = broker().max_bytes_each(10_000, 20_000);
    let server = Setup::open_to_all(broker).start().await;
    let mut client = Client::subscribed(&server, [ERRORS, "/topic/a"]).await;
    let body = "x".repeat(4_000);
    let send = |receipt: &str| {
        format!("SEND\ntransaction:t\ndestination:/topic/a\nreceipt:{receipt}\n\n{body}\0")
    };
    client.done("BEGIN\ntransaction:t\n\n\0").await;
    for receipt in ["1", "2"] {
        client.send(&send(receipt)).await;
        client.expect("RECEIPT").await.has("receipt-id", receipt);
    }
    for (frame, receipt, text) in [
        (send("3"), "3", "the transaction cannot be committed: "),
        (send("4"), "4", "the transaction cannot be committed: "),
        (
            "COMMIT\ntransaction:t\nreceipt:5\n\n\0".to_owned(),
            "5",
            "nothing of the transaction was done: ",
        ),
    ] {
        client.send(&frame).await;
        let notice = client.expect("MESSAGE").await;
        notice.has("destination", ERRORS).has("receipt-id", receipt);
        let rejection: Value = serde_json::from_slice(&notice.body).unwrap();
        let error = rejection["error"].as_str().unwrap();
        let expected = format!("{text}the session has 10000 bytes of messages that wait");
        assert!(error.starts_with(&expected), "{error}");
    }
    // All that it held is free again.
    for _ in 0..2 {
        client.done("BEGIN\ntransaction:t\n\n\0").await;
        client.send(&send("6")).await;
        client.expect("RECEIPT").await;
        client.send(&send("7")).await;
        client.expect("RECEIPT").await;
        client.done("ABORT\ntransaction:t\n\n\0").await;
    }
    server.serves().await;
}
