//! Who may ask the stack for more than its streams: its own page, and programs.

use axum::{
    Json,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

/// Turns other web pages away: they could break servers, and read tokens by DNS rebinding.
///
/// Programs say neither whose page they act for nor fetch metadata, and may pass.
/// <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>
pub(crate) async fn only(request: Request, next: Next) -> Response {
    if is_same_origin(request.headers()) {
        next.run(request).await
    } else {
        let refusal = json!({"detail": "only the stack's own page may ask for this, and programs that call it 127.0.0.1 or localhost"});
        (StatusCode::FORBIDDEN, Json(refusal)).into_response()
    }
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(header::HOST) else {
        return false;
    };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_ours = matches!(name, "127.0.0.1" | "localhost" | "[::1]");
    let site = headers
        .get("sec-fetch-site")
        .map(http::HeaderValue::as_bytes);
    is_ours
        && matches!(site, None | Some(b"same-origin" | b"none"))
        && text(header::ORIGIN).is_none_or(|origin| origin == format!("http://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        is_same_origin(&map)
    }

    #[test]
    fn only_the_own_page_and_programs_may_press_buttons() {
        let host = ("host", "127.0.0.1:8787");
        assert!(allows(&[host]));
        assert!(allows(&[
            host,
            ("origin", "http://127.0.0.1:8787"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(!allows(&[host, ("origin", "http://127.0.0.1:9999")]));
        assert!(!allows(&[host, ("origin", "null")]));
        assert!(!allows(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(!allows(&[
            ("host", "rebound.example:8787"),
            ("origin", "http://rebound.example:8787")
        ]));
        assert!(!allows(&[]));
    }
}
