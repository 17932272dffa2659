//! Accepts connections, serves requests, and injects connection faults.
//!
//! Owns the path of a request from the socket to the mock service and back, and applies faults to it. Each service has
//! its own listener. It does not interpret requests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::connection::Connection;
use super::control_http;
use super::fault::FaultKind;
use super::operation::{Operation, Service, route, segments};
use super::reply::{Call, CallBody, Reply, accepts_gzip};
use super::response::{ResponseBody, corrupt, injected_error, respond};
use super::shared::Shared;
use super::spool::{SpoolFile, SpoolWriter};
use super::treasure_data::InjectedFailure;
use crate::clock::{Arrival, FLIGHT_HEADER};
use crate::free_space::is_full;

/// Maximum size of a body other than a part.
const MAX_BODY_SIZE: usize = 1_024 * 1_024;
const MAX_PART_SIZE: u64 = 256 * 1_024 * 1_024;
/// Number of bytes of a part that are buffered before they are written.
const WRITE_SIZE: usize = 512 * 1_024;
/// Delay after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);

/// The connection is reset instead of a response.
#[derive(Debug, thiserror::Error)]
#[error("injected connection reset")]
struct ConnectionReset;

/// One service on its listener.
pub(super) struct Listener {
    shared: Arc<Shared>,
    service: Service,
    /// How many of the next connections are reset immediately.
    pending_resets: AtomicU32,
}

/// Handles the requests of one connection and can reset it.
struct ConnectionHandler {
    listener: Arc<Listener>,
    reset: Arc<AtomicBool>,
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>, service: Service) -> Arc<Self> {
        Arc::new(Self { shared, service, pending_resets: AtomicU32::new(0) })
    }

    /// Accepts connections until the sandbox stops.
    pub(super) async fn run(self: Arc<Self>, listener: TcpListener) {
        let stop = self.shared.stop.clone();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            // Out of file descriptors, or the client disconnected: both are temporary.
            let Ok((stream, _)) = accepted else {
                self.shared.clock.sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            };
            self.shared.log.count_connection(self.service);
            if self
                .pending_resets
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                drop(Connection::new(stream, Arc::new(AtomicBool::new(true))));
                continue;
            }
            let connection = Arc::clone(&self).serve(stream);
            let stop = stop.clone();
            self.shared.connections.spawn(async move {
                stop.run_until_cancelled(connection).await;
            });
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        // A failure only costs latency.
        drop(stream.set_nodelay(true));
        let reset = Arc::new(AtomicBool::new(false));
        let handler = Arc::new(ConnectionHandler { listener: self, reset: Arc::clone(&reset) });
        let respond = service_fn(move |request| {
            let handler = Arc::clone(&handler);
            async move {
                let mut response = handler.handle_request(request).await?;
                let shared = &handler.listener.shared;
                shared.date_header.add(shared.clock.unix_time(), response.headers_mut());
                Ok::<_, ConnectionReset>(response)
            }
        });
        let connection = Connection::new(stream, reset);
        // An error here means that the client disconnected or that a fault was injected, and is ignored. The sandbox
        // sets the date itself, because hyper would use the machine's. With half-close, a request is processed even if
        // its client disconnects after sending it.
        let mut builder = http1::Builder::new();
        builder.auto_date_header(false).half_close(true);
        drop(builder.serve_connection(TokioIo::new(connection), respond).await);
    }
}

