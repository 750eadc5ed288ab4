//! A client's end of the pipe: the state of the conversation, and the two tasks that drive it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tramline_stomp::{
    ClientConfig, ClientConnection, ClientEvent, Connected, Headers, NotAcknowledgeable,
};

use super::end::TestEnd;
use super::message::TestMessage;
use super::transcript::Transcript;
use super::transport::Close;
use crate::model::clock::now;
use crate::stack::messaging::Messaging;

/// The line of the test that made a call.
pub(super) type At = &'static Location<'static>;

/// A client whose tasks run as long as it has an owner: the [`TestClient`](super::TestClient) or a subscription.
pub(super) struct Link {
    pub(super) inner: Arc<LinkInner>,
    pub(super) tasks: [AbortHandle; 2],
    /// The stack lives as long as its clients do.
    pub(super) _messaging: Messaging,
}

pub(super) struct LinkInner {
    conversation: Mutex<Conversation>,
    /// Notified of everything that may end a wait.
    changed: Notify,
    /// Notified when there is something to write.
    to_write: Notify,
    close: Arc<Close>,
    deadline: Duration,
}

/// The client's state.
pub(super) struct Conversation {
    pub(super) stomp: ClientConnection,
    pub(super) connected: Option<Connected>,
    pub(super) subscriptions: HashMap<ByteString, VecDeque<TestMessage>>,
    pub(super) transcript: Transcript,
    /// The number of MESSAGEs received.
    pub(super) messages: u64,
    /// True while the client neither reads nor writes.
    frozen: bool,
    /// An ERROR or failure has come that the test has not checked yet.
    pub(super) unexpected: bool,
    receipts: HashSet<ByteString>,
    next_receipt: u64,
    error: Option<(String, String)>,
    failure: Option<String>,
    /// The stream has ended.
    ended: bool,
    /// The server's task has ended.
    session_over: bool,
}

/// A wait without a result, because the session ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over;

impl Conversation {
    /// Returns true if nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        self.ended || self.session_over || self.error.is_some() || self.failure.is_some()
    }

    /// Returns true if the server has ended the session, and the client has received everything.
    fn is_closed(&self) -> bool {
        self.session_over && (self.ended || self.frozen)
    }

    /// Makes `ask` do something that the server confirms; returns the receipt and the result of `ask`.
    pub(super) fn ask<T>(
        &mut self,
        ask: impl FnOnce(&mut ClientConnection, &str) -> T,
    ) -> (ByteString, T) {
        self.next_receipt += 1;
        let receipt = format!("receipt-{}", self.next_receipt);
        let asked = ask(&mut self.stomp, &receipt);
        (receipt.into(), asked)
    }

    /// Stops reading and writing, or resumes it.
    pub(super) fn freeze(&mut self, frozen: bool) {
        if self.frozen != frozen {
            let remark = if frozen { "frozen" } else { "thawed" };
            self.transcript.remark(remark);
            self.frozen = frozen;
            self.stomp.pause_reading(frozen, now());
        }
    }

    fn hear(&mut self, bytes: Bytes, now: Instant) {
        if bytes.iter().all(|byte| *byte == b'\n') {
            self.transcript.heard_heart_beat();
        }
        self.stomp.receive(bytes, now);
        while let Some(event) = self.stomp.poll_event() {
            self.take(event);
        }
    }

    fn take(&mut self, event: ClientEvent) {
        let transcript = &mut self.transcript;
        match event {
            ClientEvent::Connected(connected) => {
                transcript.heard("CONNECTED", &connected.headers, b"");
                self.connected = Some(connected);
            }
            ClientEvent::Message(message) => {
                transcript.heard("MESSAGE", &message.headers, &message.body);
                self.messages += 1;
                // A notice about a frame that is refused stands for the receipt that it asked for.
                let refused = message.headers.get_bytestring("receipt-id").cloned();
                self.receipts.extend(refused);
                if let Some(queue) = self.subscriptions.get_mut(&message.subscription) {
                    queue.push_back(TestMessage(message));
                }
            }
            ClientEvent::Receipt(receipt) => {
                let headers = Headers::from_iter([("receipt-id", &*receipt)]);
                transcript.heard("RECEIPT", &headers, b"");
                self.receipts.insert(receipt);
            }
            ClientEvent::Error(frame) => {
                transcript.heard("ERROR", &frame.headers, &frame.body);
                let message = frame.headers.get("message").unwrap_or_default().to_owned();
                let detail = String::from_utf8_lossy(&frame.body).into_owned();
                self.error = Some((message, detail));
                self.unexpected = true;
            }
            ClientEvent::Failed(error) => self.fail(error.to_string()),
            _ => {}
        }
    }

    fn fail(&mut self, why: String) {
        self.transcript.remark(&why);
        self.failure = Some(why);
        self.unexpected = true;
    }

    fn end(&mut self) {
        if !self.ended {
            self.transcript.remark("end of the stream");
            self.ended = true;
        }
    }
}

