//! The server as a program: a file says all that an application would say in code.

mod back_end;
mod config;
mod file;
mod login;
mod rules;

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tramline::Messaging;
use tramline::metrics::Metrics;
use tramline::serve::stop_signal;
use tramline_login::Users;

pub(crate) use self::config::Config;

use self::back_end::Key;

/// Sections that are read again by SIGHUP.
const RELOADED: &[&str] = &["tls", "users", "tokens", "back_end"];

/// How often the certificates' files are looked at.
const CERTIFICATES: Duration = Duration::from_secs(60);

/// A server that runs.
struct Gateway {
    path: PathBuf,
    data: Option<PathBuf>,
    config: Config,
    messaging: Messaging,
    key: Option<Key>,
}

/// Serves until SIGTERM or Ctrl-C, and then until all sessions have ended.
///
/// # Errors
///
/// A text for the operator: an address that cannot be listened on, a store that cannot be opened, a listener that failed.
pub(crate) async fn serve(path: &Path, data: Option<&Path>, config: Config) -> Result<(), String> {
    let messaging = config.messaging()?;
    let mut metrics = Metrics::new().stack(&messaging);
    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();

    if let Some(web) = &config.web {
        let (listener, address) = listen(web.listen).await?;
        let endpoint = messaging.endpoint();
        let endpoint = if web.sockjs {
            endpoint.with_sockjs()
        } else {
            endpoint
        };
        let app = Router::new().nest_service(&web.path, endpoint);
        let mut server = tramline::serve(listener, app)
            .limits(config.settings.serve.clone())
            .trusted_proxies(config.settings.trusted_proxies.iter().cloned())
            .with_graceful_shutdown(drained(ended.clone()));
        let tls = config.tls.as_ref().filter(|_| web.tls);
        if let Some(tls) = tls {
            server = server.tls(tls.clone());
        }
        metrics = metrics.server(server.connections());
        let scheme = if tls.is_some() { "https" } else { "http" };
        tracing::info!(
            "WebSocket{} at {scheme}://{address}{}",
            if web.sockjs { " and SockJS" } else { "" },
            web.path
        );
        tasks.spawn(server.into_future());
    }
    if let Some(stomp) = config.stomp {
        let (listener, address) = listen(stomp).await?;
        tracing::info!("STOMP at stomp://{address}");
        tasks.spawn(messaging.serve_tcp(listener));
    }
    if let (Some(stomps), Some(tls)) = (config.stomps, &config.tls) {
        let (listener, address) = listen(stomps).await?;
        tracing::info!("STOMP over TLS at stomps://{address}");
        tasks.spawn(messaging.serve_tls(listener, tls.clone()));
    }
    let mut key = None;
    if let Some((address, text)) = &config.back_end {
        let (listener, address) = listen(*address).await?;
        let current = Key::new(text.clone());
        let app = back_end::router(messaging.clone(), current.clone(), metrics);
        key = Some(current);
        let server = tramline::serve(listener, app).with_graceful_shutdown(drained(ended.clone()));
        tracing::info!("back ends at http://{address}");
        tasks.spawn(server.into_future());
    }
    if let Some(tls) = &config.tls {
        tokio::spawn(tls.clone().reload_when_changed(CERTIFICATES));
    }
    if let Err(error) = messaging.start().await {
        // Clients make it try again.
        tracing::warn!(%error, "the broker is not there yet");
    }
    let mut gateway = Gateway {
        path: path.to_owned(),
        data: data.map(ToOwned::to_owned),
        config,
        messaging: messaging.clone(),
        key,
    };
    let mut hang_ups = HangUps::new();
    let mut signal = std::pin::pin!(stop_signal());
    loop {
        tokio::select! {
            () = &mut signal => break,
            () = hang_ups.next() => gateway.reload().await,
            Some(ended) = tasks.join_next() => {
                return Err(match ended {
                    Ok(Ok(())) => "a listener has ended".to_owned(),
                    Ok(Err(error)) => format!("a listener failed: {error}"),
                    Err(error) => format!("a listener failed: {error}"),
                });
            }
        }
    }
    let over = gateway.config.drain;
    tracing::info!("draining over {over:?}; sessions are asked to connect again elsewhere");
    let left = messaging.drain(over).await;
    let _ = end.send(true);
    while tasks.join_next().await.is_some() {}
    tracing::info!(left, "stopped");
    Ok(())
}

