//! The canonical form of a customer, and its digests.
//!
//! Owns when two customers are equal: as JSON values, whatever their whitespace, order of keys, escapes and spelling of
//! numbers. Also owns which keys identify a customer. Invariant: equal values have equal forms, and different values
//! different ones. Nothing of a customer is kept but 128 bits of SHA-256.

use std::fmt;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::error::{MAX_DEPTH, RowProblem};
use super::json::{Level, Members, level, object};
use super::number;

/// What identifies a customer, in this order: the first that has a value counts. Yotpo itself gives customers no id.
const IDENTITY: [&str; 3] = ["external_id", "email", "phone_number"];

/// The first 128 bits of a SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Digest([u64; 2]);

/// What is kept of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digests {
    /// Of its value.
    pub(super) value: Digest,
    /// Of what identifies it; [`Digest::NONE`] if nothing does.
    pub(super) customer: Digest,
}

/// Digests customers one after another, and reuses its memory.
#[derive(Default)]
pub(super) struct Digester {
    form: Vec<u8>,
}

impl Digest {
    /// Of nothing. No input is known that has it.
    pub(super) const NONE: Self = Self([0; 2]);

    fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let (words, _) = digest.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_be_bytes(*word));
        Self(std::array::from_fn(|_| words.next().unwrap_or_default()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A digest of an e-mail address can be guessed.
        formatter.write_str("Digest")
    }
}

impl Digester {
    /// The digests of a customer, the text of a JSON object.
    pub(super) fn digests(&mut self, text: &[u8]) -> Result<Digests, RowProblem> {
        let members = object(text)?;
        let customer = self.customer(&members)?;
        self.form.clear();
        write_object(&members, 0, &mut self.form)?;
        Ok(Digests { value: Digest::of(&self.form), customer })
    }

    fn customer(&mut self, members: &Members<'_>) -> Result<Digest, RowProblem> {
        for key in IDENTITY {
            let Some(value) = members.get(key) else { continue };
            self.form.clear();
            self.form.extend_from_slice(key.as_bytes());
            self.form.push(b'=');
            let before = self.form.len();
            match level(value)? {
                Level::Text(text) => self.form.extend_from_slice(text.trim_ascii()),
                // An id is the same with and without quotes.
                Level::Number(number) => self.form.extend_from_slice(number.as_bytes()),
                _ => {}
            }
            if self.form.len() > before {
                return Ok(Digest::of(&self.form));
            }
        }
        Ok(Digest::NONE)
    }
}

fn write_value(value: &RawValue, depth: usize, form: &mut Vec<u8>) -> Result<(), RowProblem> {
    match level(value)? {
        Level::Array(values) => {
            let depth = deeper(depth)?;
            form.push(b'[');
            values.into_iter().try_for_each(|value| write_value(value, depth, form))?;
            form.push(b']');
        }
        Level::Object(members) => write_object(&members, depth, form)?,
        scalar => write_scalar(&scalar, form),
    }
    Ok(())
}

fn write_object(members: &Members<'_>, depth: usize, form: &mut Vec<u8>) -> Result<(), RowProblem> {
    let depth = deeper(depth)?;
    form.push(b'{');
    for (key, value) in members.iter() {
        write_text(key, form);
        write_value(value, depth, form)?;
    }
    form.push(b'}');
    Ok(())
}

/// One level further down, if there may be one.
pub(super) fn deeper(depth: usize) -> Result<usize, RowProblem> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(RowProblem::TooDeep) }
}

/// Appends a value that has no parts; of an array or object, only what it is.
pub(super) fn write_scalar(value: &Level<'_>, form: &mut Vec<u8>) {
    match value {
        Level::Null => form.push(b'n'),
        Level::Bool(true) => form.push(b't'),
        Level::Bool(false) => form.push(b'f'),
        Level::Number(number) => number::write(number, form),
        Level::Text(text) => write_text(text, form),
        Level::Array(_) => form.push(b'['),
        Level::Object(_) => form.push(b'{'),
    }
}

