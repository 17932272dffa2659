//! Outdated results of `show`: a session as it was before the last `perform` or `commit`, a loaded session without
//! counters.
//!
//! Owns how many `show` calls for a session are still outdated. Only `show` lags: `list` is always current, and all
//! calls use the current state.

use serde_json::Value;

use super::behaviour::TreasureDataBehaviour;

/// Fields of a session that are null until its load is counted.
const COUNTERS: [&str; 4] = ["valid_records", "error_records", "valid_parts", "error_parts"];

/// How much `show` lags behind one session.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// The session as shown before the last change.
    before: Value,
    stale_show_calls: u32,
    show_calls_without_counters: u32,
}

impl Lag {
    /// Records that a load was started; `before` is the session as shown until then.
    pub(super) fn performed(&mut self, before: Value, behaviour: &TreasureDataBehaviour) {
        self.show_calls_without_counters = behaviour.show_calls_without_counters;
        self.changed(before, behaviour);
    }

    /// Records that a commit was started.
    pub(super) fn committed(&mut self, before: Value, behaviour: &TreasureDataBehaviour) {
        self.show_calls_without_counters = 0;
        self.changed(before, behaviour);
    }

    fn changed(&mut self, before: Value, behaviour: &TreasureDataBehaviour) {
        self.before = before;
        self.stale_show_calls = behaviour.stale_show_calls;
    }

    /// The session to show, given its current state.
    pub(super) fn apply(&mut self, mut now: Value) -> Value {
        if self.stale_show_calls > 0 {
            self.stale_show_calls -= 1;
            return self.before.clone();
        }
        let is_ready = now.get("status").is_some_and(|status| status == "ready");
        if self.show_calls_without_counters > 0
            && is_ready
            && let Some(fields) = now.as_object_mut()
        {
            self.show_calls_without_counters -= 1;
            fields.extend(COUNTERS.map(|counter| (counter.to_owned(), Value::Null)));
        }
        now
    }
}
