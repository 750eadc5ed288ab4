use bytestring::ByteString;

use super::required::required;
use super::{Acknowledge, DeliveryId, PeerViolation, ServerConnection, ServerError, ServerEvent};
use crate::ack_mode::AckMode;
use crate::command::Command;
use crate::headers::Headers;
use crate::version::Version;
use crate::{frame::write_decimal, text::excerpt};

impl ServerConnection {
    /// Handles ACK and NACK.
    pub(super) fn acknowledge(
        &self,
        command: Command,
        headers: Headers,
        receipt: Option<ByteString>,
    ) -> Result<ServerEvent, ServerError> {
        let is_ack = command == Command::Ack;
        if !is_ack && self.version() == Version::V1_0 {
            return Err(PeerViolation::NackIn1_0.into());
        }
        let acknowledge = Acknowledge {
            delivery: self.delivery(command, &headers)?,
            transaction: self.transactions.of(&headers)?,
            headers,
            receipt,
        };
        Ok(if is_ack {
            ServerEvent::Ack(acknowledge)
        } else {
            ServerEvent::Nack(acknowledge)
        })
    }

    /// Returns the delivery that the frame refers to, and checks that its subscription takes acknowledgements.
    fn delivery(&self, command: Command, headers: &Headers) -> Result<DeliveryId, PeerViolation> {
        if self.version() == Version::V1_2 {
            let id = required(headers, command, "id")?;
            let Some((slot, tag, key)) = read_ack_id(&id) else {
                return Err(PeerViolation::InvalidAckId { id: excerpt(&id) });
            };
            if key != self.ack_key {
                return Err(PeerViolation::AckOfOtherSession { id: excerpt(&id) });
            }
            return match self.ack_mode(slot) {
                None => Err(PeerViolation::AckWithoutSubscription { id: excerpt(&id) }),
                Some(AckMode::Auto) => Err(PeerViolation::AckOfAuto { command }),
                Some(_) => Ok(DeliveryId::Tag { slot, tag }),
            };
        }
        let message_id = required(headers, command, "message-id")?;
        let optional = self.version() == Version::V1_0;
        if optional && headers.get("subscription").is_none() {
            let slot = None;
            return Ok(DeliveryId::Message { slot, message_id });
        }
        let id = required(headers, command, "subscription")?;
        let slot = self
            .subscriptions
            .find(self.version(), &id)
            .ok_or_else(|| PeerViolation::UnknownSubscription { id: excerpt(&id) })?;
        if self.ack_mode(slot) == Some(AckMode::Auto) {
            return Err(PeerViolation::AckOfAuto { command });
        }
        let slot = Some(slot);
        Ok(DeliveryId::Message { slot, message_id })
    }
}

/// The key of a session's ack tokens: a hash (FNV-1a), and never zero, which means that the session has no name.
pub(super) fn key_of(session: &str) -> u32 {
    let hash = session.bytes().fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
    });
    hash.max(1)
}

/// Appends the `ack` header that [`read_ack_id`] parses.
pub(super) fn write_ack_header(slot: u32, tag: u32, key: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ack:");
    write_decimal(u64::from(slot), out);
    out.push(b'-');
    write_decimal(u64::from(tag), out);
    if key > 0 {
        out.push(b'-');
        write_decimal(u64::from(key), out);
    }
    out.push(b'\n');
}

/// Appends the headers of a message that was delivered `count` times before.
pub(super) fn write_redelivery(count: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"redelivered:true\ndelivery-count:");
    write_decimal(u64::from(count), out);
    out.push(b'\n');
}

/// Parses slot, tag and key, in their canonical spelling only. The key is zero if there is none.
fn read_ack_id(id: &str) -> Option<(u32, u32, u32)> {
    let (slot, rest) = id.split_once('-')?;
    let (tag, key) = match rest.split_once('-') {
        Some((tag, key)) => (tag, decimal(key).filter(|key| *key > 0)?),
        None => (rest, 0),
    };
    Some((decimal(slot)?, decimal(tag)?, key))
}

/// Parses a number as `write_decimal` writes it: no sign, no leading zeros.
fn decimal(text: &str) -> Option<u32> {
    let canonical = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    // Without a sign, `parse` accepts digits only.
    canonical.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_id_reads_as_it_was_written_and_not_otherwise() {
        for (slot, tag, key) in [(0, 0, 0), (1, 20, 1), (u32::MAX, u32::MAX, u32::MAX)] {
            let mut header = Vec::new();
            write_ack_header(slot, tag, key, &mut header);
            let header = String::from_utf8(header).unwrap();
            let id = header.strip_prefix("ack:").unwrap().trim_end();
            assert_eq!(read_ack_id(id), Some((slot, tag, key)));
        }
        for id in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-1",
            "1-+1",
            "01-1",
            "1-01",
            "1--1",
            "1-1-",
            "1-1-0",
            "1-1-01",
            "1-1-x",
            "1-1-1-1",
            " 1-1",
            "1-1 ",
            "a-1",
            "1-4294967296",
            "4294967296-1",
            "1-1-4294967296",
        ] {
            assert_eq!(read_ack_id(id), None, "{id:?}");
        }
    }
}
