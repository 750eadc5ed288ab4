//! STOMP on the bare stream: TCP, or an application's wrapper around it.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tramline_broker::Message;
use tramline_stomp::Version;

use super::io::{Batch, Io, Unsent};
use super::{Chunks, Lost, Transport};
use crate::net::wire;

/// A stream whose bytes are STOMP and nothing else.
#[derive(Debug)]
pub(crate) struct Tcp {
    io: Io,
    unsent: Unsent,
    shut_down: bool,
    short: bool,
}

impl Tcp {
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            unsent: Unsent::default(),
            shut_down: false,
            short: false,
        }
    }
}

impl Transport for Tcp {
    const NAME: &'static str = "tcp";
    const TELLS_WHY: bool = false;
    const FOR_BROWSERS: bool = false;

    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        chunks: &mut Chunks,
    ) -> Poll<Result<(), Lost>> {
        let read = self.io.poll_read(context, |input| {
            if input.is_empty() {
                return Err(Lost::HalfClosed);
            }
            chunks.push(Bytes::copy_from_slice(input));
            Ok(())
        });
        read.map(|read| read.unwrap_or_else(|error| Err(Lost::Vanished(error.to_string()))))
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unsent.poll_flush(&mut self.io, context)
    }

    fn unsent(&self) -> usize {
        self.unsent.len()
    }

    fn keep_short(&mut self) {
        self.short = self.io.keep_short();
    }

    fn is_short(&self) -> bool {
        self.short
    }

    fn transmit(&mut self, _: &mut Batch) {}

    fn frame(&mut self, frame: &[u8], batch: &mut Batch) {
        batch.bytes.extend_from_slice(frame);
    }

    fn message(
        &mut self,
        head: &[u8],
        version: Version,
        message: &Message,
        batch: &mut Batch,
    ) -> bool {
        let Some(tail) = wire::tail(message, version) else {
            return false;
        };
        batch.bytes.extend_from_slice(head);
        batch.payload(&tail.bytes);
        true
    }

    fn write(&mut self, context: &mut Context<'_>, batch: &Batch) -> io::Result<()> {
        self.unsent.write(&mut self.io, context, batch)
    }

    fn close(&mut self, _: u16, _: &str, _: &mut Batch) {}

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // The peer's last input is read: a socket that is dropped with unread bytes is reset, and the peer might never
        // see our last output.
        let mut close = || -> Poll<io::Result<()>> {
            ready!(self.unsent.poll_flush(&mut self.io, context))?;
            if !self.shut_down {
                ready!(self.io.poll_shutdown(context))?;
                self.shut_down = true;
            }
            while !ready!(self.io.poll_read(context, |input| input.is_empty()))? {}
            Poll::Ready(Ok(()))
        };
        close().map(|_| ())
    }
}
