//! A broker that confirms late, as engines in other processes do.

use std::sync::Arc;
use std::time::Duration;

use tramline::broker::Broker;
use tramline::interceptor::{ClientFrame, Interceptor, Refusal};
use tramline::policy::{Policy, check, permit};
use tramline::{EmbeddedBroker, Path, Rejection};
use tramline_broker::{
    Activation, Capabilities, Commit, CommitError, Confirm, Consumer, Feed, HubSettings, LocalHub,
    Outcome, Publish, Published, Refused, SessionId, SettleError, StartError, SubscribeError,
    Subscribed, Token, UnsubscribeError,
};

use crate::support::{Client, ERRORS, FrameExt, SHORT, Server, Setup, ack, broker, rejected};

/// Does everything at once and says so after a while.
#[derive(Debug)]
struct Late(Arc<EmbeddedBroker>, Settles);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settles {
    Late,
    /// Settlements are refused at once.
    Never,
}

impl Late {
    fn new(broker: EmbeddedBroker) -> Self {
        Self(Arc::new(broker), Settles::Late)
    }
}

const DELAY: Duration = Duration::from_millis(20);

fn late<T: Send + 'static>(answer: Confirm<T>) -> Confirm<T> {
    Confirm::later(async {
        tokio::time::sleep(DELAY).await;
        answer.await
    })
}

impl Broker for Late {
    fn settings(&self) -> HubSettings {
        self.0.settings()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().interest(true)
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        self.0.start(hub)
    }

    fn activate(&self, activation: Activation) {
        tokio::spawn(async move {
            tokio::time::sleep(DELAY).await;
            activation.confirm(Feed::NODE);
        });
    }

    fn publish(
        &self,
        session: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        late(self.0.publish(session, batch))
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        late(self.0.consume(consumer))
    }

    fn cancel(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        late(self.0.cancel(consumer))
    }

    fn settle(
        &self,
        consumer: &Arc<Consumer>,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        match self.1 {
            Settles::Late => late(self.0.settle(consumer, tokens, outcome)),
            Settles::Never => Confirm::ready(Err(SettleError::BrokerUnavailable)),
        }
    }

    fn commit(&self, commit: Commit) -> Confirm<Result<Published, CommitError>> {
        late(self.0.commit(commit))
    }

    fn room_again(&self, consumer: &Arc<Consumer>) {
        self.0.room_again(consumer);
    }
}

async fn server() -> Server {
    Setup::new()
        .broker(Late::new(EmbeddedBroker::new().topics("/topic")))
        .limits(|limits| limits.connect_time = SHORT)
        .start()
        .await
}

/// Sends are held back by what they confirm, and what follows them by that.
#[tokio::test]
async fn frames_keep_their_order_and_receipts_wait_for_the_broker() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    let frames = [
        "SUBSCRIBE\nid:0\ndestination:/topic/open/x\nreceipt:1\n\n\0",
        "SEND\ndestination:/topic/open/x\nreceipt:2\n\none\0",
        "SEND\ndestination:/topic/open/x\nreceipt:3\n\ntwo\0",
        "UNSUBSCRIBE\nid:0\nreceipt:4\n\n\0",
        "SEND\ndestination:/topic/open/x\nreceipt:5\n\nnot for us\0",
        "DISCONNECT\nreceipt:6\n\n\0",
    ];
    client.send(&frames.concat()).await;
    let mut receipts = Vec::new();
    while receipts.len() < 6 {
        let (frame, _) = client.expect_any().await;
        if let Some(receipt) = frame.headers.get("receipt-id") {
            receipts.push(receipt.to_owned());
        }
    }
    assert_eq!(receipts, ["1", "2", "3", "4", "5", "6"]);
    client.expect_close(1000, "").await;
}

