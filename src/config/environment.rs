//! What is wrong with the environment as a whole: names that nothing reads, and values that are not UTF-8.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::keys::{self, SECRETS, SETTINGS};
use super::nearest::nearest;
use super::problem::Problem;
use super::setting::SecretSetting;

/// All variables with it are this program's own.
const PREFIX: &str = "YOTPO_TD_";
/// Variables that no setting has.
const FURTHER: [&str; 2] = ["YOTPO_TD_CONFIG", "YOTPO_TD_FAILPOINT"];
/// As many changes make an unknown variable of ours a known one.
const MAX_CHANGES: usize = 3;

/// Unknown variables and misspelt names of known ones, and known ones that are not UTF-8. Values are not shown.
pub(super) fn problems(environment: &BTreeMap<String, OsString>) -> Vec<Problem> {
    let known = known();
    let problem = |(name, value): (&String, &OsString)| {
        if value.is_empty() {
            None
        } else if known.contains(name) {
            value.to_str().is_none().then(|| Problem::new(name, "is not UTF-8"))
        } else {
            unknown(name, &known).map(|what| Problem::new(name, what))
        }
    };
    environment.iter().filter_map(problem).collect()
}

fn known() -> Vec<String> {
    let secrets = SECRETS.iter().map(|secret| secret.variable);
    let files = SECRETS.iter().map(SecretSetting::file_variable);
    let settings = SETTINGS.iter().map(|setting| setting.variable);
    settings.chain(secrets).chain(FURTHER).map(str::to_owned).chain(files).collect()
}

/// Names that other programs may have are only reported when they are one change away from one of ours.
fn unknown(name: &str, known: &[String]) -> Option<String> {
    let shown: String = name.chars().filter(|character| !character.is_control()).take(60).collect();
    let closest = |max_changes| nearest(name, known.iter().map(String::as_str), max_changes);
    let Some(rest) = name.strip_prefix(PREFIX) else {
        let is_like_ours = name.starts_with("TD_") || name.starts_with("YOTPO_");
        return closest(1)
            .filter(|_| is_like_ours)
            .map(|known| format!("unknown variable; did you mean {known}?"));
    };
    let flag = rest.to_ascii_lowercase().replace('_', "-");
    let of_flag = keys::find(&flag).map(|setting| setting.variable);
    let of_end = || {
        let end = format!("_{rest}");
        known.iter().find(|known| {
            known.ends_with(&end) || known.strip_prefix("YOTPO_TD_").is_none() && *known == rest
        })
    };
    let meant = of_flag.or_else(|| of_end().map(String::as_str)).or_else(|| closest(MAX_CHANGES));
    Some(match meant {
        Some(meant) => format!("unknown variable; did you mean {meant}?"),
        None => format!("unknown variable {shown}; yotpo-td sync --help lists all variables"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_with(name: &str, value: impl Into<OsString>) -> Vec<String> {
        problems(&BTreeMap::from([(name.to_owned(), value.into())])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_or_misspelt_variable_names_the_one_that_is_meant() {
        for (name, meant) in [
            ("YOTPO_TD_TABLE", "TD_TABLE"),
            ("YOTPO_TD_DATABASE", "TD_DATABASE"),
            ("YOTPO_TD_STORE_ID", "YOTPO_STORE_ID"),
            ("YOTPO_TD_TD_ENDPOINT", "TD_API_SERVER"),
            ("YOTPO_TD_CLIENT_SECRET", "YOTPO_CLIENT_SECRET"),
            ("YOTPO_TD_API_KEY", "TD_API_KEY"),
            ("YOTPO_TD_PAGESIZE", "YOTPO_TD_PAGE_SIZE"),
            ("TD_TABLES", "TD_TABLE"),
            ("TD_APIKEY", "TD_API_KEY"),
            ("YOTPO_STOREID", "YOTPO_STORE_ID"),
        ] {
            assert_eq!(
                problems_with(name, "x"),
                [format!("{name}: unknown variable; did you mean {meant}?")]
            );
        }
        let none = "YOTPO_TD_QWERTYUIOP: unknown variable YOTPO_TD_QWERTYUIOP; yotpo-td sync --help lists all variables";
        assert_eq!(problems_with("YOTPO_TD_QWERTYUIOP", "x"), [none]);
    }

    #[test]
    fn names_of_others_known_names_and_empty_variables_are_no_problem() {
        for name in
            ["TD_LOGGER", "TD_CLIENT_KEY", "td_table", "YOTPO_SITE", "TABLE", "TD_TABLE", "TD_API_KEY_FILE"]
        {
            assert_eq!(problems_with(name, "x"), [] as [String; 0]);
        }
        assert_eq!(problems_with("YOTPO_TD_TABLE", ""), [] as [String; 0]);
    }

    #[test]
    fn what_is_not_utf8_is_said_to_be() {
        let value = std::os::unix::ffi::OsStringExt::from_vec(vec![b'k', 0xff]);
        let value: OsString = value;
        assert_eq!(problems_with("TD_API_KEY", value.clone()), ["TD_API_KEY: is not UTF-8"]);
        assert_eq!(problems_with("LESS", value), [] as [String; 0]);
    }
}
