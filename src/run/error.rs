//! The errors of a run: what happened, and whether this makes the fetched rows unusable.

use std::time::Duration;

use crate::checkpoint::StateError;
use crate::export::ExportError;
use crate::identity::{Mode, RunId, SessionName, Target};
use crate::row::RowError;
use crate::run::decide::Ending;
use crate::shutdown::{Interruptible, Signal};
use crate::telemetry::words;
use crate::transfer::{QuarantineError, TransferError};
use crate::treasure_data::TreasureDataError;
use crate::yotpo::YotpoError;

/// What to do about a state that cannot be read or saved.
pub const STATE_DIRECTORY_HINT: &str =
    "check the state directory: --state-dir (YOTPO_TD_STATE_DIR), its disk and permissions";

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Yotpo failed or refused a request.
    #[error("could not fetch all customers from Yotpo")]
    Yotpo(#[from] YotpoError),
    /// Treasure Data failed or refused a request.
    #[error("could not load the rows into Treasure Data")]
    TreasureData(#[from] TreasureDataError),
    /// The API key may not do what the run needs.
    #[error("the API key may not do this in Treasure Data")]
    Denied,
    /// Too many customers cannot become rows.
    #[error("customer {position} of page {page} cannot become a row, and only {allowed} may be left out")]
    Customer {
        /// Number of the page, from 1.
        page: u64,
        /// Place on the page, from 1.
        position: usize,
        /// How many customers may be left out.
        allowed: u64,
        /// What is wrong with it, without its content.
        source: RowError,
    },
    /// The result looks broken.
    #[error("the new rows are not loaded into the table")]
    Guard(#[from] GuardError),
    /// What was loaded is not what was sent.
    #[error(
        "session {session} does not hold what was sent: {valid_records} valid, {error_records} error records (maximum \
         {max_error_records}), {error_parts} error parts{}",
        expected.map_or_else(String::new, |rows| format!("; {rows} rows were sent"))
    )]
    CountsDiffer {
        /// The session.
        session: SessionName,
        /// Rows that were sent.
        expected: Option<u64>,
        /// Rows that would be committed.
        valid_records: u64,
        /// Rows that could not be read.
        error_records: u64,
        /// Parts that could not be read.
        error_parts: u64,
        /// How many rows may be left out.
        max_error_records: u64,
    },
    /// The attempt ended without success.
    #[error("{}", describe(*ending, session.as_ref(), job_id.as_deref(), target))]
    Ended {
        /// How it ended.
        ending: Ending,
        /// The session concerned.
        session: Option<SessionName>,
        /// Its load job, when it is known.
        job_id: Option<String>,
        /// The table of the run.
        target: Box<Target>,
    },
    /// A wait took longer than allowed.
    #[error("session {session} did not get any further in {}", humantime::format_duration(*.waited))]
    TookTooLong {
        /// The session.
        session: SessionName,
        /// How long we waited.
        waited: Duration,
    },
    /// `--fresh` with a run id that is already loaded.
    #[error(
        "run {run_id} is already loaded: its rows are in the table, and --fresh does not load them again"
    )]
    AlreadyLoaded {
        /// The run.
        run_id: RunId,
    },
    /// A run of an earlier release requested its commit, and the result is unknown.
    #[error("session {session} of an earlier release was being committed, and the result is unknown")]
    LegacyCommit {
        /// The session.
        session: SessionName,
        /// The run.
        run_id: RunId,
        /// The `time` of its rows.
        ingestion_time: u64,
    },
    /// The state could not be read or saved.
    #[error("could not read or save the state of the run")]
    State(#[from] StateError),
    /// An export directory cannot be used.
    #[error("could not use the export directory")]
    Export(#[from] ExportError),
    /// The run id names a load of other rows.
    #[error(
        "run {run_id} has loaded other rows than those of this export: {}, and the export has {}",
        words::count(*loaded, "row", "rows"),
        words::number(*exported)
    )]
    OtherRows {
        /// The run.
        run_id: RunId,
        /// How many it has loaded.
        loaded: u64,
        /// How many the export has.
        exported: u64,
    },
    /// Another attempt with this run id loads in the other mode.
    #[error("run {run_id} has an attempt with --mode {mode}, and a run id names one load")]
    OtherMode {
        /// The run.
        run_id: RunId,
        /// The mode of that attempt.
        mode: Mode,
    },
    /// Records could not be quarantined.
    #[error("could not quarantine unreadable records")]
    Quarantine(#[from] QuarantineError),
    /// A signal ended the run.
    #[error("stopped by {}", .0.name())]
    Interrupted(Signal),
    /// The clock is outside the range of ingestion times.
    #[error("the clock is wrong")]
    Clock(#[from] crate::row::IngestionTimeOutOfRange),
    /// The clock is outside the range of nonces.
    #[error("the clock is wrong: it is after the year 2286")]
    ClockOutOfRange,
    /// A defect of this program.
    #[error("a bug in yotpo-td: {0}")]
    Bug(&'static str),
}

/// Why a result looks broken.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum GuardError {
    /// The store has no customers.
    #[error("the store has no customers, which would empty the table; use --allow-empty to override")]
    Empty,
    /// The store has no customers, but had some before.
    #[error(
        "the store has no customers, and the last run loaded {}; use --allow-empty to override",
        words::number(*before)
    )]
    EmptySince {
        /// Rows that the last run loaded.
        before: u64,
    },
    /// No customer could become a row.
    #[error("no customer of the store could become a row")]
    NoRows,
    /// The store has far fewer customers than before.
    #[error(
        "{} rows is {} % of the {} that {} (minimum {:.0} %)",
        words::number(*found), share(*found, *before, *ratio), words::number(*before),
        if *from_last_run { "the last successful run loaded" } else { "the table holds" },
        ratio * 100.0
    )]
    Shrunk {
        /// Rows of this run.
        found: u64,
        /// Rows before.
        before: u64,
        /// Whether `before` is the number of rows that the last successful run loaded, or that the table holds.
        from_last_run: bool,
        /// The minimum share.
        ratio: f64,
    },
}

