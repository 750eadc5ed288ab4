//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

/// Accepts connections, and waits while the system has no room for one; `stack` names the listener's owner in the log.
///
/// # Errors
///
/// When the listener does not listen.
pub(crate) async fn accept(
    listener: &TcpListener,
    stack: &str,
    mut accepted: impl FnMut(TcpStream, SocketAddr),
) -> io::Result<()> {
    let mut pause = SHORTEST_PAUSE;
    let mut logged: Option<Instant> = None;
    loop {
        let error = match listener.accept().await {
            Ok((socket, remote)) => {
                pause = SHORTEST_PAUSE;
                accepted(socket, remote);
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
                if logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
                    logged = Some(Instant::now());
                    tracing::warn!(stack, %error, "no connection could be taken; trying again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Between attempts to take a connection while none can be: soon enough that nobody notices a short shortage.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Clients can cause a shortage, and so these lines.
const LOG_EVERY: Duration = Duration::from_secs(10);
