//! A run: from the first page, or from the point where an interrupted run stopped, to the committed session.
//!
//! Owns what an attempt does next ([`decide`]), its execution, what is saved after each step, and what is left after a
//! failure. Invariants: nothing is committed unless every customer that Yotpo listed is in the session and nothing else;
//! every step can be repeated. [`crate::transfer`] turns customers into parts.

mod abandon;
mod cleanup;
mod context;
pub mod decide;
mod dry_run;
mod error;
mod export;
#[cfg(test)]
mod fixture;
mod guards;
mod journal;
mod legacy;
mod load;
mod phases;
mod recovery;
mod report;
mod resumption;
mod settings;
mod sink;
mod start;
mod steps;
mod survey;

pub use abandon::abandon_run;
pub use context::{Services, session_of, usage_of_store};
pub use dry_run::{DryRunContext, DryRunReport, Resumption, Stored, dry_run};
pub use error::{GuardError, RunError, STATE_DIRECTORY_HINT};
pub use export::{ExportContext, ExportFailure, ExportReport, export};
pub use load::run;
pub use recovery::{RecoveryState, RowsInQuestion, RunFailure};
pub use report::{Outcome, RunReport};
pub use settings::{
    AbandonSettings, ExportSettings, LoadSettings, ReplaceGuards, ResumePolicy, ResumeSettings, RowSource,
};
pub use start::may_be_set_aside;
