use std::collections::HashMap;

use crate::error::Error;
use crate::handle::Reply;

/// The pending receipts and their callers.
///
/// Callers that have given up are removed when the table would grow, so a server that confirms nothing costs no more
/// than those that still wait.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    last: u64,
    waiting: HashMap<u64, Reply>,
    /// The size at which to look for callers that have given up.
    prune_at: usize,
}

impl Receipts {
    /// Returns an unused number.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Adds a caller; returns the receipt's number.
    pub(crate) fn promise(&mut self, reply: Reply) -> u64 {
        if self.waiting.len() >= self.prune_at {
            self.waiting.retain(|_, reply| !reply.is_closed());
            self.prune_at = (self.waiting.len() * 2).max(64);
        }
        let number = self.next();
        self.waiting.insert(number, reply);
        number
    }

    /// Answers the caller of this receipt. `None` if it is not one of ours.
    pub(crate) fn done(&mut self, id: &str) -> Option<u64> {
        let number = id.parse().ok()?;
        if let Some(reply) = self.waiting.remove(&number) {
            let _ = reply.send(Ok(()));
        }
        Some(number)
    }

    /// Fails a pending receipt whose frame was not sent.
    pub(crate) fn fail_one(&mut self, number: u64, error: &Error) {
        if let Some(reply) = self.waiting.remove(&number) {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// Fails all pending receipts.
    pub(crate) fn fail(&mut self, error: &Error) {
        for (_, reply) in self.waiting.drain() {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn callers_that_gave_up_are_forgotten() {
        let mut receipts = Receipts::default();
        let (reply, mut answer) = oneshot::channel();
        let number = receipts.promise(reply);
        for _ in 0..10_000 {
            receipts.promise(oneshot::channel().0);
        }
        assert!(receipts.waiting.len() <= 64);
        assert_eq!(receipts.done(&number.to_string()), Some(number));
        assert!(answer.try_recv().unwrap().is_ok());
        assert_eq!(receipts.done("not ours"), None);
    }
}
