//! Why an attempt failed, and whether the server may have acted on it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

/// What a failure means for retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The server throttled the request and did not act. Retry after the requested delay.
    Throttled,
    /// A retry may succeed and is safe.
    Transient,
    /// The credentials are no longer accepted. A new token may help.
    ExpiredToken,
    /// The server may have acted, and a retry could act twice. Check the state first.
    Ambiguous,
    /// A retry cannot succeed.
    Permanent,
}

impl Class {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::ExpiredToken => "expired_token",
            Self::Ambiguous => "ambiguous",
            Self::Permanent => "permanent",
        }
    }
}

/// What a repeated request does if the server already acted on the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The result is the same: reads, and writes that overwrite by name.
    Repeatable,
    /// It may act twice: check the state first.
    CheckFirst,
}

/// A response with an unexpected body.
#[derive(Debug, thiserror::Error)]
pub enum BodyProblem {
    /// It is empty.
    #[error("the response is empty")]
    Empty,
    /// A web page, usually of a proxy or for maintenance.
    #[error("the response is HTML instead of JSON")]
    Html,
    /// A web page with a status that would mean something else if it came from the service.
    #[error(
        "{} with a web page: the response comes from a firewall, a captcha or a maintenance page, not from the service",
        describe(*status)
    )]
    WebPage {
        /// The status.
        status: StatusCode,
    },
    /// The service denied the request with a message.
    #[error("the service denied the request: {reason}")]
    Denied {
        /// The message, redacted.
        reason: String,
    },
    /// Incomplete, not JSON, or without a required key. The messages of `serde_json` are dropped: they may quote the body.
    #[error("unexpected response body ({what})")]
    Malformed {
        /// What is missing, or where parsing stopped; never the content.
        what: String,
    },
    /// A page that reports an error. The message is dropped: it may quote a customer.
    #[error("the response reports an error, with or instead of customers")]
    ReportsError,
    /// Well-formed but implausible: it should be requested again.
    #[error("implausible response: {what}")]
    Implausible {
        /// What is implausible.
        what: &'static str,
    },
    /// Larger than the limit, as received or decompressed.
    #[error("the response is larger than {}", size(*limit))]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The server reported success, but its state has not changed.
    #[error("the server reported success, but nothing has changed")]
    WithoutEffect,
    /// Its `Content-Encoding` cannot be decoded.
    #[error("the {encoding} encoding of the response is corrupt or not supported")]
    Encoding {
        /// The name of the encoding as the server sent it, shortened.
        encoding: String,
    },
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No complete response.
    #[error(transparent)]
    Transport(TransportError),
    /// The server returned a status that means failure.
    #[error("the server returned {}{}", describe(*status), message.as_ref().map_or_else(String::new, |text| format!(": {text}")))]
    Status {
        /// The status.
        status: StatusCode,
        /// The server's message, redacted and shortened.
        message: Option<String>,
    },
    /// The server knows no such path (404), so the endpoint is wrong. Says nothing about the requested object.
    #[error("the server returned 404 Not Found{}", message.as_ref().map_or_else(String::new, |text| format!(": {text}")))]
    UnknownPath {
        /// The server's message, redacted and shortened.
        message: Option<String>,
    },
    /// The server returned success with an unexpected body.
    #[error(transparent)]
    Body(BodyProblem),
    /// An earlier response requested a delay that is too long.
    #[error(
        "the server requested a delay of {}, longer than --retry-timeout {}",
        humantime::format_duration(Duration::from_secs(delay.as_secs())),
        humantime::format_duration(*timeout)
    )]
    Paused {
        /// The requested delay.
        delay: Duration,
        /// The configured maximum.
        timeout: Duration,
    },
}

/// A failed call: the error of the last attempt, with what is needed to handle and to report it.
#[derive(Debug)]
pub struct CallError(Box<Failure>);

#[derive(Debug)]
struct Failure {
    operation: &'static str,
    class: Class,
    min_delay: Option<Duration>,
    attempts: u32,
    stop_reason: Option<String>,
    cause: Cause,
    /// Host, port and the setting that contains them.
    server: Option<Arc<str>>,
    /// Where the secret of the request is set.
    secret_place: Option<Box<str>>,
    /// Maximum number of attempts; `None` leaves it to the retry settings.
    max_attempts: Option<u32>,
}

impl CallError {
    /// One failed attempt of `operation` (a phrase such as "fetch a page").
    pub fn new(operation: &'static str, class: Class, cause: Cause) -> Self {
        let failure = Failure {
            operation,
            class,
            min_delay: None,
            attempts: 1,
            stop_reason: None,
            cause,
            server: None,
            secret_place: None,
            max_attempts: None,
        };
        Self(Box::new(failure))
    }

    /// Classifies a transport error.
    pub fn transport(operation: &'static str, effect: Effect, error: TransportError) -> Self {
        let class = match (&error, effect) {
            (TransportError::Certificate(_) | TransportError::ProxyAuthentication(_), _) => Class::Permanent,
            (
                TransportError::Connect(_)
                | TransportError::NameNotResolved(_)
                | TransportError::NotTls(_)
                | TransportError::ProxyRefused(_)
                | TransportError::ProxyNotReached { .. },
                _,
            ) => Class::Transient,
            (TransportError::Interrupted(_) | TransportError::TimedOut(_), effect) => {
                ambiguous_unless_repeatable(effect)
            }
        };
        Self::new(operation, class, Cause::Transport(error))
    }

