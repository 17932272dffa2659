//! Classifies requests that received no response.

use std::error::Error;
use std::io;
use std::sync::Arc;

use crate::http::error::TransportError;

/// What a request without a response means.
pub(in crate::http) fn classify(error: reqwest::Error) -> TransportError {
    if !error.is_connect() {
        return TransportError::Interrupted(error.into());
    }
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        match tls_problem(cause) {
            Some(rustls::Error::InvalidCertificate(_)) => return TransportError::Certificate(error.into()),
            Some(rustls::Error::InvalidMessage(_)) => return TransportError::NotTls(error.into()),
            _ => {}
        }
        // The connectors have no types for these errors, only texts.
        match cause.to_string().as_str() {
            "dns error" => return TransportError::NameNotResolved(error.into()),
            "tunnel error: proxy authorization required" => {
                return TransportError::ProxyAuthentication(error.into());
            }
            "tunnel error: failed to create underlying connection" => {
                return TransportError::ProxyNotReached { proxy: None, source: error.into() };
            }
            "tunnel error: unsuccessful" => return TransportError::ProxyRefused(error.into()),
            _ => {}
        }
        source = cause.source();
    }
    TransportError::Connect(error.into())
}

/// Each layer wraps the error of the layer below in another `io::Error`, which does not expose it as its source.
fn tls_problem<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return tls_problem(inner);
    }
    let shared = || cause.downcast_ref::<Arc<rustls::Error>>().map(AsRef::as_ref);
    cause.downcast_ref::<rustls::Error>().or_else(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_certificate_problem(cause: &(dyn Error + 'static)) -> bool {
        matches!(tls_problem(cause), Some(rustls::Error::InvalidCertificate(_)))
    }

    #[test]
    fn certificate_error_is_found_inside_nested_io_errors() {
        let untrusted = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let layers = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, untrusted()));
        assert!(is_certificate_problem(&layers));
        assert!(is_certificate_problem(&untrusted()));
        assert!(is_certificate_problem(&Arc::new(untrusted())));
        assert!(!is_certificate_problem(&io::Error::other(rustls::Error::HandshakeNotComplete)));
        assert!(!is_certificate_problem(&io::Error::from(io::ErrorKind::ConnectionReset)));
    }
}
