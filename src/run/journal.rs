//! The run's state on disk, moved forward step by step.

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
    /// The journal of a run, of which `saved` is on disk.
    pub(super) fn new(
        store: Arc<StateStore>,
        clock: Clock,
        state: RunState,
        saved: Option<RunState>,
    ) -> Self {
        Self { store, clock, pages: Mutex::new(Pages { state, saved }) }
    }

    /// The state as it is known.
    pub(super) fn state(&self) -> RunState {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).state.clone()
    }

    /// The state as it was saved last; none when nothing was.
    pub(super) fn saved(&self) -> Option<RunState> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).saved.clone()
    }

    /// Changes the state and saves it, unless that is on disk already. Only one task does this at a time, so the steps
    /// keep their order.
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

    /// Changes what is known and not worth a save of its own.
    pub(super) fn note(&self, change: impl FnOnce(&mut RunState)) {
        change(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner).state);
    }

    /// Notes that the run ended well and nothing of it is left to do.
    pub(super) async fn finish(&self, finished: FinishedRun) -> Result<(), RunError> {
        let store = Arc::clone(&self.store);
        self.blocking(move || store.save_finished(finished)).await
    }

    /// Forgets the run: there is nothing to resume.
    pub(super) async fn forget(&self) -> Result<(), RunError> {
        let store = Arc::clone(&self.store);
        self.blocking(move || store.forget_run()).await
    }

    /// Disk work off the network threads.
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
