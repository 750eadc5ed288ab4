use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use memchr::{memchr, memchr2};

use super::{DecodeError, Limits};
use crate::command::Command;
use crate::frame::Frame;
use crate::headers::Headers;
use crate::version::Version;
use crate::{
    escape::{Escaping, UndefinedEscape},
    frame::CONTENT_LENGTH,
    text::{lossy_excerpt, trim},
};

/// The progress of the search for the end of one frame.
///
/// Offsets count from the first byte of the frame, wherever its bytes are held.
#[derive(Default, Debug)]
pub(super) struct Scan {
    command: Option<Command>,
    /// The start of the first header line.
    headers_start: usize,
    header_count: usize,
    line_start: usize,
    /// Known after the blank line.
    body_start: Option<usize>,
    body_len: BodyLen,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum BodyLen {
    /// The body ends at the first NUL.
    #[default]
    Unannounced,
    Announced(usize),
}

impl Scan {
    /// Searches `input`, which follows the bytes that are `held` and were searched before.
    ///
    /// Returns how many bytes of `input` belong to the frame, its NUL included, or `None` when all of them do and the
    /// frame goes on.
    pub(super) fn run(
        &mut self,
        held: &[u8],
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, DecodeError> {
        let mut at = 0;
        let body_start = loop {
            if let Some(body_start) = self.body_start {
                break body_start;
            }
            // Only the first line begins with bytes that are held.
            let pending = held.len() + at - self.line_start;
            // The longest line with its CR and LF; the search stops there.
            let longest = self.line_limit(limits).saturating_add(2);
            let unread = &input[at..];
            let unread = &unread[..unread.len().min(longest.saturating_sub(pending))];
            match memchr2(b'\n', 0, unread) {
                Some(end) if unread[end] == b'\n' => {
                    let line = line(held, input, self.line_start, at + end);
                    at += end + 1;
                    self.line(&line, held.len() + at, limits)?;
                }
                Some(end) => {
                    let line = line(held, input, self.line_start, at + end);
                    return Err(self.nul_in_head(&line));
                }
                None if pending + unread.len() >= longest => {
                    let line = line(held, input, self.line_start, at + unread.len());
                    return Err(self.line_too_long(&line, limits));
                }
                None => return Ok(None),
            }
        };
        match self.body_len {
            BodyLen::Announced(length) => {
                let end = body_start.saturating_add(length);
                if held.len() + input.len() <= end {
                    return Ok(None);
                }
                let nul = end - held.len();
                if input[nul] != 0 {
                    return Err(DecodeError::BodyNotTerminated {
                        content_length: length,
                    });
                }
                Ok(Some(nul + 1))
            }
            BodyLen::Unannounced => {
                let body_so_far = held.len() + at - body_start;
                let unread = &input[at..];
                let window = limits.body.saturating_add(1) - body_so_far;
                let unread = &unread[..unread.len().min(window)];
                match memchr(0, unread) {
                    Some(nul) => Ok(Some(at + nul + 1)),
                    None if body_so_far + unread.len() > limits.body => {
                        Err(DecodeError::BodyTooLarge { limit: limits.body })
                    }
                    None => Ok(None),
                }
            }
        }
    }

    /// Parses the frame whose end was found; `bytes` are all of its bytes.
    pub(super) fn into_frame(self, bytes: &Bytes, version: Version) -> Result<Frame, DecodeError> {
        let (Some(command), Some(body_start)) = (self.command, self.body_start) else {
            unreachable!("the end of a frame is only found behind its command and its headers");
        };
        let has_body = command.may_have_body();
        let head_only;
        let bytes = if has_body || body_start + 1 == bytes.len() {
            bytes
        } else {
            // Slices of the headers would keep the body alive that is dropped here.
            head_only = Bytes::copy_from_slice(&bytes[..body_start]);
            &head_only
        };
        let mut headers = Headers::with_capacity(self.header_count);
        if self.header_count > 0 {
            let head = ByteString::try_from(bytes.slice(self.headers_start..body_start))
                .map_err(|_| DecodeError::HeadersNotUtf8 { command })?;
            let escaping = if memchr(b'\\', head.as_bytes()).is_some() {
                Escaping::of(command, version)
            } else {
                Escaping::None
            };
            let mut rest = &*head;
            for _ in 0..self.header_count {
                let line;
                // `Scan::line` has seen a line feed and a colon in each line.
                (line, rest) = split(rest, b'\n');
                let line = line.strip_suffix('\r').unwrap_or(line);
                let (name, value) = split(line, b':');
                let value = trimmed(value, command, version);
                let name = match common_name(name) {
                    Some(name) => ByteString::from_static(name),
                    None => text(&head, name, line, escaping)?,
                };
                headers.push(name, text(&head, value, line, escaping)?);
            }
        }
        Ok(Frame {
            command,
            headers,
            body: if has_body {
                bytes.slice(body_start..bytes.len() - 1)
            } else {
                Bytes::new()
            },
        })
    }

    /// Takes a complete line, without its LF; the next one begins at `next`.
    fn line(&mut self, line: &[u8], next: usize, limits: &Limits) -> Result<(), DecodeError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.line_start = next;
        if line.len() > self.line_limit(limits) {
            return Err(self.line_too_long(line, limits));
        }
        if memchr(b'\r', line).is_some() {
            return Err(DecodeError::BareCarriageReturn);
        }
        match self.command {
            None => {
                self.command = Some(Command::parse(line).ok_or_else(|| unknown_command(line))?);
                self.headers_start = next;
                Ok(())
            }
            Some(_) if line.is_empty() => {
                self.body_start = Some(next);
                Ok(())
            }
            Some(_) => self.header(line, limits),
        }
    }

