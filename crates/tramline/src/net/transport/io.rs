//! Byte streams, and the scratch memory that all connections of a worker share.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

#[cfg(any(feature = "serve", feature = "tls"))]
use crate::net::places::Place;

/// A byte stream: the bare socket if possible, anything else in a box.
pub(crate) enum Io {
    Tcp(TcpStream),
    /// A socket from our own HTTP server, with its place there until the connection ends. Boxed: with the place it is
    /// larger than the others.
    #[cfg(feature = "serve")]
    Served(Box<(TcpStream, Place)>),
    /// TLS on a socket of ours, with the place of its connection, if it has one.
    #[cfg(feature = "tls")]
    Tls(Box<(TlsStream<TcpStream>, Option<Place>)>),
    Other(Box<dyn Stream>),
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Sets the options of a socket that carries messages: `TCP_NODELAY`.
pub(crate) fn prepare(socket: &TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a socket does not take TCP_NODELAY");
    }
}

/// The most bytes of a socket's output that the system takes before it has sent them: more than a network needs to be
/// busy until the next wake-up.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SHORT: u32 = 32 * 1024;

impl Io {
    /// Makes the system hold at most [`SHORT`] bytes that it has not sent, so that the rest waits in the outbox, where later
    /// messages replace it. Without, a slow reader is behind by what a send buffer of megabytes holds. Not for others:
    /// it costs a fast reader wake-ups.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn keep_short(&self) -> bool {
        let socket = match self {
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Some(tls.0.get_ref().0),
            _ => self.bare(),
        };
        let Some(socket) = socket else {
            return false;
        };
        let set = SockRef::from(socket).set_tcp_notsent_lowat(SHORT);
        set.inspect_err(|error| {
            tracing::debug!(%error, "a socket does not take TCP_NOTSENT_LOWAT");
        })
        .is_ok()
    }

    /// There is no such option here.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn keep_short(&self) -> bool {
        false
    }

    fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            #[cfg(feature = "serve")]
            Self::Served(served) => Pin::new(&mut served.0),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(&mut tls.0),
            Self::Other(stream) => Pin::new(stream),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            #[cfg(feature = "serve")]
            Self::Served(served) => Pin::new(&mut served.0),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(&mut tls.0),
            Self::Other(stream) => Pin::new(stream),
        }
    }

    /// The socket whose bytes are read as they are.
    fn bare(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            #[cfg(feature = "serve")]
            Self::Served(served) => Some(&served.0),
            #[cfg(feature = "tls")]
            Self::Tls(_) => None,
            Self::Other(_) => None,
        }
    }

    /// Ends the writing side.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(context)
    }

    /// Reads once into the worker's scratch buffer; `consume` gets the input and must take all of it. An empty slice
    /// means end of stream.
    pub(crate) fn poll_read<T>(
        &mut self,
        context: &mut Context<'_>,
        consume: impl FnOnce(&mut [u8]) -> T,
    ) -> Poll<io::Result<T>> {
        // Asked first: most polls of a socket find nothing, and then need no buffer.
        if let Some(socket) = self.bare() {
            ready!(socket.poll_read_ready(context))?;
        }
        let mut scratch = READ_SCRATCH.take();
        scratch.resize(READ_SIZE, 0);
        let mut buffer = ReadBuf::new(&mut scratch);
        let result = self
            .reader()
            .poll_read(context, &mut buffer)
            .map_ok(|()| buffer.filled().len());
        let outcome = result.map_ok(|len| consume(&mut scratch[..len]));
        READ_SCRATCH.set(scratch);
        outcome
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Io::Tcp",
            #[cfg(feature = "serve")]
            Self::Served(..) => "Io::Served",
            #[cfg(feature = "tls")]
            Self::Tls(_) => "Io::Tls",
            Self::Other(_) => "Io::Other",
        })
    }
}

/// The most bytes that one read takes. It bounds what a session can have waiting while a handler runs, and is enough
/// that a burst of small frames arrives in one read.
const READ_SIZE: usize = 64 * 1024;

/// A payload of this size or more is passed to the socket in place, after its head, instead of being copied. Below it
/// one `write` of a copy costs less than a vectored one (measured: 1.15 times at 128 B, equal at 4 KiB).
const VECTORED_FROM: usize = 16 * 1024;

thread_local! {
    static READ_SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static BATCH: Cell<Batch> = const { Cell::new(Batch { bytes: Vec::new(), large: Vec::new() }) };
}

/// The content of one write: small pieces copied one after the other, large payloads by reference between them.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    /// Payloads, each with the position in `bytes` that it precedes.
    large: Vec<(usize, Bytes)>,
}

impl Batch {
    /// Lends the worker's batch, empty, to `fill`.
    pub(crate) fn with<T>(fill: impl FnOnce(&mut Self) -> T) -> T {
        let mut batch = BATCH.take();
        let outcome = fill(&mut batch);
        batch.bytes.clear();
        batch.large.clear();
        // A batch that grew far beyond the usual is not worth keeping.
        if batch.bytes.capacity() <= 4 * READ_SIZE {
            BATCH.set(batch);
        }
        outcome
    }

