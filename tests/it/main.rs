//! What the program promises, tested from outside.

#[cfg(test)]
mod abandoning;
#[cfg(test)]
#[cfg(unix)]
mod attempts;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod canaries;
#[cfg(test)]
mod cli_help;
#[cfg(test)]
mod cli_settings;
#[cfg(test)]
mod closing_words;
#[cfg(test)]
#[cfg(unix)]
mod crash_sweep;
#[cfg(test)]
mod damaged_state;
#[cfg(test)]
mod downloads;
#[cfg(test)]
mod end_of_data;
#[cfg(test)]
mod error_records;
#[cfg(test)]
mod exit_codes;
#[cfg(test)]
mod fault_sweep;
#[cfg(test)]
mod fuzz_smoke;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http_attempts;
#[cfg(test)]
mod http_limits;
#[cfg(test)]
mod interrupts;
#[cfg(test)]
mod legacy_state;
#[cfg(test)]
mod loading;
#[cfg(test)]
mod loyalty;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod odd_responses;
#[cfg(test)]
mod own_set;
#[cfg(test)]
mod persistent_faults;
#[cfg(test)]
mod prefetch;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod rate_headers;
#[cfg(test)]
mod rate_limit;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod recreated_tables;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod retry_safety;
mod row_corpus;
mod row_properties;
#[cfg(test)]
mod run_id;
#[cfg(test)]
mod runs_command;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod scripted_server;
#[cfg(test)]
mod side_by_side;
#[cfg(test)]
#[cfg(unix)]
mod signals;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod stored_parts;
#[cfg(test)]
#[cfg(unix)]
mod streams;
#[cfg(test)]
mod tls;
#[cfg(test)]
#[path = "../tls_relay/mod.rs"]
#[expect(dead_code, reason = "the times are for the limiter's benchmark")]
mod tls_relay;
#[cfg(test)]
#[cfg(unix)]
mod waiting;
#[cfg(test)]
mod watchdog;
#[cfg(test)]
mod wrong_address;
#[cfg(test)]
mod yotpo_behaviour;
