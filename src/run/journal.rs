//! The run's state on disk, saved step by step.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::RunError;
use crate::checkpoint::{FinishedRun, RunState, StateError, StateStore};
use crate::clock::Clock;
use crate::failpoint;

/// Saves every durable step of a run before the next one begins.
#[derive(Debug)]
pub(super) struct Journal {
    store: Arc<StateStore>,
    clock: Clock,
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    state: RunState,
    /// What is on disk.
    saved: Option<RunState>,
}

impl Journal {
    /// The journal of a run; `saved` is the state on disk.
    pub(super) fn new(
        store: Arc<StateStore>,
        clock: Clock,
        state: RunState,
        saved: Option<RunState>,
    ) -> Self {
        Self { store, clock, pages: Mutex::new(Pages { state, saved }) }
    }

    /// The current state.
    pub(super) fn state(&self) -> RunState {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).state.clone()
    }

    /// The state that was saved last, if any.
    pub(super) fn saved(&self) -> Option<RunState> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).saved.clone()
    }

    /// Changes the state and saves it, unless it is on disk already. Only one task does this at a time, so steps are
    /// saved in order.
    pub(super) async fn update(&self, change: impl FnOnce(&mut RunState)) -> Result<(), RunError> {
        let state = {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut pages.state);
            if pages.saved.as_ref() == Some(&pages.state) {
                return Ok(());
            }
            pages.state.updated_at = self.clock.unix_time().as_secs();
            pages.state.clone()
        };
        let (store, saved) = (Arc::clone(&self.store), state.clone());
        self.blocking(move || store.save_run(&saved)).await?;
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).saved = Some(state);
        Ok(())
    }

    /// Changes the state without saving it; the next save includes the change.
    pub(super) fn note(&self, change: impl FnOnce(&mut RunState)) {
        change(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner).state);
    }

    /// Saves that the run succeeded and is complete.
    pub(super) async fn finish(&self, finished: FinishedRun) -> Result<(), RunError> {
        let store = Arc::clone(&self.store);
        self.blocking(move || store.save_finished(finished)).await
    }

    /// Deletes the run from the state: there is nothing to resume.
    pub(super) async fn forget(&self) -> Result<(), RunError> {
        let store = Arc::clone(&self.store);
        self.blocking(move || store.forget_run()).await
    }

    /// Runs disk work outside the network thread.
    async fn blocking(
        &self,
        work: impl FnOnce() -> Result<(), StateError> + Send + 'static,
    ) -> Result<(), RunError> {
        failpoint::hit("before save");
        match self.clock.blocking(work).await {
            Ok(result) => result?,
            Err(_panicked) => return Err(RunError::Bug("saving the state panicked")),
        }
        failpoint::hit("after save");
        Ok(())
    }
}