impl<E: Into<Self>> From<TransferError<E>> for RunError {
    fn from(error: TransferError<E>) -> Self {
        match error {
            TransferError::Yotpo(error) => error.into(),
            TransferError::Sink(error) => error.into(),
            TransferError::Customer { page, position, allowed, source } => {
                Self::Customer { page, position, allowed, source }
            }
            TransferError::Quarantine(error) => error.into(),
            TransferError::Interrupted(signal) => Self::Interrupted(signal),
            TransferError::Bug(reason) => Self::Bug(reason),
        }
    }
}

impl From<std::convert::Infallible> for RunError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl Interruptible for RunError {
    fn interrupted(signal: Signal) -> Self {
        Self::Interrupted(signal)
    }

    fn signal(&self) -> Option<Signal> {
        match self {
            Self::Interrupted(signal) => Some(*signal),
            _ => None,
        }
    }
}

impl RunError {
    /// Whether the set is unusable with any settings, because its rows are not the ones that were sent.
    pub(crate) fn condemns_set(&self) -> bool {
        match self {
            Self::CountsDiffer { expected, valid_records, error_records, error_parts, .. } => {
                *error_parts > 0 || *expected != valid_records.checked_add(*error_records)
            }
            // It would fail again in the same way, or its rows cannot be trusted.
            Self::Yotpo(YotpoError::RepeatedCursor { .. })
            | Self::Bug(_)
            | Self::OtherRows { .. }
            | Self::OtherMode { .. }
            | Self::Clock(_)
            | Self::ClockOutOfRange => true,
            _ => false,
        }
    }
}

