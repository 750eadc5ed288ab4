//! STOMP over WebSocket, plain or in SockJS frames.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::Message;
use tramline_sockjs::{PayloadLimits, frame as sockjs_frame, parse_messages};
use tramline_stomp::Version;
use tramline_websocket::{
    Agreement, CloseCode, Config, Connection, ConnectionState, Event, OpCode, Role,
    write_deflated_head, write_head,
};

use super::io::{Batch, Io, Unsent};
use super::keep_alive::KeepAlive;
use super::slices::{self, Unread};
use super::violation::{self, LimitsOf};
use super::{Chunks, Lost, Transport};
use crate::net::wheel::earliest;
use crate::net::wire;

/// A WebSocket whose handshake is done.
#[derive(Debug)]
pub(crate) struct WebSocket<F: Framing> {
    io: Io,
    machine: Connection,
    unsent: Unsent,
    framing: F,
    sharing: Sharing,
    keep_alive: Option<Box<KeepAlive>>,
    opened: bool,
    /// True if the last read took all input that had come.
    listening: bool,
    fault: Fault,
    limits_of: LimitsOf,
    /// Present if compression was agreed on.
    unread: Option<Box<Unread>>,
    shut_down: bool,
    short: bool,
}

/// A kind of violation by the peer; each has its own close handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// It broke the protocol, and gets the Close frame alone, as the SockJS tests demand.
    Broken,
    /// It exceeded a size limit, and gets the framing's own close first.
    TooBig,
}

/// The size from which a message is sent with a compressed tail that its receivers share, in bytes of the tail.
pub(crate) type Sharing = Option<u32>;

/// The form that chunks of STOMP have in WebSocket messages.
pub(crate) trait Framing: std::fmt::Debug + Send + Unpin + 'static {
    const NAME: &'static str;

    /// The limits of a WebSocket message, from those of its content.
    fn config(&self, content: Config) -> Config {
        content
    }

    /// The options that set the limits of a WebSocket message.
    fn limits_of(content: LimitsOf) -> LimitsOf {
        content
    }

    /// Adds the first output.
    fn open(&self, batch: &mut Batch);

    /// Appends the chunks of a message.
    fn receive(&self, message: Bytes, chunks: &mut Chunks) -> Result<(), Lost>;

    /// Adds an encoded frame.
    fn frame(frame: &[u8], batch: &mut Batch);

    /// Adds a MESSAGE frame; returns false if it cannot be carried.
    fn message(
        head: &[u8],
        version: Version,
        message: &Message,
        sharing: Sharing,
        batch: &mut Batch,
    ) -> bool;

    /// Adds the output before the Close frame.
    fn close(code: u16, reason: &str, batch: &mut Batch);

    /// The time of the framing's own next heart-beat.
    fn next_heart_beat(&self) -> Option<Instant> {
        None
    }

    /// Checks the time; makes a heart-beat due for [`heart_beat`](Self::heart_beat), if its time has come.
    fn handle_timeout(&mut self, _now: Instant) {}

    /// Adds a heart-beat that is due.
    fn heart_beat(&mut self, _batch: &mut Batch) {}

    /// Called when STOMP's own heart-beats are agreed on.
    fn heart_beats_agreed(&mut self) {}
}

impl<F: Framing> WebSocket<F> {
    pub(crate) fn new(
        io: Io,
        (config, limits_of): (Config, LimitsOf),
        before_login: Option<usize>,
        agreement: Option<Agreement>,
        framing: F,
        keep_alive: Option<Box<KeepAlive>>,
    ) -> Self {
        let mut config = framing.config(config);
        let mut limits_of = F::limits_of(limits_of);
        if let Some(bytes) = before_login.filter(|bytes| *bytes < config.max_message) {
            config.max_message = bytes;
            config.max_frame = config.max_frame.min(bytes);
            limits_of = LimitsOf::Connect;
        }
        let machine = Connection::new(Role::Server, config);
        let sharing = agreement.filter(Agreement::shares_tails);
        Self {
            io,
            machine: match agreement {
                Some(agreement) => machine.with_deflate(agreement),
                None => machine,
            },
            unsent: Unsent::default(),
            framing,
            sharing: sharing.and_then(|agreement| agreement.above().try_into().ok()),
            keep_alive,
            opened: false,
            listening: false,
            fault: Fault::Nothing,
            limits_of,
            unread: agreement.map(|_| Box::default()),
            shut_down: false,
            short: false,
        }
    }

