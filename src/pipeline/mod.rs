//! One run: from the first page to the committed session, and from wherever an interrupted run stopped.
//!
//! Owns the order of the steps, back-pressure between them, what is saved after each, and what is left behind when
//! one fails. Invariants: nothing is committed unless every customer that Yotpo listed is in the session and nothing
//! else; every step can be entered again; memory is bounded by the settings (see [`LoadSettings::memory_bound`]).
//!
//! ```text
//! pages, as rows ──► compress (blocking threads, in parallel) ──► parts (in order) ──► uploads (N at once)
//!             bounded channel                                   one part is built at a time        │
//!                                                                   contiguous stored parts ──► checkpoint
//! ```

mod context;
mod encoding;
mod error;
mod fetch;
mod guards;
mod housekeeping;
mod journal;
mod ledger;
mod memory;
mod outcome;
mod progress;
mod quarantine;
mod recovery;
mod run;
mod seen_customers;
mod settings;
mod start;
mod steps;
mod survey;
mod transfer;
mod upload;

pub use context::Services;
pub use error::{GuardError, RunError, STATE_FOLDER_HINT};
pub use housekeeping::{Orphan, OrphanKind, Verdict, abandon, find_orphans, marker_age, remove_orphan};
pub use outcome::{Outcome, RunReport};
pub use progress::{Phase, Progress, ProgressSnapshot};
pub use quarantine::QuarantineError;
pub use recovery::{RecoveryState, RowsInQuestion, RunFailure};
pub use run::run;
pub use settings::{
    AbandonSettings, LoadSettings, PartSettings, ReplaceGuards, ResumePolicy, ResumeSettings,
};
