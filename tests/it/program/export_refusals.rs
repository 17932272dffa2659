//! Exports that are not what they should be are refused, and so are loads that would not be what they seem.

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use yotpo_td::checkpoint::{FinishedRun, StateStore};
use yotpo_td::sandbox::{FaultKind, Operation, SandboxSettings, Service, YotpoBehaviour};

use crate::program::binary::{Finished, Running, Surroundings};
use crate::program::closing_words::{assert_no_command, assert_words, transcript};
use crate::program::exports::{
    CUSTOMERS, export, export_command, export_directory, load, load_command, manifest, parts, requests,
};
use crate::program::preview::store_of;

/// Changes something in the export.
type Damage = fn(&Surroundings);

#[test]
fn what_differs_from_the_manifest_is_refused_before_anything_is_sent() {
    let damage: [(&str, Damage); 7] = [
        ("truncated manifest", |surroundings| {
            let path = export_directory(surroundings).join("manifest.json");
            let text = fs::read(&path).unwrap();
            fs::write(&path, &text[..text.len() / 2]).unwrap();
        }),
        ("changed manifest", |surroundings| {
            let path = export_directory(surroundings).join("manifest.json");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("\"rows\":60", "\"rows\":61")).unwrap();
        }),
        ("newer manifest", |surroundings| {
            let path = export_directory(surroundings).join("manifest.json");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("\"version\":1", "\"version\":2")).unwrap();
        }),
        ("missing part", |surroundings| fs::remove_file(&parts(surroundings)[2]).unwrap()),
        ("truncated part", |surroundings| {
            let part = &parts(surroundings)[3];
            let body = fs::read(part).unwrap();
            fs::write(part, &body[..body.len() - 1]).unwrap();
        }),
        ("flipped bit", |surroundings| {
            let part = &parts(surroundings)[5];
            let mut body = fs::read(part).unwrap();
            let middle = body.len() / 2;
            body[middle] ^= 1;
            fs::write(part, body).unwrap();
        }),
        ("swapped parts", |surroundings| {
            let parts = parts(surroundings);
            let body = fs::read(&parts[0]).unwrap();
            fs::write(&parts[1], body).unwrap();
        }),
    ];
    for (what, damage) in damage {
        let surroundings = Surroundings::with_customers(CUSTOMERS);
        export(&surroundings, &[]).assert_code(0);
        damage(&surroundings);
        let end = load(&surroundings, &[]);
        end.assert_code(6);
        assert!(end.closing().contains("code: export_unusable"), "{what}: {}", end.closing());
        assert_eq!(requests(&surroundings, Service::TreasureData), 0, "{what}");
        export(&surroundings, &["--fresh"]).assert_code(0);
        load(&surroundings, &[]).assert_code(0);
        surroundings.assert_exact();
    }
}

#[test]
fn an_export_of_another_store_or_server_is_neither_loaded_nor_touched() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    let before = manifest(&surroundings);
    for (variable, value) in
        [("YOTPO_STORE_ID", "another-store"), ("YOTPO_TD_YOTPO_ENDPOINT", "https://api.yotpo.com")]
    {
        for command in [load_command(&surroundings, &[]), export_command(&surroundings, &["--fresh"])] {
            let mut command = command;
            command.env(variable, value);
            let end = Running::start(command).finish();
            end.assert_code(2);
            assert_no_command(&end);
            assert!(end.closing().contains(value), "{}", end.closing());
        }
    }
    assert_eq!(manifest(&surroundings), before);
    assert_eq!(requests(&surroundings, Service::TreasureData), 0);
}

#[test]
fn a_directory_with_other_files_is_not_touched() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let directory = export_directory(&surroundings);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("holiday.jpg"), "kept").unwrap();
    let end = export(&surroundings, &[]);
    end.assert_code(2);
    assert_words!("export_not_empty", transcript(&end));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    load(&surroundings, &[]).assert_code(2);
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "a file").unwrap();
    for end in [export(&surroundings, &[]), load(&surroundings, &[])] {
        end.assert_code(2);
        assert_no_command(&end);
        assert!(end.closing().contains("is not a directory"), "{}", end.closing());
    }
    fs::remove_file(&directory).unwrap();
    let missing = load(&surroundings, &[]);
    missing.assert_code(2);
    assert_words!("load_missing", transcript(&missing));
    assert_eq!(requests(&surroundings, Service::Yotpo) + requests(&surroundings, Service::TreasureData), 0);
}

