//! Secrets that are in a file may change there: one that is refused is read once more.
//!
//! Owns a secret, where it is from, and what no secret can look like. It does not know who refuses it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};

/// Larger files hold no secret.
const MAX_FILE: u64 = 64 * 1024;

/// A secret. Clones share what is read anew; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    value: RwLock<SecretString>,
    file: Option<PathBuf>,
    was_read_again: AtomicBool,
}

/// What was given is no secret. Holds nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No service gives out such a secret.
    #[error("empty, or with characters that no secret has (spaces, line breaks, non-ASCII)")]
    Unusable,
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Secret {
    /// A secret that stays as it is; space around it is none of it.
    ///
    /// # Errors
    /// When it is empty or has characters that no secret has.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        Ok(Self::of(usable(text)?, None))
    }

    /// The secret in a file.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no secret.
    pub fn in_file(path: &Path) -> Result<Self, SecretError> {
        Ok(Self::of(read(path)?, Some(path.to_owned())))
    }

    fn of(value: SecretString, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { value: RwLock::new(value), file, was_read_again: AtomicBool::new(false) }))
    }

    /// The secret as it is known now.
    pub fn current(&self) -> SecretString {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again, once in a process; gives the secret when it is another one now. Blocking.
    pub fn read_again(&self) -> Option<SecretString> {
        let file = self.0.file.as_ref()?;
        if self.0.was_read_again.swap(true, Ordering::Relaxed) {
            return None;
        }
        // A file that is gone or half written gives none: the refusal stands.
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
        if std::fs::metadata(path)?.len() > MAX_FILE {
            return Err(std::io::Error::other("larger than a secret can be"));
        }
        std::fs::read_to_string(path)
    };
    usable(&content().map_err(|source| SecretError::File { path: path.to_owned(), source })?)
}

fn usable(text: &str) -> Result<SecretString, SecretError> {
    let text = text.trim();
    let is_printable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_printable { Ok(text.into()) } else { Err(SecretError::Unusable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_more_and_only_another_secret_is_news() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), " first\n").unwrap();
        let secrets = [(); 3].map(|()| Secret::in_file(file.path()).unwrap());
        let shown = |secret: &Secret| secret.current().expose_secret().to_owned();
        assert!(secrets[0].read_again().is_none(), "it is the same");
        std::fs::write(file.path(), "second\n").unwrap();
        assert!(secrets[0].read_again().is_none(), "it was read again before");
        assert_eq!(shown(&secrets[0]), "first");
        assert_eq!(secrets[1].clone().read_again().unwrap().expose_secret(), "second");
        assert_eq!(shown(&secrets[1]), "second", "clones share it");
        std::fs::write(file.path(), "two words").unwrap();
        assert!(secrets[2].read_again().is_none(), "it is no secret");
        assert_eq!(shown(&secrets[2]), "first");
        assert!(Secret::new("plain").unwrap().read_again().is_none());
        assert_eq!(format!("{:?}", secrets[1]), "Secret");
    }
}
