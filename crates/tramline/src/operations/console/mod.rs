//! The console: a page for operators, and the requests that it makes.

mod acts;
mod facts;
mod files;
mod rows;
mod sessions;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use tower_service::Service;

use self::rows::Query;
use crate::net::endpoint::{Body, BoxError};
use crate::stack::messaging::Messaging;
use crate::stack::shared::MessagingStack;

/// A page for operators: who is connected, what passes, what went wrong; and what to do about it.
///
/// It is a tower service for an application to mount behind its own login, with a page, a script and a style from this
/// binary, and nothing from elsewhere. The page is live: sessions, destinations, users, refusals with their rule, charts of
/// the last hour. Operators who may act can close sessions and users, publish, look into queues, move dead letters back,
/// drain the stack, and trace the frames of one session or destination. Each act, and each beginning of a trace, is a
/// line at INFO with the target `tramline::audit` and the operator's name.
///
/// There is no default for who may: the check that [`at`](Self::at) takes gets each request, after the application's
/// middleware has put the user into its extensions. While a console exists for a stack, the stack counts the bytes of
/// sessions and keeps some 200 KiB of samples and refusals. Keeping a `Console` does not keep the messaging alive.
///
/// # Example: behind a login, for operators
///
/// ```
/// use http::request::Parts;
/// use tramline::console::{Access, Console};
/// use tramline::{Messaging, User};
///
/// /// `User` is what the login's middleware has put into the request.
/// fn access(request: &Parts) -> Access {
///     match request.extensions.get::<User>() {
///         Some(user) if user.has_role("operator") => Access::act(user.name()),
///         Some(user) if user.has_role("support") => Access::view(user.name()),
///         _ => Access::denied(),
///     }
/// }
///
/// # use tramline::policy::{Policy, permit};
/// # let messaging = Messaging::builder()
/// #     .broker(tramline::EmbeddedBroker::new().topics("/topic"))
/// #     .policy(Policy::builder().otherwise(permit()))
/// #     .build()?;
/// let console = Console::at("/console", access).stack(&messaging);
/// let app: axum::Router = axum::Router::new()
///     .nest_service("/console", console.clone())
///     .nest_service("/ws", messaging.endpoint());
///
/// # use tower::ServiceExt;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let stranger = http::Request::get("/console/").body(axum::body::Body::empty())?;
/// assert_eq!(app.clone().oneshot(stranger).await?.status(), 403);
/// let mut operator = http::Request::get("/console/").body(axum::body::Body::empty())?;
/// operator.extensions_mut().insert(User::new("ada").with_roles(["operator"]));
/// assert_eq!(app.oneshot(operator).await?.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "mount it"]
pub struct Console(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    /// Without a slash at its end.
    path: ByteString,
    check: Check,
    stacks: Vec<(ByteString, Weak<MessagingStack>)>,
}

type Check = Arc<dyn Fn(&Parts) -> Access + Send + Sync>;

/// What a request to the [`Console`] may do, and in whose name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    name: ByteString,
    rights: Rights,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rights {
    Nothing,
    View,
    Act,
}

impl Access {
    /// Nothing: the answer is 403.
    pub fn denied() -> Self {
        Self::new("", Rights::Nothing)
    }

    /// To see everything but messages and frames. `name` is the operator's.
    pub fn view(name: impl Into<ByteString>) -> Self {
        Self::new(name, Rights::View)
    }

    /// To see everything, and to act. `name` is the operator's, for the audit log.
    pub fn act(name: impl Into<ByteString>) -> Self {
        Self::new(name, Rights::Act)
    }

    fn new(name: impl Into<ByteString>, rights: Rights) -> Self {
        let name = name.into();
        Self { name, rights }
    }
}

impl Console {
    /// A console of no stack yet, at this path as browsers see it: `/console`, or `/ops/console` behind a proxy that serves
    /// the application below `/ops`. `check` decides for each request what it may do; it is to be quick, and runs on the
    /// thread that serves the request.
    pub fn at(
        path: impl Into<ByteString>,
        check: impl Fn(&Parts) -> Access + Send + Sync + 'static,
    ) -> Self {
        let path = path.into();
        Self(Arc::new(Inner {
            path: path.trim_end_matches('/').into(),
            check: Arc::new(check),
            stacks: Vec::new(),
        }))
    }

    /// Adds a stack, by its [name](crate::MessagingBuilder::name).
    pub fn stack(self, messaging: &Messaging) -> Self {
        let stack = &messaging.handle.stack;
        stack.watch.begin();
        let mut inner = Arc::unwrap_or_clone(self.0);
        let entry = (stack.name.clone(), Arc::downgrade(stack));
        inner.stacks.push(entry);
        Self(Arc::new(inner))
    }
}

