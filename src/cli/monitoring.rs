//! What a command reports to monitoring systems: the metrics file, the server for metrics and health, the Pushgateway.
//!
//! Owns when each is written. Monitoring never fails or holds up a run: what does not work is logged as a warning.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use url::Url;

use super::failure::{Failure, with_causes};
use crate::clock::Clock;
use crate::config::OutputSettings;
use crate::exit_status::ExitStatus;
use crate::http::ClientSettings;
use crate::renamed::{NameKind, RENAMED};
use crate::retry::RetryPolicy;
use crate::telemetry::{
    MetricLabels, MetricsFile, MonitoringEndpoint, PhaseLimits, Progress, RunEnd, RunMetrics, push,
};

/// How often the file is replaced. `node_exporter` is usually scraped this often.
const WRITE_INTERVAL: Duration = Duration::from_secs(15);

/// Monitoring of one command; nothing before [`Self::start`], and nothing without a setting.
#[derive(Debug, Default)]
pub(super) struct Monitoring {
    active: OnceLock<Active>,
    /// Rows of a success, as far as they are known.
    rows: OnceLock<Option<u64>>,
    /// Until when the run can be resumed.
    resumable_until: OnceLock<u64>,
}

#[derive(Debug)]
struct Active {
    clock: Clock,
    metrics: Arc<RunMetrics>,
    file: Option<MetricsFile>,
    writer: Mutex<Option<Writer>>,
    endpoint: Mutex<Option<MonitoringEndpoint>>,
    push: Option<Url>,
}

