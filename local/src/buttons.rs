//! The dashboard's buttons: a scene, and real faults of the servers that this stack started.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::{scene::Stage, servers::Servers};

/// How long a server stays away where nobody says.
const OUTAGE_SECONDS: u64 = 10;

/// The longest outage that may be asked for.
const MAX_OUTAGE_SECONDS: u64 = 60;

/// What the buttons act on.
pub(crate) struct Buttons {
    url: String,
    pub(crate) servers: Arc<Servers>,
    queue_prefix: String,
    /// Whether a scene that a button started is being played.
    playing: Arc<AtomicBool>,
}

impl Buttons {
    pub(crate) fn new(url: &str, servers: Arc<Servers>, queue_prefix: String) -> Self {
        Buttons {
            url: url.to_owned(),
            servers,
            queue_prefix,
            playing: Arc::default(),
        }
    }
}

/// A scene's turn. Dropped, however the scene ended, it is another's.
struct Turn(Arc<AtomicBool>);

impl Turn {
    /// `None` while another scene is being played.
    fn take(playing: &Arc<AtomicBool>) -> Option<Self> {
        let taken = playing.swap(true, Ordering::Relaxed);
        (!taken).then(|| Turn(playing.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// An outage, in the query of a fault.
#[derive(Deserialize)]
pub(crate) struct Outage {
    seconds: Option<u64>,
}

/// Plays a scene; answers at once.
pub(crate) async fn scene(State(buttons): State<Arc<Buttons>>) -> Response {
    let Buttons {
        url,
        servers,
        queue_prefix,
        playing,
    } = &*buttons;
    let Some(turn) = Turn::take(playing) else {
        return refuse(StatusCode::CONFLICT, "a scene is being played already");
    };
    // In a Redis that was given, nobody expects queues that nobody filled.
    let redis_url = servers.has_own_redis().then_some(&servers.owner.redis_url);
    let stage = match Stage::new(url, redis_url.map(String::as_str), queue_prefix) {
        Ok(stage) => stage,
        Err(error) => return refuse(StatusCode::CONFLICT, &error.to_string()),
    };
    tokio::spawn(async move {
        let _turn = turn;
        if let Err(error) = stage.play().await {
            eprintln!("runcast: the scene broke off: {error}");
        }
    });
    StatusCode::ACCEPTED.into_response()
}

/// Breaks a server; answers when it has been started again.
pub(crate) async fn fault(
    State(servers): State<Arc<Servers>>,
    Path(server): Path<String>,
    Query(outage): Query<Outage>,
) -> Response {
    let seconds = outage.seconds.unwrap_or(OUTAGE_SECONDS);
    if !(1..=MAX_OUTAGE_SECONDS).contains(&seconds) {
        let detail = format!("an outage takes 1 to {MAX_OUTAGE_SECONDS} seconds");
        return refuse(StatusCode::BAD_REQUEST, &detail);
    }
    let outage = Duration::from_secs(seconds);
    // Whoever asked may leave: the server comes back all the same.
    let broken = match server.as_str() {
        "redis" => tokio::spawn(async move { servers.break_redis(outage).await }),
        "postgres" => tokio::spawn(async move { servers.break_postgres(outage).await }),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match broken.await {
        Ok(Ok(())) => Json(json!({"seconds": seconds})).into_response(),
        Ok(Err(error)) => refuse(StatusCode::CONFLICT, &error.to_string()),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refuse(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_that_broke_off_makes_room_for_the_next() {
        let playing = Arc::default();
        let turn = Turn::take(&playing).unwrap();
        assert!(Turn::take(&playing).is_none());
        let broken = std::thread::spawn(move || {
            let _turn = turn;
            panic!("the scene breaks off");
        });
        assert!(broken.join().is_err());
        assert!(Turn::take(&playing).is_some());
    }
}
