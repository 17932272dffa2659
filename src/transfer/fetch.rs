//! Fetching: pages in order, passed to the batcher while the next page is already requested.

use super::batch::RejectedCustomer;
use super::batcher::Batcher;
use super::ledger::PageEnd;
use super::seen_customers::SeenCustomers;
use crate::telemetry::Progress;
use crate::yotpo::{Pages, YotpoError};

/// Fetches all pages and returns how many customers were on them, and where they ended. Whether it comes to its end or
/// not, the last batch is still with `batcher`.
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
        let end = PageEnd::reached_by(pages);
        let number = end.position.page();
        let (rows, rejected) = page.into_rows();
        for row in rows.iter() {
            seen.note(row);
        }
        let rejected = rejected.into_iter().map(|rejected| RejectedCustomer::on(number, rejected)).collect();
        if batcher.add(rows, rejected, end).await.is_err() {
            // The other side failed, and its error ends this too: what is not complete must never look so.
            return std::future::pending().await;
        }
    }
    let end = PageEnd::reached_by(pages);
    progress.pages_ended(end.position.ended_by());
    progress.customers_came_twice(seen.twice(), seen.is_estimate());
    Ok((customers, end))
}
