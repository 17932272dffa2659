//! What an error means to the user: a stable code, the exit status, whether the same command may succeed later, and a
//! hint.
//!
//! Owns these for every error of a run, in one match, and the decision which command helps. It does not print anything.
//! Codes are public: alerts and retry rules depend on them.

mod code;
mod compare;
mod explain;
mod hint;
mod next_step;

pub use code::{Code, Remedy};
pub use explain::Explanation;
pub use next_step::{NextStep, next_step};

use http::StatusCode;

use crate::exit_status::ExitStatus;
use crate::export::ExportError;
use crate::free_space::is_lack_of_space;
use crate::http::{CallError, TlsError};
use crate::run::decide::Ending;
use crate::run::{RecoveryState, RunError};
use crate::services::ServicesError;
use crate::shutdown::Signal;
use crate::treasure_data::TreasureDataError;
use crate::yotpo::YotpoError;

/// What an error means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Its code.
    pub code: Code,
    /// The exit status.
    pub status: ExitStatus,
    /// What to do; `None` if nothing is wrong.
    pub hint: Option<String>,
    /// Whether the same command helps only after a correction, if the code says so.
    pub needs_correction: bool,
}

impl Diagnosis {
    /// What an error outside a run means.
    pub fn new(code: Code, hint: Option<String>) -> Self {
        Self { code, status: code.status(), hint, needs_correction: true }
    }

    /// Adds to the hint.
    #[must_use]
    pub fn with_hint(mut self, further: &str) -> Self {
        self.hint = Some(match self.hint {
            Some(hint) => format!("{hint}; {further}"),
            None => further.to_owned(),
        });
        self
    }

    /// The hint to run the same command: a commit may have begun, and only that command completes it.
    fn without_correction(self) -> Self {
        let hint = "run the same command, with the same endpoints and the same database and table: it first looks up what was \
                    committed, and anything else would be another run, which may load the customers twice; if it persists, \
                    contact Treasure Data support";
        Self { hint: Some(hint.to_owned()), needs_correction: false, ..self }
    }

    /// A signal ended the program.
    pub fn interrupted(signal: Signal) -> Self {
        let status = ExitStatus::Interrupted(signal);
        Self { status, ..Self::new(Code::Interrupted, None) }
    }
}

impl ServicesError {
    /// The diagnosis: the machine lacks something, and nothing was sent.
    pub fn diagnosis(&self) -> Diagnosis {
        let hint = match self {
            Self::Tls(TlsError::NoRootCertificates(_)) => Some(TlsError::HINT.to_owned()),
            Self::Tls(TlsError::Unsupported(_)) | Self::Client(_) | Self::ApiKey(_) => None,
        };
        Diagnosis::new(Code::MachineDenied, hint)
    }
}

impl RunError {
    /// The diagnosis of this error.
    pub fn diagnosis(&self) -> Diagnosis {
        let code = code(self);
        let status = match self {
            Self::Interrupted(signal) => ExitStatus::Interrupted(*signal),
            _ => code.status(),
        };
        Diagnosis { status, ..Diagnosis::new(code, hint::hint(self)) }
    }

    /// The diagnosis of this error after a run that left `recovery`.
    pub fn diagnosis_after(&self, recovery: &RecoveryState) -> Diagnosis {
        let diagnosis = self.diagnosis();
        let is_only_looked_up =
            matches!(recovery, RecoveryState::MaybeCommitted { .. }) && self.has_nothing_to_correct();
        if is_only_looked_up { diagnosis.without_correction() } else { diagnosis }
    }

    /// Whether a service refused a request for a reason that nothing outside this program is known to correct. A wrong address
    /// does not count as one after a commit: with another address it is another run.
    fn has_nothing_to_correct(&self) -> bool {
        let call = match self {
            Self::Yotpo(error) => error.call(),
            Self::TreasureData(error) => Some(error.call()),
            _ => None,
        };
        let has_own_hint = |call: &CallError| {
            call.connection_hint().is_some() || call.status_code() == Some(StatusCode::PAYMENT_REQUIRED)
        };
        code(self).refuses_request() && call.is_some_and(|call| !has_own_hint(call))
    }
}

