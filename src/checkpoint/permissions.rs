//! Who else could have written a file: whether a state, lock or quarantine file and the state folder can be trusted.
//!
//! Owns how these files are opened and made, and the one decision about owner, mode and kind. Invariant: what is decided
//! on is the file that was opened, never a name that could lead elsewhere a moment later, and no open ever waits (for
//! the other end of a FIFO, say). Files are 0600 and never reached through a symbolic link. What they hold is not its
//! business, and access control lists are not looked at.

use std::fmt;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Permission bits of the group and of all others.
const NOT_THE_OWNER: u32 = 0o077;
const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_ALL: u32 = 0o002;
const ROOT: u32 = 0;

/// What is expected at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// `None` for anything but a regular file or a folder.
    kind: Option<Kind>,
    /// User ID of the owner.
    owner: u32,
    /// Permission bits.
    mode: u32,
}

/// What has to be done before a trusted file or folder is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    Nothing,
    /// Set the mode to this.
    Restrict(u32),
}

/// Why a file or folder cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    SymbolicLink,
    WrongKind,
    OtherOwner { owner: u32, user: u32 },
    WritableByAll { mode: u32 },
}

/// A file or folder that somebody else could have written. Its message says what is wrong and how to repair it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntrustedPath {
    path: PathBuf,
    expected: Kind,
    reason: Reason,
}

/// A private file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// Somebody else could have written it.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// The disk.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Opens a file of this user alone, or makes it (0600), as `options` say. They must not truncate: that would happen
/// before anything is known of the file. One that others could read or the group could write is set back to 0600.
///
/// # Errors
/// When it belongs to another user than this one or root, when every user may write to it, when it is a symbolic link or
/// no regular file, and when it cannot be opened.
pub(crate) fn open_private(path: &Path, options: &mut OpenOptions) -> Result<File, PrivateFileError> {
    let file = open_without_waiting(path, options).map_err(|error| match reason_for(&error) {
        Some(reason) => UntrustedPath { path: path.into(), expected: Kind::File, reason }.into(),
        None => PrivateFileError::Io(error),
    })?;
    let found = Found::of(&file.metadata()?);
    match decide(Kind::File, found, current_user()) {
        Err(reason) => Err(UntrustedPath { path: path.into(), expected: Kind::File, reason }.into()),
        Ok(Repair::Nothing) => Ok(file),
        Ok(Repair::Restrict(mode)) => {
            set_mode(mode, |permissions| file.set_permissions(permissions))?;
            report_repair(path, found.mode, mode);
            Ok(file)
        }
    }
}

/// Makes a folder that only this user may enter, unless it is there already.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes sure that nobody else can replace the files of a folder. One that its group may write to is closed to the group.
/// Unlike a file it may be a symbolic link, and it may be open to a group if it belongs to root, as a volume of
/// Kubernetes with an `fsGroup` does.
///
/// # Errors
/// When it belongs to another user than this one or root, when every user may write to it, and when it cannot be read.
pub(super) fn check_folder(folder: &Path) -> Result<(), PrivateFileError> {
    let found = Found::of(&std::fs::metadata(folder)?);
    match decide(Kind::Folder, found, current_user()) {
        Err(reason) => Err(UntrustedPath { path: folder.into(), expected: Kind::Folder, reason }.into()),
        Ok(Repair::Nothing) => Ok(()),
        Ok(Repair::Restrict(mode)) => {
            set_mode(mode, |permissions| std::fs::set_permissions(folder, permissions))?;
            report_repair(folder, found.mode, mode);
            Ok(())
        }
    }
}

/// The decision. `user` is who this process acts as.
fn decide(expected: Kind, found: Found, user: u32) -> Result<Repair, Reason> {
    let Found { kind, owner, mode } = found;
    if kind != Some(expected) {
        return Err(Reason::WrongKind);
    }
    if owner != user && owner != ROOT {
        return Err(Reason::OtherOwner { owner, user });
    }
    if mode & WRITABLE_BY_ALL != 0 {
        return Err(Reason::WritableByAll { mode });
    }
    Ok(match expected {
        Kind::File if mode & NOT_THE_OWNER != 0 => Repair::Restrict(0o600),
        Kind::Folder if mode & WRITABLE_BY_GROUP != 0 && owner == user => {
            Repair::Restrict(mode & !WRITABLE_BY_GROUP)
        }
        _ => Repair::Nothing,
    })
}

fn report_repair(path: &Path, before: u32, after: u32) {
    let (before, after) = (format!("{before:04o}"), format!("{after:04o}"));
    tracing::warn!(path = %path.display(), before, after, "permissions were too wide and are restricted");
}

impl Found {
    fn of(metadata: &Metadata) -> Self {
        let kind = if metadata.is_file() {
            Some(Kind::File)
        } else {
            Some(Kind::Folder).filter(|_| metadata.is_dir())
        };
        let (owner, mode) = {
            use std::os::unix::fs::MetadataExt;
            (metadata.uid(), metadata.mode() & 0o7777)
        };
        Self { kind, owner, mode }
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

/// What a refusal to open says about the file: a symbolic link (open(2), `O_NOFOLLOW`), a folder, or a FIFO or socket
/// that nobody reads from (`O_NONBLOCK`).
fn reason_for(error: &io::Error) -> Option<Reason> {
    use rustix::io::Errno;

    match Errno::from_io_error(error)? {
        // BSD says MLINK.
        Errno::LOOP | Errno::MLINK => Some(Reason::SymbolicLink),
        Errno::ISDIR | Errno::NXIO => Some(Reason::WrongKind),
        _ => None,
    }
}

fn set_mode(mode: u32, apply: impl FnOnce(std::fs::Permissions) -> io::Result<()>) -> io::Result<()> {
    apply(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

impl std::error::Error for UntrustedPath {}

impl fmt::Display for UntrustedPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, reason } = self;
        let shown = path.display();
        let text = path.to_string_lossy();
        // What cannot be quoted holds a NUL, and then it is no path.
        let quoted = shlex::try_quote(&text).unwrap_or_default();
        let (otherwise, mode) = match expected {
            Kind::File => ("if you trust its content, otherwise delete it", "600"),
            Kind::Folder => ("or choose another folder", "700"),
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
                Kind::Folder => write!(formatter, "{shown} is not a folder: choose another folder"),
            },
            Reason::OtherOwner { owner, user } => write!(
                formatter,
                "{shown} belongs to user {owner}, but this process runs as user {user}: run `chown {user} {quoted}` {otherwise}"
            ),
            Reason::WritableByAll { mode: found } => write!(
                formatter,
                "every user can write to {shown} (mode {found:04o}): run `chmod {mode} {quoted}` {otherwise}"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
