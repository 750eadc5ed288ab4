/// What a decoder accepts from its peer.
///
/// # Example: room for larger messages
///
/// ```
/// use tramline_stomp::Limits;
///
/// let limits = Limits::default().with_body(4 * 1024 * 1024);
/// assert_eq!(limits.header_count, 64);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The longest body, in bytes. Default 65,536: what Spring accepts, and enough for a chat or
    /// a price. What a peer that stalls inside a frame can hold is at
    /// [`Decoder`](crate::Decoder#memory).
    pub body: usize,

    /// The longest header line, in bytes as sent, without its line end. Default 8,192: a bearer
    /// token or a cookie fits, and HTTP servers draw the same line.
    pub header_line: usize,

    /// The most header lines of a frame. Default 64: clients send fewer than ten, and a lookup
    /// is linear.
    pub header_count: usize,
}

impl Limits {
    /// With another [`Limits::body`].
    #[must_use]
    pub fn with_body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// With another [`Limits::header_line`].
    #[must_use]
    pub fn with_header_line(mut self, bytes: usize) -> Self {
        self.header_line = bytes;
        self
    }

    /// With another [`Limits::header_count`].
    #[must_use]
    pub fn with_header_count(mut self, count: usize) -> Self {
        self.header_count = count;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 * 1024,
            header_line: 8 * 1024,
            header_count: 64,
        }
    }
}
