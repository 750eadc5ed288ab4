//! Handlers of one session beside each other, where a route says that they may be; and none where it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tramline::{MessageRouter, Path, Rejection, message, subscribe};

use crate::support::{Client, Door, ERRORS, FrameExt, Log, Request, Server, Setup, eventually};

/// How many run now, and how many did at most.
#[derive(Clone, Default)]
struct Running(Arc<(AtomicUsize, AtomicUsize)>);

struct Run(Running);

impl Running {
    fn begin(&self) -> Run {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Run(self.clone())
    }

    fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Test {
    server: Server,
    door: Door,
    running: Running,
    log: Log,
}

/// `/beside/{number}` waits at the door, up to `limit` at once; `/panic-beside` panics there.
async fn start(limit: usize) -> Test {
    let (door, running, log) = (Door::new(), Running::default(), Log::default());
    let (at_door, counted, noted) = (door.clone(), running.clone(), log.clone());
    let server = Setup::new()
        .routes(move |routes: MessageRouter| {
            let work = move |Path(what): Path<String>| {
                let (door, log, run) = (at_door.clone(), noted.clone(), counted.begin());
                async move {
                    door.pass().await;
                    log.add(&what);
                    drop(run);
                    match &*what {
                        "panic" => panic!("the handler was asked to panic"),
                        "reject" => Err(Rejection::application("rejected")),
                        _ => Ok(what),
                    }
                }
            };
            let other = message(work.clone()).send_to("/topic/x").concurrent(limit);
            routes
                .route(
                    "/beside/{what}",
                    message(work).send_to("/topic/x").concurrent(limit),
                )
                .route("/other/{what}", other)
        })
        .start()
        .await;
    Test {
        server,
        door,
        running,
        log,
    }
}

#[tokio::test]
async fn as_many_run_at_once_as_may_and_no_more() {
    let test = start(3).await;
    let mut client = Client::connect(&test.server).await;
    for number in 0..10 {
        // Counted over all routes that say so.
        let route = if number % 2 == 0 { "beside" } else { "other" };
        let receipt = format!("receipt:{number}\n");
        client
            .post_with(&format!("/app/{route}/{number}"), &receipt, "")
            .await;
    }
    client.post_with("/app/log", "receipt:end\n", "end").await;
    for done in 0..7 {
        test.door.came(done + 3).await;
        // What is read shows that the fourth has been looked at.
        client.ping(b"read that?").await;
        client.expect_pong(b"read that?").await;
        assert_eq!((test.door.count(), test.running.now()), (done + 3, 3));
        assert!(test.server.gate.log().is_empty(), "what comes behind waits");
        test.door.let_in(1);
        client.expect("RECEIPT").await;
    }
    test.door.let_in(3);
    let mut receipts = Vec::new();
    for _ in 0..4 {
        let receipt = client.expect("RECEIPT").await;
        receipts.push(receipt.headers.get("receipt-id").unwrap().to_owned());
    }
    receipts.sort();
    assert_eq!(receipts, ["7", "8", "9", "end"]);
    assert_eq!(test.running.most(), 3);
    assert_eq!(test.server.gate.log(), ["end"]);
}

/// Each session has its own; and 0 counts as 1.
#[tokio::test]
async fn the_limit_is_each_sessions_own() {
    let test = start(0).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(&test.server).await;
        for number in 0..2 {
            client
                .post_with(&format!("/app/beside/{number}"), "receipt:r\n", "")
                .await;
        }
        clients.push(client);
    }
    test.door.came(3).await;
    for client in &mut clients {
        client.ping(b"read that?").await;
        client.expect_pong(b"read that?").await;
    }
    assert_eq!((test.door.count(), test.running.now()), (3, 3));
    test.door.let_in(6);
    for client in &mut clients {
        client.expect("RECEIPT").await;
        client.expect("RECEIPT").await;
    }
    assert_eq!(test.running.most(), 3);
}

