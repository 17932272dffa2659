//! The look-alike of Yotpo Core API v3: access tokens and pages of customers.
//!
//! Owns tokens, cursors and the rate limit of one store. What Yotpo does is only partly documented, so each doubtful
//! point is a setting in [`YotpoBehaviour`]. It does not know HTTP connections or faults.

mod cursor;
mod rate;

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use self::cursor::Cursor;
use self::rate::{Admission, RateLimit};
use super::customer::{CustomerShapes, Expansion, Generator, PageLayout, Pagination};
use super::operation::Operation;
use super::reply::{Call, Reply};

const MOST_PER_PAGE: u64 = 100;
const DEFAULT_PER_PAGE: u64 = 100;
/// Tokens that are remembered; the oldest is forgotten first.
const MOST_TOKENS: usize = 1_000;
/// Pages whose fetches are counted.
const MOST_COUNTED_PAGES: usize = 1_000_000;

/// How Yotpo behaves where its documentation leaves it open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct YotpoBehaviour {
    /// Which customers there are.
    pub shapes: CustomerShapes,
    /// White space of the pages.
    pub page_layout: PageLayout,
    /// What other parameters beside a cursor do.
    pub filters_beside_cursor: FiltersBesideCursor,
    /// What a cursor remembers of the request it came from, beside the page size.
    pub cursor_memory: CursorMemory,
    /// How `next_page_info` is written.
    pub cursor_encoding: CursorEncoding,
    /// How the last page shows that it is the last.
    pub last_page: LastPage,
    /// After this many pages an empty one with a cursor follows.
    pub empty_page_after: Option<NonZeroU64>,
    /// The answer to this page, counted from 1, names its own cursor as the next.
    pub repeated_cursor_at: Option<NonZeroU64>,
    /// A token is good for so many requests.
    pub token_uses: Option<NonZeroU64>,
}

/// What parameters other than `limit` beside `page_info` do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FiltersBesideCursor {
    /// They are accepted.
    #[default]
    Accepted,
    /// The request is answered with 400.
    Refused,
}

/// What a cursor remembers beside the page size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CursorMemory {
    /// `include_custom_properties` and `expand`.
    #[default]
    Filters,
    /// Nothing: what is not sent again is not in the page.
    Nothing,
}

/// How `next_page_info` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CursorEncoding {
    /// Percent-encoded, ready for a URL.
    #[default]
    Percent,
    /// As it is.
    Raw,
}

/// How the last page shows that it is the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastPage {
    /// `"next_page_info": null`
    #[default]
    NullCursor,
    /// `"pagination": {}`
    AbsentCursor,
    /// `"next_page_info": ""`
    EmptyCursor,
    /// `"pagination": null`
    NullPagination,
    /// No `pagination`.
    AbsentPagination,
    /// It has a cursor, and the request with that is answered with 400 "No results found".
    NoResultsFound,
}

#[derive(Debug)]
pub(super) struct Yotpo {
    generator: Generator,
    behaviour: YotpoBehaviour,
    client_secret: String,
    store_id: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: RateLimit,
    tokens: VecDeque<(String, Option<u64>)>,
    issued: u64,
    refusals: u64,
    generation: u64,
    fetches: BTreeMap<u64, u32>,
}

impl Yotpo {
    pub(super) fn new(
        seed: u64,
        customers: u64,
        behaviour: YotpoBehaviour,
        limit: Option<NonZeroU32>,
        client_secret: &str,
        store_id: &str,
    ) -> Self {
        Self {
            generator: Generator::new(seed, customers, behaviour.shapes, behaviour.page_layout),
            behaviour,
            client_secret: client_secret.to_owned(),
            store_id: store_id.to_owned(),
            state: Mutex::new(State {
                limit: RateLimit::new(limit),
                tokens: VecDeque::new(),
                issued: 0,
                refusals: 0,
                generation: 0,
                fetches: BTreeMap::new(),
            }),
        }
    }

