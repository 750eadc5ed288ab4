//! A session's life: who connects, how it ends, and who is told of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tramline::events::Disconnected;
use tramline::login::ConnectRefused;
use tramline::policy::{Policy, authenticated, permit};
use tramline::{
    Inbound, MessageRouter, Registry, Rejection, Session, SessionId, To, ToUser, User, message,
};

use crate::support::{
    Client, DEADLINE, Door, FrameExt, Log, Request, SHORT, Setup, Tcp, Told, eventually,
};

fn connect_as(login: &str) -> String {
    format!("CONNECT\naccept-version:1.2\nlogin:{login}\n\n\0")
}

/// Notes each end: who, whose doing, with which code.
fn noting(routes: MessageRouter, log: &Log) -> MessageRouter {
    let log = log.clone();
    let left = move |user: Option<User>, disconnected: Disconnected| {
        let user = user.map_or("nobody".into(), |user| user.name().to_owned());
        log.add(format!(
            "{user} {:?} {}",
            disconnected.cause, disconnected.code
        ));
        async {}
    };
    routes.disconnect(left)
}

#[tokio::test]
async fn what_a_connect_handler_may_return() {
    struct Banned;
    impl From<Banned> for ConnectRefused {
        fn from(_: Banned) -> Self {
            Self::new("you are banned")
        }
    }
    let server = Setup::new()
        .routes(|routes| {
            routes.connect(async |connect: tramline::Connect| match connect.login() {
                None => Ok(connect.user()),
                Some("banned") => Err(Banned),
                Some("nobody") => Ok(None),
                Some(login) => Ok(Some(User::new(login.to_owned()))),
            })
        })
        .start()
        .await;
    for (web, login, expected) in [
        (None, "", Some("")),
        (Some("root"), "ann", Some("ann")),
        (Some("root"), "nobody", None),
        (None, "nobody", None),
    ] {
        let mut client = Client::open_by(&server, web).await;
        client.send(&connect_as(login)).await;
        client.expect("CONNECTED").await.has("user-name", expected);
    }
    let mut banned = Client::open(&server).await;
    banned.send(&connect_as("banned")).await;
    banned.expect_error("you are banned", "").await;
}

#[tokio::test]
async fn a_connect_handler_that_returns_nothing_leaves_the_user() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::new()
        .routes(move |routes| {
            routes.connect(move |id: SessionId, message: Inbound| {
                assert_eq!(id, message.session_id());
                noted.add(message.user().is_some());
                async {}
            })
        })
        .start()
        .await;
    let mut alice = Client::open_by(&server, Some("alice")).await;
    alice.send("CONNECT\naccept-version:1.2\n\n\0").await;
    alice.expect("CONNECTED").await.has("user-name", "alice");
    let mut nobody = Client::open(&server).await;
    nobody.send("CONNECT\naccept-version:1.2\n\n\0").await;
    nobody.expect("CONNECTED").await.has("user-name", None);
    log.reads(["true", "false"]).await;
}

