//! Why the customers of a store could not be fetched.

use std::borrow::Cow;

use super::loyalty::LoyaltyCounts;
use http::StatusCode;

use crate::http::CallError;

/// The paging failed. Nothing of the run may be committed.
#[derive(Debug, thiserror::Error)]
pub enum YotpoError {
    /// Yotpo issues no token for this secret and store.
    #[error("Yotpo denied an access token for this store and client secret")]
    CredentialsDenied(#[source] CallError),
    /// Yotpo issued new tokens but did not accept them.
    #[error("Yotpo denied access to page {page} even with a new token")]
    TokenNotAccepted {
        /// Number of the page, from 1.
        page: u64,
        /// The last error.
        source: CallError,
    },
    /// A page could not be fetched.
    #[error("could not fetch page {page} of the customers")]
    Page {
        /// Number of the page, from 1.
        page: u64,
        /// The error of the last attempt.
        source: CallError,
    },
    /// The token request failed, but not because of the credentials.
    #[error(transparent)]
    Token(CallError),
    /// A page has the same cursor as an earlier page, so the paging would never end.
    #[error("page {page} has the same cursor as an earlier page, so the paging would never end")]
    RepeatedCursor {
        /// Number of the page, from 1.
        page: u64,
    },
    /// Later pages lack the loyalty data that the first page has.
    #[error(
        "{} of {} customers on the first page have loyalty data, but none of the following {} customers, up to page \
         {page}: {}",
        counts.first_page.with_loyalty_data,
        counts.first_page.customers,
        counts.later_pages.customers,
        if *without_filters {
            "Yotpo rejects expand=loyalty in requests with a cursor, and the cursor does not preserve it"
        } else {
            "Yotpo seems to ignore expand=loyalty in requests with a cursor"
        }
    )]
    LoyaltyLost {
        /// Number of the page at which this was detected, from 1.
        page: u64,
        /// The counts.
        counts: LoyaltyCounts,
        /// Whether Yotpo rejected the filters in requests with a cursor, so that only `limit` is sent.
        without_filters: bool,
    },
    /// Too many consecutive pages are empty but name a next page.
    #[error("{pages} consecutive pages, up to page {page}, have no customers but name a next page")]
    EndlessEmptyPages {
        /// Number of the last one, from 1.
        page: u64,
        /// Number of these pages.
        pages: u32,
    },
}

impl YotpoError {
    /// Whether the reason may be that Yotpo rejects a saved cursor: the response is final and not about credentials.
    pub fn is_cursor_rejected(&self) -> bool {
        let Self::Page { source, .. } = self else { return false };
        matches!(source.status_code().map(|status| status.as_u16()), Some(400 | 404 | 410 | 422))
    }

    /// Whether the same command fails until something is changed. A rejected cursor does not count: the next attempt starts over.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Page { page, source } => {
                source.is_permanent() && (*page == 1 || !self.is_cursor_rejected())
            }
            Self::Token(source) => source.is_permanent(),
            Self::CredentialsDenied(_) | Self::TokenNotAccepted { .. } | Self::LoyaltyLost { .. } => true,
            Self::RepeatedCursor { .. } | Self::EndlessEmptyPages { .. } => false,
        }
    }

    /// The request that failed; `None` if the content of the pages is the reason.
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::CredentialsDenied(source)
            | Self::TokenNotAccepted { source, .. }
            | Self::Page { source, .. }
            | Self::Token(source) => Some(source),
            Self::RepeatedCursor { .. } | Self::LoyaltyLost { .. } | Self::EndlessEmptyPages { .. } => None,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Cow<'static, str> {
        let hint = match self {
            Self::CredentialsDenied(source) => return credentials_hint(source).into(),
            Self::TokenNotAccepted { .. } => {
                "check in Yotpo that the app is allowed to read this store's customers"
            }
            Self::Page { page, .. } if *page > 1 && self.is_cursor_rejected() => {
                "Yotpo rejected the cursor of this page; run it again: if the cursor is rejected again, the run starts over"
            }
            Self::Page { source, .. } => source.connection_hint().unwrap_or_else(|| call_hint(source, true)),
            Self::Token(source) => source.connection_hint().unwrap_or_else(|| call_hint(source, false)),
            Self::RepeatedCursor { .. } | Self::EndlessEmptyPages { .. } => {
                "run it again; if the error persists, report it to Yotpo's support with the page number"
            }
            Self::LoyaltyLost { .. } => {
                "check in Yotpo that the loyalty program is active and that the app is allowed to read loyalty data, then run the \
                 same command, which starts over; if customers without loyalty data are expected, use --loyalty-check off \
                 to resume and load them as they are"
            }
        };
        hint.into()
    }
}

