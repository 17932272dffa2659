//! A state file that was damaged is reported and never followed, by the real program.

use std::fs;

use yotpo_td::sandbox::FaultKind;

use crate::program::binary::Surroundings;

/// Surroundings in which a run was cut off with six pages stored.
fn interrupted() -> Surroundings {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    surroundings.run(&[]).assert_code(4);
    surroundings.end_faults();
    assert_eq!(surroundings.saved_run().unwrap().position.page(), 6);
    surroundings
}

/// Damages the state, runs again, and looks at what was made of it.
fn is_not_followed(what: &str, damage: impl Fn(&mut Vec<u8>)) {
    let surroundings = interrupted();
    let orphan = surroundings.control().sessions()[0].name.clone();
    let path = surroundings.state_file();
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let end = surroundings.run(&[]);
    end.assert_code(0);
    surroundings.assert_exact();
    assert!(end.stderr.contains("the saved state is damaged and is not followed"), "{what}:\n{}", end.stderr);
    let left: Vec<_> = surroundings.control().sessions().into_iter().map(|session| session.name).collect();
    assert_eq!(left, [orphan], "{what}: nobody touches what another attempt made");
    assert!(!end.stdout.contains("(resumed)"), "{what}:\n{}", end.stdout);
    assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bytes, "{what}: kept for people");
    assert_eq!(surroundings.control().page_fetches()[&0], 2, "{what}: started over");
}

#[test]
fn truncations_are_not_followed() {
    is_not_followed("empty", Vec::clear);
    is_not_followed("half", |bytes| bytes.truncate(bytes.len() / 2));
    is_not_followed("without its last byte", |bytes| bytes.truncate(bytes.len() - 1));
}

#[test]
fn flipped_bits_are_not_followed() {
    is_not_followed("in the version", |bytes| bytes[15] ^= 1);
    is_not_followed("in the checksum", |bytes| bytes[18] ^= 1);
    // A digit of the number of the page: still JSON, and a lie.
    is_not_followed("in the page", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let digit = text.find("\"page\":").unwrap() + "\"page\":".len();
        bytes[digit] ^= 1;
    });
    is_not_followed("in the last byte", |bytes| *bytes.last_mut().unwrap() ^= 0x80);
}

#[test]
fn other_content_is_not_followed() {
    is_not_followed("text", |bytes| *bytes = b"not a state\n".to_vec());
    is_not_followed("zeroes", |bytes| bytes.fill(0));
    is_not_followed("twice", |bytes| bytes.extend_from_within(..));
}

#[test]
fn the_half_written_file_of_a_killed_run_is_no_obstacle() {
    let surroundings = interrupted();
    fs::write(surroundings.state_file().with_extension("state.new"), "half").unwrap();
    let end = surroundings.run(&[]);
    end.assert_code(0);
    assert!(end.stdout.contains("(resumed)"), "{}", end.stdout);
    surroundings.assert_exact_and_clean();
}
