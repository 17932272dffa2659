//! Connections: accepting, answering, and breaking them on purpose.
//!
//! Owns the way of a request from the socket to the look-alike and back, and carries faults out on it. Each service
//! has its own listener. What a request means is none of its business.

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

use super::answer::{AnswerBody, refusal, respond, spoil};
use super::connection::Connection;
use super::control_http;
use super::fault::FaultKind;
use super::operation::{Operation, Service, route, segments};
use super::reply::{Call, CallBody, Reply, accepts_gzip};
use super::shared::Shared;
use super::spool::{SpoolFile, SpoolWriter};
use super::treasure_data::Sabotage;
use crate::clock::{Arrival, FLIGHT_HEADER};
use crate::free_space::is_full;

/// Bodies other than parts.
const LARGEST_BODY: usize = 1_024 * 1_024;
const LARGEST_PART: u64 = 256 * 1_024 * 1_024;
/// Bytes of a part that are gathered before they are written.
const WRITE_SIZE: usize = 512 * 1_024;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The connection is to be reset instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset on purpose")]
struct Severed;

/// One service on its listener.
pub(super) struct Listener {
    shared: Arc<Shared>,
    service: Service,
    /// How many of the next connections are reset at once.
    refusing: AtomicU32,
}

/// Answers the requests of one connection, which it can have reset.
struct Exchange {
    listener: Arc<Listener>,
    reset: Arc<AtomicBool>,
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>, service: Service) -> Arc<Self> {
        Arc::new(Self { shared, service, refusing: AtomicU32::new(0) })
    }

    /// Accepts connections until the sandbox stops.
    pub(super) async fn run(self: Arc<Self>, listener: TcpListener) {
        let stop = self.shared.stop.clone();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            // Out of file descriptors, or the client is gone again: both pass.
            let Ok((stream, _)) = accepted else {
                self.shared.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            };
            self.shared.log.connected(self.service);
            if self.refusing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
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
        // Only costs latency if it fails.
        drop(stream.set_nodelay(true));
        let reset = Arc::new(AtomicBool::new(false));
        let exchange = Arc::new(Exchange { listener: self, reset: Arc::clone(&reset) });
        let answer = service_fn(move |request| {
            let exchange = Arc::clone(&exchange);
            async move {
                let mut response = exchange.answer(request).await?;
                let shared = &exchange.listener.shared;
                shared.date_header.add(shared.clock.unix_time(), response.headers_mut());
                Ok::<_, Severed>(response)
            }
        });
        let connection = Connection::new(stream, reset);
        // An error here is a client that went away, or a fault: nobody needs to know.
        // The date is the sandbox's own business: hyper would write the machine's. Half-closed: a client that goes away
        // behind its request does not keep the service from acting on it.
        let mut builder = http1::Builder::new();
        builder.auto_date_header(false).half_close(true);
        drop(builder.serve_connection(TokioIo::new(connection), answer).await);
    }
}

impl Exchange {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Severed> {
        let shared = &self.listener.shared;
        let service = self.listener.service;
        let segments = segments(request.uri().path());
        if service == Service::TreasureData && segments.first().is_some_and(|first| first == "sandbox") {
            let reply =
                control_http::answer(shared, request.method(), &segments, request.uri().query()).await;
            return Ok(respond(reply, false));
        }
        let flight = request.headers().get(FLIGHT_HEADER).and_then(|value| value.to_str().ok());
        let mut arrival = shared.clock.arrive(flight);
        let (operation, arguments) = route(service, request.method(), &segments);
        let (ordinal, operation_ordinal) = shared.log.count(service, operation);
        let fault = shared.faults.take(service, ordinal, operation, operation_ordinal);
        let admission = match service {
            Service::Yotpo => {
                shared.yotpo.admit(arguments.first().map(String::as_str), &shared.clock).map(Some)
            }
            Service::TreasureData => Ok(None),
        };
        if let Some(fault) = &fault {
            match self.before_action(fault) {
                Before::Act => {}
                Before::Answer(reply) => {
                    drain(request.into_body()).await;
                    return Ok(respond(reply, false));
                }
                Before::Sever => return Err(self.sever()),
                Before::Hang => match arrival.hang().await {},
            }
        }
        let compress =
            shared.compress_answers && request.method() == Method::GET && accepts_gzip(request.headers());
        let admitted = match admission {
            Ok(admitted) => admitted,
            Err(refusal) => {
                drain(request.into_body()).await;
                return Ok(respond(refusal, false));
            }
        };
        let mut reply = match read_call(shared, service, operation, arguments, request).await {
            Err(refusal) => refusal,
            Ok(call) => self.deliver(&mut arrival, call, fault.as_ref()).await?,
        };
        if let Some(admitted) = admitted {
            reply = admitted.mark(reply);
        }
        match fault {
            Some(FaultKind::ResetAfterAction) => Err(self.sever()),
            Some(fault) => Ok(spoil(arrival, reply, &fault, compress)),
            None => Ok(respond(reply, compress)),
        }
    }

