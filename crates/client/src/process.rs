use std::{fmt, future::IntoFuture, mem, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::BoxFuture;
use crate::error::Error;
use crate::message::Message;
use crate::subscription::Subscription;

/// An error of a handler.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Messages whose handler failed, for [`Process::errors`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The messages of the batch; they were rejected already, if they need an acknowledgement.
    pub messages: Vec<Message>,
    /// Why.
    pub error: HandlerError,
}

/// What a [`Process`] has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Processed {
    /// Messages that were handled.
    pub done: u64,
    /// Messages whose handler failed.
    pub failed: u64,
}

type Handler = Arc<dyn Fn(Vec<Message>) -> BoxFuture<Result<(), HandlerError>> + Send + Sync>;

/// The messages of a subscription, each given to a handler and acknowledged when that has finished: the source of a
/// pipeline. From [`Subscription::process`] and [`Subscription::process_batches`]; await it to run it.
///
/// A message is acknowledged when its handler returns `Ok`, and rejected when it returns an error or panics; the server
/// delivers rejected ones again or puts them with the dead letters, as it is configured. It runs until the subscription
/// ends, or until [`until`](Self::until): then no more messages are taken, those that are being handled are finished and
/// acknowledged, and it unsubscribes. With [`Connect::reconnect`](crate::Connect::reconnect) it outlives lost
/// connections; messages that were being handled then come again, so that handlers see each message at least once.
///
/// Bounded: it holds [`concurrency`](Self::concurrency) batches, and the inbox what is unread. Subscribe with a
/// [`prefetch`](crate::Subscribe::prefetch) of as many messages, and
/// [`ClientIndividual`](crate::AckMode::ClientIndividual): [`Client`](crate::AckMode::Client) would acknowledge messages that
/// are still being handled, unless they are handled one after the other.
///
/// Not cancel-safe: if the future is dropped, handlers are dropped too, and their messages come again.
///
/// # Errors
///
/// The error that ended the connection or the subscription. [`Error::InvalidRequest`] for `ack:client` with a concurrency.
///
/// # Example: a worker that stops in order
///
/// ```no_run
/// use tramline_client::{AckMode, Client, Error};
///
/// # async fn store(order: &[u8]) -> std::io::Result<()> { Ok(()) }
/// # async fn example(client: Client) -> Result<(), Error> {
/// let jobs = client
///     .subscribe("/queue/orders")
///     .ack(AckMode::ClientIndividual)
///     .prefetch(8)
///     .await?;
/// let processed = jobs
///     .process(|order| async move { Ok(store(&order.body).await?) })
///     .concurrency(8)
///     .until(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
///     .await?;
/// println!("{} orders", processed.done);
/// client.disconnect().await
/// # }
/// ```
#[must_use = "nothing is processed until it is awaited"]
pub struct Process {
    subscription: Subscription,
    handler: Handler,
    batch: usize,
    wait: Duration,
    concurrency: usize,
    errors: Option<mpsc::Sender<Failed>>,
    until: BoxFuture<()>,
}

impl Process {
    pub(crate) fn new(
        subscription: Subscription,
        batch: usize,
        wait: Duration,
        handler: Handler,
    ) -> Self {
        Self {
            subscription,
            handler,
            batch: batch.max(1),
            wait,
            concurrency: 1,
            errors: None,
            until: Box::pin(std::future::pending()),
        }
    }

    /// How many batches are handled at a time. Default 1: one after the other, in order.
    pub fn concurrency(mut self, batches: usize) -> Self {
        self.concurrency = batches.max(1);
        self
    }

    /// Sends what failed to this channel; while it is full, no more messages are taken. A closed channel drops them. By
    /// default failures are logged at WARN, without the messages.
    pub fn errors(mut self, channel: mpsc::Sender<Failed>) -> Self {
        self.errors = Some(channel);
        self
    }

    /// Stops in order when this is ready. Default never.
    pub fn until(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Box::pin(stop);
        self
    }

