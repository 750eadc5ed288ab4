//! Where users come from: memory, a file, or the application's own store.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use tramline::User;

use crate::name::{BadName, Name};
use crate::password::hash_password;

/// Why a store of users did not answer.
pub type UsersError = Box<dyn std::error::Error + Send + Sync>;

/// A store of users.
///
/// [`MemoryUsers`] and [`FileUsers`] are two; implement it for a database. It is asked at each login and at each request of
/// somebody who has logged in, so that a changed password, a removed user and a changed role count from the next request on.
///
/// # Example: a table of an application
///
/// ```
/// use tramline::User;
/// use tramline_login::{Account, Users, UsersError};
///
/// struct Database;
///
/// impl Database {
///     /// Here your database is asked.
///     async fn row(&self, name: &str) -> Result<Option<(String, Vec<String>)>, std::io::Error> {
/// #       let _ = name;
///         Ok(None)
///     }
/// }
///
/// impl Users for Database {
///     async fn find(&self, name: &str) -> Result<Option<Account>, UsersError> {
///         let row = self.row(name).await?;
///         Ok(row.map(|(hash, roles)| Account::new(User::new(name.to_owned()).with_roles(roles), hash)))
///     }
/// }
/// ```
pub trait Users: Send + Sync + 'static {
    /// The account of the user called `name`, which is in the form of [`Name`]; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The store's own: the visitor sees a page that says that logins do not work at the moment, the log has the error.
    fn find(&self, name: &str) -> impl Future<Output = Result<Option<Account>, UsersError>> + Send;
}

impl<U: Users> Users for Arc<U> {
    fn find(&self, name: &str) -> impl Future<Output = Result<Option<Account>, UsersError>> + Send {
        (**self).find(name)
    }
}

/// A user and the hash of its password.
#[derive(Clone)]
pub struct Account {
    pub(crate) user: User,
    pub(crate) hash: String,
}

impl Account {
    /// `hash` is one of [`hash_password`]'s, or another in PHC format.
    pub fn new(user: User, hash: impl Into<String>) -> Self {
        Self {
            user,
            hash: hash.into(),
        }
    }

    /// Tells an old password from a new one, and reveals nothing of either.
    pub(crate) fn print(&self) -> String {
        let digest = Sha256::digest(self.hash.as_bytes());
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Without the hash.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

type Found<'a> = Pin<Box<dyn Future<Output = Result<Option<Account>, UsersError>> + Send + 'a>>;

/// [`Users`] of any type.
pub(crate) trait AnyUsers: Send + Sync {
    fn account<'a>(&'a self, name: &'a str) -> Found<'a>;
}

impl<U: Users> AnyUsers for U {
    fn account<'a>(&'a self, name: &'a str) -> Found<'a> {
        Box::pin(self.find(name))
    }
}

/// Users in memory. Clones share them.
///
/// # Example: registration, and a look-alike
///
/// ```
/// use tramline_login::{MemoryUsers, UserError};
///
/// let users = MemoryUsers::new();
/// users.add("alice", "correct horse", ["admin"])?;
/// assert!(matches!(users.add("Alice", "x", [""; 0]), Err(UserError::Taken)));
/// assert!(matches!(users.add("аlice", "x", [""; 0]), Err(UserError::LooksLike)));
/// # Ok::<(), UserError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryUsers(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    accounts: HashMap<String, Account>,
    skeletons: HashSet<String>,
}

/// Why a user was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The name is none.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// There is a user of that name.
    #[error("there is a user of that name")]
    Taken,
    /// There is a user whose name cannot be told from this one by looking at it.
    #[error("the name looks like that of another user")]
    LooksLike,
    /// There is no user of that name.
    #[error("there is no user of that name")]
    Unknown,
}

impl MemoryUsers {
    /// No users.
    pub fn new() -> Self {
        Self::default()
    }

    /// Users in the form of a [file](FileUsers).
    ///
    /// # Errors
    ///
    /// `InvalidData` with the number of a line that is wrong.
    pub fn parse(text: &str) -> io::Result<Self> {
        let table = Table::parse(text);
        let table = table.map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong))?;
        Ok(Self(Arc::new(RwLock::new(table))))
    }

    /// Adds a user. Hashing the password takes some 20 ms.
    ///
    /// # Errors
    ///
    /// [`UserError`] for a name that is none, is taken, or looks like one that is.
    pub fn add<R: Into<String>>(
        &self,
        name: &str,
        password: &str,
        roles: impl IntoIterator<Item = R>,
    ) -> Result<(), UserError> {
        let name = Name::parse(name)?;
        // An early answer; the one that counts is below.
        self.0.read().free(&name)?;
        let user = User::new(name.to_string()).with_roles(roles.into_iter().map(Into::into));
        let account = Account::new(user, hash_password(password));
        self.0.write().add(&name, account)
    }

    /// Gives a user another password. Its web sessions end with their next request; [`Login::revoke_user`] ends them at
    /// once, and their sockets.
    ///
    /// # Errors
    ///
    /// [`UserError`] for a name that is none or is unknown.
    ///
    /// [`Login::revoke_user`]: crate::Login::revoke_user
    pub fn set_password(&self, name: &str, password: &str) -> Result<(), UserError> {
        let name = Name::parse(name)?;
        let hash = hash_password(password);
        let mut table = self.0.write();
        let account = table.accounts.get_mut(name.as_str());
        account.ok_or(UserError::Unknown)?.hash = hash;
        Ok(())
    }

    /// Removes a user; returns false if there is none of that name. Its web sessions end as by
    /// [`set_password`](Self::set_password).
    pub fn remove(&self, name: &str) -> bool {
        let Ok(name) = Name::parse(name) else {
            return false;
        };
        let mut table = self.0.write();
        table.skeletons.remove(&name.skeleton());
        table.accounts.remove(name.as_str()).is_some()
    }
}

