//! Unpacking and judging an answer's body.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::error::BodyProblem;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// How the body is coded, as far as it matters.
enum Coding {
    Plain,
    Gzip,
    /// A coding that exists and is not ours: it was never asked for.
    Other,
}

/// More codings than this, one around the other, are no answer of a service.
const MAX_CODINGS: usize = 2;

/// Undoes the body's `Content-Encoding`s; the result is at most `limit` bytes. Names that are no coding (a character set,
/// mostly) say nothing, and neither does "gzip" before a body that is none: proxies unpack bodies and leave the header.
pub(super) fn unpack(headers: &HeaderMap, mut body: Bytes, limit: usize) -> Result<Bytes, BodyProblem> {
    let lines = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let names: Vec<_> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
    let mut undone = 0;
    for name in names.into_iter().rev().map(<[u8]>::trim_ascii) {
        let damaged =
            || BodyProblem::Encoding { encoding: String::from_utf8_lossy(name).chars().take(20).collect() };
        match coding(name) {
            Coding::Plain => {}
            Coding::Gzip if !body.starts_with(&GZIP_MAGIC) => {}
            Coding::Gzip if undone < MAX_CODINGS => {
                undone += 1;
                body = gunzip(&body, limit)?.ok_or_else(damaged)?;
            }
            Coding::Gzip | Coding::Other if body.is_empty() => {}
            Coding::Gzip | Coding::Other => return Err(damaged()),
        }
    }
    Ok(body)
}

fn coding(name: &[u8]) -> Coding {
    match name.to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Coding::Gzip,
        b"br" | b"deflate" | b"compress" | b"x-compress" | b"zstd" | b"dcb" | b"dcz" => Coding::Other,
        _ => Coding::Plain,
    }
}

/// Unpacks all members of a gzip file; `None` when it is damaged.
fn gunzip(body: &[u8], limit: usize) -> Result<Option<Bytes>, BodyProblem> {
    // Enough for what JSON usually shrinks to, so that the buffer seldom grows.
    let mut unpacked = Vec::with_capacity(body.len().saturating_mul(8).min(limit.saturating_add(1)));
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    if MultiGzDecoder::new(body).take(cap).read_to_end(&mut unpacked).is_err() {
        return Ok(None);
    }
    if unpacked.len() > limit {
        return Err(BodyProblem::TooLarge { limit });
    }
    Ok(Some(unpacked.into()))
}

/// The body without a byte order mark.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(body)
}

/// Whether the headers announce a web page.
pub(super) fn says_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

/// Recognises bodies that are no JSON at all, for a message better than a parser's.
pub(super) fn look(headers: &HeaderMap, body: &[u8]) -> Result<(), BodyProblem> {
    let start = body.trim_ascii_start();
    match start.first() {
        None => Err(BodyProblem::Empty),
        Some(b'<') => Err(BodyProblem::Html),
        Some(b'{') => Ok(()),
        Some(_) if says_html(headers) => Err(BodyProblem::Html),
        // serde would take a list for a struct, field by field.
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
    fn gzip_is_unpacked_within_the_cap() {
        let packed = gzip(&[b' '; 10_000]);
        assert_eq!(unpack(&encoded("gzip"), packed.clone(), 10_000).unwrap().len(), 10_000);
        let bomb = unpack(&encoded("GZIP"), packed, 9_999);
        assert!(matches!(bomb, Err(BodyProblem::TooLarge { limit: 9_999 })), "{bomb:?}");
    }

    #[test]
    fn damaged_or_unknown_encodings_are_reported() {
        let mut packed = gzip(b"{\"customers\":[]}").to_vec();
        packed.truncate(packed.len() - 4);
        for (name, body) in [("gzip", packed.into()), ("br", Bytes::from_static(b"x"))] {
            let result = unpack(&encoded(name), body, 1_000);
            assert!(matches!(result, Err(BodyProblem::Encoding { .. })), "{name} {result:?}");
        }
    }

    #[test]
    fn every_member_of_a_gzip_file_is_unpacked() {
        let members = [gzip(b"{\"a\""), gzip(b":1}")].concat();
        assert_eq!(unpack(&encoded("gzip"), members.into(), 100).unwrap(), "{\"a\":1}");
        let bomb = [gzip(&[b' '; 60]), gzip(&[b' '; 60])].concat();
        let refused = unpack(&encoded("gzip"), bomb.into(), 100);
        assert!(matches!(refused, Err(BodyProblem::TooLarge { limit: 100 })), "{refused:?}");
    }

    #[test]
    fn what_is_no_coding_says_nothing() {
        let plain = Bytes::from_static(b"{}");
        for name in ["UTF-8", "identity", "", "none", "gzip", "gzip, gzip"] {
            assert_eq!(unpack(&encoded(name), plain.clone(), 100).unwrap(), plain, "{name}");
        }
        for name in ["gzip, identity", "identity,gzip", "utf-8 , X-Gzip"] {
            assert_eq!(unpack(&encoded(name), gzip(b"{}"), 100).unwrap(), plain, "{name}");
        }
        assert_eq!(unpack(&encoded("gzip, gzip"), gzip(&gzip(b"{}")), 100).unwrap(), plain);
        let thrice = unpack(&encoded("gzip, gzip, gzip"), gzip(&gzip(&gzip(b"{}"))), 200);
        assert!(matches!(thrice, Err(BodyProblem::Encoding { .. })), "{thrice:?}");
    }

    #[test]
    fn a_byte_order_mark_is_taken_off() {
        assert_eq!(without_mark(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(without_mark(b"{}"), b"{}");
    }

    #[test]
    fn web_pages_and_nothing_are_not_json() {
        let none = HeaderMap::new();
        assert!(matches!(look(&none, b" \n"), Err(BodyProblem::Empty)));
        assert!(matches!(look(&none, b"<!doctype html>"), Err(BodyProblem::Html)));
        assert!(matches!(look(&none, b"rate limit"), Err(BodyProblem::Malformed { .. })));
        assert!(matches!(look(&none, b"[[],null]"), Err(BodyProblem::Malformed { .. })));
        assert!(look(&none, b" {\"a\":1}").is_ok());
    }
}
