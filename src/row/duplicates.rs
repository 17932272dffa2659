//! Duplicate keys: the exact check of a customer in which the filter suspects some.
//!
//! Owns the rule, which is Python's: the last value wins, at the position of the first. Works on compact text, in which
//! equal keys are equal bytes. Invariant: text without duplicates is unchanged, and time and memory are linear in the
//! text. Iterative: nesting needs heap, not stack.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::error::{MAX_KEYS, RowError};

/// A key and its value, as ranges of the text.
#[derive(Clone)]
struct Member {
    key: Range<usize>,
    /// Including the colon before it.
    value: Range<usize>,
}

/// A change to the text: the range is removed, or replaced by the range `replacement`.
struct Edit {
    range: Range<usize>,
    replacement: Option<Range<usize>>,
}

/// Appends `text`, which is compact JSON, to `output` without duplicate keys. Appends nothing on an error.
///
/// # Errors
/// When the open objects have more keys than [`MAX_KEYS`].
pub(super) fn remove_duplicates(text: &[u8], output: &mut Vec<u8>) -> Result<(), RowError> {
    let mut edits = find_edits(text)?;
    edits.sort_unstable_by_key(|edit| edit.range.start);
    // Ranges that are still to be written, the next one last.
    let mut pending = Vec::from([Range { start: 0, end: text.len() }]);
    while let Some(range) = pending.pop() {
        let next = edits.partition_point(|edit| edit.range.start < range.start);
        match edits.get(next).filter(|edit| edit.range.start < range.end) {
            None => output.extend_from_slice(text.get(range).unwrap_or_default()),
            Some(edit) => {
                output.extend_from_slice(text.get(range.start..edit.range.start).unwrap_or_default());
                pending.push(edit.range.end..range.end);
                pending.extend(edit.replacement.clone());
            }
        }
    }
    Ok(())
}

/// Visits all objects, including those that another edit will remove.
fn find_edits(text: &[u8]) -> Result<Vec<Edit>, RowError> {
    let mut edits = Vec::new();
    // Members of all open objects, the innermost last.
    let mut members: Vec<Member> = Vec::new();
    // The index of the first member of each open object; `None` for an open array.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let end_of_value = match byte {
            b'"' => {
                let end = end_of_string(text, at);
                if text.get(end) == Some(&b':') {
                    if members.len() == MAX_KEYS {
                        return Err(RowError::TooManyKeys { limit: MAX_KEYS });
                    }
                    members.push(Member { key: at..end, value: end..end });
                }
                at = end;
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
                member.value.end = at;
            }
            if *byte == b'}' {
                edit_object(text, members.get(first..).unwrap_or_default(), &mut edits);
                members.truncate(first);
            }
        }
        at += 1;
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
                // Including the comma before it: the first member of an object is never a repetition.
                let range = member.key.start.saturating_sub(1)..member.value.end;
                edits.push(Edit { range, replacement: None });
            }
        }
    }
    let repeated = known.values().filter(|(first, last)| first.key != last.key);
    edits.extend(
        repeated
            .map(|(first, last)| Edit { range: first.value.clone(), replacement: Some(last.value.clone()) }),
    );
}

/// The position after the closing quote of the string whose opening quote is at `opening`.
fn end_of_string(text: &[u8], opening: usize) -> usize {
    let mut at = opening + 1;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(offset) if rest.get(offset) == Some(&b'\\') => at += offset + 2,
            Some(offset) => return at + offset + 1,
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
    fn more_keys_than_the_limit_are_an_error() {
        let keys = |count: usize| format!("{{{}}}", vec![r#""a":1"#; count].join(","));
        assert_eq!(deduplicated(&keys(MAX_KEYS)), r#"{"a":1}"#);
        let result = remove_duplicates(keys(MAX_KEYS + 1).as_bytes(), &mut Vec::new());
        assert_eq!(result, Err(RowError::TooManyKeys { limit: MAX_KEYS }));
    }

    #[test]
    fn text_without_duplicates_is_unchanged() {
        for text in [
            "{}",
            r#"{"a":{"a":1},"b":[{"a":"},{"},{"a":"\"a\":"}],"\"":[],"":{}}"#,
            r#"{"a":"b","b":"a","c":[[],[1,2,"a"],{"a":[]}]}"#,
        ] {
            assert_eq!(deduplicated(text), text);
        }
    }

    #[test]
    fn last_value_replaces_the_first() {
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
    fn many_duplicates_need_linear_time() {
        let members: Vec<String> =
            (0..100_000).map(|index| format!(r#""k{}":{index}"#, index % 1_000)).collect();
        let expected: Vec<String> = (0..1_000).map(|key| format!(r#""k{key}":{}"#, 99_000 + key)).collect();
        assert_eq!(
            deduplicated(&format!("{{{}}}", members.join(","))),
            format!("{{{}}}", expected.join(","))
        );
    }
}
