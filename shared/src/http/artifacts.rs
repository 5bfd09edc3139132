//! `GET /api/test-status/artifacts/{testId}`: a URL, good for minutes, of what a test left in the bucket of
//! `ARTIFACTS_BUCKET`. Only a test's own `s3Url` is signed: nobody names an object.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    app::{App, parse_id},
    incoming::{Incoming, PathId},
};
use crate::{cause, error::Problem, execution::Timestamp};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Artifact {
    url: String,
    expires_at: Timestamp,
}

pub(super) async fn artifact(
    State(app): State<Arc<App>>,
    PathId(id): PathId,
    incoming: Incoming,
) -> Result<Json<Artifact>, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Test {
        s3_url: Option<String>,
    }
    let id = parse_id(&id)?;
    let grant = app.admit(&incoming).await?;
    let event = app.current(&grant, id).await?;
    let test: Option<Test> = serde_json::from_str(&event.data).ok();
    let s3_url = test.and_then(|test| test.s3_url);
    let s3_url = s3_url.ok_or_else(|| none("This test has no s3Url."))?;
    let artifacts = app.edge.artifacts.as_ref();
    let artifacts = artifacts.ok_or_else(|| none("No bucket of artifacts is configured here."))?;
    let object = artifacts.object(event.organization_id.as_str(), &s3_url);
    let object = object.ok_or_else(|| {
        none("This test's s3Url names no object of the bucket that is configured here.")
    })?;
    let endpoint = artifacts.endpoint.as_deref();
    let signed = artifacts.signer.object_url(&object, endpoint).await;
    let signed = signed.map_err(|error| {
        tracing::error!(error = cause::chain(&error), "failed to sign a URL");
        Problem::unavailable("The URL cannot be signed now: try again soon.")
    })?;
    Ok(Json(Artifact {
        url: signed.url,
        expires_at: Timestamp(signed.expires_at.into()),
    }))
}

fn none(detail: &'static str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, detail)
}
