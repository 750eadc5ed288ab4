//! The origins whose pages may connect.

use std::net::SocketAddr;

use bytestring::ByteString;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use super::proxies::Proxies;
use super::stack::Front;
use crate::net::secured::Secured;

/// The origins that may connect besides the endpoint's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    any: bool,
    /// Allows `null`, the origin of sandboxed frames and of files.
    null: bool,
    allowed: Vec<Pattern>,
    pub(crate) errors: Vec<String>,
}

/// What is said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Permitted,
    /// Any page may ask, but not in its visitor's name.
    WithoutCredentials,
    ForeignOrigin,
    /// The page has the host that was asked for, by a name that nothing vouches for.
    UnknownName,
    ForeignHost,
}

impl Verdict {
    /// What the operator can do about a refusal.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Permitted | Self::WithoutCredentials => "",
            Self::ForeignOrigin => "if the page is yours, name its origin in `allowed_origins`",
            Self::UnknownName => {
                "a page without TLS has the name that it asks for, and any page can get that by DNS; if the name is yours, \
                 name it in `allowed_hosts`"
            }
            Self::ForeignHost => "if the host is yours, name it in `allowed_hosts`",
        }
    }
}

/// An allowed origin; `*` in its host stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    scheme: String,
    host: String,
    ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ports {
    Any,
    These(Vec<u16>),
}

/// A page's origin: scheme, host and port, in lower case, the port always explicit.
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
            } else if text == "null" {
                origins.null = true;
            } else if let Some(pattern) = Pattern::parse(text.trim_end_matches('/')) {
                origins.allowed.push(pattern);
            } else {
                let error = format!(
                    "allowed origin {text:?}: must look like `https://app.example`, `https://*.app.example` or \
                     `https://app.example:[8080,8443]`, or be `null` or `*`"
                );
                origins.errors.push(error);
            }
        }
        origins
    }

    /// Judges a request: it has no `Origin`, or one that is the endpoint's own by `Host`, or an allowed one.
    pub(crate) fn judge(&self, request: &Parts, front: &Front) -> Verdict {
        if front.hosts.is_set()
            && !requested_host(request, &front.proxies)
                .is_some_and(|host| front.hosts.contain(&host))
        {
            return Verdict::ForeignHost;
        }
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Verdict::Permitted;
        };
        // A browser sends one; with several, it is unclear which one to check.
        if origins.next().is_some() {
            return Verdict::ForeignOrigin;
        }
        match origin.to_str() {
            Ok("null") if self.null => Verdict::WithoutCredentials,
            Ok(origin) => self.judge_origin(Origin::parse(origin).as_ref(), request, front),
            Err(_) => self.judge_origin(None, request, front),
        }
    }

    /// Judges a request that browsers send without an `Origin`, with the visitor's cookies, for any page that embeds a
    /// script or a frame: the page must be allowed by `Referer`, or be one of ours by `Sec-Fetch-Site`.
    pub(crate) fn judge_embedded(&self, request: &Parts, front: &Front) -> Verdict {
        let verdict = self.judge(request, front);
        if verdict != Verdict::Permitted || request.headers.contains_key(header::ORIGIN) {
            return verdict;
        }
        let text = |name| request.headers.get(name).map(|value| value.to_str());
        match (text(header::REFERER.as_str()), text("sec-fetch-site")) {
            (Some(referer), _) => {
                let page = referer.ok().and_then(|referer| referer.parse().ok());
                let page = page.and_then(|page| Origin::of(&page));
                self.judge_origin(page.as_ref(), request, front)
            }
            // `none` means that the visitor typed the address.
            (None, Some(Ok("same-origin" | "none"))) => Verdict::Permitted,
            (None, _) => self.judge_origin(None, request, front),
        }
    }

    /// Judges the page that asks; `None` is a page whose origin is not known.
    fn judge_origin(&self, origin: Option<&Origin>, request: &Parts, front: &Front) -> Verdict {
        let own = match origin {
            Some(origin) if self.allowed.iter().any(|pattern| pattern.matches(origin)) => {
                return Verdict::Permitted;
            }
            Some(origin) if origin.is_same_host(request, &front.proxies) => {
                // A page got by TLS is from the host that it names. Without, its name may have been pointed here by a
                // stranger: DNS rebinding.
                match origin.scheme == "https" || front.hosts.contain(&origin.host) {
                    true => return Verdict::Permitted,
                    false => Verdict::UnknownName,
                }
            }
            _ => Verdict::ForeignOrigin,
        };
        match self.any {
            true => Verdict::WithoutCredentials,
            false => own,
        }
    }

    /// The pages that may connect, in the syntax of `Content-Security-Policy: frame-ancestors`; `None` for all.
    ///
    /// Patterns that this syntax cannot express, with a `*` within a name, are left out.
    pub(crate) fn frame_ancestors(&self) -> Option<String> {
        if self.any {
            return None;
        }
        let mut sources = "'self'".to_owned();
        for pattern in &self.allowed {
            let Pattern {
                scheme,
                host,
                ports,
            } = pattern;
            if host.strip_prefix("*.").unwrap_or(host).contains('*') {
                continue;
            }
            match ports {
                Ports::Any => sources += &format!(" {scheme}://{host}:*"),
                Ports::These(ports) => ports
                    .iter()
                    .for_each(|port| sources += &format!(" {scheme}://{host}:{port}")),
            }
        }
        Some(sources)
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (host, ports) = match rest.rfind(":[") {
            Some(at) => {
                let ports = rest[at..].strip_prefix(":[")?.strip_suffix(']')?;
                (&rest[..at], Ports::parse(ports)?)
            }
            None => {
                // With `*` replaced, the parser of addresses checks the rest.
                let plain: Authority = rest.replace('*', "x").parse().ok()?;
                let port = plain.port_u16().or_else(|| default_port(&scheme))?;
                let host = match plain.port() {
                    Some(port) => rest.strip_suffix(&format!(":{port}"))?,
                    None => rest,
                };
                (host, Ports::These(vec![port]))
            }
        };
        // Excludes a port that is no number, a user or a path.
        let plain: Authority = host.replace('*', "x").parse().ok()?;
        let is_host = plain.host().len() == plain.as_str().len() && !host.is_empty();
        (is_host && default_port(&scheme).is_some()).then(|| Self {
            scheme,
            host: host.to_ascii_lowercase(),
            ports,
        })
    }

    fn matches(&self, origin: &Origin) -> bool {
        let port = match &self.ports {
            Ports::Any => true,
            Ports::These(ports) => ports.contains(&origin.port),
        };
        port && self.scheme == origin.scheme && glob(self.host.as_bytes(), origin.host.as_bytes())
    }
}