    pub(super) const fn generator(&self) -> &Generator {
        &self.generator
    }

    pub(super) fn most_requests_in_a_second(&self) -> usize {
        self.lock().limit.most_arrivals()
    }

    /// How often each page was served, by its first customer.
    pub(super) fn page_fetches(&self) -> BTreeMap<u64, u32> {
        self.lock().fetches.clone()
    }

    pub(super) fn expire_tokens(&self) {
        self.lock().tokens.clear();
    }

    pub(super) fn invalidate_cursors(&self) {
        self.lock().generation += 1;
    }

    /// Counts a request against the limit; the answer is a refusal, or what an admitted request's answer must carry.
    pub(super) fn admit(&self, now: Duration) -> Result<u64, Reply> {
        match self.lock().limit.arrive(now) {
            Admission::Admitted { remaining } => Ok(remaining),
            Admission::Refused { reset_seconds } => {
                let body = json!({"errors": [{"message": "Too many requests"}]});
                Err(Reply::json(StatusCode::TOO_MANY_REQUESTS, &body)
                    .with_number("ratelimit-remaining", 0)
                    .with_number("ratelimit-reset", reset_seconds))
            }
        }
    }

    pub(super) fn act(&self, call: &Call) -> Reply {
        match call.operation {
            Operation::AccessToken => self.issue_token(call),
            Operation::Customers => self.customers(call),
            _ => self.refuse(StatusCode::NOT_FOUND, "Not found"),
        }
    }

    fn issue_token(&self, call: &Call) -> Reply {
        let body: Value = serde_json::from_slice(call.memory()).unwrap_or(Value::Null);
        let Some(secret) = body.get("secret").and_then(Value::as_str) else {
            return self.refuse(StatusCode::BAD_REQUEST, "secret is missing");
        };
        if call.argument(0) != self.store_id {
            return self.refuse(StatusCode::NOT_FOUND, "Store not found");
        }
        if secret != self.client_secret {
            return self.refuse(StatusCode::UNAUTHORIZED, "Invalid secret");
        }
        let mut state = self.lock();
        state.issued += 1;
        let token = format!("sandbox{:033}", state.issued);
        state.tokens.push_back((token.clone(), self.behaviour.token_uses.map(NonZeroU64::get)));
        if state.tokens.len() > MOST_TOKENS {
            state.tokens.pop_front();
        }
        Reply::ok(&json!({"access_token": token, "token_type": "bearer"}))
    }

    fn customers(&self, call: &Call) -> Reply {
        if !self.use_token(call.header("x-yotpo-token").unwrap_or_default()) {
            return self.refuse(StatusCode::UNAUTHORIZED, "Invalid or expired access token");
        }
        if call.argument(0) != self.store_id {
            return self.refuse(StatusCode::NOT_FOUND, "Store not found");
        }
        match self.read_query(&call.query_parameters()) {
            Ok(cursor) => self.page(cursor),
            Err(message) => self.refuse(StatusCode::BAD_REQUEST, message),
        }
    }

