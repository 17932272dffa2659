//! HTTP: the one way in which this program talks to a server.
//!
//! Owns the connection pool, TLS, one attempt (send, read the whole capped body, unpack it), what a failed attempt
//! means for repeating it ([`Class`]), server-given delays, and what of a server's words may be shown
//! ([`Redactor`]). It does not repeat anything: that is [`crate::retry`]'s work, so that every attempt passes the
//! rate limiter and is counted.

mod body;
mod client;
mod delay;
mod error;
mod redaction;
mod tls;

pub use client::{
    BodySink, ClientSettings, HttpClient, Reach, Request, Response, RestartableSink, parse_json,
};
pub use delay::{DelayHint, delay_hint};
pub use error::{BodyProblem, CallError, Cause, Class, Effect, TransportError};
pub use redaction::Redactor;
pub use tls::{TlsError, tls_configuration};
