//! The state file's format: one header line and one line of JSON.
//!
//! ```text
//! yotpo-td state 2 8c3f01aa
//! {"run_id":"20261123T040000Z-9f1c02ab", …}
//! ```
//!
//! The last word of the header is the CRC-32 of everything else, so that any truncation or flipped bit is noticed.
//! Version 1 had neither marker nor refused customers; it is read as if both were none.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::state::{LastSuccess, RunState};

/// The version that is written.
const VERSION: u32 = 2;
const MAGIC: &str = "yotpo-td state";

/// What a state file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The run that is unfinished, or ended last.
    pub(super) run: Option<RunState>,
    /// The last run that succeeded.
    pub(super) last_success: Option<LastSuccess>,
}

/// A state file that cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It does not begin as a state file does.
    #[error("it is no state file, or its beginning is damaged")]
    NotAState,
    /// Its checksum does not fit its content.
    #[error("it is damaged: its checksum does not fit")]
    Checksum,
    /// It was written by a later version of this program.
    #[error("it has format version {found}; this program knows versions up to {VERSION}")]
    TooNew {
        /// The version in the file.
        found: u32,
    },
    /// It is intact, but not what the version should hold.
    #[error("it does not hold what version {version} should")]
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
    format!("{MAGIC} {version} {:08x}\n{body}\n", checksum(version, body)).into_bytes()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Saved, FormatError> {
    let text = std::str::from_utf8(bytes).map_err(|_not_text| FormatError::NotAState)?;
    let (header, rest) = text.split_once('\n').ok_or(FormatError::NotAState)?;
    let words = header.strip_prefix(MAGIC).and_then(|words| words.strip_prefix(' '));
    let (version, expected) = words.and_then(|words| words.split_once(' ')).ok_or(FormatError::NotAState)?;
    let version = version_in(version).ok_or(FormatError::NotAState)?;
    let body = rest.strip_suffix('\n').ok_or(FormatError::Checksum)?;
    if format!("{:08x}", checksum(version, body)) != expected {
        return Err(FormatError::Checksum);
    }
    match version {
        1 => parse(version, &upgraded(body).ok_or(FormatError::Content { version })?),
        2 => parse(version, body),
        found => Err(FormatError::TooNew { found }),
    }
}

/// A version as it is written: a sign or a leading zero would be a change that the checksum does not cover.
fn version_in(word: &str) -> Option<u32> {
    word.parse().ok().filter(|version: &u32| *version > 0 && version.to_string() == word)
}

fn parse<T: DeserializeOwned>(version: u32, body: &str) -> Result<T, FormatError> {
    serde_json::from_str(body).map_err(|_parsing| FormatError::Content { version })
}

/// Version 1 was the run alone, without the keys that came with version 2.
fn upgraded(body: &str) -> Option<String> {
    let mut run: Value = serde_json::from_str(body).ok()?;
    let fields = run.as_object_mut()?;
    fields.insert("keeps_marker".to_owned(), Value::Bool(false));
    fields.insert("refused_customers".to_owned(), Value::from(0));
    Some(serde_json::json!({ "run": run, "last_success": null }).to_string())
}

fn checksum(version: u32, body: &str) -> u32 {
    crc32fast::hash(format!("{MAGIC} {version}\n{body}\n").as_bytes())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::checkpoint::RunPhase;
    use crate::identity::{Mode, Target};
    use proptest::prelude::*;

    pub(in crate::checkpoint) fn example() -> RunState {
        RunState {
            run_id: "20261123T040000Z-9f1c02ab".to_owned(),
            keeps_marker: false,
            target: Target {
                store: "store".parse().unwrap(),
                yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
                treasure_data_endpoint: "https://api.treasuredata.com/".to_owned(),
                database: "database".parse().unwrap(),
                table: "yotpo_customers".parse().unwrap(),
            },
            mode: Mode::Append,
            page_size: 100,
            ingestion_time: 1_795_406_400,
            started_at: 1_795_406_400,
            updated_at: 1_795_406_460,
            session: "yotpo_td_00000000_20261123T040000Z-9f1c02ab".to_owned(),
            temporary_table: None,
            phase: RunPhase::Uploading,
            cursor: Some("eyJsYXN0X2lkIjoxMDAwfQ==".to_owned()),
            limit_only: Some(false),
            ended_by: None,
            loyalty: crate::yotpo::LoyaltyCounts::default(),
            pages: 10,
            customers: 1_000,
            parts: 1,
            refused_customers: 0,
            expected_rows: None,
            loaded_rows: None,
            job: None,
        }
    }

    fn saved() -> Saved {
        Saved { run: Some(example()), last_success: None }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode(&encode(&saved()).unwrap()).unwrap(), saved());
        assert_eq!(decode(&encode(&Saved::default()).unwrap()).unwrap(), Saved::default());
    }

    #[test]
    fn version_1_is_read() {
        let mut run = serde_json::to_value(example()).unwrap();
        run.as_object_mut().unwrap().remove("keeps_marker");
        run.as_object_mut().unwrap().remove("refused_customers");
        let body = run.to_string();
        let file = format!("{MAGIC} 1 {:08x}\n{body}\n", checksum(1, &body));
        assert_eq!(decode(file.as_bytes()).unwrap(), saved());
    }

    #[test]
    fn a_later_version_is_named() {
        let file = format!("{MAGIC} 9 {:08x}\n{{}}\n", checksum(9, "{}"));
        assert_eq!(decode(file.as_bytes()), Err(FormatError::TooNew { found: 9 }));
    }

    #[test]
    fn a_version_in_another_spelling_is_damage() {
        let whole = String::from_utf8(encode(&saved()).unwrap()).unwrap();
        for spelling in ["+2", "02", "2.0", ""] {
            let changed = whole.replacen(" 2 ", &format!(" {spelling} "), 1);
            assert_eq!(decode(changed.as_bytes()), Err(FormatError::NotAState), "{spelling}");
        }
        assert_eq!(decode(&seal(0, "{}")), Err(FormatError::NotAState));
    }

    #[test]
    fn every_truncation_is_noticed() {
        let whole = encode(&saved()).unwrap();
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
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
