//! What operators do. Each act is a line of the audit log, whatever comes of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use http::StatusCode;
use serde_json::{Value, json};
use tramline_broker::{Destination, SessionId};

use super::{Problem, no_such};
use crate::model::log::Escaped;
use crate::model::reply::Payload;
use crate::stack::messaging::drain;
use crate::stack::registry::Registry;
use crate::stack::shared::MessagingStack;
use crate::stack::trace::{MOST, Of};

/// Messages that are shown of a queue, at most.
const SHOWN: usize = 100;

/// Bytes of a message's body that are shown.
const BODY: usize = 4096;

/// Messages that one act moves, at most.
const MOVED: usize = 1000;

/// Does what the operator asks for.
pub(super) async fn act(
    stack: &Arc<MessagingStack>,
    what: &str,
    body: &Value,
    operator: &str,
) -> Result<Value, Problem> {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let about = |target: &dyn std::fmt::Display| {
        tracing::info!(
            target: "tramline::audit",
            stack = %stack.name,
            operator = %Escaped(operator),
            act = what,
            "{}", Escaped(target)
        );
    };
    let registry = Registry::of(Arc::downgrade(stack));
    match what {
        "close-session" => {
            let id = session(text("id"))?;
            about(&format_args!("session {id}, reason {:?}", text("reason")));
            let closed = registry.close_session(id, reason(text("reason")));
            Ok(json!({ "closed": usize::from(closed) }))
        }
        "close-user" => {
            about(&format_args!(
                "user {:?}, reason {:?}",
                text("user"),
                text("reason")
            ));
            let closed = registry.close_user(text("user"), reason(text("reason")));
            Ok(json!({ "closed": closed }))
        }
        "publish" => {
            let (destination, body) = (text("destination"), text("body"));
            about(&format_args!("{} bytes to {destination:?}", body.len()));
            let body = Bytes::copy_from_slice(body.as_bytes());
            let payload = match text("content_type") {
                "" => Payload::new("text/plain", body),
                content_type => Payload::new(ByteString::from(content_type), body),
            };
            let published = stack
                .publisher
                .send(ByteString::from(destination), payload)
                .await;
            let published = published.map_err(|error| Problem::bad(error.to_string()))?;
            Ok(json!({ "receivers": published.local_receivers }))
        }
        "peek" => {
            let queue = destination(text("destination"))?;
            about(&format_args!("{queue}"));
            let messages = stack.hub.peek(&queue, SHOWN).ok_or_else(|| {
                Problem::bad(format!(
                    "the broker shows no messages of {queue}: it is no queue of this node"
                ))
            })?;
            let messages = messages.iter().map(|message| {
                let body = message.body();
                let shown = String::from_utf8_lossy(&body[..body.len().min(BODY)]);
                json!({
                    "id": &**message.id(),
                    "headers": message.headers().iter().collect::<Vec<_>>(),
                    "body": shown,
                    "bytes": body.len(),
                })
            });
            Ok(json!({ "messages": messages.collect::<Vec<_>>() }))
        }
        "return-dead-letters" => {
            let queue = destination(text("destination"))?;
            about(&format_args!("{queue}"));
            let moved = stack.publisher.return_dead_letters(&queue, MOVED).await;
            let moved = moved.map_err(|error| Problem::bad(error.to_string()))?;
            Ok(json!({ "moved": moved }))
        }
        "drain" => {
            let seconds = body["seconds"].as_u64().filter(|seconds| *seconds <= 3600);
            let seconds = seconds.ok_or_else(|| Problem::bad("`seconds`: a number up to 3600"))?;
            about(&format_args!("over {seconds} s"));
            let stack = Arc::clone(stack);
            tokio::spawn(async move { drain(&stack, Duration::from_secs(seconds)).await });
            Ok(json!({ "draining": true }))
        }
        "trace" => {
            let of = match text("destination") {
                "" => Of::Session(session(text("id"))?),
                destination => Of::Destination(ByteString::from(destination)),
            };
            about(&of);
            let trace = stack.watch.traces.begin(of).ok_or_else(|| {
                let text = format!("{MOST} traces run already: end one, or wait until it ends");
                Problem::new(StatusCode::CONFLICT, text)
            })?;
            Ok(json!({ "trace": trace }))
        }
        "traced" => {
            let (id, after) = (body["trace"].as_u64(), body["after"].as_u64().unwrap_or(0));
            let seen = id.and_then(|id| stack.watch.traces.read(id, after));
            seen.map_or_else(
                || Err(Problem::new(StatusCode::GONE, "the trace has ended")),
                |seen| Ok(json!(seen)),
            )
        }
        "end-trace" => {
            let ended = body["trace"]
                .as_u64()
                .is_some_and(|id| stack.watch.traces.end(id));
            Ok(json!({ "ended": ended }))
        }
        _ => Err(no_such(what)),
    }
}

fn session(id: &str) -> Result<SessionId, Problem> {
    id.parse()
        .map_err(|_| Problem::bad(format!("{id:?} is no session's id")))
}

fn destination(text: &str) -> Result<Destination, Problem> {
    Destination::parse(ByteString::from(text)).map_err(|error| Problem::bad(error.to_string()))
}

fn reason(text: &str) -> ByteString {
    match text.trim() {
        "" => "closed by an operator".into(),
        reason => reason.into(),
    }
}