    /// Has the service act on a request: usually once and now.
    async fn deliver(
        &self,
        arrival: &mut Arrival,
        call: Call,
        fault: Option<&FaultKind>,
    ) -> Result<Reply, Severed> {
        let shared = &self.listener.shared;
        let service = self.listener.service;
        match fault {
            Some(FaultKind::LateAfterReset(delay)) => {
                self.act_later(call, *delay);
                return Err(self.sever());
            }
            Some(FaultKind::LateAfterTimeout(delay)) => {
                self.act_later(call, *delay);
                match arrival.hang().await {}
            }
            _ => {}
        }
        if service == Service::Yotpo && !shared.answer_duration.is_zero() {
            arrival.sleep(shared.answer_duration).await;
        }
        let reply = act(shared, service, &call, fault).await;
        match fault {
            Some(FaultKind::DuplicateDelivery) => Ok(act(shared, service, &call, None).await),
            Some(FaultKind::DeliveredAgain(delay)) => {
                self.act_later(call, *delay);
                Ok(reply)
            }
            _ => Ok(reply),
        }
    }

    /// Has the service act on a request after `delay`, whatever has become of the client. Nobody sees the response.
    fn act_later(&self, call: Call, delay: Duration) {
        let shared = Arc::clone(&self.listener.shared);
        let service = self.listener.service;
        let stop = shared.stop.clone();
        let acting = async move {
            shared.clock.sleep(delay).await;
            let _busy = shared.clock.busy();
            drop(act(&shared, service, &call, None).await);
        };
        self.listener.shared.connections.spawn(async move { stop.run_until_cancelled(acting).await });
    }

    /// Marks the connection, which is then reset as soon as it is dropped.
    fn sever(&self) -> Severed {
        self.reset.store(true, Ordering::Relaxed);
        Severed
    }

    fn before_action(&self, fault: &FaultKind) -> Before {
        let shared = &self.listener.shared;
        match fault {
            FaultKind::RefuseConnections(count) => {
                self.listener.refusing.fetch_add(*count, Ordering::Relaxed);
                Before::Sever
            }
            FaultKind::ResetBeforeAction => Before::Sever,
            FaultKind::Hang => Before::Hang,
            FaultKind::Status(status, delay) => Before::Answer(refusal(shared, *status, *delay)),
            FaultKind::HtmlOk => Before::Answer(Reply::text(
                StatusCode::OK,
                "text/html; charset=utf-8",
                "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>",
            )),
            FaultKind::RateLimitTextOk => {
                Before::Answer(Reply::text(StatusCode::OK, "text/plain", "API rate limit exceeded\n"))
            }
            FaultKind::ExpireToken => {
                shared.yotpo.expire_tokens();
                Before::Act
            }
            _ => Before::Act,
        }
    }
}

enum Before {
    Act,
    Answer(Reply),
    Sever,
    Hang,
}

async fn act(shared: &Arc<Shared>, service: Service, call: &Call, fault: Option<&FaultKind>) -> Reply {
    let sabotage = match fault {
        Some(FaultKind::FailImport) => Sabotage::FailImport,
        Some(FaultKind::FailCommit) => Sabotage::FailCommit,
        _ => Sabotage::None,
    };
    match service {
        Service::Yotpo => shared.yotpo.act(call),
        Service::TreasureData => shared.treasure_data.act(call, sabotage).await,
    }
}

/// Reads the body of a request; the error is the answer to one that cannot be read or must not be.
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
        && let Some(refusal) = shared.treasure_data.refusal(operation, authorization)
    {
        drain(body).await;
        return Err(refusal);
    }
    let body = if operation == Operation::UploadPart {
        if !parts.headers.contains_key(header::CONTENT_LENGTH) {
            drain(body).await;
            return Err(refused(StatusCode::LENGTH_REQUIRED, "Content-Length is required"));
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
            if bytes.len() + data.len() > LARGEST_BODY {
                return Err(too_large());
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Bytes::from(bytes))
}

/// Writes a part to the spool folder as it arrives.
async fn spool(shared: &Shared, mut body: Incoming) -> Result<SpoolFile, Reply> {
    let mut writer = shared.treasure_data.spool().create().map_err(|error| not_stored(&error))?;
    let mut gathered = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_gone| unreadable())?;
        let Some(data) = frame.data_ref() else { continue };
        if writer.size() + (gathered.len() + data.len()) as u64 > LARGEST_PART {
            return Err(too_large());
        }
        gathered.extend_from_slice(data);
        if gathered.len() >= WRITE_SIZE {
            writer = write(shared, writer, std::mem::take(&mut gathered)).await?;
        }
    }
    writer = write(shared, writer, gathered).await?;
    Ok(writer.finish())
}

async fn write(shared: &Shared, mut writer: SpoolWriter, bytes: Vec<u8>) -> Result<SpoolWriter, Reply> {
    let writing = shared.clock.blocking(move || writer.write(&bytes).map(|()| writer));
    let written = writing.await.unwrap_or_else(|_stopped| Err(io::Error::other("stopped")));
    written.map_err(|error| not_stored(&error))
}

/// Reads a body to nowhere, so that the answer is not lost on a connection that still sends.
async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn refused(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, &json!({"error": message, "text": message, "severity": "error"}))
}

fn too_large() -> Reply {
    refused(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large").with_text("connection", "close")
}

fn unreadable() -> Reply {
    refused(StatusCode::BAD_REQUEST, "The request body could not be read").with_text("connection", "close")
}

fn not_stored(error: &io::Error) -> Reply {
    if !is_full(error) {
        let text = "The part could not be stored";
        return refused(StatusCode::INTERNAL_SERVER_ERROR, text).with_text("connection", "close");
    }
    refused(
        StatusCode::INSUFFICIENT_STORAGE,
        "The part could not be stored: no space left on the sandbox's disk",
    )
    .with_text("connection", "close")
}
