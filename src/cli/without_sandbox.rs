//! What stands in for the sandbox of `sync --sandbox` in a build without it: there is no such flag, and no such sandbox.

use std::convert::Infallible;
use std::future::Ready;

use clap::ArgMatches;

use crate::clock::Clock;
use crate::config::{Layers, Settings};

/// Never made.
#[derive(Debug)]
pub(super) enum EmbeddedSandbox {}

/// There is no flag to ask for one.
pub(super) const fn is_wanted(_matches: &ArgMatches) -> bool {
    false
}

impl EmbeddedSandbox {
    pub(super) async fn start(
        _matches: &ArgMatches,
        _layers: &mut Layers,
        _clock: Clock,
    ) -> Result<Self, Infallible> {
        std::future::pending().await
    }

    pub(super) fn sample_rows(&self, _settings: &Settings) -> String {
        match *self {}
    }

    pub(super) fn disk_full(&self) -> Ready<()> {
        match *self {}
    }

    pub(super) fn shutdown(self) -> Ready<()> {
        match self {}
    }
}
