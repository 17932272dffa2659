//! Decompresses response bodies and detects bodies that are not JSON.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::error::BodyProblem;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The encodings that are distinguished.
enum Encoding {
    Plain,
    Gzip,
    /// A known encoding that was not requested and is not supported.
    Other,
}

/// Maximum number of nested encodings; no service uses more.
const MAX_ENCODINGS: usize = 2;

/// Reverses the `Content-Encoding`s of a body; the result has at most `limit` bytes. Names that are not encodings (usually
/// character sets) are ignored. So is "gzip" for a body that is not gzip, because proxies decompress bodies and keep the header.
pub(super) fn decompress(headers: &HeaderMap, mut body: Bytes, limit: usize) -> Result<Bytes, BodyProblem> {
    let lines = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let names: Vec<_> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
    let mut decoded = 0;
    for name in names.into_iter().rev().map(<[u8]>::trim_ascii) {
        let corrupt =
            || BodyProblem::Encoding { encoding: String::from_utf8_lossy(name).chars().take(20).collect() };
        match encoding(name) {
            Encoding::Plain => {}
            Encoding::Gzip if !body.starts_with(&GZIP_MAGIC) => {}
            Encoding::Gzip if decoded < MAX_ENCODINGS => {
                decoded += 1;
                body = gunzip(&body, limit)?.ok_or_else(corrupt)?;
            }
            Encoding::Gzip | Encoding::Other if body.is_empty() => {}
            Encoding::Gzip | Encoding::Other => return Err(corrupt()),
        }
    }
    Ok(body)
}

fn encoding(name: &[u8]) -> Encoding {
    match name.to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Encoding::Gzip,
        b"br" | b"deflate" | b"compress" | b"x-compress" | b"zstd" | b"dcb" | b"dcz" => Encoding::Other,
        _ => Encoding::Plain,
    }
}

/// Decompresses all members of a gzip file. Returns `None` if it is corrupt.
fn gunzip(body: &[u8], limit: usize) -> Result<Option<Bytes>, BodyProblem> {
    // Enough for the usual compression ratio of JSON, so that the buffer rarely grows.
    let mut decompressed = Vec::with_capacity(body.len().saturating_mul(8).min(limit.saturating_add(1)));
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    if MultiGzDecoder::new(body).take(cap).read_to_end(&mut decompressed).is_err() {
        return Ok(None);
    }
    if decompressed.len() > limit {
        return Err(BodyProblem::TooLarge { limit });
    }
    Ok(Some(decompressed.into()))
}

/// Removes a byte order mark.
pub(super) fn strip_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(body)
}

/// Whether the content type is HTML.
pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|content_type| content_type.to_ascii_lowercase().starts_with("text/html"))
}

/// Rejects bodies that are not JSON objects, with a better message than a parser's.
pub(super) fn check_json(headers: &HeaderMap, body: &[u8]) -> Result<(), BodyProblem> {
    let start = body.trim_ascii_start();
    match start.first() {
        None => Err(BodyProblem::Empty),
        Some(b'<') => Err(BodyProblem::Html),
        Some(b'{') => Ok(()),
        Some(_) if is_html(headers) => Err(BodyProblem::Html),
        // serde would accept an array for a struct, field by field.
        Some(_) => Err(BodyProblem::Malformed { what: "not an object".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap().into()
    }

    fn encoded(name: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, name.parse().unwrap())])
    }

    #[test]
    fn gzip_is_decompressed_up_to_the_limit() {
        let compressed = gzip(&[b' '; 10_000]);
        assert_eq!(decompress(&encoded("gzip"), compressed.clone(), 10_000).unwrap().len(), 10_000);
        let bomb = decompress(&encoded("GZIP"), compressed, 9_999);
        assert!(matches!(bomb, Err(BodyProblem::TooLarge { limit: 9_999 })), "{bomb:?}");
    }

    #[test]
    fn corrupt_or_unsupported_encodings_are_reported() {
        let mut compressed = gzip(b"{\"customers\":[]}").to_vec();
        compressed.truncate(compressed.len() - 4);
        for (name, body) in [("gzip", compressed.into()), ("br", Bytes::from_static(b"x"))] {
            let result = decompress(&encoded(name), body, 1_000);
            assert!(matches!(result, Err(BodyProblem::Encoding { .. })), "{name} {result:?}");
        }
    }

    #[test]
    fn an_empty_body_has_any_encoding() {
        for name in ["br", "gzip", "gzip, zstd"] {
            assert_eq!(decompress(&encoded(name), Bytes::new(), 100).unwrap(), "", "{name}");
        }
    }

    #[test]
    fn every_member_of_a_gzip_file_is_decompressed() {
        let members = [gzip(b"{\"a\""), gzip(b":1}")].concat();
        assert_eq!(decompress(&encoded("gzip"), members.into(), 100).unwrap(), "{\"a\":1}");
        let bomb = [gzip(&[b' '; 60]), gzip(&[b' '; 60])].concat();
        let result = decompress(&encoded("gzip"), bomb.into(), 100);
        assert!(matches!(result, Err(BodyProblem::TooLarge { limit: 100 })), "{result:?}");
    }

    #[test]
    fn names_that_are_not_encodings_are_ignored() {
        let plain = Bytes::from_static(b"{}");
        for name in ["UTF-8", "identity", "", "none", "gzip", "gzip, gzip"] {
            assert_eq!(decompress(&encoded(name), plain.clone(), 100).unwrap(), plain, "{name}");
        }
        for name in ["gzip, identity", "identity,gzip", "utf-8 , X-Gzip"] {
            assert_eq!(decompress(&encoded(name), gzip(b"{}"), 100).unwrap(), plain, "{name}");
        }
        assert_eq!(decompress(&encoded("gzip, gzip"), gzip(&gzip(b"{}")), 100).unwrap(), plain);
        let thrice = decompress(&encoded("gzip, gzip, gzip"), gzip(&gzip(&gzip(b"{}"))), 200);
        assert!(matches!(thrice, Err(BodyProblem::Encoding { .. })), "{thrice:?}");
    }

    #[test]
    fn byte_order_mark_is_removed() {
        assert_eq!(strip_bom(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(strip_bom(b"{}"), b"{}");
    }

    #[test]
    fn web_pages_and_empty_bodies_are_not_json() {
        let none = HeaderMap::new();
        assert!(matches!(check_json(&none, b" \n"), Err(BodyProblem::Empty)));
        assert!(matches!(check_json(&none, b"<!doctype html>"), Err(BodyProblem::Html)));
        assert!(matches!(check_json(&none, b"rate limit"), Err(BodyProblem::Malformed { .. })));
        assert!(matches!(check_json(&none, b"[[],null]"), Err(BodyProblem::Malformed { .. })));
        assert!(check_json(&none, b" {\"a\":1}").is_ok());
        let page = HeaderMap::from_iter([(CONTENT_TYPE, "Text/HTML; charset=utf-8".parse().unwrap())]);
        assert!(matches!(check_json(&page, b"rate limit"), Err(BodyProblem::Html)));
        assert!(check_json(&page, b"{}").is_ok(), "the content decides");
    }
}
