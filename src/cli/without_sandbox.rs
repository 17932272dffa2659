//! What stands in for the sandbox of `sync --sandbox` in a build without it: there is no such flag, and no such sandbox.

use std::future::Ready;

use clap::ArgMatches;

use crate::clock::Clock;
use crate::config::Layers;
use crate::identity::Target;

/// Never made.
#[derive(Debug)]
pub(super) enum EmbeddedSandbox {}

/// Never happens.
pub(super) type EmbeddedSandboxError = std::convert::Infallible;

/// There is no flag to ask for one.
pub(super) const fn is_wanted(_matches: &ArgMatches) -> bool {
    false
}

/// There is none to start.
pub(super) fn start_if_wanted(
    _matches: &ArgMatches,
    _layers: &mut Layers,
    _clock: &Clock,
) -> Ready<Result<Option<EmbeddedSandbox>, EmbeddedSandboxError>> {
    std::future::ready(Ok(None))
}

impl EmbeddedSandbox {
    pub(super) async fn start(
        _matches: &ArgMatches,
        _layers: &mut Layers,
        _clock: Clock,
    ) -> Result<Self, EmbeddedSandboxError> {
        std::future::pending().await
    }

    pub(super) fn sample_rows(&self, _target: &Target) -> String {
        match *self {}
    }

    pub(super) fn disk_full(&self) -> Ready<()> {
        match *self {}
    }

    pub(super) fn shutdown(self) -> Ready<()> {
        match self {}
    }
}
