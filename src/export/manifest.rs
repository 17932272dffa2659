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

use crate::identity::{PartName, PartTotals, ProofError, RunId, Sha256Sum, StoreId, prove_complete};
use crate::yotpo::{LoyaltyCounts, Position};

const FORMAT: &str = "yotpo-td export";
const VERSION: u32 = 1;

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The run that made it.
    pub run_id: RunId,
    /// The store.
    pub store_id: StoreId,
    /// The address at which it was read.
    pub yotpo_endpoint: String,
    /// The `time` of every row, Unix seconds.
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
        let manifest = serde_json::value::to_raw_value(self)?;
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
        if !is_sum || !is_rejected_sum {
            return Err(ManifestError::Content);
        }
        if !self.is_complete || self.parts.is_empty() {
            return if self.is_complete && self.rows > 0 { Err(ManifestError::Content) } else { Ok(()) };
        }
        let names = self.parts.iter().map(|part| part.name.as_str());
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
        Ok(Sha256Sum::of(serde_json::value::to_raw_value(self)?.get().as_bytes()))
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
