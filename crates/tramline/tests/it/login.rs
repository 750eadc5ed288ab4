//! Who a client is: login and passcode, or a token, in its CONNECT.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderName;
use tokio::sync::Semaphore;
use tramline::login::ConnectRefused;
use tramline::policy::{Policy, authenticated, permit, role};
use tramline::{Connect, User};

use crate::support::{Client, FrameExt, Request, SHORT, Server, Setup, Tcp, eventually};

/// What the application's own code says when it does not know somebody.
struct Unknown;

impl From<Unknown> for ConnectRefused {
    fn from(_: Unknown) -> Self {
        Self::new("login or passcode is wrong")
    }
}

fn roles_of(login: &str, passcode: Option<&str>) -> Result<&'static [&'static str], Unknown> {
    match (login, passcode) {
        ("ann", Some("4nn")) => Ok(&["admin"]),
        ("bob", Some("b0b")) => Ok(&[]),
        _ => Err(Unknown),
    }
}

/// Users by login and passcode; without either, whoever the web session knows.
async fn login(connect: Connect) -> Result<Option<User>, ConnectRefused> {
    // Something to wait for.
    tokio::task::yield_now().await;
    match connect.login() {
        Some("panic") => panic!("the login was asked to panic"),
        Some("nobody") => Ok(None),
        Some(login) => {
            let roles = roles_of(login, connect.passcode())?;
            Ok(Some(User::new(login).with_roles(roles.iter().copied())))
        }
        None => Ok(connect.user()),
    }
}

async fn server() -> Server {
    Setup::new()
        .routes(|routes| routes.connect(login))
        .start()
        .await
}

fn connect(login: &str, passcode: &str) -> String {
    format!("CONNECT\naccept-version:1.2\nlogin:{login}\npasscode:{passcode}\n\n\0")
}

#[tokio::test]
async fn a_login_is_the_sessions_user() {
    let server = server().await;
    let mut ann = Tcp::open(&server).await;
    ann.send(connect("ann", "4nn")).await;
    ann.expect("CONNECTED").await.has("user-name", "ann");
    ann.subscribe("0", "/topic/members").await;
    ann.subscribe("1", "/user/queue/mail").await;
    ann.send("SEND\ndestination:/app/members\n\n\0").await;
    ann.expect_message("/topic/members", "member ann").await;

    let mut bob = Client::open(&server).await;
    bob.send(&connect("bob", "b0b")).await;
    bob.expect("CONNECTED").await.has("user-name", "bob");
    bob.send("SEND\ndestination:/user/ann/queue/mail\n\nhi\0")
        .await;
    ann.expect_message("/user/queue/mail", "hi").await;
    assert_eq!(server.stats().logins_refused, 0);
}

#[tokio::test]
async fn a_refusal_is_an_error_and_the_end() {
    let server = server().await;
    const REFUSED: &str = "login or passcode is wrong";
    for (login, passcode) in [("ann", "b0b"), ("carl", ""), ("", "4nn")] {
        let mut web = Client::open(&server).await;
        web.send(&connect(login, passcode)).await;
        web.expect_error(REFUSED, "").await;

        let mut tcp = Tcp::open(&server).await;
        tcp.send(connect(login, passcode)).await;
        // What follows is not listened to.
        tcp.send("SEND\ndestination:/app/log\n\nin\0").await;
        tcp.expect_error(REFUSED).await;
    }
    server
        .counted("nobody is in", |stats| {
            stats.sessions_open == 0 && stats.logins_refused == 6
        })
        .await;
    let stats = server.stats();
    assert_eq!((stats.messages_received, stats.protocol_errors), (0, 0));
    server.serves().await;
}

#[tokio::test]
async fn the_policy_judges_by_the_login() {
    let server = Setup::new()
        .routes(|routes| routes.connect(login))
        .policy(
            Policy::builder()
                .on_connect(authenticated())
                .on_message("/topic/open/**", role("admin"))
                .otherwise(permit()),
        )
        .start()
        .await;
    let mut ann = Tcp::open(&server).await;
    ann.send(connect("ann", "4nn")).await;
    ann.expect("CONNECTED").await;
    ann.send("SEND\ndestination:/topic/open/x\nreceipt:1\n\nx\0")
        .await;
    ann.expect("RECEIPT").await;

    // The web session's roles went with its user.
    let mut bob = Request::upgrade("/ws")
        .by_user("root:admin")
        .open(&server)
        .await;
    bob.send(&connect("bob", "b0b")).await;
    bob.expect("CONNECTED").await.has("user-name", "bob");
    bob.send("SEND\ndestination:/topic/open/x\n\nx\0").await;
    let denied = "SEND to \"/topic/open/x\" is denied to user \"bob\" by this server's policy";
    bob.expect_error("access denied", denied).await;

    let mut nobody = Request::upgrade("/ws").by_user("root").open(&server).await;
    nobody.send(&connect("nobody", "")).await;
    let denied = "CONNECT is denied to an anonymous session by this server's policy";
    nobody.expect_error("access denied", denied).await;
    assert_eq!(server.stats().denied, 2);
}

