//! Queues, acknowledgements and transactions over SockJS, where all is as over WebSocket but for bodies that are no text.

use tramline::broker::{History, QueueSettings};

use crate::support::{Client, FrameExt, Request, Server, Setup, broker};

async fn server() -> Server {
    Setup::open_to_all(broker()).start().await
}

/// What a SockJS client says and hears, in one WebSocket of frames.
struct SockJs(Client);

impl SockJs {
    async fn connect(server: &Server, session: &str) -> Self {
        let path = format!("/sockjs/000/{session}/websocket");
        let mut client = Request::upgrade(&path).open(server).await.without_stomp();
        assert_eq!(client.expect_text().await, "o");
        let mut client = Self(client);
        client.say("CONNECT\naccept-version:1.2\n\n\0").await;
        let connected = client.hear().await;
        assert!(
            connected.starts_with("CONNECTED\nversion:1.2\n"),
            "{connected}"
        );
        client
    }

    async fn say(&mut self, frame: &str) {
        let frames = serde_json::to_string(&[frame]).unwrap();
        self.0.send(&frames).await;
    }

    async fn hear(&mut self) -> String {
        let text = self.0.expect_text().await;
        let frames: Vec<String> = serde_json::from_str(text.strip_prefix('a').unwrap()).unwrap();
        let [frame] = frames.try_into().unwrap();
        frame
    }

    async fn done(&mut self, frame: &str) {
        let (command, rest) = frame.split_once('\n').unwrap();
        self.say(&format!("{command}\nreceipt:r\n{rest}")).await;
        assert_eq!(self.hear().await, "RECEIPT\nreceipt-id:r\n\n\0");
    }

    /// The value of a header of the next MESSAGE, which has this body.
    async fn message(&mut self, body: &str, header: &str) -> Option<String> {
        let message = self.hear().await;
        let (head, got) = message.split_once("\n\n").unwrap();
        assert_eq!(got, format!("{body}\0"), "{message}");
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(name, _)| *name == header)
            .map(|(_, value)| value.to_owned())
            .next()
    }
}

#[tokio::test]
async fn over_sockjs_it_is_the_same() {
    let server = server().await;
    let subscribe =
        "SUBSCRIBE\nid:s\ndestination:/queue/x\nack:client-individual\nprefetch-count:2\n\n\0";
    let mut one = SockJs::connect(&server, "one").await;
    one.done("SEND\ndestination:/queue/x\n\n1\0").await;
    one.done("BEGIN\ntransaction:t\n\n\0").await;
    one.done("SEND\ndestination:/queue/x\ntransaction:t\n\n2\0")
        .await;
    one.done(subscribe).await;
    let token = one.message("1", "ack").await.unwrap();
    let key = token.strip_prefix("0-1").unwrap();
    one.done(&format!("NACK\nid:{token}\n\n\0")).await;
    assert_eq!(
        one.message("1", "redelivered").await.as_deref(),
        Some("true")
    );
    one.done(&format!("ACK\nid:0-2{key}\ntransaction:t\n\n\0"))
        .await;
    assert_eq!(server.load("/queue/x"), (0, 1));
    one.done("COMMIT\ntransaction:t\n\n\0").await;
    assert_eq!(one.message("2", "ack").await, Some(format!("0-3{key}")));
    drop(one);
    let mut other = SockJs::connect(&server, "other").await;
    other.done(subscribe).await;
    let token = other.message("2", "ack").await.unwrap();
    let key = token.strip_prefix("0-1").unwrap();
    other
        .say(&format!("ACK\nid:0-7{key}\nreceipt:7\n\n\0"))
        .await;
    let error = other.hear().await;
    assert!(
        error.starts_with("ERROR\nmessage:not acknowledged\n"),
        "{error}"
    );
    assert!(error.contains("receipt-id:7\n"), "{error}");
    assert!(
        error.ends_with(
            "\n\nno delivery 7 waits to be acknowledged; acknowledge each once, and none after its subscription ended or \
             after a later one in the mode `client`\0"
        ),
        "{error}"
    );
    let close = other.0.expect_text().await;
    assert!(close.starts_with("c[1002,\"no delivery 7 waits"), "{close}");
    server.loaded("/queue/x", (1, 0)).await;
}

/// The one message becomes a dead letter; its consumers go on, and its neighbours are delivered once.
#[tokio::test]
async fn a_message_that_sockjs_cannot_carry_is_a_dead_letter() {
    for mode in ["auto", "client", "client-individual"] {
        let kept = QueueSettings::default().dead_letters("/queue/dead");
        let broker = broker().queue_settings("/queue/x", kept);
        let server = Setup::open_to_all(broker).start().await;
        let subscribe = format!("SUBSCRIBE\nid:s\ndestination:/queue/x\nack:{mode}\n\n\0");
        let mut one = SockJs::connect(&server, "one").await;
        one.done(&subscribe).await;
        let mut grave = Client::connect(&server).await;
        grave.consume("d", "/queue/dead", "").await;
        let mut sender = Client::connect(&server).await;
        let frames = [
            &b"SEND\ndestination:/queue/x\n\n1\0"[..],
            b"SEND\ndestination:/queue/x\n\n\xff\xfe\0",
            b"SEND\ndestination:/queue/x\n\n2\0",
        ];
        sender.send_binary(&frames.concat()).await;
        let first = one.message("1", "ack").await;
        let second = one.message("2", "ack").await;
        assert_eq!(first.is_some(), mode != "auto");
        let (dead, _) = grave.expect_any().await;
        assert_eq!(&dead.body[..], b"\xff\xfe");
        dead.has("dead-letter-reason", "rejected")
            .has("original-destination", "/queue/x");
        // What was written before it is the client's to acknowledge still.
        let unsettled = if mode == "auto" { 0 } else { 2 };
        server.loaded("/queue/x", (0, unsettled)).await;
        for token in [first, second].into_iter().flatten() {
            one.done(&format!("ACK\nid:{token}\n\n\0")).await;
            if mode == "client-individual" {
                continue;
            }
            assert_eq!(
                server.load("/queue/x").1,
                if token.starts_with("0-1") { 1 } else { 0 }
            );
        }
        server.loaded("/queue/x", (0, 0)).await;
        let counts = server.of("/queue/x").counts;
        assert_eq!(
            (counts.acked, counts.dead_lettered, counts.redelivered),
            (2, 1, 0)
        );
        let stats = server.stats();
        assert_eq!((stats.messages_not_carried, stats.rejected), (1, 0));
    }
}

#[tokio::test]
async fn who_comes_back_misses_nothing() {
    let history = History::messages(10);
    let server = Setup::open_to_all(broker().history("/topic/kept", history))
        .start()
        .await;
    server.publish("/topic/kept", ["1", "2", "3"]).await;
    let publisher = server.messaging().publisher();
    let past = publisher.history("/topic/kept", None, 10).await.unwrap();
    let epoch = past.position.epoch;
    let mut client = SockJs::connect(&server, "back").await;
    let subscribe =
        format!("SUBSCRIBE\nid:s\nreceipt:r\ndestination:/topic/kept\nresume-from:{epoch}-1\n\n\0");
    client.say(&subscribe).await;
    let receipt = client.hear().await;
    assert!(receipt.contains("\nrecovered:2\n"), "{receipt}");
    for (sequence, body) in [(2, "2"), (3, "3")] {
        let message = client.hear().await;
        assert!(
            message.contains(&format!("\nposition:{epoch}-{sequence}\n")),
            "{message}"
        );
        assert!(message.ends_with(&format!("{body}\0")), "{message}");
    }
}
