//! Why a load into Treasure Data failed.

use crate::http::CallError;
use crate::identity::DatabaseName;

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum TreasureDataError {
    /// The key is wrong or may not do this.
    #[error("Treasure Data denied the API key, or the key may not do this")]
    Denied(#[source] CallError),
    /// A call failed.
    #[error("a call to Treasure Data failed")]
    Call(#[source] CallError),
    /// The database does not exist.
    #[error("database {database} was not found")]
    NoDatabase {
        /// The database.
        database: DatabaseName,
        /// The response.
        source: CallError,
    },
}

impl TreasureDataError {
    /// What the user can do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Denied(_) => {
                "check TD_API_KEY, its permissions (import) and the region: --site or --td-endpoint \
                                (TD_API_SERVER)"
                    .to_owned()
            }
            Self::Call(source) => source
                .trust_hint()
                .unwrap_or("Treasure Data returned an error or could not be reached; run it again")
                .to_owned(),
            Self::NoDatabase { database, .. } => {
                format!(
                    "create it (td db:create {database}) or correct --database (TD_DATABASE); check --site"
                )
            }
        }
    }
}

impl From<CallError> for TreasureDataError {
    fn from(error: CallError) -> Self {
        if error.is_refused() { Self::Denied(error) } else { Self::Call(error) }
    }
}
