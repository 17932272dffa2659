//! Hashes that are part of names or name a content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The first 64 bits of a SHA-256 digest, as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShortHash([u8; 8]);

/// A digest over the names of parts in order: SHA-256 over the previous digest and the next name. Saved in the state
/// file instead of the names, and part of the name of the last part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartsDigest([u8; 16]);

/// A SHA-256 digest, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Sum([u8; 32]);

impl ShortHash {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(first(&Sha256::digest(bytes)))
    }
}

impl PartsDigest {
    /// The digest with another name appended.
    #[must_use]
    pub fn with(self, name: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(name.as_bytes());
        Self(first(&hasher.finalize()))
    }
}

impl Sha256Sum {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(digest).for_each(|(byte, of)| *byte = *of);
    bytes
}

fn write_hexadecimal(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

fn read_hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_allowed = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_allowed) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for ShortHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, formatter)
    }
}

impl FromStr for ShortHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        read_hexadecimal(text).map(Self).ok_or(())
    }
}

impl fmt::Display for PartsDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, formatter)
    }
}

impl FromStr for PartsDigest {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        read_hexadecimal(text).map(Self).ok_or(())
    }
}

impl TryFrom<String> for PartsDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map_err(|()| "not a digest of part names")
    }
}

impl From<PartsDigest> for String {
    fn from(digest: PartsDigest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Sha256Sum {
    /// With a precision, only so many digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = formatter.precision().map_or(self.0.len(), |digits| digits / 2);
        write_hexadecimal(self.0.get(..bytes).unwrap_or(&self.0), formatter)
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, formatter)
    }
}

impl FromStr for Sha256Sum {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        read_hexadecimal(text).map(Self).ok_or(())
    }
}

impl TryFrom<String> for Sha256Sum {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map_err(|()| "not a SHA-256 digest")
    }
}

impl From<Sha256Sum> for String {
    fn from(sum: Sha256Sum) -> Self {
        sum.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_first_bytes_of_sha_256() {
        // The digest of the empty text, from the standard (FIPS 180-4 examples).
        assert_eq!(ShortHash::of(b"").to_string(), "e3b0c44298fc1c14");
        assert_eq!("e3b0c44298fc1c14".parse(), Ok(ShortHash::of(b"")));
        for text in ["", "E3b0c44298fc1c14", "e3b0c44298fc1c1", "e3b0c44298fc1c1g"] {
            assert_eq!(text.parse::<ShortHash>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_digest_of_a_content_is_shown_in_full_or_with_as_many_digits_as_asked_for() {
        let sum = Sha256Sum::of(b"");
        let all = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!((sum.to_string().as_str(), format!("{sum:?}").as_str()), (all, all));
        assert_eq!((format!("{sum:.12}"), format!("{sum:.64}")), (all[..12].to_owned(), all.to_owned()));
        assert_eq!(all.parse(), Ok(sum));
    }

    #[test]
    fn a_digest_depends_on_every_name_and_their_order() {
        let digest =
            |names: &[&str]| names.iter().fold(PartsDigest::default(), |digest, name| digest.with(name));
        assert_ne!(digest(&["a", "b"]), digest(&["b", "a"]));
        assert_ne!(digest(&["a", "b"]), digest(&["a"]));
        assert_ne!(digest(&["ab"]), digest(&["a", "b"]));
        let digest = digest(&["a", "b"]);
        assert_eq!(
            serde_json::from_str::<PartsDigest>(&serde_json::to_string(&digest).unwrap()).unwrap(),
            digest
        );
    }
}
