//! Unpacking and judging an answer's body.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::error::BodyProblem;

/// Undoes the body's `Content-Encoding`; the result is at most `limit` bytes.
pub(super) fn unpack(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, BodyProblem> {
    let encoding = headers.get(CONTENT_ENCODING).map_or(b"".as_slice(), http::HeaderValue::as_bytes);
    if encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity") || body.is_empty() {
        return Ok(body);
    }
    let damaged =
        || BodyProblem::Encoding { encoding: String::from_utf8_lossy(encoding).chars().take(20).collect() };
    if !encoding.eq_ignore_ascii_case(b"gzip") && !encoding.eq_ignore_ascii_case(b"x-gzip") {
        return Err(damaged());
    }
    // Enough for what JSON usually shrinks to, so that the buffer seldom grows.
    let mut unpacked = Vec::with_capacity(body.len().saturating_mul(8).min(limit.saturating_add(1)));
    let reader = GzDecoder::new(body.as_ref());
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(cap).read_to_end(&mut unpacked).map_err(|_unpacking| damaged())?;
    if unpacked.len() > limit {
        return Err(BodyProblem::TooLarge { limit });
    }
    Ok(unpacked.into())
}

/// Recognises bodies that are no JSON at all, for a message better than a parser's.
pub(super) fn look(headers: &HeaderMap, body: &[u8]) -> Result<(), BodyProblem> {
    let start = body.trim_ascii_start();
    let html_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("text/html"));
    match start.first() {
        None => Err(BodyProblem::Empty),
        Some(b'<') => Err(BodyProblem::Html),
        Some(b'{') => Ok(()),
        Some(_) if html_type => Err(BodyProblem::Html),
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
    fn web_pages_and_nothing_are_not_json() {
        let none = HeaderMap::new();
        assert!(matches!(look(&none, b" \n"), Err(BodyProblem::Empty)));
        assert!(matches!(look(&none, b"<!doctype html>"), Err(BodyProblem::Html)));
        assert!(matches!(look(&none, b"rate limit"), Err(BodyProblem::Malformed { .. })));
        assert!(matches!(look(&none, b"[[],null]"), Err(BodyProblem::Malformed { .. })));
        assert!(look(&none, b" {\"a\":1}").is_ok());
    }
}
