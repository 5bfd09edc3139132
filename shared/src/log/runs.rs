//! Reading the runs of a project, past ones included.

use chrono::DateTime;
use tokio_postgres::types::{ToSql, Type};

use super::{
    Log, LogError,
    read::event,
    row::{id, is_null},
};
use crate::execution::{Event, Id, Kind, Status};

/// How many that have not finished a list has at most: those that changed last.
const MAX_OPEN: i64 = 500;

/// Among how many of those that have finished one read searches.
const SEARCHED: i64 = 5_000;

/// Which runs of a project are asked for.
#[derive(Debug)]
pub struct Asked {
    /// Whose it is.
    pub organization_id: Id,
    /// Which project.
    pub project_id: Id,
    /// How they stand; empty: in any way.
    pub statuses: Vec<Status>,
    /// What their id, name or labels have in them, in any case; empty: anything.
    pub search: String,
    /// Where the page before ended; `None`: the first.
    pub before: Option<Before>,
    /// How many that have finished, at most.
    pub limit: i64,
}

/// The end of a page: when its last run ended, in microseconds of Unix time, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// When it ended.
    pub ended_at_micros: i64,
    /// Its id.
    pub id: Id,
}

/// A page of runs.
#[derive(Debug)]
pub struct Runs {
    /// The last event of each; on the first page those that have not finished come first, then those
    /// that ended last.
    pub events: Vec<Event>,
    /// Where the next page begins; `None` where there is none.
    pub next: Option<Before>,
}

impl Log {
    /// Reads a page of a project's runs.
    ///
    /// # Errors
    /// Where the log can't be read now.
    pub async fn runs(&self, asked: &Asked) -> Result<Runs, LogError> {
        let mut events = Vec::new();
        let is_asked = |wanted: fn(&Status) -> bool| {
            asked.statuses.is_empty() || asked.statuses.iter().any(wanted)
        };
        if asked.before.is_none() && is_asked(|status| !status.is_terminal()) {
            events = self.open_runs(asked).await?;
        }
        let mut next = None;
        if is_asked(|status| status.is_terminal()) {
            let (ended, more) = self.ended_runs(asked).await?;
            events.extend(ended);
            next = more;
        }
        Ok(Runs { events, next })
    }

    async fn open_runs(&self, asked: &Asked) -> Result<Vec<Event>, LogError> {
        let sql = format!(
            "SELECT * FROM executions
             WHERE organization_id = $1 AND project_id = $2 AND kind = 'job' AND seq > 0
               AND status IN ('waiting', 'running') AND {MATCHES}
             ORDER BY project_seq DESC
             LIMIT {MAX_OPEN}"
        );
        let texts = Texts::new(asked);
        let rows = self.query(&sql, &texts.parameters()).await?;
        rows.iter().map(|row| event(row, Kind::Job)).collect()
    }

    async fn ended_runs(&self, asked: &Asked) -> Result<(Vec<Event>, Option<Before>), LogError> {
        // The index has the time: of those that ended at once, ids decide.
        let sql = format!(
            "WITH page AS (
                 SELECT *, (extract(epoch FROM ended_at) * 1000000)::bigint AS ended_at_micros
                 FROM executions
                 WHERE organization_id = $1 AND project_id = $2 AND kind = 'job' AND seq > 0
                   AND status NOT IN ('waiting', 'running')
                   AND ended_at <= $5 AND (ended_at, id) < ($5, $6)
                 ORDER BY ended_at DESC NULLS LAST, id DESC
                 LIMIT {SEARCHED}
             ), found AS (
                 SELECT * FROM page WHERE {MATCHES} ORDER BY ended_at DESC, id DESC LIMIT $7
             )
             SELECT (SELECT count(*) FROM page) AS searched,
                    (SELECT ended_at_micros FROM page ORDER BY ended_at, id LIMIT 1) AS last_micros,
                    (SELECT id FROM page ORDER BY ended_at, id LIMIT 1) AS last_id,
                    found.*
             FROM (VALUES (1)) one LEFT JOIN found ON true
             ORDER BY found.ended_at DESC, found.id DESC"
        );
        let texts = Texts::new(asked);
        let before = asked.before.as_ref();
        let ended_at = before.map_or(DateTime::<chrono::Utc>::MAX_UTC, |before| {
            DateTime::from_timestamp_micros(before.ended_at_micros).unwrap_or_default()
        });
        // The latest that both know.
        let ended_at =
            ended_at.min(DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default());
        let before_id = before.map_or("", |before| before.id.as_str());
        let mut parameters = texts.parameters();
        parameters.extend([
            (&ended_at as &(dyn ToSql + Sync), Type::TIMESTAMPTZ),
            (&before_id, Type::TEXT),
            (&asked.limit, Type::INT8),
        ]);
        let rows = self.query(&sql, &parameters).await?;
        let mut events = Vec::with_capacity(rows.len());
        let mut next = None;
        for row in rows.iter().filter(|row| !is_null(row, "id")) {
            events.push(event(row, Kind::Job)?);
            next = Some(Before {
                ended_at_micros: row.try_get("ended_at_micros")?,
                id: id(row, "id")?,
            });
        }
        let is_full = i64::try_from(events.len()).is_ok_and(|found| found == asked.limit);
        if !is_full {
            let first = rows.first();
            let is_cut = first.is_some_and(|row| matches!(row.try_get("searched"), Ok(SEARCHED)));
            next = match first.filter(|_| is_cut) {
                Some(row) => Some(Before {
                    ended_at_micros: row.try_get("last_micros")?,
                    id: id(row, "last_id")?,
                }),
                None => None,
            };
        }
        Ok((events, next))
    }
}

/// Whether a run is one of those asked for: by its status (`$3`) and words (`$4`). A database of the locale `C`
/// knows capitals of ASCII only.
const MATCHES: &str = "(cardinality($3) = 0 OR status = ANY($3)) AND ($4 = '' OR strpos(lower(
                           concat_ws(' ', id, state::json ->> 'name', state::json ->> 'labels')
                           COLLATE \"und-x-icu\"), $4) > 0)";

/// What is asked for, as parameters.
struct Texts<'a> {
    organization_id: &'a str,
    project_id: &'a str,
    statuses: Vec<&'static str>,
    search: String,
}

impl<'a> Texts<'a> {
    fn new(asked: &'a Asked) -> Self {
        Texts {
            organization_id: asked.organization_id.as_str(),
            project_id: asked.project_id.as_str(),
            statuses: asked
                .statuses
                .iter()
                .map(|status| status.as_str())
                .collect(),
            search: asked.search.to_lowercase(),
        }
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.organization_id, Type::TEXT),
            (&self.project_id, Type::TEXT),
            (&self.statuses, Type::TEXT_ARRAY),
            (&self.search, Type::TEXT),
        ]
    }
}
