//! Imports: reads and validates every part of a session.
//!
//! Owns the counts of valid and bad records and parts, and the sample of bad records that clients can fetch. A part
//! that cannot be read completely is an error part, and none of its records is loaded. A part is read once, as soon as
//! it was uploaded, so that the import has little left to do. Blocking. Memory does not grow with valid parts.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::decode::{PartError, RecordError, check_record, fields, guessed_type, open_part};
use super::super::spool::SpoolFile;
use super::loaded_part::LoadedPart;

/// Maximum number of bad records that clients can fetch.
const MAX_ERROR_RECORDS: usize = 1_000;
/// Only the reason is kept for larger bad records.
const MAX_ERROR_RECORD_SIZE: usize = 1_024;
/// Maximum number of columns that are detected.
const MAX_COLUMNS: usize = 1_000;

/// A part of a session. Clones share its validation.
#[derive(Clone, Debug)]
pub(super) struct UploadedPart {
    file: SpoolFile,
    validation: Arc<OnceLock<Validation>>,
}

/// The result of an import.
#[derive(Debug, Default)]
pub(super) struct Imported {
    pub(super) valid_records: u64,
    pub(super) error_records: u64,
    pub(super) valid_parts: u64,
    pub(super) error_parts: u64,
    /// The valid parts, sorted by name.
    pub(super) parts: Vec<LoadedPart>,
    /// Column names and inferred types in the order of appearance.
    pub(super) columns: Vec<(String, &'static str)>,
    pub(super) latest_time: Option<i64>,
    /// Gzip of the bad records as MessagePack maps.
    pub(super) error_sample: Vec<u8>,
}

/// The result of reading a part.
#[derive(Debug, Default)]
struct Validation {
    /// Whether it can be read completely.
    readable: bool,
    valid: u64,
    bad: u64,
    latest_time: Option<i64>,
    columns: Vec<(String, &'static str)>,
    /// The first of the bad records.
    bad_records: Vec<BadRecord>,
}

#[derive(Debug)]
struct BadRecord {
    reason: RecordError,
    /// `None` if it is too large to be kept.
    record: Option<Vec<u8>>,
}

impl UploadedPart {
    pub(super) fn new(file: SpoolFile) -> Self {
        Self { file, validation: Arc::default() }
    }

    /// Reads the part if it was not read yet; waits if it is being read.
    pub(super) fn validate(&self) {
        self.validation();
    }

    fn validation(&self) -> &Validation {
        self.validation.get_or_init(|| {
            let mut validation = Validation::default();
            validation.readable = validation.read(&self.file).is_ok();
            validation
        })
    }
}

impl Imported {
    /// One line for the output of the job.
    pub(super) fn summary(&self) -> String {
        format!(
            "valid records: {}, error records: {}, valid parts: {}, error parts: {}",
            self.valid_records, self.error_records, self.valid_parts, self.error_parts
        )
    }

