//! The directory of an export: its files, who may use them, and whether they are what the manifest lists.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::ExportError;
use super::manifest::{BEGINNING, Manifest, ManifestPart};
use crate::checkpoint::{
    PrivateFileError, check_directory, is_shared, make_directory, read_private, replace_private_file,
    sync_directory, temporary_path,
};
use crate::failpoint;
use crate::free_space::{self, Need, NoSpace};
use crate::identity::{OwnPart, PartName, RunId, Sha256Sum};

/// The name of the manifest.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The name of the lock.
const LOCK_FILE: &str = "lock";
/// What follows the name of a part.
const PART_EXTENSION: &str = ".msgpack.gz";
/// Maximum size of a manifest in bytes: a million parts.
const MAX_MANIFEST_SIZE: u64 = 512 * 1024 * 1024;
/// What the manifest, its successor and the lock need besides the parts.
const MIN_FREE: u64 = 1024 * 1024;

/// The directory of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportDirectory {
    path: PathBuf,
}

/// An export that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteExport {
    /// Where it is.
    pub directory: ExportDirectory,
    /// What it holds.
    pub manifest: Manifest,
    /// The digest of the manifest, which names the export.
    pub sha256: Sha256Sum,
}

impl CompleteExport {
    /// The id of the run that loads it, unless the user names one: the beginning of the digest.
    pub fn load_run_id(&self) -> RunId {
        RunId::of_export(&self.sha256)
    }

    /// Makes sure that every part is the one that the manifest lists.
    ///
    /// # Errors
    /// Which part is not.
    pub fn verify(&self) -> Result<(), ExportError> {
        let (parts, bytes) = (self.manifest.totals().parts, self.manifest.bytes());
        tracing::info!(directory = %self.directory.path.display(), parts, bytes, "verifying the export");
        self.manifest.parts.iter().try_for_each(|part| {
            failpoint::hit("verify part");
            self.directory.read_part(part).map(drop)
        })
    }

    /// Size of the largest part in bytes.
    pub fn largest_part(&self) -> usize {
        let largest = self.manifest.parts.iter().map(|part| part.bytes).max().unwrap_or_default();
        usize::try_from(largest).unwrap_or(usize::MAX)
    }
}