impl LinkInner {
    pub(super) fn new(config: ClientConfig, close: Arc<Close>, deadline: Duration) -> Self {
        let conversation = Conversation {
            stomp: ClientConnection::new(config, now()),
            connected: None,
            subscriptions: HashMap::new(),
            transcript: Transcript::new(),
            messages: 0,
            frozen: false,
            unexpected: false,
            receipts: HashSet::new(),
            next_receipt: 0,
            error: None,
            failure: None,
            ended: false,
            session_over: false,
        };
        Self {
            conversation: Mutex::new(conversation),
            changed: Notify::new(),
            to_write: Notify::new(),
            close,
            deadline,
        }
    }

    /// Reads the conversation, or changes it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Conversation) -> T) -> T {
        let outcome = look(&mut self.conversation.lock());
        self.changed.notify_waiters();
        self.to_write.notify_one();
        outcome
    }

    /// The session's end, as far as it is known.
    pub(super) fn end(&self) -> TestEnd {
        let conversation = self.conversation.lock();
        TestEnd {
            close: self.close.get().cloned(),
            error: conversation.error.clone(),
            failure: conversation.failure.clone(),
        }
    }

    /// Records that the server's side of the session is over.
    pub(super) fn session_over(&self) {
        self.with(|conversation| conversation.session_over = true);
    }

    /// Waits until `ready` returns an answer, and fails the test if there is none in time.
    pub(super) async fn until<T>(
        &self,
        at: At,
        what: &str,
        mut ready: impl FnMut(&mut Conversation) -> Option<T>,
    ) -> Result<T, Over> {
        let look = |conversation: &mut Conversation| match ready(conversation) {
            Some(answer) => Some(Ok(answer)),
            None => conversation.is_over().then_some(Err(Over)),
        };
        self.wait(at, what, look).await
    }

    /// Waits until the session is over on both sides.
    pub(super) async fn until_closed(&self, at: At, what: &str) -> TestEnd {
        self.wait(at, what, |conversation| {
            conversation.is_closed().then_some(())
        })
        .await;
        self.with(|conversation| conversation.unexpected = false);
        self.end()
    }

    async fn wait<T>(
        &self,
        at: At,
        what: &str,
        mut look: impl FnMut(&mut Conversation) -> Option<T>,
    ) -> T {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if let Some(answer) = look(&mut self.conversation.lock()) {
                    return answer;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(self.deadline, waiting).await {
            Ok(answer) => answer,
            Err(_) => self.panic(
                at,
                &format!("waited {:?} in vain for {what}", self.deadline),
            ),
        }
    }

    /// Makes a request, and waits until the server confirms it.
    pub(super) async fn confirmed(
        &self,
        at: At,
        what: &str,
        ask: impl FnOnce(&mut ClientConnection, &str) -> Result<(), NotAcknowledgeable>,
    ) -> Result<(), Over> {
        self.must_be_open(at, what);
        let asked = self.with(|conversation| {
            let (receipt, asked) = conversation.ask(ask);
            asked.map(|()| receipt)
        });
        match asked {
            Ok(receipt) => self.until_confirmed(at, what, &receipt).await,
            Err(wrong) => self.panic(at, &format!("{what}: {wrong}")),
        }
    }

    pub(super) async fn until_confirmed(
        &self,
        at: At,
        what: &str,
        receipt: &ByteString,
    ) -> Result<(), Over> {
        let what = format!("{what} to be done");
        self.until(at, &what, |conversation| {
            conversation.receipts.remove(receipt).then_some(())
        })
        .await
    }

    /// Fails the test if a wait had no result.
    pub(super) fn must_be_done<T>(&self, at: At, what: &str, outcome: Result<T, Over>) -> T {
        match outcome {
            Ok(answer) => answer,
            Err(Over) => self.panic(
                at,
                &format!("{what}: the session has ended: {}", self.end()),
            ),
        }
    }

    /// Fails the test when the session has ended.
    pub(super) fn must_be_open(&self, at: At, what: &str) {
        if self.conversation.lock().is_over() {
            self.panic(
                at,
                &format!("{what}: the session has ended: {}", self.end()),
            );
        }
    }

    /// Makes round trips to the server until nothing is delivered during one: then nothing was waiting for this client
    /// when the last one began. Stops early when `seen` returns true.
    ///
    /// Messages queued for a session while one frame of it is handled have begun to arrive when the next is answered.
    /// BEGIN and ABORT are frames that change nothing.
    pub(super) async fn settle(
        &self,
        at: At,
        what: &str,
        seen: impl Fn(&Conversation) -> bool,
    ) -> Result<(), Over> {
        let mut transaction: Option<ByteString> = None;
        let mut before = None;
        loop {
            let open = transaction.take();
            let next = &mut transaction;
            self.confirmed(at, what, |stomp, receipt| {
                match open {
                    Some(open) => stomp.abort(&open, Some(receipt)),
                    None => *next = Some(stomp.begin(Some(receipt))),
                }
                Ok(())
            })
            .await?;
            let (messages, seen) =
                self.with(|conversation| (conversation.messages, seen(conversation)));
            // It ends after an ABORT, so that no transaction is left.
            if transaction.is_none() && (seen || before == Some(messages)) {
                return Ok(());
            }
            before = Some(messages);
        }
    }

    /// Fails the test.
    pub(super) fn panic(&self, at: At, why: &str) -> ! {
        self.with(|conversation| conversation.unexpected = false);
        panic!("{at}: {why}\n{self}")
    }

    /// The next frame to write, a heart-beat if one is due.
    fn next_frame(&self) -> Option<Bytes> {
        let mut conversation = self.conversation.lock();
        if conversation.frozen {
            return None;
        }
        conversation.stomp.handle_timeout(now());
        while let Some(event) = conversation.stomp.poll_event() {
            conversation.take(event);
            self.changed.notify_waiters();
        }
        let frame = conversation.stomp.poll_transmit()?;
        conversation.transcript.sent(&frame);
        conversation.stomp.wrote(now());
        Some(frame)
    }

    /// Returns true if the client hangs up.
    fn hangs_up(&self) -> bool {
        let conversation = self.conversation.lock();
        conversation.ended || conversation.failure.is_some()
    }

    async fn until_thawed(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.conversation.lock().frozen {
                return;
            }
            changed.await;
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let conversation = self.conversation.lock();
        let timeout = conversation.stomp.next_timeout();
        timeout.filter(|_| !conversation.frozen)
    }
}

