use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio_rustls::TlsConnector;

use crate::error::Error;
use crate::stream::BoxStream;

/// The certificates of `stomps://`, `wss://` and `https://`: whom to trust, and who we are.
///
/// The default trusts the root certificates of the operating system and shows no certificate of our own. TLS 1.2 and 1.3
/// by rustls; the server's certificate must name the URL's host, and that is not negotiable.
///
/// # Example: a broker with a private authority that wants to see a certificate
///
/// ```no_run
/// use tramline_client::{Client, Error, Tls};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::with_roots(std::fs::read("authority.pem")?)
///     .client_certificate(std::fs::read("client.pem")?, std::fs::read("client.key")?);
/// let client = Client::connect("stomps://broker.internal").tls(tls).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Example: no private key in a log
///
/// ```
/// use tramline_client::Tls;
///
/// let tls = Tls::system().client_certificate("certificate", "private");
/// assert_eq!(format!("{tls:?}"), r#"Tls { roots: "the system's", client_certificate: true }"#);
/// ```
#[derive(Clone, Default)]
pub struct Tls {
    /// PEM of the only roots; the system's otherwise.
    roots: Option<Vec<Vec<u8>>>,
    /// PEM of the chain and of the key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// Trusts the root certificates of the operating system. The default.
    pub fn system() -> Self {
        Self::default()
    }

    /// Trusts these root certificates (PEM, one or several) and no others.
    ///
    /// PEM that cannot be read is an [`Error::InvalidRequest`] when the client connects.
    pub fn with_roots(pem: impl Into<Vec<u8>>) -> Self {
        Self {
            roots: Some(vec![pem.into()]),
            identity: None,
        }
    }

    /// Trusts these too. Called on [`system`](Self::system), it trusts only these.
    #[must_use]
    pub fn add_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.get_or_insert_default().push(pem.into());
        self
    }

    /// Shows this certificate to servers that ask for one: PEM of the chain, our own first, and of its private key.
    #[must_use]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// Reads the certificates, which takes milliseconds for the system's: once for all attempts.
    pub(crate) fn connector(&self) -> Result<Connector, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid(format!("TLS: {error}")))?
            .with_root_certificates(self.root_store()?);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, "the client certificate")?;
                // The error's text never has the key.
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
                    Error::invalid("the private key of the client certificate is not PEM")
                })?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| Error::invalid(format!("the client certificate: {error}")))?
            }
        };
        Ok(Connector(TlsConnector::from(Arc::new(config))))
    }

    fn root_store(&self) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        let Some(roots) = &self.roots else {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(Error::invalid(
                    "the system has no root certificates; install them (on Debian `ca-certificates`), or name yours \
                     with `Tls::with_roots`",
                ));
            }
            return Ok(store);
        };
        for pem in roots {
            for root in certificates(pem, "the root certificates")? {
                store
                    .add(root)
                    .map_err(|error| Error::invalid(format!("the root certificates: {error}")))?;
            }
        }
        Ok(store)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = match self.roots {
            None => "the system's",
            Some(_) => "own",
        };
        f.debug_struct("Tls")
            .field("roots", &roots)
            .field("client_certificate", &self.identity.is_some())
            .finish()
    }
}

/// TLS with certificates that were read.
#[derive(Clone)]
pub(crate) struct Connector(TlsConnector);

impl Connector {
    pub(crate) async fn connect(&self, stream: BoxStream, host: &str) -> io::Result<BoxStream> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no host name for TLS"))?;
        let stream = self.0.connect(name, stream).await?;
        Ok(Box::new(stream))
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) => Err(Error::invalid(format!("{what}: there is no PEM in it"))),
        Err(error) => Err(Error::invalid(format!("{what}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_without_its_text() {
        for (tls, reason) in [
            (
                Tls::with_roots("secret"),
                "the root certificates: there is no PEM",
            ),
            (
                Tls::with_roots(
                    "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n",
                ),
                "the root certificates",
            ),
        ] {
            let error = tls.connector().err().unwrap().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
