//! What went wrong with one attempt, and what the server may have done meanwhile.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::clock::DeadlineElapsed;

/// What a failed attempt means for trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The server refused because of its limits; it did not act. Wait at least the floor it gave.
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

/// What repeating a request does when the server already acted on the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The same result: reads, and writes under a name that overwrites.
    Repeatable,
    /// Possibly a second action.
    AskFirst,
}

/// A request that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection: the server cannot have acted.
    #[error("no connection")]
    Connect(#[source] reqwest::Error),
    /// The server's certificate was refused. Repeating cannot help.
    #[error("the server's certificate is not trusted")]
    Certificate(#[source] reqwest::Error),
    /// The connection broke after the request may have been sent.
    #[error("the connection broke")]
    Interrupted(#[source] reqwest::Error),
    /// No whole answer in time.
    #[error("no whole answer")]
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
    /// The server answered success, but not with what we need.
    #[error(transparent)]
    Body(BodyProblem),
    /// An earlier answer asks to send nothing for so long.
    #[error(
        "the server asks to wait {}, longer than --retry-timeout {}",
        humantime::format_duration(Duration::from_secs(wait.as_secs())),
        humantime::format_duration(*timeout)
    )]
    Held {
        /// How long.
        wait: Duration,
        /// The longest wait that is set.
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
    floor: Option<Duration>,
    attempts: u32,
    gave_up: Option<String>,
    cause: Cause,
}

impl CallError {
    /// One failed attempt of `operation` (a phrase such as "fetch a page").
    pub fn new(operation: &'static str, class: Class, cause: Cause) -> Self {
        Self(Box::new(Failure { operation, class, floor: None, attempts: 1, gave_up: None, cause }))
    }

    /// Classifies a transport error.
    pub fn transport(operation: &'static str, effect: Effect, error: TransportError) -> Self {
        let class = match (&error, effect) {
            (TransportError::Certificate(_), _) => Class::Permanent,
            (TransportError::Connect(_), _) => Class::Transient,
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
        floor: Option<Duration>,
    ) -> Self {
        let class = match status.as_u16() {
            429 => Class::Throttled,
            401 | 403 => Class::ExpiredToken,
            406 => Class::Transient,
            408 | 500..=599 => unsure(effect),
            _ => Class::Permanent,
        };
        let mut error = Self::new(operation, class, Cause::Status { status, message });
        error.0.floor = floor;
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
    pub fn with_floor(mut self, floor: Option<Duration>) -> Self {
        self.0.floor = floor;
        self
    }

    /// What the failure means for trying again.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// The least time to wait before trying again, as the server asked.
    pub fn floor(&self) -> Option<Duration> {
        self.0.floor
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
            Cause::Transport(_) | Cause::Body(_) | Cause::Held { .. } => None,
        }
    }

    /// Whether the attempt ended by its deadline.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.cause, Cause::Transport(TransportError::TimedOut(_)))
    }

    /// Whether the server refused the credentials.
    pub fn is_refused(&self) -> bool {
        matches!(self.status_code(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// What to do where the server's certificate is not trusted; `None` where that is not the cause.
    pub fn trust_hint(&self) -> Option<&'static str> {
        let untrusted = matches!(self.0.cause, Cause::Transport(TransportError::Certificate(_)));
        untrusted.then_some(
            "check the endpoint and what is between; a certificate authority of your own goes into a file that \
             SSL_CERT_FILE names",
        )
    }

    /// Whether `error`, or what it came of, is a call to a server whose certificate is not trusted.
    pub fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.downcast_ref::<Self>().is_some_and(|call| call.trust_hint().is_some()) {
                return true;
            }
            cause = error.source();
        }
        false
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
        Effect::AskFirst => Class::Ambiguous,
    }
}

fn describe(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(status: u16, effect: Effect) -> Class {
        let status = StatusCode::from_u16(status).unwrap();
        CallError::status("try", effect, status, None, None).class()
    }

    #[test]
    fn every_status_has_one_retry_decision() {
        let decisions: Vec<String> = (300..600)
            .map(|status| (class_of(status, Effect::Repeatable), class_of(status, Effect::AskFirst)))
            .zip(300..)
            .filter(|((repeat, _), _)| *repeat != Class::Permanent)
            .filter(|(_, status)| *status <= 504)
            .map(|((repeat, ask), status)| format!("{status} {repeat:?} {ask:?}"))
            .collect();
        assert_eq!(
            decisions,
            [
                "401 ExpiredToken ExpiredToken",
                "403 ExpiredToken ExpiredToken",
                "406 Transient Transient",
                "408 Transient Ambiguous",
                "429 Throttled Throttled",
                "500 Transient Ambiguous",
                "501 Transient Ambiguous",
                "502 Transient Ambiguous",
                "503 Transient Ambiguous",
                "504 Transient Ambiguous",
            ]
        );
    }

    #[test]
    fn message_says_what_was_done_and_leaves_the_cause_to_the_source() {
        let error = CallError::status(
            "fetch a page of customers",
            Effect::Repeatable,
            StatusCode::BAD_GATEWAY,
            Some("upstream gone".to_owned()),
            None,
        )
        .after(9, Some("--max-retries 8 used up".to_owned()));
        assert_eq!(
            error.to_string(),
            "could not fetch a page of customers in 9 attempts (--max-retries 8 used up)"
        );
        let source = Error::source(&error).unwrap().to_string();
        assert_eq!(source, "the server answered 502 Bad Gateway: upstream gone");
    }
}
