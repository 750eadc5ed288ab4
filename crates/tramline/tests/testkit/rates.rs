//! Floods: of frames, of bytes, of guesses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tramline::limits::{Rate, Rates};
use tramline::login::ConnectRefused;
use tramline::policy::{Policy, permit};
use tramline::test::TestMessaging;
use tramline::{Connect, EmbeddedBroker, MessageRouter, Messaging, User};

async fn login(connect: Connect) -> Result<Option<User>, ConnectRefused> {
    match (connect.login(), connect.passcode()) {
        (None, _) => Ok(connect.user()),
        (Some(name), Some("right")) => Ok(Some(User::new(name.to_owned()))),
        _ => Err(ConnectRefused::new("login or passcode is wrong")),
    }
}

fn app(change: impl FnOnce(&mut Rates)) -> TestMessaging {
    let mut rates = Rates::default();
    change(&mut rates);
    let messaging = Messaging::builder()
        .routes(MessageRouter::new().connect(login))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(permit()))
        .rates(rates)
        .build()
        .unwrap();
    TestMessaging::new(messaging).with_deadline(Duration::from_secs(100))
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, last], 4000))
}

#[tokio::test(start_paused = true)]
async fn who_sends_too_fast_is_slowed_down_and_loses_nothing() {
    let app = app(|rates| rates.frames = Some(Rate::per_second(10).burst(20)));
    let mut news = app.connect().await.subscribe("/topic/news").await;
    let flood = app.connect_with(|client| client.remote(address(1))).await;
    let start = Instant::now();
    for round in 0..10 {
        for number in 0..10 {
            flood.send_without_receipt("/topic/news", format!("{}", round * 10 + number));
        }
        // What has arrived together is handled together.
        flood.send("/topic/else", "").await;
    }
    for number in 0..100 {
        assert_eq!(news.next_text().await, number.to_string());
    }
    assert!(
        start.elapsed() >= Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(app.stats().too_fast, 0);
}

#[tokio::test(start_paused = true)]
async fn who_goes_on_is_closed_and_others_notice_nothing() {
    let app = app(|rates| {
        rates.bytes = Some(Rate::per_second(1000).burst(2000));
        rates.patience = Duration::from_secs(20);
    });
    let flood = app.connect_with(|client| client.remote(address(1))).await;
    let other = app.connect_with(|client| client.remote(address(2))).await;
    let local = app
        .connect_with(|client| client.remote(([127, 0, 0, 1], 1).into()))
        .await;
    let start = Instant::now();
    let flooding = async {
        loop {
            flood.send_without_receipt("/topic/news", "x".repeat(1000));
            local.send_without_receipt("/topic/news", "x".repeat(1000));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let end = tokio::select! {
        biased;
        end = flood.closed() => end,
        () = flooding => unreachable!("it goes on until it is closed"),
    };
    assert_eq!(end.code(), Some(1008));
    let reason = "more than 1000 a second, 2000 at once for 20s (`Rates::bytes`)";
    assert!(end.reason().contains(reason), "{}", end.reason());
    assert!(start.elapsed() >= Duration::from_secs(20));
    other.send("/topic/news", "x").await;
    local.send("/topic/news", "x").await;
    assert_eq!(app.stats().too_fast, 1);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_one_user_have_one_rate() {
    let app = app(|rates| rates.frames = Some(Rate::per_second(10).burst(20)));
    let start = Instant::now();
    for last in 1..=5 {
        let alice = app
            .connect_with(|client| client.user("alice").remote(address(last)))
            .await;
        for _ in 0..10 {
            alice.send("/topic/news", "x").await;
        }
    }
    assert!(
        start.elapsed() >= Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

/// The attack: guessing, from one address and from many.
#[tokio::test(start_paused = true)]
async fn passwords_cannot_be_guessed() {
    let app = app(|_| {});
    let attempt = async |name: &str, passcode: &str, last: u8| {
        let attempt = app.try_connect_with(|client| {
            client
                .login(name.to_owned())
                .passcode(passcode.to_owned())
                .remote(address(last))
        });
        attempt
            .await
            .map_err(|end| end.error().unwrap_or_default().to_owned())
    };
    for number in 0..21 {
        let error = attempt(&format!("user{number}"), "wrong", 1)
            .await
            .unwrap_err();
        assert_eq!(error, "login or passcode is wrong");
    }
    let error = attempt("ann", "right", 1).await.unwrap_err();
    assert!(
        error.starts_with("too many logins were refused; try again in "),
        "{error}"
    );
    attempt("ann", "right", 2).await.unwrap();

    for last in 10..31 {
        let error = attempt("bob", "wrong", last).await.unwrap_err();
        assert_eq!(error, "login or passcode is wrong");
    }
    let error = attempt("bob", "right", 40).await.unwrap_err();
    assert!(error.starts_with("too many"), "{error}");
    attempt("ann", "right", 40).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    attempt("bob", "right", 40).await.unwrap();
}

#[test]
fn rates_at_which_nothing_passes_are_errors() {
    let mut rates = Rates::default();
    rates.frames = Some(Rate::per_second(0));
    let built = Messaging::builder().rates(rates).build();
    let error = built.unwrap_err().to_string();
    assert!(
        error.contains("rate `frames` is 0 a second, 0 at once: nothing could pass"),
        "{error}"
    );
}
