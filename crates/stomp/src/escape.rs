//! Escapes in header names and values (STOMP 1.1 and 1.2, "Value Encoding").

use std::borrow::Cow;

use memchr::memchr;

use crate::command::Command;
use crate::version::Version;

/// The set of octets that a frame escapes, determined by its command and the negotiated version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Escaping {
    /// 1.0, and the frames of the handshake in every version.
    None,
    /// `
    /// `, `\c` and `\\`.
    V1_1,
    /// Also `\r`.
    V1_2,
}

impl Escaping {
    pub(crate) fn of(command: Command, version: Version) -> Self {
        match version {
            _ if command.is_handshake() => Escaping::None,
            Version::V1_0 => Escaping::None,
            Version::V1_1 => Escaping::V1_1,
            Version::V1_2 => Escaping::V1_2,
        }
    }

    pub(crate) fn write_name(self, name: &str, out: &mut Vec<u8>) {
        self.write(name.as_bytes(), true, out);
    }

    pub(crate) fn write_value(self, value: &str, out: &mut Vec<u8>) {
        self.write(value.as_bytes(), false, out);
    }

    fn write(self, text: &[u8], is_name: bool, out: &mut Vec<u8>) {
        let mut written = 0;
        for (at, &octet) in text.iter().enumerate() {
            if let Some(substitute) = self.substitute(octet, is_name) {
                out.extend_from_slice(&text[written..at]);
                out.extend_from_slice(substitute);
                written = at + 1;
            }
        }
        out.extend_from_slice(&text[written..]);
    }

    /// Returns the substitute for an octet that must not appear itself. If the version has no escape for it, that is a
    /// space: a value never ends its line or its frame.
    fn substitute(self, octet: u8, is_name: bool) -> Option<&'static [u8]> {
        match (octet, self) {
            (b'\\', Escaping::None) => None,
            (b'\\', _) => Some(b"\\\\"),
            (b':', Escaping::None) => is_name.then_some(b" "),
            (b':', _) => Some(b"\\c"),
            (b'\n', Escaping::V1_1 | Escaping::V1_2) => Some(b"\\n"),
            (b'\r', Escaping::V1_2) => Some(b"\\r"),
            (b'\n' | b'\r' | 0, _) => Some(b" "),
            _ => None,
        }
    }

    /// Unescapes a name or value; an undefined escape is an error.
    pub(crate) fn read(self, encoded: &str) -> Result<Cow<'_, str>, UndefinedEscape> {
        if self == Escaping::None || memchr(b'\\', encoded.as_bytes()).is_none() {
            return Ok(Cow::Borrowed(encoded));
        }
        let mut text = String::with_capacity(encoded.len());
        let mut rest = encoded;
        while let Some((plain, escape)) = rest.split_once('\\') {
            text.push_str(plain);
            let mut octets = escape.chars();
            text.push(match (octets.next(), self) {
                (Some('n'), _) => '\n',
                (Some('c'), _) => ':',
                (Some('\\'), _) => '\\',
                (Some('r'), Escaping::V1_2) => '\r',
                (other, _) => return Err(UndefinedEscape(other)),
            });
            rest = octets.as_str();
        }
        text.push_str(rest);
        Ok(Cow::Owned(text))
    }
}

/// The character after a backslash, or nothing at the end of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UndefinedEscape(pub(crate) Option<char>);

#[cfg(test)]
mod tests {
    use super::*;

    fn written(escaping: Escaping, value: &str) -> String {
        let mut out = Vec::new();
        escaping.write_value(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_version_escapes_its_own_set() {
        let raw = "a:b\\c\nd\re";
        assert_eq!(written(Escaping::V1_2, raw), "a\\cb\\\\c\\nd\\re");
        assert_eq!(written(Escaping::V1_1, raw), "a\\cb\\\\c\\nd e");
        assert_eq!(written(Escaping::None, raw), "a:b\\c d e");
    }

    #[test]
    fn nothing_ends_a_line_or_a_frame_early() {
        for escaping in [Escaping::None, Escaping::V1_1, Escaping::V1_2] {
            let mut out = Vec::new();
            escaping.write_name("x:y\r\n\0", &mut out);
            assert!(
                !out.iter().any(|octet| b"\r\n\0:".contains(octet)),
                "{out:?}"
            );
        }
    }

    #[test]
    fn undefined_escapes_are_refused() {
        let v1_1 = Escaping::V1_1;
        assert_eq!(v1_1.read("a\\r"), Err(UndefinedEscape(Some('r'))));
        assert_eq!(v1_1.read("a\\t"), Err(UndefinedEscape(Some('t'))));
        assert_eq!(v1_1.read("a\\"), Err(UndefinedEscape(None)));
        assert_eq!(Escaping::V1_2.read("\\\\r\\r\\n\\c").unwrap(), "\\r\r\n:");
        assert_eq!(Escaping::None.read("a\\t\\").unwrap(), "a\\t\\");
    }
}