    fn add_columns(&mut self, columns: &[(String, &'static str)]) {
        for (name, kind) in columns {
            if self.columns.len() < MAX_COLUMNS && self.columns.iter().all(|(known, _)| known != name) {
                self.columns.push((name.clone(), kind));
            }
        }
    }
}

/// Validates all parts; stops early if `cancelled`.
pub(super) fn import(parts: &[(String, UploadedPart)], cancelled: &AtomicBool) -> Imported {
    let mut imported = Imported::default();
    let mut sample = GzEncoder::new(Vec::new(), Compression::fast());
    let mut kept = 0;
    for (name, part) in parts {
        if cancelled.load(Ordering::Relaxed) {
            break;
        }
        let validation = part.validation();
        for bad in validation.bad_records.iter().take(MAX_ERROR_RECORDS - kept) {
            kept += 1;
            // Writing to memory cannot fail.
            let _written = sample.write_all(&bad.describe(name));
        }
        imported.add_columns(&validation.columns);
        if validation.readable {
            imported.valid_parts += 1;
            imported.valid_records += validation.valid;
            imported.error_records += validation.bad;
            imported.latest_time = imported.latest_time.max(validation.latest_time);
            imported.parts.push(LoadedPart { file: part.file.clone(), records: validation.valid });
        } else {
            imported.error_parts += 1;
        }
    }
    imported.error_sample = sample.finish().unwrap_or_default();
    imported
}

impl Validation {
    fn read(&mut self, file: &SpoolFile) -> Result<(), PartError> {
        let mut reader = open_part(file)?;
        while let Some(record) = reader.next_record()? {
            match check_record(record) {
                Ok(time) => {
                    self.valid += 1;
                    self.latest_time = self.latest_time.max(Some(time));
                    self.add_columns(record);
                }
                Err(reason) => {
                    self.bad += 1;
                    if self.bad_records.len() < MAX_ERROR_RECORDS {
                        let record = (record.len() <= MAX_ERROR_RECORD_SIZE).then(|| record.to_vec());
                        self.bad_records.push(BadRecord { reason, record });
                    }
                }
            }
        }
        Ok(())
    }

    fn add_columns(&mut self, record: &[u8]) {
        for (at, field) in fields(record).into_iter().flatten().enumerate() {
            let Some(field) = field else { continue };
            // Records usually have the same columns in the same order.
            let known = |(name, _): &(String, &str)| name.as_bytes() == field.key;
            if self.columns.get(at).is_some_and(known)
                || self.columns.iter().any(known)
                || self.columns.len() >= MAX_COLUMNS
            {
                continue;
            }
            if let Some(kind) = guessed_type(field.value) {
                self.columns.push((String::from_utf8_lossy(field.key).into_owned(), kind));
            }
        }
    }
}

impl BadRecord {
    /// The form in which clients fetch it.
    fn describe(&self, part: &str) -> Vec<u8> {
        let mut entry = vec![0x83];
        for text in ["error", &self.reason.to_string(), "part", part, "record"] {
            // Writing to memory cannot fail.
            let _written = rmp::encode::write_str(&mut entry, text);
        }
        entry.extend_from_slice(self.record.as_deref().unwrap_or(&[0xc0]));
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::spool::Spool;
    use super::*;

    fn spooled(directory: &std::path::Path, bytes: &[u8]) -> SpoolFile {
        let mut writer = Spool::new(directory).create().unwrap();
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

    fn import_parts(parts: &[Vec<u8>]) -> Imported {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| {
                let directory = tempfile::tempdir().unwrap().keep();
                (format!("part-{}", part.len()), UploadedPart::new(spooled(&directory, part)))
            })
            .collect();
        import(&parts, &AtomicBool::new(false))
    }

    #[test]
    fn bad_records_are_counted_and_kept_while_good_ones_load() {
        let imported = import_parts(&[gzip(&[GOOD, BAD, GOOD].concat()), gzip(&[])]);
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
        let imported = import_parts(&parts);
        assert_eq!((imported.valid_records, imported.valid_parts, imported.error_parts), (0, 0, 5));
    }

    #[test]
    fn a_part_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let part = UploadedPart::new(spooled(directory.path(), &gzip(GOOD)));
        part.validate();
        let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::write(file, b"no longer a part").unwrap();
        let imported = import(&[("part".to_owned(), part.clone())], &AtomicBool::new(false));
        assert_eq!((imported.valid_records, imported.error_parts), (1, 0));
        let cancelled = import(&[("part".to_owned(), part)], &AtomicBool::new(true));
        assert_eq!((cancelled.valid_parts, cancelled.error_parts), (0, 0));
    }

    #[test]
    fn several_gzip_members_are_one_part() {
        let imported = import_parts(&[[gzip(GOOD), gzip(GOOD)].concat()]);
        assert_eq!((imported.valid_records, imported.error_parts), (2, 0));
    }
}
