//! Mounted elsewhere than in axum: what a server has to do, and what is said if it does not.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_service::Service;
use tramline::policy::{Policy, permit};
use tramline::{EmbeddedBroker, MessageRouter, Messaging, SockJs, User, message};

use crate::support::{Client, Listens, Request, eventually};

/// A server made by hand: each connection is given to a function.
struct Bare {
    address: SocketAddr,
    /// The accepted sockets, once more.
    sockets: Arc<Mutex<Vec<socket2::Socket>>>,
    task: tokio::task::JoinHandle<()>,
    messaging: Messaging,
}

impl Bare {
    async fn start<F>(serve: impl Fn(Messaging, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let messaging = messaging_for([]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = messaging.clone();
        let sockets = Arc::<Mutex<Vec<socket2::Socket>>>::default();
        let accepted = Arc::clone(&sockets);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let again = socket2::SockRef::from(&socket).try_clone().unwrap();
                accepted.lock().push(again);
                tokio::spawn(serve(served.clone(), socket));
            }
        });
        Self {
            address,
            sockets,
            task,
            messaging,
        }
    }
}

/// A stack whose greeting says whether it knows the user; pages of `origins` may connect too.
fn messaging_for<const N: usize>(origins: [&str; N]) -> Messaging {
    async fn greet(user: Option<User>, name: String) -> String {
        format!("Hello, {name}! {}", user.is_some())
    }
    let routes = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));
    Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(permit()))
        .allowed_origins(origins.map(str::to_owned))
        .build()
        .unwrap()
}

