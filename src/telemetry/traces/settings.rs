//! The variables of OpenTelemetry: whether traces are exported, and how.
//!
//! Owns which variables there are and what their values mean (docs/traces.md). A value that cannot be used is never an error: it
//! is ignored, or there are no traces, and the variable is reported by its name. The service name, resource attributes, headers
//! and the sampler are read by the OpenTelemetry SDK itself.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// Where a collector receives traces below its endpoint.
const TRACES_PATH: &str = "v1/traces";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_SCHEDULE_DELAY: Duration = Duration::from_secs(5);
const DEFAULT_EXPORT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_QUEUE_SIZE: usize = 768;
/// Fewer than the defaults of OpenTelemetry, 2,048 and 512: the queue is allocated at once, and a batch is in memory several times
/// while it is sent (docs/performance.md).
const DEFAULT_BATCH_SIZE: usize = 256;
/// The queue is allocated when it is created.
const MAX_QUEUE_SIZE: usize = 65_536;
/// Below this, the exporter's thread would do nothing but wake up.
const MIN_SCHEDULE_DELAY: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How to export traces.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::telemetry) struct TraceSettings {
    /// The address to which spans are sent.
    pub(super) endpoint: Url,
    /// Maximum duration of one request.
    pub(super) timeout: Duration,
    /// Maximum number of spans that wait to be exported.
    pub(super) queue_size: usize,
    /// Maximum number of spans in a request.
    pub(super) batch_size: usize,
    /// How often spans are exported.
    pub(super) schedule_delay: Duration,
    /// The name of the service, if a variable sets it.
    pub(super) service_name: Option<String>,
    /// The span around the run, of another program: `TRACEPARENT` and `TRACESTATE`.
    pub(super) parent: BTreeMap<&'static str, String>,
}

/// What the variables say.
#[derive(Default)]
pub struct TraceVariables {
    /// How to export traces; `None` if there are none.
    pub(in crate::telemetry) settings: Option<TraceSettings>,
    /// Variables that are not used, and why.
    pub(super) problems: Vec<(&'static str, &'static str)>,
}

impl TraceVariables {
    /// Reads the variables. `variable` returns `None` for an empty one.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut reader = Reader { variable, problems: Vec::new() };
        let settings = reader.settings();
        let problems = if settings.is_some() || reader.is_wanted() { reader.problems } else { Vec::new() };
        Self { settings, problems }
    }

    /// Logs which variables are not used, by their names: a value may be a secret.
    pub(in crate::telemetry) fn report(&self) {
        let consequence = if self.settings.is_some() { "it is ignored" } else { "there are no traces" };
        for (variable, reason) in &self.problems {
            tracing::warn!(variable, reason, "a variable of OpenTelemetry is not used: {consequence}");
        }
    }
}

struct Reader<V> {
    variable: V,
    problems: Vec<(&'static str, &'static str)>,
}

