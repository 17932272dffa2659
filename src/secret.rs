//! Secrets. A secret read from a file may change there, so it is read once more when it is denied.
//!
//! Owns a secret, its file, and which characters a secret may contain. It does not know who denies it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};

use crate::paths::shown;

/// Maximum size of a file with a secret.
const MAX_FILE_SIZE: u64 = 64 * 1024;

/// A secret. Clones share a reloaded value; `Debug` hides it.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    value: RwLock<SecretString>,
    file: Option<PathBuf>,
    place: OnceLock<String>,
    was_reloaded: AtomicBool,
}

/// A value that cannot be a secret. Contains nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No service issues such a secret.
    #[error("empty, or contains characters that a secret cannot contain (spaces, line breaks, non-ASCII)")]
    Invalid,
    /// As [`Self::Invalid`], in a file.
    #[error("{} is {}", shown(path), Self::Invalid)]
    InvalidFile {
        /// Its path.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", shown(path))]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Secret {
    /// A secret that never changes. Surrounding white space is removed.
    ///
    /// # Errors
    /// When it is empty or contains invalid characters.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        Ok(Self::with_file(validate(text)?, None))
    }

    /// Reads a secret from a file.
    ///
    /// # Errors
    /// When the file cannot be read or does not contain a valid secret.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        Ok(Self::with_file(read(path)?, Some(path.to_owned())))
    }

    fn with_file(value: SecretString, file: Option<PathBuf>) -> Self {
        let (place, was_reloaded) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { value: RwLock::new(value), file, place, was_reloaded }))
    }

    /// Says where it is set, such as `TD_API_KEY`; the path of its file is added. The first call counts.
    #[must_use]
    pub fn from_place(self, place: &str) -> Self {
        let place = match &self.0.file {
            Some(file) => format!("{} ({place})", shown(file)),
            None => place.to_owned(),
        };
        // The place of a secret does not change.
        let _ = self.0.place.set(place);
        self
    }

    /// Where it is set, if that was said: `TD_API_KEY`, or `/run/key (the file in TD_API_KEY_FILE)`.
    pub fn place(&self) -> Option<&str> {
        self.0.place.get().map(String::as_str)
    }

    /// The current value.
    pub fn current(&self) -> SecretString {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again, at most once per process, and returns the secret if it has changed. Blocking.
    pub fn reload(&self) -> Option<SecretString> {
        let file = self.0.file.as_ref()?;
        if self.0.was_reloaded.swap(true, Ordering::Relaxed) {
            return None;
        }
        // If the file is missing or half-written, the denial stands.
        let new = read(file).ok()?;
        let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = value.expose_secret() != new.expose_secret();
        value.clone_from(&new);
        is_new.then_some(new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

fn read(path: &Path) -> Result<SecretString, SecretError> {
    let content = || {
        if std::fs::metadata(path)?.len() > MAX_FILE_SIZE {
            return Err(std::io::Error::other("too large for a secret"));
        }
        std::fs::read_to_string(path)
    };
    let text = content().map_err(|source| SecretError::File { path: path.to_owned(), source })?;
    validate(&text).map_err(|_invalid| SecretError::InvalidFile { path: path.to_owned() })
}

fn validate(text: &str) -> Result<SecretString, SecretError> {
    let text = text.trim();
    let is_printable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_printable { Ok(text.into()) } else { Err(SecretError::Invalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_for_a_secret_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let padded = |size: usize| format!("secret{}", " ".repeat(size - "secret".len()));
        std::fs::write(file.path(), padded(64 * 1024)).unwrap();
        assert_eq!(Secret::from_file(file.path()).unwrap().current().expose_secret(), "secret");
        for size in [64 * 1024 + 1, 128 * 1024] {
            std::fs::write(file.path(), padded(size)).unwrap();
            let expected = format!("cannot read {}: too large for a secret", file.path().display());
            assert_eq!(Secret::from_file(file.path()).unwrap_err().to_string(), expected, "{size}");
        }
    }

    #[test]
    fn a_file_that_holds_no_secret_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in ["", "\n", "one\ntwo\n"] {
            std::fs::write(file.path(), content).unwrap();
            let error = Secret::from_file(file.path()).unwrap_err().to_string();
            let expected = format!("{} is empty, or contains characters", file.path().display());
            assert!(error.starts_with(&expected), "{content:?}: {error}");
        }
    }

    #[test]
    fn a_secret_knows_where_it_is_set() {
        let secret = Secret::new("plain").unwrap();
        assert_eq!(secret.place(), None);
        assert_eq!(secret.from_place("TD_API_KEY").place(), Some("TD_API_KEY"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first").unwrap();
        let secret = Secret::from_file(file.path()).unwrap().from_place("the file in TD_API_KEY_FILE");
        let expected = format!("{} (the file in TD_API_KEY_FILE)", file.path().display());
        assert_eq!(secret.clone().place(), Some(&*expected));
    }

    #[test]
    fn file_is_reloaded_once_and_only_a_changed_secret_is_returned() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), " first\n").unwrap();
        let secrets = [(); 3].map(|()| Secret::from_file(file.path()).unwrap());
        let shown = |secret: &Secret| secret.current().expose_secret().to_owned();
        assert!(secrets[0].reload().is_none(), "unchanged");
        std::fs::write(file.path(), "second\n").unwrap();
        assert!(secrets[0].reload().is_none(), "already reloaded");
        assert_eq!(shown(&secrets[0]), "first");
        assert_eq!(secrets[1].clone().reload().unwrap().expose_secret(), "second");
        assert_eq!(shown(&secrets[1]), "second", "clones share the value");
        std::fs::write(file.path(), "two words").unwrap();
        assert!(secrets[2].reload().is_none(), "not a valid secret");
        assert_eq!(shown(&secrets[2]), "first");
        assert!(Secret::new("plain").unwrap().reload().is_none());
        assert_eq!(format!("{:?}", secrets[1]), "Secret");
    }
}
