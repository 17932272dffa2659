//! The position of the paging.
//!
//! Owns [`Position`] and its form in the state file. Invariant: its `Debug` output hides the cursor. It does not decide which
//! page is next.

use serde::{Deserialize, Serialize};

use super::cursor::PageCursor;
use super::query::CursorQuery;

/// The position of the paging, which determines the next request.
///
/// `Debug` shows only the length of a cursor, because a cursor may identify a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Before the first page.
    Start,
    /// After a page that has a next page.
    After {
        /// Number of that page, from 1.
        page: u64,
        /// Its cursor.
        cursor: PageCursor,
        /// The parameters sent with the cursor; `None` until Yotpo has accepted a request with a cursor.
        query: Option<CursorQuery>,
    },
    /// There is no next page.
    End {
        /// Number of the last page, from 1; 0 if there is none.
        page: u64,
        /// How the data ended.
        ended_by: EndedBy,
    },
}

/// What ended the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// A page whose `next_page_info` is null, absent or empty; or the only page of a store if it is not full and has no
    /// `pagination`, which has been observed in production.
    LastPage,
    /// A later page that is neither full nor empty and has no `pagination`.
    ShortPage,
    /// A full or empty page without `pagination`, requested again with the same result.
    MissingPagination,
    /// A 400 with "no results found", requested again with the same result.
    NoResults,
}

impl Position {
    /// Number of the last fetched page, from 1; 0 before the first.
    pub fn page(&self) -> u64 {
        match *self {
            Self::Start => 0,
            Self::After { page, .. } | Self::End { page, .. } => page,
        }
    }

    /// What ended the data; `None` while there may be a next page.
    pub fn ended_by(&self) -> Option<EndedBy> {
        match *self {
            Self::Start | Self::After { .. } => None,
            Self::End { ended_by, .. } => Some(ended_by),
        }
    }
}

impl EndedBy {
    /// The name in the summary and the state file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LastPage => "last_page",
            Self::ShortPage => "short_page",
            Self::MissingPagination => "missing_pagination",
            Self::NoResults => "no_results",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn after(cursor: &str, query: Option<CursorQuery>) -> Position {
        Position::After { page: 3, cursor: PageCursor::from_plain(cursor), query }
    }

    #[test]
    fn positions_are_serialized_and_deserialized() {
        for (position, saved) in [
            (Position::Start, json!("start")),
            (after("a=", None), json!({"after": {"page": 3, "cursor": "a=", "query": null}})),
            (
                after("%", Some(CursorQuery::Limit)),
                json!({"after": {"page": 3, "cursor": "%", "query": "limit"}}),
            ),
            (
                Position::End { page: 7, ended_by: EndedBy::NoResults },
                json!({"end": {"page": 7, "ended_by": "no_results"}}),
            ),
        ] {
            assert_eq!(serde_json::to_value(&position).unwrap(), saved);
            assert_eq!(serde_json::from_value::<Position>(saved).unwrap(), position);
        }
    }

    #[test]
    fn empty_cursor_is_rejected() {
        let saved = json!({"after": {"page": 3, "cursor": "", "query": null}});
        let error = serde_json::from_value::<Position>(saved).unwrap_err();
        assert_eq!(error.to_string(), "the cursor is empty");
    }

    #[test]
    fn names_match_the_state_file() {
        for ended_by in
            [EndedBy::LastPage, EndedBy::ShortPage, EndedBy::MissingPagination, EndedBy::NoResults]
        {
            assert_eq!(serde_json::to_value(ended_by).unwrap(), ended_by.name());
        }
    }

    #[test]
    fn debug_output_hides_the_cursor() {
        let shown = format!("{:?}", after("ann@example.com", Some(CursorQuery::Filters)));
        assert_eq!(shown, "After { page: 3, cursor: PageCursor(15 bytes), query: Some(Filters) }");
    }
}
