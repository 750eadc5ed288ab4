//! The end of a test's session.

use std::fmt;

/// The end of a session, as its client sees it: from [`TestClient::closed`](super::TestClient::closed) and others.
///
/// `Display` shows all of it in one line.
///
/// # Example: a session that the server ends
///
/// ```
/// # use tramline::policy::{Policy, deny, permit};
/// # use tramline::{EmbeddedBroker, Messaging};
/// use tramline::test::TestMessaging;
///
/// # fn messaging() -> Messaging {
/// #     let policy = Policy::builder().on_connect(permit()).otherwise(deny());
/// #     let broker = EmbeddedBroker::new().topics("/topic");
/// #     Messaging::builder().broker(broker).policy(policy).build().unwrap()
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let app = TestMessaging::new(messaging());
/// let alice = app.connect_as("alice").await;
/// alice.send("/topic/news", "I was here").await;
///
/// let end = alice.closed().await;
/// assert_eq!(end.code(), Some(1002));
/// assert_eq!(end.error(), Some("access denied"));
/// assert!(end.detail().unwrap().contains("SEND to \"/topic/news\" is denied"));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestEnd {
    pub(super) close: Option<(u16, String)>,
    pub(super) error: Option<(String, String)>,
    pub(super) failure: Option<String>,
}

impl TestEnd {
    /// The code that a browser's `onclose` would get; `None` if the connection was lost without one, which browsers
    /// call 1006.
    pub fn code(&self) -> Option<u16> {
        self.close.as_ref().map(|(code, _)| *code)
    }

    /// The reason that came with the code; empty if there was none.
    pub fn reason(&self) -> &str {
        self.close.as_ref().map_or("", |(_, reason)| reason)
    }

    /// The header `message` of the ERROR that came before the end: `access denied`. `None` if no ERROR came.
    pub fn error(&self) -> Option<&str> {
        self.error.as_ref().map(|(message, _)| &**message)
    }

    /// The body of that ERROR.
    pub fn detail(&self) -> Option<&str> {
        self.error.as_ref().map(|(_, detail)| &**detail)
    }
}

impl fmt::Display for TestEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((message, detail)) = &self.error {
            write!(f, "ERROR {message:?} ({})", detail.trim_end())?;
        } else if let Some(failure) = &self.failure {
            write!(f, "{failure}")?;
        } else {
            f.write_str("no ERROR")?;
        }
        match &self.close {
            Some((code, reason)) if reason.is_empty() => write!(f, ", closed with {code}"),
            Some((code, reason)) => write!(f, ", closed with {code} {reason:?}"),
            None => f.write_str(", the connection was lost"),
        }
    }
}
