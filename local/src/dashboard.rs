//! The dashboard's files, as `make build` left them in the checkout, and what it has to know.

use std::{
    path::{Component, Path},
    sync::Arc,
};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::{checkout, servers::Servers};

/// Serves a file of the dashboard; `/` is its page.
pub(crate) async fn serve(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = Path::new(if path.is_empty() { "index.html" } else { path });
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside || !matches!(method, Method::GET | Method::HEAD) {
        return no_such_file();
    }
    // The names of assets hold a hash of what is in them.
    let caching = if path.starts_with("assets") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    match tokio::fs::read(checkout::path().join("web/dist").join(path)).await {
        Ok(file) => {
            let content_type = mime_guess::from_path(path)
                .first_or_octet_stream()
                .to_string();
            let headers = [
                (header::CONTENT_TYPE, content_type.as_str()),
                (header::CACHE_CONTROL, caching),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, file).into_response()
        }
        Err(_) if path == Path::new("index.html") => {
            let missing = "The dashboard is not built: run `make build`.\n";
            (StatusCode::NOT_FOUND, missing).into_response()
        }
        Err(_) => no_such_file(),
    }
}

fn no_such_file() -> Response {
    let missing = "There is no such file: the dashboard is at /, the functions are below /api.\n";
    (StatusCode::NOT_FOUND, missing).into_response()
}

/// What the dashboard has to know of where it is served.
pub(crate) async fn config(State(servers): State<Arc<Servers>>) -> Json<Value> {
    Json(json!({
        "apiUrl": "",
        "organizationId": "demo",
        "projectId": "demo",
        "local": {"redis": servers.has_own_redis(), "postgres": servers.has_own_postgres()},
    }))
}
