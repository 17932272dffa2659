//! A run observed from outside: by layers of the subscriber, and by threads that read its progress.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use yotpo_td::identity::Mode;
use yotpo_td::run::Services;
use yotpo_td::spans;
use yotpo_td::telemetry::{Phase, Progress, ProgressSnapshot, ServiceUse};

use super::harness::{Scenario, World};
use super::watchdog::on_virtual_time;

/// The paths of all spans that an exporter would see, each with the field that identifies it.
#[derive(Clone, Default)]
struct SpanPaths(Arc<Mutex<Vec<String>>>);

struct Path(String);

/// The field that distinguishes a span from others with the same name.
#[derive(Default)]
struct Label(String);

impl Visit for Label {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if matches!(field.name(), "phase" | "page" | "part") {
            self.0 = format!(" {}", format!("{value:?}").trim_matches('"'));
        }
    }
}

impl<S: tracing::Subscriber + for<'span> LookupSpan<'span>> Layer<S> for SpanPaths {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let metadata = attributes.metadata();
        if metadata.target() != spans::TARGET || metadata.name() == spans::ATTEMPT {
            return;
        }
        let mut label = Label::default();
        attributes.record(&mut label);
        let around =
            span.parent().and_then(|parent| parent.extensions().get::<Path>().map(|path| path.0.clone()));
        let around = around.map_or_else(String::new, |around| format!("{around} > "));
        let path = format!("{around}{}{}", metadata.name(), label.0);
        self.0.lock().unwrap().push(path.clone());
        span.extensions_mut().insert(Path(path));
    }
}

/// The spans of a run with five pages of ten customers, and one part per page.
fn spans_of(mode: Mode) -> Vec<String> {
    let paths = SpanPaths::default();
    let seen = paths.clone();
    on_virtual_time(async move || {
        let _guard = tracing::subscriber::set_default(Registry::default().with(paths.clone()));
        let mut scenario = Scenario::new(mode);
        scenario.sandbox.customers = 50;
        let world = World::start(scenario).await;
        let settings = world.settings();
        let (process, _stop) = world.process(&settings, &world.clock);
        let run = spans::run(&settings.load.target, mode);
        tracing::Instrument::instrument(process.run(), run).await.unwrap();
        world.assert_complete();
    });
    Arc::into_inner(seen.0).unwrap().into_inner().unwrap()
}

#[test]
fn the_spans_of_a_run_nest_as_documented() {
    // tracing decides once per process which spans are enabled, while other tests register theirs.
    let name = concat!(module_path!(), "::spans_in_a_process_of_their_own");
    let name = name.split_once("::").unwrap().1;
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let end = alone.args(["--exact", name, "--ignored"]).output().unwrap();
    let output = String::from_utf8_lossy(&end.stdout);
    assert!(end.status.success() && output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "run by the_spans_of_a_run_nest_as_documented"]
fn spans_in_a_process_of_their_own() {
    for (mode, publishing) in [(Mode::Append, None), (Mode::Replace, Some("publishing"))] {
        let spans = spans_of(mode);
        let phases: Vec<_> = spans.iter().filter_map(|path| path.strip_prefix("run > phase ")).collect();
        let phases: Vec<_> = phases.into_iter().filter(|path| !path.contains('>')).collect();
        let before = ["starting", "fetching", "uploading", "loading", "committing"];
        let expected: Vec<_> = before.into_iter().chain(publishing).chain(["cleaning_up"]).collect();
        assert_eq!(phases, expected, "{mode}");
        let rest: BTreeSet<_> = spans.iter().filter(|path| !path.starts_with("run > phase ")).collect();
        assert_eq!(rest, BTreeSet::from([&"run".to_owned()]), "{mode}");
        // A page belongs to the phase, prefetched or not; the last part belongs to the next phase.
        for page in 1..=5 {
            let path = format!("run > phase fetching > page {page}");
            assert_eq!(spans.iter().filter(|span| **span == path).count(), 1, "{path} in {spans:#?}");
        }
        let parts: Vec<_> = spans.iter().filter(|path| path.contains("part ")).collect();
        let expected: Vec<_> = (0..5)
            .flat_map(|part| {
                let phase = if part == 4 { "uploading" } else { "fetching" };
                let path = format!("run > phase {phase} > part {part}");
                [path.clone(), format!("{path} > upload")]
            })
            .collect();
        let sorted: BTreeSet<_> = parts.iter().map(|path| (*path).clone()).collect();
        assert_eq!((parts.len(), sorted), (10, expected.into_iter().collect()), "{mode}");
    }
}

/// Reads everything in another thread, while this one does nothing else.
fn read_from_another_thread(progress: &Arc<Progress>, services: &Services) -> (ProgressSnapshot, ServiceUse) {
    let (sender, receiver) = mpsc::channel();
    let (progress, services) = (Arc::clone(progress), services.clone());
    let reader = std::thread::spawn(move || sender.send((progress.snapshot(), services.usage())).is_ok());
    let read =
        receiver.recv_timeout(Duration::from_secs(60)).expect("the reader waits for the network thread");
    assert!(reader.join().unwrap());
    read
}

#[test]
fn what_a_run_does_is_read_while_the_network_thread_is_busy() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let (process, _stop) = world.process(&world.settings(), &world.clock);
        let (progress, services) = (Arc::new(Progress::default()), process.services());
        let before = read_from_another_thread(&progress, &services);
        assert_eq!(before.0, ProgressSnapshot::default());
        assert_eq!((before.1.yotpo.requests, before.1.treasure_data.requests), (0, 0));
        let looking = async {
            while progress.snapshot().parts < 2 {
                tokio::task::yield_now().await;
            }
            read_from_another_thread(&progress, &services)
        };
        let (result, (while_fetching, usage)) = tokio::join!(process.run_with_progress(&progress), looking);
        let report = result.unwrap();
        assert_eq!(while_fetching.phase, Phase::Fetching);
        assert!(while_fetching.phase_since <= world.clock.now(), "{while_fetching:?}");
        assert!((3..=10).contains(&while_fetching.pages), "{while_fetching:?}");
        assert!(while_fetching.parts_queued <= 2, "{while_fetching:?}");
        assert!(usage.yotpo.requests > while_fetching.pages, "a token, and the pages: {usage:?}");
        assert!(usage.rate.requests_per_second > 0.0, "{usage:?}");
        let (after, usage) = read_from_another_thread(&progress, &services);
        assert_eq!((after, after.phase), (report.progress, Phase::CleaningUp));
        assert_eq!(
            (usage.yotpo, usage.rate, usage.treasure_data),
            (report.yotpo, report.rate, report.treasure_data)
        );
        assert_eq!((after.parts, after.parts_queued), (10, 0));
    });
}