/// Why a request has no answer of its own.
struct Problem(StatusCode, String);

impl Problem {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }

    fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

/// Bytes of a request's body: a test message, and what is around it.
const BODY: usize = 256 * 1024;

impl Inner {
    async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data: Buf + Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let access = (self.check)(&parts);
        let mut response = match self.result(&parts, body, &access).await {
            Ok(response) => response,
            Err(Problem(status, text)) => {
                let mut response = of_json(&json!({ "error": text }));
                *response.status_mut() = status;
                response
            }
        };
        for (name, value) in files::HEADERS {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn result<B>(
        &self,
        parts: &Parts,
        body: B,
        access: &Access,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data: Buf + Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if access.rights == Rights::Nothing {
            let text = "this page is for operators: log in as one";
            return Err(Problem::new(StatusCode::FORBIDDEN, text));
        }
        let path = parts.uri.path();
        // Routers that nest it have stripped the prefix.
        let below = path.strip_prefix(&*self.path);
        let below = below.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let path = below.unwrap_or(path);
        let path = path.trim_start_matches('/');
        match (&parts.method, path.strip_prefix("api/")) {
            (&Method::GET, None) => files::file(path, &self.path)
                .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such page")),
            (&Method::GET, Some(what)) => {
                let query = Query::of(parts.uri.query().unwrap_or_default());
                Ok(of_json(&self.look(what, &query, access)?))
            }
            (&Method::POST, Some(what)) => {
                if access.rights < Rights::Act {
                    let text = "you may look, and not act";
                    return Err(Problem::new(StatusCode::FORBIDDEN, text));
                }
                from_our_page(parts)?;
                let body = Limited::new(body, BODY).collect().await;
                let body = body.map_err(|_| {
                    let text = format!("the body is cut off, or larger than {BODY} bytes");
                    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
                })?;
                Ok(of_json(&self.act(what, &body.to_bytes(), access).await?))
            }
            _ => Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "GET to look, POST to act",
            )),
        }
    }

    fn look(&self, what: &str, query: &Query, access: &Access) -> Result<Value, Problem> {
        if what == "stacks" {
            let names = self.stacks.iter().map(|(name, _)| &**name);
            return Ok(json!({
                "stacks": names.collect::<Vec<_>>(),
                "operator": &*access.name,
                "may_act": access.rights == Rights::Act,
            }));
        }
        let stack = &self.stack(query.text("stack"))?;
        match what {
            "overview" => Ok(facts::overview(stack)),
            "sessions" => Ok(sessions::page(stack, query)),
            "session" => sessions::one(stack, query.text("id")),
            "destinations" => Ok(facts::destinations(stack, query)),
            "users" => Ok(facts::users(stack, query)),
            "refusals" => Ok(facts::refusals(stack, query)),
            _ => Err(no_such(what)),
        }
    }

    async fn act(&self, what: &str, body: &Bytes, access: &Access) -> Result<Value, Problem> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Problem::bad(format!("the body is not JSON: {error}")))?;
        let stack = self.stack(body["stack"].as_str().unwrap_or_default())?;
        acts::act(&stack, what, &body, &access.name).await
    }

    fn stack(&self, name: &str) -> Result<Arc<MessagingStack>, Problem> {
        let known = self.stacks.iter().find(|(known, _)| known == name);
        let (_, stack) = known.ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, format!("there is no stack {name:?}"))
        })?;
        stack
            .upgrade()
            .ok_or_else(|| Problem::new(StatusCode::GONE, format!("the stack {name:?} has ended")))
    }
}

fn no_such(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {what:?} here"))
}

/// Only our own page can send JSON with this header from a browser: another origin would have to ask first, and is not
/// answered.
fn from_our_page(parts: &Parts) -> Result<(), Problem> {
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let is_json = header("content-type").is_some_and(|value| value.starts_with("application/json"));
    let is_same = header("sec-fetch-site").is_none_or(|site| site == "same-origin");
    match is_json && is_same && header("x-tramline-console").is_some() {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "an act is a request of the console's own page: JSON, with the header `X-Tramline-Console`",
        )),
    }
}

fn of_json(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl<B> Service<Request<B>> for Console
where
    B: http_body::Body<Data: Buf + Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Ok(inner.answer(request).await) })
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.stacks.iter().map(|(name, _)| name);
        f.debug_struct("Console")
            .field("path", &self.0.path)
            .field("stacks", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
