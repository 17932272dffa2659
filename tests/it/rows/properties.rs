//! Properties of rows and parts over arbitrary customers.
//!
//! Customers are generated as values, then written with random whitespace and random spellings of each character. The
//! expected row is computed from the value by a writer that shares no code with the program.

use std::fmt::Write as _;
use std::io::Read as _;

use flate2::read::GzDecoder;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;
use yotpo_td::part::{ChunkEncoder, CompressionLevel, PartBuilder};
use yotpo_td::row::{self, Encoder, IngestionTime, RowError, Rows};

/// A string as UTF-16 units, which may be lone surrogates, each with a choice of spelling.
type Text = Vec<(u16, u8)>;

#[derive(Clone, Debug)]
enum Json {
    Word(&'static str),
    Number(String),
    String(Text),
    Array(Vec<Json>, String),
    Object(Vec<(Text, Json)>, String),
}

fn text() -> impl Strategy<Value = Text> {
    let unit = prop_oneof![
        6 => 0x20..0x7f_u16,
        1 => 0..0x20_u16,
        1 => Just(0x7f_u16),
        1 => 0x80..0xd800_u16,
        1 => 0xd800..0xe000_u16,
        1 => 0xe000..=0xffff_u16,
        1 => prop_oneof![Just(u16::from(b'"')), Just(u16::from(b'\\')), Just(u16::from(b'/'))],
    ];
    vec((unit, any::<u8>()), 0..12)
}

/// Only a few different keys, so that duplicates are common.
fn key() -> impl Strategy<Value = Text> {
    let short =
        prop_oneof![Just("a"), Just("b"), Just("é"), Just("\""), Just("a longer key than sixteen"), Just("")];
    let spelled = (short, any::<u8>())
        .prop_map(|(key, spelling)| key.encode_utf16().map(|unit| (unit, spelling)).collect());
    prop_oneof![3 => spelled, 1 => text()]
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ \t\r\n]{1,3}", 1 => "[ \n]{60,70}"]
}

fn members(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
    (vec((key(), value), 0..8), space()).prop_map(|(members, space)| Json::Object(members, space))
}

fn customer() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(Json::Word),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?".prop_map(Json::Number),
        text().prop_map(Json::String),
    ];
    let value = leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            (vec(inner.clone(), 0..5), space()).prop_map(|(items, space)| Json::Array(items, space)),
            members(inner),
        ]
    });
    members(value)
}

/// Writes a value as a service might: in any spelling, with whitespace wherever it is allowed.
fn sent(value: &Json) -> String {
    match value {
        Json::Word(word) => (*word).to_owned(),
        Json::Number(number) => number.clone(),
        Json::String(text) => spelled(text),
        Json::Array(items, space) => {
            let items: Vec<String> =
                items.iter().map(|item| format!("{space}{}{space}", sent(item))).collect();
            format!("[{space}{}]", items.join(","))
        }
        Json::Object(members, space) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{space}{}{space}:{space}{}{space}", spelled(key), sent(value)))
                .collect();
            format!("{{{space}{}}}", members.join(","))
        }
    }
}

fn spelled(text: &Text) -> String {
    let mut written = String::from("\"");
    let mut units = text.iter().copied().peekable();
    while let Some((unit, spelling)) = units.next() {
        let pair = units.peek().and_then(|(next, _)| String::from_utf16(&[unit, *next]).ok());
        let raw =
            String::from_utf16(&[unit]).ok().filter(|raw| raw.as_str() >= " " && raw != "\"" && raw != "\\");
        let short =
            "\"\"\\\\//\u{8}b\u{c}f\nn\rr\tt".as_bytes().chunks(2).find(|pair| u16::from(pair[0]) == unit);
        match (spelling % 4, pair.filter(|_| (0xd800..0xdc00).contains(&unit)), raw, short) {
            (0, Some(pair), ..) => {
                written.push_str(&pair);
                units.next();
            }
            (0 | 1, _, Some(raw), _) => written.push_str(&raw),
            (0..=2, _, _, Some(short)) => write!(written, "\\{}", char::from(short[1])).unwrap(),
            (_, _, _, _) if spelling % 8 < 4 => write!(written, "\\u{unit:04x}").unwrap(),
            _ => write!(written, "\\u{unit:04X}").unwrap(),
        }
    }
    written + "\""
}

