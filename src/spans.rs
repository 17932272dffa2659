//! The spans of a run: their names and fields, in one place.
//!
//! Owns what a span is called and what it says; `docs/logs.md` lists them. A line that is logged inside a span has the
//! span's fields, and a trace shows the spans as they nest. It knows nothing of what is done in a span.
//!
//! ```text
//! run ─┬─ phase ─┬─ page
//!      │         └─ part ── upload
//!      └─ abandon ── phase
//! ```

use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;
use tracing::{Span, info_span};

use crate::identity::{Mode, RunId, SessionName, StoreId, Target};

/// Target of all spans here, by which a filter recognizes them.
pub const TARGET: &str = module_path!();

/// Level of all spans here.
pub const LEVEL: LevelFilter = LevelFilter::INFO;

const RUN_ID: &str = "run_id";

/// A run of this process. Its id is not known before the lock is held: see [`record_run_id`].
pub fn run(target: &Target, mode: Mode) -> Span {
    let Target { store, database, table, .. } = target;
    info_span!("run", run_id = Empty, store_id = %store, %database, %table, %mode)
}

/// An export of this process; it has no target. Its id is that of the manifest.
pub fn export(store: &StoreId) -> Span {
    info_span!("run", run_id = Empty, store_id = %store)
}

/// Says which run the current span is about. Does nothing in a span that has a run id or cannot have one.
pub fn record_run_id(run_id: &RunId) {
    Span::current().record(RUN_ID, display(run_id));
}

/// The abandonment of an interrupted run by another one; its lines name the run that is abandoned.
pub fn abandon(run_id: &RunId) -> Span {
    info_span!("abandon", %run_id)
}

/// What a run does for a while. `run` is the span that it is a part of.
pub fn phase(run: &Span, name: &'static str) -> Span {
    info_span!(parent: run, "phase", phase = name)
}

/// A page, from its request until its rows are read. It is not a part of the page before it, which may request it ahead:
/// `around` is the span that both are parts of.
pub fn page(around: &Span, number: u64) -> Span {
    info_span!(parent: around, "page", page = number)
}

/// A part, from the moment it is complete until it is stored.
pub fn part(position: u64) -> Span {
    info_span!("part", part = position)
}

/// The upload of a part to a bulk import session, with all its requests.
pub fn upload(session: &SessionName, bytes: usize) -> Span {
    info_span!("upload", %session, bytes)
}
