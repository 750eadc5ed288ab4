//! The compression of WebSocket messages.

use http::{HeaderMap, HeaderValue, header};
use tramline_websocket::{Agreement, Deflate};

/// Compression of messages for WebSocket clients that offer it, as all browsers do (permessage-deflate, RFC 7692): for
/// [`MessagingBuilder::compression`](crate::MessagingBuilder::compression).
///
/// Use it where the network is slow or expensive and messages are text of some KiB, which shrink to a third or less. It
/// has its price:
///
/// - **Sending.** A message is compressed once, however many receive it: some 10 µs, and 10 µs for each further 4 KiB of
///   JSON. Each delivery carries its own first headers as they are and shares the rest, so it costs what it does without
///   compression. A worker that compresses keeps 380 KB for it.
/// - **Receiving.** A client's browser compresses what *it* sends, down to the smallest frame: 2 µs for each, and 48 KB
///   while the frame is read. A client that stops in the middle of one holds them until it is timed out.
/// - **Idle sessions** hold some 150 bytes more. No context is kept from message to message, in either direction.
///
/// SockJS's other transports, which are plain HTTP, and STOMP over TCP are not compressed.
///
/// Messages that mix a secret with text that an attacker chose should not be compressed: their length reveals how much
/// the two resemble each other, TLS or not.
///
/// # Example: from 4 KiB on
///
/// ```
/// use tramline::endpoint::Compression;
/// use tramline::policy::{Policy, permit};
/// use tramline::{EmbeddedBroker, Messaging};
///
/// let messaging = Messaging::builder()
///     .broker(EmbeddedBroker::new().topics("/topic"))
///     .policy(Policy::builder().otherwise(permit()))
///     .compression(Compression::AboveSize(4096))
///     .build()?;
/// # let _ = messaging;
/// # Ok::<(), tramline::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Nothing is compressed, and clients that offer it get no extension. The default: on most servers memory and CPU
    /// are scarcer than the network.
    #[default]
    Off,
    /// Messages of 1,024 bytes and more are compressed: smaller ones fit into one packet either way.
    On,
    /// Messages of this many bytes and more are compressed.
    AboveSize(u32),
}

impl Compression {
    /// The agreement with a client, from the headers of its handshake.
    pub(crate) fn negotiate(self, headers: &HeaderMap) -> Option<Agreement> {
        let deflate = match self {
            Self::Off => return None,
            Self::On => Deflate::default(),
            Self::AboveSize(bytes) => Deflate::default().with_above(bytes),
        };
        let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS);
        deflate.accept(offers.iter().filter_map(|offer| offer.to_str().ok()))
    }
}

/// Adds the response header with the agreement.
pub(crate) fn answer(agreement: &Agreement, headers: &mut HeaderMap) {
    if let Ok(response) = HeaderValue::try_from(agreement.response()) {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, response);
    }
}
