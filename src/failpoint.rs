//! Failpoints, at which a test can make the program crash. Only in debug builds.
//!
//! `YOTPO_TD_FAILPOINT="after save:3:kill"` kills the process with SIGKILL when it reaches the failpoint "after save"
//! for the third time; `panic` panics instead, and `hang` never goes on from there. At failpoints of writes, `full` simulates a full disk from then on.
//! Release builds have no failpoints: [`hit`] and [`write()`] do nothing.

#[cfg(debug_assertions)]
mod armed {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Failpoint> = OnceLock::new();

    struct Failpoint {
        name: String,
        remaining: AtomicU64,
        action: Action,
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Action {
        Kill,
        Panic,
        Hang,
        FillDisk,
    }

    /// Arms the failpoint in `description`; an invalid description is ignored.
    pub fn arm(description: &str) {
        let mut fields = description.rsplitn(3, ':');
        let (Some(action), Some(count), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
            return;
        };
        let Ok(count) = count.parse() else { return };
        let action = match action {
            "full" => Action::FillDisk,
            "panic" => Action::Panic,
            "hang" => Action::Hang,
            _ => Action::Kill,
        };
        let failpoint = Failpoint { name: name.to_owned(), remaining: AtomicU64::new(count), action };
        // Only one failpoint is supported.
        let _ = ARMED.set(failpoint);
    }

    /// Crashes if the failpoint `name` is armed and due.
    pub fn hit(name: &str) {
        let Some(failpoint) = ARMED.get() else { return };
        if failpoint.name == name && failpoint.remaining.fetch_sub(1, Ordering::SeqCst) == 1 {
            if failpoint.action == Action::Hang {
                hang();
            }
            crash(failpoint.action == Action::Panic);
        }
    }

    /// Fails with a full disk if the failpoint `name` of a write is armed and due.
    pub fn write(name: &str) -> io::Result<()> {
        let Some(failpoint) = ARMED.get() else { return Ok(()) };
        if failpoint.action != Action::FillDisk || failpoint.name != name {
            return Ok(());
        }
        let remaining = failpoint
            .remaining
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |remaining| Some(remaining.saturating_sub(1)));
        if remaining.is_ok_and(|remaining| remaining > 1) {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    fn hang() -> ! {
        loop {
            std::thread::park();
        }
    }

    #[expect(clippy::panic, reason = "the test requested it")]
    fn crash(panics: bool) {
        if !panics {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        panic!("failpoint");
    }
}

#[cfg(debug_assertions)]
pub use armed::{arm, hit, write};

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn arm(_description: &str) {}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn hit(_name: &str) {}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "as in a development build")]
pub fn write(_name: &str) -> std::io::Result<()> {
    Ok(())
}
