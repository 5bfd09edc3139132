//! A stack behind breakable proxies, and its waves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use integration::{
    eventually,
    proxy::Proxy,
    redis_server::Stand,
    served::{Served, shared_token},
    server::Server,
    stack::{SHARED_JWKS, Stack, postgres},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use shared::execution::{Kind, Timestamp};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};

use crate::{
    faults,
    findings::{Fault, Findings, Tally},
    lives::Life,
    oracle::{judge_life, judge_record, judge_viewer},
    producer::{Lived, Posts},
    record::{Heads, Record, all_ended},
    watcher::{Asked, Watched, Watcher},
    wave::Wave,
};

/// Whose executions they are: all of them have the same projects, ids and eventIds.
pub(crate) const ORGANIZATIONS: [&str; 2] = ["demo", "acme"];

/// Viewers of all executions of a kind, of each organization, beside one for each fourth execution
/// and three of the project.
const VIEWERS_OF_MANY: usize = 5;

/// How long after the last fault everyone may take to come to the end.
const LIVENESS: Duration = Duration::from_mins(1);

/// After how many faults a standby takes over from Postgres, once.
const PROMOTED_AFTER: u64 = 4;

/// How much of what the functions said is told of a failure, in bytes.
const SAID: usize = 4_000;

/// A server that is killed loses nothing that it has written; only a machine does. To wait for the
/// disk, with each commit and for all files after each kill, may take minutes on a busy one.
const NO_FSYNC: [&str; 2] = ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"];

/// How streams are served.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// A process a stream, as Lambda does.
    Plain,
    /// One process for all, as Lambda Managed Instances do.
    Managed,
    /// Two processes for all, without Lambda.
    Served,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Plain => "plain",
            Mode::Managed => "managed",
            Mode::Served => "served",
        }
    }
}

/// What breaks, and what must not.
pub(crate) struct World {
    /// Where viewers and producers go.
    pub(crate) stack: Arc<Stack>,
    /// What serves streams instead of its functions.
    pub(crate) servers: Vec<Served>,
    /// Owns Valkey and Postgres.
    pub(crate) owner: Stack,
    pub(crate) redis: Proxy,
    pub(crate) database: Proxy,
    pub(crate) valkey: Server,
    pub(crate) postgres: Server,
    /// What takes over from Valkey for a while.
    pub(crate) stand: Stand,
    /// Where Postgres is, which may do everything.
    database_url: String,
    has_promoted: bool,
    /// One for each organization.
    tokens: Vec<Arc<str>>,
    total: Tally,
}

impl World {
    pub(crate) async fn start(mode: Mode) -> Self {
        let owner = Stack::start().await;
        let postgres = owner.postgres().await;
        for change in NO_FSYNC {
            postgres.batch_execute(change).await.unwrap();
        }
        let (redis, redis_url) = Proxy::before(&owner.redis_url).await;
        let (database, database_url) = Proxy::before(&owner.database_url).await;
        let options = ["--redis-url", &redis_url, "--database-url", &database_url];
        let limits = ["--timeout-seconds", "30", "--max-environments", "120"];
        let managed: &[&str] = match mode {
            Mode::Managed => &["--managed", "200"],
            Mode::Plain | Mode::Served => &[],
        };
        let variables = [
            ("STREAM_WINDOW_SECONDS", "12"),
            ("STREAM_HEARTBEAT_SECONDS", "2"),
            ("FALLBACK_POLL_SECONDS", "3"),
            ("DATABASE_IDLE_SECONDS", "1"),
            ("SHUTDOWN_GRACE_SECONDS", "2"),
            ("AUTH_JWKS", SHARED_JWKS),
        ];
        let stack = Stack::with(&[&options[..], &limits[..], managed].concat(), &variables).await;
        let mut tokens = Vec::new();
        for organization in ORGANIZATIONS {
            tokens.push(Arc::from(shared_token(organization)));
        }
        let mut servers = Vec::new();
        if mode == Mode::Served {
            for _ in 0..2 {
                servers.push(Served::start(&stack, &variables).await);
            }
        }
        let (valkey, postgres) = (Server::valkey(&owner).await, Server::postgres(&owner).await);
        World {
            stack: Arc::new(stack),
            servers,
            redis,
            database,
            stand: Stand::beside(&owner.redis_url),
            database_url: owner.database_url.clone(),
            has_promoted: false,
            owner,
            valkey,
            postgres,
            tokens,
            total: Tally::default(),
        }
    }

    /// A connection to what is the primary now.
    pub(crate) async fn log(&self) -> tokio_postgres::Client {
        postgres(&self.database_url).await
    }

    /// Postgres dies for good, and a standby that has everything takes over.
    async fn promote(&mut self) {
        let (standby, port, url) = Server::standby(&self.owner).await;
        let primary = self.log().await;
        for change in [
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "SELECT pg_reload_conf()",
        ] {
            primary.batch_execute(change).await.unwrap();
        }
        eventually(
            "nothing is committed that the standby has not",
            async || {
                let synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
                primary.query_opt(synchronous, &[]).await.unwrap()
            },
        )
        .await;
        self.postgres.kill().await;
        self.database_url = url;
        let standby_log = self.log().await;
        for change in NO_FSYNC.into_iter().chain(["SELECT pg_promote(true)"]) {
            standby_log.batch_execute(change).await.unwrap();
        }
        self.database.lead_to(port);
        self.postgres = standby;
    }

