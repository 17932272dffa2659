//! Whether a server can be reached, told from the outcome of a request that is needed anyway.
//!
//! Owns which part of the way (name, connection, TLS) a failure is about. It sends nothing.

use url::{Host, Url};

use super::finding::{CheckId, Finding};
use crate::http::{CallError, Cause, TransportError};
use crate::run::RunError;

/// The checks of the way to one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    /// Name resolution, connection and TLS.
    pub(super) ids: [CheckId; 3],
    /// The address.
    pub(super) endpoint: &'a Url,
    /// Which setting it is from, as a phrase.
    pub(super) origin: &'a str,
}

/// The part of the way at which a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Name,
    Connection,
    Tls,
}

fn failed_part(error: &CallError) -> Option<Part> {
    let Cause::Transport(error) = error.cause() else { return None };
    Some(match error {
        TransportError::NameNotResolved(_) => Part::Name,
        TransportError::NotTls(_) | TransportError::Certificate(_) => Part::Tls,
        TransportError::Connect(_)
        | TransportError::ProxyAuthentication(_)
        | TransportError::ProxyRefused(_)
        | TransportError::ProxyNotReached { .. }
        | TransportError::Interrupted(_)
        | TransportError::TimedOut(_) => Part::Connection,
    })
}

/// Whether the name was resolved although the connection failed; a proxy resolves it by itself, and a time-out tells nothing.
fn is_name_known(error: &CallError) -> bool {
    matches!(
        error.cause(),
        Cause::Transport(
            TransportError::Connect(_)
                | TransportError::NotTls(_)
                | TransportError::Certificate(_)
                | TransportError::Interrupted(_)
        )
    )
}

impl Way<'_> {
    /// There was a response.
    pub(super) fn reached(self) -> Vec<Finding> {
        let [name, connection, tls] = self.ids;
        vec![
            self.name_resolved(name),
            Finding::passed(connection, format!("{} responds", self.server())),
            if self.endpoint.scheme() == "https" {
                Finding::passed(tls, "the certificate is trusted")
            } else {
                Finding::skipped(tls, "plain http on this machine")
            },
        ]
    }

    /// There was no response.
    pub(super) fn unreachable(self, error: impl Into<RunError>, broken: Interruption) -> Vec<Finding> {
        let [name, connection, tls] = self.ids;
        let failed = |id| Finding::failed(id, error.into());
        let not_reached = |id| Finding::skipped(id, "there is no connection");
        match broken.part {
            Part::Name => vec![failed(name), not_reached(connection), not_reached(tls)],
            Part::Connection => {
                let resolved = if broken.is_name_known {
                    self.name_resolved(name)
                } else {
                    Finding::skipped(name, "unknown: there is no connection")
                };
                vec![resolved, failed(connection), not_reached(tls)]
            }
            Part::Tls => vec![
                self.name_resolved(name),
                Finding::passed(connection, format!("{} accepts connections", self.server())),
                failed(tls),
            ],
        }
    }

    fn name_resolved(self, id: CheckId) -> Finding {
        match self.endpoint.host() {
            Some(Host::Domain(name)) => Finding::passed(id, format!("{name} resolves")),
            _ => Finding::skipped(id, "the address has no name to resolve"),
        }
    }

    fn server(self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        let port = self.endpoint.port_or_known_default().map_or_else(String::new, |port| format!(":{port}"));
        format!("{host}{port} ({})", self.origin)
    }
}

/// Where the way to a server ends, taken from an error before it becomes a finding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interruption {
    part: Part,
    is_name_known: bool,
}

impl Interruption {
    /// `None` if there was a response.
    pub(super) fn of(error: &CallError) -> Option<Self> {
        Some(Self { part: failed_part(error)?, is_name_known: is_name_known(error) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::finding::Verdict;
    use super::*;
    use crate::clock::DeadlineElapsed;
    use crate::http::{Effect, NetworkError};
    use crate::yotpo::YotpoError;

    fn way(endpoint: &Url) -> Way<'_> {
        let ids = [CheckId::YotpoDns, CheckId::YotpoConnection, CheckId::YotpoTls];
        Way { ids, endpoint, origin: "from --yotpo-endpoint" }
    }

    fn network() -> NetworkError {
        reqwest::Proxy::all("").unwrap_err().into()
    }

    #[test]
    fn a_failure_is_about_one_part_of_the_way_and_tells_what_came_before_it() {
        use Verdict::{Failed, Passed, Skipped};
        let endpoint = "https://api.example.com".parse().unwrap();
        for (error, expected) in [
            (TransportError::NameNotResolved(network()), [Failed, Skipped, Skipped]),
            (TransportError::Connect(network()), [Passed, Failed, Skipped]),
            (TransportError::Interrupted(network()), [Passed, Failed, Skipped]),
            // A proxy resolves names by itself, and a time-out may be one of the resolution.
            (TransportError::ProxyRefused(network()), [Skipped, Failed, Skipped]),
            (TransportError::ProxyNotReached { proxy: None, source: network() }, [Skipped, Failed, Skipped]),
            (TransportError::ProxyAuthentication(network()), [Skipped, Failed, Skipped]),
            (TransportError::TimedOut(DeadlineElapsed(Duration::ZERO)), [Skipped, Failed, Skipped]),
            (TransportError::NotTls(network()), [Passed, Passed, Failed]),
            (TransportError::Certificate(network()), [Passed, Passed, Failed]),
        ] {
            let words = error.to_string();
            let error = CallError::transport("try", Effect::Repeatable, error);
            let broken = Interruption::of(&error).unwrap();
            let findings = way(&endpoint).unreachable(YotpoError::Token(error), broken);
            let verdicts: Vec<_> = findings.iter().map(|finding| finding.verdict).collect();
            assert_eq!(verdicts, expected, "{words}");
        }
    }

    #[test]
    fn a_server_that_responds_has_a_name_that_resolves_unless_it_has_no_name() {
        for (endpoint, expected) in [
            (
                "https://api.example.com",
                [
                    (Verdict::Passed, "api.example.com resolves"),
                    (Verdict::Passed, "api.example.com:443 (from --yotpo-endpoint) responds"),
                    (Verdict::Passed, "the certificate is trusted"),
                ],
            ),
            (
                "http://127.0.0.1:8080",
                [
                    (Verdict::Skipped, "the address has no name to resolve"),
                    (Verdict::Passed, "127.0.0.1:8080 (from --yotpo-endpoint) responds"),
                    (Verdict::Skipped, "plain http on this machine"),
                ],
            ),
        ] {
            let endpoint = endpoint.parse().unwrap();
            let findings = way(&endpoint).reached();
            let seen: Vec<_> =
                findings.iter().map(|finding| (finding.verdict, finding.seen.as_str())).collect();
            assert_eq!(seen, expected);
        }
    }
}
