use std::{fmt, sync::Arc};

use bytestring::ByteString;

use crate::BoxFuture;

/// Who the client says it is: a login with its passcode, or a token.
///
/// # Example: a fresh token for every attempt
///
/// ```no_run
/// use tramline_client::{Client, Credentials, Error};
///
/// async fn new_token() -> std::io::Result<String> {
///     std::fs::read_to_string("/run/secrets/token")
/// }
///
/// # async fn example() -> Result<(), Error> {
/// let client = Client::connect("wss://app.example/ws")
///     .credentials(|| async { Ok(Credentials::bearer(new_token().await?)) })
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Credentials {
    pub(crate) login: Option<(ByteString, ByteString)>,
    pub(crate) bearer: Option<ByteString>,
}

impl Credentials {
    /// The headers `login` and `passcode` of CONNECT. RabbitMQ takes an OAuth token as the passcode.
    pub fn login(login: impl Into<ByteString>, passcode: impl Into<ByteString>) -> Self {
        Self {
            login: Some((login.into(), passcode.into())),
            bearer: None,
        }
    }

    /// The header `Authorization: Bearer TOKEN`, in CONNECT and in the HTTP requests of WebSocket and SockJS.
    pub fn bearer(token: impl Into<ByteString>) -> Self {
        Self {
            login: None,
            bearer: Some(token.into()),
        }
    }
}

impl fmt::Debug for Credentials {
    /// No secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("login", &self.login.as_ref().map(|_| "***"))
            .field("bearer", &self.bearer.as_ref().map(|_| "***"))
            .finish()
    }
}

/// An error of the application's own.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the credentials of an attempt.
pub(crate) type Source = Arc<dyn Fn() -> BoxFuture<Result<Credentials, BoxError>> + Send + Sync>;
