//! The generated customers of a store: as they are sent, and as they must arrive in the table.
//!
//! Owns customer number `i` as a pure function of the seed. Nothing is stored, so ten million customers need no memory.
//! Each customer can be written as the Yotpo server sends it and, from the same random values, as the Python job stored
//! it (`json.dumps(customer, separators=(",", ":"))`, except that numbers stay as sent). The two forms come from
//! separate hand-written templates and string pairs; no JSON encoder is involved.
//!
//! Every customer contains its number in `external_id` or in its email address, so a row identifies its customer.

mod scalar;
mod template;
#[cfg(test)]
mod tests;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};

use self::scalar::{write_number, write_one_of, write_padded, write_phone, write_timestamp};
use self::template::{Skeleton, Slot, Style, Template};
use self::text::Text;

/// `external_id` of customer 0.
const FIRST_EXTERNAL_ID: u64 = 1_000_000_001;

/// Kinds of customers in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CustomerShapes {
    /// All kinds that occur in practice: with and without loyalty data, reviews only, nearly empty, unusual.
    #[default]
    Mixed,
    /// Full customers with loyalty data only.
    Loyalty,
}

/// Whitespace in the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageLayout {
    /// Each page has one of the other layouts.
    #[default]
    Mixed,
    /// No whitespace.
    Compact,
    /// A space after each colon and comma.
    Spaced,
    /// Indented by one space per level.
    Pretty,
}

/// Which optional parts of a customer were requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expansion {
    pub(super) custom_properties: bool,
    pub(super) loyalty: bool,
}

/// Writes pages of customers and the corresponding rows.
#[derive(Debug)]
pub(super) struct Generator {
    seed: u64,
    customers: AtomicU64,
    shapes: CustomerShapes,
    layout: PageLayout,
    compact: Templates,
    spaced: Templates,
    pretty: Templates,
    stored: Templates,
}

/// The `pagination` of a page.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pagination<'cursor> {
    Cursor(&'cursor str),
    NullCursor,
    AbsentCursor,
    Null,
    Absent,
}

#[derive(Debug)]
struct Templates {
    form: Form,
    full: Template,
    reviews: Template,
    sparse: Template,
    odd: Template,
    loyalty: Template,
    loyalty_short: Template,
    custom: Template,
    custom_empty: Template,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Wire,
    Stored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    FullWithLoyalty,
    FullWithShortLoyalty,
    Plain,
    Reviews,
    Sparse,
    Odd,
}

/// The random values of one customer. They depend on the placeholder, so both forms contain the same values.
#[derive(Clone, Copy)]
struct Draw {
    state: u64,
    index: u64,
    shape: Shape,
    expansion: Expansion,
}

impl Generator {
    pub(super) fn new(seed: u64, customers: u64, shapes: CustomerShapes, layout: PageLayout) -> Self {
        Self {
            seed: mix(seed),
            customers: AtomicU64::new(customers),
            shapes,
            layout,
            compact: Templates::compile(Form::Wire, Style::Compact, 0),
            spaced: Templates::compile(Form::Wire, Style::Spaced, 0),
            pretty: Templates::compile(Form::Wire, Style::Pretty, 2),
            stored: Templates::compile(Form::Stored, Style::Compact, 0),
        }
    }

    pub(super) fn customers(&self) -> u64 {
        self.customers.load(Ordering::Relaxed)
    }

    /// Sets the number of customers.
    pub(super) fn set_customers(&self, customers: u64) {
        self.customers.store(customers, Ordering::Relaxed);
    }

    /// Appends a page of `count` customers that starts at `first`.
    pub(super) fn write_page(
        &self,
        first: u64,
        count: u64,
        expansion: Expansion,
        pagination: Pagination<'_>,
        page: &mut Vec<u8>,
    ) {
        let (style, templates) = self.page_style(first);
        let last = self.customers().min(first.saturating_add(count));
        page.reserve(usize::try_from(last.saturating_sub(first)).unwrap_or(0).saturating_mul(1_400) + 256);
        let (open, between, close) = match style {
            Style::Compact => ("{\"customers\":[", ",", "]"),
            Style::Spaced => ("{\"customers\": [", ", ", "]"),
            Style::Pretty => ("{\n \"customers\": [\n  ", ",\n  ", "\n ]"),
        };
        if first >= last {
            page.extend_from_slice(b"{\"customers\":[]");
        } else {
            page.extend_from_slice(open.as_bytes());
            for index in first..last {
                if index > first {
                    page.extend_from_slice(between.as_bytes());
                }
                templates.write(self.draw(index, expansion), page);
            }
            page.extend_from_slice(close.as_bytes());
        }
        write_pagination(style, pagination, page);
    }

