//! One connection's life: one task, which runs its handler and its socket.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tramline_websocket::CloseCode;

use super::channel::{Asked, Channel, Opening, Taken};
use super::closed::Closed;
use super::handler::HandlerFuture;
use super::message::{Item, Received};
use super::sessions::Shared;
use super::socket::Socket;
use super::transport::RawTransport;
use crate::transport::Goodbye;
use crate::transport::io::Batch;
use crate::transport::panic::Caught;
use crate::wheel::{Alarm, earliest};

/// A connection and its handler, as a future to be spawned.
///
/// Each poll goes round: timers, input, the handler, output. So what the handler sends while it works on one read's
/// messages goes out in one write, and a handler that waits for something else holds nothing up. It ends when both the
/// connection and the handler have.
pub(super) struct RawTask<T: RawTransport> {
    channel: Arc<Channel>,
    handler: Option<Caught<HandlerFuture>>,
    /// Gone as soon as the connection is.
    transport: Option<T>,
    closing: Option<Box<Closing>>,
    alarm: Alarm,
    /// While the transport takes nothing more.
    blocked: Option<Box<Blocked>>,
    /// When a message came or went.
    active: Instant,
    /// Nothing was read because messages waited for the handler.
    paused: bool,
}

/// The client takes nothing.
struct Blocked {
    since: Instant,
    /// How much is left, by which progress shows.
    unsent: usize,
}

/// The end is decided.
struct Closing {
    why: Closed,
    /// What the handler said to what came before the client's close.
    answers: VecDeque<Item>,
    goodbye: Goodbye,
}

/// Messages that one write carries at most, and bytes of them: enough that a write's own cost is spread thin, and few
/// enough that the rest stays in the outbox, where it is counted.
const BATCH_ITEMS: usize = 64;
const BATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Lent to whichever connection of this worker reads or writes.
    static RECEIVED: Cell<Vec<Received>> = const { Cell::new(Vec::new()) };
    static ITEMS: Cell<Vec<Item>> = const { Cell::new(Vec::new()) };
}

impl<T: RawTransport> RawTask<T> {
    pub(super) fn new(shared: Arc<Shared>, opening: Opening, transport: T) -> Self {
        let channel = Channel::new(shared, opening, T::NAME, T::TEXT_ONLY);
        let shared = &channel.shared;
        shared.opened(&channel);
        tracing::debug!(stack = %shared.name, session = %channel.opening.info.id, transport = T::NAME, "session opened");
        Self {
            handler: Some(Caught((shared.handler)(Socket::new(Arc::clone(&channel))))),
            transport: Some(transport),
            closing: None,
            alarm: Alarm::default(),
            blocked: None,
            active: shared.wheel.now(),
            paused: false,
            channel,
        }
    }

