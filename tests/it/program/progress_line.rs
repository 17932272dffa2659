//! The progress line on a real terminal: it fits the width, log lines do not tear it, and elsewhere there is none.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use rustix::process::Signal;
use yotpo_td::sandbox::{FaultKind, Operation};

use super::binary::{Running, Surroundings, program, wait_until};
use super::compared::{Inputs, gzip};
use super::exports::{export, load_command};

/// What a program wrote to a terminal.
struct Terminal {
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// A terminal of so many columns, and the end of it that a program writes to.
    fn new(columns: u16) -> (Self, OwnedFd) {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (gathered, mut master) = (Arc::clone(&written), File::from(pair.master));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It is an error when nobody has the other end any more.
            while let Ok(count @ 1..) = master.read(&mut buffer) {
                gathered.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        (Self { written }, pair.slave)
    }

    /// Everything that was written, with the sequences that move the cursor.
    fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Each text that was written without moving the cursor in between.
    fn texts(&self) -> Vec<String> {
        let written = self.written();
        let mut texts = vec![String::new()];
        let mut characters = written.chars();
        while let Some(character) = characters.next() {
            match character {
                '\x1b' => {
                    characters.find(char::is_ascii_alphabetic);
                    texts.push(String::new());
                }
                '\r' | '\n' => texts.push(String::new()),
                other => texts.last_mut().unwrap().push(other),
            }
        }
        texts.into_iter().map(|text| text.trim_end().to_owned()).filter(|text| !text.is_empty()).collect()
    }
}

/// A terminal on which a command has shown `wanted`; then a signal has ended it.
fn shown_by(mut command: Command, columns: u16, term: &str, wanted: &str) -> Terminal {
    let (terminal, slave) = Terminal::new(columns);
    command.env("TERM", term).env("NO_COLOR", "1").stdout(Stdio::null()).stderr(Stdio::from(slave));
    let running = Running::of_child(command.spawn().unwrap());
    // It has the other end of the terminal, too.
    drop(command);
    wait_until("the terminal shows it", || terminal.texts().iter().any(|text| text.contains(wanted)));
    running.signal(Signal::TERM);
    running.finish().assert_code(143);
    wait_until("the closing words are read", || {
        terminal.texts().iter().any(|text| text.starts_with("saved: "))
    });
    terminal
}

/// A store whose seventh page does not arrive.
fn slow_store() -> Surroundings {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::SlowBody(Duration::from_secs(60)));
    surroundings
}

/// The terminal of a run that waits for its seventh page, until `wanted` is shown, and then ends.
fn shown(columns: u16, term: &str, wanted: &str) -> Terminal {
    shown_by(slow_store().sync(&["--upload-workers", "1"]), columns, term, wanted)
}

/// The line is there, and gone before the closing words.
#[track_caller]
fn assert_line(texts: &[String], wanted: &str) {
    let last = texts.iter().rposition(|text| text.contains(wanted)).expect("the line");
    let error = texts.iter().position(|text| text.starts_with("error: ")).expect("the closing words");
    assert!(last < error, "{texts:#?}");
    assert!(!texts[error..].iter().any(|text| text.contains(wanted)), "{texts:#?}");
}

#[test]
fn an_export_and_a_preview_show_how_far_they_are() {
    let surroundings = slow_store();
    let directory = surroundings.directory().join("export");
    let export = surroundings.sync(&["--to", directory.to_str().unwrap()]);
    let wanted = "  fetching  30 customers  6 pages  ";
    assert_line(&shown_by(export, 160, "xterm", wanted).texts(), wanted);
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 1, FaultKind::SlowBody(Duration::from_secs(60)));
    let mut preview = program();
    preview.arg("preview").envs(surroundings.environment());
    for name in ["TD_API_KEY", "TD_API_SERVER", "TD_DATABASE"] {
        preview.env_remove(name);
    }
    let wanted = "  fetching  0 customers  ";
    assert_line(&shown_by(preview, 160, "xterm", wanted).texts(), wanted);
}

#[test]
fn a_comparison_shows_how_far_it_is() {
    let inputs = Inputs::new();
    // Terabytes of empty lines after the first row.
    let lines = gzip(&vec![b'\n'; 64 << 20]);
    inputs.write(
        "endless.jsonl.gz",
        [gzip(b"{\"json_response\":{},\"time\":1}\n"), lines.repeat(200)].concat(),
    );
    let wanted = "reading  A 1 row  B 1 row";
    let terminal = shown_by(inputs.command(&["endless.jsonl.gz", "endless.jsonl.gz"]), 80, "xterm", wanted);
    assert_line(&terminal.texts(), wanted);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_load_shows_its_line_before_it_knows_what_it_loads() {
    let surroundings = Surroundings::with_customers(60);
    export(&surroundings, &[]).assert_code(0);
    let mut load = load_command(&surroundings, &[]);
    load.env("YOTPO_TD_FAILPOINT", "verify part:2:hang");
    assert_line(&shown_by(load, 80, "xterm", "s  starting").texts(), "s  starting");
}

#[test]
fn the_line_fits_the_terminal_and_is_not_torn() {
    for (columns, wanted) in [(44, "  fetching  30"), (160, "  fetching  30 customers  6 pages  ")] {
        let texts = shown(columns, "xterm", wanted).texts();
        let (log, other): (Vec<_>, Vec<_>) = texts.iter().partition(|text| text.contains(" INFO "));
        let lines: Vec<_> = other.iter().filter(|text| text.contains("  fetching")).collect();
        assert!(!lines.is_empty(), "{texts:#?}");
        for line in lines {
            assert!(
                line.chars().count() < usize::from(columns) && line.starts_with(char::is_numeric),
                "{line}"
            );
        }
        assert!(log.len() >= 2, "{texts:#?}");
        for line in log {
            // They begin with their time, and no line of progress is before or behind it.
            assert!(humantime::parse_rfc3339(line.split(' ').next().unwrap()).is_ok(), "{line}");
            assert!(!line.contains("  fetching"), "{line}");
        }
        assert!(!texts.iter().any(|text| text.contains("INFO progress ")), "a heartbeat beside the line");
    }
}

#[test]
fn a_terminal_that_cannot_redraw_has_no_line() {
    let written = shown(160, "dumb", " started ").written();
    assert!(!written.contains("  fetching") && !written.contains('\u{1b}'), "{written:?}");
}

#[test]
fn a_file_has_no_line() {
    let surroundings = Surroundings::with_customers(60);
    let mut command = surroundings.sync(&[]);
    command.env("TERM", "xterm");
    let end = Running::start(command).finish();
    end.assert_code(0);
    assert!(!end.stderr.contains("  fetching") && !end.stderr.contains('\u{1b}'), "{}", end.stderr);
}
