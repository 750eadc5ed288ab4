//! Temporary queues: destinations of one session, which others know only by a name that they can send replies to.

use tramline_broker::{Destination, DestinationError, SessionId, Target};

use super::prefix::below;

/// The prefix of a session's own temporary queues, as RabbitMQ's and ActiveMQ's clients write it.
const QUEUES: &str = "/temp-queue";

/// The prefix of the names for replies, as RabbitMQ has it.
const REPLIES: &str = "/reply-queue";

/// Both: clients may name what is below.
pub(crate) const PREFIXES: [&str; 2] = [QUEUES, REPLIES];

/// Returns true if a client means one of its own temporary queues, unless the broker has such a prefix.
pub(crate) fn is_queue(destination: &str) -> bool {
    below(destination, QUEUES).is_some()
}

/// Returns true for a name that replies are sent to, unless the broker has such a prefix.
pub(crate) fn is_reply_name(destination: &str) -> bool {
    below(destination, REPLIES).is_some()
}

/// The path of a temporary queue in its session. No client can name it below the user prefix: it does not begin with `/`.
pub(crate) fn path(queue: &str) -> Result<Destination, DestinationError> {
    Destination::parse(queue.trim_start_matches('/').to_owned())
}

/// What clients see of that path.
pub(crate) fn shown(path: &str) -> Option<String> {
    let queue = format!("/{path}");
    (!path.starts_with('/') && is_queue(&queue)).then_some(queue)
}

/// The name that replies to a session's temporary queue are sent to: whoever has it may send there.
pub(crate) fn reply_name(session: SessionId, queue: &str) -> String {
    let name = below(queue, QUEUES).unwrap_or_default();
    format!("{REPLIES}/{session}{name}")
}

/// The queue that such a name stands for.
pub(crate) fn target(reply_name: &str) -> Option<Target> {
    let (session, name) = below(reply_name, REPLIES)?[1..].split_once('/')?;
    Some(Target::Session {
        id: session.parse().ok()?,
        path: path(&format!("{QUEUES}/{name}")).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_finds_its_queue() {
        let session = SessionId::random();
        let name = reply_name(session, "/temp-queue/a/b");
        let path = path("/temp-queue/a/b").unwrap();
        assert_eq!(shown(&path).as_deref(), Some("/temp-queue/a/b"));
        assert_eq!(target(&name), Some(Target::Session { id: session, path }));
        for wrong in [
            "/reply-queue/x/a",
            "/reply-queue/",
            "/reply-queues/a/b",
            "/temp-queue/a",
        ] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
        assert_eq!(shown("/queue/errors"), None);
    }
}
