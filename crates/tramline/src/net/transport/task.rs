//! The task of a connection: common to sessions and raw sockets.
//!
//! A [`Task`] drives a [`Protocol`] over a [`Link`]: it loops while anything can make progress, reads once per poll,
//! sets the timer before it sleeps, and performs the close handshake at the end.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::LocalKey;
use std::time::{Duration, Instant};

use bytestring::ByteString;

use super::Transport;
use super::io::Batch;
use crate::net::wheel::{Alarm, Sleeper, Wheel, earliest};

/// The most deliveries, and bytes of them, in one write: enough to amortise the cost of a write, and few enough that
/// the rest stays in the outbox, where it is counted.
pub(crate) const BATCH_ITEMS: usize = 64;
pub(crate) const BATCH_BYTES: usize = 64 * 1024;

/// The time that the last output and the close handshake may take together.
pub(crate) const CLOSE_TIME: Duration = Duration::from_secs(5);

/// The protocol that a task speaks over its transport: STOMP, or an application's own.
pub(crate) trait Protocol<T: Transport>: fmt::Debug + Unpin {
    /// The reason why a connection ends.
    type End;
    /// The end and the last output.
    type Last;
    /// The timer's way to wake the task.
    type Sleeper: Sleeper;

    /// Called when a poll of the task begins, before its rounds.
    fn begin_turn(&mut self) {}

    /// Processes timers, input, running work and output, once; returns `Err` when the connection ends.
    fn poll_round(
        &mut self,
        link: &mut Link<T>,
        context: &mut Context<'_>,
    ) -> Result<Round, Self::End>;

    /// The next deadline of any kind. Asked before the task sleeps, if the deadline may have come nearer: something was
    /// read, work went on or is under way, the timer rang, or the transport stalled.
    fn next_timeout(&self, link: &Link<T>) -> Option<Instant>;

    /// Ends the connection for broker, counters, log and listeners; called once. Returns `None` if the client is gone.
    fn end(&mut self, end: Self::End) -> Option<Self::Last>;

    /// Continues what goes on after the transport's end: running handlers, and those that follow; ready when none is left.
    fn poll_handlers(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// The time at which [`poll_handlers`](Self::poll_handlers) must be called.
    fn handlers_timeout(&self) -> Option<Instant>;

    /// The code and reason of the close.
    fn close_reason(&self, last: &Self::Last) -> (u16, ByteString);

    /// Adds the output before the close.
    fn last_output(&mut self, last: &mut Self::Last, transport: &mut T, batch: &mut Batch);

    fn wheel(&self) -> &Wheel;

    fn sleeper(&self) -> &Arc<Self::Sleeper>;

    /// Lets [`sleeper`](Self::sleeper) wake this task.
    fn register(&self, context: &mut Context<'_>);
}

/// The outcome of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// The transport was read, or the protocol has done its share: the worker's other tasks run before it goes on.
    Yield,
    /// Something was done that lets other work continue.
    Progress,
    /// Nothing can continue before the task is woken, and work is under way.
    Working,
    /// Nothing can continue before the task is woken.
    Idle,
}

/// A connection, as a future to be spawned. It has no lock on its state and no second task: a running handler is one
/// branch next to input and output.
pub(crate) struct Task<T: Transport, P: Protocol<T>> {
    phase: Phase<T, P::Last>,
    protocol: P,
}

enum Phase<T, L> {
    Open(Link<T>),
    /// Boxed, because this state is short.
    Closing(Box<Closing<T, L>>),
    /// The transport is gone; handlers may still run.
    Closed(Timer),
}

struct Closing<T, L> {
    link: Link<T>,
    last: L,
    /// The last output and our close are written.
    written: bool,
    deadline: Instant,
}

impl<T: Transport, P: Protocol<T>> Task<T, P> {
    pub(crate) fn over(transport: T, protocol: P) -> Self {
        Self {
            phase: Phase::Open(Link::new(transport)),
            protocol,
        }
    }

