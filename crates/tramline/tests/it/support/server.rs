//! The server under test: every test has one of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::HeaderName;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tramline::broker::Broker;
use tramline::login::Handshake;
use tramline::policy::{Policy, deny, permit};
use tramline::reply::Payload;
use tramline::{
    Bytes, EmbeddedBroker, Inbound, Json, Limits, MessageRouter, Messaging, MessagingBuilder, Path,
    SockJs, State, Stats, To, User, message,
};

use super::{Client, eventually, within};

/// What a server is made of, before it starts.
pub(crate) struct Setup {
    policy: Policy,
    limits: Limits,
    origins: Vec<&'static str>,
    proxies: Vec<&'static str>,
    sockjs: SockJs,
    own_server: bool,
    broker: Arc<dyn Broker>,
    builder: Change<MessagingBuilder>,
    routes: Change<MessageRouter>,
}

type Change<T> = Box<dyn FnOnce(T) -> T + Send>;

/// A running server. It ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Where STOMP is spoken without HTTP.
    pub(crate) tcp: SocketAddr,
    pub(crate) gate: Gate,
    messaging: Option<Messaging>,
    task: JoinHandle<()>,
    tcp_task: JoinHandle<std::io::Result<()>>,
}

/// Holds the slow handler back, and tells what handlers did.
#[derive(Clone)]
pub(crate) struct Gate {
    started: watch::Sender<usize>,
    open: Arc<Semaphore>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// Waits until the slow handler was started `times` times.
    pub(crate) async fn started(&self, times: usize) {
        let mut started = self.started.subscribe();
        let wait = started.wait_for(|started| *started >= times);
        let waited = tokio::time::timeout(super::DEADLINE, wait).await;
        waited.expect("the slow handler starts").unwrap();
    }

