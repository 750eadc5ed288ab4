//! The role of an end, and its limits.

/// The role of a machine in its connection.
///
/// It determines masking: a client masks every frame, a server none, and each rejects a peer that does otherwise (RFC
/// 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepted the handshake: receives masked frames and sends unmasked ones. Closes TCP first when both ends are
    /// done.
    Server,
    /// Started the handshake: receives unmasked frames and sends masked ones. Waits for the server to close TCP.
    Client,
}

/// Limits on what a peer can make a connection hold.
///
/// All three are checked against a frame's header as soon as it is complete, before any of its payload is stored, and
/// end the connection with close code 1009. A compressed message counts by its inflated size, while it is inflated; on
/// the wire it may exceed the limits of frame and message by an eighth and 1 KiB, since some data does not shrink.
///
/// # Example: a server whose messages are small
///
/// ```
/// use tramline_websocket::Config;
///
/// let config = Config::default().with_max_message(64 * 1024).with_max_frame(64 * 1024);
/// assert_eq!(config.max_message, 65_536);
/// assert_eq!(config.max_fragments, 4_096);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Maximum payload bytes of a whole, reassembled message. Default 1 MiB (1,048,576): above any chat or telemetry
    /// message, while a thousand hostile connections that each stop one byte short hold no more than 1 GiB.
    pub max_message: usize,
    /// Maximum payload bytes of one frame. Default 1 MiB, the same as [`max_message`](Config::max_message), because
    /// most peers send a message as one frame. Lower it to make peers split large messages.
    pub max_frame: usize,
    /// Maximum frames of one message; a message in one frame always passes. Default 4096: 256 bytes a frame at the
    /// default message size, and a bound on empty continuation frames, which no limit in bytes would stop.
    pub max_fragments: u32,
}

impl Config {
    /// Sets [`max_message`](Config::max_message), in bytes.
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets [`max_frame`](Config::max_frame), in bytes.
    #[must_use]
    pub fn with_max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// Sets [`max_fragments`](Config::max_fragments), in frames.
    #[must_use]
    pub fn with_max_fragments(mut self, frames: u32) -> Self {
        self.max_fragments = frames;
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message: MIB,
            max_frame: MIB,
            max_fragments: 4096,
        }
    }
}

const MIB: usize = 1024 * 1024;