fn code(error: &RunError) -> Code {
    match error {
        RunError::Yotpo(error) => match error {
            YotpoError::CredentialsDenied(_) => Code::YotpoCredentialsRefused,
            YotpoError::TokenNotAccepted { .. } => Code::YotpoTokenNotAccepted,
            YotpoError::Page { .. } | YotpoError::Token(_) if error.is_permanent() => {
                Code::YotpoRequestRefused
            }
            YotpoError::Page { .. } => Code::YotpoPageFailed,
            YotpoError::Token(_) => Code::YotpoTokenFailed,
            YotpoError::RepeatedCursor { .. } | YotpoError::EndlessEmptyPages { .. } => {
                Code::YotpoPagingEndless
            }
            YotpoError::LoyaltyLost { .. } => Code::LoyaltyDataLost,
        },
        RunError::TreasureData(TreasureDataError::Denied(_)) | RunError::Denied => {
            Code::TreasureDataPermissionDenied
        }
        RunError::TreasureData(TreasureDataError::WrongEndpoint(_)) => Code::TreasureDataWrongEndpoint,
        RunError::TreasureData(TreasureDataError::NoDatabase { .. }) => Code::TreasureDataNoDatabase,
        RunError::TreasureData(error) if error.is_permanent() => Code::TreasureDataRequestRefused,
        RunError::TreasureData(_) => Code::TreasureDataFailed,
        RunError::Customer { .. } => Code::CustomerUnreadable,
        RunError::Guard(_) => Code::GuardTripped,
        RunError::CountsDiffer { .. } => Code::LoadedCountsDiffer,
        RunError::Ended { ending, .. } => code_of_ending(*ending),
        RunError::TookTooLong { .. } => Code::LoadTimedOut,
        RunError::AlreadyLoaded { .. } | RunError::OtherRows { .. } => Code::RunAlreadyLoaded,
        RunError::OtherMode { .. } => Code::RunHasOtherMode,
        RunError::LegacyCommit { .. } => Code::CommitUnknown,
        RunError::State(_) | RunError::Quarantine(_) | RunError::Export(_) if is_lack_of_space(error) => {
            Code::DiskFull
        }
        RunError::Export(error) => code_of_export(error),
        RunError::State(_) => Code::StateFailed,
        RunError::Quarantine(_) => Code::QuarantineFailed,
        RunError::Interrupted(_) => Code::Interrupted,
        RunError::Clock(_) | RunError::ClockOutOfRange => Code::ClockWrong,
        RunError::Bug(_) => Code::Bug,
    }
}

/// The code of an export directory that cannot be used.
pub fn code_of_export(error: &ExportError) -> Code {
    match error {
        ExportError::Bug(_) => Code::Bug,
        error if error.is_usage() => Code::SettingsInvalid,
        _ => Code::ExportUnusable,
    }
}

