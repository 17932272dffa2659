//! Preview: the first customers of a store as they would be stored.
//!
//! Owns how many pages are fetched, and what of their rows is shown. The pages and rows are those of a run, from the same code.
//! It contacts only Yotpo, loads nothing and saves nothing, and does not know how the customers are printed.

mod mask;
mod vocabulary;

pub use mask::{MASK, mask};

use std::sync::Arc;

use crate::clock::Clock;
use crate::row::{DecodedRow, IngestionTime, Rows};
use crate::run::{RunError, usage_of_store};
use crate::telemetry::{Phase, Progress};
use crate::yotpo::{
    LoyaltyCheck, Pages, PagesSettings, Position, RejectedCustomer, YotpoClient, has_loyalty_data,
};

/// Maximum number of rejected customers that are logged.
const MAX_LOGGED: u64 = 10;

/// What to preview.
#[derive(Clone, Copy, Debug)]
pub struct PreviewSettings {
    /// How many customers are read at most, including rejected ones.
    pub limit: u64,
    /// Whether strings are hidden.
    pub masking: Masking,
    /// Customers on a page, 1–100. Pages have fewer if fewer are read in all.
    pub page_size: u8,
    /// Whether missing loyalty data is an error.
    pub loyalty_check: LoyaltyCheck,
}

/// Whether strings are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// See [`mask()`].
    On,
    /// The text is exactly that of the row.
    Off,
}

/// The first customers of a store.
#[derive(Debug, Default)]
pub struct Preview {
    /// Those that can become rows, in the order of the store.
    pub customers: Vec<PreviewedCustomer>,
    /// Number of customers among the first ones that cannot become a row.
    pub rejected: u64,
    /// Whether the store may have further customers.
    pub has_more: bool,
}

/// A customer as it would be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct PreviewedCustomer {
    /// Its position in the store, from 1.
    pub position: u64,
    /// The column `time`.
    pub time: u64,
    /// The column `json_response`, masked if that is wanted.
    pub json_response: String,
    /// Size of the column `json_response` in bytes, as it would be stored.
    pub bytes: usize,
    /// Whether it has loyalty data.
    pub has_loyalty_data: bool,
}

/// Fetches the first customers.
///
/// # Errors
/// As a run that reads these pages, and when the clock is wrong.
pub async fn preview(
    yotpo: &Arc<YotpoClient>,
    settings: PreviewSettings,
    progress: &Progress,
    clock: &Clock,
) -> Result<Preview, RunError> {
    let PreviewSettings { limit, masking, page_size, loyalty_check } = settings;
    let client = Arc::clone(yotpo);
    progress.read_usage_from(move || usage_of_store(&client));
    progress.enter(Phase::Fetching, clock.now());
    let time = IngestionTime::from_unix_seconds(clock.unix_time().as_secs())?;
    // All pages have this size, because a cursor is only valid with the page size of its page.
    let page_size = u8::try_from(limit).map_or(page_size, |limit| limit.clamp(1, page_size));
    let mut pages = Pages::new(Arc::clone(yotpo), PagesSettings { page_size, time, loyalty_check });
    let mut preview = Preview::default();
    let mut read = 0;
    while read < limit {
        let is_enough = limit - read <= u64::from(page_size);
        let page = if is_enough { pages.last_page_needed().await? } else { pages.next_page().await? };
        let Some(page) = page else { break };
        progress.page_fetched(page.customers() as u64, page.customers_with_loyalty_data() as u64);
        let (number, on_page) = (pages.position().page(), page.customers() as u64);
        let (rows, rejected) = page.into_rows();
        preview.add(&rows, &rejected, read..limit, number, masking)?;
        read += on_page;
    }
    pages.check_loyalty()?;
    preview.has_more = read > limit || !matches!(pages.position(), Position::End { .. });
    Ok(preview)
}

impl Preview {
    /// Adds the customers of a page whose positions, counted from 0 in the store, are in `wanted`, which begins with the page.
    fn add(
        &mut self,
        rows: &Rows,
        rejected: &[RejectedCustomer],
        wanted: std::ops::Range<u64>,
        page: u64,
        masking: Masking,
    ) -> Result<(), RunError> {
        let (mut rows, mut rejected) = (rows.iter(), rejected.iter().peekable());
        for (on_page, position) in (1..).zip(wanted) {
            if let Some(rejected) = rejected.next_if(|rejected| rejected.position == on_page) {
                self.rejected += 1;
                if self.rejected <= MAX_LOGGED {
                    let reason = &rejected.reason;
                    tracing::warn!(page, position = on_page, %reason, "a customer cannot become a row");
                }
            } else if let Some(row) = rows.next() {
                let row = DecodedRow::of(row).ok_or(RunError::Bug("a row cannot be decoded"))?;
                self.customers.push(PreviewedCustomer::new(position + 1, row, masking));
            } else {
                break;
            }
        }
        Ok(())
    }
}

impl PreviewedCustomer {
    fn new(position: u64, row: DecodedRow<'_>, masking: Masking) -> Self {
        let DecodedRow { time, json_response } = row;
        Self {
            position,
            time,
            bytes: json_response.len(),
            has_loyalty_data: has_loyalty_data(json_response),
            json_response: match masking {
                Masking::On => mask(json_response),
                Masking::Off => json_response.to_owned(),
            },
        }
    }
}

impl std::fmt::Debug for PreviewedCustomer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The text may be customer data.
        write!(formatter, "PreviewedCustomer({}, {} bytes)", self.position, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_the_size_of_a_customer_and_not_the_text() {
        let json_response = r#"{"email":"ann@example.com"}"#;
        let customer = PreviewedCustomer::new(3, DecodedRow { time: 1, json_response }, Masking::Off);
        assert_eq!(customer.json_response, json_response);
        assert_eq!(format!("{customer:?}"), "PreviewedCustomer(3, 27 bytes)");
    }
}
