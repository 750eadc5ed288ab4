//! How a lost connection is opened again, and what becomes of what it carried.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Poll, ready},
};

use tokio::time::sleep;
use tramline_stomp::AckMode;

use super::Driver;
use crate::attempt::Opened;
use crate::error::Error;
use crate::handle::Command;
use crate::inbox::Target;
use crate::reconnect::random;
use crate::state::State;

impl Driver {
    /// Opens a lost connection again; returns the error that ends the client.
    pub(super) async fn recover(&mut self, mut error: Error) -> Result<(), Error> {
        if self.again.is_none() || self.disconnecting.is_some() || !error.is_transient(false) {
            return Err(error);
        }
        tracing::debug!(target: "tramline::client", %error, "the connection is lost");
        self.lose(&error);
        // The application may disconnect meanwhile, which `meanwhile` notices.
        let _ = self.close(&error).await;
        self.link.drop_stream();
        loop {
            let Some(again) = &mut self.again else {
                return Err(error);
            };
            again.attempts = again.attempts.saturating_add(1);
            let attempt = again.attempts;
            let Some(after) = again.reconnect.wait(attempt, &error, random()) else {
                return Err(error);
            };
            self.inner.state.send_replace(State::Reconnecting {
                attempt,
                after,
                error: error.clone(),
            });
            if self.meanwhile(sleep(after)).await.is_none() {
                return Err(error);
            }
            // `meanwhile` needs the rest of the driver.
            let Some(again) = self.again.take() else {
                return Err(error);
            };
            let opened = self.meanwhile(again.plan.open_any(again.address)).await;
            let refused = !again.fresh_credentials;
            self.again = Some(again);
            match opened {
                None => return Err(error),
                Some(Ok(opened)) => {
                    self.restore(opened);
                    return Ok(());
                }
                Some(Err(failed)) if failed.is_transient(refused) => error = failed,
                Some(Err(failed)) => return Err(failed),
            }
        }
    }

    /// Takes back what ended with the connection.
    fn lose(&mut self, error: &Error) {
        self.inner.lost(error);
        self.epoch += 1;
        self.full = None;
        self.receipts.fail(error);
        for (_, reply) in self.flushes.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        self.transactions.clear();
        for active in self.subscriptions.values() {
            match &active.target {
                Target::Inbox(inbox) if active.wanted.ack != AckMode::Auto => inbox.withdraw(),
                Target::Inbox(_) => {}
                Target::Replies(replies) => replies.fail(error),
            }
        }
        for command in std::mem::take(&mut self.kept) {
            self.keep(command);
        }
    }

    /// Does this without a connection, and keeps or refuses the commands that come. `None` if the client is to end.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            loop {
                match ready!(self.commands.poll_recv(context)) {
                    Some(command) => self.keep(command),
                    None => return Poll::Ready(None),
                }
                if self.disconnecting.is_some() {
                    return Poll::Ready(None);
                }
            }
        })
        .await
    }

    /// Keeps a command for the next connection, or answers it.
    fn keep(&mut self, command: Command) {
        let error = self.inner.why_down();
        match command {
            Command::Send {
                transaction: None, ..
            } if !self.inner.fails_when_down() => self.kept.push_back(command),
            Command::Subscribe { .. } => self.kept.push_back(command),
            Command::Unsubscribe(inbox, reply) => {
                if let Some(id) = inbox.id() {
                    self.subscriptions.remove(&id);
                }
                self.kept.retain(|kept| {
                    !matches!(kept, Command::Subscribe { target: Target::Inbox(one), .. } if Arc::ptr_eq(one, &inbox))
                });
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(()));
                }
            }
            command => self.refuse(command, &error),
        }
    }

    /// Goes on with a new connection.
    fn restore(&mut self, opened: Opened) {
        tracing::debug!(target: "tramline::client", "connected again");
        self.link = opened.link;
        if let Some(again) = &mut self.again {
            again.address = opened.address;
        }
        let mut lost: Vec<_> = std::mem::take(&mut self.subscriptions)
            .into_iter()
            .collect();
        // In the order in which they were made.
        lost.sort_by_cached_key(|(id, _)| id.parse::<u64>().unwrap_or(u64::MAX));
        for (_, active) in lost {
            self.subscribe(active.wanted, active.target, None, active.position);
        }
        self.inner.reconnected(opened.connected, opened.text_only);
        self.confirmed(None);
    }
}
