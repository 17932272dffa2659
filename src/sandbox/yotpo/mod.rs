//! The look-alike of Yotpo Core API v3: access tokens and pages of customers.
//!
//! Owns tokens, cursors and the rate limit of a store, and which store a request is for. What Yotpo does is only partly documented, so each doubtful
//! point is a setting in [`YotpoBehaviour`]. It does not know HTTP connections or faults.

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
    CursorEncoding, CursorMemory, FiltersBesideCursor, Glitch, GlitchKind, LastPage, YotpoBehaviour,
};
use self::cursor::Cursor;
pub(super) use self::cursor::shown_cursor;
pub use self::rate::RateHeaders;
use self::rate::{Admission, RateLimit};
pub(super) use self::stores::Stores;
use super::customer::{Expansion, Generator, Pagination};
use super::operation::Operation;
use super::reply::{Call, Reply};
use super::store::StoreSettings;
use crate::clock::Clock;

const MOST_PER_PAGE: u64 = 100;
const DEFAULT_PER_PAGE: u64 = 100;
/// Tokens that are remembered; the oldest is forgotten first.
const MOST_TOKENS: usize = 1_000;
/// Pages whose fetches are counted.
const MOST_COUNTED_PAGES: usize = 1_000_000;

#[derive(Debug)]
pub(super) struct Yotpo {
    generator: Generator,
    behaviour: YotpoBehaviour,
    client_secret: String,
    store_id: String,
    /// From 0; tokens and cursors carry it, so that those of one store are unknown to another.
    number: u32,
    state: Mutex<State>,
}

/// What the response to an admitted request carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    remaining: u64,
    resets: bool,
    closes: bool,
}

impl Admitted {
    pub(super) fn mark(self, reply: Reply) -> Reply {
        let mut reply = reply.with_number("ratelimit-remaining", self.remaining);
        if self.resets {
            reply = reply.with_number("ratelimit-reset", 1);
        }
        if self.closes {
            reply = reply.with_text("connection", "close");
        }
        reply
    }
}

#[derive(Debug)]
struct State {
    limit: RateLimit,
    admitted: u64,
    tokens: VecDeque<(String, Option<u64>)>,
    issued: u64,
    refusals: u64,
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
                admitted: 0,
                tokens: VecDeque::new(),
                issued: 0,
                refusals: 0,
                glitches: 0,
                generation: u64::from(number) << 32,
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
    pub(super) fn admit(&self, clock: &Clock) -> Result<Admitted, Reply> {
        let mut state = self.lock();
        // Read under the lock, so that arrivals are in order of time.
        match state.limit.arrive(clock.now()) {
            Admission::Admitted { remaining } => {
                state.admitted += 1;
                let nth = self.behaviour.closes_behind.map(NonZeroU64::get);
                Ok(Admitted {
                    remaining,
                    resets: self.behaviour.rate_headers != RateHeaders::RollingSecond,
                    closes: nth.is_some_and(|nth| state.admitted.is_multiple_of(nth)),
                })
            }
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
        let token = format!("sandbox{:010}{:023}", self.number, state.issued);
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
        let glitch = self.glitch_on(cursor.page + 1);
        if let Some(reply) = glitch.and_then(|glitch| self.reply_of(glitch)) {
            return reply;
        }
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
            _ if glitch == Some(GlitchKind::MissingPagination) => Pagination::Absent,
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
        if glitch == Some(GlitchKind::NumberAmongCustomers)
            && cursor.offset < customers
            && let Some(list) = page.iter().position(|byte| *byte == b'[')
        {
            page.splice(list..=list, *b"[7,");
        }
        Reply::bytes(StatusCode::OK, "application/json; charset=utf-8", Bytes::from(page))
    }

    /// What goes wrong with this request for a page.
    fn glitch_on(&self, page: u64) -> Option<GlitchKind> {
        let glitch = self.behaviour.glitch.filter(|glitch| glitch.page.get() == page)?;
        let mut state = self.lock();
        let is_due = state.glitches < glitch.times;
        state.glitches = state.glitches.saturating_add(1);
        is_due.then_some(glitch.kind)
    }

    /// The whole reply, unless it is a page.
    fn reply_of(&self, glitch: GlitchKind) -> Option<Reply> {
        Some(match glitch {
            GlitchKind::NoResultsFound => self.refuse(StatusCode::BAD_REQUEST, "No results found"),
            GlitchKind::ErrorsInsteadOfCustomers => Reply::ok(&json!({"errors": [{"message": "timeout"}]})),
            GlitchKind::ErrorsBesideCustomers => {
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
