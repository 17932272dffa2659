//! Checks of the Yotpo store: token, first and second page.
//!
//! Owns what is judged on them. The requests are those of a run, through the same client and rate limiter; nothing is kept.

use serde_json::{Value, json};

use super::clocks::ServerClock;
use super::finding::{CheckId, Finding, describe, skip};
use super::reach::{Interruption, Way};
use super::size::size;
use crate::config::Settings;
use crate::telemetry::words;
use crate::yotpo::{
    CursorForm, CursorQuery, EndedBy, Inspected, LoyaltyCheck, LoyaltyCounts, LoyaltyVerdict, MemberCount,
    PageFacts, YotpoClient, YotpoError,
};

const PAGE_QUESTION: &str = "Does GET /core/v3/stores/{store_id}/customers?expand=loyalty list customers?";
const FORM_QUESTION: &str = "Is pagination.next_page_info percent-encoded?";
const QUERY_QUESTION: &str = "Which parameters may be sent with page_info?";
const MEMORY_QUESTION: &str = "Do pages requested with page_info contain loyalty data?";
const LAST_PAGE_QUESTION: &str = "How is the last page marked?";
const LIMIT_QUESTION: &str = "Which headers of a successful response report the rate limit?";
const REQUEST_ID_QUESTION: &str = "Which response header identifies a request?";

/// The checks that need an access token.
const OF_PAGES: [CheckId; 4] =
    [CheckId::YotpoPage, CheckId::YotpoLoyalty, CheckId::YotpoCursor, CheckId::YotpoRateLimit];

/// What was found at Yotpo.
pub(super) struct StoreFindings {
    pub(super) findings: Vec<Finding>,
    /// Yotpo's clock.
    pub(super) clock: ServerClock,
}

/// Checks the store.
pub(super) async fn check_store(yotpo: &YotpoClient, settings: &Settings) -> StoreFindings {
    let way = Way {
        ids: [CheckId::YotpoDns, CheckId::YotpoConnection, CheckId::YotpoTls],
        endpoint: &settings.store.yotpo.endpoint,
        origin: &settings.store.endpoint_origin,
    };
    let mut findings = Vec::new();
    if let Err(error) = yotpo.obtain_token().await {
        match error.call().and_then(Interruption::of) {
            Some(broken) => {
                findings.extend(way.unreachable(error, broken));
                findings.push(Finding::skipped(CheckId::YotpoToken, "Yotpo cannot be reached"));
            }
            None => {
                findings.extend(way.reached());
                findings.push(Finding::failed(CheckId::YotpoToken, error));
            }
        }
        findings.extend(skip(&OF_PAGES, "there is no access token"));
        return StoreFindings { findings, clock: ServerClock::Unknown };
    }
    findings.extend(way.reached());
    findings.push(Finding::passed(CheckId::YotpoToken, "Yotpo issued an access token"));
    let page_size = settings.load.transfer.page_size;
    let first = match yotpo.inspect_first_page(page_size).await {
        Ok(first) => first,
        Err(error) => {
            let answer = format!("no: {}", describe(&error));
            findings.push(Finding::failed(CheckId::YotpoPage, error).settling(PAGE_QUESTION, answer));
            findings.extend(skip(&OF_PAGES[1..], "the first page could not be fetched"));
            return StoreFindings { findings, clock: ServerClock::Unknown };
        }
    };
    findings.push(page(&first.facts, settings));
    let second = yotpo.inspect_second_page(&first, page_size).await;
    let check = settings.load.transfer.loyalty_check;
    let second_page = second.as_ref().ok().and_then(Option::as_ref).map(|page| (&page.facts, page.query));
    findings.push(loyalty(&first.facts, second_page, check));
    findings.push(cursor(&first, second));
    findings.push(rate_limit(&first.facts, settings.store.request_rate.per_second()));
    StoreFindings { findings, clock: ServerClock::responded(first.facts.clock_offset) }
}