    /// Unframes one read, or a part of it if that inflates to much, and passes each event to `sink`, which only stores
    /// it: the input lies in memory that all connections of the worker share. With `parts`, the beginning of a message
    /// whose end has not arrived is an event too, one that is not the last of its message.
    pub(crate) fn poll_events(
        &mut self,
        context: &mut Context<'_>,
        parts: bool,
        mut sink: impl FnMut(&F, Event, IsLast) -> Result<(), Lost>,
    ) -> Poll<Result<(), Lost>> {
        let (machine, framing, limits_of) = (&mut self.machine, &self.framing, self.limits_of);
        let compressed = self.unread.is_some();
        let read = slices::poll_read(&mut self.io, &mut self.unread, context, |input| {
            if input.is_empty() {
                return Err(Lost::Vanished(
                    "the stream ended without a closing handshake".into(),
                ));
            }
            let taken = slices::take(machine, input, compressed, |event| match event {
                Ok(Event::Close(frame)) => Err(Lost::Closed {
                    code: frame.as_ref().map(|frame| frame.code.as_u16()),
                    reason: frame.map(|frame| frame.reason).unwrap_or_default(),
                }),
                Ok(event) => sink(framing, event, true),
                Err(error) => Err(violation::of_websocket(&error, limits_of)),
            })?;
            if let Some(part) = parts.then(|| machine.take_part()).flatten() {
                sink(framing, part, false)?;
            }
            Ok(taken)
        });
        let all_was_read = self.unread.as_ref().is_none_or(|unread| unread.is_empty());
        self.listening = read.is_pending() && all_was_read;
        if let Some(keep_alive) = &mut self.keep_alive
            && !self.listening
        {
            keep_alive.received();
        }
        let received =
            read.map(|read| read.unwrap_or_else(|error| Err(Lost::Vanished(error.to_string()))));
        if let Poll::Ready(Err(Lost::Violation { code, .. })) = received {
            let too_big = code == CloseCode::TOO_BIG.as_u16();
            self.fault = if too_big {
                Fault::TooBig
            } else {
                Fault::Broken
            };
        }
        received
    }

    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Adds a ping, whose payload has at most 125 bytes.
    pub(crate) fn ping(&mut self, payload: &[u8], batch: &mut Batch) {
        self.machine.ping(payload, &mut batch.bytes);
    }
}

/// The peer has ended its side.
struct AtEnd;

/// True for the last part of a message, or a whole one.
type IsLast = bool;

