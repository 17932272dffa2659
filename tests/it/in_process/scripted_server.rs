//! A server whose responses a test scripts: pages and errors that the sandbox would not send.
//!
//! Plain HTTP/1.1 on threads, one request per connection. It knows neither service.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The parts of a request that scripts use.
#[derive(Clone)]
pub(crate) struct Asked {
    /// Such as `GET /path?query`.
    pub(crate) line: String,
    /// All headers, one per line.
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

/// Status and body of a response.
pub(crate) type ScriptedResponse = (u16, String);

/// Serves until it is dropped.
pub(crate) struct ScriptedServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl ScriptedServer {
    /// Serves the responses of `script`.
    pub(crate) fn start(script: impl Fn(&Asked) -> ScriptedResponse + Send + Sync + 'static) -> Self {
        Self::start_with_headers(move |asked| (script(asked), ""))
    }

    /// Serves the responses of `script` with further headers, which are complete lines with line ends.
    pub(crate) fn start_with_headers(
        script: impl Fn(&Asked) -> (ScriptedResponse, &'static str) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let (script, listener_ended) = (Arc::new(script), Arc::clone(&ended));
        let listening = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if listener_ended.load(Ordering::SeqCst) {
                    return;
                }
                let script = Arc::clone(&script);
                // A client may close its connection.
                std::thread::spawn(move || drop(respond(&stream, &*script)));
            }
        });
        Self { address, ended, listening: Some(listening) }
    }

    /// `http://127.0.0.1:<port>`
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect(self.address));
        if let Some(listening) = self.listening.take() {
            listening.join().unwrap();
        }
    }
}

fn respond(
    stream: &TcpStream,
    script: &dyn Fn(&Asked) -> (ScriptedResponse, &'static str),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (mut headers, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        headers.push_str(&header);
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let ((status, body), further) = script(&Asked { line, headers, body });
    let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
    let mut writer = stream;
    write!(
        writer,
        "HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n{further}\r\n{body}",
        body.len()
    )
}
