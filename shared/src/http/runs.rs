//! `GET /api/runs`: what the streams of job runs tell, to be read: a project's runs, past ones
//! included, one run, and its history.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    app::{App, parse_id, unavailable, unreadable},
    incoming::{Incoming, PathId},
};
use crate::{
    access::grant::Grant,
    error::Problem,
    execution::{Event, Id, Seq, Status},
    log::{Asked, Before},
};

/// How many runs that have finished a page has, where nobody says.
const LIMIT: i64 = 50;

/// How many it has at most.
const MAX_LIMIT: i64 = 200;

/// How long what is searched for may be, in characters.
const MAX_SEARCH: usize = 200;

/// What is served below `/api/runs`.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/runs", get(list))
        .route("/api/runs/{id}", get(one))
        .with_state(app)
}

/// A run's state, as the log has it.
type StateJson = Box<RawValue>;

async fn list(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Page {
        runs: Vec<StateJson>,
        next: Option<String>,
    }
    let grant = app.admit(&incoming).await?;
    let asked = asked(&incoming, &grant)?;
    let runs = app.log.runs(&asked).await.map_err(unreadable)?;
    let page = Page {
        runs: states(&runs.events)?,
        next: runs.next.as_ref().map(written),
    };
    Ok(answer(&incoming.headers, &page))
}

async fn one(
    State(app): State<Arc<App>>,
    PathId(id): PathId,
    incoming: Incoming,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct History {
        events: Vec<StateJson>,
        next: Option<Seq>,
    }
    let id = parse_id(&id)?;
    let grant = app.admit(&incoming).await?;
    let is_history = flag(&incoming, "history")?;
    let now = app.current(&grant, id.clone()).await?;
    if !is_history {
        return Ok(answer(&incoming.headers, &state(&now)?));
    }
    let after = match incoming.parameter("after") {
        Some(text) => text
            .parse()
            .map_err(|_| Problem::bad_request("after is the seq of an event, such as 128."))?,
        None => 0,
    };
    let watch = app.watch(&grant.organization_id, id);
    let after = app.log.after(&watch, &[Seq(after)]).await;
    let after = after.map_err(unreadable)?;
    let events: Vec<Event> = after.events.into_iter().map(|(_, event)| event).collect();
    let last = events.last().map(|event| event.seq);
    let history = History {
        events: states(&events)?,
        next: last.filter(|_| !after.whole),
    };
    Ok(answer(&incoming.headers, &history))
}

fn asked(incoming: &Incoming, grant: &Grant) -> Result<Asked, Problem> {
    let project_id: Id = match incoming.parameter("projectId") {
        Some(text) => parse_id(text)?,
        None => match grant.only_project() {
            Some(project_id) => project_id.clone(),
            None => {
                return Err(Problem::bad_request(
                    "Say of which project: GET /api/runs?projectId=….",
                ));
            }
        },
    };
    if !grant.covers_project(&project_id) {
        return Err(Problem::not_found());
    }
    let named = |name: &'static str| {
        let parameters = incoming.query.iter().filter(move |(it, _)| it == name);
        parameters.map(|(_, value)| value)
    };
    let status = |word: &String| word.parse::<Status>();
    let statuses: Result<Vec<_>, _> = named("status").map(status).collect();
    let statuses = statuses
        .map_err(|error| Problem::bad_request(format!("The status is not known: {error}.")))?;
    let search = incoming.parameter("search").unwrap_or_default().to_owned();
    if search.chars().count() > MAX_SEARCH || search.contains('\0') {
        return Err(Problem::bad_request(format!(
            "search is a text of at most {MAX_SEARCH} characters."
        )));
    }
    let before = incoming.parameter("before").map(|text| {
        read(text).ok_or_else(|| {
            Problem::bad_request("before is the `next` of the page before, as it came.")
        })
    });
    let limit = match incoming.parameter("limit") {
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| Problem::bad_request(format!("limit is 1 to {MAX_LIMIT}.")))?,
        None => LIMIT,
    };
    Ok(Asked {
        organization_id: grant.organization_id.clone(),
        project_id,
        statuses,
        search,
        before: before.transpose()?,
        limit,
    })
}

/// Whether a parameter that is `true` or `false`, or stands alone, is set.
fn flag(incoming: &Incoming, name: &str) -> Result<bool, Problem> {
    match incoming.parameter(name) {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(_) => Err(Problem::bad_request(format!("{name} is true or false."))),
    }
}

/// The end of a page, as clients give it back.
fn written(before: &Before) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{} {}", before.ended_at_micros, before.id))
}

fn read(text: &str) -> Option<Before> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (ended_at, id) = text.split_once(' ')?;
    Some(Before {
        ended_at_micros: ended_at.parse().ok()?,
        id: id.parse().ok()?,
    })
}

fn states(events: &[Event]) -> Result<Vec<StateJson>, Problem> {
    events.iter().map(state).collect()
}

fn state(event: &Event) -> Result<StateJson, Problem> {
    RawValue::from_string(event.data.as_ref().to_owned()).map_err(|error| {
        tracing::error!(%error, "a state in the log is no JSON");
        unavailable()
    })
}

/// The answer, or that it is what the client has (RFC 9110, section 13.1.2).
fn answer(headers: &HeaderMap, body: &impl Serialize) -> Response {
    let text = match serde_json::to_vec(body) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            return unavailable().into_response();
        }
    };
    let hash = digest(&SHA256, &text);
    let etag = format!(
        "\"{}\"",
        BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
    );
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|it| it.to_str().ok());
    let is_known = known.is_some_and(|known| {
        known
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*")
    });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], text).into_response()
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}
