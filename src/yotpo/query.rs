//! The query parameters of page requests.
//!
//! Owns the parameters that are sent with and without a cursor. It does not decide which of them a store accepts.

use serde::{Deserialize, Serialize};
use url::Url;

use super::cursor::PageCursor;

/// The parameters that request custom properties and loyalty data.
const FILTERS: [(&str, &str); 2] = [("include_custom_properties", "true"), ("expand", "loyalty")];

/// The parameters that are sent with a cursor. Yotpo's documentation allows only `limit`; the connector that this program
/// replaces sends only the filters, and works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorQuery {
    /// The filters and `limit`.
    FiltersAndLimit,
    /// The filters.
    Filters,
    /// `limit`.
    Limit,
}

impl CursorQuery {
    /// The parameters to try first.
    pub(super) const INITIAL: Self = Self::FiltersAndLimit;

    /// The parameters to try if these are rejected.
    pub(super) const fn fallback(self) -> Option<Self> {
        match self {
            Self::FiltersAndLimit => Some(Self::Filters),
            Self::Filters => Some(Self::Limit),
            Self::Limit => None,
        }
    }

    /// The name in logs and the state file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FiltersAndLimit => "filters_and_limit",
            Self::Filters => "filters",
            Self::Limit => "limit",
        }
    }

    const fn has_filters(self) -> bool {
        matches!(self, Self::FiltersAndLimit | Self::Filters)
    }

    const fn has_limit(self) -> bool {
        matches!(self, Self::FiltersAndLimit | Self::Limit)
    }
}

/// Adds the query of a page request to `url`, for the first page or for the page at a cursor.
pub(super) fn add_query(url: &mut Url, page_size: u8, cursor: Option<(&PageCursor, CursorQuery)>) {
    let mut pairs = url.query_pairs_mut();
    let (has_filters, has_limit) = cursor.map_or((true, true), |(cursor, query)| {
        pairs.append_pair("page_info", cursor.as_str());
        (query.has_filters(), query.has_limit())
    });
    if has_limit {
        pairs.append_pair("limit", &page_size.to_string());
    }
    if has_filters {
        pairs.extend_pairs(FILTERS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(cursor: Option<(&PageCursor, CursorQuery)>) -> String {
        let mut url = Url::parse("https://api.yotpo.com/customers").unwrap();
        add_query(&mut url, 50, cursor);
        url.query().unwrap().to_owned()
    }

    #[test]
    fn first_page_is_requested_with_all_parameters() {
        assert_eq!(query(None), "limit=50&include_custom_properties=true&expand=loyalty");
    }

    #[test]
    fn cursor_is_encoded_once_and_sent_with_the_selected_parameters() {
        let cursor = PageCursor::from_response("a%3D").unwrap();
        for (parameters, name, expected) in [
            (
                CursorQuery::FiltersAndLimit,
                "filters_and_limit",
                "page_info=a%3D&limit=50&include_custom_properties=true&expand=loyalty",
            ),
            (CursorQuery::Filters, "filters", "page_info=a%3D&include_custom_properties=true&expand=loyalty"),
            (CursorQuery::Limit, "limit", "page_info=a%3D&limit=50"),
        ] {
            assert_eq!(query(Some((&cursor, parameters))), expected);
            assert_eq!(serde_json::to_value(parameters).unwrap(), name);
            assert_eq!(parameters.name(), name);
        }
    }
}
