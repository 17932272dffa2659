//! Faults that do not go away: the run ends within its budget, with the right exit code, and the table is as it was.

use std::error::Error;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::run::{RecoveryState, RunFailure};
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, FaultTarget, Operation, RetryDelay, Service};
use yotpo_td::secret::Secret;

use crate::in_process::fault_sweep::{check_aftermath, every_kind};
use crate::in_process::harness::{Scenario, World};
use crate::in_process::watchdog::{in_parallel, on_virtual_time};

fn plan(service: Service, target: FaultTarget, kind: FaultKind) -> FaultPlan {
    FaultPlan { faults: vec![Fault { service, target, kind }] }
}

/// The whole chain of an error as one text.
fn error_chain(failure: &RunFailure) -> String {
    let mut text = failure.error.to_string();
    let mut source = failure.error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn a_call_that_never_works_ends_the_run_with_a_true_report() {
    let mut cases = Vec::new();
    for scenario in [Scenario::append(), Scenario::replace()] {
        for operation in Operation::ALL {
            let kinds = [
                FaultKind::ResetBeforeAction,
                FaultKind::Hang,
                FaultKind::HtmlOk,
                FaultKind::Status(400, None),
                FaultKind::Status(401, None),
                FaultKind::Status(403, None),
                FaultKind::Status(409, None),
                FaultKind::Status(503, None),
            ];
            cases.extend(kinds.map(|kind| (scenario.clone(), *operation, kind)));
        }
    }
    in_parallel(Duration::from_secs(200), cases, async |(scenario, operation, kind)| {
        let context = format!("{:?} {operation:?} {kind:?}", scenario.mode);
        let world = World::start(scenario.clone()).await;
        let Some(service) = operation.service() else { return };
        world.control().set_faults(plan(service, FaultTarget::EveryOf(*operation), kind.clone()));
        match world.run().await {
            Ok(_) => {
                assert_eq!(world.content(), crate::in_process::harness::TableContent::Complete, "{context}");
                let left = world.leftovers();
                assert!(left.is_empty() || *operation == Operation::DeleteSession, "{context} {left:?}");
            }
            Err(failure) => {
                assert_ne!(failure.error.diagnosis().status, ExitStatus::Bug, "{context} {failure:?}");
                check_aftermath(&world, &failure, &context).await;
            }
        }
    });
}

#[test]
fn a_service_that_is_down_ends_the_run_in_minutes() {
    for (service, status) in
        [(Service::Yotpo, ExitStatus::YotpoFailed), (Service::TreasureData, ExitStatus::TreasureDataFailed)]
    {
        for kind in
            [FaultKind::ResetBeforeAction, FaultKind::Hang, FaultKind::Status(502, None), FaultKind::HtmlOk]
        {
            on_virtual_time(async move || {
                let world = World::start(Scenario::replace()).await;
                world.control().set_faults(plan(service, FaultTarget::Every, kind.clone()));
                let failure = world.run().await.unwrap_err();
                assert_eq!(failure.error.diagnosis().status, status, "{kind:?} {failure:?}");
                world.assert_untouched();
                assert!(
                    error_chain(&failure).contains("--max-retries 8 exhausted"),
                    "{}",
                    error_chain(&failure)
                );
                assert!(world.clock.now() < Duration::from_secs(30 * 60), "{:?}", world.clock.now());
                check_aftermath(&world, &failure, "down").await;
            });
        }
    }
}

/// The run ends instead of repeating the call forever, and a run without faults completes the load.
#[test]
fn a_call_that_is_acknowledged_and_never_has_an_effect_ends_the_run_after_waits() {
    const NEEDED: [Operation; 5] = [
        Operation::CreateSession,
        Operation::FreezeSession,
        Operation::PerformSession,
        Operation::CommitSession,
        Operation::CreateTable,
    ];
    let cases = [Scenario::append(), Scenario::replace()]
        .into_iter()
        .flat_map(|scenario| NEEDED.map(|operation| (scenario.clone(), operation)))
        .collect();
    in_parallel(Duration::from_secs(100), cases, async |(scenario, operation)| {
        let context = format!("{:?} {operation:?}", scenario.mode);
        let world = World::start(scenario.clone()).await;
        let every = FaultTarget::EveryOf(*operation);
        world.control().set_faults(plan(Service::TreasureData, every, FaultKind::Acknowledged));
        let result = world.run().await;
        assert!(world.control().operation_requests(*operation) <= 60, "{context}");
        let Err(failure) = result else {
            assert_eq!(*operation, Operation::CreateTable, "{context}");
            return;
        };
        assert_eq!(failure.error.diagnosis().status, ExitStatus::TreasureDataFailed, "{context} {failure:?}");
        check_aftermath(&world, &failure, &context).await;
    });
}

/// The ordinals of the requests of an operation from this one on.
fn all_from(operation: Operation, first: u64) -> FaultPlan {
    let faults = (first..first + 100).map(|nth| Fault::on(operation, nth, FaultKind::Acknowledged)).collect();
    FaultPlan { faults }
}

#[test]
fn a_session_or_a_ballot_that_stays_open_is_frozen_a_limited_number_of_times() {
    let cases = [
        // The second freeze is that of the ballot, which `replace` does not need.
        (Scenario::append(), 1),
        (Scenario::append(), 2),
        (Scenario::replace(), 1),
    ];
    for (scenario, first) in cases {
        on_virtual_time(async move || {
            let world = World::start(scenario).await;
            world.control().set_faults(all_from(Operation::FreezeSession, first));
            let began = world.clock.now();
            let failure = world.run().await.unwrap_err();
            assert_eq!(failure.error.diagnosis().code.name(), "no_progress", "{failure:?}");
            assert_eq!(world.control().operation_requests(Operation::FreezeSession), first + 8);
            // Nine times ten polls.
            let waited = world.clock.now().saturating_sub(began);
            assert!(waited >= Duration::from_mins(3), "{waited:?}");
            check_aftermath(&world, &failure, "freeze").await;
        });
    }
}

#[test]
fn a_target_that_stays_missing_although_its_creation_is_acknowledged_ends_the_run_without_blaming_the_key() {
    for scenario in [Scenario::append(), Scenario::replace()] {
        on_virtual_time(async move || {
            let world = World::start(scenario).await;
            let target = world.settings().load.target;
            world.control().delete_table(target.database.as_str(), target.table.as_str());
            let every = FaultTarget::EveryOf(Operation::CreateTable);
            world.control().set_faults(plan(Service::TreasureData, every, FaultKind::Acknowledged));
            let began = world.clock.now();
            let failure = world.run().await.unwrap_err();
            assert_eq!(failure.error.diagnosis().code.name(), "no_progress", "{failure:?}");
            assert_eq!(failure.error.diagnosis().status, ExitStatus::TreasureDataFailed);
            assert_eq!(world.control().operation_requests(Operation::CreateTable), 9);
            let waited = world.clock.now().saturating_sub(began);
            assert!(waited >= Duration::from_mins(3), "{waited:?}");
            world.control().set_faults(FaultPlan::none());
            assert_eq!(world.run().await.unwrap().rows, Some(100));
        });
    }
}

#[test]
fn one_call_that_is_acknowledged_without_effect_is_repeated() {
    for (scenario, nth) in [(Scenario::append(), 1), (Scenario::append(), 2), (Scenario::replace(), 1)] {
        on_virtual_time(async move || {
            let world = World::start(scenario).await;
            let fault = Fault::on(Operation::FreezeSession, nth, FaultKind::Acknowledged);
            world.control().set_faults(FaultPlan { faults: vec![fault] });
            world.run().await.unwrap();
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn an_unreliable_service_uses_up_its_budget() {
    on_virtual_time(async || {
        let mut scenario = Scenario::append();
        scenario.sandbox.customers = 400;
        scenario.page_size = 1;
        scenario.batch = 50;
        scenario.closing_size = 1 << 20;
        let world = World::start(scenario).await;
        // Every page needs eight attempts: each is within its own limits, together they are too much.
        let hit = |ordinal: u64| Fault {
            service: Service::Yotpo,
            target: FaultTarget::Request(ordinal),
            kind: FaultKind::Status(500, None),
        };
        let faults = (1..4_000).filter(|ordinal| ordinal % 8 != 0).map(hit).collect();
        world.control().set_faults(FaultPlan { faults });
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::YotpoFailed);
        assert!(error_chain(&failure).contains("retry budget is exhausted"), "{}", error_chain(&failure));
        assert!(world.control().requests(Service::Yotpo) < 400);
        world.assert_untouched();
    });
}

#[test]
fn a_delay_hint_of_hours_is_not_waited_for() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let kind = FaultKind::Status(429, Some(RetryDelay::RetryAfterSeconds(7_200)));
        world.control().set_faults(plan(Service::Yotpo, FaultTarget::EveryOf(Operation::Customers), kind));
        let failure = world.run().await.unwrap_err();
        assert!(error_chain(&failure).contains("longer than --retry-timeout"), "{}", error_chain(&failure));
        assert_eq!(world.control().operation_requests(Operation::Customers), 1);
        assert_eq!(failure.recovery, RecoveryState::NothingCreated);
    });
}

#[test]
fn wrong_credentials_are_denied_immediately_and_nothing_is_created() {
    for (variable, operation) in
        [("YOTPO_CLIENT_SECRET", Operation::AccessToken), ("TD_API_KEY", Operation::ListSessions)]
    {
        on_virtual_time(async move || {
            let world = World::start(Scenario::append()).await;
            let mut settings = world.settings();
            if variable == "TD_API_KEY" {
                settings.treasure_data.api_key = Secret::new(&format!("1/{}", "0".repeat(40))).unwrap();
            } else {
                settings.store.yotpo.client_secret = Secret::new("wrong").unwrap();
            }
            let failure = world.run_as(&settings).await.unwrap_err();
            assert_eq!(failure.error.diagnosis().status, ExitStatus::Denied, "{failure:?}");
            assert!(
                failure.error.diagnosis().hint.unwrap().contains(variable),
                "{:?}",
                failure.error.diagnosis().hint
            );
            assert_eq!(failure.recovery, RecoveryState::NothingCreated);
            assert_eq!(world.control().operation_requests(operation), 1);
            world.assert_untouched();
            world.assert_clean();
        });
    }
}

/// A secret in a file that was changed after the program had read it.
fn rotated(old: &str, new: &str) -> (tempfile::NamedTempFile, Secret) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), old).unwrap();
    let secret = Secret::from_file(file.path()).unwrap();
    std::fs::write(file.path(), new).unwrap();
    (file, secret)
}

