//! Which rooms there are, and what a line is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tramline::broker::{Message, Position};

use crate::ChatError;

/// In characters; a page of text is no line.
const LONGEST_LINE: usize = 500;

/// In bytes; it is kept and sent with the line.
const LONGEST_KEY: usize = 40;

/// One line, as everybody in the room gets it. The broker numbers it: the MESSAGE has its `position`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) from: String,
    pub(crate) text: LineText,
    /// Unix milliseconds.
    pub(crate) at: u64,
    #[serde(default, skip_serializing_if = "Key::is_none")]
    pub(crate) key: Key,
}

/// A line that the broker keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    /// As in the MESSAGE: a page that receives a line twice shows it once.
    position: String,
    #[serde(skip)]
    sequence: u64,
    #[serde(flatten)]
    said: Said,
}

impl Kept {
    /// Nothing for a message that is no line: only lines are published to rooms.
    pub(crate) fn read(message: &Message) -> Option<Self> {
        let position = message.position()?;
        Some(Self {
            position: position.to_string(),
            sequence: position.sequence,
            said: serde_json::from_slice(message.body()).ok()?,
        })
    }

    pub(crate) fn is_before(&self, position: Position) -> bool {
        self.sequence < position.sequence
    }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// The rooms' names.
#[derive(Clone, Debug)]
pub(crate) struct Rooms(Arc<[&'static str]>);

impl Rooms {
    pub(crate) fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self(names.into_iter().collect())
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.to_vec()
    }

    pub(crate) fn check(&self, name: &str) -> Result<(), ChatError> {
        if self.0.contains(&name) {
            Ok(())
        } else {
            Err(ChatError::NoSuchRoom(name.to_owned()))
        }
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
        let error = Rooms::new(["lobby"]).check("attic").unwrap_err();
        assert_eq!(error.to_string(), "there is no room called \"attic\"");
    }
}
