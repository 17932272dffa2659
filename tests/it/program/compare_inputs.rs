//! What `yotpo-td compare` reads: each form of rows, and each error with its exit code.

use serde_json::{Value, json};
use yotpo_td::sandbox::FaultKind;

use crate::program::binary::{Surroundings, files_below};
use crate::program::closing_words::{CORRECT_AND_RETRY, assert_no_command, assert_words, next_command_to};
use crate::program::compared::{Inputs, TIME, customers, exported, gzip, part};

#[test]
fn every_form_of_rows_is_read() {
    let inputs = Inputs::new();
    let customers = customers(30);
    let compact: Vec<String> =
        customers.iter().map(|customer| customer.replace("Zoë", "Zo\\u00eb")).collect();
    let unpacked = |gzip: Vec<u8>| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&gzip[..]), &mut bytes).unwrap();
        bytes
    };
    let embedded = |customer: &String| format!("{{\"time\":{TIME},\"json_response\":{customer}}}\r\n");
    let embedded = compact.iter().map(embedded).collect::<Vec<_>>().concat();
    let exported = exported(&compact, TIME);
    let lines = compact.join("\n");
    let forms = [
        ("part", part(&customers)),
        ("parts joined", [part(&customers[..10]), part(&customers[10..])].concat()),
        ("rows", unpacked(part(&customers))),
        ("exported", exported.clone().into()),
        ("exported, with a byte order mark", format!("\u{feff}\n{exported}").into()),
        ("exported, gzip", gzip(exported.as_bytes())),
        (
            "exported, two members",
            [&exported[..500], &exported[500..]].map(|half| gzip(half.as_bytes())).concat(),
        ),
        ("embedded", embedded.into()),
        ("customers", lines.clone().into()),
        ("customers, gzip", gzip(lines.as_bytes())),
    ];
    for (name, content) in forms {
        inputs.write("a", content);
        inputs.write("b", part(&customers));
        let compared = inputs.compare("a", "b");
        compared.assert_code(0);
        assert_eq!(compared.classes(), [30, 0, 0, 0, 0], "{name}");
        let without_time = if name.starts_with("customers") { 30 } else { 0 };
        assert_eq!(compared.result["a"]["rows_without_time"], without_time, "{name}");
    }
}

#[test]
fn a_directory_is_read_file_by_file_and_other_files_are_ignored() {
    let inputs = Inputs::new();
    let customers = customers(50);
    let groups: Vec<_> = customers.chunks(10).collect();
    inputs.write("all.jsonl", exported(&customers, TIME));
    inputs.write("directory/1.msgpack.gz", part(groups[0]));
    inputs.write("directory/2.jsonl", exported(groups[1], TIME));
    inputs.write("directory/3.ndjson", exported(groups[2], TIME));
    inputs.write("directory/4.jsonl.gz", gzip(exported(groups[3], TIME).as_bytes()));
    inputs.write("directory/5.ndjson.gz", gzip(exported(groups[4], TIME).as_bytes()));
    for ignored in ["notes.txt", ".hidden.jsonl", "6.msgpack.gz.tmp", "below/7.jsonl"] {
        inputs.write(&format!("directory/{ignored}"), "ignored");
    }
    let compared = inputs.compare("directory", "all.jsonl");
    compared.assert_code(0);
    assert_eq!((&compared.result["a"]["files"], &compared.result["b"]["files"]), (&json!(5), &json!(1)));
}

#[test]
fn an_export_is_read_as_its_manifest_lists_it() {
    let (surroundings, inputs) = (Surroundings::with_customers(60), Inputs::new());
    let directory = inputs.path("export");
    let export =
        |arguments: &[&str]| surroundings.run(&[&["--to", directory.to_str().unwrap()], arguments].concat());
    // Interrupted after some parts.
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    export(&[]).assert_code(4);
    surroundings.end_faults();
    inputs.write("customers.jsonl", exported(&customers(1), TIME));
    let end = inputs.run(&["export", "customers.jsonl"]);
    end.assert_code(6);
    assert!(end.closing().contains("error: the export in export is incomplete: "), "{}", end.stderr);
    assert!(end.closing().contains("code: export_unusable (exit code 6)"), "{}", end.stderr);
    export(&[]).assert_code(0);
    let control = surroundings.control();
    let store: Vec<String> = (0..60).map(|index| control.expected_json_response(index)).collect();
    inputs.write("customers.jsonl", store.join("\n"));
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(directory.join("manifest.json")).unwrap()).unwrap();
    let parts = manifest["manifest"]["parts"].as_array().unwrap().len();
    assert!(parts > 2, "{manifest}");
    // A part that the manifest does not list is not read.
    inputs.write("export/part_99999999_0123456789abcdef.msgpack.gz", part(&customers(9)));
    let compared = inputs.compare("export", "customers.jsonl");
    compared.assert_code(0);
    assert_eq!(compared.classes(), [60, 0, 0, 0, 0]);
    assert_eq!(compared.result["a"]["files"], parts);
    // A part that differs from the manifest is not compared, although it could be read.
    let named = files_below(&directory);
    let (listed, _) =
        named.iter().find(|(path, _)| path.to_str().unwrap().contains("part_00000001")).unwrap();
    let size = std::fs::metadata(listed).unwrap().len();
    for (content, words) in [
        (part(&customers(10)), "has another size than the manifest lists"),
        (vec![0; usize::try_from(size).unwrap()], "is damaged: its checksum is not the one in the manifest"),
    ] {
        std::fs::write(listed, content).unwrap();
        let end = inputs.run(&["customers.jsonl", "export"]);
        end.assert_code(6);
        assert!(end.closing().contains(words), "{}", end.stderr);
    }
    inputs.write("export/manifest.json", "{}");
    let end = inputs.run(&["export", "customers.jsonl"]);
    end.assert_code(6);
    assert!(end.closing().contains("the manifest export/manifest.json cannot be used"), "{}", end.stderr);
}

