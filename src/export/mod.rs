//! Exports: the rows of a store as parts in a directory, with a manifest that lists them.
//!
//! Owns the directory, the manifest, and the proof that both belong together. Invariants: the manifest names only parts that
//! are durable; a part that differs from the manifest is never read as if it were right; files are 0600 in a directory that
//! is 0700, because they hold customer data. It neither fetches customers nor loads anything.

mod directory;
mod error;
mod manifest;
mod sink;

pub use directory::{CompleteExport, ExportDirectory, MANIFEST_FILE};
pub use error::ExportError;
pub use manifest::{Manifest, ManifestError, ManifestPart, VERSION as MANIFEST_VERSION};
pub use sink::DirectorySink;