impl<F: Framing> Transport for WebSocket<F> {
    const NAME: &'static str = F::NAME;

    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        chunks: &mut Chunks,
    ) -> Poll<Result<(), Lost>> {
        self.poll_events(context, false, |framing, event, _| {
            let message = match event {
                Event::Text(text) => text.into_bytes(),
                Event::Binary(bytes) => bytes,
                Event::Ping(_) | Event::Pong(_) | Event::Close(_) => return Ok(()),
            };
            framing.receive(message, chunks)
        })
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
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

    fn next_timeout(&self) -> Option<Instant> {
        let ping = self.keep_alive.as_ref().map(|pings| pings.next_timeout());
        earliest([ping, self.framing.next_heart_beat()])
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        self.framing.handle_timeout(now);
        let Some(keep_alive) = &mut self.keep_alive else {
            return Ok(());
        };
        // A ping behind output that the peer takes slowly cannot be answered yet; `send_time` covers that case.
        let listening = self.listening && self.unsent.len() == 0;
        keep_alive
            .handle_timeout(now, listening)
            .map_err(|timeout| {
                Lost::Silent(format!(
                    "nothing came for {timeout:?} after a ping (`keep_alive_timeout`)"
                ))
            })
    }

    fn connected(&mut self, _: bool, config: Config) {
        self.machine.set_config(self.framing.config(config));
        self.limits_of = F::limits_of(LimitsOf::Stomp);
    }

    fn heart_beats_agreed(&mut self) {
        self.framing.heart_beats_agreed();
    }

    fn transmit(&mut self, batch: &mut Batch) {
        if !self.opened {
            self.opened = true;
            self.framing.open(batch);
        }
        self.framing.heart_beat(batch);
        if self
            .keep_alive
            .as_mut()
            .is_some_and(|pings| pings.take_ping())
        {
            self.ping(b"", batch);
        }
        // The answer to the peer's Close is left to `close`: nothing may follow it.
        if self.machine.state() == ConnectionState::Open {
            self.machine.poll_transmit(&mut batch.bytes);
        }
    }

    fn frame(&mut self, frame: &[u8], batch: &mut Batch) {
        F::frame(frame, batch);
    }

    fn message(
        &mut self,
        head: &[u8],
        version: Version,
        message: &Message,
        batch: &mut Batch,
    ) -> bool {
        F::message(head, version, message, self.sharing, batch)
    }

    fn write(&mut self, context: &mut Context<'_>, batch: &Batch) -> std::io::Result<()> {
        self.unsent.write(&mut self.io, context, batch)
    }

    fn close(&mut self, code: u16, reason: &str, batch: &mut Batch) {
        let open = self.machine.state() == ConnectionState::Open;
        let too_big = self.fault == Fault::TooBig;
        if too_big || (open && self.fault == Fault::Nothing) {
            F::close(code, reason, batch);
        }
        // The machine's own reason for a message that is too big names no option.
        if too_big || open {
            // Callers pass only codes that may be sent; any other is our own error, and reported as one.
            let code = CloseCode::new(code).unwrap_or(CloseCode::INTERNAL_ERROR);
            self.machine.close(code, reason);
        }
        self.machine.poll_transmit(&mut batch.bytes);
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Our side of TCP ends first (RFC 6455 §7.1.1), and the peer's remaining input is read: a socket that is
        // dropped with unread bytes is reset, and the peer might never see our last output.
        let mut close = || -> Poll<std::io::Result<()>> {
            loop {
                ready!(self.unsent.poll_flush(&mut self.io, context))?;
                if self.machine.has_transmit() {
                    Batch::with(|batch| {
                        self.machine.poll_transmit(&mut batch.bytes);
                        self.unsent.write(&mut self.io, context, batch)
                    })?;
                    continue;
                }
                if self.machine.is_closed() && !self.shut_down {
                    ready!(self.io.poll_shutdown(context))?;
                    self.shut_down = true;
                }
                let (machine, compressed) = (&mut self.machine, self.unread.is_some());
                let read = slices::poll_read(&mut self.io, &mut self.unread, context, |input| {
                    if input.is_empty() {
                        return Err(AtEnd);
                    }
                    slices::take(machine, input, compressed, |_| Ok(()))
                });
                if ready!(read)?.is_err() {
                    return Poll::Ready(Ok(()));
                }
                if compressed {
                    // The rest of the input is inflated too, after other tasks have had their turn.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        };
        close().map(|_| ())
    }
}

/// One STOMP frame in one WebSocket message.
#[derive(Debug)]
pub(crate) struct Plain;

impl Framing for Plain {
    const NAME: &'static str = "websocket";

    fn open(&self, _: &mut Batch) {}

    fn receive(&self, message: Bytes, chunks: &mut Chunks) -> Result<(), Lost> {
        chunks.push(message);
        Ok(())
    }

    fn frame(frame: &[u8], batch: &mut Batch) {
        let opcode = opcode(std::str::from_utf8(frame).is_ok());
        write_head(&mut batch.bytes, opcode, frame.len());
        batch.bytes.extend_from_slice(frame);
    }

    fn message(
        head: &[u8],
        version: Version,
        message: &Message,
        sharing: Sharing,
        batch: &mut Batch,
    ) -> bool {
        let Some(tail) = wire::tail(message, version) else {
            return false;
        };
        if sharing.is_some_and(|from| tail.bytes.len() >= from as usize)
            && let Some(deflated) = wire::deflated_tail(message, version)
        {
            write_deflated_head(&mut batch.bytes, opcode(tail.text), head, deflated.len());
            batch.payload(deflated);
            return true;
        }
        write_head(
            &mut batch.bytes,
            opcode(tail.text),
            head.len() + tail.bytes.len(),
        );
        batch.bytes.extend_from_slice(head);
        batch.payload(&tail.bytes);
        true
    }

    fn close(_: u16, _: &str, _: &mut Batch) {}
}

fn opcode(text: bool) -> OpCode {
    if text { OpCode::Text } else { OpCode::Binary }
}

/// SockJS frames in WebSocket messages: the `websocket` transport of SockJS.
#[derive(Debug)]
pub(crate) struct SockJs {
    limits: PayloadLimits,
    heart_beat: Option<HeartBeat>,
}

/// SockJS's own heart-beat, `h`, for clients that agreed on none of STOMP's: proxies cut silent connections.
#[derive(Debug)]
struct HeartBeat {
    every: Duration,
    next: Instant,
    owed: bool,
}

impl SockJs {
    /// An `every` of zero means no heart-beats.
    pub(crate) fn new(limits: PayloadLimits, every: Duration, now: Instant) -> Self {
        Self {
            limits,
            heart_beat: (!every.is_zero()).then(|| HeartBeat {
                every,
                next: now + every,
                owed: false,
            }),
        }
    }

    /// The messages in one frame.
    pub(crate) fn parse(&self, frame: &[u8]) -> Result<Vec<ByteString>, Lost> {
        // sockjs-client never sends an empty message; some other clients do, without a meaning.
        if frame.is_empty() {
            return Ok(Vec::new());
        }
        parse_messages(frame, &self.limits).map_err(violation::of_payload)
    }

    /// Adds a frame with one message, in two parts that are already escaped, of which the second may be shared; uses
    /// `deflated`, which includes the message's end, if that pays.
    pub(crate) fn escaped<'a>(
        head: &[u8],
        tail: &Bytes,
        sharing: Sharing,
        deflated: impl FnOnce() -> Option<&'a Bytes>,
        batch: &mut Batch,
    ) {
        let mut framed = Vec::with_capacity(wire::SOCKJS_START.len() + head.len());
        framed.extend_from_slice(wire::SOCKJS_START);
        framed.extend_from_slice(head);
        if sharing.is_some_and(|from| tail.len() >= from as usize)
            && let Some(deflated) = deflated()
        {
            write_deflated_head(&mut batch.bytes, OpCode::Text, &framed, deflated.len());
            return batch.payload(deflated);
        }
        let len = framed.len() + tail.len() + wire::SOCKJS_END.len();
        write_head(&mut batch.bytes, OpCode::Text, len);
        batch.bytes.extend_from_slice(&framed);
        batch.payload(tail);
        batch.bytes.extend_from_slice(wire::SOCKJS_END);
    }
}

impl Framing for SockJs {
    const NAME: &'static str = "sockjs-websocket";

    /// A message is an envelope here; a frame limit set by the application stays.
    fn config(&self, content: Config) -> Config {
        let bytes = self.limits.bytes;
        if content.max_frame < content.max_message {
            content.with_max_message(bytes)
        } else {
            content.with_max_message(bytes).with_max_frame(bytes)
        }
    }

    fn limits_of(content: LimitsOf) -> LimitsOf {
        content.envelopes()
    }

    fn open(&self, batch: &mut Batch) {
        text(sockjs_frame::OPEN, batch);
    }

    fn receive(&self, message: Bytes, chunks: &mut Chunks) -> Result<(), Lost> {
        let messages = self.parse(&message)?;
        chunks.extend(messages.into_iter().map(ByteString::into_bytes));
        Ok(())
    }

    fn frame(frame: &[u8], batch: &mut Batch) {
        let frame = String::from_utf8_lossy(frame);
        let mut framed = Vec::with_capacity(frame.len() + 16);
        sockjs_frame::message_array(&mut framed, [&*frame]);
        text(&framed, batch);
    }

    fn message(
        head: &[u8],
        version: Version,
        message: &Message,
        sharing: Sharing,
        batch: &mut Batch,
    ) -> bool {
        let Some(tail) = wire::sockjs_tail(message, version) else {
            return false;
        };
        let mut escaped = Vec::with_capacity(head.len() + 16);
        sockjs_frame::escape_into(&mut escaped, &String::from_utf8_lossy(head));
        let deflated = || wire::deflated_sockjs_tail(message, version);
        Self::escaped(&escaped, tail, sharing, deflated, batch);
        true
    }

    fn close(code: u16, reason: &str, batch: &mut Batch) {
        text(&sockjs_frame::close(code, reason), batch);
    }

    fn next_heart_beat(&self) -> Option<Instant> {
        self.heart_beat.as_ref().map(|beat| beat.next)
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(beat) = self.heart_beat.as_mut().filter(|beat| beat.next <= now) {
            beat.owed = true;
            beat.next = now + beat.every;
        }
    }

    fn heart_beat(&mut self, batch: &mut Batch) {
        if let Some(beat) = &mut self.heart_beat
            && std::mem::take(&mut beat.owed)
        {
            text(sockjs_frame::HEARTBEAT, batch);
        }
    }

    fn heart_beats_agreed(&mut self) {
        self.heart_beat = None;
    }
}

fn text(payload: &[u8], batch: &mut Batch) {
    write_head(&mut batch.bytes, OpCode::Text, payload.len());
    batch.bytes.extend_from_slice(payload);
}
