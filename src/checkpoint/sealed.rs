//! The form of a file that must be intact: one header line and one line of JSON.
//!
//! ```text
//! yotpo-td state 3 8c3f01aa
//! {"run":{"run_id":"20261123T040000Z-9f1c02ab", …},"history":[…]}
//! ```
//!
//! The header has what the file is, the version of its content, and the CRC-32 of everything else, so any truncation or flipped
//! bit is detected. It does not know the content.

/// Why a file is not intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealError {
    /// It does not begin like such a file.
    NoHeader,
    /// Its checksum does not match its content.
    Checksum,
}

/// A file with this content.
pub(crate) fn seal(magic: &str, version: u32, body: &str) -> Vec<u8> {
    format!("{magic} {version} {:08x}\n{body}\n", checksum(magic, version, body)).into_bytes()
}

/// The version and the content of a file that is intact.
pub(crate) fn open<'a>(magic: &str, bytes: &'a [u8]) -> Result<(u32, &'a str), SealError> {
    let text = std::str::from_utf8(bytes).map_err(|_not_text| SealError::NoHeader)?;
    let (header, rest) = text.split_once('\n').ok_or(SealError::NoHeader)?;
    let words = header.strip_prefix(magic).and_then(|words| words.strip_prefix(' '));
    let (version, expected) = words.and_then(|words| words.split_once(' ')).ok_or(SealError::NoHeader)?;
    let version = version_in(version).ok_or(SealError::NoHeader)?;
    let body = rest.strip_suffix('\n').ok_or(SealError::Checksum)?;
    if format!("{:08x}", checksum(magic, version, body)) == expected {
        Ok((version, body))
    } else {
        Err(SealError::Checksum)
    }
}

/// Parses a version in its canonical form, because the checksum does not cover a sign or a leading zero.
fn version_in(word: &str) -> Option<u32> {
    word.parse().ok().filter(|version: &u32| *version > 0 && version.to_string() == word)
}

fn checksum(magic: &str, version: u32, body: &str) -> u32 {
    crc32fast::hash(format!("{magic} {version}\n{body}\n").as_bytes())
}