fn page(facts: &PageFacts, settings: &Settings) -> Finding {
    let PageFacts { customers, bytes, rejected, .. } = *facts;
    let seen = match bytes.checked_div(customers) {
        Some(each) => {
            let customers = words::count(customers, "customer", "customers");
            format!("the first page has {customers} in {} of JSON ({} each)", size(bytes), size(each))
        }
        None => "the store lists no customers".to_owned(),
    };
    let finding = if rejected > settings.load.transfer.max_error_records {
        let seen = format!("{seen}; {} cannot become a row", words::count(rejected, "customer", "customers"));
        let hint = "a run fails at such a customer: correct it in Yotpo, or add --max-error-records to leave such customers out";
        Finding::warning(CheckId::YotpoPage, seen, hint)
    } else if customers == 0 {
        Finding::warning(CheckId::YotpoPage, seen, "look at the store in Yotpo; a run would load nothing")
    } else {
        Finding::passed(CheckId::YotpoPage, seen)
    };
    let finding = finding
        .with_fact("customers", customers)
        .with_fact("json_bytes", bytes)
        .with_fact("unreadable_customers", rejected)
        .settling(
            PAGE_QUESTION,
            format!("yes: 200 with {}", words::count(customers, "customer", "customers")),
        );
    let names = facts.request_id_headers.join(", ");
    let answer = if names.is_empty() { "no header name contains request-id".to_owned() } else { names };
    finding.settling(REQUEST_ID_QUESTION, answer)
}

/// The second page comes with the parameters that Yotpo accepted for it.
fn loyalty(
    first: &PageFacts,
    second: Option<(&PageFacts, Option<CursorQuery>)>,
    check: LoyaltyCheck,
) -> Finding {
    let id = CheckId::YotpoLoyalty;
    let members = |facts: &PageFacts| MemberCount {
        customers: facts.customers,
        with_loyalty_data: facts.with_loyalty_data,
    };
    let mut counts = LoyaltyCounts::default();
    counts.add_page(members(first));
    counts.add_page(second.map(|(facts, _)| members(facts)).unwrap_or_default());
    let LoyaltyCounts { first_page, later_pages } = counts;
    if first_page.customers == 0 {
        return Finding::skipped(id, "there are no customers to look at");
    }
    let of = |count: MemberCount| format!("{} of {}", count.with_loyalty_data, count.customers);
    let seen = match later_pages.customers {
        0 => format!("{} customers on the first page have loyalty data", of(first_page)),
        _ => format!(
            "customers with loyalty data: {} on the first page, {} on the second",
            of(first_page),
            of(later_pages)
        ),
    };
    let query = second.and_then(|(_, query)| query);
    let finding = match counts.verdict() {
        LoyaltyVerdict::Lost if check == LoyaltyCheck::On => {
            let without_filters = query == Some(CursorQuery::Limit);
            Finding::failed(id, YotpoError::LoyaltyLost { page: 2, counts, without_filters })
        }
        LoyaltyVerdict::Lost => {
            let hint = "--loyalty-check is off: a run loads the customers without loyalty data";
            Finding::warning(id, seen, hint)
        }
        _ if counts.with_loyalty_data() == 0 => Finding::warning(
            id,
            format!("{seen} (yotpo_loyalty)"),
            "check in Yotpo that the loyalty program is active and that the app is allowed to read loyalty data; a run loads \
             the customers as they are",
        ),
        LoyaltyVerdict::Open if later_pages.customers > 0 => Finding::warning(
            id,
            format!("{seen}; the second page has too few customers to tell whether loyalty data was lost"),
            "a run fails when later pages show that it was lost; see --loyalty-check",
        ),
        _ => Finding::passed(id, seen),
    };
    let finding = finding
        .with_fact("first_page_with_loyalty_data", first_page.with_loyalty_data)
        .with_fact("second_page_customers", later_pages.customers)
        .with_fact("second_page_with_loyalty_data", later_pages.with_loyalty_data);
    if first_page.with_loyalty_data == 0 || later_pages.customers == 0 {
        return finding;
    }
    let sent = query.map_or("nothing", CursorQuery::name);
    let answer = match counts.verdict() {
        LoyaltyVerdict::Settled => "yes",
        LoyaltyVerdict::Lost => "no",
        LoyaltyVerdict::Open => return finding,
    };
    finding.settling(MEMORY_QUESTION, format!("{answer}: {} customers (sent: {sent})", of(later_pages)))
}

