//! An application, its server, and browsers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tramline::policy::{Policy, authenticated};
use tramline::{EmbeddedBroker, MessageRouter, Messaging, User, message};
use tramline_login::{Login, LoginBuilder, MemoryUsers};

/// A test that waits longer has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) fn users() -> MemoryUsers {
    let users = MemoryUsers::new();
    for name in ["ada", "ben"] {
        users.add(name, PASSWORD, ["staff"]).unwrap();
    }
    users
}

async fn say(user: User, line: String) -> String {
    format!("{}: {line}", user.name())
}

/// An application as the crate's page has it.
pub(crate) struct Site {
    pub(crate) users: MemoryUsers,
    pub(crate) login: Login,
    pub(crate) messaging: Messaging,
    pub(crate) address: SocketAddr,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(|login| login).await
    }

    pub(crate) async fn with(options: impl FnOnce(LoginBuilder) -> LoginBuilder) -> Self {
        let users = users();
        let login = Login::builder(users.clone()).open("/").sockets("/ws");
        let login = options(login).build().unwrap();
        let messaging = login
            .bind(Messaging::builder())
            .routes(MessageRouter::new().route("/say", message(say).send_to("/topic/lines")))
            .broker(EmbeddedBroker::new().topics("/topic"))
            .policy(Policy::builder().otherwise(authenticated()))
            .build()
            .unwrap();
        let whoami = async |axum::Extension(user): axum::Extension<User>| user.name().to_owned();
        let app = login.protect(
            Router::new()
                .route("/", get(async || "welcome"))
                .route("/whoami", get(whoami))
                .route(
                    "/orders",
                    post(async |body: String| format!("taken: {body}")),
                )
                .nest_service("/ws", messaging.endpoint().with_sockjs()),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(tramline::serve(listener, app).into_future());
        Self {
            users,
            login,
            messaging,
            address,
        }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser {
            address: self.address,
            cookies: BTreeMap::new(),
        }
    }

    /// A browser in which somebody has logged in.
    pub(crate) async fn logged_in(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        let answer = browser.log_in(name, PASSWORD, "/").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        browser
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Self {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }
}

/// A client with cookies.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    fn cookie(&self) -> String {
        let cookies = self.cookies.iter();
        let cookies: Vec<String> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        cookies.join("; ")
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        if !self.cookies.is_empty() {
            request.push_str(&format!("cookie: {}\r\n", self.cookie()));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{request}content-length: {}\r\n\r\n{body}", body.len())
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut all = headers.to_vec();
        all.push(("connection", "close"));
        let request = self.request(method, path, &all, body);
        let answer = within("an answer", async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let answer = Answer::parse(&answer.await);
        for (name, value) in &answer.headers {
            if name == "set-cookie" {
                let (pair, attributes) = value.split_once(';').unwrap_or((value, ""));
                let (name, value) = pair.split_once('=').unwrap();
                match value.is_empty() || attributes.contains("Max-Age=0") {
                    true => self.cookies.remove(name),
                    false => self.cookies.insert(name.to_owned(), value.to_owned()),
                };
            }
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// As a link or the address bar does it.
    pub(crate) async fn visit(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[("accept", "text/html")], "").await
    }

    /// As a form of the site does it.
    pub(crate) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let origin = format!("http://{}", self.address);
        let headers = [
            ("accept", "text/html"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", origin.as_str()),
            ("sec-fetch-site", "same-origin"),
        ];
        self.ask("POST", path, &headers, &body.finish()).await
    }

    /// The token that a page would send.
    pub(crate) async fn token(&mut self) -> String {
        let answer = self.get("/csrf").await;
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["headerName"], "X-CSRF-TOKEN");
        assert_eq!(json["parameterName"], "_csrf");
        json["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn log_in(&mut self, name: &str, password: &str, next: &str) -> Answer {
        let token = self.token().await;
        let fields = [
            ("name", name),
            ("password", password),
            ("next", next),
            ("_csrf", &token),
        ];
        self.submit("/login", &fields).await
    }

    pub(crate) async fn log_out(&mut self) -> Answer {
        let token = self.token().await;
        self.submit("/logout", &[("_csrf", &token)]).await
    }

    /// The name of the user as the application sees it.
    pub(crate) async fn whoami(&mut self) -> Option<String> {
        let answer = self.get("/whoami").await;
        (answer.status == 200).then_some(answer.body)
    }

    /// Sends a request whose answer comes bit by bit.
    pub(crate) async fn stream(&self, method: &str, path: &str) -> Stream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = self.request(method, path, &[], "");
        stream.write_all(request.as_bytes()).await.unwrap();
        Stream {
            stream,
            read: String::new(),
        }
    }

    /// Opens a WebSocket; `Err` has the status of the answer that refuses it.
    pub(crate) async fn socket(&self, path: &str, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        let url = format!("ws://{}{path}", self.address);
        let mut request = url.into_client_request().unwrap();
        let cookie = self.cookie();
        for (name, value) in headers.iter().copied().chain([("cookie", cookie.as_str())]) {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        use tokio_tungstenite::tungstenite::Error;
        match within("a handshake", tokio_tungstenite::connect_async(request)).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A connected STOMP session over WebSocket.
    pub(crate) async fn stomp(&mut self) -> Socket {
        let token = self.token().await;
        let mut socket = self.socket("/ws", &[]).await.unwrap();
        socket.send(&connect(&token)).await;
        let answer = socket.next().await;
        assert!(answer.starts_with("CONNECTED"), "{answer}");
        socket
    }
}

/// A CONNECT with a token.
pub(crate) fn connect(token: &str) -> String {
    format!("CONNECT\naccept-version:1.2\nhost:x\nX-CSRF-TOKEN:{token}\n\n\0")
}

pub(crate) struct Stream {
    stream: TcpStream,
    pub(crate) read: String,
}

impl Stream {
    /// Reads until `text` has come.
    pub(crate) async fn expect(&mut self, text: &str) {
        while !self.read.contains(text) {
            let mut bytes = [0; 4096];
            let read = within(text, self.stream.read(&mut bytes)).await.unwrap();
            assert!(read > 0, "{text:?} has not come: {}", self.read);
            self.read.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }
}

pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            match within("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads to the close frame: its code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match within("a close frame", self.0.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
