use std::os::unix::ffi::OsStringExt as _;

use super::*;
use crate::config::Settings;
use crate::config::endpoints::{effective_endpoint, treasure_data_origin};
use crate::config::keys::{DATABASE, MAX_RETRIES, MODE, PAGE_SIZE, REQUESTS_PER_SECOND, TABLE};

fn layers(flags: &[(&'static str, &str)], environment: &[(&str, &str)], file: &str) -> Layers {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    std::fs::write(&path, file).unwrap();
    let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Layers::new(&flags, environment, Some(SettingsFile::Named(path)))
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "table = 'from_file'\npage-size = 7\nrequests-per-second = 2.5\nmode = 'append'";
    let environment = [("TD_TABLE", "from_environment"), ("YOTPO_TD_PAGE_SIZE", "8"), ("TD_DATABASE", "")];
    let layers = layers(&[("table", "from_flag")], &environment, file);
    assert_eq!(layers.get(&TABLE), Some((Source::Flag, "from_flag")));
    assert_eq!(layers.get(&PAGE_SIZE), Some((Source::Environment, "8")));
    assert_eq!(layers.get(&REQUESTS_PER_SECOND), Some((Source::File, "2.5")));
    assert_eq!(layers.get(&MAX_RETRIES), Some((Source::Default, "8")));
    assert_eq!(layers.get(&DATABASE), None);
    assert!(layers.problems.is_empty());
}

#[test]
fn unknown_keys_secrets_and_wrong_kinds_are_problems() {
    let mut layers = layers(&[], &[], "page_size = 7\nTD_API_KEY = 'k'\ncolour = 1\n[table]\nx = 1");
    let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 4, "{problems:?}");
    let lines = ["settings.toml:1: ", "settings.toml:2: ", "settings.toml:3: ", "settings.toml:4; "];
    assert!(problems.iter().zip(lines).all(|(problem, line)| problem.contains(line)), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("did you mean page-size?")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("is a secret")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("unknown key colour")), "{problems:?}");
}

#[test]
fn a_key_that_looks_like_a_path_is_unknown_every_time() {
    for key in ["table.x", "table[0]", "[", "a b"] {
        // Which key came first was left to chance.
        for _ in 0..20 {
            let mut layers = layers(&[], &[], &format!("table = 'customers'\n\"{key}\" = 1"));
            let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
            assert!(problems.len() == 1 && problems[0].contains("unknown key"), "{key}: {problems:?}");
            assert_eq!(layers.get(&TABLE), Some((Source::File, "customers")));
        }
    }
}

#[test]
fn every_value_remembers_where_it_comes_from() {
    let file = "# comment\ntable = 'x'\npage-size = 7";
    let layers = layers(&[("mode", "append")], &[("YOTPO_TD_PAGE_SIZE", "8")], file);
    let phrases = [&TABLE.setting, &PAGE_SIZE, &MODE, &MAX_RETRIES, &DATABASE]
        .map(|setting| layers.origin_phrase(setting));
    let [table, rest @ ..] = phrases;
    assert!(table.starts_with("from ") && table.ends_with("settings.toml:2"), "{table}");
    assert_eq!(rest, ["from YOTPO_TD_PAGE_SIZE", "from --mode", "the default of --max-retries", ""]);
    assert_eq!(layers.origin(&MODE), Some(&Origin::Flag));
    assert_eq!(layers.origin(&DATABASE), None);
}

#[test]
fn a_file_that_is_no_toml_is_one_problem() {
    let mut layers = layers(&[], &[], "a = 1\nYOTPO_CLIENT_SECRET: hunter2");
    let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].ends_with("settings.toml:2:22: not valid TOML"), "{problems:?}");
}

