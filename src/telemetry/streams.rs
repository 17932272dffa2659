//! stdout and stderr, of which either may be closed at any time without harm.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// How the names of databases and tables begin that only exist in the embedded sandbox.
pub const SANDBOX_PREFIX: &str = "sandbox_td_";

/// Whether this process loads its embedded sandbox; the process has one pair of streams, so this is the process's too.
static SANDBOX: AtomicBool = AtomicBool::new(false);

/// From now on, every line that names a database or table says that it is the sandbox's.
pub fn mark_sandbox() {
    SANDBOX.store(true, Ordering::Relaxed);
}

/// Writes data to stdout. That nobody can read it is no reason to fail: the rows are what counts. A full disk is a warning;
/// whoever closed a pipe does not want to read it.
pub fn write_stdout(text: &str) {
    let text = marked(text);
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
    let text = marked(text);
    let mut stderr = io::stderr().lock();
    // There is no other place to complain in.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn marked(text: &str) -> Cow<'_, str> {
    if SANDBOX.load(Ordering::Relaxed) { Cow::Owned(with_marks(text)) } else { Cow::Borrowed(text) }
}

/// Text lines begin with SANDBOX, JSON lines have a field.
fn with_marks(text: &str) -> String {
    let mark = |line: &str| match line.strip_prefix('{') {
        _ if !line.contains(SANDBOX_PREFIX) => line.to_owned(),
        Some(fields) => format!("{{\"sandbox\":\"SANDBOX\",{fields}"),
        None => format!("SANDBOX {line}"),
    };
    text.split_inclusive('\n').map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_name_a_table_are_marked() {
        assert_eq!(with_marks("a\nto sandbox_td_x.y\nb"), "a\nSANDBOX to sandbox_td_x.y\nb");
        let json = with_marks("{\"table\":\"sandbox_td_x\"}\n");
        assert_eq!(json, "{\"sandbox\":\"SANDBOX\",\"table\":\"sandbox_td_x\"}\n");
    }
}