/// Replaces the file at an interval. It stops when this is dropped.
#[derive(Debug)]
struct Writer {
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Monitoring {
    /// Starts what the settings name. Does nothing if it was started.
    pub(super) fn start(
        &self,
        output: &OutputSettings,
        progress: &Arc<Progress>,
        clock: &Clock,
        reads_store: bool,
        into_table: bool,
    ) {
        let OutputSettings { metrics_file, metrics_listen, metrics_push, .. } = output;
        if metrics_file.is_none() && metrics_listen.is_none() && metrics_push.is_none() {
            return;
        }
        self.active.get_or_init(|| {
            NameKind::Metric.of(RENAMED).for_each(|former| former.note().warn());
            let text = |name: Option<String>| if into_table { name } else { Some(String::new()) };
            let labels = MetricLabels {
                store_id: output.store.as_ref().map(ToString::to_string),
                database: text(output.database.as_ref().map(ToString::to_string)),
                table: text(output.table.as_ref().map(ToString::to_string)),
            };
            let metrics = Arc::new(RunMetrics::new(Arc::clone(progress), clock.clone(), labels));
            let file = metrics_file.clone().map(MetricsFile::new).filter(|file| continues(file, &metrics));
            let writer = file.as_ref().and_then(|file| Writer::start(file.clone(), &metrics));
            let endpoint = metrics_listen.and_then(|address| {
                let started = MonitoringEndpoint::start(address, &metrics, progress, clock, reads_store);
                match &started {
                    Ok(endpoint) => {
                        tracing::info!(address = %endpoint.address(), "serving metrics and health");
                    }
                    Err(error) => tracing::warn!(
                        %address, %error,
                        "metrics and health are not served (--metrics-listen); the run is not affected"
                    ),
                }
                started.ok()
            });
            Active {
                clock: clock.clone(),
                metrics,
                file,
                writer: Mutex::new(writer),
                endpoint: Mutex::new(endpoint),
                push: metrics_push.clone(),
            }
        });
    }

    /// Notes how long phases may last, for `/healthz`: as the settings of a run say.
    pub(super) fn set_limits(
        &self,
        connections: &ClientSettings,
        retry: &RetryPolicy,
        load_job: Duration,
        waiting: Duration,
    ) {
        let Some(active) = self.active.get() else { return };
        let limits = PhaseLimits::new(connections.request_timeout, retry.timeout, load_job, waiting);
        if let Some(endpoint) = &*active.endpoint.lock().unwrap_or_else(PoisonError::into_inner) {
            endpoint.set_limits(limits);
        }
    }

    /// Notes the rows of a success.
    pub(super) fn succeeded(&self, rows: Option<u64>) {
        let _ = self.rows.set(rows);
    }

    /// Notes that the run can be resumed until this time, Unix seconds.
    pub(super) fn interrupted(&self, until: u64) {
        let _ = self.resumable_until.set(until);
    }

    /// Reports the end of the command: writes the file, pushes, and stops to serve.
    pub(super) fn finish(&self, result: &Result<(), Failure>) {
        let Some(active) = self.active.get() else { return };
        let failure = result.as_ref().err().map(|failure| &failure.diagnosis);
        active.metrics.ended(RunEnd {
            exit_code: failure.map_or(ExitStatus::Success, |diagnosis| diagnosis.status).code(),
            failure: failure.map(|diagnosis| diagnosis.code.name()),
            rows: self.rows.get().copied().flatten(),
            resumable_until: failure.and(self.resumable_until.get().copied()),
        });
        // No write of the thread may follow the last one.
        drop(active.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(file) = &active.file
            && let Err(error) = file.write(&active.metrics.render())
        {
            warn_of_file(file, &error);
        }
        if let Some(base) = &active.push {
            active.push(base);
        }
        drop(active.endpoint.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Active {
    fn push(&self, base: &Url) {
        let warn = |error: &dyn std::error::Error| {
            tracing::warn!(
                error = with_causes(error),
                "the metrics could not be pushed (--metrics-push); the run is not affected"
            );
        };
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return warn(&error),
        };
        let text = self.metrics.render();
        let pushed = runtime.block_on(push(base, &self.metrics.labels(), text, &self.clock));
        // A name that is still being resolved must not delay the end of the process.
        runtime.shutdown_background();
        if let Err(error) = pushed {
            warn(&error);
        }
    }
}

/// Whether the file may be replaced; then the metrics continue with what is in it.
fn continues(file: &MetricsFile, metrics: &RunMetrics) -> bool {
    match file.previous(&metrics.labels()) {
        Ok(previous) => {
            if let Some(previous) = previous {
                metrics.continue_from(&previous);
            }
            true
        }
        Err(error) => {
            warn_of_file(file, &error);
            false
        }
    }
}

fn warn_of_file(file: &MetricsFile, error: &dyn std::error::Error) {
    let path = file.path().display();
    tracing::warn!(%path, %error, "the metrics file is not written (--metrics-file); the run is not affected");
}

impl Writer {
    fn start(file: MetricsFile, metrics: &Arc<RunMetrics>) -> Option<Self> {
        let (stop, stopped) = channel();
        let metrics = Arc::clone(metrics);
        let work = move || {
            let mut is_reported = false;
            loop {
                let written = file.write(&metrics.render());
                if let Err(error) = &written
                    && !is_reported
                {
                    warn_of_file(&file, error);
                }
                is_reported = written.is_err();
                if stopped.recv_timeout(WRITE_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let started = thread::Builder::new().name("metrics".to_owned()).spawn(work);
        let started = started.inspect_err(|error| {
            tracing::warn!(%error, "the metrics file is only written at the end");
        });
        Some(Self { stop: Some(stop), thread: Some(started.ok()?) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Nothing depends on metrics that panicked.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;
    use crate::config::SummaryFormat;
    use crate::http::Reach;
    use crate::telemetry::Phase;

    fn output() -> OutputSettings {
        OutputSettings {
            summary: SummaryFormat::None,
            file: None,
            metrics_file: None,
            metrics_listen: None,
            metrics_push: None,
            report: None,
            store: None,
            database: None,
            table: None,
            mode: None,
            run_id: None,
        }
    }

    #[test]
    fn a_success_is_written_with_its_rows() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("yotpo.prom");
        let output = OutputSettings { metrics_file: Some(file.clone()), ..output() };
        let monitoring = Monitoring::default();
        monitoring.start(&output, &Arc::default(), &Clock::machine(), true, true);
        monitoring.succeeded(Some(42));
        monitoring.finish(&Ok(()));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("\nyotpo_td_last_success_rows 42.0\n"), "{text}");
    }

    #[test]
    fn the_limits_of_the_settings_decide_whether_a_run_stands_still() {
        let clock = Clock::virtual_at(Duration::from_secs(1_795_000_000));
        let progress = Arc::new(Progress::default());
        let output = OutputSettings { metrics_listen: Some(([127, 0, 0, 1], 0).into()), ..output() };
        let monitoring = Monitoring::default();
        monitoring.start(&output, &progress, &clock, true, true);
        let address = {
            let active = monitoring.active.get().unwrap();
            active.endpoint.lock().unwrap().as_ref().unwrap().address()
        };
        let health = || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            response.lines().next().unwrap().to_owned()
        };
        progress.enter(Phase::Waiting, clock.now());
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(health(), "HTTP/1.1 503 Service Unavailable");
        let connections = ClientSettings { request_timeout: Duration::ZERO, reach: Reach::Loopback };
        let retry = RetryPolicy { max_retries: 0, base_delay: Duration::ZERO, timeout: Duration::ZERO };
        // The time of this clock passes by itself.
        monitoring.set_limits(&connections, &retry, Duration::ZERO, Duration::MAX);
        assert_eq!(health(), "HTTP/1.1 200 OK");
    }

    #[test]
    fn nothing_is_written_after_the_writer_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = RunMetrics::new(Arc::default(), Clock::machine(), MetricLabels::default());
        let metrics = Arc::new(metrics);
        let file = MetricsFile::new(directory.path().join("yotpo.prom"));
        drop(Writer::start(file, &metrics).unwrap());
        assert_eq!(Arc::strong_count(&metrics), 1, "its thread has ended");
    }
}
