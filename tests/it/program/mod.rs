//! Tests that start the real binary, as a user or a scheduler does.

mod attempts;
pub(crate) mod binary;
mod canaries;
mod closing_words;
mod command_line;
mod config_command;
mod crash_sweep;
mod damaged_state;
mod exit_codes;
mod full_disk;
mod help;
mod logs;
mod long_lists;
mod named_command;
mod next_commands;
mod progress_line;
mod proxies;
mod runs_command;
mod settings;
mod signals;
mod streams;
mod summary;
mod tls;
mod untrusted_files;
mod waiting;
mod wrong_address;
