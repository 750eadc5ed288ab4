//! No other site logs our visitors in or out.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Lets a request pass that a page of this site has sent, or no page at all.
pub(crate) async fn same_only(request: Request, next: Next) -> Response {
    if comes_from_here(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "only pages of this site may do that").into_response()
    }
}

/// Browsers say where a POST comes from in `Sec-Fetch-Site`, old ones in `Origin` alone. Who says neither is no browser,
/// and has no visitor's cookies to misuse.
fn comes_from_here(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN) else {
        return true;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == text(header::HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        comes_from_here(&headers.collect())
    }

    #[test]
    fn the_browsers_word_counts_first() {
        assert!(accepted(&[("sec-fetch-site", "same-origin")]));
        assert!(!accepted(&[("sec-fetch-site", "same-site")]));
        assert!(!accepted(&[
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://here"),
            ("host", "here"),
        ]));
    }

    #[test]
    fn without_it_origin_and_host_must_agree() {
        let host = ("host", "127.0.0.1:8080");
        assert!(accepted(&[("origin", "http://127.0.0.1:8080"), host]));
        assert!(!accepted(&[("origin", "http://127.0.0.1:8081"), host]));
        assert!(!accepted(&[("origin", "null"), host]));
        assert!(!accepted(&[("origin", "http://127.0.0.1:8080")]));
        assert!(accepted(&[host]));
    }
}
