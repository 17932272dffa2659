//! How a run fails: what happened, what that means for whoever started it, and what to do.

use std::time::Duration;

use super::quarantine::QuarantineError;
use crate::checkpoint::StateError;
use crate::exit_status::ExitStatus;
use crate::identity::{NameError, RunId, SessionName, Target};
use crate::row::RowError;
use crate::run::decide::Ending;
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
    /// The API key may not do what the run needs.
    #[error("the API key may not do this in Treasure Data")]
    Denied,
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
    /// The protocol between attempts came to an end that is no success.
    #[error("{}", describe(*ending, session.as_ref(), job_id.as_deref(), target))]
    Ended {
        /// The end.
        ending: Ending,
        /// The session that it is about.
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
    /// `--fresh` with a run id that is done.
    #[error("run {run_id} is done: its rows are in the table, and --fresh does not load them again")]
    AlreadyLoaded {
        /// The run.
        run_id: RunId,
    },
    /// A run of an earlier release asked for its commit, and what came of it cannot be known.
    #[error("session {session} of an earlier release was being committed, and what came of it is unknown")]
    LegacyCommit {
        /// The session.
        session: SessionName,
    },
    /// The state.
    #[error("the run's state could not be kept")]
    State(#[from] StateError),
    /// The quarantine.
    #[error("records that cannot be read could not be quarantined")]
    Quarantine(#[from] QuarantineError),
    /// A signal ended the run.
    #[error("stopped by {}", .0.name())]
    Interrupted(Signal),
    /// The clock stands where no row's time can be.
    #[error("the clock cannot be right")]
    Clock(#[from] crate::row::IngestionTimeOutOfRange),
    /// The clock stands where no attempt's time can be.
    #[error("the clock cannot be right: no run starts after the year 2286")]
    ClockOutOfRange,
    /// A name that this program made is not one that Treasure Data takes.
    #[error("a name of the run cannot be used")]
    Name(#[from] NameError),
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
    /// The store has no customers and had some before.
    #[error(
        "the store has no customers, and the last run loaded {}; use --allow-empty to override",
        thousands(*before)
    )]
    EmptySince {
        /// Rows that the last run loaded.
        before: u64,
    },
    /// No row could be made of any customer.
    #[error("no customer of the store could become a row")]
    NoRows,
    /// The store has far fewer customers than before.
    #[error(
        "{} rows is {} % of the {} that {} (minimum {:.0} %)",
        thousands(*found), share(*found, *before, *ratio), thousands(*before),
        if *from_last_run { "the last successful run loaded" } else { "the table holds" },
        ratio * 100.0
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

impl RunError {
    /// The exit code that it means.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Yotpo(YotpoError::Refused(_) | YotpoError::TokenNotAccepted { .. })
            | Self::TreasureData(TreasureDataError::Denied(_))
            | Self::Denied => ExitStatus::Refused,
            Self::Yotpo(YotpoError::LoyaltyLost { .. })
            | Self::CountsDiffer { .. }
            | Self::Customer { .. }
            | Self::Guard(_) => ExitStatus::DataRefused,
            Self::AlreadyLoaded { .. }
            | Self::TreasureData(
                TreasureDataError::WrongEndpoint(_) | TreasureDataError::NoDatabase { .. },
            ) => ExitStatus::Usage,
            Self::Yotpo(_) => ExitStatus::YotpoFailed,
            Self::TreasureData(_) | Self::TookTooLong { .. } => ExitStatus::TreasureDataFailed,
            Self::Ended { ending, .. } => ended_as(*ending),
            Self::LegacyCommit { .. } => ExitStatus::NeedsAttention,
            Self::State(_) | Self::Quarantine(_) | Self::Clock(_) | Self::ClockOutOfRange => {
                ExitStatus::LocalFailed
            }
            Self::Interrupted(signal) => ExitStatus::Interrupted(*signal),
            Self::Name(_) | Self::Bug(_) => ExitStatus::Bug,
        }
    }

    /// Whether the set that it is about is of no use, whatever the settings are: its rows are not those that were sent.
    pub(super) fn condemns_set(&self) -> bool {
        match self {
            Self::CountsDiffer { expected, valid_records, error_records, error_parts, .. } => {
                *error_parts > 0 || *expected != valid_records.checked_add(*error_records)
            }
            // The same again, or rows that cannot be trusted.
            Self::Yotpo(YotpoError::RepeatedCursor { .. })
            | Self::Bug(_)
            | Self::Name(_)
            | Self::Clock(_)
            | Self::ClockOutOfRange => true,
            _ => false,
        }
    }

    /// What the user can do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Yotpo(error) => Some(error.hint().to_owned()),
            Self::TreasureData(error) => Some(error.hint()),
            Self::Denied => Some(
                "check the permissions of TD_API_KEY: replace needs full access, append the right to import".to_owned(),
            ),
            Self::Customer { .. } => Some(
                "look at that customer in Yotpo; --quarantine-dir keeps such customers, --max-error-records leaves \
                 them out; what is stored is resumed"
                    .to_owned(),
            ),
            Self::Guard(GuardError::Shrunk { .. }) => {
                Some("look at the store in Yotpo; use a smaller --min-rows-ratio to override".to_owned())
            }
            Self::Guard(_) => Some("look at the store in Yotpo".to_owned()),
            Self::CountsDiffer { session, .. } => Some(format!(
                "the records that could not be read: td import:error_records {session}; use --max-error-records to \
                 leave them out"
            )),
            Self::Ended { ending: Ending::NoTarget, target, .. } => {
                let Target { database, table, .. } = &**target;
                Some(format!("create it with a key that may: td table:create {database} {table}; then run again"))
            }
            Self::Ended { ending, session, job_id, .. } => {
                Some(hint(*ending, session.as_ref(), job_id.as_deref()))
            }
            Self::TookTooLong { session, .. } => {
                Some(format!("look at it with: td import:show {session}; --perform-timeout allows more time"))
            }
            Self::AlreadyLoaded { .. } => Some("use another --run-id to load the customers once more".to_owned()),
            Self::LegacyCommit { session } => Some(format!(
                "look at it with: td import:show {session}, and whether the table's newest `time` is that run's; then: \
                 yotpo-td runs abandon, and sync again if the rows are not there"
            )),
            Self::State(_) => Some(STATE_FOLDER_HINT.to_owned()),
            Self::Quarantine(_) => {
                Some("check the folder --quarantine-dir (YOTPO_TD_QUARANTINE_DIR), its disk and permissions".to_owned())
            }
            Self::Clock(_) | Self::ClockOutOfRange => Some("correct the machine's clock".to_owned()),
            Self::Interrupted(_) => None,
            Self::Name(_) | Self::Bug(_) => {
                Some("please report it, with the log at --log-level debug".to_owned())
            }
        }
    }
}

