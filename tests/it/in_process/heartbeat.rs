//! The heartbeat of a run, minute by minute on virtual time: in every phase, with the facts of docs/logs.md.

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Instrument as _, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry;
use yotpo_td::sandbox::{Fault, FaultKind, Operation, RetryDelay};
use yotpo_td::spans;
use yotpo_td::telemetry::{Heartbeat, Progress};

use super::harness::{Scenario, World};
use super::watchdog::on_virtual_time;

const HOUR: u64 = 3_600;

/// The fields of all heartbeats.
#[derive(Clone, Default)]
struct Beats(Arc<Mutex<Vec<Map<String, Value>>>>);

struct Fields<'a>(&'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl<S: Subscriber> Layer<S> for Beats {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "yotpo_td::telemetry::heartbeat" {
            let mut fields = Map::new();
            event.record(&mut Fields(&mut fields));
            self.0.lock().unwrap().push(fields);
        }
    }
}

/// The heartbeats of a run that succeeds.
async fn beats_of(world: &World) -> Vec<Map<String, Value>> {
    let beats = Beats::default();
    // With one subscriber alone, tracing keeps what another test's thread says of a callsite.
    let _second = tracing::Dispatch::new(registry());
    let guard = tracing::subscriber::set_default(registry().with(beats.clone()));
    let settings = world.settings();
    let (process, _stop) = world.process(&settings, &world.clock);
    let progress = Arc::new(Progress::default());
    let run = spans::run(&settings.load.target, settings.load.mode);
    let heartbeat = run.in_scope(|| Heartbeat::new(&progress, &world.clock));
    tokio::select! {
        report = process.run_with_progress(&progress).instrument(run) => {
            report.unwrap();
        }
        () = heartbeat.beat() => unreachable!("it beats until the run ends"),
    }
    drop(guard);
    std::mem::take(&mut *beats.0.lock().unwrap())
}

#[test]
fn a_load_job_of_six_hours_is_seen_each_minute() {
    on_virtual_time(async || {
        let mut scenario = Scenario::append().flag("perform-timeout", "7h").flag("poll-interval", "10s");
        scenario.sandbox.import_duration = Duration::from_secs(6 * HOUR);
        let world = World::start(scenario).await;
        let beats = beats_of(&world).await;
        world.assert_complete();
        assert!((360..=361).contains(&beats.len()), "{} beats", beats.len());
        for (minute, beat) in (1_u64..).zip(&beats) {
            assert_eq!(beat["message"], "progress");
            assert_eq!(
                (&beat["elapsed_seconds"], &beat["phase"]),
                (&(minute * 60).into(), &"loading".into())
            );
            assert_eq!((&beat["customers"], &beat["pages"]), (&100.into(), &10.into()), "{beat:?}");
            assert_eq!((&beat["parts"], &beat["parts_queued"]), (&10.into(), &0.into()), "{beat:?}");
            assert!(beat["job_id"].is_string() && !beat.contains_key("eta_seconds"), "{beat:?}");
            let phase = beat["phase_seconds"].as_u64().unwrap();
            assert!((minute * 60 - 5..=minute * 60).contains(&phase), "{beat:?}");
        }
        let jobs: Vec<_> = beats.iter().map(|beat| beat["load_job"].as_str().unwrap()).collect();
        let mut states = jobs.clone();
        states.dedup();
        assert_eq!(states, ["queued", "booting", "running"]);
        assert_eq!(jobs.iter().filter(|job| **job == "queued").count(), 90);
    });
}

#[test]
fn fetching_is_seen_with_its_rate_and_an_estimate_from_the_last_run() {
    on_virtual_time(async || {
        let mut scenario = Scenario::append().flag("requests-per-second", "0.5");
        scenario.page_size = 1;
        scenario.sandbox.requests_per_second = NonZeroU32::new(5);
        let world = World::start(scenario).await;
        let first = beats_of(&world).await;
        assert!(first.len() >= 3, "{first:?}");
        assert!(first.iter().all(|beat| !beat.contains_key("eta_seconds")), "no run before: {first:?}");
        let second = beats_of(&world).await;
        // The first minute is measured; from the second on there is an estimate.
        for (minute, beat) in (2_u64..).zip(&second[1..3]) {
            assert_eq!(
                (&beat["phase"], &beat["elapsed_seconds"]),
                (&"fetching".into(), &(minute * 60).into())
            );
            assert_eq!((&beat["requests_per_second"], &beat["limit_per_second"]), (&0.5.into(), &0.5.into()));
            let customers = beat["customers"].as_u64().unwrap();
            assert!(customers.abs_diff(minute * 30) <= 2, "{beat:?}");
            let left = 2 * (100 - customers);
            assert!(beat["eta_seconds"].as_u64().unwrap().abs_diff(left) <= 5, "{beat:?}");
        }
    });
}

#[test]
fn a_delay_that_yotpo_requested_is_seen_while_it_lasts() {
    on_virtual_time(async || {
        let throttled = FaultKind::Status(429, Some(RetryDelay::RetryAfterSeconds(150)));
        let world =
            World::start(Scenario::append().faults(vec![Fault::on(Operation::Customers, 3, throttled)]))
                .await;
        let beats = beats_of(&world).await;
        assert_eq!(beats.len(), 2, "{beats:?}");
        for beat in beats {
            assert_eq!((&beat["phase"], &beat["pages"]), (&"fetching".into(), &2.into()), "{beat:?}");
            assert_eq!((&beat["throttled"], &beat["waits"]), (&1.into(), &1.into()), "{beat:?}");
            assert_eq!(beat["waited_seconds"], 150, "{beat:?}");
        }
    });
}