#[test]
fn a_refused_secret_is_read_from_its_file_once_more() {
    let wrong_key = format!("1/{}", "0".repeat(40));
    for (operation, is_key) in [(Operation::AccessToken, false), (Operation::ListSessions, true)] {
        for is_right_now in [true, false] {
            let wrong_key = wrong_key.clone();
            on_virtual_time(async move || {
                let world = World::start(Scenario::append()).await;
                let mut settings = world.settings();
                let (secret, wrong) = if is_key {
                    (&mut settings.treasure_data.api_key, wrong_key.as_str())
                } else {
                    (&mut settings.store.yotpo.client_secret, "wrong")
                };
                let right = secret.current().expose_secret().to_owned();
                let other = format!("{wrong}1");
                let (_file, read) = rotated(wrong, if is_right_now { &right } else { &other });
                *secret = read;
                let result = world.run_as(&settings).await;
                if is_right_now {
                    assert_eq!(result.unwrap().rows, Some(100), "{operation:?}");
                    world.assert_complete();
                } else {
                    let failure = result.unwrap_err();
                    assert_eq!(failure.error.diagnosis().status, ExitStatus::Denied, "{failure:?}");
                    assert_eq!(world.control().operation_requests(operation), 2, "once more, and no oftener");
                    world.assert_untouched();
                }
            });
        }
    }
}

