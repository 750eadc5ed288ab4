//! Starts the binary on free ports and talks to each of its services.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tramline_client::Client;

/// The running binary; it ends when this is dropped.
struct Server {
    child: Child,
    http: String,
    tcp: String,
}

impl Server {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_conformance"))
            .args(["--listen", "127.0.0.1:0", "--stomp-tcp", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |what: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(what).unwrap().to_owned()
        };
        Self {
            http: address("HTTP: http://"),
            tcp: address("STOMP over TCP: "),
            child,
        }
    }

    async fn stream(&self) -> impl AsyncRead + AsyncWrite + Send + Unpin + use<> {
        tokio::net::TcpStream::connect(&self.tcp).await.unwrap()
    }

    fn get(&self, path: &str) -> String {
        self.ask("GET", path, "")
    }

    fn post(&self, path: &str, body: &str) -> String {
        let body = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.ask("POST", path, &body)
    }

    fn ask(&self, method: &str, path: &str, rest: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let host = &self.http;
        let end = if rest.is_empty() { "\r\n" } else { rest };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{end}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already where the test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn stomp_over_tcp_and_web_socket_meet_at_one_broker() {
    let server = Server::start();
    let url = format!("ws://{}/stomp", server.http);
    let web = Client::connect(url).login("guest", "guest").await.unwrap();
    let tcp = Client::over(server.stream().await)
        .login("guest", "guest")
        .max_body(4 * 1024 * 1024)
        .await
        .unwrap();
    assert_eq!(tcp.connected().headers.get("heart-beat"), Some("1000,1000"));
    assert_eq!(tcp.connected().user_name.as_deref(), Some("guest"));
    for destination in ["/topic/a", "/queue/a"] {
        let mut messages = tcp
            .subscribe(destination)
            .inbox(64 * 1024 * 1024)
            .await
            .unwrap();
        let body = "x".repeat(4 * 1024 * 1024);
        web.send(destination, body.clone()).receipt().await.unwrap();
        let message = messages.next().await.unwrap().unwrap();
        assert!(message.body == body, "{} bytes", message.body.len());
    }
    tcp.disconnect().await.unwrap();
    web.disconnect().await.unwrap();
}

#[tokio::test]
async fn what_has_its_receipt_outlives_a_kill() {
    let data = std::env::temp_dir().join(format!("tramline-conformance-{}", std::process::id()));
    let arguments = ["--data", data.to_str().unwrap()];
    let client = async |server: &Server| {
        let client = Client::over(server.stream().await);
        client.login("guest", "guest").await.unwrap()
    };
    // Dropping it kills it.
    let server = Server::start_with(&arguments);
    let publisher = client(&server).await;
    for body in ["1", "2"] {
        let send = publisher.send("/queue/durable/a", body);
        let send = send.header("persistent", "true").header("kind", "order");
        send.receipt().await.unwrap();
    }
    let send = publisher.send("/queue/a", "3").header("persistent", "true");
    let refused = send.receipt().await.unwrap_err().to_string();
    assert!(
        refused.contains("does not support the header `persistent`"),
        "{refused}"
    );
    let subscribed = client(&server).await;
    let subscribe = |client: &Client| {
        let subscribe = client.subscribe("/topic/durable/a");
        subscribe.header("activemq.subscriptionName", "smoke")
    };
    drop(subscribe(&subscribed).await.unwrap());
    subscribed.disconnect().await.unwrap();
    let publisher = client(&server).await;
    publisher
        .send("/topic/durable/a", "4")
        .receipt()
        .await
        .unwrap();
    drop(server);
    let server = Server::start_with(&arguments);
    let consumer = client(&server).await;
    let mut away = subscribe(&consumer).await.unwrap();
    let message = away.next().await.unwrap().unwrap();
    assert_eq!(message.text().unwrap(), "4");
    assert_eq!(message.headers.get("redelivered"), Some("true"));
    let mut messages = consumer.subscribe("/queue/durable/a").await.unwrap();
    for body in ["1", "2"] {
        let message = messages.next().await.unwrap().unwrap();
        assert_eq!(message.text().unwrap(), body);
        assert_eq!(message.headers.get("kind"), Some("order"));
        assert_eq!(message.headers.get("redelivered"), Some("true"));
    }
    drop(server);
    std::fs::remove_dir_all(&data).unwrap();
}

#[tokio::test]
async fn without_a_directory_nothing_is_called_durable() {
    let server = Server::start();
    for destination in ["/queue/durable/a", "/topic/durable/a"] {
        let client = Client::over(server.stream().await);
        let client = client.login("guest", "guest").await.unwrap();
        let send = client.send(destination, "1").receipt();
        let refused = send.await.unwrap_err().to_string();
        assert!(
            refused.contains("start the server with --data DIR"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn others_than_guest_are_refused() {
    let server = Server::start();
    let strangers = [
        Client::over(server.stream().await),
        Client::over(server.stream().await).login("guest", "wrong"),
        Client::over(server.stream().await).login("admin", "guest"),
    ];
    for stranger in strangers {
        let refused = stranger.await.map(drop).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("here both are guest"), "{refused:?}");
    }
}

#[test]
fn sockjs_is_there_and_its_path_is_told_apart() {
    let server = Server::start();
    assert!(server.get("/stomp").ends_with("Welcome to SockJS!\n"));
    assert!(server.get("/stomp/info").contains("\"websocket\":true"));
    assert!(server.get("/stomp//").starts_with("HTTP/1.1 404"));
}

#[test]
fn the_services_of_the_sockjs_script_are_there() {
    let server = Server::start();
    for service in ["/echo", "/disabled_websocket_echo", "/cookie_needed_echo"] {
        let session = format!("{service}/000/abc");
        let opened = server.post(&format!("{session}/xhr"), "");
        assert!(opened.contains("\r\no\n"), "{opened}");
        let text = "x".repeat(1024 * 1024);
        let sent = server.post(&format!("{session}/xhr_send"), &format!("[\"{text}\"]"));
        assert!(sent.starts_with("HTTP/1.1 204"), "{sent}");
        let echo = server.post(&format!("{session}/xhr"), "");
        assert!(echo.matches('x').count() >= text.len());
        let websocket = service != "/disabled_websocket_echo";
        let info = server.get(&format!("{service}/info"));
        assert!(
            info.contains(&format!("\"websocket\":{websocket}")),
            "{info}"
        );
        let cookie = service == "/cookie_needed_echo";
        assert_eq!(opened.contains("JSESSIONID=dummy"), cookie, "{opened}");
        assert!(
            server
                .get(&format!("{service}//"))
                .starts_with("HTTP/1.1 404")
        );
    }
    assert!(server.post("/close/000/abc/xhr", "").contains("\r\no\n"));
    let closed = server.post("/close/000/abc/xhr", "");
    assert!(closed.contains("\r\nc[3000,\"Go away!\"]\n"), "{closed}");
}

#[test]
fn raw_web_socket_echoes_and_closes() {
    let server = Server::start();
    let mut stream = TcpStream::connect(&server.http).unwrap();
    let timeout = Some(Duration::from_secs(10));
    stream.set_read_timeout(timeout).unwrap();
    let host = &server.http;
    let request = format!(
        "GET /raw HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    // "hi" and a Close with 1000, each with a mask of zeros.
    stream
        .write_all(b"\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    assert!(
        answer.ends_with(b"\r\n\r\n\x81\x02hi\x88\x02\x03\xe8"),
        "{answer:?}"
    );
}

#[cfg(unix)]
#[test]
fn sigterm_ends_it_well() {
    let mut server = Server::start();
    let mut session = TcpStream::connect(&server.tcp).unwrap();
    let deadline = Some(Duration::from_secs(10));
    session.set_read_timeout(deadline).unwrap();
    session
        .write_all(b"CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n\0")
        .unwrap();
    let mut first = [0; 9];
    session.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"CONNECTED");
    let kill = Command::new("kill")
        .arg(server.child.id().to_string())
        .status();
    assert!(kill.unwrap().success());
    let mut rest = String::new();
    session.read_to_string(&mut rest).unwrap();
    drop(session);
    assert!(
        rest.contains("ERROR\nmessage:the server is going away\n"),
        "{rest}"
    );
    assert!(server.child.wait().unwrap().success());
}
