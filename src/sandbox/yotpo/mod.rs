//! Mock of the Yotpo Core API v3: access tokens and pages of customers.
//!
//! Owns tokens, cursors and the rate limit of a store, and the mapping of requests to stores. Yotpo's behaviour is only
//! partly documented, so each doubtful point is a setting in [`YotpoBehaviour`]. It does not know HTTP connections or
//! faults.

mod behaviour;
mod cursor;
mod rate;
mod stores;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

pub use self::behaviour::{
    CursorEncoding, CursorMemory, FiltersWithCursor, Glitch, GlitchKind, LastPage, YotpoBehaviour,
};
use self::cursor::Cursor;
pub(super) use self::cursor::encoded_cursor;
pub use self::rate::RateHeaders;
use self::rate::{RateDecision, RateLimit};
pub(super) use self::stores::Stores;
use super::customer::{Expansion, Generator, Pagination};
use super::operation::Operation;
use super::reply::{Call, Reply};
use super::store::StoreSettings;
use crate::clock::Clock;

const MAX_PAGE_SIZE: u64 = 100;
const DEFAULT_PAGE_SIZE: u64 = 100;
/// Maximum number of valid tokens; the oldest is dropped first.
const MAX_TOKENS: usize = 1_000;
/// Maximum number of pages whose fetches are counted.
const MAX_COUNTED_PAGES: usize = 1_000_000;

#[derive(Debug)]
pub(super) struct Yotpo {
    generator: Generator,
    behaviour: YotpoBehaviour,
    client_secret: String,
    store_id: String,
    /// From 0. Tokens and cursors contain it, so that those of one store are invalid in another.
    number: u32,
    state: Mutex<State>,
}

/// The state of the rate limit to send with a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateStatus {
    remaining: u64,
    sends_reset: bool,
    closes_connection: bool,
}

impl RateStatus {
    pub(super) fn add_to(self, reply: Reply) -> Reply {
        let mut reply = reply.with_number("ratelimit-remaining", self.remaining);
        if self.sends_reset {
            reply = reply.with_number("ratelimit-reset", 1);
        }
        if self.closes_connection {
            reply = reply.with_text("connection", "close");
        }
        reply
    }
}

#[derive(Debug)]
struct State {
    limit: RateLimit,
    allowed: u64,
    tokens: VecDeque<(String, Option<u64>)>,
    issued: u64,
    errors: u64,
    glitches: u32,
    generation: u64,
    fetches: BTreeMap<u64, u32>,
}

impl Yotpo {
    pub(super) fn new(
        store: &StoreSettings,
        number: u32,
        behaviour: YotpoBehaviour,
        limit: Option<NonZeroU32>,
    ) -> Self {
        let StoreSettings { store_id, client_secret, customers, seed } = store;
        let rate_headers = behaviour.rate_headers;
        Self {
            generator: Generator::new(*seed, *customers, behaviour.shapes, behaviour.page_layout),
            behaviour,
            client_secret: client_secret.clone(),
            store_id: store_id.clone(),
            number,
            state: Mutex::new(State {
                limit: RateLimit::new(limit, rate_headers),
                allowed: 0,
                tokens: VecDeque::new(),
                issued: 0,
                errors: 0,
                glitches: 0,
                generation: u64::from(number) << 32,
                fetches: BTreeMap::new(),
            }),
        }
    }

    pub(super) const fn generator(&self) -> &Generator {
        &self.generator
    }

    pub(super) fn max_requests_in_rolling_second(&self) -> usize {
        self.lock().limit.max_arrivals()
    }

    /// How often each page was served, by the number of its first customer.
    pub(super) fn page_fetches(&self) -> BTreeMap<u64, u32> {
        self.lock().fetches.clone()
    }

    pub(super) fn expire_tokens(&self) {
        self.lock().tokens.clear();
    }

    pub(super) fn invalidate_cursors(&self) {
        self.lock().generation += 1;
    }

    /// Counts a request against the limit. Returns what the response must contain, or the response to a request over
    /// the limit.
    pub(super) fn check_rate(&self, clock: &Clock) -> Result<RateStatus, Reply> {
        let mut state = self.lock();
        // The clock is read under the lock, so that arrivals are in order of time.
        match state.limit.check(clock.now()) {
            RateDecision::Allowed { remaining } => {
                state.allowed += 1;
                let interval = self.behaviour.close_connection_every.map(NonZeroU64::get);
                Ok(RateStatus {
                    remaining,
                    sends_reset: self.behaviour.rate_headers != RateHeaders::RollingSecond,
                    closes_connection: interval.is_some_and(|nth| state.allowed.is_multiple_of(nth)),
                })
            }
            RateDecision::Limited { reset_seconds } => {
                let body = json!({"errors": [{"message": "Too many requests"}]});
                Err(Reply::json(StatusCode::TOO_MANY_REQUESTS, &body)
                    .with_number("ratelimit-remaining", 0)
                    .with_number("ratelimit-reset", reset_seconds))
            }
        }
    }

    pub(super) fn handle(&self, call: &Call) -> Reply {
        match call.operation {
            Operation::AccessToken => self.issue_token(call),
            Operation::Customers => self.customers(call),
            _ => self.error(StatusCode::NOT_FOUND, "Not found"),
        }
    }

