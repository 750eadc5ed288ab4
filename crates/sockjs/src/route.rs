//! The URL scheme: routing of paths.

use crate::transport::Transport;

/// The route of a path below an endpoint's prefix; created by [`route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route<'a> {
    /// The prefix itself, with or without a slash: answer 200 with [`GREETING`](crate::GREETING).
    Greeting,
    /// `/info`: answer with [`Info::to_json`](crate::Info::to_json), never cached.
    Info,
    /// `/websocket`: a WebSocket without any SockJS framing, for clients that are not browsers.
    RawWebSocket,
    /// `/iframe.html`, `/iframe-1.6.1.html` and similar, all the same: answer with the
    /// [`IframePage`](crate::IframePage).
    Iframe,
    /// `/{server}/{session}/{transport}`.
    Transport {
        /// A hint for load balancers. It has no meaning here and identifies nothing: the same session may be requested
        /// under another server id.
        server: &'a str,
        /// The session's id, chosen by the client, as written in the path (percent escapes are not decoded: a client
        /// writes its own id the same way every time). It is a secret between client and server: keep it from other
        /// clients.
        session: &'a str,
        /// The transport.
        transport: Transport,
    },
    /// Not a SockJS path: answer 404.
    NotFound,
}

/// Maximum length in bytes of the server and session ids that [`route`] accepts: 256.
///
/// A session id is a key that a stranger chooses and the endpoint stores. `sockjs-client` makes 8 characters, Spring's
/// client 32, a UUID takes 36; 256 leaves room for any sane scheme and keeps ids of many kilobytes out of a table of
/// sessions. Longer ids are [`Route::NotFound`].
pub const MAX_ID_LEN: usize = 256;

/// Routes `path_below_prefix`.
///
/// Pass the rest of the request path after the endpoint's prefix, without the query. Nothing is normalised, as the
/// protocol requires: a doubled or a trailing slash is [`Route::NotFound`], and only `""` and `"/"` are the greeting.
///
/// A transport path has exactly three segments. Server and session id may be anything that is not empty, has no `.` (as
/// in `iframe-1.2.html`) and is no longer than [`MAX_ID_LEN`].
///
/// Source: sockjs-protocol 0.3.3, "Base URL" and "Session URLs".
///
/// # Example: the paths of one session
///
/// ```
/// use tramline_sockjs::{Route, Transport, route};
///
/// assert_eq!(route(""), Route::Greeting);
/// assert_eq!(route("/info"), Route::Info);
/// assert_eq!(
///     route("/042/k3j9x0aq/xhr_streaming"),
///     Route::Transport { server: "042", session: "k3j9x0aq", transport: Transport::XhrStreaming },
/// );
/// ```
///
/// # Example: nothing is normalised
///
/// ```
/// use tramline_sockjs::{Route, route};
///
/// assert_eq!(route("//"), Route::NotFound);
/// assert_eq!(route("/info/"), Route::NotFound);
/// assert_eq!(route("/042//xhr"), Route::NotFound);
/// ```
#[must_use]
pub fn route(path_below_prefix: &str) -> Route<'_> {
    let path = match path_below_prefix {
        "" | "/" => return Route::Greeting,
        "/info" => return Route::Info,
        "/websocket" => return Route::RawWebSocket,
        path if is_iframe(path) => return Route::Iframe,
        path => path,
    };
    session_route(path).unwrap_or(Route::NotFound)
}

fn session_route(path: &str) -> Option<Route<'_>> {
    let mut segments = path.strip_prefix('/')?.split('/');
    let server = segments.next().filter(|id| is_id(id))?;
    let session = segments.next().filter(|id| is_id(id))?;
    let transport = Transport::from_name(segments.next()?)?;
    if segments.next().is_some() {
        return None;
    }
    Some(Route::Transport {
        server,
        session,
        transport,
    })
}

