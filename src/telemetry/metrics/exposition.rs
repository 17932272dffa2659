//! From samples to text, with the encoder of `prometheus-client`.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::MetricLabels;
use super::families::{Family, FamilyKind};
use super::samples::{Sample, Value};
use crate::http::LATENCY_BOUNDS;
use crate::renamed::{NameKind, RENAMED, Renamed};

/// The samples of one moment.
#[derive(Debug)]
struct Collected(Vec<(Family, Vec<Sample>)>);

/// The text of these samples. A metric that was renamed has them under its former name too.
pub(super) fn render(labels: &MetricLabels, samples: &[(Family, Vec<Sample>)]) -> String {
    render_with_former_names(labels, samples, RENAMED)
}

pub(super) fn render_with_former_names(
    labels: &MetricLabels,
    samples: &[(Family, Vec<Sample>)],
    renamed: &'static [Renamed],
) -> String {
    let former = NameKind::Metric.of(renamed).filter_map(|renamed| {
        let (family, samples) = samples.iter().find(|(family, _)| family.name == renamed.new)?;
        Some((
            Family { name: renamed.old, help: "Former name of a metric, see docs/upgrading.md", ..*family },
            samples.clone(),
        ))
    });
    let samples: Vec<_> = samples.iter().cloned().chain(former).collect();
    let labels = labels.known().map(|(name, value)| (Cow::Borrowed(name), Cow::Owned(value.to_owned())));
    let mut registry = Registry::with_labels(labels);
    registry.register_collector(Box::new(Collected(samples)));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (family, samples) in &self.0 {
            // The encoder appends the suffix of counters.
            let name = family.name.strip_suffix("_total").unwrap_or(family.name);
            let kind = match family.kind {
                FamilyKind::Counter => MetricType::Counter,
                FamilyKind::Gauge => MetricType::Gauge,
                FamilyKind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, family.help, None, kind)?;
            for sample in samples {
                let mut metric = metric.encode_family(&sample.labels)?;
                match (&sample.value, family.kind) {
                    (Value::Number(number), FamilyKind::Counter) => {
                        metric.encode_counter::<NoLabelSet, f64, f64>(number, None)?;
                    }
                    (Value::Number(number), _) => metric.encode_gauge(number)?,
                    (Value::Latencies(latencies), _) => {
                        let buckets: Vec<_> =
                            LATENCY_BOUNDS.into_iter().zip(latencies.counts.iter().copied()).collect();
                        let count = latencies.counts.iter().sum();
                        let sum = latencies.sum.as_secs_f64();
                        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}
