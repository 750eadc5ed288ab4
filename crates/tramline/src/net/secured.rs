//! Requests that came by TLS of our own server.

/// Marks such a request, in its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secured;
