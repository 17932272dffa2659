//! The settings file of Treasure Data's toolbelt (`td`), usually `~/.td/td.conf`: API key and endpoint of an account.
//!
//! Owns its syntax, which is that of the toolbelt (`lib/td/config.rb` in github.com/treasure-data/td): sections, keys, and
//! comment lines that begin with `#`. Values are never quoted in an error, because any of them may be a key.

use std::path::Path;

use super::file::FileLine;
use crate::paths::shown;
use crate::secret::Secret;

/// Maximum size of the file in bytes.
const MAX_SIZE: u64 = 64 * 1024;

/// An account.
#[derive(Debug)]
pub(super) struct Account {
    /// The API key.
    pub(super) api_key: String,
    /// Where the key is.
    pub(super) key_line: FileLine,
    /// The address of the API and where it is; `None` means the toolbelt's default, which is ours.
    pub(super) endpoint: Option<(String, FileLine)>,
}

/// Reads the account of the file at `path`.
pub(super) fn read(path: &Path) -> Result<Account, String> {
    let shown = shown(path);
    let text = match std::fs::metadata(path).map(|metadata| metadata.len()) {
        Ok(size) if size > MAX_SIZE => return Err(format!("{shown} is larger than {} KiB", MAX_SIZE >> 10)),
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    parse(&text.map_err(|error| format!("cannot read {shown}: {error}"))?, path)
}

fn parse(text: &str, path: &Path) -> Result<Account, String> {
    let place = |line| FileLine { path: path.to_owned(), line };
    let (mut section, mut api_key, mut endpoint) = ("", None, None);
    for (index, line) in text.lines().enumerate() {
        let (line, place) = (line.trim(), place(index + 1));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(format!("{place}: not a line of the form key = value"));
        };
        match (section, key.trim()) {
            ("account", "apikey") => api_key = Some((value.trim().to_owned(), place)),
            ("account", "endpoint") => endpoint = Some((value.trim().to_owned(), place)),
            _ => {}
        }
    }
    let Some((api_key, key_line)) = api_key else {
        return Err(format!("{} has no apikey in its section [account]", shown(path)));
    };
    if Secret::new(&api_key).is_err() {
        return Err(format!(
            "{key_line}: apikey is empty or contains characters that a secret cannot contain"
        ));
    }
    Ok(Account { api_key, key_line, endpoint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(text: &str) -> Result<Account, String> {
        parse(text, Path::new("td.conf"))
    }

    #[test]
    fn key_and_endpoint_are_taken_from_the_account() {
        let text = "# toolbelt\n\n[other]\n  apikey = no\n[account]\n  user = a@example.com\n  apikey = 1/abc\n\
                    endpoint=https://api.treasuredata.co.jp\n[more]\nendpoint = no\n";
        let found = account(text).unwrap();
        assert_eq!((found.api_key.as_str(), found.key_line.line), ("1/abc", 7));
        let (endpoint, line) = found.endpoint.unwrap();
        assert_eq!((endpoint.as_str(), line.line), ("https://api.treasuredata.co.jp", 8));
        assert_eq!(account("[account]\napikey = 1/abc").unwrap().endpoint, None);
    }

    #[test]
    fn what_is_wrong_is_placed_and_never_quoted() {
        for (text, problem) in [
            ("", "td.conf has no apikey in its section [account]"),
            ("apikey = hunter2", "td.conf has no apikey in its section [account]"),
            ("[account]\nhunter2", "td.conf:2: not a line of the form key = value"),
            (
                "[account]\napikey = hunter2 hunter3",
                "td.conf:2: apikey is empty or contains characters that a secret cannot contain",
            ),
            (
                "[account]\napikey =",
                "td.conf:2: apikey is empty or contains characters that a secret cannot contain",
            ),
        ] {
            assert_eq!(account(text).unwrap_err(), problem);
        }
    }

    #[test]
    fn a_file_that_is_missing_or_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("td.conf");
        let missing = read(&path).unwrap_err();
        assert!(missing.starts_with(&format!("cannot read {}: ", path.display())), "{missing}");
        let text = "[account]\napikey = 1/abc";
        let padded = |size: usize| format!("{text}{}", "\n".repeat(size - text.len()));
        std::fs::write(&path, padded(64 * 1024)).unwrap();
        assert_eq!(read(&path).unwrap().api_key, "1/abc");
        for size in [64 * 1024 + 1, 128 * 1024] {
            std::fs::write(&path, padded(size)).unwrap();
            assert_eq!(read(&path).unwrap_err(), format!("{} is larger than 64 KiB", path.display()));
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "\\PC{0,100}") {
            let _ = account(&text);
        }
    }
}
