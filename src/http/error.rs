//! What went wrong with one attempt, and what the server may have done meanwhile.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::clock::DeadlineElapsed;

/// What a failed attempt means for trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The server refused because of its limits; it did not act. Wait at least the min_delay it gave.
    Throttled,
    /// It may work the next time, and repeating it is harmless.
    Transient,
    /// The credentials are no longer accepted; a new token may help.
    ExpiredToken,
    /// The server may have acted, and repeating could act twice: ask for the state first.
    Ambiguous,
    /// Repeating cannot help.
    Permanent,
}

impl Class {
    /// Its name in the log.
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

/// What repeating a request does when the server already acted on the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The same result: reads, and writes under a name that overwrites.
    Repeatable,
    /// Possibly a second action.
    CheckFirst,
}

/// A request that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection: the server cannot have acted.
    #[error("could not connect")]
    Connect(#[source] reqwest::Error),
    /// The server's name has no address.
    #[error("the name of the server could not be resolved")]
    NameNotResolved(#[source] reqwest::Error),
    /// What answered does not speak TLS.
    #[error("the server does not answer with TLS, as https needs")]
    NotTls(#[source] reqwest::Error),
    /// The server's certificate was refused. Repeating cannot help.
    #[error("the server's certificate is not trusted")]
    Certificate(#[source] reqwest::Error),
    /// The proxy wants another user and password (407). Repeating cannot help.
    #[error("the proxy requires authentication (407)")]
    ProxyAuthentication(#[source] reqwest::Error),
    /// The proxy does not lead to the server, mostly because it must not (403).
    #[error("the proxy refused to connect to the server")]
    ProxyRefused(#[source] reqwest::Error),
    /// The connection broke after the request may have been sent.
    #[error("the connection broke")]
    Interrupted(#[source] reqwest::Error),
    /// No whole answer in time.
    #[error("no complete response in time")]
    TimedOut(#[source] DeadlineElapsed),
}

/// A response whose body is not what the call needs.
#[derive(Debug, thiserror::Error)]
pub enum BodyProblem {
    /// Nothing in it.
    #[error("the answer is empty")]
    Empty,
    /// A web page, mostly of a proxy or a maintenance screen.
    #[error("the answer is HTML instead of JSON")]
    Html,
    /// A web page with a status that a service's own answer would give another meaning.
    #[error(
        "{} came with a web page: a firewall, a captcha or maintenance answered, and not the service",
        describe(*status)
    )]
    WebPage {
        /// The status.
        status: StatusCode,
    },
    /// The service says why it gives nothing.
    #[error("the service refuses: {reason}")]
    Refused {
        /// Its words, redacted.
        reason: String,
    },
    /// It ends too early, is not JSON, or lacks what we need. `serde_json` messages are not kept: they may quote it.
    #[error("the answer is not the JSON that we need ({what})")]
    Malformed {
        /// What was missing or where parsing stopped; never the content.
        what: String,
    },
    /// A page that reports an error. What it says is not kept: it may quote a customer.
    #[error("the response reports an error beside or instead of customers")]
    ReportsError,
    /// Well-formed, but hard to believe: it should be requested again.
    #[error("implausible response: {what}")]
    Implausible {
        /// What is hard to believe.
        what: &'static str,
    },
    /// Larger than the cap, as sent or unpacked.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The cap in bytes.
        limit: usize,
    },
    /// The server says that it is done, and its state says that it is not.
    #[error("the server says that it is done, but nothing has changed")]
    WithoutEffect,
    /// Its `Content-Encoding` cannot be unpacked.
    #[error("the answer's {encoding} encoding is damaged or unknown")]
    Encoding {
        /// The encoding's name as the server gave it, shortened.
        encoding: String,
    },
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// There was no usable answer.
    #[error(transparent)]
    Transport(TransportError),
    /// The server answered with a status that means failure.
    #[error("the server answered {}{}", describe(*status), message.as_ref().map_or_else(String::new, |text| format!(": {text}")))]
    Status {
        /// The status.
        status: StatusCode,
        /// The server's own words, redacted and shortened.
        message: Option<String>,
    },
    /// The server has nothing at this path (404): the address leads elsewhere. Says nothing of what was asked for.
    #[error("the server answered 404 Not Found{}", message.as_ref().map_or_else(String::new, |text| format!(": {text}")))]
    UnknownPath {
        /// The server's own words, redacted and shortened.
        message: Option<String>,
    },
    /// The server answered success, but not with what we need.
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

/// A failed call: the last attempt's error with what is needed to decide and to tell.
#[derive(Debug)]
pub struct CallError(Box<Failure>);

#[derive(Debug)]
struct Failure {
    operation: &'static str,
    class: Class,
    min_delay: Option<Duration>,
    attempts: u32,
    gave_up: Option<String>,
    cause: Cause,
    /// Host, port and the setting that names them.
    server: Option<Arc<str>>,
    /// How many attempts are worth making at most.
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
            gave_up: None,
            cause,
            server: None,
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
                | TransportError::ProxyRefused(_),
                _,
            ) => Class::Transient,
            (TransportError::Interrupted(_) | TransportError::TimedOut(_), effect) => unsure(effect),
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
            408 | 500..=599 => unsure(effect),
            _ => Class::Permanent,
        };
        let mut error = Self::new(operation, class, Cause::Status { status, message });
        error.0.min_delay = min_delay;
        error
    }

    /// Classifies a success whose body is of no use: the server did act.
    pub fn body(operation: &'static str, effect: Effect, problem: BodyProblem) -> Self {
        let class = match problem {
            BodyProblem::TooLarge { .. } | BodyProblem::Refused { .. } => Class::Permanent,
            _ => unsure(effect),
        };
        Self::new(operation, class, Cause::Body(problem))
    }

    /// Adds the least time to wait before trying again.
    #[must_use]
    pub fn with_min_delay(mut self, min_delay: Option<Duration>) -> Self {
        self.0.min_delay = min_delay;
        self
    }

    /// What the failure means for trying again.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// The least time to wait before trying again, as the server asked.
    pub fn min_delay(&self) -> Option<Duration> {
        self.0.min_delay
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// What was being done.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The status, when the server answered with one that means failure.
    pub fn status_code(&self) -> Option<StatusCode> {
        match self.0.cause {
            Cause::Status { status, .. } => Some(status),
            Cause::Transport(_) | Cause::UnknownPath { .. } | Cause::Body(_) | Cause::Paused { .. } => None,
        }
    }

    /// The same as [`Self::status`] says of a 404 that blames the path itself.
    pub fn unknown_path(operation: &'static str, message: Option<String>) -> Self {
        Self::new(operation, Class::Permanent, Cause::UnknownPath { message })
    }

    /// Whether the address leads to something that is not the service.
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

    /// Notes which server it was, unless that is known already: host, port and the setting that names them.
    #[must_use]
    pub fn at(mut self, server: &Arc<str>) -> Self {
        self.0.server.get_or_insert_with(|| Arc::clone(server));
        self
    }

    /// Notes that more attempts than `max` make no sense, whatever the retry settings allow.
    #[must_use]
    pub fn at_most(mut self, max: u32) -> Self {
        self.0.max_attempts = Some(max);
        self
    }

    /// How many attempts are worth making at most; `None` leaves it to the retry settings.
    pub fn max_attempts(&self) -> Option<u32> {
        self.0.max_attempts
    }

    /// Which server it was, when that is known.
    pub fn server(&self) -> Option<&str> {
        self.0.server.as_deref()
    }

    /// Whether the attempt ended by its deadline.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.cause, Cause::Transport(TransportError::TimedOut(_)))
    }

    /// Whether the server refused the credentials.
    pub fn is_refused(&self) -> bool {
        matches!(self.status_code(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// Notes that this was the last of `attempts`, and why no further one is made.
    #[must_use]
    pub fn after(mut self, attempts: u32, gave_up: Option<String>) -> Self {
        self.0.attempts = attempts;
        self.0.gave_up = gave_up;
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
            write!(formatter, " in {} attempts", self.0.attempts)?;
        }
        if let Some(reason) = &self.0.gave_up {
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

fn unsure(effect: Effect) -> Class {
    match effect {
        Effect::Repeatable => Class::Transient,
        Effect::CheckFirst => Class::Ambiguous,
    }
}

fn describe(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

mod hints;
#[cfg(test)]
mod tests;
