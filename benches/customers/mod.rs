//! Pages of generated customers in the shapes that Yotpo sends: loyalty, plain, reviews and sparse, with non-ASCII names,
//! nulls and missing keys. About 930 bytes each when compact, the same for every run.

use fastrand::Rng;
use serde_json::value::RawValue;

/// Customers per page, Yotpo's maximum.
pub(crate) const PAGE: usize = 100;

const NAMES: [&str; 12] = [
    "Zoë", "Alex", "Emma", "Beyoğlu", "José", "Maria", "Łukasz", "John", "Aiko", "O'Brien", "Priya", "Chloé",
];
const CITIES: [&str; 8] =
    ["Anytown", "São Paulo", "Springfield", "Zürich", "New York", "Portland", "İstanbul", "Austin"];
const TAGS: [&str; 8] =
    ["vip", "summer_sale", "", "loyalty-program", "early-access", "repeat-buyer", "Standard", "Demo"];

/// The `customers` array of a page, compact, as one JSON text.
pub(crate) fn page(seed: u64) -> String {
    let mut rng = Rng::with_seed(seed);
    let customers: Vec<String> = (0..PAGE).map(|_| customer(&mut rng)).collect();
    format!("[{}]", customers.join(","))
}

/// The customers of a page, as the program receives them.
pub(crate) fn split(page: &str) -> Vec<&RawValue> {
    serde_json::from_str(page).unwrap()
}

fn customer(rng: &mut Rng) -> String {
    match rng.u32(0..10) {
        0..4 => format!(
            "{{{},{},\"yotpo_loyalty\":{},\"yotpo_sms\":null,\"yotpo_email\":null,\"yotpo_subscriptions\":null}}",
            identity(rng),
            consents(rng),
            loyalty(rng)
        ),
        4..6 => format!(
            "{{{},{},\"yotpo_loyalty\":null,\"yotpo_sms\":null,\"yotpo_email\":null,\"yotpo_subscriptions\":null}}",
            identity(rng),
            consents(rng)
        ),
        6..8 => format!(
            "{{{},\"lists\":[{{\"id\":\"{}\",\"since\":\"{}\"}}],{}}}",
            identity(rng),
            number(rng, 6),
            time(rng),
            reviews(rng)
        ),
        _ => format!(
            "{{\"external_id\":null,\"email\":\"{}\",\"phone_number\":\"+1{}\",\"first_name\":\"{}\",\"last_name\":\"{}\"}}",
            email(rng),
            number(rng, 10),
            pick(rng, &NAMES),
            pick(rng, &NAMES)
        ),
    }
}

fn identity(rng: &mut Rng) -> String {
    let tags: Vec<&str> = (0..rng.usize(0..7)).map(|_| pick(rng, &TAGS)).collect();
    format!(
        concat!(
            "\"external_id\":\"{}\",\"email\":\"{}\",\"phone_number\":\"+1{}\",\"device_id\":null,\"first_name\":\"{}\",",
            "\"last_name\":\"{}\",\"gender\":{},\"account_created_at\":\"{}\",\"account_updated_at\":\"{}\",",
            "\"account_status\":\"enabled\",\"default_language\":null,\"default_currency\":\"USD\",\"tags\":\"{}\",",
            "\"address\":{{\"address1\":\"{} {} St\",\"address2\":\"\",\"city\":\"{}\",\"company\":null,\"state\":\"California\",",
            "\"zip\":\"{}\",\"province_code\":\"CA\",\"country_code\":\"US\",\"phone_number\":\"{}\"}}"
        ),
        number(rng, 10),
        email(rng),
        number(rng, 10),
        pick(rng, &NAMES),
        pick(rng, &NAMES),
        pick(rng, &["null", "\"F\"", "\"M\""]),
        time(rng),
        time(rng),
        tags.join(","),
        rng.u32(1..9999),
        pick(rng, &NAMES),
        pick(rng, &CITIES),
        number(rng, 5),
        number(rng, 10),
    )
}

