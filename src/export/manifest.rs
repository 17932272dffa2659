//! The manifest of an export: what it holds, where it is from, and the checksum of each part.
//!
//! ```text
//! {"format":"yotpo-td export","version":1,"sha256":"9f86d0…","manifest":{"store_id":"…","time":1795406400,"parts":[…],…}}
//! ```
//!
//! `sha256` is the digest of the text of `manifest` as it stands in the file. It names the export: an export that is loaded
//! twice is the same run ([`super::CompleteExport::load_run_id`]).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::identity::{OwnPart, PartName, PartTotals, ProofError, RunId, Sha256Sum, StoreId, prove_complete};
use crate::row::IngestionTime;
use crate::yotpo::{LoyaltyCounts, Position};

const FORMAT: &str = "yotpo-td export";
/// The version that is written, and read.
pub const VERSION: u32 = 1;

/// How every manifest begins.
pub(super) const BEGINNING: &str = "{\"format\":\"yotpo-td export\",";

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The run that made it.
    pub run_id: RunId,
    /// The store.
    pub store_id: StoreId,
    /// The address at which it was read.
    pub yotpo_endpoint: String,
    /// The `time` of every row, Unix seconds: the beginning of the export by Yotpo's clock.
    pub time: u64,
    /// Whether all customers are in the parts.
    pub is_complete: bool,
    /// When the export began, Unix seconds.
    pub started_at: u64,
    /// When this manifest was written, Unix seconds.
    pub updated_at: u64,
    /// Maximum customers per page.
    pub page_size: u8,
    /// The position after the parts.
    pub position: Position,
    /// What the loyalty check counted in the parts.
    pub loyalty: LoyaltyCounts,
    /// Rows in the parts.
    pub rows: u64,
    /// Customers up to the position that could not become a row.
    pub rejected_customers: u64,
    /// The parts in order.
    pub parts: Vec<ManifestPart>,
}

/// A part of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPart {
    /// Its name; its file has the extension `.msgpack.gz`.
    pub name: PartName,
    /// Number of rows.
    pub rows: u64,
    /// Customers of the same pages that could not become a row.
    pub rejected_customers: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Size of the rows before compression, in bytes.
    pub row_bytes: u64,
    /// The digest of the file.
    pub sha256: Sha256Sum,
}

/// Why a manifest cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON, is truncated, or is something else.
    #[error("it is not a manifest of yotpo-td, or it is truncated")]
    NotAManifest,
    /// Its checksum does not match its content.
    #[error("it is damaged: its checksum does not match")]
    Checksum,
    /// It was written by a newer version of this program.
    #[error("it has version {found}; this program knows version {VERSION}")]
    TooNew {
        /// The version in the file.
        found: u32,
    },
    /// It is intact, but contradicts itself.
    #[error("it contradicts itself")]
    Content,
    /// Its parts are not all parts of one export.
    #[error("its parts are not a complete export")]
    Parts(#[source] ProofError),
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    sha256: Sha256Sum,
    manifest: Box<RawValue>,
}

