//! Why the customers of a store could not all be had.

use super::loyalty::LoyaltyCounts;
use http::StatusCode;

use crate::http::CallError;

/// The paging ended early: nothing of the run may be committed.
#[derive(Debug, thiserror::Error)]
pub enum YotpoError {
    /// No token for this secret and store.
    #[error("Yotpo does not give a token for this store and client secret")]
    Refused(#[source] CallError),
    /// New tokens were given but not accepted.
    #[error("Yotpo refuses page {page} even with a new token")]
    TokenNotAccepted {
        /// Number of the page, from 1.
        page: u64,
        /// The last refusal.
        source: CallError,
    },
    /// A page could not be had.
    #[error("page {page} of the customers could not be fetched")]
    Page {
        /// Number of the page, from 1.
        page: u64,
        /// What happened.
        source: CallError,
    },
    /// The token request failed for another reason than the credentials.
    #[error("no Yotpo token could be had")]
    Token(#[source] CallError),
    /// The cursor behind a page was seen before: following it would never end.
    #[error("page {page} has a cursor that an earlier page already had; following it would never end")]
    RepeatedCursor {
        /// Number of the page, from 1.
        page: u64,
    },
    /// Loyalty data is missing where the first page had it.
    #[error(
        "{} of {} customers on the first page have loyalty data, but none of the {} customers after it, up to page \
         {page}: {}",
        counts.first_page.with_loyalty_data,
        counts.first_page.customers,
        counts.later_pages.customers,
        if *without_filters {
            "Yotpo refuses expand=loyalty behind the cursor, and its cursor does not remember it"
        } else {
            "Yotpo seems to ignore expand=loyalty behind the cursor"
        }
    )]
    LoyaltyLost {
        /// Number of the page that decided it, from 1.
        page: u64,
        /// What was counted.
        counts: LoyaltyCounts,
        /// Whether Yotpo refused the filters beside the cursor, so that only `limit` accompanies it.
        without_filters: bool,
    },
    /// Page after page is empty and names another one.
    #[error("{pages} pages in a row, up to page {page}, have no customers and name a next page")]
    EndlessEmptyPages {
        /// Number of the last of them, from 1.
        page: u64,
        /// How many there are.
        pages: u32,
    },
}

impl YotpoError {
    /// Whether a cursor that was saved earlier is what Yotpo refuses: the answer is final and not about credentials.
    pub fn is_cursor_refused(&self) -> bool {
        let Self::Page { source, .. } = self else { return false };
        matches!(source.status_code().map(|status| status.as_u16()), Some(400 | 404 | 410 | 422))
    }

    /// Whether the same command would only fail again until somebody changes something. A cursor that is refused is none of
    /// these: the next run starts over.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Page { page, source } => source.is_permanent() && (*page == 1 || !self.is_cursor_refused()),
            Self::Token(source) => source.is_permanent(),
            Self::Refused(_) | Self::TokenNotAccepted { .. } | Self::LoyaltyLost { .. } => true,
            Self::RepeatedCursor { .. } | Self::EndlessEmptyPages { .. } => false,
        }
    }

    /// What the user can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused(source) if source.status_code() == Some(StatusCode::NOT_FOUND) => {
                "check --store-id (YOTPO_STORE_ID), YOTPO_CLIENT_SECRET, which must belong to the same store, and \
                 --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT)"
            }
            Self::Refused(_) => {
                "check YOTPO_CLIENT_SECRET and --store-id (YOTPO_STORE_ID): they must belong to the same store"
            }
            Self::TokenNotAccepted { .. } => "check in Yotpo that the app may read this store's customers",
            Self::Page { page, .. } if *page > 1 && self.is_cursor_refused() => {
                "Yotpo refuses the cursor of this page; run it again: where the cursor stays refused, the run starts over"
            }
            Self::Page { source, .. } | Self::Token(source) => {
                source.connection_hint().unwrap_or_else(|| call_hint(source))
            }
            Self::RepeatedCursor { .. } | Self::EndlessEmptyPages { .. } => {
                "run it again; if it stays, report it to Yotpo's support with the page number"
            }
            Self::LoyaltyLost { .. } => {
                "check in Yotpo that the loyalty program is active and that the app may read loyalty data, then run the \
                 same command: it starts over; if customers without loyalty data are to be expected, --loyalty-check off \
                 resumes and loads them as they are"
            }
        }
    }
}

fn call_hint(source: &CallError) -> &'static str {
    if source.is_wrong_server() {
        return "check --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT), the network and its name servers";
    }
    match source.status_code() {
        Some(StatusCode::NOT_FOUND) => {
            "running it again will not help; check --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT) and --store-id \
             (YOTPO_STORE_ID)"
        }
        Some(_) if source.is_permanent() => {
            "Yotpo refuses this request, and running it again will not help; report it to Yotpo's support with the page \
             number"
        }
        _ => "Yotpo or the network is at fault; run it again, or raise --max-retries and --retry-timeout",
    }
}
