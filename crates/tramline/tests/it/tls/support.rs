//! Certificates in files, a server that uses them, and clients that may show their own.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tramline::login::Handshake;
use tramline::policy::{Policy, Rule, deny, permit};
use tramline::serve::{Connections, ServeLimits};
use tramline::tls::{ClientCertificate, Tls, TlsFiles};
use tramline::{EmbeddedBroker, Limits, MessageRouter, Messaging, message};
use tramline_client::{Client, Connect, Tls as ClientTls};

use crate::support::DEADLINE;

/// Signs certificates.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A chain and its key, in PEM.
pub(super) struct Identity {
    pub(super) chain: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn signs(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Identity {
            chain: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts this authority alone.
    pub(super) fn client(&self) -> ClientTls {
        ClientTls::with_roots(self.pem.as_str())
    }
}

/// A folder that is removed when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tramline-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Replaces the server's chain and key.
    pub(super) fn write_server(&self, identity: &Identity) -> TlsFiles {
        let chain = self.write("chain.pem", &identity.chain);
        Tls::files(chain, self.write("key.pem", &identity.key))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One stack by HTTP and by STOMP, both over TLS.
pub(super) struct Secure {
    pub(super) folder: Folder,
    pub(super) authority: Authority,
    pub(super) tls: Tls,
    pub(super) messaging: Messaging,
    pub(super) connections: Connections,
    pub(super) web: SocketAddr,
    pub(super) stomp: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub(super) struct Options {
    pub(super) connect: Rule,
    pub(super) files: fn(TlsFiles, &Folder) -> TlsFiles,
    pub(super) serve: fn(&mut ServeLimits),
    pub(super) limits: fn(&mut Limits),
    pub(super) hosts: &'static [&'static str],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect: permit(),
            files: |files, _| files,
            serve: |_| {},
            limits: |_| {},
            hosts: &[],
        }
    }
}

/// What is kept of the certificate.
async fn certificate(handshake: Handshake) -> String {
    match handshake.extension::<ClientCertificate>() {
        Some(certificate) => format!(
            "{} {}",
            certificate.subject(),
            certificate.dns_names().collect::<Vec<_>>().join(",")
        ),
        None => "none".to_owned(),
    }
}

impl Secure {
    pub(super) async fn start(options: Options) -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        let files = folder.write_server(&authority.signs("localhost"));
        let tls = (options.files)(files, &folder).load().unwrap();
        let mut limits = Limits::default();
        limits.body = 8 * 1024 * 1024;
        limits.outbox = 32 * 1024 * 1024;
        (options.limits)(&mut limits);
        let routes = MessageRouter::new()
            .route(
                "/certificate",
                message(certificate).send_to("/topic/certificate"),
            )
            .route(
                "/echo",
                message(async |body: bytes::Bytes| body.to_vec()).send_to("/topic/echo"),
            );
        let policy = Policy::builder()
            .on_connect(options.connect)
            .on_message("/app/**", permit())
            .on_destination("/topic/**", permit())
            .otherwise(deny());
        let messaging = Messaging::builder()
            .routes(routes)
            .broker(EmbeddedBroker::new().topics("/topic"))
            .policy(policy)
            .limits(limits)
            .keep_extension::<ClientCertificate>()
            .allowed_hosts(options.hosts.iter().copied())
            .build()
            .unwrap();
        let app = Router::new()
            .route("/", get(async || "whole"))
            .nest_service("/ws", messaging.endpoint().with_sockjs());
        let mut serve = ServeLimits::default();
        (options.serve)(&mut serve);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tramline::serve(listener, app)
            .tls(tls.clone())
            .limits(serve)
            .with_graceful_shutdown(async move {
                let _ = stopped.await;
            });
        let connections = server.connections();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stomp = listener.local_addr().unwrap();
        tokio::spawn(messaging.serve_tls(listener, tls.clone()));
        Self {
            folder,
            authority,
            tls,
            messaging,
            connections,
            web,
            stomp,
            stop: Some(stop),
            server: tokio::spawn(server.into_future()),
        }
    }

    pub(super) fn urls(&self) -> [String; 2] {
        [
            format!("wss://localhost:{}/ws", self.web.port()),
            format!("stomps://localhost:{}", self.stomp.port()),
        ]
    }

    pub(super) async fn connect(&self, url: &str) -> Client {
        self.connect_as(url, self.authority.client()).await.unwrap()
    }

    pub(super) fn connect_as(&self, url: &str, tls: ClientTls) -> Connect {
        Client::connect(url).tls(tls)
    }

    /// A stream of TLS to the web server.
    pub(super) async fn stream(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.pem.as_bytes());
        roots.add(authority.unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(self.web).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .unwrap()
    }

    /// The head of the answer to a request that is written by hand.
    pub(super) async fn ask(&self, request: &str) -> String {
        let mut stream = self.stream().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = async {
            while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("a head");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Begins the shutdown and waits for its end.
    pub(super) async fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        let ended = tokio::time::timeout(DEADLINE, &mut self.server).await;
        ended.expect("the server ends").unwrap().unwrap();
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.server.abort();
    }
}
