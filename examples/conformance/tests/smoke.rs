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
        let mut child = Command::new(env!("CARGO_BIN_EXE_conformance"))
            .args(["--listen", "127.0.0.1:0", "--stomp-tcp", "127.0.0.1:0"])
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
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let host = &self.http;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
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
    assert_eq!(tcp.connected().headers.get("heart-beat"), Some("4000,4000"));
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
