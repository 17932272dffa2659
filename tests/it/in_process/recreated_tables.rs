//! The target is deleted or recreated while a run is active, interrupted or finished: a successful run has loaded its
//! rows into the current target, and a superseded run reports that.

use std::time::Duration;

use yotpo_td::checkpoint::RunPhase;
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::identity::Mode;
use yotpo_td::run::decide::Ending;
use yotpo_td::run::{RecoveryState, RunError, RunFailure};
use yotpo_td::sandbox::{
    Control, Fault, FaultKind, FaultPlan, FaultTarget, InvalidSession, InvalidStatus, Operation,
    RenamedTable, Service, SessionSummary,
};

use crate::in_process::harness::{Scenario, TABLE, TableContent, Verdict, World};
use crate::in_process::watchdog::{in_parallel, on_virtual_time};

/// What happens to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Delete,
    Recreate,
}

const CHANGES: [Change; 2] = [Change::Delete, Change::Recreate];

impl Change {
    fn make(self, control: &Control, database: &str) {
        match self {
            Self::Delete => drop(control.delete_table(database, TABLE)),
            Self::Recreate => assert!(control.recreate_table(database, TABLE)),
        }
    }
}

/// Both modes, without rows at the start: a run has loaded everything that is in the table afterwards.
fn both_modes() -> [Scenario; 2] {
    [Scenario::append(), Scenario { old_rows: 0, ..Scenario::replace() }]
}

/// Another run's rows may be in the table: this run ends, and does not block the next.
#[track_caller]
fn assert_superseded(failure: &RunFailure, context: &str) {
    let is_superseded = matches!(failure.error, RunError::Ended { ending: Ending::Superseded, .. });
    assert!(is_superseded, "{context}: {failure:?}");
    assert_eq!(failure.error.diagnosis().status, ExitStatus::AlreadyRunning, "{context}");
    assert_eq!(failure.recovery, RecoveryState::Unknown, "{context}");
}

async fn ends_exact(world: &World, context: &str) {
    let report = world.run().await.unwrap();
    assert_eq!(report.rows, Some(100), "{context}");
    assert_eq!(world.content(), TableContent::Complete, "{context}");
    assert_eq!(world.leftovers(), [""; 0], "{context}");
    assert_eq!(world.saved(), None, "{context}");
}

#[test]
fn a_run_interrupted_before_its_ballot_is_loaded_into_the_new_table() {
    for scenario in both_modes() {
        for change in CHANGES {
            for phase in [RunPhase::Uploading, RunPhase::Loading] {
                let scenario = scenario.clone();
                on_virtual_time(async move || {
                    let context = format!("{:?} {change:?} {phase:?}", scenario.mode);
                    let wanted = |state: &yotpo_td::checkpoint::RunState| {
                        state.phase == phase && state.has_stored_parts()
                    };
                    let world = World::killed_when(&scenario, &[], wanted).await;
                    assert_eq!(world.control().operation_requests(Operation::CommitSession), 0);
                    let old = world.own_session();
                    change.make(world.control(), world.database());
                    let report = world.run().await.unwrap();
                    assert!(!report.resumed, "{context}");
                    assert_ne!(report.session.map(String::from), Some(old), "{context}");
                    assert_eq!(report.rows, Some(100), "{context}");
                    world.assert_complete();
                    world.assert_clean();
                });
            }
        }
    }
}

/// The progress of an append, as others can see it.
#[derive(Clone, Copy, Debug)]
enum Moment {
    BallotOpen,
    Proposed,
    Decided,
    Committing,
    Committed,
}

impl Moment {
    fn is_reached(self, control: &Control) -> bool {
        let sessions = control.sessions();
        let ballot = sessions.iter().find(|session| session.name.contains("_a00_"));
        let is_proposed = |ballot: &&SessionSummary| !ballot.parts.is_empty();
        let has_status = |status| sessions.iter().any(|session| session.status == status);
        match self {
            Self::BallotOpen => ballot.is_some(),
            Self::Proposed => ballot.as_ref().is_some_and(is_proposed),
            Self::Decided => ballot.as_ref().is_some_and(|ballot| ballot.upload_frozen),
            Self::Committing => has_status("committing"),
            Self::Committed => has_status("committed"),
        }
    }
}

