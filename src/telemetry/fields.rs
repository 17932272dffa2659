//! The fields of a log line: those of the event, then those of the spans around it.
//!
//! Invariants: each name occurs once, and the value closest to the event wins. Names with a dot are for traces, and no fields
//! of a line.

use std::fmt::Debug;

use serde_json::Value;
use tracing::field::{Field, Visit};

/// Names and values in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

/// Records fields; a later value of a name replaces an earlier one.
pub(super) struct Recorder<'a>(pub(super) &'a mut Fields);

impl Fields {
    /// Adds the fields of an outer span, except names that already exist.
    pub(super) fn add_outer(&mut self, outer: &Self) {
        for (name, value) in &outer.0 {
            if self.position(name).is_none() {
                self.0.push((name, value.clone()));
            }
        }
    }

    /// Removes and returns a field.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.position(name).map(|position| self.0.remove(position).1)
    }

    /// All fields, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Adds a field unless one with that name exists.
    pub(super) fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        if self.position(name).is_none() {
            self.0.push((name, value.into()));
        }
    }

    fn set(&mut self, name: &'static str, value: Value) {
        if name.contains('.') {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|(known, _)| *known == name)
    }
}

impl Visit for Recorder<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.set(field.name(), value.into());
    }

    /// Also for errors and values that implement `Display`: `tracing` passes them here.
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.set(field.name(), format!("{value:?}").into());
    }
}
