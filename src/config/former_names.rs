//! Former names of settings: from what a user wrote to the names of today, with a note about each.
//!
//! Both names of one setting in the same place (flags, environment or file) are a problem, because nobody can know which one is meant.

use std::collections::BTreeMap;

use super::file::FileLine;
use super::layers::Layers;
use super::problem::Problem;
use crate::renamed::{FormerName, NameKind, Renamed};

impl Layers {
    /// Gives variables with former names their names of today.
    pub(super) fn take_former_variables(&mut self, renamed: &'static [Renamed]) {
        for former @ Renamed { old, new, .. } in NameKind::Variable.of(renamed) {
            let environment = self.environment_mut();
            // As everywhere, a variable that is empty counts as not set.
            let Some(value) = environment.remove(*old).filter(|value| !value.is_empty()) else { continue };
            if environment.get(*new).is_some_and(|value| !value.is_empty()) {
                self.report_both(*new, old, new);
            } else {
                environment.insert((*new).to_owned(), value);
                self.note(former.note());
            }
        }
    }

    /// The flags by their names of today.
    pub(super) fn take_former_flags(
        &mut self,
        flags: &BTreeMap<&'static str, String>,
        renamed: &'static [Renamed],
    ) -> BTreeMap<&'static str, String> {
        let mut current = flags.clone();
        for Renamed { old, new, removed_in, .. } in NameKind::Key.of(renamed) {
            let Some(value) = current.remove(old) else { continue };
            let (used, named) = (format!("--{old}"), format!("--{new}"));
            if current.contains_key(new) {
                self.report_both(named.clone(), &used, &named);
            } else {
                current.insert(new, value);
                self.note(FormerName { used, new: named, removed_in });
            }
        }
        current
    }

    /// The name of today of a key in the settings file; `None` if the file has that one too.
    pub(super) fn current_key(
        &mut self,
        key: String,
        place: &FileLine,
        all: &[String],
        renamed: &'static [Renamed],
    ) -> Option<String> {
        let Some(Renamed { new, removed_in, .. }) = NameKind::Key.renamed(renamed, &key) else {
            return Some(key);
        };
        let used = format!("{key} ({place})");
        if all.iter().any(|other| other == new) {
            self.report_both(format!("--{new}"), &used, new);
            return None;
        }
        self.note(FormerName { used, new: (*new).to_owned(), removed_in });
        Some((*new).to_owned())
    }

    fn report_both(&mut self, label: impl Into<String>, used: &str, new: &str) {
        self.report(Problem::new(
            label,
            format!("{used} is its former name, and both are given; keep {new}"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::keys::{API_KEY, TABLE};
    use crate::config::layers::Source;
    use crate::config::settings_file::SettingsFile;

    const RENAMED: &[Renamed] = &[
        Renamed { kind: NameKind::Key, old: "target-table", new: "table", removed_in: "0.3.0" },
        Renamed {
            kind: NameKind::Variable,
            old: "YOTPO_TD_TARGET_TABLE",
            new: "TD_TABLE",
            removed_in: "0.3.0",
        },
        Renamed { kind: NameKind::Variable, old: "TD_APIKEY", new: "TD_API_KEY", removed_in: "0.3.0" },
    ];

    fn layers(flags: &[(&'static str, &str)], variables: &[(&str, &str)], file: &str) -> Layers {
        let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let file = (Ok(file.to_owned()), SettingsFile::Named(PathBuf::from("settings.toml")));
        Layers::with_former_names(&flags, variables, Some(file), RENAMED)
    }

    fn notes(layers: &Layers) -> Vec<String> {
        layers.former_names().iter().map(ToString::to_string).collect()
    }

    fn problems(mut layers: Layers) -> Vec<String> {
        layers.take_problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_former_name_sets_the_setting_and_is_noted() {
        for (flags, variables, file, source, note) in [
            (&[("target-table", "x")][..], &[][..], "", Source::Flag, "--target-table is now --table"),
            (
                &[],
                &[("YOTPO_TD_TARGET_TABLE", "x")],
                "",
                Source::Environment,
                "YOTPO_TD_TARGET_TABLE is now TD_TABLE",
            ),
            (
                &[],
                &[],
                "mode = 'append'\ntarget-table = 'x'",
                Source::File,
                "target-table (settings.toml:2) is now table",
            ),
        ] {
            let layers = layers(flags, variables, file);
            assert_eq!(layers.get(&TABLE), Some((source, "x")));
            assert_eq!(notes(&layers), [format!("{note}; version 0.3.0 does not know the old name")]);
            assert_eq!(problems(layers), [] as [String; 0]);
        }
    }

    #[test]
    fn both_names_in_one_place_are_a_problem() {
        for (flags, variables, file, problem) in [
            (
                &[("target-table", "x"), ("table", "x")][..],
                &[][..],
                "",
                "--table: --target-table is its former name, and both are given; keep --table",
            ),
            (
                &[],
                &[("YOTPO_TD_TARGET_TABLE", "x"), ("TD_TABLE", "y")],
                "",
                "TD_TABLE: YOTPO_TD_TARGET_TABLE is its former name, and both are given; keep TD_TABLE",
            ),
            (
                &[],
                &[],
                "target-table = 'x'\ntable = 'y'",
                "--table: target-table (settings.toml:1) is its former name, and both are given; keep table",
            ),
        ] {
            let layers = layers(flags, variables, file);
            assert_eq!(notes(&layers), [] as [String; 0]);
            assert_eq!(problems(layers), [problem]);
        }
    }

    #[test]
    fn names_in_different_places_override_each_other_as_usual() {
        let layers = layers(&[("target-table", "flag")], &[("TD_TABLE", "variable")], "table = 'file'");
        assert_eq!(layers.get(&TABLE), Some((Source::Flag, "flag")));
        assert_eq!(problems(layers), [] as [String; 0]);
    }

    #[test]
    fn a_former_name_of_a_secret_is_noted_without_its_value() {
        let layers = layers(&[], &[("TD_APIKEY", "1/hunter2")], "");
        assert_eq!(layers.secret_place(&API_KEY).as_deref(), Some("TD_API_KEY"));
        assert_eq!(notes(&layers), ["TD_APIKEY is now TD_API_KEY; version 0.3.0 does not know the old name"]);
        assert_eq!(problems(layers), [] as [String; 0]);
    }

    #[test]
    fn an_empty_former_variable_is_not_set() {
        let layers = layers(&[], &[("YOTPO_TD_TARGET_TABLE", ""), ("TD_TABLE", "y")], "");
        assert_eq!(layers.get(&TABLE), Some((Source::Environment, "y")));
        assert_eq!((notes(&layers), problems(layers)), (vec![], vec![]));
    }
}
