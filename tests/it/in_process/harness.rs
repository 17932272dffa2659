//! A store, an account and the program between them, in one process on virtual time.
//!
//! A [`World`] is a sandbox and a state directory. Each run of the program in it behaves like a new process: new
//! clients, new tokens, only the state directory is kept. Nothing waits for real time.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tempfile::TempDir;
use yotpo_td::checkpoint::{RunState, StateStore};
use yotpo_td::clock::Clock;
use yotpo_td::config::keys::find;
use yotpo_td::config::{Layers, Settings};
use yotpo_td::identity::{Mode, RunId};
use yotpo_td::row::IngestionTime;
use yotpo_td::run::{LoadSettings, RecoveryState, RunFailure, RunReport, Services, run};
use yotpo_td::sandbox::{Control, Operation, Sandbox, SandboxSettings, Service, Verification};
use yotpo_td::services::assemble;
use yotpo_td::shutdown::{Signal, StopRequests, StopSender};
use yotpo_td::telemetry::Progress;
use yotpo_td::yotpo::{LoyaltyCheck, Pages, PagesSettings};

pub(crate) use crate::in_process::scenario::{SMALLEST_PART, Scenario};

/// The time at which worlds begin: 2026-11-23 04:00:00 UTC.
pub(crate) const BEGINNING: u64 = 1_795_406_400;
pub(crate) const TABLE: &str = "yotpo_customers";

/// A sandbox, a clock, and what is kept between runs.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Clock,
    pub(crate) state_directory: TempDir,
    runs: std::cell::Cell<u64>,
}

/// One process of the program: its own clients and tokens, and whatever the state directory of its machine holds.
pub(crate) struct Process {
    services: Services,
    settings: LoadSettings,
    store: Arc<StateStore>,
    /// Used if the settings have no id and there is nothing to resume.
    generated: RunId,
    stop: StopRequests,
}

/// What to do with a running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Continue,
    Kill,
    Stop,
}

/// What is in the target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TableContent {
    Untouched,
    Complete,
    Wrong(String),
}

impl Process {
    pub(crate) async fn run(self) -> Result<RunReport, RunFailure> {
        self.run_with_progress(&Arc::new(Progress::default())).await
    }

    pub(crate) async fn run_with_progress(self, progress: &Arc<Progress>) -> Result<RunReport, RunFailure> {
        let Self { services, settings, store, generated, stop } = self;
        // On the heap, because it is large and moving it is expensive.
        Box::pin(run(&services, &settings, &store, generated, progress, &stop)).await
    }

    /// The same clients, for another thread.
    pub(crate) fn services(&self) -> Services {
        self.services.clone()
    }
}

/// The pages of the store, whose rows get the maximum ingestion time.
pub(crate) fn pages(services: &Services, settings: &Settings, loyalty_check: LoyaltyCheck) -> Pages {
    let page_size = settings.load.transfer.page_size;
    let paging = PagesSettings { page_size, time: IngestionTime::MAX, loyalty_check };
    Pages::new(services.yotpo.clone().unwrap(), paging)
}

impl World {
    pub(crate) async fn start(scenario: Scenario) -> Self {
        let clock = Clock::virtual_at(Duration::from_secs(BEGINNING));
        let settings = SandboxSettings { clock: clock.clone(), ..scenario.sandbox.clone() };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let control = sandbox.control();
        let database = &sandbox.credentials().database;
        if scenario.old_rows > 0 {
            control.create_table(database, TABLE);
            let row = |index| serde_json::json!({"time": 1, "json_response": format!("old {index}")});
            let rows: Vec<_> = (0..scenario.old_rows).map(row).collect();
            control.insert_rows(database, TABLE, &rows).unwrap();
        }
        let state_directory = temporary_directory();
        Self { scenario, sandbox, clock, state_directory, runs: std::cell::Cell::new(0) }
    }

    pub(crate) fn control(&self) -> &Control {
        self.sandbox.control()
    }

    pub(crate) fn database(&self) -> &str {
        &self.sandbox.credentials().database
    }

