//! What a web session keeps about its login, and when that ends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tower_sessions::session::Record;

use crate::csrf::Token;

/// The key of the ticket in the data of a web session.
pub(crate) const TICKET: &str = "tramline.login";

/// Times after which a web session ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
}

/// Who has logged in, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) user: String,
    /// When the login was: Unix milliseconds, as all times here.
    pub(crate) since: u64,
    /// When the session was last used; a little late, since it is not written at each request.
    pub(crate) seen: u64,
    pub(crate) csrf: Token,
    /// [`Account::print`](crate::Account::print) at the login.
    pub(crate) print: String,
}

impl Ticket {
    /// The ticket of a stored session that has one.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let value = record.data.get(TICKET)?;
        serde_json::from_value(value.clone()).ok()
    }
}

impl Ends {
    /// How much later than in the store a session may have been used, in milliseconds.
    pub(crate) fn written_every(&self) -> u64 {
        (millis(self.idle) / 4).min(60_000)
    }

    /// When a session that began and was last used at these times ends.
    pub(crate) fn at(&self, since: u64, seen: u64) -> u64 {
        let idle = seen.saturating_add(millis(self.idle));
        idle.min(since.saturating_add(millis(self.absolute)))
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, millis)
}
