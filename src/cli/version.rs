//! What `--version` prints: version, commit, target and features.

/// The version and what it was built from. `build.rs` finds out the commit.
pub(super) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("BUILD_COMMIT"),
    "\ndate:     ",
    env!("BUILD_DATE"),
    "\ntarget:   ",
    env!("BUILD_TARGET"),
    "\nfeatures: ",
    env!("BUILD_FEATURES"),
);
