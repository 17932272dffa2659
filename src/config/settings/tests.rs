use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::config::SETTINGS;
use crate::identity::Mode;
use crate::transfer::MAX_COMPRESSION_THREADS;

fn read(flags: &[(&'static str, &str)], environment: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let flags: BTreeMap<_, _> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::from_layers(Layers::new(&flags, environment, None))
        .map_err(|error| error.problems().iter().map(ToString::to_string).collect())
}

const COMPLETE: [(&str, &str); 5] = [
    ("HOME", "/somebody"),
    ("YOTPO_CLIENT_SECRET", "secret"),
    ("YOTPO_STORE_ID", "store"),
    ("TD_API_KEY", "1/0123456789012345678901234567890123456789"),
    ("TD_DATABASE", "database"),
];

#[test]
fn defaults_are_the_published_ones() {
    let settings = read(&[], &COMPLETE).unwrap();
    assert_eq!(settings.store.yotpo.endpoint.as_str(), "https://api.yotpo.com/");
    assert_eq!(settings.treasure_data.endpoint.as_str(), "https://api.treasuredata.com/");
    assert_eq!(settings.load.target.table.as_str(), "yotpo_customers");
    assert_eq!(settings.load.mode, Mode::Append);
    assert!((settings.store.request_rate.per_second() - 4.5).abs() < f64::EPSILON);
    assert_eq!(settings.load.transfer.page_size, 100);
    assert_eq!(settings.load.transfer.parts.max_rows.get(), 100_000);
    assert_eq!(settings.load.transfer.parts.closing_size, 4 * 1024 * 1024);
    assert_eq!(settings.load.transfer.upload_workers.get(), 2);
    let retry =
        RetryPolicy { max_retries: 8, base_delay: Duration::from_secs(1), timeout: Duration::from_secs(600) };
    assert_eq!(settings.store.retry, retry);
    assert_eq!(settings.store.connections.request_timeout, Duration::from_secs(30));
    let polling = Polling { interval: Duration::from_secs(2), timeout: Duration::from_secs(6 * 3_600) };
    assert_eq!(settings.load.polling, polling);
    assert_eq!(settings.summary, SummaryFormat::Text);
    assert_eq!(settings.load.resume.state_directory.to_str(), Some("/somebody/.local/state/yotpo-td"));
    assert_eq!(settings.load.resume.policy, ResumePolicy::Within(Duration::from_secs(6 * 3_600)));
    assert_eq!(settings.wait_for_active, Duration::ZERO);
    assert_eq!(settings.load.guards, ReplaceGuards { allow_empty: false, min_rows_ratio: 0.5 });
    assert_eq!((settings.load.transfer.max_error_records, settings.load.quarantine_directory), (0, None));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let wrong: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| !["site", "td-conf"].contains(&setting.key))
        .map(|setting| {
            let value = match setting.key {
                "summary-file" | "metrics-file" | "report" => "absent/file",
                key if key.ends_with("endpoint") => "ftp://x",
                _ => "!",
            };
            (setting.key, value)
        })
        .collect();
    let problems =
        read(&wrong, &[("YOTPO_CLIENT_SECRET", "two words"), ("TD_API_KEY", ""), ("HOME", "/somebody")])
            .unwrap_err();
    for setting in SETTINGS.iter().filter(|setting| !["site", "td-conf", "state-dir"].contains(&setting.key))
    {
        let count = problems.iter().filter(|problem| problem.contains(&setting.label())).count();
        assert_eq!(count, 1, "{} in {problems:#?}", setting.label());
    }
    assert_eq!(problems.len(), SETTINGS.len() - 3 + 2, "{problems:#?}");
    assert!(!problems.concat().contains("two words"));
}

#[test]
fn every_bound_is_kept() {
    for (key, right, wrong) in [
        ("page-size", &["1", "100"][..], &["0", "101", "-1", "1.5", ""][..]),
        ("batch-size", &["1", "100000"], &["0", "100001"]),
        ("part-size", &["1MiB", "64MiB", "8388608", "8 MiB"], &["1048575", "65MiB", "8Mib/s"]),
        ("compression-level", &["1", "9"], &["0", "10"]),
        ("upload-workers", &["1", "8"], &["0", "9"]),
        ("max-retries", &["0", "1000"], &["1001", "-1"]),
        ("requests-per-second", &["0.5", "4.5", "1000000"], &["0", "-1", "1000001", "NaN", "inf"]),
        ("request-timeout", &["1ms", "2h"], &["0s", "30", "1x"]),
        ("wait-for-active", &["0s", "0", "1ms", "2h"], &["", "30", "-1s"]),
        ("mode", &["append", "replace"], &["Append", "truncate"]),
        ("log-level", &["debug", "yotpo_td::retry=trace,info"], &["a=b=c"]),
    ] {
        for value in right {
            assert!(read(&[(key, value)], &COMPLETE).is_ok(), "{key} {value}");
        }
        for value in wrong {
            assert!(read(&[(key, value)], &COMPLETE).is_err(), "{key} {value}");
        }
    }
}

#[test]
fn the_stronger_of_site_and_endpoint_wins_and_two_of_the_same_contradict() {
    let endpoint = |flags: &[(&'static str, &str)], variables: &[(&str, &str)]| {
        let environment: Vec<_> = COMPLETE.iter().chain(variables).copied().collect();
        read(flags, &environment)
            .map(|settings| settings.treasure_data.endpoint.host_str().unwrap().to_owned())
    };
    assert_eq!(endpoint(&[("site", "eu01")], &[]).unwrap(), "api.eu01.treasuredata.com");
    assert_eq!(
        endpoint(&[("site", "ap01")], &[("TD_API_SERVER", "api.x.com")]).unwrap(),
        "api.treasuredata.co.jp"
    );
    assert_eq!(endpoint(&[("td-endpoint", "api.x.com")], &[("YOTPO_TD_SITE", "ap01")]).unwrap(), "api.x.com");
    let both = endpoint(&[("site", "ap01"), ("td-endpoint", "api.x.com")], &[]).unwrap_err();
    assert!(both[0].contains("expected one of them"), "{both:?}");
    let unknown = endpoint(&[("site", "mars")], &[]).unwrap_err();
    assert!(unknown[0].contains("expected us01, ap01, eu01, ap02 or ap03"), "{unknown:?}");
}

#[test]
fn secrets_come_from_variables_or_files_and_never_show() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, "from-file\n").unwrap();
    let path = path.to_str().unwrap();
    let file = [COMPLETE[0], COMPLETE[2], COMPLETE[3], COMPLETE[4], ("YOTPO_CLIENT_SECRET_FILE", path)];
    let settings = read(&[], &file).unwrap();
    assert!(!format!("{settings:?}").contains("from-file"));
    assert!(!format!("{settings:?}").contains("0123456789"));

    let both: Vec<_> = COMPLETE.iter().chain(&[("YOTPO_CLIENT_SECRET_FILE", path)]).copied().collect();
    assert!(read(&[], &both).unwrap_err()[0].contains("both are set"));
    let absent =
        [COMPLETE[0], COMPLETE[2], COMPLETE[3], COMPLETE[4], ("YOTPO_CLIENT_SECRET_FILE", "/nowhere/secret")];
    assert!(read(&[], &absent).unwrap_err()[0].contains("cannot read /nowhere/secret"));
}

