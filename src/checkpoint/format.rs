//! The content of the state file; its form is that of [`sealed`] files.
//!
//! Versions
//! 1 and 2 are from releases without ballots: their run is read as a [`LegacyRun`], which is never resumed. Version 1
//! contained only the run; version 2 also contained the last success.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sealed::{self, SealError};
use super::state::{FinishedAs, FinishedRun, LegacyRun, RunState};
use crate::identity::RunId;

/// The version that is written.
pub const VERSION: u32 = 3;
const MAGIC: &str = "yotpo-td state";

/// What a state file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The unfinished run.
    pub(super) run: Option<RunState>,
    /// The unfinished run of an earlier release; never written.
    #[serde(skip)]
    pub(super) legacy: Option<LegacyRun>,
    /// Successful runs, the newest first.
    pub(super) history: Vec<FinishedRun>,
}

/// Version 2.
#[derive(Deserialize)]
struct Version2 {
    run: Option<LegacyRun>,
    last_success: Option<LastSuccess>,
}

#[derive(Deserialize)]
struct LastSuccess {
    run_id: RunId,
    customers: u64,
    pages: u64,
    finished_at: u64,
}

/// Why a state file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It does not begin like a state file.
    #[error("it is not a state file, or its beginning is damaged")]
    NotAState,
    /// Its checksum does not match its content.
    #[error("it is damaged: its checksum does not match")]
    Checksum,
    /// It was written by a newer version of this program.
    #[error("it has format version {found}; this program knows versions up to {VERSION}")]
    TooNew {
        /// The version in the file.
        found: u32,
    },
    /// It is intact, but its content does not match its version.
    #[error("its content does not match format version {version}")]
    Content {
        /// The version in the file.
        version: u32,
    },
}

pub(super) fn encode(saved: &Saved) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_string(saved)?;
    Ok(seal(VERSION, &body))
}

/// A file with this content.
pub(super) fn seal(version: u32, body: &str) -> Vec<u8> {
    sealed::seal(MAGIC, version, body)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Saved, FormatError> {
    let (version, body) = sealed::open(MAGIC, bytes)?;
    match version {
        1 => parse(version, body).map(|run| Saved { legacy: Some(run), ..Saved::default() }),
        2 => parse(version, body).map(Version2::upgraded),
        VERSION => parse(version, body),
        found => Err(FormatError::TooNew { found }),
    }
}

impl From<SealError> for FormatError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::NoHeader => Self::NotAState,
            SealError::Checksum => Self::Checksum,
        }
    }
}

fn parse<T: DeserializeOwned>(version: u32, body: &str) -> Result<T, FormatError> {
    serde_json::from_str(body).map_err(|_parsing| FormatError::Content { version })
}

impl Version2 {
    fn upgraded(self) -> Saved {
        let history = self.last_success.into_iter().map(LastSuccess::upgraded).collect();
        Saved { run: None, legacy: self.run, history }
    }
}

