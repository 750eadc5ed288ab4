//! The page for browsers that cannot send requests across origins.

/// The page at `/iframe*.html`: it loads the client library into a frame of the server's own origin, where it may send
/// any request to the server, and acts for the embedding page.
///
/// `sockjs-client` uses it for its `iframe-…` transports. A site that may embed this page can send requests with the
/// server's own origin as its visitors: a server that restricts origins must send `Content-Security-Policy:
/// frame-ancestors` or `X-Frame-Options`.
///
/// The same page is served under every version and query that clients make up, and cached for a year: send
/// [`CACHE_FOR_A_YEAR`](crate::headers::CACHE_FOR_A_YEAR), an `Expires` one year ahead and [`etag`](Self::etag), no
/// cookie and no `Last-Modified`.
///
/// Source: sockjs-protocol, "IFrame page".
///
/// # Example: a repeated request
///
/// ```
/// use tramline_sockjs::IframePage;
///
/// let page = IframePage::new("/lib/sockjs.min.js");
/// assert!(page.html().contains(r#"<script src="/lib/sockjs.min.js"></script>"#));
/// assert!(page.is_cached(page.etag()));
/// assert!(!page.is_cached("\"other\""));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IframePage {
    html: String,
    etag: String,
}

impl IframePage {
    /// Creates the page that loads the client library from `library_url`, an absolute URL or a path that begins with a
    /// slash. It must be the library version of the embedding page, or a compatible one.
    #[must_use]
    pub fn new(library_url: &str) -> Self {
        let url = library_url
            .replace('&', "&amp;")
            .replace('"', "&quot;")
            .replace('<', "&lt;");
        let html = format!(
            r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="{url}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"#
        );
        let etag = format!("\"{:016x}\"", fnv1a(html.as_bytes()));
        Self { html, etag }
    }

    /// The body.
    #[must_use]
    pub fn html(&self) -> &str {
        &self.html
    }

    /// The value of `ETag`, which changes with the page.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Returns true if a request with this `If-None-Match` has the page already: answer 304, without body and content
    /// type.
    #[must_use]
    pub fn is_cached(&self, if_none_match: &str) -> bool {
        let mut tags = if_none_match.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }
}

/// Distinguishes pages of different libraries; a collision gains an attacker nothing.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_stays_inside_its_attribute() {
        let page = IframePage::new("/x?a=1&b=\"><script>");
        let attribute = r#"src="/x?a=1&amp;b=&quot;>&lt;script>""#;
        assert!(page.html().contains(attribute), "{}", page.html());
    }

    #[test]
    fn another_library_is_another_page() {
        let (one, two) = (IframePage::new("/1.js"), IframePage::new("/2.js"));
        assert_ne!(one.etag(), two.etag());
        assert_eq!(one.etag(), IframePage::new("/1.js").etag());
        assert_eq!(one.etag().len(), 18);
    }

    #[test]
    fn if_none_match_may_be_a_list_weak_or_a_star() {
        let page = IframePage::new("/1.js");
        let etag = page.etag();
        for cached in [
            etag.to_owned(),
            format!("\"x\", {etag}"),
            format!("W/{etag}"),
            "*".into(),
        ] {
            assert!(page.is_cached(&cached), "{cached}");
        }
        for stale in ["", "\"x\"", etag.trim_matches('"'), "W/\"x\""] {
            assert!(!page.is_cached(stale), "{stale}");
        }
    }
}
