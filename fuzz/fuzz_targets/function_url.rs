//! Whatever request the local Lambda takes, the function gets the same one: method, path, query,
//! headers, cookies and body survive the event between them.
//!
//! An input is a request as it stands on the wire.

#![no_main]

use std::net::SocketAddr;

use bytes::Bytes;
use fuzz::request;
use http::{HeaderMap, HeaderValue, Request, header};
use lambda_http::RequestExt;
use libfuzzer_sys::fuzz_target;

#[path = "../../local/src/function_url.rs"]
#[allow(dead_code, reason = "the way back is another target's")]
mod function_url;
#[path = "../../local/src/invocation.rs"]
#[allow(dead_code, reason = "only its types are named here")]
mod invocation;
#[path = "../../local/src/prelude.rs"]
#[allow(dead_code, reason = "another target's")]
mod prelude;

fuzz_target!(|data: &[u8]| {
    let Some(sent) = request::read(data) else {
        return;
    };
    let (parts, body) = sent.clone().into_parts();
    let peer = SocketAddr::from(([192, 0, 2, 1], 5));
    let event = function_url::event(&parts, &body, peer);
    let got = lambda_http::request::from_str(&event.to_string()).expect("a payload 2.0 event");
    check_head(&sent, &got);
    assert_eq!(got.body().as_ref(), &**sent.body());
});

fn check_head(sent: &Request<Bytes>, got: &lambda_http::Request) {
    assert_eq!(got.method(), sent.method());
    assert_eq!(got.raw_http_path(), sent.uri().path());
    assert_eq!(
        got.uri().query().unwrap_or_default(),
        sent.uri().query().unwrap_or_default()
    );
    let query = sent.uri().query().unwrap_or_default();
    let parameters = got.query_string_parameters();
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        let of_name = form_urlencoded::parse(query.as_bytes()).filter(|(other, _)| *other == name);
        let sent: Vec<_> = of_name.map(|(_, value)| value.into_owned()).collect();
        assert_eq!(parameters.all(&name), Some(sent.iter().map(|v| &**v).collect()));
    }
    assert_eq!(cookies(got.headers()), cookies(sent.headers()));
    for name in sent.headers().keys() {
        if name != header::COOKIE && name != "x-forwarded-proto" {
            assert_eq!(joined(got.headers(), name), joined(sent.headers(), name));
        }
    }
}

/// The values of a header as one.
fn joined(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(text).collect();
    values.join(",")
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines: Vec<_> = headers.get_all(header::COOKIE).iter().map(text).collect();
    let pairs = lines.iter().flat_map(|line| line.split(';'));
    let pairs = pairs.map(|pair| pair.trim().to_owned());
    pairs.filter(|pair| !pair.is_empty()).collect()
}

/// A header on the wire is Latin-1, in an event UTF-8; where it is neither, it is not compared.
fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().map(|b| char::from(*b)).collect(),
    }
}