    #[cold]
    fn end(&mut self, end: P::End) {
        let unused = Phase::Closed(Timer::default());
        let Phase::Open(link) = std::mem::replace(&mut self.phase, unused) else {
            return;
        };
        self.phase = match self.protocol.end(end) {
            Some(last) => Phase::Closing(Box::new(Closing {
                link,
                last,
                written: false,
                deadline: self.protocol.wheel().now() + CLOSE_TIME,
            })),
            None => Phase::Closed(link.timer),
        };
    }

    #[cold]
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let handlers = self.protocol.poll_handlers(context);
        let mut deadline = self.protocol.handlers_timeout();
        if let Phase::Closing(closing) = &mut self.phase {
            if closing.poll(&mut self.protocol, context).is_ready() {
                self.phase = Phase::Closed(std::mem::take(&mut closing.link.timer));
            } else {
                deadline = earliest([deadline, Some(closing.deadline)]);
            }
        }
        let timer = match &mut self.phase {
            Phase::Closed(_) if handlers.is_ready() => return Poll::Ready(()),
            Phase::Closed(timer) => timer,
            Phase::Closing(closing) => &mut closing.link.timer,
            Phase::Open(_) => return Poll::Pending,
        };
        self.protocol.register(context);
        timer.arm(deadline, &self.protocol);
        Poll::Pending
    }
}

impl<T: Transport, P: Protocol<T>> Future for Task<T, P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        task.protocol.begin_turn();
        while let Phase::Open(link) = &mut task.phase {
            let round = match task.protocol.poll_round(link, context) {
                Ok(round) => round,
                Err(end) => {
                    task.end(end);
                    break;
                }
            };
            // Most polls only write, which brings no deadline nearer.
            if round == Round::Idle && link.timer.is_current && T::OWN_DEADLINES {
                return Poll::Pending;
            }
            link.timer.is_current = false;
            match round {
                Round::Progress => {}
                Round::Yield => {
                    // One read per poll: this worker's other tasks handle its consequences before more is read.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Round::Working | Round::Idle => {
                    let deadline = task.protocol.next_timeout(link);
                    link.timer.arm(deadline, &task.protocol);
                    link.timer.is_current = round == Round::Idle;
                    return Poll::Pending;
                }
            }
        }
        task.poll_end(context)
    }
}

impl<T: Transport, P: Protocol<T>> fmt::Debug for Task<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("transport", &T::NAME)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl<T: Transport, L> Closing<T, L> {
    /// Ready when the close handshake is over, whether complete or not.
    fn poll<P: Protocol<T, Last = L>>(
        &mut self,
        protocol: &mut P,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if protocol.wheel().now() >= self.deadline {
            return Poll::Ready(());
        }
        if !self.written {
            if ready!(self.link.transport.poll_ready_to_close(context)).is_err() {
                return Poll::Ready(());
            }
            self.written = true;
            let (code, reason) = protocol.close_reason(&self.last);
            let last = &mut self.last;
            let written = self.link.write(context, |transport, batch| {
                protocol.last_output(last, transport, batch);
                transport.close(code, &reason, batch);
                true
            });
            if written.is_err() {
                // The peer no longer listens, and the end is logged already.
                return Poll::Ready(());
            }
        }
        self.link.transport.poll_close(context)
    }
}

/// A transport, and the state by which its task watches it.
pub(crate) struct Link<T> {
    pub(crate) transport: T,
    /// Set while the transport takes nothing more.
    stalled: Option<Box<Stalled>>,
    timer: Timer,
}

/// Wakes the task at its next deadline.
#[derive(Default)]
struct Timer {
    alarm: Alarm,
    /// No deadline has come nearer since the alarm was set.
    is_current: bool,
}

struct Stalled {
    since: Instant,
    /// Bytes that are unsent, by which progress shows.
    unsent: usize,
}

impl<T: Transport> Link<T> {
    fn new(transport: T) -> Self {
        Self {
            transport,
            stalled: None,
            timer: Timer::default(),
        }
    }