    fn issue_token(&self, call: &Call) -> Reply {
        let body: Value = serde_json::from_slice(call.body_bytes()).unwrap_or(Value::Null);
        let Some(secret) = body.get("secret").and_then(Value::as_str) else {
            return self.error(StatusCode::BAD_REQUEST, "secret is missing");
        };
        if call.argument(0) != self.store_id {
            return self.error(StatusCode::NOT_FOUND, "Store not found");
        }
        if secret != self.client_secret {
            return self.error(StatusCode::UNAUTHORIZED, "Invalid secret");
        }
        let mut state = self.lock();
        state.issued += 1;
        let token = format!("sandbox{:010}{:023}", self.number, state.issued);
        state.tokens.push_back((token.clone(), self.behaviour.max_token_uses.map(NonZeroU64::get)));
        if state.tokens.len() > MAX_TOKENS {
            state.tokens.pop_front();
        }
        Reply::ok(&json!({"access_token": token, "token_type": "bearer"}))
    }

    fn customers(&self, call: &Call) -> Reply {
        if !self.use_token(call.header("x-yotpo-token").unwrap_or_default()) {
            return self.error(StatusCode::UNAUTHORIZED, "Invalid or expired access token");
        }
        if call.argument(0) != self.store_id {
            return self.error(StatusCode::NOT_FOUND, "Store not found");
        }
        match self.read_query(&call.query_parameters()) {
            Ok(cursor) => self.page(cursor),
            Err(message) => self.error(StatusCode::BAD_REQUEST, message),
        }
    }

    /// The requested page.
    fn read_query(&self, parameters: &[(String, String)]) -> Result<Cursor, &'static str> {
        let sent =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let limit = match sent("limit").map(str::parse::<u64>) {
            None => None,
            Some(Ok(limit @ 1..=MAX_PAGE_SIZE)) => Some(limit),
            Some(_) => return Err("limit must be between 1 and 100"),
        };
        let sent_expansion = Expansion {
            custom_properties: sent("include_custom_properties") == Some("true"),
            loyalty: sent("expand").is_some_and(|parts| parts.split(',').any(|part| part == "loyalty")),
        };
        let generation = self.lock().generation;
        let Some(raw) = sent("page_info") else {
            let limit = limit.unwrap_or(DEFAULT_PAGE_SIZE);
            return Ok(Cursor { page: 0, offset: 0, limit, expansion: sent_expansion, generation });
        };
        let other = |(key, _): &(String, String)| key != "page_info" && key != "limit";
        if self.behaviour.filters_with_cursor == FiltersWithCursor::BadRequest && parameters.iter().any(other)
        {
            return Err("page_info cannot be combined with other parameters");
        }
        let cursor = Cursor::from_raw(raw).filter(|cursor| cursor.generation == generation);
        let mut cursor = cursor.ok_or("page_info is invalid")?;
        cursor.limit = limit.unwrap_or(cursor.limit).clamp(1, MAX_PAGE_SIZE);
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
        let glitch = self.glitch_on(cursor.page + 1);
        if let Some(reply) = glitch.and_then(|glitch| self.glitch_reply(glitch)) {
            return reply;
        }
        let ends_with_error = self.behaviour.last_page == LastPage::NoResultsFound;
        if ends_with_error && cursor.offset >= customers {
            return self.error(StatusCode::BAD_REQUEST, "No results found");
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
            _ if glitch == Some(GlitchKind::MissingPagination) => Pagination::Absent,
            _ if after < customers || repeats || (ends_with_error && count > 0) => Pagination::Cursor(&text),
            LastPage::NullCursor | LastPage::NoResultsFound => Pagination::NullCursor,
            LastPage::AbsentCursor => Pagination::AbsentCursor,
            LastPage::EmptyCursor => Pagination::Cursor(""),
            LastPage::NullPagination => Pagination::Null,
            LastPage::AbsentPagination => Pagination::Absent,
        };
        let mut page = Vec::new();
        self.generator.write_page(cursor.offset, count, cursor.expansion, pagination, &mut page);
        if glitch == Some(GlitchKind::NumberAmongCustomers)
            && cursor.offset < customers
            && let Some(list) = page.iter().position(|byte| *byte == b'[')
        {
            page.splice(list..=list, *b"[7,");
        }
        Reply::bytes(StatusCode::OK, "application/json; charset=utf-8", Bytes::from(page))
    }

    /// The failure of this request for a page, if any.
    fn glitch_on(&self, page: u64) -> Option<GlitchKind> {
        let glitch = self.behaviour.glitch.filter(|glitch| glitch.page.get() == page)?;
        let mut state = self.lock();
        let is_due = state.glitches < glitch.times;
        state.glitches = state.glitches.saturating_add(1);
        is_due.then_some(glitch.kind)
    }

    /// The entire response, unless it is a page.
    fn glitch_reply(&self, glitch: GlitchKind) -> Option<Reply> {
        Some(match glitch {
            GlitchKind::NoResultsFound => self.error(StatusCode::BAD_REQUEST, "No results found"),
            GlitchKind::ErrorsInsteadOfCustomers => Reply::ok(&json!({"errors": [{"message": "timeout"}]})),
            GlitchKind::ErrorsWithCustomers => {
                Reply::ok(&json!({"customers": [], "errors": [{"message": "timeout"}]}))
            }
            GlitchKind::FailingStatus => Reply::ok(&json!({
                "customers": [],
                "status": {"code": 500, "message": "timeout"},
                "pagination": {"next_page_info": null},
            })),
            GlitchKind::EmptyPage => Reply::ok(&json!({"customers": []})),
            GlitchKind::MissingPagination | GlitchKind::NumberAmongCustomers => return None,
        })
    }

    fn count_fetch(&self, offset: u64) {
        let mut state = self.lock();
        if state.fetches.len() < MAX_COUNTED_PAGES || state.fetches.contains_key(&offset) {
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

    /// An error, in turn in each of the formats that occur in practice.
    fn error(&self, status: StatusCode, message: &str) -> Reply {
        let mut state = self.lock();
        state.errors += 1;
        let code = status.as_u16();
        let body = match state.errors % 5 {
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
