//! How a transfer fails.

use std::fmt;

use super::compression::CompressionFailed;
use super::quarantine::QuarantineError;
use crate::row::RowError;
use crate::shutdown::{Interruptible, Signal};
use crate::yotpo::YotpoError;

/// Why a transfer failed; `E` is the sink's error.
#[derive(Debug)]
pub enum TransferError<E> {
    /// The customers could not all be fetched.
    Yotpo(YotpoError),
    /// The sink failed.
    Sink(E),
    /// Too many customers cannot become rows.
    Customer {
        /// Number of the page, from 1.
        page: u64,
        /// Place on the page, from 1.
        position: usize,
        /// How many may be left out.
        allowed: u64,
        /// What is wrong with it; nothing of its content.
        source: RowError,
    },
    /// A rejected customer could not be written to the quarantine.
    Quarantine(QuarantineError),
    /// A signal ended it.
    Interrupted(Signal),
    /// A defect of this program.
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

impl<E: fmt::Display> Interruptible for TransferError<E> {
    fn interrupted(signal: Signal) -> Self {
        Self::Interrupted(signal)
    }

    fn signal(&self) -> Option<Signal> {
        match self {
            Self::Interrupted(signal) => Some(*signal),
            _ => None,
        }
    }
}

impl<E> From<CompressionFailed> for TransferError<E> {
    fn from(CompressionFailed(reason): CompressionFailed) -> Self {
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
