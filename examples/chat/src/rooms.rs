//! What has been said in which room.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::ChatError;

/// Lines that a room keeps for who joins.
const KEPT_LINES: usize = 50;

/// In characters; a page of text is no line.
const LONGEST_LINE: usize = 500;

/// In bytes; it is kept and sent with the line.
const LONGEST_KEY: usize = 40;

/// One line, as everybody in the room gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Said {
    /// Counts within the room, from 1: a page that hears a line twice shows it once.
    pub(crate) id: u64,
    pub(crate) from: String,
    pub(crate) text: LineText,
    /// Unix milliseconds.
    pub(crate) at: u64,
    #[serde(skip_serializing_if = "Key::is_none")]
    pub(crate) key: Key,
}

/// What the page calls a line that it sends, and finds it again by: nothing for pages that do not care.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        match key.len() {
            0..=LONGEST_KEY => Ok(Self(key)),
            length => Err(format!(
                "a key has at most {LONGEST_KEY} bytes, this one has {length}"
            )),
        }
    }
}

/// A text that is neither empty nor too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct LineText(String);

impl LineText {
    pub(crate) fn new(text: String) -> Result<Self, ChatError> {
        let length = text.chars().count();
        if text.trim().is_empty() {
            Err(ChatError::EmptyLine)
        } else if length > LONGEST_LINE {
            Err(ChatError::LongLine {
                length,
                longest: LONGEST_LINE,
            })
        } else {
            Ok(Self(text))
        }
    }
}

/// All rooms. Clones are the same rooms.
#[derive(Clone, Debug)]
pub(crate) struct Rooms(Arc<BTreeMap<&'static str, Mutex<Room>>>);

#[derive(Debug, Default)]
struct Room {
    last: VecDeque<Said>,
    said: u64,
}

impl Rooms {
    pub(crate) fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let rooms = names.into_iter().map(|name| (name, Mutex::default()));
        Self(Arc::new(rooms.collect()))
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// Adds a line, and forgets the oldest if there are too many.
    pub(crate) fn append(
        &self,
        room: &str,
        from: &str,
        text: LineText,
        key: Key,
    ) -> Result<Said, ChatError> {
        self.with(room, |room| {
            room.said += 1;
            let said = Said {
                id: room.said,
                from: from.to_owned(),
                text,
                at: now(),
                key,
            };
            room.last.push_back(said.clone());
            if room.last.len() > KEPT_LINES {
                room.last.pop_front();
            }
            said
        })
    }

    /// The last lines, oldest first.
    pub(crate) fn last(&self, room: &str) -> Result<Vec<Said>, ChatError> {
        self.with(room, |room| room.last.iter().cloned().collect())
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Room) -> T) -> Result<T, ChatError> {
        let room = self
            .0
            .get(name)
            .ok_or_else(|| ChatError::NoSuchRoom(name.to_owned()))?;
        Ok(act(&mut room
            .lock()
            .unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Unix milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> LineText {
        LineText::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_room_keeps_the_last_fifty() {
        let rooms = Rooms::new(["lobby", "rust"]);
        for number in 1..=60 {
            rooms
                .append(
                    "lobby",
                    "ada",
                    text(&format!("line {number}")),
                    Key::default(),
                )
                .unwrap();
        }
        let last = rooms.last("lobby").unwrap();
        let ids: Vec<_> = last.iter().map(|said| said.id).collect();
        assert_eq!(ids, (11..=60).collect::<Vec<_>>());
        assert_eq!(last[0].text, text("line 11"));
        assert!(rooms.last("rust").unwrap().is_empty());
    }

    #[test]
    fn lines_are_neither_empty_nor_too_long() {
        let new = |text: String| LineText::new(text).map_err(|error| error.to_string());
        assert_eq!(
            new(" \n".to_owned()).unwrap_err(),
            "an empty line says nothing"
        );
        assert!(new("春".repeat(500)).is_ok());
        assert_eq!(
            new("春".repeat(501)).unwrap_err(),
            "a line has at most 500 characters, this one has 501"
        );
    }

    #[test]
    fn other_rooms_are_not_there() {
        let rooms = Rooms::new(["lobby"]);
        let error = rooms
            .append("attic", "ada", text("x"), Key::default())
            .unwrap_err();
        assert_eq!(error.to_string(), "there is no room called \"attic\"");
        assert!(rooms.last("attic").is_err());
    }
}