    pub(crate) fn total(&self) -> &Tally {
        &self.total
    }

    /// The last that the functions said.
    pub(crate) fn said(&self) -> String {
        let said = self.stack.said();
        let from = said.len().saturating_sub(SAID);
        said.get(said.ceil_char_boundary(from)..)
            .unwrap_or_default()
            .to_owned()
    }

    /// One wave: lives, viewers and faults; then the oracle.
    pub(crate) async fn wave(&mut self, number: u32, seed: u64) -> Tally {
        let mut random = StdRng::seed_from_u64(seed);
        let wave = Wave {
            number,
            project: format!("p{number}"),
            began_at: Timestamp::now(),
        };
        let lives = ORGANIZATIONS.map(|organization| wave.lives(organization, &mut random));
        let connections = Arc::new(AtomicU64::new(0));
        let (over, heads) = watch::channel(None);
        let viewers = self.open_viewers(&wave, &heads, &connections, &mut random);
        let producing = self.produce(lives.into_iter().flatten(), &mut random);
        let mut tally = Tally::default();
        while !producing.is_finished() {
            if tally.faults == PROMOTED_AFTER && !self.has_promoted {
                self.has_promoted = true;
                self.promote().await;
            }
            let kind = *[Kind::Job, Kind::Test].choose(&mut random).unwrap();
            faults::strike(self, kind, &wave.ids(kind), &mut random).await;
            tally.faults += 1;
        }
        let lived = producing.await.unwrap();

        let mut findings = Findings::default();
        let postgres = self.log().await;
        all_ended(&postgres, &wave.project, &mut findings).await;
        let record = Record::read(&postgres, &wave.project, &ORGANIZATIONS).await;
        let _ = over.send(Some(record.heads.clone()));
        let deadline = Instant::now() + LIVENESS;
        for (asked, viewer) in viewers {
            match timeout_at(deadline, viewer).await {
                Ok(watched) => {
                    let watched = watched.unwrap();
                    tally.stream_executions += judge_viewer(&watched, &record, &mut findings);
                }
                Err(_) => findings.find(Fault::Stuck, format!("a viewer of {asked:?}")),
            }
        }
        judge_record(&record, &mut findings);
        for lived in &lived {
            judge_life(lived, &record.executions[&lived.life.name], &mut findings);
        }
        tally.connections = connections.load(Ordering::Relaxed);
        tally.findings = findings;
        tally.count(&record, &lived);
        self.total += &tally;
        tally
    }

    /// Where streams are.
    fn urls(&self) -> Vec<String> {
        match &self.servers[..] {
            [] => vec![self.stack.url.clone()],
            servers => servers.iter().map(|it| it.url.clone()).collect(),
        }
    }

    /// Each organization's viewers of many executions, of one, and of the project.
    fn open_viewers(
        &self,
        wave: &Wave,
        heads: &watch::Receiver<Option<Heads>>,
        connections: &Arc<AtomicU64>,
        random: &mut StdRng,
    ) -> Vec<(Asked, JoinHandle<Watched>)> {
        let mut viewers = Vec::new();
        for (organization, token) in ORGANIZATIONS.into_iter().zip(&self.tokens) {
            for kind in [Kind::Job, Kind::Test] {
                let ids = wave.ids(kind);
                let project = || Asked::Project(wave.project.clone());
                let all = (0..VIEWERS_OF_MANY).map(|_| Asked::Executions(ids.clone()));
                let one = ids
                    .iter()
                    .step_by(4)
                    .map(|id| Asked::Executions(vec![id.clone()]));
                let from_now = (0..2).map(|_| (project(), None));
                let from_the_first = [(project(), Some("0".to_owned()))];
                let runs = wave.ids(Kind::Job).into_iter().step_by(2).map(Asked::Run);
                let runs = runs.filter(|_| kind == Kind::Test);
                let executions = all.chain(one).chain(runs).map(|asked| (asked, None));
                for (asked, cursor) in executions.chain(from_now).chain(from_the_first) {
                    let watcher = Watcher {
                        urls: self.urls(),
                        organization,
                        token: token.clone(),
                        kind,
                        asked: asked.clone(),
                        cursor,
                        comes_back: random.random(),
                        heads: heads.clone(),
                        connections: connections.clone(),
                        random: StdRng::seed_from_u64(random.random()),
                    };
                    viewers.push((asked, tokio::spawn(watcher.watch())));
                }
            }
        }
        viewers
    }

    /// Lets every life be lived; ends with the last of them.
    fn produce(
        &self,
        lives: impl Iterator<Item = Life>,
        random: &mut StdRng,
    ) -> JoinHandle<Vec<Lived>> {
        let posts = Posts::open(&self.stack, random);
        let mut producers = JoinSet::new();
        for life in lives {
            let random = StdRng::seed_from_u64(random.random());
            producers.spawn(posts.clone().live(life, random));
        }
        tokio::spawn(producers.join_all())
    }
}
