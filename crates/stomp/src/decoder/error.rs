use crate::Command;

/// What a peer did that is not STOMP, or more than [`Limits`](crate::Limits) allow.
///
/// Every variant is the peer's doing. Quotes are bounded: a text never grows with the input.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first line of a frame is no command.
    #[error(
        "`{line}` is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a \
         line of its own"
    )]
    UnknownCommand {
        /// The beginning of the line.
        line: String,
    },

    /// A CR that no LF follows.
    #[error(
        "a carriage return stands without a line feed; end lines with LF or CRLF, and write \\r \
         in header values (STOMP 1.2)"
    )]
    BareCarriageReturn,

    /// A NUL before the blank line that ends the headers.
    #[error(
        "the frame ends inside its headers; send a blank line after the last header, then the \
         body and NUL"
    )]
    HeadNotTerminated,

    /// A header line that does not separate a name from a value.
    #[error("the header line `{line}` has no colon; write it as name:value")]
    MissingColon {
        /// The beginning of the line.
        line: String,
    },

    /// A header line that begins with its colon.
    #[error("the header line `{line}` has no name; write it as name:value")]
    EmptyHeaderName {
        /// The beginning of the line.
        line: String,
    },

    /// Headers that are not UTF-8.
    #[error("the headers of the {command} frame are not UTF-8; encode them so")]
    HeadersNotUtf8 {
        /// The frame.
        command: Command,
    },

    /// A backslash that begins none of the version's escapes.
    #[error(
        "`{escape}` in the header line `{line}` is not an escape of this STOMP version; write a \
         backslash as \\\\"
    )]
    UndefinedEscape {
        /// The backslash and what follows it.
        escape: String,
        /// The beginning of the line.
        line: String,
    },

    /// A header line over the limit.
    #[error(
        "a header line exceeds the limit of {limit} bytes; send less or raise \
         `Limits::header_line`"
    )]
    HeaderLineTooLong {
        /// [`Limits::header_line`](crate::Limits::header_line), in bytes.
        limit: usize,
    },

    /// More header lines than the limit.
    #[error("the frame has more than {limit} headers; send fewer or raise `Limits::header_count`")]
    TooManyHeaders {
        /// [`Limits::header_count`](crate::Limits::header_count).
        limit: usize,
    },

    /// A `content-length` that is not a number.
    #[error(
        "`{value}` is not a content-length; send the number of bytes of the body or leave the \
         header out"
    )]
    InvalidContentLength {
        /// The beginning of the value.
        value: String,
    },

    /// A `content-length` over the limit.
    #[error(
        "frame body of {length} bytes exceeds the limit of {limit} bytes; send less or raise \
         `Limits::body`"
    )]
    ContentLengthTooLarge {
        /// What the header announces, in bytes; `usize::MAX` stands for more than that too.
        length: usize,
        /// [`Limits::body`](crate::Limits::body), in bytes.
        limit: usize,
    },

    /// A body without `content-length` that went on beyond the limit.
    #[error(
        "frame body exceeds the limit of {limit} bytes without an end; send less or raise \
         `Limits::body`"
    )]
    BodyTooLarge {
        /// [`Limits::body`](crate::Limits::body), in bytes.
        limit: usize,
    },

    /// A body in a frame that may not have one.
    #[error("a {command} frame has no body; only SEND, MESSAGE and ERROR may have one")]
    BodyNotAllowed {
        /// The frame.
        command: Command,
    },

    /// No NUL after the bytes that `content-length` announced.
    #[error(
        "no NUL follows the {content_length} bytes that content-length announces; count the \
         bytes of the body, not its characters, and end the frame with NUL"
    )]
    BodyNotTerminated {
        /// What the header announced, in bytes.
        content_length: usize,
    },
}
