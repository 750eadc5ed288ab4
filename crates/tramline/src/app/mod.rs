//! The application's side: routes, handlers and their arguments, logins, interceptors, sending.

pub(crate) mod captures;
#[cfg(feature = "console")]
mod dead_letters;
pub(crate) mod extract;
pub(crate) mod handler;
pub(crate) mod interceptor;
pub(crate) mod login;
pub(crate) mod publisher;
pub(crate) mod router;
pub(crate) mod template;
pub(crate) mod token;
