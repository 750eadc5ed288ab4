//! Clients in memory, for the tests of an application: no port, no sleep.
//!
//! Needs the feature `test`, in the application's `[dev-dependencies]`: `tramline = { version = "..", features =
//! ["test"] }`. See [the guide](crate::guide::testing) for when to use what.
//!
//! # Example: a client's hello is answered
//!
//! ```
//! use tramline::policy::{Policy, deny, permit};
//! use tramline::test::TestMessaging;
//! use tramline::{EmbeddedBroker, MessageRouter, Messaging, message};
//!
//! async fn greet(name: String) -> String {
//!     format!("Hello, {name}!")
//! }
//!
//! fn messaging() -> Messaging {
//!     Messaging::builder()
//!         .routes(MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings")))
//!         .broker(EmbeddedBroker::new().topics("/topic"))
//!         .policy(
//!             Policy::builder()
//!                 .on_connect(permit())
//!                 .on_message("/app/hello", permit())
//!                 .on_subscribe("/topic/greetings", permit())
//!                 .otherwise(deny()),
//!         )
//!         .build()
//!         .unwrap()
//! }
//!
//! #[tokio::test(start_paused = true)]
//! # async fn unused() {}
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! #     greets_and_lets_nobody_else_speak().await;
//! # }
//! async fn greets_and_lets_nobody_else_speak() {
//!     let app = TestMessaging::new(messaging());
//!     let alice = app.connect_as("alice").await;
//!     let bob = app.connect_as("bob").await;
//!     let mut greetings = bob.subscribe("/topic/greetings").await;
//!
//!     alice.send("/app/hello", "Alice").await;
//!     assert_eq!(greetings.next_text().await, "Hello, Alice!");
//!
//!     alice.send("/topic/greetings", "I say so myself").await;
//!     alice.expect_denied("/topic/greetings").await;
//!     greetings.expect_nothing().await;
//! }
//! ```

mod client;
mod connect;
mod end;
mod inbound;
mod link;
mod message;
mod subscription;
mod transcript;
mod transport;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use tramline_stomp::{AckMode, Version};

pub use self::client::TestClient;
pub use self::connect::TestConnect;
pub use self::end::TestEnd;
pub use self::inbound::{TestInbound, inbound};
pub use self::message::{TestMessage, TestRejection};
pub use self::subscription::{TestSubscribe, TestSubscription};

use self::link::{At, Link};
use self::transport::{Close, Memory};
use crate::model::inbound::SessionRecord;
use crate::model::user::User;
use crate::net::endpoint::session_info;
use crate::session::SessionTask;
use crate::stack::messaging::Messaging;
use crate::stack::policy::Action;
use crate::stack::shared::MessagingStack;
use tramline_broker::SessionId;

/// Time limit of each wait: long for a busy machine, and no time at all if time is paused.
const DEADLINE: Duration = Duration::from_secs(10);

/// The most bytes on their way between a client and its session.
const PIPE: usize = 64 * 1024;

/// A [`Messaging`] whose clients are in memory.
///
/// It is the whole stack but the HTTP in front of it: sessions, policy, handlers, broker, limits and timers are those
/// that ship, and a client's frames are bytes. It derefs to the [`Messaging`], for its publisher and the like; its
/// clients keep that alive.
///
/// # Time
///
/// Under `#[tokio::test(start_paused = true)]` tokio advances the time when nothing else is left to do, so deadlines
/// pass and heart-beats are sent without waiting. Let time pass with `tokio::time::sleep`; `tokio::time::advance`
/// jumps, and to a session that looks like a client that was silent for that long. Messages expire by the same time.
///
/// Paused time runs ahead of everything that is not tokio's: a database in another process, say. Test code that waits
/// for such a thing in real time.
///
/// # Example: an hour of silence
///
/// ```
/// # use tramline::policy::{Policy, permit};
/// # use tramline::{EmbeddedBroker, Messaging};
/// use std::time::Duration;
/// use tramline::test::TestMessaging;
///
/// # fn messaging() -> Messaging {
/// #     let policy = Policy::builder().otherwise(permit());
/// #     let broker = EmbeddedBroker::new().topics("/topic");
/// #     Messaging::builder().broker(broker).policy(policy).build().unwrap()
/// # }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let app = TestMessaging::new(messaging());
/// let mut news = app.connect().await.subscribe("/topic/news").await;
/// tokio::time::sleep(Duration::from_secs(3600)).await;
///
/// app.publisher().send("/topic/news", "still here").await.unwrap();
/// assert_eq!(news.next_text().await, "still here");
/// # }
/// ```
#[derive(Clone)]
pub struct TestMessaging {
    messaging: Messaging,
    deadline: Duration,
}

impl TestMessaging {
    /// Makes clients in memory for this stack.
    pub fn new(messaging: Messaging) -> Self {
        Self {
            messaging,
            deadline: DEADLINE,
        }
    }

    /// Sets the time limit of each wait of clients that connect from now on; a longer wait fails the test. Default
    /// 10 s: long for a busy machine, and no time at all if time is paused.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The stack.
    pub fn messaging(&self) -> &Messaging {
        &self.messaging
    }

    /// Connects an anonymous client, and returns it once its session is open. Fails the test if the session is refused.
    #[track_caller]
    pub fn connect(&self) -> impl Future<Output = TestClient> {
        self.connected(Location::caller(), TestConnect::new())
    }

    /// Connects a client whose user the HTTP layer knows: `"alice"`, or a [`User`] with roles. Fails the test if the
    /// session is refused.
    ///
    /// The application's connect handler is called as always, and may change the user.
    #[track_caller]
    pub fn connect_as(&self, user: impl Into<User>) -> impl Future<Output = TestClient> {
        self.connected(Location::caller(), TestConnect::new().user(user))
    }

