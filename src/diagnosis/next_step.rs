//! Which command helps after a failure, decided from the error's code and from what the run left.

use super::code::{Code, Remedy};
use crate::run::RecoveryState;

/// What running the failed command again does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextStep {
    /// Whether it resumes the run; otherwise it starts over.
    pub resumes: bool,
    /// Whether a correction in the hint is necessary first.
    pub after_correction: bool,
}

/// Whether and how the same command helps; `None` if it would fail in the same way, or if its effect is unknown.
pub const fn next_step(code: Code, recovery: &RecoveryState) -> Option<NextStep> {
    let after_correction = match (code.remedy(), recovery) {
        // Only the same command completes what may be committed, whatever else is wrong.
        (Remedy::OtherCommand, RecoveryState::MaybeCommitted { .. }) if code.refuses_request() => true,
        (Remedy::OtherCommand, _) | (_, RecoveryState::Unknown) => return None,
        (Remedy::Time, _) => false,
        (Remedy::Correction, _) => true,
    };
    let resumes = match recovery {
        RecoveryState::Resumable { .. } | RecoveryState::ResumableExport { .. } => match code {
            // The stored rows are refused: only a different flag accepts or replaces them.
            Code::GuardTripped | Code::LoadedCountsDiffer => return None,
            // Rows without loyalty data are not reused.
            Code::LoyaltyDataLost => false,
            _ => true,
        },
        RecoveryState::MaybeCommitted { .. } => true,
        RecoveryState::NothingCreated
        | RecoveryState::Deleted
        | RecoveryState::CleanupFailed(_)
        | RecoveryState::StateUnreadable
        | RecoveryState::Unknown => false,
    };
    Some(NextStep { resumes, after_correction })
}

impl NextStep {
    /// The words before the command.
    pub const fn words(self) -> &'static str {
        match (self.resumes, self.after_correction) {
            (true, false) => "resume with",
            (false, false) => "retry with",
            (true, true) => "after correcting this, resume with",
            (false, true) => "after correcting this, retry with",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> [RecoveryState; 7] {
        let session = || "session".parse().unwrap();
        let all = [
            RecoveryState::NothingCreated,
            RecoveryState::Deleted,
            RecoveryState::CleanupFailed(session()),
            RecoveryState::Resumable { session: session(), rows: 1, parts: 1 },
            RecoveryState::MaybeCommitted { ingestion_time: 1 },
            RecoveryState::StateUnreadable,
            RecoveryState::Unknown,
        ];
        for (place, state) in all.iter().enumerate() {
            let expected = match state {
                RecoveryState::NothingCreated => 0,
                RecoveryState::Deleted => 1,
                RecoveryState::CleanupFailed(_) => 2,
                RecoveryState::Resumable { .. } => 3,
                RecoveryState::ResumableExport { .. } => panic!("it is tested separately"),
                RecoveryState::MaybeCommitted { .. } => 4,
                RecoveryState::StateUnreadable => 5,
                RecoveryState::Unknown => 6,
            };
            assert_eq!(place, expected, "each state once");
        }
        all
    }

    /// One letter per state, in the order of [`states`]: `R` resume, `t` retry, `r` and `y` the same after a correction,
    /// `-` none.
    fn letters(code: Code) -> String {
        let letter = |state: &RecoveryState| match next_step(code, state).map(NextStep::words) {
            Some("resume with") => 'R',
            Some("retry with") => 't',
            Some("after correcting this, resume with") => 'r',
            Some("after correcting this, retry with") => 'y',
            Some(words) => panic!("{words}"),
            None => '-',
        };
        states().iter().map(letter).collect()
    }

    #[test]
    fn every_code_and_state_has_the_expected_next_step() {
        let expected = [
            (Code::Bug, "yyyrry-"),
            (Code::SettingsInvalid, "-------"),
            (Code::YotpoCredentialsRefused, "yyyrry-"),
            (Code::YotpoTokenNotAccepted, "yyyrry-"),
            (Code::YotpoTokenFailed, "tttRRt-"),
            (Code::YotpoPageFailed, "tttRRt-"),
            (Code::YotpoRequestRefused, "----r--"),
            (Code::YotpoPagingEndless, "tttRRt-"),
            (Code::LoyaltyDataLost, "yyyyry-"),
            (Code::TreasureDataPermissionDenied, "yyyrry-"),
            (Code::TreasureDataWrongEndpoint, "----r--"),
            (Code::TreasureDataNoDatabase, "----r--"),
            (Code::TreasureDataNoTable, "yyyrry-"),
            (Code::TreasureDataRequestRefused, "----r--"),
            (Code::TreasureDataFailed, "tttRRt-"),
            (Code::CustomerUnreadable, "yyyrry-"),
            (Code::GuardTripped, "yyy-ry-"),
            (Code::LoadedCountsDiffer, "yyy-ry-"),
            (Code::LoadJobFailed, "tttRRt-"),
            (Code::LoadTimedOut, "tttRRt-"),
            (Code::CommitFailed, "tttRRt-"),
            (Code::PublishFailed, "tttRRt-"),
            (Code::NoProgress, "tttRRt-"),
            (Code::RunAlreadyLoaded, "-------"),
            (Code::RunHasOtherMode, "-------"),
            (Code::RunActive, "tttRRt-"),
            (Code::RunAbandoned, "-------"),
            (Code::RunSuperseded, "-------"),
            (Code::RunTooOld, "-------"),
            (Code::CommitUnknown, "-------"),
            (Code::OtherProtocol, "-------"),
            (Code::AssumptionContradicted, "-------"),
            (Code::RowsDiffer, "-------"),
            (Code::InputDamaged, "-------"),
            (Code::InputUnreadable, "yyyrry-"),
            (Code::StateFailed, "yyyrry-"),
            (Code::ExportUnusable, "yyyrry-"),
            (Code::QuarantineFailed, "yyyrry-"),
            (Code::DiskFull, "yyyrry-"),
            (Code::MachineDenied, "yyyrry-"),
            (Code::ClockWrong, "yyyrry-"),
            (Code::Interrupted, "tttRRt-"),
        ];
        assert_eq!(expected.map(|(code, _)| code), Code::ALL, "every code once");
        for (code, letters_of_code) in expected {
            assert_eq!(letters(code), letters_of_code, "{code:?}");
        }
    }

    #[test]
    fn an_export_is_resumed_like_a_session() {
        let [session, export] = [
            RecoveryState::Resumable { session: "session".parse().unwrap(), rows: 1, parts: 1 },
            RecoveryState::ResumableExport { rows: 1, parts: 1 },
        ];
        for code in Code::ALL {
            assert_eq!(next_step(code, &export), next_step(code, &session), "{code:?}");
        }
    }

    #[test]
    fn retryable_errors_need_no_correction() {
        for code in Code::ALL {
            for state in states() {
                let step = next_step(code, &state);
                let is_given_at_once = step.is_some_and(|step| !step.after_correction);
                assert!(!is_given_at_once || code.is_retryable(), "{code:?} {state:?}");
            }
        }
    }
}
