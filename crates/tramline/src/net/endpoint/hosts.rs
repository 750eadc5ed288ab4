//! The host names that the server's own pages may have.

use std::net::IpAddr;

use bytestring::ByteString;

use super::origins::glob;

/// The names under which the server is reached, besides addresses and `localhost`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    any: bool,
    names: Vec<String>,
    pub(crate) errors: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(texts: impl Iterator<Item = ByteString>) -> Self {
        let mut hosts = Self::default();
        for text in texts {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
            if text == "*" {
                hosts.any = true;
            } else if !text.is_empty() && text.chars().all(is_name) {
                hosts.names.push(text.to_ascii_lowercase());
            } else {
                hosts.errors.push(format!(
                    "allowed host {text:?}: must be a name without scheme and port, such as `app.example` or \
                     `*.app.example`, or be `*`"
                ));
            }
        }
        hosts
    }

    /// Returns true if only requests for these hosts may proceed.
    pub(super) fn is_set(&self) -> bool {
        self.any || !self.names.is_empty()
    }

    /// Returns true if `host` is one of the names, or one that no page of a stranger can have: an address, `localhost`.
    pub(super) fn contain(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        self.any
            || bare.unwrap_or(&host).parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self
                .names
                .iter()
                .any(|name| glob(name.as_bytes(), host.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(texts: &[&'static str]) -> Hosts {
        Hosts::new(texts.iter().map(|text| ByteString::from_static(text)))
    }

    #[test]
    fn names_are_exact_or_have_stars() {
        let hosts = hosts(&["App.example", "*.app.example"]);
        assert!(hosts.errors.is_empty() && hosts.is_set());
        for (host, contained) in [
            ("app.example", true),
            ("APP.example", true),
            ("a.b.app.example", true),
            ("example", false),
            ("app.example.evil.example", false),
            ("localhost", true),
            ("api.localhost", true),
            ("localhost.evil.example", false),
            ("127.0.0.1", true),
            ("192.168.0.7", true),
            ("[::1]", true),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(hosts.contain(host), contained, "{host}");
        }
        assert!(super::tests::hosts(&["*"]).contain("any.example"));
    }

    #[test]
    fn an_invalid_name_is_an_error() {
        for text in ["", "https://app.example", "app.example:8080", "a b", "/app"] {
            let hosts = Hosts::new([ByteString::from_static(text)].into_iter());
            assert_eq!(hosts.errors.len(), 1, "{text}");
            assert!(hosts.errors[0].contains("without scheme and port"));
        }
    }
}
