//! What to make of a connection that failed by a mistake: in an address, a proxy or certificates.

use super::{BodyProblem, CallError, Cause, TransportError};

impl CallError {
    /// Whether the server cannot be the one that is meant: its name has no address, or it does not speak TLS.
    pub fn is_wrong_server(&self) -> bool {
        matches!(
            self.cause(),
            Cause::Transport(TransportError::NameNotResolved(_) | TransportError::NotTls(_))
        )
    }

    /// Whether the same request would only fail again until somebody changes something. Refused credentials are not meant:
    /// others may be given.
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
                matches!(problem, BodyProblem::TooLarge { .. } | BodyProblem::Refused { .. })
            }
            Cause::UnknownPath { .. } => true,
            Cause::Paused { .. } => false,
        }
    }

    /// How many attempts are worth making at a server that never responded, where the cause looks like a mistake: its
    /// name has no address, it does not speak TLS, or the proxy refuses it. `None` leaves it to the retry settings.
    pub fn doubtful_attempts(&self) -> Option<u32> {
        match self.cause() {
            Cause::Transport(TransportError::NameNotResolved(_) | TransportError::NotTls(_)) => Some(3),
            Cause::Transport(TransportError::ProxyRefused(_)) => Some(1),
            _ => None,
        }
    }

    /// What to do where the certificate or the proxy is the cause; `None` where neither is.
    pub fn connection_hint(&self) -> Option<&'static str> {
        match self.cause() {
            Cause::Transport(TransportError::Certificate(_)) => Some(
                "check the endpoint, what is between, and this machine's clock; a certificate authority of your own goes \
                 into a file that SSL_CERT_FILE names",
            ),
            Cause::Transport(TransportError::ProxyAuthentication(_)) => Some(
                "correct user and password of the proxy in HTTPS_PROXY (or ALL_PROXY), or list the server in NO_PROXY",
            ),
            Cause::Transport(TransportError::ProxyRefused(_)) => Some(
                "allow the server on the proxy that HTTPS_PROXY (or ALL_PROXY) names, correct that variable, or list the \
                 server in NO_PROXY",
            ),
            _ => None,
        }
    }
}