impl ConnectionHandler {
    async fn handle_request(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, ConnectionReset> {
        let shared = &self.listener.shared;
        let service = self.listener.service;
        let segments = segments(request.uri().path());
        if service == Service::TreasureData && segments.first().is_some_and(|first| first == "sandbox") {
            let reply =
                control_http::handle(shared, request.method(), &segments, request.uri().query()).await;
            return Ok(respond(reply, false));
        }
        let flight = request.headers().get(FLIGHT_HEADER).and_then(|value| value.to_str().ok());
        let mut arrival = shared.clock.arrive(flight);
        let (operation, arguments) = route(service, request.method(), &segments);
        let (ordinal, operation_ordinal) = shared.log.count(service, operation);
        let fault = shared.faults.take(service, ordinal, operation, operation_ordinal);
        let rate_check = match service {
            Service::Yotpo => {
                shared.yotpo.check_rate(arguments.first().map(String::as_str), &shared.clock).map(Some)
            }
            Service::TreasureData => Ok(None),
        };
        if let Some(fault) = &fault {
            match self.fault_action(fault) {
                FaultAction::Proceed => {}
                FaultAction::Respond(reply) => {
                    drain(request.into_body()).await;
                    return Ok(respond(reply, false));
                }
                FaultAction::Reset => return Err(self.reset_connection()),
                FaultAction::Hang => match arrival.hang().await {},
            }
        }
        let compress =
            shared.compress_responses && request.method() == Method::GET && accepts_gzip(request.headers());
        let rate_status = match rate_check {
            Ok(status) => status,
            Err(limited) => {
                drain(request.into_body()).await;
                return Ok(respond(limited, false));
            }
        };
        let mut reply = match read_call(shared, service, operation, arguments, request).await {
            Err(error) => error,
            Ok(call) => self.process(&mut arrival, call, fault.as_ref()).await?,
        };
        if let Some(status) = rate_status {
            reply = status.add_to(reply);
        }
        match fault {
            Some(FaultKind::ResetAfterAction) => Err(self.reset_connection()),
            Some(fault) => Ok(corrupt(arrival, reply, &fault, compress)),
            None => Ok(respond(reply, compress)),
        }
    }

    /// Has the service process a request, usually once and immediately.
    async fn process(
        &self,
        arrival: &mut Arrival,
        call: Call,
        fault: Option<&FaultKind>,
    ) -> Result<Reply, ConnectionReset> {
        let shared = &self.listener.shared;
        let service = self.listener.service;
        match fault {
            Some(FaultKind::LateAfterReset(delay)) => {
                self.handle_later(call, *delay);
                return Err(self.reset_connection());
            }
            Some(FaultKind::LateAfterTimeout(delay)) => {
                self.handle_later(call, *delay);
                match arrival.hang().await {}
            }
            _ => {}
        }
        if service == Service::Yotpo && !shared.response_delay.is_zero() {
            arrival.sleep(shared.response_delay).await;
        }
        let reply = handle(shared, service, &call, fault).await;
        match fault {
            Some(FaultKind::DuplicateDelivery) => Ok(handle(shared, service, &call, None).await),
            Some(FaultKind::DeliveredAgain(delay)) => {
                self.handle_later(call, *delay);
                Ok(reply)
            }
            _ => Ok(reply),
        }
    }

    /// Has the service process a request after `delay`, even if the client has disconnected. The response is discarded.
    fn handle_later(&self, call: Call, delay: Duration) {
        let shared = Arc::clone(&self.listener.shared);
        let service = self.listener.service;
        let stop = shared.stop.clone();
        let handling = async move {
            shared.clock.sleep(delay).await;
            let _busy = shared.clock.busy();
            drop(handle(&shared, service, &call, None).await);
        };
        self.listener.shared.connections.spawn(async move { stop.run_until_cancelled(handling).await });
    }

    /// Marks the connection, which is reset when it is dropped.
    fn reset_connection(&self) -> ConnectionReset {
        self.reset.store(true, Ordering::Relaxed);
        ConnectionReset
    }

    fn fault_action(&self, fault: &FaultKind) -> FaultAction {
        let shared = &self.listener.shared;
        match fault {
            FaultKind::ResetNextConnections(count) => {
                self.listener.pending_resets.fetch_add(*count, Ordering::Relaxed);
                FaultAction::Reset
            }
            FaultKind::ResetBeforeAction => FaultAction::Reset,
            FaultKind::Hang => FaultAction::Hang,
            FaultKind::Status(status, delay) => FaultAction::Respond(injected_error(shared, *status, *delay)),
            FaultKind::Acknowledged => FaultAction::Respond(Reply::ok(&serde_json::json!({}))),
            FaultKind::HtmlOk => FaultAction::Respond(Reply::text(
                StatusCode::OK,
                "text/html; charset=utf-8",
                "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>",
            )),
            FaultKind::RateLimitTextOk => {
                FaultAction::Respond(Reply::text(StatusCode::OK, "text/plain", "API rate limit exceeded\n"))
            }
            FaultKind::ExpireToken => {
                shared.yotpo.expire_tokens();
                FaultAction::Proceed
            }
            _ => FaultAction::Proceed,
        }
    }
}

enum FaultAction {
    Proceed,
    Respond(Reply),
    Reset,
    Hang,
}

async fn handle(shared: &Arc<Shared>, service: Service, call: &Call, fault: Option<&FaultKind>) -> Reply {
    let injected = match fault {
        Some(FaultKind::FailImport) => InjectedFailure::Import,
        Some(FaultKind::FailCommit) => InjectedFailure::Commit,
        _ => InjectedFailure::None,
    };
    match service {
        Service::Yotpo => shared.yotpo.handle(call),
        Service::TreasureData => shared.treasure_data.handle(call, injected).await,
    }
}

/// Reads the body of a request. The error is the response to a request that cannot be read or is not authorized.
async fn read_call(
    shared: &Shared,
    service: Service,
    operation: Operation,
    arguments: Vec<String>,
    request: Request<Incoming>,
) -> Result<Call, Reply> {
    let (parts, body) = request.into_parts();
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if service == Service::TreasureData
        && let Some(error) = shared.treasure_data.authorization_error(operation, authorization)
    {
        drain(body).await;
        return Err(error);
    }
    let body = if operation == Operation::UploadPart {
        if !parts.headers.contains_key(header::CONTENT_LENGTH) {
            drain(body).await;
            return Err(error_reply(StatusCode::LENGTH_REQUIRED, "Content-Length is required"));
        }
        CallBody::Spooled(spool(shared, body).await?)
    } else {
        CallBody::Memory(read_to_memory(body).await?)
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    Ok(Call { operation, arguments, query, headers: parts.headers, body })
}

async fn read_to_memory(mut body: Incoming) -> Result<Bytes, Reply> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_gone| unreadable())?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > MAX_BODY_SIZE {
                return Err(too_large());
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Bytes::from(bytes))
}

