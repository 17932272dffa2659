//! stdout and stderr, of which either may be closed at any time without harm.

use std::io::{self, Write};

/// Writes data to stdout. A closed stdout is no reason to fail: the rows are what counts.
pub fn write_stdout(text: &str) {
    let mut stdout = io::stdout().lock();
    // Whoever closed the stream does not want to read it.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes to stderr. A closed stderr is no reason to fail.
pub fn write_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    // There is no other place to complain in.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
