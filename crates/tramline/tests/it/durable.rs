//! Durable subscriptions, as clients ask for them.

use std::path::PathBuf;

use tramline::broker::{Durability, SubscriptionSettings};
use tramline::store::Store;

use crate::support::{Client, ERRORS, FrameExt, Server, Setup, broker};

/// A directory for one test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("tramline-it-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

async fn server(directory: &Directory, settings: SubscriptionSettings) -> Server {
    let broker = broker()
        .store(Store::open(&directory.0).unwrap())
        .durable("/topic/kept/**", Durability::Synced)
        .durable_subscriptions(settings);
    Setup::open_to_all(broker).start().await
}

/// What clients of RabbitMQ, ActiveMQ and Artemis say.
const HEADERS: [&str; 3] = [
    "durable:true\nauto-delete:false",
    "activemq.subscriptionName:s",
    "durable-subscription-name:s",
];

fn subscribe(headers: &str) -> String {
    format!(
        "SUBSCRIBE\nid:s\nreceipt:r\ndestination:/topic/kept/a\nack:client-individual\n{headers}\n\n\0"
    )
}

#[tokio::test]
async fn a_client_that_was_away_receives_what_came_meanwhile() {
    let directory = Directory::new("durable-away");
    let server = server(&directory, SubscriptionSettings::default()).await;
    let mut publisher = Client::connect_as(&server, "bob").await;
    for headers in HEADERS {
        let mut client = Client::connect_as(&server, "alice").await;
        client.send(&subscribe(headers)).await;
        client.expect("RECEIPT").await;
        // Without the header it goes on while nobody receives it.
        client.done("UNSUBSCRIBE\nid:s\n\n\0").await;
        publisher
            .done("SEND\ndestination:/topic/kept/a\npersistent:true\n\n1\0")
            .await;
        client.send(&subscribe(headers)).await;
        let (message, _) = client.message_and_receipt().await;
        message
            .has("destination", "/topic/kept/a")
            .has("subscription", "s");
        assert_eq!(message.text(), "1");
        client
            .done(&format!("UNSUBSCRIBE\nid:s\n{headers}\n\n\0"))
            .await;
        publisher
            .done("SEND\ndestination:/topic/kept/a\n\n2\0")
            .await;
        client.send(&subscribe(headers)).await;
        client.expect("RECEIPT").await.has("receipt-id", "r");
        publisher
            .done("SEND\ndestination:/topic/kept/a\n\n3\0")
            .await;
        assert_eq!(client.expect("MESSAGE").await.text(), "3", "{headers}");
        client
            .done(&format!("UNSUBSCRIBE\nid:s\n{headers}\n\n\0"))
            .await;
    }
}

#[tokio::test]
async fn a_client_that_was_away_too_long_is_told() {
    let directory = Directory::new("durable-long");
    let server = server(&directory, SubscriptionSettings::default().max_messages(1)).await;
    let mut publisher = Client::connect_as(&server, "bob").await;
    let mut client = Client::connect_as(&server, "alice").await;
    client.subscribe("e", ERRORS).await;
    for with_receipt in [true, false] {
        client.send(&subscribe("durable:true")).await;
        client.expect("RECEIPT").await;
        client.done("UNSUBSCRIBE\nid:s\n\n\0").await;
        publisher.post("/topic/kept/a", "1").await;
        publisher
            .done("SEND\ndestination:/topic/kept/a\n\n2\0")
            .await;
        let frame = subscribe("durable:true");
        if with_receipt {
            client.send(&frame).await;
            let (message, receipt) = client.message_and_receipt().await;
            assert_eq!(message.text(), "2");
            receipt.has("missed", "true");
        } else {
            client.send(&frame.replace("receipt:r\n", "")).await;
            // In either order.
            let both = [
                client.expect("MESSAGE").await,
                client.expect("MESSAGE").await,
            ];
            let notice = both
                .iter()
                .find(|message| message.headers.get("destination") == Some(ERRORS));
            assert!(notice.is_some_and(|notice| notice.text().contains("messages-missed")));
            assert!(both.iter().any(|message| message.text() == "2"));
        }
        client.done("UNSUBSCRIBE\nid:s\ndurable:true\n\n\0").await;
    }
}

#[tokio::test]
async fn one_session_uses_it() {
    let directory = Directory::new("durable-one");
    let server = server(&directory, SubscriptionSettings::default()).await;
    let mut first = Client::connect_as(&server, "alice").await;
    first.send(&subscribe("durable:true")).await;
    first.expect("RECEIPT").await;
    let mut second = Client::connect_as(&server, "alice").await;
    second.send(&subscribe("durable:true")).await;
    let error = second.expect("ERROR").await;
    assert!(
        error
            .text()
            .contains("another session of \"alice\" uses the durable subscription \"s\""),
        "{}",
        error.text()
    );
    let mut anonymous = Client::connect(&server).await;
    anonymous.send(&subscribe("durable:true")).await;
    assert!(
        anonymous
            .expect("ERROR")
            .await
            .text()
            .contains("log in first")
    );
    let mut wrong = Client::connect_as(&server, "bob").await;
    wrong.subscribe("s", "/topic/kept/a").await;
    wrong.send("UNSUBSCRIBE\nid:s\ndurable:yes\n\n\0").await;
    let error = wrong.expect("ERROR").await;
    assert!(
        error
            .text()
            .contains("`durable` is \"yes\"; it must be true or false")
    );
    first.done("DISCONNECT\n\n\0").await;
}
