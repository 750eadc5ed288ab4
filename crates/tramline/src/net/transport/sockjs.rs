//! SockJS over plain HTTP requests: one session, carried by many short connections.
//!
//! The session's task and the HTTP requests meet in [`HttpLink`]: sending requests put chunks in, the response of the
//! receiving request takes frames out.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, Notify};
use tramline_broker::Message;
use tramline_sockjs::frame::escape_into;
use tramline_sockjs::{Output, Receive, Receiver as Receiving, SockJsSession, TimedOut};
use tramline_stomp::Version;
use tramline_websocket::Config;

use super::io::Batch;
use super::{Chunks, Lost, Transport};
use crate::net::places::{Place, Places};
use crate::net::proof::Proof;
use crate::net::wheel::Wheel;
use crate::net::wire;

/// The task's end of a session.
#[derive(Debug)]
pub(crate) struct SockJsHttp {
    link: Arc<HttpLink>,
}

/// The state that a session's task and its HTTP requests share.
pub(crate) struct HttpLink {
    wheel: Arc<Wheel>,
    message_limit: usize,
    state: Mutex<LinkState>,
    /// Notified when requests can deliver nothing more.
    over: Notify,
    /// Held by the sending request that is being read: one at a time.
    turn: tokio::sync::Mutex<()>,
}

struct LinkState {
    machine: SockJsSession,
    inbound: VecDeque<Bytes>,
    inbound_bytes: usize,
    /// The session's task.
    task: Option<Waker>,
    /// The response of the receiving request.
    receiver: Option<Waker>,
    /// The sending request that waits until the task has taken the queued chunks.
    sender: Option<Waker>,
    /// A request's violation that ends the session.
    violation: Option<Lost>,
    /// The session's task has ended.
    gone: bool,
    /// The bytes of a request's body until the session is connected; `None` where it need not be, or is.
    before_login: Option<usize>,
    holder: Holder,
    /// What the receiving request showed.
    received_by: Option<Proof>,
    /// The session's place among the open ones, and later among those that are remembered.
    place: Option<Place>,
}

/// The client that may use a session, besides knowing its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// Nobody has sent anything: it will be the first who does.
    First,
    /// The client that sent first: until CONNECTED, and then if that has a user.
    Client(Proof),
    /// Whoever knows the name, and is the session's owner if it has one.
    Anyone,
}

/// Bytes that wait for a receiving request before the session's task keeps the rest in its outbox, where the overflow
/// policy counts it; also the limit in the other direction. As much as one read from a socket.
pub(crate) const QUEUE_LIMIT: usize = 64 * 1024;

impl SockJsHttp {
    pub(crate) fn new(link: Arc<HttpLink>) -> Self {
        Self { link }
    }

    /// Queues one message, whose parts are already escaped.
    pub(crate) fn send_escaped(&self, parts: &[&[u8]]) {
        self.link.state.lock().machine.send(parts);
    }
}

