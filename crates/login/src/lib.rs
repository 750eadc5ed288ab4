#![doc = include_str!("logging-in.md")]

mod csrf;
mod forms;
mod guard;
mod live;
mod login;
mod name;
mod pages;
mod password;
mod passwords;
mod redirect;
mod rules;
mod sockets;
mod store;
mod throttle;
mod ticket;
mod users;

pub use crate::csrf::{CSRF_HEADER, CSRF_PARAMETER};
pub use crate::live::WebSession;
pub use crate::login::{Login, LoginBuilder, LoginError};
pub use crate::name::{BadName, Name};
pub use crate::pages::{LoginForm, escape};
pub use crate::password::hash_password;
pub use crate::passwords::{Passwords, PasswordsError};
pub use crate::store::MemorySessions;
pub use crate::throttle::Throttle;
pub use crate::users::{Account, FileUsers, MemoryUsers, UserError, Users, UsersError};
