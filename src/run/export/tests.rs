use std::num::NonZeroUsize;

use super::*;
use crate::identity::OwnPart;
use crate::part::CompressionLevel;
use crate::transfer::{PartSettings, TransferSettings};
use crate::yotpo::MemberCount;

const STARTED: u64 = 1_795_406_400;
const HOUR: u64 = 3_600;

fn settings() -> ExportSettings {
    ExportSettings {
        store: "store".parse().unwrap(),
        yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
        transfer: TransferSettings {
            page_size: 100,
            parts: PartSettings {
                max_rows: NonZeroUsize::MIN,
                closing_size: 0,
                level: CompressionLevel::FASTEST,
            },
            upload_workers: NonZeroUsize::MIN,
            loyalty_check: LoyaltyCheck::On,
            max_error_records: 0,
        },
        quarantine_directory: None,
        policy: ResumePolicy::Within(Duration::from_secs(6 * HOUR)),
        run_id: None,
    }
}

/// An export with one part.
fn interrupted() -> Manifest {
    let part = crate::export::ManifestPart {
        name: OwnPart::new(0, b"part").render(),
        rows: 100,
        rejected_customers: 0,
        bytes: 4,
        row_bytes: 9,
        sha256: crate::identity::Sha256Sum::of(b"part"),
    };
    Manifest {
        run_id: "monday".parse().unwrap(),
        store_id: "store".parse().unwrap(),
        yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
        time: STARTED,
        is_complete: false,
        started_at: STARTED,
        updated_at: STARTED,
        page_size: 100,
        position: Position::Start,
        loyalty: LoyaltyCounts::default(),
        rows: 100,
        rejected_customers: 0,
        parts: vec![part],
    }
}

fn planned(manifest: Manifest, settings: &ExportSettings, now: u64) -> Result<Plan, String> {
    let directory = tempfile::tempdir().unwrap();
    let directory = ExportDirectory::create(directory.path()).unwrap();
    plan(Some(manifest), settings, &directory, now).map_err(|error| error.to_string())
}

fn reason(plan: Result<Plan, String>) -> Option<String> {
    match plan {
        Ok(Plan::Start { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interrupted_export_is_resumed_within_the_limit_and_a_complete_one_is_kept() {
    let resumes = |now| planned(interrupted(), &settings(), now);
    assert_eq!(resumes(STARTED + 6 * HOUR), Ok(Plan::Resume(Box::new(interrupted()))));
    let expected = Some("it is older than --resume-within 6h".to_owned());
    assert_eq!(reason(resumes(STARTED + 6 * HOUR + 1)), expected);
    let complete = Manifest { is_complete: true, ..interrupted() };
    assert_eq!(planned(complete, &settings(), STARTED + 1_000 * HOUR), Ok(Plan::Keep));
    let empty = Manifest { parts: Vec::new(), rows: 0, ..interrupted() };
    assert_eq!(reason(planned(empty, &settings(), STARTED)), None);
}

#[test]
fn an_export_that_the_settings_do_not_mean_starts_over() {
    let mut lost = interrupted();
    lost.loyalty.add_page(MemberCount { customers: 100, with_loyalty_data: 100 });
    lost.loyalty.add_page(MemberCount { customers: 100, with_loyalty_data: 0 });
    let without_loyalty_data = Some("its customers lack loyalty data".to_owned());
    assert_eq!(reason(planned(lost.clone(), &settings(), STARTED)), without_loyalty_data);
    let mut unchecked = settings();
    unchecked.transfer.loyalty_check = LoyaltyCheck::Off;
    assert_eq!(planned(lost.clone(), &unchecked, STARTED), Ok(Plan::Resume(Box::new(lost))));
    let mut pages = settings();
    pages.transfer.page_size = 50;
    let expected = Some("its --page-size is different".to_owned());
    assert_eq!(reason(planned(interrupted(), &pages, STARTED)), expected);
    let fresh = ExportSettings { policy: ResumePolicy::Never, ..settings() };
    assert_eq!(reason(planned(interrupted(), &fresh, STARTED)), Some("--fresh is set".to_owned()));
}

#[test]
fn an_export_of_something_else_is_never_touched_not_even_by_fresh() {
    for policy in [settings().policy, ResumePolicy::Never] {
        let other = |change: fn(&mut Manifest)| {
            let mut manifest = Manifest { is_complete: true, ..interrupted() };
            change(&mut manifest);
            let settings = ExportSettings { policy, ..settings() };
            planned(manifest, &settings, STARTED).unwrap_err()
        };
        let store = other(|manifest| manifest.store_id = "another".parse().unwrap());
        assert!(store.ends_with("holds an export of store another, and the settings name store"), "{store}");
        let server = other(|manifest| manifest.yotpo_endpoint = "http://127.0.0.1:1/".to_owned());
        assert!(server.contains("holds an export of the server http://127.0.0.1:1/,"), "{server}");
    }
    let tuesday = ExportSettings { run_id: Some("tuesday".parse().unwrap()), ..settings() };
    let run = planned(interrupted(), &tuesday, STARTED).unwrap_err();
    assert!(run.ends_with("holds an export of run monday, and the settings name tuesday"), "{run}");
    let monday = ExportSettings { run_id: Some("monday".parse().unwrap()), ..settings() };
    assert_eq!(planned(interrupted(), &monday, STARTED), Ok(Plan::Resume(Box::new(interrupted()))));
}

#[test]
fn a_resumed_export_continues_with_the_counts_of_earlier_processes() {
    let mut manifest = interrupted();
    manifest.loyalty.add_page(MemberCount { customers: 100, with_loyalty_data: 40 });
    manifest.position = Position::End { page: 3, ended_by: crate::yotpo::EndedBy::ShortPage };
    manifest.rejected_customers = 7;
    let expected = ProgressSnapshot {
        pages: 3,
        customers: 107,
        customers_with_loyalty_data: 40,
        parts: 1,
        ..ProgressSnapshot::default()
    };
    assert_eq!(counted_before(&manifest), expected);
}
