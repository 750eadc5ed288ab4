//! Rules that decide later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tramline::policy::{Policy, check, check_with_state, deny, permit};
use tramline::test::TestMessaging;
use tramline::{
    Connect, EmbeddedBroker, Limits, MessageRouter, Messaging, Path, State, User, message,
    subscribe,
};

/// How long a check takes.
const LONG: Duration = Duration::from_secs(5);

/// Checks that run.
#[derive(Clone, Default)]
struct Running(Arc<AtomicUsize>);

struct Run(Arc<AtomicUsize>);

impl Running {
    fn begin(&self) -> Run {
        self.0.fetch_add(1, Ordering::SeqCst);
        Run(Arc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers as the captured word says, after a while.
async fn answers(
    Path(word): Path<String>,
    State(running): State<Running>,
) -> Result<bool, &'static str> {
    let _run = running.begin();
    sleep(LONG).await;
    match &*word {
        "yes" => Ok(true),
        "no" => Ok(false),
        "never" => std::future::pending().await,
        "panic" => panic!("the check was asked to panic"),
        _ => Err("the database is away"),
    }
}

async fn is_number(Path(_): Path<u32>) -> bool {
    true
}

async fn needs_user(_: User) -> bool {
    true
}

async fn repeat(line: String) -> String {
    line
}

async fn greeting() -> &'static str {
    "welcome"
}

fn app_with(change: impl FnOnce(&mut Limits)) -> (TestMessaging, Running) {
    let running = Running::default();
    let answers = || check_with_state(running.clone(), answers);
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/topic/number/{n}", check(is_number))
        .on_message("/topic/user/*", check(needs_user))
        .on_message("/topic/asked/{word}", answers())
        .on_message("/app/asked/{word}", answers())
        .on_message("/**", permit())
        .on_subscribe("/topic/room/open", permit())
        .on_subscribe("/topic/room/{word}", answers())
        .on_subscribe("/app/asked/{word}", answers())
        .on_subscribe("/topic/asked/*", permit())
        .on_subscribe("/topic/open", permit())
        .on_subscribe("/user/**", permit())
        .otherwise(deny());
    let routes = MessageRouter::new()
        .route("/asked/{word}", message(repeat).send_to("/topic/open"))
        .route("/repeat", message(repeat).send_to("/topic/open"))
        .route("/asked/{word}", subscribe(greeting));
    let mut limits = Limits::default();
    change(&mut limits);
    limits.transaction_bytes = limits.transaction_bytes.min(limits.outbox);
    let messaging = Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic").queues("/queue"))
        .policy(policy)
        .limits(limits)
        .build()
        .unwrap();
    (TestMessaging::new(messaging), running)
}

fn app() -> TestMessaging {
    app_with(|_| {}).0
}

#[tokio::test(start_paused = true)]
async fn a_check_permits_later() {
    let app = app();
    let alice = app.connect().await;
    let start = Instant::now();
    let mut room = alice.subscribe("/topic/room/yes").await;
    assert!(start.elapsed() >= LONG);
    alice.send("/topic/room/yes", "here").await;
    assert_eq!(room.next_text().await, "here");

    let mut heard = alice.subscribe("/topic/asked/*").await;
    alice.send("/topic/asked/yes", "to the broker").await;
    assert_eq!(heard.next_text().await, "to the broker");

    let mut open = alice.subscribe("/topic/open").await;
    alice.send("/app/asked/yes", "to a handler").await;
    assert_eq!(open.next_text().await, "to a handler");

    let mut answer = alice.subscribe("/app/asked/yes").await;
    assert_eq!(answer.next_text().await, "welcome");
    assert!(start.elapsed() >= LONG * 4);
    assert_eq!(app.stats().denied, 0);
}

#[tokio::test(start_paused = true)]
async fn a_check_denies_later() {
    let app = app();
    for destination in ["/topic/asked/no", "/app/asked/no"] {
        let alice = app.connect_as("alice").await;
        let open = app.connect().await.subscribe("/topic/open").await;
        let start = Instant::now();
        alice.send_without_receipt(destination, "x");
        alice.send_without_receipt("/topic/open", "behind it");
        let end = alice.expect_denied(destination).await;
        assert!(start.elapsed() >= LONG);
        let detail =
            format!("SEND to {destination:?} is denied to user \"alice\" by this server's policy");
        assert_eq!((end.code(), end.detail()), (Some(1002), Some(&*detail)));
        open.expect_nothing().await;
    }
    for destination in ["/topic/room/no", "/app/asked/no"] {
        let alice = app.connect().await;
        let _refused = alice.subscribe(destination).await;
        alice.expect_denied(destination).await;
    }
    assert_eq!((app.stats().denied, app.stats().handler_panics), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_decide_denies() {
    let app = app();
    for (destination, panics) in [
        ("/topic/asked/error", 0),
        ("/topic/asked/panic", 1),
        ("/topic/number/seven", 1),
        ("/topic/user/x", 1),
        ("/topic/asked/", 1),
    ] {
        let denied = app.stats().denied;
        let alice = app.connect().await;
        alice.send_without_receipt(destination, "x");
        let end = alice.expect_denied(destination).await;
        let said = end.detail().unwrap_or_default();
        assert!(
            !said.contains("database") && !said.contains("asked to panic"),
            "{said}"
        );
        let stats = app.stats();
        assert_eq!(
            (stats.denied, stats.handler_panics),
            (denied + 1, panics),
            "{destination}"
        );
    }
    let alice = app.connect_as("alice").await;
    alice.send("/topic/user/x", "x").await;
    alice.send("/topic/number/7", "x").await;
}

#[tokio::test(start_paused = true)]
async fn frames_do_not_overtake_one_that_is_checked() {
    let app = app();
    let listener = app.connect().await;
    let mut open = listener.subscribe("/topic/open").await;
    let mut asked = listener.subscribe("/topic/asked/*").await;
    let alice = app.connect().await;
    let start = Instant::now();
    alice.send_without_receipt("/topic/open", "0");
    alice.send_without_receipt("/topic/asked/yes", "1");
    alice.send_without_receipt("/topic/open", "2");
    alice.send_without_receipt("/app/repeat", "3");
    alice.send_without_receipt("/topic/asked/yes", "4");
    alice.send_without_receipt("/topic/open", "5");

    assert_eq!(open.next_text().await, "0");
    assert!(start.elapsed() < LONG, "what came before does not wait");
    assert_eq!(asked.next_text().await, "1");
    assert!(start.elapsed() >= LONG);
    for expected in ["2", "3"] {
        assert_eq!(open.next_text().await, expected);
    }
    assert!(start.elapsed() < LONG * 2);
    assert_eq!(asked.next_text().await, "4");
    assert_eq!(open.next_text().await, "5");
    assert!(start.elapsed() >= LONG * 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_under_check_gets_what_its_client_sends_behind_it() {
    let app = app();
    let alice = app.connect().await;
    let (mut room, ()) = tokio::join!(
        alice.subscribe("/topic/room/yes"),
        alice.send("/topic/room/yes", "to myself")
    );
    assert_eq!(room.next_text().await, "to myself");
}

#[tokio::test(start_paused = true)]
async fn disconnect_waits_for_the_check() {
    let app = app();
    let mut asked = app.connect().await.subscribe("/topic/asked/*").await;
    let alice = app.connect().await;
    let start = Instant::now();
    alice.send_without_receipt("/topic/asked/yes", "last words");
    alice.disconnect().await;
    assert!(
        start.elapsed() >= LONG,
        "its receipt comes behind the check"
    );
    assert_eq!(asked.next_text().await, "last words");
    assert_eq!(alice.closed().await.code(), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn deliveries_and_other_sessions_do_not_wait() {
    let app = app();
    let alice = app.connect().await;
    let mut open = alice.subscribe("/topic/open").await;
    let start = Instant::now();
    alice.send_without_receipt("/topic/asked/yes", "x");
    let bob = app.connect().await;
    bob.send("/topic/open", "meanwhile").await;
    assert_eq!(open.next_text().await, "meanwhile");
    assert!(start.elapsed() < LONG);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sent_before_it_left_is_still_checked() {
    let app = app();
    let listener = app.connect().await;
    let mut asked = listener.subscribe("/topic/asked/*").await;
    let alice = app.connect().await;
    alice.send_without_receipt("/topic/asked/yes", "and gone");
    sleep(LONG / 2).await;
    alice.cut().await;
    assert_eq!(asked.next_text().await, "and gone");

    // Its subscription is nobody's any more, which is no failure, and what is behind is handled.
    let bob = app.connect().await;
    let subscribe = tokio::time::timeout(LONG / 2, bob.subscribe("/topic/room/yes"));
    assert!(subscribe.await.is_err());
    bob.send_without_receipt("/topic/asked/yes", "behind it");
    sleep(LONG / 5).await;
    bob.cut().await;
    assert_eq!(asked.next_text().await, "behind it");
    let stats = app.stats();
    assert_eq!((stats.denied, stats.rejected), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_drops_its_check() {
    let (app, running) = app_with(|limits| limits.outbox = 1_000);
    let alice = app.connect().await;
    let _open = alice.subscribe("/topic/open").await;
    alice.send_without_receipt("/topic/asked/never", "x");
    sleep(LONG * 2).await;
    assert_eq!(running.count(), 1);
    alice.freeze();
    let publisher = app.publisher();
    for _ in 0..200 {
        publisher
            .send("/topic/open", "x".repeat(900))
            .await
            .unwrap();
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!((app.stats().slow_consumers, running.count()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_permitted_to_an_expelled_session_is_not_done() {
    let app = app();
    let asked = app.connect().await.subscribe("/topic/asked/*").await;
    let alice = app.connect().await;
    alice.send_without_receipt("/topic/asked/yes", "x");
    sleep(LONG / 2).await;
    let registry = app.messaging().registry();
    assert!(registry.close_session(alice.session_id(), "out"));
    assert_eq!(alice.closed().await.code(), Some(1008));
    asked.expect_nothing().await;
    assert_eq!((app.stats().denied, app.stats().sessions_open), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_a_check() {
    let (app, running) = app_with(|_| {});
    let alice = app.connect().await;
    alice.send_without_receipt("/topic/asked/yes", "x");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.count(), 1);
    let start = Instant::now();
    assert_eq!(
        app.messaging().shutdown(LONG * 2).await,
        0,
        "it is finished"
    );
    assert!(start.elapsed() >= LONG / 2 && running.count() == 0);

    let (app, running) = app_with(|_| {});
    let bob = app.connect().await;
    bob.send_without_receipt("/topic/asked/never", "x");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.count(), 1);
    assert_eq!(app.messaging().shutdown(LONG).await, 1, "as with a handler");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_is_not_for_a_check_to_decide() {
    let app = app();
    for pattern in ["/topic/room/*", "/topic/*/yes", "/topic/room/**"] {
        let alice = app.connect().await;
        let _refused = alice.subscribe(pattern).await;
        let end = alice.expect_denied(pattern).await;
        let said = end.detail().unwrap_or_default();
        let why =
            "by this server's policy: a check decides about one destination, and this is a pattern";
        assert!(said.ends_with(why), "{said}");
    }
    let alice = app.connect().await;
    let _asked = alice.subscribe("/topic/asked/*").await;
    let _open = alice.subscribe("/topic/room/open").await;
    assert_eq!(app.stats().denied, 3);
}

#[tokio::test(start_paused = true)]
async fn a_check_on_connect() {
    async fn may_enter(connect: Connect, user: Option<User>) -> bool {
        sleep(LONG).await;
        if connect.login() == Some("slow") {
            sleep(LONG * 100).await;
        }
        user.is_some() || connect.headers().get("ticket") == Some("valid")
    }
    async fn login(connect: Connect) -> Option<User> {
        connect
            .login()
            .filter(|name| *name != "slow")
            .map(User::from)
    }
    for routes in [MessageRouter::new(), MessageRouter::new().connect(login)] {
        let has_login = routes.to_string().contains("login");
        let mut limits = Limits::default();
        limits.connect_time = LONG + Duration::from_secs(3);
        let policy = Policy::builder()
            .on_connect(check(may_enter))
            .otherwise(permit());
        let messaging = Messaging::builder()
            .routes(routes)
            .broker(EmbeddedBroker::new().topics("/topic"))
            .policy(policy)
            .limits(limits)
            .build()
            .unwrap();
        let app = TestMessaging::new(messaging);
        let start = Instant::now();
        app.connect_with(|c| c.header("ticket", "valid")).await;
        assert!(start.elapsed() >= LONG);
        let ann = app.try_connect_with(|c| c.login("ann")).await;
        assert_eq!(ann.is_ok(), has_login, "the login is behind the check");

        let end = app.try_connect_with(|c| c).await.unwrap_err();
        let denied = "CONNECT is denied to an anonymous session by this server's policy";
        assert_eq!(
            (end.error(), end.detail()),
            (Some("access denied"), Some(denied))
        );

        let before = app.stats();
        let end = app.try_connect_with(|c| c.login("slow")).await.unwrap_err();
        assert_eq!(end.code(), Some(4500), "{end}");
        assert_eq!(end.reason(), "the login was not decided in time");
        assert_eq!(app.stats().timeouts, before.timeouts + 1);
    }
}
