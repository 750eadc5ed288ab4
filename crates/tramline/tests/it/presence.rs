//! Presence: which users are at a destination, and what is told of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tramline::broker::Separator;
use tramline::events::Event;
use tramline::presence::{Presence, Presences};
use tramline::{Json, MessageRouter, Path, subscribe};
use tramline_broker::{EmbeddedBroker, Prefix};

use crate::support::{Client, FrameExt, Log, Request, Server, Setup, eventually};

const ROOM: &str = "/topic/rooms/7";
const TOLD: &str = "/topic/rooms/7/presence";

fn rooms() -> Presences {
    Presences::new().announce("/topic/rooms/{room}", "/topic/rooms/{room}/presence")
}

fn setup(log: &Log) -> Setup {
    let log = log.clone();
    Setup::new().builder(move |builder| {
        builder
            .presence(rooms())
            .on_event(move |event| match event {
                Event::Joined { destination, user } => {
                    log.add(format!("{user} joined {destination}"));
                }
                Event::Left { destination, user } => log.add(format!("{user} left {destination}")),
                _ => {}
            })
    })
}

fn members(server: &Server) -> Vec<String> {
    server.messaging().presence().members(ROOM)
}

#[track_caller]
fn expect_told<'a>(
    client: &'a mut Client,
    event: &'a str,
    user: &'a str,
) -> impl Future<Output = ()> + 'a {
    let body = format!(r#"{{"event":"{event}","user":"{user}"}}"#);
    async move {
        let message = client.expect_message(TOLD, &body).await;
        message.has("content-type", "application/json");
    }
}

#[tokio::test]
async fn a_user_joins_once_and_leaves_once() {
    let log = Log::default();
    let server = setup(&log).start().await;
    let mut watcher = Client::subscribed(&server, [TOLD]).await;
    let mut one = Client::connect_as(&server, "alice").await;
    let mut two = Client::connect_as(&server, "alice").await;
    let mut bob = Client::connect_as(&server, "bob").await;
    one.subscribe("a", ROOM).await;
    expect_told(&mut watcher, "joined", "alice").await;
    one.subscribe("b", ROOM).await;
    two.subscribe("a", ROOM).await;
    bob.subscribe("a", ROOM).await;
    expect_told(&mut watcher, "joined", "bob").await;
    assert_eq!(members(&server), ["alice", "bob"]);
    one.send("UNSUBSCRIBE\nid:a\nreceipt:r\n\n\0").await;
    one.expect("RECEIPT").await;
    one.close(1000, "").await;
    one.expect_close(1000, "").await;
    assert_eq!(members(&server), ["alice", "bob"]);
    two.send("UNSUBSCRIBE\nid:a\nreceipt:r\n\n\0").await;
    two.expect("RECEIPT").await;
    expect_told(&mut watcher, "left", "alice").await;
    assert_eq!(members(&server), ["bob"]);
    two.subscribe("a", ROOM).await;
    expect_told(&mut watcher, "joined", "alice").await;
    watcher.expect_nothing(&server).await;
    log.reads([
        "alice joined /topic/rooms/7",
        "bob joined /topic/rooms/7",
        "alice left /topic/rooms/7",
        "alice joined /topic/rooms/7",
    ])
    .await;
}

/// Each way to be gone: goodbye, close, reset, refusal, forced close.
#[tokio::test]
async fn whoever_is_gone_has_left() {
    let server = setup(&Log::default()).start().await;
    let mut watcher = Client::subscribed(&server, [TOLD]).await;
    for way in 0..6 {
        let mut client = Client::connect_as(&server, "alice").await;
        client.subscribe("a", ROOM).await;
        expect_told(&mut watcher, "joined", "alice").await;
        assert_eq!(members(&server), ["alice"]);
        match way {
            0 => client.send("DISCONNECT\n\n\0").await,
            1 => client.close(1000, "").await,
            2 => client.reset(),
            3 => client.post("/topic/secret", "x").await,
            4 => client.send_raw(&[0xff; 8]).await,
            _ => drop(server.messaging().registry().close_user("alice", "go")),
        }
        expect_told(&mut watcher, "left", "alice").await;
        assert_eq!(members(&server).len(), 0);
    }
    watcher.expect_nothing(&server).await;
}

