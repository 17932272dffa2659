//! Fetching: pages in order, each handed to the encoders while the next is already requested.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::encoding::{EncoderPool, PendingChunk};
use super::ledger::PageEnd;
use super::progress::Progress;
use crate::yotpo::{Pages, YotpoError};

/// Fetches all pages; the channel's capacity bounds the pages in memory.
pub(super) async fn fetch(
    pages: &mut Pages<'_>,
    encoders: Arc<EncoderPool>,
    most_rows: NonZeroUsize,
    progress: &Progress,
    chunks: mpsc::Sender<PendingChunk>,
) -> Result<(), YotpoError> {
    while let Some(page) = pages.next_page().await? {
        let number = pages.number();
        progress.page_fetched(page.customers().len());
        let end = PageEnd {
            page: number,
            cursor: page.next().map(|cursor| cursor.as_str().to_owned()),
            limit_only: pages.limit_only(),
        };
        let mut pieces = page.customers().chunks(most_rows.get()).enumerate().peekable();
        while let Some((index, customers)) = pieces.next() {
            let end = pieces.peek().is_none().then(|| end.clone());
            let pending = encoders.start(number, index * most_rows.get(), customers.to_vec(), end);
            if chunks.send(pending).await.is_err() {
                // The other side failed and tells why.
                return Ok(());
            }
        }
    }
    Ok(())
}
