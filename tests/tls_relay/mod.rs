//! TLS in front of a service of the sandbox, over a line that may be long, before a server that may be slow.
//!
//! Owns a private certificate authority, listeners on loopback addresses that end TLS and pass everything on, and a
//! record of every request with its answer. It delays, and changes no byte: a byte is on its way for half a round trip
//! in either direction, as many at once as are sent; setting up a connection costs a round trip, because what a client
//! sends before its SYN could have been answered counts as sent then; an answer begins when the server's time since the
//! whole request is over. What requests mean is none of its business, but that one follows the answer of the other.

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

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Chunks that may be on their way in one direction.
const LINE: usize = 4 * 1024;

/// An authority that nobody knows.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    is_out_of_date: bool,
}

/// How long the way to the service is, and how slow the service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delays {
    /// From a byte that is sent to the byte that it causes.
    pub(crate) round_trip: Duration,
    /// From a whole request to the beginning of its answer.
    pub(crate) answer: Duration,
}

/// A request and its answer, as the server saw them.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// The how many-th connection it was on, from 0.
    pub(crate) connection: usize,
    /// Method and path.
    pub(crate) request: String,
    /// When its first byte arrived, on the relay's clock.
    pub(crate) asked: Duration,
    /// When the last byte of its answer so far was sent.
    pub(crate) answered: Duration,
}

/// A listener that passes on to a service; ends with its connections when dropped.
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
        Self { issuer, is_out_of_date: false }
    }

    /// The certificate that makes a client believe it.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The same, but what it vouches for is out of date: as all certificates look where the clock is years off.
    pub(crate) fn out_of_date(self) -> Self {
        Self { is_out_of_date: true, ..self }
    }

    /// A server on this machine that it vouches for.
    fn identity(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        if self.is_out_of_date {
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
    /// Passes on to `service` (`http://address:port`), as a task of the current runtime.
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

    /// Connections that were accepted so far, whatever became of them.
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
            // A connection that breaks is one side's business to notice.
            connections.spawn(Arc::clone(&self).serve(stream, number, opened));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, number: usize, opened: Duration) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (from_client, to_client) = stream.into_split();
        let (near, far) = duplex(CHUNK * LINE);
        let (from_server, to_server) = split(near);
        let Delays { round_trip, .. } = self.delays;
        let line = async {
            tokio::try_join!(
                self.carry(from_client, to_server, opened + round_trip),
                self.carry(from_server, to_client, Duration::ZERO),
            )
        };
        tokio::try_join!(line, self.pass_on(far, number)).map(drop)
    }

    /// The wire in one direction. What comes before it is `open` is sent when it is.
    fn carry(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        open: Duration,
    ) -> impl Future<Output = io::Result<()>> {
        let (sender, mut receiver) = mpsc::channel(LINE);
        let half = self.delays.round_trip / 2;
        let gather = async move {
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
        async { tokio::try_join!(gather, deliver).map(drop) }
    }

    /// The server's end of the line: TLS, and the service behind it.
    async fn pass_on(&self, line: impl AsyncRead + AsyncWrite + Unpin, number: usize) -> io::Result<()> {
        let stream = self.identity.accept(line).await?;
        let service = TcpStream::connect(self.service).await?;
        service.set_nodelay(true)?;
        let (mut from_client, mut to_client) = split(stream);
        let (mut from_service, mut to_service) = service.into_split();
        let dialogue = Mutex::new(Dialogue { exchange: 0, asked: Duration::ZERO, is_answered: true });
        let requests = async {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            while from_client.read_buf(&mut chunk).await? > 0 {
                self.asked(&mut dialogue.lock().unwrap(), number, &chunk);
                to_service.write_all(&chunk).await?;
                chunk.clear();
            }
            to_service.shutdown().await
        };
        let answers = async {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            while from_service.read_buf(&mut chunk).await? > 0 {
                let asked = dialogue.lock().unwrap().asked;
                self.wait_until(asked + self.delays.answer).await;
                self.answered(&mut dialogue.lock().unwrap());
                to_client.write_all(&chunk).await?;
                to_client.flush().await?;
                chunk.clear();
            }
            to_client.shutdown().await
        };
        tokio::try_join!(requests, answers).map(drop)
    }

    fn asked(&self, dialogue: &mut Dialogue, connection: usize, chunk: &[u8]) {
        dialogue.asked = self.clock.now();
        if std::mem::take(&mut dialogue.is_answered) {
            let line = String::from_utf8_lossy(chunk);
            let request = line.split([' ', '?']).take(2).collect::<Vec<_>>().join(" ");
            let exchanges = &mut self.record.lock().unwrap().exchanges;
            dialogue.exchange = exchanges.len();
            exchanges.push(Exchange { connection, request, asked: dialogue.asked, answered: dialogue.asked });
        }
    }

    fn answered(&self, dialogue: &mut Dialogue) {
        dialogue.is_answered = true;
        self.record.lock().unwrap().exchanges[dialogue.exchange].answered = self.clock.now();
    }

    async fn wait_until(&self, due: Duration) {
        let remaining = due.saturating_sub(self.clock.now());
        if !remaining.is_zero() {
            self.clock.sleep(remaining).await;
        }
    }
}

/// Where a connection is: requests and answers take turns.
struct Dialogue {
    /// The place of the last request in the record.
    exchange: usize,
    /// When its last byte arrived.
    asked: Duration,
    /// Whether what the client sends next is a new request.
    is_answered: bool,
}
