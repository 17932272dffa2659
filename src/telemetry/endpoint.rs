//! The HTTP server of `--metrics-listen`: `/metrics`, `/healthz` and `/readyz`.
//!
//! Owns a separate thread, so that it responds while the network thread is busy. It serves GET and HEAD, a few connections
//! at a time, and a client that is slow is disconnected. It has no secrets and no authentication.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE as CONTENT_TYPE_HEADER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};

use super::health::{Health, HealthWatch, PhaseLimits};
use super::metrics::{CONTENT_TYPE, RunMetrics};
use super::progress::Progress;
use crate::clock::Clock;

/// Connections that are served at a time; further ones wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a client may take to send a request, and how long it may be served.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the run is looked at.
const TICK: Duration = Duration::from_secs(1);

/// A server in a separate thread. It stops when this is dropped.
#[derive(Debug)]
pub struct MonitoringEndpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    metrics: Arc<RunMetrics>,
    progress: Arc<Progress>,
    clock: Clock,
    /// Whether customers are read from a store.
    reads_store: bool,
    limits: Mutex<PhaseLimits>,
    watch: Mutex<HealthWatch>,
}

impl MonitoringEndpoint {
    /// Starts to serve.
    ///
    /// # Errors
    /// When the address is taken or not of this machine, or there is no thread.
    pub fn start(
        address: SocketAddr,
        metrics: &Arc<RunMetrics>,
        progress: &Arc<Progress>,
        clock: &Clock,
        reads_store: bool,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared {
            metrics: Arc::clone(metrics),
            progress: Arc::clone(progress),
            clock: clock.clone(),
            reads_store,
            limits: Mutex::default(),
            watch: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Arc::clone(&shared);
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = watch(&serving) => {}
                    () = accept(listener, &serving) => {}
                }
            });
            // A client that does not read must not delay the end of the process.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("monitoring".to_owned()).spawn(work)?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long phases may last from now on.
    pub fn set_limits(&self, limits: PhaseLimits) {
        *lock(&self.shared.limits) = limits;
    }
}

impl Drop for MonitoringEndpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Nothing depends on a server that panicked.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the run, so that a probe learns how long it has stood.
async fn watch(shared: &Shared) {
    loop {
        lock(&shared.watch).observe(&shared.progress.snapshot(), TICK);
        shared.clock.sleep(TICK).await;
    }
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // An error only if it is closed, which it never is.
        let permit = Arc::clone(&connections).acquire_owned().await.ok();
        let Ok((stream, _)) = listener.accept().await else {
            // For example too many open files: wait for some to be closed.
            shared.clock.sleep(TICK).await;
            continue;
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            // A client that takes longer gets nothing more.
            let clock = shared.clock.clone();
            let _ = clock.deadline(CONNECTION_TIMEOUT, serve(stream, shared)).await;
            drop(permit);
        });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = shared.respond(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT).keep_alive(false);
    // What a client does wrong is its own problem.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.render());
                response.headers_mut().insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
                response
            }
            "/healthz" => {
                let health = self.health();
                text(available(health.moves()), health.to_string())
            }
            "/readyz" => {
                let health = self.health();
                text(available(health.is_ready()), health.readiness())
            }
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".to_owned()),
        }
    }

    fn health(&self) -> Health {
        let seen = self.progress.snapshot();
        let limits = *lock(&self.limits);
        lock(&self.watch).health(&seen, limits, self.clock.now(), self.reads_store)
    }
}

const fn available(is_well: bool) -> StatusCode {
    if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE_HEADER, plain);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::telemetry::metrics::MetricLabels;

    fn shared() -> Shared {
        let clock = Clock::virtual_at(Duration::from_secs(1_795_000_000));
        let progress = Arc::new(Progress::default());
        let metrics = RunMetrics::new(Arc::clone(&progress), clock.clone(), MetricLabels::default());
        Shared {
            metrics: Arc::new(metrics),
            progress,
            clock,
            reads_store: true,
            limits: Mutex::default(),
            watch: Mutex::default(),
        }
    }

    fn get(shared: &Shared, path: &str) -> (u16, String) {
        let response = shared.respond(&Method::GET, path);
        let status = response.status().as_u16();
        let runtime = Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn the_status_says_whether_the_run_moves_and_is_ready() {
        let shared = shared();
        let look = |passed| lock(&shared.watch).observe(&shared.progress.snapshot(), passed);
        look(TICK);
        let moving = "ok phase=starting phase_seconds=0 unchanged_seconds=0\n";
        assert_eq!(get(&shared, "/healthz"), (200, moving.to_owned()));
        assert_eq!(get(&shared, "/readyz"), (503, "not ready: the run has not started\n".to_owned()));
        look(Duration::from_secs(301));
        let stalled = "stalled phase=starting phase_seconds=0 unchanged_seconds=301 limit_seconds=300\n";
        assert_eq!(get(&shared, "/healthz"), (503, stalled.to_owned()));
        shared.progress.page_fetched(5, 3);
        look(TICK);
        assert_eq!(get(&shared, "/healthz"), (200, moving.to_owned()));
    }

    fn started(limits: Option<PhaseLimits>) -> (MonitoringEndpoint, Arc<Progress>) {
        let (clock, progress) = (Clock::machine(), Arc::new(Progress::default()));
        let metrics = RunMetrics::new(Arc::clone(&progress), clock.clone(), MetricLabels::default());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint =
            MonitoringEndpoint::start(address, &Arc::new(metrics), &progress, &clock, true).unwrap();
        if let Some(limits) = limits {
            endpoint.set_limits(limits);
        }
        (endpoint, progress)
    }

    #[test]
    fn a_run_may_stand_still_as_long_as_its_settings_allow() {
        let limits = PhaseLimits { standstill: Duration::from_secs(1_000), ..PhaseLimits::default() };
        for (limits, expected) in [(None, 503), (Some(limits), 200)] {
            let (endpoint, progress) = started(limits);
            let stand = |passed| lock(&endpoint.shared.watch).observe(&progress.snapshot(), passed);
            stand(TICK);
            stand(Duration::from_secs(900));
            assert_eq!(get(&endpoint.shared, "/healthz").0, expected);
        }
    }

    #[test]
    fn nothing_is_served_after_it_is_dropped() {
        let (endpoint, progress) = started(None);
        let (address, shared) = (endpoint.address(), Arc::downgrade(&endpoint.shared));
        assert!(std::net::TcpStream::connect(address).is_ok());
        drop(endpoint);
        let error = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!((shared.strong_count(), Arc::strong_count(&progress)), (0, 1), "the thread has ended");
    }
}
