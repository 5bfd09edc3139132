//! The first round trip: locking what a batch concerns, and reading how it stands.
//!
//! Rows are locked in one fixed order (tests, then jobs, then projects; each by id), so that no
//! two workers can give one number twice, nor wait for each other in a circle.

use std::collections::BTreeMap;

use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};

use crate::{
    execution::{Id, Kind, State},
    log::{
        LogError,
        row::{id, is_null, seq, word},
    },
    record::{Execution, Executions, KnownEvents},
    update::Update,
};

/// Opens the transaction, locks every execution that the updates concern, and reads which of the
/// events are there already: one round trip, however many there are.
pub(super) async fn lock(
    client: &Client,
    updates: &[Update],
) -> Result<(Executions, KnownEvents), LogError> {
    let mut tests = BTreeMap::new();
    let mut jobs = BTreeMap::new();
    for update in updates {
        let owner = (update.organization_id.as_str(), update.project_id.as_str());
        let of_kind = match update.kind {
            Kind::Test => &mut tests,
            Kind::Job => &mut jobs,
        };
        of_kind.entry(update.id.as_str()).or_insert(owner);
        if let (Kind::Test, Some(run_id)) = (update.kind, &update.run_id) {
            jobs.entry(run_id.as_str()).or_insert(owner);
        }
    }
    let (tests, jobs) = (Rows::new(&tests), Rows::new(&jobs));

    // So that there is a row to lock; it counts as reported once its seq is above 0.
    const INSERT: &str = "INSERT INTO executions (kind, id, organization_id, project_id)
         SELECT $1, * FROM unnest($2, $3, $4) AS new(id, organization_id, project_id)
         ORDER BY id
         ON CONFLICT (kind, id) DO NOTHING";
    const LOCK_TESTS: &str =
        "SELECT kind, id, organization_id, project_id, run_id, project_seq, state
         FROM executions
         WHERE kind = 'test' AND id = ANY ($1)
         ORDER BY id
         FOR UPDATE";
    // The tests are locked by now: what they say of their job run holds.
    const LOCK_JOBS: &str =
        "SELECT kind, id, organization_id, project_id, run_id, project_seq, state
         FROM executions
         WHERE kind = 'job' AND id IN (
             SELECT unnest($1)
             UNION SELECT run_id FROM executions WHERE kind = 'test' AND id = ANY ($2))
         ORDER BY id
         FOR UPDATE";
    const KNOWN: &str = "SELECT e.kind, e.id, e.event_id
         FROM unnest($1, $2, $3) AS sent(kind, id, event_id)
         JOIN events e USING (kind, id, event_id)";
    let insert = async |kind: Kind, rows: &Rows<'_>| {
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&kind.as_str(), Type::TEXT),
            (&rows.ids, Type::TEXT_ARRAY),
            (&rows.organizations, Type::TEXT_ARRAY),
            (&rows.projects, Type::TEXT_ARRAY),
        ];
        client.query_typed(INSERT, &parameters).await
    };
    let sent: [Vec<&str>; 3] = [
        updates.iter().map(|update| update.kind.as_str()).collect(),
        updates.iter().map(|update| update.id.as_str()).collect(),
        updates
            .iter()
            .map(|update| update.event_id.as_str())
            .collect(),
    ];
    // Futures that are polled in order are sent in order, without waiting for each other.
    let ((), _, test_rows, _, job_rows, known) = tokio::try_join!(
        biased;
        client.batch_execute("BEGIN"),
        insert(Kind::Test, &tests),
        async { client.query_typed(LOCK_TESTS, &[(&tests.ids, Type::TEXT_ARRAY)]).await },
        insert(Kind::Job, &jobs),
        async {
            let ids = [(&jobs.ids as _, Type::TEXT_ARRAY), (&tests.ids as _, Type::TEXT_ARRAY)];
            client.query_typed(LOCK_JOBS, &ids).await
        },
        async {
            let [kinds, ids, event_ids] = &sent;
            let parameters = [kinds, ids, event_ids].map(|texts| (texts as _, Type::TEXT_ARRAY));
            client.query_typed(KNOWN, &parameters).await
        },
    )?;
    let executions = test_rows.iter().chain(&job_rows).map(execution);
    let known = known.iter().map(|row| {
        let kind = word(row.try_get("kind")?)?;
        Ok((kind, id(row, "id")?, row.try_get("event_id")?))
    });
    Ok((
        executions.collect::<Result<_, LogError>>()?,
        known.collect::<Result<_, LogError>>()?,
    ))
}

/// Executions as columns.
struct Rows<'a> {
    ids: Vec<&'a str>,
    organizations: Vec<&'a str>,
    projects: Vec<&'a str>,
}

impl<'a> Rows<'a> {
    fn new(owners: &BTreeMap<&'a str, (&'a str, &'a str)>) -> Self {
        Rows {
            ids: owners.keys().copied().collect(),
            organizations: owners.values().map(|owner| owner.0).collect(),
            projects: owners.values().map(|owner| owner.1).collect(),
        }
    }
}

fn execution(row: &Row) -> Result<((Kind, Id), Execution), LogError> {
    let kind = word(row.try_get("kind")?)?;
    let execution_id = id(row, "id")?;
    let state = if is_null(row, "state") {
        State::unreported(kind, execution_id.clone())
    } else {
        let state = serde_json::from_str(row.try_get("state")?);
        state.map_err(|error| LogError::Row(error.to_string()))?
    };
    let run_id: Option<&str> = row.try_get("run_id")?;
    Ok((
        (kind, execution_id),
        Execution {
            organization_id: id(row, "organization_id")?,
            project_id: id(row, "project_id")?,
            run_id: run_id.map(word).transpose()?,
            project_seq: seq(row, "project_seq")?,
            state,
        },
    ))
}