#[test]
fn an_append_whose_table_is_gone_is_loaded_again_at_any_progress() {
    use Moment::{BallotOpen, Committed, Committing, Decided, Proposed};
    for change in CHANGES {
        for moment in [BallotOpen, Proposed, Decided, Committing, Committed] {
            let mut scenario = Scenario::append();
            scenario.sandbox.commit_duration = Duration::from_secs(30);
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                let watch = |control: &Control| {
                    if moment.is_reached(control) { Verdict::Kill } else { Verdict::Continue }
                };
                assert!(world.watched_run(&world.settings(), watch).await.is_none());
                change.make(world.control(), world.database());
                ends_exact(&world, &format!("{change:?} {moment:?}")).await;
                // The committed rows were deleted with the table: everything is fetched and loaded again.
                assert_eq!(world.control().import_jobs(), 2, "{change:?} {moment:?}");
            });
        }
    }
}

#[test]
fn a_decided_replace_is_published_over_a_deleted_target_and_not_over_a_recreated_one() {
    for change in CHANGES {
        on_virtual_time(async move || {
            let world = World::start(Scenario::replace()).await;
            let decided = |control: &Control| {
                let is_decided = control.sessions().iter().any(|session| session.name.contains("_r00_"));
                if is_decided { Verdict::Kill } else { Verdict::Continue }
            };
            assert!(world.watched_run(&world.settings(), decided).await.is_none());
            assert_eq!(world.control().operation_requests(Operation::CommitSession), 0);
            change.make(world.control(), world.database());
            if change == Change::Recreate {
                let failure = world.run().await.unwrap_err();
                assert_superseded(&failure, "decided");
                assert_eq!(world.control().row_count(world.database(), TABLE), Some(0));
                world.assert_clean();
            }
            ends_exact(&world, &format!("{change:?}")).await;
            assert_eq!(world.control().import_jobs(), if change == Change::Recreate { 2 } else { 1 });
        });
    }
}

/// A world of `replace` whose run was killed after its commit, before or after its rename over the target.
async fn committed(is_renamed: bool) -> World {
    let world = World::start(Scenario::replace()).await;
    // The scratch table is renamed first.
    let renames = if is_renamed { 2 } else { 1 };
    let watch = |control: &Control| {
        let is_committed = control.sessions().iter().any(|session| session.status == "committed");
        let is_there = is_committed && control.operation_requests(Operation::RenameTable) == renames;
        if is_there { Verdict::Kill } else { Verdict::Continue }
    };
    assert!(world.watched_run(&world.settings(), watch).await.is_none());
    world
}

#[test]
fn a_committed_replace_is_published_when_the_target_was_deleted() {
    for is_renamed in [false, true] {
        on_virtual_time(async move || {
            let world = committed(is_renamed).await;
            Change::Delete.make(world.control(), world.database());
            ends_exact(&world, &format!("renamed: {is_renamed}")).await;
            let fetched = world.control().operation_requests(Operation::Customers);
            assert_eq!(fetched, if is_renamed { 20 } else { 10 });
        });
    }
}

#[test]
fn a_committed_replace_does_not_publish_over_a_recreated_table() {
    for is_renamed in [false, true] {
        on_virtual_time(async move || {
            let context = format!("renamed: {is_renamed}");
            let world = committed(is_renamed).await;
            Change::Recreate.make(world.control(), world.database());
            let theirs = world.control().table_id(world.database(), TABLE);
            let failure = world.run().await.unwrap_err();
            assert_superseded(&failure, &context);
            assert_eq!(world.control().table_id(world.database(), TABLE), theirs, "{context}");
            assert_eq!(world.control().row_count(world.database(), TABLE), Some(0), "{context}");
            // It has ended: nothing is left of it, and the next run is a new one.
            world.assert_clean();
            ends_exact(&world, &context).await;
        });
    }
}

#[test]
fn a_superseded_run_that_cannot_be_removed_is_superseded_again() {
    on_virtual_time(async || {
        let world = committed(false).await;
        Change::Recreate.make(world.control(), world.database());
        let fault = Fault {
            service: Service::TreasureData,
            target: FaultTarget::EveryOf(Operation::DeleteSession),
            kind: FaultKind::Status(400, None),
        };
        world.control().set_faults(FaultPlan { faults: vec![fault] });
        assert_superseded(&world.run().await.unwrap_err(), "it cannot be removed");
        assert!(world.control().applied_faults() > 0, "no removal was requested");
        assert!(world.saved().is_some(), "the next run finds what is left");
        world.control().set_faults(FaultPlan::none());
        assert_superseded(&world.run().await.unwrap_err(), "it can be removed");
        world.assert_clean();
    });
}

