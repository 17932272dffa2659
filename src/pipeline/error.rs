//! How a run fails, and what it leaves behind.

use super::quarantine::QuarantineError;
use crate::checkpoint::StateError;
use crate::exit_status::ExitStatus;
use crate::identity::{NameError, SessionName};
use crate::row::RowError;
use crate::signal::Signal;
use crate::treasure_data::TreasureDataError;
use crate::yotpo::YotpoError;

/// What to do about a state that cannot be read or saved.
pub const STATE_FOLDER_HINT: &str =
    "check the state folder: --state-dir (YOTPO_TD_STATE_DIR), its disk and permissions";

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Yotpo's side.
    #[error("the customers could not all be fetched from Yotpo")]
    Yotpo(#[from] YotpoError),
    /// Treasure Data's side.
    #[error("the rows could not be loaded into Treasure Data")]
    TreasureData(#[from] TreasureDataError),
    /// Too many customers are nothing that a row can be made of.
    #[error("customer {position} of page {page} cannot become a row, and only {allowed} may be left out")]
    Customer {
        /// Number of the page, from 1.
        page: u64,
        /// Place on the page, from 1.
        position: usize,
        /// How many may be left out.
        allowed: u64,
        /// What is wrong with it; nothing of its content.
        source: RowError,
    },
    /// `replace` would publish a broken result.
    #[error("the new rows are not put in the place of the old")]
    Guard(#[from] GuardError),
    /// The state.
    #[error("the run's state could not be kept")]
    State(#[from] StateError),
    /// The quarantine.
    #[error("records that cannot be read could not be put aside")]
    Quarantine(#[from] QuarantineError),
    /// The state says that a commit was asked for, and the session that would tell its end is gone.
    #[error(
        "session {session} is gone after its commit was asked for: whether the rows are in the table is unknown"
    )]
    CommitUnknown {
        /// The session.
        session: SessionName,
    },
    /// A signal ended the run.
    #[error("stopped by {}", .0.name())]
    Interrupted(Signal),
    /// The machine's clock stands where no row's time can be.
    #[error("the machine's clock cannot be right")]
    Clock(#[from] crate::row::IngestionTimeOutOfRange),
    /// A name that this program made is not one that Treasure Data takes.
    #[error("a name of the run cannot be used")]
    Name(#[from] NameError),
    /// A defect of this program.
    #[error("a bug in yotpo-td: {0}")]
    Bug(&'static str),
}

/// Why `replace` does not publish.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum GuardError {
    /// The store has no customers.
    #[error("the store has no customers, which would empty the table; --allow-empty lifts this")]
    Empty,
    /// No row could be made of any customer.
    #[error("no customer of the store could become a row")]
    NoRows,
    /// The store has far fewer customers than before.
    #[error(
        "{found} rows are fewer than {ratio} of the {before} that {}; a smaller --min-rows-ratio lifts this",
        if *from_last_run { "the last successful run loaded" } else { "the table holds" }
    )]
    Shrunk {
        /// Rows of this run.
        found: u64,
        /// Rows before.
        before: u64,
        /// Whether `before` is what the last successful run loaded, or what the table holds.
        from_last_run: bool,
        /// The least share.
        ratio: f64,
    },
}

/// What a failed run leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aftermath {
    /// Nothing was made in Treasure Data.
    NothingMade,
    /// What was made was deleted; the table is untouched.
    Deleted,
    /// What was made could not all be deleted; the table is untouched.
    Left(SessionName),
    /// The next run goes on from here.
    Resumable {
        /// The session.
        session: SessionName,
        /// Customers that need not be fetched again.
        customers: u64,
        /// Stored parts.
        parts: u64,
    },
    /// A commit was asked for: the rows may be in the table now or soon. The next run goes on from here.
    Committing(SessionName),
    /// Nothing can be said about what is left.
    Unknown(SessionName),
}

/// A run that failed, and what it leaves behind.
#[derive(Debug)]
pub struct RunFailure {
    /// Why.
    pub error: RunError,
    /// What is left.
    pub aftermath: Aftermath,
}

impl RunError {
    /// The exit code that it means.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Yotpo(YotpoError::Refused(_) | YotpoError::TokenNotAccepted { .. })
            | Self::TreasureData(TreasureDataError::Refused(_)) => ExitStatus::Refused,
            Self::Yotpo(YotpoError::LoyaltyLost { .. })
            | Self::TreasureData(TreasureDataError::CountsDiffer { .. })
            | Self::Customer { .. }
            | Self::Guard(_) => ExitStatus::DataRefused,
            Self::Yotpo(
                YotpoError::Page { .. } | YotpoError::Token(_) | YotpoError::RepeatedCursor { .. },
            ) => ExitStatus::YotpoFailed,
            Self::TreasureData(_) | Self::CommitUnknown { .. } => ExitStatus::TreasureDataFailed,
            Self::State(_) | Self::Quarantine(_) | Self::Clock(_) => ExitStatus::LocalFailed,
            Self::Interrupted(signal) => ExitStatus::Interrupted(*signal),
            Self::Name(_) | Self::Bug(_) => ExitStatus::Bug,
        }
    }

    /// Whether what was made so far can be gone on with: the data itself was not refused.
    pub(super) fn is_resumable(&self) -> bool {
        match self {
            Self::Yotpo(YotpoError::RepeatedCursor { .. })
            | Self::TreasureData(TreasureDataError::CountsDiffer { .. })
            | Self::Customer { .. }
            | Self::Guard(_)
            | Self::Clock(_)
            | Self::Name(_)
            | Self::Bug(_) => false,
            Self::Yotpo(_)
            | Self::TreasureData(_)
            | Self::State(_)
            | Self::Quarantine(_)
            | Self::CommitUnknown { .. }
            | Self::Interrupted(_) => true,
        }
    }

    /// What the user can do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Yotpo(error) => Some(error.hint().to_owned()),
            Self::TreasureData(error) => Some(error.hint()),
            Self::Customer { .. } => Some(
                "look at that customer in Yotpo; --quarantine-dir keeps such customers, --max-error-records leaves \
                 them out"
                    .to_owned(),
            ),
            Self::State(_) => Some(STATE_FOLDER_HINT.to_owned()),
            Self::Quarantine(_) => {
                Some("check the folder --quarantine-dir (YOTPO_TD_QUARANTINE_DIR), its disk and permissions".to_owned())
            }
            Self::CommitUnknown { .. } => Some(
                "compare the table's newest `time` with the run's, then: yotpo-td runs abandon, and sync again if \
                 the rows are not there"
                    .to_owned(),
            ),
            Self::Clock(_) => Some("set the machine's clock".to_owned()),
            Self::Guard(_) | Self::Interrupted(_) => None,
            Self::Name(_) | Self::Bug(_) => {
                Some("please report it, with the log at --log-level debug".to_owned())
            }
        }
    }
}

impl Aftermath {
    /// What was saved, as a sentence for the closing line; `target` is `database.table`.
    pub fn describe(&self, target: &str) -> String {
        match self {
            Self::NothingMade => format!("nothing was loaded, {target} is untouched"),
            Self::Deleted => format!("nothing was loaded, {target} is untouched and the session was deleted"),
            Self::Left(session) => format!(
                "nothing was loaded, {target} is untouched; session {session} could not be deleted, yotpo-td runs \
                 clean removes it"
            ),
            Self::Resumable { session, customers, parts } => format!(
                "{customers} customers in {parts} parts of session {session}, {target} is untouched; the next run \
                 goes on from there"
            ),
            Self::Committing(session) => format!(
                "the commit of session {session} was asked for, so the rows may be in {target} now or soon; the next \
                 run sees it through and loads nothing twice"
            ),
            Self::Unknown(session) => format!("nothing more than before; look with td import:show {session}"),
        }
    }
}
