//! Codes: stable names of errors for programs.

use crate::exit_status::ExitStatus;

/// What makes the failed command succeed when it is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Time: nothing needs to be changed.
    Time,
    /// The correction in the hint, outside the command: a key, a permission, a disk, a customer.
    Correction,
    /// Nothing: it needs a different command or a decision.
    OtherCommand,
}

/// The name of an error for programs. The meaning of a name never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A defect of this program.
    Bug,
    /// The command line or a setting is wrong.
    SettingsInvalid,
    /// Yotpo denied a token for the secret and the store.
    YotpoCredentialsRefused,
    /// Yotpo issues tokens but does not accept them.
    YotpoTokenNotAccepted,
    /// No token could be obtained.
    YotpoTokenFailed,
    /// A page could not be fetched.
    YotpoPageFailed,
    /// Yotpo refuses a request, or cannot be reached as configured.
    YotpoRequestRefused,
    /// The paging would never end.
    YotpoPagingEndless,
    /// Customers after the first page have no loyalty data.
    LoyaltyDataLost,
    /// The API key may not do what the run needs.
    TreasureDataPermissionDenied,
    /// The endpoint is not Treasure Data's API.
    TreasureDataWrongEndpoint,
    /// The database is missing.
    TreasureDataNoDatabase,
    /// The table is missing, and the API key may not create it.
    TreasureDataNoTable,
    /// Treasure Data refuses a request, or cannot be reached as configured.
    TreasureDataRequestRefused,
    /// Treasure Data or the connection to it failed.
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
    /// The commit failed repeatedly.
    CommitFailed,
    /// The new table could not replace the old one.
    PublishFailed,
    /// Something else kept changing what the run needs.
    NoProgress,
    /// The run id is already loaded.
    RunAlreadyLoaded,
    /// Other attempts with the run id load in the other mode.
    RunHasOtherMode,
    /// Another run of the target is active on this machine.
    RunActive,
    /// The run was abandoned.
    RunAbandoned,
    /// The table was replaced or recreated since the run began.
    RunSuperseded,
    /// The attempts of the run can no longer be distinguished.
    RunTooOld,
    /// The result of a commit is unknown.
    CommitUnknown,
    /// Another version of this program is working on the run.
    OtherProtocol,
    /// Treasure Data does not behave as the exchange between attempts assumes.
    AssumptionContradicted,
    /// Two sets of rows differ.
    RowsDiffer,
    /// A file of rows is damaged, or not what the command reads.
    InputDamaged,
    /// A file of rows cannot be read from the disk.
    InputUnreadable,
    /// The state could not be read or saved.
    StateFailed,
    /// An export directory cannot be read or written, or does not hold what its manifest lists.
    ExportUnusable,
    /// Records could not be quarantined.
    QuarantineFailed,
    /// A disk has too little free space for a run.
    DiskFull,
    /// The machine lacks root certificates, threads or file descriptors for the run.
    MachineDenied,
    /// The machine's clock is wrong.
    ClockWrong,
    /// A signal ended the run.
    Interrupted,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 42] = [
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
        Self::RunHasOtherMode,
        Self::RunActive,
        Self::RunAbandoned,
        Self::RunSuperseded,
        Self::RunTooOld,
        Self::CommitUnknown,
        Self::OtherProtocol,
        Self::AssumptionContradicted,
        Self::RowsDiffer,
        Self::InputDamaged,
        Self::InputUnreadable,
        Self::StateFailed,
        Self::ExportUnusable,
        Self::QuarantineFailed,
        Self::DiskFull,
        Self::MachineDenied,
        Self::ClockWrong,
        Self::Interrupted,
    ];

    /// The code as written, its exit status (for `interrupted`, that of the signal), and what makes the command succeed.
    const fn row(self) -> (&'static str, ExitStatus, Remedy) {
        use ExitStatus as Status;
        use Remedy::{Correction, OtherCommand, Time};
        match self {
            Self::Bug => ("bug", Status::Bug, Correction),
            Self::SettingsInvalid => ("settings_invalid", Status::Usage, OtherCommand),
            Self::YotpoCredentialsRefused => ("yotpo_credentials_refused", Status::Denied, Correction),
            Self::YotpoTokenNotAccepted => ("yotpo_token_not_accepted", Status::Denied, Correction),
            Self::YotpoTokenFailed => ("yotpo_token_failed", Status::YotpoFailed, Time),
            Self::YotpoPageFailed => ("yotpo_page_failed", Status::YotpoFailed, Time),
            Self::YotpoRequestRefused => ("yotpo_request_refused", Status::YotpoFailed, OtherCommand),
            Self::YotpoPagingEndless => ("yotpo_paging_endless", Status::YotpoFailed, Time),
            Self::LoyaltyDataLost => ("loyalty_data_lost", Status::DataRefused, Correction),
            Self::TreasureDataPermissionDenied => {
                ("treasure_data_permission_denied", Status::Denied, Correction)
            }
            Self::TreasureDataWrongEndpoint => ("treasure_data_wrong_endpoint", Status::Usage, OtherCommand),
            Self::TreasureDataNoDatabase => ("treasure_data_no_database", Status::Usage, OtherCommand),
            Self::TreasureDataNoTable => ("treasure_data_no_table", Status::Denied, Correction),
            Self::TreasureDataRequestRefused => {
                ("treasure_data_request_refused", Status::TreasureDataFailed, OtherCommand)
            }
            Self::TreasureDataFailed => ("treasure_data_failed", Status::TreasureDataFailed, Time),
            Self::CustomerUnreadable => ("customer_unreadable", Status::DataRefused, Correction),
            Self::GuardTripped => ("guard_tripped", Status::DataRefused, Correction),
            Self::LoadedCountsDiffer => ("loaded_counts_differ", Status::DataRefused, Correction),
            Self::LoadJobFailed => ("load_job_failed", Status::TreasureDataFailed, Time),
            Self::LoadTimedOut => ("load_timed_out", Status::TreasureDataFailed, Time),
            Self::CommitFailed => ("commit_failed", Status::TreasureDataFailed, Time),
            Self::PublishFailed => ("publish_failed", Status::TreasureDataFailed, Time),
            Self::NoProgress => ("no_progress", Status::TreasureDataFailed, Time),
            Self::RunAlreadyLoaded => ("run_already_loaded", Status::Usage, OtherCommand),
            Self::RunHasOtherMode => ("run_has_other_mode", Status::Usage, OtherCommand),
            Self::RunActive => ("run_active", Status::AlreadyRunning, Time),
            Self::RunAbandoned => ("run_abandoned", Status::AlreadyRunning, OtherCommand),
            Self::RunSuperseded => ("run_superseded", Status::AlreadyRunning, OtherCommand),
            Self::RunTooOld => ("run_too_old", Status::NeedsAttention, OtherCommand),
            Self::CommitUnknown => ("commit_unknown", Status::NeedsAttention, OtherCommand),
            Self::OtherProtocol => ("other_protocol", Status::NeedsAttention, OtherCommand),
            Self::AssumptionContradicted => ("assumption_contradicted", Status::NeedsAttention, OtherCommand),
            Self::RowsDiffer => ("rows_differ", Status::DataRefused, OtherCommand),
            Self::InputDamaged => ("input_damaged", Status::DataRefused, OtherCommand),
            Self::InputUnreadable => ("input_unreadable", Status::LocalFailed, Correction),
            Self::StateFailed => ("state_failed", Status::LocalFailed, Correction),
            Self::ExportUnusable => ("export_unusable", Status::LocalFailed, Correction),
            Self::QuarantineFailed => ("quarantine_failed", Status::LocalFailed, Correction),
            Self::DiskFull => ("disk_full", Status::LocalFailed, Correction),
            Self::MachineDenied => ("machine_denied", Status::LocalFailed, Correction),
            Self::ClockWrong => ("clock_wrong", Status::LocalFailed, Correction),
            Self::Interrupted => {
                ("interrupted", Status::Interrupted(crate::shutdown::Signal::Interrupt), Time)
            }
        }
    }

    /// The code as written.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Its exit status.
    pub const fn status(self) -> ExitStatus {
        self.row().1
    }

    /// Whether a service refuses the request: the same command would fail again.
    pub const fn refuses_request(self) -> bool {
        matches!(
            self,
            Self::YotpoRequestRefused
                | Self::TreasureDataRequestRefused
                | Self::TreasureDataWrongEndpoint
                | Self::TreasureDataNoDatabase
        )
    }

    /// Whether the same command may succeed later without any change.
    pub const fn is_retryable(self) -> bool {
        matches!(self.remedy(), Remedy::Time)
    }

    /// What makes the failed command succeed.
    pub const fn remedy(self) -> Remedy {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_match_the_published_contract_and_are_unique() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let is_word = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(names.iter().all(is_word), "{names:?}");
    }

    #[test]
    fn the_documentation_lists_every_code() {
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
    fn errors_that_a_person_must_correct_are_not_retryable() {
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
