//! The head of a streamed answer, read as it comes: a JSON object with status, headers and
//! cookies, eight NUL bytes, then the body.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html>

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;

/// The content type of an answer with a prelude.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.awslambda.http-integration-response";

/// The largest prelude that is read, in bytes, with its delimiter.
const MAX_BYTES: usize = 256 * 1024;

const DELIMITER: [u8; 8] = [0; 8];

/// What stands before the body.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Prelude {
    pub(crate) status_code: Option<u16>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) cookies: Vec<String>,
}

/// Reads a prelude from chunks of any size.
#[derive(Default)]
pub(crate) struct PreludeParser {
    buffer: BytesMut,
    /// Up to here, there is no delimiter.
    searched: usize,
}

impl PreludeParser {
    /// Takes a chunk. Once the prelude is whole, returns it and what is already there of the body.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<Option<(Prelude, Bytes)>, &'static str> {
        self.buffer.extend_from_slice(chunk);
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let found = unsearched
            .windows(DELIMITER.len())
            .position(|window| window == DELIMITER);
        // However it is cut into chunks: a delimiter that ends later is as good as none.
        let too_long = "the answer's prelude is too long";
        let Some(found) = found else {
            self.searched = self.buffer.len().saturating_sub(DELIMITER.len() - 1);
            if self.buffer.len() >= MAX_BYTES {
                return Err(too_long);
            }
            return Ok(None);
        };
        if self.searched + found + DELIMITER.len() > MAX_BYTES {
            return Err(too_long);
        }
        let json = self.buffer.split_to(self.searched + found);
        let body = self.buffer.split().freeze().slice(DELIMITER.len()..);
        let prelude = serde_json::from_slice(&json);
        let prelude = prelude.map_err(|_| "the answer's prelude is not JSON")?;
        Ok(Some((prelude, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"{\"statusCode\":201,\"headers\":{\"a\":\"b\"},\"cookies\":[\"c=d\"]}\0\0\0\0\0\0\0\0\0body";

    #[test]
    fn a_prelude_is_read_however_it_is_split() {
        for size in 1..=ANSWER.len() {
            let mut parser = PreludeParser::default();
            let mut body = Vec::new();
            let mut prelude = None;
            for chunk in ANSWER.chunks(size) {
                if prelude.is_some() {
                    body.extend_from_slice(chunk);
                } else if let Some((whole, rest)) = parser.feed(chunk).unwrap() {
                    prelude = Some(whole);
                    body.extend_from_slice(&rest);
                }
            }
            let prelude = prelude.unwrap();
            assert_eq!(prelude.status_code, Some(201), "chunks of {size}");
            assert_eq!(prelude.cookies, ["c=d"]);
            assert_eq!(body, b"\0body", "chunks of {size}");
        }
    }

    #[test]
    fn the_longest_prelude_is_the_same_in_one_chunk_and_in_many() {
        for (padding, fits) in [(MAX_BYTES - 10, true), (MAX_BYTES - 9, false)] {
            let answer = [b"{}".as_slice(), &vec![b' '; padding], &DELIMITER, b"body"].concat();
            assert_eq!(PreludeParser::default().feed(&answer).is_ok(), fits);
            let mut parser = PreludeParser::default();
            let mut reads = answer.chunks(7).map(|chunk| parser.feed(chunk));
            let read = reads.find(|read| !matches!(read, Ok(None)));
            assert_eq!(read.unwrap().is_ok(), fits);
        }
    }

    #[test]
    fn an_endless_prelude_is_refused() {
        let mut parser = PreludeParser::default();
        assert!(parser.feed(&vec![b'x'; MAX_BYTES + 1]).is_err());
        assert!(
            PreludeParser::default()
                .feed(b"nonsense\0\0\0\0\0\0\0\0")
                .is_err()
        );
    }
}
