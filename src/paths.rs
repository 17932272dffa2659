//! How paths appear in messages and as words of a command for a shell, and which directory something is in.
//!
//! Owns these. Invariants: a path in a message is on one line and cannot control a terminal; a word for a shell names exactly the
//! path, or there is none. It opens nothing.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A path for a message: control characters are escaped, and what is no Unicode is replaced.
pub fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// A text for a message, with its control characters escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        // A String takes everything.
        let _ = match character {
            '\n' => escaped.write_str("\\n"),
            '\r' => escaped.write_str("\\r"),
            '\t' => escaped.write_str("\\t"),
            control if is_control(control) => write!(escaped, "\\u{:04x}", u32::from(control)),
            other => escaped.write_char(other),
        };
    }
    Cow::Owned(escaped)
}

/// Whether a character controls how a text is displayed: a control character, or one that changes the direction of writing, so that
/// the text reads as another one.
pub fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A path as a word of a command, also where it begins like an option. `None` if it cannot be typed: it is no Unicode, or has
/// control characters.
pub fn shell_word(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|text| is_typeable(text))?;
    let prefix = if text.starts_with('-') { "./" } else { "" };
    Some(shlex::try_quote(&format!("{prefix}{text}")).ok()?.into_owned())
}

/// Whether a text can be copied from a message into a command.
pub fn is_typeable(text: &str) -> bool {
    !text.contains(is_control)
}

/// The directory of a file. `.` for a name alone.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether `path` is in `directory`, or below it. Neither need exist; symbolic links are followed.
pub fn is_inside(path: &Path, directory: &Path) -> bool {
    let (path, directory) = (resolved(path), resolved(directory));
    path != directory && path.starts_with(directory)
}

/// The path without symbolic links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_no_current_directory| path.into());
    let existing = |ancestor: &Path| {
        let rest = path.strip_prefix(ancestor).ok()?;
        Some(ancestor.canonicalize().ok()?.join(rest))
    };
    path.ancestors().find_map(existing).unwrap_or_else(|| path.clone())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_name_alone_is_in_the_current_directory() {
        let paths = ["/data/summary.json", "data/summary.json", "summary.json", "/summary.json"];
        let directories = paths.map(|path| directory_of(Path::new(path)));
        assert_eq!(directories, ["/data", "data", ".", "/"].map(Path::new));
    }

    #[test]
    fn a_path_in_a_message_is_one_line_and_controls_no_terminal() {
        assert_eq!(shown(Path::new("/a b/ü")), "/a b/ü");
        assert_eq!(
            shown(Path::new("a\nb\tc\rd\u{1b}[31m\u{9b}\u{7f}")),
            "a\\nb\\tc\\rd\\u001b[31m\\u009b\\u007f"
        );
        assert_eq!(shown(Path::new("a\u{202e}txt.exe\u{2066}")), "a\\u202etxt.exe\\u2066");
        assert_eq!(shown(Path::new(OsStr::from_bytes(b"a\xff"))), "a\u{fffd}");
    }

    #[test]
    fn a_path_is_inside_a_directory_whether_it_exists_and_however_it_is_written() {
        let place = tempfile::tempdir().unwrap();
        let (real, link) = (place.path().join("real"), place.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for (path, directory, expected) in [
            (real.join("a"), real.clone(), true),
            (real.join("a/b"), link.clone(), true),
            (link.join("a"), real.clone(), true),
            (real.join("missing/a"), real.join("missing"), true),
            (real.join("./missing/a"), link.join("missing/"), true),
            (real.clone(), real.clone(), false),
            (place.path().join("reality"), real.clone(), false),
            (place.path().join("a"), real.clone(), false),
        ] {
            assert_eq!(
                is_inside(&path, &directory),
                expected,
                "{} in {}",
                path.display(),
                directory.display()
            );
        }
    }

    #[test]
    fn a_word_for_a_shell_names_the_path_or_there_is_none() {
        let word = |path: &str| shell_word(Path::new(path));
        assert_eq!(word("/exports/today").as_deref(), Some("/exports/today"));
        assert_eq!(word("my exports").as_deref(), Some("'my exports'"));
        assert_eq!(word("-y").as_deref(), Some("./-y"));
        assert_eq!(word("a\nb"), None);
        assert_eq!(word("a\u{1b}"), None);
        assert_eq!(word("a\u{202e}b"), None);
        assert_eq!(shell_word(Path::new(OsStr::from_bytes(b"a\xff"))), None);
    }
}
