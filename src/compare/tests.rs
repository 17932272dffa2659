use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::canonical::Digester;
use super::fields::FieldReader;
use super::*;

fn compared(a: &Path, b: &Path) -> Result<Comparison, CompareError> {
    compare(&[Input::at(a)?, Input::at(b)?], &CompareProgress::default())
}

fn of_bytes(a: &[u8], b: &[u8]) -> Result<Comparison, CompareError> {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| directory.path().join(name));
    for (path, bytes) in paths.iter().zip([a, b]) {
        fs::write(path, bytes).unwrap();
    }
    let [a, b] = &paths;
    compared(a, b)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_file_that_changes_between_the_passes_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| directory.path().join(name));
    fs::write(&paths[0], "{\"external_id\":1,\"x\":1}\n").unwrap();
    fs::write(&paths[1], "{\"external_id\":1,\"x\":2}\n").unwrap();
    let inputs = paths.each_ref().map(|path| Input::at(path).unwrap());
    let progress = CompareProgress::default();
    let changed = Matching { pairs: Vec::new(), ..Matching::default() };
    assert_eq!(differing_fields(&inputs, &changed, &progress).unwrap(), (Vec::new(), 0));
    let digest = |text: &str| Digester::default().digests(text.as_bytes()).unwrap().value;
    let values = [digest(r#"{"external_id":1,"x":1}"#), digest(r#"{"external_id":1,"x":3}"#)];
    let changed = Matching { pairs: vec![values], ..Matching::default() };
    let error = differing_fields(&inputs, &changed, &progress).unwrap_err();
    assert_eq!(error.to_string(), format!("{} changed while it was compared", paths[1].display()));
}

#[test]
fn a_stop_ends_the_comparison() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows");
    fs::write(&path, "{}\n".repeat(1_000)).unwrap();
    let progress = CompareProgress::default();
    progress.stop();
    let inputs = [Input::at(&path).unwrap(), Input::at(&path).unwrap()];
    assert!(matches!(compare(&inputs, &progress), Err(CompareError::Stopped)));
    assert!(progress.rows().iter().all(|rows| *rows == 1));
}

#[test]
fn rows_and_customers_of_each_side_are_counted() {
    let one =
        "{\"email\":\"a\",\"x\":1}\n{\"email\":\"a\",\"x\":1}\n{\"email\":\"b\"}\n{\"x\":1}\n{\"x\":2}\n";
    let other = "{\"email\":\"a\"}\n{\"email\":\"b\"}\n";
    let [one, other] = of_bytes(one.as_bytes(), other.as_bytes()).unwrap().sides;
    let facts = SideFacts { files: 1, customers: 2, ..SideFacts::default() };
    let counts = SideFacts { rows: 5, rows_without_id: 2, duplicates: 1, rows_without_time: 5, ..facts };
    assert_eq!(one, counts);
    assert_eq!(other, SideFacts { rows: 2, rows_without_time: 2, ..facts });
}

#[test]
fn fields_that_only_one_side_has_are_named() {
    let without = b"{\"email\":\"a\"}\n";
    let with = b"{\"email\":\"a\",\"x\":{\"y\":1}}\n";
    for (a, b) in [(&without[..], &with[..]), (with, without)] {
        let found = of_bytes(a, b).unwrap();
        assert_eq!((found.fields, found.rows_with_fields), (vec![("x.y".to_owned(), 1)], 1));
    }
}

/// JSON without numbers that Python and this crate write differently, and without repeated keys.
fn values() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        "[ -~é😀\\\\\"/\n]{0,6}".prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-cé ]{0,2}", inner, 0..4)
                .prop_map(|members| Value::from(serde_json::Map::from_iter(members))),
        ]
    })
}

/// Another writer: white space everywhere, all characters escaped, keys in reverse order, numbers with an exponent.
fn written_otherwise(value: &Value) -> String {
    let escaped = |text: &str| {
        let units: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{}\"", units.concat())
    };
    match value {
        Value::String(text) => escaped(text),
        Value::Number(number) if number.is_f64() => format!("{:e}", number.as_f64().unwrap()),
        Value::Array(values) => {
            format!("[ {} ]", values.iter().map(written_otherwise).collect::<Vec<_>>().join(" ,\t"))
        }
        Value::Object(members) => {
            let member =
                |(key, value): (&String, &Value)| format!("{} : {}", escaped(key), written_otherwise(value));
            format!("{{\n{}}}", members.iter().rev().map(member).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

fn differences(one: &str, other: &str) -> usize {
    let mut reader = FieldReader::default();
    let [one, other] = [one, other].map(|text| reader.fields(text.as_bytes()).unwrap());
    reader.paths.differences(&one, &other).len()
}

proptest! {
    #[test]
    fn equal_values_have_equal_forms_in_any_spelling(value in values()) {
        let customer = json!({"customer": value});
        let (one, other) = (customer.to_string(), written_otherwise(&customer));
        let digests = |text: &str| Digester::default().digests(text.as_bytes()).unwrap();
        prop_assert_eq!(digests(&one), digests(&other), "{} {}", one, other);
        prop_assert_eq!(differences(&one, &other), 0);
    }

    #[test]
    fn different_values_differ_in_their_form_and_in_a_field(one in values(), other in values()) {
        let (one, other) = (json!({"customer": one}), json!({"customer": other}));
        let digest = |value: &Value| Digester::default().digests(value.to_string().as_bytes()).unwrap().value;
        // serde_json tells 1 and 1.0 apart.
        let is_equal = as_doubles(&one) == as_doubles(&other);
        prop_assert_eq!(digest(&one) == digest(&other), is_equal, "{} {}", one, other);
        prop_assert_eq!(differences(&one.to_string(), &other.to_string()) == 0, is_equal);
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for bytes in [bytes.clone(), gzip(&bytes), [b"\x82".as_slice(), &bytes].concat(), [b"{", bytes.as_slice()].concat()] {
            let _ = of_bytes(&bytes, b"{}");
        }
    }

    #[test]
    fn no_damage_panics_or_is_taken_for_other_rows(place in 0..1_000_usize, flip in 1..=255_u8, length in 0..1_000_usize) {
        let rows = "{\"json_response\":\"{\\\"external_id\\\":1}\",\"time\":1}\n".repeat(100);
        let whole = gzip(rows.as_bytes());
        let mut damaged = whole.clone();
        let place = place % damaged.len();
        damaged[place] ^= flip;
        // Flags and time in the header, and the bits after the last block, are not part of the content.
        if let Ok(found) = of_bytes(&damaged, &whole) {
            prop_assert!(found.is_equal(), "byte {}", place);
        }
        prop_assert!(of_bytes(&whole[..length % whole.len()], &whole).is_err());
    }
}

/// The value with each number as a double, where that is exact.
fn as_doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            // Without a sign of zero.
            let double = number.as_f64().unwrap() + 0.0;
            // A double without decimals is as exact as an integer.
            let is_whole = number.is_f64() && double.fract() == 0.0;
            json!({ "number": if is_whole { format!("{double:.0}") } else { number.to_string() } })
        }
        Value::Array(values) => values.iter().map(as_doubles).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), as_doubles(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}
