//! `yotpo-td` pulls every loyalty customer profile of a Yotpo store and loads them into a Treasure Data table,
//! exactly once or not at all.
//!
//! This library is the program; `main` only starts it. The way of the data is described in `docs/architecture.md`.

#[cfg(not(unix))]
compile_error!("yotpo-td needs a Unix: it relies on file modes, locks and signals");

#[cfg(test)]
mod captured_log;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod config;
pub mod diagnosis;
pub mod exit_status;
pub mod export;
pub mod failpoint;
pub mod free_space;
pub mod housekeeping;
pub mod http;
pub mod identity;
pub mod part;
pub mod paths;
pub mod preview;
pub mod rate_limit;
pub mod renamed;
pub mod report;
pub mod retry;
pub mod row;
pub mod run;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod secret;
pub mod services;
pub mod shutdown;
pub mod spans;
pub mod telemetry;
pub mod transfer;
pub mod treasure_data;
pub mod warnings;
pub mod yotpo;
