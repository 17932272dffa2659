//! The store's limit as the server sees it: requests as they arrive, and how much of the limit is used.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use yotpo_td::sandbox::{
    Fault, FaultKind, FaultPlan, Operation, RateHeaders, RetryDelay, SandboxSettings, Service,
};

use crate::in_process::harness::{Scenario, World};
use crate::in_process::watchdog::on_virtual_time;
use crate::program::binary::{Running, Surroundings};
use crate::tls_relay::{Authority, Delays, Exchange};

#[test]
fn a_single_client_uses_the_full_limit_with_any_headers() {
    for rate_headers in
        [RateHeaders::RollingSecond, RateHeaders::RollingSecondAndReset, RateHeaders::FixedSecond]
    {
        on_virtual_time(move || async move {
            let mut scenario = Scenario::append().flag("requests-per-second", "4.5");
            scenario.sandbox.customers = 900;
            scenario.sandbox.requests_per_second = NonZeroU32::new(5);
            scenario.sandbox.yotpo.rate_headers = rate_headers;
            scenario.sandbox.response_delay = Duration::from_millis(80);
            let world = World::start(scenario).await;
            let started = world.clock.now();
            let report = world.run().await.unwrap();
            let taken = world.clock.now().saturating_sub(started).as_secs_f64();
            world.assert_complete();
            let ideal = 89.0 / 4.5;
            assert!(taken <= 1.03 * ideal, "{taken} s instead of {ideal} s, {rate_headers:?}");
            assert_eq!((report.yotpo.throttled, report.rate.waits), (0, 0), "{rate_headers:?}");
            assert_eq!(world.control().max_requests_in_rolling_second(), 5);
        });
    }
}

/// What makes a client reconnect, and requests arrive late.
#[derive(Clone, Copy, Debug)]
enum Server {
    Kind,
    ClosesConnections,
    FailsNowAndThen,
}

/// Arrival times of the requests for 30 pages with a round trip of 80 ms, through TLS.
fn arrivals(rate: &str, server: Server) -> Vec<Exchange> {
    let mut settings = SandboxSettings { customers: 150, ..SandboxSettings::default() };
    if matches!(server, Server::ClosesConnections) {
        settings.yotpo.close_connection_every = NonZeroU64::new(7);
    }
    let surroundings = Surroundings::new(settings);
    if matches!(server, Server::FailsNowAndThen) {
        let kinds = [
            (3, FaultKind::Status(401, None)),
            (8, FaultKind::ResetBeforeAction),
            (14, FaultKind::Status(429, Some(RetryDelay::RateLimitReset(0)))),
            (19, FaultKind::Status(500, None)),
            (24, FaultKind::Status(503, None)),
            (28, FaultKind::ResetAfterAction),
        ];
        let faults = kinds.map(|(nth, kind)| Fault::on(Operation::Customers, nth, kind));
        surroundings.control().set_faults(FaultPlan { faults: faults.into() });
    }
    let authority = Authority::named("of the test");
    let delays = Delays { round_trip: Duration::from_millis(80), ..Delays::default() };
    let yotpo = surroundings.relay_over(Service::Yotpo, &authority, delays);
    let certificates = surroundings.directory().join("authority.pem");
    std::fs::write(&certificates, authority.pem()).unwrap();
    let mut command = surroundings.sync(&["--requests-per-second", rate]);
    command.env("YOTPO_TD_YOTPO_ENDPOINT", yotpo.endpoint()).env("SSL_CERT_FILE", certificates);
    Running::start(command).finish().assert_code(0);
    surroundings.assert_exact_and_clean();
    yotpo.exchanges()
}

#[test]
fn no_rolling_second_sees_a_sixth_request_arrive() {
    let cases = ["4.5", "5"].into_iter().flat_map(|rate| {
        [Server::Kind, Server::ClosesConnections, Server::FailsNowAndThen].map(|server| (rate, server))
    });
    std::thread::scope(|scope| {
        for (rate, server) in cases {
            scope.spawn(move || {
                let exchanges = arrivals(rate, server);
                assert!(exchanges.len() >= 31, "{rate}, {server:?}: {exchanges:?}");
                let times: Vec<_> = exchanges.iter().map(|exchange| exchange.requested_at).collect();
                let closest = times.windows(6).map(|six| six[5].saturating_sub(six[0])).min().unwrap();
                assert!(closest >= Duration::from_secs(1), "{rate}, {server:?}: six within {closest:?}");
                let connections = exchanges.last().unwrap().connection + 1;
                let expected = if matches!(server, Server::Kind) { 1..=1 } else { 2..=10 };
                assert!(expected.contains(&connections), "{rate}, {server:?}: {connections} connections");
            });
        }
    });
}
