//! The first round trip: locking what a batch concerns, and reading how it stands.
//!
//! Rows are locked in one fixed order (tests, then jobs, then projects; each by id), so that no
//! two workers can give one number twice, nor wait for each other in a circle. Open tests of a run
//! that ends come last, and are not waited for: who has one locked, waits for its run, and will see
//! that it has ended.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Row, types::Type};

use crate::{
    execution::{Key, Kind, State, Status, Timestamp},
    log::{
        LogError,
        row::{id, is_null, key, seq, word},
        session::{Parameter, Session},
    },
    record::{Execution, Executions, KnownEvents, Private},
    update::{Report, Update},
};

/// Opens the transaction, locks every execution that the updates concern, and reads which of the
/// events are there already: one round trip, however many there are.
pub(super) async fn lock(
    session: &Session,
    updates: &[Update],
) -> Result<(Executions, KnownEvents), LogError> {
    let mut tests = BTreeMap::new();
    let mut jobs = BTreeMap::new();
    let mut ending = BTreeSet::new();
    for update in updates {
        let organization_id = update.organization_id.as_str();
        let project_id = update.project_id.as_str();
        let of_kind = match update.kind {
            Kind::Test => &mut tests,
            Kind::Job => &mut jobs,
        };
        let name = (update.id.as_str(), organization_id);
        of_kind.entry(name).or_insert(project_id);
        if let (Kind::Test, Some(run_id)) = (update.kind, &update.run_id) {
            jobs.entry((run_id.as_str(), organization_id))
                .or_insert(project_id);
        }
        if update.kind == Kind::Job && may_end_tests(update) {
            ending.insert(name);
        }
    }
    let (tests, jobs) = (Rows::new(&tests), Rows::new(&jobs));
    let ending = Names::new(ending.iter().copied());

    // So that there is a row to lock; it counts as reported once its seq is above 0.
    const INSERT: &str = "INSERT INTO executions (kind, id, organization_id, project_id)
         SELECT $1, * FROM unnest($2, $3, $4) AS new(id, organization_id, project_id)
         ORDER BY id, organization_id
         ON CONFLICT (kind, id, organization_id) DO NOTHING";
    const KNOWN: &str = "SELECT e.kind, e.id, e.organization_id, e.event_id
         FROM unnest($1, $2, $3, $4) AS sent(kind, id, organization_id, event_id)
         JOIN events e USING (kind, id, organization_id, event_id)";
    let insert = async |kind: Kind, rows: &Rows<'_>| {
        let parameters: [Parameter<'_>; 4] = [
            (&kind.as_str(), Type::TEXT),
            (&rows.names.ids, Type::TEXT_ARRAY),
            (&rows.names.organizations, Type::TEXT_ARRAY),
            (&rows.projects, Type::TEXT_ARRAY),
        ];
        session.query(INSERT, &parameters).await
    };
    let sent = Names::new(
        updates
            .iter()
            .map(|it| (it.id.as_str(), it.organization_id.as_str())),
    );
    let sent_kinds: Vec<_> = updates.iter().map(|update| update.kind.as_str()).collect();
    let sent_ids: Vec<_> = updates
        .iter()
        .map(|update| update.event_id.as_str())
        .collect();
    // Futures that are polled in order are sent in order, without waiting for each other.
    let ((), _, test_rows, _, job_rows, open_tests, known) = tokio::try_join!(
        biased;
        session.execute("BEGIN"),
        insert(Kind::Test, &tests),
        lock_tests(session, &tests.names, Busy::Wait),
        insert(Kind::Job, &jobs),
        lock_jobs(session, &jobs.names, &tests.names, Busy::Wait),
        lock_open_tests(session, &ending),
        async {
            let parameters = [&sent_kinds, &sent.ids, &sent.organizations, &sent_ids];
            let parameters = parameters.map(|texts| (texts as _, Type::TEXT_ARRAY));
            session.query(KNOWN, &parameters).await
        },
    )?;
    let known = known
        .iter()
        .map(|row| Ok((key(row)?, row.try_get("event_id")?)));
    Ok((
        executions([test_rows, job_rows, open_tests])?,
        known.collect::<Result<_, LogError>>()?,
    ))
}

/// Opens the transaction, and locks the executions that the sweep looks at, the runs of the tests
/// among them, and the open tests of runs that it ends. What is locked by someone else, is left out.
pub(super) async fn lock_swept(
    session: &Session,
    keys: &[Key],
    ending: &[Key],
) -> Result<Executions, LogError> {
    let names = |keys: &[Key], kind| {
        let of_kind = keys.iter().filter(|key| key.kind == kind);
        let names: BTreeSet<_> = of_kind
            .map(|key| (key.id.to_string(), key.organization_id.to_string()))
            .collect();
        names
    };
    let (tests, jobs) = (names(keys, Kind::Test), names(keys, Kind::Job));
    let ending = names(ending, Kind::Job);
    let [tests, jobs, ending] = [&tests, &jobs, &ending]
        .map(|names| Names::new(names.iter().map(|(id, of)| (id.as_str(), of.as_str()))));
    let ((), tests, jobs, open_tests) = tokio::try_join!(
        biased;
        session.execute("BEGIN"),
        lock_tests(session, &tests, Busy::Skip),
        lock_jobs(session, &jobs, &tests, Busy::Skip),
        lock_open_tests(session, &ending),
    )?;
    executions([tests, jobs, open_tests])
}