impl HttpLink {
    pub(crate) fn new(
        machine: SockJsSession,
        wheel: Arc<Wheel>,
        message_limit: usize,
        before_login: Option<usize>,
        is_owned: bool,
        place: Place,
    ) -> Arc<Self> {
        // Each request of an owner says whose it is.
        let holder = match before_login.is_some() && !is_owned {
            true => Holder::First,
            false => Holder::Anyone,
        };
        Arc::new(Self {
            wheel,
            message_limit,
            state: Mutex::new(LinkState {
                machine,
                inbound: VecDeque::new(),
                inbound_bytes: 0,
                task: None,
                receiver: None,
                sender: None,
                violation: None,
                gone: false,
                before_login,
                holder,
                received_by: None,
                place: Some(place),
            }),
            over: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    /// Attaches a request that wants to receive, or to be given the reason why it cannot.
    pub(crate) fn attach(self: &Arc<Self>, receive: Receive, proof: Proof) -> Receiver {
        let mut state = self.state.lock();
        if !state.machine.has_receiver() {
            state.received_by = Some(proof);
        }
        // The task checks the machine's new deadlines.
        wake(&mut state.task);
        let receiving = state.machine.attach(receive, self.wheel.now());
        Receiver {
            link: Arc::clone(self),
            receiving,
        }
    }

    /// Returns whether a request that shows `proof` may use the session.
    pub(crate) fn admits(&self, proof: Proof) -> bool {
        match self.state.lock().holder {
            Holder::Client(holder) => holder == proof,
            Holder::First | Holder::Anyone => true,
        }
    }

    /// A request that shows `proof` sends something; returns false if another client has come first.
    pub(crate) fn sends(&self, proof: Proof) -> bool {
        let mut state = self.state.lock();
        if state.holder == Holder::First {
            state.holder = Holder::Client(proof);
        }
        matches!(state.holder, Holder::Anyone) || state.holder == Holder::Client(proof)
    }

    /// Delivers the content of the request that holds the [turn](Self::turn); ready when there is room. Returns false
    /// if the session no longer takes it.
    pub(crate) fn poll_send(
        &self,
        context: &mut Context<'_>,
        chunks: &mut Vec<Bytes>,
    ) -> Poll<bool> {
        let mut state = self.state.lock();
        if state.is_over() {
            return Poll::Ready(false);
        }
        let limit = state.before_login.map_or(QUEUE_LIMIT, |_| 0);
        if state.inbound_bytes > limit {
            state.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.inbound_bytes += chunks.iter().map(Bytes::len).sum::<usize>();
        state.inbound.extend(chunks.drain(..));
        wake(&mut state.task);
        Poll::Ready(true)
    }

    /// The bytes that a request's body may have, if the session is not connected yet.
    pub(crate) fn before_login(&self) -> Option<usize> {
        self.state.lock().before_login
    }

    /// Waits until earlier requests have delivered their content.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits until requests can deliver nothing more.
    pub(crate) async fn over(&self) {
        let mut over = pin!(self.over.notified());
        // Enabled before the check, so that no notification is missed in between.
        over.as_mut().enable();
        if !self.state.lock().is_over() {
            over.await;
        }
    }

    /// Ends the session for a request's violation; returns false if it is over already.
    pub(crate) fn violated(&self, violation: Lost) -> bool {
        let mut state = self.state.lock();
        if state.is_over() {
            return false;
        }
        state.violation = Some(violation);
        wake(&mut state.task);
        true
    }

    /// For a session whose task has ended: the time until which its close frame can still be requested.
    pub(crate) fn remembered_until(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        state.machine.handle_timeout(now);
        state.machine.next_timeout()
    }
}

impl HttpLink {
    /// Takes a place among the remembered sessions in exchange for that among the open ones, if there is one.
    pub(crate) fn has_ended(&self, remembered: &Arc<Places>, address: Option<IpAddr>) -> bool {
        let Ok(place) = remembered.take(address) else {
            return false;
        };
        self.state.lock().place = Some(place);
        true
    }

    /// Frees the session's place.
    pub(crate) fn leave(&self) {
        self.state.lock().place = None;
    }
}

impl fmt::Debug for HttpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpLink").finish_non_exhaustive()
    }
}

/// The receiving request's end of a session; dropped when its response is over.
#[derive(Debug)]
pub(crate) struct Receiver {
    link: Arc<HttpLink>,
    receiving: Receiving,
}

impl Receiver {
    /// The next piece of the response, `None` when it is complete.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.link.state.lock();
        let mut piece = Vec::new();
        let now = self.link.wheel.now();
        let output = state
            .machine
            .poll_output(&mut self.receiving, now, &mut piece);
        if !piece.is_empty() {
            // The task may have waited for room, or for the delivery of the close frame.
            wake(&mut state.task);
            return Poll::Ready(Some(piece.into()));
        }
        match output {
            Output::Pending | Output::Data => {
                state.receiver = Some(context.waker().clone());
                Poll::Pending
            }
            Output::End => Poll::Ready(None),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.link.state.lock();
        let now = self.link.wheel.now();
        state.machine.detach(&self.receiving, now);
        // The time limit for the next request begins now.
        wake(&mut state.task);
    }
}

impl Transport for SockJsHttp {
    const NAME: &'static str = "sockjs-http";
    // They change with the client's requests, which other tasks answer.
    const OWN_DEADLINES: bool = false;

    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        chunks: &mut Chunks,
    ) -> Poll<Result<(), Lost>> {
        let mut state = self.link.state.lock();
        if state.inbound.is_empty() {
            if let Some(violation) = state.violation.take() {
                return Poll::Ready(Err(violation));
            }
            if state.machine.is_closed() {
                return Poll::Ready(Err(Lost::Vanished(
                    "the receiving request was cut off".into(),
                )));
            }
            state.register(context);
            return Poll::Pending;
        }
        state.inbound_bytes = 0;
        wake(&mut state.sender);
        // Taken whole, so that an idle session keeps no queue.
        chunks.extend(std::mem::take(&mut state.inbound));
        Poll::Ready(Ok(()))
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut state = self.link.state.lock();
        let limit = self.link.message_limit;
        if state.machine.queued() < QUEUE_LIMIT && state.machine.queued_messages() < limit {
            return Poll::Ready(Ok(()));
        }
        state.register(context);
        Poll::Pending
    }

    fn poll_ready_to_close(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // The close frame is one more, and must not wait for a client that fetches nothing.
        Poll::Ready(Ok(()))
    }

    fn unsent(&self) -> usize {
        self.link.state.lock().machine.queued()
    }

    fn transmit(&mut self, _: &mut Batch) {}

    fn frame(&mut self, frame: &[u8], _: &mut Batch) {
        let mut escaped = Vec::with_capacity(frame.len() + 16);
        escape_into(&mut escaped, &String::from_utf8_lossy(frame));
        self.link.state.lock().machine.send(&[&escaped]);
    }

    fn message(&mut self, head: &[u8], version: Version, message: &Message, _: &mut Batch) -> bool {
        let Some(tail) = wire::sockjs_tail(message, version) else {
            return false;
        };
        let mut escaped = Vec::with_capacity(head.len() + 16);
        escape_into(&mut escaped, &String::from_utf8_lossy(head));
        self.link.state.lock().machine.send(&[&escaped, tail]);
        true
    }

    fn write(&mut self, _: &mut Context<'_>, _: &Batch) -> std::io::Result<()> {
        wake(&mut self.link.state.lock().receiver);
        Ok(())
    }

    fn close(&mut self, code: u16, reason: &str, _: &mut Batch) {
        let mut state = self.link.state.lock();
        state.machine.close(code, reason, self.link.wheel.now());
        wake(&mut state.sender);
        self.link.over.notify_waiters();
        wake(&mut state.receiver);
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // The close frame waits in the machine for the next receiving request; this task waits until one comes or its
        // time is over.
        let mut state = self.link.state.lock();
        if state.machine.has_sent_close_frame() || state.machine.is_expired() {
            return Poll::Ready(());
        }
        state.register(context);
        Poll::Pending
    }

    fn connected(&mut self, has_user: bool, _: Config) {
        let mut state = self.link.state.lock();
        state.before_login = None;
        match state.holder {
            Holder::Client(holder) if has_user => {
                // It came before anybody had sent: another client may receive, and this one may have had no cookie.
                if state.received_by != Some(holder) {
                    state.machine.end_receiver(self.link.wheel.now());
                    wake(&mut state.receiver);
                }
            }
            _ => state.holder = Holder::Anyone,
        }
        if has_user && let Some(place) = &mut state.place {
            place.leave_address();
        }
    }

    fn heart_beats_agreed(&mut self) {
        self.link.state.lock().machine.set_heartbeats(false);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.link.state.lock().machine.next_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        let mut state = self.link.state.lock();
        match state.machine.handle_timeout(now) {
            Some(TimedOut::Disconnected | TimedOut::Forgotten) => Err(Lost::Vanished(
                "no request came to receive within the disconnect delay".into(),
            )),
            None => {
                // A heart-beat may be due.
                wake(&mut state.receiver);
                Ok(())
            }
        }
    }
}

impl Drop for SockJsHttp {
    fn drop(&mut self) {
        let mut state = self.link.state.lock();
        state.gone = true;
        let (code, reason) = (1011, "the session ended");
        state.machine.close(code, reason, self.link.wheel.now());
        wake(&mut state.sender);
        self.link.over.notify_waiters();
        wake(&mut state.receiver);
    }
}

impl LinkState {
    fn is_over(&self) -> bool {
        self.gone || self.machine.is_closed()
    }

    fn register(&mut self, context: &Context<'_>) {
        if !self
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(context.waker()))
        {
            self.task = Some(context.waker().clone());
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
