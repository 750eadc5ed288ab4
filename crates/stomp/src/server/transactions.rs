use bytestring::ByteString;

use super::required::required;
use super::{PeerViolation, ServerConnection, ServerError, ServerEvent, Transaction};
use crate::command::Command;
use crate::headers::Headers;
use crate::text::excerpt;

/// The ids of the open transactions: one word while there are none.
#[derive(Default, Debug)]
pub(super) struct Transactions {
    #[expect(
        clippy::box_collection,
        reason = "nearly every session has none, and an idle one is small"
    )]
    open: Option<Box<Vec<Box<str>>>>,
}

impl Transactions {
    pub(super) fn len(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.len())
    }

    pub(super) fn clear(&mut self) {
        self.open = None;
    }

    /// Returns the transaction of the frame, which must be open.
    pub(super) fn of(&self, headers: &Headers) -> Result<Option<ByteString>, PeerViolation> {
        match headers.get_bytestring("transaction") {
            Some(id) if self.position(id).is_none() => Err(unknown(id)),
            id => Ok(id.cloned()),
        }
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.open.as_ref()?.iter().position(|open| **open == *id)
    }

    fn open(&mut self, id: &str, limit: usize) -> Result<(), PeerViolation> {
        if self.position(id).is_some() {
            return Err(PeerViolation::DuplicateTransaction { id: excerpt(id) });
        }
        if self.len() >= limit {
            return Err(PeerViolation::TooManyTransactions { limit });
        }
        // A copy: the id outlives the piece that it arrived in.
        self.open.get_or_insert_default().push(id.into());
        Ok(())
    }

    fn close(&mut self, id: &str) -> Result<(), PeerViolation> {
        let (Some(at), Some(open)) = (self.position(id), &mut self.open) else {
            return Err(unknown(id));
        };
        open.swap_remove(at);
        if open.is_empty() {
            self.open = None;
        }
        Ok(())
    }
}

impl ServerConnection {
    /// Handles BEGIN, COMMIT and ABORT.
    pub(super) fn transaction(
        &mut self,
        command: Command,
        headers: &Headers,
        receipt: Option<ByteString>,
    ) -> Result<ServerEvent, ServerError> {
        let id = required(headers, command, "transaction")?;
        if command == Command::Begin {
            self.transactions.open(&id, self.config.max_transactions)?;
        } else {
            self.transactions.close(&id)?;
        }
        let transaction = Transaction { id, receipt };
        Ok(match command {
            Command::Begin => ServerEvent::Begin(transaction),
            Command::Commit => ServerEvent::Commit(transaction),
            _ => ServerEvent::Abort(transaction),
        })
    }
}

fn unknown(id: &str) -> PeerViolation {
    PeerViolation::UnknownTransaction { id: excerpt(id) }
}
