//! Whether state, lock and quarantine files and the state directory can be trusted, because no other user could have
//! written them.
//!
//! Owns how these files are opened and created, and the decision by owner, mode and kind. Invariants: the decision is
//! about the file that was opened, never about a path that could lead elsewhere a moment later; no open blocks, for
//! example on a FIFO. Files are 0600 and never opened through a symbolic link. This module does not know their content
//! and does not check access control lists.

use std::fmt;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::paths::{shell_word, shown};

/// Permission bits of the group and of all others.
const NOT_THE_OWNER: u32 = 0o077;
const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_ALL: u32 = 0o002;
/// Only the owner of a file may remove it from a directory, as in `/tmp`.
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;

/// What is expected at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

/// What was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// `None` for anything except a regular file or a directory.
    kind: Option<Kind>,
    /// User ID of the owner.
    owner: u32,
    /// Permission bits.
    mode: u32,
}

/// What must be changed before a trusted file or directory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    Nothing,
    /// Set the mode to this.
    Restrict(u32),
}

/// Why a file or directory cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    SymbolicLink,
    WrongKind,
    OtherOwner {
        owner: u32,
        user: u32,
    },
    WritableByAll {
        mode: u32,
    },
    /// A directory that every user can write to, and whose mode is not this user's to change.
    Shared {
        mode: u32,
    },
}

/// A file or directory that another user could have written. Its message says what is wrong and how to correct it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntrustedPath {
    path: PathBuf,
    expected: Kind,
    reason: Reason,
}

/// A private file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// Another user could have written it.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// The file could not be opened.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Opens or creates a private file (0600) with `options`. They must not truncate, because that would happen before the
/// file is checked. A file that others can read or the group can write is set back to 0600.
///
/// # Errors
/// When it belongs to a user other than this one or root, when every user can write to it, when it is a symbolic link or
/// not a regular file, or when it cannot be opened.
pub(crate) fn open_private(path: &Path, options: &mut OpenOptions) -> Result<File, PrivateFileError> {
    let (file, found, repair) = open_trusted(path, options)?;
    if let Repair::Restrict(mode) = repair {
        restrict(path, found, mode, |permissions| file.set_permissions(permissions))?;
    }
    Ok(file)
}

/// As [`open_private`], to read. A file of root whose permissions this user cannot change is read as it is: like for a directory,
/// root decides who else may use it.
///
/// # Errors
/// As [`open_private`].
pub(crate) fn read_private(path: &Path) -> Result<File, PrivateFileError> {
    let (file, found, repair) = open_trusted(path, OpenOptions::new().read(true))?;
    if let Repair::Restrict(mode) = repair {
        let restricted = restrict(path, found, mode, |permissions| file.set_permissions(permissions));
        unless_of_other(restricted, found.owner, current_user())?;
    }
    Ok(file)
}

/// Permissions that `user` is not allowed to change, because the file belongs to another `owner`, are no error.
fn unless_of_other(restricted: io::Result<()>, owner: u32, user: u32) -> io::Result<()> {
    match restricted {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && owner != user => Ok(()),
        result => result,
    }
}

/// As [`read_private`], and changes nothing.
///
/// # Errors
/// As [`open_private`].
pub(crate) fn look_at_private(path: &Path) -> Result<File, PrivateFileError> {
    open_trusted(path, OpenOptions::new().read(true)).map(|(file, ..)| file)
}

fn open_trusted(path: &Path, options: &mut OpenOptions) -> Result<(File, Found, Repair), PrivateFileError> {
    let file = open_without_waiting(path, options).map_err(|error| match reason_for(&error) {
        Some(reason) => UntrustedPath { path: path.into(), expected: Kind::File, reason }.into(),
        None => PrivateFileError::Io(error),
    })?;
    let found = Found::of(&file.metadata()?);
    match decide(Kind::File, found, current_user()) {
        Err(reason) => Err(UntrustedPath { path: path.into(), expected: Kind::File, reason }.into()),
        Ok(repair) => Ok((file, found, repair)),
    }
}

