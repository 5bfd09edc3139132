//! Function URLs: from an HTTP request to the event that the function gets (payload 2.0), and from
//! its answer back to HTTP.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>

use std::net::SocketAddr;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde_json::{Map, Value, json};
use shared::execution::Timestamp;
use tokio::sync::mpsc;

use crate::{
    invocation::{Answer, Broken, NoAnswer},
    prelude::{self, Prelude, PreludeParser},
};

/// The domain of every function URL here.
const DOMAIN: &str = "localhost";

/// The event of a request.
pub(crate) fn event(parts: &Parts, body: &Bytes, peer: SocketAddr) -> Value {
    let query = parts.uri.query().unwrap_or_default();
    let (body, is_base64_encoded) = text_or_base64(&parts.headers, body);
    let now = Timestamp::now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.uri.path(),
        "rawQueryString": query,
        "headers": event_headers(&parts.headers, peer),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": DOMAIN,
            "domainPrefix": "local",
            "http": {
                "method": parts.method.as_str(),
                "path": parts.uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": text(parts.headers.get(header::USER_AGENT)),
            },
            "requestId": format!("{:032x}", rand::random::<u128>()),
            "routeKey": "$default",
            "stage": "$default",
            "time": now.0.format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.0.timestamp_millis(),
        },
        "isBase64Encoded": is_base64_encoded,
    });
    let cookies: Vec<_> = parts
        .headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| text(Some(line)))
        .flat_map(|line| {
            line.split(';')
                .map(|pair| pair.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = joined_query(query);
    }
    if let Some(body) = body {
        event["body"] = json!(body);
    }
    event
}

/// The response of an answer, streamed as it comes.
pub(crate) async fn response(answer: Result<Answer, NoAnswer>) -> Response {
    match answer {
        Err(NoAnswer::Throttled) => {
            let reason = json!({"Reason": "ConcurrentInvocationLimitExceeded", "Type": "User",
                                "message": "Rate Exceeded."});
            (StatusCode::TOO_MANY_REQUESTS, axum::Json(reason)).into_response()
        }
        Ok(answer) if !answer.is_error => {
            let streamed = answer
                .headers
                .get(header::CONTENT_TYPE)
                .is_some_and(|value| {
                    value
                        .as_bytes()
                        .starts_with(prelude::CONTENT_TYPE.as_bytes())
                });
            let response = if streamed {
                streamed_response(answer.body).await
            } else {
                buffered_response(answer.body).await
            };
            response.unwrap_or_else(bad_gateway)
        }
        Ok(_) | Err(_) => bad_gateway(),
    }
}

/// What a function URL answers where the function failed.
fn bad_gateway() -> Response {
    let body = json!({"Message": "Internal Server Error"});
    (StatusCode::BAD_GATEWAY, axum::Json(body)).into_response()
}

async fn streamed_response(mut chunks: mpsc::Receiver<Result<Bytes, Broken>>) -> Option<Response> {
    let mut parser = PreludeParser::default();
    let (prelude, first) = loop {
        match parser.feed(&chunks.recv().await?.ok()?) {
            Ok(Some(whole)) => break whole,
            Ok(None) => {}
            Err(error) => {
                eprintln!("runcast: {error}");
                return None;
            }
        }
    };
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    let rest = stream::poll_fn(move |context| chunks.poll_recv(context));
    respond(prelude, Body::from_stream(first.chain(rest)))
}

async fn buffered_response(chunks: mpsc::Receiver<Result<Bytes, Broken>>) -> Option<Response> {
    let body = collect(chunks).await.ok()?;
    let value: Value = serde_json::from_slice(&body).ok()?;
    // Without a status, the whole answer is the body.
    if value.get("statusCode").is_none() {
        let json = HeaderValue::from_static("application/json");
        return Some(([(header::CONTENT_TYPE, json)], body).into_response());
    }
    let prelude: Prelude = serde_json::from_value(value.clone()).ok()?;
    let body = value
        .get("body")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let body = match value.get("isBase64Encoded").and_then(Value::as_bool) {
        Some(true) => BASE64_STANDARD.decode(body).ok()?,
        _ => body.as_bytes().to_vec(),
    };
    respond(prelude, Body::from(body))
}

/// An answer's whole body.
pub(crate) async fn collect(
    mut chunks: mpsc::Receiver<Result<Bytes, Broken>>,
) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        body.extend_from_slice(&chunk?);
    }
    Ok(body)
}

