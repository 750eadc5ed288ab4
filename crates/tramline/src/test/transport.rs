//! The pipe between a test's client and its session.

use std::io;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::DuplexStream;
use tramline_broker::Message;
use tramline_stomp::Version;

use crate::net::transport::io::{Batch, Io};
use crate::net::transport::tcp::Tcp;
use crate::net::transport::{Chunks, Lost, Transport};

/// Code and reason with which a browser would see its WebSocket closed.
pub(super) type Close = OnceLock<(u16, String)>;

/// STOMP on a stream, as over TCP, but with a close outside the stream, like a WebSocket's: so there is an ERROR where
/// a browser would see one, and none elsewhere.
#[derive(Debug)]
pub(super) struct Memory {
    stream: Tcp,
    close: Arc<Close>,
}

impl Memory {
    pub(super) fn new(stream: DuplexStream, close: Arc<Close>) -> Self {
        Self {
            stream: Tcp::new(Io::Other(Box::new(stream))),
            close,
        }
    }
}

impl Transport for Memory {
    const NAME: &'static str = "memory";

    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        chunks: &mut Chunks,
    ) -> Poll<Result<(), Lost>> {
        self.stream.poll_receive(context, chunks).map_err(|lost| {
            if matches!(lost, Lost::HalfClosed) {
                return Lost::Vanished("the test's client is gone".to_owned());
            }
            lost
        })
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_ready(context)
    }

    fn unsent(&self) -> usize {
        self.stream.unsent()
    }

    fn transmit(&mut self, batch: &mut Batch) {
        self.stream.transmit(batch);
    }

    fn frame(&mut self, frame: &[u8], batch: &mut Batch) {
        self.stream.frame(frame, batch);
    }

    fn message(
        &mut self,
        head: &[u8],
        version: Version,
        message: &Message,
        batch: &mut Batch,
    ) -> bool {
        self.stream.message(head, version, message, batch)
    }

    fn write(&mut self, context: &mut Context<'_>, batch: &Batch) -> io::Result<()> {
        self.stream.write(context, batch)
    }

    fn close(&mut self, code: u16, reason: &str, batch: &mut Batch) {
        self.close.get_or_init(|| (code, reason.to_owned()));
        self.stream.close(code, reason, batch);
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_close(context)
    }
}
