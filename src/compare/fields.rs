//! Fields: where two versions of a customer differ.
//!
//! Owns the paths of fields (`lists[].id`: keys joined by dots, places in arrays left out) and which keys are shown. Keys
//! come from Yotpo and are no personal data, except where an object is a list by name or number: a key that does not look
//! like a name of a field is `…`. Values are only hashed. Invariant: two customers that are not equal differ in a field.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::quality::FixedState;
use serde_json::value::RawValue;

use super::canonical::{deeper, write_scalar};
use super::error::RowProblem;
use super::json::{Level, Members, level, object};

/// In place of a key that is not shown.
const HIDDEN: &str = "…";
/// Longer keys are not shown.
const MAX_KEY_LENGTH: usize = 64;
/// Keys with more digits are not shown: they may be a phone number, a date or a hash.
const MAX_DIGITS: usize = 4;
/// Paths that have a name; the fields of all further ones are one.
const MAX_PATHS: usize = 10_000;

/// Stands for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PathId(u64);

/// The fields of a customer, sorted by path, each with a hash of its values.
pub(super) type Fields = Vec<(PathId, u64)>;

/// The names of paths.
#[derive(Debug, Default)]
pub(super) struct Paths(HashMap<PathId, (PathId, String)>);

/// Hashes fields, and reuses its memory.
#[derive(Default)]
pub(super) struct FieldReader {
    pub(super) paths: Paths,
    leaves: Fields,
    scalar: Vec<u8>,
}

const ROOT: PathId = PathId(0);
/// Where paths are no longer told apart.
const OTHER: PathId = PathId(1);

/// Where a value is: its path, what the path leaves out, and its level.
#[derive(Clone, Copy)]
struct Place {
    path: PathId,
    /// Places in arrays, and keys that are not shown.
    details: u64,
    depth: usize,
}

impl FieldReader {
    /// The fields of a customer, the text of a JSON object.
    pub(super) fn fields(&mut self, text: &[u8]) -> Result<Fields, RowProblem> {
        self.leaves.clear();
        self.add_members(&object(text)?, Place { path: ROOT, details: 0, depth: 0 })?;
        // Stable: the values of a path stay in order.
        self.leaves.sort_by_key(|(path, _)| *path);
        let mut fields: Fields = Vec::with_capacity(self.leaves.len());
        for (path, value) in &self.leaves {
            match fields.last_mut() {
                Some((last, values)) if last == path => *values = combined(*values, *value),
                _ => fields.push((*path, *value)),
            }
        }
        Ok(fields)
    }

    fn add(&mut self, value: &RawValue, place: Place) -> Result<(), RowProblem> {
        match level(value)? {
            Level::Array(values) if !values.is_empty() => {
                let path = self.paths.of_items(place.path);
                let depth = deeper(place.depth)?;
                for (at, value) in (0..).zip(values) {
                    self.add(value, Place { path, details: combined(place.details, at), depth })?;
                }
            }
            Level::Object(members) => self.add_members(&members, place)?,
            scalar => self.add_leaf(&scalar, place),
        }
        Ok(())
    }

    fn add_members(&mut self, members: &Members<'_>, place: Place) -> Result<(), RowProblem> {
        let depth = deeper(place.depth)?;
        if members.len() == 0 {
            self.add_leaf(&Level::Object(Members::default()), place);
        }
        for (key, value) in members.iter() {
            let name = std::str::from_utf8(key).ok().filter(|key| is_shown(key));
            let path = self.paths.of_member(place.path, name.unwrap_or(HIDDEN));
            let details = if name.is_some() && path != OTHER {
                place.details
            } else {
                combined(place.details, hash(key))
            };
            self.add(value, Place { path, details, depth })?;
        }
        Ok(())
    }

    fn add_leaf(&mut self, value: &Level<'_>, place: Place) {
        self.scalar.clear();
        write_scalar(value, &mut self.scalar);
        self.leaves.push((place.path, combined(place.details, hash(&self.scalar))));
    }
}

/// Whether a key looks like the name of a field.
fn is_shown(key: &str) -> bool {
    let is_word = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    let starts_as_name = key.starts_with(|first: char| !first.is_ascii_digit());
    is_word && starts_as_name && key.len() <= MAX_KEY_LENGTH && digits <= MAX_DIGITS
}

impl Paths {
    fn of_items(&mut self, parent: PathId) -> PathId {
        self.child(parent, "[]")
    }

    fn of_member(&mut self, parent: PathId, name: &str) -> PathId {
        self.child(parent, name)
    }

    fn child(&mut self, parent: PathId, name: &str) -> PathId {
        let id = PathId(combined(parent.0, hash(name.as_bytes())) | 2);
        if self.0.len() >= MAX_PATHS && !self.0.contains_key(&id) {
            return OTHER;
        }
        self.0.entry(id).or_insert_with(|| (parent, name.to_owned()));
        id
    }