/// Effects come in the order in which handlers finish, each receipt with its own message.
#[tokio::test]
async fn who_finishes_first_is_answered_first() {
    let doors: [Door; 3] = [Door::new(), Door::new(), Door::new()];
    let at_doors = doors.clone();
    let server = Setup::new()
        .routes(move |routes| {
            let wait = move |Path(number): Path<usize>| {
                let door = at_doors[number].clone();
                async move {
                    door.pass().await;
                    number.to_string()
                }
            };
            let wait = message(wait).send_to("/topic/x").concurrent(3);
            routes.route("/wait/{number}", wait)
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    for number in 0..3 {
        let receipt = format!("receipt:{number}\n");
        client
            .post_with(&format!("/app/wait/{number}"), &receipt, "")
            .await;
    }
    for number in [1, 2, 0] {
        doors[number].came(1).await;
    }
    for number in [1, 2, 0] {
        doors[number].let_in(1);
        let (message, receipt) = client.message_and_receipt().await;
        assert_eq!(message.text(), number.to_string());
        receipt.has("receipt-id", &*number.to_string());
    }
}

/// Other frames of the session are not kept waiting: sends, subscriptions, handlers in order.
#[tokio::test]
async fn the_session_goes_on_meanwhile() {
    let test = start(2).await;
    let mut client = Client::subscribed(&test.server, ["/topic/greetings"]).await;
    client.post("/app/beside/1", "").await;
    test.door.came(1).await;
    client.subscribe("x", "/topic/open/x").await;
    client.post("/app/hello", "you").await;
    client
        .expect_message("/topic/greetings", "Hello, you!")
        .await;
    client.post_with("/topic/open/x", "", "straight").await;
    client.expect_message("/topic/open/x", "straight").await;
    client.send("UNSUBSCRIBE\nid:x\nreceipt:r\n\n\0").await;
    client.expect("RECEIPT").await;
    assert_eq!(test.running.now(), 1);
    test.door.let_in(1);
    test.log.reads(["1"]).await;
}

/// By default one waits for the other, whatever waits beside.
#[tokio::test]
async fn without_it_messages_wait_for_each_other() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for number in 0..3 {
        let receipt = format!("receipt:{number}\n");
        client
            .post_with("/app/slow", &receipt, &number.to_string())
            .await;
    }
    for number in 0..3_usize {
        server.gate.started(number + 1).await;
        client.ping(b"read that?").await;
        client.expect_pong(b"read that?").await;
        assert_eq!(server.gate.log().len(), number);
        server.gate.release();
        let receipt = client.expect("RECEIPT").await;
        receipt.has("receipt-id", &*number.to_string());
    }
    assert_eq!(server.gate.log(), ["slow 0", "slow 1", "slow 2"]);
}

#[tokio::test]
async fn a_goodbye_waits_for_all_of_them() {
    let test = start(4).await;
    let mut watcher = Client::subscribed(&test.server, ["/topic/x"]).await;
    let mut client = Client::connect(&test.server).await;
    for what in ["a", "b"] {
        client.post(&format!("/app/beside/{what}"), "").await;
    }
    client.send("DISCONNECT\nreceipt:bye\n\n\0").await;
    test.door.came(2).await;
    client.ping(b"read that?").await;
    client.expect_pong(b"read that?").await;
    test.door.let_in(1);
    watcher.expect("MESSAGE").await;
    client.ping(b"still?").await;
    client.expect_pong(b"still?").await;
    test.door.let_in(1);
    watcher.expect("MESSAGE").await;
    client.expect("RECEIPT").await.has("receipt-id", "bye");
    client.expect_close(1000, "").await;
}

/// Who closes without DISCONNECT still has what it sent handled; who breaks the rules has it dropped.
#[tokio::test]
async fn an_end_drops_them_or_waits_for_them() {
    let test = start(4).await;
    let mut closes = Client::connect(&test.server).await;
    closes.post("/app/beside/closes", "").await;
    test.door.came(1).await;
    closes.close(1000, "").await;
    let mut breaks = Client::connect(&test.server).await;
    breaks.post("/app/beside/breaks", "").await;
    test.door.came(2).await;
    breaks.send("NONSENSE\n\n\0").await;
    breaks.expect("ERROR").await;
    eventually("one is dropped", || test.running.now() == 1).await;
    test.door.let_in(1);
    closes.expect_close(1000, "").await;
    test.log.reads(["closes"]).await;
    test.server
        .counted("both are gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(test.running.now(), 0);
}

#[tokio::test]
async fn shutdown_waits_for_all_of_them() {
    let test = start(4).await;
    let mut client = Client::subscribed(&test.server, ["/topic/x"]).await;
    for what in ["a", "b"] {
        client.post(&format!("/app/beside/{what}"), "").await;
    }
    test.door.came(2).await;
    let messaging = test.server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(crate::support::DEADLINE).await });
    while Request::upgrade("/ws").begin(&test.server).await.status == 101 {}
    test.door.let_in(1);
    eventually("one is done", || test.log.lines().len() == 1).await;
    assert!(!shutdown.is_finished());
    test.door.let_in(1);
    client.expect("MESSAGE").await;
    client.expect("MESSAGE").await;
    client.expect_close(1001, "the server is going away").await;
    assert_eq!(shutdown.await.unwrap(), 0);
}

