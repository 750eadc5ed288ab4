//! RFC 6455 with the whole stream at hand: no state between calls, no care for cost.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use tramline_websocket::{CloseCode, CloseFrame, Config, Event, Role};

use super::{End, Mode};

/// What a stream comes to.
pub(super) struct Expected {
    pub(super) events: Vec<Event>,
    /// How many events came before the compressed message that the stream ends in, if it does: such a message is
    /// inflated here only once it is whole, and may have been broken before the control frames inside it.
    pub(super) sure: usize,
    pub(super) end: End,
}

/// The events that a machine of `mode` reads from a stream, and how the stream ends.
pub(super) fn read(mode: Mode, config: Config, stream: &[u8]) -> Expected {
    let (mut events, mut open) = (Vec::new(), None);
    let end = frames(mode, config, stream, &mut events, &mut open).unwrap_or(End::Broken);
    Expected {
        sure: open.unwrap_or(events.len()),
        events,
        end,
    }
}

struct Broken;

struct Message {
    text: bool,
    compressed: bool,
    held: Vec<u8>,
    frames: u32,
}

fn frames(
    mode: Mode,
    config: Config,
    mut rest: &[u8],
    events: &mut Vec<Event>,
    open: &mut Option<usize>,
) -> Result<End, Broken> {
    let mut message: Option<Message> = None;
    let mut context = Vec::new();
    while let Some(&first) = rest.first() {
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let control = opcode >= 8;
        let compressed = mode.deflate.is_some() && first & 0x70 == 0x40;
        rule(compressed || first & 0x70 == 0)?;
        rule(matches!(opcode, 0..=2 | 8..=10))?;
        rule(!compressed || matches!(opcode, 1 | 2))?;
        rule(fin || !control)?;
        let Some(&second) = rest.get(1) else { break };
        let masked = second & 0x80 != 0;
        rule(masked == (mode.role == Role::Server))?;
        let (size, least) = match second & 0x7f {
            126 => (2, 126),
            127 => (8, 0x1_0000),
            _ => (0, 0),
        };
        rule(size == 0 || !control)?;
        let head = 2 + size + if masked { 4 } else { 0 };
        let Some(number) = rest.get(2..2 + size) else {
            break;
        };
        let length = match size {
            0 => u64::from(second & 0x7f),
            _ => number
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        rule(length >= least && length >> 63 == 0)?;
        if rest.len() < head {
            break;
        }

        if !control {
            match (&mut message, opcode) {
                (None, 0) | (Some(_), 1 | 2) => return Err(Broken),
                (Some(message), _) => {
                    message.frames += 1;
                    rule(message.frames <= config.max_fragments)?;
                }
                (message, _) => {
                    *open = compressed.then_some(events.len());
                    *message = Some(Message {
                        text: opcode == 1,
                        compressed,
                        held: Vec::new(),
                        frames: 1,
                    });
                }
            }
            let (held, compressed) = message.as_ref().map_or((0, false), |message| {
                (message.held.len(), message.compressed)
            });
            let most = |max: usize| if compressed { max + max / 8 + 1024 } else { max } as u64;
            rule(length <= most(config.max_frame))?;
            rule(held as u64 + length <= most(config.max_message))?;
        }
        let present = (length.min((rest.len() - head) as u64)) as usize;
        let whole = present as u64 == length;
        let key = if masked {
            &rest[head - 4..head]
        } else {
            &[0; 4]
        };
        let payload = rest[head..head + present].iter().zip(key.iter().cycle());
        let payload: Vec<u8> = payload.map(|(byte, key)| byte ^ key).collect();
        rest = &rest[head + present..];

        if control {
            if !whole {
                break;
            }
            events.push(match opcode {
                8 => Event::Close(close(&payload)?),
                9 => Event::Ping(payload.into()),
                _ => Event::Pong(payload.into()),
            });
            if opcode == 8 {
                break;
            }
            continue;
        }
        let complete = fin && whole;
        if let Some(message) = &mut message {
            message.held.extend_from_slice(&payload);
            if message.text
                && !message.compressed
                && let Err(error) = std::str::from_utf8(&message.held)
            {
                rule(error.error_len().is_none() && !complete)?;
            }
        }
        if let Some(mut message) = message.take_if(|_| complete) {
            if message.compressed {
                let takeover = mode.deflate.is_some_and(|deflate| deflate.takeover);
                message.held = match inflate(&mut context, &message.held, takeover) {
                    Ok(held) => held,
                    Err(Broken) if takeover => return Ok(End::Unclear),
                    Err(Broken) => return Err(Broken),
                };
                rule(message.held.len() <= config.max_message)?;
            }
            events.push(match String::from_utf8(message.held) {
                Ok(held) if message.text => Event::Text(held.into()),
                Ok(held) => Event::Binary(held.into()),
                Err(_) if message.text => return Err(Broken),
                Err(held) => Event::Binary(held.into_bytes().into()),
            });
            *open = None;
        }
    }
    Ok(match message {
        Some(Message {
            compressed: true, ..
        }) => End::InsideCompressed,
        _ => End::Quiet,
    })
}

/// Inflates a message behind the ones before it, of which `context` has all bytes.
fn inflate(context: &mut Vec<u8>, payload: &[u8], takeover: bool) -> Result<Vec<u8>, Broken> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    if !takeover {
        context.clear();
    }
    let before = Inflated::new(context)?.bytes.len();
    context.extend_from_slice(payload);
    context.extend_from_slice(&[0, 0, 0xff, 0xff]);
    let mut after = Inflated::new(context)?;
    // A block begins here, or else it broke off.
    let last = [&context[..], &[1, 0, 0, 0xff, 0xff]].concat();
    rule(Inflated::new(&last)?.ended == last.len())?;
    // What a stream that ended has left behind is of no use to the next.
    context.drain(..after.ended);
    Ok(after.bytes.split_off(before))
}

struct Inflated {
    bytes: Vec<u8>,
    /// Where the last stream ended that did.
    ended: usize,
}

impl Inflated {
    fn new(deflated: &[u8]) -> Result<Self, Broken> {
        let (mut bytes, mut ended) = (Vec::new(), 0);
        loop {
            let (stream, read) = inflate_stream(&deflated[ended..])?;
            bytes.extend_from_slice(&stream);
            match read {
                Some(read) => ended += read,
                None => return Ok(Self { bytes, ended }),
            }
        }
    }
}

/// Inflates one stream into memory that begins with it, so that nothing can lie before; and how long it was, if it came
/// to its end.
fn inflate_stream(deflated: &[u8]) -> Result<(Vec<u8>, Option<usize>), Broken> {
    let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    let (mut out, mut read, mut written) = (vec![0; 4096], 0, 0);
    loop {
        let (status, consumed, produced) =
            decompress(&mut state, &deflated[read..], &mut out, written, flags);
        read += consumed;
        written += produced;
        match status {
            TINFLStatus::HasMoreOutput => out.resize(out.len() * 2, 0),
            TINFLStatus::NeedsMoreInput | TINFLStatus::Done => {
                out.truncate(written);
                return Ok((out, (status == TINFLStatus::Done).then_some(read)));
            }
            _ => return Err(Broken),
        }
    }
}

fn close(payload: &[u8]) -> Result<Option<CloseFrame>, Broken> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Broken),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let code = CloseCode::new(code).ok_or(Broken)?;
    let reason = std::str::from_utf8(reason).map_err(|_| Broken)?.into();
    Ok(Some(CloseFrame { code, reason }))
}

fn rule(kept: bool) -> Result<(), Broken> {
    kept.then_some(()).ok_or(Broken)
}