#[test]
fn an_export_of_an_empty_store_has_no_rows() {
    let (surroundings, inputs) = (Surroundings::with_customers(0), Inputs::new());
    let directory = inputs.path("export");
    surroundings.run(&["--to", directory.to_str().unwrap()]).assert_code(0);
    let compared = inputs.compare("export", "export");
    compared.assert_code(0);
    assert_eq!(compared.classes(), [0; 5]);
}

/// Compares something damaged with something whole, on either side; returns the closing words.
#[track_caller]
fn assert_damaged(content: impl AsRef<[u8]>, words: &str) {
    let inputs = Inputs::new();
    inputs.write("damaged", content);
    inputs.write("whole", exported(&customers(3), TIME));
    for arguments in [["damaged", "whole"], ["whole", "damaged"]] {
        let end = inputs.run(&arguments);
        end.assert_code(7);
        assert_eq!(end.stdout, "");
        let closing = end.closing();
        assert!(closing.starts_with(&format!("error: damaged{words}\nhint: ")), "{words}: {closing}");
        assert!(closing.contains("\ncode: input_damaged (exit code 7)\n"), "{closing}");
        assert_eq!(end.last_line(), "saved: nothing: compare only reads");
    }
}

#[test]
fn damaged_files_are_named_with_the_row() {
    let whole = exported(&customers(40), TIME);
    let packed = gzip(whole.as_bytes());
    assert_damaged("", ": the file has no rows");
    assert_damaged("\n \n", ": the file has no rows");
    assert_damaged(gzip(b""), ": the file has no rows");
    assert_damaged(&packed[..5], ": the file is truncated");
    assert_damaged(&whole[..whole.len() - 20], ", row 40: the file is truncated");
    assert_damaged(&packed[..packed.len() - 4], ", row 41: the file is truncated");
    let part = part(&customers(40));
    assert_damaged(&part[..part.len() - 8], ", row 41: the file is truncated");
    let mut checksum = packed.clone();
    let place = checksum.len() - 8;
    checksum[place] ^= 1;
    assert_damaged(&checksum, ", row 41: the gzip data is damaged");
    assert_damaged([packed.as_slice(), b"more than a header"].concat(), ", row 41: the gzip data is damaged");
    assert_damaged([b"\x1f\x8b".as_slice(), &[0xff; 40]].concat(), ": the gzip data is damaged");
}

#[test]
fn what_holds_no_rows_is_named() {
    let row = exported(&customers(1), TIME);
    assert_damaged(
        "json_response,time\n",
        ": the file begins neither with a MessagePack map nor with a JSON object",
    );
    assert_damaged("[[\"{}\",1700000000]]", ": the file begins with an array, which has no column names");
    assert_damaged(b"\x92\xa2{}\x01", ": the file begins with an array, which has no column names");
    assert_damaged(b"\x81\xa4time\x01", ", row 1: it has no json_response");
    assert_damaged(format!("{row}{{\"time\":1}}"), ", row 2: it has no json_response");
    assert_damaged(format!("{row}{{\"json_response\":null}}"), ", row 2: it has no json_response");
    assert_damaged(
        format!("{row}{{\"json_response\":7}}"),
        ", row 2: json_response is neither text nor a JSON object",
    );
    assert_damaged(format!("{row}[]"), ", row 2: the line is not a JSON object");
    assert_damaged(format!("{row}Ann"), ", row 2: the line is not a JSON object");
    assert_damaged(exported(&["{\"a\":NaN}"], TIME), ", row 1: json_response is not valid JSON");
    assert_damaged(exported(&["[]"], TIME), ", row 1: json_response is not a JSON object");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    assert_damaged(exported(&[deep], TIME), ", row 1: json_response nests deeper than 1000 levels");
}

#[test]
fn paths_that_cannot_be_compared_are_wrong_usage() {
    let inputs = Inputs::new();
    inputs.write("rows.jsonl", exported(&customers(3), TIME));
    inputs.write("empty/notes.txt", "nothing");
    for (path, words) in [
        ("missing", "error: missing does not exist\n"),
        ("rows.jsonl/below", "error: rows.jsonl/below does not exist\n"),
        ("/dev/null", "error: /dev/null is neither a file nor a directory\n"),
        ("empty", "error: the directory empty has no files of rows\n"),
    ] {
        for arguments in [[path, "rows.jsonl"], ["rows.jsonl", path]] {
            let end = inputs.run(&arguments);
            end.assert_code(2);
            assert!(end.closing().starts_with(words) && end.closing().contains("\nhint: "), "{}", end.stderr);
            assert_no_command(&end);
        }
    }
    for arguments in [&["rows.jsonl"][..], &[], &["rows.jsonl", "rows.jsonl", "rows.jsonl"]] {
        inputs.run(arguments).assert_code(2);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fails_is_not_damage() {
    let inputs = Inputs::new();
    inputs.write("rows.jsonl", exported(&customers(3), TIME));
    // A regular file whose first byte cannot be read.
    let end = inputs.run(&["/proc/self/mem", "rows.jsonl"]);
    end.assert_code(6);
    assert_words!("compare_unreadable", end.closing());
    assert_eq!(next_command_to(CORRECT_AND_RETRY, &end), "yotpo-td compare /proc/self/mem rows.jsonl");
}
