//! A TLS relay in front of a sandbox service, with a configurable network latency and server delay.
//!
//! Owns a private certificate authority, listeners on loopback addresses that terminate TLS and forward everything, and
//! a record of every request with its response. It delays bytes but changes none. Each byte takes half a round trip in
//! either direction, with unlimited bandwidth. A new connection costs one round trip: bytes that a client sends before
//! its SYN could have been acknowledged count as sent at that time. A response starts when the delay of the server
//! after the complete request has passed. It does not interpret requests, but assumes that each one follows the
//! response to the previous one.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use yotpo_td::clock::Clock;

/// Maximum number of bytes per read.
const CHUNK: usize = 16 * 1024;
/// Maximum number of chunks in transit in one direction.
const MAX_CHUNKS_IN_TRANSIT: usize = 4 * 1024;

/// A certificate authority that no client trusts by default.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    is_expired: bool,
}

/// The network latency and the delay of the service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delays {
    /// Network round-trip time.
    pub(crate) round_trip: Duration,
    /// From the complete request to the start of its response.
    pub(crate) response: Duration,
}

/// A request and its response, as seen by the server.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// Number of the connection, from 0.
    pub(crate) connection: usize,
    /// Method and path.
    pub(crate) request: String,
    /// When its first byte arrived, on the relay's clock.
    pub(crate) requested_at: Duration,
    /// When the last byte of its response so far was sent.
    pub(crate) responded_at: Duration,
}

/// A listener that forwards to a service. Dropping it closes its connections.
pub(crate) struct TlsRelay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    service: SocketAddr,
    identity: TlsAcceptor,
    delays: Delays,
    clock: Clock,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    /// When each connection was accepted.
    connections: Vec<Duration>,
    exchanges: Vec<Exchange>,
}

impl Authority {
    pub(crate) fn named(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, is_expired: false }
    }

    /// The certificate that a client must trust.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The same, but its server certificates have expired, as all certificates seem to have if the clock is years off.
    pub(crate) fn expired(self) -> Self {
        Self { is_expired: true, ..self }
    }

    /// The identity of a server on this machine, with a certificate of this authority.
    fn identity(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        if self.is_expired {
            parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let mut configuration = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(configuration))
    }
}

impl TlsRelay {
    /// Forwards to `service` (`http://address:port`), as a task of the current runtime.
    pub(crate) async fn start(service: &str, authority: &Authority, delays: Delays, clock: &Clock) -> Self {
        let service = service.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            service,
            identity: authority.identity(),
            delays,
            clock: clock.clone(),
            record: Mutex::default(),
        });
        let accepting = tokio::spawn(Arc::clone(&shared).accept(listener));
        Self { address, shared, accepting }
    }

    /// `https://127.0.0.1:<port>`
    pub(crate) fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Number of connections accepted so far, including closed ones.
    pub(crate) fn connections(&self) -> usize {
        self.shared.record.lock().unwrap().connections.len()
    }

    /// When the first connection was accepted, on the relay's clock.
    pub(crate) fn first_connection(&self) -> Option<Duration> {
        self.shared.record.lock().unwrap().connections.first().copied()
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.shared.record.lock().unwrap().exchanges.clone()
    }
}

impl Drop for TlsRelay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let opened = self.clock.now();
            let number = {
                let mut record = self.record.lock().unwrap();
                record.connections.push(opened);
                record.connections.len() - 1
            };
            // Either side notices a broken connection itself.
            connections.spawn(Arc::clone(&self).serve(stream, number, opened));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, number: usize, opened: Duration) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (from_client, to_client) = stream.into_split();
        let (near, far) = duplex(CHUNK * MAX_CHUNKS_IN_TRANSIT);
        let (from_server, to_server) = split(near);
        let Delays { round_trip, .. } = self.delays;
        let wire = async {
            tokio::try_join!(
                self.transmit(from_client, to_server, opened + round_trip),
                self.transmit(from_server, to_client, Duration::ZERO),
            )
        };
        tokio::try_join!(wire, self.forward(far, number)).map(drop)
    }

    /// Transmits in one direction. Bytes that arrive before `open` are sent at `open`.
    fn transmit(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        open: Duration,
    ) -> impl Future<Output = io::Result<()>> {
        let (sender, mut receiver) = mpsc::channel(MAX_CHUNKS_IN_TRANSIT);
        let half = self.delays.round_trip / 2;
        let receive = async move {
            loop {
                let mut chunk = BytesMut::with_capacity(CHUNK);
                let length = from.read_buf(&mut chunk).await?;
                let due = self.clock.now().max(open) + half;
                if length == 0 || sender.send((due, chunk)).await.is_err() {
                    return Ok::<(), io::Error>(());
                }
            }
        };
        let deliver = async move {
            while let Some((due, chunk)) = receiver.recv().await {
                self.wait_until(due).await;
                to.write_all(&chunk).await?;
                to.flush().await?;
            }
            to.shutdown().await
        };
        async { tokio::try_join!(receive, deliver).map(drop) }
    }

    /// The server's end of the connection: terminates TLS and forwards to the service.
    async fn forward(&self, stream: impl AsyncRead + AsyncWrite + Unpin, number: usize) -> io::Result<()> {
        let stream = self.identity.accept(stream).await?;
        let service = TcpStream::connect(self.service).await?;
        service.set_nodelay(true)?;
        let (mut from_client, mut to_client) = split(stream);
        let (mut from_service, mut to_service) = service.into_split();
        let conversation =
            Mutex::new(Conversation { exchange: 0, requested_at: Duration::ZERO, is_responded: true });
        let requests = async {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            while from_client.read_buf(&mut chunk).await? > 0 {
                self.record_request(&mut conversation.lock().unwrap(), number, &chunk);
                to_service.write_all(&chunk).await?;
                chunk.clear();
            }
            to_service.shutdown().await
        };
        let responses = async {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            while from_service.read_buf(&mut chunk).await? > 0 {
                let requested_at = conversation.lock().unwrap().requested_at;
                self.wait_until(requested_at + self.delays.response).await;
                self.record_response(&mut conversation.lock().unwrap());
                to_client.write_all(&chunk).await?;
                to_client.flush().await?;
                chunk.clear();
            }
            to_client.shutdown().await
        };
        tokio::try_join!(requests, responses).map(drop)
    }

    fn record_request(&self, conversation: &mut Conversation, connection: usize, chunk: &[u8]) {
        conversation.requested_at = self.clock.now();
        if std::mem::take(&mut conversation.is_responded) {
            let line = String::from_utf8_lossy(chunk);
            let request = line.split([' ', '?']).take(2).collect::<Vec<_>>().join(" ");
            let exchanges = &mut self.record.lock().unwrap().exchanges;
            conversation.exchange = exchanges.len();
            exchanges.push(Exchange {
                connection,
                request,
                requested_at: conversation.requested_at,
                responded_at: conversation.requested_at,
            });
        }
    }

    fn record_response(&self, conversation: &mut Conversation) {
        conversation.is_responded = true;
        self.record.lock().unwrap().exchanges[conversation.exchange].responded_at = self.clock.now();
    }

    async fn wait_until(&self, due: Duration) {
        let remaining = due.saturating_sub(self.clock.now());
        if !remaining.is_zero() {
            self.clock.sleep(remaining).await;
        }
    }
}

/// The state of a connection, on which requests and responses alternate.
struct Conversation {
    /// The index of the last request in the record.
    exchange: usize,
    /// When its last byte arrived.
    requested_at: Duration,
    /// Whether the next bytes from the client start a new request.
    is_responded: bool,
}
