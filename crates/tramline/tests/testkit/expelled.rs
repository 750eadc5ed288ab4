//! Who has to go goes, and what a client writes stays within what the application meant.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tramline::broker::{Prefix, Separator};
use tramline::events::DisconnectCause;
use tramline::policy::{Policy, permit, role};
use tramline::presence::Presences;
use tramline::reply::IntoReply;
use tramline::test::TestMessaging;
use tramline::{
    Connect, EmbeddedBroker, MessageRouter, Messaging, MessagingBuilder, Registry, SessionId,
    State, User, message,
};

/// A stack in which everybody may do everything.
fn open(routes: MessageRouter) -> MessagingBuilder {
    Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(permit()))
}

type Log = Arc<Mutex<Vec<String>>>;

async fn slow(State(log): State<Log>, line: String) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    log.lock().push(line);
}

/// One whose handler takes a second for each line, and notes it then.
fn slow_app() -> (TestMessaging, Log) {
    let log = Log::default();
    let routes = MessageRouter::new()
        .route("/slow", message(slow))
        .with_state(Arc::clone(&log));
    let messaging = open(routes);
    let app = TestMessaging::new(messaging.build().unwrap());
    (app, log)
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_sets_nothing_more_going_and_is_nowhere() {
    let (app, log) = slow_app();
    let alice = app.connect_as("alice").await;
    let _heard = ManuallyDrop::new(alice.subscribe("/topic/secret").await);
    for line in 0..100 {
        alice.send_without_receipt("/app/slow", line.to_string());
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(*log.lock(), ["0", "1"]);

    assert_eq!(app.registry().close_user("alice", "banned"), 1);
    assert!(app.registry().user("alice").is_none() && app.registry().sessions().is_empty());
    let sent = app.publisher().send("/topic/secret", "after the ban").await;
    assert_eq!(sent.unwrap().local_receivers, 0);

    let end = alice.closed().await;
    assert_eq!((end.code(), end.reason()), (Some(1008), "banned"));
    assert_eq!(*log.lock(), ["0", "1", "2"], "only what ran already");
}

#[tokio::test(start_paused = true)]
async fn shutdown_starts_nothing_of_what_waits() {
    let (app, log) = slow_app();
    let alice = app.connect_as("alice").await;
    for line in 0..20 {
        alice.send_without_receipt("/app/slow", line.to_string());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(app.shutdown(Duration::from_secs(8)).await, 0);
    assert_eq!(*log.lock(), ["0"]);
    assert_eq!(alice.closed().await.code(), Some(1001));
}

async fn echo(line: String) -> String {
    line
}

#[tokio::test(start_paused = true)]
async fn a_capture_is_one_segment_where_its_reply_goes() {
    let routes = MessageRouter::new().route(
        "/rooms/{room}/say",
        message(echo).send_to("/topic/rooms.{room}"),
    );
    let messaging = Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics(Prefix::new("/topic").separator(Separator::Dot)))
        .policy(Policy::builder().otherwise(permit()));
    let app = TestMessaging::new(messaging.build().unwrap());
    let alice = app.connect_as("alice").await;
    let mut all = alice.subscribe("/topic/rooms.**").await;
    alice.send("/app/rooms/x.admin/say", "injected").await;
    let rejection = alice.expect_rejection().await;
    assert!(
        rejection.error.contains("must not have a `.`"),
        "{rejection:?}"
    );
    all.expect_nothing().await;
    alice.send("/app/rooms/x/say", "fine").await;
    assert_eq!(all.next_text().await, "fine");
}

#[tokio::test(start_paused = true)]
async fn dotted_destinations_do_not_get_around_the_policy() {
    let messaging = Messaging::builder()
        .routes(MessageRouter::new().route("/admin/reset", message(echo).send_to("/topic/done")))
        .application_separator(Separator::Dot)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(
            Policy::builder()
                .on_message("/app/admin/reset", role("operator"))
                .otherwise(permit()),
        );
    let app = TestMessaging::new(messaging.build().unwrap());
    for destination in ["/app/admin.reset", "/app/admin/reset"] {
        let alice = app.connect_as("alice").await;
        alice.send(destination, "now").await;
        alice.expect_denied(destination).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_correlation_id_that_is_long_is_not_told_to_others() {
    let messaging = open(MessageRouter::new().route("/say", message(echo).send_to("/topic/chat")));
    let app = TestMessaging::new(messaging.build().unwrap());
    let alice = app.connect_as("alice").await;
    let mut chat = alice.subscribe("/topic/chat").await;
    for (length, told) in [(256, true), (257, false)] {
        let id = "x".repeat(length);
        alice
            .send("/app/say", "hi".with_header("correlation-id", id.clone()))
            .await;
        let message = chat.next().await;
        assert_eq!(message.header("correlation-id"), told.then_some(&*id));
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_closed_hears_it_as_the_servers_doing() {
    let ended: Arc<Mutex<Vec<DisconnectCause>>> = Arc::default();
    let told = Arc::clone(&ended);
    let messaging = open(MessageRouter::new()).on_event(move |event| {
        if let tramline::events::Event::Disconnected { reason, .. } = event {
            told.lock().push(reason.cause);
        }
    });
    let app = TestMessaging::new(messaging.build().unwrap());
    let alice = app.connect_as("alice").await;
    assert!(app.registry().close_session(alice.session_id(), "bye"));
    assert_eq!(alice.closed().await.code(), Some(1008));
    assert_eq!(*ended.lock(), [DisconnectCause::Server]);
}

async fn kick(registry: Registry, id: SessionId) {
    assert!(registry.close_session(id, "kicked"));
}

/// What came in one piece with the message that brought the end: its client hears why, and nothing else happens.
#[tokio::test]
async fn nothing_behind_the_end_is_looked_at() {
    let (log, noted) = (Log::default(), Log::default());
    let say = move |line: String| {
        noted.lock().push(line);
        async {}
    };
    let routes = MessageRouter::new()
        .route("/kick", message(kick))
        .route("/say", message(say));
    let messaging = open(routes).build().unwrap();
    let app = TestMessaging::new(messaging.clone());
    let watcher = app.connect().await;
    let watched = watcher.subscribe("/topic/**").await;
    for behind in [
        "SEND\ndestination:/app/say\n\nspam\0",
        "SEND\ndestination:/topic/x\nreceipt:1\n\nspam\0",
        "SEND\ndestination:/nowhere\n\nspam\0",
        "SUBSCRIBE\nid:1\ndestination:/topic/y\n\n\0",
        "BEGIN\ntransaction:1\n\n\0SEND\ndestination:/app/say\ntransaction:1\n\nspam\0COMMIT\ntransaction:1\n\n\0",
    ] {
        let (mut client, server) = tokio::io::duplex(4096);
        let session = tokio::spawn(messaging.serve_stream(server, None));
        let sent = format!(
            "CONNECT\naccept-version:1.2\nhost:x\n\n\0SEND\ndestination:/app/kick\n\n\0{behind}"
        );
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains("ERROR\nmessage:kicked"), "{heard}");
        assert!(!heard.contains("RECEIPT"), "{heard}");
        drop(client);
        session.await.unwrap();
    }
    watched.expect_nothing().await;
    assert!(log.lock().is_empty());
    assert_eq!(app.stats().rejected, 0);
}

/// Handlers that wait for their turn are not started: beside others, or in a transaction.
#[tokio::test(start_paused = true)]
async fn what_waits_is_not_started() {
    let waiting = |line| format!("SEND\ndestination:/app/slow\ntransaction:t\n\n{line}\0");
    let lines = ["one", "two", "three"].map(waiting).concat();
    let in_a_transaction = format!("BEGIN\ntransaction:t\n\n\0{lines}COMMIT\ntransaction:t\n\n\0");
    let beside = lines.replace("transaction:t\n", "");
    for (handler, sent) in [
        (message(slow).concurrent(1), beside),
        (message(slow).concurrent(8), in_a_transaction),
    ] {
        let log = Log::default();
        let routes = MessageRouter::new()
            .route("/slow", handler)
            .with_state(Arc::clone(&log));
        let messaging = open(routes).build().unwrap();
        let (mut client, server) = tokio::io::duplex(4096);
        let session = tokio::spawn(messaging.serve_stream(server, None));
        let sent = format!("CONNECT\naccept-version:1.2\nhost:x\n\n\0{sent}");
        client.write_all(sent.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        for connected in messaging.registry().sessions() {
            assert!(messaging.registry().close_session(connected.id(), "banned"));
        }
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains("ERROR\nmessage:banned"), "{heard}");
        drop(client);
        session.await.unwrap();
        assert_eq!(*log.lock(), ["one"], "only what ran already");
    }
}

/// However a session's end meets its SUBSCRIBE, nobody is left behind.
#[test]
fn presence_forgets_who_is_closed_while_subscribing() {
    let messaging = Messaging::builder()
        .routes(MessageRouter::new().connect(|connect: Connect| async move {
            connect.login().map(|name| User::new(name.to_owned()))
        }))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .presence(Presences::new().track("/topic/room"))
        .policy(Policy::builder().otherwise(permit()))
        .build()
        .unwrap();
    let registry = messaging.registry();
    let over = Arc::new(AtomicBool::new(false));
    let closes = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for session in registry.sessions() {
                    registry.close_session(session.id(), "closed");
                }
            }
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for number in 0..4_000 {
            let (mut client, server) = tokio::io::duplex(4096);
            let mut sent = format!("CONNECT\nlogin:{number}\naccept-version:1.2\nhost:x\n\n\0");
            for id in 0..20 {
                sent += &format!("SUBSCRIBE\nid:{id}\ndestination:/topic/room\n\n\0");
            }
            sent += "DISCONNECT\n\n\0";
            let talks = async move {
                client.write_all(sent.as_bytes()).await.unwrap();
                // Until the server has said what it had to.
                let _ = client.read_to_end(&mut Vec::new()).await;
            };
            tokio::join!(talks, messaging.serve_stream(server, None));
        }
    });
    over.store(true, Ordering::Relaxed);
    closes.join().unwrap();
    assert_eq!(messaging.presence().members("/topic/room"), [""; 0]);
}

/// Nothing more is read of who has to go, and so its heart-beats are not missed: it hears why it goes.
#[tokio::test(start_paused = true)]
async fn who_has_to_go_is_not_taken_for_silent() {
    async fn long() {
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    let messaging = open(MessageRouter::new().route("/long", message(long).concurrent(2)));
    let app = TestMessaging::new(messaging.build().unwrap());
    let alice = app.connect_as("alice").await;
    alice.send_without_receipt("/app/long", ());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(app.registry().close_user("alice", "banned"), 1);
    alice.send_without_receipt("/topic/x", "x".repeat(50_000));
    tokio::time::sleep(Duration::from_secs(119)).await;
    let end = alice.closed().await;
    assert_eq!((end.code(), end.reason()), (Some(1008), "banned"));
    assert_eq!((end.error(), app.stats().timeouts), (None, 0));
}
