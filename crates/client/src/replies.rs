//! The answers to requests.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::message::Message;

/// The requests whose replies come to one destination.
#[derive(Debug)]
pub(crate) struct Replies {
    /// In front of the numbers, because clients may share the destination.
    prefix: String,
    last: AtomicU64,
    waiting: Mutex<HashMap<ByteString, oneshot::Sender<Result<Message, Error>>>>,
}

/// A request that waits. Dropping it gives the request up.
pub(crate) struct Waiting<'a> {
    pub(crate) correlation: ByteString,
    pub(crate) reply: oneshot::Receiver<Result<Message, Error>>,
    replies: &'a Replies,
}

impl Replies {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self {
            prefix: format!("{:016x}", u64::from_ne_bytes(random)),
            last: AtomicU64::new(0),
            waiting: Mutex::default(),
        })
    }

    pub(crate) fn wait(&self) -> Waiting<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let correlation = ByteString::from(format!("{}-{number}", self.prefix));
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().insert(correlation.clone(), sender);
        Waiting {
            correlation,
            reply,
            replies: self,
        }
    }

    /// Hands a message to the request that it answers. Others are dropped: their requests were given up.
    pub(crate) fn deliver(&self, message: Message) {
        let Some(correlation) = message.headers.get("correlation-id") else {
            return;
        };
        let waiting = self.waiting.lock().remove(correlation);
        if let Some(waiting) = waiting {
            let _ = waiting.send(Ok(message));
        }
    }

    /// Fails all requests.
    pub(crate) fn fail(&self, error: &Error) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for (_, waiting) in waiting {
            let _ = waiting.send(Err(error.clone()));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.replies.waiting.lock().remove(&self.correlation);
    }
}
