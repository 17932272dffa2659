//! Detects errors that a successful response reports.
//!
//! Owns which keys and values of a page mean that Yotpo failed. Invariant: the values are not kept, because they may quote a
//! customer.

use serde_json::Value;

/// Whether a key of a page reports an error: a non-empty `error`, `errors` or `error_type`, or a `status` that means failure.
/// `value` is JSON text.
pub(super) fn reports_error(key: &str, value: &str) -> bool {
    match key {
        "error" | "errors" | "error_type" => !is_empty(value),
        "status" => is_failure(value),
        _ => false,
    }
}

/// Whether a value is null, false, 0, a blank string, or an empty array or object.
fn is_empty(value: &str) -> bool {
    // Not parsed as a `Value`, because it may be nested more deeply than that allows.
    let mut compact = value.chars().filter(|character| !character.is_ascii_whitespace());
    match compact.next() {
        Some('"') => serde_json::from_str::<String>(value).is_ok_and(|text| text.trim().is_empty()),
        Some('[' | '{') => matches!(compact.next(), Some(']' | '}')),
        Some('n' | 'f') => true,
        Some('t') | None => false,
        Some(_) => value.trim().parse() == Ok(0.0),
    }
}

/// Whether a status is a code of 400 or more, alone or as the `code` of an object, or a word for failure.
fn is_failure(value: &str) -> bool {
    let Ok(status) = serde_json::from_str::<Value>(value) else { return false };
    let code = if status.is_object() { status.get("code") } else { Some(&status) };
    match code {
        Some(Value::Number(code)) => code.as_f64().is_some_and(is_failure_code),
        Some(Value::String(word)) => {
            let word = word.trim().to_ascii_lowercase();
            word.parse().map_or_else(
                |_no_number| matches!(word.as_str(), "error" | "fail" | "failed" | "failure"),
                is_failure_code,
            )
        }
        _ => false,
    }
}

fn is_failure_code(code: f64) -> bool {
    (400.0..600.0).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_non_empty_value_is_an_error() {
        for key in ["error", "errors", "error_type"] {
            for empty in ["null", "false", "0", "-0.0", r#""""#, r#"" \n""#, "[]", "{}", "[ \n ]", " { }"] {
                assert!(!reports_error(key, empty), "{key} {empty}");
            }
            let deep = "[".repeat(10_000);
            for error in
                [r#""timeout""#, r#"[{"message":"timeout"}]"#, r#"{"a":null}"#, "[null]", "true", "7", &deep]
            {
                assert!(reports_error(key, error), "{key} {error}");
            }
        }
    }

    #[test]
    fn status_is_an_error_only_if_it_means_failure() {
        for fine in [
            "null",
            "200",
            r#""OK""#,
            r#""200""#,
            "{}",
            "[]",
            r#"{"code":200,"message":"OK"}"#,
            r#"{"message":"error"}"#,
            r#"{"code":0}"#,
            r#"{"code":null}"#,
            "true",
        ] {
            assert!(!reports_error("status", fine), "{fine}");
        }
        for failure in [
            "500",
            r#""500""#,
            r#""Error""#,
            r#""failed""#,
            r#"{"code":503,"message":"timeout"}"#,
            r#" { "message" : "timeout" , "code" : "400" }"#,
        ] {
            assert!(reports_error("status", failure), "{failure}");
        }
    }

    #[test]
    fn other_keys_report_nothing() {
        for key in ["customers", "pagination", "message", "Error", ""] {
            assert!(!reports_error(key, r#""error""#), "{key}");
        }
    }
}
