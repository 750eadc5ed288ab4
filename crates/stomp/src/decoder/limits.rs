/// Limits on what a decoder accepts from its peer.
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
    /// The maximum length of a body in bytes. Default 65,536: the same as Spring, and enough for a chat message or a
    /// price. [`Decoder`](crate::Decoder#memory) says how much a peer that stalls inside a frame can hold.
    pub body: usize,

    /// The maximum length of a header line in bytes as sent, without its line end. Default 8,192: a bearer token or a
    /// cookie fits, and HTTP servers have the same limit.
    pub header_line: usize,

    /// The maximum number of header lines of a frame. Default 64: clients send fewer than ten, and a lookup is linear.
    pub header_count: usize,
}

impl Limits {
    /// Sets [`Limits::body`].
    #[must_use]
    pub fn with_body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// Sets [`Limits::header_line`].
    #[must_use]
    pub fn with_header_line(mut self, bytes: usize) -> Self {
        self.header_line = bytes;
        self
    }

    /// Sets [`Limits::header_count`].
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