    /// Ready when everything written before is sent; otherwise measures the time without progress.
    #[inline]
    pub(crate) fn poll_ready(
        &mut self,
        wheel: &Wheel,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let ready = self.transport.poll_ready(context);
        if ready.is_pending() || self.stalled.is_some() {
            self.watch(ready.is_ready(), wheel);
        }
        ready
    }

    /// Measures the time without progress, and restarts when there was some.
    #[cold]
    fn watch(&mut self, is_ready: bool, wheel: &Wheel) {
        self.timer.is_current = false;
        if is_ready {
            self.stalled = None;
            return;
        }
        let unsent = self.transport.unsent();
        if self.stalled.as_ref().map(|stalled| stalled.unsent) != Some(unsent) {
            let since = wheel.now();
            self.stalled = Some(Box::new(Stalled { since, unsent }));
        }
    }

    /// The time at which the transport will have taken nothing for `limit`; `None` if it is not stalled.
    #[inline]
    pub(crate) fn send_deadline(&self, limit: Duration) -> Option<Instant> {
        let stalled = self.stalled.as_ref()?;
        Some(stalled.since + limit)
    }

    /// Lets the system hold little that is not on its way, from now on: for messages that a later one replaces.
    #[inline]
    pub(crate) fn keep_short(&mut self) {
        if !self.transport.is_short() {
            self.transport.keep_short();
        }
    }

    /// Makes the task ask for its deadline before it sleeps.
    pub(crate) fn deadline_may_be_nearer(&mut self) {
        self.timer.is_current = false;
    }

    /// Writes one batch: the transport's own output, then what `fill` adds. `fill` returns true if it added anything,
    /// since not every transport queues into the batch. To be called when everything written before is sent.
    pub(crate) fn write(
        &mut self,
        context: &mut Context<'_>,
        fill: impl FnOnce(&mut T, &mut Batch) -> bool,
    ) -> io::Result<()> {
        Batch::with(|batch| {
            self.transport.transmit(batch);
            let filled = fill(&mut self.transport, batch);
            if filled || !batch.is_empty() {
                self.transport.write(context, batch)?;
            }
            Ok(())
        })
    }

    /// Returns true if the wheel has woken the task since the last call: then some deadline may have passed.
    pub(crate) fn is_due(&mut self, wheel: &Wheel) -> bool {
        let rang = self.timer.alarm.rang(wheel);
        self.timer.is_current &= !rang;
        rang
    }
}

impl Timer {
    /// Makes the wheel wake the task at `deadline`, unless it will do so earlier.
    fn arm<T: Transport, P: Protocol<T>>(&mut self, deadline: Option<Instant>, protocol: &P) {
        self.alarm
            .set(deadline, protocol.wheel(), protocol.sleeper());
    }
}

/// Lends an empty list of the worker to `task`: between two polls no task needs one.
pub(crate) fn lend<I, R>(
    list: &'static LocalKey<Cell<Vec<I>>>,
    task: impl FnOnce(&mut Vec<I>) -> R,
) -> R {
    let mut items = list.take();
    let outcome = task(&mut items);
    items.clear();
    // A list that grew far beyond the usual is not worth keeping.
    if items.capacity() <= LENT_ITEMS {
        list.set(items);
    }
    outcome
}

const LENT_ITEMS: usize = 16 * BATCH_ITEMS;

/// The attention that the end of a connection deserves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Severity {
    /// An ordinary end.
    Usual,
    /// An unexpected end.
    Notable,
    /// An end that somebody should look into.
    Fault,
}

/// Logs the end of a connection, as [`log_client`](crate::model::log::log_client) does. The caller has [`Severity`] in
/// scope.
macro_rules! log_end {
    ($severity:expr, $may_log:expr, { $($field:tt)* }, $end:expr, $detail:expr) => {{
        use $crate::model::log::log_client;
        let text = format_args!("session ended: {}", $end);
        match $severity {
            Severity::Usual => log_client!(DEBUG, { $($field)* }, text, $detail),
            Severity::Notable => log_client!(INFO if $may_log, { $($field)* }, text, $detail),
            Severity::Fault => log_client!(WARN if $may_log, { $($field)* }, text, $detail),
        }
    }};
}

pub(crate) use log_end;
