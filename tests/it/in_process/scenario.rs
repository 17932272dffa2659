//! The properties of a world: mode, store, sandbox behaviour and faults.

use yotpo_td::identity::Mode;
use yotpo_td::sandbox::{Fault, FaultPlan, SandboxSettings};

/// Closes a part after every page.
pub(crate) const SMALLEST_PART: usize = 1;

/// The properties of a world.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) mode: Mode,
    pub(crate) page_size: u8,
    /// Maximum rows in a part.
    pub(crate) batch: usize,
    /// Compressed size at which a part is closed.
    pub(crate) closing_size: usize,
    pub(crate) workers: usize,
    /// Rows in the table at the start; if 0, there is no table.
    pub(crate) old_rows: u64,
    pub(crate) sandbox: SandboxSettings,
    /// Further settings, as flags.
    pub(crate) flags: Vec<(&'static str, String)>,
}

impl Scenario {
    /// A hundred customers on ten pages, one part per page.
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            page_size: 10,
            batch: 100_000,
            closing_size: SMALLEST_PART,
            workers: 2,
            old_rows: 0,
            sandbox: SandboxSettings {
                customers: 100,
                requests_per_second: None,
                ..SandboxSettings::default()
            },
            flags: Vec::new(),
        }
    }

    pub(crate) fn append() -> Self {
        Self::new(Mode::Append)
    }

    /// With rows in the table that the new ones replace.
    pub(crate) fn replace() -> Self {
        Self { old_rows: 7, ..Self::new(Mode::Replace) }
    }

    pub(crate) fn flag(mut self, key: &'static str, value: &str) -> Self {
        self.flags.push((key, value.to_owned()));
        self
    }

    pub(crate) fn faults(mut self, faults: Vec<Fault>) -> Self {
        self.sandbox.faults = FaultPlan { faults };
        self
    }
}
