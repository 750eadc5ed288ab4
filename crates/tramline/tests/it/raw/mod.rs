//! Raw handlers: what they receive and send, what they need not care for, and what their clients may not do.

mod abuse;
mod closing;
mod handshake;
mod limits;
mod messages;
mod sending;
mod sockjs;

use std::net::SocketAddr;

use axum::Router;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tramline::raw::{
    Closed, RawEndpoint, RawEndpointBuilder, RawLimits, RawStats, SendError, Socket, SocketSender,
};

use crate::support::{Client, DEADLINE, Listens, Request, SHORT, eventually, login};

/// A server with one raw endpoint, stripped at `/raw` and unstripped at `/at`. It ends when it is dropped.
struct RawServer {
    address: SocketAddr,
    endpoint: Option<RawEndpoint>,
    task: JoinHandle<()>,
}

impl RawServer {
    async fn start(builder: RawEndpointBuilder) -> Self {
        let endpoint = builder.build().unwrap();
        let app = Router::new()
            .nest_service("/raw", endpoint.clone())
            .layer(axum::middleware::from_fn(login));
        Self::serve(Some(endpoint), app).await
    }

    async fn serve(endpoint: Option<RawEndpoint>, app: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            endpoint,
            task,
        }
    }

    async fn echo() -> Self {
        Self::start(RawEndpoint::builder(echo)).await
    }

    fn endpoint(&self) -> &RawEndpoint {
        self.endpoint.as_ref().unwrap()
    }

    fn stats(&self) -> RawStats {
        self.endpoint().stats()
    }

    /// A client whose messages are taken as they are.
    #[track_caller]
    fn client(&self) -> impl Future<Output = Client> + use<> {
        let opened = Request::upgrade("/raw").open(self);
        async move { opened.await.without_stomp() }
    }

    /// Waits until the counters are so.
    #[track_caller]
    fn counted(
        &self,
        what: &'static str,
        condition: impl Fn(RawStats) -> bool,
    ) -> impl Future<Output = ()> {
        let endpoint = self.endpoint().clone();
        eventually(what, move || condition(endpoint.stats()))
    }

    /// Shows that a newcomer is served as always; for servers that echo.
    #[track_caller]
    fn echoes(&self) -> impl Future<Output = ()> + use<> {
        let client = self.client();
        async move {
            let mut client = client.await;
            client.send("still there?").await;
            assert_eq!(client.expect_text().await, "still there?");
            client.close(1000, "").await;
            client.expect_close(1000, "").await;
        }
    }
}

impl Listens for RawServer {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut socket: Socket) -> Result<(), SendError> {
    while let Some(message) = socket.receive().await {
        socket.send(message).await?;
    }
    Ok(())
}

fn limits(change: impl FnOnce(&mut RawLimits)) -> RawLimits {
    let mut limits = RawLimits::default();
    change(&mut limits);
    limits
}

/// A handler that hands its socket to the test and waits for leave to return.
fn handed_over() -> (RawEndpointBuilder, mpsc::UnboundedReceiver<Socket>) {
    let (hand, sockets) = mpsc::unbounded_channel();
    let builder = RawEndpoint::builder(move |socket: Socket| {
        let hand = hand.clone();
        async move {
            let sender = socket.sender();
            assert!(hand.send(socket).is_ok());
            sender.closed().await;
        }
    });
    (builder, sockets)
}

/// The socket of the next connection.
async fn next(sockets: &mut mpsc::UnboundedReceiver<Socket>) -> Socket {
    let next = tokio::time::timeout(DEADLINE, sockets.recv()).await;
    next.expect("a connection in time").unwrap()
}

/// Why it ended, if that shows in time.
async fn closed(sender: &SocketSender) -> Closed {
    let closed = tokio::time::timeout(DEADLINE, sender.closed()).await;
    closed.expect("the end in time")
}

/// What handlers wrote down.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}