/// Each way to end, with the handler called once for it.
#[tokio::test]
async fn a_disconnect_handler_is_called_once_for_each_end() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::new()
        .limits(|limits| limits.outbox = 16 * 1024)
        .routes(move |routes| noting(routes, &noted))
        .start()
        .await;
    let registry = server.messaging().registry();

    let mut goodbye = Client::connect_as(&server, "goodbye").await;
    goodbye.send("DISCONNECT\nreceipt:1\n\n\0").await;
    goodbye.expect("RECEIPT").await;
    goodbye.expect_close(1000, "").await;

    let mut closes = Client::connect_as(&server, "closes").await;
    closes.close(3999, "bye").await;
    closes.expect_close(3999, "").await;

    Client::connect_as(&server, "resets").await.reset();

    let mut denied = Client::connect_as(&server, "denied").await;
    denied.post("/topic/secret", "x").await;
    denied.expect("ERROR").await;

    let mut broken = Client::connect_as(&server, "broken").await;
    broken.send("NONSENSE\n\n\0").await;
    broken.expect("ERROR").await;

    let mut asks = Client::connect_as(&server, "asks").await;
    asks.send("SUBSCRIBE\nid:0\ndestination:/app/nothing\n\n\0")
        .await;
    asks.expect("ERROR").await;

    let _forced = Client::connect_as(&server, "forced").await;
    assert_eq!(registry.close_user("forced", "enough"), 1);

    let mut half = Tcp::connect(&server).await;
    half.finish().await;
    half.expect_end().await;

    let expected = [
        "goodbye Client 1000",
        "closes Client 3999",
        "resets Vanished 1001",
        "denied Refused 1002",
        "broken Refused 1002",
        "asks Refused 1002",
        "forced Server 1008",
        "nobody Client 1000",
    ];
    sorted(&log, &expected).await;

    let mut slow = Request::upgrade("/ws")
        .by_user("slow")
        .receive_buffer(4096)
        .open(&server)
        .await
        .connected()
        .await;
    slow.subscribe("0", "/topic/flood").await;
    let publisher = server.messaging().publisher();
    let body = "x".repeat(8 * 1024);
    while server.stats().slow_consumers == 0 {
        publisher.send("/topic/flood", body.clone()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let _stays = Client::connect_as(&server, "stays").await;
    drop(slow);
    assert_eq!(server.messaging().shutdown(DEADLINE).await, 0);
    let expected = [&expected[..], &["slow TooSlow 4500", "stays Server 1001"]].concat();
    sorted(&log, &expected).await;
}

/// Waits for as many lines, and compares them in any order.
async fn sorted(log: &Log, expected: &[&str]) {
    let count = expected.len();
    eventually("all ends are told", || log.lines().len() >= count).await;
    let (mut lines, mut expected) = (log.lines(), expected.to_vec());
    lines.sort();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn who_was_never_connected_is_not_told_of() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::new()
        .limits(|limits| limits.connect_time = SHORT)
        .policy(
            Policy::builder()
                .on_connect(authenticated())
                .otherwise(permit()),
        )
        .routes(move |routes| {
            noting(routes, &noted).connect(async |connect: tramline::Connect| {
                match connect.login() {
                    Some("refused") => Err(ConnectRefused::new("no")),
                    Some("panics") => panic!("the login was asked to panic"),
                    Some("slow") => std::future::pending().await,
                    Some("nobody") => Ok(None),
                    login => Ok(login.map(|login| User::new(login.to_owned()))),
                }
            })
        })
        .start()
        .await;
    let mut clients = Vec::new();
    for login in ["refused", "panics", "slow", "nobody"] {
        let mut client = Client::open(&server).await;
        client.send(&connect_as(login)).await;
        clients.push(client);
    }
    let silent = Client::open(&server).await;
    Client::open(&server).await.reset();
    let mut fine = Client::open(&server).await;
    fine.send(&connect_as("fine")).await;
    fine.expect("CONNECTED").await;
    drop((clients, silent));
    server
        .counted("one is left", |stats| stats.sessions_open == 1)
        .await;
    assert_eq!(log.lines().len(), 0);
    fine.close(1000, "").await;
    log.reads(["fine Client 1000"]).await;
}

/// The time for a login runs on when its client is gone, and the handler is dropped at its end.
#[tokio::test]
async fn a_login_of_who_vanished_ends_in_time() {
    let (door, dropped) = (Door::new(), Arc::new(AtomicUsize::new(0)));
    let (at_door, told) = (door.clone(), Arc::clone(&dropped));
    let server = Setup::new()
        .limits(|limits| limits.connect_time = SHORT)
        .routes(move |routes| {
            routes.connect(move || {
                let (door, told) = (at_door.clone(), Told(Arc::clone(&told)));
                async move {
                    door.pass().await;
                    drop(told);
                }
            })
        })
        .start()
        .await;
    let mut client = Client::open(&server).await;
    client.send(&connect_as("x")).await;
    door.came(1).await;
    client.reset();
    server
        .counted("the session is gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!(server.stats().timeouts, 1);
}

/// What a reason says is for people; these are those that an application's log shows.
#[tokio::test]
async fn the_reason_is_in_words() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::new()
        .routes(move |routes| {
            routes.disconnect(move |why: Disconnected| {
                noted.add(&why);
                assert_eq!(why.to_string(), *why.reason);
                async {}
            })
        })
        .start()
        .await;
    let mut goodbye = Client::connect(&server).await;
    goodbye.send("DISCONNECT\n\n\0").await;
    let mut expected = vec!["the client disconnected"];
    log.reads([expected[0]]).await;
    let mut denied = Client::connect(&server).await;
    denied.post("/topic/secret", "x").await;
    expected.push(
        "refused: SEND to \"/topic/secret\" is denied to an anonymous session by this server's policy",
    );
    log.reads([expected[0], expected[1]]).await;
    let forced = Client::connect_as(&server, "forced").await;
    server.messaging().registry().close_user("forced", "enough");
    expected.push("the server closed it with 1008 \"enough\"");
    log.reads([expected[0], expected[1], expected[2]]).await;
    drop(forced);
    let [denied, forced] = [expected[1], expected[2]];
    let mut closing = Client::connect(&server).await;
    closing.close(1000, "").await;
    let closed = "the client closed with 1000";
    log.reads([expected[0], denied, forced, closed]).await;
    let mut telling = Client::connect(&server).await;
    telling.close(1001, "tab closed").await;
    let told = "the client closed with 1001: \"tab closed\"";
    log.reads([expected[0], denied, forced, closed, told]).await;
}

/// The handler comes after the session's last one, and still sees its values; what it sends goes to others.
#[tokio::test]
async fn a_disconnect_handler_publishes_and_sees_what_the_session_had() {
    #[derive(Default)]
    struct Rooms(parking_lot::Mutex<Vec<String>>);

    async fn enter(rooms: Session<Rooms>, room: String) {
        tokio::task::yield_now().await;
        rooms.0.lock().push(room);
    }
    async fn left(
        user: User,
        rooms: Session<Rooms>,
        registry: Registry,
        id: SessionId,
    ) -> (To<String>, ToUser<&'static str>, ToUser<&'static str>) {
        assert!(
            registry.session(id).is_none(),
            "it is gone from the registry"
        );
        let rooms = rooms.0.lock().join(",");
        (
            To::topic("/topic/left", format!("{} {rooms}", user.name())),
            ToUser::all("/queue/mine", "one of yours left"),
            ToUser::session("/queue/mine", "nobody hears this"),
        )
    }
    let server = Setup::new()
        .routes(|routes| routes.route("/enter", message(enter)).disconnect(left))
        .start()
        .await;
    let mut others = Client::connect_as(&server, "alice").await;
    others.subscribe("0", "/topic/left").await;
    others.subscribe("1", "/user/queue/mine").await;
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("1", "/user/queue/mine").await;
    for room in ["a", "b"] {
        alice.post("/app/enter", room).await;
    }
    alice.close(1000, "").await;
    others.expect_message("/topic/left", "alice a,b").await;
    others
        .expect_message("/user/queue/mine", "one of yours left")
        .await;
    others.expect_nothing(&server).await;
    assert_eq!(server.stats().rejected, 0);
}

#[tokio::test]
async fn several_disconnect_handlers_run_one_after_the_other_and_a_panic_stops_none() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::new()
        .routes(move |mut routes| {
            for number in 1..=4 {
                let noted = noted.clone();
                routes = routes.disconnect(move || {
                    let noted = noted.clone();
                    assert_ne!(number, 3, "before there is a future");
                    async move {
                        tokio::task::yield_now().await;
                        noted.add(number);
                        assert_ne!(number, 2, "the handler was asked to panic");
                    }
                });
            }
            routes.disconnect(async || Err::<(), _>(Rejection::application("nobody hears this")))
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
    log.reads(["1", "2", "4"]).await;
    server
        .counted("the session is gone", |stats| stats.sessions_open == 0)
        .await;
    let stats = server.stats();
    assert_eq!((stats.handler_panics, stats.rejected), (2, 3));
    server.serves().await;
}

#[tokio::test]
async fn shutdown_waits_for_disconnect_handlers() {
    let door = Door::new();
    let at_door = door.clone();
    let server = Setup::new()
        .routes(move |routes| {
            routes.disconnect(move || {
                let door = at_door.clone();
                async move { door.pass().await }
            })
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(DEADLINE).await });
    client.expect_close(1001, "the server is going away").await;
    door.came(1).await;
    assert_eq!(server.stats().sessions_open, 1);
    assert!(!shutdown.is_finished());
    door.let_in(1);
    assert_eq!(shutdown.await.unwrap(), 0);
}

/// Says when it is dropped.
#[tokio::test]
async fn callbacks_come_after_the_disconnect_handlers_and_then_values_are_dropped() {
    #[derive(Default)]
    struct Kept {
        log: std::sync::OnceLock<Log>,
        name: &'static str,
    }
    impl Drop for Kept {
        fn drop(&mut self) {
            if let Some(log) = self.log.get() {
                log.add(format!("dropped {}", self.name));
            }
        }
    }
    let log = Log::default();
    let noted = log.clone();
    let late = log.clone();
    let server = Setup::new()
        .routes(move |routes| {
            let connect = move |kept: Session<Kept>| {
                let _ = kept.log.set(noted.clone());
                let first = noted.clone();
                kept.on_end(move |_| first.add("first"));
                kept.on_end(|_| panic!("a callback was asked to panic"));
                let last = noted.clone();
                kept.on_end(move |kept| last.add(format!("last {:?}", kept.name)));
                async {}
            };
            let left = move |kept: Session<Kept>| {
                late.add("left");
                let later = late.clone();
                kept.on_end(move |_| later.add("later"));
                async {}
            };
            routes.connect(connect).disconnect(left)
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client.close(1000, "").await;
    log.reads(["left", "first", "last \"\"", "later", "dropped "])
        .await;
    assert_eq!(server.stats().handler_panics, 1);
}

/// Who is refused had values too, and they go.
#[tokio::test]
async fn values_of_who_is_refused_are_dropped_as_well() {
    #[derive(Default)]
    struct Kept(parking_lot::Mutex<Option<Told>>);
    let dropped = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&dropped);
    let server = Setup::new()
        .routes(move |routes| {
            routes.connect(move |kept: Session<Kept>| {
                *kept.0.lock() = Some(Told(Arc::clone(&told)));
                async { Err::<(), _>(ConnectRefused::new("no")) }
            })
        })
        .start()
        .await;
    let mut client = Client::open(&server).await;
    client.send(&connect_as("x")).await;
    client.expect_error("no", "").await;
    eventually("the value is dropped", || {
        dropped.load(Ordering::Relaxed) == 1
    })
    .await;
}

/// A value whose `Drop` panics takes neither the session's bookkeeping nor other values with it.
#[tokio::test]
async fn a_value_that_panics_when_it_is_dropped() {
    #[derive(Default)]
    struct Bad(bool);
    impl Drop for Bad {
        fn drop(&mut self) {
            assert!(
                !std::hint::black_box(true) || self.0,
                "a value was asked to panic"
            );
        }
    }
    #[derive(Default)]
    struct Good(parking_lot::Mutex<Option<Told>>);
    let dropped = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&dropped);
    let server = Setup::new()
        .routes(move |routes| {
            routes.connect(move |_: Session<Bad>, good: Session<Good>| {
                *good.0.lock() = Some(Told(Arc::clone(&told)));
                async {}
            })
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
    server
        .counted("the session is gone", |stats| {
            stats.sessions_open == 0 && stats.handler_panics == 1
        })
        .await;
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

/// A clone that a task keeps outlives the session, and a callback on it then comes at once.
#[tokio::test]
async fn a_value_may_outlive_its_session() {
    #[derive(Default)]
    struct Kept(AtomicUsize);
    let (sender, mut sessions) = tokio::sync::mpsc::unbounded_channel::<Session<Kept>>();
    let server = Setup::new()
        .routes(move |routes| {
            let connect = move |kept: Session<Kept>| {
                kept.0.store(7, Ordering::Relaxed);
                sender.send(kept).unwrap();
                async {}
            };
            routes.connect(connect)
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    let kept = sessions.recv().await.unwrap();
    client.close(1000, "").await;
    server
        .counted("the session is gone", |stats| stats.sessions_open == 0)
        .await;
    let called = Log::default();
    let calls = called.clone();
    kept.on_end(move |kept| calls.add(kept.0.load(Ordering::Relaxed)));
    assert_eq!(called.lines(), ["7"]);
}

/// The runtime goes away with sessions in it: values and listeners are told all the same, handlers cannot run.
#[test]
fn a_runtime_that_goes_away_ends_its_sessions() {
    let (log, events) = (Log::default(), Log::default());
    let (noted, told) = (log.clone(), events.clone());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (server, client) = runtime.block_on(async {
        let server = Setup::new()
            .builder(move |builder| {
                builder.on_event(move |event| {
                    if let tramline::events::Event::Disconnected { reason, .. } = event {
                        told.add(format!("{:?} {}", reason.cause, reason.code));
                    }
                })
            })
            .routes(move |routes| noting(routes, &noted))
            .start()
            .await;
        let client = Client::subscribed(&server, ["/topic/x"]).await;
        (server, client)
    });
    let messaging = server.messaging().clone();
    drop(runtime);
    assert_eq!(events.lines(), ["Server 1001"]);
    assert_eq!(log.lines().len(), 0);
    assert_eq!(messaging.stats().sessions_open, 0);
    assert_eq!(messaging.registry().sessions().len(), 0);
    drop((server, client));
}

/// A session that is told to go while its handler runs waits for it, and hears why.
#[tokio::test]
async fn a_forced_end_waits_for_the_handler() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::new()
        .routes(move |routes| noting(routes, &noted))
        .start()
        .await;
    let mut client = Client::connect_as(&server, "alice").await;
    client.subscribe("0", "/topic/slow").await;
    client.post_with("/app/slow", "receipt:1\n", "x").await;
    server.gate.started(1).await;
    let registry = server.messaging().registry();
    assert_eq!(registry.close_user("alice", "enough"), 1);
    // Nothing is published to it any more.
    let publisher = server.messaging().publisher();
    let published = publisher.send("/topic/slow", "news").await.unwrap();
    assert_eq!(published.local_receivers, 0);
    assert_eq!(log.lines().len(), 0);
    server.gate.release();
    client.expect("RECEIPT").await;
    client.expect_close(1008, "enough").await;
    log.reads(["alice Server 1008"]).await;
}