fn consents(rng: &mut Rng) -> String {
    format!(
        concat!(
            "\"lists\":[],\"custom_properties\":{{\"favorite_store\":\"{}\",\"shoe_size\":{}.5,\"club member\":{}}},",
            "\"accepts_email_marketing\":{},\"accepts_sms_marketing\":null,\"channels\":{{\"sms\":{{\"marketing\":",
            "{{\"consent\":\"never_subscribed\",\"subscription_source\":null,\"timestamp\":null}}}},\"email\":{{\"marketing\":",
            "{{\"consent\":\"subscribed\",\"subscription_source\":null,\"timestamp\":\"{}\",\"suppressions\":null}}}}}},\"yotpo_ugc\":null"
        ),
        pick(rng, &CITIES),
        rng.u32(5..13),
        rng.bool(),
        rng.bool(),
        time(rng),
    )
}

fn loyalty(rng: &mut Rng) -> String {
    format!(
        concat!(
            "{{\"points_balance\":{},\"points_earned\":{},\"points_expire_at\":\"{}.000+00:00\",\"vip_tier_name\":\"{}\",",
            "\"vip_tier_entry_date\":\"{}Z\",\"vip_tier_expiration\":null,\"opt_in\":true,\"has_store_account\":{},",
            "\"credit_balance\":\"${}\",\"total_spend_cents\":{},\"total_purchases\":{},\"perks_redeemed\":{},",
            "\"last_seen_at\":\"{}.000Z\",\"third_party_id\":\"{}\",\"referral_link\":{{\"code\":\"{}\",\"customer_id\":{},",
            "\"link\":\"rwrd.io/ref_{}\",\"expired\":false}}}}"
        ),
        rng.u32(0..9999),
        rng.u32(0..99999),
        time(rng),
        pick(rng, &["Flow", "Gold", "Silver", "Platine"]),
        time(rng),
        rng.bool(),
        rng.u32(0..50),
        rng.u32(0..999_999),
        rng.u32(0..40),
        rng.u32(0..9),
        time(rng),
        number(rng, 13),
        word(rng, 7).to_uppercase(),
        number(rng, 10),
        word(rng, 7).to_uppercase(),
    )
}

fn reviews(rng: &mut Rng) -> String {
    format!(
        concat!(
            "\"accepts_email_marketing\":true,\"accepts_sms_marketing\":{},\"yotpo_ugc\":{{\"total_reviews\":{},",
            "\"avg_product_rating\":{}.67,\"avg_site_rating\":5.0,\"total_avg_rating\":4.8,\"sentiment_avg_product\":0.{},",
            "\"top_topics\":null,\"last_star_rating\":{},\"last_review_date\":\"{}\",\"last_sentiment\":0.95}}"
        ),
        rng.bool(),
        rng.u32(1..30),
        rng.u32(1..5),
        rng.u32(10..99),
        rng.u32(1..6),
        time(rng),
    )
}

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    rng.choice(from).unwrap()
}

fn number(rng: &mut Rng, digits: usize) -> String {
    (0..digits).map(|place| rng.digit(10).max(if place == 0 { '1' } else { '0' })).collect()
}

fn word(rng: &mut Rng, letters: usize) -> String {
    (0..letters).map(|_| rng.lowercase()).collect()
}

fn email(rng: &mut Rng) -> String {
    let letters = rng.usize(5..14);
    format!("{}.{}@example.com", word(rng, letters), word(rng, 6))
}

fn time(rng: &mut Rng) -> String {
    format!(
        "20{}-{:02}-{:02}T{:02}:{:02}:{:02}",
        rng.u32(18..27),
        rng.u32(1..13),
        rng.u32(1..29),
        rng.u32(0..24),
        rng.u32(0..60),
        rng.u32(0..60)
    )
}