    /// Classifies a status that means failure. `message` must be redacted.
    pub fn status(
        operation: &'static str,
        effect: Effect,
        status: StatusCode,
        message: Option<String>,
        min_delay: Option<Duration>,
    ) -> Self {
        let class = match status.as_u16() {
            429 => Class::Throttled,
            401 | 403 => Class::ExpiredToken,
            406 => Class::Transient,
            408 | 500..=599 => ambiguous_unless_repeatable(effect),
            _ => Class::Permanent,
        };
        let mut error = Self::new(operation, class, Cause::Status { status, message });
        error.0.min_delay = min_delay;
        error
    }

    /// Classifies a success with an unexpected body: the server did act.
    pub fn body(operation: &'static str, effect: Effect, problem: BodyProblem) -> Self {
        let class = match problem {
            BodyProblem::TooLarge { .. } | BodyProblem::Denied { .. } => Class::Permanent,
            _ => ambiguous_unless_repeatable(effect),
        };
        Self::new(operation, class, Cause::Body(problem))
    }

    /// Sets the minimum delay before a retry.
    #[must_use]
    pub fn with_min_delay(mut self, min_delay: Option<Duration>) -> Self {
        self.0.min_delay = min_delay;
        self
    }

    /// What the failure means for retries.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// The minimum delay before a retry, as requested by the server.
    pub fn min_delay(&self) -> Option<Duration> {
        self.0.min_delay
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The operation that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The status, if the server returned one that means failure.
    pub fn status_code(&self) -> Option<StatusCode> {
        match self.0.cause {
            Cause::Status { status, .. } => Some(status),
            Cause::Transport(_) | Cause::UnknownPath { .. } | Cause::Body(_) | Cause::Paused { .. } => None,
        }
    }

    /// A 404 because of the path itself. Compare [`Self::status`].
    pub fn unknown_path(operation: &'static str, message: Option<String>) -> Self {
        Self::new(operation, Class::Permanent, Cause::UnknownPath { message })
    }

    /// Whether the server has no such path, because the endpoint is not the service.
    pub fn is_unknown_path(&self) -> bool {
        matches!(self.0.cause, Cause::UnknownPath { .. })
    }

    /// The server's message, redacted and shortened.
    pub fn message(&self) -> Option<&str> {
        match &self.0.cause {
            Cause::Status { message, .. } | Cause::UnknownPath { message } => message.as_deref(),
            Cause::Transport(_) | Cause::Body(_) | Cause::Paused { .. } => None,
        }
    }

    /// Adds the server (host, port and the setting that contains them), unless it is set.
    #[must_use]
    pub fn with_server(mut self, server: &Arc<str>) -> Self {
        self.0.server.get_or_insert_with(|| Arc::clone(server));
        self
    }

    /// Adds where the secret of the request is set, such as `TD_API_KEY`.
    #[must_use]
    pub fn with_secret_place(mut self, place: Option<&str>) -> Self {
        self.0.secret_place = place.map(Into::into);
        self
    }

    /// Where the secret of the request is set, if that is known.
    pub fn secret_place(&self) -> Option<&str> {
        self.0.secret_place.as_deref()
    }

    /// Limits the number of attempts to `max`, whatever the retry settings allow.
    #[must_use]
    pub fn with_max_attempts(mut self, max: u32) -> Self {
        self.0.max_attempts = Some(max);
        self
    }

    /// The maximum number of attempts; `None` leaves it to the retry settings.
    pub fn max_attempts(&self) -> Option<u32> {
        self.0.max_attempts
    }

    /// The server, if known.
    pub fn server(&self) -> Option<&str> {
        self.0.server.as_deref()
    }

    /// Whether the attempt timed out.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.cause, Cause::Transport(TransportError::TimedOut(_)))
    }

    /// Whether the server denied the credentials.
    pub fn is_denied(&self) -> bool {
        matches!(self.status_code(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// Marks the last of `attempts`, with the reason why there is no further one.
    #[must_use]
    pub fn after(mut self, attempts: u32, stop_reason: Option<String>) -> Self {
        self.0.attempts = attempts;
        self.0.stop_reason = stop_reason;
        self
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "could not {}", self.0.operation)?;
        if let Some(server) = &self.0.server {
            write!(formatter, " at {server}")?;
        }
        if self.0.attempts > 1 {
            write!(formatter, " after {} attempts", self.0.attempts)?;
        }
        if let Some(reason) = &self.0.stop_reason {
            write!(formatter, " ({reason})")?;
        }
        Ok(())
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0.cause)
    }
}

fn ambiguous_unless_repeatable(effect: Effect) -> Class {
    match effect {
        Effect::Repeatable => Class::Transient,
        Effect::CheckFirst => Class::Ambiguous,
    }
}

/// A size limit in the largest unit that leaves no fraction.
pub(super) fn size(bytes: usize) -> String {
    let is_whole = |unit: &&(usize, &str)| bytes >= unit.0 && bytes.is_multiple_of(unit.0);
    match [(1 << 20, "MiB"), (1 << 10, "KiB")].iter().find(is_whole) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

fn describe(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

mod hints;
mod kind;
mod network;
mod transport;
pub(super) use self::hints::is_redirect;
pub use self::kind::{FailureKind, error_type};
pub use self::network::NetworkError;
pub use self::transport::TransportError;
#[cfg(test)]
mod tests;
