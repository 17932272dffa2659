//! `yotpo-td runs abandon`: making sure that what has begun of a run loads nothing.

use std::sync::Arc;

use super::{RunsCommand, RunsError, UsageError};
use crate::checkpoint::{Holder, ProcessLock, RunState, StateStore};
use crate::cli::invocation::layers;
use crate::cli::runtime::client_runtime;
use crate::config::NamedRun;
use crate::run::{AbandonSettings, LoadSettings, Services, abandon_run};
use crate::services::assemble_account;
use crate::shutdown::StopRequests;
use crate::telemetry::write_stdout;

impl RunsCommand<'_> {
    pub(super) fn abandon(&self) -> Result<(), RunsError> {
        let account = self.account()?;
        let (store, run) = self.find_or_name()?;
        let endpoint = account.treasure_data.endpoint.to_string();
        if run.target.treasure_data_endpoint != endpoint {
            let saved = run.target.treasure_data_endpoint;
            return Err(UsageError::OtherAccount { saved, settings: endpoint }.into());
        }
        let holder = Holder {
            pid: std::process::id(),
            run_id: run.run_id.to_string(),
            started_at: self.clock.unix_time().as_secs(),
        };
        let _lock = ProcessLock::take(&store.lock_path(), &holder)?;
        // Only now does no other process write it. A target has one state, so that of another run would be replaced.
        let run = match store.run()? {
            Some(saved) if saved.run_id == run.run_id => saved,
            Some(saved) => {
                let (saved, label) = (saved.run_id, saved.target.label());
                return Err(UsageError::OtherRunSaved { saved, label }.into());
            }
            None => run,
        };
        self.confirm_abandoning(&run)?;
        let treasure_data = assemble_account(&account, &self.clock, fastrand::u64(..))?;
        let runtime = client_runtime()?;
        let services = Services { yotpo: None, treasure_data, clock: self.clock.clone() };
        let settings = AbandonSettings {
            state_directory: self.state_directory()?,
            polling: account.polling,
            run_lifetime: account.run_lifetime,
            without_table_ids: account.without_table_ids,
        };
        let given = run.keeps_marker.then(|| run.run_id.clone());
        let settings = LoadSettings::to_abandon(run.target.clone(), run.mode, given, settings);
        let (_sender, stop) = StopRequests::channel();
        let (run_id, label, mode) = (run.run_id.clone(), run.target.label(), run.mode);
        let too_late = runtime.block_on(abandon_run(&services, &settings, &Arc::new(store), run, &stop))?;
        write_stdout(&if too_late {
            format!("too late: the rows of run {run_id} are in {label}\n")
        } else {
            format!(
                "abandoned run {run_id} of {label}, --mode {mode}: no attempt in this mode that has begun will load anything; one that starts \
                 from now on loads the current customers\n"
            )
        });
        Ok(())
    }

    /// The run that is meant: an unfinished one of this machine, or one of any machine that `--run-id` and the settings
    /// name.
    fn find_or_name(&self) -> Result<(StateStore, RunState), RunsError> {
        if self.matches.get_one::<String>("run").is_some() {
            return self.find();
        }
        let NamedRun { target, mode, run_id } = NamedRun::from_layers(layers(self.invocation, self.matches))?;
        let store = StateStore::open(&self.state_directory()?, &target)?;
        let now = self.clock.unix_time().as_secs();
        let saved = store.run()?.filter(|run| run.run_id == run_id);
        let run = saved.unwrap_or_else(|| RunState::new(run_id, true, target, mode, 100, now));
        Ok((store, run))
    }

    fn confirm_abandoning(&self, run: &RunState) -> Result<(), UsageError> {
        let RunState { run_id, rows, parts, .. } = run;
        let question = format!(
            "abandon run {run_id} of {} with {rows} rows in {parts} stored parts on this machine? [y/N] ",
            run.target.label()
        );
        self.confirm(&question, UsageError::NotConfirmed(run_id.to_string()))
    }
}
