//! Which mutant is on. Descriptor 198, which tests and the program inherit, has its number, or `record`: then the number of each mutant
//! that is reached is added to descriptor 199. Not a variable, because tests clear the environment of the program. Without the
//! descriptors, no mutant is on.

use std::fs::{File, OpenOptions, read_to_string};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// More than there are mutants.
const LIMIT: usize = 20_000;

struct State {
    on: usize,
    reached: Option<File>,
}

static STATE: OnceLock<State> = OnceLock::new();
static SEEN: [AtomicBool; LIMIT] = [const { AtomicBool::new(false) }; LIMIT];

fn read() -> State {
    let text = read_to_string("/dev/fd/198").unwrap_or_default();
    let records = text.trim() == "record";
    let reached = records.then(|| OpenOptions::new().append(true).open("/dev/fd/199").ok()).flatten();
    State { on: text.trim().parse().unwrap_or(0), reached }
}

/// Whether the mutant with this number is on.
pub fn is_on(number: usize) -> bool {
    let state = STATE.get_or_init(read);
    if let Some(mut reached) = state.reached.as_ref()
        && !SEEN[number].swap(true, Ordering::Relaxed)
    {
        reached.write_all(format!("{number}\n").as_bytes()).expect("the file of reached mutants can be written");
    }
    state.on == number
}
