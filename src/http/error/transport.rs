//! Why there is no complete response.

use std::sync::Arc;

use super::NetworkError;
use crate::clock::DeadlineElapsed;

/// A request without a complete response.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection. The server cannot have acted.
    #[error("could not connect")]
    Connect(#[source] NetworkError),
    /// The server's name has no address.
    #[error("could not resolve the server's name")]
    NameNotResolved(#[source] NetworkError),
    /// The server does not speak TLS.
    #[error("the server does not speak TLS, which https requires")]
    NotTls(#[source] NetworkError),
    /// The server's certificate is not trusted. A retry cannot help.
    #[error("the server's certificate is not trusted")]
    Certificate(#[source] NetworkError),
    /// The proxy requires other credentials (407). A retry cannot help.
    #[error("the proxy requires authentication (407)")]
    ProxyAuthentication(#[source] NetworkError),
    /// The proxy does not connect to the server, usually because it is not allowed to (403).
    #[error("the proxy refused to connect to the server")]
    ProxyRefused(#[source] NetworkError),
    /// The proxy cannot be reached. The server cannot have acted.
    #[error("could not connect {}", proxy.as_ref().map_or_else(|| "to the proxy".to_owned(), |proxy| format!("through the proxy {proxy}")))]
    ProxyNotReached {
        /// Host, port and variable of the proxy, if they are known.
        proxy: Option<Arc<str>>,
        /// What the network reports.
        source: NetworkError,
    },
    /// The connection was lost after the request may have been sent.
    #[error("the connection was lost")]
    Interrupted(#[source] NetworkError),
    /// No complete response in time.
    #[error("no complete response in time")]
    TimedOut(#[source] DeadlineElapsed),
}
