//! A client for servers that are neither of the two services: collectors of telemetry.
//!
//! Owns one bounded exchange: a request is sent once, and the response is read within a time and a size limit. Nothing is
//! counted, rate-limited or retried.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use url::Url;

use super::client::classify;
use super::connection::{ClientSettings, Reach, client_builder};
use super::error::{TransportError, size};
use super::tls::{TlsError, tls_configuration};
use crate::clock::Clock;

/// Sends requests to one server.
#[derive(Clone, Debug)]
pub struct PlainClient {
    client: reqwest::Client,
    clock: Clock,
    timeout: Duration,
    max_response_bytes: usize,
}

/// There is no response.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxies of the environment cannot be used, or the request cannot be sent.
    #[error("the HTTP client could not be set up")]
    Client(#[source] reqwest::Error),
    /// No complete response.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The response is larger than the maximum.
    #[error("the response is larger than {}", size(*limit))]
    TooLarge {
        /// The maximum.
        limit: usize,
    },
}

impl PlainClient {
    /// Sends nothing. The certificates are read if `endpoint` is https.
    ///
    /// # Errors
    /// When TLS or the proxies of the environment cannot be set up.
    pub fn new(
        endpoint: &Url,
        timeout: Duration,
        max_response_bytes: usize,
        clock: Clock,
    ) -> Result<Self, PlainError> {
        let settings = ClientSettings { request_timeout: timeout, reach: Reach::of(endpoint) };
        let tls = tls_configuration(endpoint.scheme() == "https")?;
        // Between two requests nothing would notice that the server closed the connection.
        let client = client_builder(&settings, tls).pool_max_idle_per_host(0).build();
        Ok(Self { client: client.map_err(PlainError::Client)?, clock, timeout, max_response_bytes })
    }

    /// Sends a request and reads the response, whatever its status.
    ///
    /// # Errors
    /// When no complete response arrives within the time and size limits.
    pub async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, PlainError> {
        let request = reqwest::Request::try_from(request).map_err(PlainError::Client)?;
        match self.clock.deadline(self.timeout, self.exchange(request)).await {
            Ok(exchanged) => exchanged,
            Err(elapsed) => Err(TransportError::TimedOut(elapsed).into()),
        }
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<http::Response<Bytes>, PlainError> {
        let mut incoming = self.client.execute(request).await.map_err(classify)?;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = incoming.status();
        *response.headers_mut() = std::mem::take(incoming.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = incoming.chunk().await.map_err(classify)? {
            if body.len() + chunk.len() > self.max_response_bytes {
                return Err(PlainError::TooLarge { limit: self.max_response_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        *response.body_mut() = body.freeze();
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::http::scripted::{ScriptedServer, response};

    const LIMIT: usize = 1_024;

    /// Answers one request on each connection, and closes it without saying so. Reports both.
    fn server() -> (SocketAddr, Receiver<&'static str>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (report, reports) = channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                report.send("opened").unwrap();
                answer(&mut stream);
                drop(stream);
                report.send("closed").unwrap();
            }
        });
        (address, reports)
    }

    fn answer(stream: &mut TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    }

    /// As the exporter of traces has it: between two requests nothing runs.
    fn client(address: SocketAddr) -> (Runtime, PlainClient, Url) {
        let url = Url::parse(&format!("http://{address}/")).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = PlainClient::new(&url, Duration::from_secs(20), LIMIT, Clock::machine()).unwrap();
        (runtime, client, url)
    }

    fn get((runtime, client, url): &(Runtime, PlainClient, Url)) {
        let request = http::Request::get(url.as_str()).body(Bytes::new()).unwrap();
        assert_eq!(runtime.block_on(client.send(request)).unwrap().body(), "ok");
    }

    #[test]
    fn a_connection_that_the_server_closed_in_between_fails_no_request() {
        let (address, reports) = server();
        let client = client(address);
        for _ in 0..5 {
            get(&client);
            assert_eq!(reports.recv(), Ok("opened"));
            assert_eq!(reports.recv(), Ok("closed"));
        }
    }

    #[tokio::test]
    async fn a_response_is_read_up_to_the_limit() {
        for (size, is_read) in [(LIMIT, true), (LIMIT + 1, false), (2 * LIMIT, false)] {
            let server = ScriptedServer::start(vec![response("200 OK", vec![b'x'; size])]);
            let client =
                PlainClient::new(&server.url, Duration::from_secs(20), LIMIT, Clock::machine()).unwrap();
            let request = http::Request::get(server.url.as_str()).body(Bytes::new()).unwrap();
            let read = client.send(request).await.map(|response| response.body().len());
            let is_too_large = matches!(read, Err(PlainError::TooLarge { limit: LIMIT }));
            assert_eq!((read.ok(), is_too_large), (is_read.then_some(size), !is_read), "{size}");
        }
    }
}