    /// The settings of a run, with `flags` on top of the scenario's.
    pub(crate) fn settings_with(&self, flags: &[(&'static str, &str)]) -> Settings {
        self.settings_on(self.state_directory.path(), flags)
    }

    /// The settings of a run on the machine with this state directory.
    pub(crate) fn settings_on(&self, state_directory: &Path, flags: &[(&'static str, &str)]) -> Settings {
        let credentials = self.sandbox.credentials();
        let environment = BTreeMap::from([
            ("YOTPO_CLIENT_SECRET".to_owned(), credentials.client_secret.clone()),
            ("TD_API_KEY".to_owned(), credentials.api_key.clone()),
        ]);
        let mut layers = Layers::new(&BTreeMap::new(), environment, None);
        let mode = if self.scenario.mode == Mode::Append { "append" } else { "replace" };
        let page_size = self.scenario.page_size.to_string();
        let (yotpo, treasure_data) =
            (self.sandbox.yotpo_endpoint().clone(), self.sandbox.treasure_data_endpoint().clone());
        let own = [
            ("yotpo-endpoint", yotpo.as_str()),
            ("td-endpoint", &treasure_data),
            ("store-id", &credentials.store_id),
            ("database", &credentials.database),
            ("state-dir", &state_directory.to_string_lossy()),
            ("mode", mode),
            ("page-size", &page_size),
            ("requests-per-second", "1000000"),
        ];
        let scenario = self.scenario.flags.iter().map(|(key, value)| (*key, value.as_str()));
        for (key, value) in own.into_iter().chain(scenario).chain(flags.iter().copied()) {
            layers.set_flag(find(key).expect(key), value);
        }
        let mut settings = Settings::from_layers(layers).unwrap();
        settings.load.transfer.parts.max_rows = NonZeroUsize::new(self.scenario.batch).unwrap();
        settings.load.transfer.parts.closing_size = self.scenario.closing_size;
        settings.load.transfer.upload_workers = NonZeroUsize::new(self.scenario.workers).unwrap();
        settings
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings_with(&[])
    }

    pub(crate) fn services(&self, settings: &Settings) -> Services {
        assemble(settings, &self.clock, 7).unwrap()
    }

    /// The pages of the store, whose rows get the maximum ingestion time.
    pub(crate) fn pages(&self, settings: &Settings, loyalty_check: LoyaltyCheck) -> Pages {
        pages(&self.services(settings), settings, loyalty_check)
    }

    pub(crate) fn store(&self) -> Arc<StateStore> {
        open_store(&self.settings())
    }

    /// The saved state of a run.
    pub(crate) fn saved(&self) -> Option<RunState> {
        self.store().run().unwrap()
    }

    /// The session of the saved run's set.
    pub(crate) fn own_session(&self) -> String {
        let nonce = self.saved().unwrap().set.unwrap().nonce.to_string();
        let sessions = self.control().sessions();
        sessions
            .into_iter()
            .find(|session| session.name.contains(&nonce))
            .expect("the set's session is there")
            .name
    }

    /// Uploads a part into the session of the saved run's set, over one with the same name.
    pub(crate) async fn upload_to_own_session(&self, part: &str, body: Vec<u8>) {
        let client = self.services(&self.settings()).treasure_data;
        let session = self.own_session().parse().unwrap();
        assert!(client.upload_part(&session, &part.parse().unwrap(), body.into()).await.unwrap());
    }

    /// Loses the machine with its state directory.
    pub(crate) fn lose_state(&self) {
        std::fs::remove_file(self.store().path()).unwrap();
    }

    /// Pages that were fetched more than once, by the number of their first customer.
    pub(crate) fn fetched_twice(&self) -> Vec<u64> {
        let fetches = self.control().page_fetches();
        fetches.into_iter().filter(|(_, times)| *times > 1).map(|(first, _)| first).collect()
    }

    /// One run to its end.
    pub(crate) async fn run(&self) -> Result<RunReport, RunFailure> {
        self.run_as(&self.settings()).await
    }

    /// One run to its end, with `flags` on top of the scenario's.
    pub(crate) async fn run_with(&self, flags: &[(&'static str, &str)]) -> Result<RunReport, RunFailure> {
        self.run_as(&self.settings_with(flags)).await
    }

    pub(crate) async fn run_as(&self, settings: &Settings) -> Result<RunReport, RunFailure> {
        self.watched_run(settings, |_| Verdict::Continue).await.expect("it is not killed")
    }

    /// One run, killed or stopped (SIGINT) as `watch` decides whenever anything changed. `None`: killed.
    pub(crate) async fn watched_run(
        &self,
        settings: &Settings,
        mut watch: impl FnMut(&Control) -> Verdict,
    ) -> Option<Result<RunReport, RunFailure>> {
        let (process, sender) = self.process(settings, &self.clock);
        let mut stopped = false;
        let result = {
            let mut work = pin!(process.run());
            poll_fn(|context| match watch(self.control()) {
                Verdict::Kill => Poll::Ready(None),
                verdict => {
                    if verdict == Verdict::Stop && !std::mem::replace(&mut stopped, true) {
                        sender.stop(Signal::Interrupt);
                    }
                    work.as_mut().poll(context).map(Some)
                }
            })
            .await
        };
        // Everything that a killed run has sent or started completes, as it would between two processes.
        self.clock.wait_until_idle().await;
        result
    }

    /// A new process with `settings` on this clock. It starts to run when it is polled.
    pub(crate) fn process(&self, settings: &Settings, clock: &Clock) -> (Process, StopSender) {
        self.runs.set(self.runs.get() + 1);
        let number = self.runs.get();
        let (sender, stop) = StopRequests::channel();
        let process = Process {
            services: assemble(settings, clock, number).unwrap(),
            settings: settings.load.clone(),
            store: open_store(settings),
            generated: RunId::generate(clock.unix_time(), u32::try_from(number).unwrap()),
            stop,
        };
        (process, sender)
    }

    /// A world whose first run was killed as soon as its saved state was as `wanted`. The run may save twice between two
    /// polls, so a state can be missed: then it tries another world.
    pub(crate) async fn killed_when(
        scenario: &Scenario,
        flags: &[(&'static str, &str)],
        wanted: impl Fn(&RunState) -> bool,
    ) -> Self {
        for _ in 0..100 {
            let world = Self::start(scenario.clone()).await;
            let watch = |_: &Control| {
                if world.saved().as_ref().is_some_and(&wanted) { Verdict::Kill } else { Verdict::Continue }
            };
            if world.watched_run(&world.settings_with(flags), watch).await.is_none() {
                return world;
            }
        }
        panic!("no run could be killed there");
    }

    /// A run that is stopped by SIGINT once Treasure Data has so many parts, so that there is something to resume.
    pub(crate) async fn interrupted_run(&self, parts: u64) -> RunFailure {
        let settings = self.settings();
        let before = self.control().operation_requests(Operation::UploadPart);
        let result = self
            .watched_run(&settings, |control| {
                let enough = control.operation_requests(Operation::UploadPart) >= before + parts;
                if enough { Verdict::Stop } else { Verdict::Continue }
            })
            .await;
        result.expect("it is not killed").expect_err("it was stopped")
    }

    pub(crate) fn verification(&self) -> Verification {
        self.control().verify_table(self.database(), TABLE, 0..=i64::MAX).unwrap()
    }

    /// Rows that the table has when the load is complete.
    pub(crate) fn complete_rows(&self) -> u64 {
        let kept = if self.scenario.mode == Mode::Append { self.scenario.old_rows } else { 0 };
        self.control().customers() + kept
    }

    pub(crate) fn content(&self) -> TableContent {
        let rows = self.control().row_count(self.database(), TABLE).unwrap_or(0);
        if rows == self.scenario.old_rows {
            return TableContent::Untouched;
        }
        let found = self.verification();
        let kept = self.complete_rows() - found.customers;
        let wrong = [found.missing, found.duplicated, found.differing, found.wrong_time, found.extra_columns];
        if rows == self.complete_rows() && found.unknown == kept && wrong == [0; 5] {
            TableContent::Complete
        } else {
            TableContent::Wrong(format!("{found:?}"))
        }
    }

    /// Sessions and temporary tables that are left, by name.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let sessions = self.control().sessions().into_iter().map(|session| session.name);
        let tables = self.control().tables().into_iter().map(|(_, table)| table);
        sessions.chain(tables).filter(|name| name.starts_with("yotpo_td_")).collect()
    }

    #[track_caller]
    pub(crate) fn assert_complete(&self) {
        assert_eq!(self.content(), TableContent::Complete);
    }

    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.content(), TableContent::Untouched);
    }

    /// A failed run has not changed the table, unless it reports that its commit was requested.
    #[track_caller]
    pub(crate) fn assert_untouched_or_committing(&self, failure: &RunFailure) {
        if !matches!(failure.recovery, RecoveryState::MaybeCommitted { .. }) {
            self.assert_untouched();
        }
    }

    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.leftovers(), [""; 0], "sessions or temporary tables are left");
        assert_eq!(self.saved(), None, "the state still names a run");
    }

    /// Requests of both services so far.
    pub(crate) fn requests(&self) -> u64 {
        requests(self.control())
    }
}

pub(crate) fn open_store(settings: &Settings) -> Arc<StateStore> {
    let LoadSettings { resume, target, .. } = &settings.load;
    Arc::new(StateStore::open(&resume.state_directory, target).unwrap())
}

/// In memory if possible: the runs sync their states to the disk thousands of times, and need not survive a power loss.
pub(crate) fn temporary_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Requests of both services so far.
pub(crate) fn requests(control: &Control) -> u64 {
    control.requests(Service::Yotpo) + control.requests(Service::TreasureData)
}
