//! Fetches the pages in order and passes them to the batcher while the next page is already requested.

use super::batch::RejectedCustomer;
use super::batcher::Batcher;
use super::ledger::PageEnd;
use super::seen_customers::SeenCustomers;
use crate::telemetry::Progress;
use crate::yotpo::{Pages, YotpoError};

/// Fetches all pages and returns the number of customers and the end of the pages. The last batch stays in `batcher`, even
/// after an error.
pub(super) async fn fetch(
    pages: &mut Pages,
    batcher: &mut Batcher,
    progress: &Progress,
) -> Result<(u64, PageEnd), YotpoError> {
    let mut customers = 0;
    let mut seen = SeenCustomers::default();
    while let Some(page) = pages.next_page().await? {
        let on_page = page.customers() as u64;
        customers += on_page;
        progress.page_fetched(on_page, page.customers_with_loyalty_data() as u64);
        let end = PageEnd::of(pages);
        let number = end.position.page();
        let (rows, rejected) = page.into_rows();
        for row in rows.iter() {
            seen.record(row);
        }
        let rejected =
            rejected.into_iter().map(|rejected| RejectedCustomer::from_page(number, rejected)).collect();
        if batcher.add(rows, rejected, end).await.is_err() {
            // The receiver failed and its error ends the transfer. Returning here would make the pages look complete.
            return std::future::pending().await;
        }
        progress.batches_queued(batcher.queued());
    }
    let end = PageEnd::of(pages);
    progress.pages_ended(end.position.ended_by());
    progress.customers_fetched_twice(seen.duplicates(), seen.is_estimate());
    Ok((customers, end))
}
