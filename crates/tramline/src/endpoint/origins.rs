//! Which pages may connect.

use bytestring::ByteString;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// The origins that may connect besides the endpoint's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    any: bool,
    allowed: Vec<Origin>,
    pub(crate) mistakes: Vec<String>,
}

/// Scheme, host and port, in lower case, the port always said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origins {
    pub(crate) fn new(texts: impl Iterator<Item = ByteString>) -> Self {
        let mut origins = Self::default();
        for text in texts {
            if text == "*" {
                origins.any = true;
            } else if let Some(origin) = Origin::parse(text.trim_end_matches('/')) {
                origins.allowed.push(origin);
            } else {
                let mistake = format!(
                    "allowed origin {text:?}: must look like `https://app.example` or be `*`"
                );
                origins.mistakes.push(mistake);
            }
        }
        origins
    }

    /// Whether a request with these headers may go on: it has no `Origin`, or the one it has is the endpoint's own by
    /// `Host`, or an allowed one.
    ///
    /// Host and port are compared, not the scheme: a proxy in front of us may have ended TLS.
    pub(crate) fn permit(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return true;
        };
        // A browser sends one; of several, one could be meant for us and another for somebody else.
        if origins.next().is_some() {
            return false;
        }
        if self.any {
            return true;
        }
        let Some(origin) = origin.to_str().ok().and_then(Origin::parse) else {
            return false;
        };
        self.allowed.contains(&origin) || origin.is_same_host(headers, uri)
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return None;
        }
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or_else(|| default_port(&scheme))?;
        Some(Self {
            host: uri.host()?.to_ascii_lowercase(),
            scheme,
            port,
        })
    }

    fn is_same_host(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        // HTTP/2 has no `Host`; what stands for it is in the URI.
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let host = host.and_then(|host| host.parse::<Authority>().ok());
        let Some(authority) = host.as_ref().or(uri.authority()) else {
            return false;
        };
        // Where `Host` has no port, it is the default of the scheme that the page has.
        let port = authority.port_u16().or_else(|| default_port(&self.scheme));
        authority.host().eq_ignore_ascii_case(&self.host) && port == Some(self.port)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permit(origins: &Origins, origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        origins.permit(&headers, &Uri::from_static("/ws"))
    }

    #[test]
    fn by_default_only_the_same_host_and_port() {
        let origins = Origins::default();
        for (origin, host, permitted) in [
            (None, "app.example", true),
            (Some("http://app.example"), "app.example", true),
            (Some("https://app.example"), "app.example", true),
            (Some("https://APP.example"), "app.EXAMPLE", true),
            (Some("https://app.example"), "app.example:443", true),
            (Some("http://app.example:8080"), "app.example:8080", true),
            (Some("http://[::1]:8080"), "[::1]:8080", true),
            (Some("https://app.example"), "app.example:8443", false),
            (Some("http://app.example:8080"), "app.example", false),
            (Some("http://evil.example"), "app.example", false),
            (
                Some("http://app.example.evil.example"),
                "app.example",
                false,
            ),
            (
                Some("http://app.example@evil.example"),
                "app.example",
                false,
            ),
            (Some("null"), "app.example", false),
            (Some(""), "app.example", false),
        ] {
            assert_eq!(
                permit(&origins, origin, host),
                permitted,
                "{origin:?} at {host}"
            );
        }
    }

    #[test]
    fn without_a_host_header_the_uri_has_the_host() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, "https://app.example".parse().unwrap());
        let permit = |uri| Origins::default().permit(&headers, &Uri::from_static(uri));
        assert!(permit("https://app.example/ws/info"));
        assert!(!permit("https://other.example/ws/info"));
        assert!(!permit("/ws/info"));
    }

    #[test]
    fn allowed_origins_are_exact() {
        let origins = Origins::new(
            ["https://app.example/", "http://other.example:3000"]
                .map(Into::into)
                .into_iter(),
        );
        assert!(permit(&origins, Some("https://app.example"), "api.example"));
        assert!(permit(
            &origins,
            Some("http://other.example:3000"),
            "api.example"
        ));
        assert!(
            !permit(&origins, Some("http://app.example"), "api.example"),
            "the scheme counts here"
        );
        assert!(!permit(
            &origins,
            Some("http://other.example"),
            "api.example"
        ));
        assert!(permit(
            &Origins::new(["*".into()].into_iter()),
            Some("null"),
            "api.example"
        ));
        assert_eq!(
            Origins::new(["app.example".into(), "https://a/b".into()].into_iter())
                .mistakes
                .len(),
            2
        );
    }
}
