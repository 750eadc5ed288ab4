//! TLS of our own listeners, by rustls.

mod certificate;
mod files;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::certificate::ClientCertificate;
pub use self::files::TlsError;
use self::files::{Clients, Files, Read};
use crate::model::counter::counters;
use crate::model::user::User;
use crate::net::secured::Secured;

/// Certificates for [`Server::tls`](crate::serve::Server::tls) and [`Messaging::serve_tls`](crate::Messaging::serve_tls),
/// read from PEM files and [reloaded](Self::reload) while the server runs. Cheap to clone; clones share everything.
///
/// TLS 1.2 and 1.3 by rustls, whose provider is ring. A connection whose handshake is not complete in time is closed, and
/// holds its place among the server's connections until then.
///
/// # Example: STOMP over TLS, and a program that is known by its certificate
///
/// ```
/// # use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
/// use tramline::policy::{Policy, authenticated, deny, permit};
/// use tramline::tls::Tls;
/// use tramline::{EmbeddedBroker, Messaging, User};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("tramline-doc-tls-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let mut authority = CertificateParams::default();
/// # authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
/// # let authority_key = KeyPair::generate()?;
/// # let authority_pem = authority.self_signed(&authority_key)?.pem();
/// # let issuer = Issuer::new(authority, authority_key);
/// # let make = |name: &str| -> Result<(String, String), rcgen::Error> {
/// #     let mut params = CertificateParams::new(vec![name.to_owned()])?;
/// #     params.distinguished_name.push(DnType::CommonName, name);
/// #     let key = KeyPair::generate()?;
/// #     Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
/// # };
/// # let (chain, key) = make("localhost")?;
/// # std::fs::write(folder.join("chain.pem"), chain)?;
/// # std::fs::write(folder.join("key.pem"), key)?;
/// # std::fs::write(folder.join("devices-ca.pem"), &authority_pem)?;
/// let tls = Tls::files(folder.join("chain.pem"), folder.join("key.pem"))
///     .optional_client_certificates(folder.join("devices-ca.pem"))
///     .user(|certificate| Some(User::new(certificate.common_name()?).with_roles(["device"])))
///     .load()?;
/// let messaging = Messaging::builder()
///     .broker(EmbeddedBroker::new().topics("/topic"))
///     .policy(Policy::builder().on_connect(authenticated()).on_subscribe("/topic/**", permit()).otherwise(deny()))
///     .build()?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let port = listener.local_addr()?.port();
/// tokio::spawn(messaging.serve_tls(listener, tls.clone()));
///
/// // What a device does.
/// use tramline_client::{Client, Tls as ClientTls};
/// let (certificate, private_key) = make("meter-7")?;
/// let known = ClientTls::with_roots(authority_pem).client_certificate(certificate, private_key);
/// let client = Client::connect(&format!("stomps://localhost:{port}")).tls(known).await?;
/// assert!(messaging.registry().user("meter-7").is_some());
/// assert_eq!(tls.stats().handshakes_total, 1);
/// # drop(client);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: Files,
    user: Option<UserOf>,
    counters: TlsCounters,
    /// What new connections get.
    current: Mutex<Current>,
}

type UserOf = Box<dyn Fn(&ClientCertificate) -> Option<User> + Send + Sync>;

struct Current {
    http: Arc<ServerConfig>,
    stomp: Arc<ServerConfig>,
    /// The contents of the files when they were last looked at, accepted or not.
    seen: Read,
}

counters! {
    /// Counters of a [`Tls`]'s handshakes, which only grow: from [`Tls::stats`].
    TlsStats, TlsCounters:
    /// Handshakes that succeeded.
    handshakes_total,
    /// Handshakes that failed: no TLS, no common version, a client certificate that is not accepted.
    handshakes_failed,
    /// Connections closed because their handshake was not complete in time.
    handshake_timeouts,
    /// Reloads that found new files and use them.
    reloads_total,
    /// Reloads that kept the old certificates because of an error in the new files.
    reloads_failed,
}

/// The files and rules of a [`Tls`] that is not loaded yet: made by [`Tls::files`].
#[must_use = "nothing is read before `load()`"]
pub struct TlsFiles {
    files: Files,
    user: Option<UserOf>,
}

impl Tls {
    /// Names the PEM files of the certificate chain, the server's own certificate first, and of its private key (PKCS #8,
    /// PKCS #1 or SEC1, not encrypted).
    pub fn files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> TlsFiles {
        TlsFiles {
            files: Files {
                chain: chain.into(),
                key: key.into(),
                clients: None,
            },
            user: None,
        }
    }

