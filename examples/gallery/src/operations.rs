//! What the gallery's operator sees: the console, metrics, and answers for orchestrators.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use tramline::console::{Access, Console};
use tramline::health::Health;
use tramline::metrics::Metrics;
use tramline::{Messaging, User};

/// The console at `/console` and `/metrics` for the user `operator`; `/health` and `/ready` for everybody.
pub(crate) fn router(stacks: &[&Messaging], operator: Option<String>) -> Router {
    let health = Health::of_all(stacks.iter().copied());
    let open = Router::new()
        .route_service("/health", health.liveness())
        .route_service("/ready", health.readiness());
    let Some(operator) = operator else {
        return open;
    };
    let is_operator = move |user: Option<&User>| user.is_some_and(|user| user.name() == operator);
    let may_read = is_operator.clone();
    let access = move |request: &Parts| match request.extensions.get::<User>() {
        user if is_operator(user) => Access::act(user.map_or("", User::name)),
        _ => Access::denied(),
    };
    let console = stacks
        .iter()
        .fold(Console::at("/console", access), |console, stack| {
            console.stack(stack)
        });
    let metrics = stacks
        .iter()
        .fold(Metrics::new(), |metrics, stack| metrics.stack(stack));
    let metrics = Router::new()
        .route_service("/metrics", metrics)
        .layer(from_fn(move |request: Request, next: Next| {
            let may = may_read(request.extensions().get::<User>());
            async move { only_if(may, request, next).await }
        }));
    let console = Router::new()
        .nest_service("/console", console)
        .layer(from_fn(to_login));
    open.merge(metrics).merge(console)
}

/// Who is nobody yet may become the operator.
async fn to_login(request: Request, next: Next) -> Response {
    match request.extensions().get::<User>() {
        Some(_) => next.run(request).await,
        None => Redirect::to("/login?next=/console/").into_response(),
    }
}

async fn only_if(may: bool, request: Request, next: Next) -> Response {
    match may {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, "the operator may read this\n").into_response(),
    }
}
