//! Logins by name and password where there is no web session.

use std::fmt;
use std::sync::Arc;

use tramline::User;

use crate::name::Name;
use crate::password::Hashing;
use crate::users::{Account, AnyUsers, Users, UsersError};

/// Checks names and passwords for clients without a web session: a [`connect`] handler, for `login` and `passcode` of
/// STOMP. Cheap to clone.
///
/// A check takes some 20 ms of a thread of its own, whether or not the name exists, and as many run as there are processors.
/// Who guesses is slowed down by the stack's [`Rates::refused_logins`](tramline::limits::Rates).
///
/// [`connect`]: tramline::MessageRouter::connect
///
/// # Example: logins by STOMP
///
/// ```
/// use tramline::login::ConnectRefused;
/// use tramline::{Connect, MessageRouter, State, User};
/// use tramline_login::{MemoryUsers, Passwords};
///
/// async fn login(connect: Connect, State(passwords): State<Passwords>) -> Result<User, ConnectRefused> {
///     let (name, password) = (connect.login().unwrap_or_default(), connect.passcode().unwrap_or_default());
///     let user = passwords.check(name, password).await;
///     let user = user.map_err(|_| ConnectRefused::new("logins do not work at the moment"))?;
///     user.ok_or(ConnectRefused::new("wrong name or password"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let users = MemoryUsers::new();
/// users.add("ada", "correct horse", ["admin"])?;
/// let passwords = Passwords::new(users);
/// assert!(passwords.check("ada", "correct horse").await?.unwrap().has_role("admin"));
/// assert!(passwords.check("ada", "wrong").await?.is_none());
/// assert!(passwords.check("ben", "correct horse").await?.is_none());
///
/// let routes: MessageRouter = MessageRouter::new().connect(login).with_state(passwords);
/// # let _ = routes;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Passwords(Arc<Shared>);

struct Shared {
    users: Box<dyn AnyUsers>,
    hashing: Hashing,
}

/// Why a password was not checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordsError {
    /// The store of users did not answer.
    #[error("the store of users did not answer: {0}")]
    Users(UsersError),
    /// More logins wait than are let wait.
    #[error("too many logins at once")]
    Busy,
}

impl Passwords {
    /// Checks the passwords of these users.
    pub fn new(users: impl Users) -> Self {
        Self::of(Box::new(users))
    }

    pub(crate) fn of(users: Box<dyn AnyUsers>) -> Self {
        let hashing = Hashing::new();
        Self(Arc::new(Shared { users, hashing }))
    }

    pub(crate) fn users(&self) -> &dyn AnyUsers {
        &*self.0.users
    }

    /// Returns the user of this name and password; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`PasswordsError`]: the store of users has one, or too many logins wait already.
    pub async fn check(&self, name: &str, password: &str) -> Result<Option<User>, PasswordsError> {
        let name = Name::parse(name).ok();
        let account = self.account(name.as_ref(), password).await?;
        Ok(account.map(|account| account.user))
    }

    /// The account that name and password fit. Without a valid name the same work is done, in vain.
    pub(crate) async fn account(
        &self,
        name: Option<&Name>,
        password: &str,
    ) -> Result<Option<Account>, PasswordsError> {
        let found = self.users().account(name.map_or("", Name::as_str)).await;
        let account = found.map_err(PasswordsError::Users)?;
        let account = account.filter(|_| name.is_some());
        let hash = account.as_ref().map(|account| account.hash.as_str());
        let fits = self.0.hashing.fits(hash, password).await;
        let fits = fits.map_err(|_| PasswordsError::Busy)?;
        Ok(account.filter(|_| fits))
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords")
    }
}