impl fmt::Display for LinkInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conversation = self.conversation.lock();
        let connected = conversation.connected.as_ref();
        match connected.and_then(|connected| connected.user_name.as_ref()) {
            Some(name) => write!(f, "conversation of user {name:?}")?,
            None => f.write_str("conversation of an anonymous client")?,
        }
        write!(f, " (>> client, << server):\n{}", conversation.transcript)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Link {
    /// Drops the client's end of the pipe, without a close.
    pub(super) fn cut(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.inner.with(Conversation::end);
    }
}

/// Drives a conversation over `stream`; returns the tasks that do.
pub(super) fn spawn(inner: &Arc<LinkInner>, stream: DuplexStream) -> [AbortHandle; 2] {
    let (reader, writer) = tokio::io::split(stream);
    let (reading, writing) = (Arc::clone(inner), Arc::clone(inner));
    [
        tokio::spawn(async move { read(&reading, reader).await }).abort_handle(),
        tokio::spawn(async move { write(&writing, writer).await }).abort_handle(),
    ]
}

async fn read(inner: &LinkInner, mut stream: ReadHalf<DuplexStream>) {
    let mut buffer = BytesMut::new();
    loop {
        inner.until_thawed().await;
        buffer.reserve(64 * 1024);
        let read = stream.read_buf(&mut buffer).await;
        inner.until_thawed().await;
        if !read.is_ok_and(|read| read > 0) {
            return inner.with(Conversation::end);
        }
        let bytes = buffer.split().freeze();
        inner.with(|conversation| conversation.hear(bytes, now()));
    }
}

async fn write(inner: &LinkInner, mut stream: WriteHalf<DuplexStream>) {
    while !inner.hangs_up() {
        while let Some(frame) = inner.next_frame() {
            if stream.write_all(&frame).await.is_err() {
                // The reader sees the end, after the server's last output.
                return;
            }
        }
        let to_write = inner.to_write.notified();
        match inner.next_timeout() {
            Some(deadline) => {
                // The next round checks whether it is the notification or the deadline.
                let _ = tokio::time::timeout_at(deadline.into(), to_write).await;
            }
            None => to_write.await,
        }
    }
    let _ = stream.shutdown().await;
    inner.changed.notify_waiters();
}