fn respond(prelude: Prelude, body: Body) -> Option<Response> {
    let status = StatusCode::from_u16(prelude.status_code.unwrap_or(200)).ok()?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in &prelude.headers {
        let mut name = name.to_ascii_lowercase();
        if matches!(name.as_str(), "connection" | "content-length") {
            name = format!("x-amzn-remapped-{name}");
        }
        headers.append(
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value).ok()?,
        );
    }
    for cookie in &prelude.cookies {
        headers.append(header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    Some(response)
}

/// Text as it is; anything else in base64.
fn text_or_base64(headers: &HeaderMap, body: &Bytes) -> (Option<String>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    let content_type = text(headers.get(header::CONTENT_TYPE)).unwrap_or_default();
    let textual = [
        "text/",
        "application/json",
        "application/xml",
        "application/javascript",
    ];
    match std::str::from_utf8(body) {
        Ok(body)
            if textual
                .iter()
                .any(|prefix| content_type.starts_with(prefix)) =>
        {
            (Some(body.to_owned()), false)
        }
        _ => (Some(BASE64_STANDARD.encode(body)), true),
    }
}

/// Headers with lower-case names, several values joined by commas; cookies have a place of their
/// own. What the URL itself says, a client cannot: functions build their request's URI from it,
/// and `lambda_http` panics where that is none.
fn event_headers(headers: &HeaderMap, peer: SocketAddr) -> Map<String, Value> {
    let mut joined = Map::new();
    for name in headers.keys().filter(|name| *name != header::COOKIE) {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values.filter_map(|value| text(Some(value))).collect();
        joined.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    joined.insert("host".to_owned(), json!(DOMAIN));
    joined.insert("x-forwarded-for".to_owned(), json!(peer.ip().to_string()));
    joined.insert("x-forwarded-proto".to_owned(), json!("http"));
    joined
}

fn joined_query(query: &str) -> Value {
    let mut joined = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match joined.get_mut(&*name) {
            Some(Value::String(values)) => {
                values.push(',');
                values.push_str(&value);
            }
            _ => {
                joined.insert(name.into_owned(), json!(value));
            }
        }
    }
    Value::Object(joined)
}

fn text(value: Option<&HeaderValue>) -> Option<String> {
    // Latin-1, as HTTP/1.1 had it, where it is not ASCII.
    value.map(|value| {
        value
            .as_bytes()
            .iter()
            .map(|byte| char::from(*byte))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_of(request: http::Request<()>, body: &'static [u8]) -> Value {
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        event(&request.into_parts().0, &Bytes::from_static(body), peer)
    }

    #[test]
    fn an_event_has_the_form_of_payload_2_0() {
        let request = http::Request::get("/api/a%20b?x=1&x=2&y=%20")
            .header("X-Two", "a")
            .header("X-Two", "b")
            .header("Cookie", "a=1; b=2")
            .body(())
            .unwrap();
        let event = event_of(request, b"");
        assert_eq!(event["rawPath"], "/api/a%20b");
        assert_eq!(event["rawQueryString"], "x=1&x=2&y=%20");
        assert_eq!(
            event["queryStringParameters"],
            json!({"x": "1,2", "y": " "})
        );
        assert_eq!(event["headers"]["x-two"], "a,b");
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["requestContext"]["http"]["sourceIp"], "127.0.0.1");
        assert_eq!(event.get("body"), None);
    }

    #[test]
    fn a_client_does_not_say_where_it_called_or_how() {
        let request = http::Request::get("/api/job-status/health")
            .header("Host", "a b")
            .header("X-Forwarded-Proto", "1:")
            .header("X-Forwarded-For", "192.0.2.9")
            .body(())
            .unwrap();
        let event = event_of(request, b"");
        assert_eq!(event["headers"]["host"], "localhost");
        assert_eq!(event["headers"]["x-forwarded-proto"], "http");
        assert_eq!(event["headers"]["x-forwarded-for"], "127.0.0.1");
    }

    #[test]
    fn a_cookie_beyond_ascii_is_kept_like_any_header() {
        let request = http::Request::get("/")
            .header(
                "Cookie",
                HeaderValue::from_bytes(b"name=J\xf6rg; b=2").unwrap(),
            )
            .body(())
            .unwrap();
        let event = event_of(request, b"");
        assert_eq!(event["cookies"], json!(["name=J\u{f6}rg", "b=2"]));
    }

    #[test]
    fn a_binary_body_is_base64() {
        let request = || http::Request::post("/").header("content-type", "text/plain");
        let event = event_of(request().body(()).unwrap(), b"\xff\x00");
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!("/wA="), &json!(true))
        );
        let event = event_of(request().body(()).unwrap(), b"hello");
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!("hello"), &json!(false))
        );
    }

    #[tokio::test]
    async fn hop_headers_are_renamed_and_cookies_set() {
        let (sender, body) = mpsc::channel(4);
        let answer = br#"{"statusCode":200,"headers":{"Connection":"close","content-length":"3","a":"b"},"cookies":["c=1","d=2"]}"#;
        sender.send(Ok(Bytes::from_static(answer))).await.unwrap();
        sender
            .send(Ok(Bytes::from_static(b"\0\0\0\0\0\0\0\0abc")))
            .await
            .unwrap();
        drop(sender);
        let response = streamed_response(body).await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-amzn-remapped-connection"], "close");
        assert_eq!(headers["x-amzn-remapped-content-length"], "3");
        assert!(!headers.contains_key("connection"));
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }
}
