//! STOMP without HTTP: a listener's connections, or any stream.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::inbound::SessionInfo;
use crate::messaging::Shared;
use crate::session::SessionTask;
use crate::transport::io::Io;
use crate::transport::tcp::Tcp;
use crate::{Handshake, SessionId};

/// Takes connections until the stack closes.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) -> io::Result<()> {
    let mut closed = pin!(shared.closed());
    let mut taking = pin!(take(&shared, &listener));
    std::future::poll_fn(|context| match closed.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => taking.as_mut().poll(context),
    })
    .await
}

async fn take(shared: &Arc<Shared>, listener: &TcpListener) -> io::Result<()> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let error = match listener.accept().await {
            Ok((socket, remote)) => {
                pause = SHORTEST_PAUSE;
                start(shared, socket, remote);
                continue;
            }
            Err(error) => error,
        };
        match error.kind() {
            // About one connection, which was gone before it was taken.
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted => {}
            // This is no socket that listens, and time does not make it one.
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => return Err(error),
            // Too many open files, or no memory: others have to go first.
            _ => {
                tracing::warn!(stack = %shared.name, %error, ?pause, "no connection could be taken; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Between attempts to take a connection while none can be: soon enough that nobody notices a short shortage, rarely
/// enough that a long one does not fill the log.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

fn start(shared: &Arc<Shared>, socket: TcpStream, remote: SocketAddr) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(stack = %shared.name, %error, "a socket does not take TCP_NODELAY");
    }
    shared.drive();
    tokio::spawn(session(Arc::clone(shared), Io::Tcp(socket), Some(remote)));
}

/// The session on a stream. Must be called inside a runtime, after [`Shared::drive`].
pub(crate) fn session(shared: Arc<Shared>, io: Io, remote: Option<SocketAddr>) -> SessionTask<Tcp> {
    let info = SessionInfo {
        id: SessionId::random(),
        user: None,
        handshake: Handshake {
            remote,
            ..Handshake::default()
        },
    };
    SessionTask::new(shared, info, Tcp::new(io))
}