#[tokio::test]
async fn a_panic_beside_others_is_its_own() {
    let test = start(4).await;
    let mut client = Client::subscribed(&test.server, [ERRORS, "/topic/x"]).await;
    for what in ["panic", "reject", "fine"] {
        let receipt = format!("receipt:{what}\n");
        client
            .post_with(&format!("/app/beside/{what}"), &receipt, "")
            .await;
    }
    test.door.came(3).await;
    test.door.let_in(3);
    let (mut receipts, mut told) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let (frame, _) = client.expect_any().await;
        match frame.headers.get("receipt-id") {
            Some(receipt) => receipts.push(receipt.to_owned()),
            None => {
                let body = frame.text();
                let kinds = ["handler-panicked", "application", "fine"];
                told.push(*kinds.iter().find(|kind| body.contains(**kind)).unwrap());
            }
        }
    }
    receipts.sort();
    told.sort_unstable();
    assert_eq!(receipts, ["fine", "panic", "reject"]);
    assert_eq!(told, ["application", "fine", "handler-panicked"]);
    assert_eq!(test.server.stats().handler_panics, 1);
    assert_eq!(test.running.now(), 0);
    test.server.serves().await;
}

/// A transaction is a sequence, also of such handlers.
#[tokio::test]
async fn in_a_transaction_they_come_one_after_the_other() {
    let test = start(4).await;
    let mut client = Client::connect(&test.server).await;
    client.send("BEGIN\ntransaction:t\n\n\0").await;
    for number in 0..5 {
        client
            .post_with(&format!("/app/beside/{number}"), "transaction:t\n", "")
            .await;
    }
    client
        .send("COMMIT\ntransaction:t\nreceipt:done\n\n\0")
        .await;
    test.door.let_in(5);
    client.expect("RECEIPT").await.has("receipt-id", "done");
    test.log.reads(["0", "1", "2", "3", "4"]).await;
    assert_eq!(test.running.most(), 1);
}

/// A slow handler keeps its own session waiting, and no other; that of a subscription too.
#[tokio::test]
async fn subscribe_handlers_beside_each_other() {
    let door = Door::new();
    let at_door = door.clone();
    let server = Setup::new()
        .routes(move |routes| {
            let slow = move |Path(what): Path<String>| {
                let door = at_door.clone();
                async move {
                    door.pass().await;
                    what
                }
            };
            routes.route("/ask/{what}", subscribe(slow).concurrent(2))
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    for what in ["a", "b", "c"] {
        client
            .send(&format!(
                "SUBSCRIBE\nid:{what}\ndestination:/app/ask/{what}\n\n\0"
            ))
            .await;
    }
    door.came(2).await;
    client.ping(b"read that?").await;
    client.expect_pong(b"read that?").await;
    assert_eq!(door.count(), 2);
    server.serves().await;
    door.let_in(3);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let answer = client.expect("MESSAGE").await;
        answer.has("subscription", answer.text());
        answers.push(answer.text().to_owned());
    }
    answers.sort();
    assert_eq!(answers, ["a", "b", "c"]);
}
