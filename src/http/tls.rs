//! TLS: which servers are believed, for all clients of a process.
//!
//! Owns the root certificates (the system's, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name), which are loaded
//! once and only when something is https, and the configuration of every TLS connection. Reading hundreds of
//! certificates takes longer than everything else before the first request, so they are loaded on a thread of their own
//! and not waited for until a server has shown its certificate: by then they are usually there.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use rustls_native_certs::{CertificateResult, load_native_certs};

/// What all clients of a process trust; clones share it.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Roots>);

/// Without a root certificate every server is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no root certificates could be loaded, so that no server can be trusted")]
pub struct NoRootCertificates(#[source] Reason);

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Reason(String);

impl NoRootCertificates {
    /// What the user can do next.
    pub const HINT: &str = "install the system's certificates (ca-certificates), or set SSL_CERT_FILE to a file of PEM \
                            certificates";
}

impl Trust {
    /// The system's root certificates, or those that the environment names. Nothing is loaded yet.
    pub fn of_system() -> Self {
        Self::loaded_by(load_native_certs)
    }

    fn loaded_by(load: fn() -> CertificateResult) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self(Arc::new(Roots { provider, load, verifier: OnceLock::new() }))
    }

    /// Loads the certificates meanwhile, because they will be needed.
    pub fn load_ahead(&self) {
        let roots = Arc::clone(&self.0);
        let load = move || {
            let _ = roots.verifier();
        };
        // Without a thread they are loaded when they are needed.
        drop(std::thread::Builder::new().name("certificates".to_owned()).spawn(load));
    }

    /// Why no server could be trusted, if certificates were needed and there were none.
    pub fn failure(&self) -> Option<&NoRootCertificates> {
        self.0.verifier.get()?.as_ref().err()
    }

    /// How TLS connections are made: as reqwest would by itself, HTTP/1.1 only. Nothing is loaded yet.
    ///
    /// # Errors
    /// When this build's cryptography lacks what TLS needs.
    pub fn configuration(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::clone(&self.0.provider);
        let roots: Arc<dyn ServerCertVerifier> = Arc::<Roots>::clone(&self.0);
        let mut configuration = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            // rustls calls everything dangerous that is not a store of certificates given beforehand.
            .dangerous()
            .with_custom_certificate_verifier(roots)
            .with_no_client_auth();
        configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(configuration)
    }
}

/// rustls' own verifier, made when it is first needed.
#[derive(Debug)]
struct Roots {
    provider: Arc<CryptoProvider>,
    load: fn() -> CertificateResult,
    verifier: OnceLock<Result<Arc<WebPkiServerVerifier>, NoRootCertificates>>,
}

impl Roots {
    /// Waits while another thread loads.
    fn verifier(&self) -> Result<&WebPkiServerVerifier, &NoRootCertificates> {
        self.verifier.get_or_init(|| self.load()).as_ref().map(AsRef::as_ref)
    }

    fn load(&self) -> Result<Arc<WebPkiServerVerifier>, NoRootCertificates> {
        let CertificateResult { certs, errors, .. } = (self.load)();
        for error in &errors {
            tracing::debug!(%error, "a root certificate could not be loaded");
        }
        let found = certs.len();
        let mut roots = RootCertStore::empty();
        let (loaded, unusable) = roots.add_parsable_certificates(certs);
        tracing::debug!(loaded, unusable, "root certificates");
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            // It only complains of an empty store.
            .map_err(|_empty| NoRootCertificates(reason(found, &errors)))
    }
}

fn reason(found: usize, errors: &[rustls_native_certs::Error]) -> Reason {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Reason(match found {
        0 if errors.is_empty() => "there is no PEM certificate where they are looked for".to_owned(),
        0 => errors.join("; "),
        found => format!("none of {found} certificates is one that can be used"),
    })
}

impl ServerCertVerifier for Roots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // As any other refusal of a certificate: trying again is of no use.
        let refuse = |error: &NoRootCertificates| {
            CertificateError::Other(OtherError(Arc::<NoRootCertificates>::new(error.clone())))
        };
        let verifier = self.verifier().map_err(refuse)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn nothing_is_loaded_before_it_is_needed() {
        let trust = Trust::loaded_by(|| panic!("nobody needs them"));
        trust.configuration().unwrap();
        assert_eq!(trust.failure(), None);
    }

    #[test]
    fn connections_offer_http_1_only() {
        // What reqwest repeats by itself, unless it is told not to, are HTTP/2 refusals.
        let trust = Trust::loaded_by(CertificateResult::default);
        assert_eq!(trust.configuration().unwrap().alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn all_clones_and_threads_share_one_loading() {
        static LOADINGS: AtomicUsize = AtomicUsize::new(0);
        let trust = Trust::loaded_by(|| {
            LOADINGS.fetch_add(1, Ordering::Relaxed);
            CertificateResult::default()
        });
        trust.load_ahead();
        trust.clone().load_ahead();
        trust.clone().0.verifier().unwrap_err();
        trust.0.verifier().unwrap_err();
        assert_eq!(LOADINGS.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn failure_says_why_there_is_no_certificate() {
        let why = |load| {
            let trust = Trust::loaded_by(load);
            trust.0.verifier().unwrap_err();
            std::error::Error::source(trust.failure().unwrap()).unwrap().to_string()
        };
        let empty = CertificateResult::default;
        assert_eq!(why(empty), "there is no PEM certificate where they are looked for");
        let unreadable = || {
            let inner = Error::from(ErrorKind::PermissionDenied);
            let kind = rustls_native_certs::ErrorKind::Io { inner, path: "certificates.pem".into() };
            let mut result = CertificateResult::default();
            result.errors.push(rustls_native_certs::Error { context: "opening", kind });
            result
        };
        assert_eq!(why(unreadable), "opening: permission denied at 'certificates.pem'");
        let unusable = || {
            let mut result = CertificateResult::default();
            result.certs.push(CertificateDer::from(vec![0; 16]));
            result
        };
        assert_eq!(why(unusable), "none of 1 certificates is one that can be used");
    }
}
