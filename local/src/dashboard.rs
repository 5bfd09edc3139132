//! The dashboard's files, from the checkout.

use std::path::{Component, Path};

use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};

use crate::process;

/// Serves a file of the dashboard; `/` is its page.
pub(crate) async fn serve(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = Path::new(if path.is_empty() { "index.html" } else { path });
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside || !matches!(method, Method::GET | Method::HEAD) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match tokio::fs::read(process::checkout().join("web/public").join(path)).await {
        Ok(file) => {
            let content_type = mime_guess::from_path(path)
                .first_or_octet_stream()
                .to_string();
            ([(header::CONTENT_TYPE, content_type)], file).into_response()
        }
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