/// Whether the run may end so by this update that its tests end with it.
fn may_end_tests(update: &Update) -> bool {
    let Report::Status(status) = update.report else {
        return false;
    };
    matches!(status, Status::Cancelled | Status::Error)
        || (update.shard.is_some() && status.is_terminal())
}

/// What to do with a row that someone else has locked.
#[derive(Clone, Copy)]
enum Busy {
    Wait,
    Skip,
}

impl Busy {
    fn sql(self) -> &'static str {
        match self {
            Busy::Wait => "",
            Busy::Skip => "SKIP LOCKED",
        }
    }
}

/// The columns that [`execution`] reads.
pub(super) const COLUMNS: &str = "kind, id, organization_id, project_id, run_id, project_seq, run_seq, state, \
                       ended_at, look_at, private, updated_at";

type Rowset = Result<Vec<Row>, tokio_postgres::Error>;

async fn lock_tests(session: &Session, tests: &Names<'_>, busy: Busy) -> Rowset {
    let sql = format!(
        "SELECT {COLUMNS} FROM executions
         WHERE kind = 'test' AND (id, organization_id) IN (SELECT * FROM unnest($1, $2))
         ORDER BY id, organization_id
         FOR UPDATE {}",
        busy.sql()
    );
    session.query(&sql, &tests.parameters()).await
}

/// Locks jobs, and the runs of these tests: they are locked by now, what they say of their run holds.
async fn lock_jobs(session: &Session, jobs: &Names<'_>, tests: &Names<'_>, busy: Busy) -> Rowset {
    let sql = format!(
        "SELECT {COLUMNS} FROM executions
         WHERE kind = 'job' AND (id, organization_id) IN (
             SELECT * FROM unnest($1, $2)
             UNION SELECT run_id, organization_id FROM executions
             WHERE kind = 'test' AND (id, organization_id) IN (SELECT * FROM unnest($3, $4)))
         ORDER BY id, organization_id
         FOR UPDATE {}",
        busy.sql()
    );
    let [ids, organizations] = jobs.parameters();
    let [test_ids, test_organizations] = tests.parameters();
    let parameters = [ids, organizations, test_ids, test_organizations];
    session.query(&sql, &parameters).await
}

async fn lock_open_tests(session: &Session, runs: &Names<'_>) -> Rowset {
    if runs.ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM executions
         WHERE kind = 'test' AND status IN ('waiting', 'running')
           AND (run_id, organization_id) IN (SELECT * FROM unnest($1, $2))
         ORDER BY id, organization_id
         FOR UPDATE SKIP LOCKED"
    );
    session.query(&sql, &runs.parameters()).await
}

/// Executions as columns.
struct Rows<'a> {
    names: Names<'a>,
    projects: Vec<&'a str>,
}

impl<'a> Rows<'a> {
    fn new(projects: &BTreeMap<(&'a str, &'a str), &'a str>) -> Self {
        Rows {
            names: Names::new(projects.keys().copied()),
            projects: projects.values().copied().collect(),
        }
    }
}

/// Names of executions of one kind as columns.
struct Names<'a> {
    ids: Vec<&'a str>,
    organizations: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn new(names: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let (ids, organizations) = names.unzip();
        Names { ids, organizations }
    }

    fn parameters(&self) -> [Parameter<'_>; 2] {
        [
            (&self.ids, Type::TEXT_ARRAY),
            (&self.organizations, Type::TEXT_ARRAY),
        ]
    }
}

fn executions(rows: [Vec<Row>; 3]) -> Result<Executions, LogError> {
    let executions = rows.iter().flatten().map(|row| {
        let execution = execution(row)?;
        Ok((execution.key(), execution))
    });
    executions.collect()
}

/// An execution as a row has it.
pub(super) fn execution(row: &Row) -> Result<Execution, LogError> {
    let kind = word(row.try_get("kind")?)?;
    let mut state = if is_null(row, "state") {
        State::unreported(kind, id(row, "id")?)
    } else {
        let state = State::from_json(row.try_get("state")?);
        state.map_err(|error| LogError::Row(error.to_string()))?
    };
    if let State::Test(test) = &mut state {
        // Versions before 0.2 had it in its column only.
        let run_id: Option<&str> = row.try_get("run_id")?;
        test.run_id = run_id.map(word).transpose()?;
    }
    let private: Option<&str> = row.try_get("private")?;
    let mut private = match private {
        Some(private) => {
            serde_json::from_str(private).map_err(|error| LogError::Row(error.to_string()))?
        }
        None => Private::default(),
    };
    let time = |column| Ok::<_, LogError>(row.try_get::<_, Option<_>>(column)?.map(Timestamp));
    if private.heard_at.is_none() {
        private.heard_at = time("updated_at")?;
    }
    Ok(Execution {
        organization_id: id(row, "organization_id")?,
        project_id: id(row, "project_id")?,
        project_seq: seq(row, "project_seq")?,
        run_seq: seq(row, "run_seq")?,
        state,
        ended_at: time("ended_at")?,
        look_at: time("look_at")?,
        private,
    })
}
