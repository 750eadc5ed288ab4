//! The test kit's client.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::SessionId;
use tramline_stomp::Headers;

use super::end::TestEnd;
use super::link::{At, Conversation, Link, Over};
use super::message::{TestMessage, TestRejection};
use super::subscription::{TestSubscribe, TestSubscription};
use crate::model::effects::Effects;
use crate::model::reply::IntoReply;

/// One client with an open session: from [`TestMessaging::connect`](super::TestMessaging::connect) and its kin.
///
/// It answers heart-beats by itself, as long as it or one of its subscriptions exists; dropping all of them cuts the
/// connection, as a closed tab does. Its methods take `&self`: several may wait concurrently.
///
/// Each wait fails the test, with the transcript of the conversation, when the
/// [deadline](super::TestMessaging::with_deadline) passes.
///
/// # When the server ends the session
///
/// The test must expect that, by [`expect_denied`](Self::expect_denied), [`expect_error`](Self::expect_error) or
/// [`closed`](Self::closed). [`send`](Self::send) and [`subscribe`](Self::subscribe) return when they cause the
/// session's end, so that one of these can come next. Any other call on such a client fails the test, and so does
/// dropping it without such a check: no ERROR goes unnoticed.
pub struct TestClient {
    link: Arc<Link>,
    session: SessionId,
    /// The subscription to rejections, or the reason why there is none.
    rejections: Result<ByteString, String>,
    connected_at: At,
}

impl TestClient {
    pub(super) fn new(link: Link, session: SessionId, connected_at: At) -> Self {
        Self {
            link: Arc::new(link),
            session,
            rejections: Err(String::new()),
            connected_at,
        }
    }

    /// The session's id, as the application sees it.
    pub fn session_id(&self) -> SessionId {
        self.session
    }

    /// The name of the session's user, from the server's CONNECTED; `None` if the session is anonymous.
    pub fn user_name(&self) -> Option<ByteString> {
        let inner = &self.link.inner;
        inner.with(|conversation| conversation.connected.as_ref()?.user_name.clone())
    }

    /// The conversation so far, as failures show it: the last 200 lines, without passcodes and the like.
    pub fn transcript(&self) -> String {
        self.link.inner.to_string()
    }

