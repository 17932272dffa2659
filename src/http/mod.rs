//! HTTP: the only way in which this program communicates with a server.
//!
//! Owns the connection pool, TLS, a single attempt (send, read the whole size-limited body, decompress it), the
//! classification of failures for retries ([`Class`]), delays requested by servers, and the redaction of server messages
//! ([`Redactor`]). It does not retry: [`crate::retry`] does, so that every attempt is rate-limited and counted.

mod body;
mod client;
mod connection;
mod delay;
mod error;
mod exchanges;
mod message;
mod plain;
mod redaction;
#[cfg(test)]
pub(crate) mod scripted;
mod server_clock;
mod tls;

pub use client::{BodySink, HttpClient, RestartableSink};
pub use connection::{ClientSettings, Reach};
pub use delay::{DelayHint, delay_hint, server_date};
pub use error::{
    BodyProblem, CallError, Cause, Class, Effect, FailureKind, NetworkError, TransportError, error_type,
};
pub use exchanges::{LATENCY_BOUNDS, Latencies, OperationUse, StatusClass};
pub use message::{Request, Response, parse_json};
pub use plain::{PlainClient, PlainError};
pub use redaction::Redactor;
pub use server_clock::ServerClock;
pub use tls::{TlsError, tls_configuration};
