//! Codes: the names of errors for programs.

use crate::exit_status::ExitStatus;

/// An error's name for programs. A name is never given another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A defect of this program.
    Bug,
    /// The command line or a setting is wrong.
    SettingsInvalid,
    /// Yotpo gives no token for the secret and the store.
    YotpoCredentialsRefused,
    /// Tokens are given and not accepted.
    YotpoTokenNotAccepted,
    /// No token could be had.
    YotpoTokenFailed,
    /// A page could not be had.
    YotpoPageFailed,
    /// Yotpo refuses a request, or cannot be reached as it is set up.
    YotpoRequestRefused,
    /// The paging would never end.
    YotpoPagingEndless,
    /// Customers behind the first page have no loyalty data.
    LoyaltyDataLost,
    /// The API key may not do what the run needs.
    TreasureDataPermissionDenied,
    /// What answers is not Treasure Data's API.
    TreasureDataWrongEndpoint,
    /// The database is missing.
    TreasureDataNoDatabase,
    /// The table is missing, and the API key may not create it.
    TreasureDataNoTable,
    /// Treasure Data refuses a request, or cannot be reached as it is set up.
    TreasureDataRequestRefused,
    /// Treasure Data, or the way to it, failed.
    TreasureDataFailed,
    /// Too many customers cannot become rows.
    CustomerUnreadable,
    /// The result looks broken.
    GuardTripped,
    /// A session does not hold what was sent.
    LoadedCountsDiffer,
    /// The load job failed or was killed.
    LoadJobFailed,
    /// A load or a commit took too long.
    LoadTimedOut,
    /// The commit failed again and again.
    CommitFailed,
    /// The new table could not take the old one's place.
    PublishFailed,
    /// Something else kept changing what the run needs.
    NoProgress,
    /// The run id is done.
    RunAlreadyLoaded,
    /// Another run of the target is at work on this machine.
    RunActive,
    /// The run was abandoned.
    RunAbandoned,
    /// The table was replaced or made anew since the run began.
    RunSuperseded,
    /// The attempts of the run can no longer be told apart.
    RunTooOld,
    /// What came of a commit cannot be known.
    CommitUnknown,
    /// Another version of this program is at work on the run.
    OtherProtocol,
    /// The state could not be read or saved.
    StateFailed,
    /// Records could not be put aside.
    QuarantineFailed,
    /// No root certificates, no threads or no files are to be had.
    MachineDenied,
    /// The machine's clock cannot be right.
    ClockWrong,
    /// A signal ended the run.
    Interrupted,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 35] = [
        Self::Bug,
        Self::SettingsInvalid,
        Self::YotpoCredentialsRefused,
        Self::YotpoTokenNotAccepted,
        Self::YotpoTokenFailed,
        Self::YotpoPageFailed,
        Self::YotpoRequestRefused,
        Self::YotpoPagingEndless,
        Self::LoyaltyDataLost,
        Self::TreasureDataPermissionDenied,
        Self::TreasureDataWrongEndpoint,
        Self::TreasureDataNoDatabase,
        Self::TreasureDataNoTable,
        Self::TreasureDataRequestRefused,
        Self::TreasureDataFailed,
        Self::CustomerUnreadable,
        Self::GuardTripped,
        Self::LoadedCountsDiffer,
        Self::LoadJobFailed,
        Self::LoadTimedOut,
        Self::CommitFailed,
        Self::PublishFailed,
        Self::NoProgress,
        Self::RunAlreadyLoaded,
        Self::RunActive,
        Self::RunAbandoned,
        Self::RunSuperseded,
        Self::RunTooOld,
        Self::CommitUnknown,
        Self::OtherProtocol,
        Self::StateFailed,
        Self::QuarantineFailed,
        Self::MachineDenied,
        Self::ClockWrong,
        Self::Interrupted,
    ];

    /// The code as it is written; the exit status of one that a signal caused is the signal's; and whether the same command
    /// may succeed later without anything being changed.
    const fn row(self) -> (&'static str, ExitStatus, bool) {
        use ExitStatus as Status;
        match self {
            Self::Bug => ("bug", Status::Bug, false),
            Self::SettingsInvalid => ("settings_invalid", Status::Usage, false),
            Self::YotpoCredentialsRefused => ("yotpo_credentials_refused", Status::Refused, false),
            Self::YotpoTokenNotAccepted => ("yotpo_token_not_accepted", Status::Refused, false),
            Self::YotpoTokenFailed => ("yotpo_token_failed", Status::YotpoFailed, true),
            Self::YotpoPageFailed => ("yotpo_page_failed", Status::YotpoFailed, true),
            Self::YotpoRequestRefused => ("yotpo_request_refused", Status::YotpoFailed, false),
            Self::YotpoPagingEndless => ("yotpo_paging_endless", Status::YotpoFailed, true),
            Self::LoyaltyDataLost => ("loyalty_data_lost", Status::DataRefused, false),
            Self::TreasureDataPermissionDenied => ("treasure_data_permission_denied", Status::Refused, false),
            Self::TreasureDataWrongEndpoint => ("treasure_data_wrong_endpoint", Status::Usage, false),
            Self::TreasureDataNoDatabase => ("treasure_data_no_database", Status::Usage, false),
            Self::TreasureDataNoTable => ("treasure_data_no_table", Status::Refused, false),
            Self::TreasureDataRequestRefused => {
                ("treasure_data_request_refused", Status::TreasureDataFailed, false)
            }
            Self::TreasureDataFailed => ("treasure_data_failed", Status::TreasureDataFailed, true),
            Self::CustomerUnreadable => ("customer_unreadable", Status::DataRefused, false),
            Self::GuardTripped => ("guard_tripped", Status::DataRefused, false),
            Self::LoadedCountsDiffer => ("loaded_counts_differ", Status::DataRefused, false),
            Self::LoadJobFailed => ("load_job_failed", Status::TreasureDataFailed, true),
            Self::LoadTimedOut => ("load_timed_out", Status::TreasureDataFailed, true),
            Self::CommitFailed => ("commit_failed", Status::TreasureDataFailed, true),
            Self::PublishFailed => ("publish_failed", Status::TreasureDataFailed, true),
            Self::NoProgress => ("no_progress", Status::TreasureDataFailed, true),
            Self::RunAlreadyLoaded => ("run_already_loaded", Status::Usage, false),
            Self::RunActive => ("run_active", Status::AlreadyRunning, true),
            Self::RunAbandoned => ("run_abandoned", Status::AlreadyRunning, false),
            Self::RunSuperseded => ("run_superseded", Status::AlreadyRunning, false),
            Self::RunTooOld => ("run_too_old", Status::NeedsAttention, false),
            Self::CommitUnknown => ("commit_unknown", Status::NeedsAttention, false),
            Self::OtherProtocol => ("other_protocol", Status::NeedsAttention, false),
            Self::StateFailed => ("state_failed", Status::LocalFailed, false),
            Self::QuarantineFailed => ("quarantine_failed", Status::LocalFailed, false),
            Self::MachineDenied => ("machine_denied", Status::LocalFailed, false),
            Self::ClockWrong => ("clock_wrong", Status::LocalFailed, false),
            Self::Interrupted => {
                ("interrupted", Status::Interrupted(crate::shutdown::Signal::Interrupt), true)
            }
        }
    }

    /// The code as it is written.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The exit status that it goes with.
    pub const fn status(self) -> ExitStatus {
        self.row().1
    }

    /// Whether a service refuses what this program asks for: the same command would only fail again.
    pub const fn refuses_request(self) -> bool {
        matches!(
            self,
            Self::YotpoRequestRefused
                | Self::TreasureDataRequestRefused
                | Self::TreasureDataWrongEndpoint
                | Self::TreasureDataNoDatabase
        )
    }

    /// Whether the same command may succeed later without anything being changed.
    pub const fn is_retryable(self) -> bool {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_the_published_contract_and_each_stands_for_one_error() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let is_word = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(names.iter().all(is_word), "{names:?}");
    }

    #[test]
    fn the_documentation_lists_every_code_as_it_is() {
        let documented: Vec<_> = include_str!("../../docs/errors.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, rest)| (name, rest.split('|').map(str::trim).skip(1).take(2).collect::<Vec<_>>()))
            .collect();
        assert_eq!(documented.len(), Code::ALL.len());
        for code in Code::ALL {
            let status = match code.status() {
                ExitStatus::Interrupted(_) => "129, 130, 143".to_owned(),
                status => status.code().to_string(),
            };
            let again = if code.is_retryable() { "yes" } else { "no" };
            assert!(
                documented.contains(&(code.name(), vec![status.as_str(), again])),
                "{code:?}: {documented:?}"
            );
        }
    }

    #[test]
    fn what_a_person_must_change_is_not_tried_again() {
        let retryable: Vec<_> =
            Code::ALL.iter().filter(|code| code.is_retryable()).map(|code| code.name()).collect();
        assert_eq!(
            retryable,
            [
                "yotpo_token_failed",
                "yotpo_page_failed",
                "yotpo_paging_endless",
                "treasure_data_failed",
                "load_job_failed",
                "load_timed_out",
                "commit_failed",
                "publish_failed",
                "no_progress",
                "run_active",
                "interrupted",
            ]
        );
    }
}
