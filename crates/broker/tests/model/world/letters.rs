//! Letters: the messages of publishers.

use tramline_broker::{Destination, Headers, Publish, Target};

use super::{START, UNIT, World};

/// A message to publish.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) to: To,
    /// The size of its body, from 1 to 3 units.
    pub(crate) units: usize,
    /// The key that conflates it.
    pub(crate) key: Option<char>,
    pub(crate) life: Life,
    /// Distinguishes it from all others.
    pub(crate) number: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum To {
    Destination(String),
    /// A user, as that of the session if it has one.
    User(usize, String),
    Session(usize, String),
}

/// A letter's time to live.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    Silent,
    /// `expires`, in milliseconds after the model's start.
    Until(u64),
    /// `expiration`
    For(u64),
    /// A header that is not a number.
    Nonsense,
}

/// The maximum length of a text: all texts of all messages together are less than a [`UNIT`].
const LONGEST: usize = 40;

impl Letter {
    pub(crate) fn new(to: To) -> Self {
        Self {
            to,
            units: 1,
            key: None,
            life: Life::Silent,
            number: 0,
        }
    }

    /// The destination, or the path at a user or session.
    pub(super) fn text(&self) -> &str {
        let (To::Destination(text) | To::User(_, text) | To::Session(_, text)) = &self.to;
        text
    }

    /// When a letter that arrives now expires; `Err` if its header is invalid.
    pub(super) fn expiry(&self, now: u64) -> Result<Option<u64>, ()> {
        match self.life {
            Life::Silent => Ok(None),
            Life::Until(after) => Ok(Some(START + after)),
            Life::For(millis) => Ok(Some(now + millis)),
            Life::Nonsense => Err(()),
        }
    }
}

impl World {
    /// Numbers letters, and drops those that cannot be written.
    pub(super) fn written(&mut self, letters: Vec<Letter>) -> Vec<Letter> {
        let mut written = Vec::new();
        for mut letter in letters {
            let known = match letter.to {
                To::Destination(_) => true,
                To::User(session, _) => {
                    let session = self.sessions.get(session);
                    session.is_some_and(|session| session.user.is_some())
                }
                To::Session(session, _) => session < self.sessions.len(),
            };
            let text = letter.text().to_owned();
            if !known || text.len() > LONGEST || Destination::parse(text).is_err() {
                continue;
            }
            letter.units = letter.units.clamp(1, 3);
            letter.number = self.letters;
            self.letters += 1;
            written.push(letter);
        }
        written
    }

    /// The letter as the broker receives it.
    pub(super) fn posted(&self, letter: &Letter) -> Publish {
        static BODY: [u8; 3 * UNIT] = [0; 3 * UNIT];
        let path = Destination::parse(letter.text().to_owned()).expect("it was parsed");
        let target = match &letter.to {
            To::Destination(_) => Target::Destination(path),
            To::User(session, _) => {
                let user = self.sessions[*session].user.clone();
                let name = user.expect("it was looked for").into();
                Target::User { name, path }
            }
            To::Session(session, _) => {
                let id = self.sessions[*session].id;
                Target::Session { id, path }
            }
        };
        let mut headers = Headers::new();
        headers.push("n", letter.number.to_string());
        if let Some(key) = letter.key {
            headers.push("key", key.to_string());
        }
        match letter.life {
            Life::Silent => {}
            Life::Until(after) => headers.push("expires", (START + after).to_string()),
            Life::For(millis) => headers.push("expiration", millis.to_string()),
            Life::Nonsense => headers.push("expires", "soon"),
        }
        Publish::new(target, headers, &BODY[..letter.units * UNIT])
    }
}
