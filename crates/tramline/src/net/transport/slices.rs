//! Compressed input, processed in slices, since it may inflate a thousandfold.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use tramline_websocket::{Connection, Error, Event};

use super::io::Io;

/// Input of a connection with compression that was read but not inflated, because this turn inflated enough already.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    taken: usize,
    /// Other tasks have had their turn since.
    waited: bool,
}

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Bytes inflated after which a connection yields to others. Inflating these takes a fraction of a millisecond, and
/// their content waits for the handler.
pub(crate) const INFLATED: usize = 256 * 1024;

/// Bytes of input between two checks of the inflated total: they inflate to a mebibyte at most.
const SLICE: usize = 1024;

/// Lends `take` one read, or the rest of the previous one; it returns how much of that it took. After an error the rest
/// is dropped.
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
            // Not woken at once: the runtime polls for other tasks' events first.
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

/// Passes the events of `input` to `sink`; stops when compressed input has inflated to enough. Returns the number of
/// bytes taken.
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
