//! The services that operators ask with GET.

use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::net::endpoint::{Body, text};

/// A status, a content type and a text, which no cache keeps.
pub(super) type Answer = (StatusCode, &'static str, String);

/// Answers GET and HEAD with what `body` returns.
pub(super) fn get(method: &Method, body: impl FnOnce() -> Answer) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n");
        let allow = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, allow);
        return refused;
    }
    let (status, content_type, body) = body();
    let length = HeaderValue::from(body.len());
    let mut response = match *method {
        Method::HEAD => Response::new(Body::default()),
        _ => Response::new(Body::from(body)),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes a tower service of a type that has a method `answer`, which returns an [`Answer`].
macro_rules! answers_get {
    ($service:ty) => {
        impl<B> tower_service::Service<http::Request<B>> for $service {
            type Response = http::Response<$crate::net::endpoint::Body>;
            type Error = std::convert::Infallible;
            type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), Self::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<B>) -> Self::Future {
                let answer = $crate::operations::answer::get(request.method(), || self.answer());
                std::future::ready(Ok(answer))
            }
        }
    };
}

pub(super) use answers_get;
