//! A byte stream with the machines that turn it into STOMP.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use tramline_stomp::{ClientConfig, ClientConnection, ClientEvent};
use tramline_websocket::{CloseCode, Config, Connection, ConnectionState, Event, OpCode};

use crate::error::Error;
use crate::stream::BoxStream;

/// A driven STOMP connection: it reads, writes and sends heart-beats.
///
/// The machine queues frames; [`poll_write`](Self::poll_write) sends them. Once [`poll_event`](Self::poll_event) has
/// returned an error, only [`poll_close`](Self::poll_close) is useful.
pub(crate) struct Link {
    io: BoxStream,
    framing: Framing,
    machine: ClientConnection,
    /// Encoded bytes; `io` has taken those before `written`.
    out: Vec<u8>,
    written: usize,
    /// Bytes that were encoded, and bytes that `io` has taken, in all.
    encoded_total: u64,
    written_total: u64,
    sleep: Pin<Box<Sleep>>,
    /// The reason why reading ended; returned after the events that were read before.
    lost: Option<Error>,
    /// The reason why writing ended; returned after the server's earlier events.
    broken: Option<Error>,
    shut_down: bool,
}

/// The framing of STOMP in the byte stream.
#[derive(Debug)]
pub(crate) enum Framing {
    /// No framing.
    Plain,
    /// WebSocket messages of one frame each.
    WebSocket(Box<Connection>),
}

impl Link {
    /// Creates a link on a stream that is ready for STOMP; the CONNECT frame is queued. `leading` was read from the
    /// stream already.
    pub(crate) fn new(
        io: BoxStream,
        framing: Framing,
        config: ClientConfig,
        leading: &[u8],
    ) -> Self {
        let mut link = Self {
            io,
            framing,
            machine: ClientConnection::new(config, now()),
            out: Vec::new(),
            written: 0,
            encoded_total: 0,
            written_total: 0,
            sleep: Box::pin(sleep_until(Instant::now())),
            lost: None,
            broken: None,
            shut_down: false,
        };
        if !leading.is_empty() {
            link.receive(&mut leading.to_vec());
        }
        link
    }

    pub(crate) fn machine(&mut self) -> &mut ClientConnection {
        &mut self.machine
    }

    /// Returns the server's next event, or the reason why there is none. Reads from the stream only after all earlier
    /// events were returned.
    pub(crate) fn poll_event(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ClientEvent, Error>> {
        loop {
            if let Some(event) = self.machine.poll_event() {
                return Poll::Ready(Ok(event));
            }
            if let Some(error) = &self.lost {
                return Poll::Ready(Err(error.clone()));
            }
            if self.poll_read(context).is_pending() {
                return match &self.broken {
                    Some(error) => Poll::Ready(Err(error.clone())),
                    None => Poll::Pending,
                };
            }
        }
    }

    /// Ready when the machine's timer has fired: there may be an event, or something to write.
    pub(crate) fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(at) = self.machine.next_timeout() {
            let at = Instant::from_std(at);
            if at <= Instant::now() {
                self.machine.handle_timeout(now());
                return Poll::Ready(());
            }
            // A timer that is set too early costs a turn; resetting it at every frame would cost more.
            if self.sleep.is_elapsed() || at < self.sleep.deadline() {
                self.sleep.as_mut().reset(at);
            }
            ready!(self.sleep.as_mut().poll(context));
        }
        Poll::Pending
    }

    /// Returns true if more should be queued before the next write.
    pub(crate) fn has_room(&mut self) -> bool {
        self.encode();
        self.out.len() - self.written < WRITE_SIZE
    }

    /// Encodes everything queued; returns where it ends among all bytes of this link, to compare with
    /// [`written`](Self::written).
    pub(crate) fn mark(&mut self) -> u64 {
        self.encode_below(usize::MAX);
        self.encoded_total
    }

    /// How many bytes the stream has taken and flushed.
    pub(crate) fn written(&self) -> u64 {
        self.written_total
    }

    /// Closes the stream at once.
    pub(crate) fn drop_stream(&mut self) {
        self.io = Box::new(tokio::io::join(tokio::io::empty(), tokio::io::sink()));
    }

