use std::collections::HashMap;

use crate::error::Error;
use crate::handle::Reply;

/// Who waits for which receipt.
///
/// A caller that has given up is forgotten when the table would grow, so a server that confirms
/// nothing costs no more than those who still wait.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    last: u64,
    waiting: HashMap<u64, Reply>,
    /// The size at which to look for callers that have given up.
    prune_at: usize,
}

impl Receipts {
    /// A number that was not used before.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Takes note of a caller; answers the receipt's number.
    pub(crate) fn promise(&mut self, reply: Reply) -> u64 {
        if self.waiting.len() >= self.prune_at {
            self.waiting.retain(|_, reply| !reply.is_closed());
            self.prune_at = (self.waiting.len() * 2).max(64);
        }
        let number = self.next();
        self.waiting.insert(number, reply);
        number
    }

    /// Tells whoever waits for this receipt. `None` if it is none of ours.
    pub(crate) fn done(&mut self, id: &str) -> Option<u64> {
        let number = id.parse().ok()?;
        if let Some(reply) = self.waiting.remove(&number) {
            let _ = reply.send(Ok(()));
        }
        Some(number)
    }

    /// Nothing is confirmed any more.
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
