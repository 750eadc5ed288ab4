//! `POST /notifications` and `POST /notifications/users/{name}`: sending from a REST handler.

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tramline::Publisher;
use tramline::publisher::SendError;
use tramline_login::{BadName, Name};

use crate::inbox::{Full, Inboxes, Level, MOST_USERS};
use crate::key::{Key, known, shown};
use crate::{EVERYONE, ONE_USER};

/// Characters of a text: what a toast has room for.
const LONGEST_TEXT: usize = 500;

/// Bytes of a request's body: the longest text, each character of it escaped.
const LARGEST_BODY: usize = 16 * 1024;

#[derive(Clone)]
struct App {
    publisher: Publisher,
    inboxes: Inboxes,
}

/// What is posted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    text: String,
    #[serde(default)]
    level: Level,
}

/// What the sender hears.
#[derive(Debug, Serialize)]
struct Sent {
    id: String,
    /// Browsers that it went to just now.
    received_by: u64,
    /// Nobody was there: it is kept until the user comes.
    #[serde(skip_serializing_if = "is_false")]
    waits: bool,
    /// The inbox was full of unseen ones, of which the oldest had to go.
    #[serde(skip_serializing_if = "is_false")]
    displaced: bool,
}

pub(crate) fn router(publisher: Publisher, inboxes: Inboxes, key: Key) -> Router {
    Router::new()
        .route("/notifications", post(to_everyone))
        .route("/notifications/users/{name}", post(to_user))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(key.clone(), known))
        .with_state(App { publisher, inboxes })
        .merge(
            Router::new()
                .route("/notifications/key", get(shown))
                .with_state(key),
        )
}

async fn to_everyone(
    State(App { publisher, inboxes }): State<App>,
    body: Result<Json<Draft>, JsonRejection>,
) -> Result<Json<Sent>, Refused> {
    let Draft { text, level } = accept(body)?;
    let notification = inboxes.notification(level, text);
    let published = publisher
        .send(EVERYONE, tramline::Json(&notification))
        .await?;
    Ok(Json(Sent {
        id: notification.id,
        received_by: published.local_receivers as u64,
        waits: false,
        displaced: false,
    }))
}

async fn to_user(
    State(App { publisher, inboxes }): State<App>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Json<Draft>, JsonRejection>,
) -> Result<Json<Sent>, Refused> {
    let name = Name::parse(&name?)?.to_string();
    let Draft { text, level } = accept(body)?;
    let notification = inboxes.notification(level, text);
    // Kept first: whoever subscribes meanwhile finds it in one place or the other.
    let displaced = inboxes.keep(&name, notification.clone())?;
    let published = publisher
        .send_to_user(name, ONE_USER, tramline::Json(&notification))
        .await?;
    Ok(Json(Sent {
        id: notification.id,
        received_by: published.local_receivers as u64,
        waits: published.local_receivers == 0,
        displaced,
    }))
}

fn accept(body: Result<Json<Draft>, JsonRejection>) -> Result<Draft, Refused> {
    let Json(draft) = body?;
    let text = draft.text.trim();
    let length = text.chars().count();
    if length == 0 {
        return Err(Refused::bad("\"text\" is empty"));
    }
    if length > LONGEST_TEXT {
        let problem = format!("\"text\" has {length} characters, at most {LONGEST_TEXT} fit");
        return Err(Refused::bad(problem));
    }
    Ok(Draft {
        text: text.to_owned(),
        ..draft
    })
}

fn is_false(value: &bool) -> bool {
    !value
}

/// An answer that says what was wrong.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl Refused {
    fn bad(problem: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, problem.into())
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::JsonDataError(_) | JsonRejection::JsonSyntaxError(_) => {
                Self::bad(rejection.body_text())
            }
            // No JSON by its content type, which is what keeps the scripts of other sites out; or too large.
            other => Self(other.status(), other.body_text()),
        }
    }
}

impl From<PathRejection> for Refused {
    fn from(rejection: PathRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

impl From<BadName> for Refused {
    fn from(problem: BadName) -> Self {
        Self::bad(problem.to_string())
    }
}

impl From<Full> for Refused {
    fn from(Full: Full) -> Self {
        let problem = format!("{MOST_USERS} users have notifications that wait for them");
        Self(StatusCode::SERVICE_UNAVAILABLE, problem)
    }
}

impl From<SendError> for Refused {
    fn from(error: SendError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, problem) = self;
        (status, format!("{problem}\n")).into_response()
    }
}
