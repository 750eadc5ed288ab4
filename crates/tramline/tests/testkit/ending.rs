//! Sessions that end, by whom and how.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tramline::events::{DisconnectCause, Disconnected};
use tramline::login::ConnectRefused;
use tramline::policy::{Policy, authenticated, deny};
use tramline::test::TestMessaging;
use tramline::{Connect, EmbeddedBroker, MessageRouter, Messaging, State, User};

use super::support::{app, builder, limited, routes};

#[tokio::test(start_paused = true)]
async fn what_is_denied_ends_the_session() {
    let app = app();
    let alice = app.connect_as("alice").await;
    alice.send("/app/admin/reset", ()).await;
    let end = alice.expect_denied("/app/admin/reset").await;
    assert_eq!(
        (end.code(), end.error()),
        (Some(1002), Some("access denied"))
    );
    assert!(
        end.reason().contains("\"/app/admin/reset\" is denied"),
        "{end}"
    );
    assert_eq!(end.to_string().matches("access denied").count(), 1);

    let bob = app.connect_as("bob").await;
    let nothing_comes = bob.subscribe("/topic/secret/plans").await;
    bob.expect_denied("/topic/secret/plans").await;
    drop(nothing_comes);

    let eve = app.connect().await;
    eve.send_without_receipt("/queue/jobs", "mine");
    eve.expect_denied("/queue/jobs").await;
    assert_eq!((app.stats().denied, app.stats().sessions_open), (3, 0));

    let admin = app
        .connect_as(User::new("root").with_roles(["admin"]))
        .await;
    let _plans = admin.subscribe("/topic/secret/plans").await;
}

#[tokio::test(start_paused = true)]
async fn an_error_is_expected_by_a_part_of_its_text() {
    let app = app();
    let alice = app.connect_as("alice").await;
    let _broken = alice.subscribe("/nowhere/at/all").await;
    let end = alice.expect_error("bad destination").await;
    assert_eq!(end.code(), Some(1002), "{end}");
}

