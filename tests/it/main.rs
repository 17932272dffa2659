//! What the program guarantees, tested from outside: in this process or through the real binary (CONTRIBUTING.md
//! explains which to use).
#![cfg(test)]

mod in_process;
mod program;
mod project;
mod rows;
#[path = "../tls_relay/mod.rs"]
#[expect(dead_code, reason = "the times are for the limiter's benchmark")]
mod tls_relay;
