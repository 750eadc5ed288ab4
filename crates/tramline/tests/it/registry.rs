//! The registry: who is connected, to what, and how an application ends it.

use tramline::registry::ConnectedSession;
use tramline::registry::ConnectedSubscription;
use tramline::{MessageRouter, Registry, SessionId, message, subscribe};
use tramline_broker::Prefix;

use crate::support::{Client, Request, Server, Setup, Tcp, broker, cut, eventually};

fn names(registry: &Registry) -> Vec<(String, usize)> {
    let users = registry.users();
    let named = users
        .iter()
        .map(|user| (user.name().to_owned(), user.sessions().len()));
    named.collect()
}

#[tokio::test]
async fn users_and_their_sessions() {
    let server = Server::start().await;
    let registry = server.messaging().registry();
    assert_eq!((registry.user_count(), registry.users().len()), (0, 0));
    let mut bob = Client::connect_as(&server, "bob").await;
    let _alice = Client::connect_as(&server, "alice:admin").await;
    let mut again = Client::connect_as(&server, "alice").await;
    let _nobody = Client::connect(&server).await;
    // Who has not connected yet is nobody's session.
    let _early = Client::open_by(&server, Some("early")).await;

    assert_eq!(
        names(&registry),
        [("alice".to_owned(), 2), ("bob".to_owned(), 1)]
    );
    assert_eq!((registry.user_count(), registry.sessions().len()), (2, 4));
    let alice = registry.user("alice").unwrap();
    assert!(
        alice.user().has_role("admin"),
        "as the first session's login made it"
    );
    assert!(
        alice.sessions()[1]
            .user()
            .is_some_and(|user| !user.has_role("admin"))
    );
    assert!(registry.user("early").is_none() && registry.user("Alice").is_none());
    let anonymous = registry
        .sessions()
        .into_iter()
        .filter(|session| session.user().is_none());
    assert_eq!(anonymous.count(), 1);

    let ids: Vec<SessionId> = alice.sessions().iter().map(ConnectedSession::id).collect();
    let found = registry.session(ids[1]).unwrap();
    assert_eq!((found.id(), found.handshake().path()), (ids[1], "/"));

    again.close(1000, "").await;
    again.expect_close(1000, "").await;
    eventually("one is left", || {
        registry.user("alice").unwrap().sessions().len() == 1
    })
    .await;
    assert_eq!(alice.sessions().len(), 2, "a copy of a moment");
    assert!(registry.session(ids[1]).is_none());
    bob.send("DISCONNECT\n\n\0").await;
    eventually("bob is gone", || registry.user("bob").is_none()).await;
    assert_eq!(names(&registry), [("alice".to_owned(), 1)]);
}

/// The session's id is the one that its client sees.
#[tokio::test]
async fn a_session_is_found_by_the_id_that_its_client_has() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    let connected = client.expect("CONNECTED").await;
    let sessions = server.messaging().registry().sessions();
    assert_eq!(
        connected.headers.get("session"),
        Some(&*sessions[0].id().to_string())
    );
}

