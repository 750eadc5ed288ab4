//! Requests that any page may have sent.

use std::net::SocketAddr;

use http::request::Parts;
use http::{HeaderValue, header};
use hyper::upgrade::OnUpgrade;

/// Takes from a request all that says whose it is: any page may have sent it, with its visitor's cookies.
pub(super) fn without_credentials(parts: &mut Parts) {
    let cookies = parts.headers.get_all(header::COOKIE).iter();
    let cookies = DroppedCookies(cookies.cloned().collect());
    for name in [header::COOKIE, header::AUTHORIZATION] {
        parts.headers.remove(name);
    }
    let mut extensions = std::mem::take(&mut parts.extensions);
    if let Some(peer) = extensions.remove::<SocketAddr>() {
        parts.extensions.insert(peer);
    }
    if let Some(upgrade) = extensions.remove::<OnUpgrade>() {
        parts.extensions.insert(upgrade);
    }
    parts.extensions.insert(cookies);
}

/// Cookies that say nothing here but to a load balancer, which finds its own in the answer again.
#[derive(Clone)]
pub(super) struct DroppedCookies(pub(super) Vec<HeaderValue>);