#[tokio::test]
async fn without_a_login_the_web_sessions_user_may_stay() {
    let server = server().await;
    let mut root = Request::upgrade("/ws").by_user("root").open(&server).await;
    root.send("CONNECT\naccept-version:1.2\n\n\0").await;
    root.expect("CONNECTED").await.has("user-name", "root");
    let mut anonymous = Tcp::open(&server).await;
    anonymous.send("CONNECT\naccept-version:1.2\n\n\0").await;
    anonymous
        .expect("CONNECTED")
        .await
        .has("user-name", None::<&str>);
}

#[tokio::test]
async fn a_panic_refuses_one_session() {
    let server = Setup::new()
        .routes(|routes| {
            routes.connect(|connect: Connect| {
                assert_ne!(connect.login(), Some("early"), "before there is a future");
                login(connect)
            })
        })
        .start()
        .await;
    for login in ["early", "panic"] {
        let mut client = Client::open(&server).await;
        client.send(&connect(login, "x")).await;
        client
            .expect_error("the server failed to handle this login", "")
            .await;
    }
    let stats = server.stats();
    assert_eq!((stats.handler_panics, stats.logins_refused), (2, 0));
    server.serves().await;
}

#[tokio::test]
async fn the_handler_sees_frame_and_handshake() {
    let server = Setup::new()
        .routes(|routes| {
            routes.connect(async |connect: Connect| {
                let debug = format!("{connect:?}");
                assert!(
                    !debug.contains("s3cret") && debug.contains("bearer"),
                    "{debug}"
                );
                let tenant = HeaderName::from_static("x-tenant");
                let user = connect.user();
                let seen = [
                    connect.login(),
                    connect.passcode(),
                    connect.host(),
                    connect.headers().get("bearer"),
                    connect.headers().get("passcode"),
                    connect.handshake().header(&tenant),
                    Some(connect.handshake().path()),
                    user.as_ref().map(User::name),
                ];
                assert!(connect.handshake().remote().unwrap().ip().is_loopback());
                let seen = seen.map(|value| value.unwrap_or("-")).join(" ");
                Err::<User, _>(ConnectRefused::new(seen))
            })
        })
        .start()
        .await;
    let frame = "CONNECT\naccept-version:1.2\nlogin:ann\npasscode:s3cret\nhost:example\nbearer:s3cret-token\n\n\0";
    let mut web = Request::upgrade("/ws")
        .by_user("root")
        .with("x-tenant", "acme")
        .open(&server)
        .await;
    web.send(frame).await;
    web.expect_error("ann s3cret example s3cret-token - acme / root", "")
        .await;
    let mut tcp = Tcp::open(&server).await;
    tcp.send(frame).await;
    tcp.expect_error("ann s3cret example s3cret-token - -  -")
        .await;
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn a_login_that_takes_too_long_ends_its_session_alone() {
    struct Dropped;
    impl Drop for Dropped {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    let server = Setup::new()
        .limits(|limits| limits.connect_time = SHORT)
        .routes(|routes| {
            routes.connect(async |connect: Connect| {
                if connect.login().is_some() {
                    let _dropped = Dropped;
                    std::future::pending::<()>().await;
                }
                Ok::<Option<User>, ConnectRefused>(None)
            })
        })
        .start()
        .await;
    let mut web = Client::open(&server).await;
    web.send(&connect("slow", "")).await;
    let mut tcp = Tcp::open(&server).await;
    tcp.send(connect("slow", "")).await;
    server.serves().await;
    web.expect_close(4500, "the login was not decided in time")
        .await;
    tcp.expect_error("the login was not decided in time").await;
    assert_eq!(server.stats().timeouts, 2);
    assert_eq!(DROPPED.load(Ordering::Relaxed), 2);
}

static DOOR: Semaphore = Semaphore::const_new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn what_comes_behind_a_slow_login_waits_and_is_handled() {
    let server = Setup::new()
        .routes(|routes| {
            routes.connect(async |connect: Connect| {
                if connect.login().is_some() {
                    ASKED.fetch_add(1, Ordering::Relaxed);
                    DOOR.acquire().await.unwrap().forget();
                }
                Ok::<_, ConnectRefused>(connect.login().map(User::new))
            })
        })
        .start()
        .await;
    let script = connect("ann", "") + "SEND\ndestination:/app/log\nreceipt:1\n\n";
    let mut stays = Tcp::open(&server).await;
    stays.send(script.clone() + "from who stays\0").await;
    eventually("the first is asked", || ASKED.load(Ordering::Relaxed) == 1).await;
    let mut leaves = Tcp::open(&server).await;
    leaves.send(script + "from who leaves\0").await;
    leaves.finish().await;
    eventually("the second is asked", || ASKED.load(Ordering::Relaxed) == 2).await;
    server.serves().await;
    assert_eq!(server.gate.log().len(), 0);

    DOOR.add_permits(2);
    stays.expect("CONNECTED").await.has("user-name", "ann");
    stays.expect("RECEIPT").await;
    leaves.expect("CONNECTED").await.has("user-name", "ann");
    leaves.expect("RECEIPT").await;
    leaves.expect_end().await;
    let mut log = server.gate.log();
    log.sort();
    assert_eq!(log, ["from who leaves", "from who stays"]);
    server
        .counted("one is left", |stats| {
            stats.sessions_open == 1 && stats.vanished == 1
        })
        .await;
}
