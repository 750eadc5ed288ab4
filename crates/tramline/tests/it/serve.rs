//! Our own HTTP server: every wait ends, and so does the server.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tramline::login::Handshake;
use tramline::policy::{Policy, permit};
use tramline::serve::{Connections, ServeLimits, ServeStats};
use tramline::{EmbeddedBroker, MessageRouter, Messaging, message};

use crate::support::{DEADLINE, Listens, Request, SHORT, eventually};

/// An application behind our own server. It ends when it is dropped.
struct Web {
    address: SocketAddr,
    connections: Connections,
    /// Lets one request to `/slow` end.
    gate: Arc<Semaphore>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
}

impl Web {
    async fn start(change: impl FnOnce(&mut ServeLimits)) -> Self {
        Self::behind(change, &[]).await
    }

    async fn behind(change: impl FnOnce(&mut ServeLimits), proxies: &[&'static str]) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let messaging = messaging();
        let slow = Arc::clone(&gate);
        let app = Router::new()
            .route("/", get(async || "whole"))
            .route("/large", get(async || vec![b'x'; LARGE]))
            .route("/body", post(async |body: String| body.len().to_string()))
            .route(
                "/slow",
                get(async move || {
                    slow.acquire().await.unwrap().forget();
                    "slow"
                }),
            )
            .nest_service("/ws", messaging.endpoint().with_sockjs());
        let mut limits = ServeLimits::default();
        change(&mut limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tramline::serve(listener, app)
            .limits(limits)
            .trusted_proxies(proxies.iter().copied())
            .with_graceful_shutdown(async move {
                let _ = stopped.await;
            });
        Self {
            address,
            connections: server.connections(),
            gate,
            stop: Some(stop),
            task: tokio::spawn(server.into_future()),
        }
    }

    fn stats(&self) -> ServeStats {
        self.connections.stats()
    }

    #[track_caller]
    fn counted(
        &self,
        what: &'static str,
        condition: impl Fn(ServeStats) -> bool,
    ) -> impl Future<Output = ()> {
        let connections = self.connections.clone();
        eventually(what, move || condition(connections.stats()))
    }

    /// A connection that has sent `bytes`.
    async fn sent(&self, bytes: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(bytes.as_bytes()).await.unwrap();
        socket
    }

    /// A connection that asks for much and reads none of it.
    async fn unread(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut socket = socket.connect(self.address).await.unwrap();
        let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
        socket.write_all(request).await.unwrap();
        socket
    }

    async fn serves(&self) {
        let answer = Request::get("/").with("Connection", "close");
        answer.send(self).await.is(200, "whole");
    }

    /// Waits until there is room for a connection.
    async fn admits(&self) {
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let admitted = async { while !rest(self.sent(request).await).await.ends_with(b"whole") {} };
        let admitted = tokio::time::timeout(DEADLINE, admitted).await;
        admitted.expect("there is room");
    }

    /// Begins the shutdown and waits for its end.
    async fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        let ended = tokio::time::timeout(DEADLINE, &mut self.task).await;
        ended.expect("the server ends").unwrap().unwrap();
    }
}

impl Listens for Web {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// More than the kernel takes for a reader that does not read.
const LARGE: usize = 16 * 1024 * 1024;

const HALF: &str = "GET / HTTP/1.1\r\nHost: nev";

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn messaging() -> Messaging {
    async fn remote(handshake: Handshake) -> String {
        handshake.remote().unwrap().to_string()
    }
    Messaging::builder()
        .routes(MessageRouter::new().route("/remote", message(remote).send_to("/topic/remote")))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(permit()))
        .build()
        .unwrap()
}

/// What comes until the end of the stream, however that ends.
async fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = socket.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(DEADLINE, read)
        .await
        .expect("the connection ends");
    bytes
}

