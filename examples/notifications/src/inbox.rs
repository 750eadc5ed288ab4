//! What each user was sent, kept until the user comes for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Notifications that one user's inbox holds; the oldest that was seen makes room first, then the oldest.
pub const MOST_KEPT: usize = 50;

/// Users with an inbox; one in which everything was seen makes room for a newcomer.
pub const MOST_USERS: usize = 1000;

/// How urgent a notification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know. The default.
    #[default]
    Info,
    /// Something worked out.
    Success,
    /// Something needs a look.
    Warning,
    /// Something went wrong.
    Error,
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// Never given twice, by no start of the server, so that pages can tell what they have shown.
    pub id: String,
    /// Decides how the page shows it.
    pub level: Level,
    /// Plain text.
    pub text: String,
    /// When it was sent, in milliseconds since 1970.
    pub at: u64,
}

/// A notification in an inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What was sent.
    #[serde(flatten)]
    pub notification: Notification,
    /// Whether the user has said so, in whichever browser.
    pub seen: bool,
}

/// The inboxes of all users, in memory. Clones share them.
#[derive(Clone, Debug)]
pub struct Inboxes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Begins every id.
    start: u64,
    next: AtomicU64,
    users: Mutex<HashMap<String, Vec<Kept>>>,
}

/// [`MOST_USERS`] users have notifications that they have not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Default for Inboxes {
    fn default() -> Self {
        Self(Arc::new(Shared {
            start: now(),
            next: AtomicU64::new(1),
            users: Mutex::default(),
        }))
    }
}

impl Inboxes {
    /// A notification with an id of its own; it is in no inbox yet.
    pub fn notification(&self, level: Level, text: String) -> Notification {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        Notification {
            id: format!("{:x}-{number}", self.0.start),
            level,
            text,
            at: now(),
        }
    }

    /// Keeps it for a user, who may never have been here; gives whether one that was not seen had to go for it.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is no room for one more user.
    pub fn keep(&self, user: &str, notification: Notification) -> Result<bool, Full> {
        let mut users = self.users();
        if !users.contains_key(user) && users.len() >= MOST_USERS {
            let done = |inbox: &[Kept]| inbox.iter().all(|kept| kept.seen);
            let leaving = users.iter().find(|(_, inbox)| done(inbox));
            let leaving = leaving.map(|(name, _)| name.clone()).ok_or(Full)?;
            users.remove(&leaving);
        }
        let inbox = users.entry(user.to_owned()).or_default();
        let mut lost = false;
        if inbox.len() >= MOST_KEPT {
            let oldest = inbox.iter().position(|kept| kept.seen).unwrap_or(0);
            lost = !inbox.remove(oldest).seen;
        }
        inbox.push(Kept {
            notification,
            seen: false,
        });
        Ok(lost)
    }

    /// What is kept for a user, the oldest first.
    pub fn of(&self, user: &str) -> Vec<Kept> {
        self.users().get(user).cloned().unwrap_or_default()
    }

    /// Marks some as seen; gives those of them that are there.
    pub fn see(&self, user: &str, ids: &[String]) -> Vec<String> {
        let mut users = self.users();
        let inbox = users.get_mut(user).map_or(&mut [][..], Vec::as_mut_slice);
        let mut seen = Vec::new();
        for kept in inbox {
            if ids.contains(&kept.notification.id) {
                kept.seen = true;
                seen.push(kept.notification.id.clone());
            }
        }
        seen
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, Vec<Kept>>> {
        // Nothing that holds the lock can panic halfway.
        self.0.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(inboxes: &Inboxes, user: &str, text: &str) -> Result<String, Full> {
        let notification = inboxes.notification(Level::Info, text.to_owned());
        let id = notification.id.clone();
        inboxes.keep(user, notification).map(|_| id)
    }

    fn texts(inboxes: &Inboxes, user: &str) -> Vec<String> {
        let inbox = inboxes.of(user).into_iter();
        inbox.map(|kept| kept.notification.text).collect()
    }

    #[test]
    fn what_is_kept_is_the_users_alone_and_seen_once_for_all() {
        let inboxes = Inboxes::default();
        let first = keep(&inboxes, "ada", "one").unwrap();
        let second = keep(&inboxes, "ada", "two").unwrap();
        assert_ne!(first, second);
        assert_eq!(texts(&inboxes, "ada"), ["one", "two"]);
        assert!(inboxes.of("bob").is_empty());

        let ids = [second.clone(), "another".to_owned()];
        assert_eq!(inboxes.see("ada", &ids), [second]);
        assert!(inboxes.see("bob", &ids).is_empty());
        let seen: Vec<_> = inboxes.of("ada").iter().map(|kept| kept.seen).collect();
        assert_eq!(seen, [false, true]);
    }

    #[test]
    fn a_full_inbox_forgets_what_was_seen_first() {
        let inboxes = Inboxes::default();
        let ids: Vec<_> = (0..MOST_KEPT)
            .map(|number| keep(&inboxes, "ada", &number.to_string()).unwrap())
            .collect();
        inboxes.see("ada", &ids[3..4]);
        let three = inboxes.notification(Level::Info, "instead of 3".to_owned());
        assert_eq!(inboxes.keep("ada", three), Ok(false));
        assert_eq!(inboxes.of("ada").len(), MOST_KEPT);
        assert_eq!(texts(&inboxes, "ada")[..4], ["0", "1", "2", "4"]);

        let nought = inboxes.notification(Level::Info, "instead of 0".to_owned());
        assert_eq!(inboxes.keep("ada", nought), Ok(true));
        assert_eq!(inboxes.of("ada").len(), MOST_KEPT);
        assert_eq!(texts(&inboxes, "ada")[0], "1");
    }

    #[test]
    fn a_user_too_many_is_refused_until_somebody_has_seen_everything() {
        let inboxes = Inboxes::default();
        let mut last = String::new();
        for number in 0..MOST_USERS {
            last = keep(&inboxes, &format!("user {number}"), "hello").unwrap();
        }
        assert_eq!(keep(&inboxes, "one more", "hello"), Err(Full));
        assert!(
            keep(&inboxes, "user 7", "again").is_ok(),
            "who has an inbox keeps it"
        );

        let done = format!("user {}", MOST_USERS - 1);
        inboxes.see(&done, &[last]);
        assert!(keep(&inboxes, "one more", "hello").is_ok());
        assert!(inboxes.of(&done).is_empty());
        assert_eq!(inboxes.of("user 7").len(), 2);
    }
}
