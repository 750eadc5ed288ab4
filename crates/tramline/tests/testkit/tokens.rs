//! Logins by token, their end, and their renewal.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use tramline::policy::{Policy, Refusals, authenticated, permit, role};
use tramline::test::{TestClient, TestMessaging};
use tramline::token::{Claims, TokenError, Tokens};
use tramline::{
    Connect, EmbeddedBroker, MessageRouter, Messaging, MessagingBuilder, User, message,
};

/// The wall clock of a test, which its runtime may have paused. It may differ from the server's by milliseconds: what is over
/// has to be over for longer.
fn in_seconds(seconds: i64) -> SystemTime {
    static START: std::sync::OnceLock<(SystemTime, std::time::Instant)> =
        std::sync::OnceLock::new();
    let (start, at) = *START.get_or_init(|| (SystemTime::now(), std::time::Instant::now()));
    let now = Instant::now().into_std();
    let passed = now.saturating_duration_since(at);
    let from_now = Duration::from_secs(seconds.unsigned_abs());
    match seconds < 0 {
        true => start + passed - from_now,
        false => start + passed + from_now,
    }
}

/// Tokens `NAME.ROLE.ID.SECONDS`.
async fn verify(token: String) -> Result<User, TokenError> {
    tokio::task::yield_now().await;
    let parts: Vec<&str> = token.split('.').collect();
    let [name, role, id, seconds] = parts[..] else {
        return Err(match &*token {
            "away" => TokenError::unavailable("no answer"),
            "old" => TokenError::expired(),
            "panic" => panic!("the check was asked to panic"),
            _ => TokenError::invalid("not four parts"),
        });
    };
    let seconds = seconds.parse().map_err(TokenError::invalid)?;
    let claims = serde_json::json!({ "jti": id, "plan": "gold" });
    let claims = claims.as_object().cloned().unwrap_or_default();
    let user = User::new(name).with_roles([role]).with_claims(claims);
    Ok(user.expiring_at(in_seconds(seconds)))
}

#[derive(serde::Deserialize)]
struct Plan {
    plan: String,
}

async fn plan(Claims(claims): Claims<Plan>) -> String {
    claims.plan
}

fn builder(tokens: Tokens) -> MessagingBuilder {
    let policy = Policy::builder()
        .on_connect(authenticated())
        .on_destination("/topic/admin", role("admin"))
        .on_destination("/topic/**", permit())
        .on_message("/app/**", permit())
        .otherwise(tramline::policy::deny());
    Messaging::builder()
        .routes(MessageRouter::new().route("/plan", message(plan).send_to("/topic/plan")))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
        .refusals(Refusals::Notify)
        .tokens(tokens)
}

fn app_with(tokens: Tokens) -> TestMessaging {
    let app = TestMessaging::new(builder(tokens).build().unwrap());
    app.with_deadline(Duration::from_secs(1000))
}

fn app() -> TestMessaging {
    app_with(Tokens::new(verify))
}

