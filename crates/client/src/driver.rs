//! The task of a connection: it sends commands and delivers messages until one side ends the session.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytestring::ByteString;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{sleep, timeout},
};
use tramline_stomp::{AckMode, ClientEvent, Connected, Frame};
use tramline_websocket::CloseCode;

use crate::error::Error;
use crate::message::Message;
use crate::{
    handle::{ClientInner, Command, Reply},
    inbox::{Inbox, Pushed},
    link::Link,
    receipts::Receipts,
};

/// Everything that one connection owns. It is one task; nothing here has a lock.
///
/// However it ends, even dropped by its runtime, it reports the end to everyone who waits.
pub(crate) struct Driver<I> {
    link: Link<I>,
    commands: mpsc::UnboundedReceiver<Command>,
    inner: Arc<ClientInner>,
    close_timeout: Duration,
    subscriptions: HashMap<ByteString, Arc<Inbox>>,
    receipts: Receipts,
    /// The inbox that has no room. Nothing is read until it has room.
    full: Option<Arc<Inbox>>,
    disconnecting: Option<Disconnecting>,
}

/// The state of a disconnect in progress.
#[derive(Default)]
struct Disconnecting {
    receipt: u64,
    /// The callers of `disconnect`; none if all handles are gone.
    callers: Vec<Reply>,
}

/// Waits for CONNECTED.
pub(crate) async fn open<I: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<I>,
) -> Result<Connected, Error> {
    poll_fn(|context| {
        loop {
            let _ = link.poll_write(context);
            match ready!(link.poll_event(context))? {
                ClientEvent::Connected(connected) => return Poll::Ready(Ok(connected)),
                ClientEvent::Error(frame) => return Poll::Ready(Err(server_error(&frame))),
                ClientEvent::Failed(error) => return Poll::Ready(Err(error.into())),
                // The machine lets no other event through before CONNECTED.
                _ => {}
            }
        }
    })
    .await
}

impl<I: AsyncRead + AsyncWrite + Unpin> Driver<I> {
    pub(crate) fn new(
        link: Link<I>,
        commands: mpsc::UnboundedReceiver<Command>,
        inner: Arc<ClientInner>,
        close_timeout: Duration,
    ) -> Self {
        Self {
            link,
            commands,
            inner,
            close_timeout,
            subscriptions: HashMap::new(),
            receipts: Receipts::default(),
            full: None,
            disconnecting: None,
        }
    }

    /// Drives the connection to its end.
    pub(crate) async fn run(mut self) {
        let error = match self.serve().await {
            Ok(()) => self.leave().await,
            Err(error) => error,
        };
        tracing::debug!(target: "tramline::client", %error, "the connection ends");
        let callers = self.finish(&error);
        let closed = self.close(&error).await;
        let outcome = match error {
            Error::Disconnected => closed,
            error => Err(error),
        };
        for caller in callers {
            let _ = caller.send(outcome.clone());
        }
    }

    /// Drives the connection until all handles are gone or one disconnects. A server that does not read what is queued
    /// before that cannot prevent it.
    async fn serve(&mut self) -> Result<(), Error> {
        let (inner, patience) = (self.inner.clone(), self.close_timeout);
        let mut kept_waiting = pin!(async move {
            inner.leaving().await;
            sleep(patience).await;
        });
        poll_fn(|context| match self.poll(context) {
            Poll::Pending => {
                ready!(kept_waiting.as_mut().poll(context));
                Poll::Ready(Err(self.too_slow("the server to read what was sent")))
            }
            ready => ready,
        })
        .await
    }

    /// Sends DISCONNECT and waits for its receipt.
    async fn leave(&mut self) -> Error {
        self.queue_disconnect();
        let patience = self.close_timeout;
        match timeout(patience, poll_fn(|context| self.poll(context))).await {
            Ok(Ok(())) => Error::Disconnected,
            Ok(Err(error)) => error,
            Err(_) => self.too_slow("the receipt of DISCONNECT"),
        }
    }

