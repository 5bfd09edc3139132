//! IAM authentication: a new token for each connection, and again before a connection is too old.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use integration::{
    authority::Authority,
    aws::{Front, Seen},
    eventually,
    redis_server::RedisServer,
    stack::Stack,
};
use shared::{
    bus::Bus,
    config::{self, Env},
    log::Log,
    watch::Channel,
};

fn env(variables: &[(&str, &str)]) -> Env {
    let aws = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session"),
    ];
    let all = variables.iter().chain(&aws);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// A token's time is in whole seconds: within one, two are the same.
async fn next_second() {
    let second = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let now = second();
    eventually("a second passes", async || (second() > now).then_some(())).await;
}

async fn until(front: &Front, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
    eventually(what, async || {
        let seen = front.seen();
        condition(&seen).then_some(seen)
    })
    .await
}

#[tokio::test]
async fn redis_is_shown_a_new_token_on_each_connection_and_before_one_is_too_old() {
    let authority = Authority::new();
    let identity = authority.identity("localhost");
    let server = RedisServer::start(&identity).await;
    let front = Front::elasticache(&identity, "runcast", &server.url).await;
    let url = format!("rediss://localhost:{}/", front.port);
    let mut redis = config::Redis::from_env(&env(&[
        ("REDIS_URL", &url),
        ("REDIS_CA_FILE", &authority.file()),
        ("REDIS_IAM_USER", "runcast"),
        ("REDIS_IAM_CACHE", "serverlesscache:Status"),
    ]))
    .unwrap();
    redis.iam.as_mut().unwrap().reauthenticate_after = Duration::from_secs(3);
    let bus = Bus::new(&redis, Duration::from_secs(5));
    let close = Channel::Close("0123456789abcdef0123456789abcdef".parse().unwrap());
    let organization_id = "demo".parse().unwrap();
    let subscribed = bus.subscribe(Some(&organization_id), Vec::new(), Some(close.clone()));
    let mut subscription = subscribed.await;
    assert!(subscription.is_live());
    let seen = until(&front, "it is shown again", |seen| seen.tokens.len() == 2).await;
    assert_eq!(seen.connections, 1, "{seen:?}");
    for token in &seen.tokens {
        for part in [
            "status/?",
            "Action=connect&User=runcast&ResourceType=ServerlessCache&",
            "X-Amz-Expires=900",
            "eu-central-1%2Felasticache%2Faws4_request",
            "X-Amz-Security-Token=session",
            "X-Amz-Signature=",
        ] {
            assert!(token.contains(part), "{token}");
        }
    }
    // The subscription went on, and nobody was told of anything.
    bus.publish(&close, "").await.unwrap();
    let hangup = subscription.hangup();
    tokio::select! {
        signal = subscription.recv() => panic!("{signal:?}"),
        () = hangup.wait() => {}
    }
    next_second().await;
    front.cut();
    let seen = until(&front, "a new connection", |seen| {
        seen.connections == 2 && seen.tokens.len() == 3
    })
    .await;
    let mut tokens = seen.tokens.clone();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), seen.tokens.len());
    assert!(bus.ping().await.is_ok());
}

#[tokio::test]
async fn postgres_is_shown_a_new_token_on_each_connection() {
    let stack = Stack::start().await;
    let postgres = stack.postgres().await;
    let row = postgres.query_one("SHOW hba_file", &[]).await.unwrap();
    let hba: String = row.get(0);
    let rules = std::fs::read_to_string(&hba).unwrap();
    let trust = "host all runcast_reader 127.0.0.1/32 trust\n";
    std::fs::write(&hba, format!("{trust}{rules}")).unwrap();
    postgres
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let (_, target) = stack.database_url.split_once('@').unwrap();
    let target = target.split('/').next().unwrap().to_owned();
    let authority = Authority::new();
    let front = Front::rds(&authority.identity("localhost"), target).await;
    let url = format!(
        "postgres://runcast_reader@localhost:{}/postgres",
        front.port
    );
    let database = config::Database::from_env(&env(&[
        ("DATABASE_URL", &url),
        ("DATABASE_CA_FILE", &authority.file()),
        ("DATABASE_IAM_AUTH", "true"),
        ("DATABASE_IDLE_SECONDS", "1"),
    ]))
    .unwrap();
    let log = Log::new(&database, 2);
    eventually("Postgres lets the user in", async || log.ping().await.ok()).await;
    // Longer than a connection may be idle.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let before = front.seen().tokens.len();
    next_second().await;
    log.ping().await.unwrap();
    let tokens = front.seen().tokens;
    assert_eq!(tokens.len(), before + 1);
    assert_ne!(tokens[before], tokens[before - 1]);
    let host = format!(
        "localhost:{}/?Action=connect&DBUser=runcast_reader&",
        front.port
    );
    assert!(tokens[before].starts_with(&host), "{tokens:?}");
    assert!(
        tokens[before].contains("%2Frds-db%2Faws4_request"),
        "{tokens:?}"
    );
}