fn cursor(first: &Inspected, second: Result<Option<Inspected>, YotpoError>) -> Finding {
    let id = CheckId::YotpoCursor;
    let facts = &first.facts;
    let form = match facts.cursor_form {
        Some(CursorForm::PercentEncoded) => Some(("is percent-encoded", "yes")),
        Some(CursorForm::Plain) => Some(("is not encoded", "no")),
        Some(CursorForm::Undetermined) | None => None,
    };
    let finding = match second {
        Err(error) => Finding::failed(id, error),
        Ok(None) => return last_page(id, facts.ended_by),
        Ok(Some(second)) => {
            let cursor = form.map_or("looks the same encoded and plain", |(words, _)| words);
            let query = second.query.map_or("unknown", CursorQuery::name);
            let customers = words::count(second.facts.customers, "customer", "customers");
            let seen =
                format!("next_page_info {cursor}; the second page has {customers} (sent with it: {query})");
            let answer = match second.query {
                Some(CursorQuery::FiltersAndLimit) => {
                    "limit, include_custom_properties and expand were accepted"
                }
                Some(CursorQuery::Filters) => {
                    "limit was rejected; include_custom_properties and expand were accepted"
                }
                Some(CursorQuery::Limit) => {
                    "include_custom_properties and expand were rejected; limit was accepted"
                }
                None => "unknown",
            };
            Finding::passed(id, seen).with_fact("cursor_query", query).settling(QUERY_QUESTION, answer)
        }
    };
    match form {
        Some((_, answer)) => finding.settling(FORM_QUESTION, answer),
        None => finding,
    }
}

fn last_page(id: CheckId, ended_by: Option<EndedBy>) -> Finding {
    let name = ended_by.map_or("unknown", EndedBy::name);
    let finding = match ended_by {
        Some(EndedBy::LastPage) => Finding::passed(id, "the first page is the last one"),
        _ => Finding::warning(
            id,
            format!("the data ends with the first page, without an explicit last page ({name})"),
            "compare the number of customers with Yotpo's",
        ),
    };
    finding
        .with_fact("ended_by", name)
        .settling(LAST_PAGE_QUESTION, format!("the only page of this store: {name}"))
}

