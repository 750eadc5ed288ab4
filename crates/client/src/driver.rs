//! The task of a client: it sends commands and delivers messages until one side ends the session, and opens a lost
//! connection again.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytestring::ByteString;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tramline_stomp::{AckMode, ClientEvent, Frame};
use tramline_websocket::CloseCode;

use crate::attempt::Plan;
use crate::error::Error;
use crate::handle::{ClientInner, Command, Confirm, Mail, Reply, Wanted};
use crate::inbox::{Inbox, Pushed, Target};
use crate::link::Link;
use crate::message::{Message, Settlement};
use crate::receipts::Receipts;
use crate::reconnect::Reconnect;

mod recover;

/// Everything that one client owns. It is one task; nothing here has a lock.
///
/// However it ends, even dropped by its runtime, it reports the end to everyone who waits.
pub(crate) struct Driver {
    link: Link,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Commands that waited for a connection; they come before the others.
    kept: VecDeque<Command>,
    mail: Mail,
    inner: Arc<ClientInner>,
    again: Option<Again>,
    close_timeout: Duration,
    /// The number of the connection.
    epoch: u64,
    /// By their ids on the wire.
    subscriptions: HashMap<ByteString, Active>,
    /// The ids on the wire, by the callers' numbers.
    transactions: HashMap<u64, ByteString>,
    receipts: Receipts,
    /// Callers who wait until so many bytes are written.
    flushes: VecDeque<(u64, Reply)>,
    /// The inbox that has no room. Nothing is read until it has room.
    full: Option<Arc<Inbox>>,
    disconnecting: Option<Disconnecting>,
}

/// How to connect again.
pub(crate) struct Again {
    pub(crate) plan: Plan,
    pub(crate) reconnect: Reconnect,
    /// The number of the address that worked last.
    pub(crate) address: usize,
    /// Attempts since the last success.
    pub(crate) attempts: u32,
    /// A refused login is tried again, with other credentials.
    pub(crate) fresh_credentials: bool,
}

/// A subscription of the present connection.
struct Active {
    wanted: Wanted,
    target: Target,
    /// Its receipt, until that comes.
    pending: Option<u64>,
    /// The position of the last message, if messages carry one.
    position: Option<ByteString>,
}

/// The state of a disconnect in progress.
#[derive(Default)]
struct Disconnecting {
    receipt: u64,
    /// The callers of `disconnect`; none if all handles are gone.
    callers: Vec<Reply>,
}

impl Driver {
    pub(crate) fn new(
        link: Link,
        commands: mpsc::UnboundedReceiver<Command>,
        mail: Mail,
        again: Option<Again>,
        close_timeout: Duration,
    ) -> Self {
        Self {
            link,
            commands,
            kept: VecDeque::new(),
            inner: mail.inner.clone(),
            mail,
            again,
            close_timeout,
            epoch: 0,
            subscriptions: HashMap::new(),
            transactions: HashMap::new(),
            receipts: Receipts::default(),
            flushes: VecDeque::new(),
            full: None,
            disconnecting: None,
        }
    }

