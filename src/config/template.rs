//! A complete, commented settings file, for `config template`.

use std::fmt::Write as _;

use super::keys::{SECRETS, SETTINGS};
use super::kind::Kind;
use super::setting::{Group, Presence, SecretSetting, Setting};

/// Width of the comments in characters.
const WIDTH: usize = 100;

/// A settings file in which every setting is a comment with its default.
pub fn template() -> String {
    let secrets: Vec<_> = SECRETS.iter().map(named).collect();
    let mut text = comment(&format!(
        "Settings of yotpo-td. A flag or a variable overrides what is set here. Lines that begin with \"# \" and a key show the \
         default: remove the \"# \" to set it. Secrets are never read from this file; set {} in the environment.",
        secrets.join(" and ")
    ));
    let mut group: Option<Group> = None;
    for setting in SETTINGS {
        if group.replace(setting.group) != Some(setting.group) {
            let _ = write!(text, "\n\n## {}\n", setting.group.heading());
        }
        let _ = write!(
            text,
            "\n{}# {} = {}\n",
            comment(&explanation(setting)),
            setting.key,
            shown_value(setting)
        );
    }
    text
}

fn named(secret: &SecretSetting) -> String {
    format!("{} (or {})", secret.variable, secret.file_variable())
}

/// What it is, what it expects, and how else it can be set.
fn explanation(setting: &Setting) -> String {
    let required = if setting.presence == Presence::Required { " Required." } else { "" };
    let details = if setting.details.is_empty() { String::new() } else { format!(" {}", setting.details) };
    format!(
        "{}.{details} Expects {}.{required} [--{}, {}]",
        setting.help,
        setting.kind.expected(),
        setting.key,
        setting.variable
    )
}

/// The default as TOML; a placeholder if there is none.
fn shown_value(setting: &Setting) -> String {
    let Some(default) = setting.default() else { return format!("\"<{}>\"", setting.kind.value_name()) };
    match (&setting.kind, default) {
        (Kind::Integer { .. } | Kind::Number { .. }, number) => number.to_owned(),
        (Kind::Switch, "on") => "true".to_owned(),
        (Kind::Switch, _) => "false".to_owned(),
        (_, text) => format!("\"{text}\""),
    }
}

fn comment(text: &str) -> String {
    let text = text.replace('`', "");
    let options = textwrap::Options::new(WIDTH)
        .initial_indent("#: ")
        .subsequent_indent("#: ")
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(&text, options).iter().flat_map(|line| [line.as_ref(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::layers::{Layers, Source};
    use crate::config::settings_file::SettingsFile;

    /// The template with its settings set, except those that have no default.
    fn filled_in() -> String {
        let is_setting = |line: &&str| line.starts_with("# ") && !line.contains("\"<");
        template().lines().filter(is_setting).flat_map(|line| [&line[2..], "\n"]).collect()
    }

    #[test]
    fn every_setting_is_in_the_template_once_with_its_default() {
        let text = template();
        for setting in SETTINGS {
            let line = format!("\n# {} = ", setting.key);
            assert_eq!(text.matches(&line).count(), 1, "{}", setting.key);
        }
        let file = (Ok(filled_in()), SettingsFile::Named("t.toml".into()));
        let none: BTreeMap<String, String> = BTreeMap::new();
        let mut layers = Layers::with_file(&BTreeMap::new(), none, Some(file));
        assert_eq!(layers.take_problems(), []);
        for setting in SETTINGS {
            let expected = setting.default().map(|default| (Source::File, default));
            assert_eq!(layers.get(setting), expected, "{}", setting.key);
        }
    }

    #[test]
    fn an_unchanged_template_sets_nothing_and_its_lines_fit() {
        let text = template();
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        assert!(
            text.lines().filter(|line| line.starts_with("#:")).all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }
}