    fn header(&mut self, line: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        if self.header_count == limits.header_count {
            return Err(DecodeError::TooManyHeaders {
                limit: limits.header_count,
            });
        }
        self.header_count += 1;
        let colon = memchr(b':', line).ok_or_else(|| DecodeError::MissingColon {
            line: lossy_excerpt(line),
        })?;
        if colon == 0 {
            return Err(DecodeError::EmptyHeaderName {
                line: lossy_excerpt(line),
            });
        }
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name != CONTENT_LENGTH.as_bytes() || self.body_len != BodyLen::Unannounced {
            return Ok(());
        }
        self.body_len = BodyLen::Announced(content_length(value, limits.body)?);
        Ok(())
    }

    fn line_limit(&self, limits: &Limits) -> usize {
        match self.command {
            None => COMMAND_LINE,
            Some(_) => limits.header_line,
        }
    }

    fn line_too_long(&self, line: &[u8], limits: &Limits) -> DecodeError {
        match self.command {
            None => unknown_command(line),
            Some(_) => DecodeError::HeaderLineTooLong {
                limit: limits.header_line,
            },
        }
    }

    fn nul_in_head(&self, line: &[u8]) -> DecodeError {
        match self.command {
            None if Command::parse(line).is_none() => DecodeError::MisplacedNul {
                line: lossy_excerpt(line),
            },
            _ => DecodeError::HeadNotTerminated,
        }
    }
}

/// Returns the value of the first complete `receipt` line of a frame that failed, as far as it was read.
pub(super) fn receipt_of(read: &[u8], version: Version, limits: &Limits) -> Option<ByteString> {
    let (first, mut rest) = read.split_at(memchr2(b'\n', 0, read)?);
    let command = Command::parse(first.strip_suffix(b"\r").unwrap_or(first));
    // The rest begins with the end of the line before.
    while let (b"\n", lines) = rest.split_at_checked(1)? {
        let (line, after) = lines.split_at(memchr2(b'\n', 0, lines)?);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        rest = after;
        let Some(value) = line.strip_prefix(b"receipt:") else {
            continue;
        };
        if value.contains(&b'\r') || line.len() > limits.header_line {
            return None;
        }
        let command = command.unwrap_or(Command::Send);
        let value = trimmed(std::str::from_utf8(value).ok()?, command, version);
        let value = Escaping::of(command, version).read(value).ok()?;
        return Some(value.as_ref().into());
    }
    None
}

/// Removes the blanks that 1.0 puts around values. The version of a handshake frame is not known yet.
fn trimmed(value: &str, command: Command, version: Version) -> &str {
    if version == Version::V1_0 && !command.is_handshake() {
        trim(value)
    } else {
        value
    }
}

/// The bytes of a line that begins at `start` of the frame and ends at `end` of `input`.
fn line<'a>(held: &[u8], input: &'a [u8], start: usize, end: usize) -> Cow<'a, [u8]> {
    match start.checked_sub(held.len()) {
        Some(start) => Cow::Borrowed(&input[start..end]),
        None => Cow::Owned([&held[start..], &input[..end]].concat()),
    }
}

fn unknown_command(line: &[u8]) -> DecodeError {
    let quoted = &line[..line.len().min(COMMAND_LINE)];
    let mut line = lossy_excerpt(quoted);
    if quoted.len() == COMMAND_LINE {
        line.push('…');
    }
    DecodeError::UnknownCommand { line }
}

/// Parses a length; blanks around the digits are accepted, a sign is not.
fn content_length(value: &[u8], limit: usize) -> Result<usize, DecodeError> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecodeError::InvalidContentLength {
            value: lossy_excerpt(value),
        });
    }
    let length = digits.iter().try_fold(0usize, |number, digit| {
        number
            .checked_mul(10)?
            .checked_add(usize::from(digit - b'0'))
    });
    length
        .filter(|length| *length <= limit)
        .ok_or_else(|| DecodeError::ContentLengthTooLarge {
            length: lossy_excerpt(digits),
            limit,
        })
}

/// Static texts for names that most frames have: they need no reference count.
fn common_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "destination" => "destination",
        "content-type" => "content-type",
        CONTENT_LENGTH => CONTENT_LENGTH,
        "receipt" => "receipt",
        "id" => "id",
        "ack" => "ack",
        "subscription" => "subscription",
        "message-id" => "message-id",
        _ => return None,
    })
}

/// Like `split_once` with an ASCII character, by `memchr`.
fn split(text: &str, at: u8) -> (&str, &str) {
    match memchr(at, text.as_bytes()) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    }
}

/// Returns a slice of the head, or a copy if it has escapes.
fn text(
    head: &ByteString,
    encoded: &str,
    line: &str,
    escaping: Escaping,
) -> Result<ByteString, DecodeError> {
    match escaping.read(encoded) {
        Ok(Cow::Borrowed("")) => Ok(ByteString::new()),
        Ok(Cow::Borrowed(text)) => Ok(head.slice_ref(text)),
        Ok(Cow::Owned(text)) => Ok(text.into()),
        Err(UndefinedEscape(octet)) => Err(DecodeError::UndefinedEscape {
            escape: ['\\'].into_iter().chain(octet).collect(),
            line: crate::text::excerpt(line),
        }),
    }
}

/// The maximum length of a first line in bytes: the longest command, UNSUBSCRIBE, has eleven; the rest is for quoting
/// an invalid one.
const COMMAND_LINE: usize = 32;
