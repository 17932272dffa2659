//! A scripted server in front of Treasure Data's mock server, for responses that the sandbox would not send.
//!
//! Owns how requests are passed on. Headers of responses, among them the date, are lost.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::in_process::scripted_server::{Asked, ScriptedResponse, ScriptedServer};
use crate::program::binary::Surroundings;
use crate::program::checked::{Checked, check};

/// The mock server behind the scripted one.
pub(crate) struct Behind {
    address: String,
}

impl Behind {
    /// Passes a request on, and returns the response.
    pub(crate) fn respond(&self, asked: &Asked) -> ScriptedResponse {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let is_kept = |header: &&str| {
            let header = header.to_ascii_lowercase();
            !header.starts_with("accept-encoding:") && !header.starts_with("connection:")
        };
        let headers: String = asked.headers.split_inclusive('\n').filter(is_kept).collect();
        let head = format!("{}{headers}connection: close\r\n\r\n", asked.line);
        connection.write_all(&[head.as_bytes(), &asked.body].concat()).unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

/// Runs `yotpo-td check` with `script` in front of Treasure Data.
pub(crate) fn check_behind(
    surroundings: &Surroundings,
    arguments: &[&str],
    script: impl Fn(&Asked, &Behind) -> ScriptedResponse + Send + Sync + 'static,
) -> Checked {
    let endpoint = surroundings.environment()["TD_API_SERVER"].clone();
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let behind = Behind { address };
    let server = ScriptedServer::start(move |asked| script(asked, &behind));
    check(surroundings, arguments, &[("TD_API_SERVER", &server.endpoint())])
}

/// As [`check_behind`], with a script for the requests whose line contains `part`: it gets their number, from 1.
pub(crate) fn check_with_responses(
    surroundings: &Surroundings,
    arguments: &[&str],
    part: &'static str,
    script: impl Fn(u64, &Asked, &Behind) -> ScriptedResponse + Send + Sync + 'static,
) -> Checked {
    let asked_before = AtomicU64::new(0);
    check_behind(surroundings, arguments, move |asked, behind| {
        if asked.line.contains(part) {
            script(asked_before.fetch_add(1, Ordering::SeqCst) + 1, asked, behind)
        } else {
            behind.respond(asked)
        }
    })
}
