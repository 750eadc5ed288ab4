//! The test kit, used as applications use it, and what it says when a test fails.

mod checks;
mod conversation;
mod ending;
mod expelled;
mod failing;
mod many;
mod nodes;
mod rates;
mod rights;
mod support;
mod time;
mod tokens;
#[cfg(feature = "jwt")]
mod tokens_of_issuers;
