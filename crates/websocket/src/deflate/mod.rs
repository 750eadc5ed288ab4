//! permessage-deflate (RFC 7692): the settings of one end, and the agreement of both.

mod codec;
mod header;
mod negotiation;

pub(crate) use self::codec::{Extension, Inflater};
pub use self::codec::{deflate_tail, write_deflated_head};
pub use self::negotiation::NegotiationError;

/// Settings of permessage-deflate, the compression of messages (RFC 7692).
///
/// A server [`accept`](Self::accept)s one of the client's offers; a client makes an [`offer`](Self::offer) and
/// [`confirm`](Self::confirm)s the server's response. Either returns an [`Agreement`] for
/// [`Connection::with_deflate`](crate::Connection::with_deflate). Without one a connection compresses nothing, which is
/// the default: compression takes CPU time for each message and memory for each connection, and pays where the network
/// is slow or expensive and messages are text of some KiB.
///
/// # What it costs
///
/// | | Bytes while a message is compressed | while one is inflated | between messages |
/// |---|---|---|---|
/// | without context takeover (default) | 380,032, one for each thread | 47,552 | 0 |
/// | with takeover by the peer | | 47,552 | 47,552 |
/// | with takeover by this end, window of 15 bits | 380,032 | | 380,032 |
/// | with takeover by this end, window of 9 bits | 251,008 | | 251,008 |
///
/// A message that arrives in pieces keeps its 47,552 bytes from the first byte of its payload to the last. Inflated
/// data counts against [`Config::max_message`](crate::Config::max_message) as it is produced, in chunks of 8 KiB, so a
/// bomb holds no more than any message of that size.
///
/// # Example: a server that compresses large messages
///
/// ```
/// use tramline_websocket::{Config, Connection, Deflate, Role};
///
/// let deflate = Deflate::default().with_above(4096);
/// // The values of the request's `Sec-WebSocket-Extensions`, here Chromium's.
/// let agreement = deflate.accept(["permessage-deflate; client_max_window_bits"]).unwrap();
/// // This goes into the response's.
/// assert_eq!(
///     agreement.response(),
///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
/// );
/// let connection = Connection::new(Role::Server, Config::default()).with_deflate(agreement);
/// # let _ = connection;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// Minimum payload bytes of a compressed message. Default 1024: smaller ones fit into one packet either way, and a
    /// message costs some 10 µs before its first byte is compressed.
    pub above: u32,
    /// Compression level, from 1 (fast) to 9 (small); other values are clamped. Default 3: on JSON of 1 to 10 KiB a
    /// fifth smaller than 1, and higher levels do not help.
    pub level: u8,
    /// Keeps the context of the server's compressor between messages. Default false: with it small similar messages
    /// shrink far more, but each connection holds a compressor, and a message to many receivers cannot be compressed
    /// once for all.
    pub server_takeover: bool,
    /// Keeps the context of the client's compressor. Default false: with it a server holds 47,552 bytes for each
    /// client.
    pub client_takeover: bool,
    /// The window of the server's compressor, as a power of two: 9 to 15, other values are clamped. Default 15, 32 KiB,
    /// the usual value.
    pub server_window_bits: u8,
    /// The window of the client's compressor, likewise. Default 15. A server's value affects only clients that offer to
    /// support it.
    pub client_window_bits: u8,
}

impl Deflate {
    /// Sets [`above`](Self::above), in bytes.
    #[must_use]
    pub fn with_above(mut self, bytes: u32) -> Self {
        self.above = bytes;
        self
    }

    /// Sets [`level`](Self::level).
    #[must_use]
    pub fn with_level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// Sets [`server_takeover`](Self::server_takeover) and [`client_takeover`](Self::client_takeover).
    #[must_use]
    pub fn with_takeover(mut self, server: bool, client: bool) -> Self {
        self.server_takeover = server;
        self.client_takeover = client;
        self
    }

    /// Sets [`server_window_bits`](Self::server_window_bits) and [`client_window_bits`](Self::client_window_bits).
    #[must_use]
    pub fn with_window_bits(mut self, server: u8, client: u8) -> Self {
        self.server_window_bits = server;
        self.client_window_bits = client;
        self
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            above: 1024,
            level: 3,
            server_takeover: false,
            client_takeover: false,
            server_window_bits: MAX_WINDOW_BITS,
            client_window_bits: MAX_WINDOW_BITS,
        }
    }
}

/// The agreement of client and server: made by [`Deflate::accept`] or [`Deflate::confirm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// This end's own setting.
    pub(crate) above: u32,
    pub(crate) level: u8,
    pub(crate) server: Direction,
    pub(crate) client: Direction,
    names_server_window: bool,
    names_client_window: bool,
}

/// The compression of one end's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) takeover: bool,
    /// 8 to 15.
    pub(crate) window_bits: u8,
}

impl Agreement {
    /// Returns true if the server may send frames of [`write_deflated_head`] and [`deflate_tail`]: the server keeps no
    /// context, and the client's window has full size.
    ///
    /// No browser's offer prevents it.
    #[must_use]
    pub fn shares_tails(&self) -> bool {
        !self.server.takeover && self.server.window_bits == MAX_WINDOW_BITS
    }

    /// Minimum payload bytes of a message that this end compresses: [`Deflate::above`].
    #[must_use]
    pub fn above(&self) -> usize {
        self.above as usize
    }
}

/// The window of DEFLATE itself: 32 KiB.
const MAX_WINDOW_BITS: u8 = 15;

/// The RFC's minimum.
const MIN_WINDOW_BITS: u8 = 8;
