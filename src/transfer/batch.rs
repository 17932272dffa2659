//! A batch: rows that are compressed together, in the order of the pages, and the rejected customers of the same pages.

use super::ledger::PageEnd;
use crate::row::{RowError, Rows};
use crate::yotpo;

/// Rows to be compressed together, in the order of the pages.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// One entry per page, or several if a page has more rows than a part may have.
    pub(super) rows: Vec<Rows>,
    /// The rejected customers of these pages.
    pub(super) rejected: Vec<RejectedCustomer>,
    /// Where the last page ends; `None` if more rows of it follow.
    pub(super) end: Option<PageEnd>,
    pub(super) row_count: usize,
    pub(super) bytes: usize,
    pub(super) pages: usize,
}

/// A customer that cannot become a row.
pub(super) struct RejectedCustomer {
    /// Number of its page, from 1.
    pub(super) page: u64,
    /// Its position on the page, from 1.
    pub(super) position: usize,
    pub(super) reason: RowError,
    /// Its JSON text: customer data, only for the quarantine.
    pub(super) customer: Box<str>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.rejected.is_empty()
    }

    pub(super) fn add(&mut self, rows: Rows) {
        self.row_count += rows.len();
        self.bytes += rows.bytes().len();
        self.rows.push(rows);
        self.end = None;
    }

    /// Ends a page after all its rows were added.
    pub(super) fn end_page(&mut self, rejected: Vec<RejectedCustomer>, end: PageEnd) {
        self.bytes += rejected.iter().map(|rejected| rejected.customer.len()).sum::<usize>();
        self.rejected.extend(rejected);
        self.pages += 1;
        self.end = Some(end);
    }
}

impl RejectedCustomer {
    pub(super) fn from_page(page: u64, rejected: yotpo::RejectedCustomer) -> Self {
        let yotpo::RejectedCustomer { position, reason, customer } = rejected;
        Self { page, position, reason, customer }
    }
}

impl std::fmt::Debug for RejectedCustomer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "RejectedCustomer(page {}, position {}, {})", self.page, self.position, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_customer() {
        let customer = RejectedCustomer {
            page: 3,
            position: 1,
            reason: RowError::NotAnObject,
            customer: "\"somebody@example.com\"".into(),
        };
        assert_eq!(
            format!("{customer:?}"),
            "RejectedCustomer(page 3, position 1, customer is not a JSON object)"
        );
    }
}
