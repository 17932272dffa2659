//! A damaged state file is reported and never used by the real program.

use std::fs;

use yotpo_td::sandbox::FaultKind;

use crate::program::binary::Surroundings;

const REPLACE: &[&str] = &["--mode", "replace"];

/// Surroundings with an interrupted run that has stored six pages.
fn interrupted() -> Surroundings {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    surroundings.run(REPLACE).assert_code(4);
    surroundings.end_faults();
    assert_eq!(surroundings.saved_run().unwrap().position.page(), 6);
    surroundings
}

/// Damages the state, runs again, and checks that the state was not used.
fn is_not_used(what: &str, damage: impl Fn(&mut Vec<u8>)) {
    let surroundings = interrupted();
    let orphan = surroundings.control().sessions()[0].name.clone();
    let path = surroundings.state_file();
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let end = surroundings.run(REPLACE);
    end.assert_code(0);
    surroundings.assert_exact();
    assert!(end.stderr.contains("the saved state is damaged and was set aside"), "{what}:\n{}", end.stderr);
    let left: Vec<_> = surroundings.control().sessions().into_iter().map(|session| session.name).collect();
    assert_eq!(left, [orphan], "{what}: what another attempt created is kept");
    assert!(!end.stdout.contains("(resumed)"), "{what}:\n{}", end.stdout);
    assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bytes, "{what}: kept for people");
    assert_eq!(surroundings.control().page_fetches()[&0], 2, "{what}: started over");
}

#[test]
fn truncated_states_are_not_used() {
    is_not_used("empty", Vec::clear);
    is_not_used("half", |bytes| bytes.truncate(bytes.len() / 2));
    is_not_used("without its last byte", |bytes| bytes.truncate(bytes.len() - 1));
}

#[test]
fn states_with_flipped_bits_are_not_used() {
    is_not_used("in the version", |bytes| bytes[15] ^= 1);
    is_not_used("in the checksum", |bytes| bytes[18] ^= 1);
    // A digit of the page number: still JSON, but wrong.
    is_not_used("in the page", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let digit = text.find("\"page\":").unwrap() + "\"page\":".len();
        bytes[digit] ^= 1;
    });
    is_not_used("in the last byte", |bytes| *bytes.last_mut().unwrap() ^= 0x80);
}

#[test]
fn files_with_other_content_are_not_used() {
    is_not_used("text", |bytes| *bytes = b"not a state\n".to_vec());
    is_not_used("zeroes", |bytes| bytes.fill(0));
    is_not_used("twice", |bytes| bytes.extend_from_within(..));
}

#[test]
fn the_incomplete_file_of_a_killed_run_is_replaced() {
    let surroundings = interrupted();
    fs::write(surroundings.state_file().with_extension("state.new"), "half").unwrap();
    let end = surroundings.run(REPLACE);
    end.assert_code(0);
    assert!(end.stdout.contains("(resumed)"), "{}", end.stdout);
    surroundings.assert_exact_and_clean();
}

/// Its rows may be in the table, and nothing else knows that.
#[test]
fn a_damaged_state_of_append_without_a_run_id_is_for_a_person() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    surroundings.run(&[]).assert_code(4);
    surroundings.end_faults();
    let path = surroundings.state_file();
    let mut bytes = fs::read(&path).unwrap();
    bytes.pop();
    fs::write(&path, &bytes).unwrap();
    let end = surroundings.run(&[]);
    end.assert_code(6);
    let words = end.closing();
    assert!(words.contains("it is damaged: its checksum does not match\n"), "{words}");
    assert!(words.contains("hint: an unfinished run may have added its rows: "), "{words}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "it is not touched");
    assert_eq!(surroundings.rows(), 0);
    // With an id, the ballot knows what was loaded.
    surroundings.run(&["--run-id", "nightly"]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn a_state_of_a_newer_version_is_refused_and_not_touched() {
    let surroundings = interrupted();
    let path = surroundings.state_file();
    let text = fs::read_to_string(&path).unwrap();
    let (_header, body) = text.split_once('\n').unwrap();
    let checksum = crc32fast::hash(format!("yotpo-td state 4\n{body}").as_bytes());
    let newer = format!("yotpo-td state 4 {checksum:08x}\n{body}");
    fs::write(&path, &newer).unwrap();
    for arguments in [REPLACE, &["--run-id", "nightly"], &[]] {
        let end = surroundings.run(arguments);
        end.assert_code(6);
        let words = end.closing();
        assert!(words.contains("it has format version 4; this program knows versions up to 3\n"), "{words}");
        assert!(
            words.contains("hint: use the version of yotpo-td that wrote it, or a newer one\n"),
            "{words}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }
}