    async fn run(mut self) -> Result<Processed, Error> {
        let errors = self.errors.take();
        let destination = self.subscription.destination().to_owned();
        if self.concurrency > 1 && self.subscription.is_cumulative() {
            return Err(Error::invalid(
                "`ack:client` acknowledges all messages before one, also those that are still being handled; subscribe \
                 with `AckMode::ClientIndividual`, or leave `concurrency` out",
            ));
        }
        let mut processed = Processed::default();
        let mut running = JoinSet::new();
        let mut batch = Vec::new();
        // When an incomplete batch is handled.
        let mut due = Instant::now();
        let mut end = Ok(());
        let mut until = pin!(mem::replace(&mut self.until, Box::pin(async {})));
        loop {
            let full = batch.len() >= self.batch;
            let may_start = running.len() < self.concurrency;
            if full && may_start {
                self.start(&mut running, mem::take(&mut batch));
                continue;
            }
            tokio::select! {
                Some(one) = running.join_next() => Self::finish(errors.as_ref(), &destination, one, &mut processed).await?,
                () = sleep_until(due), if may_start && !batch.is_empty() => {
                    self.start(&mut running, mem::take(&mut batch));
                }
                () = &mut until => break,
                message = self.subscription.next(), if !full => match message {
                    Some(Ok(message)) => {
                        if batch.is_empty() {
                            due = Instant::now() + self.wait;
                        }
                        batch.push(message);
                    }
                    Some(Err(error)) => {
                        end = Err(error);
                        break;
                    }
                    None => break,
                },
            }
        }
        // What is not being handled stays unacknowledged, and returns to its queue.
        while let Some(one) = running.join_next().await {
            let finished = Self::finish(errors.as_ref(), &destination, one, &mut processed).await;
            if end.is_ok() {
                end = finished;
            }
        }
        end?;
        self.subscription.unsubscribe().await?;
        Ok(processed)
    }

    fn start(&self, running: &mut JoinSet<Done>, batch: Vec<Message>) {
        let handler = self.handler.clone();
        running.spawn(async move {
            // A handler that panics rejects its messages, so they must outlive it.
            let messages = batch.clone();
            let handled = tokio::spawn(async move { handler(messages).await });
            let outcome = AbortOnDrop(handled).wait().await;
            (batch, outcome)
        });
    }

    /// Acknowledges a batch, and reports its failure.
    async fn finish(
        errors: Option<&mpsc::Sender<Failed>>,
        destination: &str,
        done: Result<Done, tokio::task::JoinError>,
        processed: &mut Processed,
    ) -> Result<(), Error> {
        let Ok((messages, outcome)) = done else {
            // The runtime ends.
            return Err(Error::Disconnected);
        };
        let count = messages.len() as u64;
        for message in &messages {
            if message.needs_ack() {
                let settled = match outcome {
                    Ok(()) => message.ack().await,
                    Err(_) => message.nack().await,
                };
                match settled {
                    // A lost connection gave it back: it comes again.
                    Ok(()) | Err(Error::NotAcknowledgeable { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        match outcome {
            Ok(()) => processed.done += count,
            Err(error) => {
                processed.failed += count;
                match errors {
                    Some(errors) => {
                        // Nobody listens any more: the messages were rejected anyway.
                        let _ = errors.send(Failed { messages, error }).await;
                    }
                    None => {
                        tracing::warn!(target: "tramline::client", %error, destination, "a handler failed");
                    }
                }
            }
        }
        Ok(())
    }
}

/// A batch and what its handler returned.
type Done = (Vec<Message>, Result<(), HandlerError>);

/// A task that ends with whoever waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<Result<(), HandlerError>>);

impl AbortOnDrop {
    async fn wait(mut self) -> Result<(), HandlerError> {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Box::new(error)),
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl IntoFuture for Process {
    type Output = Result<Processed, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("subscription", &self.subscription)
            .field("batch", &self.batch)
            .field("wait", &self.wait)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