fn credentials_hint(source: &CallError) -> String {
    let secret = source.secret_place().unwrap_or("YOTPO_CLIENT_SECRET");
    if source.status_code() == Some(StatusCode::NOT_FOUND) {
        format!(
            "check --store-id (YOTPO_STORE_ID), {secret}, which must belong to the same store, and --yotpo-endpoint \
             (YOTPO_TD_YOTPO_ENDPOINT)"
        )
    } else {
        format!("check {secret} and --store-id (YOTPO_STORE_ID), which must belong to the same store")
    }
}

const WRONG_ENDPOINT: &str =
    "correct --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT) to the address of the API itself";

fn call_hint(source: &CallError, is_page: bool) -> &'static str {
    if source.is_wrong_server() {
        return "check --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT), the network and its name servers";
    }
    if source.is_too_large() {
        return if is_page {
            "a page of this size is too large for this program; use a smaller --page-size (YOTPO_TD_PAGE_SIZE)"
        } else {
            WRONG_ENDPOINT
        };
    }
    if source.is_unreachable_at_set_address() {
        return "check --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT); if it is right, run it again when the server can be reached";
    }
    match source.status_code() {
        Some(_) if source.is_redirect() => WRONG_ENDPOINT,
        Some(StatusCode::NOT_FOUND) => {
            "running it again will not help; check --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT) and --store-id (YOTPO_STORE_ID)"
        }
        Some(_) if source.is_permanent() => {
            "Yotpo rejected this request, and running it again will not help; report it to Yotpo's support with the page number"
        }
        _ => {
            "Yotpo returned an error or could not be reached; run it again, or increase --max-retries and --retry-timeout"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{BodyProblem, Effect};

    fn failed(status: u16) -> CallError {
        let status = StatusCode::from_u16(status).unwrap();
        CallError::status("fetch a page", Effect::Repeatable, status, None, None)
    }

    #[test]
    fn an_error_knows_whether_it_is_permanent_and_which_request_failed() {
        let page = |page, status| YotpoError::Page { page, source: failed(status) };
        let lost =
            YotpoError::LoyaltyLost { page: 3, counts: LoyaltyCounts::default(), without_filters: false };
        for (error, is_permanent, status) in [
            (YotpoError::CredentialsDenied(failed(401)), true, Some(401)),
            (YotpoError::TokenNotAccepted { page: 2, source: failed(403) }, true, Some(403)),
            (YotpoError::Token(failed(400)), true, Some(400)),
            (YotpoError::Token(failed(503)), false, Some(503)),
            (page(1, 404), true, Some(404)),
            // The cursor is rejected, and the next attempt starts over.
            (page(2, 404), false, Some(404)),
            (page(2, 402), true, Some(402)),
            (page(2, 503), false, Some(503)),
            (lost, true, None),
            (YotpoError::RepeatedCursor { page: 2 }, false, None),
            (YotpoError::EndlessEmptyPages { page: 9, pages: 5 }, false, None),
        ] {
            let call = error.call().and_then(CallError::status_code);
            let found = (error.is_permanent(), call.map(|status| status.as_u16()));
            assert_eq!(found, (is_permanent, status), "{error:?}");
        }
    }

    #[test]
    fn the_hint_for_a_page_that_is_too_large_is_a_smaller_one() {
        let too_large =
            || CallError::body("fetch a page", Effect::Repeatable, BodyProblem::TooLarge { limit: 16 << 20 });
        for page in [1, 2] {
            let error = YotpoError::Page { page, source: too_large() };
            assert!(error.hint().contains("use a smaller --page-size"), "{}", error.hint());
            assert!(error.is_permanent());
        }
        let error = YotpoError::Token(too_large());
        assert!(error.hint().starts_with("correct --yotpo-endpoint"), "{}", error.hint());
    }

    #[test]
    fn the_hint_for_an_unknown_path_names_the_settings_that_are_part_of_it() {
        let hint = |status| YotpoError::Page { page: 1, source: failed(status) }.hint();
        let found = hint(404);
        assert!(found.contains("--yotpo-endpoint") && found.contains("--store-id"), "{found}");
        for moved in [301, 302, 308] {
            assert!(hint(moved).starts_with("correct --yotpo-endpoint"), "{}", hint(moved));
            assert!(YotpoError::Page { page: 2, source: failed(moved) }.is_permanent(), "{moved}");
        }
        assert!(hint(402).contains("report it to Yotpo's support"), "{}", hint(402));
        assert!(hint(503).contains("run it again, or increase --max-retries"), "{}", hint(503));
    }
}
