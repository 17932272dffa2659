//! Failures caused by a configuration mistake: in an address, a proxy or certificates.

use http::StatusCode;

use super::{BodyProblem, CallError, Cause, TransportError};

impl CallError {
    /// Whether the server is probably the wrong one: its name has no address, or it does not speak TLS.
    pub fn is_wrong_server(&self) -> bool {
        matches!(
            self.cause(),
            Cause::Transport(TransportError::NameNotResolved(_) | TransportError::NotTls(_))
        )
    }

    /// Whether the server refers to another address, to which nothing is sent.
    pub fn is_redirect(&self) -> bool {
        self.status_code().is_some_and(is_redirect)
    }

    /// Whether the response is larger than what is read.
    pub fn is_too_large(&self) -> bool {
        matches!(self.cause(), Cause::Body(BodyProblem::TooLarge { .. }))
    }

    /// Whether nothing accepted the connection to a server whose address is not the default, so that it may be wrong.
    pub fn is_unreachable_at_set_address(&self) -> bool {
        let is_set = self.server().is_some_and(|server| server.contains("(from "));
        is_set && matches!(self.cause(), Cause::Transport(TransportError::Connect(_)))
    }

    /// Whether a retry fails until the configuration changes. Denied credentials do not count: they may be replaced.
    pub fn is_permanent(&self) -> bool {
        match self.cause() {
            Cause::Status { status, .. } => {
                is_redirect(*status)
                    || status.is_client_error()
                        && !matches!(status.as_u16(), 401 | 403 | 406 | 408 | 425 | 429)
            }
            Cause::Transport(error) => matches!(
                error,
                TransportError::Certificate(_)
                    | TransportError::NotTls(_)
                    | TransportError::ProxyAuthentication(_)
            ),
            Cause::Body(problem) => {
                matches!(problem, BodyProblem::TooLarge { .. } | BodyProblem::Denied { .. })
            }
            Cause::UnknownPath { .. } => true,
            Cause::Paused { .. } => false,
        }
    }

    /// Maximum number of attempts for a server that has never responded, if the cause is probably a mistake: its name has no
    /// address, it does not speak TLS, or the proxy refuses to connect. `None` leaves it to the retry settings.
    pub fn max_attempts_if_misconfigured(&self) -> Option<u32> {
        match self.cause() {
            Cause::Transport(TransportError::NameNotResolved(_) | TransportError::NotTls(_)) => Some(3),
            Cause::Transport(TransportError::ProxyRefused(_)) => Some(1),
            _ => None,
        }
    }

    /// What to do if the certificate or the proxy is the cause; otherwise `None`.
    pub fn connection_hint(&self) -> Option<&'static str> {
        match self.cause() {
            Cause::Transport(TransportError::Certificate(_)) => Some(
                "check the endpoint, proxies in between, and this machine's clock; to trust a private certificate authority, \
                 set SSL_CERT_FILE to a file with its certificate",
            ),
            Cause::Transport(TransportError::ProxyAuthentication(_)) => Some(
                "correct the proxy's user and password in HTTPS_PROXY (or ALL_PROXY), or list the server in NO_PROXY",
            ),
            Cause::Transport(TransportError::ProxyRefused(_) | TransportError::ProxyNotReached { .. }) => {
                Some(
                    "allow the server on the proxy in HTTPS_PROXY (or ALL_PROXY), correct that variable, or list the server in \
                 NO_PROXY",
                )
            }
            _ => None,
        }
    }
}

/// 304 answers a condition, and none is ever sent.
pub(in crate::http) fn is_redirect(status: StatusCode) -> bool {
    status.is_redirection() && status != StatusCode::NOT_MODIFIED
}