    /// Appends customer `index` as the Python job stored it.
    pub(super) fn write_stored(&self, index: u64, row: &mut Vec<u8>) {
        let everything = Expansion { custom_properties: true, loyalty: true };
        self.stored.write(self.draw(index, everything), row);
    }

    /// The number of the customer in `stored`, if it seems to be one of this store.
    pub(super) fn index_of(&self, stored: &[u8]) -> Option<u64> {
        let index = match stored.strip_prefix(b"{\"external_id\":\"") {
            Some(id) => leading_number(id)?.checked_sub(FIRST_EXTERNAL_ID)?,
            None => email_number(stored)?,
        };
        (index < self.customers()).then_some(index)
    }

    fn page_style(&self, first: u64) -> (Style, &Templates) {
        let drawn = match self.layout {
            PageLayout::Mixed => mix(self.seed ^ first) % 4,
            PageLayout::Compact => 0,
            PageLayout::Spaced => 2,
            PageLayout::Pretty => 3,
        };
        match drawn {
            2 => (Style::Spaced, &self.spaced),
            3 => (Style::Pretty, &self.pretty),
            _ => (Style::Compact, &self.compact),
        }
    }

    fn draw(&self, index: u64, expansion: Expansion) -> Draw {
        let state = mix(self.seed ^ mix(index.wrapping_add(1)));
        let shape = match (self.shapes, state % 100) {
            (CustomerShapes::Loyalty, _) | (CustomerShapes::Mixed, 0..=14) => Shape::FullWithLoyalty,
            (CustomerShapes::Mixed, 15..=57) => Shape::FullWithShortLoyalty,
            (CustomerShapes::Mixed, 58..=67) => Shape::Plain,
            (CustomerShapes::Mixed, 68..=81) => Shape::Reviews,
            (CustomerShapes::Mixed, 82..=95) => Shape::Sparse,
            (CustomerShapes::Mixed, _) => Shape::Odd,
        };
        Draw { state, index, shape, expansion }
    }
}

impl Templates {
    fn compile(form: Form, style: Style, depth: usize) -> Self {
        let compile = |skeleton: Skeleton, depth: usize| {
            let source = if form == Form::Wire { skeleton.wire } else { skeleton.stored };
            Template::compile(source, style, depth)
        };
        Self {
            form,
            full: compile(template::FULL, depth),
            reviews: compile(template::REVIEWS, depth),
            sparse: compile(template::SPARSE, depth),
            odd: compile(template::ODD, depth),
            loyalty: compile(template::LOYALTY, depth + 1),
            loyalty_short: compile(template::LOYALTY_SHORT, depth + 1),
            custom: compile(template::CUSTOM, depth + 1),
            custom_empty: compile(template::CUSTOM_EMPTY, depth + 1),
        }
    }

    fn write(&self, draw: Draw, out: &mut Vec<u8>) {
        let template = match draw.shape {
            Shape::FullWithLoyalty | Shape::FullWithShortLoyalty | Shape::Plain => &self.full,
            Shape::Reviews => &self.reviews,
            Shape::Sparse => &self.sparse,
            Shape::Odd => &self.odd,
        };
        self.fill(template, draw, out);
    }

    fn fill(&self, template: &Template, draw: Draw, out: &mut Vec<u8>) {
        for (literal, slot) in &template.pieces {
            out.extend_from_slice(literal);
            self.write_slot(*slot, draw, out);
        }
        out.extend_from_slice(&template.tail);
    }

