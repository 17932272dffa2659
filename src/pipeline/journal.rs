//! The run's state on disk, moved forward step by step.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::RunError;
use crate::checkpoint::{LastSuccess, RunState, StateError, StateStore};
use crate::clock::Clock;
use crate::failpoint;

/// Saves every durable step of a run before the next one begins.
#[derive(Debug)]
pub(super) struct Journal {
    store: Arc<StateStore>,
    clock: Clock,
    state: Mutex<RunState>,
}

impl Journal {
    /// The journal of a run; nothing is saved yet.
    pub(super) fn new(store: Arc<StateStore>, clock: Clock, state: RunState) -> Self {
        Self { store, clock, state: Mutex::new(state) }
    }

    /// The state as it was saved last, or will be first.
    pub(super) fn state(&self) -> RunState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the state and saves it. Only one task does this at a time, so the steps keep their order.
    pub(super) async fn update(&self, change: impl FnOnce(&mut RunState)) -> Result<(), RunError> {
        let mut state = self.state();
        change(&mut state);
        state.updated_at = self.clock.unix_time().as_secs();
        let (store, saved) = (Arc::clone(&self.store), state.clone());
        failpoint::hit("before save");
        self.blocking(move || store.save_run(&saved)).await?;
        failpoint::hit("after save");
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    /// Notes that the run succeeded and nothing of it is left.
    pub(super) async fn finish(&self) -> Result<(), RunError> {
        let state = self.state();
        let Some(customers) = state.loaded_rows else {
            // Another machine loaded it: how much is not known, and what is remembered is the better measure.
            return self.forget().await;
        };
        let success = LastSuccess {
            run_id: state.run_id,
            customers,
            pages: state.pages,
            finished_at: self.clock.unix_time().as_secs(),
        };
        let store = Arc::clone(&self.store);
        failpoint::hit("before save");
        self.blocking(move || store.save_success(&success)).await?;
        failpoint::hit("after save");
        Ok(())
    }

    /// Forgets the run: there is nothing to go on with.
    pub(super) async fn forget(&self) -> Result<(), RunError> {
        let store = Arc::clone(&self.store);
        failpoint::hit("before save");
        self.blocking(move || store.forget_run()).await?;
        failpoint::hit("after save");
        Ok(())
    }

    /// Disk work off the network threads.
    async fn blocking(
        &self,
        work: impl FnOnce() -> Result<(), StateError> + Send + 'static,
    ) -> Result<(), RunError> {
        match self.clock.blocking(work).await {
            Ok(result) => Ok(result?),
            Err(_panicked) => Err(RunError::Bug("saving the state panicked")),
        }
    }
}