    /// Ready when all handles are gone or one disconnects, and then when the server has confirmed that; or when the
    /// connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let more_events = match self.poll_events(context) {
                Poll::Ready(Ok(Turn::Left)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(Turn::Over)) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => false,
            };
            let timer = self.link.poll_timer(context).is_ready();
            let commands = self.poll_commands(context);
            if commands == Commands::Leave {
                return Poll::Ready(Ok(()));
            }
            let written = self.link.poll_write(context).is_ready();
            let more_commands = commands == Commands::NoRoom && written;
            if !(more_events || timer || more_commands || self.link.broken().is_some()) {
                return Poll::Pending;
            }
        }
    }

    /// Handles the server's events, while there is room for them.
    fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<Result<Turn, Error>> {
        for _ in 0..EVENTS_PER_TURN {
            if let Some(inbox) = &self.full {
                if inbox.poll_room(context).is_pending() {
                    // The server's last messages could be read only with room for them.
                    return match self.link.broken() {
                        Some(error) => Poll::Ready(Err(error.clone())),
                        None => Poll::Pending,
                    };
                }
                self.full = None;
                self.pause_reading(false);
            }
            match ready!(self.link.poll_event(context))? {
                ClientEvent::Message(message) => self.deliver(message.into()),
                ClientEvent::Receipt(id) => {
                    let number = self.receipts.done(&id);
                    if let Some(disconnecting) = &self.disconnecting
                        && number == Some(disconnecting.receipt)
                    {
                        return Poll::Ready(Ok(Turn::Left));
                    }
                }
                ClientEvent::Error(frame) => return Poll::Ready(Err(server_error(&frame))),
                ClientEvent::Failed(error) => return Poll::Ready(Err(error.into())),
                // CONNECTED came before, and comes only once.
                _ => {}
            }
        }
        Poll::Ready(Ok(Turn::Over))
    }

    fn deliver(&mut self, message: Message) {
        // Messages may still arrive for a moment after UNSUBSCRIBE.
        let Some(inbox) = self.subscriptions.get(&message.subscription) else {
            return;
        };
        match inbox.push(message) {
            Pushed::Taken => {}
            Pushed::Full | Pushed::Refused if self.disconnecting.is_some() => {}
            Pushed::Full => {
                self.full = Some(inbox.clone());
                self.pause_reading(true);
            }
            Pushed::Refused => {
                let inbox = inbox.clone();
                self.unsubscribe(&inbox);
            }
        }
    }

    fn poll_commands(&mut self, context: &mut Context<'_>) -> Commands {
        while self.link.has_room() {
            match self.commands.poll_recv(context) {
                Poll::Ready(Some(command)) => {
                    if self.command(command) {
                        return Commands::Leave;
                    }
                }
                Poll::Ready(None) if self.disconnecting.is_none() => return Commands::Leave,
                Poll::Ready(None) | Poll::Pending => return Commands::Done,
            }
        }
        Commands::NoRoom
    }

    /// Carries out a command; returns true if it disconnects.
    fn command(&mut self, command: Command) -> bool {
        if self.disconnecting.is_some() {
            self.refuse(command);
            return false;
        }
        match command {
            Command::Send {
                destination,
                headers,
                body,
                receipt,
                room,
            } => {
                let receipt = receipt.map(|reply| self.receipts.promise(reply).to_string());
                let machine = self.link.machine();
                machine.send(&destination, headers, body, receipt.as_deref());
                drop(room);
            }
            Command::Subscribe {
                destination,
                headers,
                inbox,
                receipt,
                room,
            } => {
                let receipt = receipt.map(|reply| self.receipts.promise(reply).to_string());
                let machine = self.link.machine();
                let id =
                    machine.subscribe(&destination, AckMode::Auto, headers, receipt.as_deref());
                let _ = inbox.id.set(id.clone());
                self.subscriptions.insert(id, inbox);
                drop(room);
            }
            Command::Unsubscribe(inbox) => self.unsubscribe(&inbox),
            Command::Disconnect(reply) => {
                let callers = vec![reply];
                self.disconnecting = Some(Disconnecting {
                    receipt: 0,
                    callers,
                });
                return true;
            }
        }
        false
    }

    fn unsubscribe(&mut self, inbox: &Inbox) {
        if let Some(id) = inbox.id.get()
            && self.subscriptions.remove(id).is_some()
        {
            self.link.machine().unsubscribe(id, None);
        }
    }

    /// Queues DISCONNECT. From now on only receipts are awaited.
    fn queue_disconnect(&mut self) {
        self.inner.finish(Error::Disconnected);
        let receipt = self.receipts.next();
        self.disconnecting.get_or_insert_default().receipt = receipt;
        let machine = self.link.machine();
        machine.disconnect(Some(&receipt.to_string()));
        if self.full.take().is_some() {
            self.pause_reading(false);
        }
    }

    /// Ends the stream in order, as far as the server still responds.
    async fn close(&mut self, error: &Error) -> Result<(), Error> {
        let (code, reason) = match error {
            Error::Io(_) | Error::HeartBeatLost { .. } => return Ok(()),
            Error::Protocol(error) => (CloseCode::PROTOCOL_ERROR, error.to_string()),
            _ => (CloseCode::NORMAL, String::new()),
        };
        self.link.close(code, &reason);
        let closed = poll_fn(|context| self.link.poll_close(context));
        let closed = timeout(self.close_timeout, closed).await;
        closed.map_err(|_| self.too_slow("the end of the connection"))
    }

    fn too_slow(&self, waiting_for: &'static str) -> Error {
        let after = self.close_timeout;
        Error::Timeout { waiting_for, after }
    }

    fn pause_reading(&mut self, paused: bool) {
        let now = tokio::time::Instant::now().into_std();
        self.link.machine().pause_reading(paused, now);
    }
}

impl<I> Driver<I> {
    /// Reports the end of the session to everyone who waits; returns the callers of `disconnect`.
    fn finish(&mut self, error: &Error) -> Vec<Reply> {
        self.inner.finish(error.clone());
        self.receipts.fail(error);
        for (_, inbox) in self.subscriptions.drain() {
            inbox.end(error.clone());
        }
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Subscribe { inbox, .. } = &command {
                inbox.end(error.clone());
            }
            self.refuse(command);
        }
        self.disconnecting.take().unwrap_or_default().callers
    }

    /// Answers a command that comes too late.
    fn refuse(&mut self, command: Command) {
        match command {
            Command::Send { receipt, .. } | Command::Subscribe { receipt, .. } => {
                if let Some(reply) = receipt {
                    let _ = reply.send(Err(self.inner.end()));
                }
            }
            Command::Unsubscribe(_) => {}
            Command::Disconnect(reply) => {
                let disconnecting = self.disconnecting.get_or_insert_default();
                disconnecting.callers.push(reply);
            }
        }
    }
}

impl<I> Drop for Driver<I> {
    fn drop(&mut self) {
        self.finish(&Error::Disconnected);
    }
}

/// The progress of handling the server's events.
enum Turn {
    /// Other work has its turn first.
    Over,
    /// The server has confirmed the disconnect.
    Left,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Commands {
    Done,
    NoRoom,
    Leave,
}

fn server_error(frame: &Frame) -> Error {
    let message = frame.headers.get_bytestring("message");
    Error::ServerError {
        message: message.cloned().unwrap_or_default(),
        body: String::from_utf8_lossy(&frame.body).into_owned(),
    }
}

/// How many events are handled before commands and writes have their turn.
const EVENTS_PER_TURN: usize = 256;
