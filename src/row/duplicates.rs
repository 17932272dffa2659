//! Duplicate keys: the exact look at a customer in which the sieve suspects some.
//!
//! Owns the rule, which is Python's: the last value wins, at the place of the first. Works on compact text, where equal
//! keys are equal bytes. Invariant: text without duplicates comes out as it went in, and time and memory are linear in
//! the text. Iterative throughout; nesting costs heap, not stack.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::error::{MAX_KEYS, RowError};

/// A key and its value, as places in the text.
#[derive(Clone)]
struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

/// A change to the text: what is in `place` goes, and `replacement`, if any, is written instead.
struct Edit {
    place: Range<usize>,
    replacement: Option<Range<usize>>,
}

/// Appends `text`, which is compact JSON, to `output` without duplicate keys; on an error nothing.
///
/// # Errors
/// When more keys are open at once than [`MAX_KEYS`].
pub(super) fn remove_duplicates(text: &[u8], output: &mut Vec<u8>) -> Result<(), RowError> {
    let mut edits = find_edits(text)?;
    edits.sort_unstable_by_key(|edit| edit.place.start);
    // Ranges still to be written, the next one last.
    let mut pending = Vec::from([Range { start: 0, end: text.len() }]);
    while let Some(range) = pending.pop() {
        let next = edits.partition_point(|edit| edit.place.start < range.start);
        match edits.get(next).filter(|edit| edit.place.start < range.end) {
            None => output.extend_from_slice(text.get(range).unwrap_or_default()),
            Some(edit) => {
                output.extend_from_slice(text.get(range.start..edit.place.start).unwrap_or_default());
                pending.push(edit.place.end..range.end);
                pending.extend(edit.replacement.clone());
            }
        }
    }
    Ok(())
}

/// Walks all objects, also those that another edit will drop.
fn find_edits(text: &[u8]) -> Result<Vec<Edit>, RowError> {
    let mut edits = Vec::new();
    // Members of all open objects, the innermost last.
    let mut members: Vec<Member> = Vec::new();
    // For each open object where its members start, for each open array none.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut place = 0;
    while let Some(byte) = text.get(place) {
        let end_of_value = match byte {
            b'"' => {
                let end = end_of_string(text, place);
                if text.get(end) == Some(&b':') {
                    if members.len() == MAX_KEYS {
                        return Err(RowError::TooManyKeys { limit: MAX_KEYS });
                    }
                    members.push(Member { key: place..end, value: end + 1..end + 1 });
                }
                place = end;
                continue;
            }
            b'{' | b'[' => {
                open.push((*byte == b'{').then_some(members.len()));
                None
            }
            b',' => open.last().copied().flatten(),
            b'}' | b']' => open.pop().flatten(),
            _ => None,
        };
        if let Some(first) = end_of_value {
            if let Some(member) = members.get_mut(first..).and_then(<[Member]>::last_mut) {
                member.value.end = place;
            }
            if *byte == b'}' {
                edit_object(text, members.get(first..).unwrap_or_default(), &mut edits);
                members.truncate(first);
            }
        }
        place += 1;
    }
    Ok(edits)
}

fn edit_object(text: &[u8], members: &[Member], edits: &mut Vec<Edit>) {
    if members.len() < 2 {
        return;
    }
    // The first and the last member of each key.
    let mut known: HashMap<&[u8], (&Member, &Member)> = HashMap::with_capacity(members.len());
    for member in members {
        match known.entry(text.get(member.key.clone()).unwrap_or_default()) {
            Entry::Vacant(entry) => {
                entry.insert((member, member));
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().1 = member;
                // With the comma before it: the first member of an object is never a repetition.
                let place = member.key.start.saturating_sub(1)..member.value.end;
                edits.push(Edit { place, replacement: None });
            }
        }
    }
    let repeated = known.values().filter(|(first, last)| first.key != last.key);
    edits.extend(
        repeated
            .map(|(first, last)| Edit { place: first.value.clone(), replacement: Some(last.value.clone()) }),
    );
}

/// The place after the closing quote of the string whose opening quote is at `opening`.
fn end_of_string(text: &[u8], opening: usize) -> usize {
    let mut place = opening + 1;
    loop {
        let rest = text.get(place..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(offset) if rest.get(offset) == Some(&b'\\') => place += offset + 2,
            Some(offset) => return place + offset + 1,
            None => return text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deduplicated(text: &str) -> String {
        let mut output = Vec::new();
        remove_duplicates(text.as_bytes(), &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn more_keys_than_memory_is_meant_for_are_refused() {
        let keys = |count: usize| format!("{{{}}}", vec![r#""a":1"#; count].join(","));
        assert_eq!(deduplicated(&keys(MAX_KEYS)), r#"{"a":1}"#);
        let refused = remove_duplicates(keys(MAX_KEYS + 1).as_bytes(), &mut Vec::new());
        assert_eq!(refused, Err(RowError::TooManyKeys { limit: MAX_KEYS }));
    }

    #[test]
    fn text_without_duplicates_stays() {
        for text in [
            "{}",
            r#"{"a":{"a":1},"b":[{"a":"},{"},{"a":"\"a\":"}],"\"":[],"":{}}"#,
            r#"{"a":"b","b":"a","c":[[],[1,2,"a"],{"a":[]}]}"#,
        ] {
            assert_eq!(deduplicated(text), text);
        }
    }

    #[test]
    fn last_value_takes_the_first_place() {
        for (text, expected) in [
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":1,"a":2,"a":3,"b":[]}"#, r#"{"a":3,"b":[]}"#),
            (
                r#"{"a":1,"b":2,"a":{"c":1,"d":[{"c":1,"c":2}],"c":3},"b":4}"#,
                r#"{"a":{"c":3,"d":[{"c":2}]},"b":4}"#,
            ),
            (r#"{"a":{"b":1,"b":2},"a":"x"}"#, r#"{"a":"x"}"#),
            (r#"[{"":1,"":2},{"":3}]"#, r#"[{"":2},{"":3}]"#),
        ] {
            assert_eq!(deduplicated(text), expected);
        }
    }

    #[test]
    fn many_duplicates_cost_linear_time() {
        let members: Vec<String> =
            (0..100_000).map(|index| format!(r#""k{}":{index}"#, index % 1_000)).collect();
        let expected: Vec<String> = (0..1_000).map(|key| format!(r#""k{key}":{}"#, 99_000 + key)).collect();
        assert_eq!(
            deduplicated(&format!("{{{}}}", members.join(","))),
            format!("{{{}}}", expected.join(","))
        );
    }
}
