use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tokio::sync::oneshot;
use tramline_stomp::Headers;

use crate::error::Error;
use crate::handle::{Command, Confirm, Handle};
use crate::message::Message;
use crate::send::SendMessage;

/// An open transaction: from [`Client::begin`](crate::Client::begin).
///
/// What is sent and acknowledged through it takes effect at [`commit`](Self::commit), all or none. It is aborted when it is
/// dropped, and it ends with its connection, without effect, also when the client connects again. It keeps the client open.
///
/// # Example: consume a message and reply, both or neither
///
/// ```no_run
/// # async fn example(
/// #     client: tramline_client::Client,
/// #     job: tramline_client::Message,
/// # ) -> Result<(), tramline_client::Error> {
/// let transaction = client.begin().await?;
/// transaction.send("/queue/done", job.body.clone()).await?;
/// transaction.ack(&job).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction {
    handle: Arc<Handle>,
    number: u64,
    open: bool,
}

impl Transaction {
    pub(crate) async fn begin(handle: Arc<Handle>) -> Result<Self, Error> {
        let (reply, answer) = oneshot::channel();
        let number = handle.next_transaction();
        handle.submit(Command::Begin(number, reply))?;
        // From here on, dropping it aborts.
        let transaction = Self {
            handle,
            number,
            open: true,
        };
        let inner = &transaction.handle.inner;
        inner
            .answer("the beginning of a transaction", answer)
            .await?;
        Ok(transaction)
    }

    /// Sends a message at the commit; await it to queue it.
    pub fn send(&self, destination: impl Into<ByteString>, body: impl Into<Bytes>) -> SendMessage {
        let (handle, destination) = (self.handle.clone(), destination.into());
        SendMessage::new(handle, destination, body.into()).within(self.number)
    }

    /// Acknowledges a message at the commit. If the transaction has no effect, the message waits for its acknowledgement as
    /// before.
    ///
    /// # Errors
    ///
    /// As [`Message::ack`]; [`Error::TransactionLost`].
    pub async fn ack(&self, message: &Message) -> Result<(), Error> {
        self.settle(message, true).await
    }

    /// Rejects a message at the commit.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub async fn nack(&self, message: &Message) -> Result<(), Error> {
        self.settle(message, false).await
    }

    async fn settle(&self, message: &Message, positive: bool) -> Result<(), Error> {
        let settlement = message.settlement(positive)?;
        let inner = &self.handle.inner;
        let room = inner.room(0).await?;
        let (reply, answer) = oneshot::channel();
        self.handle.submit(Command::Settle {
            settlement,
            transaction: Some(self.number),
            headers: Headers::new(),
            confirm: Confirm::Taken(reply),
            room,
        })?;
        inner.answer("the acknowledgement", answer).await
    }

    /// Carries the transaction out; resolves when the server has confirmed it.
    ///
    /// If the future is dropped, the transaction may be carried out or not.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionLost`] if its connection ended before: nothing took effect. The error that ended the connection
    /// before the receipt, and [`Error::Timeout`]: it may have taken effect.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.open = false;
        let (reply, answer) = oneshot::channel();
        self.handle.submit(Command::Commit(self.number, reply))?;
        let inner = &self.handle.inner;
        inner.answer("the receipt of a transaction", answer).await
    }

    /// Gives the transaction up; resolves when the server has confirmed that.
    ///
    /// # Errors
    ///
    /// The error that ended the connection; the transaction has no effect in any case.
    pub async fn abort(mut self) -> Result<(), Error> {
        self.open = false;
        let (reply, answer) = oneshot::channel();
        self.handle
            .submit(Command::Abort(self.number, Some(reply)))?;
        let inner = &self.handle.inner;
        inner.answer("the receipt of a transaction", answer).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            // If the driver is gone, the transaction has ended too.
            let _ = self.handle.submit(Command::Abort(self.number, None));
        }
    }
}
