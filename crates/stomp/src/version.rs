use std::{fmt, str::FromStr};

use crate::text::{excerpt, trim};

/// A version of the STOMP protocol, ordered from old to new.
///
/// # Example: the three spellings of a version
///
/// ```
/// use tramline_stomp::Version;
///
/// assert_eq!(Version::V1_2.as_str(), "1.2");
/// assert_eq!(Version::V1_2.subprotocol(), "v12.stomp");
/// assert_eq!(Version::from_subprotocol("V11.Stomp"), Some(Version::V1_1));
/// assert!(Version::V1_0 < Version::V1_2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// STOMP 1.0: no escapes, no heart-beats, `id` optional on SUBSCRIBE.
    V1_0,
    /// STOMP 1.1: escapes for LF, colon and backslash; heart-beats.
    V1_1,
    /// STOMP 1.2: CRLF line ends, an escape for CR, repeated headers defined.
    V1_2,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

    /// The spelling of the `version` and `accept-version` headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// The WebSocket sub-protocol registered for this version.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Version::V1_0 => "v10.stomp",
            Version::V1_1 => "v11.stomp",
            Version::V1_2 => "v12.stomp",
        }
    }

    /// Parses a WebSocket sub-protocol, ignoring ASCII case.
    pub fn from_subprotocol(name: &str) -> Option<Version> {
        Version::ALL
            .into_iter()
            .find(|version| version.subprotocol().eq_ignore_ascii_case(name))
    }

    /// Returns the highest version in an `accept-version` value; an absent header means 1.0 (STOMP 1.2, "Protocol
    /// Negotiation").
    pub(crate) fn highest_of(accept: Option<&str>) -> Option<Version> {
        let Some(accept) = accept else {
            return Some(Version::V1_0);
        };
        accept
            .split(',')
            .filter_map(|token| token.parse().ok())
            .max()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    /// Parses `1.0`, `1.1` or `1.2`; blanks around it are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = trim(text);
        Version::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnknownVersion(excerpt(text)))
    }
}

/// A text that is not one of the versions 1.0, 1.1 and 1.2.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a STOMP version; 1.0, 1.1 and 1.2 are known")]
pub struct UnknownVersion(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_wins() {
        for (accept, version) in [
            (None, Some(Version::V1_0)),
            (Some("1.0,1.1,1.2"), Some(Version::V1_2)),
            (Some("1.2,1.0"), Some(Version::V1_2)),
            (Some("1.0, 1.1"), Some(Version::V1_1)),
            (Some(" 1.1 ,2.0"), Some(Version::V1_1)),
            (Some("2.0"), None),
            (Some(""), None),
            (Some("11"), None),
        ] {
            assert_eq!(Version::highest_of(accept), version, "{accept:?}");
        }
    }

    #[test]
    fn every_spelling_reads_back() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
            assert_eq!(
                Version::from_subprotocol(version.subprotocol()),
                Some(version)
            );
        }
        assert_eq!(Version::from_subprotocol("stomp"), None);
        assert!(
            "1.3"
                .parse::<Version>()
                .unwrap_err()
                .to_string()
                .contains("`1.3`")
        );
    }
}
