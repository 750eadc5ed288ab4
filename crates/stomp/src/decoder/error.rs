use crate::command::Command;

/// A peer sent invalid STOMP, or more than [`Limits`](crate::Limits) allow.
///
/// Every variant is an error of the peer. Quotes are bounded: an error text never grows with the input.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first line of a frame is not a command.
    #[error(
        "`{line}` is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a \
         line of its own"
    )]
    UnknownCommand {
        /// The beginning of the line.
        line: String,
    },

    /// A NUL where a frame should begin or in its first line, which is not a command.
    #[error("{}", misplaced_nul(line))]
    MisplacedNul {
        /// The text before the NUL, or its beginning; often empty.
        line: String,
    },

    /// A CR without LF.
    #[error(
        "a carriage return stands without a line feed; end lines with LF or CRLF, and write \\r \
         in header values (STOMP 1.2)"
    )]
    BareCarriageReturn,

    /// A NUL before the blank line after the headers.
    #[error(
        "the frame ends inside its headers; send a blank line after the last header, then the \
         body and NUL"
    )]
    HeadNotTerminated,

    /// A header line without a colon.
    #[error("the header line `{line}` has no colon; {}", how_to_mend(line))]
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
        /// The length that the header announces, as the peer wrote it, or its beginning.
        length: String,
        /// [`Limits::body`](crate::Limits::body), in bytes.
        limit: usize,
    },

    /// A body without `content-length` exceeded the limit.
    #[error(
        "frame body exceeds the limit of {limit} bytes without an end; send less or raise \
         `Limits::body`"
    )]
    BodyTooLarge {
        /// [`Limits::body`](crate::Limits::body), in bytes.
        limit: usize,
    },

    /// No NUL follows the bytes that `content-length` announced.
    #[error(
        "no NUL follows the {content_length} bytes that content-length announces; count the \
         bytes of the body, not its characters, and end the frame with NUL"
    )]
    BodyNotTerminated {
        /// The announced length in bytes.
        content_length: usize,
    },
}

fn misplaced_nul(line: &str) -> String {
    let found = if line.is_empty() {
        "a NUL stands where a frame should begin".to_owned()
    } else {
        format!("a NUL follows `{line}`, which is no STOMP command")
    };
    format!(
        "{found}; end each frame with one NUL only, and announce a body that has NULs with \
         content-length"
    )
}

fn how_to_mend(line: &str) -> &'static str {
    if Command::parse(line.as_bytes()).is_some() {
        "end the frame before it with a blank line and NUL"
    } else {
        "write it as name:value"
    }
}
