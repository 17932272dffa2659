//! An import: every part of a session is read and judged.
//!
//! Owns the counting of valid and bad records and parts, and the sample of bad records that clients can fetch. A part
//! that cannot be read to its end is an error part and none of its records is loaded. A part is read once, as soon as it
//! is there, so that an import that follows has little left to do. Blocking; memory does not grow with good parts.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::decode::{PartError, RecordError, check_record, fields, guessed_type, open_part};
use super::super::spool::SpoolFile;
use super::loaded_part::LoadedPart;

/// Bad records that are kept for clients to fetch.
const MOST_ERROR_RECORDS: usize = 1_000;
/// Bad records longer than this are described only.
const LONGEST_ERROR_RECORD: usize = 1_024;
/// Columns that are noticed.
const MOST_COLUMNS: usize = 1_000;

/// A part of a session. Clones share what was found in it.
#[derive(Clone, Debug)]
pub(super) struct UploadedPart {
    file: SpoolFile,
    judgement: Arc<OnceLock<Judgement>>,
}

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

/// What is in a part.
#[derive(Debug, Default)]
struct Judgement {
    /// Whether it can be read to its end.
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
    /// None when it is too long to be kept.
    record: Option<Vec<u8>>,
}

impl UploadedPart {
    pub(super) fn new(file: SpoolFile) -> Self {
        Self { file, judgement: Arc::default() }
    }

    /// Reads the part if nobody has yet; waits if somebody does right now.
    pub(super) fn judge(&self) {
        self.judgement();
    }

    fn judgement(&self) -> &Judgement {
        self.judgement.get_or_init(|| {
            let mut judgement = Judgement::default();
            judgement.readable = judgement.read(&self.file).is_ok();
            judgement
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

    fn notice_columns(&mut self, columns: &[(String, &'static str)]) {
        for (name, kind) in columns {
            if self.columns.len() < MOST_COLUMNS && self.columns.iter().all(|(known, _)| known != name) {
                self.columns.push((name.clone(), kind));
            }
        }
    }
}

/// Judges all parts; stops early when `cancelled`.
pub(super) fn import(parts: &[(String, UploadedPart)], cancelled: &AtomicBool) -> Imported {
    let mut imported = Imported::default();
    let mut sample = GzEncoder::new(Vec::new(), Compression::fast());
    let mut kept = 0;
    for (name, part) in parts {
        if cancelled.load(Ordering::Relaxed) {
            break;
        }
        let judgement = part.judgement();
        for bad in judgement.bad_records.iter().take(MOST_ERROR_RECORDS - kept) {
            kept += 1;
            // Writing to memory cannot fail.
            let _written = sample.write_all(&bad.describe(name));
        }
        imported.notice_columns(&judgement.columns);
        if judgement.readable {
            imported.valid_parts += 1;
            imported.valid_records += judgement.valid;
            imported.error_records += judgement.bad;
            imported.latest_time = imported.latest_time.max(judgement.latest_time);
            imported.parts.push(LoadedPart { file: part.file.clone(), records: judgement.valid });
        } else {
            imported.error_parts += 1;
        }
    }
    imported.error_sample = sample.finish().unwrap_or_default();
    imported
}

impl Judgement {
    fn read(&mut self, file: &SpoolFile) -> Result<(), PartError> {
        let mut reader = open_part(file)?;
        while let Some(record) = reader.next_record()? {
            match check_record(record) {
                Ok(time) => {
                    self.valid += 1;
                    self.latest_time = self.latest_time.max(Some(time));
                    self.notice_columns(record);
                }
                Err(reason) => {
                    self.bad += 1;
                    if self.bad_records.len() < MOST_ERROR_RECORDS {
                        let record = (record.len() <= LONGEST_ERROR_RECORD).then(|| record.to_vec());
                        self.bad_records.push(BadRecord { reason, record });
                    }
                }
            }
        }
        Ok(())
    }

    fn notice_columns(&mut self, record: &[u8]) {
        for (at, field) in fields(record).into_iter().flatten().enumerate() {
            let Some(field) = field else { continue };
            // Records mostly have the same columns in the same order.
            let known = |(name, _): &(String, &str)| name.as_bytes() == field.key;
            if self.columns.get(at).is_some_and(known)
                || self.columns.iter().any(known)
                || self.columns.len() >= MOST_COLUMNS
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
    /// As clients fetch it.
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
                (format!("part-{}", part.len()), UploadedPart::new(spooled(&folder, part)))
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
    fn a_part_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let part = UploadedPart::new(spooled(folder.path(), &gzip(GOOD)));
        part.judge();
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::write(file, b"no part any more").unwrap();
        let imported = import(&[("part".to_owned(), part.clone())], &AtomicBool::new(false));
        assert_eq!((imported.valid_records, imported.error_parts), (1, 0));
        let cancelled = import(&[("part".to_owned(), part)], &AtomicBool::new(true));
        assert_eq!((cancelled.valid_parts, cancelled.error_parts), (0, 0));
    }

    #[test]
    fn several_gzip_members_are_one_part() {
        let imported = judge(&[[gzip(GOOD), gzip(GOOD)].concat()]);
        assert_eq!((imported.valid_records, imported.error_parts), (2, 0));
    }
}