    /// The reason why nothing can be written any more.
    pub(crate) fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    /// Writes everything queued, as much in one write as possible; ready when all is written or writing has failed.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.broken.is_none() {
            self.encode();
            match self.poll_write_out(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(true)) => self.machine.wrote(now()),
                Poll::Ready(Ok(false)) => break,
                Poll::Ready(Err(error)) => self.broken = Some(error.into()),
            }
        }
        Poll::Ready(())
    }

    /// Starts the WebSocket's close handshake, if it is one and has not ended.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        self.encode();
        if let Framing::WebSocket(websocket) = &mut self.framing
            && websocket.state() == ConnectionState::Open
        {
            websocket.close(code, reason);
        }
    }

    /// Writes the rest and waits until the server has ended the stream too. The server ends a WebSocket first (RFC 6455
    /// §7.1.1); plain STOMP has no rule, so we end it.
    pub(crate) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.poll_write(context));
            if self.broken.is_some() {
                return Poll::Ready(());
            }
            if matches!(self.framing, Framing::Plain) && !self.shut_down {
                let _ = ready!(Pin::new(&mut self.io).poll_shutdown(context));
                self.shut_down = true;
            }
            let websocket = match &mut self.framing {
                Framing::Plain => None,
                Framing::WebSocket(websocket) => Some(websocket),
            };
            let at_end = poll_read(&mut self.io, context, |mut input| {
                let at_end = input.is_empty();
                if let Some(websocket) = websocket {
                    while let Ok(Some(_)) = websocket.receive(&mut input) {}
                }
                at_end
            });
            if ready!(at_end).unwrap_or(true) {
                return Poll::Ready(());
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // The closure needs all of `self`, so the bytes are consumed after it.
        let Self {
            io,
            framing,
            machine,
            lost,
            ..
        } = self;
        let read = ready!(poll_read(io, context, |input| receive(
            input, framing, machine
        )));
        match read {
            Ok(Ok(())) => {}
            Ok(Err(error)) => *lost = Some(error),
            Err(error) => *lost = Some(error.into()),
        }
        Poll::Ready(())
    }

    fn receive(&mut self, input: &mut [u8]) {
        if let Err(error) = receive(input, &mut self.framing, &mut self.machine) {
            self.lost = Some(error);
        }
    }

    /// Moves the machines' output into `out`, as long as there is room.
    fn encode(&mut self) {
        self.encode_below(WRITE_SIZE);
    }

    fn encode_below(&mut self, size: usize) {
        let before = self.out.len();
        while self.out.len() - self.written < size
            && let Some(frame) = self.machine.poll_transmit()
        {
            match &mut self.framing {
                Framing::Plain => self.out.extend_from_slice(&frame),
                Framing::WebSocket(websocket) => {
                    let opcode = match std::str::from_utf8(&frame) {
                        Ok(_) => OpCode::Text,
                        Err(_) => OpCode::Binary,
                    };
                    websocket.send(opcode, &frame, &mut self.out);
                }
            }
        }
        if self.out.len() - self.written < size
            && let Framing::WebSocket(websocket) = &mut self.framing
        {
            websocket.poll_transmit(&mut self.out);
        }
        self.encoded_total += (self.out.len() - before) as u64;
    }

    /// Does one write; returns false if nothing was left and the stream is flushed.
    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let io = Pin::new(&mut self.io);
        let unwritten = &self.out[self.written..];
        if unwritten.is_empty() {
            return io.poll_flush(context).map_ok(|()| false);
        }
        let written = ready!(io.poll_write(context, unwritten))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += written;
        self.written_total += written as u64;
        if self.written == self.out.len() {
            self.written = 0;
            self.out.clear();
            if self.out.capacity() > KEPT {
                self.out = Vec::new();
            }
        }
        Poll::Ready(Ok(true))
    }
}

/// Passes on received bytes; an empty `input` is the end of the stream.
fn receive(
    mut input: &mut [u8],
    framing: &mut Framing,
    machine: &mut ClientConnection,
) -> Result<(), Error> {
    let at_end = input.is_empty();
    let websocket = match framing {
        Framing::Plain if at_end => {
            return Err(Error::ClosedByServer {
                code: None,
                reason: Default::default(),
            });
        }
        Framing::Plain => {
            machine.receive(Bytes::copy_from_slice(input), now());
            return Ok(());
        }
        Framing::WebSocket(websocket) => websocket,
    };
    if at_end {
        let words = "the stream ended without a closing handshake";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words).into());
    }
    loop {
        match websocket.receive(&mut input)? {
            None => return Ok(()),
            Some(Event::Text(text)) => machine.receive(text.into_bytes(), now()),
            Some(Event::Binary(bytes)) => machine.receive(bytes, now()),
            Some(Event::Ping(_) | Event::Pong(_)) => {}
            Some(Event::Close(frame)) => {
                return Err(Error::ClosedByServer {
                    code: frame.as_ref().map(|frame| frame.code.as_u16()),
                    reason: frame.map(|frame| frame.reason).unwrap_or_default(),
                });
            }
        }
    }
}

/// Does one read into the worker's scratch buffer, so that an idle connection owns none.
pub(crate) fn poll_read<I: AsyncRead + Unpin, T>(
    io: &mut I,
    context: &mut Context<'_>,
    consume: impl FnOnce(&mut [u8]) -> T,
) -> Poll<io::Result<T>> {
    let mut scratch = SCRATCH.take();
    scratch.resize(READ_SIZE, 0);
    let mut buffer = ReadBuf::new(&mut scratch);
    let read = Pin::new(io)
        .poll_read(context, &mut buffer)
        .map_ok(|()| buffer.filled().len());
    let taken = read.map_ok(|len| consume(&mut scratch[..len]));
    SCRATCH.set(scratch);
    taken
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Returns the limits of the WebSocket below: a whole STOMP frame must fit, and servers may put several into one
/// message.
pub(crate) fn websocket_config(max_body: usize) -> Config {
    let default = Config::default();
    let bytes = default.max_message.saturating_add(max_body);
    default.with_max_message(bytes).with_max_frame(bytes)
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The maximum size of one read. It bounds the bytes that have been read and wait for room in an inbox.
const READ_SIZE: usize = 64 * 1024;

/// Once this much waits to be written, it is written before more is encoded.
const WRITE_SIZE: usize = 64 * 1024;

/// The capacity in bytes that the write buffer keeps while it is empty.
const KEPT: usize = 4 * 1024;
