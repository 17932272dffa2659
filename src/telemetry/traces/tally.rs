//! Counts spans on their way: how many are open, ended and exported.
//!
//! Owns the numbers behind the one line that says whether the trace is complete, and what the root span says about the run.
//! An attribute that was recorded twice keeps its last value, and events lose what is the same for all of them; nothing else of a
//! span is changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::trace::Event;
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

use crate::spans;

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: Mutex<u64>,
    closed: Condvar,
    ended: AtomicU64,
    exported: AtomicU64,
    root: OnceLock<RootSpan>,
}

/// The span of the run, as far as a line about its trace needs it.
#[derive(Debug)]
pub(super) struct RootSpan {
    pub(super) trace_id: String,
    /// Fields of the span that also lines of the run have.
    fields: Vec<(String, String)>,
}

impl Tally {
    /// Waits until no span is open, but not longer than `limit`.
    pub(super) fn wait_until_closed(&self, limit: Duration) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Poisoned or not, nothing follows from it.
        drop(self.closed.wait_timeout_while(open, limit, |open| *open > 0));
    }

    /// Spans that a collector accepted.
    pub(super) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Spans that ended and were not exported.
    pub(super) fn lost(&self) -> u64 {
        self.ended.load(Ordering::Relaxed).saturating_sub(self.exported())
    }

    /// The span of the run, once it ended.
    pub(super) fn root(&self) -> Option<&RootSpan> {
        self.root.get()
    }
}

impl RootSpan {
    /// A field of the span.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Counts spans before they are queued.
#[derive(Debug)]
pub(super) struct CountingProcessor {
    pub(super) inner: BatchSpanProcessor,
    pub(super) tally: Arc<Tally>,
}

impl SpanProcessor for CountingProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        *self.tally.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.inner.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        keep_last(&mut span.attributes);
        remove_origin(&mut span.events.events);
        if span.name == spans::RUN {
            let text = |value: &Value| value.as_str().into_owned();
            let fields = span.attributes.iter().map(|field| (field.key.to_string(), text(&field.value)));
            let trace_id = span.span_context.trace_id().to_string();
            let _ = self.tally.root.set(RootSpan { trace_id, fields: fields.collect() });
        }
        self.tally.ended.fetch_add(1, Ordering::Relaxed);
        self.inner.on_end(span);
        let mut open = self.tally.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open = open.saturating_sub(1);
        if *open == 0 {
            self.tally.closed.notify_all();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Removes attributes whose key occurs again: the SDK appends what is recorded.
fn keep_last(attributes: &mut Vec<KeyValue>) {
    let mut index = 0;
    while let Some((attribute, later)) = attributes.get(index..).and_then(<[KeyValue]>::split_first) {
        if later.iter().any(|other| other.key == attribute.key) {
            attributes.remove(index);
        } else {
            index += 1;
        }
    }
}

/// Removes the level and the module that the layer adds to the events of a span, which are the same for all of them. Those of a
/// warning say something.
fn remove_origin(events: &mut [Event]) {
    for Event { attributes, .. } in events {
        let is_target =
            |field: &KeyValue| field.key.as_str() == "target" && field.value.as_str() == spans::TARGET;
        if attributes.get(1).is_some_and(is_target) {
            attributes.drain(..2);
        }
    }
}

/// Counts spans that are exported.
#[derive(Debug)]
pub(super) struct CountingExporter<E> {
    pub(super) inner: E,
    pub(super) tally: Arc<Tally>,
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        self.inner.export(batch).await?;
        self.tally.exported.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{BatchConfigBuilder, SdkTracerProvider};

    use super::*;
    use crate::clock::Clock;

    /// A collector that accepts everything and counts how often it is flushed.
    #[derive(Debug, Default)]
    struct Collector {
        flushes: AtomicU64,
    }

    impl SpanExporter for Collector {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            Ok(())
        }

        fn force_flush(&self) -> OTelSdkResult {
            self.flushes.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    /// A pipeline that exports only when it is flushed.
    fn pipeline() -> (Arc<Tally>, SdkTracerProvider) {
        let tally = Arc::<Tally>::default();
        let exporter = CountingExporter { inner: Collector::default(), tally: Arc::clone(&tally) };
        let batches = BatchConfigBuilder::default().with_scheduled_delay(Duration::from_secs(3_600)).build();
        let processor = CountingProcessor {
            inner: BatchSpanProcessor::new(exporter, batches),
            tally: Arc::clone(&tally),
        };
        (tally, SdkTracerProvider::builder().with_span_processor(processor).build())
    }

    #[test]
    fn a_span_is_lost_until_a_flush_exports_it() {
        let (tally, provider) = pipeline();
        let tracer = provider.tracer("test");
        for _ in 0..3 {
            drop(tracer.start("span"));
        }
        assert_eq!((tally.exported(), tally.lost()), (0, 3));
        provider.force_flush().unwrap();
        assert_eq!((tally.exported(), tally.lost()), (3, 0));
    }

    #[test]
    fn the_end_of_the_last_open_span_is_waited_for_and_nothing_else() {
        const LIMIT: Duration = Duration::from_secs(20);
        let (tally, provider) = pipeline();
        let clock = Clock::machine();
        let began = clock.now();
        tally.wait_until_closed(LIMIT);
        let open = provider.tracer("test").start("span");
        let other = thread::spawn(move || {
            // So that it probably ends while it is waited for.
            (0..1_000).for_each(|_| thread::yield_now());
            drop(open);
        });
        tally.wait_until_closed(LIMIT);
        assert_eq!(tally.lost(), 1, "the span has ended");
        assert!(clock.now().saturating_sub(began) < LIMIT);
        other.join().unwrap();
    }

    #[test]
    fn the_root_is_the_span_of_the_run_with_the_last_value_of_each_field() {
        let (tally, provider) = pipeline();
        let tracer = provider.tracer("test");
        drop(tracer.start("token"));
        assert!(tally.root().is_none());
        let mut run = tracer.start(spans::RUN);
        for id in ["first", "nightly"] {
            run.set_attribute(KeyValue::new("run_id", id));
        }
        run.set_attribute(KeyValue::new("table", "customers"));
        let trace_id = run.span_context().trace_id().to_string();
        drop(run);
        let root = tally.root().unwrap();
        assert_eq!(root.trace_id, trace_id);
        assert_eq!((root.field("run_id"), root.field("table")), (Some("nightly"), Some("customers")));
        assert_eq!(root.field("database"), None);
    }

    #[test]
    fn only_the_events_of_spans_lose_their_origin() {
        let origin = |key, target| {
            let attributes =
                vec![KeyValue::new("level", "INFO"), KeyValue::new(key, target), KeyValue::new("attempt", 2)];
            Event::new("event", std::time::UNIX_EPOCH, attributes, 0)
        };
        let mut events = [
            origin("target", spans::TARGET),
            origin("target", "yotpo_td::run::load"),
            origin("module", spans::TARGET),
        ];
        remove_origin(&mut events);
        assert_eq!(events.map(|event| event.attributes.len()), [1, 3, 3]);
    }

    #[test]
    fn a_flush_of_the_exporter_reaches_the_collector() {
        let exporter = CountingExporter { inner: Collector::default(), tally: Arc::default() };
        exporter.force_flush().unwrap();
        assert_eq!(exporter.inner.flushes.load(Ordering::Relaxed), 1);
    }
}