/// Who is gone has left, although its handler still runs.
#[tokio::test]
async fn who_left_while_its_handler_runs_has_left() {
    let server = setup(&Log::default()).start().await;
    let mut watcher = Client::subscribed(&server, [TOLD]).await;
    let mut client = Client::connect_as(&server, "alice").await;
    client.subscribe("a", ROOM).await;
    expect_told(&mut watcher, "joined", "alice").await;
    client.post("/app/slow", "x").await;
    server.gate.started(1).await;
    client.close(1000, "").await;
    expect_told(&mut watcher, "left", "alice").await;
    server.gate.release();
    client.expect_close(1000, "").await;
    watcher.expect_nothing(&server).await;
}

#[tokio::test]
async fn anonymous_sessions_patterns_and_other_destinations_do_not_count() {
    let log = Log::default();
    let server = setup(&log).start().await;
    let mut watcher = Client::subscribed(&server, ["/topic/rooms/*/presence"]).await;
    let mut nobody = Client::connect(&server).await;
    nobody.subscribe("a", ROOM).await;
    let mut alice = Client::connect_as(&server, "alice").await;
    for (id, destination) in [
        ("a", "/topic/rooms/*"),
        ("b", "/topic/**"),
        ("c", "/topic/rooms/?"),
        ("d", "/topic/rooms"),
        ("e", "/topic/rooms/7/8"),
        ("f", "/user/queue/rooms"),
        ("g", "/topic/rooms/"),
    ] {
        alice.subscribe(id, destination).await;
        assert_eq!(members(&server).len(), 0, "{destination}");
    }
    alice.close(1000, "").await;
    alice.expect_close(1000, "").await;
    watcher.expect_nothing(&server).await;
    assert_eq!(log.lines().len(), 0);
}

/// What a destination's name has in it is not read as a capture of the topic's.
#[tokio::test]
async fn a_name_in_braces_is_only_a_name() {
    let server = Setup::new()
        .builder(|builder| {
            let pairs = Presences::new().announce("/topic/{a}/{b}", "/topic/told/{a}/{b}/end");
            builder.presence(pairs)
        })
        .start()
        .await;
    let mut watcher = Client::subscribed(&server, ["/topic/told/**"]).await;
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("a", "/topic/{b}/secret").await;
    let joined = r#"{"event":"joined","user":"alice"}"#;
    watcher
        .expect_message("/topic/told/{b}/secret/end", joined)
        .await;
}

/// Where the topic would be too long, only the telling is left out.
#[tokio::test]
async fn a_topic_that_would_be_too_long_is_not_told() {
    let server = Setup::new()
        .builder(|builder| {
            builder.presence(Presences::new().announce("/topic/{a}", "/topic/{a}/{a}"))
        })
        .start()
        .await;
    let mut alice = Client::connect_as(&server, "alice").await;
    let long = format!("/topic/{}", "x".repeat(400));
    alice.subscribe("a", &long).await;
    assert_eq!(server.messaging().presence().members(&long), ["alice"]);
    server.serves().await;
}

