//! Exit codes: the contract with the caller of the program. Each code is documented in `--help` and the README, and
//! tested.

use std::process::ExitCode;

use crate::shutdown::Signal;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything was loaded and committed, or there were no customers to load.
    Success,
    /// A bug in this program.
    Bug,
    /// The command line or a setting is wrong; nothing was loaded.
    Usage,
    /// A service denied the credentials or a permission.
    Denied,
    /// Yotpo or the connection to it failed.
    YotpoFailed,
    /// Treasure Data or the connection to it failed.
    TreasureDataFailed,
    /// The local disk or the saved state failed.
    LocalFailed,
    /// The data was refused: a guard, records that could not be read, or compared rows that differ.
    DataRefused,
    /// Another run for the same target is active, or has replaced the table.
    AlreadyRunning,
    /// Someone must check: the program cannot determine what was loaded.
    NeedsAttention,
    /// A signal ended the run; the saved state is valid.
    Interrupted(Signal),
}

impl ExitStatus {
    /// Every status, in the order of its code.
    pub const ALL: [Self; 13] = [
        Self::Success,
        Self::Bug,
        Self::Usage,
        Self::Denied,
        Self::YotpoFailed,
        Self::TreasureDataFailed,
        Self::LocalFailed,
        Self::DataRefused,
        Self::AlreadyRunning,
        Self::NeedsAttention,
        Self::Interrupted(Signal::HangUp),
        Self::Interrupted(Signal::Interrupt),
        Self::Interrupted(Signal::Terminate),
    ];

    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::YotpoFailed => 4,
            Self::TreasureDataFailed => 5,
            Self::LocalFailed => 6,
            Self::DataRefused => 7,
            Self::AlreadyRunning => 8,
            Self::NeedsAttention => 9,
            Self::Interrupted(Signal::HangUp) => 129,
            Self::Interrupted(Signal::Interrupt) => 130,
            Self::Interrupted(Signal::Terminate) => 143,
        }
    }

    /// The meaning of the code, as in `--help` and the README.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "loaded and committed, exported, or no customers to load",
            Self::Bug => "a bug in yotpo-td",
            Self::Usage => {
                "wrong usage or settings, such as a database that does not exist; nothing was loaded"
            }
            Self::Denied => "credentials or permission denied",
            Self::YotpoFailed => "Yotpo failed",
            Self::TreasureDataFailed => "Treasure Data failed",
            Self::LocalFailed => "local disk or state failed",
            Self::DataRefused => "data refused (guard, error records), or compared rows differ",
            Self::AlreadyRunning => "another run is active or has replaced the table",
            Self::NeedsAttention => "needs attention: what was loaded cannot be determined",
            Self::Interrupted(Signal::HangUp) => "hung up (SIGHUP)",
            Self::Interrupted(Signal::Interrupt) => "interrupted (Ctrl-C)",
            Self::Interrupted(Signal::Terminate) => "terminated (SIGTERM)",
        }
    }
}

impl ExitStatus {
    /// Who can do something about it.
    pub fn actor(self) -> &'static str {
        match self {
            Self::Success => "nobody",
            Self::Bug => "the maintainers of yotpo-td: report it",
            Self::Usage => "the person who configures the run",
            Self::Denied => "an administrator of the Yotpo or Treasure Data account",
            Self::YotpoFailed => "the scheduler; if it persists, Yotpo's support",
            Self::TreasureDataFailed => "the scheduler; if it persists, Treasure Data's support",
            Self::LocalFailed => "the administrator of the machine",
            Self::DataRefused => "the person who knows the data of the store",
            Self::AlreadyRunning => "the scheduler: the other run ends by itself",
            Self::NeedsAttention => "a person: check the table as the hint says before anything is run again",
            Self::Interrupted(_) => "the scheduler: the next attempt resumes",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_published_contract() {
        let codes = ExitStatus::ALL.map(ExitStatus::code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 129, 130, 143]);
    }
}