impl ExportDirectory {
    /// A directory to export to, which is created if it is missing. Access of other users is removed: it is 0700.
    ///
    /// # Errors
    /// When it cannot be created, holds anything but an export, or another user could change what is in it.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        let failed = |action| move |source| ExportError::Io { action, path: path.into(), source };
        if path.is_file() {
            return Err(ExportError::NotADirectory { path: path.into() });
        }
        make_directory(path).map_err(failed("create the export directory"))?;
        let directory = Self { path: path.into() };
        let (mut is_export, mut is_foreign) = (false, false);
        for name in directory.file_names()? {
            match own_file(&name) {
                Some(OwnFile::Manifest) => match directory.manifest_origin() {
                    Origin::Ours => is_export = true,
                    Origin::Unknown => {}
                    Origin::Others => is_foreign = true,
                },
                Some(OwnFile::Part(_) | OwnFile::Lock | OwnFile::Temporary) => {}
                None => is_foreign = true,
            }
        }
        if is_foreign && !is_export {
            return Err(ExportError::NotEmpty { directory: path.into() });
        }
        // Only now: permissions of a directory that is refused stay as they are.
        Self::trusted(path)?;
        let metadata = std::fs::metadata(path).map_err(failed("check"))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if is_shared(&metadata) {
            return Err(ExportError::Shared { directory: path.into(), mode });
        }
        if mode & 0o077 != 0 {
            let private = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(path, private).map_err(failed("restrict"))?;
            let before = format!("{mode:04o}");
            tracing::warn!(path = %path.display(), before, after = "0700", "permissions were too open and have been restricted");
        }
        Ok(directory)
    }

    /// A directory that an export was written to.
    ///
    /// # Errors
    /// When it is missing, or another user could change what is in it.
    pub fn at(path: &Path) -> Result<Self, ExportError> {
        if path.is_file() {
            return Err(ExportError::NotADirectory { path: path.into() });
        }
        if !path.join(MANIFEST_FILE).exists() {
            return Err(ExportError::NoManifest { directory: path.into() });
        }
        let directory = Self::trusted(path)?;
        directory.warn_if_shared();
        Ok(directory)
    }

    /// The files of an export that root wrote may be open to others, and only root can change that.
    fn warn_if_shared(&self) {
        let path = self.path.join(MANIFEST_FILE);
        if let Ok(metadata) = path.symlink_metadata()
            && is_shared(&metadata)
        {
            let mode = format!("{:04o}", metadata.permissions().mode() & 0o7777);
            tracing::warn!(
                path = %path.display(), mode,
                "other users may read this export, and its files belong to another user: their permissions are not changed"
            );
        }
    }

    fn trusted(path: &Path) -> Result<Self, ExportError> {
        let failed =
            |source| ExportError::Io { action: "read the export directory", path: path.into(), source };
        check_directory(path).map_err(|error| ExportError::from_private(error, failed))?;
        Ok(Self { path: path.into() })
    }

    /// Whose the manifest is, by its first bytes: other programs have files of that name.
    fn manifest_origin(&self) -> Origin {
        let mut beginning = Vec::new();
        let file = read_private(&self.path.join(MANIFEST_FILE));
        let length = u64::try_from(BEGINNING.len()).unwrap_or(u64::MAX);
        match file.map(|file| file.take(length).read_to_end(&mut beginning)) {
            Ok(Ok(_)) if beginning == BEGINNING.as_bytes() => Origin::Ours,
            // Truncated, or unreadable.
            Ok(Ok(_)) if !BEGINNING.as_bytes().starts_with(&beginning) => Origin::Others,
            _ => Origin::Unknown,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of its lock.
    pub fn lock_path(&self) -> PathBuf {
        self.path.join(LOCK_FILE)
    }

    /// The file of a part.
    pub fn part_path(&self, name: &PartName) -> PathBuf {
        self.path.join(format!("{name}{PART_EXTENSION}"))
    }

    /// Makes sure that the disk has room for the parts that may be written before the first is recorded, and for the manifest.
    ///
    /// # Errors
    /// When it has too little.
    pub fn check_space(&self, part_size: usize, parts: usize) -> Result<(), NoSpace> {
        let (part_size, parts) =
            (u64::try_from(part_size).unwrap_or(u64::MAX), u64::try_from(parts).unwrap_or(u64::MAX));
        let bytes = part_size.saturating_mul(parts).saturating_add(MIN_FREE);
        // The manifest, its successor, the lock, and a part with its temporary file each.
        let need = Need { bytes, files: parts.saturating_mul(2).saturating_add(3) };
        free_space::check("the export directory", &self.path, need)
    }

    /// The manifest, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or could have been written by another user.
    pub fn manifest(&self) -> Result<Option<Manifest>, ExportError> {
        let path = self.path.join(MANIFEST_FILE);
        let failed = |source| ExportError::Io { action: "read", path: path.clone(), source };
        let file = match read_private(&path) {
            Ok(file) => file,
            Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ExportError::from_private(error, failed)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_MANIFEST_SIZE).read_to_end(&mut bytes).map_err(failed)?;
        let manifest = Manifest::decode(&bytes);
        manifest.map(Some).map_err(|source| ExportError::Manifest { path, source })
    }

    /// The manifest of an interrupted export, as long as its parts are there; what cannot be read cannot be resumed.
    pub fn resumable(&self) -> Option<Manifest> {
        let manifest = self.manifest().ok().flatten()?;
        let is_resumable = !manifest.is_complete && !manifest.parts.is_empty();
        let is_there = || manifest.parts.iter().all(|part| self.open_part(part).is_ok());
        (is_resumable && is_there()).then_some(manifest)
    }

    /// The manifest of a complete export, whose parts have the sizes that it lists.
    ///
    /// # Errors
    /// When there is none, it is incomplete or damaged, or a part is missing or has another size.
    pub fn complete(&self) -> Result<CompleteExport, ExportError> {
        let manifest = self.manifest()?;
        let manifest = manifest.ok_or_else(|| ExportError::NoManifest { directory: self.path.clone() })?;
        if !manifest.is_complete {
            let parts = manifest.totals().parts;
            return Err(ExportError::Incomplete { directory: self.path.clone(), rows: manifest.rows, parts });
        }
        for part in &manifest.parts {
            self.open_part(part)?;
        }
        let failed = |error: serde_json::Error| ExportError::Io {
            action: "read",
            path: self.path.join(MANIFEST_FILE),
            source: error.into(),
        };
        let sha256 = manifest.digest().map_err(failed)?;
        Ok(CompleteExport { directory: self.clone(), manifest, sha256 })
    }

    /// Saves the manifest in one step.
    ///
    /// # Errors
    /// When it cannot be made durable; the former one is then unchanged.
    pub fn save(&self, manifest: &Manifest) -> Result<(), ExportError> {
        let path = self.path.join(MANIFEST_FILE);
        let failed = |source| ExportError::Io { action: "save", path: path.clone(), source };
        let bytes = manifest.encode().map_err(|error| failed(error.into()))?;
        replace_private_file(&path, &bytes, "write manifest")
            .map_err(|error| ExportError::from_private(error, failed))
    }

    /// Stores a part durably, in place of one with its name. Returns its digest.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn store_part(&self, name: &PartName, body: &Bytes) -> Result<Sha256Sum, ExportError> {
        let path = self.part_path(name);
        let failed = |source| ExportError::Io { action: "write", path: path.clone(), source };
        replace_private_file(&path, body, "write part")
            .map_err(|error| ExportError::from_private(error, failed))?;
        Ok(Sha256Sum::of(body))
    }

    /// Reads a part that the manifest lists.
    ///
    /// # Errors
    /// When it is missing or differs from what the manifest lists, or another user could have written it.
    pub fn read_part(&self, part: &ManifestPart) -> Result<Bytes, ExportError> {
        let path = self.part_path(&part.name);
        let file = self.open_part(part)?;
        let mut body = Vec::with_capacity(usize::try_from(part.bytes).unwrap_or_default());
        let read = file.take(part.bytes.saturating_add(1)).read_to_end(&mut body);
        read.map_err(|source| ExportError::Io { action: "read", path: path.clone(), source })?;
        let position = OwnPart::parse(part.name.as_str()).map(|own| own.position());
        let is_named = position.is_some_and(|position| {
            let name = OwnPart::new(position, &body).render();
            part.name.as_str().starts_with(name.as_str())
        });
        if !is_named || Sha256Sum::of(&body) != part.sha256 {
            return Err(ExportError::Part {
                path,
                what: "is damaged: its checksum is not the one in the manifest",
            });
        }
        Ok(body.into())
    }

    fn open_part(&self, part: &ManifestPart) -> Result<File, ExportError> {
        let path = self.part_path(&part.name);
        let failed = |source| ExportError::Io { action: "read", path: path.clone(), source };
        let file = match read_private(&path) {
            Ok(file) => file,
            Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ExportError::Part { path, what: "is missing" });
            }
            Err(error) => return Err(ExportError::from_private(error, failed)),
        };
        if file.metadata().map_err(failed)?.len() == part.bytes {
            Ok(file)
        } else {
            Err(ExportError::Part { path, what: "has another size than the manifest lists" })
        }
    }

    /// Removes parts and temporary files that the manifest does not list; with `None`, the manifest and all parts. Files of
    /// others are kept. Returns how many parts there were.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_surplus(&self, manifest: Option<&Manifest>) -> Result<u64, ExportError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ExportError::Io { action: "remove", path, source }
        };
        // The manifest first: it may not list parts that are gone.
        if manifest.is_none() {
            let path = self.path.join(MANIFEST_FILE);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
                _ => sync_directory(&self.path).map_err(failed(&self.path))?,
            }
        }
        let listed = |name: &PartName| {
            manifest.is_some_and(|manifest| manifest.parts.iter().any(|part| part.name == *name))
        };
        let mut parts = 0;
        for name in self.file_names()? {
            match own_file(&name) {
                Some(OwnFile::Part(part)) if !listed(&part) => parts += 1,
                Some(OwnFile::Temporary) => {}
                Some(OwnFile::Part(_) | OwnFile::Manifest | OwnFile::Lock) | None => continue,
            }
            let path = self.path.join(&name);
            std::fs::remove_file(&path).map_err(failed(&path))?;
        }
        Ok(parts)
    }

    fn file_names(&self) -> Result<Vec<String>, ExportError> {
        let failed = |source| ExportError::Io { action: "list", path: self.path.clone(), source };
        let entries = std::fs::read_dir(&self.path).map_err(failed)?;
        entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// Who wrote a file.
enum Origin {
    Ours,
    Others,
    Unknown,
}

/// A file that exports write.
enum OwnFile {
    Manifest,
    Lock,
    Part(PartName),
    Temporary,
}

fn own_file(name: &str) -> Option<OwnFile> {
    let part = |name: &str| {
        let name = name.strip_suffix(PART_EXTENSION)?;
        OwnPart::parse(name).map(|part| part.render())
    };
    match name {
        MANIFEST_FILE => Some(OwnFile::Manifest),
        LOCK_FILE => Some(OwnFile::Lock),
        _ => {
            let temporary = |of: &str| temporary_path(Path::new(of)).as_os_str() == name;
            let base = name.strip_suffix(".new");
            match base {
                Some(base) if temporary(base) && (base == MANIFEST_FILE || part(base).is_some()) => {
                    Some(OwnFile::Temporary)
                }
                _ => part(name).map(OwnFile::Part),
            }
        }
    }
}

#[cfg(test)]
mod tests;