    /// Reads the files again. New connections get the new certificates and authorities, and sessions of TLS from before are not
    /// resumed; open connections go on as they are.
    ///
    /// # Errors
    ///
    /// As from [`TlsFiles::load`]; then the old certificates stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.use_files(self.0.files.read())
    }

    /// Reloads whenever the content of a file has changed, looked at in this interval; never ends. Spawn it as a task. Reloads,
    /// and errors of files, are logged.
    pub async fn reload_when_changed(self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let tls = self.clone();
            // Files may be on a network.
            let _ = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await;
        }
    }

    fn reload_if_changed(&self) {
        let read = self.0.files.read();
        let seen = read.as_ref().ok();
        if seen.is_some_and(|read| *read == self.0.current.lock().seen) {
            return;
        }
        match self.use_files(read) {
            Ok(()) => tracing::info!(files = %self.0.files, "TLS certificates are reloaded"),
            Err(error) => {
                tracing::warn!(%error, "TLS certificates are not reloaded; the old ones stay");
            }
        }
    }

    fn use_files(&self, read: Result<Read, TlsError>) -> Result<(), TlsError> {
        let used = read.and_then(|read| match self.0.files.configs(&read) {
            Ok((http, stomp)) => {
                let seen = read;
                *self.0.current.lock() = Current { http, stomp, seen };
                Ok(())
            }
            Err(error) => {
                self.0.current.lock().seen = read;
                Err(error)
            }
        });
        match used {
            Ok(()) => self.0.counters.reloads_total.increment(),
            Err(_) => self.0.counters.reloads_failed.increment(),
        }
        used
    }

    /// The counters of handshakes and reloads.
    pub fn stats(&self) -> TlsStats {
        self.0.counters.snapshot()
    }

    /// Completes the handshake of a connection; `None`, and the connection is closed, if it fails or lasts until `deadline`.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
        remote: SocketAddr,
        protocol: Protocol,
        deadline: Instant,
    ) -> Option<(TlsStream<TcpStream>, Peer)> {
        let counters = &self.0.counters;
        let (counter, error) = match timeout_at(deadline, self.handshake(socket, protocol)).await {
            Ok(Ok(accepted)) => {
                counters.handshakes_total.increment();
                return Some(accepted);
            }
            Ok(Err(error)) => (&counters.handshakes_failed, error),
            Err(_) => (
                &counters.handshake_timeouts,
                io::Error::from(io::ErrorKind::TimedOut),
            ),
        };
        counter.increment();
        tracing::debug!(%remote, %error, "a TLS handshake failed");
        None
    }

    async fn handshake(
        &self,
        mut socket: TcpStream,
        protocol: Protocol,
    ) -> io::Result<(TlsStream<TcpStream>, Peer)> {
        let mut first = [0];
        // A handshake begins with 22; frames of STOMP and requests of HTTP begin with a letter.
        if socket.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
            socket.write_all(protocol.without_tls()).await?;
            return Err(io::Error::other("the client speaks without TLS"));
        }
        let config = match protocol {
            Protocol::Http => Arc::clone(&self.0.current.lock().http),
            Protocol::Stomp => Arc::clone(&self.0.current.lock().stomp),
        };
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = shown
            .and_then(<[_]>::first)
            .map(ClientCertificate::parse)
            .transpose()?;
        let user_of = self.0.user.as_ref();
        let user = user_of.and_then(|user_of| user_of(certificate.as_ref()?));
        Ok((stream, Peer { certificate, user }))
    }
}

impl TlsFiles {
    /// Asks clients for a certificate that an authority in this PEM file has signed. Who shows none may connect without; a
    /// wrong one fails the handshake.
    pub fn optional_client_certificates(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.files.clients = Some(Clients {
            authorities: authorities.into(),
            required: false,
        });
        self
    }

    /// The same, and the handshake of a client without a certificate fails. Browsers that hold none cannot connect then, not
    /// even to pages.
    pub fn required_client_certificates(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.files.clients = Some(Clients {
            authorities: authorities.into(),
            required: true,
        });
        self
    }

    /// Decides whom a client's certificate, which has been checked by then, belongs to. The user is that of the client's
    /// sessions, as if a middleware had left it in the requests' extensions: [rules](crate::policy) such as `authenticated()`
    /// and `role(..)` see it, and a token or a CONNECT handler may replace it. By default nobody: the certificate alone opens
    /// the connection.
    ///
    /// Handlers of HTTP find the [`ClientCertificate`] in the request's extensions, and those of STOMP by
    /// [`Handshake::extension`](crate::login::Handshake::extension), once the stack is told to
    /// [keep](crate::MessagingBuilder::keep_extension) it.
    pub fn user(
        mut self,
        user: impl Fn(&ClientCertificate) -> Option<User> + Send + Sync + 'static,
    ) -> Self {
        self.user = Some(Box::new(user));
        self
    }

    /// Reads and checks the files.
    ///
    /// # Errors
    ///
    /// A [`TlsError`] that names the file: it cannot be read, has no certificate or key in PEM, or key and certificate do not
    /// belong together.
    pub fn load(self) -> Result<Tls, TlsError> {
        let seen = self.files.read()?;
        let (http, stomp) = self.files.configs(&seen)?;
        Ok(Tls(Arc::new(Shared {
            files: self.files,
            user: self.user,
            counters: TlsCounters::default(),
            current: Mutex::new(Current { http, stomp, seen }),
        })))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsFiles").field(&self.files).finish()
    }
}

/// The protocol inside TLS.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "without a server"))]
    Http,
    Stomp,
}

impl Protocol {
    /// The answer to a client that speaks it without TLS.
    fn without_tls(self) -> &'static [u8] {
        match self {
            Self::Http => {
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=UTF-8\r\n\
                  Content-Length: 39\r\n\r\nthis port speaks TLS: use https or wss\n"
            }
            Self::Stomp => b"ERROR\nmessage:this port speaks TLS\n\nthis port speaks TLS: use stomps\n\0",
        }
    }
}

/// The client at the other end of a handshake.
pub(crate) struct Peer {
    certificate: Option<ClientCertificate>,
    user: Option<User>,
}

impl Peer {
    /// What is known of the client, for the extensions of its requests.
    pub(crate) fn extensions(self) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Secured);
        if let Some(certificate) = self.certificate {
            extensions.insert(certificate);
        }
        if let Some(user) = self.user {
            extensions.insert(user);
        }
        extensions
    }
}
