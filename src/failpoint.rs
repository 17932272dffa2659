//! Places where a test can make the program die, in development builds only.
//!
//! `YOTPO_TD_FAILPOINT="after save:3:kill"` kills the process with SIGKILL when the place "after save" is passed for
//! the third time; `panic` panics there instead. A release build has no such places: [`hit`] is empty there.

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Failpoint> = OnceLock::new();

    struct Failpoint {
        place: String,
        left: AtomicU64,
        panics: bool,
    }

    /// Arms the failpoint that `description` names; one that makes no sense is ignored.
    pub fn arm(description: &str) {
        let mut words = description.rsplitn(3, ':');
        let (Some(action), Some(count), Some(place)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let Ok(count) = count.parse() else { return };
        let failpoint =
            Failpoint { place: place.to_owned(), left: AtomicU64::new(count), panics: action == "panic" };
        // A second failpoint is not wanted.
        let _ = ARMED.set(failpoint);
    }

    /// Passes a place.
    pub fn hit(place: &str) {
        let Some(failpoint) = ARMED.get() else { return };
        if failpoint.place == place && failpoint.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            die(failpoint.panics);
        }
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
pub use armed::{arm, hit};

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn arm(_description: &str) {}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn hit(_place: &str) {}
