//! What a request that got no response failed of.

use std::error::Error;
use std::io;
use std::sync::Arc;

use crate::http::error::TransportError;

/// The address may carry a cursor and is known anyway: it is taken out of the error.
pub(super) fn classify(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    if !error.is_connect() {
        return TransportError::Interrupted(error);
    }
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        match tls_problem(cause) {
            Some(rustls::Error::InvalidCertificate(_)) => return TransportError::Certificate(error),
            Some(rustls::Error::InvalidMessage(_)) => return TransportError::NotTls(error),
            _ => {}
        }
        // The connectors have no types for these, only words.
        match cause.to_string().as_str() {
            "dns error" => return TransportError::NameNotResolved(error),
            "tunnel error: proxy authorization required" => {
                return TransportError::ProxyAuthentication(error);
            }
            "tunnel error: unsuccessful" => return TransportError::ProxyRefused(error),
            _ => {}
        }
        source = cause.source();
    }
    TransportError::Connect(error)
}

/// Each layer puts the error of the one below into one more `io::Error`, which is no source of it.
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
    fn refused_certificate_is_found_behind_the_layers_that_hide_it() {
        let refused = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let layers = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, refused()));
        assert!(is_certificate_problem(&layers));
        assert!(is_certificate_problem(&refused()));
        assert!(is_certificate_problem(&Arc::new(refused())));
        assert!(!is_certificate_problem(&io::Error::other(rustls::Error::HandshakeNotComplete)));
        assert!(!is_certificate_problem(&io::Error::from(io::ErrorKind::ConnectionReset)));
    }
}