#[test]
fn origin_of_an_address_is_the_name_it_was_set_by() {
    let origins = |flags, environment: &[(&str, &str)]| {
        let settings = read(flags, &[&COMPLETE[..], environment].concat()).unwrap();
        (settings.store.endpoint_origin, settings.treasure_data_origin)
    };
    let owned = |yotpo: &str, treasure_data: &str| (yotpo.to_owned(), treasure_data.to_owned());
    assert_eq!(origins(&[], &[]), owned("the default of --yotpo-endpoint", "the default of --td-endpoint"));
    assert_eq!(
        origins(&[("yotpo-endpoint", "x.com")], &[("TD_API_SERVER", "y.com")]),
        owned("from --yotpo-endpoint", "from TD_API_SERVER")
    );
    let site = origins(&[("site", "ap01")], &[("TD_API_SERVER", "y.com")]);
    assert_eq!(site.1, "from --site");
    let endpoint = origins(&[("td-endpoint", "y.com")], &[("YOTPO_TD_SITE", "ap01")]);
    assert_eq!(endpoint.1, "from --td-endpoint");
}

#[test]
fn version_at_the_end_of_the_address_of_treasure_data_is_taken_off() {
    for (set, taken) in [
        ("https://x.com/v3", "https://x.com/"),
        ("https://x.com/base/v3/", "https://x.com/base/"),
        ("x.com//v3", "https://x.com/"),
        ("https://x.com/base", "https://x.com/base"),
        ("https://x.com/dev3", "https://x.com/dev3"),
    ] {
        let settings = read(&[("td-endpoint", set)], &COMPLETE).unwrap();
        assert_eq!(settings.treasure_data.endpoint.as_str(), taken, "{set}");
        assert_eq!(settings.load.target.treasure_data_endpoint, taken, "{set}");
    }
}

#[test]
fn the_defaults_keep_to_the_memory_that_is_promised() {
    let settings = read(&[], &COMPLETE).unwrap().load.transfer;
    assert!(settings.memory_bound_with(1) <= 48_000_000, "{} bytes", settings.memory_bound_with(1));
    let maximum = settings.memory_bound_with(MAX_COMPRESSION_THREADS);
    assert!(maximum <= 60_000_000, "{maximum} bytes");
}
