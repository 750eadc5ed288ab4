//! The pages and their files, served from memory.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use tramline_login::LoginForm;

use crate::libraries::{self, CDN, LIBRARIES};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";
const STYLE: &str = "text/css; charset=utf-8";

/// A demo's page lives with the demo; what all pages share lives here.
static FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("../page/index.html")),
    ("/style.css", STYLE, include_str!("../page/style.css")),
    ("/panel.js", SCRIPT, include_str!("../page/panel.js")),
    (
        "/connection.js",
        SCRIPT,
        include_str!("../page/connection.js"),
    ),
    (
        "/unconfirmed.js",
        SCRIPT,
        include_str!("../page/unconfirmed.js"),
    ),
    (
        "/tramline.js",
        SCRIPT,
        include_str!("../../../packages/tramline-js/tramline.js"),
    ),
    ("/login.js", SCRIPT, include_str!("../page/login.js")),
    ("/index.js", SCRIPT, include_str!("../page/index.js")),
    ("/icon.svg", PICTURE, include_str!("../page/icon.svg")),
    (
        "/pictures/chat.svg",
        PICTURE,
        include_str!("../page/pictures/chat.svg"),
    ),
    (
        "/pictures/greeting.svg",
        PICTURE,
        include_str!("../page/pictures/greeting.svg"),
    ),
    (
        "/pictures/greeting-json.svg",
        PICTURE,
        include_str!("../page/pictures/greeting-json.svg"),
    ),
    (
        "/pictures/notifications.svg",
        PICTURE,
        include_str!("../page/pictures/notifications.svg"),
    ),
    (
        "/pictures/portfolio.svg",
        PICTURE,
        include_str!("../page/pictures/portfolio.svg"),
    ),
    (
        "/pictures/transports.svg",
        PICTURE,
        include_str!("../page/pictures/transports.svg"),
    ),
    (
        "/greeting/",
        HTML,
        include_str!("../../greeting/page/index.html"),
    ),
    (
        "/greeting/app.js",
        SCRIPT,
        include_str!("../../greeting/page/app.js"),
    ),
    (
        "/greeting-json/",
        HTML,
        include_str!("../../greeting/page-json/index.html"),
    ),
    (
        "/greeting-json/app.js",
        SCRIPT,
        include_str!("../../greeting/page-json/app.js"),
    ),
    ("/chat/", HTML, include_str!("../../chat/page/index.html")),
    (
        "/chat/style.css",
        STYLE,
        include_str!("../../chat/page/style.css"),
    ),
    (
        "/chat/app.js",
        SCRIPT,
        include_str!("../../chat/page/app.js"),
    ),
    (
        "/chat/log.js",
        SCRIPT,
        include_str!("../../chat/page/log.js"),
    ),
    (
        "/chat/outbox.js",
        SCRIPT,
        include_str!("../../chat/page/outbox.js"),
    ),
    (
        "/chat/people.js",
        SCRIPT,
        include_str!("../../chat/page/people.js"),
    ),
    (
        "/chat/rooms.js",
        SCRIPT,
        include_str!("../../chat/page/rooms.js"),
    ),
    (
        "/chat/store.js",
        SCRIPT,
        include_str!("../../chat/page/store.js"),
    ),
    (
        "/pictures/whiteboard.svg",
        PICTURE,
        include_str!("../page/pictures/whiteboard.svg"),
    ),
    (
        "/whiteboard/",
        HTML,
        include_str!("../../whiteboard/page/index.html"),
    ),
    (
        "/whiteboard/style.css",
        STYLE,
        include_str!("../../whiteboard/page/style.css"),
    ),
    (
        "/whiteboard/app.js",
        SCRIPT,
        include_str!("../../whiteboard/page/app.js"),
    ),
    (
        "/whiteboard/board.js",
        SCRIPT,
        include_str!("../../whiteboard/page/board.js"),
    ),
    (
        "/whiteboard/pen.js",
        SCRIPT,
        include_str!("../../whiteboard/page/pen.js"),
    ),
    (
        "/whiteboard/cursors.js",
        SCRIPT,
        include_str!("../../whiteboard/page/cursors.js"),
    ),
    (
        "/portfolio/",
        HTML,
        include_str!("../../portfolio/page/index.html"),
    ),
    (
        "/portfolio/style.css",
        STYLE,
        include_str!("../../portfolio/page/style.css"),
    ),
    (
        "/portfolio/app.js",
        SCRIPT,
        include_str!("../../portfolio/page/app.js"),
    ),
    (
        "/portfolio/chart.js",
        SCRIPT,
        include_str!("../../portfolio/page/chart.js"),
    ),
    (
        "/portfolio/format.js",
        SCRIPT,
        include_str!("../../portfolio/page/format.js"),
    ),
    (
        "/portfolio/market.js",
        SCRIPT,
        include_str!("../../portfolio/page/market.js"),
    ),
    (
        "/portfolio/table.js",
        SCRIPT,
        include_str!("../../portfolio/page/table.js"),
    ),
    (
        "/portfolio/trade.js",
        SCRIPT,
        include_str!("../../portfolio/page/trade.js"),
    ),
    (
        "/transports/",
        HTML,
        include_str!("../../transports/page/index.html"),
    ),
    (
        "/transports/style.css",
        STYLE,
        include_str!("../../transports/page/style.css"),
    ),
    (
        "/transports/app.js",
        SCRIPT,
        include_str!("../../transports/page/app.js"),
    ),
    (
        "/transports/bytes.js",
        SCRIPT,
        include_str!("../../transports/page/bytes.js"),
    ),
    (
        "/transports/chart.js",
        SCRIPT,
        include_str!("../../transports/page/chart.js"),
    ),
    (
        "/transports/links.js",
        SCRIPT,
        include_str!("../../transports/page/links.js"),
    ),
    (
        "/transports/row.js",
        SCRIPT,
        include_str!("../../transports/page/row.js"),
    ),
    (
        "/transports/turn.js",
        SCRIPT,
        include_str!("../../transports/page/turn.js"),
    ),
    (
        "/notifications/",
        HTML,
        include_str!("../../notifications/page/index.html"),
    ),
    (
        "/notifications/style.css",
        STYLE,
        include_str!("../../notifications/page/style.css"),
    ),
    (
        "/notifications/app.js",
        SCRIPT,
        include_str!("../../notifications/page/app.js"),
    ),
    (
        "/notifications/received.js",
        SCRIPT,
        include_str!("../../notifications/page/received.js"),
    ),
    (
        "/notifications/sending.js",
        SCRIPT,
        include_str!("../../notifications/page/sending.js"),
    ),
    (
        "/notifications/toasts.js",
        SCRIPT,
        include_str!("../../notifications/page/toasts.js"),
    ),
];

