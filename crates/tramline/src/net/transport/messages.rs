//! Messages on each transport.

use std::sync::OnceLock;
use std::task::{Context, Poll};

use bytestring::ByteString;
use tramline_websocket::{Event, OpCode, write_deflated_head, write_head};

use crate::net::message::{Item, Message, Received};
use crate::net::transport::io::Batch;
use crate::net::transport::sockjs::SockJsHttp;
use crate::net::transport::websocket::{Framing, Plain, Sharing, SockJs, WebSocket};
use crate::net::transport::{Chunks, Lost, Transport};
use crate::net::wire;

/// A transport that carries messages unchanged, besides chunks of STOMP.
pub(crate) trait RawTransport: Transport {
    /// True if only text can be carried.
    const TEXT_ONLY: bool;

    /// As [`poll_receive`](Transport::poll_receive), for messages and pongs; in parts if asked for.
    fn poll_messages(
        &mut self,
        context: &mut Context<'_>,
        parts: bool,
        messages: &mut Vec<Received>,
    ) -> Poll<Result<(), Lost>>;

    /// Adds one item. Items that cannot be carried were refused before, and are skipped.
    fn item(&mut self, item: &Item, batch: &mut Batch);
}

/// The form that an application's messages have in WebSocket messages.
pub(crate) trait RawFraming: Framing {
    const TEXT_ONLY: bool;

    fn messages(&self, message: Message, sink: &mut dyn FnMut(Message)) -> Result<(), Lost>;

    fn item(item: &Item, sharing: Sharing, batch: &mut Batch);
}

impl<F: RawFraming> RawTransport for WebSocket<F> {
    const TEXT_ONLY: bool = F::TEXT_ONLY;

    fn poll_messages(
        &mut self,
        context: &mut Context<'_>,
        parts: bool,
        messages: &mut Vec<Received>,
    ) -> Poll<Result<(), Lost>> {
        // SockJS's messages are whole: they are elements of an array.
        let in_parts = parts && !F::TEXT_ONLY;
        self.poll_events(context, in_parts, |framing, event, is_last| {
            let message = match event {
                Event::Text(text) => Message::Text(text),
                Event::Binary(bytes) => Message::Binary(bytes),
                Event::Pong(payload) => {
                    messages.push(Received::Pong(payload));
                    return Ok(());
                }
                Event::Ping(_) | Event::Close(_) => return Ok(()),
            };
            framing.messages(message, &mut |message| {
                messages.push(received(message, parts, is_last));
            })
        })
    }

    fn item(&mut self, item: &Item, batch: &mut Batch) {
        match item {
            Item::Ping(payload) => self.ping(payload, batch),
            item => F::item(item, self.sharing(), batch),
        }
    }
}

impl RawFraming for Plain {
    const TEXT_ONLY: bool = false;

    fn messages(&self, message: Message, sink: &mut dyn FnMut(Message)) -> Result<(), Lost> {
        sink(message);
        Ok(())
    }

    fn item(item: &Item, sharing: Sharing, batch: &mut Batch) {
        let Some(message) = item.message() else {
            return;
        };
        let opcode = match message {
            Message::Text(_) => OpCode::Text,
            Message::Binary(_) => OpCode::Binary,
        };
        if sharing.is_some_and(|from| message.len() >= from as usize) {
            let deflated = item.deflated(|deflated| {
                write_deflated_head(&mut batch.bytes, opcode, b"", deflated.len());
                batch.payload(deflated);
            });
            if deflated.is_some() {
                return;
            }
        }
        write_head(&mut batch.bytes, opcode, message.len());
        batch.payload(message.as_bytes());
    }
}

impl RawFraming for SockJs {
    const TEXT_ONLY: bool = true;

    fn messages(&self, message: Message, sink: &mut dyn FnMut(Message)) -> Result<(), Lost> {
        let messages = self.parse(message.as_bytes())?;
        messages.into_iter().map(Message::Text).for_each(sink);
        Ok(())
    }

    fn item(item: &Item, sharing: Sharing, batch: &mut Batch) {
        item.escaped(|escaped, forms| {
            let own = OnceLock::new();
            let slot = forms.map_or(&own, |forms| &forms.deflated_escaped);
            let deflate = || wire::deflate(&[escaped, wire::SOCKJS_END].concat());
            let deflated = || slot.get_or_init(deflate).as_ref();
            Self::escaped(&[], escaped, sharing, deflated, batch);
        });
    }
}

impl RawTransport for SockJsHttp {
    const TEXT_ONLY: bool = true;

    fn poll_messages(
        &mut self,
        context: &mut Context<'_>,
        parts: bool,
        messages: &mut Vec<Received>,
    ) -> Poll<Result<(), Lost>> {
        let mut chunks = Chunks::default();
        let read = self.poll_receive(context, &mut chunks);
        messages.extend(chunks.into_iter().map(|chunk| {
            let message = ByteString::try_from(chunk.clone())
                .map_or_else(|_| Message::Binary(chunk), Message::Text);
            received(message, parts, true)
        }));
        read
    }

    fn item(&mut self, item: &Item, _: &mut Batch) {
        item.escaped(|escaped, _| self.send_escaped(&[escaped]));
    }
}

fn received(message: Message, parts: bool, is_last: bool) -> Received {
    if parts {
        Received::Part {
            part: message,
            is_last,
        }
    } else {
        Received::Message(message)
    }
}