    /// Sends `payload`, and returns when it has been handled: by a handler, whose replies are then published, or by the
    /// broker. The payload is any reply of a handler, [with headers](IntoReply::with_header) or without; `()` is an
    /// empty body.
    ///
    /// Also returns if the session ends because of it: see [above](Self#when-the-server-ends-the-session). And if it is
    /// refused by a notice, as with [`Refusals::Notify`](crate::policy::Refusals::Notify):
    /// [`expect_rejection`](Self::expect_rejection) returns that next.
    #[track_caller]
    pub fn send(
        &self,
        destination: impl AsRef<str>,
        payload: impl IntoReply,
    ) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let destination = destination.as_ref();
            let (headers, body) = self.encode(at, destination, payload);
            let what = format!("SEND to {destination:?}");
            let sent = self.link.inner.confirmed(at, &what, |stomp, receipt| {
                stomp.send(destination, headers, body, Some(receipt));
                Ok(())
            });
            let sent = sent.await;
            self.left_to_look_at(sent);
        }
    }

    /// Sends `payload` and does not wait: for tests of what happens meanwhile.
    ///
    /// The server handles the frames of one client in order.
    #[track_caller]
    pub fn send_without_receipt(&self, destination: impl AsRef<str>, payload: impl IntoReply) {
        let (at, inner) = (Location::caller(), &self.link.inner);
        let destination = destination.as_ref();
        let (headers, body) = self.encode(at, destination, payload);
        inner.must_be_open(at, &format!("SEND to {destination:?}"));
        inner.with(|conversation| conversation.stomp.send(destination, headers, body, None));
    }

    /// Subscribes, and returns when the subscription is active: it receives what is published from now on.
    ///
    /// Also returns if the session ends because of it: see [above](Self#when-the-server-ends-the-session). And if it is
    /// refused by a notice, as with [`Refusals::Notify`](crate::policy::Refusals::Notify): then it receives nothing, and
    /// [`expect_rejection`](Self::expect_rejection) returns the notice next.
    #[track_caller]
    pub fn subscribe(
        &self,
        destination: impl AsRef<str>,
    ) -> impl Future<Output = TestSubscription> {
        self.subscribe_at(Location::caller(), destination, TestSubscribe::default())
    }

    /// As [`subscribe`](Self::subscribe), with headers or acknowledgements.
    ///
    /// # Example: redelivery of a queue's message
    ///
    /// ```
    /// # use tramline::policy::{Policy, permit};
    /// # use tramline::{EmbeddedBroker, Messaging};
    /// use tramline::test::{AckMode, TestMessaging};
    ///
    /// # fn messaging() -> Messaging {
    /// #     let broker = EmbeddedBroker::new().queues("/queue");
    /// #     Messaging::builder().broker(broker).policy(Policy::builder().otherwise(permit())).build().unwrap()
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let app = TestMessaging::new(messaging());
    /// let worker = app.connect().await;
    /// let mut jobs = worker.subscribe_with("/queue/jobs", |s| s.ack(AckMode::ClientIndividual)).await;
    /// worker.send("/queue/jobs", "one").await;
    ///
    /// let job = jobs.next().await;
    /// jobs.nack(&job).await;
    /// let again = jobs.next().await;
    /// assert_eq!((again.text(), again.header("redelivered")), ("one", Some("true")));
    /// jobs.ack(&again).await;
    /// jobs.expect_nothing().await;
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn subscribe_with(
        &self,
        destination: impl AsRef<str>,
        how: impl FnOnce(TestSubscribe) -> TestSubscribe,
    ) -> impl Future<Output = TestSubscription> {
        self.subscribe_at(
            Location::caller(),
            destination,
            how(TestSubscribe::default()),
        )
    }

    /// Fails unless the policy denied this client's SEND or SUBSCRIBE to `destination`, and ended its session.
    ///
    /// Waits for the frames sent before; if the session then goes on, nothing was denied.
    #[track_caller]
    pub fn expect_denied(&self, destination: impl AsRef<str>) -> impl Future<Output = TestEnd> {
        let at = Location::caller();
        async move {
            let destination = destination.as_ref();
            let inner = &self.link.inner;
            let what = format!("expecting that {destination:?} is denied");
            if inner.with(|conversation| !conversation.is_over())
                && inner.settle(at, &what, |_| true).await.is_ok()
            {
                inner.panic(at, &format!("{what}: it is not, the session goes on"));
            }
            let end = inner.until_closed(at, &what).await;
            let named = format!("{destination:?}");
            if end.error() != Some("access denied")
                || !end.detail().is_some_and(|detail| detail.contains(&named))
            {
                inner.panic(at, &format!("{what}: the session ended otherwise: {end}"));
            }
            end
        }
    }

    /// Fails unless the server ends the session with an ERROR whose `message` or body contains `text`.
    #[track_caller]
    pub fn expect_error(&self, text: impl AsRef<str>) -> impl Future<Output = TestEnd> {
        let at = Location::caller();
        async move {
            let text = text.as_ref();
            let what = format!("an ERROR with {text:?}");
            let end = self.link.inner.until_closed(at, &what).await;
            let said = [end.error(), end.detail()];
            if !said.into_iter().flatten().any(|said| said.contains(text)) {
                let why = format!("expected {what}, and the session ended otherwise: {end}");
                self.link.inner.panic(at, &why);
            }
            end
        }
    }

    /// Returns the next [rejection](crate::Rejection) notice that this client receives, if the application leaves
    /// rejections to the default.
    ///
    /// # Panics
    ///
    /// As all waits do; and if the policy does not permit the client to subscribe to `/user/queue/errors`.
    ///
    /// # Example: a body that does not fit
    ///
    /// ```
    /// # use tramline::policy::{Policy, permit};
    /// # use tramline::{EmbeddedBroker, Messaging};
    /// use tramline::test::TestMessaging;
    /// use tramline::{Json, MessageRouter, message};
    ///
    /// async fn double(Json(number): Json<u32>) -> Json<u32> {
    ///     Json(2 * number)
    /// }
    ///
    /// # fn messaging(routes: MessageRouter) -> Messaging {
    /// #     let policy = Policy::builder().otherwise(permit());
    /// #     let broker = EmbeddedBroker::new().topics("/topic");
    /// #     Messaging::builder().routes(routes).broker(broker).policy(policy).build().unwrap()
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let routes = MessageRouter::new().route("/double", message(double).send_to("/topic/doubled"));
    /// let app = TestMessaging::new(messaging(routes));
    /// let alice = app.connect().await;
    /// alice.send("/app/double", "two").await;
    ///
    /// let rejection = alice.expect_rejection().await;
    /// assert_eq!((&*rejection.kind, &*rejection.destination), ("bad-message", "/app/double"));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn expect_rejection(&self) -> impl Future<Output = TestRejection> {
        let at = Location::caller();
        async move {
            let inner = &self.link.inner;
            let what = "a rejection";
            let id = match &self.rejections {
                Ok(id) => id,
                Err(why) => inner.panic(at, &format!("no rejection can come: {why}")),
            };
            let next = inner.until(at, what, |conversation| {
                conversation.subscriptions.get_mut(id)?.pop_front()
            });
            let next: Result<TestMessage, Over> = next.await;
            let message = inner.must_be_done(at, what, next);
            serde_json::from_slice(message.body()).unwrap_or_else(|error| {
                let why = format!("{message:?} is no rejection of the default form: {error}");
                inner.panic(at, &why)
            })
        }
    }

    /// Sends DISCONNECT, and returns when the session is over on both sides.
    #[track_caller]
    pub fn disconnect(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let (inner, what) = (&self.link.inner, "DISCONNECT");
            let done = inner.confirmed(at, what, |stomp, receipt| {
                stomp.disconnect(Some(receipt));
                Ok(())
            });
            let done = done.await;
            inner.must_be_done(at, what, done);
            inner.until_closed(at, what).await;
        }
    }

    /// Cuts the connection without a close, as a lost network does, and returns when the server's session is over.
    #[track_caller]
    pub fn cut(&self) -> impl Future<Output = TestEnd> {
        let at = Location::caller();
        async move {
            self.link.cut();
            let what = "the server to see that the connection is cut";
            self.link.inner.until_closed(at, what).await
        }
    }

    /// Waits until the session is over on both sides; returns how it ended.
    #[track_caller]
    pub fn closed(&self) -> impl Future<Output = TestEnd> {
        let at = Location::caller();
        async move {
            let what = "the session to end";
            self.link.inner.until_closed(at, what).await
        }
    }

    /// Stops reading and writing, heart-beats included, as a frozen tab does; the connection stays.
    ///
    /// The pipe takes 64 KiB in each direction, then the other side has to wait. The client receives the server's
    /// output after [`thaw`](Self::thaw), if the session lasts that long.
    pub fn freeze(&self) {
        self.link
            .inner
            .with(|conversation| conversation.freeze(true));
    }

    /// Reads and writes again.
    pub fn thaw(&self) {
        self.link
            .inner
            .with(|conversation| conversation.freeze(false));
    }

    /// Subscribes to the session's rejections, unless there is a reason against it.
    pub(super) async fn hear_rejections(
        &mut self,
        at: At,
        destination: String,
        against: Option<String>,
    ) {
        self.rejections = match against {
            Some(against) => Err(against),
            None => Ok(self
                .subscribed(at, &destination, TestSubscribe::default())
                .await),
        };
    }

    async fn subscribe_at(
        &self,
        at: At,
        destination: impl AsRef<str>,
        how: TestSubscribe,
    ) -> TestSubscription {
        let destination = destination.as_ref();
        TestSubscription {
            id: self.subscribed(at, destination, how).await,
            link: Arc::clone(&self.link),
            destination: destination.to_owned(),
        }
    }

    async fn subscribed(&self, at: At, destination: &str, how: TestSubscribe) -> ByteString {
        let (inner, what) = (&self.link.inner, format!("SUBSCRIBE to {destination:?}"));
        inner.must_be_open(at, &what);
        let (receipt, id) = inner.with(|conversation| {
            let TestSubscribe { ack, headers } = how;
            let (receipt, id) = conversation
                .ask(|stomp, receipt| stomp.subscribe(destination, ack, headers, Some(receipt)));
            conversation.subscriptions.entry(id.clone()).or_default();
            (receipt, id)
        });
        let confirmed = inner.until_confirmed(at, &what, &receipt).await;
        self.left_to_look_at(confirmed);
        id
    }

    /// The next call must expect an end that came in between.
    fn left_to_look_at(&self, outcome: Result<(), Over>) {
        if let Err(Over) = outcome {
            let inner = &self.link.inner;
            inner.with(|conversation| conversation.unexpected = true);
        }
    }

    /// Headers and body of a SEND, unchecked: the server must refuse what a client may not write.
    fn encode(&self, at: At, destination: &str, payload: impl IntoReply) -> (Headers, Bytes) {
        let mut effects = Effects::default();
        let payload = payload.into_reply(&mut effects);
        if let Some(error) = effects.rejections.pop() {
            let why = format!("SEND to {destination:?}: the payload cannot be encoded: {error}");
            self.link.inner.panic(at, &why);
        }
        let Some(payload) = payload else {
            return (Headers::new(), Bytes::new());
        };
        let mut headers = Headers::new();
        if let Some(content_type) = payload.content_type {
            headers.push("content-type", content_type);
        }
        headers.extend(payload.headers);
        (headers, payload.body)
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        let look = |conversation: &mut Conversation| conversation.unexpected;
        if self.link.inner.with(look) && !std::thread::panicking() {
            let end = self.link.inner.end();
            let why = format!(
                "the session of this client ended, and the test expected none of it: {end}"
            );
            self.link.inner.panic(self.connected_at, &why);
        }
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("session", &self.session)
            .field("user", &self.user_name())
            .finish_non_exhaustive()
    }
}
