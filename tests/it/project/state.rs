//! `docs/state.md` lists every field of the files that a run saves, and none that they do not have.
//!
//! The values are complete struct literals, so a new field does not compile before it is here, and the test then fails until the page
//! has it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use yotpo_td::checkpoint::{
    ExportOrigin, FinishedAs, FinishedRun, Holder, ProcessLock, RunPhase, RunState, SavedSet, StateStore,
};
use yotpo_td::export::{Manifest, ManifestPart};
use yotpo_td::identity::{
    Mode, Nonce, OwnPart, PartTotals, PartsDigest, Sha256Sum, TableId, TableSuffix, Target,
};
use yotpo_td::yotpo::{CursorQuery, EndedBy, LoyaltyCounts, MemberCount, Position};

const TIME: u64 = 1_795_406_400;

fn target() -> Target {
    Target {
        store: "store".parse().unwrap(),
        yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
        treasure_data_endpoint: "https://api.treasuredata.com/".to_owned(),
        database: "database".parse().unwrap(),
        table: "yotpo_customers".parse().unwrap(),
    }
}

/// One of each form.
fn positions() -> [Position; 3] {
    let cursor = serde_json::from_str("\"eyJsYXN0X2lkIjoxMDAwfQ==\"").unwrap();
    [
        Position::Start,
        Position::After { page: 10, cursor, query: Some(CursorQuery::Filters) },
        Position::End { page: 11, ended_by: EndedBy::LastPage },
    ]
}

fn loyalty() -> LoyaltyCounts {
    let count = MemberCount { customers: 100, with_loyalty_data: 40 };
    LoyaltyCounts { first_page: count, later_pages: count }
}

fn run(position: Position, set: Option<SavedSet>) -> RunState {
    RunState {
        run_id: "20260131".parse().unwrap(),
        keeps_marker: true,
        target: target(),
        mode: Mode::Replace,
        page_size: 100,
        started_at: TIME,
        updated_at: TIME,
        phase: RunPhase::Uploading,
        set,
        position,
        loyalty: loyalty(),
        parts: 1,
        parts_digest: PartsDigest::default(),
        rows: 1_000,
        rejected_customers: 0,
        error_records: 0,
        job_id: Some("4711".to_owned()),
        export: Some(ExportOrigin { sha256: Sha256Sum::of(b""), time: TIME }),
    }
}

/// None, one without totals, and one with them.
fn sets() -> [Option<SavedSet>; 3] {
    let set = |totals| SavedSet {
        nonce: Nonce::new(TIME, 1).unwrap(),
        target_id: TableId::from_api("284213"),
        table_id: Some(TableId::from_api("284214")),
        content: TableSuffix::Rows,
        proposed: true,
        totals,
    };
    [None, Some(set(None)), Some(set(Some(PartTotals { parts: 1, valid: 1_000, rejected: 0 })))]
}

fn finished() -> FinishedRun {
    FinishedRun {
        run_id: "20260130".parse().unwrap(),
        store_id: Some("store".parse().unwrap()),
        mode: Some(Mode::Replace),
        outcome: FinishedAs::Committed,
        joined: false,
        ingestion_time: Some(TIME),
        rows: Some(7),
        customers: 8,
        customers_with_loyalty_data: 3,
        pages: 1,
        error_records: 1,
        ended_by: Some(EndedBy::LastPage),
        job_id: Some("4711".to_owned()),
        started_at: TIME,
        finished_at: TIME,
    }
}

fn manifest(position: Position) -> Manifest {
    let part = ManifestPart {
        name: OwnPart::new(0, b"body").render(),
        rows: 1_000,
        rejected_customers: 0,
        bytes: 4,
        row_bytes: 8,
        sha256: Sha256Sum::of(b"body"),
    };
    Manifest {
        run_id: "20260131".parse().unwrap(),
        store_id: "store".parse().unwrap(),
        yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
        time: TIME,
        is_complete: false,
        started_at: TIME,
        updated_at: TIME,
        page_size: 100,
        position,
        loyalty: loyalty(),
        rows: 1_000,
        rejected_customers: 0,
        parts: vec![part],
    }
}

/// Adds the path of each value that is no object or list.
fn add_paths(paths: &mut BTreeSet<String>, path: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                add_paths(paths, &path, value);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| add_paths(paths, &format!("{path}[]"), item)),
        _ => {
            paths.insert(path.to_owned());
        }
    }
}

/// The fields in the table below a heading of the page.
fn documented(heading: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/state.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the page has the heading");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_field_of_the_state_file_is_documented() {
    let directory = tempfile::tempdir().unwrap();
    let store = StateStore::open(&directory.path().join("state"), &target()).unwrap();
    let mut paths = BTreeSet::new();
    for (position, set) in positions().into_iter().zip(sets()) {
        store.save_finished(finished()).unwrap();
        store.save_run(&run(position, set)).unwrap();
        let text = std::fs::read_to_string(store.path()).unwrap();
        let (header, body) = text.split_once('\n').unwrap();
        assert!(header.starts_with("yotpo-td state 3 "), "docs/state.md names the version: {header}");
        add_paths(&mut paths, "", &serde_json::from_str(body).unwrap());
    }
    assert_eq!(documented("The state file"), paths);
}

#[test]
fn every_field_of_the_lock_file_is_documented() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let holder = Holder { pid: 4711, run_id: "20260131".to_owned(), started_at: TIME };
    let _lock = ProcessLock::take(&path, &holder).unwrap();
    let mut paths = BTreeSet::new();
    add_paths(&mut paths, "", &serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    assert_eq!(documented("The lock file"), paths);
}

#[test]
fn every_field_of_a_manifest_is_documented() {
    let mut paths = BTreeSet::new();
    for position in positions() {
        let text = manifest(position).encode().unwrap();
        add_paths(&mut paths, "", &serde_json::from_slice(&text).unwrap());
    }
    assert_eq!(documented("The manifest of an export"), paths);
}