#[test]
fn a_store_or_a_database_that_does_not_exist_is_named() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let mut settings = world.settings();
        settings.store.yotpo.store = "elsewhere".parse().unwrap();
        let failure = world.run_as(&settings).await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::Denied, "{failure:?}");
        let failure = world.run_with(&[("database", "nowhere")]).await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::Usage, "{failure:?}");
        assert!(
            error_chain(&failure).contains("database nowhere was not found"),
            "{}",
            error_chain(&failure)
        );
        assert_eq!(failure.recovery, RecoveryState::NothingCreated);
    });
}

#[test]
fn new_tokens_that_are_refused_repeatedly_end_the_run() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let kind = FaultKind::Status(401, None);
        world.control().set_faults(plan(Service::Yotpo, FaultTarget::EveryOf(Operation::Customers), kind));
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::Denied, "{failure:?}");
        assert_eq!(world.control().operation_requests(Operation::AccessToken), 3);
        assert_eq!(failure.recovery, RecoveryState::NothingCreated);
    });
}

#[test]
fn every_kind_of_fault_on_every_upload_ends_the_run_or_is_survived() {
    // A false "stored" in an unexpected response cannot be detected.
    let kinds = every_kind().into_iter().filter(|kind| *kind != FaultKind::RateLimitTextOk).collect();
    in_parallel(Duration::from_secs(60), kinds, async |kind| {
        let world = World::start(Scenario::append()).await;
        let uploads = FaultTarget::EveryOf(Operation::UploadPart);
        world.control().set_faults(plan(Service::TreasureData, uploads, kind.clone()));
        match world.run().await {
            Ok(_) => world.assert_complete(),
            Err(failure) => {
                world.assert_untouched();
                check_aftermath(&world, &failure, &format!("{kind:?}")).await;
            }
        }
    });
}