impl Manifest {
    /// The file's content.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        Self::seal(&serde_json::to_string(self)?)
    }

    /// A file with this JSON text as its manifest, and the matching digest: a fuzzer cannot guess a digest.
    #[doc(hidden)]
    pub fn seal(manifest: &str) -> Result<Vec<u8>, serde_json::Error> {
        let manifest = RawValue::from_string(manifest.to_owned())?;
        let sha256 = Sha256Sum::of(manifest.get().as_bytes());
        let document = Document { format: FORMAT.to_owned(), version: VERSION, sha256, manifest };
        let mut text = serde_json::to_vec(&document)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads a file's content, and proves that it does not contradict itself.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|_parsing| ManifestError::NotAManifest)?;
        let Document { format, version, sha256, manifest } = document;
        if format != FORMAT || version == 0 {
            return Err(ManifestError::NotAManifest);
        }
        if version > VERSION {
            return Err(ManifestError::TooNew { found: version });
        }
        if Sha256Sum::of(manifest.get().as_bytes()) != sha256 {
            return Err(ManifestError::Checksum);
        }
        let manifest: Self =
            serde_json::from_str(manifest.get()).map_err(|_parsing| ManifestError::Content)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let sum = |of: fn(&ManifestPart) -> u64| {
            self.parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(of(part)))
        };
        let is_sum = sum(|part| part.rows) == Some(self.rows);
        // Customers after the last part belong to none.
        let is_rejected_sum =
            sum(|part| part.rejected_customers).is_some_and(|sum| sum <= self.rejected_customers);
        let is_countable = self.rows.checked_add(self.rejected_customers).is_some();
        let is_time = IngestionTime::from_unix_seconds(self.time).is_ok();
        if !is_sum || !is_rejected_sum || !is_countable || !is_time {
            return Err(ManifestError::Content);
        }
        let names = self.parts.iter().map(|part| part.name.as_str());
        let positions = names.clone().map(|name| OwnPart::parse(name).map(|own| own.position()));
        if !positions.eq((0..self.totals().parts).map(Some)) {
            return Err(ManifestError::Content);
        }
        // Without parts there are no rows: that is proven above.
        if !self.is_complete || self.parts.is_empty() {
            return Ok(());
        }
        let proven = prove_complete(names).map_err(ManifestError::Parts)?;
        let totals = self.totals();
        if proven == totals { Ok(()) } else { Err(ManifestError::Content) }
    }

    /// The number of parts, rows and rejected customers.
    pub fn totals(&self) -> PartTotals {
        PartTotals {
            parts: u64::try_from(self.parts.len()).unwrap_or(u64::MAX),
            valid: self.rows,
            rejected: self.rejected_customers,
        }
    }

    /// The digest that names the export. Two exports never have the same.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn digest(&self) -> Result<Sha256Sum, serde_json::Error> {
        Ok(Sha256Sum::of(serde_json::to_string(self)?.as_bytes()))
    }

    /// Size of all parts in bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
    }

    /// Size of all rows before compression, in bytes.
    pub fn row_bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.row_bytes))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::PartsDigest;
    use crate::yotpo::EndedBy;

    /// A complete export of three parts.
    pub(in crate::export) fn example() -> Manifest {
        let mut digest = PartsDigest::default();
        let part = |position: u64, digest: PartsDigest| {
            let body = position.to_le_bytes();
            let own = OwnPart::new(position, &body);
            let own = if position == 2 { own.last(digest, 30, 1) } else { own };
            ManifestPart {
                name: own.render(),
                rows: 10,
                rejected_customers: u64::from(position == 1),
                bytes: 8,
                row_bytes: 100,
                sha256: Sha256Sum::of(&body),
            }
        };
        let mut parts = Vec::new();
        for position in 0..3 {
            parts.push(part(position, digest));
            digest = digest.with(parts.last().unwrap().name.as_str());
        }
        Manifest {
            run_id: "20261123T040000Z-9f1c02ab".parse().unwrap(),
            store_id: "store".parse().unwrap(),
            yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
            time: 1_795_406_400,
            is_complete: true,
            started_at: 1_795_406_400,
            updated_at: 1_795_406_460,
            page_size: 100,
            position: Position::End { page: 1, ended_by: EndedBy::LastPage },
            loyalty: LoyaltyCounts::default(),
            rows: 30,
            rejected_customers: 1,
            parts,
        }
    }

    fn decoded(manifest: &Manifest) -> Result<Manifest, ManifestError> {
        Manifest::decode(&manifest.encode().unwrap())
    }

    #[test]
    fn a_written_manifest_is_read_back_and_named_by_its_digest() {
        assert_eq!(decoded(&example()), Ok(example()));
        let empty = Manifest { rows: 0, rejected_customers: 0, parts: Vec::new(), ..example() };
        assert_eq!(decoded(&empty), Ok(empty.clone()));
        assert_ne!(example().digest().unwrap(), empty.digest().unwrap());
        let text = String::from_utf8(example().encode().unwrap()).unwrap();
        assert!(text.starts_with(BEGINNING), "{text}");
        assert!(text.contains(&format!("\"sha256\":\"{}\"", example().digest().unwrap())), "{text}");
    }

    #[test]
    fn the_sizes_of_all_parts_are_added() {
        let mut manifest = example();
        (manifest.parts[1].bytes, manifest.parts[2].row_bytes) = (20, 7);
        assert_eq!((manifest.bytes(), manifest.row_bytes()), (36, 207));
        manifest.parts[0].bytes = u64::MAX;
        assert_eq!(manifest.bytes(), u64::MAX);
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        let changed = |change: fn(&mut Manifest)| {
            let mut manifest = example();
            change(&mut manifest);
            decoded(&manifest)
        };
        assert_eq!(changed(|manifest| manifest.rows = 31), Err(ManifestError::Content));
        assert_eq!(changed(|manifest| manifest.rejected_customers = 0), Err(ManifestError::Content));
        assert_eq!(
            changed(|manifest| manifest.rejected_customers = 2),
            Err(ManifestError::Content),
            "as the last part says"
        );
        assert_eq!(changed(|manifest| manifest.parts[0].rows = u64::MAX), Err(ManifestError::Content));
        let swapped = changed(|manifest| manifest.parts.swap(0, 1));
        assert_eq!(swapped, Err(ManifestError::Content), "they are listed in their order");
        let without_last = |manifest: &mut Manifest| {
            manifest.parts.pop();
            manifest.rows = 20;
        };
        assert_eq!(changed(without_last), Err(ManifestError::Parts(ProofError::NoLast)));
        let incomplete = |manifest: &mut Manifest| {
            manifest.parts.pop();
            (manifest.rows, manifest.is_complete) = (20, false);
        };
        assert_eq!(changed(incomplete).map(|manifest| manifest.totals().parts), Ok(2));
        assert_eq!(changed(|manifest| manifest.time = 1 << 63), Err(ManifestError::Content));
        let uncountable = |manifest: &mut Manifest| {
            (manifest.rejected_customers, manifest.is_complete) = (u64::MAX, false);
        };
        assert_eq!(changed(uncountable), Err(ManifestError::Content));
        let no_parts = |manifest: &mut Manifest| manifest.parts.clear();
        assert_eq!(changed(no_parts), Err(ManifestError::Content));
    }

    #[test]
    fn another_format_or_a_newer_version_is_reported() {
        let text = String::from_utf8(example().encode().unwrap()).unwrap();
        let decode = |text: String| Manifest::decode(text.as_bytes());
        assert_eq!(
            decode(text.replace("\"version\":1", "\"version\":2")),
            Err(ManifestError::TooNew { found: 2 })
        );
        assert_eq!(decode(text.replace("\"version\":1", "\"version\":0")), Err(ManifestError::NotAManifest));
        assert_eq!(decode(text.replace("yotpo-td export", "other")), Err(ManifestError::NotAManifest));
        assert_eq!(decode(text.replace("\"rows\":30", "\"rows\":29")), Err(ManifestError::Checksum));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_detected() {
        let whole = example().encode().unwrap();
        for length in 0..whole.len() - 1 {
            assert!(Manifest::decode(&whole[..length]).is_err(), "{length}");
        }
        let mut accepted = Vec::new();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(manifest) = Manifest::decode(&flipped) {
                assert_eq!(manifest, example(), "bit {bit}");
                accepted.push(bit);
            }
        }
        // The line break at the end may be any other white space.
        let newline = (whole.len() - 1) * 8;
        assert!(accepted.iter().all(|bit| *bit >= newline), "{accepted:?}");
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Manifest::decode(&bytes).is_err());
        }
    }
}
