//! What accompanies a page cursor in a request.
//!
//! Owns the forms of a page request's query. It does not decide which form a store accepts.

use serde::{Deserialize, Serialize};
use url::Url;

use super::cursor::PageCursor;

/// The parameters that fill custom properties and loyalty data.
const FILTERS: [(&str, &str); 2] = [("include_custom_properties", "true"), ("expand", "loyalty")];

/// Which parameters accompany the cursor. The documentation of Yotpo allows only `limit`; the connector being replaced
/// sends only the filters, and works.
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
    /// What is tried first.
    pub(super) const FIRST: Self = Self::FiltersAndLimit;

    /// What is tried where this is refused.
    pub(super) const fn further(self) -> Option<Self> {
        match self {
            Self::FiltersAndLimit => Some(Self::Filters),
            Self::Filters => Some(Self::Limit),
            Self::Limit => None,
        }
    }

    /// Its name in logs, as in the state file.
    pub(super) const fn name(self) -> &'static str {
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

/// Adds the query of a page request to `url`: that of the first page, or that of the page behind a cursor.
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
    fn first_page_is_requested_with_everything() {
        assert_eq!(query(None), "limit=50&include_custom_properties=true&expand=loyalty");
    }

    #[test]
    fn cursor_is_encoded_once_and_accompanied_by_what_the_form_names() {
        let cursor = PageCursor::from_answer("a%3D").unwrap();
        for (form, name, expected) in [
            (
                CursorQuery::FiltersAndLimit,
                "filters_and_limit",
                "page_info=a%3D&limit=50&include_custom_properties=true&expand=loyalty",
            ),
            (CursorQuery::Filters, "filters", "page_info=a%3D&include_custom_properties=true&expand=loyalty"),
            (CursorQuery::Limit, "limit", "page_info=a%3D&limit=50"),
        ] {
            assert_eq!(query(Some((&cursor, form))), expected);
            assert_eq!(serde_json::to_value(form).unwrap(), name);
            assert_eq!(form.name(), name);
        }
    }
}
