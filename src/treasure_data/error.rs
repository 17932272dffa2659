//! Why a load into Treasure Data failed.

use http::StatusCode;

use crate::http::CallError;
use crate::identity::DatabaseName;

/// Why a request to Treasure Data failed.
#[derive(Debug, thiserror::Error)]
pub enum TreasureDataError {
    /// The API key is wrong or lacks a permission.
    #[error("Treasure Data denied the API key, or the key lacks a permission")]
    Denied(#[source] CallError),
    /// A request failed.
    #[error("a request to Treasure Data failed")]
    Call(#[source] CallError),
    /// The endpoint is not the Treasure Data API.
    #[error("there is no Treasure Data API at this address")]
    WrongEndpoint(#[source] CallError),
    /// The database does not exist.
    #[error("{} was not found", database.as_ref().map_or_else(|| "the database".to_owned(), |name| format!("database {name}")))]
    NoDatabase {
        /// The database, if the call names it.
        database: Option<DatabaseName>,
        /// The response.
        source: CallError,
    },
}

impl TreasureDataError {
    /// What the user can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Denied(source) => format!(
                "check {}, its permissions (import) and the region: --site or --td-endpoint (TD_API_SERVER)",
                source.secret_place().unwrap_or("TD_API_KEY")
            ),
            Self::WrongEndpoint(_) => WRONG_ENDPOINT.to_owned(),
            Self::Call(source) => source.connection_hint().unwrap_or_else(|| call_hint(source)).to_owned(),
            Self::NoDatabase { database, .. } => {
                let name = database.as_ref().map_or("NAME", DatabaseName::as_str);
                format!("create it (td db:create {name}) or correct --database (TD_DATABASE); check --site")
            }
        }
    }

    /// The request that failed.
    pub fn call(&self) -> &CallError {
        match self {
            Self::Denied(source)
            | Self::Call(source)
            | Self::WrongEndpoint(source)
            | Self::NoDatabase { source, .. } => source,
        }
    }

    /// Adds the name of the database.
    pub(super) fn in_database(self, name: &DatabaseName) -> Self {
        match self {
            Self::NoDatabase { source, .. } => Self::NoDatabase { database: Some(name.clone()), source },
            error => error,
        }
    }

    /// Whether the response was too large.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Call(source) if source.is_too_large())
    }

    /// Whether the same command fails until something is changed. A denied request may succeed with another key.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Denied(_) => false,
            Self::WrongEndpoint(_) | Self::NoDatabase { .. } => true,
            Self::Call(source) => source.is_permanent(),
        }
    }
}

const WRONG_ENDPOINT: &str =
    "correct --site or --td-endpoint (TD_API_SERVER): the address of the API, without a path";

fn call_hint(source: &CallError) -> &'static str {
    if source.is_wrong_server() {
        return "check --site or --td-endpoint (TD_API_SERVER), the network and its name servers";
    }
    if source.is_unreachable_at_set_address() {
        return "check --site or --td-endpoint (TD_API_SERVER); if it is right, run it again when the server can be reached";
    }
    if source.is_redirect() {
        return WRONG_ENDPOINT;
    }
    if source.is_too_large() {
        return "the list is too long for this program, and running it again will not help: delete unneeded sessions in the \
                console; for a list of parts, use --fresh with a larger --batch-size and --part-size";
    }
    match source.status_code() {
        Some(StatusCode::PAYLOAD_TOO_LARGE) => {
            "Treasure Data does not accept parts of this size; use a smaller --part-size (and --batch-size, if a batch is \
             even larger)"
        }
        Some(StatusCode::PAYMENT_REQUIRED) => {
            "the account's plan does not allow this request; running it again will not help until this is resolved with \
             Treasure Data"
        }
        Some(_) if is_about_number_of_sessions(source) => {
            "the account has reached its maximum number of bulk import sessions; remove unneeded ones with yotpo-td runs \
             clean and the same settings"
        }
        Some(_) if source.is_permanent() => {
            "Treasure Data rejected this request, and running it again will not help; check the settings in the message, or \
             report it with the log at --log-level debug"
        }
        _ => "Treasure Data returned an error or could not be reached; run it again",
    }
}

/// Only for the hint: no decision depends on these texts.
fn is_about_number_of_sessions(source: &CallError) -> bool {
    let text = source.message().unwrap_or_default().to_ascii_lowercase();
    let is_about_sessions =
        text.contains("session") || text.contains("bulk import") || text.contains("bulk_import");
    is_about_sessions && ["limit", "too many", "maximum", "exceed"].iter().any(|word| text.contains(word))
}

impl From<CallError> for TreasureDataError {
    fn from(error: CallError) -> Self {
        if error.is_unknown_path() {
            Self::WrongEndpoint(error)
        } else if error.is_denied() {
            Self::Denied(error)
        } else {
            Self::Call(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{BodyProblem, Effect};

    fn rejected(status: u16, message: &str) -> TreasureDataError {
        let status = StatusCode::from_u16(status).unwrap();
        let message = Some(message.to_owned());
        CallError::status("try", Effect::Repeatable, status, message, None).into()
    }

    #[test]
    fn hint_matches_the_rejected_request() {
        for (status, message, hint) in [
            (413, "Request Entity Too Large", "--part-size"),
            (402, "upgrade", "the account's plan"),
            (422, "Maximum number of bulk import sessions reached", "yotpo-td runs clean"),
            (422, "too many open sessions", "yotpo-td runs clean"),
            (422, "The limit of bulk imports is 100", "yotpo-td runs clean"),
            (400, "bulk_import: quota exceeded", "yotpo-td runs clean"),
            (400, "the rate limit of this endpoint", "running it again will not help"),
            (400, "bad", "running it again will not help"),
            (404, "bad", "running it again will not help"),
            (302, "moved", "correct --site or --td-endpoint"),
            (418, "bad", "running it again will not help"),
            (422, "the name of a session is too short", "running it again will not help"),
        ] {
            let error = rejected(status, message);
            assert!(error.hint().contains(hint), "{status} {message}: {}", error.hint());
            assert!(error.is_permanent() && !error.is_too_large(), "{status} {message}");
        }
        for status in [406, 408, 429, 500, 503] {
            let error = rejected(status, "try later");
            assert!(error.hint().ends_with("; run it again"), "{status}: {}", error.hint());
            assert!(!error.is_permanent(), "{status}");
        }
    }

    #[test]
    fn list_that_is_too_long_has_a_hint() {
        let problem = BodyProblem::TooLarge { limit: 1 };
        let error = TreasureDataError::from(CallError::body("list", Effect::Repeatable, problem));
        assert!(error.is_too_large() && error.is_permanent());
        assert!(error.hint().starts_with("the list is too long for this program"), "{}", error.hint());
    }

    #[test]
    fn unknown_path_means_a_wrong_endpoint() {
        let error = TreasureDataError::from(CallError::unknown_path("try", None));
        let TreasureDataError::WrongEndpoint(_) = error else { panic!("{error:?}") };
        assert!(error.hint().contains("--td-endpoint") && error.is_permanent(), "{}", error.hint());
    }
}
