//! Nodes, waits, and logs of events.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tramline::broker::Broker;
use tramline::events::Event;
use tramline::policy::{Policy, deny, permit};
use tramline::presence::Presences;
use tramline::registry::ConnectedSession;
use tramline::test::{TestClient, TestMessaging};
use tramline::{MessageRouter, Messaging, MessagingBuilder, ToUser, User, message};
use tramline_broker::Confirm;

use super::engine::server::Server;
use super::harsh::Harsh;

/// What does not come in this time hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than an engine's answer may take.
const LONG: Duration = Duration::from_secs(120);

/// Waits for an answer of the engine's server, which needs nothing of the runtime.
#[track_caller]
pub(crate) fn wait<T>(confirm: Confirm<T>) -> T {
    let (started, mut confirm) = (Instant::now(), pin!(confirm));
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(answer) = confirm.as_mut().poll(&mut context) {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "it does not come");
        std::thread::yield_now();
    }
}

/// Waits until there is something. The runtime is never idle meanwhile, so that paused time stands still.
pub(crate) async fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: it does not come");
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}

/// Waits until `read` reads `expected`.
pub(crate) async fn reads<T: PartialEq + std::fmt::Debug>(
    mut read: impl FnMut() -> T,
    expected: T,
) {
    let started = Instant::now();
    loop {
        let got = read();
        if got == expected {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{got:?} should be {expected:?}"
        );
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}

/// The events of a node, as lines.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// A node.
pub(crate) struct Node {
    pub(crate) app: TestMessaging,
    pub(crate) engine: Arc<Harsh>,
    pub(crate) log: Log,
    server: Server,
}

/// Nodes that are started, and know each other.
pub(crate) async fn nodes<const COUNT: usize>(change: impl Fn(Harsh) -> Harsh) -> [Node; COUNT] {
    let server = Server::new();
    let nodes = [(); COUNT].map(|()| {
        let engine = Arc::new(change(Harsh::new(server.clone())));
        let (app, log) = app(Arc::clone(&engine));
        Node {
            app,
            engine,
            log,
            server: server.clone(),
        }
    });
    for node in &nodes {
        node.app.start().await.unwrap();
    }
    nodes
}

/// One node.
pub(crate) async fn node() -> Node {
    let [node] = nodes(|engine| engine).await;
    node
}

/// A stack over `broker`, and the log of its events.
pub(crate) fn app(broker: impl Broker) -> (TestMessaging, Log) {
    let log = Log::default();
    let noted = Arc::clone(&log);
    let messaging = builder(broker)
        .on_event(move |event| noted.lock().push(line(event)))
        .build()
        .unwrap();
    (TestMessaging::new(messaging).with_deadline(LONG), log)
}

pub(crate) fn builder(broker: impl Broker) -> MessagingBuilder {
    let routes = MessageRouter::new()
        .route("/tell/ada", message(tell_ada))
        .route("/all-of-mine", message(echo).send_to_user("/queue/x"))
        .route("/reply", message(reply))
        .route("/say", message(echo).send_to("/topic/a"));
    let policy = Policy::builder()
        .on_message("/user/ada/queue/closed", deny())
        .otherwise(permit());
    let presences = Presences::new().announce("/topic/rooms/{room}", "/topic/rooms/{room}/who");
    Messaging::builder()
        .routes(routes)
        .broker(broker)
        .policy(policy)
        .presence(presences)
}

async fn tell_ada(line: String) -> ToUser<String> {
    ToUser::named("ada", "/queue/x", line)
}

async fn echo(line: String) -> String {
    line
}

async fn reply(line: String) -> ToUser<String> {
    ToUser::session("/queue/x", line)
}

impl Node {
    /// A client of the user `name`, which subscribes to nothing by itself.
    pub(crate) async fn connect(&self, name: &str) -> TestClient {
        let user = User::new(name.to_owned());
        let connected = self
            .app
            .connect_with(|client| client.user(user).without_rejections());
        connected.await
    }

    /// Waits until the server has done what was asked of it before, by any node.
    pub(crate) fn settle(&self) {
        wait(self.server.ask(|_| ()));
    }

    /// What happened since the last look.
    pub(crate) fn events(&self) -> Vec<String> {
        self.settle();
        std::mem::take(&mut *self.log.lock())
    }

    /// The names of the users, each with the number of its sessions.
    pub(crate) fn users(&self) -> Vec<(String, usize)> {
        let users = self.app.registry().users();
        let users = users.iter();
        users
            .map(|user| (user.name().to_owned(), user.sessions().len()))
            .collect()
    }

    /// The subscriptions that a message to `destination` would reach: the user of each, and whether it is of this node.
    pub(crate) fn subscribers(&self, destination: &str) -> Vec<(String, bool)> {
        let subscriptions = self.app.registry().subscriptions(destination);
        let mut subscribers: Vec<_> = subscriptions
            .iter()
            .map(|subscription| {
                let session = &subscription.session;
                (user_of(session), session.node().is_none())
            })
            .collect();
        subscribers.sort();
        subscribers
    }
}

fn user_of(session: &ConnectedSession) -> String {
    let user = session.user();
    user.map_or_else(|| "nobody".to_owned(), |user| user.name().to_owned())
}

fn line(event: &Event) -> String {
    match event {
        Event::Connect { session } => format!("connect {}", user_of(session)),
        Event::Connected { session } => format!("connected {}", user_of(session)),
        Event::Subscribed {
            session,
            destination,
            ..
        } => format!("subscribed {} {destination}", user_of(session)),
        Event::Unsubscribed {
            session,
            destination,
            ..
        } => format!("unsubscribed {} {destination}", user_of(session)),
        Event::Disconnected { session, reason } => {
            format!("disconnected {} {:?}", user_of(session), reason.cause)
        }
        Event::Joined { destination, user } => format!("joined {user} {destination}"),
        Event::Left { destination, user } => format!("left {user} {destination}"),
        Event::BrokerAvailable => "available".to_owned(),
        Event::BrokerUnavailable => "unavailable".to_owned(),
        other => panic!("an event that these tests do not know: {other:?}"),
    }
}

/// A client that writes bytes.
pub(crate) struct Raw {
    stream: DuplexStream,
    session: JoinHandle<()>,
    said: String,
}

impl Raw {
    /// One whose session is open.
    pub(crate) async fn connect(messaging: &Messaging) -> Self {
        let (mut stream, server) = tokio::io::duplex(64 * 1024);
        let session = tokio::spawn(messaging.serve_stream(server, None));
        let connect = b"CONNECT\naccept-version:1.2\nhost:x\n\n\0";
        stream.write_all(connect).await.unwrap();
        let mut said = Vec::new();
        while !said.contains(&0) {
            stream.read_buf(&mut said).await.unwrap();
        }
        Self {
            stream,
            session,
            said: String::from_utf8(said).unwrap(),
        }
    }

    /// Sends `frames`, and reads until the server has said `answer`.
    pub(crate) async fn until(&mut self, answer: &str, frames: &str) {
        self.stream.write_all(frames.as_bytes()).await.unwrap();
        while !self.said.contains(answer) {
            let mut more = Vec::new();
            self.stream.read_buf(&mut more).await.unwrap();
            assert!(!more.is_empty(), "{}", self.said);
            self.said.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// Sends `frames`; gives what the server said, to the end of the session.
    pub(crate) async fn last(mut self, frames: &str) -> String {
        self.stream.write_all(frames.as_bytes()).await.unwrap();
        self.stream.read_to_string(&mut self.said).await.unwrap();
        drop(self.stream);
        self.session.await.unwrap();
        self.said
    }
}

/// The frames of a conversation that say how a request went: `RECEIPT 1`, `ERROR 2 access denied`.
pub(crate) fn answers(said: &str) -> Vec<String> {
    let header = |frame: &str, name: &str| {
        let mut lines = frame.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or("-").to_owned()
    };
    let frames = said.split('\0').map(str::trim_start);
    frames
        .filter_map(|frame| match frame.lines().next()? {
            "RECEIPT" => Some(format!("RECEIPT {}", header(frame, "receipt-id"))),
            "ERROR" => Some(format!(
                "ERROR {} {}",
                header(frame, "receipt-id"),
                header(frame, "message")
            )),
            _ => None,
        })
        .collect()
}
