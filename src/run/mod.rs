//! A run: from the first page to the committed session, and from wherever an interrupted run stopped.
//!
//! Owns what an attempt does next ([`decide`]), doing it, what is saved after each step, and what is left behind when one
//! fails. Invariants: nothing is committed unless every customer that Yotpo listed is in the session and nothing else;
//! every step can be entered again. How customers become parts is [`crate::transfer`]'s.

mod abandon;
mod cleanup;
mod context;
pub mod decide;
mod error;
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
pub use context::{ServiceUse, Services, session_of};
pub use error::{GuardError, RunError, STATE_FOLDER_HINT};
pub use load::run;
pub use recovery::{RecoveryState, RowsInQuestion, RunFailure};
pub use report::{Outcome, RunReport};
pub use settings::{AbandonSettings, LoadSettings, ReplaceGuards, ResumePolicy, ResumeSettings};
