//! Places where a test can make the program die, in development builds only.
//!
//! `YOTPO_TD_FAILPOINT="after save:3:kill"` kills the process with SIGKILL when the place "after save" is passed for
//! the third time; `panic` panics there instead. At the places that write, `full` makes the disk be full from then on. A
//! release build has no such places: [`hit`] and [`write()`] are empty there.

#[cfg(debug_assertions)]
mod armed {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Failpoint> = OnceLock::new();

    struct Failpoint {
        place: String,
        left: AtomicU64,
        action: Action,
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Action {
        Kill,
        Panic,
        FillDisk,
    }

    /// Arms the failpoint that `description` names; one that makes no sense is ignored.
    pub fn arm(description: &str) {
        let mut words = description.rsplitn(3, ':');
        let (Some(action), Some(count), Some(place)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let Ok(count) = count.parse() else { return };
        let action = match action {
            "full" => Action::FillDisk,
            "panic" => Action::Panic,
            _ => Action::Kill,
        };
        let failpoint = Failpoint { place: place.to_owned(), left: AtomicU64::new(count), action };
        // A second failpoint is not wanted.
        let _ = ARMED.set(failpoint);
    }

    /// Passes a place.
    pub fn hit(place: &str) {
        let Some(failpoint) = ARMED.get() else { return };
        if failpoint.place == place && failpoint.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            die(failpoint.action == Action::Panic);
        }
    }

    /// Passes a place that is about to write.
    pub fn write(place: &str) -> io::Result<()> {
        let Some(failpoint) = ARMED.get() else { return Ok(()) };
        if failpoint.action != Action::FillDisk || failpoint.place != place {
            return Ok(());
        }
        let left = failpoint
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if left.is_ok_and(|left| left > 1) { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    #[expect(clippy::panic, reason = "this is what the test asked for")]
    fn die(panics: bool) {
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
pub fn hit(_place: &str) {}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "as in a development build")]
pub fn write(_place: &str) -> std::io::Result<()> {
    Ok(())
}
