//! `yotpo-td compare`, through the real program: each class of rows, how it ends, and nothing personal in any output.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::binary::{DATABASE, Running, Surroundings, TABLE};
use crate::program::closing_words::{assert_no_command, assert_words};
use crate::program::compared::{Inputs, TIME, customers, exported, gzip, part};

/// Both sides of the example in docs/compare.md.
fn example() -> Inputs {
    let inputs = Inputs::new();
    let shared = customers(1_200);
    let mut old: Vec<String> = shared.iter().map(|customer| customer.replace("Zoë", "Zo\\u00eb")).collect();
    old.push(r#"{"external_id":"x1","yotpo_loyalty":{"points_balance":10,"vip_tier_name":"Gold"}}"#.into());
    old.push(r#"{"external_id":"x2","yotpo_loyalty":{"points_balance":20}}"#.into());
    old.push(r#"{"external_id":"gone"}"#.into());
    let mut new: Vec<String> = shared;
    new[0] = r#"{"tags": ["a", {}], "points": 0.50, "external_id": "0", "first_name": "Zo\u00EB"}"#.into();
    new.push(r#"{"external_id":"x1","yotpo_loyalty":{"points_balance":15,"vip_tier_name":"Gold"}}"#.into());
    new.push(r#"{"external_id":"x2","yotpo_loyalty":null}"#.into());
    new.push(r#"{"external_id":"new"}"#.into());
    new.push(r#"{"external_id":"new"}"#.into());
    new.push(r#"{"external_id":"1","first_name":"Zoë","points":1.5,"tags":["a",{}]}"#.into());
    inputs.write("old.jsonl", exported(&old, TIME - 18_000));
    inputs.write("new/part_00000000_0123456789abcdef.msgpack.gz", part(&new[..700]));
    inputs.write("new/part_00000001_0123456789abcdef.msgpack.gz", part(&new[700..]));
    inputs.write("new/notes.txt", "ignored");
    inputs
}

#[test]
fn every_class_of_rows_is_counted_and_fields_are_named() {
    let inputs = example();
    let end = inputs.run(&["old.jsonl", "new"]);
    end.assert_code(7);
    assert_words!("compare_table", format!("{}---\n{}", end.stdout, end.stderr));
    assert_no_command(&end);
    let mut compared = inputs.compare("old.jsonl", "new");
    compared.assert_code(7);
    assert!(compared.result["peak_resident_bytes"].take().as_u64().is_none_or(|bytes| bytes > 1_000_000));
    assert_words!("compare_json", serde_json::to_string_pretty(&compared.result).unwrap());
    let swapped = inputs.compare("new", "old.jsonl");
    assert_eq!(swapped.classes(), [1_199, 1, 2, 3, 1]);
    assert_eq!(swapped.result["time_difference"]["utc_offset_seconds"], 18_000);
}

#[test]
fn equal_rows_in_another_order_and_spelling_succeed() {
    let inputs = Inputs::new();
    let (mut one, mut other) = (customers(50), customers(50));
    other.reverse();
    one[7] = r#"{"external_id":7,"n":[1.10,1e5,-0,123456789012345678901234567890]}"#.into();
    other[42] = r#"{ "n":[1.1,100000.0,0,123456789012345678901234567890], "external_id":7 }"#.into();
    inputs.write("a.jsonl", exported(&one, TIME));
    inputs.write("b.jsonl", exported(&other, TIME + 100));
    let end = inputs.run(&["a.jsonl", "b.jsonl"]);
    end.assert_code(0);
    assert_eq!(end.stderr, "");
    assert_words!("compare_equal", &end.stdout);
    let compared = inputs.compare("a.jsonl", "b.jsonl");
    compared.assert_code(0);
    assert_eq!(compared.classes(), [49, 1, 0, 0, 0]);
    let difference = &compared.result["time_difference"];
    assert_eq!((&difference["min_seconds"], &difference["utc_offset_seconds"]), (&json!(-100), &Value::Null));
}

#[test]
fn numbers_that_are_other_doubles_and_large_integers_differ() {
    let inputs = Inputs::new();
    for (one, other) in
        [("1.1", "1.10000000000000031"), ("9007199254740993", "9007199254740992"), ("1", "\"1\"")]
    {
        let customer = |number| [format!(r#"{{"external_id":"1","n":{number}}}"#)];
        inputs.write("a.jsonl", exported(&customer(one), TIME));
        inputs.write("b.jsonl", exported(&customer(other), TIME));
        let compared = inputs.compare("a.jsonl", "b.jsonl");
        compared.assert_code(7);
        assert_eq!(compared.classes(), [0, 0, 1, 0, 0], "{one} and {other}");
        assert_eq!(compared.result["fields"], json!([{"field": "n", "rows": 1}]));
    }
}

#[test]
fn a_table_with_two_loads_has_further_copies() {
    let inputs = Inputs::new();
    inputs.write("one.jsonl", exported(&customers(20), TIME));
    let twice = exported(&customers(20), TIME) + &exported(&customers(20), TIME + 86_400);
    inputs.write("twice.jsonl", twice);
    let compared = inputs.compare("twice.jsonl", "one.jsonl");
    compared.assert_code(7);
    assert_eq!(compared.classes(), [20, 0, 0, 20, 0]);
    assert_eq!((compared.number("further_copies_in_a"), compared.number("further_copies_in_b")), (20, 0));
    let a = &compared.result["a"];
    assert_eq!(
        (&a["customers"], &a["duplicate_rows"], &a["distinct_times"]),
        (&json!(20), &json!(20), &json!(2))
    );
    assert!(
        compared.end.closing().contains("hint: one side has rows more than once"),
        "{}",
        compared.end.stderr
    );
}

#[test]
fn settings_of_sync_are_ignored_and_those_of_logs_are_not() {
    let inputs = Inputs::new();
    inputs.write("a.jsonl", exported(&customers(3), TIME));
    inputs.write("b.jsonl", exported(&customers(2), TIME));
    let mut command = inputs.command(&["a.jsonl", "b.jsonl"]);
    command.envs([("YOTPO_TD_PAGE_SIZE", "many"), ("YOTPO_TD_LOG_FORMAT", "json"), ("TD_DATABASE", "")]);
    let end = Running::start(command).finish();
    end.assert_code(7);
    let line: Value = serde_json::from_str(&end.stderr).unwrap();
    assert_eq!(line["error"], "the rows differ: 0 changed, 1 only in A, 0 only in B");
    assert_eq!((&line["code"], &line["retryable"]), (&json!("rows_differ"), &json!(false)));
    assert_eq!(line["saved"], "nothing: compare only reads");
}

#[test]
fn nothing_of_a_customer_is_printed() {
    let inputs = Inputs::new();
    let customer = |value: u32| {
        format!(
            r#"{{"external_id":"canary-id","email":"canary@example.com","by_mail":{{"canary@example.com":{value}}},
                "by_phone":{{"canary 15551234567":{value}}},"a":{{"15551234567":{value}}},"note":"canary{value}"}}"#
        )
    };
    inputs.write("a.jsonl", exported(&[customer(930_517)], TIME));
    inputs.write("b.jsonl", exported(&[customer(930_518)], TIME));
    inputs.write("damaged.jsonl", exported(&[customer(930_517).replace(':', "=")], TIME));
    inputs.write("lines.jsonl", "{\"canary@example.com\" 930517}");
    for (a, b, code) in
        [("a.jsonl", "b.jsonl", 7), ("a.jsonl", "damaged.jsonl", 7), ("lines.jsonl", "a.jsonl", 7)]
    {
        for output in ["table", "json"] {
            let end = inputs.run(&[a, b, "--output", output, "--log-level", "trace"]);
            end.assert_code(code);
            for secret in ["canary", "930517", "930518", "5551234567"] {
                assert!(!end.stdout.contains(secret) && !end.stderr.contains(secret), "{secret}: {end:?}");
            }
        }
    }
    let fields = inputs.compare("a.jsonl", "b.jsonl").result["fields"].clone();
    let names: Vec<_> =
        fields.as_array().unwrap().iter().map(|field| field["field"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.…", "by_mail.…", "by_phone.…", "note"]);
}

#[test]
fn a_signal_ends_it_at_once() {
    let inputs = Inputs::new();
    // Terabytes of empty lines after the first row.
    let lines = gzip(&vec![b'\n'; 64 << 20]);
    inputs.write("endless.jsonl.gz", [gzip(b"{}\n"), lines.repeat(200)].concat());
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let arguments = ["endless.jsonl.gz", "endless.jsonl.gz", "--log-level", "debug"];
        let running = Running::start(inputs.command(&arguments));
        running.wait_for_stderr("comparing");
        running.signal(signal);
        let end = running.finish();
        end.assert_code(code);
        assert!(end.closing().starts_with("error: stopped by SIG"), "{}", end.stderr);
        assert!(
            end.last_line().starts_with("saved: nothing: compare only reads; retry with: yotpo-td compare")
        );
    }
}

#[test]
fn closed_streams_do_not_change_how_it_ends() {
    let inputs = example();
    for (b, code) in [("old.jsonl", 0), ("new", 7)] {
        let mut command = inputs.command(&["old.jsonl", b, "--log-level", "trace"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        Running::of_child(child).finish().assert_code(code);
    }
}

#[test]
fn a_row_needs_less_than_64_bytes_of_memory() {
    let inputs = Inputs::new();
    let peak = |rows: u32| {
        let padding = "x".repeat(300);
        let lines = |value: u8| {
            let line = |id| format!("{{\"external_id\":\"{id}\",\"padding\":\"{value}{padding}\"}}\n");
            (0..rows).map(line).collect::<Vec<_>>().concat()
        };
        inputs.write("a.jsonl.gz", gzip(lines(1).as_bytes()));
        inputs.write("b.jsonl.gz", gzip(lines(2).as_bytes()));
        // All rows changed: the fields of the first ones are compared, too.
        let compared = inputs.compare("a.jsonl.gz", "b.jsonl.gz");
        compared.assert_code(7);
        assert_eq!(compared.number("changed"), u64::from(rows));
        assert_eq!(compared.number("rows_with_fields"), u64::from(rows.min(10_000)));
        compared.result["peak_resident_bytes"].as_u64()
    };
    let (few, many) = (20_000, 220_000);
    if let (Some(small), Some(large)) = (peak(few), peak(many)) {
        let rows = u64::from(2 * (many - few));
        assert!(large < small + 64 * rows, "{small} and {large} bytes");
    }
}

#[test]
fn the_rows_of_a_sync_are_the_customers_of_the_store() {
    let (surroundings, inputs) = (Surroundings::with_customers(200), Inputs::new());
    surroundings.run(&[]).assert_code(0);
    let control = surroundings.control();
    let loaded: Vec<String> =
        control.rows(DATABASE, TABLE).unwrap().map(|row| row.unwrap().json_response.unwrap()).collect();
    let expected: Vec<String> = (0..200).map(|index| control.expected_json_response(index)).collect();
    inputs.write("loaded.jsonl", exported(&loaded, TIME));
    inputs.write("expected.jsonl", expected.join("\n"));
    let compared = inputs.compare("loaded.jsonl", "expected.jsonl");
    compared.assert_code(0);
    assert_eq!(compared.classes(), [200, 0, 0, 0, 0]);
}