impl Ports {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let ports = text.split(',').map(|port| port.trim().parse().ok());
        ports.collect::<Option<_>>().map(Self::These)
    }
}

/// Returns true if `host` matches `pattern`, in which `*` stands for one character or more.
///
/// Strangers choose the host, so this takes time of at most the product of the lengths: only the last `*` passed is
/// ever extended, since whatever a longer match of an earlier one would allow, that one allows too.
pub(super) fn glob(pattern: &[u8], host: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // The last `*`, and the first character that it stands for.
    let mut star = None;
    while seen < host.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                (at, seen) = (at + 1, seen + 1);
            }
            Some(byte) if *byte == host[seen] => (at, seen) = (at + 1, seen + 1),
            _ => {
                let Some((place, taken)) = &mut star else {
                    return false;
                };
                *taken += 1;
                (at, seen) = (*place + 1, *taken + 1);
            }
        }
    }
    at == pattern.len()
}

impl Origin {
    /// Parses the value of an `Origin` header: scheme, host and perhaps a port, and nothing else (RFC 6454 §7.1).
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let mut bare = format!("{}://{}", uri.scheme_str()?, uri.host()?);
        if let Some(port) = uri.port() {
            bare = format!("{bare}:{port}");
        }
        bare.eq_ignore_ascii_case(text)
            .then(|| Self::of(&uri))
            .flatten()
    }

    /// The origin of the page at this address.
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or_else(|| default_port(&scheme))?;
        Some(Self {
            host: uri.host()?.to_ascii_lowercase(),
            scheme,
            port,
        })
    }

    fn is_same_host(&self, request: &Parts, proxies: &Proxies) -> bool {
        let peer = request.extensions.get::<SocketAddr>().copied();
        let ours = request.extensions.get::<Secured>().map(|_| "https");
        if let Some(scheme) = proxies.scheme(&request.headers, peer).or(ours)
            && !self.scheme.eq_ignore_ascii_case(scheme)
        {
            return false;
        }
        if let Some(told) = proxies.host(&request.headers, peer) {
            let beside = told.authority.port().is_none() && told.port == Some(self.port);
            return self.is_at(&told.authority)
                || beside && self.host.eq_ignore_ascii_case(told.authority.host());
        }
        // HTTP/2 has no `Host`; its replacement is in the URI.
        match host(&request.headers) {
            Some(host) => self.is_at(&host),
            None => request.uri.authority().is_some_and(|host| self.is_at(host)),
        }
    }

    fn is_at(&self, authority: &Authority) -> bool {
        // A host without a port has the default port of the page's scheme.
        let port = authority.port_u16().or_else(|| default_port(&self.scheme));
        authority.host().eq_ignore_ascii_case(&self.host) && port == Some(self.port)
    }
}

