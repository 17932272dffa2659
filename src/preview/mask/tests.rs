//! Tests of masking: what is hidden, what is shown, and that nothing else changes.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::row::{DecodedRow, Encoder, IngestionTime};

/// A customer as its row has it, and masked.
fn stored_and_masked(customer: &Value) -> (String, String) {
    stored_and_masked_text(&customer.to_string())
}

fn stored_and_masked_text(customer: &str) -> (String, String) {
    let mut row = Vec::new();
    Encoder::new(IngestionTime::MAX).encode(customer, &mut row).unwrap();
    let stored = DecodedRow::of(&row).unwrap().json_response.to_owned();
    let masked = mask(&stored);
    (stored, masked)
}

#[track_caller]
fn assert_masked(customer: &str, expected: &str) {
    assert_eq!(stored_and_masked_text(customer).1, expected);
}

#[test]
fn strings_are_hidden_and_everything_else_stays() {
    assert_masked(
        r#"{ "email" : "ann@example.com", "":"", "n":[1.10,1e5,-0,12345678901234567890], "w":[true,false,null] }"#,
        r#"{"email":"***","":"","n":[1.10,1e5,-0,12345678901234567890],"w":[true,false,null]}"#,
    );
    assert_masked(
        r#"{"a":["x",["y"],{"k":"z"}],"b\"\\":"\"","c":{"d":{"e":"f\\"}},"g":[]}"#,
        r#"{"a":["***",["***"],{"k":"***"}],"b\"\\":"***","c":{"d":{"e":"***"}},"g":[]}"#,
    );
    assert_masked(r#"{"größe":"é"}"#, r#"{"gr\u00f6\u00dfe":"***"}"#);
    assert_masked("{}", "{}");
}

#[test]
fn timestamps_tiers_and_closed_vocabularies_are_shown() {
    let shown = json!({
        "account_created_at": "2020-04-01T18:58:01",
        "account_status": "enabled",
        "default_currency": "USD",
        "channels": {"sms": {"consent": "never_subscribed", "timestamp": "2021-09-05T17:50:45"}},
        "lists": [{"since": "2023-05-22T11:08:52"}],
        "yotpo_loyalty": {"vip_tier_name": "Flow", "points_expire_at": "2027-02-27T00:00:00.000+00:00"},
    });
    let (stored, masked) = stored_and_masked(&shown);
    assert_eq!(stored, masked);
}

#[test]
fn a_shown_key_does_not_show_what_is_no_timestamp_or_is_inside_of_it() {
    assert_masked(
        r#"{"created_at":"ann@example.com","updated_at":{"name":"Ann","x":"2020-04-01"},"since":["2020-04-01"]}"#,
        r#"{"created_at":"***","updated_at":{"name":"***","x":"***"},"since":["***"]}"#,
    );
    assert_masked(r#"{"timestamp":[],"a":"2020-04-01"}"#, r#"{"timestamp":[],"a":"***"}"#);
    assert_masked(r#"{"timestamp":null,"a":["2020-04-01"]}"#, r#"{"timestamp":null,"a":["***"]}"#);
}

#[test]
fn a_date_under_an_unknown_key_is_hidden() {
    for key in ["birth_date", "born_at", "birthday", "Created_at", "created_at ", "x_created_at"] {
        let (_, masked) = stored_and_masked(&json!({ key: "1990-04-01" }));
        assert_eq!(masked, format!(r#"{{"{key}":"***"}}"#));
    }
}

#[test]
fn nothing_that_the_store_chooses_is_shown() {
    assert_masked(
        r#"{"custom_properties":{"created_at":"1990-04-01","a":{"since":"1990-04-01"},"n":1},"since":"2020-04-01"}"#,
        r#"{"custom_properties":{"created_at":"***","a":{"since":"***"},"n":1},"since":"2020-04-01"}"#,
    );
    assert_masked(
        r#"{"a":{"custom_properties":[{"since":"1990-04-01"},[]]},"since":"2020-04-01"}"#,
        r#"{"a":{"custom_properties":[{"since":"***"},[]]},"since":"2020-04-01"}"#,
    );
    for value in ["null", "{}", "[]", "1", "\"x\"", "\"\""] {
        let (stored, masked) =
            stored_and_masked_text(&format!(r#"{{"custom_properties":{value},"since":"2020-04-01"}}"#));
        assert_eq!(masked, stored.replace("\"x\"", "\"***\""));
    }
}

#[test]
fn the_documented_customers_show_no_personal_data() {
    let customer = json!({
        "external_id": "1000000001", "email": "real.customer@example.com", "phone_number": "+15551234567",
        "first_name": "Zoë", "last_name": "Customer", "gender": "F", "tags": "Standard,Test,Demo",
        "address": {"address1": "123 Example St", "city": "Anytown", "state": "California", "zip": "90210"},
        "custom_properties": {"favorite_store": "Beyoğlu", "shoe_size": 7.5},
        "yotpo_loyalty": {"credit_balance": "$0", "third_party_id": "5644237209757",
            "referral_link": {"code": "DQ2JE4W", "link": "rwrd.io/ref_DQ2JE4W"}},
    });
    let (_, masked) = stored_and_masked(&customer);
    assert!(strings(&serde_json::from_str(&masked).unwrap()).all(|text| text == MASK), "{masked}");
}

#[test]
fn text_that_is_no_row_is_hidden_and_never_panics() {
    for (text, expected) in [
        ("", ""),
        ("\"", "\"\""),
        ("\"abc", "\"***\""),
        ("{\"a\":\"b", "{\"a\":\"***\""),
        ("{\"a\":\"b\\", "{\"a\":\"***\""),
        ("{\"since\": \"2020-04-01\"}", "{\"since\": \"***\"}"),
        ("]]}}\"é\"", "]]}}\"***\""),
    ] {
        assert_eq!(mask(text), expected);
    }
}

/// Every string that is a value.
fn strings(value: &Value) -> Box<dyn Iterator<Item = String> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.clone())),
        Value::Array(items) => Box::new(items.iter().flat_map(strings)),
        Value::Object(members) => Box::new(members.values().flat_map(strings)),
        _ => Box::new(std::iter::empty()),
    }
}

/// A value with its spelling.
#[derive(Clone, Debug)]
enum Json {
    /// A number or word.
    Literal(String),
    /// The content of a string.
    Text(String),
    Array(Vec<Json>),
    /// Its keys may occur more than once.
    Object(Vec<(String, Json)>),
}

fn json_value() -> impl Strategy<Value = Json> {
    let literal = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?",
    ];
    // In no vocabulary.
    let hidden = "canary@([a-z@ {}\\[\\]:,]|\\\\\"|\\\\\\\\|\\\\u00e9){0,12}";
    let other = prop_oneof![
        Just("2020-04-01"),
        Just("2020-04-01T18:58:01Z"),
        Just("USD"),
        Just("enabled"),
        Just("Flow"),
        Just(""),
        Just("custom_properties"),
        Just("since"),
    ];
    let text = prop_oneof![hidden, other.prop_map(str::to_owned)];
    let leaf = prop_oneof![literal.prop_map(Json::Literal), text.prop_map(Json::Text)];
    let listed = proptest::sample::select(SHOWN.map(|(key, _)| key).to_vec());
    let unlisted = proptest::sample::select(vec!["a", "", "birth_date", "\\\"", "\\\\", "\\u00e9", "{", ":"]);
    let chosen = Just(CHOSEN_BY_THE_STORE);
    let key = prop_oneof![3 => listed, 2 => unlisted, 1 => chosen].prop_map(str::to_owned);
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(Json::Array),
            3 => vec((key.clone(), inner), 0..6).prop_map(Json::Object),
        ]
    })
}

