//! A request's body: JSON, as text, within bounds.

use std::io::Read;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::error::Problem;

/// The largest body that is read, in bytes, as it comes and unpacked.
pub(super) const MAX_BYTES: usize = 5 * 1024 * 1024;

/// How a body is packed.
#[derive(Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
}

/// Why a body is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    ContentType,
    Coding,
    TooLarge,
    Packed,
    Text,
}

/// Reads a body of JSON, unpacked.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<String, Unreadable> {
    if !is_json(headers) {
        return Err(Unreadable::ContentType);
    }
    let coding = coding(headers).ok_or(Unreadable::Coding)?;
    let body = to_bytes(body, MAX_BYTES).await;
    let body = body.map_err(|_| Unreadable::TooLarge)?;
    let body = match coding {
        Coding::Identity => body.into(),
        Coding::Gzip => unpacked(&body)?,
    };
    String::from_utf8(body).map_err(|_| Unreadable::Text)
}

/// Unpacks a body (RFC 1952), no more of it than is taken: a few bytes may stand for gigabytes.
fn unpacked(body: &Bytes) -> Result<Vec<u8>, Unreadable> {
    let mut unpacked = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    // One more, to see that there is more.
    let mut source = MultiGzDecoder::new(&body[..]).take(most.saturating_add(1));
    let read = source.read_to_end(&mut unpacked);
    if unpacked.len() > MAX_BYTES {
        return Err(Unreadable::TooLarge);
    }
    read.map_err(|_| Unreadable::Packed)?;
    Ok(unpacked)
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = words(headers, header::CONTENT_TYPE);
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// The coding of a body; `None` where it is not taken.
fn coding(headers: &HeaderMap) -> Option<Coding> {
    let words = words(headers, header::CONTENT_ENCODING);
    let codings = words.split(',').map(str::trim);
    let mut codings = codings.filter(|coding| !coding.is_empty() && *coding != "identity");
    match (codings.next(), codings.next()) {
        (None, _) => Some(Coding::Identity),
        // The same by an older name: RFC 9110, section 8.4.1.3.
        (Some("gzip" | "x-gzip"), None) => Some(Coding::Gzip),
        _ => None,
    }
}

/// What all lines of a header say, in lower case.
fn words(headers: &HeaderMap, name: HeaderName) -> String {
    let lines = headers.get_all(name).into_iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase())
        .collect();
    lines.join(",")
}

impl From<Unreadable> for Problem {
    fn from(unreadable: Unreadable) -> Self {
        let (status, detail) = match unreadable {
            Unreadable::ContentType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is to be JSON: send Content-Type: application/json.",
            ),
            Unreadable::Coding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is packed in a way that is not taken: send Content-Encoding: gzip, or none.",
            ),
            Unreadable::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body has more than 5 MB (5,242,880 bytes), as it came or unpacked: send fewer \
                 updates at once.",
            ),
            Unreadable::Packed => (
                StatusCode::BAD_REQUEST,
                "The body is no gzip, or breaks off.",
            ),
            Unreadable::Text => (StatusCode::BAD_REQUEST, "The body is not UTF-8."),
        };
        Problem::new(status, detail)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(body: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap().into()
    }

    fn headers(named: &[(HeaderName, &str)]) -> HeaderMap {
        let named = named.iter();
        named
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_body_is_unpacked_to_the_last_byte_that_is_taken() {
        let most = vec![b' '; MAX_BYTES];
        assert_eq!(unpacked(&packed(&most)).unwrap().len(), MAX_BYTES);
        let more = vec![b' '; MAX_BYTES + 1];
        assert_eq!(unpacked(&packed(&more)), Err(Unreadable::TooLarge));
    }

    #[test]
    fn what_is_packed_in_parts_is_one_body() {
        let parts = [packed(b"{\"a\":"), packed(b"1}")].concat();
        assert_eq!(unpacked(&parts.into()).unwrap(), b"{\"a\":1}");
    }

    #[test]
    fn what_breaks_off_or_is_followed_by_rubbish_is_refused() {
        let whole = packed(b"{}");
        for cut in 0..whole.len() {
            let cut = whole.slice(..cut);
            assert_eq!(unpacked(&cut), Err(Unreadable::Packed));
        }
        let followed = [&whole[..], b"{}"].concat();
        assert_eq!(unpacked(&followed.into()), Err(Unreadable::Packed));
    }

    #[test]
    fn only_json_and_gzip_are_taken() {
        for (content_type, taken) in [
            ("application/json", true),
            ("Application/JSON ; charset=utf-8", true),
            ("application/json-seq", false),
            ("text/json", false),
            ("", false),
        ] {
            let headers = headers(&[(header::CONTENT_TYPE, content_type)]);
            assert_eq!(is_json(&headers), taken, "{content_type}");
        }
        assert!(!is_json(&HeaderMap::new()));
        for (encoding, taken) in [
            ("", Some(Coding::Identity)),
            ("identity", Some(Coding::Identity)),
            ("gzip", Some(Coding::Gzip)),
            ("X-GZIP", Some(Coding::Gzip)),
            ("identity, gzip", Some(Coding::Gzip)),
            ("gzip, gzip", None),
            ("br", None),
            ("deflate", None),
        ] {
            let headers = headers(&[(header::CONTENT_ENCODING, encoding)]);
            assert_eq!(coding(&headers), taken, "{encoding}");
        }
        assert_eq!(coding(&HeaderMap::new()), Some(Coding::Identity));
    }
}