#[test]
fn a_directory_holds_the_export_of_one_run() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &["--run-id", "monday"]).assert_code(0);
    let end = export(&surroundings, &["--run-id", "tuesday"]);
    end.assert_code(2);
    assert_words!("export_other_run", transcript(&end));
    assert_eq!(manifest(&surroundings)["run_id"], "monday");
    export(&surroundings, &["--run-id", "tuesday", "--fresh"]).assert_code(0);
    assert_eq!(manifest(&surroundings)["run_id"], "tuesday");
}

#[test]
fn a_run_id_names_the_load_of_one_export() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    load(&surroundings, &["--run-id", "monday"]).assert_code(0);
    surroundings.control().set_customers(45);
    export(&surroundings, &["--fresh"]).assert_code(0);
    let end = load(&surroundings, &["--run-id", "monday"]);
    end.assert_code(2);
    assert_words!("load_other_rows", transcript(&end));
    assert_eq!(surroundings.rows(), CUSTOMERS);
    load(&surroundings, &["--run-id", "tuesday"]).assert_code(0);
    assert_eq!(surroundings.rows(), CUSTOMERS + 45);
}

#[test]
fn a_store_without_customers_is_an_export_that_a_load_treats_like_a_sync() {
    let surroundings = Surroundings::new(SandboxSettings { customers: 0, ..SandboxSettings::default() });
    let end = export(&surroundings, &[]);
    end.assert_code(0);
    assert!(end.stdout.contains("exported 0 rows"), "{}", end.stdout);
    let loaded = load(&surroundings, &[]);
    loaded.assert_code(0);
    assert!(loaded.stdout.contains("0 customers: nothing to load"), "{}", loaded.stdout);
    let refused = load(&surroundings, &["--mode", "replace"]);
    refused.assert_code(7);
    assert!(refused.closing().contains("guard_tripped"), "{}", refused.closing());
    load(&surroundings, &["--mode", "replace", "--allow-empty"]).assert_code(0);
    assert_eq!(surroundings.rows(), 0);
}

#[test]
fn the_guards_of_a_load_apply_before_anything_is_uploaded() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.run(&["--mode", "replace"]).assert_code(0);
    surroundings.control().set_customers(20);
    export(&surroundings, &[]).assert_code(0);
    let uploads = surroundings.control().operation_requests(Operation::UploadPart);
    let end = load(&surroundings, &["--mode", "replace"]);
    end.assert_code(7);
    assert_words!("load_shrunk", transcript(&end));
    assert_eq!(surroundings.control().operation_requests(Operation::UploadPart), uploads);
    assert_eq!(surroundings.rows(), CUSTOMERS);
    load(&surroundings, &["--mode", "replace", "--min-rows-ratio", "0.1"]).assert_code(0);
    assert_eq!(surroundings.rows(), 20);
}

#[test]
fn a_load_that_is_too_old_to_be_recognised_is_not_repeated_on_the_machine_that_did_it() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    load(&surroundings, &[]).assert_code(0);
    let stores = StateStore::all(&surroundings.state_directory()).unwrap();
    let finished = stores[0].history().unwrap().remove(0);
    let six_days_ago = finished.finished_at - 6 * 24 * 3_600;
    stores[0].save_finished(FinishedRun { finished_at: six_days_ago, ..finished }).unwrap();
    let end = load(&surroundings, &[]);
    end.assert_code(2);
    assert_words!("load_too_old", transcript(&end));
    assert_eq!(surroundings.rows(), CUSTOMERS);
    load(&surroundings, &["--run-id", "again"]).assert_code(0);
    assert_eq!(surroundings.rows(), 2 * CUSTOMERS);
}

#[test]
fn an_export_stays_until_customers_of_the_next_one_have_arrived() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    let before = manifest(&surroundings);
    let mut command = export_command(&surroundings, &["--fresh"]);
    command.env("YOTPO_CLIENT_SECRET", "wrong");
    Running::start(command).finish().assert_code(3);
    surroundings.fault_on_every(Operation::Customers, FaultKind::Status(503, None));
    export(&surroundings, &["--fresh"]).assert_code(4);
    surroundings.end_faults();
    assert_eq!(manifest(&surroundings), before);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn a_manifest_of_another_program_is_not_touched() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let directory = export_directory(&surroundings);
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.join("manifest.json"), "{\"manifest_version\":3}").unwrap();
    for arguments in [&[][..], &["--fresh"]] {
        let end = export(&surroundings, arguments);
        end.assert_code(2);
        assert!(end.closing().contains("is not empty"), "{}", end.closing());
    }
    let kept = fs::read_to_string(directory.join("manifest.json")).unwrap();
    assert_eq!(kept, "{\"manifest_version\":3}");
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_damaged_export_is_not_called_complete() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    let part = &parts(&surroundings)[5];
    let mut body = fs::read(part).unwrap();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    fs::write(part, body).unwrap();
    let end = export(&surroundings, &[]);
    end.assert_code(6);
    assert!(end.closing().contains("is damaged"), "{}", end.closing());
    export(&surroundings, &["--limit", "3"]).assert_code(2);
}

