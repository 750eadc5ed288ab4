//! Tokens in HTTP requests.

use bytestring::ByteString;
use http::header;
use http::request::Parts;
use tramline_sockjs::form_field;

use crate::model::secret::Secret;

/// Where the token of a session may be in its request.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenPlaces {
    /// In `Authorization: Bearer TOKEN`.
    pub(crate) in_header: bool,
    /// In the cookie of this name.
    pub(crate) in_cookie: Option<ByteString>,
    /// In the query's parameter of this name.
    pub(crate) in_query: Option<ByteString>,
}

impl TokenPlaces {
    /// The first token that a request has.
    pub(crate) fn find(&self, parts: &Parts) -> Option<Secret> {
        let header = || {
            let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
            bearer(value).map(Secret::new)
        };
        let cookie = || {
            let name = self.in_cookie.as_deref()?;
            let headers = parts.headers.get_all(header::COOKIE).iter();
            let mut cookies = headers
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(';'))
                .filter_map(|cookie| cookie.trim().split_once('='));
            let (_, value) = cookies.find(|(known, _)| *known == name)?;
            let value = value.trim_matches('"');
            (!value.is_empty()).then(|| Secret::new(value))
        };
        let query = || {
            let name = self.in_query.as_deref()?;
            let value = form_field(parts.uri.query()?.as_bytes(), name)?;
            let value = String::from_utf8(value.into_owned()).ok()?;
            (!value.is_empty()).then(|| Secret::new(value))
        };
        let header = self.in_header.then(header).flatten();
        header.or_else(cookie).or_else(query)
    }
}

/// The token in the value of an `Authorization` header.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