#[test]
fn a_misspelt_key_names_the_one_that_is_meant() {
    for (key, meant) in [
        ("page_size", "page-size"),
        ("TD_TABLE", "table"),
        ("pagesize", "page-size"),
        ("tablex", "table"),
        ("request-per-second", "requests-per-second"),
        ("fresher", "fresh"),
    ] {
        assert_eq!(unknown(key), format!("unknown key {key}; did you mean {meant}?"));
    }
    for key in ["colour-scheme", "x"] {
        let expected =
            format!("unknown key {key}; keys are the names of the flags without the leading dashes");
        assert_eq!(unknown(key), expected);
    }
}

/// The layers with a file that nobody named.
fn with_found(text: &str) -> Layers {
    let none: BTreeMap<String, String> = BTreeMap::new();
    let file = (Ok(text.to_owned()), SettingsFile::Found("./yotpo-td.toml".into()));
    Layers::with_file(&BTreeMap::new(), none, Some(file))
}

#[test]
fn a_found_file_cannot_decide_where_keys_are_sent() {
    let mut layers = with_found(
        "table = 'x'\nsite = 'eu01'\ntd-endpoint = 'https://example.com'\nyotpo-endpoint = 'https://example.com'\n\
         td-conf = 'td.conf'",
    );
    let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
    let expected = [(3, "td-endpoint"), (4, "yotpo-endpoint"), (5, "td-conf")].map(|(line, key)| {
        format!(
            "settings file: ./yotpo-td.toml:{line}: only a file that is named with --config can set {key}, because it decides \
             where keys are sent"
        )
    });
    assert_eq!(problems, expected);
    assert_eq!(layers.get(&TABLE), Some((Source::File, "x")));
    assert_eq!(layers.get(&TD_ENDPOINT), Some((Source::Default, "https://api.treasuredata.com")));
    assert_eq!(layers.get(&TD_CONF), None);
}

/// The layers with a toolbelt's file and further variables.
fn with_td_conf(text: &str, variables: &[(&str, &str)]) -> (Layers, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("td.conf").to_str().unwrap().to_owned();
    std::fs::write(&path, text).unwrap();
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    (Layers::new(&BTreeMap::from([("td-conf", path.clone())]), environment, None), path)
}

const TD_CONF_TEXT: &str = "[account]\n  apikey = 1/abc\n  endpoint = https://api.eu01.treasuredata.com\n";

#[test]
fn key_and_endpoint_come_from_the_toolbelts_file_together() {
    let (mut layers, path) = with_td_conf(TD_CONF_TEXT, &[("TD_API_KEY", "")]);
    assert_eq!(layers.take_problems(), []);
    assert_eq!(layers.variable("TD_API_KEY").as_deref(), Some("1/abc"));
    assert_eq!(layers.secret_place(&API_KEY), Some(format!("{path}:2")));
    assert_eq!(layers.origin_phrase(&TD_ENDPOINT), format!("from {path}:3"));
    assert_eq!(layers.get(&TD_ENDPOINT), Some((Source::File, "https://api.eu01.treasuredata.com")));
    let (layers, _) = with_td_conf("[account]\napikey = 1/abc", &[]);
    assert_eq!(layers.get(&TD_ENDPOINT), Some((Source::Default, "https://api.treasuredata.com")));
}

#[test]
fn a_key_or_an_endpoint_from_elsewhere_is_not_mixed_with_the_toolbelts_file() {
    for (variable, label) in [
        ("TD_API_KEY", "TD_API_KEY"),
        ("TD_API_KEY_FILE", "TD_API_KEY_FILE"),
        ("YOTPO_TD_SITE", "--site (YOTPO_TD_SITE)"),
        ("TD_API_SERVER", "--td-endpoint (TD_API_SERVER)"),
    ] {
        let (mut layers, _) = with_td_conf(TD_CONF_TEXT, &[(variable, "us01")]);
        let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
        let expected = format!(
            "--td-conf (YOTPO_TD_TD_CONF): gives both key and endpoint, which are also set by {label}; expected one source"
        );
        assert_eq!(problems, [expected]);
        assert_ne!(layers.variable("TD_API_KEY").as_deref(), Some("1/abc"));
        assert!(layers.is_secret_reported(&API_KEY));
    }
}