/// Reads the answer to a request for `/` on a connection that stays open.
async fn whole(socket: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"whole") {
        let read = socket.read_buf(&mut answer).await.unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_ends_its_connection() {
    let web = Web::start(|limits| limits.head_time = SHORT).await;
    assert_eq!(rest(web.sent("").await).await, b"");
    assert_eq!(rest(web.sent(HALF).await).await, b"");
    assert_eq!(web.stats().head_timeouts, 2);
    // A further one on the same connection.
    let mut further = web.sent("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    whole(&mut further).await;
    further.write_all(HALF.as_bytes()).await.unwrap();
    assert_eq!(rest(further).await, b"");
    assert_eq!(web.stats().head_timeouts, 3);
    web.serves().await;
}

#[tokio::test]
async fn bytes_now_and_then_do_not_extend_the_time_of_a_head() {
    let web = Web::start(|limits| limits.head_time = SHORT).await;
    let mut socket = web.sent("GET / HTTP/1.1\r\n").await;
    let drip = async {
        while socket.write_all(b"a").await.is_ok() {
            tokio::time::sleep(SHORT / 20).await;
        }
    };
    let dripped = tokio::time::timeout(DEADLINE, drip).await;
    dripped.expect("the connection ends");
    assert_eq!(web.stats().head_timeouts, 1);
    web.serves().await;
}

#[tokio::test]
async fn a_body_that_stalls_is_an_error_and_one_that_goes_on_is_none() {
    let web = Web::start(|limits| limits.body_time = SHORT).await;
    let head = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";
    let stalled = rest(web.sent(&format!("{head}123")).await).await;
    assert!(stalled.starts_with(b"HTTP/1.1 400 "), "{stalled:?}");
    assert_eq!(web.stats().body_timeouts, 1);

    let closing = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let mut slow = web.sent(&closing).await;
    for byte in b"0123456789" {
        tokio::time::sleep(SHORT / 5).await;
        slow.write_all(&[*byte]).await.unwrap();
    }
    let answer = rest(slow).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"10"));
    assert_eq!(web.stats().body_timeouts, 1);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_its_connection() {
    let web = Web::start(|limits| limits.send_time = SHORT).await;
    let unread = web.unread().await;
    web.counted("the time is over", |stats| stats.send_timeouts == 1)
        .await;
    web.counted("it is gone", |stats| stats.http_open == 0)
        .await;
    assert!(rest(unread).await.len() < LARGE);
    // The same answer for one who reads.
    let read = web
        .sent("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(rest(read).await.len() > LARGE);
    assert_eq!(web.stats().send_timeouts, 1);
}

#[tokio::test]
async fn a_connection_without_a_further_request_ends() {
    let web = Web::start(|limits| limits.idle_time = SHORT).await;
    let mut socket = web.sent("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    whole(&mut socket).await;
    assert_eq!(rest(socket).await, b"");
    assert_eq!(web.stats().idle_timeouts, 1);
    // While an answer is awaited there is no such end.
    let slow = web
        .sent("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    tokio::time::sleep(3 * SHORT).await;
    web.gate.add_permits(1);
    assert!(rest(slow).await.ends_with(b"slow"));
    assert_eq!(web.stats().idle_timeouts, 1);
}

#[tokio::test]
async fn http_2_is_refused() {
    let web = Web::start(|_| {}).await;
    let answer = rest(web.sent(PREFACE).await).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
        "{answer:?}"
    );
    web.counted("it is gone", |stats| stats.http_open == 0)
        .await;
    web.serves().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let web = Web::start(|limits| limits.head_bytes = 8192).await;
    let long = "x".repeat(10_000);
    let answer = Request::get("/").with("x-long", &long).send(&web).await;
    assert_eq!(answer.status, 431);
    let long = "x".repeat(4_000);
    let answer = Request::get("/").with("x-long", &long).begin(&web).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn connections_are_bounded_in_all() {
    let web = Web::start(|limits| limits.connections = 3).await;
    let mut first = web.sent("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    whole(&mut first).await;
    let half = web.sent(HALF).await;
    let mut client = Request::upgrade("/ws").open(&web).await.connected().await;
    web.counted("all are there", |stats| stats.connections_total == 3)
        .await;
    for _ in 0..2 {
        let refused = rest(web.sent("").await).await;
        let refused = String::from_utf8(refused).unwrap();
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.ends_with("\r\n\r\ntoo many connections\n"));
    }
    assert_eq!(web.stats().connections_refused, 2);
    // The others do not notice.
    first
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    whole(&mut first).await;
    client.subscribe("0", "/topic/remote").await;

    // Whoever leaves makes room, a WebSocket too.
    drop(half);
    web.counted("it is gone", |stats| stats.http_open == 1)
        .await;
    web.serves().await;
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
    web.admits().await;
    let _half = web.sent(HALF).await;
    web.counted("it has found room", |stats| stats.http_open == 2)
        .await;
    web.admits().await;
}

#[tokio::test]
async fn connections_are_bounded_for_each_address_but_not_for_proxies() {
    let web = Web::start(|limits| limits.connections_per_address = 1).await;
    let half = web.sent(HALF).await;
    web.counted("it is there", |stats| stats.http_open == 1)
        .await;
    let refused = rest(web.sent("").await).await;
    assert!(refused.starts_with(b"HTTP/1.1 503 "));
    // Another address, as far as the server can tell.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(web.address).await.unwrap();
    other
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    whole(&mut other).await;
    assert_eq!(web.stats().connections_refused, 1);
    drop(half);

    let web = Web::behind(
        |limits| limits.connections_per_address = 1,
        &["127.0.0.0/8"],
    )
    .await;
    let _half = web.sent(HALF).await;
    web.counted("it is there", |stats| stats.http_open == 1)
        .await;
    web.serves().await;
    assert_eq!(web.stats().connections_refused, 0);
}

#[tokio::test]
async fn a_proxy_that_is_no_address_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = tramline::serve(listener, Router::<()>::new()).trusted_proxies(["nowhere"]);
    let error = server.await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"nowhere\""), "{error}");
}

#[tokio::test]
async fn handlers_know_the_client_s_address_over_every_transport() {
    let web = Web::start(|_| {}).await;
    let mut client = Request::upgrade("/ws").open(&web).await.connected().await;
    client.subscribe("0", "/topic/remote").await;
    client.send("SEND\ndestination:/app/remote\n\n\0").await;
    let (frame, _) = client.expect_any().await;
    assert!(frame.body.starts_with(b"127.0.0.1:"), "{frame:?}");

    let poll = || Request::post("/ws/0/abc/xhr");
    poll().send(&web).await.is(200, "o\n");
    let send = Request::post("/ws/0/abc/xhr_send").body(
        r#"["CONNECT\naccept-version:1.2\n\n\u0000SEND\ndestination:/app/remote\n\n\u0000"]"#,
    );
    send.send(&web).await.is(204, "");
    let (frame, _) = client.expect_any().await;
    assert!(frame.body.starts_with(b"127.0.0.1:"), "{frame:?}");
    web.counted("nobody speaks HTTP", |stats| stats.http_open == 0)
        .await;
}

#[tokio::test]
async fn frames_behind_the_handshake_are_not_lost() {
    let web = Web::start(|limits| limits.connections = 1).await;
    let mut frame = vec![0x81, 0x80 | 0x22, 0, 0, 0, 0];
    frame.extend_from_slice(b"CONNECT\naccept-version:1.1,1.2\n\n\0\n");
    frame[1] = 0x80 | u8::try_from(frame.len() - 6).unwrap();
    let mut client = Request::upgrade("/ws").pipelined(&frame).open(&web).await;
    client.expect("CONNECTED").await;
    // It has kept its place, and gives it back.
    assert!(rest(web.sent("").await).await.starts_with(b"HTTP/1.1 503 "));
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
    web.admits().await;
}

#[tokio::test]
async fn shutdown_ends_whatever_connections_wait_for() {
    let mut web = Web::start(|limits| limits.shutdown_time = 5 * SHORT).await;
    let silent = web.sent("").await;
    let half = web.sent(HALF).await;
    let mut idle = web.sent("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    whole(&mut idle).await;
    let unread = web.unread().await;
    let body = web
        .sent("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        .await;
    let hanging = web.sent("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let poll = Request::post("/ws/0/abc/xhr").send(&web).await;
    poll.is(200, "o\n");
    let polling = web
        .sent("POST /ws/0/abc/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .await;
    let _preface = web.sent(PREFACE).await;
    web.counted("all are there", |stats| stats.connections_total == 9)
        .await;
    web.stop().await;
    drop((poll, polling));
    let dropped = [silent, half, idle, body, hanging];
    for (n, socket) in dropped.into_iter().enumerate() {
        assert_eq!(rest(socket).await, b"", "connection {n}");
    }
    assert!(rest(unread).await.len() < LARGE);
    web.counted("all are gone", |stats| stats.http_open == 0)
        .await;
    assert_eq!(web.stats().dropped, 4);
    let refused = TcpStream::connect(web.address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn shutdown_waits_for_requests_and_for_nothing_else() {
    let mut web = Web::start(|limits| limits.shutdown_time = Duration::from_secs(3600)).await;
    let slow = web.sent("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let half = web.sent(HALF).await;
    let silent = web.sent("").await;
    web.counted("all are there", |stats| stats.http_open == 3)
        .await;
    let _ = web.stop.take().unwrap().send(());
    assert_eq!(rest(half).await, b"");
    assert_eq!(rest(silent).await, b"");
    web.gate.add_permits(1);
    assert!(rest(slow).await.ends_with(b"slow"));
    let ended = tokio::time::timeout(DEADLINE, &mut web.task).await;
    ended.expect("the server ends").unwrap().unwrap();
    assert_eq!(web.stats().dropped, 0);
}

#[tokio::test]
async fn a_drain_and_then_the_end_of_the_server() {
    let messaging = messaging();
    let app = Router::new().nest_service("/ws", messaging.endpoint().with_sockjs());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address(listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let draining = messaging.clone();
    let server = tramline::serve(listener, app).with_graceful_shutdown(async move {
        let _ = stopped.await;
        assert_eq!(draining.drain(SHORT).await, 0);
    });
    let task = tokio::spawn(server.into_future());
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(
            Request::upgrade("/ws")
                .open(&address)
                .await
                .connected()
                .await,
        );
    }
    Request::post("/ws/0/abc/xhr")
        .send(&address)
        .await
        .is(200, "o\n");
    stop.send(()).unwrap();
    let close = Request::post("/ws/0/abc/xhr").send(&address).await;
    close.is(200, "c[1012,\"retry-after-ms=0..1000\"]\n");
    for mut client in clients {
        client.expect_close(1012, "retry-after-ms=0..1000").await;
    }
    let ended = tokio::time::timeout(DEADLINE, task).await;
    ended.expect("the server ends").unwrap().unwrap();
}

struct Address(SocketAddr);

impl Listens for Address {
    fn address(&self) -> SocketAddr {
        self.0
    }
}