impl Listens for Bare {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn greets(client: &mut Client, greeting: &str) {
    client.subscribe("0", "/topic/greetings").await;
    client.post("/app/hello", "World").await;
    client.expect_message("/topic/greetings", greeting).await;
}

/// An endpoint made for each request, as a function of hyper's is.
async fn answer(
    messaging: Messaging,
    request: hyper::Request<Incoming>,
) -> Result<http::Response<tramline::endpoint::Body>, Infallible> {
    messaging.endpoint().with_sockjs().call(request).await
}

async fn by_hyper(messaging: Messaging, socket: TcpStream) {
    let service = service_fn(|request| answer(messaging.clone(), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let _ = connection.with_upgrades().await;
}

#[tokio::test]
async fn hyper_with_upgrades_carries_websockets() {
    let server = Bare::start(by_hyper).await;
    let opened = Request::upgrade("/").open(&server).await;
    greets(&mut opened.connected().await, "Hello, World! false").await;
    assert!(server.sockets.lock()[0].tcp_nodelay().unwrap());
}

/// The sessions are the messaging's: a request finds those that another endpoint has opened.
#[tokio::test]
async fn an_endpoint_for_each_request_carries_sockjs() {
    let server = Bare::start(by_hyper).await;
    let at = |path: &str| Request::post(&format!("/000/abc/{path}"));
    at("xhr").send(&server).await.is(200, "o\n");
    let connect = at("xhr_send").body(r#"["CONNECT\naccept-version:1.2\n\n\u0000"]"#);
    connect.send(&server).await.is(204, "");
    let connected = at("xhr").send(&server).await;
    assert!(
        connected.body.starts_with(r#"a["CONNECTED\n"#),
        "{}",
        connected.body
    );
    assert_eq!(server.messaging.stats().sessions_total, 1);
}

/// hyper then ends the connection behind its own 101, and knows no one to give it to.
#[tokio::test]
async fn hyper_without_upgrades_is_reported() {
    let server = Bare::start(|messaging, socket| async move {
        let service = service_fn(|request| answer(messaging.clone(), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        let _ = connection.await;
    })
    .await;
    Request::upgrade("/").begin(&server).await;
    let messaging = server.messaging.clone();
    eventually("the failed upgrade is counted", move || {
        messaging.stats().requests_refused == 1
    })
    .await;
    assert_eq!(server.messaging.stats().sessions_total, 0);
}

/// The head of a request, read byte by byte.
async fn head(socket: &mut TcpStream) -> http::request::Parts {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(socket.read_u8().await.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    let mut lines = text.trim_end().lines();
    let mut first = lines.next().unwrap().split(' ');
    let request = http::Request::builder()
        .method(first.next().unwrap())
        .uri(first.next().unwrap());
    let request = lines.fold(request, |request, line| {
        let (name, value) = line.split_once(": ").unwrap();
        request.header(name, value)
    });
    request.body(()).unwrap().into_parts().0
}

async fn write_head<B>(socket: &mut TcpStream, response: &http::Response<B>) {
    let mut text = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    socket.write_all((text + "\r\n").as_bytes()).await.unwrap();
}

async fn by_hand(messaging: Messaging, mut socket: TcpStream) {
    socket.set_nodelay(true).unwrap();
    let mut head = head(&mut socket).await;
    head.extensions.insert(User::new("alice"));
    match messaging.endpoint().accept(head).await {
        Ok(accepted) => {
            write_head(&mut socket, accepted.response()).await;
            accepted.serve_upgraded(socket).await;
        }
        Err(refused) => {
            let (parts, body) = refused.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut refused = http::Response::from_parts(parts, ());
            let length = http::HeaderValue::from(body.len());
            refused.headers_mut().insert("content-length", length);
            write_head(&mut socket, &refused).await;
            socket.write_all(&body).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_without_tower_gives_its_socket_away() {
    let server = Bare::start(by_hand).await;
    let request = Request::upgrade("/anywhere").with("Sec-WebSocket-Protocol", "v12.stomp");
    let answer = request.clone().begin(&server).await;
    assert_eq!(answer.status, 101);
    answer.has("sec-websocket-protocol", "v12.stomp");
    let opened = request.open(&server).await;
    greets(&mut opened.connected().await, "Hello, World! true").await;

    let foreign = Request::upgrade("/").with("Origin", "https://evil.example");
    foreign
        .send(&server)
        .await
        .is(403, "this page may not connect here\n");
    let wrong = Request::upgrade("/").replace("Sec-WebSocket-Version", "8");
    assert_eq!(wrong.send(&server).await.status, 426);
    assert_eq!(server.messaging.stats().origins_refused, 1);
    assert_eq!(server.messaging.stats().requests_refused, 1);
}

/// axum with the layers that applications put around everything, the endpoint below two nestings.
fn layered(messaging: &Messaging) -> Router {
    let sockjs = SockJs::default().cors(false);
    let chat = Router::new().nest_service("/ws", messaging.endpoint().sockjs(sockjs));
    let timeout =
        TimeoutLayer::with_status_code(http::StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(30));
    Router::new()
        .nest("/chat", chat)
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(timeout)
        .layer(CorsLayer::very_permissive())
}

struct Axum {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Listens for Axum {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Axum {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn axum_server(app: Router, own_server: bool) -> Axum {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        match own_server {
            true => tramline::serve(listener, app).await.unwrap(),
            false => axum::serve(listener, app).await.unwrap(),
        }
    });
    Axum { address, task }
}

#[tokio::test]
async fn axum_carries_everything_below_the_usual_layers() {
    let page = "https://app.example";
    for own_server in [false, true] {
        let messaging = messaging_for([page]);
        let server = axum_server(layered(&messaging), own_server).await;
        let upgrade = Request::upgrade("/chat/ws/websocket").with("Origin", page);
        let opened = upgrade.open(&server).await;
        greets(&mut opened.connected().await, "Hello, World! false").await;

        let at =
            |path: &str| Request::post(&format!("/chat/ws/000/abc/{path}")).with("Origin", page);
        let opened = at("xhr").send(&server).await;
        // One layer answers for CORS, not two.
        opened
            .is(200, "o\n")
            .has("access-control-allow-origin", page);
        let connect = at("xhr_send").body(r#"["CONNECT\naccept-version:1.2\n\n\u0000"]"#);
        connect.send(&server).await.is(204, "");
        let mut stream = at("xhr_streaming").begin(&server).await;
        let mut body = String::new();
        while !body.contains("CONNECTED") {
            body += &stream.chunk().await.expect("the stream goes on");
        }
        assert_eq!(messaging.stats().sessions_total, 2);
    }
}

/// A listener whose accepted sockets can be looked at.
struct Watched {
    listener: TcpListener,
    sockets: Arc<Mutex<Vec<socket2::Socket>>>,
}

impl axum::serve::Listener for Watched {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (socket, remote) = self.listener.accept().await.unwrap();
        let again = socket2::SockRef::from(&socket).try_clone().unwrap();
        self.sockets.lock().push(again);
        (socket, remote)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[tokio::test]
async fn axums_sockets_are_set_to_send_at_once() {
    let messaging = messaging_for([]);
    let app = Router::new().nest_service("/ws", messaging.endpoint());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sockets = Arc::default();
    let watched = Watched {
        listener,
        sockets: Arc::clone(&sockets),
    };
    let task = tokio::spawn(async move { axum::serve(watched, app).await.unwrap() });
    let server = Axum { address, task };
    let opened = Request::upgrade("/ws").open(&server).await;
    greets(&mut opened.connected().await, "Hello, World! false").await;
    assert!(sockets.lock()[0].tcp_nodelay().unwrap());
}
