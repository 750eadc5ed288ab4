//! Events: each once, in order, whatever listeners do.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tramline::events::Event;
use tramline::login::ConnectRefused;
use tramline::policy::{Policy, authenticated, permit};
use tramline::{MessageRouter, Messaging, MessagingBuilder, Registry, SessionId, User, subscribe};

use crate::support::{Client, DEADLINE, Log, Server, Setup, eventually};

/// What an event says, in a line.
fn line(event: &Event) -> String {
    match event {
        Event::Connect { .. } => "connect".into(),
        Event::Connected { .. } => "connected".into(),
        Event::Subscribed {
            id, destination, ..
        } => format!("subscribed {id} {destination}"),
        Event::Unsubscribed {
            id, destination, ..
        } => format!("unsubscribed {id} {destination}"),
        Event::Disconnected { reason, .. } => {
            format!("disconnected {:?} {}", reason.cause, reason.code)
        }
        Event::Joined { destination, user } => format!("{user} joined {destination}"),
        Event::Left { destination, user } => format!("{user} left {destination}"),
        Event::BrokerAvailable => "broker available".into(),
        Event::BrokerUnavailable => "broker unavailable".into(),
        other => panic!("an event that this test does not know: {other:?}"),
    }
}

fn noting(log: &Log) -> impl FnOnce(MessagingBuilder) -> MessagingBuilder + Send + 'static {
    let log = log.clone();
    move |builder| builder.on_event(move |event| log.add(line(event)))
}

#[tokio::test]
async fn a_sessions_events_come_in_order_and_once() {
    let log = Log::default();
    let server = Setup::new()
        .builder(noting(&log))
        .routes(|routes: MessageRouter| routes.route("/asked", subscribe(async || "x")))
        .start()
        .await;
    let mut client = Client::open_by(&server, Some("alice")).await;
    log.reads(["broker available"]).await;
    client = client.connected().await;
    client.subscribe("a", "/topic/x").await;
    client.subscribe("b", "/topic/*").await;
    client.subscribe("c", "/user/queue/mine").await;
    client.subscribe("d", "/app/asked").await;
    client.expect("MESSAGE").await;
    client.send("UNSUBSCRIBE\nid:b\nreceipt:r\n\n\0").await;
    client.expect("RECEIPT").await;
    client.subscribe("b", "/topic/y").await;
    client.send("DISCONNECT\nreceipt:bye\n\n\0").await;
    client.expect("RECEIPT").await;
    client.expect_close(1000, "").await;
    assert_eq!(server.messaging().shutdown(DEADLINE).await, 0);
    assert_eq!(server.messaging().shutdown(DEADLINE).await, 0);
    log.reads([
        "broker available",
        "connect",
        "connected",
        "subscribed a /topic/x",
        "subscribed b /topic/*",
        "subscribed c /user/queue/mine",
        "subscribed d /app/asked",
        "unsubscribed b /topic/*",
        "subscribed b /topic/y",
        "disconnected Client 1000",
        "broker unavailable",
    ])
    .await;
}

/// When a subscription is told, what is published reaches it; the listener may say so itself.
#[tokio::test]
async fn a_subscription_is_told_when_it_is_active() {
    let log = Log::default();
    let noted = log.clone();
    let slot: Arc<Mutex<Option<Messaging>>> = Arc::default();
    let stack = Arc::clone(&slot);
    let server = Setup::new()
        .builder(move |builder| {
            builder.on_event(move |event| {
                if let Event::Subscribed {
                    destination,
                    session,
                    ..
                } = event
                {
                    let messaging = stack.lock().clone().unwrap();
                    let sent = messaging.publisher();
                    let sent = sent.send(destination.clone(), "welcome");
                    let published = now(sent).unwrap();
                    let held = session.subscriptions().len();
                    noted.add(format!("{} {held}", published.local_receivers));
                }
            })
        })
        .start()
        .await;
    *slot.lock() = Some(server.messaging().clone());
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    client.expect_message("/topic/x", "welcome").await;
    log.reads(["1 1"]).await;
    *slot.lock() = None;
}

/// What the embedded broker's publisher answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the embedded broker answers at once"),
    }
}

#[tokio::test]
async fn who_is_refused_had_no_session() {
    let log = Log::default();
    let server = Setup::new()
        .builder(noting(&log))
        .policy(
            Policy::builder()
                .on_connect(authenticated())
                .otherwise(permit()),
        )
        .routes(|routes| {
            routes.connect(async |connect: tramline::Connect| match connect.login() {
                Some("refused") => Err(ConnectRefused::new("no")),
                login => Ok(login.map(|login| User::new(login.to_owned()))),
            })
        })
        .start()
        .await;
    let mut refused = Client::open(&server).await;
    refused
        .send("CONNECT\naccept-version:1.2\nlogin:refused\n\n\0")
        .await;
    refused.expect_error("no", "").await;
    Client::open(&server).await.reset();
    server
        .counted("both are gone", |stats| stats.sessions_open == 0)
        .await;
    log.reads(["broker available"]).await;

    let mut denied = Client::open(&server).await;
    denied.send("CONNECT\naccept-version:1.2\n\n\0").await;
    denied.expect("ERROR").await;
    log.reads(["broker available", "connect", "disconnected Refused 1002"])
        .await;
}

