//! The PEM files of a server, and what is wrong with them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    pub(super) clients: Option<Clients>,
}

/// The certificates that clients show.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    pub(super) authorities: PathBuf,
    pub(super) required: bool,
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
pub(super) struct Read {
    chain: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

/// A file of [`Tls`](super::Tls) that cannot be used. Its text names the file and never has any of its content.
#[derive(Debug)]
pub struct TlsError {
    what: &'static str,
    path: PathBuf,
    problem: String,
}

impl TlsError {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, path, problem) = (self.what, self.path.display(), &self.problem);
        write!(f, "the {what} {path}: {problem}")
    }
}

impl std::error::Error for TlsError {}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

const CHAIN: &str = "certificate chain";
const KEY: &str = "private key";
const AUTHORITIES: &str = "clients' authorities";

impl Files {
    pub(super) fn read(&self) -> Result<Read, TlsError> {
        let read =
            |what, path: &Path| std::fs::read(path).map_err(|error| wrong(what, path, &error));
        let clients = self.clients.as_ref();
        Ok(Read {
            chain: read(CHAIN, &self.chain)?,
            key: read(KEY, &self.key)?,
            authorities: clients
                .map(|clients| read(AUTHORITIES, &clients.authorities))
                .transpose()?,
        })
    }

    /// What listeners for HTTP and for STOMP need.
    pub(super) fn configs(
        &self,
        read: &Read,
    ) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>), TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(CHAIN, &self.chain, &read.chain)?;
        let key = private_key(&self.key, &read.key)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(CHAIN, &self.chain, &error))?;
        let builder = match (&self.clients, &read.authorities) {
            (Some(clients), Some(content)) => {
                let path = &clients.authorities;
                let mut roots = RootCertStore::empty();
                for root in certificates(AUTHORITIES, path, content)? {
                    roots
                        .add(root)
                        .map_err(|error| wrong(AUTHORITIES, path, &error))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match clients.required {
                    true => verifier,
                    false => verifier.allow_unauthenticated(),
                };
                let verifier = verifier
                    .build()
                    .map_err(|error| wrong(AUTHORITIES, path, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut http = builder
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    let chain = self.chain.display();
                    let problem = format!("it is not the key of the certificate in {chain}");
                    wrong(KEY, &self.key, &problem)
                }
                error => wrong(CHAIN, &self.chain, &error),
            })?;
        let mut stomp = http.clone();
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A browser offers HTTP, and so cannot be made to speak to a port of STOMP. Clients of STOMP offer nothing.
        stomp.alpn_protocols = vec![b"stomp".to_vec()];
        Ok((Arc::new(http), Arc::new(stomp)))
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.chain.display(), self.key.display())?;
        match &self.clients {
            Some(clients) => write!(f, ", {}", clients.authorities.display()),
            None => Ok(()),
        }
    }
}

fn wrong(what: &'static str, path: &Path, problem: &dyn fmt::Display) -> TlsError {
    TlsError {
        what,
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

fn certificates(
    what: &'static str,
    path: &Path,
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let read = read.map_err(|_| wrong(what, path, &"its PEM is malformed"))?;
    if read.is_empty() {
        let problem = "no certificate in it: it must be PEM with `-----BEGIN CERTIFICATE-----`";
        return Err(wrong(what, path, &problem));
    }
    for certificate in &read {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| wrong(what, path, &"a certificate in it is malformed"))?;
    }
    Ok(read)
}

fn private_key(path: &Path, content: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(content).map_err(|error| {
        const ENCRYPTED: &[u8] = b"ENCRYPTED";
        let is_encrypted = content
            .windows(ENCRYPTED.len())
            .any(|window| window == ENCRYPTED);
        // The error's own text may have some of the key.
        let problem = match error {
            _ if is_encrypted => {
                "it is encrypted; write it without a passphrase, by `openssl pkey`"
            }
            pem::Error::NoItemsFound => {
                "no private key in it: it must be PEM with `-----BEGIN PRIVATE KEY-----`"
            }
            _ => "its PEM is malformed",
        };
        wrong(KEY, path, &problem)
    })
}
