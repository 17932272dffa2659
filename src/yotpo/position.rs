//! Where paging stands.
//!
//! Owns [`Position`], from the page to the state file and back. Invariant: its `Debug` output shows no cursor. It does
//! not decide where paging goes next.

use serde::{Deserialize, Serialize};

use super::cursor::PageCursor;
use super::query::CursorQuery;

/// Where paging stands: the next request follows from it.
///
/// `Debug` shows a cursor's length only: a cursor may name a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Before the first page.
    Start,
    /// After a page that names another one.
    After {
        /// Number of that page, from 1.
        page: u64,
        /// Its cursor.
        cursor: PageCursor,
        /// What accompanies the cursor; `None` until a page behind a cursor was accepted.
        query: Option<CursorQuery>,
    },
    /// There is no further page.
    End {
        /// Number of the last page, from 1; 0 when there is none.
        page: u64,
        /// What said so.
        ended_by: EndedBy,
    },
}

/// What said that there is no further page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The last page, whose `next_page_info` is null, absent or empty; or a store's only page that is not full and has
    /// no `pagination`, as it has been seen in production.
    LastPage,
    /// A page behind another that is neither full nor empty and has no `pagination`.
    ShortPage,
    /// A full or empty page without `pagination`, requested again with the same result.
    MissingPagination,
    /// A 400 that says "no results found", requested again with the same result.
    NoResults,
}

impl Position {
    /// Number of the page that was fetched last, from 1; 0 before the first.
    pub fn page(&self) -> u64 {
        match *self {
            Self::Start => 0,
            Self::After { page, .. } | Self::End { page, .. } => page,
        }
    }

    /// What said that there is no further page; `None` while there may be one.
    pub fn ended_by(&self) -> Option<EndedBy> {
        match *self {
            Self::Start | Self::After { .. } => None,
            Self::End { ended_by, .. } => Some(ended_by),
        }
    }
}

impl EndedBy {
    /// Its name in the summary, as in the state file.
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
    fn positions_are_saved_and_read_back() {
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
    fn an_empty_cursor_is_never_read() {
        let saved = json!({"after": {"page": 3, "cursor": "", "query": null}});
        let error = serde_json::from_value::<Position>(saved).unwrap_err();
        assert_eq!(error.to_string(), "the cursor is empty");
    }

    #[test]
    fn names_are_those_of_the_state_file() {
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
