//! Where a browser goes after a login: never to another site.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a query's value.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Longer ones are the home page: nobody has bookmarked them.
const LONGEST: usize = 2048;

/// `text` if it is a path of this server, with or without a query.
///
/// Browsers take `//evil.example` and `/\evil.example` for other sites, and drop tabs and line ends before they look.
pub(crate) fn local(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('/')?;
    let is_local = !rest.starts_with('/')
        && text.len() <= LONGEST
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    is_local.then_some(text)
}

/// The value of `next=` for a path and query.
pub(crate) fn quoted(target: &str) -> String {
    utf8_percent_encode(target, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_followed() {
        for own in ["/", "/chat/", "/chat/?room=1&x=%2f%2fy", "/a//b", "/@evil"] {
            assert_eq!(local(own), Some(own));
        }
        for foreign in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            "/chat\r\nset-cookie: a=b",
            "/chat evil",
            "/ü",
            "evil",
        ] {
            assert_eq!(local(foreign), None, "{foreign:?}");
        }
        assert_eq!(local(&format!("/{}", "x".repeat(LONGEST))), None);
    }

    #[test]
    fn a_path_with_a_query_is_one_value() {
        assert_eq!(
            quoted("/chat/?room=a&b=c#d"),
            "/chat/%3Froom%3Da%26b%3Dc%23d"
        );
    }
}
