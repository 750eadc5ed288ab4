//! Names of users: which are valid, and which look alike.

use std::fmt;

use precis_core::profile::PrecisFastInvocation;
use precis_profiles::{OpaqueString, UsernameCaseMapped};
use unicode_security::confusable_detection::skeleton;

/// Characters of a name at most: what fits a line of a phone.
const LONGEST: usize = 40;

/// A user's name in the one form in which names are compared and stored: that of RFC 8265, `UsernameCaseMapped`.
///
/// That form is in lower case, of normal width and composed. What cannot be seen is refused, and so are characters that
/// turn the direction of text, and spaces.
///
/// A name may still look like another: `аlice` with a Cyrillic `а` is valid. Names that are taken by people who choose
/// them need a [skeleton](Self::skeleton) that no other name has.
///
/// # Example: two ways to type one name, and what is refused
///
/// ```
/// use tramline_login::Name;
///
/// assert_eq!(Name::parse(" Zoë ")?.as_str(), "zoë");
/// assert_eq!(Name::parse("ＺＯＥ\u{308}")?, Name::parse("zoë")?);
/// let refused = Name::parse("ad\u{200b}a").unwrap_err().to_string();
/// assert!(refused.contains("has a character that names do not have"), "{refused}");
/// # Ok::<(), tramline_login::BadName>(())
/// ```
///
/// # Example: a name that looks like another
///
/// ```
/// use tramline_login::Name;
///
/// let (alice, cyrillic) = (Name::parse("alice")?, Name::parse("аlice")?);
/// assert_ne!(alice, cyrillic);
/// assert_eq!(alice.skeleton(), cyrillic.skeleton());
/// # Ok::<(), tramline_login::BadName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name that somebody means who types `text`; spaces around it do not count.
    ///
    /// # Errors
    ///
    /// [`BadName`] for a text that is no name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 {
            return Err(BadName("a name has at least 1 character".to_owned()));
        }
        if length > LONGEST {
            return Err(BadName(format!(
                "a name has at most {LONGEST} characters, this one has {length}"
            )));
        }
        if text == "." || text == ".." {
            return Err(BadName(format!(
                "{text:?} is no name: a URL cannot have it as a part"
            )));
        }
        match UsernameCaseMapped::enforce(text) {
            Ok(name) => Ok(Self(name.into_owned())),
            Err(_) => Err(BadName(format!(
                "the name {text:?} has a character that names do not have: a space, a control character, or one that \
                 cannot be seen"
            ))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the name looks like, by the confusables of Unicode's UTS 39: two names with one skeleton cannot be told apart
    /// by their readers. For a `UNIQUE` column beside that of the name.
    pub fn skeleton(&self) -> String {
        skeleton(&self.0).collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(String);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadName {}

/// A password in the form in which passwords are compared: RFC 8265's `OpaqueString`, so that two keyboards that compose a
/// letter differently type the same. A text that this form does not allow stands for itself.
pub(crate) fn password(text: &str) -> String {
    match OpaqueString::enforce(text) {
        Ok(password) => password.into_owned(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_are_refused_with_the_reason() {
        for (text, reason) in [
            ("  ", "at least 1 character"),
            (&"春".repeat(41), "at most 40 characters, this one has 41"),
            ("a\nb", "has a character that names do not have"),
            ("ada\u{202e}", "has a character that names do not have"),
            ("\u{200b}\u{200d}", "has a character that names do not have"),
            ("ada lovelace", "has a character that names do not have"),
            ("..", "a URL cannot have it"),
        ] {
            let refused = Name::parse(text).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        assert!(Name::parse(&"春".repeat(40)).is_ok());
    }

    #[test]
    fn a_password_may_be_typed_on_another_keyboard() {
        assert_eq!(password("Zoe\u{308} 1"), password("Zoë 1"));
        assert_ne!(password("Zoë"), password("zoë"));
        assert_eq!(password("\u{7}"), "\u{7}");
    }
}