/// The compact text of a value in which each string is written by `write`, which gets the key that the string belongs to.
fn written(value: &Json, key: Option<&str>, write: &impl Fn(Option<&str>, &str) -> String) -> String {
    match value {
        Json::Literal(text) => text.clone(),
        Json::Text(text) => format!("\"{}\"", write(key, text)),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item, None, write)).collect();
            format!("[{}]", items.join(","))
        }
        Json::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| {
                    let value = if key == CHOSEN_BY_THE_STORE {
                        // Its keys mean nothing.
                        hidden(value, write)
                    } else {
                        written(value, Some(key), write)
                    };
                    format!("\"{key}\":{value}")
                })
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// The text of a value in which no key means anything.
fn hidden(value: &Json, write: &impl Fn(Option<&str>, &str) -> String) -> String {
    match value {
        Json::Literal(_) | Json::Text(_) => written(value, None, write),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| hidden(item, write)).collect();
            format!("[{}]", items.join(","))
        }
        Json::Object(members) => {
            let member = |(key, value): &(String, Json)| format!("\"{key}\":{}", hidden(value, write));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
    }
}

proptest! {
    #[test]
    fn only_strings_change_and_only_listed_ones_are_shown(value in json_value()) {
        let text = written(&value, None, &|_, text| text.to_owned());
        let expected = written(&value, None, &|key, text| {
            let is_kept = text.is_empty() || key.is_some_and(|key| is_shown(key, text));
            if is_kept { text.to_owned() } else { MASK.to_owned() }
        });
        let masked = mask(&text);
        prop_assert_eq!(&masked, &expected, "{}", text);
        prop_assert!(serde_json::from_str::<&RawValue>(&masked).is_ok(), "{}", masked);
        prop_assert!(!masked.contains("canary"), "{}", masked);
    }

    #[test]
    fn arbitrary_text_never_panics_and_shows_no_string(text in "[\"\\\\{}\\[\\]:,aé0 ]{0,40}") {
        let masked = mask(&text);
        prop_assert!(masked.len() <= text.len() + 3 * text.matches('"').count() + 1);
    }
}
