//! The log: what clients can write into it, and how much.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tramline::raw::{RawEndpoint, Socket};
use tramline::{EmbeddedBroker, MessageRouter, Messaging, Rejection, message};

use crate::support::{Client, Request, Server, Setup, Tcp};

/// The lines of this thread, on which the server of a test runs too.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn captured() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .without_time()
            .with_max_level(Level::DEBUG)
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn all(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Lines at INFO or above, of this crate.
    fn loud(&self) -> Vec<String> {
        let levels = ["ERROR", " WARN", " INFO"];
        let is_loud = |line: &String| levels.iter().any(|level| line.starts_with(level));
        self.all().into_iter().filter(is_loud).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What a client writes wherever it can: a secret, and what would be a line of its own.
const EVIL: &str = "hunter2\\nERROR forged: all is lost";

fn evil_setup() -> Setup {
    async fn refuses(body: String) -> Result<(), Rejection> {
        Err(Rejection::bad_message(format!("no: {body}")))
    }
    async fn panics(body: String) {
        panic!("no: {body}");
    }
    Setup::new()
        .routes(|routes: MessageRouter| {
            routes
                .route("/refuses/{what}", message(refuses))
                .route("/panics/{what}", message(panics))
        })
        .builder(|builder| {
            builder.on_event(|event| {
                if matches!(event, tramline::events::Event::Subscribed { .. }) {
                    panic!("no: {event:?}");
                }
            })
        })
}

#[tokio::test]
async fn peers_text_is_escaped_and_at_debug_only() {
    let (lines, _guard) = Lines::captured();
    let server = evil_setup().start().await;
    // Frames that end their sessions.
    for frame in [
        format!("SEND\ndestination:/nowhere/{EVIL}\n\nx\0"),
        format!("SEND\ndestination:/topic/closed/{EVIL}\n\nx\0"),
        format!("SUBSCRIBE\nid:0\ndestination:/nowhere/{EVIL}\n\n\0"),
        format!("SUBSCRIBE\nid:0\ndestination:/user/{EVIL}/x\n\n\0"),
        format!("UNSUBSCRIBE\nid:{EVIL}\n\n\0"),
        format!("ACK\nid:{EVIL}\n\n\0"),
        format!("COMMIT\ntransaction:{EVIL}\n\n\0"),
        format!("BEGIN\ntransaction:{EVIL}\n\n\0BEGIN\ntransaction:{EVIL}\n\n\0"),
        format!("SUBSCRIBE\nid:0\ndestination:/topic/x\nack:{EVIL}\n\n\0"),
        "hunter2\rERROR forged\n\n\0".to_owned(),
        "hunter2 ERROR forged\n\n\0".to_owned(),
        "SEND\nAuthorization: Bearer hunter2 without colon\rx\n\n\0".to_owned(),
        "SEND\nhunter2 without colon\n\n\0".to_owned(),
        "SEND\n:hunter2\n\n\0".to_owned(),
        "SEND\nx:hunter2\\q\n\n\0".to_owned(),
        "SEND\ncontent-length:hunter2\n\n\0".to_owned(),
        "SEND\ncontent-length:99999999999999999999999\n\n\0".to_owned(),
    ] {
        let mut client = Client::connect_as(&server, "hunter2").await;
        client.send(&frame).await;
        client.expect("ERROR").await;
    }
    let mut tcp = Tcp::open(&server).await;
    tcp.send(&format!("CONNECT\naccept-version:{EVIL}\n\n\0"))
        .await;
    tcp.expect("ERROR").await;
    // And such as do not.
    let mut client = Client::connect_as(&server, "hunter2").await;
    for destination in ["none", "refuses", "panics"] {
        let send =
            format!("SEND\ndestination:/app/{destination}/{EVIL}\n\nhunter2\nERROR forged\0");
        client.send(&send).await;
    }
    let subscribe =
        format!("SUBSCRIBE\nid:{EVIL}\ndestination:/topic/hunter2\u{202e}\nreceipt:1\n\n\0");
    client.send(&subscribe).await;
    client.expect("RECEIPT").await;
    client.close(3000, "hunter2\nERROR forged").await;
    // Requests.
    for request in [
        Request::get("/ws").with("Origin", "https://hunter2.example"),
        Request::get("/ws/hunter2%0aERROR"),
        Request::post("/sockjs/0/hunter2%0aERROR/xhr_send").body("[]"),
        Request::get("/sockjs/0/a/jsonp?c=hunter2%0aERROR"),
    ] {
        request.begin(&server).await;
    }
    server
        .counted("all are gone", |stats| stats.sessions_open == 0)
        .await;

    let all = lines.all();
    for line in &all {
        let levels = ["ERROR ", " WARN ", " INFO ", "DEBUG "];
        assert!(
            levels.iter().any(|level| line.starts_with(level)) && !line.starts_with("ERROR forged"),
            "a line of a client's own: {line:?}"
        );
        let is_raw = |char: char| char.is_control() || char == '\u{202e}';
        assert!(!line.chars().any(is_raw), "{line:?}");
    }
    let loud = lines.loud();
    assert!(loud.len() > 5, "{loud:#?}");
    for line in &loud {
        assert!(
            !line.contains("hunter2") && !line.contains("forged"),
            "{line}"
        );
    }
    let told = |what: &str| all.iter().any(|line| line.contains(what));
    let evil = "/nowhere/hunter2\\nERROR forged";
    assert!(told(evil), "{all:#?}");
    assert!(told("https://hunter2.example"));
}

/// Few lines, whatever clients do and however often they come back.
#[tokio::test]
async fn a_session_causes_ten_lines_a_minute_and_an_address_sixty() {
    let (lines, _guard) = Lines::captured();
    let server = Server::start().await;
    let open = |peer: &str| Request::upgrade("/ws").with("x-peer", peer).open(&server);
    let mut client = open("192.0.2.1:1").await.connected().await;
    for _ in 0..100 {
        let sends = "SEND\ndestination:/app/none\n\nx\0".repeat(100);
        client.send(&sends).await;
    }
    server
        .counted("all are rejected", |stats| stats.rejected == 10_000)
        .await;
    assert_eq!(lines.loud().len(), 10);
    assert_eq!(server.stats().log_lines_suppressed, 9_990);
    for port in 2..100 {
        let mut client = open(&format!("192.0.2.1:{port}")).await;
        client.send("hunter2\n\n\0").await;
        client.expect("ERROR").await;
    }
    for _ in 0..30 {
        let foreign = Request::get("/ws").with("Origin", "https://evil.example");
        let refused = foreign.with("x-peer", "192.0.2.1:1").send(&server).await;
        assert_eq!(refused.status, 403);
    }
    server
        .counted("all are gone", |stats| stats.sessions_open == 1)
        .await;
    assert_eq!(lines.loud().len(), 60, "{:#?}", lines.loud());
    assert_eq!(server.stats().log_lines_suppressed, 9_990 + 98 - 50 + 30);
    // Another address has its own number.
    let mut client = open("203.0.113.1:1").await;
    client.send("hunter2\n\n\0").await;
    client.expect("ERROR").await;
    server
        .counted("it is gone", |stats| stats.sessions_open == 1)
        .await;
    assert_eq!(lines.loud().len(), 61);
}

#[tokio::test]
async fn raw_handlers_errors_are_bounded_too() {
    let (lines, _guard) = Lines::captured();
    async fn fails(mut socket: Socket) -> Result<(), io::Error> {
        let received = socket.receive().await;
        Err(io::Error::other(format!("hunter2\nERROR: {received:?}")))
    }
    let endpoint = RawEndpoint::builder(fails).build().unwrap();
    let app = axum::Router::new().nest_service("/raw", endpoint.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    struct At(std::net::SocketAddr);
    impl crate::support::Listens for At {
        fn address(&self) -> std::net::SocketAddr {
            self.0
        }
    }
    let at = At(listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    for _ in 0..80 {
        let mut client = Request::upgrade("/raw").open(&at).await.without_stomp();
        client.send("hunter2").await;
        client.expect_close(1011, "the server failed").await;
    }
    assert_eq!(lines.loud().len(), 60);
    assert_eq!(endpoint.stats().log_lines_suppressed, 20);
    assert!(!lines.loud().concat().contains("hunter2"));
    assert!(lines.all().concat().contains("hunter2\\nERROR"));
    task.abort();
}

/// One line says how many were not written.
#[tokio::test(start_paused = true)]
async fn a_line_a_minute_sums_up() {
    let (lines, _guard) = Lines::captured();
    let messaging = Messaging::builder()
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(tramline::policy::Policy::builder().otherwise(tramline::policy::permit()))
        .build()
        .unwrap();
    // At once: the clock goes on while sessions close.
    let sessions = (0..90).map(|_| {
        let (mut near, far) = tokio::io::duplex(1024);
        let session = tokio::spawn(messaging.serve_stream(far, None));
        async move {
            near.write_all(b"hunter2\n\n\0").await.unwrap();
            near.read_to_end(&mut Vec::new()).await.unwrap();
            drop(near);
            session.await.unwrap();
        }
    });
    let mut sessions: tokio::task::JoinSet<()> = sessions.collect();
    while let Some(session) = sessions.join_next().await {
        session.unwrap();
    }
    assert_eq!(messaging.stats().log_lines_suppressed, 30);
    tokio::time::sleep(Duration::from_secs(200)).await;
    let loud = lines.loud();
    assert_eq!(loud.len(), 61, "{loud:#?}");
    assert!(loud[60].contains("suppressed=30"), "{}", loud[60]);
}
