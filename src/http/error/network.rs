//! What the network itself reports, without the layers of the HTTP library around it.

use std::error::Error;
use std::fmt;

/// What the network reports, such as a refused connection. The layers of the HTTP library around it say nothing more, and their
/// URL may have a cursor.
#[derive(Debug)]
pub struct NetworkError(reqwest::Error);

impl From<reqwest::Error> for NetworkError {
    fn from(error: reqwest::Error) -> Self {
        Self(error.without_url())
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut innermost: &dyn Error = &self.0;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        write!(formatter, "{innermost}")
    }
}

impl Error for NetworkError {}
