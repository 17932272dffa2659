//! What `show` says late: a session as it was before the last `perform` or `commit`, a loaded session without counters.
//!
//! Owns how many looks at one session are still late. Only `show` lags; `list` is always current, and so is what the
//! calls themselves are judged by.

use serde_json::Value;

use super::behaviour::TreasureDataBehaviour;

/// Fields of a session that are null before its load is counted.
const COUNTERS: [&str; 4] = ["valid_records", "error_records", "valid_parts", "error_parts"];

/// How far `show` lags behind one session.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// The session as it was shown before the last change.
    before: Value,
    stale_looks: u32,
    looks_without_counters: u32,
}

impl Lag {
    /// A load was started; `before` is the session as `show` reported it until then.
    pub(super) fn performed(&mut self, before: Value, behaviour: &TreasureDataBehaviour) {
        self.looks_without_counters = behaviour.looks_without_counters;
        self.changed(before, behaviour);
    }

    /// A commit was started.
    pub(super) fn committed(&mut self, before: Value, behaviour: &TreasureDataBehaviour) {
        self.looks_without_counters = 0;
        self.changed(before, behaviour);
    }

    fn changed(&mut self, before: Value, behaviour: &TreasureDataBehaviour) {
        self.before = before;
        self.stale_looks = behaviour.stale_looks;
    }

    /// What a look sees of the session that is `now`.
    pub(super) fn look(&mut self, mut now: Value) -> Value {
        if self.stale_looks > 0 {
            self.stale_looks -= 1;
            return self.before.clone();
        }
        let is_ready = now.get("status").is_some_and(|status| status == "ready");
        if self.looks_without_counters > 0
            && is_ready
            && let Some(fields) = now.as_object_mut()
        {
            self.looks_without_counters -= 1;
            fields.extend(COUNTERS.map(|counter| (counter.to_owned(), Value::Null)));
        }
        now
    }
}
