//! Which settings file is read: the one that is named, or the first that is found.
//!
//! Owns where files are searched for, and whether a found one can be trusted: nobody asked for it, so it must belong to the
//! user and must not be writable by others. What a found file may set is decided by [`super::layers`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::paths::{shell_word, shown};

/// Name of the file in the working directory.
const LOCAL_NAME: &str = "yotpo-td.toml";
/// Path of the file below the platform's directory for configuration (XDG Base Directory Specification).
const PLATFORM_NAME: &str = "yotpo-td/config.toml";
/// Maximum size of a settings file in bytes.
const MAX_SIZE: u64 = 1024 * 1024;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const ROOT: u32 = 0;

/// A settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsFile {
    /// `--config` or `YOTPO_TD_CONFIG` names it.
    Named(PathBuf),
    /// It is where settings files are searched for.
    Found(PathBuf),
}

impl SettingsFile {
    /// The file that `named` names, or else the first of `./yotpo-td.toml` and `yotpo-td/config.toml` in the platform's
    /// configuration directory that exists.
    pub fn choose(named: Option<PathBuf>, environment: &BTreeMap<String, OsString>) -> Option<Self> {
        let exists = |path: &PathBuf| path.symlink_metadata().is_ok();
        match named {
            Some(path) => Some(Self::Named(path)),
            None => searched(environment).into_iter().find(exists).map(Self::Found),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Found(path) => path,
        }
    }

    /// Its text, or why it cannot be read or trusted.
    pub(super) fn read(&self) -> Result<String, String> {
        let shown = shown(self.path());
        let open = || {
            let file = File::open(self.path())?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let cannot_read = |error: std::io::Error| format!("cannot read {shown}: {error}");
        let (file, metadata) = open().map_err(cannot_read)?;
        if matches!(self, Self::Found(_)) {
            trust(self.path(), &metadata, rustix::process::geteuid().as_raw())?;
        }
        let mut text = String::new();
        file.take(MAX_SIZE + 1).read_to_string(&mut text).map_err(cannot_read)?;
        if text.len() as u64 > MAX_SIZE {
            return Err(format!("{shown} is larger than {} MiB", MAX_SIZE >> 20));
        }
        Ok(text)
    }
}

/// Where a settings file is searched for when none is named.
fn searched(environment: &BTreeMap<String, OsString>) -> Vec<PathBuf> {
    let variable = |name: &str| environment.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let platform = variable("XDG_CONFIG_HOME").filter(|directory| directory.is_absolute());
    let home = || variable("HOME").map(|home| home.join(".config"));
    let platform = platform.or_else(home).map(|directory| directory.join(PLATFORM_NAME));
    [Some(Path::new(".").join(LOCAL_NAME)), platform].into_iter().flatten().collect()
}

/// Whether the content of a found file is `user`'s. A symbolic link counts as the file that it leads to.
fn trust(path: &Path, metadata: &Metadata, user: u32) -> Result<(), String> {
    let shown = shown(path);
    if metadata.uid() != user && metadata.uid() != ROOT {
        return Err(format!(
            "{shown} was found, but it belongs to user {} and this process runs as user {user}; name it with --config if you \
             trust it",
            metadata.uid()
        ));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        let restrict = shell_word(path)
            .map_or_else(|| "remove their permission".to_owned(), |path| format!("run `chmod go-w {path}`"));
        return Err(format!(
            "{shown} was found, but other users can write to it (mode {:04o}): {restrict} if you trust its content, or name it \
             with --config",
            metadata.mode() & 0o7777
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn environment(variables: &[(&str, &Path)]) -> BTreeMap<String, OsString> {
        variables.iter().map(|(name, path)| ((*name).to_owned(), path.into())).collect()
    }

    #[test]
    fn files_are_searched_here_and_in_the_platforms_directory() {
        let local = PathBuf::from("./yotpo-td.toml");
        for (variables, platform) in [
            (vec![], None),
            (vec![("HOME", Path::new("/somebody"))], Some("/somebody/.config/yotpo-td/config.toml")),
            (
                vec![("HOME", Path::new("/somebody")), ("XDG_CONFIG_HOME", Path::new("/c"))],
                Some("/c/yotpo-td/config.toml"),
            ),
            (
                vec![("HOME", Path::new("/somebody")), ("XDG_CONFIG_HOME", Path::new("c"))],
                Some("/somebody/.config/yotpo-td/config.toml"),
            ),
            (vec![("HOME", Path::new("")), ("XDG_CONFIG_HOME", Path::new(""))], None),
        ] {
            let expected: Vec<_> =
                std::iter::once(local.clone()).chain(platform.map(PathBuf::from)).collect();
            assert_eq!(searched(&environment(&variables)), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_named_file_comes_before_every_found_one() {
        let directory = tempfile::tempdir().unwrap();
        let found = directory.path().join(PLATFORM_NAME);
        let environment = environment(&[("XDG_CONFIG_HOME", directory.path())]);
        assert_eq!(SettingsFile::choose(None, &environment), None);
        std::fs::create_dir(found.parent().unwrap()).unwrap();
        std::fs::write(&found, "").unwrap();
        assert_eq!(SettingsFile::choose(None, &environment), Some(SettingsFile::Found(found)));
        let named = SettingsFile::Named("other.toml".into());
        assert_eq!(SettingsFile::choose(Some("other.toml".into()), &environment), Some(named));
    }

    #[test]
    fn only_a_found_file_must_be_safe_from_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        std::fs::write(&path, "table = 'x'").unwrap();
        for (mode, is_trusted) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(SettingsFile::Named(path.clone()).read().unwrap(), "table = 'x'");
            let found = SettingsFile::Found(path.clone()).read();
            let expected = format!(
                "{0} was found, but other users can write to it (mode {mode:04o}): run `chmod go-w {0}` if you trust its \
                 content, or name it with --config",
                path.display()
            );
            assert_eq!(found, if is_trusted { Ok("table = 'x'".to_owned()) } else { Err(expected) });
        }
    }

    #[test]
    fn a_found_file_of_another_user_is_not_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        std::fs::write(&path, "table = 'x'").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        // What belongs to root is trusted by everybody.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1001), None).unwrap();
        }
        let metadata = path.metadata().unwrap();
        let (owner, other) = (metadata.uid(), metadata.uid() + 1);
        let expected = format!(
            "{} was found, but it belongs to user {owner} and this process runs as user {other}; name it with --config if \
             you trust it",
            path.display()
        );
        assert_eq!(trust(&path, &metadata, other), Err(expected));
        assert_eq!(trust(&path, &metadata, owner), Ok(()));
    }

    #[test]
    fn a_file_that_is_missing_or_too_large_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        let file = SettingsFile::Named(path.clone());
        assert!(file.read().unwrap_err().starts_with(&format!("cannot read {}: ", path.display())));
        std::fs::write(&path, " ".repeat(1024 * 1024)).unwrap();
        assert_eq!(file.read().unwrap().len(), 1024 * 1024);
        std::fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
        assert_eq!(file.read().unwrap_err(), format!("{} is larger than 1 MiB", path.display()));
    }
}
