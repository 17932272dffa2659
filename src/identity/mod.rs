//! The identity of a run: target, mode, run id, attempt, and all names derived from them.
//!
//! Owns the rules for names. A name is rendered from its fields and parsed back into them. A name that cannot be parsed
//! completely does not belong to this program, regardless of its prefix. A leaf module: it knows no services, files or
//! settings.

mod digest;
mod mode;
mod name;
mod name_rule;
mod nonce;
mod part_name;
mod probe_name;
mod run_id;
mod session_name;
mod store_id;
mod table_id;
mod table_name;
mod target;

pub use digest::{PartsDigest, Sha256Sum, ShortHash};
pub use mode::Mode;
pub use name::{DatabaseName, PartName, SessionName, TableName};
pub use name_rule::{Characters, NameError, NameRule};
pub use nonce::{Nonce, NonceError};
pub use part_name::{OwnPart, PartTotals, ProofError, Proposal, prove_complete};
pub use probe_name::ProbeName;
pub use run_id::RunId;
pub use session_name::{BallotName, OwnSessionName, PROTOCOL, RunSession};
pub use store_id::StoreId;
pub use table_id::TableId;
pub use table_name::{OwnTable, TableSuffix};
#[cfg(test)]
pub(crate) use target::tests::target as example_target;
pub use target::{Fingerprint, Target};