/// What pages have in common stands in them as a comment of this name.
static FRAGMENTS: &[(&str, &str)] = &[
    ("<!-- head -->", include_str!("../page/head.html")),
    ("<!-- header -->", include_str!("../page/header.html")),
    ("<!-- login -->", include_str!("../page/login.html")),
    (
        "<!-- connection -->",
        include_str!("../page/connection.html"),
    ),
    ("<!-- problem -->", include_str!("../page/problem.html")),
];

/// The page with the form, around what the demos' login shows.
static LOGIN: &str = include_str!("../page/login-page.html");

/// The page at `/login`.
pub(crate) fn login(form: &LoginForm) -> String {
    finish(LOGIN).replace("<!-- form -->", &tramline_example_login::form(form))
}

static NOT_FOUND: &str = include_str!("../page/not-found.html");

/// Serves every page and library, a redirect to each folder's `/`, and a 404 page for the rest.
pub(crate) fn router() -> Router {
    let pages = FILES
        .iter()
        .map(|(path, kind, text)| ((*path).to_owned(), Asset::file(kind, text)));
    let libraries = LIBRARIES.iter().filter_map(|library| {
        let embedded = library.embedded?;
        Some((
            format!("/lib/{}", library.file),
            Asset::library(embedded, library.integrity),
        ))
    });

    let mut router = Router::new();
    for (path, asset) in pages.chain(libraries) {
        if let Some(folder) = path.strip_suffix('/').filter(|folder| !folder.is_empty()) {
            router = router.route(folder, get(into_folder));
        }
        router = router.route(
            &path,
            get(async move |headers: HeaderMap| asset.respond(&headers)),
        );
    }
    router.fallback(async || {
        let page = Asset::file(HTML, NOT_FOUND);
        (
            StatusCode::NOT_FOUND,
            page.headers(),
            page.body.into_owned(),
        )
    })
}

/// `/greeting?transport=x` to `/greeting/?transport=x`, so that the page's relative links hold.
async fn into_folder(uri: Uri) -> Redirect {
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    Redirect::permanent(&format!("{}/{query}", uri.path()))
}

/// A file in memory.
#[derive(Clone, Debug)]
struct Asset {
    kind: &'static str,
    body: Cow<'static, [u8]>,
    etag: String,
}

impl Asset {
    fn file(kind: &'static str, text: &'static str) -> Self {
        let body = if kind == HTML {
            Cow::Owned(finish(text).into_bytes())
        } else {
            Cow::Borrowed(text.as_bytes())
        };
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self {
            kind,
            etag: format!("\"{:016x}\"", hasher.finish()),
            body,
        }
    }