    /// Drives the client to its end.
    pub(crate) async fn run(mut self) {
        let error = loop {
            let error = match self.serve().await {
                Ok(()) => self.leave().await,
                Err(error) => error,
            };
            match self.recover(error).await {
                Ok(()) => {}
                Err(error) => break error,
            }
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
            self.answer_flushed();
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
                ClientEvent::Message(message) => self.deliver(message),
                ClientEvent::Receipt(id) => {
                    let number = self.receipts.done(&id);
                    if let Some(disconnecting) = &self.disconnecting
                        && number == Some(disconnecting.receipt)
                    {
                        return Poll::Ready(Ok(Turn::Left));
                    }
                    self.confirmed(number);
                }
                ClientEvent::Error(frame) => {
                    let error = Error::from(&frame);
                    self.blame(&frame, &error);
                    return Poll::Ready(Err(error));
                }
                ClientEvent::Failed(error) => return Poll::Ready(Err(error.into())),
                // CONNECTED came before, and comes only once.
                _ => {}
            }
        }
        Poll::Ready(Ok(Turn::Over))
    }

    fn deliver(&mut self, message: tramline_stomp::Message) {
        // Messages may still arrive for a moment after UNSUBSCRIBE.
        let Some(active) = self.subscriptions.get_mut(&message.subscription) else {
            return;
        };
        // What is to be acknowledged comes again by itself, and what was unread of it was removed.
        if self.again.is_some()
            && active.wanted.ack == AckMode::Auto
            && message.destination == active.wanted.destination
            && let Some(position) = message.headers.get("position")
        {
            active.position = Some(position.into());
        }
        let origin = match active.wanted.ack {
            AckMode::Auto => None,
            _ => Some((Arc::new(self.mail.clone()) as _, self.epoch)),
        };
        match (
            active.target.push(Message::new(message, origin)),
            &active.target,
        ) {
            (Pushed::Full | Pushed::Refused, _) if self.disconnecting.is_some() => {}
            (Pushed::Full, Target::Inbox(inbox)) => {
                self.full = Some(inbox.clone());
                self.pause_reading(true);
            }
            (Pushed::Refused, Target::Inbox(inbox)) => {
                let inbox = inbox.clone();
                self.unsubscribe(&inbox, None);
            }
            (Pushed::Taken, _) | (_, Target::Replies(_)) => {}
        }
    }

    fn poll_commands(&mut self, context: &mut Context<'_>) -> Commands {
        while self.link.has_room() {
            let next = match self.kept.pop_front() {
                Some(command) => Poll::Ready(Some(command)),
                None => self.commands.poll_recv(context),
            };
            match next {
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
            self.refuse(command, &self.inner.end());
            return false;
        }
        match command {
            Command::Send {
                destination,
                headers,
                body,
                transaction,
                confirm,
                room,
            } => {
                let within = match self.within(transaction) {
                    Ok(within) => within,
                    Err(error) => {
                        confirm.fail(error);
                        return false;
                    }
                };
                let receipt = self.promise(confirm);
                let machine = self.link.machine();
                match within {
                    None => machine.send(&destination, headers, body, receipt.id()),
                    Some(id) => machine.send_in(&id, &destination, headers, body, receipt.id()),
                }
                self.queued(receipt);
                drop(room);
            }
            Command::Settle {
                settlement,
                transaction,
                headers,
                confirm,
                room,
            } => {
                self.settle(settlement, transaction, headers, confirm);
                drop(room);
            }
            Command::Subscribe {
                wanted,
                target,
                receipt,
                room,
            } => {
                self.subscribe(wanted, target, receipt, None);
                drop(room);
            }
            Command::Unsubscribe(inbox, reply) => self.unsubscribe(&inbox, reply),
            Command::Begin(number, reply) => {
                let id = self.link.machine().begin(None);
                self.transactions.insert(number, id);
                let _ = reply.send(Ok(()));
            }
            Command::Commit(number, reply) => match self.transactions.remove(&number) {
                Some(id) => {
                    let receipt = self.receipts.promise(reply).to_string();
                    self.link.machine().commit(&id, Some(&receipt));
                }
                None => {
                    let _ = reply.send(Err(Error::TransactionLost));
                }
            },
            Command::Abort(number, reply) => match (self.transactions.remove(&number), reply) {
                (Some(id), reply) => {
                    let receipt = reply.map(|reply| self.receipts.promise(reply).to_string());
                    self.link.machine().abort(&id, receipt.as_deref());
                }
                // It has no effect already.
                (None, Some(reply)) => {
                    let _ = reply.send(Ok(()));
                }
                (None, None) => {}
            },
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

    /// Sends ACK or NACK, if this connection delivered the message.
    fn settle(
        &mut self,
        settlement: Settlement,
        transaction: Option<u64>,
        headers: tramline_stomp::Headers,
        confirm: Confirm,
    ) {
        let within = match self.within(transaction) {
            Ok(_) if settlement.epoch != self.epoch => {
                return confirm.fail(given_back());
            }
            Ok(within) => within,
            Err(error) => return confirm.fail(error),
        };
        let (receipt, caller) = match confirm {
            Confirm::Receipt(reply) => {
                let number = self.receipts.promise(reply);
                (Some(number), None)
            }
            Confirm::Taken(reply) | Confirm::Flushed(reply) => (None, Some(reply)),
            Confirm::Never => (None, None),
        };
        let id = receipt.map(|number| number.to_string());
        let (id, machine, delivery) = (id.as_deref(), self.link.machine(), settlement.delivery);
        let done = match (within, settlement.positive) {
            (None, true) => machine.ack(delivery, headers, id),
            (None, false) => machine.nack(delivery, headers, id),
            (Some(within), true) => machine.ack_in(&within, delivery, headers, id),
            (Some(within), false) => machine.nack_in(&within, delivery, headers, id),
        };
        let done = done.map_err(|error| Error::NotAcknowledgeable {
            reason: error.to_string(),
        });
        if let (Err(error), Some(number)) = (&done, receipt) {
            self.receipts.fail_one(number, error);
        }
        if let Some(caller) = caller {
            let _ = caller.send(done);
        }
    }

    /// The id of a transaction on the wire.
    fn within(&self, transaction: Option<u64>) -> Result<Option<ByteString>, Error> {
        let Some(number) = transaction else {
            return Ok(None);
        };
        let id = self.transactions.get(&number).cloned();
        id.map(Some).ok_or(Error::TransactionLost)
    }

    fn promise(&mut self, confirm: Confirm) -> Promised {
        match confirm {
            Confirm::Never => Promised::Nothing,
            Confirm::Taken(reply) => Promised::Taken(reply),
            Confirm::Flushed(reply) => Promised::Flushed(reply),
            Confirm::Receipt(reply) => Promised::Receipt(self.receipts.promise(reply).to_string()),
        }
    }

    /// A frame is queued.
    fn queued(&mut self, promised: Promised) {
        match promised {
            Promised::Nothing | Promised::Receipt(_) => {}
            Promised::Taken(reply) => {
                let _ = reply.send(Ok(()));
            }
            Promised::Flushed(reply) => self.flushes.push_back((self.link.mark(), reply)),
        }
    }

    fn answer_flushed(&mut self) {
        while let Some((mark, _)) = self.flushes.front()
            && *mark <= self.link.written()
            && let Some((_, reply)) = self.flushes.pop_front()
        {
            let _ = reply.send(Ok(()));
        }
    }

    fn subscribe(
        &mut self,
        wanted: Wanted,
        target: Target,
        reply: Option<Reply>,
        position: Option<ByteString>,
    ) {
        let pending = match reply {
            Some(reply) => Some(self.receipts.promise(reply)),
            // Nobody waits when it is made again.
            None if wanted.confirmed => Some(self.receipts.next()),
            None => None,
        };
        let id = match wanted.implicit {
            true => wanted.destination.clone(),
            false => {
                let mut headers = wanted.headers.clone();
                if let Some(position) = &position {
                    headers.replace("resume-from", position.clone());
                }
                let receipt = pending.map(|number| number.to_string());
                let machine = self.link.machine();
                machine.subscribe(&wanted.destination, wanted.ack, headers, receipt.as_deref())
            }
        };
        if let Target::Inbox(inbox) = &target {
            inbox.set_id(id.clone());
        }
        let active = Active {
            wanted,
            target,
            pending,
            position,
        };
        self.subscriptions.insert(id, active);
    }

    fn unsubscribe(&mut self, inbox: &Inbox, reply: Option<Reply>) {
        let id = inbox.id();
        match (
            id.filter(|id| self.subscriptions.remove(id).is_some()),
            reply,
        ) {
            (Some(id), reply) => {
                let receipt = reply.map(|reply| self.receipts.promise(reply).to_string());
                self.link.machine().unsubscribe(&id, receipt.as_deref());
            }
            (None, Some(reply)) => {
                let _ = reply.send(Ok(()));
            }
            (None, None) => {}
        }
    }

    /// Notes that a subscription's receipt has come. When all have, the connection counts as a success.
    fn confirmed(&mut self, receipt: Option<u64>) {
        let Some(again) = &mut self.again else {
            return;
        };
        let mut subscriptions = self.subscriptions.values_mut();
        if let Some(active) = subscriptions.find(|active| active.pending == receipt) {
            active.pending = None;
        }
        if again.attempts > 0 && self.subscriptions.values().all(|one| one.pending.is_none()) {
            again.attempts = 0;
        }
    }

    /// Ends the subscription that an ERROR refuses, so that it is not made again.
    fn blame(&mut self, frame: &Frame, error: &Error) {
        let receipt = frame.headers.get("receipt-id");
        let Some(receipt) = receipt.and_then(|id| id.parse().ok()) else {
            return;
        };
        self.subscriptions.retain(|_, active| {
            let refused = active.pending == Some(receipt);
            if refused {
                active.target.end(error);
            }
            !refused
        });
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

    /// Reports the end of the session to everyone who waits; returns the callers of `disconnect`.
    fn finish(&mut self, error: &Error) -> Vec<Reply> {
        self.inner.finish(error.clone());
        self.receipts.fail(error);
        for (_, reply) in self.flushes.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        for (_, active) in self.subscriptions.drain() {
            active.target.end(error);
        }
        self.commands.close();
        let end = self.inner.end();
        while let Some(command) = self.kept.pop_front() {
            self.refuse(command, &end);
        }
        while let Ok(command) = self.commands.try_recv() {
            self.refuse(command, &end);
        }
        self.disconnecting.take().unwrap_or_default().callers
    }

    /// Answers a command that is not carried out.
    fn refuse(&mut self, command: Command, error: &Error) {
        let reply = match command {
            Command::Send {
                transaction: Some(_),
                confirm,
                ..
            } if self.inner.ended().is_none() => return confirm.fail(Error::TransactionLost),
            Command::Settle {
                transaction: Some(_),
                confirm,
                ..
            } if self.inner.ended().is_none() => return confirm.fail(Error::TransactionLost),
            Command::Settle { confirm, .. } if self.inner.ended().is_none() => {
                return confirm.fail(given_back());
            }
            Command::Send { confirm, .. } | Command::Settle { confirm, .. } => {
                return confirm.fail(error.clone());
            }
            Command::Subscribe {
                target, receipt, ..
            } => {
                target.end(error);
                receipt
            }
            Command::Commit(_, reply) if self.inner.ended().is_none() => {
                let _ = reply.send(Err(Error::TransactionLost));
                None
            }
            Command::Begin(_, reply) | Command::Commit(_, reply) => Some(reply),
            Command::Abort(_, reply) | Command::Unsubscribe(_, reply) => {
                // Both are done.
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(()));
                }
                None
            }
            Command::Disconnect(reply) => {
                let disconnecting = self.disconnecting.get_or_insert_default();
                disconnecting.callers.push(reply);
                None
            }
        };
        if let Some(reply) = reply {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.finish(&Error::Disconnected);
    }
}

/// What the caller of a frame waits for.
enum Promised {
    Nothing,
    Taken(Reply),
    Flushed(Reply),
    /// With the receipt's id.
    Receipt(String),
}

impl Promised {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Receipt(id) => Some(id),
            _ => None,
        }
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

/// The error for the acknowledgement of a message that an earlier connection delivered.
fn given_back() -> Error {
    Error::NotAcknowledgeable {
        reason: "it came over an earlier connection, whose end gave it back to the server; it comes again".into(),
    }
}

/// How many events are handled before commands and writes have their turn.
const EVENTS_PER_TURN: usize = 256;