#[test]
fn with_a_run_id_a_superseded_run_stays_superseded_and_another_id_loads() {
    on_virtual_time(async || {
        let id = [("run-id", "nightly")];
        let world = World::start(Scenario::replace()).await;
        world.run_with(&id).await.unwrap();
        Change::Recreate.make(world.control(), world.database());
        for fresh in [false, true, false] {
            if fresh {
                world.lose_state();
            }
            let failure = world.run_with(&id).await.unwrap_err();
            assert_superseded(&failure, "the same id");
            assert!(failure.error.diagnosis().hint.unwrap().contains("new --run-id"));
            assert_eq!(world.control().row_count(world.database(), TABLE), Some(0));
        }
        world.run_with(&[("run-id", "the-next-day")]).await.unwrap();
        world.assert_complete();
    });
}

#[derive(Clone, Debug)]
struct Case {
    scenario: Scenario,
    change: Change,
    /// The change happens after this many requests to Treasure Data.
    after: u64,
}

impl Case {
    async fn run(&self) {
        let context = format!("{self:?}");
        let world = World::start(self.scenario.clone()).await;
        let database = world.database().to_owned();
        let mut looks_before = None;
        let mut was_performing = false;
        let watch = |control: &Control| {
            if looks_before.is_none() && control.requests(Service::TreasureData) >= self.after {
                self.change.make(control, &database);
                looks_before = Some(control.operation_requests(Operation::ShowTable));
                was_performing = control.sessions().iter().any(|session| session.status == "performing");
            }
            Verdict::Continue
        };
        let result = world.watched_run(&world.settings(), watch).await.unwrap();
        let looks_after = world.control().operation_requests(Operation::ShowTable) - looks_before.unwrap();
        match result {
            Ok(report) => {
                assert_eq!(report.rows, Some(100), "{context}");
                // After the run has read the target for the last time, it cannot detect anything.
                let is_seen = looks_after > 0;
                let expected = if is_seen { TableContent::Complete } else { TableContent::Untouched };
                assert_eq!(world.content(), expected, "{context}: {report:?}");
                assert_eq!(world.leftovers(), [""; 0], "{context}");
                assert_eq!(world.saved(), None, "{context}");
            }
            // The load job into a table that is gone fails.
            Err(RunFailure {
                error: RunError::Ended { ending: Ending::LoadFailed, .. }, recovery, ..
            }) => {
                assert!(was_performing && self.scenario.mode == Mode::Append, "{context}");
                assert!(matches!(recovery, RecoveryState::Resumable { .. }), "{context}: {recovery:?}");
                assert_eq!(world.content(), TableContent::Untouched, "{context}");
                ends_exact(&world, &context).await;
            }
            Err(failure) => {
                assert_eq!(
                    (self.scenario.mode, self.change),
                    (Mode::Replace, Change::Recreate),
                    "{failure:?}"
                );
                assert_superseded(&failure, &context);
                assert_eq!(world.content(), TableContent::Untouched, "{context}");
                assert_eq!(world.leftovers(), [""; 0], "{context}");
                ends_exact(&world, &context).await;
            }
        }
    }
}

#[test]
fn a_table_that_is_deleted_or_recreated_at_any_moment_is_exact_or_the_run_fails() {
    let mut scenarios = both_modes().to_vec();
    for mut other in both_modes() {
        let behaviour = &mut other.sandbox.treasure_data;
        behaviour.invalid_session = InvalidSession::Unprocessable;
        behaviour.invalid_status = InvalidStatus::Unknown;
        behaviour.renamed_table = RenamedTable::NewName;
        scenarios.push(other);
    }
    for scenario in &mut scenarios {
        scenario.sandbox.import_duration = Duration::from_secs(30);
        scenario.sandbox.commit_duration = Duration::from_secs(30);
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    on_virtual_time(async move || {
        let mut cases = Vec::new();
        for scenario in scenarios {
            let world = World::start(scenario.clone()).await;
            world.run().await.unwrap();
            for after in 1..=world.control().requests(Service::TreasureData) {
                cases.extend(CHANGES.map(|change| Case { scenario: scenario.clone(), change, after }));
            }
        }
        sender.send(cases).unwrap();
    });
    let cases = receiver.recv().unwrap();
    assert!(cases.len() > 250, "{}", cases.len());
    in_parallel(Duration::from_secs(100), cases, Case::run);
}