/// A frame that a check decides about keeps its place behind what the broker has not confirmed, in a transaction too.
#[tokio::test]
async fn a_checked_frame_keeps_its_place() {
    async fn is_known(Path(name): Path<String>) -> bool {
        tokio::time::sleep(DELAY).await;
        name == "x"
    }
    let policy = Policy::builder()
        .on_message("/topic/checked/{name}", check(is_known))
        .on_message("/app/tags/{name}", check(is_known))
        .otherwise(permit());
    let server = Setup::new()
        .broker(Late::new(EmbeddedBroker::new().topics("/topic")))
        .policy(policy)
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/**"]).await;
    let frames = [
        "SEND\ndestination:/topic/open\nreceipt:1\n\none\0",
        "SEND\ndestination:/topic/checked/x\nreceipt:2\n\ntwo\0",
        "SEND\ndestination:/topic/open\nreceipt:3\n\nthree\0",
        "BEGIN\ntransaction:t\n\n\0",
        "SEND\ndestination:/topic/checked/x\ntransaction:t\nreceipt:4\n\nfour\0",
        "SEND\ndestination:/app/tags/x\ntransaction:t\nreceipt:5\n\n\0",
        "COMMIT\ntransaction:t\nreceipt:6\n\n\0",
        "SEND\ndestination:/topic/checked/x\nreceipt:7\n\nlast\0",
    ];
    client.send(&frames.concat()).await;
    let (mut receipts, mut messages) = (Vec::new(), Vec::new());
    while receipts.len() + messages.len() < 13 {
        let (frame, _) = client.expect_any().await;
        match frame.headers.get("receipt-id") {
            Some(receipt) => receipts.push(receipt.to_owned()),
            None => messages.push(frame.text().to_owned()),
        }
    }
    assert_eq!(receipts, ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(messages, ["one", "two", "three", "four", "x", "last"]);
    let frames = [
        "SEND\ndestination:/topic/checked/x\nreceipt:8\n\n\0",
        "DISCONNECT\nreceipt:9\n\n\0",
    ];
    client.send(&frames.concat()).await;
    for receipt in ["8", "9"] {
        client.expect("RECEIPT").await.has("receipt-id", receipt);
    }
    client.expect_close(1000, "").await;
    assert_eq!(server.stats().denied, 0);
}

/// What an interceptor rejects is told in its place, behind what still has to be confirmed.
#[tokio::test]
async fn a_rejected_send_keeps_its_place() {
    struct NoSpam;
    impl Interceptor for NoSpam {
        fn inbound(&self, frame: &mut ClientFrame<'_>) -> Result<(), Refusal> {
            match frame.body().is_some_and(|body| body == "spam") {
                true => Err(Refusal::reject(Rejection::application("no spam"))),
                false => Ok(()),
            }
        }
    }
    let server = Setup::new()
        .broker(Late::new(EmbeddedBroker::new().topics("/topic")))
        .builder(|builder| builder.interceptor(NoSpam))
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/open/x", ERRORS]).await;
    let frames: String = ["ham", "spam", "ham", "spam", "spam", "ham"]
        .iter()
        .enumerate()
        .map(|(at, body)| format!("SEND\ndestination:/topic/open/x\nreceipt:{at}\n\n{body}\0"))
        .collect();
    client.send(&frames).await;
    let (mut receipts, mut told) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let (frame, _) = client.expect_any().await;
        match frame.headers.get("receipt-id") {
            Some(receipt) => receipts.push(receipt.to_owned()),
            None => told.push(frame.headers.get("destination") == Some(ERRORS)),
        }
    }
    assert_eq!(receipts, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(told, [false, true, false, true, true, false]);
    let stats = server.stats();
    assert_eq!((stats.refused, stats.rejected), (3, 3));
}

/// The time to CONNECT is over with CONNECT: it does not come back when the session ends.
#[tokio::test]
async fn a_goodbye_behind_a_late_confirmation_is_orderly() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    tokio::time::sleep(2 * SHORT).await;
    client
        .send("SEND\ndestination:/topic/open/x\nreceipt:1\n\nx\0DISCONNECT\nreceipt:2\n\n\0")
        .await;
    client.expect("RECEIPT").await;
    client.expect("RECEIPT").await;
    client.expect_close(1000, "").await;
    assert_eq!(server.stats().timeouts, 0);
}

/// A server with topics and queues, where everybody may do everything.
async fn with_queues() -> Server {
    Setup::open_to_all(broker())
        .broker(Late::new(broker()))
        .start()
        .await
}

/// Deliveries come when the broker makes them, which may be before it confirms the subscription.
const SUBSCRIBE: &str = "SUBSCRIBE\nid:s\ndestination:/queue/x\nack:client-individual\n\n\0";

#[tokio::test]
async fn acknowledgements_and_transactions_wait_for_the_broker_and_keep_their_order() {
    let server = with_queues().await;
    server.publish("/queue/x", ["1", "2", "3", "4"]).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.messages_until_done(SUBSCRIBE).await.len(), 4);
    let frames = [
        "ACK\nid:0-1-$KEY\nreceipt:1\n\n\0",
        "NACK\nid:0-2-$KEY\nrequeue:false\nreceipt:2\n\n\0",
        "BEGIN\ntransaction:t\nreceipt:3\n\n\0",
        "SEND\ntransaction:t\ndestination:/app/log\nreceipt:4\n\na\0",
        "SEND\ntransaction:t\ndestination:/queue/y\nreceipt:5\n\nb\0",
        "ACK\ntransaction:t\nid:0-3-$KEY\nreceipt:6\n\n\0",
        "COMMIT\ntransaction:t\nreceipt:7\n\n\0",
        "SEND\ndestination:/queue/y\nreceipt:8\n\nc\0",
        "ACK\nid:0-4-$KEY\nreceipt:9\n\n\0",
        "SEND\ndestination:/app/log\nreceipt:10\n\nd\0",
        "DISCONNECT\nreceipt:11\n\n\0",
    ];
    client.send(&frames.concat()).await;
    for receipt in 1..=11 {
        let got = client.expect("RECEIPT").await;
        got.has("receipt-id", &*receipt.to_string());
    }
    client.expect_close(1000, "").await;
    assert_eq!(server.gate.log(), ["a", "d"]);
    let mut other = Client::connect(&server).await;
    let empty = other.messages_until_done(SUBSCRIBE).await;
    assert!(empty.is_empty(), "{empty:?}");
    other
        .send("SUBSCRIBE\nid:y\ndestination:/queue/y\n\n\0")
        .await;
    other.expect_bodies(["b", "c"]).await;
}

#[tokio::test]
async fn a_wrong_ack_is_told_late_and_after_what_stood_before_it() {
    let server = with_queues().await;
    let mut client = Client::connect(&server).await;
    client.done(SUBSCRIBE).await;
    client
        .send("SEND\nreceipt:1\ndestination:/topic/x\n\nx\0ACK\nreceipt:7\nid:0-1-$KEY\n\n\0")
        .await;
    client.expect("RECEIPT").await.has("receipt-id", "1");
    let text = "no delivery 1 waits to be acknowledged; acknowledge each once, and none after its subscription ended or \
                after a later one in the mode `client`";
    let error = client.expect_error("not acknowledged", text).await;
    error.has("receipt-id", "7");

    let mut client = Client::connect(&server).await;
    client.done(SUBSCRIBE).await;
    client.done("BEGIN\ntransaction:t\n\n\0").await;
    client.done("ACK\ntransaction:t\nid:0-1-$KEY\n\n\0").await;
    client
        .done("SEND\ntransaction:t\ndestination:/app/log\n\nx\0")
        .await;
    let commit = "COMMIT\nreceipt:7\ntransaction:t\n\n\0";
    let expected = ("transaction not committed", text);
    server
        .refuses(&mut client, commit, expected, rejected)
        .await;
    assert!(server.gate.log().is_empty());
}

/// A server whose broker refuses settlements.
async fn that_settles_nothing() -> Server {
    Setup::open_to_all(broker())
        .broker(Late(Arc::new(broker()), Settles::Never))
        .start()
        .await
}

/// It is asked once: asked again, the hub would know of no such delivery.
#[tokio::test]
async fn a_refused_ack_behind_sends_is_told_with_its_own_reason() {
    let server = that_settles_nothing().await;
    server.publish("/queue/x", ["1"]).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.messages_until_done(SUBSCRIBE).await.len(), 1);
    let frames = [
        "SEND\nreceipt:1\ndestination:/topic/x\n\nx\0",
        "SEND\nreceipt:2\ndestination:/topic/x\n\ny\0",
        "ACK\nreceipt:7\nid:0-1-$KEY\n\n\0",
        "SEND\nreceipt:8\ndestination:/topic/x\n\nz\0",
    ];
    client.send(&frames.concat()).await;
    for receipt in ["1", "2"] {
        client.expect("RECEIPT").await.has("receipt-id", receipt);
    }
    let text = "the broker is not available";
    let error = client.expect_error("not acknowledged", text).await;
    error.has("receipt-id", "7");
}

#[tokio::test]
async fn a_settlement_for_a_client_that_sends_no_ack_is_counted_when_it_fails() {
    let server = that_settles_nothing().await;
    let mut client = Client::connect(&server).await;
    client
        .done("SUBSCRIBE\nid:s\ndestination:/queue/x\n\n\0")
        .await;
    server.publish("/queue/x", ["1", "2"]).await;
    client.expect_bodies(["1", "2"]).await;
    client.done("SEND\ndestination:/topic/x\n\nx\0").await;
    let statistics = server.messaging().broker_statistics("/**", 0).unwrap();
    assert_eq!(statistics.totals.settlements_failed, 2);
}

/// Many at once, each with its own confirmation.
#[tokio::test]
async fn acks_need_not_wait_for_each_other() {
    let server = with_queues().await;
    let publisher = server.messaging().publisher();
    let sends = (0..50).map(|_| publisher.send("/queue/x", "m"));
    for sent in sends {
        sent.await.unwrap();
    }
    let mut client = Client::connect(&server).await;
    let messages = client.messages_until_done(SUBSCRIBE).await;
    assert_eq!(messages.len(), 50);
    client.send("SEND\ndestination:/topic/x\n\nx\0").await;
    let acks: String = messages.iter().map(ack).collect();
    client.send(&acks).await;
    client.done("DISCONNECT\n\n\0").await;
    client.expect_close(1000, "").await;
    let mut other = Client::connect(&server).await;
    let empty = other.messages_until_done(SUBSCRIBE).await;
    assert!(empty.is_empty(), "{} of 50 came again", empty.len());
}
