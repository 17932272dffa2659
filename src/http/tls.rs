//! TLS configuration and trusted root certificates.
//!
//! Owns the root certificates: the system's, or those named by `SSL_CERT_FILE` and `SSL_CERT_DIR`. They are read once for all
//! clients of a process, and only if an endpoint is https (docs/adr/0014-root-certificates-before-the-start.md).

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::{CertificateResult, load_native_certs};

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No root certificate is available.
    #[error("no root certificates could be loaded, so no server can be trusted")]
    NoRootCertificates(#[source] Reason),
    /// The cryptography of this build does not support what TLS needs.
    #[error("TLS could not be set up")]
    Unsupported(#[from] rustls::Error),
}

/// Why there are no root certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Reason(String);

impl TlsError {
    /// What to do about it.
    pub const HINT: &str = "install the system's certificates (ca-certificates), or set SSL_CERT_FILE to a file of PEM \
                            certificates";
}

/// The TLS configuration: as reqwest's default, but HTTP/1.1 only. Without `needs_certificates`, no certificates are read and no
/// TLS connection can be established.
///
/// # Errors
/// When root certificates are needed and none is available.
pub fn tls_configuration(needs_certificates: bool) -> Result<ClientConfig, TlsError> {
    let roots = if needs_certificates { root_store(load_native_certs())? } else { RootCertStore::empty() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

fn root_store(found: CertificateResult) -> Result<RootCertStore, TlsError> {
    let CertificateResult { certs, errors, .. } = found;
    for error in &errors {
        tracing::debug!(%error, "a root certificate could not be loaded");
    }
    let count = certs.len();
    let mut roots = RootCertStore::empty();
    let (loaded, unusable) = roots.add_parsable_certificates(certs);
    tracing::debug!(loaded, unusable, "root certificates");
    if roots.is_empty() { Err(TlsError::NoRootCertificates(reason(count, &errors))) } else { Ok(roots) }
}

fn reason(found: usize, errors: &[rustls_native_certs::Error]) -> Reason {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Reason(match found {
        0 if errors.is_empty() => "no PEM certificate was found".to_owned(),
        0 => errors.join("; "),
        found => format!("none of {found} certificates can be used"),
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io::{Error, ErrorKind};

    use rustls::pki_types::CertificateDer;

    use super::*;

    #[test]
    fn connections_offer_http_1_only() {
        // By default, reqwest itself retries requests that an HTTP/2 server refused.
        assert_eq!(tls_configuration(false).unwrap().alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn error_explains_why_there_is_no_certificate() {
        let why = |found| root_store(found).unwrap_err().source().unwrap().to_string();
        assert_eq!(why(CertificateResult::default()), "no PEM certificate was found");
        let inner = Error::from(ErrorKind::PermissionDenied);
        let kind = rustls_native_certs::ErrorKind::Io { inner, path: "certificates.pem".into() };
        let mut unreadable = CertificateResult::default();
        unreadable.errors.push(rustls_native_certs::Error { context: "opening", kind });
        assert_eq!(why(unreadable), "opening: permission denied at 'certificates.pem'");
        let mut unusable = CertificateResult::default();
        unusable.certs.push(CertificateDer::from(vec![0; 16]));
        assert_eq!(why(unusable), "none of 1 certificates can be used");
    }
}