/// Writes a part to the spool directory while it is received.
async fn spool(shared: &Shared, mut body: Incoming) -> Result<SpoolFile, Reply> {
    let mut writer = shared.treasure_data.spool().create().map_err(|error| not_stored(&error))?;
    let mut buffer = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_gone| unreadable())?;
        let Some(data) = frame.data_ref() else { continue };
        if writer.size() + (buffer.len() + data.len()) as u64 > MAX_PART_SIZE {
            return Err(too_large());
        }
        buffer.extend_from_slice(data);
        if buffer.len() >= WRITE_SIZE {
            writer = write(shared, writer, std::mem::take(&mut buffer)).await?;
        }
    }
    writer = write(shared, writer, buffer).await?;
    Ok(writer.finish())
}

async fn write(shared: &Shared, mut writer: SpoolWriter, bytes: Vec<u8>) -> Result<SpoolWriter, Reply> {
    let writing = shared.clock.blocking(move || writer.write(&bytes).map(|()| writer));
    let written = writing.await.unwrap_or_else(|_stopped| Err(io::Error::other("stopped")));
    written.map_err(|error| not_stored(&error))
}

/// Reads and discards a body, so that the response is not lost while the client is still sending.
async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn error_reply(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, &json!({"error": message, "text": message, "severity": "error"}))
}

fn too_large() -> Reply {
    error_reply(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large")
        .with_text("connection", "close")
}

fn unreadable() -> Reply {
    error_reply(StatusCode::BAD_REQUEST, "The request body could not be read")
        .with_text("connection", "close")
}

fn not_stored(error: &io::Error) -> Reply {
    if !is_full(error) {
        let text = "The part could not be stored";
        return error_reply(StatusCode::INTERNAL_SERVER_ERROR, text).with_text("connection", "close");
    }
    error_reply(
        StatusCode::INSUFFICIENT_STORAGE,
        "The part could not be stored: no space left on the sandbox's disk",
    )
    .with_text("connection", "close")
}
