//! What kind of failure an error is, for counters.

use std::borrow::Cow;
use std::error::Error;

use http::StatusCode;

use super::{BodyProblem, CallError, Cause, TransportError};

/// What kind of failure it is, as retries are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No complete response in time.
    Timeout,
    /// No connection, or it was lost.
    Connection,
    /// 429 Too Many Requests.
    Throttled,
    /// A status from 500 to 599.
    ServerError,
    /// A success with an unexpected body.
    UnexpectedBody,
    /// Any other status.
    OtherStatus,
}

impl FailureKind {
    /// All of them, in the order of the variants.
    pub const ALL: [Self; 6] = [
        Self::Timeout,
        Self::Connection,
        Self::Throttled,
        Self::ServerError,
        Self::UnexpectedBody,
        Self::OtherStatus,
    ];

    /// The name in summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::UnexpectedBody => "unexpected_body",
            Self::OtherStatus => "other_status",
        }
    }
}

impl CallError {
    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        match self.cause() {
            Cause::Transport(TransportError::TimedOut(_)) => FailureKind::Timeout,
            Cause::Transport(_) => FailureKind::Connection,
            Cause::Status { status, .. } | Cause::Body(BodyProblem::WebPage { status }) => of_status(*status),
            Cause::UnknownPath { .. } => FailureKind::OtherStatus,
            Cause::Body(_) => FailureKind::UnexpectedBody,
            Cause::Paused { .. } => FailureKind::Throttled,
        }
    }
}

impl CallError {
    /// The status of the response, of the service or of a proxy.
    pub fn received_status(&self) -> Option<StatusCode> {
        match self.cause() {
            Cause::Status { status, .. } | Cause::Body(BodyProblem::WebPage { status }) => Some(*status),
            Cause::UnknownPath { .. } => Some(StatusCode::NOT_FOUND),
            Cause::Transport(_) | Cause::Body(_) | Cause::Paused { .. } => None,
        }
    }

    /// The status, or else what kind of failure it is, as `error.type` of the OpenTelemetry conventions.
    pub fn error_type(&self) -> Cow<'static, str> {
        match self.received_status() {
            Some(status) => status.as_u16().to_string().into(),
            None => self.kind().name().into(),
        }
    }
}

/// As [`CallError::error_type`], for an error that a failed call may have caused.
pub fn error_type(error: &(dyn Error + 'static)) -> Cow<'static, str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(call) = error.downcast_ref::<CallError>() {
            return call.error_type();
        }
        cause = error.source();
    }
    "other".into()
}

fn of_status(status: StatusCode) -> FailureKind {
    match status.as_u16() {
        429 => FailureKind::Throttled,
        500..=599 => FailureKind::ServerError,
        _ => FailureKind::OtherStatus,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::DeadlineElapsed;
    use crate::http::{Class, Effect};

    #[derive(Debug, thiserror::Error)]
    #[error("could not do it")]
    struct Wrapped(#[source] CallError);

    #[test]
    fn every_failure_is_of_one_kind() {
        let status = |status| {
            CallError::status("try", Effect::Repeatable, StatusCode::from_u16(status).unwrap(), None, None)
        };
        let body = |problem| CallError::body("try", Effect::Repeatable, problem);
        let timeout = TransportError::TimedOut(DeadlineElapsed(Duration::ZERO));
        let paused = Cause::Paused { delay: Duration::ZERO, timeout: Duration::ZERO };
        for (error, kind) in [
            (CallError::transport("try", Effect::Repeatable, timeout), FailureKind::Timeout),
            (status(429), FailureKind::Throttled),
            (CallError::new("try", Class::Permanent, paused), FailureKind::Throttled),
            (status(500), FailureKind::ServerError),
            (status(503), FailureKind::ServerError),
            (
                body(BodyProblem::WebPage { status: StatusCode::SERVICE_UNAVAILABLE }),
                FailureKind::ServerError,
            ),
            (body(BodyProblem::WebPage { status: StatusCode::FORBIDDEN }), FailureKind::OtherStatus),
            (status(408), FailureKind::OtherStatus),
            (CallError::unknown_path("try", None), FailureKind::OtherStatus),
            (body(BodyProblem::Html), FailureKind::UnexpectedBody),
            (body(BodyProblem::Empty), FailureKind::UnexpectedBody),
        ] {
            assert_eq!(error.kind(), kind, "{error:?}");
        }
        assert_eq!(status(503).error_type(), "503");
        assert_eq!(CallError::unknown_path("try", None).error_type(), "404");
        assert_eq!(body(BodyProblem::WebPage { status: StatusCode::FORBIDDEN }).error_type(), "403");
        assert_eq!(error_type(&Wrapped(body(BodyProblem::Empty))), "unexpected_body");
        assert_eq!(error_type(&std::fmt::Error), "other");
        for (index, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
