//! permessage-deflate (RFC 7692): what an end wants of it, and what both have agreed on.

mod codec;
mod header;
mod negotiation;

pub(crate) use self::codec::{Extension, Inflater};
pub use self::codec::{deflate_tail, write_deflated_head};
pub use self::negotiation::NegotiationError;

/// What an end wants of permessage-deflate, the compression of messages (RFC 7692).
///
/// A server [`accept`](Self::accept)s one of the client's offers; a client makes an [`offer`](Self::offer) and
/// [`confirm`](Self::confirm)s the server's response. Either gives an [`Agreement`] for
/// [`Connection::with_deflate`](crate::Connection::with_deflate). Without one a connection compresses nothing, which is
/// the default: compression takes time of the processor for each message and memory for each connection, and pays
/// where the network is slow or dear and messages are text of some KiB.
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
/// A message that arrives in pieces keeps its 47,552 bytes from the first byte of its payload to the last. What inflates
/// counts against [`Config::max_message`](crate::Config::max_message) as it appears, in chunks of 8 KiB, so a bomb holds
/// no more than any message of that size.
///
/// # Example: a server that compresses what is large
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
    /// Payload bytes from which on a message is compressed. Default 1024: what is smaller fits into one packet either
    /// way, and a message costs some 10 µs before its first byte is compressed.
    pub above: u32,
    /// How hard to try, from 1 (fast) to 9 (small); other values are taken for the nearest. Default 3: on JSON of 1 to
    /// 10 KiB a fifth smaller than 1, and no more of it helps.
    pub level: u8,
    /// Whether the server's compressor keeps what it knows from message to message. Default false: with it small
    /// messages that resemble each other shrink far more, but each connection holds a compressor, and what many
    /// receive cannot be compressed once for all.
    pub server_takeover: bool,
    /// Whether the client's compressor keeps what it knows. Default false: with it a server holds 47,552 bytes for
    /// each client.
    pub client_takeover: bool,
    /// How far back the server's compressor looks, as a power of two: 9 to 15, other values are taken for the nearest.
    /// Default 15, 32 KiB, as everywhere.
    pub server_window_bits: u8,
    /// How far back the client's compressor looks, likewise. Default 15. A server's wish has an effect on clients only
    /// that say they can follow it.
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

/// What client and server have agreed on: made by [`Deflate::accept`] or [`Deflate::confirm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// This end's own wish.
    pub(crate) above: u32,
    pub(crate) level: u8,
    pub(crate) server: Direction,
    pub(crate) client: Direction,
    names_server_window: bool,
    names_client_window: bool,
}

/// How the messages of one end are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) takeover: bool,
    /// 8 to 15.
    pub(crate) window_bits: u8,
}

impl Agreement {
    /// Whether the server may send frames that begin with [`write_deflated_head`] and end with what [`deflate_tail`]
    /// made: the server keeps no context, and the client's window is whole.
    ///
    /// Browsers offer nothing that speaks against it.
    #[must_use]
    pub fn shares_tails(&self) -> bool {
        !self.server.takeover && self.server.window_bits == MAX_WINDOW_BITS
    }

    /// Payload bytes from which on this end compresses: [`Deflate::above`].
    #[must_use]
    pub fn above(&self) -> usize {
        self.above as usize
    }
}

/// The window of DEFLATE itself: 32 KiB.
const MAX_WINDOW_BITS: u8 = 15;

/// The least that the RFC names.
const MIN_WINDOW_BITS: u8 = 8;
