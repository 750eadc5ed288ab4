//! The task of one raw socket: its handler and its connection.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytestring::ByteString;
use tramline_websocket::CloseCode;

use super::channel::{Asked, Channel, Opening, Taken};
use super::closed::Closed;
use super::shared::{HandlerFuture, RawStack};
use crate::model::log::log_client;
use crate::model::panics::Caught;
use crate::net::message::{Item, Received};
use crate::net::transport::io::Batch;
use crate::net::transport::messages::RawTransport;
use crate::net::transport::task::{BATCH_BYTES, BATCH_ITEMS, Link, Protocol, Round, Task, lend};
use crate::net::wheel::{Wheel, after, earliest};

/// A socket and its handler, as a future to be spawned.
///
/// In each round the handler is polled between input and output. So its output for one read's messages goes out in one
/// write, and a handler that waits for something else delays nothing. The task ends when both the connection and the
/// handler have.
pub(super) type RawTask<T> = Task<T, RawSession>;

/// A raw socket, over any transport.
pub(super) struct RawSession {
    channel: Arc<Channel>,
    handler: Option<Caught<HandlerFuture>>,
    /// The time of the last message in either direction, or of the connection's end.
    active: Instant,
}

thread_local! {
    /// Lent to the socket that reads or writes.
    static RECEIVED: Cell<Vec<Received>> = const { Cell::new(Vec::new()) };
    static ITEMS: Cell<Vec<Item>> = const { Cell::new(Vec::new()) };
}

impl<T: RawTransport> RawTask<T> {
    pub(super) fn new(stack: Arc<RawStack>, opening: Opening, transport: T) -> Self {
        let channel = Channel::new(stack, opening, T::NAME, T::TEXT_ONLY);
        let stack = &channel.stack;
        stack.opened(&channel);
        let info = &channel.opening.info;
        log_client!(
            DEBUG,
            { stack = %stack.name, session = %info.id, transport = T::NAME },
            "session opened"
        );
        let session = RawSession {
            handler: Some(Caught((stack.handler)(Arc::clone(&channel)))),
            active: stack.wheel.now(),
            channel,
        };
        Self::over(transport, session)
    }
}

impl<T: RawTransport> Protocol<T> for RawSession {
    type End = Closed;
    /// The reason, and the handler's output for the messages that came before the client's close.
    type Last = (Closed, VecDeque<Item>);
    type Sleeper = Channel;

    fn poll_round(
        &mut self,
        link: &mut Link<T>,
        context: &mut Context<'_>,
    ) -> Result<Round, Closed> {
        self.channel.set_awake(true);
        if link.is_due(&self.channel.stack.wheel) {
            self.handle_timeouts(link)?;
        }
        // Nothing is read while messages wait for the handler.
        let waiting = self.channel.has_incoming();
        let read = if waiting {
            Ok(false)
        } else {
            self.poll_input(&mut link.transport, context)
        };
        self.poll_handler(context);
        self.channel.set_awake(false);
        let read = read?;
        self.poll_output(link, context)?;
        Ok(if read {
            Round::Yield
        } else if waiting && !self.channel.has_incoming() {
            Round::Progress
        } else {
            Round::Idle
        })
    }

    fn next_timeout(&self, link: &Link<T>) -> Option<Instant> {
        let limits = &self.channel.stack.limits;
        earliest([
            link.transport.next_timeout(),
            link.send_deadline(limits.send_time),
            limits.idle_timeout.map(|limit| self.active + limit),
        ])
    }

    fn end(&mut self, why: Closed) -> Option<Self::Last> {
        self.active = self.channel.stack.wheel.now();
        why.count(&self.channel.stack.counters);
        why.log(&self.channel);
        let answers = self.channel.end(why.clone());
        if why.is_silent() {
            return None;
        }
        let counters = &self.channel.stack.counters;
        counters.messages_sent.add(messages(&answers));
        Some((why, answers))
    }

    fn poll_handlers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.channel.set_awake(false);
        self.poll_handler(context);
        let stack = &self.channel.stack;
        let timeout = Protocol::<T>::handlers_timeout(self);
        if self.handler.is_some() && timeout <= Some(stack.wheel.now()) {
            stack.counters.handler_timeouts.increment();
            let info = &self.channel.opening.info;
            log_client!(
                WARN if stack.may_log_of(info),
                { stack = %stack.name, session = %info.id, limit = ?stack.limits.handler_time },
                "handler dropped: it did not end after its connection"
            );
            self.handler = None;
        }
        match self.handler {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }

    fn handlers_timeout(&self) -> Option<Instant> {
        Some(after(self.active, self.channel.stack.limits.handler_time))
    }

    fn close_reason(&self, (why, _): &Self::Last) -> (u16, ByteString) {
        let (code, reason) = why.close();
        (code, reason.into())
    }

    fn last_output(&mut self, (_, answers): &mut Self::Last, transport: &mut T, batch: &mut Batch) {
        for item in answers.drain(..) {
            transport.item(&item, batch);
        }
    }

    fn wheel(&self) -> &Wheel {
        &self.channel.stack.wheel
    }

    fn sleeper(&self) -> &Arc<Channel> {
        &self.channel
    }

    fn register(&self, context: &mut Context<'_>) {
        self.channel.poll_overflow(context);
    }
}