    /// Connects a client with the options of `how`: login and passcode, a token, a request's header. Fails the test if
    /// the session is refused.
    ///
    /// # Example: a login
    ///
    /// ```
    /// use tramline::login::ConnectRefused;
    /// use tramline::test::TestMessaging;
    /// use tramline::{Connect, User};
    ///
    /// async fn login(connect: Connect) -> Result<User, ConnectRefused> {
    ///     match (connect.login(), connect.passcode()) {
    ///         (Some("guest"), Some("guest")) => Ok(User::new("guest")),
    ///         _ => Err(ConnectRefused::new("login or passcode is wrong")),
    ///     }
    /// }
    ///
    /// # use tramline::policy::{Policy, authenticated};
    /// # use tramline::{EmbeddedBroker, MessageRouter, Messaging};
    /// # fn messaging() -> Messaging {
    /// #     let policy = Policy::builder().otherwise(authenticated());
    /// #     let broker = EmbeddedBroker::new().topics("/topic");
    /// #     let routes = MessageRouter::new().connect(login);
    /// #     Messaging::builder().routes(routes).broker(broker).policy(policy).build().unwrap()
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let app = TestMessaging::new(messaging());
    /// let guest = app.connect_with(|c| c.login("guest").passcode("guest")).await;
    /// assert_eq!(guest.user_name().as_deref(), Some("guest"));
    ///
    /// let refused = app.try_connect_with(|c| c.login("guest").passcode("guess")).await.unwrap_err();
    /// assert_eq!(refused.error(), Some("login or passcode is wrong"));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect_with(
        &self,
        how: impl FnOnce(TestConnect) -> TestConnect,
    ) -> impl Future<Output = TestClient> {
        self.connected(Location::caller(), how(TestConnect::new()))
    }

    /// As [`connect_with`](Self::connect_with), for a session that may be refused.
    ///
    /// # Errors
    ///
    /// The session's end: [`TestEnd::error`] is the text that the client receives.
    #[track_caller]
    pub fn try_connect_with(
        &self,
        how: impl FnOnce(TestConnect) -> TestConnect,
    ) -> impl Future<Output = Result<TestClient, TestEnd>> {
        let (at, connect) = (Location::caller(), how(TestConnect::new()));
        async move { self.open(at, connect).await.map_err(|refused| refused.end) }
    }

    async fn connected(&self, at: At, connect: TestConnect) -> TestClient {
        match self.open(at, connect).await {
            Ok(client) => client,
            Err(Refused { end, transcript }) => {
                panic!("{at}: the session is refused: {end}\n{transcript}")
            }
        }
    }

    /// Opens a session; returns its end and the transcript if it is refused.
    async fn open(&self, at: At, connect: TestConnect) -> Result<TestClient, Refused> {
        let hears_rejections = connect.hears_rejections;
        let (link, session) = self.start(connect);
        let inner = &link.inner;
        let opened = inner.until(at, "the session to open", |conversation| {
            conversation.connected.is_some().then_some(())
        });
        let Ok(()) = opened.await else {
            let end = inner.until_closed(at, "the refused session to end").await;
            let transcript = inner.to_string();
            return Err(Refused { end, transcript });
        };
        let errors = format!("{}/queue/errors", self.stack().user_prefix);
        let against = if hears_rejections {
            self.denies(session, &errors)
        } else {
            Some("the client connected `without_rejections`".to_owned())
        };
        let mut client = TestClient::new(link, session, at);
        client.hear_rejections(at, errors, against).await;
        Ok(client)
    }

    /// Starts a session's task, and those of its client.
    fn start(&self, connect: TestConnect) -> (Link, SessionId) {
        let TestConnect {
            request, config, ..
        } = connect;
        let stack = Arc::clone(self.stack());
        let info = session_info(&stack.front, &request);
        let id = info.id;
        let (near, far) = tokio::io::duplex(PIPE);
        let close = Arc::<Close>::default();
        let inner = Arc::new(link::LinkInner::new(
            config,
            Arc::clone(&close),
            self.deadline,
        ));
        stack.drive();
        let over = Over(Arc::clone(&inner));
        tokio::spawn(async move {
            let _over = over;
            SessionTask::new(stack, info, Memory::new(far, close)).await;
        });
        let link = Link {
            tasks: link::spawn(&inner, near),
            inner,
            _messaging: self.messaging.clone(),
        };
        (link, id)
    }

    /// The reason why the policy would deny a session's subscription to `destination`, if it would: a denial ends the
    /// session.
    fn denies(&self, session: SessionId, destination: &str) -> Option<String> {
        let stack = self.stack();
        let member = stack.hub.member(session);
        let record = member.and_then(|member| member.context::<SessionRecord>());
        let user = record.and_then(|record| record.user());
        let decision = stack
            .policy
            .explain(Action::Subscribe(destination), user.as_ref());
        let rule = decision.rule();
        let why = format!("the policy denies SUBSCRIBE to {destination:?} ({rule})");
        (!decision.is_permitted()).then_some(why)
    }

    fn stack(&self) -> &Arc<MessagingStack> {
        &self.messaging.handle.stack
    }
}

/// Informs the client when the session's task is over, even by a panic.
struct Over(Arc<link::LinkInner>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.session_over();
    }
}

struct Refused {
    end: TestEnd,
    transcript: String,
}

impl Deref for TestMessaging {
    type Target = Messaging;

    fn deref(&self) -> &Messaging {
        &self.messaging
    }
}

impl fmt::Debug for TestMessaging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestMessaging")
            .field("messaging", &self.messaging)
            .field("deadline", &self.deadline)
            .finish()
    }
}
