//! HTTP requests from the bytes that a client sends (RFC 9112).

use bytes::Bytes;
use http::Request;
use httparse::{EMPTY_HEADER, Status};

/// How many header lines are read.
const MAX_HEADERS: usize = 64;

/// Reads a request; `None` where a server would have refused it already.
#[must_use]
pub fn read(data: &[u8]) -> Option<Request<Bytes>> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let Ok(Status::Complete(length)) = head.parse(data) else {
        return None;
    };
    let mut request = Request::builder().method(head.method?).uri(head.path?);
    for header in head.headers {
        request = request.header(header.name, header.value);
    }
    let body = Bytes::copy_from_slice(data.get(length..)?);
    let request = request.body(body).ok()?;
    request.uri().path().starts_with('/').then_some(request)
}
