//! One client's STOMP life: one task, which owns all of it.

mod acks;
mod end;
mod few;
mod frames;
mod handlers;
mod login;
mod order;
mod output;
mod transactions;
mod work;

pub(crate) use crate::transport::panic::panic_text;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::Outbox;
use tramline_stomp::{ErrorReply, ServerConnection};

use self::end::End;
use self::few::Few;
use self::handlers::About;
use self::order::Order;
use self::work::Work;
use crate::disconnected::{DisconnectCause, Disconnected};
use crate::events::Event;
use crate::inbound::{Cause, Inbound, SessionInfo, SessionRecord};
use crate::messaging::Shared;
use crate::registry::ConnectedSession;
use crate::transport::panic::caught;
use crate::transport::{Goodbye, Lost, Transport};
use crate::wheel::{Alarm, earliest};

/// A session on its transport, as a future to be spawned.
///
/// Each poll goes round: timers, what is being worked on, input, output, until none of them can go on. There is no lock
/// on its state and no second task, so a handler that runs is one branch beside the others: while it runs, deliveries
/// and heart-beats go out.
#[derive(Debug)]
pub(crate) struct SessionTask<T: Transport> {
    transport: T,
    session: Session,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// Boxed, because most of the time it is not so.
    Closing(Box<Closing>),
}

/// The end is decided.
#[derive(Debug)]
struct Closing {
    end: End,
    /// `None` where there is nobody to say it to, or it is said.
    goodbye: Option<Goodbye>,
}

/// Bytes of undecoded frames from which nothing more is read while a handler runs. A few frames show early that the
/// peer went away; more would only move its backlog here.
pub(crate) const READ_AHEAD: usize = 16 * 1024;

/// Bytes of answers that the peer has not taken from which nothing more is read from it: who wants receipts reads them.
pub(crate) const UNHEARD: usize = 64 * 1024;

/// What a session is, whatever carries it.
struct Session {
    shared: Arc<Shared>,
    record: Arc<SessionRecord>,
    outbox: Arc<Outbox>,
    stomp: ServerConnection,
    /// Frames that wait for others.
    order: Order,
    /// What is finished before the next frame is handled.
    work: Option<Box<Work>>,
    /// Running handlers of routes that are [concurrent](crate::MessageHandler::concurrent).
    concurrent: Few<Work>,
    /// The end, once decided.
    end: Option<Box<End>>,
    /// Somebody on the server's side wants the end, after what is being done.
    requested: Option<Box<End>>,
    /// The peer is gone or said goodbye. What it sent before is still worked on.
    lost: Option<Box<End>>,
    /// Until when CONNECT has to come and its login to be decided, while they have not.
    connect_by: Option<Instant>,
    just_connected: bool,
    /// Whether anybody was told of the session.
    announced: bool,
    /// How it ended, for the disconnect handlers.
    disconnected: Option<Arc<Disconnected>>,
    /// How many of them have been called.
    farewells: u32,
    /// While the transport takes nothing more: since when, and how much is left.
    blocked: Option<(Instant, usize)>,
    alarm: Alarm,
    /// What it was last asked to be set for.
    armed_for: Option<Instant>,
}

thread_local! {
    /// Lent to whichever session of this worker reads.
    static CHUNKS: Cell<Vec<Bytes>> = const { Cell::new(Vec::new()) };
}

impl<T: Transport> SessionTask<T> {
    pub(crate) fn new(shared: Arc<Shared>, info: SessionInfo, transport: T) -> Self {
        let now = shared.wheel.now();
        let outbox = Arc::new(Outbox::new(
            shared.limits.outbox,
            shared.limits.overflow.clone(),
        ));
        let record = SessionRecord::new(info, Arc::downgrade(&shared), Arc::clone(&outbox));
        let record = Arc::new(record);
        shared.session_opened(&record);
        tracing::debug!(stack = %shared.name, session = %record.id(), transport = T::NAME, "session opened");
        let session = Session {
            stomp: ServerConnection::new(Arc::clone(&shared.stomp), now),
            record,
            outbox,
            order: Order::default(),
            work: None,
            concurrent: Few::default(),
            end: None,
            requested: None,
            lost: None,
            connect_by: Some(now + shared.limits.connect_time),
            just_connected: false,
            announced: false,
            disconnected: None,
            farewells: 0,
            blocked: None,
            alarm: Alarm::default(),
            armed_for: None,
            shared,
        };
        Self {
            transport,
            session,
            phase: Phase::Open,
        }
    }