    fn library(body: &'static [u8], integrity: &str) -> Self {
        Self {
            kind: SCRIPT,
            body: Cow::Borrowed(body),
            etag: format!("\"{integrity}\""),
        }
    }

    fn respond(&self, request: &HeaderMap) -> Response {
        let known = request
            .get(header::IF_NONE_MATCH)
            .and_then(|value| value.to_str().ok());
        if known.is_some_and(|tags| {
            tags.split(',')
                .any(|tag| tag.trim().trim_start_matches("W/") == self.etag)
        }) {
            return (StatusCode::NOT_MODIFIED, self.headers()).into_response();
        }
        match &self.body {
            Cow::Borrowed(body) => (self.headers(), *body).into_response(),
            Cow::Owned(body) => (self.headers(), body.clone()).into_response(),
        }
    }

    fn headers(&self) -> [(HeaderName, String); 6] {
        [
            (header::CONTENT_TYPE, self.kind.to_owned()),
            (header::ETAG, self.etag.clone()),
            // Ask again each time; the ETag makes that cheap, and a rebuilt page is seen at once.
            (header::CACHE_CONTROL, "no-cache".to_owned()),
            (header::CONTENT_SECURITY_POLICY, content_security_policy()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (header::REFERRER_POLICY, "same-origin".to_owned()),
        ]
    }
}

/// Puts in what pages have in common, and what they can only say once it is known how this gallery was built.
fn finish(page: &str) -> String {
    let page = FRAGMENTS
        .iter()
        .fold(page.to_owned(), |page, (name, fragment)| {
            page.replace(name, fragment.trim_end())
        })
        .replace("<!-- credits -->", &libraries::credits());
    if libraries::embedded() {
        page
    } else {
        libraries::from_cdn(&page)
    }
}

/// Scripts and styles come from files of this server (or the CDN by hash), never from within a page.
fn content_security_policy() -> String {
    let scripts = if libraries::embedded() {
        String::new()
    } else {
        format!("script-src 'self' {CDN}; ")
    };
    format!(
        "default-src 'self'; {scripts}object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> impl Iterator<Item = (&'static str, String)> {
        FILES
            .iter()
            .filter(|(_, kind, _)| *kind == HTML)
            .map(|(path, _, text)| (*path, finish(text)))
    }

    #[test]
    fn pages_refer_only_to_files_that_are_there() {
        for (path, text) in pages().chain([("/nowhere", finish(NOT_FOUND))]) {
            let links = text.split(['\n', '<']).filter_map(|tag| {
                let (_, link) = tag
                    .split_once(" src=\"")
                    .or_else(|| tag.split_once(" href=\""))?;
                link.split('"').next()
            });
            let elsewhere = |link: &&str| {
                link.starts_with("https:")
                    || link.starts_with('#')
                    || ["/login", "/console/"].contains(link)
            };
            for link in links.filter(|link| !elsewhere(link)) {
                let target = if link.starts_with('/') {
                    link.to_owned()
                } else {
                    format!("{path}{link}")
                };
                let library = target.strip_prefix("/lib/");
                assert!(
                    FILES.iter().any(|(file, ..)| *file == target)
                        || library.is_some_and(|file| LIBRARIES
                            .iter()
                            .any(|library| library.file == file)),
                    "{path} refers to {target}"
                );
            }
        }
    }

    #[test]
    fn pages_hold_no_script_or_style_of_their_own() {
        for (path, text) in pages().chain([("/nowhere", finish(NOT_FOUND))]) {
            assert!(
                !text.contains("<style")
                    && !text.contains(" style=")
                    && !text.contains(" onclick="),
                "{path}"
            );
            for script in text.split("<script").skip(1) {
                assert!(
                    script.starts_with(' ') && script.contains("></script>"),
                    "{path}: inline script"
                );
            }
        }
    }

    #[test]
    fn the_first_page_lists_every_demo_and_credits_the_libraries() {
        let first = finish(FILES[0].2);
        for (path, _) in pages() {
            assert!(
                path == "/" || first.contains(&format!("href=\"{path}\"")),
                "{path} is not listed"
            );
        }
        assert!(
            first.contains("sockjs-client 1.6.1 (MIT), @stomp/stompjs 7.5.0 (Apache-2.0)"),
            "{first}"
        );
    }

    #[test]
    fn a_known_etag_is_answered_without_a_body() {
        let asset = Asset::file(HTML, "<p>page</p>");
        let mut request = HeaderMap::new();
        assert_eq!(asset.respond(&request).status(), StatusCode::OK);
        request.insert(
            header::IF_NONE_MATCH,
            format!("\"other\", {}", asset.etag).parse().unwrap(),
        );
        assert_eq!(asset.respond(&request).status(), StatusCode::NOT_MODIFIED);
    }
}