/// Writes a value as Python does, numbers verbatim.
fn expected(value: &Json) -> String {
    match value {
        Json::Word(word) => (*word).to_owned(),
        Json::Number(number) => number.clone(),
        Json::String(text) => escaped(text),
        Json::Array(items, _) => format!("[{}]", items.iter().map(expected).collect::<Vec<_>>().join(",")),
        Json::Object(members, _) => {
            let mut kept: Vec<(String, String)> = Vec::new();
            for (key, value) in members {
                let (key, value) = (escaped(key), expected(value));
                match kept.iter_mut().find(|(known, _)| *known == key) {
                    Some(member) => member.1 = value,
                    None => kept.push((key, value)),
                }
            }
            let members: Vec<String> =
                kept.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn escaped(text: &Text) -> String {
    let units = text.iter().map(|(unit, _)| match *unit {
        0x22 => "\\\"".to_owned(),
        0x5c => "\\\\".to_owned(),
        0x08 => "\\b".to_owned(),
        0x0c => "\\f".to_owned(),
        0x0a => "\\n".to_owned(),
        0x0d => "\\r".to_owned(),
        0x09 => "\\t".to_owned(),
        0x20..=0x7e => String::from_utf16(&[*unit]).unwrap(),
        other => format!("\\u{other:04x}"),
    });
    format!("\"{}\"", units.collect::<String>())
}

/// A position in a text, the length to remove, and the replacement.
fn damage() -> impl Strategy<Value = (prop::sample::Index, (usize, String))> {
    let replacement = prop_oneof![
        3 => "[\\[\\]{}:,\"\\\\ \n0-9a-fnrtuE.+-]{0,2}",
        1 => any::<char>().prop_map(String::from),
        1 => Just("null".to_owned()),
    ];
    (any::<prop::sample::Index>(), (0..3_usize, replacement))
}

fn damaged(text: &str, position: usize, (length, replacement): &(usize, String)) -> String {
    let start = text.floor_char_boundary(position);
    let end = text.floor_char_boundary(start + length).max(start);
    format!("{}{replacement}{}", &text[..start], &text[end..])
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.trim().to_owned()).unwrap()
}

fn compact(customer: &RawValue) -> String {
    let mut output = Vec::new();
    row::compact(customer, &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

fn row_of(customer: &RawValue) -> Vec<u8> {
    let mut row = Vec::new();
    row::encode(customer, IngestionTime::MAX, &mut row).unwrap();
    row
}

fn part_of<'a>(pages: impl IntoIterator<Item = &'a [Box<RawValue>]>, level: u8) -> yotpo_td::part::Part {
    let mut encoder = ChunkEncoder::new(CompressionLevel::new(level).unwrap());
    let mut builder = PartBuilder::new();
    for page in pages {
        encoder.add(&page.iter().map(|customer| row_of(customer)).collect::<Rows>());
        builder.append(&encoder.finish().unwrap());
    }
    builder.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_024) })]

    #[test]
    fn compact_form_matches_the_value(customer in customer(), space in space()) {
        let customer_text = raw(&format!("{space}{}", sent(&customer)));
        prop_assert_eq!(compact(&customer_text), expected(&customer));
    }

    #[test]
    fn compact_form_is_stable_ascii_json(customer in customer()) {
        let once = compact(&raw(&sent(&customer)));
        prop_assert!(once.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert_eq!(compact(&raw(&once)), once);
    }

    #[test]
    fn damaged_text_is_rejected_if_another_parser_rejects_it(customer in customer(), damages in vec(damage(), 30)) {
        let text = sent(&customer);
        let mut encoder = Encoder::new(IngestionTime::MAX);
        for (position, damage) in damages {
            let damaged = damaged(&text, position.index(text.len()), &damage);
            let result = encoder.encode(&damaged, &mut Vec::new());
            let other_parser = serde_json::from_str::<&RawValue>(&damaged);
            prop_assert_eq!(result == Err(RowError::Malformed), other_parser.is_err(), "{}", damaged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn part_contains_exactly_the_rows_in_order_for_any_page_boundaries(
        customers in vec(customer(), 0..30),
        cuts in vec(0..30_usize, 0..5),
        level in 1..=9_u8,
    ) {
        let customers: Vec<Box<RawValue>> = customers.iter().map(|customer| raw(&sent(customer))).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(customers.len())).collect();
        cuts.extend([0, customers.len()]);
        cuts.sort_unstable();
        let part = part_of(cuts.windows(2).map(|ends| &customers[ends[0]..ends[1]]), level);

        let mut rows = Vec::new();
        for customer in &customers {
            row::encode(customer, IngestionTime::MAX, &mut rows).unwrap();
        }
        // The decoder compares checksum and length with the trailer.
        let mut decompressed = Vec::new();
        let mut decoder = GzDecoder::new(&part.body[..]);
        decoder.read_to_end(&mut decompressed).unwrap();
        prop_assert!(decoder.into_inner().is_empty());
        prop_assert_eq!(decompressed, &rows[..]);
        prop_assert_eq!((part.rows, part.uncompressed_bytes), (customers.len() as u64, rows.len() as u64));
        let trailer = &part.body[part.body.len() - 8..];
        prop_assert_eq!(&trailer[..4], &crc32fast::hash(&rows).to_le_bytes()[..]);
        prop_assert_eq!(&trailer[4..], &u32::try_from(rows.len()).unwrap().to_le_bytes()[..]);
    }
}