    /// Goes round while anything goes on; ready when the end is decided.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let Self {
            transport, session, ..
        } = self;
        loop {
            session.handle_timeouts(transport, context);
            let mut progress = !session.concurrent.is_empty() && session.poll_concurrent(context);
            progress |= session.poll_work(context);
            let input = session.poll_input(transport, context).is_ready();
            if std::mem::take(&mut session.just_connected) && session.stomp.sends_heart_beats() {
                transport.heart_beats_agreed();
            }
            let unheard = session.is_unheard();
            session.poll_output(transport, context);
            progress |= unheard && !session.is_unheard();
            if session.may_end()
                && let Some(end) = session.take_end()
            {
                return Poll::Ready(*end);
            }
            if input {
                // One read at a time: what it set going is for others of this worker to take before more comes.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !progress {
                session.arm(session.next_timeout(transport));
                return Poll::Pending;
            }
        }
    }

    #[cold]
    fn close(&mut self, end: End) {
        self.session.ended(T::NAME, &end);
        let now = self.session.shared.wheel.now();
        self.phase = Phase::Closing(Box::new(Closing {
            goodbye: (!end.is_silent()).then(|| Goodbye::new(now)),
            end,
        }));
    }

    #[cold]
    fn poll_closing(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let told = self.session.poll_farewell(context);
        ready!(self.poll_goodbye(context));
        told
    }

    /// Writes what is owed and says goodbye; then waits for the peer's goodbye.
    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Phase::Closing(closing) = &mut self.phase else {
            return Poll::Pending;
        };
        let Closing { end, goodbye } = &mut **closing;
        let Some(waiting) = goodbye else {
            return Poll::Ready(());
        };
        let Self {
            transport, session, ..
        } = self;
        session.arm(Some(waiting.deadline()));
        session.outbox.poll_overflow(context);
        let (code, reason) = end.close();
        let now = session.shared.wheel.now();
        ready!(waiting.poll(
            transport,
            now,
            context,
            (code, &reason),
            |transport, batch| {
                if !T::TELLS_WHY && !reason.is_empty() {
                    // Does nothing where the end is an ERROR already.
                    session.stomp.error(ErrorReply::new(reason.clone()));
                }
                while let Some(frame) = session.stomp.poll_transmit() {
                    transport.frame(&frame, batch);
                }
            },
        ));
        *goodbye = None;
        Poll::Ready(())
    }
}

impl<T: Transport> Future for SessionTask<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if matches!(self.phase, Phase::Open) {
            let end = ready!(self.poll_open(context));
            self.close(end);
        }
        self.poll_closing(context)
    }
}

impl Session {
    fn poll_input<T: Transport>(
        &mut self,
        transport: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let over = self.requested.is_some() || self.lost.is_some() || self.end.is_some();
        let busy = self.stomp.buffered() >= READ_AHEAD
            && (self.work.is_some() || self.record.is_expelled());
        let unheard = self.is_unheard();
        let paused = self.work.is_some() || over || busy || unheard;
        self.stomp.pause_reading(paused, self.shared.wheel.now());
        if over || busy || unheard {
            return Poll::Pending;
        }
        let mut chunks = CHUNKS.take();
        let read = transport.poll_receive(context, &mut chunks);
        for chunk in chunks.drain(..) {
            self.stomp.receive(chunk, self.shared.wheel.now());
            self.process(context);
        }
        CHUNKS.set(chunks);
        let Poll::Ready(read) = read else {
            return Poll::Pending;
        };
        self.publish_batch();
        match read {
            Ok(()) => {}
            Err(lost @ Lost::Violation { .. }) => self.end_with(lost.into()),
            Err(lost) => self.lose(lost.into()),
        }
        Poll::Ready(())
    }

    /// Whether frames that arrived are still handled.
    fn handles_frames(&self) -> bool {
        self.end.is_none() && self.requested.is_none() && !self.record.is_expelled()
    }

    /// Whether so many answers wait for the peer to take them that it is not listened to.
    fn is_unheard(&self) -> bool {
        self.stomp.queued() >= UNHEARD
    }

    /// Looks at the deadlines, when the wheel says that it is time.
    fn handle_timeouts<T: Transport>(&mut self, transport: &mut T, context: &mut Context<'_>) {
        if !self.alarm.rang(&self.shared.wheel) {
            return;
        }
        let now = self.shared.wheel.now();
        self.stomp.handle_timeout(now);
        // A heart-beat that did not come shows as an event.
        self.process(context);
        if let Err(lost) = transport.handle_timeout(now) {
            self.lose(lost.into());
        }
        if self.connect_by.is_some_and(|deadline| deadline <= now) {
            let login = matches!(self.work.as_deref(), Some(Work::Login(_)));
            self.end_with(if login {
                End::SlowLogin
            } else {
                End::NoConnect
            });
        }
        if self.send_deadline().is_some_and(|deadline| deadline <= now) {
            let limit = self.shared.limits.send_time;
            let error = format!("nothing could be written for {limit:?} (`Limits::send_time`)");
            self.end_with(End::TooSlow(error));
        }
    }

    fn next_timeout<T: Transport>(&self, transport: &T) -> Option<Instant> {
        earliest([
            self.stomp.next_timeout(),
            transport.next_timeout(),
            self.connect_by,
            self.send_deadline(),
        ])
    }

    fn send_deadline(&self) -> Option<Instant> {
        let (since, _) = self.blocked?;
        Some(since + self.shared.limits.send_time)
    }

