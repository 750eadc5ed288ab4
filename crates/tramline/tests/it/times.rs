//! What a handler or a check may take, and what becomes of it when its client leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tramline::policy::{Policy, check, permit};
use tramline::{MessageRouter, message, subscribe};

use crate::support::{Client, Door, ERRORS, SHORT, Server, Setup, Told, eventually};

/// Handlers that never return, and how many of them were called and dropped.
#[derive(Clone)]
struct Endless {
    door: Door,
    dropped: Arc<AtomicUsize>,
}

impl Endless {
    fn new() -> Self {
        Self {
            door: Door::new(),
            dropped: Arc::default(),
        }
    }

    async fn wait(&self) {
        let _told = Told(Arc::clone(&self.dropped));
        self.door.pass().await;
    }

    async fn dropped(&self, times: usize) {
        let dropped = || self.dropped.load(Ordering::Relaxed) == times;
        eventually("the handlers are dropped", dropped).await;
    }
}

fn short(setup: Setup) -> Setup {
    setup.limits(|limits| limits.handler_time = SHORT)
}

/// A server where `route` makes handlers of what never ends.
async fn server(
    setup: Setup,
    route: impl FnOnce(MessageRouter, Endless) -> MessageRouter + Send + 'static,
) -> (Server, Endless) {
    let endless = Endless::new();
    let of_route = endless.clone();
    let server = setup
        .routes(move |routes| route(routes, of_route))
        .start()
        .await;
    (server, endless)
}

fn never(routes: MessageRouter, endless: Endless) -> MessageRouter {
    let wait = move || {
        let endless = endless.clone();
        async move { endless.wait().await }
    };
    routes
        .route("/never", message(wait.clone()))
        .route("/never-concurrent", message(wait.clone()).concurrent(4))
        .route("/asked", subscribe(wait.clone()).message(wait.clone()))
        .route("/left", message(wait).cancel_on_disconnect(true))
}

#[tokio::test]
async fn a_handler_that_never_returns_is_dropped_and_its_session_goes_on() {
    let (server, endless) = server(short(Setup::new()), never).await;
    let mut client = Client::subscribed(&server, [ERRORS, "/topic/slow"]).await;
    for (number, path) in ["never", "never-concurrent"].into_iter().enumerate() {
        let header = format!("correlation-id:{number}\n");
        client
            .post_with(&format!("/app/{path}"), &header, "x")
            .await;
        let rejection = client.expect_rejection("handler-timed-out").await;
        assert_eq!(rejection["destination"], format!("/app/{path}"));
        let text = "the server did not handle this message in time";
        assert_eq!(rejection["error"], text);
        endless.dropped(number + 1).await;
    }
    assert_eq!(server.stats().handler_timeouts, 2);
    server.serves().await;
}

/// The frames behind it are handled, also in a transaction.
#[tokio::test]
async fn what_comes_after_it_is_handled() {
    let (server, endless) = server(short(Setup::new()), never).await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    let frames = [
        "BEGIN\ntransaction:t\n\n\0",
        "SEND\ntransaction:t\ndestination:/app/never\n\nx\0",
        "SEND\ntransaction:t\ndestination:/app/log\n\none\0",
        "COMMIT\ntransaction:t\n\n\0",
        "SEND\ndestination:/app/log\n\ntwo\0",
    ];
    client.send(&frames.concat()).await;
    client.expect_rejection("handler-timed-out").await;
    let gate = server.gate.clone();
    eventually("both are logged", move || gate.log() == ["one", "two"]).await;
    endless.dropped(1).await;
}

#[tokio::test]
async fn a_route_may_have_a_time_of_its_own() {
    let route = |routes: MessageRouter, endless: Endless| {
        let wait = move || {
            let endless = endless.clone();
            async move { endless.wait().await }
        };
        routes.route("/impatient", message(wait).time_limit(SHORT))
    };
    let (server, endless) = server(Setup::new(), route).await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    client.post("/app/impatient", "x").await;
    client.expect_rejection("handler-timed-out").await;
    endless.dropped(1).await;
}