    /// Goes round once; ready with whether there was input, so that there may be more.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Result<bool, Closed> {
        if self.alarm.rang(&self.channel.shared.wheel) {
            self.handle_timeouts()?;
        }
        let input = self.poll_input(context);
        self.poll_handler(context);
        self.channel.set_awake(false);
        let input = input?;
        self.poll_output(context)?;
        Ok(input)
    }

    fn handle_timeouts(&mut self) -> Result<(), Closed> {
        let shared = &self.channel.shared;
        let now = shared.wheel.now();
        if let Some(transport) = &mut self.transport {
            transport.handle_timeout(now)?;
        }
        let limit = shared.limits.send_time;
        let blocked = self.blocked.as_ref();
        if blocked.is_some_and(|blocked| blocked.since + limit <= now) {
            return Err(Closed::TooSlow {
                error: format!("nothing could be written for {limit:?} (`RawLimits::send_time`)")
                    .into(),
            });
        }
        if let Some(limit) = shared.limits.idle_timeout
            && self.active + limit <= now
        {
            if self.channel.has_incoming() {
                // It is the handler who takes its time.
                self.active = now;
            } else {
                return Err(Closed::Idle {
                    error: format!(
                        "no message came or went for {limit:?} (`RawLimits::idle_timeout`)"
                    )
                    .into(),
                });
            }
        }
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        let limits = &self.channel.shared.limits;
        earliest([
            self.transport.as_ref().and_then(T::next_timeout),
            self.blocked
                .as_ref()
                .map(|blocked| blocked.since + limits.send_time),
            limits.idle_timeout.map(|limit| self.active + limit),
        ])
    }

    /// One read, if nothing waits for the handler; whether it brought anything.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Result<bool, Closed> {
        let Some(transport) = &mut self.transport else {
            return Ok(false);
        };
        self.paused = self.channel.has_incoming();
        if self.paused {
            return Ok(false);
        }
        let shared = &self.channel.shared;
        let mut received = RECEIVED.take();
        let read = transport.poll_messages(context, shared.parts, &mut received);
        if !shared.pongs {
            received.retain(|event| !matches!(event, Received::Pong(_)));
        }
        if !received.is_empty() {
            let pongs = received
                .iter()
                .filter(|event| matches!(event, Received::Pong(_)));
            let messages = received.len() - pongs.count();
            if messages > 0 {
                shared.counters.messages_received.add(messages);
                self.active = shared.wheel.now();
            }
            self.channel.received(&mut received, context);
        }
        RECEIVED.set(received);
        match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(lost)) => Err(lost.into()),
        }
    }

    /// Whether the handler has taken meanwhile what kept us from reading.
    fn is_behind(&self) -> bool {
        self.paused && !self.channel.has_incoming()
    }

    fn poll_handler(&mut self, context: &mut Context<'_>) {
        let Some(handler) = &mut self.handler else {
            return;
        };
        let Poll::Ready(outcome) = Pin::new(handler).poll(context) else {
            return;
        };
        self.handler = None;
        let (shared, id) = (&self.channel.shared, self.channel.opening.info.id);
        let failed = |code: CloseCode| self.channel.close(code, "the server failed".into());
        match outcome {
            Ok(Ok(())) => self.channel.close(CloseCode::NORMAL, "".into()),
            Ok(Err(error)) if self.channel.is_over() => {
                tracing::debug!(stack = %shared.name, session = %id, %error, "handler ended after its connection");
            }
            Ok(Err(error)) => {
                shared.counters.handler_errors.increment();
                tracing::warn!(stack = %shared.name, session = %id, %error, "handler failed");
                failed(CloseCode::INTERNAL_ERROR);
            }
            Err(panic) => {
                shared.counters.handler_panics.increment();
                tracing::error!(stack = %shared.name, session = %id, %panic, "handler panicked");
                failed(CloseCode::INTERNAL_ERROR);
            }
        }
    }

    /// Writes what is queued, until nothing is or the transport is full; the task is woken when that changes.
    fn poll_output(&mut self, context: &mut Context<'_>) -> Result<(), Closed> {
        while self.is_ready(context)? {
            let Some(transport) = &mut self.transport else {
                return Ok(());
            };
            let mut items = ITEMS.take();
            let taken = self
                .channel
                .take(context, &mut items, BATCH_ITEMS, BATCH_BYTES);
            let written = Batch::with(|batch| {
                transport.transmit(batch);
                for item in &items {
                    transport.item(item, batch);
                }
                // Not every transport queues into the batch.
                if batch.is_empty() && items.is_empty() {
                    return Ok(());
                }
                transport.write(context, batch)
            });
            if !items.is_empty() {
                let shared = &self.channel.shared;
                let messages = messages(&items);
                if messages > 0 {
                    shared.counters.messages_sent.add(messages);
                    self.active = shared.wheel.now();
                }
                items.clear();
            }
            ITEMS.set(items);
            written.map_err(|error| vanished(&error))?;
            match taken {
                Taken::Asked(asked) => return Err(self.asked(asked)),
                Taken::Items { more: true } => {}
                Taken::Items { more: false } | Taken::Nothing => {
                    // What could not be written is found out, and the transport registered, by asking once more.
                    self.is_ready(context)?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether everything written before is out; if not, how long that has been without progress is watched.
    fn is_ready(&mut self, context: &mut Context<'_>) -> Result<bool, Closed> {
        let Some(transport) = &mut self.transport else {
            return Ok(false);
        };
        let ready = transport.poll_ready(context);
        if ready.map_err(|error| vanished(&error))?.is_ready() {
            self.blocked = None;
            return Ok(true);
        }
        let unsent = transport.unsent();
        let before = self.blocked.as_ref().map(|blocked| blocked.unsent);
        if before != Some(unsent) {
            let since = self.channel.shared.wheel.now();
            self.blocked = Some(Box::new(Blocked { since, unsent }));
        }
        match self.channel.poll_overflow(context) {
            Some(queued) => Err(self.asked(Asked::Overflow { queued })),
            None => Ok(false),
        }
    }

    fn asked(&self, asked: Asked) -> Closed {
        match asked {
            Asked::Close(code, reason) => Closed::ByServer { code, reason },
            Asked::Overflow { queued } => {
                let limit = self.channel.shared.limits.outbox;
                Closed::TooSlow {
                    error: format!(
                        "{queued} bytes would wait for it, and {limit} may (`RawLimits::outbox`)"
                    )
                    .into(),
                }
            }
        }
    }

    /// Tells everyone who needs to know, once: senders, handler, counters, log.
    fn ended(&mut self, why: Closed) {
        why.count(&self.channel.shared.counters);
        why.log(&self.channel);
        let answers = self.channel.end(why.clone());
        if why.is_silent() {
            self.transport = None;
        } else {
            let shared = &self.channel.shared;
            shared.counters.messages_sent.add(messages(&answers));
            self.closing = Some(Box::new(Closing {
                why,
                answers,
                goodbye: Goodbye::new(shared.wheel.now()),
            }));
        }
    }

    fn poll_goodbye(&mut self, context: &mut Context<'_>) {
        let (Some(closing), Some(transport)) = (&mut self.closing, &mut self.transport) else {
            return;
        };
        let wheel = &self.channel.shared.wheel;
        let Closing {
            why,
            answers,
            goodbye,
        } = &mut **closing;
        self.alarm
            .set(Some(goodbye.deadline()), wheel, &self.channel);
        // Registers the task with the wheel's way to wake it.
        self.channel.poll_overflow(context);
        let over = goodbye.poll(
            transport,
            wheel.now(),
            context,
            why.close(),
            |transport, batch| {
                for item in answers.drain(..) {
                    transport.item(&item, batch);
                }
            },
        );
        if over.is_ready() {
            self.transport = None;
            self.closing = None;
        }
    }
}

/// How many are no pings.
fn messages<'a>(items: impl IntoIterator<Item = &'a Item>) -> usize {
    items.into_iter().filter_map(Item::message).count()
}

fn vanished(error: &std::io::Error) -> Closed {
    Closed::Vanished {
        error: error.to_string().into(),
    }
}

impl<T: RawTransport> Future for RawTask<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        task.channel.set_awake(true);
        while task.closing.is_none() && task.transport.is_some() {
            match task.poll_open(context) {
                Ok(true) => {
                    // One read at a time: what it set going is for others of this worker to take before more comes.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(false) if task.is_behind() => task.channel.set_awake(true),
                Ok(false) => {
                    let next = task.next_timeout();
                    let wheel = &task.channel.shared.wheel;
                    task.alarm.set(next, wheel, &task.channel);
                    return Poll::Pending;
                }
                Err(why) => {
                    task.ended(why);
                    // The handler learns of it.
                    task.poll_handler(context);
                }
            }
        }
        task.channel.set_awake(false);
        task.poll_handler(context);
        task.poll_goodbye(context);
        if task.transport.is_none() && task.handler.is_none() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<T: RawTransport> Drop for RawTask<T> {
    fn drop(&mut self) {
        // Told already where the task ran to its end; for the first time where its runtime went away.
        self.channel.end(Closed::Vanished {
            error: "the runtime of its connection was shut down".into(),
        });
        self.channel.shared.gone(self.channel.opening.info.id);
    }
}

impl<T: RawTransport> fmt::Debug for RawTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawTask")
            .field("channel", &self.channel)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::transport::websocket::{Plain, WebSocket};

    use super::*;

    #[test]
    fn an_idle_connections_task_is_small() {
        let size = size_of::<RawTask<WebSocket<Plain>>>();
        // With what tokio adds it should not begin another 128 bytes.
        assert!(size <= 280, "{size}");
    }
}
