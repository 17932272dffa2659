//! Failures caused by a configuration mistake: in an address, a proxy or certificates.

use super::{BodyProblem, CallError, Cause, TransportError};

impl CallError {
    /// Whether the server is probably the wrong one: its name has no address, or it does not speak TLS.
    pub fn is_wrong_server(&self) -> bool {
        matches!(
            self.cause(),
            Cause::Transport(TransportError::NameNotResolved(_) | TransportError::NotTls(_))
        )
    }

    /// Whether a retry fails until the configuration changes. Denied credentials do not count: they may be replaced.
    pub fn is_permanent(&self) -> bool {
        match self.cause() {
            Cause::Status { status, .. } => {
                status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 406 | 408 | 425 | 429)
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