async fn listen(
    address: std::net::SocketAddr,
) -> Result<(TcpListener, std::net::SocketAddr), String> {
    let wrong = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    Ok((listener, address))
}

/// Ends once all sessions are drained.
async fn drained(mut ended: watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
}

impl Gateway {
    /// Reads the file again and takes what can change; the rest is named in the log.
    async fn reload(&mut self) {
        let (path, data) = (self.path.clone(), self.data.clone());
        let read = tokio::task::spawn_blocking(move || Config::read(&path, data.as_deref()));
        let new = match read.await {
            Ok(Ok(new)) => new,
            Ok(Err(errors)) => {
                for error in errors {
                    tracing::error!("{error}");
                }
                tracing::error!("nothing is reloaded: the file has errors");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "nothing is reloaded");
                return;
            }
        };
        let old = &self.config;
        let is_same = |name: &str| old.sections.get(name) == new.sections.get(name);
        let mut restart = BTreeSet::new();
        for name in old.sections.keys().chain(new.sections.keys()) {
            if !RELOADED.contains(&name.as_str()) && !is_same(name) {
                restart.insert(name.clone());
            }
        }
        let mut reloaded = Vec::new();
        match (&old.tls, is_same("tls")) {
            (Some(tls), true) => match tls.reload() {
                Ok(()) => reloaded.push("tls"),
                Err(error) => tracing::error!(%error, "the certificates are not reloaded"),
            },
            (_, false) => drop(restart.insert("tls".to_owned())),
            (None, true) => {}
        }
        match (&old.users, is_same("users")) {
            (Some(users), true) => match self.reload_users(users).await {
                Ok(()) => reloaded.push("users"),
                Err(error) => tracing::error!("the users are not reloaded: {error}"),
            },
            (_, false) => drop(restart.insert("users".to_owned())),
            (None, true) => {}
        }
        match (&old.tokens, &new.tokens) {
            (Some((keys, places)), Some((new, new_places))) if places == new_places => {
                keys.replace(new);
                reloaded.push("tokens");
            }
            (None, None) => {}
            _ => drop(restart.insert("tokens".to_owned())),
        }
        match (&self.key, &old.back_end, &new.back_end) {
            (Some(key), Some((old, _)), Some((new, text))) if old == new => {
                key.replace(text.clone());
                reloaded.push("back_end");
            }
            (None, None, None) => {}
            _ => drop(restart.insert("back_end".to_owned())),
        }
        tracing::info!("reloaded: {}", or_nothing(reloaded.join(", ")));
        if !restart.is_empty() {
            let restart: Vec<_> = restart.into_iter().collect();
            tracing::warn!("changed, and needs a restart: {}", restart.join(", "));
        }
    }

    /// Reads the users again, and closes the sessions of those who are gone.
    async fn reload_users(&self, users: &tramline_login::FileUsers) -> std::io::Result<()> {
        let registry = self.messaging.registry();
        let mut known = Vec::new();
        for user in registry.users() {
            if let Ok(Some(_)) = users.find(user.name()).await {
                known.push(user.name().to_owned());
            }
        }
        users.reload()?;
        for name in known {
            if let Ok(None) = users.find(&name).await {
                registry.close_user(&name, "the user was removed");
            }
        }
        Ok(())
    }
}

fn or_nothing(text: String) -> String {
    match text.is_empty() {
        true => "nothing".to_owned(),
        false => text,
    }
}

/// SIGHUP, where there is one.
struct HangUps {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl HangUps {
    fn new() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
                .inspect_err(|error| tracing::warn!(%error, "cannot listen for SIGHUP"))
                .ok(),
        }
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