fn code_of_ending(ending: Ending) -> Code {
    match ending {
        Ending::Loaded { .. } | Ending::NothingToLoad | Ending::Abandoned | Ending::UnexpectedResult => {
            Code::Bug
        }
        Ending::NoTableIds => Code::TreasureDataPermissionDenied,
        Ending::NoTarget => Code::TreasureDataNoTable,
        Ending::LoadFailed => Code::LoadJobFailed,
        Ending::LoadStuck => Code::LoadTimedOut,
        Ending::CommitFailed => Code::CommitFailed,
        Ending::PublishFailed => Code::PublishFailed,
        Ending::NoProgress => Code::NoProgress,
        Ending::CountsDiffer => Code::LoadedCountsDiffer,
        Ending::AbandonedByOthers => Code::RunAbandoned,
        Ending::Superseded => Code::RunSuperseded,
        Ending::RunTooOld => Code::RunTooOld,
        Ending::WinnerGone | Ending::WinnerChanged => Code::CommitUnknown,
        Ending::ForeignBallot | Ending::OtherProtocol(_) => Code::OtherProtocol,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::Effect;

    fn page(page: u64, status: u16) -> Diagnosis {
        let status = StatusCode::from_u16(status).unwrap();
        let source = CallError::status("try", Effect::Repeatable, status, None, None);
        RunError::from(YotpoError::Page { page, source }).diagnosis()
    }

    #[test]
    fn a_refused_page_is_permanent_unless_the_cursor_may_be_refused() {
        for (number, status, code, words) in [
            (1, 400, Code::YotpoRequestRefused, "running it again will not help"),
            (1, 404, Code::YotpoRequestRefused, "running it again will not help"),
            (2, 400, Code::YotpoPageFailed, "the run starts over"),
            (2, 422, Code::YotpoPageFailed, "the run starts over"),
            (2, 409, Code::YotpoRequestRefused, "running it again will not help"),
            (2, 503, Code::YotpoPageFailed, "run it again"),
        ] {
            let found = page(number, status);
            assert_eq!(
                (found.code, found.status),
                (code, ExitStatus::YotpoFailed),
                "{status} on page {number}"
            );
            let hint = found.hint.unwrap();
            assert!(hint.contains(words), "{status} on page {number}: {hint}");
        }
    }

    #[test]
    fn a_request_that_is_refused_after_the_commit_has_begun_asks_for_the_same_command() {
        let maybe = RecoveryState::MaybeCommitted { ingestion_time: 1 };
        let refused = |status| {
            let status = StatusCode::from_u16(status).unwrap();
            RunError::from(TreasureDataError::from(CallError::status(
                "commit",
                Effect::CheckFirst,
                status,
                None,
                None,
            )))
        };
        let no_path = RunError::from(TreasureDataError::from(CallError::unknown_path("commit", None)));
        let yotpo = RunError::from(YotpoError::Token(CallError::unknown_path("obtain a token", None)));
        for error in [refused(400), refused(404), no_path, yotpo] {
            let found = error.diagnosis_after(&maybe);
            let hint = found.hint.as_deref().unwrap();
            assert!(hint.starts_with("run the same command, with the same endpoints"), "{error}: {hint}");
            assert!(!found.needs_correction, "{error}");
            assert_eq!(error.diagnosis_after(&RecoveryState::Deleted), error.diagnosis(), "{error}");
        }
        for error in [refused(401), refused(402), refused(503), RunError::Bug("rows out of order")] {
            assert_eq!(error.diagnosis_after(&maybe), error.diagnosis(), "{error}");
        }
    }

    #[test]
    fn a_further_hint_follows_the_first_one_or_stands_alone() {
        for (first, both) in
            [(Some("report it"), "report it; look at the table"), (None, "look at the table")]
        {
            let diagnosis = Diagnosis::new(Code::CommitUnknown, first.map(str::to_owned));
            assert_eq!(diagnosis.with_hint("look at the table").hint.as_deref(), Some(both));
        }
    }

    #[test]
    fn an_api_key_that_cannot_be_sent_has_no_hint_about_certificates() {
        let error = HeaderValue::from_str("line\nbreak").unwrap_err();
        assert_eq!(ServicesError::from(error).diagnosis(), Diagnosis::new(Code::MachineDenied, None));
    }

    #[test]
    fn endings_that_no_message_of_a_service_explains_have_their_codes() {
        for (ending, code) in [
            (Ending::NothingToLoad, Code::Bug),
            (Ending::Abandoned, Code::Bug),
            (Ending::UnexpectedResult, Code::Bug),
            (Ending::CountsDiffer, Code::LoadedCountsDiffer),
            (Ending::ForeignBallot, Code::OtherProtocol),
            (Ending::OtherProtocol(9), Code::OtherProtocol),
        ] {
            assert_eq!(code_of_ending(ending), code, "{ending:?}");
        }
        for (error, code, status) in [
            (RunError::ClockOutOfRange, Code::ClockWrong, ExitStatus::LocalFailed),
            (RunError::Bug("rows out of order"), Code::Bug, ExitStatus::Bug),
        ] {
            let found = error.diagnosis();
            assert_eq!((found.code, found.status), (code, status), "{error}");
        }
    }
}
