//! The servers of a stack: embedded ones, or those that were given.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Error, postgres::Postgres, reaper::Reaper, valkey::Valkey};

/// What keeps the limits' keys by scripts.
const LIMIT_RULES: [&str; 8] = [
    "~limit:*",
    "+eval",
    "+evalsha",
    "+asking",
    "+script|load",
    "+time",
    "+get",
    "+set",
];

/// What the streaming functions may do in Redis beside that: listen, pass a close beacon on, keep their
/// places, and count what is in the queues, whose keys are added.
const STREAM_RULES: [&str; 18] = [
    "+llen",
    "+lindex",
    "+zcard",
    "+subscribe",
    "+unsubscribe",
    "&test:*",
    "&job:*",
    "&run:*",
    "&project:*",
    "&stream:*",
    "&queue-stats:*",
    "(+publish &stream:* &queue-stats:*)",
    "~queue-stats:*",
    "+pexpire",
    "+zadd",
    "+zrange",
    "+zrem",
    "+zremrangebyscore",
];

/// What the worker may do in Redis: publish. So may the ingest function, which also keeps limits.
const WORKER_RULES: [&str; 5] = ["+publish", "&test:*", "&job:*", "&run:*", "&project:*"];

/// A server does not start.
#[derive(Debug, thiserror::Error)]
#[error("{server} does not start in {}", state_dir.display())]
struct NotStarted {
    server: &'static str,
    state_dir: PathBuf,
    source: Error,
}

/// Servers that were given, by their URLs.
pub(crate) struct Given {
    pub(crate) redis_url: Option<String>,
    pub(crate) database_url: Option<String>,
}

/// Where a function, or a person, finds Redis and Postgres.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub(crate) redis_url: String,
    pub(crate) database_url: String,
}

impl Addresses {
    /// The variables that tell a function.
    pub(crate) fn variables(&self) -> [(String, String); 2] {
        [
            ("REDIS_URL".to_owned(), self.redis_url.clone()),
            ("DATABASE_URL".to_owned(), self.database_url.clone()),
        ]
    }
}

/// Running servers.
pub(crate) struct Servers {
    valkey: Option<Valkey>,
    postgres: Option<Postgres>,
    /// For whoever works with the stack: may do everything.
    pub(crate) owner: Addresses,
}

impl Servers {
    /// Starts what was not given.
    pub(crate) async fn start(
        given: &Given,
        connections: usize,
        state_dir: &Path,
        reaper: &Reaper,
    ) -> Result<Self, Error> {
        let failed = |server, source| NotStarted {
            server,
            state_dir: state_dir.to_owned(),
            source,
        };
        let valkey = async {
            match &given.redis_url {
                Some(url) => Ok((None, url.clone())),
                None => {
                    eprintln!("runcast: starting Valkey");
                    let valkey = Valkey::start(state_dir, reaper).await;
                    let valkey = valkey.map_err(|error| failed("Valkey", error))?;
                    let url = valkey.url.clone();
                    Ok::<_, NotStarted>((Some(valkey), url))
                }
            }
        };
        let postgres = async {
            match &given.database_url {
                Some(url) => Ok((None, url.clone())),
                None => {
                    eprintln!("runcast: starting Postgres");
                    let postgres = Postgres::start(state_dir, connections, reaper.group).await;
                    let postgres = postgres.map_err(|error| failed("Postgres", error))?;
                    let url = postgres.url.clone();
                    Ok((Some(postgres), url))
                }
            }
        };
        let ((valkey, redis_url), (postgres, database_url)) = tokio::try_join!(valkey, postgres)?;
        Ok(Servers {
            valkey,
            postgres,
            owner: Addresses {
                redis_url,
                database_url,
            },
        })
    }

    /// The streaming functions' own users, once the schema is there.
    pub(crate) async fn for_streams(&self, queue_prefix: &str) -> Result<Addresses, Error> {
        let queue_keys = format!("%R~{queue_prefix}:*");
        let rules = [&STREAM_RULES[..], &LIMIT_RULES, &[queue_keys.as_str()]].concat();
        self.login("streams", &rules, "runcast_reader").await
    }

    /// The worker's own users, once the schema is there.
    pub(crate) async fn for_worker(&self) -> Result<Addresses, Error> {
        self.login("worker", &WORKER_RULES, "runcast_writer").await
    }

    /// The ingest function's own user in Redis; in Postgres it is the worker's, whose it does.
    pub(crate) async fn for_ingest(&self, worker: &Addresses) -> Result<Addresses, Error> {
        let rules = [&WORKER_RULES[..], &LIMIT_RULES].concat();
        self.beside(worker, "ingest", &rules).await
    }

    /// Of a process that streams, takes updates and sweeps; in Postgres it is the worker, who may all that
    /// streams may.
    pub(crate) async fn for_server(
        &self,
        worker: &Addresses,
        queue_prefix: &str,
    ) -> Result<Addresses, Error> {
        let queue_keys = format!("%R~{queue_prefix}:*");
        let rules = [
            &STREAM_RULES[..],
            &WORKER_RULES,
            &LIMIT_RULES,
            &[queue_keys.as_str()],
        ];
        let rules = rules.concat();
        self.beside(worker, "server", &rules).await
    }

    /// A user of its own in Redis, and the worker's in Postgres.
    async fn beside(
        &self,
        worker: &Addresses,
        user: &str,
        rules: &[&str],
    ) -> Result<Addresses, Error> {
        Ok(Addresses {
            redis_url: match &self.valkey {
                Some(valkey) => valkey.login(user, rules).await?,
                None => self.owner.redis_url.clone(),
            },
            database_url: worker.database_url.clone(),
        })
    }

    /// Whether this stack started its own Redis.
    pub(crate) fn has_own_redis(&self) -> bool {
        self.valkey.is_some()
    }

    /// Whether this stack started its own Postgres.
    pub(crate) fn has_own_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// Kills Redis, and starts it again after `outage`.
    pub(crate) async fn break_redis(&self, outage: Duration) -> Result<(), Error> {
        let valkey = self.valkey.as_ref();
        let valkey = valkey.ok_or("this Redis was given to the stack, which does not break it")?;
        valkey.server.break_for(outage).await
    }

    /// Kills Postgres, and starts it again after `outage`.
    pub(crate) async fn break_postgres(&self, outage: Duration) -> Result<(), Error> {
        let postgres = self.postgres.as_ref();
        let postgres =
            postgres.ok_or("this Postgres was given to the stack, which does not break it")?;
        postgres.server.break_for(outage).await
    }

    pub(crate) async fn stop(&self) {
        if let Some(valkey) = &self.valkey {
            valkey.server.stop().await;
        }
        if let Some(postgres) = &self.postgres {
            postgres.server.stop().await;
        }
    }

    /// Users who may do what they do and no more. Servers that were given are used as given.
    async fn login(&self, user: &str, rules: &[&str], role: &str) -> Result<Addresses, Error> {
        Ok(Addresses {
            redis_url: match &self.valkey {
                Some(valkey) => valkey.login(user, rules).await?,
                None => self.owner.redis_url.clone(),
            },
            database_url: match &self.postgres {
                Some(postgres) => postgres.login(role).await?,
                None => self.owner.database_url.clone(),
            },
        })
    }
}
