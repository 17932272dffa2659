//! stdout and stderr, either of which may be closed at any time, and the mark of sandbox runs on them.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The mark of a line about the embedded sandbox: the first word of a text line.
pub const SANDBOX: &str = "SANDBOX";
/// The field of a JSON object that marks the embedded sandbox.
pub const SANDBOX_FIELD: &str = "sandbox";

/// Whether this process loads its embedded sandbox. A static, because a process has only one pair of streams.
static IS_SANDBOX: AtomicBool = AtomicBool::new(false);

/// Why stdout did not take the result of the command. A process runs one command.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Whether a progress line may be on the terminal.
static HAS_LINE: AtomicBool = AtomicBool::new(false);

/// Notes whether there is a progress line, which whatever is written has to clear.
pub(super) fn set_progress_line(is_shown: bool) {
    HAS_LINE.store(is_shown, Ordering::Relaxed);
}

/// Marks everything that this process reports about a run from now on as the sandbox's.
pub fn mark_sandbox() {
    IS_SANDBOX.store(true, Ordering::Relaxed);
}

/// Whether this process loads its embedded sandbox.
pub fn is_sandbox() -> bool {
    IS_SANDBOX.load(Ordering::Relaxed)
}

/// Marks each line if this process loads its embedded sandbox: for lines that name a database or table.
pub fn marked(text: &str) -> String {
    if is_sandbox() { with_mark(text) } else { text.to_owned() }
}

/// Writes data to stdout. Errors do not fail the run, because the rows are loaded. A full disk is a warning; a closed
/// pipe is ignored.
pub fn write_stdout(text: &str) {
    if let Err(error) = try_write_stdout(text) {
        tracing::warn!(%error, "could not write to stdout; what was loaded is not affected");
    }
}

/// Writes data to stdout, for commands whose only result it is. A closed pipe is ignored: its reader has all it wants.
///
/// # Errors
/// When not everything could be written.
pub fn try_write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes the only result of a command to stdout. If it could not be written, [`lost_result`] says why.
pub fn write_result(text: &str) {
    if let Err(error) = try_write_stdout(text) {
        // The first failure is the reason.
        let _ = LOST.set(error);
    }
}

/// Why the result of the command was not written completely, if it was not.
pub fn lost_result() -> Option<io::Error> {
    LOST.get()
        .map(|error| error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
}

/// Columns of the terminal that a stream is; `None` if it is none, or does not say how wide it is.
pub fn columns(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Writes to stderr, over a progress line. A closed stderr is ignored.
pub fn write_stderr(text: &str) {
    let clear: &[u8] = if HAS_LINE.load(Ordering::Relaxed) { b"\r\x1b[K" } else { b"" };
    let mut stderr = io::stderr().lock();
    // There is no other place to report this.
    let _ = stderr
        .write_all(clear)
        .and_then(|()| stderr.write_all(text.as_bytes()))
        .and_then(|()| stderr.flush());
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

    #[test]
    fn a_terminal_that_does_not_say_how_wide_it_is_has_no_columns() {
        let terminal = |columns| {
            let size = nix::pty::Winsize { ws_row: 1, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            nix::pty::openpty(Some(&size), None).unwrap()
        };
        assert_eq!(columns(&terminal(0).slave), None);
        assert_eq!(columns(&terminal(1).slave), Some(1));
        assert_eq!(columns(tempfile::tempfile().unwrap()), None);
    }
}