#[tokio::test]
async fn subscriptions_by_destination_and_by_pattern() {
    let server = Setup::open_to_all(
        broker().topics(Prefix::new("/dots").separator(tramline::broker::Separator::Dot)),
    )
    .routes(|routes: MessageRouter| routes.route("/asked", subscribe(async || "x")))
    .start()
    .await;
    let registry = server.messaging().registry();
    let mut client = Client::connect_as(&server, "alice").await;
    for (id, destination) in [
        ("exact", "/topic/rooms/7"),
        ("one", "/topic/rooms/*"),
        ("all", "/topic/**"),
        ("letter", "/topic/rooms/?"),
        ("dots", "/dots/a.*"),
        ("queue", "/queue/orders"),
        ("user", "/user/queue/news"),
        ("braces", "/topic/rooms/{x}"),
    ] {
        client.subscribe(id, destination).await;
    }
    client.subscribe("asked", "/app/asked").await;
    client.expect_message("/app/asked", "x").await;
    let ids = |destination: &str| {
        let found = registry.subscriptions(destination);
        let mut ids: Vec<String> = found.iter().map(|found| found.id.to_string()).collect();
        assert!(
            found
                .iter()
                .all(|found| found.session.user().unwrap().name() == "alice")
        );
        ids.sort();
        ids.join(" ")
    };
    for (destination, expected) in [
        ("/topic/rooms/7", "all exact letter one"),
        ("/topic/rooms/77", "all one"),
        ("/topic/rooms/7/x", "all"),
        ("/topic/rooms/{x}", "all braces one"),
        ("/dots/a.b", "dots"),
        ("/dots/a.b.c", ""),
        ("/dots/a/b", ""),
        ("/queue/orders", "queue"),
        ("/user/queue/news", "user"),
        ("/app/asked", "asked"),
        ("/topic/rooms/*", "all letter one"),
        ("", ""),
        ("\n", ""),
    ] {
        assert_eq!(ids(destination), expected, "{destination:?}");
    }
    assert_eq!(registry.sessions()[0].subscriptions().len(), 9);
    let below = registry.find_subscriptions(|found| found.destination.starts_with("/topic/rooms/"));
    let mut below: Vec<String> = below.iter().map(|found| found.id.to_string()).collect();
    below.sort();
    assert_eq!(below, ["braces", "exact", "letter", "one"]);
    let strangers = |found: &ConnectedSubscription| found.session.user().is_none();
    assert!(registry.find_subscriptions(strangers).is_empty());
    client.send("UNSUBSCRIBE\nid:all\nreceipt:r\n\n\0").await;
    client.expect("RECEIPT").await;
    assert_eq!(ids("/topic/rooms/77"), "one");
}

const REASON: &str = "you are banned; ask the moderators, who are at moderators@example.com, why that may be so, and \
                      when it ends: ü";

#[tokio::test]
async fn a_forced_close_is_told_on_every_transport() {
    let server = Server::start().await;
    let registry = server.messaging().registry();
    let mut web = Client::connect_as(&server, "alice").await;
    let path = "/sockjs/000/forced/websocket";
    let sockjs = Request::upgrade(path).by_user("alice").open(&server).await;
    let mut sockjs = sockjs.without_stomp();
    assert_eq!(sockjs.expect_text().await, "o");
    sockjs
        .send(r#"["CONNECT\naccept-version:1.2\n\n\u0000"]"#)
        .await;
    assert!(sockjs.expect_text().await.starts_with("a[\"CONNECTED"));
    let mut other = Client::connect_as(&server, "bob").await;

    assert_eq!(registry.close_user("alice", REASON), 2);
    web.expect_close(1008, &cut(REASON)).await;
    assert_eq!(sockjs.expect_text().await, format!("c[1008,\"{REASON}\"]"));
    assert_eq!(registry.close_user("nobody", REASON), 0);
    eventually("alice is gone", || registry.user("alice").is_none()).await;
    assert_eq!(registry.close_user("alice", REASON), 0);

    let mut tcp = Tcp::connect(&server).await;
    let sessions = registry.sessions();
    let anonymous = sessions
        .iter()
        .find(|session| session.user().is_none())
        .unwrap();
    assert!(registry.close_session(anonymous.id(), REASON));
    tcp.expect_error(REASON).await;
    let gone = anonymous.id();
    eventually("it is gone", || registry.session(gone).is_none()).await;
    server
        .counted("its task ended", |stats| stats.sessions_open == 1)
        .await;
    assert!(!registry.close_session(gone, REASON));
    other.subscribe("0", "/topic/x").await;
}

/// What is queued for a session that has to go is written first, and a reason of several lines is one line of an ERROR.
#[tokio::test]
async fn what_is_queued_comes_before_a_forced_close() {
    let server = Server::start().await;
    let mut tcp = Tcp::connect(&server).await;
    tcp.subscribe("0", "/topic/x").await;
    let publisher = server.messaging().publisher();
    let registry = server.messaging().registry();
    for _ in 0..3 {
        publisher.send("/topic/x", "last words").await.unwrap();
    }
    let id = registry.sessions()[0].id();
    assert!(registry.close_session(id, "one\ntwo"));
    assert!(
        !registry.close_session(id, "another reason"),
        "it is nowhere any more"
    );
    for _ in 0..3 {
        tcp.expect_message("/topic/x", "last words").await;
    }
    tcp.expect_error("one\ntwo").await;
}

/// A handler may end its own session; what it returns goes to others alone.
#[tokio::test]
async fn a_handler_may_close_its_own_session() {
    async fn out(registry: Registry, id: SessionId) -> &'static str {
        assert!(registry.close_session(id, "out"));
        "last"
    }
    let server = Setup::new()
        .routes(|routes| routes.route("/out", message(out).send_to_session("/queue/mine")))
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/user/queue/mine"]).await;
    client.post("/app/out", "").await;
    client.expect_close(1008, "out").await;
}

