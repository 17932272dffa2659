//! Templates of customers, compiled once, so that a customer is mostly copied.
//!
//! Owns the skeletons (from the documented samples), the whitespace of the responses and the compiled form. A skeleton
//! is compact JSON in which `@name` is a placeholder for a random value of the customer. It does not generate values.

/// Whitespace between the tokens of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Compact,
    Spaced,
    Pretty,
}

macro_rules! slots {
    ($($variant:ident $name:literal),+ $(,)?) => {
        /// A placeholder in a skeleton.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Slot { $($variant),+ }

        impl Slot {
            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

slots! {
    ExternalId "external_id",
    Email "email",
    Phone "phone",
    FirstName "first_name",
    LastName "last_name",
    Gender "gender",
    CreatedAt "created_at",
    UpdatedAt "updated_at",
    Language "language",
    Tags "tags",
    City "city",
    Company "company",
    Street "street",
    Zip "zip",
    Flag "flag",
    OtherFlag "other_flag",
    CustomProperties "custom_properties",
    Loyalty "loyalty",
    Since "since",
    Points "points",
    Earned "earned",
    Cents "cents",
    Count "count",
    ExpireAt "expire_at",
    EntryDate "entry_date",
    LastSeen "last_seen",
    Tier "tier",
    ThirdParty "third_party",
    Code "code",
    Number "number",
    OtherNumber "other_number",
    Odd "odd",
    OtherOdd "other_odd",
}

/// A compiled skeleton: pieces of literal bytes, each followed by a value, and the literal bytes at the end.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) pieces: Vec<(Box<[u8]>, Slot)>,
    pub(super) tail: Box<[u8]>,
}

/// A skeleton as it is sent and as the Python job stored it. They differ where a key is not ASCII.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skeleton {
    pub(super) wire: &'static str,
    pub(super) stored: &'static str,
}

const fn same(skeleton: &'static str) -> Skeleton {
    Skeleton { wire: skeleton, stored: skeleton }
}

pub(super) const FULL: Skeleton = same(concat!(
    r#"{"external_id":@external_id,"email":@email,"phone_number":@phone,"device_id":null,"#,
    r#""first_name":@first_name,"last_name":@last_name,"gender":@gender,"account_created_at":@created_at,"#,
    r#""account_updated_at":@updated_at,"account_status":"enabled","default_language":@language,"#,
    r#""default_currency":"USD","tags":@tags,"address":{"address1":@street,"address2":"","city":@city,"#,
    r#""company":@company,"state":"California","zip":@zip,"province_code":"CA","country_code":"US","#,
    r#""phone_number":"5551234567"},"lists":[],"custom_properties":@custom_properties,"#,
    r#""accepts_email_marketing":@flag,"accepts_sms_marketing":@other_flag,"channels":{"sms":{"marketing":{"#,
    r#""consent":"never_subscribed","subscription_source":null,"timestamp":null}},"email":{"marketing":{"#,
    r#""consent":"subscribed","subscription_source":null,"timestamp":null,"suppressions":null}}},"#,
    r#""yotpo_ugc":null,"yotpo_loyalty":@loyalty,"yotpo_sms":null,"yotpo_email":null,"#,
    r#""yotpo_subscriptions":null}"#,
));

pub(super) const REVIEWS: Skeleton = same(concat!(
    r#"{"external_id":@external_id,"email":@email,"phone_number":@phone,"first_name":@first_name,"#,
    r#""last_name":@last_name,"gender":@gender,"account_created_at":@created_at,"account_updated_at":@updated_at,"#,
    r#""account_status":"enabled","default_language":@language,"default_currency":"USD","tags":@tags,"#,
    r#""lists":[{"id":"123456","since":@since}],"accepts_email_marketing":@flag,"#,
    r#""accepts_sms_marketing":@other_flag,"channels":{"sms":{"marketing":{"consent":"subscribed","#,
    r#""timestamp":@entry_date}},"email":{"marketing":{"consent":"subscribed","timestamp":@expire_at,"#,
    r#""suppressions":{"suppression_reason":"HARD_BOUNCE","timestamp":@last_seen}}}},"yotpo_ugc":{"#,
    r#""total_reviews":@count,"avg_product_rating":@number,"avg_site_rating":5.0,"total_avg_rating":4.8,"#,
    r#""sentiment_avg_product":0.78,"sentiment_avg_site":@other_number,"total_avg_sentiment":0.860,"#,
    r#""top_topics":null,"last_star_rating":5,"last_review_date":@created_at,"last_sentiment":0.95}}"#,
));

pub(super) const SPARSE: Skeleton = same(concat!(
    r#"{"external_id":null,"email":@email,"phone_number":@phone,"first_name":@first_name,"#,
    r#""last_name":@last_name}"#,
));

/// Non-ASCII keys, empty keys and containers, deep nesting, and no `external_id`.
pub(super) const ODD: Skeleton = Skeleton {
    wire: concat!(
        r#"{"email":@email,"first_name":@odd,"größe":@number,"お気に入り":@other_odd,"🎉 party\/time":@other_number,"#,
        r#""":"","a\tb\"c\\d\u0001":[],"nested":[[[[[[{"deep":[{},[],[{}],@count,null,true,false]}]]]]]],"#,
        r#""yotpo_loyalty":@loyalty,"custom_properties":@custom_properties}"#,
    ),
    stored: concat!(
        r#"{"email":@email,"first_name":@odd,"gr\u00f6\u00dfe":@number,"\u304a\u6c17\u306b\u5165\u308a":@other_odd,"#,
        r#""\ud83c\udf89 party/time":@other_number,"":"","a\tb\"c\\d\u0001":[],"#,
        r#""nested":[[[[[[{"deep":[{},[],[{}],@count,null,true,false]}]]]]]],"#,
        r#""yotpo_loyalty":@loyalty,"custom_properties":@custom_properties}"#,
    ),
};

pub(super) const LOYALTY: Skeleton = same(concat!(
    r#"{"points_balance":@points,"points_earned":@earned,"points_expire_at":@expire_at,"vip_tier_name":@tier,"#,
    r#""vip_tier_entry_date":@entry_date,"vip_tier_expiration":null,"opt_in":true,"opted_in_at":@since,"#,
    r#""has_store_account":@flag,"credit_balance":"$0","total_spend_cents":@cents,"total_purchases":@count,"#,
    r#""perks_redeemed":6,"last_seen_at":@last_seen,"third_party_id":@third_party,"referral_link":{"#,
    r#""code":@code,"customer_id":@third_party,"link":"rwrd.io/ref","expired":false}}"#,
));

pub(super) const LOYALTY_SHORT: Skeleton =
    same(r#"{"points_balance":@points,"vip_tier_name":@tier,"opt_in":false,"opted_in_at":null}"#);

pub(super) const CUSTOM: Skeleton =
    same(r#"{"favorite_store":@city,"shoe_size":@number,"club member":@flag,"note":@odd}"#);

pub(super) const CUSTOM_EMPTY: Skeleton = same("{}");

impl Template {
    /// Formats `skeleton` in `style`, starting at nesting level `depth`.
    pub(super) fn compile(skeleton: &str, style: Style, depth: usize) -> Self {
        let mut layout = Layout { style, depth, literal: Vec::new(), pieces: Vec::new() };
        let mut rest = skeleton;
        while let Some(next) = rest.chars().next() {
            rest = match next {
                '"' => layout.string(rest),
                '@' => layout.slot(rest),
                _ => layout.token(rest, next),
            };
        }
        Self { pieces: layout.pieces, tail: layout.literal.into_boxed_slice() }
    }
}

struct Layout {
    style: Style,
    depth: usize,
    literal: Vec<u8>,
    pieces: Vec<(Box<[u8]>, Slot)>,
}

impl Layout {
    fn string<'text>(&mut self, rest: &'text str) -> &'text str {
        let mut escaped = false;
        let closing = rest.char_indices().skip(1).find(|&(_, character)| {
            let closes = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            closes
        });
        let end = closing.map_or(rest.len(), |(at, _)| at + 1);
        let (string, after) = rest.split_at(end);
        self.literal.extend_from_slice(string.as_bytes());
        after
    }

    fn slot<'text>(&mut self, rest: &'text str) -> &'text str {
        let name = rest.strip_prefix('@').unwrap_or(rest);
        let end = name.find(|next: char| !next.is_ascii_lowercase() && next != '_').unwrap_or(name.len());
        let (name, after) = name.split_at(end);
        match Slot::from_name(name) {
            Some(slot) => self.pieces.push((std::mem::take(&mut self.literal).into_boxed_slice(), slot)),
            None => self.literal.extend_from_slice(b"null"),
        }
        after
    }

    fn token<'text>(&mut self, rest: &'text str, token: char) -> &'text str {
        let after = rest.get(token.len_utf8()..).unwrap_or_default();
        let empty = matches!(token, '{' | '[') && after.starts_with(['}', ']']);
        match token {
            '{' | '[' if empty => {
                let (closing, after) = after.split_at(1);
                self.literal.extend_from_slice(token.to_string().as_bytes());
                self.literal.extend_from_slice(closing.as_bytes());
                return after;
            }
            '{' | '[' => {
                self.depth += 1;
                self.literal.extend_from_slice(token.to_string().as_bytes());
                self.new_line();
            }
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                self.new_line();
                self.literal.extend_from_slice(token.to_string().as_bytes());
            }
            ',' => {
                self.literal.push(b',');
                if self.style == Style::Spaced {
                    self.literal.push(b' ');
                }
                self.new_line();
            }
            ':' => {
                self.literal.push(b':');
                if self.style != Style::Compact {
                    self.literal.push(b' ');
                }
            }
            other => self.literal.extend_from_slice(other.to_string().as_bytes()),
        }
        after
    }

    fn new_line(&mut self) {
        if self.style == Style::Pretty {
            self.literal.push(b'\n');
            self.literal.resize(self.literal.len() + self.depth, b' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(skeleton: &str, style: Style) -> String {
        let template = Template::compile(skeleton, style, 0);
        let mut text = Vec::new();
        for (literal, slot) in &template.pieces {
            text.extend_from_slice(literal);
            text.extend_from_slice(format!("<{slot:?}>").as_bytes());
        }
        text.extend_from_slice(&template.tail);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn compact_layout_is_the_skeleton() {
        let skeleton = r#"{"a":[],"b\":{":[1,{"c":@email}]}"#;
        assert_eq!(formatted(skeleton, Style::Compact), r#"{"a":[],"b\":{":[1,{"c":<Email>}]}"#);
    }

    #[test]
    fn other_layouts_only_add_whitespace() {
        let skeleton = r#"{"a":[],"b":[1,@email]}"#;
        assert_eq!(formatted(skeleton, Style::Spaced), r#"{"a": [], "b": [1, <Email>]}"#);
        assert_eq!(formatted(skeleton, Style::Pretty), "{\n \"a\": [],\n \"b\": [\n  1,\n  <Email>\n ]\n}");
    }

    #[test]
    fn every_placeholder_of_every_skeleton_has_a_slot() {
        let skeletons = [FULL, REVIEWS, SPARSE, ODD, LOYALTY, LOYALTY_SHORT, CUSTOM, CUSTOM_EMPTY];
        for skeleton in skeletons.iter().flat_map(|skeleton| [skeleton.wire, skeleton.stored]) {
            let template = Template::compile(skeleton, Style::Compact, 0);
            assert_eq!(template.pieces.len(), skeleton.matches('@').count(), "{skeleton}");
        }
    }
}