#[tokio::test]
async fn tails_dots_and_names_of_any_kind() {
    let server = Setup::open_to_all(
        EmbeddedBroker::new()
            .topics("/topic")
            .topics(Prefix::new("/dots").separator(Separator::Dot)),
    )
    .builder(|builder| {
        let presences = Presences::new()
            .announce("/topic/tail/{*rest}", "/topic/told/{rest}")
            .announce("/dots/rooms.{room}", "/dots/told.{room}")
            .announce("/topic/mixed/{room}", "/dots/told.{room}")
            .track("/topic/quiet/{x}");
        builder.presence(presences)
    })
    .start()
    .await;
    let mut watcher = Client::subscribed(&server, ["/topic/told/**", "/dots/told.**"]).await;
    for (name, destination, told) in [
        ("ü/😀", "/topic/tail/a/b", Some("/topic/told/a/b")),
        ("a\"b\\", "/dots/rooms.7", Some("/dots/told.7")),
        ("x", "/topic/quiet/x", None),
        ("x", "/topic/mixed/7", Some("/dots/told.7")),
        // More segments than the pattern of the topic means.
        ("x", "/topic/mixed/7.secret", None),
    ] {
        let mut client = Client::open(&server).await;
        // By the login, since HTTP headers carry less.
        client
            .send(&format!("CONNECT\naccept-version:1.2\nlogin:{name}\n\n\0"))
            .await;
        client.expect("CONNECTED").await;
        client.subscribe("a", destination).await;
        assert_eq!(server.messaging().presence().members(destination), [""; 0]);
        let mut client = Request::upgrade("/ws")
            .by_user("plain")
            .open(&server)
            .await
            .connected()
            .await;
        client.subscribe("a", destination).await;
        assert_eq!(
            server.messaging().presence().members(destination),
            ["plain"]
        );
        if let Some(told) = told {
            watcher
                .expect_message(told, r#"{"event":"joined","user":"plain"}"#)
                .await;
        }
        drop(client);
        if let Some(told) = told {
            watcher
                .expect_message(told, r#"{"event":"left","user":"plain"}"#)
                .await;
        }
        let presence = server.messaging().presence();
        eventually("it left", || presence.members(destination).is_empty()).await;
    }
    watcher.expect_nothing(&server).await;
}

/// A page asks once, and then follows the topic: it misses nothing and needs no lock-step.
#[tokio::test]
async fn a_subscribe_handler_tells_who_is_there() {
    async fn here(presence: Presence, Path(room): Path<u32>) -> Json<Vec<String>> {
        Json(presence.members(&format!("/topic/rooms/{room}")))
    }
    let server = setup(&Log::default())
        .routes(|routes: MessageRouter| routes.route("/rooms/{room}/members", subscribe(here)))
        .start()
        .await;
    let mut bob = Client::connect_as(&server, "bob").await;
    bob.subscribe("a", ROOM).await;
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("told", TOLD).await;
    alice.subscribe("a", ROOM).await;
    expect_told(&mut alice, "joined", "alice").await;
    alice.subscribe("here", "/app/rooms/7/members").await;
    alice
        .expect_message("/app/rooms/7/members", r#"["alice","bob"]"#)
        .await;
}

/// Fifty users come and go a hundred times each, at once; who replays what was told knows who is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_in_the_order_in_which_it_happened() {
    const USERS: usize = 50;
    const TIMES: usize = 100;
    let server = setup(&Log::default())
        .limits(|limits| limits.outbox = 64 * 1024 * 1024)
        .start()
        .await;
    let server = Arc::new(server);
    let mut watcher = Client::subscribed(&server, [TOLD]).await;
    let mut users = tokio::task::JoinSet::new();
    for number in 0..USERS {
        let server = Arc::clone(&server);
        users.spawn(async move {
            let user = format!("user-{number}");
            let mut client = Client::connect_as(&server, &user).await;
            let coming_and_going =
                format!("SUBSCRIBE\nid:a\ndestination:{ROOM}\n\n\0UNSUBSCRIBE\nid:a\n\n\0");
            for _ in 0..TIMES / 10 {
                client.send(&coming_and_going.repeat(10)).await;
                tokio::task::yield_now().await;
            }
            // Every other stays.
            if number % 2 == 0 {
                client.subscribe("a", ROOM).await;
                Some(client)
            } else {
                client.send("DISCONNECT\nreceipt:r\n\n\0").await;
                client.expect("RECEIPT").await;
                None
            }
        });
    }
    let expected = USERS * TIMES * 2 + USERS / 2;
    let mut here = BTreeSet::new();
    for _ in 0..expected {
        let message = watcher.expect("MESSAGE").await;
        let told: Value = serde_json::from_slice(&message.body).unwrap();
        let user = told["user"].as_str().unwrap().to_owned();
        match told["event"].as_str() {
            Some("joined") => assert!(here.insert(user), "joined twice: {told}"),
            Some("left") => assert!(here.remove(&user), "left without having joined: {told}"),
            _ => panic!("{told}"),
        }
    }
    let stayed: Vec<_> = users.join_all().await.into_iter().flatten().collect();
    assert_eq!(stayed.len(), USERS / 2);
    assert_eq!(here.into_iter().collect::<Vec<_>>(), members(&server));
    watcher.expect_nothing(&server).await;
}

/// A listener that asks for the members, publishes and closes sessions does not wait for itself.
#[tokio::test]
async fn a_listener_may_ask_who_is_there() {
    let log = Log::default();
    let noted = log.clone();
    let slot: Arc<parking_lot::Mutex<Option<Presence>>> = Arc::default();
    let in_slot = Arc::clone(&slot);
    let server = Setup::new()
        .builder(move |builder| {
            builder.presence(rooms()).on_event(move |event| {
                let Some(presence) = in_slot.lock().clone() else {
                    return;
                };
                if let Event::Joined { destination, .. } | Event::Left { destination, .. } = event {
                    noted.add(presence.members(destination).join(","));
                }
            })
        })
        .start()
        .await;
    *slot.lock() = Some(server.messaging().presence());
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("a", ROOM).await;
    alice.send("DISCONNECT\n\n\0").await;
    log.reads(["alice", ""]).await;
}
