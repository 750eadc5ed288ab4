//! A socket under HTTP, and what its connection waits for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use super::places::Place;

/// The byte stream of an HTTP connection: its socket, or TLS on it.
#[derive(Debug)]
pub(crate) enum Link {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
}

impl Link {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self {
            Self::Plain(socket) => Pin::new(socket),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Self::Plain(socket) => Pin::new(socket),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream),
        }
    }
}

/// The socket of an HTTP connection. It keeps the connection's place, and notes what arrives and what is not taken.
#[derive(Debug)]
pub(crate) struct Served {
    link: Link,
    place: Place,
    activity: Arc<Activity>,
}

impl Served {
    pub(crate) fn new(link: Link, place: Place, activity: Arc<Activity>) -> Self {
        Self {
            link,
            place,
            activity,
        }
    }

    /// The stream of a connection that has left HTTP, and its place.
    pub(crate) fn into_parts(self) -> (Link, Place) {
        (self.link, self.place)
    }

    fn noted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.written(written.is_ready());
        written
    }
}

impl AsyncRead for Served {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.link.reader().poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.received();
        }
        read
    }
}

impl AsyncWrite for Served {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.link.writer().poll_write(context, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.link.writer().poll_write_vectored(context, slices);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.link {
            Link::Plain(socket) => socket.is_write_vectored(),
            #[cfg(feature = "tls")]
            Link::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.writer().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.writer().poll_shutdown(context)
    }
}

/// What an HTTP connection waits for.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<ActivityState>);

#[derive(Debug)]
struct ActivityState {
    /// The requests whose answers are not complete.
    requests: usize,
    /// Without requests: true if the head of the next one is expected or has begun to arrive.
    head: bool,
    /// The beginning of that head, or of the idle time.
    since: Instant,
    /// The time since which the peer has taken nothing of an answer that waits.
    stalled: Option<Instant>,
    /// The beginning of the shutdown.
    stopping: Option<Instant>,
}

/// The waiting that has taken too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    Head,
    Idle,
    Send,
    /// At a shutdown: nothing was under way.
    Stopped,
}

/// How long a connection may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) send: Duration,
}

/// The time for the rest of a head, and for a client to take leave, once the server stops.
const STOP_TIME: Duration = Duration::from_secs(1);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(ActivityState {
            requests: 0,
            head: true,
            since: Instant::now(),
            stalled: None,
            stopping: None,
        })))
    }

    fn received(&self) {
        let mut state = self.0.lock();
        if state.requests == 0 && !state.head {
            state.head = true;
            state.since = Instant::now();
        }
    }

    fn written(&self, progress: bool) {
        let mut state = self.0.lock();
        if !progress {
            state.stalled.get_or_insert_with(Instant::now);
        } else if state.stalled.take().is_some() && state.requests == 0 {
            // The rest of an answer: what comes after it has its whole time.
            state.since = Instant::now();
        }
    }

    /// Notes a request; it ends when the result is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> UnderWay {
        let mut state = self.0.lock();
        state.requests += 1;
        state.head = false;
        UnderWay(Arc::clone(self))
    }

    /// Leaves only requests under way to be waited for.
    pub(crate) fn stop(&self) {
        self.0.lock().stopping = Some(Instant::now());
    }

    /// When the connection has waited too long, and for what, unless something happens; `None` while the application
    /// works on a request.
    pub(crate) fn due(&self, times: &Times) -> Option<(Instant, Expired)> {
        let state = self.0.lock();
        if let Some(stalled) = state.stalled {
            return Some((stalled + times.send, Expired::Send));
        }
        if state.requests > 0 {
            return None;
        }
        let due = if state.head {
            (state.since + times.head, Expired::Head)
        } else {
            (state.since + times.idle, Expired::Idle)
        };
        match state.stopping {
            Some(at) if at + STOP_TIME < due.0 => Some((at + STOP_TIME, Expired::Stopped)),
            _ => Some(due),
        }
    }
}

/// A request whose answer is not complete.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.requests -= 1;
        if state.requests == 0 {
            state.since = Instant::now();
        }
    }
}
