//! The cookie that tells a client from others who know the name of its session.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;

use http::request::Parts;
use http::{HeaderValue, Response, header};

use crate::net::endpoint::body::Body;
use crate::net::endpoint::credentials::DroppedCookies;
use crate::net::proof::Proof;
use crate::net::secured::Secured;

/// The name of the cookie.
const NAME: &str = "tramline-sockjs";

/// What a request from `network` shows.
pub(super) fn proof(parts: &Parts, network: Option<IpAddr>) -> Proof {
    if let Some(secret) = cookie(parts) {
        return Proof::Cookie(secret);
    }
    static STATE: OnceLock<RandomState> = OnceLock::new();
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let hash = authorization.map_or(0, |value| {
        STATE.get_or_init(RandomState::new).hash_one(value)
    });
    Proof::Network(network, hash)
}

/// Gives the browser its cookie, unless it has one, or may have none.
pub(super) fn give_cookie(parts: &Parts, response: &mut Response<Body>) {
    if parts.extensions.get::<DroppedCookies>().is_some() || cookie(parts).is_some() {
        return;
    }
    let mut secret = [0; 16];
    if getrandom::fill(&mut secret).is_err() {
        // The client is then told apart as one without cookies.
        return;
    }
    let secret = u128::from_ne_bytes(secret);
    let origin = parts.headers.get(header::ORIGIN);
    let is_secure = parts.extensions.get::<Secured>().is_some()
        || origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    // A page of another site may send it only so; without TLS no browser stores it for such a page.
    let site = match is_secure {
        true => "SameSite=None; Secure",
        false => "SameSite=Lax",
    };
    let value = format!("{NAME}={secret:032x}; Path=/; HttpOnly; {site}");
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

fn cookie(parts: &Parts) -> Option<u128> {
    let headers = parts.headers.get_all(header::COOKIE).iter();
    let mut cookies = headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='));
    let (_, value) = cookies.find(|(name, value)| *name == NAME && value.len() == 32)?;
    u128::from_str_radix(value, 16).ok()
}
