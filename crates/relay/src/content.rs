//! Messages on their way to the broker and back.

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{Destination, Headers, Message, Publish, PublishError, Timestamp};
use tramline_stomp::Message as Received;

use crate::kind::BrokerKind;
use crate::names::Shape;
use crate::options::is_ours;

/// The header that carries a message's id through the broker, so that all nodes show the same.
const ID: &str = "tramline-id";

/// Checks what the broker would take for something else than the publisher means.
pub(crate) fn check(publish: &Publish) -> Result<(), PublishError> {
    for header in ["expires", "expiration"] {
        let Some(value) = publish.headers.get_bytestring(header) else {
            continue;
        };
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || value.parse::<u64>().is_err() {
            let value = value.chars().take(32).collect::<String>().into();
            return Err(PublishError::InvalidExpiry { header, value });
        }
    }
    let reply_to = publish.headers.get("reply-to").unwrap_or_default();
    if reply_to.starts_with("/temp-") {
        let reason = "`reply-to` names a temporary queue, which would belong to the relay's link; reply to a queue or a user \
                      destination";
        let reason = reason.into();
        return Err(PublishError::Refused { reason });
    }
    Ok(())
}

/// The headers of the SEND for a message.
pub(crate) fn outgoing(
    message: &Message,
    defaults: Option<&Headers>,
    (broker, to): (BrokerKind, Shape),
    now: Timestamp,
) -> Headers {
    let mut headers = message.headers().clone();
    headers.retain(|name, _| !is_ours(name));
    for (name, value) in defaults.iter().flat_map(|defaults| defaults.iter()) {
        if headers.get(name).is_none() {
            headers.push(name, value);
        }
    }
    if let Some(priority) = message.priority() {
        headers.replace("priority", priority.to_string());
    }
    headers.push(ID, message.id().clone());
    broker.complete_send(to, (message.expires_at(), now), &mut headers);
    headers
}

/// A message from the broker, to be published in the hub as `destination`. With `keeps` its parts are copied, so that it does
/// not keep alive the chunk that it was read in.
pub(crate) fn incoming(received: &Received, destination: Destination, keeps: bool) -> Publish {
    let own = |text: &str| ByteString::from(text);
    let mut headers = received.headers.clone();
    headers.retain(|name, value| !(is_ours(name) || name == "expires" && value == "0"));
    let id = received
        .headers
        .get_bytestring(ID)
        .unwrap_or(&received.message_id);
    let (mut id, mut body) = (id.clone(), received.body.clone());
    if keeps {
        let mut copied = Headers::with_capacity(headers.len());
        for (name, value) in headers.iter() {
            copied.push(own(name), own(value));
        }
        (headers, id, body) = (copied, own(&id), Bytes::copy_from_slice(&body));
    }
    Publish::new(destination, headers, body).numbered(id, None)
}