    /// Lets one call of the slow handler go on.
    pub(crate) fn release(&self) {
        self.open.add_permits(1);
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            broker: Arc::new(EmbeddedBroker::new().topics("/topic")),
            policy: open_policy(),
            limits: Limits::default(),
            origins: Vec::new(),
            proxies: Vec::new(),
            sockjs: SockJs::default(),
            own_server: false,
            builder: Box::new(|builder| builder),
            routes: Box::new(|routes| routes),
        }
    }

    pub(crate) fn broker(mut self, broker: impl Broker) -> Self {
        self.broker = Arc::new(broker);
        self
    }

    /// Says what else the stack is made of.
    pub(crate) fn builder(
        mut self,
        change: impl FnOnce(MessagingBuilder) -> MessagingBuilder + Send + 'static,
    ) -> Self {
        let before = self.builder;
        self.builder = Box::new(|builder| change(before(builder)));
        self
    }

    /// Adds to the routes.
    pub(crate) fn routes(
        mut self,
        change: impl FnOnce(MessageRouter) -> MessageRouter + Send + 'static,
    ) -> Self {
        let before = self.routes;
        self.routes = Box::new(|routes| change(before(routes)));
        self
    }

    pub(crate) fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        let limits = &mut self.limits;
        limits.transaction_bytes = limits.transaction_bytes.min(limits.outbox);
        self
    }

    pub(crate) fn origin(mut self, origin: &'static str) -> Self {
        self.origins.push(origin);
        self
    }

    pub(crate) fn trusted_proxy(mut self, proxy: &'static str) -> Self {
        self.proxies.push(proxy);
        self
    }

    /// Serves with [`tramline::serve`] in place of `axum::serve`.
    pub(crate) fn own_server(mut self, own: bool) -> Self {
        self.own_server = own;
        self
    }

    pub(crate) fn sockjs(mut self, change: impl FnOnce(SockJs) -> SockJs) -> Self {
        self.sockjs = change(self.sockjs);
        self
    }

    /// Listens: plain at `/ws`, with SockJS at `/sockjs`, and the same with unstripped paths at `/at` and `/sockjs-at`;
    /// and STOMP on a TCP port of its own.
    pub(crate) async fn start(self) -> Server {
        let gate = Gate {
            started: watch::Sender::new(0),
            open: Arc::new(Semaphore::new(0)),
            log: Arc::default(),
        };
        let messaging = (self.builder)(Messaging::builder())
            .name("test")
            .routes((self.routes)(router(gate.clone())))
            .broker(self.broker)
            .policy(self.policy)
            .limits(self.limits)
            .allowed_origins(self.origins)
            .trusted_proxies(self.proxies)
            .keep_headers([HeaderName::from_static("x-tenant")])
            .build()
            .unwrap();
        let plain_at = messaging.endpoint().at("/at");
        let sockjs_at = messaging
            .endpoint()
            .sockjs(self.sockjs.clone())
            .at("/sockjs-at");
        let app = Router::new()
            .nest_service("/ws", messaging.endpoint())
            .nest_service("/sockjs", messaging.endpoint().sockjs(self.sockjs))
            .route_service("/at", plain_at.clone())
            .route_service("/at/", plain_at.clone())
            .route_service("/at/{*rest}", plain_at)
            .route_service("/sockjs-at", sockjs_at.clone())
            .route_service("/sockjs-at/", sockjs_at.clone())
            .route_service("/sockjs-at/{*rest}", sockjs_at)
            .layer(axum::middleware::from_fn(login));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let own_server = self.own_server;
        let task = tokio::spawn(async move {
            if own_server {
                tramline::serve(listener, app).await.unwrap();
            } else {
                axum::serve(listener, app).await.unwrap();
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = listener.local_addr().unwrap();
        let tcp_task = tokio::spawn(messaging.serve_tcp(listener));
        Server {
            address,
            tcp,
            gate,
            messaging: Some(messaging),
            task,
            tcp_task,
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Setup::new().start().await
    }

    pub(crate) fn messaging(&self) -> &Messaging {
        self.messaging.as_ref().unwrap()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.messaging().stats()
    }

    /// Waits until the counters are so.
    #[track_caller]
    pub(crate) fn counted(
        &self,
        what: &'static str,
        condition: impl Fn(Stats) -> bool,
    ) -> impl Future<Output = ()> {
        let messaging = self.messaging().clone();
        eventually(what, move || condition(messaging.stats()))
    }

    /// Shows that a newcomer is served as always: connects, greets, hears the answer, leaves.
    #[track_caller]
    pub(crate) fn serves(&self) -> impl Future<Output = ()> {
        let connected = Client::connect(self);
        async move {
            let mut client = connected.await;
            client.subscribe("0", "/topic/greetings").await;
            client.send("SEND\ndestination:/app/hello\n\nWorld\0").await;
            client
                .expect_message("/topic/greetings", "Hello, World!")
                .await;
            client.send("DISCONNECT\nreceipt:bye\n\n\0").await;
            client.expect("RECEIPT").await;
            client.expect_close(1000, "").await;
        }
    }

    /// How many subscriptions a message to `destination` reaches now.
    pub(crate) async fn receivers(&self, destination: &'static str) -> usize {
        let publisher = self.messaging().publisher();
        let published = publisher.send(destination, "how many?").await;
        published.unwrap().local_receivers
    }

    /// Waits until no more TCP connections are taken.
    #[track_caller]
    pub(crate) fn tcp_ended(&mut self) -> impl Future<Output = std::io::Result<()>> {
        let at = std::panic::Location::caller();
        let task = &mut self.tcp_task;
        async move {
            let ended = within(at, "the end of serve_tcp", String::new, task);
            ended.await.unwrap()
        }
    }

    /// Drops the application's last handles: the messaging's and, with the web server, the endpoints'.
    pub(crate) async fn drop_handles(&mut self) {
        self.messaging = None;
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        self.tcp_task.abort();
    }
}

/// Everything that the routes need is permitted, and nothing else.
pub(crate) fn open_policy() -> Policy {
    Policy::builder()
        .on_connect(permit())
        .on_message("/app/**", permit())
        .on_message("/topic/open/**", permit())
        .on_message("/user/*/queue/**", permit())
        .on_subscribe("/topic/**", permit())
        .on_subscribe("/user/queue/**", permit())
        .on_subscribe("/app/**", permit())
        .otherwise(deny())
}

/// Handlers for everything that the tests ask.
pub(crate) fn router(gate: Gate) -> MessageRouter {
    #[derive(Deserialize, Serialize)]
    struct Order {
        item: String,
        quantity: u32,
    }

    async fn hello(name: String) -> String {
        format!("Hello, {name}!")
    }
    async fn order(Json(order): Json<Order>) -> Json<Order> {
        Json(order)
    }
    async fn echo(body: Bytes) -> Payload {
        Payload::untyped(body)
    }
    async fn panics(what: String) -> String {
        panic!("the handler was asked to panic: {what}")
    }
    async fn slow(State(gate): State<Gate>, what: String) -> String {
        gate.started.send_modify(|started| *started += 1);
        gate.open.acquire().await.unwrap().forget();
        gate.log.lock().push(format!("slow {what}"));
        format!("slow {what}")
    }
    async fn log(State(gate): State<Gate>, what: String) {
        // Gives others a turn, so that only a session's own order keeps the log in order.
        tokio::task::yield_now().await;
        gate.log.lock().push(what);
    }
    async fn say(Path(room): Path<u32>, line: String) -> String {
        format!("[{room}] {line}")
    }
    async fn tag(Path(tag): Path<String>) -> String {
        tag
    }
    async fn who(user: Option<User>) -> String {
        user.map_or("nobody".into(), |user| user.name().to_owned())
    }
    async fn members(user: User) -> String {
        format!("member {}", user.name())
    }
    async fn lost() -> To<&'static str> {
        To::topic("/nowhere/at/all", "lost")
    }
    async fn three(what: String) -> (To<String>, To<String>, To<String>) {
        let to = |destination| To::topic(destination, what.clone());
        (to("/topic/before"), to("/queue/x"), to("/topic/after"))
    }
    async fn headers(message: Inbound) -> Json<Vec<(String, String)>> {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Json(message.headers().iter().map(own).collect())
    }

    async fn handshake(handshake: Handshake) -> Json<serde_json::Value> {
        let header = |name| handshake.header(&HeaderName::from_static(name));
        Json(serde_json::json!({
            "origin": handshake.origin(),
            "tenant": header("x-tenant"),
            "secret": header("x-secret"),
            "remote": handshake.remote().map(|remote| remote.ip()),
        }))
    }

    MessageRouter::new()
        .route("/handshake", message(handshake).send_to("/topic/handshake"))
        .route("/hello", message(hello).send_to("/topic/greetings"))
        .route("/order", message(order).send_to("/topic/orders"))
        .route("/echo", message(echo).send_to("/topic/echo"))
        .route("/panic", message(panics).send_to("/topic/panics"))
        .route("/slow", message(slow).send_to("/topic/slow"))
        .route("/log", message(log))
        .route(
            "/rooms/{room}/say",
            message(say).send_to("/topic/rooms/{room}"),
        )
        .route("/tags/{tag}", message(tag).send_to("/topic/tags/{tag}"))
        .route("/who", message(who).send_to("/topic/who"))
        .route("/members", message(members).send_to("/topic/members"))
        .route("/lost", message(lost))
        .route("/three", message(three))
        .route("/headers", message(headers).send_to("/topic/headers"))
        .with_state(gate)
}

/// The application's login: believes the header `x-user`, `alice` or `alice:admin,auditor`; and `x-peer` about the address
/// at the other end.
pub(crate) async fn login(
    mut request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    if let Some(header) = request.headers().get("x-user") {
        let header = header.to_str().unwrap().to_owned();
        let (name, roles) = header.split_once(':').unwrap_or((&header, ""));
        let roles = roles.split(',').map(str::to_owned);
        request
            .extensions_mut()
            .insert(User::new(name).with_roles(roles));
    }
    if let Some(peer) = request.headers().get("x-peer") {
        let peer: SocketAddr = peer.to_str().unwrap().parse().unwrap();
        request.extensions_mut().insert(peer);
    }
    next.run(request).await
}

/// Short enough that tests do not wait, long enough that a busy machine does not trip over it.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