#[tokio::test]
async fn a_registry_outlives_its_stack_and_keeps_nothing_alive() {
    let mut server = Server::start().await;
    let registry = server.messaging().registry();
    let presence = server.messaging().presence();
    let mut client = Client::connect_as(&server, "alice").await;
    let kept = registry.sessions();
    server.drop_handles().await;
    client.expect_close(1001, "the server is going away").await;
    eventually("the stack is gone", || registry.sessions().is_empty()).await;
    assert_eq!((registry.user_count(), registry.users().len()), (0, 0));
    assert!(registry.user("alice").is_none() && registry.session(kept[0].id()).is_none());
    assert!(registry.subscriptions("/topic/x").is_empty());
    assert!(!registry.close_session(kept[0].id(), "x"));
    assert_eq!(registry.close_user("alice", "x"), 0);
    assert_eq!(presence.members("/topic/x"), [""; 0]);
    assert_eq!(kept[0].user().unwrap().name(), "alice");
}

/// A thousand come and go, by each way there is; nothing of them is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_thousand_sessions() {
    let server = Server::start().await;
    let registry = server.messaging().registry();
    let mut most = 0;
    for round in 0..10 {
        let mut clients = Vec::new();
        for number in 0..100 {
            let user = format!("user-{}", number % 30);
            let mut client = Client::connect_as(&server, &user).await;
            client.subscribe("0", "/topic/x").await;
            client.subscribe("1", "/user/queue/mine").await;
            clients.push(client);
        }
        assert_eq!(
            (registry.user_count(), registry.sessions().len()),
            (30, 100),
            "{round}"
        );
        assert_eq!(registry.subscriptions("/topic/x").len(), 100);
        most = most.max(registry.sessions().len());
        for (number, mut client) in clients.into_iter().enumerate() {
            match number % 4 {
                0 => client.send("DISCONNECT\n\n\0").await,
                1 => client.close(1000, "").await,
                2 => client.reset(),
                _ => {
                    registry.close_user(&format!("user-{}", number % 30), "go");
                }
            }
        }
        eventually("all are gone", || {
            registry.sessions().is_empty() && registry.user_count() == 0
        })
        .await;
        assert!(registry.subscriptions("/topic/x").is_empty());
    }
    assert_eq!(most, 100);
    server
        .counted("their tasks ended", |stats| {
            (stats.sessions_open, stats.sessions_total) == (0, 1000)
        })
        .await;
    let statistics = server
        .messaging()
        .broker_statistics("/topic/**", 10)
        .unwrap();
    assert!(
        statistics
            .selected
            .iter()
            .all(|topic| topic.subscribers == 0),
        "{statistics:?}"
    );
    assert_eq!(server.receivers("/topic/x").await, 0);
}