/// A time that no clock can tell is as good as none.
#[tokio::test]
async fn a_time_may_be_without_end() {
    let setup = Setup::new().limits(|limits| {
        limits.handler_time = Duration::MAX;
        limits.connect_time = Duration::MAX;
    });
    let (server, endless) = server(setup, never).await;
    let mut client = Client::connect(&server).await;
    client
        .send("SEND\ndestination:/app/never\nreceipt:7\n\nx\0")
        .await;
    endless.door.came(1).await;
    endless.door.let_in(1);
    client.expect("RECEIPT").await;
}

#[tokio::test]
async fn a_check_that_never_answers_denies() {
    let policy = Policy::builder()
        .on_message(
            "/app/**",
            check(async || std::future::pending::<bool>().await),
        )
        .otherwise(permit());
    let server = short(Setup::new().policy(policy)).start().await;
    let mut client = Client::connect(&server).await;
    client.post("/app/log", "x").await;
    let body = "SEND to \"/app/log\" is denied to an anonymous session by this server's policy";
    client.expect_error("access denied", body).await;
    let stats = server.stats();
    assert_eq!((stats.denied, stats.handler_timeouts), (1, 1));
    assert_eq!(server.gate.log(), [""; 0]);
}

/// Its socket is closed at once, and what it sent is given up in time.
#[tokio::test]
async fn a_client_that_left_holds_no_socket_and_ends_in_time() {
    let (server, endless) = server(short(Setup::new()), never).await;
    let mut client = Client::connect(&server).await;
    let frames = "SEND\ndestination:/app/never\n\nx\0".repeat(9);
    client.send(&frames).await;
    endless.door.came(1).await;
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
    server
        .counted("the session is gone", |stats| stats.sessions_open == 0)
        .await;
    assert!(endless.door.count() < 9, "the time is that of all");
    endless.dropped(endless.door.count()).await;
}

/// The close is answered while the handler runs, and the handler's message still goes out.
#[tokio::test]
async fn a_close_is_answered_while_a_handler_runs() {
    let server = Server::start().await;
    let mut witness = Client::subscribed(&server, ["/topic/slow"]).await;
    let mut client = Client::connect(&server).await;
    client.send("SEND\ndestination:/app/slow\n\nx\0").await;
    server.gate.started(1).await;
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
    server.gate.release();
    witness.expect("MESSAGE").await;
    server
        .counted("one is left", |stats| stats.sessions_open == 1)
        .await;
}

/// By default, of those that answer a subscription; where a route asks for it, also of others.
#[tokio::test]
async fn what_nobody_can_receive_any_more_is_cancelled() {
    let (server, endless) = server(Setup::new(), never).await;
    let subscribes = "SUBSCRIBE\nid:0\ndestination:/app/asked\n\n\0";
    let sends = "SEND\ndestination:/app/left\n\nx\0";
    for (number, frame) in [subscribes, sends].into_iter().enumerate() {
        let mut client = Client::connect(&server).await;
        client.send(frame).await;
        endless.door.came(number + 1).await;
        client.reset();
        endless.dropped(number + 1).await;
    }
    server
        .counted("both are gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.stats().handler_timeouts, 0);
}

#[tokio::test]
async fn a_disconnect_handler_ends_in_time() {
    let endless = Endless::new();
    let of_route = endless.clone();
    let server = short(Setup::new())
        .routes(move |routes| {
            routes.disconnect(move || {
                let endless = of_route.clone();
                async move { endless.wait().await }
            })
        })
        .start()
        .await;
    Client::connect(&server).await.reset();
    endless.dropped(1).await;
    server
        .counted("the session is gone", |stats| {
            stats.sessions_open == 0 && stats.handler_timeouts == 1
        })
        .await;
}
