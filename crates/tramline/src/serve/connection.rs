//! One connection: its requests, its time, its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::Serving;
use super::body::{AnswerBody, RequestBody};
use crate::net::endpoint::BoxError;
use crate::net::places::Place;
use crate::net::served::{Activity, Expired, Link, Served, UnderWay};
#[cfg(feature = "tls")]
use crate::net::tls::Protocol;

/// Why a connection is no longer driven.
enum Outcome {
    Ended(hyper::Result<()>),
    Expired(Expired),
    /// The server's stage is another one, or the server is gone.
    Stage(Result<(), watch::error::RecvError>),
}

/// Serves a connection until it ends, becomes a WebSocket, has waited too long, or until the server is gone.
pub(super) async fn serve<A, B>(
    socket: TcpStream,
    remote: SocketAddr,
    place: Place,
    app: A,
    serving: Arc<Serving>,
    mut stage: watch::Receiver<()>,
) where
    A: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    let activity = Activity::new();
    let Some((link, known)) = open(socket, remote, &serving, &mut stage).await else {
        return;
    };
    let io = TokioIo::new(Served::new(link, place, Arc::clone(&activity)));
    let (of_service, body_time) = (Arc::clone(&activity), serving.limits.body_time);
    let body_counters = Arc::clone(&serving.counters);
    let service = service_fn(move |request: Request<Incoming>| {
        let counters = Arc::clone(&body_counters);
        let request = request.map(|body| RequestBody::new(body, body_time, counters));
        answer(
            app.clone(),
            request,
            remote,
            known.clone(),
            of_service.request(),
        )
    });
    let mut http = http1::Builder::new();
    // This connection's own times hold.
    http.header_read_timeout(None::<Duration>)
        .max_buf_size(serving.limits.head_bytes.max(SMALLEST_BUFFER));
    let mut connection = pin!(http.serve_connection(io, service).with_upgrades());
    let mut sleep = pin!(tokio::time::sleep(serving.times.head));

    let mut outcome = drive(
        connection.as_mut(),
        sleep.as_mut(),
        &activity,
        &serving,
        stage.changed(),
    )
    .await;
    if let Outcome::Stage(Ok(())) = outcome {
        activity.stop();
        connection.as_mut().graceful_shutdown();
        outcome = drive(
            connection.as_mut(),
            sleep,
            &activity,
            &serving,
            stage.changed(),
        )
        .await;
    }
    let counters = &serving.counters;
    let (counter, reason) = match outcome {
        Outcome::Ended(Ok(())) | Outcome::Expired(Expired::Stopped) => return,
        Outcome::Ended(Err(error)) => {
            tracing::debug!(%remote, %error, "an HTTP connection failed");
            return;
        }
        Outcome::Expired(Expired::Head) => (&counters.head_timeouts, "no whole head of a request"),
        Outcome::Expired(Expired::Idle) => (&counters.idle_timeouts, "no further request"),
        Outcome::Expired(Expired::Send) => (&counters.send_timeouts, "an answer was not taken"),
        Outcome::Stage(_) => (&counters.dropped, "the server's time to stop is over"),
    };
    counter.increment();
    tracing::debug!(%remote, reason, "an HTTP connection is closed");
}

/// The least that hyper takes.
const SMALLEST_BUFFER: usize = 8192;

/// The stream of a new connection, and what TLS says about the client; `None` if the handshake does not succeed.
#[cfg_attr(
    not(feature = "tls"),
    expect(unused_variables, clippy::unused_async, reason = "for TLS")
)]
async fn open(
    socket: TcpStream,
    remote: SocketAddr,
    serving: &Serving,
    stage: &mut watch::Receiver<()>,
) -> Option<(Link, Extensions)> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &serving.tls {
        let deadline = Instant::now() + serving.times.head;
        let mut accepted = Box::pin(tls.accept(socket, remote, Protocol::Http, deadline));
        let mut stage = pin!(stage.changed());
        let (stream, peer) = std::future::poll_fn(|context| match stage.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => accepted.as_mut().poll(context),
        })
        .await?;
        return Some((Link::Tls(Box::new(stream)), peer.extensions()));
    }
    Some((Link::Plain(socket), Extensions::new()))
}

async fn answer<A, B>(
    mut app: A,
    mut request: Request<RequestBody>,
    remote: SocketAddr,
    known: Extensions,
    under_way: UnderWay,
) -> Result<Response<AnswerBody<B>>, Infallible>
where
    A: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
{
    let extensions = request.extensions_mut();
    extensions.extend(known);
    extensions.insert(remote);
    std::future::poll_fn(|context| app.poll_ready(context)).await?;
    let response = app.call(request).await?;
    Ok(response.map(|body| AnswerBody::new(body, under_way)))
}

/// Polls the connection until it ends, has waited too long, or `stage` comes.
async fn drive(
    mut connection: Pin<&mut impl Future<Output = hyper::Result<()>>>,
    mut sleep: Pin<&mut Sleep>,
    activity: &Activity,
    serving: &Serving,
    stage: impl Future<Output = Result<(), watch::error::RecvError>>,
) -> Outcome {
    let mut stage = pin!(stage);
    std::future::poll_fn(move |context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(Outcome::Ended(ended));
        }
        if let Poll::Ready(stage) = stage.as_mut().poll(context) {
            return Poll::Ready(Outcome::Stage(stage));
        }
        poll_expired(activity, serving, sleep.as_mut(), context).map(Outcome::Expired)
    })
    .await
}

/// Ready when the connection has waited too long. `sleep` runs until then, or until a look at what has changed.
fn poll_expired(
    activity: &Activity,
    serving: &Serving,
    mut sleep: Pin<&mut Sleep>,
    context: &mut Context<'_>,
) -> Poll<Expired> {
    loop {
        let due = activity.due(&serving.times);
        if let Some((at, _)) = due
            && at < sleep.deadline()
        {
            sleep.as_mut().reset(at);
        }
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        match due {
            Some((at, expired)) if at <= now => return Poll::Ready(expired),
            Some((at, _)) => sleep.as_mut().reset(at),
            None => sleep.as_mut().reset(now + serving.times.idle),
        }
    }
}
