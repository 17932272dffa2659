//! stdout and stderr, of which either may be closed at any time without harm, and what marks a sandbox run on them.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// What says that a line is about the embedded sandbox: the first word of a text line.
pub const SANDBOX: &str = "SANDBOX";
/// The field of a JSON object that has the mark as its value.
pub const SANDBOX_FIELD: &str = "sandbox";

/// Whether this process loads its embedded sandbox; the process has one pair of streams, so this is the process's too.
static IS_SANDBOX: AtomicBool = AtomicBool::new(false);

/// From now on, whatever this process says about a run is marked as the sandbox's.
pub fn mark_sandbox() {
    IS_SANDBOX.store(true, Ordering::Relaxed);
}

/// Whether this process loads its embedded sandbox.
pub fn is_sandbox() -> bool {
    IS_SANDBOX.load(Ordering::Relaxed)
}

/// Text in which each line is marked, if this process loads its embedded sandbox: for lines that name a database or table.
pub fn marked(text: &str) -> String {
    if is_sandbox() { with_mark(text) } else { text.to_owned() }
}

/// Writes data to stdout. That nobody can read it is no reason to fail: the rows are what counts. A full disk is a warning;
/// whoever closed a pipe does not want to read it.
pub fn write_stdout(text: &str) {
    let written = {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    };
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "could not write to stdout; what was loaded is not affected");
    }
}

/// Writes to stderr. A closed stderr is no reason to fail.
pub fn write_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    // There is no other place to complain in.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn with_mark(text: &str) -> String {
    text.split_inclusive('\n').flat_map(|line| [SANDBOX, " ", line]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_marked() {
        assert_eq!(with_mark("a\n  b\n"), "SANDBOX a\nSANDBOX   b\n");
        assert_eq!(with_mark("a"), "SANDBOX a");
    }
}
