//! Concatenated rows, as in a part.
//!
//! Owns the end of each row. Invariant: every byte belongs to a row. It does not know how a row is encoded.

use std::fmt;

use bytes::Bytes;

/// Rows of several customers. Contains customer data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rows {
    bytes: Bytes,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Rows {
    /// Rows that end at these positions in `bytes`, in order, the last one at its end.
    pub fn new(bytes: Vec<u8>, ends: Vec<usize>) -> Self {
        debug_assert!(ends.is_sorted(), "the rows are in order");
        debug_assert_eq!(
            ends.last().copied().unwrap_or_default(),
            bytes.len(),
            "every byte belongs to a row"
        );
        Self { bytes: bytes.into(), ends }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All rows.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Iterates over the rows.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }

    /// Splits off up to `count` rows from the front without copying.
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
    fn rows_are_split_where_they_end() {
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
