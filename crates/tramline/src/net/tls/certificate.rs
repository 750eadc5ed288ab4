//! The certificate that a client has shown.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// A client's certificate, which one of the [authorities](super::TlsFiles::optional_client_certificates) has signed. Cheap to
/// clone.
///
/// A request's extensions have it, for a handler of axum by `Extension<ClientCertificate>`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    der: CertificateDer<'static>,
    subject: String,
    common_name: Option<String>,
    serial: String,
    dns_names: Vec<String>,
    emails: Vec<String>,
    uris: Vec<String>,
}

impl ClientCertificate {
    /// Parses a certificate that has been verified.
    pub(super) fn parse(der: &CertificateDer<'_>) -> io::Result<Self> {
        let invalid = |error: &dyn fmt::Display| {
            io::Error::other(format!("the client's certificate cannot be read: {error}"))
        };
        let (_, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|error| invalid(&error))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| invalid(&error))?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let all =
            |pick: fn(&GeneralName<'_>) -> Option<String>| names.iter().filter_map(pick).collect();
        let common_name = certificate.subject().iter_common_name().next();
        Ok(Self(Arc::new(Inner {
            subject: certificate.subject().to_string(),
            common_name: common_name.and_then(|name| Some(name.as_str().ok()?.to_owned())),
            serial: certificate.raw_serial_as_string(),
            dns_names: all(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            }),
            emails: all(|name| match name {
                GeneralName::RFC822Name(name) => Some((*name).to_owned()),
                _ => None,
            }),
            uris: all(|name| match name {
                GeneralName::URI(name) => Some((*name).to_owned()),
                _ => None,
            }),
            der: der.clone().into_owned(),
        })))
    }

    /// The subject as one text, such as `O=Waterworks, CN=meter-7`.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The subject's first common name (CN).
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The host names among the subject's alternative names.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.0.dns_names.iter().map(String::as_str)
    }

    /// The e-mail addresses among the subject's alternative names.
    pub fn emails(&self) -> impl Iterator<Item = &str> {
        self.0.emails.iter().map(String::as_str)
    }

    /// The URIs among the subject's alternative names, such as a SPIFFE id.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.0.uris.iter().map(String::as_str)
    }

    /// The serial number, in hexadecimal with colons. It is unique for its issuer.
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// The certificate as it was sent, in DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("subject", &self.0.subject)
            .field("serial", &self.0.serial)
            .finish_non_exhaustive()
    }
}
