//! Who a client says it is, and what the application makes of that.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::SessionId;
use tramline_stomp::Headers;

use crate::inbound::SessionInfo;
use crate::{Handshake, MessagingBuilder, User};

impl MessagingBuilder {
    /// Decides who a client is, by its CONNECT frame: login and passcode, or a token in a header.
    ///
    /// The handler is asked once per session, before the policy's
    /// [`on_connect`](crate::policy::PolicyBuilder::on_connect) rule, which sees its answer. `Ok(user)` is the session's
    /// user from then on, in place of the one that the web session gave; `Ok(None)` makes it anonymous. An error is a
    /// [`ConnectRefused`] or becomes one: the client hears it as an ERROR and is closed with 1002, and
    /// [`Stats::logins_refused`](crate::Stats::logins_refused) goes up.
    ///
    /// While the handler runs only its own session waits. If it takes longer than
    /// [`Limits::connect_time`](crate::Limits::connect_time) the session is closed with 4500 and the handler dropped; if
    /// it panics the session is refused, with a text that says nothing of the reason. Checking a password costs CPU on
    /// purpose: do it in `tokio::task::spawn_blocking`.
    ///
    /// Default: CONNECT is not asked for a login, and a session's user is the web session's.
    ///
    /// # Example: a login for programs, the web session for browsers
    ///
    /// ```
    /// use tramline::{Connect, ConnectRefused, User};
    ///
    /// async fn login(connect: Connect) -> Result<Option<User>, ConnectRefused> {
    ///     match (connect.login(), connect.passcode()) {
    ///         (Some("guest"), Some("guest")) => Ok(Some(User::new("guest"))),
    ///         (None, None) => Ok(connect.user().cloned()),
    ///         _ => Err(ConnectRefused::new("login or passcode is wrong")),
    ///     }
    /// }
    ///
    /// # use tramline::policy::{Policy, authenticated, permit};
    /// # use tramline::{EmbeddedBroker, Messaging};
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let messaging = Messaging::builder()
    ///     .connect(login)
    ///     .policy(Policy::builder().on_connect(authenticated()).otherwise(permit()))
    ///     .broker(EmbeddedBroker::new().topics("/topic"))
    ///     .build()?;
    ///
    /// let (mut client, stream) = tokio::io::duplex(1024);
    /// tokio::spawn(messaging.serve_stream(stream, None));
    /// client.write_all(b"CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guess\n\n\0").await?;
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer).await?;
    /// assert!(answer.starts_with("ERROR\nmessage:login or passcode is wrong\n"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<F, Fut, U, E>(mut self, handler: F) -> Self
    where
        F: Fn(Connect) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<U, E>> + Send + 'static,
        U: Into<Option<User>>,
        E: Into<ConnectRefused>,
    {
        self.login = Some(erase(handler));
        self
    }
}

/// A client's CONNECT: what a login handler decides by.
///
/// `Debug` shows neither the passcode nor what headers say, which may be tokens.
pub struct Connect {
    frame: tramline_stomp::Connect,
    session: Arc<SessionInfo>,
}

impl Connect {
    pub(crate) fn new(frame: tramline_stomp::Connect, session: Arc<SessionInfo>) -> Self {
        Self { frame, session }
    }

    /// The header `login`.
    pub fn login(&self) -> Option<&str> {
        self.frame.login.as_deref()
    }

    /// The header `passcode`.
    pub fn passcode(&self) -> Option<&str> {
        self.frame.passcode.as_deref()
    }

    /// The header `host`: the virtual host that the client means. Browsers' clients often leave it out.
    pub fn host(&self) -> Option<&str> {
        self.frame.host.as_deref()
    }

    /// All headers but `passcode`: a token may be in one of the application's choice.
    pub fn headers(&self) -> &Headers {
        &self.frame.headers
    }

    /// The user that the web session gave, if the connection came by HTTP and a middleware knew one.
    pub fn user(&self) -> Option<&User> {
        self.session.user.as_ref()
    }

    /// What is kept of the HTTP request, and the remote address.
    pub fn handshake(&self) -> &Handshake {
        &self.session.handshake
    }

    /// The session that would begin.
    pub fn session_id(&self) -> SessionId {
        self.session.id
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers().iter().map(|(name, _)| name).collect();
        f.debug_struct("Connect")
            .field("login", &self.login())
            .field("passcode", &self.passcode().map(|_| "***"))
            .field("host", &self.host())
            .field("headers", &headers)
            .field("user", &self.user())
            .field("remote", &self.handshake().remote())
            .finish_non_exhaustive()
    }
}

/// A login handler's refusal: the client hears its text in the ERROR's `message`, and is closed with 1002.
///
/// The log has the text too. An application's own error becomes one by `From`, so that `?` refuses.
///
/// # Example: an error of the application
///
/// ```
/// use tramline::ConnectRefused;
///
/// enum TokenError { Expired, Forged }
///
/// impl From<TokenError> for ConnectRefused {
///     fn from(error: TokenError) -> Self {
///         Self::new(match error {
///             TokenError::Expired => "the token has expired; log in again",
///             TokenError::Forged => "the token is not valid",
///         })
///     }
/// }
///
/// assert_eq!(ConnectRefused::from(TokenError::Expired).to_string(), "the token has expired; log in again");
/// # let _ = TokenError::Forged;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRefused(ByteString);

impl ConnectRefused {
    /// A refusal with one line for the client. Say no more than a stranger may know.
    pub fn new(message: impl Into<ByteString>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for ConnectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectRefused {}

pub(crate) type LoginFuture =
    Pin<Box<dyn Future<Output = Result<Option<User>, ConnectRefused>> + Send>>;

/// A login handler whose types are forgotten.
pub(crate) type Login = Arc<dyn Fn(Connect) -> LoginFuture + Send + Sync>;

fn erase<F, Fut, U, E>(handler: F) -> Login
where
    F: Fn(Connect) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<U, E>> + Send + 'static,
    U: Into<Option<User>>,
    E: Into<ConnectRefused>,
{
    Arc::new(move |connect| {
        let decision = handler(connect);
        Box::pin(async move { decision.await.map(Into::into).map_err(Into::into) })
    })
}
