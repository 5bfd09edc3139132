//! A connection for a while.

use deadpool_postgres::Object;
use tokio_postgres::{
    Error, Row, Statement,
    types::{ToSql, Type},
};

/// A value, and its type: named, it need not be asked for.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection for a while. One that was used before is worth preparing statements on: Postgres then
/// parses and plans them no more. A new one, as most are that a stream reads with, is not: it would cost
/// a round trip.
pub(super) struct Session {
    connection: Object,
    prepares: bool,
}

impl Session {
    /// On a connection; `prepares`: where statements may be kept on it, which a proxy between may not
    /// allow.
    pub(super) fn new(connection: Object, prepares: bool) -> Self {
        let was_used = Object::metrics(&connection).recycle_count > 0;
        Session {
            connection,
            prepares: prepares && was_used,
        }
    }

    /// Runs a statement: in one round trip, but for the first time that it is prepared.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        match self.prepare(sql, parameters).await? {
            None => self.query_once(sql, parameters).await,
            Some(statement) => {
                let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
                self.connection.query(&statement, &values).await
            }
        }
    }

    /// Runs a statement that is rare, and never prepared.
    pub(super) async fn query_once(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        self.connection.query_typed(sql, parameters).await
    }

    /// Prepares a statement, where that is done: what is sent right after it then finds it.
    pub(super) async fn prepare(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Statement>, Error> {
        if !self.prepares {
            return Ok(None);
        }
        let types: Vec<_> = parameters.iter().map(|(_, of)| of.clone()).collect();
        let prepared = self.connection.prepare_typed_cached(sql, &types).await;
        prepared.map(Some)
    }

    /// Runs a statement without values.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.connection.batch_execute(sql).await
    }

    /// Closes the connection.
    pub(super) fn close(self) {
        drop(Object::take(self.connection));
    }
}