fn rate_limit(facts: &PageFacts, rate: f64) -> Finding {
    let id = CheckId::YotpoRateLimit;
    let list: Vec<String> = facts
        .limit_headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.as_deref().unwrap_or("(not a number)")))
        .collect();
    let value = |wanted: &str| {
        let header = facts.limit_headers.iter().find(|(name, _)| name == wanted)?;
        header.1.as_deref()?.split([',', ';']).next()?.trim().parse::<f64>().ok()
    };
    let seen = if list.is_empty() { "no header reports the rate limit".to_owned() } else { list.join(", ") };
    let answer = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let finding = match (value("ratelimit-remaining"), value("ratelimit-limit")) {
        (_, Some(limit)) if limit < rate => Finding::warning(
            id,
            format!("{seen}; a run sends up to {rate} requests per second"),
            format!("use --requests-per-second {limit} or less, unless the limit is not per second"),
        ),
        (None, _) => Finding::warning(
            id,
            seen,
            "a run then notices other clients of the store only when Yotpo rejects its requests (429); lower \
             --requests-per-second if there are any",
        ),
        _ => Finding::passed(id, seen),
    };
    let headers: Vec<Value> =
        facts.limit_headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    finding.with_fact("headers", headers).settling(LIMIT_QUESTION, answer)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn facts(customers: u64, with_loyalty_data: u64) -> PageFacts {
        PageFacts { customers, with_loyalty_data, ..PageFacts::default() }
    }

    fn headers(pairs: &[(&str, Option<&str>)]) -> PageFacts {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
        PageFacts { limit_headers: pairs.collect(), ..facts(100, 50) }
    }

    #[test]
    fn a_store_without_loyalty_data_is_a_warning_and_one_without_customers_is_not_judged() {
        let verdict = |facts| loyalty(&facts, None, LoyaltyCheck::On).verdict;
        assert_eq!(verdict(facts(100, 1)), Verdict::Passed);
        assert_eq!(verdict(facts(100, 0)), Verdict::Warning);
        assert_eq!(verdict(facts(0, 0)), Verdict::Skipped);
    }

    #[test]
    fn loyalty_data_that_the_second_page_lacks_was_lost_or_is_too_little_to_tell() {
        let found =
            |later: u64, query, check| loyalty(&facts(100, 50), Some((&facts(later, 0), query)), check);
        let lost = found(100, Some(CursorQuery::Limit), LoyaltyCheck::On);
        assert_eq!(lost.verdict, Verdict::Failed);
        assert!(lost.seen.contains("Yotpo rejects expand=loyalty"), "{}", lost.seen);
        assert!(lost.settled[0].answer.starts_with("no: 0 of 100 customers"), "{:?}", lost.settled);
        let ignored = found(100, Some(CursorQuery::FiltersAndLimit), LoyaltyCheck::On);
        assert_eq!(ignored.verdict, Verdict::Failed);
        assert!(!ignored.seen.contains("Yotpo rejects expand=loyalty"), "{}", ignored.seen);
        assert_eq!(found(100, None, LoyaltyCheck::Off).verdict, Verdict::Warning);
        let open = found(1, Some(CursorQuery::Limit), LoyaltyCheck::On);
        assert!(
            open.seen.ends_with("too few customers to tell whether loyalty data was lost"),
            "{}",
            open.seen
        );
        for (first, later) in
            [(facts(100, 0), facts(100, 0)), (facts(100, 50), facts(0, 0)), (facts(100, 50), facts(1, 0))]
        {
            let finding = loyalty(&first, Some((&later, None)), LoyaltyCheck::On);
            assert_eq!(finding.settled, [], "{first:?} and {later:?} answer nothing");
        }
    }

    #[test]
    fn a_rate_above_the_reported_limit_and_missing_headers_are_warnings() {
        let remaining = ("ratelimit-remaining", Some("4"));
        let verdict = |pairs: &[(&str, Option<&str>)]| rate_limit(&headers(pairs), 4.5).verdict;
        assert_eq!(verdict(&[remaining]), Verdict::Passed);
        assert_eq!(verdict(&[remaining, ("ratelimit-limit", Some("5, 5;w=1"))]), Verdict::Passed);
        assert_eq!(verdict(&[remaining, ("ratelimit-limit", Some("4.5"))]), Verdict::Passed);
        assert_eq!(verdict(&[remaining, ("ratelimit-limit", Some("4"))]), Verdict::Warning);
        assert_eq!(verdict(&[("ratelimit-limit", Some("5"))]), Verdict::Warning);
        assert_eq!(verdict(&[("ratelimit-remaining", None)]), Verdict::Warning);
        assert_eq!(verdict(&[]), Verdict::Warning);
    }

    #[test]
    fn an_explicit_last_page_passes_and_a_doubtful_end_is_a_warning() {
        assert_eq!(last_page(CheckId::YotpoCursor, Some(EndedBy::LastPage)).verdict, Verdict::Passed);
        for doubtful in [Some(EndedBy::MissingPagination), Some(EndedBy::NoResults), None] {
            assert_eq!(last_page(CheckId::YotpoCursor, doubtful).verdict, Verdict::Warning);
        }
    }
}
