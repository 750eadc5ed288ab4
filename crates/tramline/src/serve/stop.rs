//! The system's signal to stop.

/// Waits for Ctrl-C or, on Unix, SIGTERM: what systemd, Docker and Kubernetes send, 10 to 90 s before they kill.
///
/// From the first call on, the process no longer ends by these signals alone. For
/// [`with_graceful_shutdown`](super::Server::with_graceful_shutdown).
pub async fn stop_signal() {
    #[cfg(unix)]
    {
        use std::pin::pin;
        use std::task::Poll;

        use tokio::signal::unix::{SignalKind, signal};

        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            let mut interrupt = pin!(interrupt());
            return std::future::poll_fn(|context| match terminate.poll_recv(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => interrupt.as_mut().poll(context),
            })
            .await;
        }
        tracing::warn!("cannot listen for SIGTERM");
    }
    interrupt().await;
}

async fn interrupt() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "cannot listen for Ctrl-C");
        std::future::pending::<()>().await;
    }
}
