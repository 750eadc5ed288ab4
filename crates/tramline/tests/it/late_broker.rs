//! A broker that confirms late, as engines in other processes do.

use std::sync::Arc;
use std::time::Duration;

use tramline::{Broker, EmbeddedBroker};
use tramline_broker::{
    CommitError, Confirm, OpenError, OpenSession, Publish, Published, Refused, Settle, SettleError,
    SubscribeError, SubscribeRequest, Timestamp, Transaction,
};

use crate::support::{Client, SHORT, Server, Setup};

/// Does everything at once and says so after a while.
#[derive(Debug)]
struct Late(Arc<EmbeddedBroker>);

fn late<T: Send + 'static>(answer: Confirm<T>) -> Confirm<T> {
    Confirm::later(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer.await
    })
}

impl Broker for Late {
    fn serves(&self, destination: &str) -> bool {
        self.0.serves(destination)
    }

    fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>> {
        late(self.0.open(session))
    }

    fn close(&self, session: tramline::SessionId) {
        self.0.close(session);
    }

    fn subscribe(&self, request: SubscribeRequest) -> Confirm<Result<(), SubscribeError>> {
        late(self.0.subscribe(request))
    }

    fn unsubscribe(&self, session: tramline::SessionId, slot: u32) -> Confirm<()> {
        late(self.0.unsubscribe(session, slot))
    }

    fn publish(&self, batch: Vec<Publish>, now: Timestamp) -> Confirm<Result<Published, Refused>> {
        late(self.0.publish(batch, now))
    }

    fn settle(
        &self,
        session: tramline::SessionId,
        settle: Settle,
    ) -> Confirm<Result<(), SettleError>> {
        late(self.0.settle(session, settle))
    }

    fn commit(
        &self,
        session: tramline::SessionId,
        transaction: Transaction,
        now: Timestamp,
    ) -> Confirm<Result<Published, CommitError>> {
        late(self.0.commit(session, transaction, now))
    }

    fn resume(&self, session: tramline::SessionId) {
        self.0.resume(session);
    }
}

async fn server() -> Server {
    Setup::new()
        .broker(Late(Arc::new(EmbeddedBroker::new().topics("/topic"))))
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
