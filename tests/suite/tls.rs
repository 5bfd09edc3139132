//! TLS to Redis and Postgres: only to whom a trusted authority vouches for, by the right name, now.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use integration::{
    authority::{Authority, Identity},
    eventually,
    redis_server::RedisServer,
    stack::{NO_POLL, Stack},
};
use serde_json::json;

const PATH: &str = "/api/job-status/events/r";

/// What a stranger shows, and what the log says of it.
fn strangers(authority: &Authority, other: &Authority) -> [(Identity, &'static str); 3] {
    [
        (
            authority.identity("elsewhere.example"),
            "not valid for name",
        ),
        (authority.identity_until("localhost", 2001), "expired"),
        (other.identity("localhost"), "UnknownIssuer"),
    ]
}

/// The embedded Postgres of a stack shows this from now on, or speaks without TLS.
async fn present(stack: &Stack, identity: Option<&Identity>) {
    let postgres = stack.postgres().await;
    let data = stack.data_directory().await;
    let mut settings = vec![("ssl", "off".to_owned())];
    if let Some(identity) = identity {
        let owner = std::fs::metadata(&data).unwrap();
        settings = vec![("ssl", "on".to_owned())];
        for (setting, file) in [
            ("ssl_cert_file", &identity.certificate),
            ("ssl_key_file", &identity.key),
        ] {
            let name = format!("{:08x}.pem", rand::random::<u32>());
            let path = format!("{data}/{name}");
            std::fs::copy(file, &path).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            settings.push((setting, name));
        }
    }
    for (setting, value) in &settings {
        let set = format!("ALTER SYSTEM SET {setting} = '{value}'");
        postgres.batch_execute(&set).await.unwrap();
    }
    postgres
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let (setting, value) = settings.last().unwrap();
    eventually("Postgres has read it", async || {
        let postgres = stack.postgres().await;
        let row = postgres.query_one(&format!("SHOW {setting}"), &[]).await;
        (row.unwrap().get::<_, String>(0) == *value).then_some(())
    })
    .await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    postgres.query(end, &[]).await.unwrap();
}

/// Waits until a stack's log has said this.
async fn says(stack: &Stack, cause: &str) {
    let said = async || stack.said().contains(cause).then_some(());
    let said = tokio::time::timeout(integration::PATIENCE / 3, eventually(cause, said));
    assert!(said.await.is_ok(), "{cause}: {}", stack.said());
}

fn by_name(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

#[tokio::test]
async fn a_stream_sees_an_event_over_tls() {
    let authority = Authority::new();
    let identity = authority.identity("localhost");
    let (owner, redis) = tokio::join!(Stack::start(), RedisServer::start(&identity));
    present(&owner, Some(&identity)).await;
    let database = format!("{}?sslmode=require", by_name(&owner.database_url));
    let file = authority.file();
    let files = [("REDIS_CA_FILE", &*file), ("DATABASE_CA_FILE", &*file)];
    let variables = [&files[..], &[NO_POLL]].concat();
    let stack = Stack::beside(&redis.tls_url(), &database, &variables).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    stack.publish("job", "r", "running").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    let over_tls = "SELECT count(*) FROM pg_stat_ssl WHERE ssl";
    assert!(owner.number(over_tls).await > 0);
    stack.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [2]);
}

#[tokio::test]
async fn a_stranger_in_the_place_of_redis_is_told_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = authority.identity("localhost");
    let (owner, redis) = tokio::join!(Stack::start(), RedisServer::start(&identity));
    let variables = [("REDIS_CA_FILE", &*authority.file()), NO_POLL];
    let stack = Stack::beside(&redis.tls_url(), &owner.database_url, &variables).await;
    let strangers = strangers(&authority, &other);
    let strangers = strangers
        .iter()
        .map(|(identity, cause)| (Some(identity), *cause));
    // Whoever speaks no TLS at all is the last, for the server forgets it.
    let no_tls = [(None, "Redis does not answer")];
    for (round, (stranger, cause)) in strangers.chain(no_tls).enumerate() {
        match stranger {
            Some(stranger) => redis.present(stranger).await,
            None => redis.forget_tls().await,
        }
        let path = format!("/api/job-status/events/r{round}");
        let mut viewer = stack.watch(&path).await;
        viewer.state().await;
        // The log has what Redis does not bring.
        stack.publish("job", &format!("r{round}"), "passed").await;
        assert_eq!(viewer.rest().await.0, [1]);
        let ready = stack.get("/api/job-status/ready", None).await;
        assert_eq!(ready.status(), 503);
        let body = ready.text().await.unwrap() + &viewer.text();
        assert!(
            !body.contains("ertificate") && !body.contains("localhost"),
            "{body}"
        );
        says(&stack, cause).await;
    }
}

#[tokio::test]
async fn a_stranger_in_the_place_of_postgres_is_told_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let owner = Stack::start().await;
    present(&owner, Some(&authority.identity("localhost"))).await;
    let database = by_name(&owner.database_url);
    let file = authority.file();
    let variables = [("DATABASE_CA_FILE", &*file)];
    let stack = Stack::beside(&owner.redis_url, &database, &variables).await;
    let strangers = strangers(&authority, &other);
    let strangers = strangers
        .iter()
        .map(|(identity, cause)| (Some(identity), *cause));
    let no_tls = [(None, "server does not support TLS")];
    for (stranger, cause) in strangers.chain(no_tls) {
        present(&owner, stranger).await;
        let response = stack.get(PATH, None).await;
        assert_eq!(response.status(), 503, "{cause}");
        let body = response.text().await.unwrap();
        assert!(body.contains("Current state cannot be read now"), "{body}");
        let update = integration::stack::update("job", "r", "running");
        let answer = stack.send(json!([update])).await.to_string();
        assert!(answer.contains("errorMessage"), "{answer}");
        for said in [body, answer] {
            assert!(
                !said.contains("ertificate") && !said.contains("localhost"),
                "{said}"
            );
        }
        says(&stack, cause).await;
    }
    present(&owner, Some(&authority.identity("localhost"))).await;
    let mut viewer = stack.watch(PATH).await;
    assert_eq!(viewer.status().await, ("waiting".to_owned(), 0));
    // Without the file, the public roots decide; there is nothing between require and verified.
    let database = format!("{database}?sslmode=require");
    let options = ["--redis-url", &owner.redis_url, "--database-url", &database];
    let output = tokio::process::Command::new(integration::binary("runcast"))
        .args(["up", "--port", "0"])
        .args(options)
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("UnknownIssuer"), "{said}");
}
