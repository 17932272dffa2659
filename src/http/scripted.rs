//! For tests: a server on this machine that sends prepared responses.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use url::Url;

/// Sends one response to each request, in order; then it accepts no more connections.
pub(crate) struct ScriptedServer {
    /// Its address.
    pub(crate) url: Url,
    requests: Receiver<String>,
}

impl ScriptedServer {
    /// Starts it with whole responses, as [`response`] makes them.
    pub(crate) fn start(responses: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let (report, requests) = channel();
        std::thread::spawn(move || {
            for response in responses {
                let (mut connection, _) = listener.accept().unwrap();
                let request = read(&mut connection);
                // The test may have ended, or may not wait for this response.
                let _ = report.send(request);
                let _ = connection.write_all(&response);
            }
        });
        Self { url, requests }
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

/// A response with its length, after which the connection is closed. `head` is the status and further header lines.
pub(crate) fn response(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Reads a request with its body.
fn read(connection: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    let head = String::from_utf8(request).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    connection.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}
