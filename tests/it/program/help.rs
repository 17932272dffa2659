//! The command line: help, version, and errors about unknown words.

use insta_cmd::assert_cmd_snapshot;

use crate::program::binary::program;

macro_rules! snapshot {
    ($name:literal, $arguments:expr) => {
        crate::program::closing_words::with_filters(|| {
            let mut command = program();
            // Its path would be in the snapshot.
            command.env_remove("LLVM_PROFILE_FILE").args($arguments);
            assert_cmd_snapshot!($name, command);
        });
    };
}

#[test]
fn help_is_as_published() {
    snapshot!("help", ["--help"]);
    snapshot!("sync_help", ["sync", "--help"]);
    snapshot!("check_help", ["check", "--help"]);
    snapshot!("preview_help", ["preview", "--help"]);
    snapshot!("compare_help", ["compare", "--help"]);
    snapshot!("sandbox_help", ["sandbox", "--help"]);
    snapshot!("runs_help", ["runs", "--help"]);
    snapshot!("version", ["--version"]);
}

#[test]
fn without_a_command_help_is_shown_with_a_usage_error() {
    snapshot!("no_arguments", [""; 0]);
}

#[test]
fn unknown_words_are_reported() {
    snapshot!("unknown_command", ["synch"]);
    snapshot!("unknown_flag", ["sync", "--databse", "x"]);
    snapshot!("flag_without_value", ["sync", "--database"]);
    snapshot!("flag_given_twice", ["sync", "--table", "one", "--table", "two"]);
    snapshot!("secret_as_flag", ["sync", "--td-api-key=canary"]);
    snapshot!("surplus_word", ["sync", "now"]);
}

#[test]
fn flags_of_the_sandbox_are_checked() {
    snapshot!("sandbox_flag_without_sandbox", ["sync", "--sandbox-customers", "10"]);
    snapshot!("check_tables_without_sessions", ["check", "--probe-tables"]);
    snapshot!("check_output", ["check", "--output", "yaml"]);
    snapshot!("sandbox_customers_no_number", ["sync", "--sandbox", "--sandbox-customers", "many"]);
    snapshot!("sandbox_stores", ["sandbox", "--stores", "0"]);
    snapshot!("sandbox_rate", ["sandbox", "--requests-per-second", "0"]);
    snapshot!("sandbox_import_time", ["sandbox", "--import-time", "long"]);
    snapshot!("sandbox_address", ["sandbox", "--yotpo-listen", "somewhere"]);
    snapshot!("sandbox_not_loopback", ["sandbox", "--td-listen", "192.0.2.1:0"]);
}
