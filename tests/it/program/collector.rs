//! A collector of traces: it speaks OTLP over HTTP and decodes what it receives, or misbehaves.
//!
//! Plain HTTP/1.1 on threads, one request per connection. It does not know what the spans are about.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

/// Names and values, numbers as text.
pub(crate) type Attributes = BTreeMap<String, String>;

/// What the collector does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    /// It stores the spans.
    Accept,
    /// It reads the request and never responds.
    Silent,
    /// It responds one byte at a time, and never ends.
    Slow,
    /// This status.
    Status(u16),
    /// 200 and a body without an end.
    Endless,
    /// It names another server.
    Redirect,
    /// No HTTP.
    Garbage,
    /// 200 with a body that is no protobuf.
    NotProtobuf,
    /// It closes the connection without reading.
    Hangup,
}

/// A span as it was received.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedSpan {
    pub(crate) name: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty for a root.
    pub(crate) parent_id: String,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<(String, Attributes)>,
    /// The description of an error; `None` if it did not fail.
    pub(crate) error: Option<String>,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Everything that was received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) requests: Vec<String>,
    pub(crate) resources: Vec<Attributes>,
    pub(crate) spans: Vec<ReceivedSpan>,
}

/// Serves until the test ends.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Received>>::default();
        let shared = Arc::clone(&received);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let shared = Arc::clone(&shared);
                // A client may close its connection.
                std::thread::spawn(move || drop(serve(&stream, behaviour, &shared)));
            }
        });
        Self { address, received }
    }

    /// `http://127.0.0.1:<port>`
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }
}

impl Received {
    /// The spans with this name.
    pub(crate) fn named(&self, name: &str) -> Vec<&ReceivedSpan> {
        self.spans.iter().filter(|span| span.name == name).collect()
    }

    /// The one span with this name.
    #[track_caller]
    pub(crate) fn only(&self, name: &str) -> &ReceivedSpan {
        let [span] = self.named(name)[..] else { panic!("{name}: {:#?}", self.tree()) };
        span
    }

    /// The names from the root to the span.
    pub(crate) fn path(&self, span: &ReceivedSpan) -> String {
        match self.spans.iter().find(|other| other.span_id == span.parent_id) {
            Some(parent) => format!("{} > {}", self.path(parent), span.name),
            None => span.name.clone(),
        }
    }

    /// Each path with the number of spans that have it.
    pub(crate) fn tree(&self) -> BTreeMap<String, usize> {
        let mut tree = BTreeMap::new();
        for span in &self.spans {
            *tree.entry(self.path(span)).or_default() += 1;
        }
        tree
    }
}

fn serve(stream: &TcpStream, behaviour: Behaviour, received: &Mutex<Received>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    match behaviour {
        Behaviour::Hangup => return Ok(()),
        Behaviour::Garbage => return writer.write_all(b"\x00\x01\x02 this is not HTTP\n\n\n"),
        _ => {}
    }
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if header("content-encoding").as_deref() == Some("gzip") {
        let mut whole = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut whole)?;
        body = whole;
    }
    store(&mut received.lock().unwrap(), head, &body);
    let response = |status: u16, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
        )
    };
    match behaviour {
        Behaviour::Accept => {
            writer.write_all(response(200, "Content-Type: application/x-protobuf\r\n", "").as_bytes())
        }
        Behaviour::Status(status) => {
            writer.write_all(response(status, "Retry-After: 3600\r\n", "canary").as_bytes())
        }
        Behaviour::Redirect => {
            let elsewhere = "Location: http://127.0.0.1:1/v1/traces\r\n";
            writer.write_all(response(307, elsewhere, "").as_bytes())
        }
        Behaviour::NotProtobuf => writer.write_all(response(200, "", "\u{7f}\u{7f} no protobuf").as_bytes()),
        Behaviour::Endless => {
            writer.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                writer.write_all(&[0; 8 * 1024])?;
            }
        }
        Behaviour::Slow => {
            let body = vec![b'a'; 100_000];
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".iter().chain(&body) {
                writer.write_all(&[*byte])?;
                pause(Duration::from_millis(20));
            }
            Ok(())
        }
        // Until the client closes the connection.
        Behaviour::Silent => reader.read_to_end(&mut body).map(drop),
        Behaviour::Hangup | Behaviour::Garbage => Ok(()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process waits for it, which does not follow a virtual clock"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

fn store(received: &mut Received, head: String, body: &[u8]) {
    received.requests.push(head);
    let request = ExportTraceServiceRequest::decode(body).expect("protobuf");
    for of_resource in request.resource_spans {
        received.resources.push(attributes(&of_resource.resource.unwrap_or_default().attributes));
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let events = span.events.iter().map(|event| (event.name.clone(), attributes(&event.attributes)));
            let status = span.status.unwrap_or_default();
            received.spans.push(ReceivedSpan {
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                attributes: attributes(&span.attributes),
                events: events.collect(),
                error: (status.code == i32::from(StatusCode::Error)).then_some(status.message),
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
            });
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    let pairs: Vec<_> = pairs.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect();
    let count = pairs.len();
    let attributes: Attributes = pairs.into_iter().collect();
    assert_eq!(attributes.len(), count, "an attribute occurs twice: {attributes:?}");
    attributes
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(switch)) => switch.to_string(),
        other => panic!("unexpected value: {other:?}"),
    }
}