    /// Appends a payload, copied or by reference.
    pub(crate) fn payload(&mut self, payload: &Bytes) {
        if payload.len() >= VECTORED_FROM {
            self.large.push((self.bytes.len(), payload.clone()));
        } else {
            self.bytes.extend_from_slice(payload);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.large.is_empty()
    }

    /// The pieces in order.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let starts = std::iter::once(0).chain(self.large.iter().map(|(at, _)| *at));
        let ends = self
            .large
            .iter()
            .map(|(at, _)| *at)
            .chain(std::iter::once(self.bytes.len()));
        let copied = starts
            .zip(ends)
            .map(|(from, to)| Piece::Copied(&self.bytes[from..to]));
        let large = self
            .large
            .iter()
            .map(|(_, bytes)| Some(Piece::Shared(bytes)))
            .chain(std::iter::once(None));
        copied
            .zip(large)
            .flat_map(|(copied, shared)| [Some(copied), shared])
            .flatten()
            .filter(|piece| !piece.is_empty())
    }
}

#[derive(Clone, Copy)]
enum Piece<'a> {
    Copied(&'a [u8]),
    Shared(&'a Bytes),
}

impl Piece<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

/// Bytes that the socket has not taken yet. Most sockets take everything, and then this is one null pointer.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "8 bytes in each idle session in place of 32"
)]
pub(crate) struct Unsent(Option<Box<VecDeque<Bytes>>>);

impl Unsent {
    /// Writes a batch, or as much of it as the socket takes, and keeps the rest; nothing unsent may be left before it.
    pub(crate) fn write(
        &mut self,
        io: &mut Io,
        context: &mut Context<'_>,
        batch: &Batch,
    ) -> io::Result<()> {
        debug_assert!(
            self.0.is_none(),
            "a batch is written only when the one before is out"
        );
        if batch.large.is_empty() {
            let written = taken(io.writer().poll_write(context, &batch.bytes))?;
            if written < batch.bytes.len() {
                self.keep(Piece::Copied(&batch.bytes), written);
            }
            return Ok(());
        }
        let pieces: Vec<Piece<'_>> = batch.pieces().take(MAX_SLICES).collect();
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .map(|piece| IoSlice::new(piece.as_slice()))
            .collect();
        let mut written = taken(io.writer().poll_write_vectored(context, &slices))?;
        for piece in batch.pieces() {
            let len = piece.as_slice().len();
            if written < len {
                self.keep(piece, written);
            }
            written = written.saturating_sub(len);
        }
        Ok(())
    }

    fn keep(&mut self, piece: Piece<'_>, skip: usize) {
        let kept = match piece {
            Piece::Copied(bytes) => Bytes::copy_from_slice(&bytes[skip..]),
            Piece::Shared(bytes) => bytes.slice(skip..),
        };
        self.0.get_or_insert_default().push_back(kept);
    }

    /// The number of bytes left.
    pub(crate) fn len(&self) -> usize {
        self.0
            .iter()
            .flat_map(|kept| kept.iter())
            .map(Bytes::len)
            .sum()
    }

    /// Continues writing; ready when nothing is left and the stream is flushed.
    #[inline]
    pub(crate) fn poll_flush(
        &mut self,
        io: &mut Io,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match (&self.0, &io) {
            // A socket has no buffer of its own to flush.
            (None, Io::Tcp(_)) => Poll::Ready(Ok(())),
            #[cfg(feature = "serve")]
            (None, Io::Served(..)) => Poll::Ready(Ok(())),
            _ => self.poll_flush_kept(io, context),
        }
    }

    fn poll_flush_kept(&mut self, io: &mut Io, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.0.as_mut().and_then(|kept| kept.front_mut()) {
            let written = ready!(io.writer().poll_write(context, first))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if written < first.len() {
                *first = first.slice(written..);
            } else if let Some(kept) = &mut self.0 {
                kept.pop_front();
            }
        }
        self.0 = None;
        io.writer().poll_flush(context)
    }
}

/// The bytes that a write took: 0 if it would have to wait.
fn taken(write: Poll<io::Result<usize>>) -> io::Result<usize> {
    match write {
        Poll::Ready(written) => written,
        Poll::Pending => Ok(0),
    }
}

/// The most slices that one vectored write takes: Linux's `IOV_MAX`.
const MAX_SLICES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_and_large_pieces_arrive_in_order_through_a_narrow_pipe() {
        let (near, mut far) = tokio::io::duplex(1000);
        let mut io = Io::Other(Box::new(near));
        let mut unsent = Unsent::default();
        let large = Bytes::from(vec![b'L'; VECTORED_FROM]);
        let mut expected = Vec::new();
        let write = std::future::poll_fn(|context| {
            Batch::with(|batch| {
                assert!(batch.is_empty());
                for n in 0..3u8 {
                    batch.bytes.extend_from_slice(&[n; 700]);
                    batch.payload(&large);
                    batch.payload(&Bytes::from_static(b"small"));
                }
                expected = batch
                    .pieces()
                    .flat_map(|piece| piece.as_slice().to_vec())
                    .collect();
                unsent.write(&mut io, context, batch).unwrap();
            });
            Poll::Ready(())
        });
        write.await;
        assert!(unsent.0.is_some());
        let mut got = vec![0; expected.len()];
        let read = async {
            tokio::io::AsyncReadExt::read_exact(&mut far, &mut got)
                .await
                .map(|_| ())
        };
        let flush = std::future::poll_fn(|context| unsent.poll_flush(&mut io, context));
        let (read, flushed) = tokio::join!(read, flush);
        read.unwrap();
        flushed.unwrap();
        assert_eq!(got, expected);
        assert_eq!(expected.len(), 3 * (700 + VECTORED_FROM + 5));
    }
}