fn write_text(text: &[u8], form: &mut Vec<u8>) {
    form.push(b's');
    form.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    form.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(text: &str) -> Digests {
        Digester::default().digests(text.as_bytes()).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn another_spelling_of_a_customer_is_equal() {
        let customer = r#"{"email":"Zoë@example.com","n":[1.10,1e5,-0],"a":{"b":null,"c":"/😀"}}"#;
        for other in [
            r#" { "email" : "Zo\u00eb@example.com" ,"n":[ 1.1, 100000.0,0 ],"a":{"b":null,"c":"\/\ud83d\uDE00"}}"#,
            r#"{"a":{"c":"/😀","b":null},"n":[1.1,1E5,0],"\u0065mail":"Zoë@example.com"}"#,
            r#"{"a":1,"email":2,"email":"Zoë@example.com","n":[1.1,1E5,0],"a":{"c":"/😀","b":1,"b":null}}"#,
        ] {
            assert_eq!(digests(other), digests(customer), "{other}");
        }
    }

    #[test]
    fn other_values_differ() {
        let customers = [
            "{}",
            r#"{"a":null}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":""}"#,
            r#"{"a":0}"#,
            r#"{"a":"0"}"#,
            r#"{"a":false}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[12]}"#,
            r#"{"a":[[1],2]}"#,
            r#"{"a":[[1,2]]}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":"\ud83d"}"#,
            r#"{"a":"?"}"#,
            r#"{"A":null}"#,
        ];
        for (at, customer) in customers.iter().enumerate() {
            for other in &customers[at + 1..] {
                assert_ne!(digests(customer).value, digests(other).value, "{customer} and {other}");
            }
        }
    }

    #[test]
    fn the_first_key_with_a_value_identifies_a_customer() {
        let customer = |text| digests(text).customer;
        let by_id = customer(r#"{"external_id":"7","email":"a@example.com","phone_number":"+1"}"#);
        assert_eq!(customer(r#"{"external_id":7,"email":"b@example.com"}"#), by_id);
        assert_eq!(customer(r#"{"external_id":" 7 "}"#), by_id);
        assert_ne!(customer(r#"{"email":"7"}"#), by_id);
        let by_email = customer(r#"{"email":"a@example.com"}"#);
        for other in [
            r#"{"external_id":null,"email":"a@example.com","phone_number":"+1"}"#,
            r#"{"external_id":"","email":"a@example.com"}"#,
            r#"{"external_id":["7"],"email":"a@example.com"}"#,
            r#"{"external_id":true,"email":"a@example.com"}"#,
            r#"{"external_id":false,"email":"a@example.com"}"#,
        ] {
            assert_eq!(customer(other), by_email, "{other}");
        }
        assert_ne!(customer(r#"{"phone_number":"+1"}"#), Digest::NONE);
        assert_eq!(customer(r#"{"first_name":"Ann","email":null}"#), Digest::NONE);
    }

    #[test]
    fn nesting_is_limited_on_a_small_stack() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let read = move |levels| Digester::default().digests(nested(levels).as_bytes());
        let on_a_small_stack = move || {
            assert!(read(MAX_DEPTH).is_ok());
            assert!(matches!(read(MAX_DEPTH + 1), Err(RowProblem::TooDeep)));
            assert!(matches!(read(100_000), Err(RowProblem::TooDeep)));
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn(on_a_small_stack).unwrap().join().unwrap();
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        let problem = |text: &str| Digester::default().digests(text.as_bytes()).unwrap_err();
        assert!(matches!(problem("[]"), RowProblem::NotAnObject));
        assert!(matches!(problem("{\"a\":}"), RowProblem::NotJson));
        assert_eq!(format!("{:?}", digests("{}")), "Digests { value: Digest, customer: Digest }");
    }
}
