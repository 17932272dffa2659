//! Rows one behind the other, as they go into a part.
//!
//! Owns where each of them ends. Invariant: no byte belongs to none of them. It does not know how a row is written.

use std::fmt;

use bytes::Bytes;

/// Rows of several customers. Holds customer data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rows {
    bytes: Bytes,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Rows {
    /// Rows that end at these places in `bytes`, in order, the last at its end.
    pub fn new(bytes: Vec<u8>, ends: Vec<usize>) -> Self {
        debug_assert!(ends.is_sorted(), "rows in their order");
        debug_assert_eq!(ends.last().copied().unwrap_or_default(), bytes.len(), "no bytes without a row");
        Self { bytes: bytes.into(), ends }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }

    /// Takes so many rows from the front, all if there are no more; no byte is copied.
    #[must_use]
    pub fn split_to(&mut self, count: usize) -> Self {
        let rest = self.ends.split_off(count.min(self.ends.len()));
        let ends = std::mem::replace(&mut self.ends, rest);
        let length = ends.last().copied().unwrap_or_default();
        self.ends.iter_mut().for_each(|end| *end -= length);
        Self { bytes: self.bytes.split_to(length), ends }
    }
}

impl<R: AsRef<[u8]>> FromIterator<R> for Rows {
    fn from_iter<I: IntoIterator<Item = R>>(rows: I) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for row in rows {
            bytes.extend_from_slice(row.as_ref());
            ends.push(bytes.len());
        }
        Self::new(bytes, ends)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Rows({} rows, {} bytes)", self.ends.len(), self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        ["a", "bb", "ccc"].into_iter().collect()
    }

    #[test]
    fn rows_come_apart_where_they_end() {
        let mut rest = rows();
        let first = rest.split_to(2);
        assert_eq!(first.iter().collect::<Vec<_>>(), [&b"a"[..], b"bb"]);
        assert_eq!((first.len(), first.bytes()), (2, &b"abb"[..]));
        assert_eq!(rest.iter().collect::<Vec<_>>(), [b"ccc"]);
        assert!(rest.split_to(0).is_empty());
        assert_eq!(rest.split_to(9).bytes(), b"ccc");
        assert!(rest.is_empty() && rest.bytes().is_empty() && rest.iter().next().is_none());
    }

    #[test]
    fn debug_output_hides_the_rows() {
        assert_eq!(format!("{:?}", rows()), "Rows(3 rows, 6 bytes)");
    }
}