#[test]
fn the_time_of_rows_that_another_attempt_loaded_under_a_given_id_is_only_claimed_if_it_is_known() {
    let summary = |end: &Finished| -> serde_json::Value {
        end.assert_code(0);
        serde_json::from_str(&end.stdout).unwrap()
    };
    let arguments = ["--run-id", "monday", "--summary", "json"];
    let elsewhere =
        |surroundings: &Surroundings| surroundings.directory().join("elsewhere").to_str().unwrap().to_owned();
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let synced = summary(&surroundings.run(&arguments));
    export(&surroundings, &[]).assert_code(0);
    let joined = summary(&load(&surroundings, &arguments));
    assert_eq!(joined["outcome"], "already_committed");
    assert_eq!(joined["ingestion_time"], synced["ingestion_time"], "that of the sync");
    surroundings.assert_exact();
    // A load of any export may have been first: its rows have the time of that export.
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    load(&surroundings, &arguments).assert_code(0);
    export(&surroundings, &["--fresh"]).assert_code(0);
    let elsewhere = elsewhere(&surroundings);
    for joined in [
        summary(&load(&surroundings, &arguments)),
        summary(&surroundings.run(&arguments)),
        summary(&surroundings.run(&[&arguments[..], &["--state-dir", &elsewhere]].concat())),
    ] {
        assert_eq!(joined["outcome"], "already_committed");
        assert_eq!((&joined["ingestion_time"], &joined["counting_query"]), (&().into(), &().into()));
    }
    surroundings.assert_exact();
}

#[test]
fn an_export_whose_rows_were_replaced_is_loaded_again_under_another_id() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    load(&surroundings, &["--mode", "replace"]).assert_code(0);
    surroundings.control().set_customers(45);
    surroundings.run(&["--mode", "replace"]).assert_code(0);
    let end = load(&surroundings, &["--mode", "replace"]);
    end.assert_code(8);
    assert_words!("load_superseded", transcript(&end));
    assert_no_command(&end);
    assert_eq!(surroundings.rows(), 45);
    load(&surroundings, &["--mode", "replace", "--run-id", "back"]).assert_code(0);
    assert_eq!(surroundings.rows(), CUSTOMERS);
}

#[test]
fn a_link_in_place_of_the_lock_of_an_export_is_not_followed() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let directory = export_directory(&surroundings);
    fs::create_dir(&directory).unwrap();
    let elsewhere = surroundings.directory().join("elsewhere");
    fs::write(&elsewhere, "kept").unwrap();
    symlink(&elsewhere, directory.join("lock")).unwrap();
    let end = export(&surroundings, &[]);
    end.assert_code(6);
    for text in ["is a symbolic link, which is never followed", "code: export_unusable (exit code 6"] {
        assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
    assert_eq!(requests(&surroundings, Service::Yotpo), 0);
}

#[test]
fn customers_of_which_none_can_become_a_row_are_no_export() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let server = store_of(vec!["7".to_owned(), "8".to_owned()]);
    let mut command = export_command(&surroundings, &["--max-error-records", "2"]);
    command.env("YOTPO_TD_YOTPO_ENDPOINT", server.endpoint());
    let end = Running::start(command).finish();
    end.assert_code(7);
    assert!(end.closing().contains("code: guard_tripped (exit code 7)"), "{}", end.closing());
    assert!(end.last_line().starts_with("saved: this command exported nothing"), "{}", end.last_line());
    let manifest = manifest(&surroundings);
    assert_eq!((&manifest["is_complete"], &manifest["rows"]), (&false.into(), &0.into()));
    assert_eq!(parts(&surroundings).len(), 0);
}

#[test]
fn an_export_of_pages_that_repeat_is_removed() {
    let yotpo = YotpoBehaviour { repeated_cursor_at: NonZeroU64::new(9), ..YotpoBehaviour::default() };
    let surroundings =
        Surroundings::new(SandboxSettings { customers: CUSTOMERS, yotpo, ..SandboxSettings::default() });
    let end = export(&surroundings, &["--upload-workers", "1"]);
    end.assert_code(4);
    assert!(end.closing().contains("code: yotpo_paging_endless (exit code 4"), "{}", end.closing());
    assert!(end.last_line().starts_with("saved: this command exported nothing; "), "{}", end.last_line());
    assert_eq!(parts(&surroundings).len(), 0);
    assert!(!export_directory(&surroundings).join("manifest.json").exists());
}