fn describe(ending: Ending, session: Option<&SessionName>, job_id: Option<&str>, target: &Target) -> String {
    let session = session.map_or_else(|| "the session".to_owned(), |session| format!("session {session}"));
    match ending {
        Ending::LoadFailed => format!("the load job {} of {session} failed", job_id.unwrap_or("(unknown)")),
        Ending::LoadStuck => format!("{session} does not show the result of its load job"),
        Ending::CountsDiffer => format!("{session} does not hold what was sent"),
        Ending::CommitFailed => format!("the commit of {session} failed 3 times"),
        Ending::PublishFailed => "could not rename the new table over the old one".to_owned(),
        Ending::NoProgress => {
            "something else kept changing what this run needs, or calls to Treasure Data had no effect"
                .to_owned()
        }
        Ending::AbandonedByOthers => "the run was abandoned while this attempt was running".to_owned(),
        Ending::Superseded => "the table was replaced or recreated since this run began".to_owned(),
        Ending::RunTooOld => "the run is too old: its attempts can no longer be told apart".to_owned(),
        Ending::WinnerGone => format!("{session}, which this run had to commit, was deleted"),
        Ending::WinnerChanged => format!("{session}, which this run had to commit, was changed"),
        Ending::ForeignBallot => {
            "the ballot of this run is bound to a table that yotpo-td did not create".to_owned()
        }
        Ending::OtherProtocol(version) => {
            format!("another version of yotpo-td (protocol {version}) is working on this run")
        }
        Ending::NoTableIds => "the API key may not read table ids, which replace needs".to_owned(),
        Ending::NoTarget => format!("table {} is missing, and the API key may not create it", target.label()),
        Ending::Loaded { .. } | Ending::NothingToLoad | Ending::Abandoned | Ending::UnexpectedResult => {
            "a bug in yotpo-td: a step returned the result of another step".to_owned()
        }
    }
}

/// `part` as a rounded percentage of `whole`, with decimals if it would otherwise look like the minimum.
#[expect(clippy::cast_precision_loss, reason = "a percentage for display")]
fn share(part: u64, whole: u64, minimum: f64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    if percent.round() < (minimum * 100.0).round() {
        format!("{percent:.0}")
    } else {
        format!("{}", (percent * 100.0).floor() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::example_target;

    #[test]
    fn message_of_an_ending_says_what_happened() {
        let target = example_target("customers");
        for (ending, message) in [
            (Ending::LoadFailed, "the load job (unknown) of the session failed"),
            (Ending::LoadStuck, "the session does not show the result of its load job"),
            (Ending::CountsDiffer, "the session does not hold what was sent"),
            (Ending::PublishFailed, "could not rename the new table over the old one"),
            (
                Ending::NoProgress,
                "something else kept changing what this run needs, or calls to Treasure Data had no effect",
            ),
            (Ending::RunTooOld, "the run is too old: its attempts can no longer be told apart"),
            (Ending::WinnerChanged, "the session, which this run had to commit, was changed"),
            (
                Ending::ForeignBallot,
                "the ballot of this run is bound to a table that yotpo-td did not create",
            ),
            (Ending::OtherProtocol(9), "another version of yotpo-td (protocol 9) is working on this run"),
            (Ending::NoTableIds, "the API key may not read table ids, which replace needs"),
            (Ending::NoTarget, "table database.customers is missing, and the API key may not create it"),
            (Ending::UnexpectedResult, "a bug in yotpo-td: a step returned the result of another step"),
        ] {
            assert_eq!(describe(ending, None, None, &target), message);
        }
    }

    #[test]
    fn only_an_interrupted_run_has_a_signal() {
        assert_eq!(RunError::interrupted(Signal::HangUp).signal(), Some(Signal::HangUp));
        assert_eq!(RunError::Denied.signal(), None);
    }

    #[test]
    fn bug_of_a_transfer_stays_a_bug_and_condemns_the_set() {
        let error = RunError::from(TransferError::<RunError>::Bug("rows out of order"));
        assert_eq!(error.to_string(), "a bug in yotpo-td: rows out of order");
        assert!(error.condemns_set());
        assert!(!RunError::Denied.condemns_set());
    }

    #[test]
    fn share_of_nothing_is_zero_percent() {
        assert_eq!(share(0, 0, 0.5), "0");
    }

    #[test]
    fn a_set_is_condemned_by_records_that_are_missing_and_not_by_a_limit() {
        let condemned = |valid_records, error_records, error_parts| {
            let session = "yotpo_td_v1_session".parse().unwrap();
            let expected = Some(10);
            RunError::CountsDiffer {
                session,
                expected,
                valid_records,
                error_records,
                error_parts,
                max_error_records: 1,
            }
            .condemns_set()
        };
        // With a higher limit, it can be loaded.
        assert!(!condemned(8, 2, 0));
        assert!(condemned(8, 2, 1));
        assert!(condemned(8, 1, 0));
        assert!(condemned(u64::MAX, 1, 0));
    }
}