/// Clients put their version into the name, so that a cache keeps a page for each.
fn is_iframe(path: &str) -> bool {
    path.strip_prefix("/iframe")
        .and_then(|rest| rest.strip_suffix(".html"))
        .is_some_and(|version| {
            version
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        })
}

fn is_id(segment: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&segment.len()) && !segment.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_info_and_raw_websocket_have_one_spelling() {
        for path in ["", "/"] {
            assert_eq!(route(path), Route::Greeting, "{path}");
        }
        assert_eq!(route("/info"), Route::Info);
        assert_eq!(route("/websocket"), Route::RawWebSocket);
    }

    // sockjs-protocol 0.3.3, BaseUrlGreeting.test_notFound
    #[test]
    fn other_simple_paths_are_not_found() {
        for path in [
            "/a",
            "/a.html",
            "//",
            "///",
            "/a/a",
            "/a/a/",
            "/a/",
            "/info/",
            "/websocket/",
            "info",
            "/INFO",
        ] {
            assert_eq!(route(path), Route::NotFound, "{path}");
        }
    }

    // sockjs-protocol 0.3.3, SessionURLs.test_anyValue
    #[test]
    fn any_value_is_a_server_and_a_session() {
        let ids = [
            ("a", "a"),
            ("_", "_"),
            ("1", "1"),
            ("abcdefgh_i-j%20", "abcdefg_i-j%20"),
            ("ü", ";"),
        ];
        for (server, session) in ids {
            let path = format!("/{server}/{session}/xhr");
            assert_eq!(
                route(&path),
                Route::Transport {
                    server,
                    session,
                    transport: Transport::Xhr
                },
                "{path}"
            );
        }
    }

    // sockjs-protocol 0.3.3, SessionURLs.test_invalidPaths
    #[test]
    fn dots_empty_ids_and_other_lengths_are_not_found() {
        for middle in [
            "//", "/a./a", "/a/a.", "/./.", "/", "///", "/a", "/a/a/a", "", "/a/", "//a",
        ] {
            let path = format!("{middle}/xhr");
            assert_eq!(route(&path), Route::NotFound, "{path}");
        }
        assert_eq!(route("/a/a/xhr/"), Route::NotFound);
        assert_eq!(route("/a/a/xhr;x=1"), Route::NotFound);
    }

    #[test]
    fn every_transport_is_found_by_its_name() {
        for transport in Transport::ALL {
            let path = format!("/0/s/{}", transport.name());
            assert_eq!(
                route(&path),
                Route::Transport {
                    server: "0",
                    session: "s",
                    transport
                }
            );
        }
        for name in ["polling", "XHR", ""] {
            assert_eq!(route(&format!("/0/s/{name}")), Route::NotFound, "{name}");
        }
    }

    // sockjs-protocol, IframePage.test_simpleUrl, test_versionedUrl and test_invalidUrl
    #[test]
    fn the_iframe_page_has_any_version_in_lower_case_and_no_folder() {
        for path in [
            "/iframe.html",
            "/iframe-a.html",
            "/iframe-.html",
            "/iframe-0.1.2.html",
            "/iframe-0.1.2abc-dirty.2144.html",
        ] {
            assert_eq!(route(path), Route::Iframe, "{path}");
        }
        for path in [
            "/iframe.htm",
            "/iframe",
            "/IFRAME.HTML",
            "/IFRAME",
            "/iframe.HTML",
            "/iframe.xml",
            "/iframe-/.html",
            "/iframe%2d.html",
            "/iframe.html/",
            "/a/iframe.html",
        ] {
            assert_eq!(route(path), Route::NotFound, "{path}");
        }
    }

    #[test]
    fn ids_are_bounded() {
        let longest = "x".repeat(MAX_ID_LEN);
        assert_ne!(route(&format!("/{longest}/{longest}/xhr")), Route::NotFound);
        assert_eq!(route(&format!("/0/{longest}x/xhr")), Route::NotFound);
        assert_eq!(route(&format!("/{longest}x/0/xhr")), Route::NotFound);
    }
}