impl<V: Fn(&str) -> Option<String>> Reader<V> {
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The first of these variables that is set.
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        names.into_iter().find_map(|name| Some((name, self.get(name)?)))
    }

    /// Whether an endpoint is set, and traces are not turned off.
    fn is_wanted(&self) -> bool {
        let is = |name, value: &str| self.get(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
        self.first([TRACES_ENDPOINT, ENDPOINT]).is_some()
            && !is("OTEL_SDK_DISABLED", "true")
            && !is("OTEL_TRACES_EXPORTER", "none")
    }

    fn settings(&mut self) -> Option<TraceSettings> {
        if !self.is_wanted() {
            return None;
        }
        let endpoint = self.endpoint()?;
        if let Some(exporter) = self.get("OTEL_TRACES_EXPORTER")
            && !exporter.split(',').any(|name| name.trim() == "otlp")
        {
            return self.without_traces("OTEL_TRACES_EXPORTER", "only otlp and none are supported");
        }
        if let Some((name, protocol)) =
            self.first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
            && protocol != "http/protobuf"
        {
            return self.without_traces(name, "only http/protobuf is supported");
        }
        self.check_others();
        let timeout =
            self.millis(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"], DEFAULT_TIMEOUT);
        let export = "OTEL_BSP_EXPORT_TIMEOUT";
        let timeout = timeout.min(self.millis([export, export], DEFAULT_EXPORT_TIMEOUT));
        let schedule = "OTEL_BSP_SCHEDULE_DELAY";
        let schedule_delay =
            self.millis([schedule, schedule], DEFAULT_SCHEDULE_DELAY).max(MIN_SCHEDULE_DELAY);
        let queue_size = self.count("OTEL_BSP_MAX_QUEUE_SIZE", DEFAULT_QUEUE_SIZE).min(MAX_QUEUE_SIZE);
        let batch_size = self.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", DEFAULT_BATCH_SIZE).min(queue_size);
        let parent = [("traceparent", "TRACEPARENT"), ("tracestate", "TRACESTATE")];
        let parent = parent.into_iter().filter_map(|(key, name)| Some((key, self.get(name)?))).collect();
        let service_name = self.get("OTEL_SERVICE_NAME");
        Some(TraceSettings {
            endpoint,
            timeout,
            queue_size,
            batch_size,
            schedule_delay,
            service_name,
            parent,
        })
    }

    fn endpoint(&mut self) -> Option<Url> {
        let (name, text) = self.first([TRACES_ENDPOINT, ENDPOINT])?;
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(mut url) = url.filter(Url::has_host) else {
            return self.without_traces(name, "not an http or https address");
        };
        // The address for traces alone is used as it is.
        if name == ENDPOINT
            && let Ok(mut segments) = url.path_segments_mut()
        {
            segments.pop_if_empty().extend(TRACES_PATH.split('/'));
        }
        Some(url)
    }

    /// Variables that the SDK reads, where it would ignore a value silently.
    fn check_others(&mut self) {
        let compression = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
        if let Some((name, value)) = self.first(compression)
            && !["gzip", "none"].iter().any(|known| value.eq_ignore_ascii_case(known))
        {
            self.ignored(name, "only gzip and none are supported");
        }
        let samplers = [
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ];
        if let Some(sampler) = self.get("OTEL_TRACES_SAMPLER") {
            if !samplers.contains(&sampler.as_str()) {
                self.ignored("OTEL_TRACES_SAMPLER", "unknown sampler");
            }
            let ratio = self.get("OTEL_TRACES_SAMPLER_ARG").and_then(|ratio| ratio.parse::<f64>().ok());
            if sampler.ends_with("traceidratio") && !ratio.is_some_and(|ratio| (0.0..=1.0).contains(&ratio)) {
                self.ignored("OTEL_TRACES_SAMPLER_ARG", "not a number from 0 to 1");
            }
        }
        for name in ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"] {
            if self.get(name).is_some() {
                self.ignored(name, "not supported; use SSL_CERT_FILE");
            }
        }
    }

    fn millis(&mut self, names: [&'static str; 2], default: Duration) -> Duration {
        let Some((name, text)) = self.first(names) else { return default };
        match text.parse() {
            Ok(millis @ 1..) => Duration::from_millis(millis).min(MAX_TIMEOUT),
            Ok(0) | Err(_) => {
                self.ignored(name, "not a number of milliseconds from 1");
                default
            }
        }
    }

    fn count(&mut self, name: &'static str, default: usize) -> usize {
        match self.get(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(count @ 1..)) => count,
            Some(Ok(0) | Err(_)) => {
                self.ignored(name, "not a number from 1");
                default
            }
        }
    }

    fn ignored(&mut self, name: &'static str, reason: &'static str) {
        self.problems.push((name, reason));
    }

    fn without_traces<T>(&mut self, name: &'static str, reason: &'static str) -> Option<T> {
        self.ignored(name, reason);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> TraceVariables {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        TraceVariables::read(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    const BASE: (&str, &str) = (ENDPOINT, "http://collector:4318");

    #[test]
    fn there_are_no_traces_unless_an_endpoint_is_set() {
        for variables in [
            &[][..],
            &[(ENDPOINT, "")],
            &[("OTEL_SERVICE_NAME", "a"), ("OTEL_TRACES_EXPORTER", "zipkin")],
            &[BASE, ("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            &[BASE, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            let found = read(variables);
            assert!(found.settings.is_none() && found.problems.is_empty(), "{variables:?}");
        }
        assert!(
            read(&[BASE, ("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "otlp")])
                .settings
                .is_some()
        );
    }

    #[test]
    fn an_endpoint_for_traces_is_used_as_it_is() {
        for (variables, expected) in [
            (&[BASE][..], "http://collector:4318/v1/traces"),
            (&[(ENDPOINT, "https://host/base/?key=1")], "https://host/base/v1/traces?key=1"),
            (&[BASE, (TRACES_ENDPOINT, "http://other/in")], "http://other/in"),
            (&[BASE, (TRACES_ENDPOINT, " ")], "http://collector:4318/v1/traces"),
        ] {
            let settings = read(variables).settings.unwrap();
            assert_eq!(settings.endpoint.as_str(), expected);
        }
    }

    #[test]
    fn what_is_not_supported_is_reported_and_never_used() {
        for (variable, has_traces) in [
            ((ENDPOINT, "collector:4318"), false),
            ((ENDPOINT, "http://"), false),
            ((TRACES_ENDPOINT, "grpc://collector"), false),
            (("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), false),
            (("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"), false),
            (("OTEL_TRACES_EXPORTER", "zipkin"), false),
            (("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"), true),
            (("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"), true),
            (("OTEL_BSP_MAX_QUEUE_SIZE", "0"), true),
            (("OTEL_BSP_SCHEDULE_DELAY", "-1"), true),
            (("OTEL_TRACES_SAMPLER", "xray"), true),
            (("OTEL_EXPORTER_OTLP_CERTIFICATE", "a.pem"), true),
        ] {
            let found = read(&[BASE, variable].map(|(name, value)| (name, value)));
            let names: Vec<_> = found.problems.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [variable.0], "{variable:?}");
            assert_eq!(found.settings.is_some(), has_traces, "{variable:?}");
        }
    }

    #[test]
    fn a_sampler_is_accepted_with_a_share_it_needs() {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        const SHARE: &str = "OTEL_TRACES_SAMPLER_ARG";
        for (sampler, share, expected) in [
            ("always_off", "", None),
            ("parentbased_always_on", "x", None),
            ("traceidratio", "0.25", None),
            ("parentbased_traceidratio", "1", None),
            ("traceidratio", "", Some(SHARE)),
            ("parentbased_traceidratio", "1.5", Some(SHARE)),
            ("xray", "0.25", Some(SAMPLER)),
        ] {
            let problems = read(&[BASE, (SAMPLER, sampler), (SHARE, share)]).problems;
            let names: Vec<_> = problems.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, expected.as_slice(), "{sampler} {share}");
        }
    }

    #[test]
    fn no_value_makes_the_exporter_spin_or_use_up_memory() {
        let settings = read(&[
            BASE,
            ("OTEL_BSP_MAX_QUEUE_SIZE", "1000000000000"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000000000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "18446744073709551615"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "18446744073709551615"),
        ]);
        let settings = settings.settings.unwrap();
        assert_eq!((settings.queue_size, settings.batch_size), (MAX_QUEUE_SIZE, MAX_QUEUE_SIZE));
        assert_eq!((settings.schedule_delay, settings.timeout), (MIN_SCHEDULE_DELAY, MAX_TIMEOUT));
    }
}
