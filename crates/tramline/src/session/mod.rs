//! A session: one client's STOMP life, from the first byte to its disconnect handlers, in one task.

mod end;
mod ending;
pub(crate) mod endpoint;
mod few;
mod frames;
mod handlers;
mod login;
mod order;
mod output;
mod pace;
mod pending;
mod queued;
mod rechecks;
mod refusals;
mod renewal;
mod replies;
mod rights;
mod serve;
mod state;
mod subscriptions;
pub(crate) mod tcp;
mod transactions;
mod turn;
mod work;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use tramline_broker::{Member, Outbox};
use tramline_stomp::{ErrorReply, ServerConnection};

use self::end::End;
use self::few::Few;
use self::pending::Work;
use self::queued::Order;
use self::state::{Login, Phase};
use crate::model::connected::ConnectedSession;
use crate::model::events::Event;
use crate::model::inbound::{SessionInfo, SessionRecord};
use crate::model::log::log_client;
use crate::net::transport::io::Batch;
use crate::net::transport::task::{Link, Protocol, Round, Task};
use crate::net::transport::{Chunks, Lost, Transport};
use crate::net::wheel::{Wheel, after, earliest};
use crate::stack::limits::Limits;
use crate::stack::shared::MessagingStack;

/// A session on its transport, as a future to be spawned.
pub(crate) type SessionTask<T> = Task<T, StompSession>;

/// Bytes of undecoded frames from which nothing more is read while a handler runs. A few frames show early that the
/// peer went away; more would only move its backlog here.
pub(crate) const READ_AHEAD: usize = 16 * 1024;

/// Bytes of answers that the peer has not taken from which nothing more is read from it: who wants receipts reads them.
pub(crate) const UNHEARD: usize = 64 * 1024;

/// A session, whatever carries it.
pub(crate) struct StompSession {
    stack: Arc<MessagingStack>,
    record: Arc<SessionRecord>,
    /// The session, as the hub knows it.
    member: Arc<Member>,
    stomp: ServerConnection,
    login: Login,
    state: Phase,
    /// Frames that wait for others.
    order: Order,
    /// The work that the next frame waits for.
    work: Option<Box<Work>>,
    /// Running handlers of routes that are [concurrent](crate::router::MessageHandler::concurrent).
    concurrent: Few<Work>,
}

impl<T: Transport> SessionTask<T> {
    pub(crate) fn new(stack: Arc<MessagingStack>, mut info: SessionInfo, transport: T) -> Self {
        let now = stack.wheel.now();
        let token = info.handshake.take_token();
        let record = SessionRecord::new(info, Arc::downgrade(&stack.for_handlers), T::NAME);
        let record = Arc::new(record);
        let member = stack.session_opened(&record);
        log_client!(
            DEBUG,
            { stack = %stack.name, session = %record.id(), transport = T::NAME },
            "session opened"
        );
        let deadline = after(now, stack.limits.connect_time);
        let stomp = if T::FOR_BROWSERS {
            &stack.stomp
        } else {
            &stack.stomp_of_programs
        };
        let mut session = StompSession {
            stomp: ServerConnection::new(Arc::clone(stomp), now),
            record,
            member,
            login: Login::Awaited { deadline },
            state: Phase::Open,
            order: Order::default(),
            work: None,
            concurrent: Few::default(),
            stack,
        };
        if token.is_some() {
            session.order.rights_or_new().of_request = token;
        }
        Self::over(transport, session)
    }
}

impl<T: Transport> Protocol<T> for StompSession {
    type End = Arc<End>;
    type Last = Arc<End>;
    type Sleeper = Outbox;

    fn begin_turn(&mut self) {
        turn::begin();
    }

    fn poll_round(
        &mut self,
        link: &mut Link<T>,
        context: &mut Context<'_>,
    ) -> Result<Round, Arc<End>> {
        if link.is_due(&self.stack.wheel) {
            self.handle_timeouts(link, context);
        }
        let mut progress = self.poll_running(context);
        let read = self.poll_input(&mut link.transport, context).is_ready();
        if matches!(self.login, Login::Accepted) {
            self.login = Login::Done;
            let has_user = self.record.user().is_some();
            link.transport
                .connected(has_user, self.stack.limits.websocket());
            if self.stomp.sends_heart_beats() {
                link.transport.heart_beats_agreed();
            }
        }
        let unheard = self.is_unheard();
        self.poll_output(link, context);
        progress |= unheard && !self.is_unheard();
        if !self.state.is_open()
            && let Some(end) = self.state.take_end(self.is_idle(), self.member.outbox())
        {
            return Err(end);
        }
        Ok(match (read || self.order.has_rest(), progress) {
            (true, _) => Round::Yield,
            (false, true) => Round::Progress,
            (false, false) if self.is_idle() => Round::Idle,
            (false, false) => Round::Working,
        })
    }

    fn next_timeout(&self, link: &Link<T>) -> Option<Instant> {
        earliest([
            self.stomp.next_timeout(),
            link.transport.next_timeout(),
            self.work_deadline(),
            self.rights_deadline(),
            link.send_deadline(self.send_time(link)),
            self.order.interval_end(),
        ])
    }

    fn end(&mut self, end: Arc<End>) -> Option<Arc<End>> {
        if !self.state.is_gone() {
            self.ended(&end, T::NAME);
        }
        (!end.is_silent()).then_some(end)
    }

