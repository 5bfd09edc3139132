//! What the log has of a wave, as Postgres tells it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use shared::execution::{Kind, Timestamp};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, Row};

use crate::{
    findings::{Fault, Findings},
    wave::Name,
};

/// The number of the last event of each organization's part of the project, by kind.
pub(crate) type Heads = BTreeMap<(&'static str, Kind), u64>;

/// How long after the last update an execution may be open: it is given up after twice 3 s, sweeps
/// come every second, and the machine may be busy.
const GIVING_UP: Duration = Duration::from_secs(30);

/// How an execution stands, and how it came to that.
#[derive(Default)]
pub(crate) struct Logged {
    pub(crate) events: Vec<LoggedEvent>,
    pub(crate) state: Value,
    pub(crate) status: String,
    pub(crate) run_id: Option<String>,
    /// Of a run: the last number given among its tests.
    pub(crate) run_seq: u64,
    pub(crate) seq: u64,
}

/// One event.
pub(crate) struct LoggedEvent {
    pub(crate) event_id: String,
    pub(crate) seq: u64,
    pub(crate) project_seq: u64,
    /// Its number among the tests of its run.
    pub(crate) run_seq: Option<u64>,
    pub(crate) recorded_at: Timestamp,
    pub(crate) state: Value,
}

/// Everything of a wave's project, in every organization.
pub(crate) struct Record {
    pub(crate) executions: BTreeMap<Name, Logged>,
    pub(crate) heads: Heads,
}

impl Record {
    pub(crate) async fn read(
        postgres: &Client,
        project: &str,
        organizations: &[&'static str],
    ) -> Self {
        let own = |row: &Row| {
            let of: &str = row.get("organization_id");
            let organization = organizations.iter().find(|own| **own == of).unwrap();
            let kind: &str = row.get("kind");
            (*organization, kind.parse::<Kind>().unwrap())
        };
        let name = |row: &Row| {
            let (organization, kind) = own(row);
            let id = row.get("id");
            Name {
                organization,
                kind,
                id,
            }
        };
        let number = |row: &Row, column| u64::try_from(row.get::<_, i64>(column)).unwrap();
        let json = |row: &Row| serde_json::from_str(row.get("state")).unwrap();

        let mut executions: BTreeMap<Name, Logged> = BTreeMap::new();
        let sql = "SELECT * FROM executions WHERE project_id = $1";
        for row in postgres.query(sql, &[&project]).await.unwrap() {
            let logged = Logged {
                events: Vec::new(),
                state: json(&row),
                status: row.get("status"),
                run_id: row.get("run_id"),
                run_seq: number(&row, "run_seq"),
                seq: number(&row, "seq"),
            };
            executions.insert(name(&row), logged);
        }
        let sql = "SELECT * FROM events WHERE project_id = $1 ORDER BY project_seq";
        for row in postgres.query(sql, &[&project]).await.unwrap() {
            let event = LoggedEvent {
                event_id: row.get("event_id"),
                seq: number(&row, "seq"),
                project_seq: number(&row, "project_seq"),
                run_seq: row
                    .get::<_, Option<i64>>("run_seq")
                    .map(|seq| u64::try_from(seq).unwrap()),
                recorded_at: Timestamp(row.get("recorded_at")),
                state: json(&row),
            };
            executions.entry(name(&row)).or_default().events.push(event);
        }
        let sql = "SELECT * FROM projects WHERE project_id = $1";
        let rows = postgres.query(sql, &[&project]).await.unwrap();
        let heads = rows.iter().map(|row| (own(row), number(row, "seq")));
        Record {
            executions,
            heads: heads.collect(),
        }
    }
}

/// Waits until everything of a project has ended: by its producer, with its run, or given up.
pub(crate) async fn all_ended(postgres: &Client, project: &str, findings: &mut Findings) {
    let give_up_at = Instant::now() + GIVING_UP;
    loop {
        let open = "SELECT kind || ' ' || organization_id || ' ' || coalesce(state, id) || ' '
                        || coalesce(private, '') || ' ' || coalesce(look_at::text, 'never looked at')
                    FROM executions
                    WHERE project_id = $1 AND status IN ('waiting', 'running')";
        let open = postgres.query(open, &[&project]).await.unwrap();
        if open.is_empty() {
            return;
        }
        if Instant::now() > give_up_at {
            for row in open {
                findings.find(Fault::Stuck, row.get::<_, String>(0));
            }
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