impl LastSuccess {
    fn upgraded(self) -> FinishedRun {
        let Self { run_id, customers, pages, finished_at } = self;
        FinishedRun {
            run_id,
            store_id: None,
            mode: None,
            outcome: if customers == 0 { FinishedAs::Emptied } else { FinishedAs::Committed },
            joined: false,
            ingestion_time: None,
            rows: Some(customers),
            customers,
            customers_with_loyalty_data: 0,
            pages,
            error_records: 0,
            ended_by: None,
            job_id: None,
            started_at: finished_at,
            finished_at,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::checkpoint::LegacyPhase;
    use crate::checkpoint::{RunPhase, SavedSet};
    use crate::identity::{Mode, Nonce, PartsDigest, TableId, TableSuffix, example_target};
    use crate::yotpo::{CursorQuery, EndedBy, LoyaltyCounts, MemberCount, Position};
    use proptest::prelude::*;

    pub(in crate::checkpoint) fn example() -> RunState {
        let cursor = serde_json::from_str("\"eyJsYXN0X2lkIjoxMDAwfQ==\"").unwrap();
        let member_count = MemberCount { customers: 100, with_loyalty_data: 40 };
        RunState {
            run_id: "20261123T040000Z-9f1c02ab".parse().unwrap(),
            keeps_marker: false,
            target: example_target("yotpo_customers"),
            mode: Mode::Append,
            page_size: 100,
            started_at: 1_795_406_400,
            updated_at: 1_795_406_460,
            phase: RunPhase::Uploading,
            set: Some(SavedSet {
                nonce: Nonce::new(1_795_406_400, 0x0123_4567_89ab_cdef).unwrap(),
                target_id: TableId::from_api("284213"),
                table_id: None,
                content: TableSuffix::Rows,
                proposed: false,
                totals: None,
            }),
            position: Position::After { page: 10, cursor, query: Some(CursorQuery::Filters) },
            loyalty: LoyaltyCounts { first_page: member_count, later_pages: member_count },
            parts: 1,
            parts_digest: PartsDigest::default().with("part_00000000_e3b0c44298fc1c14"),
            rows: 1_000,
            rejected_customers: 0,
            error_records: 0,
            job_id: None,
            export: None,
        }
    }

    pub(in crate::checkpoint) fn finished(run_id: &str) -> FinishedRun {
        FinishedRun {
            run_id: run_id.parse().unwrap(),
            store_id: Some("store".parse().unwrap()),
            mode: Some(Mode::Append),
            outcome: FinishedAs::Committed,
            joined: false,
            ingestion_time: Some(1_795_320_000),
            rows: Some(7),
            customers: 8,
            customers_with_loyalty_data: 3,
            pages: 1,
            error_records: 1,
            ended_by: Some(EndedBy::LastPage),
            job_id: Some("4711".to_owned()),
            started_at: 1_795_320_000,
            finished_at: 1_795_320_005,
        }
    }

    fn saved() -> Saved {
        Saved { run: Some(example()), legacy: None, history: vec![finished("earlier")] }
    }

    #[test]
    fn a_written_state_is_read_back() {
        assert_eq!(decode(&encode(&saved()).unwrap()).unwrap(), saved());
        assert_eq!(decode(&encode(&Saved::default()).unwrap()).unwrap(), Saved::default());
    }

    #[test]
    fn a_released_file_of_each_version_is_read() {
        let read = |file: &[u8]| decode(file).unwrap();
        let run = read(include_bytes!("../../tests/fixtures/state/version-3.state"));
        // Written before finished runs had a store.
        let earlier = FinishedRun { store_id: None, ..finished("earlier") };
        assert_eq!(run, Saved { history: vec![earlier], ..saved() });
        let legacy = LegacyRun {
            run_id: example().run_id,
            target: example().target,
            mode: Mode::Replace,
            ingestion_time: 1_795_406_400,
            session: "yotpo_td_00000000_20261123T040000Z-9f1c02ab".parse().unwrap(),
            temporary_table: Some(
                "yotpo_td_tmp_00000000_20261123t040000z_9f1c02ab_12345678".parse().unwrap(),
            ),
            phase: LegacyPhase::Committing,
            loaded_rows: Some(1_000),
        };
        let version_2 = read(include_bytes!("../../tests/fixtures/state/version-2.state"));
        assert_eq!((version_2.run, version_2.legacy), (None, Some(legacy.clone())));
        let [success] = &version_2.history[..] else { panic!("one success") };
        assert_eq!((success.run_id.as_str(), success.rows, success.pages), ("earlier", Some(7), 1));
        let version_1 = read(include_bytes!("../../tests/fixtures/state/version-1.state"));
        let uploading = LegacyRun { phase: LegacyPhase::Uploading, loaded_rows: None, ..legacy };
        assert_eq!(version_1, Saved { legacy: Some(uploading), ..Saved::default() });
    }

    #[test]
    fn a_success_of_version_2_without_customers_emptied_the_table() {
        for (customers, expected) in [(0, FinishedAs::Emptied), (1, FinishedAs::Committed)] {
            let success = format!(
                r#"{{"run_id":"earlier","customers":{customers},"pages":1,"finished_at":1795320005}}"#
            );
            let body = format!(r#"{{"run":null,"last_success":{success}}}"#);
            let history = decode(&seal(2, &body)).unwrap().history;
            let found: Vec<_> = history.iter().map(|run| (run.outcome, run.customers)).collect();
            assert_eq!(found, [(expected, customers)]);
        }
    }

    #[test]
    fn a_newer_version_is_reported() {
        assert_eq!(decode(&seal(9, "{}")), Err(FormatError::TooNew { found: 9 }));
    }

    #[test]
    fn a_version_that_is_not_canonical_is_damage() {
        let whole = String::from_utf8(encode(&saved()).unwrap()).unwrap();
        for spelling in ["+3", "03", "3.0", ""] {
            let changed = whole.replacen(" 3 ", &format!(" {spelling} "), 1);
            assert_eq!(decode(changed.as_bytes()), Err(FormatError::NotAState), "{spelling}");
        }
        assert_eq!(decode(&seal(0, "{}")), Err(FormatError::NotAState));
    }

    #[test]
    fn every_truncation_is_detected() {
        let whole = encode(&saved()).unwrap();
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let whole = encode(&saved()).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
