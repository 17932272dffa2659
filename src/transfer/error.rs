//! Why a transfer fails.

use std::fmt;

use super::compression::CompressionError;
use super::quarantine::QuarantineError;
use crate::row::RowError;
use crate::shutdown::Signal;
use crate::yotpo::YotpoError;

/// Why a transfer failed. `E` is the error of the sink.
#[derive(Debug)]
pub enum TransferError<E> {
    /// Not all customers could be fetched.
    Yotpo(YotpoError),
    /// The sink failed.
    Sink(E),
    /// Too many customers were rejected.
    Customer {
        /// Number of the page, from 1.
        page: u64,
        /// Position on the page, from 1.
        position: usize,
        /// Maximum number of rejected customers.
        allowed: u64,
        /// The reason, without the content of the customer.
        source: RowError,
    },
    /// A rejected customer could not be written to the quarantine.
    Quarantine(QuarantineError),
    /// It was interrupted by a signal.
    Interrupted(Signal),
    /// A bug in this program.
    Bug(&'static str),
}

impl<E> From<YotpoError> for TransferError<E> {
    fn from(error: YotpoError) -> Self {
        Self::Yotpo(error)
    }
}

impl<E> From<QuarantineError> for TransferError<E> {
    fn from(error: QuarantineError) -> Self {
        Self::Quarantine(error)
    }
}

impl<E> From<CompressionError> for TransferError<E> {
    fn from(CompressionError(reason): CompressionError) -> Self {
        Self::Bug(reason)
    }
}

impl<E: fmt::Display> fmt::Display for TransferError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yotpo(error) => error.fmt(formatter),
            Self::Sink(error) => error.fmt(formatter),
            Self::Customer { page, position, .. } => {
                write!(formatter, "customer {position} of page {page} cannot become a row")
            }
            Self::Quarantine(error) => error.fmt(formatter),
            Self::Interrupted(signal) => write!(formatter, "stopped by {}", signal.name()),
            Self::Bug(reason) => write!(formatter, "a bug in yotpo-td: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Quarantine;
    use super::*;
    use crate::clock::Clock;
    use crate::http::RestartableSink as _;

    #[test]
    fn failed_compression_is_a_bug_with_its_reason() {
        let error = TransferError::<&str>::from(CompressionError("could not compress rows"));
        assert!(matches!(error, TransferError::Bug("could not compress rows")), "{error:?}");
        assert_eq!(error.to_string(), "a bug in yotpo-td: could not compress rows");
    }

    #[test]
    fn message_names_the_signal_the_customer_or_what_the_sink_reports() {
        let customer =
            TransferError::Customer { page: 3, position: 7, allowed: 0, source: RowError::Malformed };
        for (error, message) in [
            (customer, "customer 7 of page 3 cannot become a row"),
            (TransferError::Interrupted(Signal::Terminate), "stopped by SIGTERM"),
            (TransferError::Sink("the disk is full"), "the disk is full"),
            (
                YotpoError::EndlessEmptyPages { page: 9, pages: 5 }.into(),
                "5 consecutive pages, up to page 9, have no customers but name a next page",
            ),
        ] {
            assert_eq!(error.to_string(), message);
        }
    }

    #[tokio::test]
    async fn message_of_a_failed_quarantine_names_its_file() {
        let directory = tempfile::tempdir().unwrap().path().join("absent");
        let quarantine = Quarantine::new(Some(&directory), Clock::machine());
        let mut file = quarantine.error_records(&"run".parse().unwrap()).unwrap();
        let error = TransferError::<&str>::from(file.restart().await.unwrap_err());
        let path = directory.join("run.error-records.msgpack.gz");
        assert_eq!(error.to_string(), format!("could not write {}", path.display()));
    }
}
