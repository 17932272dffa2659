//! A part as the sandbox reads it: arbitrary bytes as the gzip file, and arbitrary bytes as its content.

use std::io::{Read, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use yotpo_td::sandbox::fuzzing::{PartRecords, loaded_time, read_back};

use super::Verdict;

/// The sandbox's initial size; nearly every input decompresses to less.
const ONE_WINDOW: usize = 256 * 1024;
/// Windows double up to the maximum record size, 8 MiB, so these end there too.
const SMALL_WINDOWS: [usize; 2] = [1, 32];
/// Number of records whose content is checked; a part of a few bytes may decompress to millions.
const MAX_CHECKED_RECORDS: u64 = 64;

/// A digest of the content of a part, without keeping the content.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    records: u64,
    bytes: usize,
    /// Over lengths and contents.
    checksum: u32,
    last_record: usize,
}

/// Returns one byte at a time, as a slow disk may.
struct OneByteReader<'a>(&'a [u8]);

/// The records of a part do not depend on how it is read, compressed or split, and a truncated part is an error.
pub fn sandbox_part(data: &[u8]) -> Verdict {
    let as_gzip = read_every_way(data);
    let compressed = gzip(data);
    let as_content = read_every_way(&compressed);

    let (one, other) = data.split_at(data.len() / 3);
    assert_eq!(
        read([gzip(one), gzip(other)].concat().as_slice(), ONE_WINDOW),
        as_content,
        "split into members"
    );
    assert_eq!(
        read(&compressed[..compressed.len() - 1], ONE_WINDOW),
        None,
        "the end of the gzip file is missing"
    );
    if let Some(found) = &as_content {
        assert_eq!(found.bytes, data.len(), "records and content differ in length");
        assert_truncation_is_detected(data, found);
    }
    if as_gzip.is_some() || as_content.is_some() { Verdict::Accepted } else { Verdict::Rejected }
}

fn read_every_way(part: &[u8]) -> Option<Found> {
    let found = read(part, ONE_WINDOW);
    for window in SMALL_WINDOWS {
        assert_eq!(read(part, window), found, "with a window of {window}");
    }
    assert_eq!(read(OneByteReader(part), SMALL_WINDOWS[1]), found, "byte by byte");
    found
}

/// `None` for a part that cannot be read to its end.
fn read(part: impl Read, window: usize) -> Option<Found> {
    let mut part = PartRecords::new(part, window);
    let mut checksum = crc32fast::Hasher::new();
    let (mut records, mut bytes, mut last_record) = (0, 0, 0);
    while let Some(record) = part.next_record().ok()? {
        checksum.update(&record.len().to_le_bytes());
        checksum.update(record);
        if records < MAX_CHECKED_RECORDS {
            assert_validated_as_read_back(record);
        }
        records += 1;
        bytes += record.len();
        last_record = record.len();
    }
    Some(Found { records, bytes, checksum: checksum.finalize(), last_record })
}

fn assert_validated_as_read_back(record: &[u8]) {
    let json = read_back(record);
    if let Some(time) = loaded_time(record) {
        assert!((0..=253_402_300_799).contains(&time), "loaded with a time out of range");
        assert_eq!(
            json.get("time"),
            Some(&time.into()),
            "the time that is read back differs from the validated one"
        );
    }
}

fn assert_truncation_is_detected(data: &[u8], found: &Found) {
    let Some((_, shorter)) = data.split_last() else { return };
    match read(gzip(shorter).as_slice(), ONE_WINDOW) {
        None => assert!(found.last_record > 1, "without its only one-byte record, a part is still complete"),
        Some(left) => assert_eq!((left.records + 1, found.last_record), (found.records, 1)),
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

impl Read for OneByteReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let max = buffer.len().min(1);
        self.0.read(&mut buffer[..max])
    }
}
