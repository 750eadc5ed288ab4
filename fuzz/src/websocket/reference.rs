//! RFC 6455 with the whole stream at hand: no state between calls, no care for cost.

use tramline_websocket::{CloseCode, CloseFrame, Config, Event, Role};

/// The events that `role` reads from a stream, and whether the stream breaks a rule or a limit then.
pub(super) fn read(role: Role, config: Config, stream: &[u8]) -> (Vec<Event>, bool) {
    let mut events = Vec::new();
    let broken = frames(role, config, stream, &mut events).is_err();
    (events, broken)
}

struct Broken;

fn frames(
    role: Role,
    config: Config,
    mut rest: &[u8],
    events: &mut Vec<Event>,
) -> Result<(), Broken> {
    let mut message: Option<(bool, Vec<u8>, u32)> = None;
    while let Some(&first) = rest.first() {
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let control = opcode >= 8;
        rule(first & 0x70 == 0)?;
        rule(matches!(opcode, 0..=2 | 8..=10))?;
        rule(fin || !control)?;
        let Some(&second) = rest.get(1) else { break };
        let masked = second & 0x80 != 0;
        rule(masked == (role == Role::Server))?;
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
            rule(length <= config.max_frame as u64)?;
            match (&mut message, opcode) {
                (None, 0) | (Some(_), 1 | 2) => return Err(Broken),
                (Some((_, _, frames)), _) => {
                    *frames += 1;
                    rule(*frames <= config.max_fragments)?;
                }
                (message, _) => *message = Some((opcode == 1, Vec::new(), 1)),
            }
            let held = message.as_ref().map_or(0, |(_, held, _)| held.len());
            rule(held as u64 + length <= config.max_message as u64)?;
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
                return Ok(());
            }
            continue;
        }
        if let Some((text, held, _)) = &mut message {
            held.extend_from_slice(&payload);
            if *text && let Err(error) = std::str::from_utf8(held) {
                rule(error.error_len().is_none() && !(fin && whole))?;
            }
        }
        if let Some((text, held, _)) = message.take_if(|_| fin && whole) {
            events.push(match String::from_utf8(held) {
                Ok(held) if text => Event::Text(held.into()),
                Ok(held) => Event::Binary(held.into()),
                Err(held) => Event::Binary(held.into_bytes().into()),
            });
        }
    }
    Ok(())
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