#[tokio::test]
async fn a_listener_that_panics_keeps_nobody_from_hearing() {
    let log = Log::default();
    let server = Setup::new()
        .builder(|builder| builder.on_event(|event| panic!("asked to panic at {event:?}")))
        .builder(noting(&log))
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client.close(1000, "").await;
    log.reads([
        "broker available",
        "connect",
        "connected",
        "disconnected Client 1000",
    ])
    .await;
    assert_eq!(server.stats().handler_panics, 4, "one for each event");
    server.serves().await;
}

/// What a listener asks the registry for does not wait for what the session holds.
#[tokio::test]
async fn a_listener_may_ask_the_registry_and_close_sessions() {
    let log = Log::default();
    let noted = log.clone();
    let slot: Arc<Mutex<Option<Registry>>> = Arc::default();
    let in_slot = Arc::clone(&slot);
    let server = Setup::new()
        .builder(move |builder| {
            builder.on_event(move |event| {
                let Some(registry) = in_slot.lock().clone() else {
                    return;
                };
                let seen = (registry.users().len(), registry.sessions().len());
                let found = registry.subscriptions("/topic/x").len();
                noted.add(format!("{} {seen:?} {found}", line(event)));
                if let Event::Subscribed { session, .. } = event {
                    assert!(registry.close_session(session.id(), "not here"));
                    assert_eq!(registry.close_user("alice", "not here"), 1);
                }
            })
        })
        .start()
        .await;
    *slot.lock() = Some(server.messaging().registry());
    let mut client = Client::connect_as(&server, "alice").await;
    client
        .send("SUBSCRIBE\nid:0\ndestination:/topic/x\n\n\0")
        .await;
    client.expect_close(1008, "not here").await;
    log.reads([
        "connect (0, 0) 0",
        "connected (1, 1) 0",
        "subscribed 0 /topic/x (1, 1) 1",
        "disconnected Server 1008 (0, 0) 0",
    ])
    .await;
}

/// What happened to each session, of hundreds that come and go at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_has_its_events_in_order() {
    type Stories = Arc<Mutex<HashMap<SessionId, Vec<String>>>>;
    let stories = Stories::default();
    let told = Arc::clone(&stories);
    let server = Setup::new()
        .builder(move |builder| {
            builder.on_event(move |event| {
                if let Event::Connect { session }
                | Event::Connected { session }
                | Event::Subscribed { session, .. }
                | Event::Unsubscribed { session, .. }
                | Event::Disconnected { session, .. } = event
                {
                    let mut stories = told.lock();
                    stories.entry(session.id()).or_default().push(line(event));
                }
            })
        })
        .start()
        .await;
    let server = Arc::new(server);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..10 {
        let server = Arc::clone(&server);
        tasks.spawn(async move {
            for number in 0..20 {
                let mut client = Client::connect_as(&server, "alice").await;
                client.subscribe("a", "/topic/x").await;
                match (task + number) % 3 {
                    0 => client.reset(),
                    1 => client.send("UNSUBSCRIBE\nid:a\n\n\0DISCONNECT\n\n\0").await,
                    _ => client.close(1000, "").await,
                }
            }
        });
    }
    tasks.join_all().await;
    server
        .counted("all are gone", |stats| stats.sessions_open == 0)
        .await;
    let stories = stories.lock();
    assert_eq!(stories.len(), 200);
    let mut ends = HashMap::new();
    for story in stories.values() {
        let (last, before) = story.split_last().unwrap();
        *ends.entry(last.clone()).or_insert(0) += 1;
        let expected = ["connect", "connected", "subscribed a /topic/x"];
        assert_eq!(before[..3], expected);
        // Of what one read brings, the DISCONNECT may be found first as the end of the stream.
        assert!(
            before.len() == 3 || before[3..] == ["unsubscribed a /topic/x"],
            "{story:?}"
        );
    }
    assert_eq!(ends.values().sum::<i32>(), 200, "{ends:?}");
    assert_eq!(
        ends.get("disconnected Vanished 1001"),
        Some(&67),
        "{ends:?}"
    );
}

/// Two stacks in one process tell their own.
#[tokio::test]
async fn two_stacks_do_not_hear_each_other() {
    let (one, two) = (Log::default(), Log::default());
    let first = Setup::new().builder(noting(&one)).start().await;
    let second = Setup::new().builder(noting(&two)).start().await;
    let _client = Client::connect_as(&first, "alice").await;
    one.reads(["broker available", "connect", "connected"])
        .await;
    two.reads(["broker available"]).await;
    let users = |server: &Server| server.messaging().registry().user_count();
    assert_eq!((users(&first), users(&second)), (1, 0));
    eventually("counted apart", || second.stats().sessions_total == 0).await;
}