/// The host that the client asked for, without its port.
fn requested_host(request: &Parts, proxies: &Proxies) -> Option<String> {
    let peer = request.extensions.get::<SocketAddr>().copied();
    let told = proxies.host(&request.headers, peer);
    let asked = told
        .map(|told| told.authority)
        .or_else(|| host(&request.headers));
    let asked = asked.or_else(|| request.uri.authority().cloned())?;
    Some(asked.host().to_owned())
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    headers.get(header::HOST)?.to_str().ok()?.parse().ok()
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
    use http::Request;

    use super::super::hosts::Hosts;

    use super::*;

    fn origins(texts: &[&'static str]) -> Origins {
        Origins::new(texts.iter().map(|text| ByteString::from_static(text)))
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let request = Request::get(uri);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.body(()).unwrap().into_parts().0
    }

    fn permit(origins: &Origins, origin: Option<&str>, host: &str) -> bool {
        let mut headers = vec![("host", host)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        permits(origins, &request("/ws", &headers), Proxies::default())
    }

    /// Whether a request passes, with credentials or without, where these names are the server's.
    fn permits(origins: &Origins, request: &Parts, proxies: Proxies) -> bool {
        let verdict = origins.judge(request, &front(&[], proxies));
        matches!(verdict, Verdict::Permitted | Verdict::WithoutCredentials)
    }

    fn front(names: &[&'static str], proxies: Proxies) -> Front {
        let names = names.iter().map(|name| ByteString::from_static(name));
        Front {
            hosts: Hosts::new(names),
            proxies,
            ..Front::default()
        }
    }

    #[test]
    fn by_default_only_the_same_host_and_port() {
        let origins = Origins::default();
        for (origin, host, permitted) in [
            (None, "app.example", true),
            (Some("http://app.example"), "app.example", false),
            (Some("https://app.example"), "app.example", true),
            (Some("https://APP.example"), "app.EXAMPLE", true),
            (Some("https://app.example"), "app.example:443", true),
            (Some("http://app.example:8080"), "app.example:8080", false),
            (Some("http://localhost:8080"), "localhost:8080", true),
            (Some("http://192.168.0.7"), "192.168.0.7", true),
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
            (Some("http://x@app.example"), "app.example", false),
            (Some("http://x:y@app.example:80"), "app.example", false),
            (Some("http://app.example/"), "app.example", false),
            (Some("http://app.example/page"), "app.example", false),
            (Some("http://app.example?x"), "app.example", false),
            (Some("http://app.example#x"), "app.example", false),
            (Some("http://app.example:"), "app.example", false),
            (Some("http://app.example,"), "app.example", false),
            (Some("app.example"), "app.example", false),
            (Some("//app.example"), "app.example", false),
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
        let permit = |uri| {
            let request = request(uri, &[("origin", "https://app.example")]);
            permits(&Origins::default(), &request, Proxies::default())
        };
        assert!(permit("https://app.example/ws/info"));
        assert!(!permit("https://other.example/ws/info"));
        assert!(!permit("/ws/info"));
    }

    #[test]
    fn allowed_origins_are_exact() {
        let origins = origins(&["https://app.example/", "http://other.example:3000"]);
        assert!(origins.errors.is_empty());
        for (origin, permitted) in [
            ("https://app.example", true),
            ("https://APP.example:443", true),
            ("http://app.example", false), // the scheme counts here
            ("https://a.app.example", false),
            ("https://app.example:8443", false),
            ("http://other.example:3000", true),
            ("http://other.example", false),
            ("https://app.example/", false),
            ("https://x@app.example", false),
            ("null", false),
        ] {
            assert_eq!(
                permit(&origins, Some(origin), "api.example"),
                permitted,
                "{origin}"
            );
        }
    }

    #[test]
    fn patterns_stand_for_hosts_and_ports() {
        let origins = origins(&[
            "https://*.example.com",
            "https://*.example.org:[8080,8443]",
            "http://localhost:[*]",
            "https://app-*.example.net",
            "http://[::1]:[1,2]",
        ]);
        assert!(origins.errors.is_empty(), "{:?}", origins.errors);
        for (origin, permitted) in [
            ("https://a.example.com", true),
            ("https://a.b.EXAMPLE.com", true),
            ("https://example.com", false),
            ("https://.example.com", false),
            ("https://example.com.evil.example", false),
            ("https://evil-example.com", false),
            ("https://a.example.com:8443", false),
            ("http://a.example.com", false),
            ("https://a.example.org:8080", true),
            ("https://a.example.org:8443", true),
            ("https://a.example.org", false),
            ("http://localhost", true),
            ("http://localhost:3000", true),
            ("http://localhost.evil.example:3000", false),
            ("https://app-7.example.net", true),
            ("https://app-.example.net", false),
            ("https://app-7.evil.example/.example.net", false),
            ("https://evil.example#.example.com", false),
            ("https://evil.example?.example.com", false),
            ("https://evil.example\\.example.com", false),
            ("https://x@y.example.com", false),
            ("https://a.example.com.", false),
            ("https://a.example.org:80808", false),
            ("https://a.example.org:8080:8443", false),
            ("http://localhost:[*]", false),
            ("http://[::1]:2", true),
            ("http://[::1]:3", false),
        ] {
            assert_eq!(
                permit(&origins, Some(origin), "api.test"),
                permitted,
                "{origin}"
            );
        }
        let ancestors = "'self' https://*.example.com:443 https://*.example.org:8080 \
            https://*.example.org:8443 http://localhost:* http://[::1]:1 http://[::1]:2";
        assert_eq!(origins.frame_ancestors().as_deref(), Some(ancestors));
    }

    /// An origin may have 64 KiB; trying every split would take years.
    #[test]
    fn a_long_host_is_looked_at_once() {
        let origins = origins(&["https://*.a*.a*.a*.example.com"]);
        assert!(origins.errors.is_empty());
        let long = "a.".repeat(30_000);
        for (origin, permitted) in [
            (format!("https://{long}x.example.org"), false),
            (format!("https://{long}ax.ax.ax.example.com"), true),
            (format!("https://{long}x.example.com"), true),
            ("https://x.ax.ax.example.com".to_owned(), false),
            ("https://x.ax.ax.ax.example.com".to_owned(), true),
        ] {
            let start: String = origin.chars().take(40).collect();
            assert_eq!(
                permit(&origins, Some(&origin), "api.test"),
                permitted,
                "{start}"
            );
        }
    }

    /// A direct implementation of the definition.
    fn slow_glob(pattern: &[u8], host: &[u8]) -> bool {
        match pattern.split_first() {
            None => host.is_empty(),
            Some((b'*', rest)) => (1..=host.len()).any(|taken| slow_glob(rest, &host[taken..])),
            Some((byte, rest)) => host.first() == Some(byte) && slow_glob(rest, &host[1..]),
        }
    }

    #[test]
    fn stars_are_shared_out_in_every_way_that_there_is() {
        let mut fits = 0;
        let texts = |letters: [u8; 3], len: u32| {
            (0..3usize.pow(len)).map(move |number| {
                let digit = |at: u32| letters[number / 3usize.pow(at) % 3];
                (0..len).map(digit).collect::<Vec<_>>()
            })
        };
        for pattern in (0..=5).flat_map(|len| texts(*b"*ab", len)) {
            for host in (0..=5).flat_map(|len| texts(*b"abc", len)) {
                let expected = slow_glob(&pattern, &host);
                assert_eq!(glob(&pattern, &host), expected, "{pattern:?} {host:?}");
                fits += usize::from(expected);
            }
        }
        assert!(fits > 1000, "{fits}");
    }

    /// A page of `http://evil.example` whose name was pointed here asks for the host that it has.
    #[test]
    fn a_name_that_was_pointed_here_is_not_ours() {
        let judge = |names: &[&'static str], origin: Option<&str>, host: &str| {
            let mut headers = vec![("host", host)];
            headers.extend(origin.map(|origin| ("origin", origin)));
            let request = request("/ws", &headers);
            Origins::default().judge(&request, &front(names, Proxies::default()))
        };
        let evil = Some("http://evil.example:8080");
        let at_evil = "evil.example:8080";
        assert_eq!(judge(&[], evil, at_evil), Verdict::UnknownName);
        assert_eq!(judge(&["intranet"], evil, at_evil), Verdict::ForeignHost);
        assert_eq!(judge(&["intranet"], None, at_evil), Verdict::ForeignHost);
        let named = |host| judge(&["intranet"], Some("http://intranet"), host);
        assert_eq!(named("intranet"), Verdict::Permitted);
        assert_eq!(named("intranet:8080"), Verdict::ForeignOrigin);
        assert_eq!(
            judge(&["intranet"], None, "127.0.0.1:80"),
            Verdict::Permitted
        );
        assert_eq!(judge(&["*"], evil, at_evil), Verdict::Permitted);
    }

    /// A page without TLS is not the same origin as one with it, where the proxy tells which was asked.
    #[test]
    fn schemes_are_compared_where_they_are_known() {
        let proxies = Proxies::new([ByteString::from_static("*")].into_iter());
        let judge = |origin: &str, proto: &str| {
            let headers = [
                ("host", "app.example"),
                ("origin", origin),
                ("x-forwarded-proto", proto),
            ];
            Origins::default().judge(
                &request("/ws", &headers),
                &front(&["app.example"], proxies.clone()),
            )
        };
        assert_eq!(judge("https://app.example", "https"), Verdict::Permitted);
        assert_eq!(judge("http://app.example", "http"), Verdict::Permitted);
        assert_eq!(judge("http://app.example", "https"), Verdict::ForeignOrigin);
        assert_eq!(judge("https://app.example", "http"), Verdict::ForeignOrigin);
    }

    #[test]
    fn what_any_page_may_ask_has_no_credentials() {
        let judge = |texts, headers: &[(&str, &str)]| {
            origins(texts).judge(&request("/ws", headers), &Front::default())
        };
        let (null, any): (&[&'static str], &[&'static str]) =
            (&["null"], &["*", "https://app.example"]);
        let from = |origin| [("host", "api.example"), ("origin", origin)];
        assert_eq!(judge(null, &from("null")), Verdict::WithoutCredentials);
        assert_eq!(judge(any, &from("null")), Verdict::WithoutCredentials);
        assert_eq!(
            judge(any, &from("https://evil.example")),
            Verdict::WithoutCredentials
        );
        assert_eq!(judge(any, &from("https://app.example")), Verdict::Permitted);
        assert_eq!(judge(any, &from("https://api.example")), Verdict::Permitted);
        let embedded = |headers: &[(&str, &str)]| {
            origins(any).judge_embedded(&request("/ws/0/a/jsonp", headers), &Front::default())
        };
        assert_eq!(embedded(&[]), Verdict::WithoutCredentials);
        assert_eq!(
            embedded(&[("referer", "https://evil.example/x")]),
            Verdict::WithoutCredentials
        );
        assert_eq!(
            embedded(&[("referer", "https://app.example/x")]),
            Verdict::Permitted
        );
        assert_eq!(
            embedded(&[("sec-fetch-site", "same-origin")]),
            Verdict::Permitted
        );
    }

    #[test]
    fn null_and_everybody_must_be_said() {
        assert!(permit(&origins(&["null"]), Some("null"), "api.example"));
        assert!(!permit(
            &origins(&["null"]),
            Some("https://a.example"),
            "api.example"
        ));
        let everybody = origins(&["*"]);
        for origin in ["null", "https://a.example", "test"] {
            assert!(permit(&everybody, Some(origin), "api.example"));
        }
        assert_eq!(everybody.frame_ancestors(), None);
        assert_eq!(
            Origins::default().frame_ancestors().as_deref(),
            Some("'self'")
        );
    }

    #[test]
    fn an_invalid_origin_is_an_error() {
        let wrong = [
            "",
            "app.example",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://user@a",
            "https://a:http",
            "https://a:[x]",
            "https://a:[]",
            "https://a:[80",
            "https://a:[80]/x",
            "ftp://a",
            "*://a",
            "https://a b",
        ];
        let errors = origins(&wrong).errors;
        assert_eq!(errors.len(), wrong.len(), "{errors:#?}");
    }

    #[test]
    fn behind_a_proxy_the_host_is_what_a_trusted_one_says() {
        let proxies = Proxies::new(["10.0.0.0/8".into()].into_iter());
        let permit = |origin, headers: &[(&str, &str)], peer: &str| {
            let mut headers = headers.to_vec();
            headers.push(("origin", origin));
            let mut request = request("/ws", &headers);
            let peer: SocketAddr = peer.parse().unwrap();
            request.extensions.insert(peer);
            permits(&Origins::default(), &request, proxies.clone())
        };
        let app = "https://app.example";
        let rewritten = [("host", "inner:8080"), ("x-forwarded-host", "app.example")];
        assert!(permit(app, &rewritten, "10.0.0.1:9"));
        assert!(!permit("https://evil.example", &rewritten, "10.0.0.1:9"));
        assert!(!permit("http://inner:8080", &rewritten, "10.0.0.1:9"));
        assert!(!permit(app, &rewritten, "11.0.0.1:9"), "not a trusted one");
        // TLS that a proxy terminated needs no trust, as long as the host is passed on.
        assert!(permit(app, &[("host", "app.example")], "11.0.0.1:9"));
        let port_beside = [
            ("host", "inner"),
            ("x-forwarded-host", "app.example"),
            ("x-forwarded-port", "8443"),
        ];
        assert!(permit(
            "https://app.example:8443",
            &port_beside,
            "10.0.0.1:9"
        ));
        assert!(
            permit(app, &port_beside, "10.0.0.1:9"),
            "an inner port is no reason"
        );
        assert!(!permit("https://app.example:9", &port_beside, "10.0.0.1:9"));
    }

    #[test]
    fn what_is_embedded_must_be_known_otherwise() {
        let listed = origins(&["https://app.example"]);
        let permit = |origins: &Origins, headers: &[(&str, &str)]| {
            let headers = [headers, &[("host", "api.example")]].concat();
            let request = request("/ws/0/a/jsonp", &headers);
            let verdict = origins.judge_embedded(&request, &Front::default());
            matches!(verdict, Verdict::Permitted | Verdict::WithoutCredentials)
        };
        for (headers, permitted) in [
            (&[][..], false),
            (&[("origin", "https://app.example")], true),
            (&[("origin", "https://evil.example")], false),
            (&[("referer", "https://app.example/a/page?x=1")], true),
            (&[("referer", "https://api.example/a/page")], true),
            (
                &[("referer", "https://evil.example/https://app.example")],
                false,
            ),
            (&[("referer", "nonsense")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (
                &[
                    ("referer", "https://app.example/"),
                    ("sec-fetch-site", "cross-site"),
                ],
                true,
            ),
            (
                &[
                    ("referer", "https://evil.example/"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
        ] {
            assert_eq!(permit(&listed, headers), permitted, "{headers:?}");
            assert!(permit(&origins(&["*"]), headers), "{headers:?}");
        }
    }
}
