//! Compressed input, taken a slice at a time: it may become a thousand times as much.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use tramline_websocket::{Connection, Error, Event};

use super::io::Io;

/// Input of a connection with compression that was read but not inflated, since one turn had inflated enough.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    taken: usize,
    /// Other tasks had their turn since.
    waited: bool,
}

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Bytes inflated after which a connection yields to others. Inflating these takes a fraction of a millisecond, and
/// what they hold waits for the handler.
pub(crate) const INFLATED: usize = 256 * 1024;

/// Bytes of input between two looks at how much was inflated: a mebibyte of it at most.
const SLICE: usize = 1024;

/// Lends `take` one read, or what is left of the one before; it gives how much of that it took. After an error the rest is
/// forgotten.
pub(super) fn poll_read<T>(
    io: &mut Io,
    unread: &mut Option<Box<Unread>>,
    context: &mut Context<'_>,
    take: impl FnOnce(&mut [u8]) -> Result<usize, T>,
) -> Poll<std::io::Result<Result<(), T>>> {
    if let Some(unread) = unread
        && !unread.is_empty()
    {
        if !unread.waited {
            unread.waited = true;
            // Not woken at once: the runtime looks for what came for others before it does.
            return pin!(tokio::task::yield_now())
                .poll(context)
                .map(|()| Ok(Ok(())));
        }
        let Unread {
            mut bytes, taken, ..
        } = std::mem::take(&mut **unread);
        return Poll::Ready(Ok(take(&mut bytes[taken..]).map(|more| {
            let taken = taken + more;
            if taken < bytes.len() {
                **unread = Unread {
                    bytes,
                    taken,
                    waited: false,
                };
            }
        })));
    }
    io.poll_read(context, |input| {
        let taken = take(input)?;
        if let Some(unread) = unread {
            unread.bytes.extend_from_slice(&input[taken..]);
        }
        Ok(())
    })
}

/// Hands the events of `input` to `sink`, until enough was inflated where it is compressed; gives how many bytes that
/// took.
pub(super) fn take<E>(
    machine: &mut Connection,
    input: &mut [u8],
    compressed: bool,
    mut sink: impl FnMut(Result<Event, Error>) -> Result<(), E>,
) -> Result<usize, E> {
    let slice = if compressed {
        SLICE
    } else {
        input.len().max(1)
    };
    let (mut taken, mut inflated) = (0, 0);
    for mut slice in input.chunks_mut(slice) {
        taken += slice.len();
        let before = machine.buffered();
        while let Some(event) = machine.receive(&mut slice).transpose() {
            inflated += event.as_ref().map_or(0, len);
            sink(event)?;
        }
        inflated += machine.buffered().saturating_sub(before);
        if compressed && inflated >= INFLATED {
            break;
        }
    }
    Ok(taken)
}

fn len(event: &Event) -> usize {
    match event {
        Event::Text(text) => text.len(),
        Event::Binary(bytes) | Event::Ping(bytes) | Event::Pong(bytes) => bytes.len(),
        Event::Close(_) => 0,
    }
}