fn ended_as(ending: Ending) -> ExitStatus {
    match ending {
        Ending::Loaded { .. } | Ending::NothingToLoad | Ending::Abandoned | Ending::Unanswerable => {
            ExitStatus::Bug
        }
        Ending::NoTableIds | Ending::NoTarget => ExitStatus::Refused,
        Ending::LoadFailed
        | Ending::LoadStuck
        | Ending::CommitFailed
        | Ending::PublishFailed
        | Ending::NoProgress => ExitStatus::TreasureDataFailed,
        Ending::CountsDiffer => ExitStatus::DataRefused,
        Ending::AbandonedByOthers | Ending::Superseded => ExitStatus::AlreadyRunning,
        Ending::RunTooOld
        | Ending::WinnerGone
        | Ending::WinnerChanged
        | Ending::ForeignBallot
        | Ending::OtherProtocol(_) => ExitStatus::NeedsAttention,
    }
}

fn describe(ending: Ending, session: Option<&SessionName>, job_id: Option<&str>, target: &Target) -> String {
    let session = session.map_or_else(|| "the session".to_owned(), |session| format!("session {session}"));
    match ending {
        Ending::LoadFailed => format!("the load job {} of {session} failed", job_id.unwrap_or("(unknown)")),
        Ending::LoadStuck => format!("{session} does not show what came of its load job"),
        Ending::CountsDiffer => format!("{session} does not hold what was sent"),
        Ending::CommitFailed => format!("the commit of {session} failed 3 times"),
        Ending::PublishFailed => "the new table could not be renamed over the old".to_owned(),
        Ending::NoProgress => "something else kept changing what this run needs".to_owned(),
        Ending::AbandonedByOthers => "the run was abandoned while this attempt was at work".to_owned(),
        Ending::Superseded => "the table was replaced or recreated since this run began".to_owned(),
        Ending::RunTooOld => "the run is too old: its attempts can no longer be told apart".to_owned(),
        Ending::WinnerGone => format!("{session}, which this run was to commit, was deleted"),
        Ending::WinnerChanged => format!("{session}, which this run was to commit, was changed"),
        Ending::ForeignBallot => "the session by which attempts of this run agree is not ours".to_owned(),
        Ending::OtherProtocol(version) => {
            format!("another version of yotpo-td (protocol {version}) is at work on this run")
        }
        Ending::NoTableIds => "the API key may not read the ids of tables, which replace needs".to_owned(),
        Ending::NoTarget => format!("table {} is missing, and the API key may not create it", target.label()),
        Ending::Loaded { .. } | Ending::NothingToLoad | Ending::Abandoned | Ending::Unanswerable => {
            "a bug in yotpo-td: a step was answered with something that is no answer".to_owned()
        }
    }
}

fn hint(ending: Ending, session: Option<&SessionName>, job_id: Option<&str>) -> String {
    let look =
        session.map_or_else(String::new, |session| format!("look at it with: td import:show {session}"));
    match (ending, job_id) {
        (Ending::LoadFailed, Some(job)) => {
            format!("the job's output in the console says why: td job:show {job}; then run again")
        }
        (Ending::LoadFailed | Ending::LoadStuck | Ending::CommitFailed, _) => {
            "run it again; if it persists, ask Treasure Data's support with the session's name".to_owned()
        }
        (Ending::PublishFailed | Ending::NoProgress, _) => {
            "run it again; if it persists, ask Treasure Data's support".to_owned()
        }
        (Ending::Superseded, _) => "to load the customers of now, use a new --run-id".to_owned(),
        (Ending::AbandonedByOthers, _) => "to load the customers after all, start it again".to_owned(),
        (Ending::RunTooOld, _) => "use a new --run-id".to_owned(),
        (Ending::NoTableIds, _) => {
            "use a key with full access; --without-table-ids accepts that a recreated table is not noticed"
                .to_owned()
        }
        (Ending::OtherProtocol(_), _) => {
            "use the same version of yotpo-td for all attempts of a run".to_owned()
        }
        (Ending::WinnerGone | Ending::WinnerChanged | Ending::ForeignBallot | Ending::CountsDiffer, _) => {
            look
        }
        _ => "please report it, with the log at --log-level debug".to_owned(),
    }
}

/// Percent of `whole`, rounded, unless that would look like the minimum that was missed.
#[expect(clippy::cast_precision_loss, reason = "a share to show")]
fn share(part: u64, whole: u64, minimum: f64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    if percent.round() < (minimum * 100.0).round() {
        format!("{percent:.0}")
    } else {
        format!("{}", (percent * 100.0).floor() / 100.0)
    }
}

/// A number with separators.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