impl Table {
    fn free(&self, name: &Name) -> Result<(), UserError> {
        if self.accounts.contains_key(name.as_str()) {
            Err(UserError::Taken)
        } else if self.skeletons.contains(&name.skeleton()) {
            Err(UserError::LooksLike)
        } else {
            Ok(())
        }
    }

    fn add(&mut self, name: &Name, account: Account) -> Result<(), UserError> {
        self.free(name)?;
        self.skeletons.insert(name.skeleton());
        self.accounts.insert(name.to_string(), account);
        Ok(())
    }
}

impl Users for MemoryUsers {
    async fn find(&self, name: &str) -> Result<Option<Account>, UsersError> {
        Ok(self.0.read().accounts.get(name).cloned())
    }
}

/// Users of a text file: a line for each, `name:hash` or `name:hash:role,role`. Empty lines and those that begin with `#`
/// do not count. Clones share what was read.
///
/// # Example: a file with one user, and what is wrong with another
///
/// ```
/// use tramline_login::{FileUsers, hash_password};
///
/// # let folder = std::env::temp_dir().join(format!("tramline-login-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let file = folder.join("users");
/// std::fs::write(&file, format!("# staff\nada:{}:admin,trader\n", hash_password("secret")))?;
/// let users = FileUsers::read(&file)?;
///
/// std::fs::write(&file, "ada:secret\n")?;
/// let error = users.reload().unwrap_err().to_string();
/// assert!(error.contains("users line 1: not a password hash"), "{error}");
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileUsers {
    path: Arc<PathBuf>,
    users: MemoryUsers,
}

impl FileUsers {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// That of reading it, or `InvalidData` with the number of a line that is wrong: a name that is none, that is there
    /// twice or looks like another, a text that is no hash.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        let users = Self {
            path: Arc::new(path.as_ref().to_owned()),
            users: MemoryUsers::new(),
        };
        users.reload()?;
        Ok(users)
    }

    /// Reads the file again, for all clones.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); the users stay as they were.
    pub fn reload(&self) -> io::Result<()> {
        let text = fs::read_to_string(&*self.path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })?;
        let table = Table::parse(&text).map_err(|wrong| {
            let text = format!("{} {wrong}", self.path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        *self.users.0.write() = table;
        Ok(())
    }
}

impl Table {
    fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let read = table.read(line);
            read.map_err(|problem| format!("line {}: {problem}", index + 1))?;
        }
        Ok(table)
    }

    fn read(&mut self, line: &str) -> Result<(), String> {
        let mut fields = line.splitn(3, ':');
        let name = Name::parse(fields.next().unwrap_or_default()).map_err(|bad| bad.to_string())?;
        let hash = fields.next().unwrap_or_default();
        if !hash.starts_with('$') {
            return Err(
                "not a password hash, as `hash_password` makes them: it begins with $argon2id$"
                    .to_owned(),
            );
        }
        let roles = fields.next().unwrap_or_default().split(',');
        let roles = roles.map(str::trim).filter(|role| !role.is_empty());
        let user = User::new(name.to_string()).with_roles(roles.map(ToOwned::to_owned));
        let added = self.add(&name, Account::new(user, hash));
        added.map_err(|error| error.to_string())
    }
}

impl Users for FileUsers {
    async fn find(&self, name: &str) -> Result<Option<Account>, UsersError> {
        self.users.find(name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_gives_names_hashes_and_roles() {
        let mut table = Table::default();
        table
            .read("Ada:$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA:admin, trader")
            .unwrap();
        table.read("ben:$argon2id$x").unwrap();
        let users = MemoryUsers(Arc::new(RwLock::new(table)));
        let ada = users.find("ada").await.unwrap().unwrap();
        assert!(ada.user.has_role("admin") && ada.user.has_role("trader"));
        assert_eq!(ada.hash, "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA");
        assert!(
            users.find("Ada").await.unwrap().is_none(),
            "in the form of a name"
        );
        assert!(!format!("{ada:?}").contains("argon2id"));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        let mut table = Table::default();
        table.read("ada:$x").unwrap();
        for (line, problem) in [
            ("bob", "not a password hash"),
            (":$x", "at least 1 character"),
            ("ADA:$x", "there is a user of that name"),
            ("аdа:$x", "looks like that of another"),
        ] {
            let said = table.read(line).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }

    #[test]
    fn a_removed_user_frees_its_name() {
        let users = MemoryUsers::new();
        users.add("ada", "x", [""; 0]).unwrap();
        assert!(users.remove("Ada") && !users.remove("ada"));
        assert_eq!(users.set_password("ada", "y"), Err(UserError::Unknown));
        users.add("ada", "x", [""; 0]).unwrap();
    }
}