    /// Adds the names of the other side.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The path as people read it.
    pub(super) fn name(&self, mut path: PathId) -> String {
        let mut names = Vec::new();
        while let Some((parent, name)) = self.0.get(&path) {
            names.push(name.as_str());
            path = *parent;
        }
        if path == OTHER || names.is_empty() {
            names.push(if path == OTHER { HIDDEN } else { "." });
        }
        let mut text = String::new();
        for name in names.into_iter().rev() {
            if !text.is_empty() && name != "[]" {
                text.push('.');
            }
            text.push_str(name);
        }
        text
    }

    /// The paths in which two versions of a customer differ. Where one of them has no parts, its parts in the other are not
    /// mentioned.
    pub(super) fn differences(&self, one: &Fields, other: &Fields) -> Vec<PathId> {
        let mut differing = Vec::new();
        let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
        loop {
            let paths = [one.peek(), other.peek()].into_iter().flatten().map(|(path, _)| *path);
            let Some(next) = paths.min() else { break };
            let left = one.next_if(|(path, _)| *path == next);
            let right = other.next_if(|(path, _)| *path == next);
            if left != right {
                differing.push(next);
            }
        }
        let all: Vec<PathId> = differing.clone();
        differing.retain(|path| !self.has_ancestor_in(*path, &all));
        differing
    }

    /// Whether a path leads through one of these, which are sorted.
    fn has_ancestor_in(&self, mut path: PathId, sorted: &[PathId]) -> bool {
        while let Some((parent, _)) = self.0.get(&path) {
            path = *parent;
            if sorted.binary_search(&path).is_ok() {
                return true;
            }
        }
        false
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

fn combined(one: u64, other: u64) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u64(one);
    hasher.write_u64(other);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(one: &str, other: &str) -> Vec<String> {
        let mut reader = FieldReader::default();
        let (one, other) = (reader.fields(one.as_bytes()).unwrap(), reader.fields(other.as_bytes()).unwrap());
        let mut names: Vec<_> =
            reader.paths.differences(&one, &other).into_iter().map(|path| reader.paths.name(path)).collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_fields_that_differ_are_named() {
        for (one, other, expected) in [
            (r#"{"a":1,"b":{"c":2}}"#, r#"{"b":{"c":2.0},"a":1}"#, &[][..]),
            (r#"{"a":1,"b":{"c":2}}"#, r#"{"b":{"c":3},"a":1}"#, &["b.c"]),
            (r#"{"a":[{"b":1},{"b":2}]}"#, r#"{"a":[{"b":2},{"b":1}]}"#, &["a[].b"]),
            (r#"{"a":[1,[2]]}"#, r#"{"a":[1,[3]]}"#, &["a[][]"]),
            (r#"{"a":[[1],[2]]}"#, r#"{"a":[[1,2]]}"#, &["a[][]"]),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#, &["b"]),
            (r#"{"a":null,"z":1}"#, r#"{"a":{"b":1,"c":{"d":2}},"z":2}"#, &["a", "z"]),
            (r#"{"a":[]}"#, r#"{"a":{}}"#, &["a"]),
            (r#"{"a":[]}"#, r#"{"a":[0]}"#, &["a"]),
            (r#"{"a":1}"#, r#"{"a":1,"b":{}}"#, &["b"]),
            (r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#, &["a.b", "a[]"]),
            (r"{}", r#"{"a":0}"#, &["."]),
        ] {
            assert_eq!(differences(one, other), expected, "{one} {other}");
            assert_eq!(differences(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn keys_that_may_be_personal_data_are_not_shown() {
        for key in ["address1", "_id", "a", "favorite_store_2024", &"k".repeat(64)] {
            assert!(is_shown(key), "{key}");
        }
        for key in
            ["", "7", "15551234567", "ref_19850412", "club member", "ann@example.com", "zoë", &"k".repeat(65)]
        {
            assert!(!is_shown(key), "{key}");
        }
        let names =
            differences(r#"{"by_phone":{"+1555":{"points":1}}}"#, r#"{"by_phone":{"+1555":{"points":2}}}"#);
        assert_eq!(names, ["by_phone.….points"]);
        assert_eq!(differences(r#"{"x y":1}"#, r#"{"y x":1}"#), ["…"]);
        assert_eq!(differences(r#"{"x y":1,"y x":2}"#, r#"{"x y":2,"y x":1}"#), ["…"]);
    }

    #[test]
    fn too_many_fields_are_one() {
        let customer = |value: u32| {
            let members: Vec<_> =
                (0..2 * MAX_PATHS).map(|key| format!("\"{}\":{value}", letters(key))).collect();
            format!("{{{}}}", members.join(","))
        };
        let names = differences(&customer(1), &customer(2));
        assert_eq!((names.len(), names.last().map(String::as_str)), (MAX_PATHS + 1, Some("…")));
        // Their keys still count.
        let mut reader = FieldReader::default();
        reader.fields(customer(1).as_bytes()).unwrap();
        let [one, other] = [r#"{"x":1}"#, r#"{"y":1}"#].map(|text| reader.fields(text.as_bytes()).unwrap());
        assert_eq!(reader.paths.differences(&one, &other), [OTHER]);
    }

    /// A number without digits.
    fn letters(number: usize) -> String {
        number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
    }
}
