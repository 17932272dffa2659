//! What is found of earlier runs in an account, how old it is, and what is removed.

use std::time::Duration;

use yotpo_td::housekeeping::{
    Orphan, OrphanKind, OrphanObject, Verdict, find_orphans, remove_orphan, sweep_stale_runs,
};
use yotpo_td::identity::{Nonce, OwnSessionName, OwnTable, ProbeName, Proposal, TableId, TableSuffix};
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, FaultTarget, Operation, Service};
use yotpo_td::treasure_data::{Change, TreasureDataClient};

use crate::in_process::harness::{BEGINNING, Scenario, TABLE, World};
use crate::in_process::watchdog::on_virtual_time;

const LEGACY_TABLE: &str = "yotpo_td_tmp_00c0ffee_20261123t040000z_9f1c02ab_12345678";
/// It begins like a table of an earlier release, but no release can have created such a name.
const INVALID_TABLE: &str = "yotpo_td_tmp_00c0ffee_Nightly";

async fn create_session(world: &World, client: &TreasureDataClient, name: &str, table: &str) {
    let (name, database) = (name.parse().unwrap(), world.database().parse().unwrap());
    let table = table.parse().unwrap();
    let created = client.create_session(&mut client.series(), &name, &database, &table).await;
    assert_eq!(created.unwrap(), Change::Done);
}

async fn propose(client: &TreasureDataClient, ballot: &str, nonce: Nonce) {
    let (ballot, proposal) = (ballot.parse().unwrap(), Proposal::Abandon { nonce }.render());
    let proposed = client.propose(&mut client.series(), &ballot, &proposal).await;
    assert_eq!(proposed.unwrap(), Change::Done);
}

/// Starts the load job of an empty session.
async fn perform(client: &TreasureDataClient, session: &str) {
    let session = session.parse().unwrap();
    assert_eq!(client.freeze(&mut client.series(), &session).await.unwrap(), Change::Done);
    let (change, job) = client.perform(&mut client.series(), &session).await.unwrap();
    assert_eq!((change, job.is_some()), (Change::Done, true));
}

fn found(orphan: &Orphan) -> (String, OrphanKind, Option<u64>) {
    (orphan.object.name().to_owned(), orphan.kind, orphan.since)
}

#[test]
fn everything_that_this_program_left_is_found_with_its_age_and_removed() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let client = world.services(&world.settings()).treasure_data;
        let database = world.database().to_owned();
        let fingerprint = world.settings().load.target.fingerprint();
        let nonce = |age: u64| Nonce::new(BEGINNING - age, 7).unwrap();
        let (target, table) = (TableId::from_api("5"), TableId::from_api("6"));
        let suffix = TableSuffix::Rows;
        let temporary = OwnTable::Temporary { fingerprint, nonce: nonce(10), target, table, suffix }.render();
        let temporary = temporary.to_string();
        let probe = ProbeName { fingerprint, nonce: nonce(20), number: 1 }.table().to_string();
        let own = OwnSessionName::new(fingerprint, &"nightly".parse().unwrap(), nonce(30), target, None);
        let own = own.render().to_string();
        let head = format!("yotpo_td_v1_{fingerprint}");
        let (proposed, empty) = (format!("{head}_a00_proposed"), format!("{head}_a00_empty"));
        let of_table = format!("{head}_r00_nightly");
        let (named, loaded) = ("yotpo_td_00c0ffee_20261123T040000Z-9f1c02ab", "yotpo_td_00c0ffee_loaded");
        let without_age = "yotpo_td_00c0ffee_nightly";
        let other_protocol = format!("yotpo_td_v2_{fingerprint}_a00_nightly");
        for table in [TABLE, &temporary, &probe, LEGACY_TABLE, INVALID_TABLE] {
            assert!(world.control().create_table(&database, table), "{table}");
        }
        for (name, table) in [
            (own.as_str(), TABLE),
            (&proposed, TABLE),
            (&empty, TABLE),
            (&of_table, &temporary),
            (&probe, TABLE),
            (named, TABLE),
            (loaded, TABLE),
            (without_age, TABLE),
            (&other_protocol, TABLE),
            ("somebody_elses", TABLE),
        ] {
            create_session(&world, &client, name, table).await;
        }
        propose(&client, &proposed, nonce(50)).await;
        propose(&client, &proposed, nonce(40)).await;
        perform(&client, loaded).await;
        let loaded_at = world.clock.unix_time().as_secs();

        let orphans = find_orphans(&client, &[database.parse().unwrap()]).await.unwrap();
        let mut seen: Vec<_> = orphans.iter().map(found).collect();
        let mut expected = [
            (own.as_str(), OrphanKind::Session, Some(BEGINNING - 30)),
            // A ballot is as old as its newest proposal, or as the table that it is bound to.
            (&proposed, OrphanKind::Ballot, Some(BEGINNING - 40)),
            (&empty, OrphanKind::Ballot, None),
            (&of_table, OrphanKind::Ballot, Some(BEGINNING - 10)),
            (&probe, OrphanKind::Probe, Some(BEGINNING - 20)),
            (named, OrphanKind::Legacy, Some(BEGINNING)),
            (loaded, OrphanKind::Legacy, Some(loaded_at)),
            (without_age, OrphanKind::Legacy, None),
            (&temporary, OrphanKind::TemporaryTable, Some(BEGINNING - 10)),
            (&probe, OrphanKind::Probe, Some(BEGINNING - 20)),
            (LEGACY_TABLE, OrphanKind::Legacy, Some(BEGINNING)),
        ]
        .map(|(name, kind, since)| (name.to_owned(), kind, since));
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(seen, expected);
        let shown = orphans.iter().find(|orphan| orphan.object.name() == own).unwrap();
        assert_eq!((&shown.place, shown.status.as_str()), (&format!("{database}.{TABLE}"), "uploading"));

        for orphan in &orphans {
            remove_orphan(&client, orphan).await.unwrap();
        }
        let sessions: Vec<_> = world.control().sessions().into_iter().map(|session| session.name).collect();
        assert_eq!(sessions, ["somebody_elses", &other_protocol]);
        let tables: Vec<_> = world.control().tables().into_iter().map(|(_, table)| table).collect();
        assert_eq!(tables, [TABLE, INVALID_TABLE]);
    });
}