async fn login(app: &TestMessaging, token: &str) -> TestClient {
    let bearer = format!("Bearer {token}");
    app.connect_with(|client| client.header("authorization", bearer))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_token_may_be_where_it_was_asked_for_and_nowhere_else() {
    let token = "ann.user.1.600";
    let tokens = || {
        Tokens::new(verify)
            .cookie("token")
            .query("access")
            .passcode()
    };
    let app = app_with(tokens());
    assert_eq!(login(&app, token).await.user_name().as_deref(), Some("ann"));
    let bearer = format!("Bearer {token}");
    let cookie = format!("a=b; token={token}; token2=x");
    let path = format!("/ws?x=y&access={token}");
    for client in [
        app.connect_with(|client| client.request_header("authorization", &bearer))
            .await,
        app.connect_with(|client| client.request_header("cookie", &cookie))
            .await,
        app.connect_with(|client| client.path(&path)).await,
        app.connect_with(|client| client.login("anyone").passcode(token))
            .await,
        app.connect_with(|client| {
            client
                .request_header("cookie", "token=wrong")
                .header("Authorization", bearer.clone())
        })
        .await,
    ] {
        assert_eq!(client.user_name().as_deref(), Some("ann"));
    }
    let app = app_with(Tokens::new(verify));
    for client in [
        app.try_connect_with(|client| client.request_header("cookie", &cookie))
            .await,
        app.try_connect_with(|client| client.path(&path)).await,
        app.try_connect_with(|client| client.passcode(token)).await,
        app.try_connect_with(|client| client).await,
    ] {
        let end = client.unwrap_err();
        assert_eq!(end.error(), Some("access denied"));
    }
    // A middleware's user needs no token.
    assert_eq!(
        app.connect_as("bob").await.user_name().as_deref(),
        Some("bob")
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_refuses_the_login_and_shows_nothing() {
    let app = app();
    for (token, error) in [
        ("secret-nonsense", "the token is not valid"),
        ("old", "the token has expired; connect again with a new one"),
        (
            "ann.user.1.-60",
            "the login has expired; connect again with a new one",
        ),
        (
            "away",
            "the server cannot check tokens now; try again later",
        ),
        ("panic", "the server failed to handle this login"),
    ] {
        let bearer = format!("Bearer {token}");
        let end = app
            .try_connect_with(|client| client.header("Authorization", bearer))
            .await;
        let end = end.unwrap_err();
        assert_eq!(end.error(), Some(error), "{token}");
        assert!(!end.reason().contains(token));
    }
    let stats = app.stats();
    assert_eq!((stats.logins_refused, stats.handler_panics), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn claims_reach_handlers_and_a_connect_handler_sees_the_user() {
    async fn greet(connect: Connect) -> Result<(), tramline::login::ConnectRefused> {
        match connect.user() {
            Some(user) if user.name() == "banned" => {
                Err(tramline::login::ConnectRefused::new("you are banned"))
            }
            _ => Ok(()),
        }
    }
    let routes = MessageRouter::new()
        .connect(greet)
        .route("/plan", message(plan).send_to("/topic/plan"));
    let messaging = builder(Tokens::new(verify)).routes(routes).build().unwrap();
    let app = TestMessaging::new(messaging);
    let ann = login(&app, "ann.user.1.600").await;
    let mut heard = ann.subscribe("/topic/plan").await;
    ann.send("/app/plan", "").await;
    assert_eq!(heard.next_text().await, "gold");
    let refused =
        app.try_connect_with(|client| client.header("Authorization", "Bearer banned.user.1.600"));
    assert_eq!(refused.await.unwrap_err().error(), Some("you are banned"));
    let bob = app.connect_as("bob").await;
    bob.send_without_receipt("/app/plan", "");
    assert_eq!(bob.expect_rejection().await.kind, "anonymous");
}

/// The attack: a client whose token has ended goes on listening.
#[tokio::test(start_paused = true)]
async fn an_expired_token_does_not_keep_listening() {
    let app = app();
    let ann = login(&app, "ann.user.1.600").await;
    let mut notices = ann.subscribe("/user/queue/session").await;
    let news = ann.subscribe("/topic/news").await;
    let start = Instant::now();
    let notice: serde_json::Value = notices.next_json().await;
    assert_eq!(notice["kind"], "token-expiring");
    assert_eq!(notice["renew-at"], "/user/queue/session");
    assert!(
        notice["expires-in"]
            .as_u64()
            .is_some_and(|left| (55..=60).contains(&left)),
        "{notice}"
    );
    assert!(start.elapsed() >= Duration::from_secs(535));
    // Busy, and no frame is missing.
    ann.send("/topic/else", "x").await;
    let end = ann.closed().await;
    assert!(start.elapsed() < Duration::from_secs(602));
    assert_eq!(
        (end.code(), end.reason()),
        (
            Some(1008),
            "the login has expired; connect again with a new one"
        )
    );
    let registry = app.messaging().registry();
    assert!(registry.subscriptions("/topic/news").is_empty());
    drop(news);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_loses_no_message() {
    let app = app();
    let ann = login(&app, "ann.user.1.120").await;
    let mut notices = ann.subscribe("/user/queue/session").await;
    let mut news = ann.subscribe("/topic/news").await;
    let publisher = app.messaging().publisher();
    for round in 0..10 {
        let notice: serde_json::Value = notices.next_json().await;
        assert_eq!(notice["kind"], "token-expiring");
        publisher
            .send("/topic/news", format!("{round} before"))
            .await
            .unwrap();
        ann.send_without_receipt("/user/queue/session", format!("ann.user.{round}.120"));
        ann.send_without_receipt("/topic/news", format!("{round} behind"));
        publisher
            .send("/topic/news", format!("{round} meanwhile"))
            .await
            .unwrap();
        let notice: serde_json::Value = notices.next_json().await;
        assert_eq!(notice["kind"], "token-renewed");
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(news.next_text().await);
        }
        heard.sort_unstable();
        let expected = ["before", "behind", "meanwhile"].map(|what| format!("{round} {what}"));
        assert_eq!(heard, expected);
    }
    assert_eq!(app.stats().denied, 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_not_taken_changes_nothing() {
    let app = app();
    let ann = login(&app, "ann.user.1.600").await;
    for (token, wrong) in [
        ("nonsense", "the token is not valid"),
        ("old", "the token has expired"),
        ("away", "cannot check tokens"),
        ("panic", "failed to check this token"),
        ("bob.admin.2.600", "the token is another user's"),
        ("ann.admin.2.-60", "the login has expired"),
        ("", "there is no token"),
    ] {
        ann.send_without_receipt("/user/queue/session", token);
        let notice = ann.expect_rejection().await;
        assert_eq!(
            (&*notice.kind, &*notice.destination),
            ("token-refused", "/user/queue/session")
        );
        assert!(notice.error.contains(wrong), "{}", notice.error);
    }
    let start = Instant::now();
    assert_eq!(ann.closed().await.code(), Some(1008));
    assert!(start.elapsed() > Duration::from_secs(590));
}

#[tokio::test(start_paused = true)]
async fn a_new_token_has_its_own_roles() {
    let app = app();
    let ann = login(&app, "ann.admin.1.600").await;
    let mut secrets = ann.subscribe("/topic/admin").await;
    ann.send("/topic/admin", "x").await;
    assert_eq!(secrets.next_text().await, "x");
    ann.send("/user/queue/session", "ann.user.2.600").await;
    let notice = ann.expect_rejection().await;
    assert_eq!(
        (&*notice.kind, &*notice.destination),
        ("denied", "/topic/admin")
    );
    app.messaging()
        .publisher()
        .send("/topic/admin", "y")
        .await
        .unwrap();
    secrets.expect_nothing().await;
    ann.send_without_receipt("/topic/admin", "x");
    assert_eq!(ann.expect_rejection().await.kind, "denied");
    ann.send("/user/queue/session", "ann.admin.3.600").await;
    ann.send("/topic/admin", "again").await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_ends_its_sessions_and_is_not_taken_again() {
    let app = app();
    let (one, two) = (
        login(&app, "ann.user.7.600").await,
        login(&app, "ann.user.8.600").await,
    );
    let registry = app.messaging().registry();
    assert_eq!(registry.revoke_token("7", "your device was lost"), 1);
    let end = one.closed().await;
    assert_eq!(
        (end.code(), end.reason()),
        (Some(1008), "your device was lost")
    );
    let again =
        app.try_connect_with(|client| client.header("Authorization", "Bearer ann.user.7.600"));
    assert_eq!(
        again.await.unwrap_err().error(),
        Some("the token was revoked")
    );
    two.send_without_receipt("/user/queue/session", "ann.user.7.600");
    assert_eq!(two.expect_rejection().await.error, "the token was revoked");
    two.send("/topic/news", "x").await;
    // By its new token, a session is found too.
    two.send("/user/queue/session", "ann.user.9.600").await;
    assert_eq!(registry.revoke_token("8", "x"), 0);
    assert_eq!(registry.revoke_token("9", "x"), 1);
    assert_eq!(two.closed().await.code(), Some(1008));
}

#[tokio::test(start_paused = true)]
async fn rights_that_a_login_handler_bounds_end_too() {
    async fn ticket(connect: Connect) -> User {
        User::new(connect.login().unwrap_or("nobody")).expiring_at(in_seconds(30))
    }
    let messaging = Messaging::builder()
        .routes(MessageRouter::new().connect(ticket))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(permit()))
        .build()
        .unwrap();
    let app = TestMessaging::new(messaging);
    let ann = app.connect_with(|client| client.login("ann")).await;
    sleep(Duration::from_secs(29)).await;
    ann.send("/topic/news", "x").await;
    assert_eq!(ann.closed().await.code(), Some(1008));
}