#[test]
fn only_the_api_key_comes_from_the_toolbelts_file() {
    let (layers, path) = with_td_conf(TD_CONF_TEXT, &[("YOTPO_CLIENT_SECRET", "secret")]);
    let places: Vec<_> =
        SECRETS.iter().map(|secret| (secret.variable, layers.secret_place(secret))).collect();
    let expected = [
        ("YOTPO_CLIENT_SECRET", Some("YOTPO_CLIENT_SECRET".to_owned())),
        ("TD_API_KEY", Some(format!("{path}:2"))),
    ];
    assert_eq!(places, expected);
    let (layers, _) = with_td_conf(TD_CONF_TEXT, &[]);
    assert_eq!(layers.secret_place(&SECRETS[0]), None);
}

#[test]
fn a_secret_or_its_file_that_is_not_utf_8_is_reported_once() {
    let not_utf8 = OsString::from_vec(b"\xff".to_vec());
    for name in ["TD_API_KEY", "TD_API_KEY_FILE"] {
        let environment = BTreeMap::from([(name.to_owned(), not_utf8.clone())]);
        let layers = Layers::new(&BTreeMap::new(), environment, None);
        assert!(layers.is_secret_reported(&API_KEY), "{name}");
        let problems = Settings::from_layers(layers).unwrap_err();
        let about: Vec<_> = problems
            .problems()
            .iter()
            .map(ToString::to_string)
            .filter(|text| text.contains("TD_API_KEY"))
            .collect();
        assert_eq!(about.len(), 1, "{about:?}");
        assert!(about[0].contains("UTF-8"), "{about:?}");
    }
    assert!(!layers(&[], &[("TD_API_KEY", "1/key")], "").is_secret_reported(&API_KEY));
}

#[test]
fn a_required_variable_that_is_not_utf_8_is_not_missing_as_well() {
    let environment = BTreeMap::from([("TD_DATABASE".to_owned(), OsString::from_vec(b"\xff".to_vec()))]);
    let problems = Settings::from_layers(Layers::new(&BTreeMap::new(), environment, None)).unwrap_err();
    let about: Vec<_> = problems
        .problems()
        .iter()
        .map(ToString::to_string)
        .filter(|text| text.contains("TD_DATABASE"))
        .collect();
    assert_eq!(about.len(), 1, "{about:?}");
    assert!(about[0].contains("UTF-8"), "{about:?}");
}

#[test]
fn a_variable_in_place_of_a_key_names_the_key() {
    for (key, meant) in
        [("TD_TABLE", "table"), ("yotpo_td_page_size", "page-size"), ("TD_API_SERVER", "td-endpoint")]
    {
        assert_eq!(unknown(key), format!("unknown key {key}; did you mean {meant}?"));
    }
}

#[test]
fn the_address_of_a_region_holds_only_if_its_setting_is_the_stronger_one() {
    let effective = |flags: &[(&'static str, &str)], environment: &[(&str, &str)]| {
        let layers = layers(flags, environment, "");
        (effective_endpoint(&layers), treasure_data_origin(&layers))
    };
    let region = ("https://api.eu01.treasuredata.com".to_owned(), "--site".to_owned());
    let address = [("TD_API_SERVER", "api.example.com")];
    assert_eq!(effective(&[("site", "eu01")], &address), (Some(region), "from --site".to_owned()));
    assert_eq!(effective(&[], &address), (None, "from TD_API_SERVER".to_owned()));
    let weaker = effective(&[("td-endpoint", "api.example.com")], &[("YOTPO_TD_SITE", "eu01")]);
    assert_eq!(weaker, (None, "from --td-endpoint".to_owned()));
    // Two of the same contradict each other, and `config show` lists both as they are set.
    let (both, _) = effective(&[("site", "eu01"), ("td-endpoint", "api.example.com")], &[]);
    assert_eq!(both, None);
}
