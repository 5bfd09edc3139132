//! Whatever request the local Lambda takes, the function gets the same one: method, path, query,
//! headers, cookies and body survive the event between them.
//!
//! An input is a request as it stands on the wire.

#![no_main]

use std::net::SocketAddr;

use bytes::Bytes;
use fuzz::request;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
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
        assert_eq!(
            parameters.all(&name),
            Some(sent.iter().map(|v| &**v).collect())
        );
    }
    assert_eq!(
        cookies(got.headers(), utf_8),
        cookies(sent.headers(), latin_1)
    );
    let own = ["cookie", "host", "x-forwarded-for", "x-forwarded-proto"];
    for name in sent.headers().keys() {
        if !own.contains(&name.as_str()) {
            let arrived = joined(got.headers(), name, utf_8);
            assert_eq!(arrived, joined(sent.headers(), name, latin_1), "{name}");
        }
    }
}

/// The values of a header as one.
fn joined(headers: &HeaderMap, name: &HeaderName, text: fn(&HeaderValue) -> String) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(text).collect();
    values.join(",")
}

fn cookies(headers: &HeaderMap, text: fn(&HeaderValue) -> String) -> Vec<String> {
    let lines: Vec<_> = headers.get_all(header::COOKIE).iter().map(text).collect();
    let pairs = lines.iter().flat_map(|line| line.split(';'));
    let pairs = pairs.map(|pair| pair.trim().to_owned());
    pairs.filter(|pair| !pair.is_empty()).collect()
}

/// As a header stands on the wire.
fn latin_1(value: &HeaderValue) -> String {
    let bytes = value.as_bytes().iter();
    bytes.map(|byte| char::from(*byte)).collect()
}

/// As a function gets it.
fn utf_8(value: &HeaderValue) -> String {
    String::from_utf8(value.as_bytes().to_vec()).expect("UTF-8")
}
