//! A TCP proxy before a broker that cuts, stalls and refuses, and keeps what it carries to the broker.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::runtime;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mode {
    stalls: bool,
    refuses: bool,
    /// Connections of earlier numbers are cut.
    cuts: u32,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    mode: watch::Sender<Mode>,
    carried: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    pub(crate) fn before(broker: String) -> Self {
        let listener = runtime()
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, seen) = watch::channel(Mode::default());
        let carried = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&carried);
        runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !seen.borrow().refuses {
                    tokio::spawn(carry(
                        client,
                        broker.clone(),
                        seen.clone(),
                        Arc::clone(&kept),
                    ));
                }
            }
        });
        Self {
            address,
            mode,
            carried,
        }
    }

    /// Ends all connections; new ones are accepted.
    pub(crate) fn cut(&self) {
        self.mode.send_modify(|mode| mode.cuts += 1);
    }

    /// Carries nothing more, or goes on.
    pub(crate) fn stall(&self, stalls: bool) {
        self.mode.send_modify(|mode| mode.stalls = stalls);
    }

    /// Closes new connections at once, or no more.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.mode.send_modify(|mode| mode.refuses = refuses);
    }

    /// How often `text` was carried to the broker.
    pub(crate) fn count(&self, text: &str) -> usize {
        let carried = self.carried.lock().unwrap();
        carried
            .windows(text.len())
            .filter(|window| *window == text.as_bytes())
            .count()
    }
}

async fn carry(
    client: TcpStream,
    broker: String,
    mut mode: watch::Receiver<Mode>,
    carried: Arc<Mutex<Vec<u8>>>,
) {
    let Ok(broker) = TcpStream::connect(broker).await else {
        return;
    };
    let cuts = mode.borrow().cuts;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        () = copy(from_client, to_broker, mode.clone(), Some(carried)) => {}
        () = copy(from_broker, to_client, mode.clone(), None) => {}
        _ = mode.wait_for(|mode| mode.cuts != cuts) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    carried: Option<Arc<Mutex<Vec<u8>>>>,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if mode.wait_for(|mode| !mode.stalls).await.is_err() {
            return;
        }
        if let Some(carried) = &carried {
            carried.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
