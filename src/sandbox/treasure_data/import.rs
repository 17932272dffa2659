//! An import: every part of a session is read and judged.
//!
//! Owns the counting of valid and bad records and parts, and the sample of bad records that clients can fetch. A part
//! that cannot be read to its end is an error part and none of its records is loaded. Blocking; memory does not grow
//! with the parts.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::decode::{PartError, RecordError, check_record, fields, guessed_type, open_part};
use super::super::spool::SpoolFile;
use super::state::LoadedPart;

/// Bad records that are kept for clients to fetch.
const MOST_ERROR_RECORDS: u64 = 1_000;
/// Bad records longer than this are described only.
const LONGEST_ERROR_RECORD: usize = 1_024;
/// Columns that are noticed.
const MOST_COLUMNS: usize = 1_000;
/// How many records are read between two looks at the cancellation.
const RECORDS_PER_LOOK: u64 = 1_024;

/// What an import found.
#[derive(Debug, Default)]
pub(super) struct Imported {
    pub(super) valid_records: u64,
    pub(super) error_records: u64,
    pub(super) valid_parts: u64,
    pub(super) error_parts: u64,
    /// The valid parts, in the order of their names.
    pub(super) parts: Vec<LoadedPart>,
    /// Column names and guessed types in the order of appearance.
    pub(super) columns: Vec<(String, &'static str)>,
    pub(super) latest_time: Option<i64>,
    /// Gzip of the bad records as MessagePack maps.
    pub(super) error_sample: Vec<u8>,
}

struct Sample {
    encoder: GzEncoder<Vec<u8>>,
    kept: u64,
}

struct JudgedPart {
    valid: u64,
    bad: u64,
    latest_time: Option<i64>,
}

impl Imported {
    /// One line for the output of the job.
    pub(super) fn summary(&self) -> String {
        format!(
            "valid records: {}, error records: {}, valid parts: {}, error parts: {}",
            self.valid_records, self.error_records, self.valid_parts, self.error_parts
        )
    }
}

/// Reads all parts; stops early when `cancelled`.
pub(super) fn import(parts: &[(String, SpoolFile)], cancelled: &AtomicBool) -> Imported {
    let mut imported = Imported::default();
    let mut sample = Sample { encoder: GzEncoder::new(Vec::new(), Compression::fast()), kept: 0 };
    for (name, file) in parts {
        match judge_part(name, file, &mut imported.columns, &mut sample, cancelled) {
            Ok(judged) => {
                imported.valid_parts += 1;
                imported.valid_records += judged.valid;
                imported.error_records += judged.bad;
                imported.latest_time = imported.latest_time.max(judged.latest_time);
                imported.parts.push(LoadedPart { file: file.clone(), records: judged.valid });
            }
            Err(_unreadable) => imported.error_parts += 1,
        }
    }
    imported.error_sample = sample.encoder.finish().unwrap_or_default();
    imported
}

fn judge_part(
    name: &str,
    file: &SpoolFile,
    columns: &mut Vec<(String, &'static str)>,
    sample: &mut Sample,
    cancelled: &AtomicBool,
) -> Result<JudgedPart, PartError> {
    let mut reader = open_part(file)?;
    let mut judged = JudgedPart { valid: 0, bad: 0, latest_time: None };
    while let Some(record) = reader.next_record()? {
        match check_record(record) {
            Ok(time) => {
                judged.valid += 1;
                judged.latest_time = judged.latest_time.max(Some(time));
                notice_columns(record, columns);
            }
            Err(reason) => {
                judged.bad += 1;
                sample.add(name, reason, record);
            }
        }
        if (judged.valid + judged.bad).is_multiple_of(RECORDS_PER_LOOK) && cancelled.load(Ordering::Relaxed) {
            return Err(PartError::Truncated);
        }
    }
    Ok(judged)
}

fn notice_columns(record: &[u8], columns: &mut Vec<(String, &'static str)>) {
    for (at, field) in fields(record).into_iter().flatten().enumerate() {
        let Some(field) = field else { continue };
        // Records mostly have the same columns in the same order.
        let known = |(name, _): &(String, &str)| name.as_bytes() == field.key;
        if columns.get(at).is_some_and(known) || columns.iter().any(known) || columns.len() >= MOST_COLUMNS {
            continue;
        }
        if let Some(kind) = guessed_type(field.value) {
            columns.push((String::from_utf8_lossy(field.key).into_owned(), kind));
        }
    }
}

impl Sample {
    fn add(&mut self, part: &str, reason: RecordError, record: &[u8]) {
        if self.kept >= MOST_ERROR_RECORDS {
            return;
        }
        self.kept += 1;
        let mut entry = vec![0x83];
        for text in ["error", &reason.to_string(), "part", part, "record"] {
            // Writing to memory cannot fail.
            let _written = rmp::encode::write_str(&mut entry, text);
        }
        entry.extend_from_slice(if record.len() <= LONGEST_ERROR_RECORD { record } else { &[0xc0] });
        let _written = self.encoder.write_all(&entry);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::spool::Spool;
    use super::*;

    fn spooled(folder: &std::path::Path, bytes: &[u8]) -> SpoolFile {
        let mut writer = Spool::new(folder).create().unwrap();
        writer.write(bytes).unwrap();
        writer.finish()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    const GOOD: &[u8] = b"\x82\xa4time\x07\xa1a\xa1x";
    const BAD: &[u8] = b"\x81\xa1a\xa1x";

    fn judge(parts: &[Vec<u8>]) -> Imported {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| {
                let folder = tempfile::tempdir().unwrap().keep();
                (format!("part-{}", part.len()), spooled(&folder, part))
            })
            .collect();
        import(&parts, &AtomicBool::new(false))
    }

    #[test]
    fn bad_records_are_counted_and_kept_while_good_ones_load() {
        let imported = judge(&[gzip(&[GOOD, BAD, GOOD].concat()), gzip(&[])]);
        assert_eq!((imported.valid_records, imported.error_records), (2, 1));
        assert_eq!((imported.valid_parts, imported.error_parts), (2, 0));
        assert_eq!(imported.columns, [("time".to_owned(), "long"), ("a".to_owned(), "string")]);
        assert_eq!(imported.latest_time, Some(7));
        let mut sample = super::super::super::decode::PartReader::new(flate2::read::GzDecoder::new(
            imported.error_sample.as_slice(),
        ));
        let entry = super::super::super::decode::to_json(sample.next_record().unwrap().unwrap());
        assert_eq!(entry["record"], serde_json::json!({"a": "x"}));
        assert_eq!(entry["error"], "the record has no time");
    }

    #[test]
    fn unreadable_parts_load_nothing() {
        let good = gzip(&[GOOD, GOOD].concat());
        let parts = [
            good[..good.len() - 9].to_vec(),
            GOOD.to_vec(),
            Vec::new(),
            gzip(&[GOOD, b"\xc1"].concat()),
            gzip(&[GOOD, b"\x82\xa4time"].concat()),
        ];
        let imported = judge(&parts);
        assert_eq!((imported.valid_records, imported.valid_parts, imported.error_parts), (0, 0, 5));
    }

    #[test]
    fn several_gzip_members_are_one_part() {
        let imported = judge(&[[gzip(GOOD), gzip(GOOD)].concat()]);
        assert_eq!((imported.valid_records, imported.error_parts), (2, 0));
    }
}
