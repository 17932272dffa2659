//! The trace of a run: its spans, exported with OTLP over HTTP while the run lasts.
//!
//! Owns the pipeline of OpenTelemetry: a layer, a bounded queue, and a thread that exports. Invariants: a collector never delays
//! a run, except at its end by [`FLUSH_LIMIT`], and never changes how it ends; without an endpoint nothing of this exists. It
//! does not know what the spans mean.

mod settings;
mod tally;
mod trace_filter;
mod transport;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanBuilder, TraceContextExt as _, Tracer, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

pub(super) use self::settings::TraceSettings;
pub use self::settings::TraceVariables;
use self::tally::{CountingExporter, CountingProcessor, RootSpan, Tally};
use self::trace_filter::TraceFilter;
use self::transport::{LastFailure, Transport};
use crate::clock::Clock;

/// Maximum time that the end of a run waits for its spans to be exported.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How much of that may be spent on work that was cancelled and has not ended yet.
const CLOSE_LIMIT: Duration = Duration::from_millis(200);

const SERVICE: &str = env!("CARGO_PKG_NAME");

/// The traces of this process. A static, because a process has only one subscriber.
static TRACES: OnceLock<Traces> = OnceLock::new();

/// What exports the trace of this process.
struct Traces {
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
    last_failure: LastFailure,
}

/// Traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub(super) enum TracesError {
    /// The exporter cannot be created.
    #[error("the exporter could not be set up")]
    Exporter(#[from] ExporterBuildError),
    /// The machine denies a thread.
    #[error("the machine denies a thread")]
    Thread(#[from] std::io::Error),
}

/// Starts the thread that exports, and creates the layer that passes spans to it.
pub(super) fn start<S>(settings: &TraceSettings) -> Result<impl Layer<S> + use<S>, TracesError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // The SDK panics if it gets no thread.
    thread::Builder::new().spawn(|| {})?.join().unwrap_or_default();
    let (tally, last_failure) = (Arc::<Tally>::default(), LastFailure::default());
    let transport = Transport::new(&settings.endpoint, settings.timeout, &last_failure);
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.endpoint.as_str())
        .with_timeout(settings.timeout)
        .with_http_client(transport)
        .build()?;
    let exporter = CountingExporter { inner: exporter, tally: Arc::clone(&tally) };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(settings.queue_size)
        .with_max_export_batch_size(settings.batch_size)
        .with_scheduled_delay(settings.schedule_delay)
        .build();
    let processor =
        CountingProcessor { inner: BatchSpanProcessor::new(exporter, batches), tally: Arc::clone(&tally) };
    let provider =
        SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource(settings)).build();
    let tracer = RunTracer { inner: provider.tracer(SERVICE), parent: parent(settings) };
    let traces = TRACES.get_or_init(|| Traces { provider, tally, last_failure });
    debug_assert!(traces.tally.root().is_none(), "a process has one trace");
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Nothing here asks OpenTelemetry for the current span.
        .with_context_activation(false)
        .with_error_events_to_status(false)
        .with_error_events_to_exceptions(false);
    Ok(layer.with_filter(TraceFilter))
}

/// Exports what is left, and says if a part of the trace is lost. Takes at most [`FLUSH_LIMIT`].
pub fn finish() {
    let Some(Traces { provider, tally, last_failure }) = TRACES.get() else { return };
    let clock = Clock::machine();
    tally.wait_until_closed(CLOSE_LIMIT);
    // A failure is visible in what is lost.
    let _ = provider.shutdown_with_timeout(FLUSH_LIMIT.saturating_sub(clock.now()));
    if tally.lost() == 0 {
        return;
    }
    let root = tally.root();
    let field = |name| root.and_then(|root: &RootSpan| root.field(name));
    let cause = last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tracing::warn!(
        exported = tally.exported(),
        lost = tally.lost(),
        cause = cause.as_deref().unwrap_or("the collector was too slow"),
        run_id = field("run_id"),
        store_id = field("store_id"),
        database = field("database"),
        table = field("table"),
        trace_id = root.map(|root| root.trace_id.as_str()),
        "the trace is incomplete; the run is not affected"
    );
}

/// The trace of the run of this process, if it is exported and the run has ended.
pub fn trace_id() -> Option<&'static str> {
    Some(TRACES.get()?.tally.root()?.trace_id.as_str())
}

/// What produces the spans. The variables of OpenTelemetry count more than what this program says about itself.
fn resource(settings: &TraceSettings) -> Resource {
    let builder = Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match &settings.service_name {
        Some(name) => builder.with_service_name(name.clone()).build(),
        None => builder.build(),
    }
}

/// The span of another program that contains the run; an empty context if there is none.
fn parent(settings: &TraceSettings) -> Context {
    let parent: HashMap<String, String> =
        settings.parent.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    TraceContextPropagator::new().extract_with_context(&Context::new(), &parent)
}

/// Whether a parent of the run is given, but is not valid.
pub(super) fn ignores_parent(settings: &TraceSettings) -> bool {
    settings.parent.contains_key("traceparent") && !parent(settings).has_active_span()
}

/// A tracer that puts spans without a parent into a span of another program.
struct RunTracer {
    inner: SdkTracer,
    parent: Context,
}

impl Tracer for RunTracer {
    type Span = <SdkTracer as Tracer>::Span;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> Self::Span {
        let is_root = !parent.has_active_span();
        self.inner.build_with_context(builder, if is_root { &self.parent } else { parent })
    }
}