/// Sets the mode, unless the file system is read-only: then nobody can write, and who can read cannot be changed here.
fn restrict(
    path: &Path,
    found: Found,
    mode: u32,
    apply: impl FnOnce(std::fs::Permissions) -> io::Result<()>,
) -> io::Result<()> {
    match apply(std::os::unix::fs::PermissionsExt::from_mode(mode)) {
        Ok(()) => report_repair(path, found.mode, mode),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Whether a file or directory that is open to others belongs to another user, so that this one cannot change that.
pub(crate) fn is_shared(metadata: &Metadata) -> bool {
    Found::of(metadata).is_shared(current_user())
}

/// Creates a directory that only this user may enter, unless it exists.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Makes sure that no other user can replace the files in a directory. Write access of its group is removed. Unlike a
/// file, it may be a symbolic link, and it may be writable by a group if it belongs to root, like a Kubernetes volume
/// with an `fsGroup`.
///
/// # Errors
/// When it belongs to a user other than this one or root, when every user can write to it, or when it cannot be read.
pub(crate) fn check_directory(directory: &Path) -> Result<(), PrivateFileError> {
    let found = Found::of(&std::fs::metadata(directory)?);
    match decide(Kind::Directory, found, current_user()) {
        Err(reason) => {
            Err(UntrustedPath { path: directory.into(), expected: Kind::Directory, reason }.into())
        }
        Ok(Repair::Nothing) => Ok(()),
        Ok(Repair::Restrict(mode)) => {
            restrict(directory, found, mode, |permissions| std::fs::set_permissions(directory, permissions))?;
            Ok(())
        }
    }
}

/// The decision. `user` is the effective user of this process.
fn decide(expected: Kind, found: Found, user: u32) -> Result<Repair, Reason> {
    let Found { kind, owner, mode } = found;
    if kind != Some(expected) {
        return Err(Reason::WrongKind);
    }
    if owner != user && owner != ROOT {
        return Err(Reason::OtherOwner { owner, user });
    }
    if mode & WRITABLE_BY_ALL != 0 {
        let is_shared = expected == Kind::Directory && (mode & STICKY != 0 || owner != user);
        return Err(if is_shared { Reason::Shared { mode } } else { Reason::WritableByAll { mode } });
    }
    Ok(match expected {
        Kind::File if mode & NOT_THE_OWNER != 0 => Repair::Restrict(0o600),
        Kind::Directory if mode & WRITABLE_BY_GROUP != 0 && owner == user => {
            Repair::Restrict(mode & !WRITABLE_BY_GROUP)
        }
        _ => Repair::Nothing,
    })
}

fn report_repair(path: &Path, before: u32, after: u32) {
    let (before, after) = (format!("{before:04o}"), format!("{after:04o}"));
    tracing::warn!(path = %path.display(), before, after, "permissions were too open and have been restricted");
}

impl Found {
    fn of(metadata: &Metadata) -> Self {
        let kind = if metadata.is_file() {
            Some(Kind::File)
        } else {
            Some(Kind::Directory).filter(|_| metadata.is_dir())
        };
        let (owner, mode) = {
            use std::os::unix::fs::MetadataExt;
            (metadata.uid(), metadata.mode() & 0o7777)
        };
        Self { kind, owner, mode }
    }

    fn is_shared(self, user: u32) -> bool {
        self.mode & NOT_THE_OWNER != 0 && self.owner != user
    }
}

fn current_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn open_without_waiting(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;

    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    options.mode(0o600).custom_flags(flags.bits().cast_signed()).open(path)
}

/// What an error of open(2) says about the file: a symbolic link (`O_NOFOLLOW`), a directory, or a FIFO or socket
/// without a reader (`O_NONBLOCK`).
fn reason_for(error: &io::Error) -> Option<Reason> {
    use rustix::io::Errno;

    match Errno::from_io_error(error)? {
        // BSD returns EMLINK.
        Errno::LOOP | Errno::MLINK => Some(Reason::SymbolicLink),
        Errno::ISDIR | Errno::NXIO => Some(Reason::WrongKind),
        _ => None,
    }
}

impl UntrustedPath {
    /// Whether it is a directory such as `/tmp`, which is right as it is, and of which only a subdirectory can be used.
    pub const fn is_shared(&self) -> bool {
        matches!(self.reason, Reason::Shared { .. })
    }
}

impl std::error::Error for UntrustedPath {}

impl fmt::Display for UntrustedPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, reason } = self;
        let shown = shown(path);
        let word = shell_word(path);
        let (otherwise, mode) = match expected {
            Kind::File => ("if you trust its content, otherwise delete it", "600"),
            Kind::Directory => ("or choose another directory", "700"),
        };
        match reason {
            Reason::SymbolicLink => {
                write!(
                    formatter,
                    "{shown} is a symbolic link, which is never followed: replace it with the file that it names, or delete it"
                )
            }
            Reason::WrongKind => match expected {
                Kind::File => write!(formatter, "{shown} is not a regular file: delete it"),
                Kind::Directory => write!(formatter, "{shown} is not a directory: choose another directory"),
            },
            Reason::OtherOwner { owner, user } => {
                let change = word.map_or_else(
                    || "change its owner".to_owned(),
                    |word| format!("run `chown {user} {word}`"),
                );
                write!(
                    formatter,
                    "{shown} belongs to user {owner}, but this process runs as user {user}: {change} {otherwise}"
                )
            }
            Reason::WritableByAll { mode: found } => {
                let change = word.map_or_else(
                    || format!("change its mode to {mode}"),
                    |word| format!("run `chmod {mode} {word}`"),
                );
                write!(formatter, "every user can write to {shown} (mode {found:04o}): {change} {otherwise}")
            }
            Reason::Shared { mode: found } => write!(
                formatter,
                "every user can write to {shown} (mode {found:04o}): choose a subdirectory of it that does not exist yet, which \
                 is then created for this user only"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