impl RawSession {
    #[cold]
    fn handle_timeouts<T: RawTransport>(&mut self, link: &mut Link<T>) -> Result<(), Closed> {
        let stack = &self.channel.stack;
        let now = stack.wheel.now();
        link.transport.handle_timeout(now)?;
        let limit = stack.limits.send_time;
        if link
            .send_deadline(limit)
            .is_some_and(|deadline| deadline <= now)
        {
            return Err(Closed::TooSlow {
                error: format!("nothing could be written for {limit:?} (`RawLimits::send_time`)")
                    .into(),
            });
        }
        if let Some(limit) = stack.limits.idle_timeout
            && self.active + limit <= now
        {
            if self.channel.has_incoming() {
                // The silence is due to the handler, which has messages to receive.
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

    /// Reads once; returns true if that brought anything.
    fn poll_input<T: RawTransport>(
        &mut self,
        transport: &mut T,
        context: &mut Context<'_>,
    ) -> Result<bool, Closed> {
        let stack = &self.channel.stack;
        let read = lend(&RECEIVED, |received| {
            let read = transport.poll_messages(context, stack.parts, received);
            if !stack.pongs {
                received.retain(|event| !matches!(event, Received::Pong(_)));
            }
            if !received.is_empty() {
                let pongs = received
                    .iter()
                    .filter(|event| matches!(event, Received::Pong(_)));
                let messages = received.len() - pongs.count();
                if messages > 0 {
                    stack.counters.messages_received.add(messages);
                    self.active = stack.wheel.now();
                }
                self.channel.received(received, context);
            }
            read
        });
        match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(lost)) => Err(lost.into()),
        }
    }

    fn poll_handler(&mut self, context: &mut Context<'_>) {
        let Some(handler) = &mut self.handler else {
            return;
        };
        let Poll::Ready(outcome) = Pin::new(handler).poll(context) else {
            return;
        };
        self.handler = None;
        let (stack, info) = (&self.channel.stack, &self.channel.opening.info);
        let failed = |code: CloseCode| self.channel.close(code, "the server failed".into());
        match outcome {
            Ok(Ok(())) => self.channel.close(CloseCode::NORMAL, "".into()),
            Ok(Err(error)) if self.channel.is_over() => {
                log_client!(
                    DEBUG,
                    { stack = %stack.name, session = %info.id },
                    "handler ended after its connection",
                    error
                );
            }
            Ok(Err(error)) => {
                stack.counters.handler_errors.increment();
                log_client!(
                    WARN if stack.may_log_of(info),
                    { stack = %stack.name, session = %info.id },
                    "handler failed",
                    error
                );
                failed(CloseCode::INTERNAL_ERROR);
            }
            Err(panic) => {
                stack.counters.handler_panics.increment();
                log_client!(
                    ERROR if stack.may_log_of(info),
                    { stack = %stack.name, session = %info.id },
                    "handler panicked",
                    panic
                );
                failed(CloseCode::INTERNAL_ERROR);
            }
        }
    }

    /// Writes queued items, until none is left or the transport is full; the task is woken when that changes.
    fn poll_output<T: RawTransport>(
        &mut self,
        link: &mut Link<T>,
        context: &mut Context<'_>,
    ) -> Result<(), Closed> {
        while self.is_ready(link, context)? {
            let more = lend(&ITEMS, |items| self.write_batch(link, items, context))?;
            if !more {
                // Polled once more, so that the transport wakes the task if something could not be written.
                self.is_ready(link, context)?;
                break;
            }
        }
        Ok(())
    }

    /// Writes one batch of queued items; returns true if there is more.
    fn write_batch<T: RawTransport>(
        &mut self,
        link: &mut Link<T>,
        items: &mut Vec<Item>,
        context: &mut Context<'_>,
    ) -> Result<bool, Closed> {
        let taken = self.channel.take(context, items, BATCH_ITEMS, BATCH_BYTES);
        let written = link.write(context, |transport, batch| {
            for item in &*items {
                transport.item(item, batch);
            }
            !items.is_empty()
        });
        let messages = messages(&*items);
        if messages > 0 {
            let stack = &self.channel.stack;
            stack.counters.messages_sent.add(messages);
            self.active = stack.wheel.now();
        }
        written.map_err(|error| vanished(&error))?;
        match taken {
            Taken::Asked(asked) => Err(self.asked(asked)),
            Taken::Items { more } => Ok(more),
            Taken::Nothing => Ok(false),
        }
    }

    /// Returns true if everything written before is sent.
    fn is_ready<T: RawTransport>(
        &self,
        link: &mut Link<T>,
        context: &mut Context<'_>,
    ) -> Result<bool, Closed> {
        let ready = link.poll_ready(&self.channel.stack.wheel, context);
        if ready.map_err(|error| vanished(&error))?.is_ready() {
            return Ok(true);
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
                let limit = self.channel.stack.limits.outbox;
                Closed::TooSlow {
                    error: format!(
                        "{queued} bytes would wait for it, and {limit} may (`RawLimits::outbox`)"
                    )
                    .into(),
                }
            }
        }
    }
}

/// The number of items that are not pings.
fn messages<'a>(items: impl IntoIterator<Item = &'a Item>) -> usize {
    items.into_iter().filter_map(Item::message).count()
}

fn vanished(error: &std::io::Error) -> Closed {
    Closed::Vanished {
        error: error.to_string().into(),
    }
}

impl Drop for RawSession {
    fn drop(&mut self) {
        // Already recorded if the task ran to its end; not if its runtime was shut down.
        self.channel.end(Closed::Vanished {
            error: "the runtime of its connection was shut down".into(),
        });
        self.channel.stack.gone(self.channel.opening.info.id);
    }
}

impl fmt::Debug for RawSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSession")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::net::transport::websocket::{Plain, WebSocket};

    use super::*;

    #[test]
    fn an_idle_connections_task_is_small() {
        let size = size_of::<RawTask<WebSocket<Plain>>>();
        // Together with tokio's header it should not begin another 128 bytes.
        assert!(size <= 280, "{size}");
    }
}