    fn write_slot(&self, slot: Slot, draw: Draw, out: &mut Vec<u8>) {
        let bits = draw.bits(slot);
        match slot {
            Slot::ExternalId => draw.write_external_id(out),
            Slot::Email => draw.write_email(bits, out),
            Slot::Phone => write_phone(bits, out),
            Slot::FirstName => self.write_text(text::FIRST_NAMES, bits, out),
            Slot::LastName => self.write_text(text::LAST_NAMES, bits, out),
            Slot::City => self.write_text(text::CITIES, bits, out),
            Slot::Company => self.write_text(text::COMPANIES, bits, out),
            Slot::Tags => self.write_text(text::TAGS, bits, out),
            Slot::Odd | Slot::OtherOdd => self.write_text(text::ODD, bits, out),
            Slot::Gender => write_one_of(&["null", "\"F\"", "\"M\"", "\"other\"", "\"\""], bits, out),
            Slot::Language => write_one_of(&["null", "\"en\"", "\"tr\"", "\"pt-BR\""], bits, out),
            Slot::Tier => write_one_of(&["\"Flow\"", "\"Gold\"", "null", "\"VIP \\\"1\\\"\""], bits, out),
            Slot::Flag | Slot::OtherFlag => write_one_of(&["true", "false", "null", "true"], bits, out),
            Slot::CreatedAt
            | Slot::UpdatedAt
            | Slot::Since
            | Slot::ExpireAt
            | Slot::EntryDate
            | Slot::LastSeen => write_timestamp(bits, out),
            Slot::Points | Slot::Count => write_number(bits % 1_000, out),
            Slot::Earned | Slot::Cents => write_number(bits % 1_000_000, out),
            Slot::Number | Slot::OtherNumber => write_one_of(text::NUMBERS, bits, out),
            Slot::Street => write_padded("\"", bits, " Example St\"", out),
            Slot::Zip | Slot::Code => write_padded("\"", bits, "\"", out),
            Slot::ThirdParty => write_padded("56442", bits, "", out),
            Slot::CustomProperties => self.write_custom_properties(draw, bits, out),
            Slot::Loyalty => self.write_loyalty(draw, out),
        }
    }

    fn write_text(&self, pool: &[Text], bits: u64, out: &mut Vec<u8>) {
        // The product of two draws makes the plain entries at the front of each pool the most frequent.
        let range = pool.len() as u64;
        let drawn = (bits % range) * ((bits >> 32) % range) / range.saturating_sub(1).max(1);
        if let Some(text) = usize::try_from(drawn).ok().and_then(|at| pool.get(at)) {
            let literal = if self.form == Form::Wire { text.wire } else { text.stored };
            out.extend_from_slice(literal.as_bytes());
        }
    }

    fn write_custom_properties(&self, draw: Draw, bits: u64, out: &mut Vec<u8>) {
        match bits % 8 {
            _ if !draw.expansion.custom_properties => out.extend_from_slice(b"null"),
            0..=2 => self.fill(&self.custom, draw, out),
            3 => self.fill(&self.custom_empty, draw, out),
            _ => out.extend_from_slice(b"null"),
        }
    }

    fn write_loyalty(&self, draw: Draw, out: &mut Vec<u8>) {
        match draw.shape {
            _ if !draw.expansion.loyalty => out.extend_from_slice(b"null"),
            Shape::FullWithLoyalty => self.fill(&self.loyalty, draw, out),
            Shape::FullWithShortLoyalty | Shape::Odd => self.fill(&self.loyalty_short, draw, out),
            Shape::Plain | Shape::Reviews | Shape::Sparse => out.extend_from_slice(b"null"),
        }
    }
}

impl Draw {
    fn bits(self, slot: Slot) -> u64 {
        mix(self.state.wrapping_add((slot as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn write_external_id(self, out: &mut Vec<u8>) {
        if self.state >> 58 == 0 {
            out.extend_from_slice(b"null");
        } else {
            out.push(b'"');
            write_number(FIRST_EXTERNAL_ID + self.index, out);
            out.push(b'"');
        }
    }

    fn write_email(self, bits: u64, out: &mut Vec<u8>) {
        write_one_of(&["\"real.", "\"a+b_", "\"customer-", "\"o'hara."], bits, out);
        write_number(self.index, out);
        out.extend_from_slice(b"@example.com\"");
    }
}

fn write_pagination(style: Style, pagination: Pagination<'_>, page: &mut Vec<u8>) {
    let space = if style == Style::Compact { "" } else { " " };
    let mut write = |texts: &[&str]| {
        for text in texts {
            page.extend_from_slice(text.as_bytes());
        }
    };
    match pagination {
        Pagination::Cursor(cursor) => {
            write(&[",\"pagination\":", space, "{\"next_page_info\":", space, "\"", cursor, "\"}"]);
        }
        Pagination::NullCursor => {
            write(&[",\"pagination\":", space, "{\"next_page_info\":", space, "null}"]);
        }
        Pagination::AbsentCursor => write(&[",\"pagination\":", space, "{}"]),
        Pagination::Null => write(&[",\"pagination\":", space, "null"]),
        Pagination::Absent => {}
    }
    write(&[if style == Style::Pretty { "\n}\n" } else { "}" }]);
}

fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(text.get(..digits)?).ok()?.parse().ok()
}

fn email_number(stored: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(stored, b"@example.com")?;
    let before = stored.get(..at)?;
    let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    leading_number(before.get(at.checked_sub(digits)?..)?)
}

/// The finalizer of splitmix64: every input bit flips half of the output bits.
const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