#[tokio::test(start_paused = true)]
async fn goodbye_is_said_or_not() {
    let app = app();
    let alice = app.connect_as("alice").await;
    alice.disconnect().await;
    let end = alice.closed().await;
    assert_eq!(
        (end.code(), end.reason(), end.error()),
        (Some(1000), "", None)
    );
    assert_eq!(end.to_string(), "no ERROR, closed with 1000");
    assert_eq!((app.stats().vanished, app.stats().sessions_open), (0, 0));

    let bob = app.connect_as("bob").await;
    let end = bob.cut().await;
    assert_eq!(
        (end.code(), end.to_string()),
        (None, "no ERROR, the connection was lost".into())
    );
    assert_eq!((app.stats().vanished, app.stats().sessions_open), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_lasts_as_long_as_its_client_or_a_subscription() {
    let app = app();
    let mut news = app.connect().await.subscribe("/topic/open").await;
    app.publisher().send("/topic/open", "here").await.unwrap();
    assert_eq!(news.next_text().await, "here");
    assert_eq!(app.stats().sessions_open, 1);
    drop(news);
    // In paused time this returns when all else has come to rest.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((app.stats().sessions_open, app.stats().vanished), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_keeps_the_stack() {
    let mut news = app().connect().await.subscribe("/topic/open").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    news.expect_nothing().await;
    let sender = app().connect().await;
    sender.send("/topic/open", "in another stack").await;
    news.expect_nothing().await;
    let waits = tokio::time::timeout(Duration::from_secs(1), news.next());
    assert!(waits.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_server_shuts_down() {
    let app = app();
    let alice = app.connect_as("alice").await;
    assert_eq!(app.messaging().shutdown(Duration::from_secs(1)).await, 0);
    let end = alice.closed().await;
    assert_eq!(
        (end.code(), end.reason()),
        (Some(1001), "the server is going away")
    );
    assert_eq!(end.error(), None, "as on a WebSocket");
    let late = app.try_connect_with(|c| c.user("bob")).await.unwrap_err();
    assert_eq!(late.code(), Some(1001));
}

#[tokio::test(start_paused = true)]
async fn the_policy_refuses_a_session() {
    let messaging = Messaging::builder()
        .policy(
            Policy::builder()
                .on_connect(authenticated())
                .otherwise(deny()),
        )
        .broker(EmbeddedBroker::new().topics("/topic"));
    let app = TestMessaging::new(messaging.build().unwrap());
    let refused = app.try_connect_with(|c| c).await.unwrap_err();
    assert_eq!(refused.error(), Some("access denied"));
    let alice = app.try_connect_with(|c| c.user("alice")).await.unwrap();
    assert_eq!(alice.user_name().as_deref(), Some("alice"));
    alice.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn a_login_is_exercised() {
    async fn login(connect: Connect) -> Result<Option<User>, ConnectRefused> {
        match (connect.login(), connect.headers().get("token")) {
            (Some("ann"), _) if connect.passcode() == Some("secret") => Ok(Some("Ann".into())),
            (None, Some("t0")) => Ok(Some(User::new("robot"))),
            (None, None) => Ok(connect.user()),
            _ => Err(ConnectRefused::new("who are you?")),
        }
    }
    let app = TestMessaging::new(builder().routes(routes().connect(login)).build().unwrap());
    let ann = app
        .connect_with(|c| c.login("ann").passcode("secret"))
        .await;
    assert_eq!(ann.user_name().as_deref(), Some("Ann"));
    assert!(!ann.transcript().contains("secret"), "{}", ann.transcript());
    let robot = app.connect_with(|c| c.header("token", "t0")).await;
    assert_eq!(robot.user_name().as_deref(), Some("robot"));
    assert_eq!(
        app.connect_as("web").await.user_name().as_deref(),
        Some("web")
    );
    let refused = app
        .try_connect_with(|c| c.login("ann").passcode("guess"))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code(), refused.error()),
        (Some(1002), Some("who are you?"))
    );
    assert_eq!(app.stats().logins_refused, 1);
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_a_slow_consumer() {
    let app = limited(|limits| {
        limits.outbox = 100_000;
        limits.transaction_bytes = 100_000;
    });
    let alice = app.connect_as("alice").await;
    let mut open = alice.subscribe("/topic/open").await;
    alice.freeze();
    for _ in 0..40 {
        app.publisher()
            .send("/topic/open", "x".repeat(10_000))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    alice.thaw();
    let end = alice.closed().await;
    assert_eq!((end.code(), end.error()), (Some(4500), None));
    assert!(end.reason().contains("`Limits::outbox`"), "{end}");
    assert_eq!(app.stats().slow_consumers, 1);
    assert_eq!(
        open.next().await.body().len(),
        10_000,
        "what was on its way"
    );
}

/// What follows from an end has happened when the client's call returns.
#[tokio::test(start_paused = true)]
async fn the_disconnect_handler_has_run() {
    #[derive(Clone, Default)]
    struct Left(Arc<Mutex<Vec<(String, DisconnectCause)>>>);

    async fn left(user: User, why: Disconnected, State(left): State<Left>) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        left.0.lock().push((user.name().to_owned(), why.cause));
    }

    let log = Left::default();
    let routes = MessageRouter::new()
        .disconnect(left)
        .with_state(log.clone());
    let app = TestMessaging::new(builder().routes(routes).build().unwrap());
    app.connect_as("alice").await.disconnect().await;
    app.connect_as("bob").await.cut().await;
    let carol = app.connect_as("carol").await;
    carol.send("/topic/nowhere", ()).await;
    carol.expect_denied("/topic/nowhere").await;
    let dave = app.connect_as("dave").await;
    assert!(app.registry().close_session(dave.session_id(), "go to bed"));
    let end = dave.closed().await;
    assert!(end.reason().contains("go to bed"), "{end}");
    let left: Vec<_> = log.0.lock().drain(..).collect();
    assert_eq!(
        left,
        [
            ("alice".into(), DisconnectCause::Client),
            ("bob".into(), DisconnectCause::Vanished),
            ("carol".into(), DisconnectCause::Refused),
            ("dave".into(), DisconnectCause::Server),
        ]
    );
}