    fn poll_handlers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.state.has_ended() {
            let end = ready!(self.poll_left_behind(context));
            self.ended(&end, T::NAME);
        }
        self.poll_disconnect_handlers(context)
    }

    fn handlers_timeout(&self) -> Option<Instant> {
        self.work_deadline()
    }

    fn close_reason(&self, end: &Arc<End>) -> (u16, ByteString) {
        end.close()
    }

    fn last_output(&mut self, end: &mut Arc<End>, transport: &mut T, batch: &mut Batch) {
        let (_, reason) = end.close();
        if !T::TELLS_WHY && !reason.is_empty() {
            // Does nothing where the end is an ERROR already.
            self.stomp.error(ErrorReply::new(reason));
        }
        while let Some(frame) = self.stomp.poll_transmit() {
            transport.frame(&frame, batch);
        }
    }

    fn wheel(&self) -> &Wheel {
        &self.stack.wheel
    }

    fn sleeper(&self) -> &Arc<Outbox> {
        self.member.outbox()
    }

    fn register(&self, context: &mut Context<'_>) {
        self.member.outbox().poll_overflow(context);
    }
}

impl StompSession {
    /// Reads once, and handles the frames that this brought; ready if it brought anything.
    #[inline]
    fn poll_input<T: Transport>(
        &mut self,
        transport: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if self.order.has_rest() {
            if !turn::is_over() {
                self.handle_rest(context);
            }
            return Poll::Ready(());
        }
        let over = !self.state.is_open();
        let busy = self.stomp.buffered() >= READ_AHEAD
            && (self.work.is_some() || self.record.is_expelled());
        let unheard = self.is_unheard() || self.is_slowed_down();
        let paused = self.work.is_some() || over || busy || unheard;
        if paused != self.stomp.is_reading_paused() {
            self.stomp.pause_reading(paused, self.stack.wheel.now());
        }
        if over || busy || unheard {
            return Poll::Pending;
        }
        let mut chunks = Chunks::default();
        let Poll::Ready(read) = transport.poll_receive(context, &mut chunks) else {
            return Poll::Pending;
        };
        self.received(chunks, read, context);
        Poll::Ready(())
    }

    /// Handles what one read brought. Out of line: most polls read nothing.
    #[inline(never)]
    fn received(&mut self, chunks: Chunks, read: Result<(), Lost>, context: &mut Context<'_>) {
        let mut bytes = 0;
        for chunk in chunks {
            bytes += chunk.len();
            self.stomp.receive(chunk, self.stack.wheel.now());
            self.process(context);
        }
        if self.work.is_some() {
            self.stomp.limit_held();
        }
        self.publish_batch();
        self.count_read(bytes);
        self.stack.watch.read(&self.record, bytes);
        self.read_ended(read);
    }

    /// Returns whether so many answers wait for the client that nothing more is read from it.
    fn is_unheard(&self) -> bool {
        self.stomp.queued() >= UNHEARD
    }

    /// Returns true if no handler runs, no answer of the broker is pending, and no frame that has arrived is left.
    fn is_idle(&self) -> bool {
        self.work.is_none() && self.concurrent.is_empty() && !self.order.has_rest()
    }

    /// Looks at all deadlines.
    #[cold]
    fn handle_timeouts<T: Transport>(&mut self, link: &mut Link<T>, context: &mut Context<'_>) {
        let now = self.stack.wheel.now();
        self.stomp.handle_timeout(now);
        // A heart-beat that did not come shows as an event.
        self.process(context);
        if let Err(lost) = link.transport.handle_timeout(now) {
            self.lose(lost.into());
        }
        self.end_what_is_late();
        self.end_intervals(now);
        self.handle_rights();
        let limit = self.send_time(link);
        if link
            .send_deadline(limit)
            .is_some_and(|deadline| deadline <= now)
        {
            let error = format!("nothing could be written for {limit:?} (`Limits::send_time`)");
            self.state.end(End::TooSlow(error));
        }
    }

    /// The time for which writing may make no progress. A connection that is kept short takes nothing as soon as the
    /// reader's own buffer is full, and a reader of conflated messages loses nothing by a pause: it may be as long as that
    /// of a background tab.
    fn send_time<T: Transport>(&self, link: &Link<T>) -> Duration {
        let Limits {
            send_time,
            heart_beat_silence,
            ..
        } = self.stack.limits;
        match link.transport.is_short() {
            true => send_time.max(heart_beat_silence),
            false => send_time,
        }
    }

    /// The client is gone: it subscribes to nothing any more, but what it sent before is still handled.
    fn lose(&mut self, end: End) {
        let until = after(self.stack.wheel.now(), self.stack.limits.handler_time);
        if self.state.lose(end, until) {
            self.leave();
        }
    }

    /// Returns true if one more line at INFO or above may be written because of this session.
    fn may_log(&self) -> bool {
        self.stack.may_log_of(&self.record)
    }

    fn tell(&self, event: impl FnOnce(ConnectedSession) -> Event) {
        self.stack
            .tell(|| event(ConnectedSession::here(&self.member, &self.record)));
    }
}

impl fmt::Debug for StompSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StompSession")
            .field("record", &self.record)
            .field("outbox", self.member.outbox())
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::net::transport::websocket::{Plain, WebSocket};

    use super::*;

    #[test]
    fn an_idle_sessions_task_is_small() {
        let size = size_of::<SessionTask<WebSocket<Plain>>>();
        // With what tokio adds it should not begin another 128 bytes.
        assert!(size <= 640, "{size}");
        // Boxed while it waits.
        assert!(size_of::<Work>() <= 304, "{}", size_of::<Work>());
    }
}