#[test]
fn names_that_this_program_did_not_create_are_never_sent() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let client = world.services(&world.settings()).treasure_data;
        let database = world.database().parse().unwrap();
        for object in [
            OrphanObject::Session("somebody_elses".parse().unwrap()),
            OrphanObject::Table(database, TABLE.parse().unwrap()),
        ] {
            let (place, status) = (String::new(), String::new());
            let orphan = Orphan { object, kind: OrphanKind::Legacy, place, status, since: None };
            remove_orphan(&client, &orphan).await.unwrap();
        }
        assert_eq!(world.requests(), 0);
    });
}

#[test]
fn what_an_unfinished_run_of_this_machine_needs_is_recognised_by_its_nonce_or_its_id() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        let run = world.saved().unwrap();
        let fingerprint = run.target.fingerprint();
        let ballot = |run_id: &str| format!("yotpo_td_v1_{fingerprint}_a00_{run_id}");
        for (name, verdict) in [
            (world.own_session(), Verdict::Unfinished),
            (ballot(run.run_id.as_str()), Verdict::Unfinished),
            (ballot("weekly"), Verdict::Remove),
        ] {
            let object = OrphanObject::Session(name.parse().unwrap());
            let (place, status) = (String::new(), String::new());
            let orphan = Orphan { object, kind: OrphanKind::Ballot, place, status, since: Some(0) };
            let unfinished = std::slice::from_ref(&run);
            let day = Duration::from_secs(86_400);
            assert_eq!(orphan.verdict(unfinished, BEGINNING, day, day), verdict, "{name}");
        }
    });
}

#[test]
fn a_sweep_of_old_runs_that_fails_removes_nothing_and_fails_nothing() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let client = world.services(&world.settings()).treasure_data;
        let fingerprint = world.settings().load.target.fingerprint();
        assert!(world.control().create_table(world.database(), TABLE));
        let nonce = Nonce::new(BEGINNING - 9 * 86_400, 7).unwrap();
        let run_id = "nightly".parse().unwrap();
        let old = OwnSessionName::new(fingerprint, &run_id, nonce, TableId::from_api("5"), None).render();
        create_session(&world, &client, old.as_str(), TABLE).await;
        let lifetime = Duration::from_secs(5 * 86_400);
        let sweep = || sweep_stale_runs(&client, fingerprint, BEGINNING, lifetime);
        for operation in [Operation::ListSessions, Operation::DeleteSession] {
            let (service, target) = (Service::TreasureData, FaultTarget::EveryOf(operation));
            let fault = Fault { service, target, kind: FaultKind::Status(400, None) };
            world.control().set_faults(FaultPlan { faults: vec![fault] });
            sweep().await;
            assert_eq!(world.control().operation_requests(operation), 1, "{operation:?}");
            assert_eq!(world.leftovers(), [old.as_str()], "{operation:?}");
            world.control().set_faults(FaultPlan::none());
        }
        sweep().await;
        assert_eq!(world.leftovers(), [""; 0]);
    });
}