    /// What page is asked for.
    fn read_query(&self, parameters: &[(String, String)]) -> Result<Cursor, &'static str> {
        let sent =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let limit = match sent("limit").map(str::parse::<u64>) {
            None => None,
            Some(Ok(limit @ 1..=MOST_PER_PAGE)) => Some(limit),
            Some(_) => return Err("limit must be between 1 and 100"),
        };
        let sent_expansion = Expansion {
            custom_properties: sent("include_custom_properties") == Some("true"),
            loyalty: sent("expand").is_some_and(|parts| parts.split(',').any(|part| part == "loyalty")),
        };
        let generation = self.lock().generation;
        let Some(raw) = sent("page_info") else {
            let limit = limit.unwrap_or(DEFAULT_PER_PAGE);
            return Ok(Cursor { page: 0, offset: 0, limit, expansion: sent_expansion, generation });
        };
        let other = |(key, _): &(String, String)| key != "page_info" && key != "limit";
        if self.behaviour.filters_beside_cursor == FiltersBesideCursor::Refused
            && parameters.iter().any(other)
        {
            return Err("page_info cannot be combined with other parameters");
        }
        let cursor = Cursor::from_raw(raw).filter(|cursor| cursor.generation == generation);
        let mut cursor = cursor.ok_or("page_info is invalid")?;
        cursor.limit = limit.unwrap_or(cursor.limit).clamp(1, MOST_PER_PAGE);
        if self.behaviour.cursor_memory == CursorMemory::Nothing {
            cursor.expansion = sent_expansion;
        } else {
            cursor.expansion.custom_properties |= sent_expansion.custom_properties;
            cursor.expansion.loyalty |= sent_expansion.loyalty;
        }
        Ok(cursor)
    }

    fn page(&self, cursor: Cursor) -> Reply {
        let customers = self.generator.customers();
        let ends_with_refusal = self.behaviour.last_page == LastPage::NoResultsFound;
        if ends_with_refusal && cursor.offset >= customers {
            return self.refuse(StatusCode::BAD_REQUEST, "No results found");
        }
        let is_empty = self.behaviour.empty_page_after.is_some_and(|every| {
            cursor.page > 0 && cursor.offset < customers && cursor.page % (every.get() + 1) == every.get()
        });
        let count = if is_empty { 0 } else { cursor.limit };
        let after = cursor.offset.saturating_add(count).min(customers);
        let next = Cursor { page: cursor.page + 1, offset: after, ..cursor };
        let repeats = self.behaviour.repeated_cursor_at.is_some_and(|at| at.get() == next.page);
        let next = if repeats && cursor.page > 0 { cursor } else { next };
        self.count_fetch(cursor.offset);
        let text = match self.behaviour.cursor_encoding {
            CursorEncoding::Percent => next.to_percent_encoded(),
            CursorEncoding::Raw => next.to_raw(),
        };
        let pagination = match self.behaviour.last_page {
            _ if after < customers || repeats || (ends_with_refusal && count > 0) => {
                Pagination::Cursor(&text)
            }
            LastPage::NullCursor | LastPage::NoResultsFound => Pagination::NullCursor,
            LastPage::AbsentCursor => Pagination::AbsentCursor,
            LastPage::EmptyCursor => Pagination::Cursor(""),
            LastPage::NullPagination => Pagination::Null,
            LastPage::AbsentPagination => Pagination::Absent,
        };
        let mut page = Vec::new();
        self.generator.write_page(cursor.offset, count, cursor.expansion, pagination, &mut page);
        Reply::bytes(StatusCode::OK, "application/json; charset=utf-8", Bytes::from(page))
    }

    fn count_fetch(&self, offset: u64) {
        let mut state = self.lock();
        if state.fetches.len() < MOST_COUNTED_PAGES || state.fetches.contains_key(&offset) {
            *state.fetches.entry(offset).or_default() += 1;
        }
    }

    fn use_token(&self, sent: &str) -> bool {
        let mut state = self.lock();
        let Some((_, uses)) = state.tokens.iter_mut().find(|(token, _)| token == sent) else { return false };
        match uses {
            Some(0) => false,
            Some(uses) => {
                *uses -= 1;
                true
            }
            None => true,
        }
    }

    /// An error in one of the shapes that were seen, one after the other.
    fn refuse(&self, status: StatusCode, message: &str) -> Reply {
        let mut state = self.lock();
        state.refusals += 1;
        let code = status.as_u16();
        let body = match state.refusals % 5 {
            0 => json!({"error": message}),
            1 => json!({"errors": [{"message": message}]}),
            2 => json!({"errors": [{"message": {"reason": [message]}}]}),
            3 => json!({"message": message, "code": code, "error_type": "sandbox"}),
            _ => json!({"status": {"message": message, "code": code}}),
        };
        Reply::json(status, &body)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::CallBody;
    use super::*;

    #[derive(serde::Deserialize)]
    struct Page {
        customers: Vec<Box<serde_json::value::RawValue>>,
        #[serde(default)]
        pagination: Value,
    }

    fn store(customers: u64, behaviour: YotpoBehaviour) -> Yotpo {
        Yotpo::new(1, customers, behaviour, None, "secret", "store")
    }

    fn call(yotpo: &Yotpo, operation: Operation, query: &str, token: &str, body: &'static str) -> Reply {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-yotpo-token", http::HeaderValue::from_str(token).unwrap());
        yotpo.act(&Call {
            operation,
            arguments: vec!["store".to_owned()],
            query: query.to_owned(),
            headers,
            body: CallBody::Memory(Bytes::from_static(body.as_bytes())),
        })
    }

    fn token(yotpo: &Yotpo) -> String {
        let reply = call(yotpo, Operation::AccessToken, "", "", r#"{"secret":"secret"}"#);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn get(yotpo: &Yotpo, token: &str, query: &str) -> (StatusCode, Value) {
        let reply = call(yotpo, Operation::Customers, query, token, "");
        if reply.status != StatusCode::OK {
            return (reply.status, serde_json::from_slice(&reply.body).unwrap());
        }
        // Customers stay text: some hold lone surrogates, which `Value` refuses.
        let page: Page = serde_json::from_slice(&reply.body).unwrap();
        let customers: Vec<_> = page.customers.iter().map(|customer| customer.get()).collect();
        (reply.status, json!({"customers": customers, "pagination": page.pagination}))
    }

    /// Follows the cursors; returns the size of each page and what the last answer was.
    fn walk(yotpo: &Yotpo, filters: &str) -> (Vec<usize>, StatusCode, Value) {
        let token = token(yotpo);
        let mut sizes = Vec::new();
        let mut query = format!("limit=100{filters}");
        for _ in 0..100 {
            let (status, body) = get(yotpo, &token, &query);
            if status != StatusCode::OK {
                return (sizes, status, body);
            }
            sizes.push(body["customers"].as_array().unwrap().len());
            match body["pagination"]["next_page_info"].as_str() {
                None | Some("") => return (sizes, status, body["pagination"].clone()),
                Some(cursor) => query = format!("page_info={cursor}{filters}"),
            }
        }
        (sizes, StatusCode::LOOP_DETECTED, Value::Null)
    }

    #[test]
    fn all_customers_are_listed_once_whatever_ends_the_list() {
        for last_page in [
            LastPage::NullCursor,
            LastPage::AbsentCursor,
            LastPage::EmptyCursor,
            LastPage::NullPagination,
            LastPage::AbsentPagination,
        ] {
            let yotpo = store(250, YotpoBehaviour { last_page, ..YotpoBehaviour::default() });
            let (sizes, status, _) = walk(&yotpo, "&expand=loyalty");
            assert_eq!((sizes, status), (vec![100, 100, 50], StatusCode::OK), "{last_page:?}");
            assert_eq!(yotpo.page_fetches(), BTreeMap::from([(0, 1), (100, 1), (200, 1)]));
        }
        assert_eq!(walk(&store(0, YotpoBehaviour::default()), "").0, [0]);
        assert_eq!(walk(&store(100, YotpoBehaviour::default()), "").0, [100]);
    }

    #[test]
    fn end_can_be_a_refusal_and_pages_can_be_empty() {
        let last_page = LastPage::NoResultsFound;
        let yotpo = store(200, YotpoBehaviour { last_page, ..YotpoBehaviour::default() });
        let (sizes, status, body) = walk(&yotpo, "");
        assert_eq!((sizes, status), (vec![100, 100], StatusCode::BAD_REQUEST));
        assert!(body.to_string().contains("No results found"));
        let empty_page_after = NonZeroU64::new(1);
        let yotpo = store(250, YotpoBehaviour { empty_page_after, ..YotpoBehaviour::default() });
        assert_eq!(walk(&yotpo, "").0, [100, 0, 100, 0, 50]);
    }

    #[test]
    fn repeated_cursor_goes_round_for_ever() {
        let repeated_cursor_at = NonZeroU64::new(2);
        let yotpo = store(1_000, YotpoBehaviour { repeated_cursor_at, ..YotpoBehaviour::default() });
        assert_eq!(walk(&yotpo, "").1, StatusCode::LOOP_DETECTED);
    }

    #[test]
    fn cursor_must_be_encoded_exactly_once() {
        let yotpo = store(250, YotpoBehaviour::default());
        let token = token(&yotpo);
        let (_, body) = get(&yotpo, &token, "limit=100");
        let cursor = body["pagination"]["next_page_info"].as_str().unwrap();
        assert_eq!(get(&yotpo, &token, &format!("page_info={cursor}")).0, StatusCode::OK);
        let twice = cursor.replace('%', "%25");
        assert_eq!(get(&yotpo, &token, &format!("page_info={twice}")).0, StatusCode::BAD_REQUEST);
        yotpo.invalidate_cursors();
        assert_eq!(get(&yotpo, &token, &format!("page_info={cursor}")).0, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn filters_beside_a_cursor_are_kept_forgotten_or_refused() {
        let has_loyalty = |body: &Value| body.to_string().contains("points_balance");
        let second = |behaviour: YotpoBehaviour, filters: &str| {
            let yotpo = store(250, behaviour);
            let token = token(&yotpo);
            let (_, first) = get(&yotpo, &token, "limit=100&expand=loyalty");
            assert!(has_loyalty(&first));
            let cursor = first["pagination"]["next_page_info"].as_str().unwrap().to_owned();
            get(&yotpo, &token, &format!("page_info={cursor}{filters}"))
        };
        assert!(has_loyalty(&second(YotpoBehaviour::default(), "").1));
        let forgets = YotpoBehaviour { cursor_memory: CursorMemory::Nothing, ..YotpoBehaviour::default() };
        assert!(!has_loyalty(&second(forgets.clone(), "").1));
        assert!(has_loyalty(&second(forgets, "&expand=loyalty").1));
        let filters_beside_cursor = FiltersBesideCursor::Refused;
        let refuses = YotpoBehaviour { filters_beside_cursor, ..YotpoBehaviour::default() };
        assert_eq!(second(refuses.clone(), "&expand=loyalty").0, StatusCode::BAD_REQUEST);
        assert_eq!(second(refuses, "&limit=100").0, StatusCode::OK);
    }

    #[test]
    fn tokens_are_checked_used_up_and_expired() {
        let yotpo = store(10, YotpoBehaviour { token_uses: NonZeroU64::new(2), ..YotpoBehaviour::default() });
        assert_eq!(get(&yotpo, "invented", "").0, StatusCode::UNAUTHORIZED);
        let first = token(&yotpo);
        let statuses: Vec<_> = (0..3).map(|_| get(&yotpo, &first, "").0.as_u16()).collect();
        assert_eq!(statuses, [200, 200, 401]);
        let second = token(&yotpo);
        yotpo.expire_tokens();
        assert_eq!(get(&yotpo, &second, "").0, StatusCode::UNAUTHORIZED);
        let refused = call(&yotpo, Operation::AccessToken, "", "", r#"{"secret":"wrong"}"#);
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert_eq!(call(&yotpo, Operation::AccessToken, "", "", "garbage").status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn page_size_is_limited() {
        let yotpo = store(250, YotpoBehaviour::default());
        let token = token(&yotpo);
        for query in ["limit=0", "limit=101", "limit=-1", "limit=x", "limit="] {
            assert_eq!(get(&yotpo, &token, query).0, StatusCode::BAD_REQUEST, "{query}");
        }
        assert_eq!(get(&yotpo, &token, "limit=7").1["customers"].as_array().unwrap().len(), 7);
    }
}
