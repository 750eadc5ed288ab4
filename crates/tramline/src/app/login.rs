//! Login by CONNECT: decides the user of a session.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::SessionId;
use tramline_stomp::Headers;

use crate::app::handler::Handler;
use crate::app::token::TokenError;
use crate::model::inbound::{Cause, Inbound, SessionRecord};
use crate::model::rejection::Rejection;
use crate::model::user::Handshake;
use crate::model::user::User;

/// A client's CONNECT: an extractor for a [`connect`](crate::MessageRouter::connect) handler, and for a
/// [`check`](fn@crate::policy::check) on CONNECT. No other can take it.
///
/// `Debug` shows neither the passcode nor the values of headers, which may be tokens.
#[derive(Clone)]
pub struct Connect {
    frame: Arc<tramline_stomp::Connect>,
    session: Arc<SessionRecord>,
}

impl Connect {
    pub(crate) fn of(message: &Inbound) -> Option<Self> {
        match &message.cause {
            Cause::Connect(frame) => Some(Self {
                frame: Arc::clone(frame),
                session: Arc::clone(&message.session),
            }),
            _ => None,
        }
    }

    /// The header `login`.
    pub fn login(&self) -> Option<&str> {
        self.frame.login.as_deref()
    }

    /// The header `passcode`.
    pub fn passcode(&self) -> Option<&str> {
        self.frame.passcode.as_deref()
    }

    /// The header `host`: the virtual host that the client asks for. Browsers' clients often leave it out.
    pub fn host(&self) -> Option<&str> {
        self.frame.host.as_deref()
    }

    /// All headers but `passcode`; a token may be in a header of the application's choice.
    pub fn headers(&self) -> &Headers {
        &self.frame.headers
    }

    /// The user of the web session, if the connection came by HTTP and a middleware knew one.
    pub fn user(&self) -> Option<User> {
        self.session.user()
    }

    /// The kept parts of the HTTP request, and the remote address.
    pub fn handshake(&self) -> &Handshake {
        self.session.handshake()
    }

    /// The session that would begin.
    pub fn session_id(&self) -> SessionId {
        self.session.id()
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

/// A connect handler's refusal: the client receives its text in the ERROR's `message`, and is closed with 1002.
///
/// The log has the text too. An application's own error becomes one by `From`, so that `?` refuses.
///
/// # Example: an error of the application
///
/// ```
/// use tramline::login::ConnectRefused;
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
pub struct ConnectRefused {
    message: ByteString,
    /// Why the token is not taken, for the log.
    token: Option<Box<TokenError>>,
}

impl ConnectRefused {
    /// A refusal with one line for the client. Reveal no more than a stranger may know.
    pub fn new(message: impl Into<ByteString>) -> Self {
        Self {
            message: message.into(),
            token: None,
        }
    }

    pub(crate) fn token(&self) -> Option<&TokenError> {
        self.token.as_deref()
    }
}

/// The client receives its text; the log has its detail.
impl From<TokenError> for ConnectRefused {
    fn from(error: TokenError) -> Self {
        Self {
            message: error.to_string().into(),
            token: Some(Box::new(error)),
        }
    }
}

impl fmt::Display for ConnectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectRefused {}

impl From<Rejection> for ConnectRefused {
    fn from(rejection: Rejection) -> Self {
        Self::new(rejection.to_string())
    }
}

/// A return type of a [`connect`](crate::MessageRouter::connect) handler: `()` keeps the user of the HTTP request, if
/// there was one; a [`User`] replaces it; an `Option<User>` replaces it by a user or by none; a `Result` of these has
/// an error that [refuses](ConnectRefused).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say who a session belongs to",
    note = "a connect handler returns `()`, `User`, `Option<User>`, or a `Result` of these: `Result<User, ConnectRefused>`",
    note = "`User::new(name)` makes a user"
)]
pub trait IntoLogin: Send {
    /// Decides; `user` is that of the HTTP request.
    ///
    /// # Errors
    ///
    /// The refusal that the client receives.
    fn into_login(self, user: Option<&User>) -> Result<Option<User>, ConnectRefused>;
}

impl IntoLogin for () {
    fn into_login(self, user: Option<&User>) -> Result<Option<User>, ConnectRefused> {
        Ok(user.cloned())
    }
}

impl IntoLogin for User {
    fn into_login(self, _: Option<&User>) -> Result<Option<User>, ConnectRefused> {
        Ok(Some(self))
    }
}

impl IntoLogin for Option<User> {
    fn into_login(self, _: Option<&User>) -> Result<Option<User>, ConnectRefused> {
        Ok(self)
    }
}

/// An error type of a connect handler's `Result`: any type that becomes a [`ConnectRefused`].
///
/// Exists for the compiler's error message.
#[diagnostic::on_unimplemented(
    message = "the error `{Self}` does not say what a refused client receives",
    label = "the connect handler returns a `Result` with the error `{Self}`",
    note = "return `Result<_, ConnectRefused>`, with `Err(ConnectRefused::new(\"one line for the client\"))`",
    note = "for an error type of your own: `impl From<MyError> for ConnectRefused`, so that `?` makes one"
)]
pub trait IntoRefusal: Into<ConnectRefused> + Send {}

#[diagnostic::do_not_recommend]
impl<E: Into<ConnectRefused> + Send> IntoRefusal for E {}

impl<L: IntoLogin, E: IntoRefusal> IntoLogin for Result<L, E> {
    fn into_login(self, user: Option<&User>) -> Result<Option<User>, ConnectRefused> {
        self.map_err(Into::into)?.into_login(user)
    }
}

pub(crate) type LoginFuture =
    Pin<Box<dyn Future<Output = Result<Option<User>, ConnectRefused>> + Send>>;

/// A type-erased connect handler that still needs its state.
pub(crate) type ErasedConnect<S> = Arc<dyn Fn(Inbound, S) -> LoginFuture + Send + Sync>;

pub(crate) fn erase_connect<H, T, S>(handler: H) -> ErasedConnect<S>
where
    H: Handler<T, S>,
    H::Output: IntoLogin,
    S: Clone + Send + Sync + 'static,
{
    Arc::new(move |message, state| {
        let handler = handler.clone();
        Box::pin(async move {
            let session = Arc::clone(&message.session);
            handler
                .call(message, state)
                .await?
                .into_login(session.user().as_ref())
        })
    })
}