    /// Has the wheel wake this session at `deadline`, unless it will do so earlier.
    #[inline]
    fn arm(&mut self, deadline: Option<Instant>) {
        // Asked at every poll, where comparing is cheaper than working out a tick.
        let earlier = self.armed_for.zip(deadline);
        if earlier.is_some_and(|(armed, deadline)| armed <= deadline)
            && self.alarm.is_set(&self.shared.wheel)
        {
            return;
        }
        self.set_alarm(deadline);
    }

    #[cold]
    fn set_alarm(&mut self, deadline: Option<Instant>) {
        self.alarm.set(deadline, &self.shared.wheel, &self.outbox);
        self.armed_for = deadline;
    }

    /// The session ends with what is being worked on.
    fn end_with(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(Box::new(end));
        }
    }

    /// The peer is gone: it subscribes to nothing any more, but what it sent before is still worked on.
    fn lose(&mut self, end: End) {
        if self.lost.is_none() {
            self.lost = Some(Box::new(end));
            self.leave();
        }
    }

    /// Nothing is delivered to the session any more, and it is nowhere any more.
    fn leave(&mut self) {
        self.shared.leave(&self.record);
        self.outbox.close();
    }

    /// Whether there is an end in sight: asked at every poll.
    fn may_end(&self) -> bool {
        self.end.is_some() || self.lost.is_some() || self.requested.is_some()
    }

    /// The end, if it has come: at once where the session cannot go on, else when nothing is being worked on.
    #[cold]
    fn take_end(&mut self) -> Option<Box<End>> {
        if self.end.is_some() || self.work.is_some() || !self.concurrent.is_empty() {
            return self.end.take();
        }
        // Nobody may add to what such a session still has to write, or it would never come to its end.
        let requested = self.requested.take_if(|_| self.outbox.seal());
        self.lost.take().or(requested)
    }

    /// Tells everyone who needs to know, once: broker, counters, log, listeners.
    fn ended(&mut self, transport: &'static str, end: &End) {
        self.publish_batch();
        self.work = None;
        self.concurrent.clear();
        self.leave();
        end.count(&self.shared.counters);
        end.log(&self.shared.name, &self.record, transport);
        let connected = self.record.connected.load(Ordering::Acquire);
        self.disconnect(end.disconnected());
        if !connected {
            // Its disconnect handlers are not asked.
            self.farewells = u32::MAX;
        }
    }

    /// Leaves the registry and tells listeners, once.
    fn disconnect(&mut self, why: Disconnected) {
        self.record.connected.store(false, Ordering::Release);
        let why = Arc::new(why);
        self.disconnected = Some(Arc::clone(&why));
        if std::mem::take(&mut self.announced) {
            self.tell(|session| Event::Disconnected {
                session,
                reason: Disconnected::clone(&why),
            });
        }
    }

    fn tell(&self, event: impl FnOnce(ConnectedSession) -> Event) {
        self.shared
            .tell(|| event(ConnectedSession(Arc::clone(&self.record))));
    }

    /// Calls the disconnect handlers, one after the other, and after the last what waits for the session's end.
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(mut work) = self.work.take()
                && self.poll_to_end(&mut work, context).is_pending()
            {
                self.work = Some(work);
                return Poll::Pending;
            }
            let shared = Arc::clone(&self.shared);
            let next = shared.routes.disconnect.get(self.farewells as usize);
            let (Some(handler), Some(why)) = (next, &self.disconnected) else {
                self.end_attributes();
                return Poll::Ready(());
            };
            self.farewells += 1;
            let cause = Cause::Disconnect(Arc::clone(why));
            let inbound = Inbound::new(Arc::clone(&self.record), cause, ByteString::new());
            let about = About::of(ByteString::from_static("(disconnect)"), &inbound.headers);
            self.work = self.start(handler, inbound, about).map(Box::new);
        }
    }

    fn end_attributes(&self) {
        for callback in self.record.attributes.end() {
            if let Err(panic) = caught(callback) {
                self.shared.counters.handler_panics.increment();
                tracing::error!(
                    stack = %self.shared.name,
                    session = %self.record.id(),
                    panic = %panic,
                    "what an application does at a session's end panicked"
                );
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Again where the task ran to its end; for the first time where its runtime went away.
        self.leave();
        self.disconnect(Disconnected {
            cause: DisconnectCause::Server,
            code: 1001,
            reason: ByteString::from_static("the server's runtime went away"),
        });
        self.end_attributes();
        self.shared.session_closed(&self.record);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("record", &self.record)
            .field("outbox", &self.outbox)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Closed { code, reason } => Self::PeerClosed { code, reason },
            Lost::Vanished(how) => Self::Vanished(how),
            Lost::HalfClosed => Self::HalfClosed,
            Lost::Silent(how) => Self::Silent(how),
            Lost::Violation { code, error } => Self::Violation { code, error },
        }
    }
}
