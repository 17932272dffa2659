//! The pages of a sandbox as bytes, fetched without the program's client.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde::Deserialize;
use serde_json::json;

use crate::processes::SandboxProcess;

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Page {
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    next_page_info: Option<String>,
}

/// Fetches all pages, in order.
pub(crate) fn fetch_all(served: &SandboxProcess) -> Vec<Vec<u8>> {
    let host = served.value("YOTPO_TD_YOTPO_ENDPOINT").strip_prefix("http://").unwrap();
    let store = format!("/core/v3/stores/{}", served.value("YOTPO_STORE_ID"));
    let mut connection = BufReader::new(TcpStream::connect(host).unwrap());
    let secret = json!({ "secret": served.value("YOTPO_CLIENT_SECRET") }).to_string();
    let length = secret.len();
    let token_request = format!(
        "POST {store}/access_tokens HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{secret}"
    );
    let Token { access_token: token } =
        serde_json::from_slice(&exchange(&mut connection, &token_request)).unwrap();
    let mut pages = Vec::new();
    let mut cursor = "limit=100".to_owned();
    loop {
        let filters = "include_custom_properties=true&expand=loyalty";
        let page = exchange(
            &mut connection,
            &format!(
                "GET {store}/customers?{cursor}&{filters} HTTP/1.1\r\nhost: {host}\r\nx-yotpo-token: {token}\r\n\r\n"
            ),
        );
        let Page { pagination } = serde_json::from_slice(&page).unwrap();
        pages.push(page);
        // It is received in the form in which it must be sent.
        let Some(next) = pagination.next_page_info else { return pages };
        cursor = format!("page_info={next}");
    }
}

/// Sends a request and reads the body of the response.
fn exchange(connection: &mut BufReader<TcpStream>, request: &str) -> Vec<u8> {
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    let mut length = 0;
    let mut line = String::new();
    connection.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    loop {
        line.clear();
        connection.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    body
}
