//! `runcast-server`, as a container runs it, on the data of a stack.

use std::process::Stdio;

use nix::{sys::signal::Signal, unistd::Pid};
use ring::hmac;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::{
    binary, eventually, free_port, jws,
    stack::{Stack, signal},
};

/// The secret of [`SHARED_JWKS`](crate::stack::SHARED_JWKS): 0, 1, 2 … 31.
fn secret() -> Vec<u8> {
    (0..32).collect()
}

/// A token of [`SHARED_JWKS`](crate::stack::SHARED_JWKS), for all of an organization.
#[must_use]
pub fn shared_token(organization: &str) -> String {
    let claims = json!({
        "sub": "s", "org": organization, "scope": "status:read status:write",
        "iss": "runcast-local", "aud": "runcast", "exp": 4_102_444_800u64,
    });
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret());
    let sign = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
    let header = json!({"typ": "JWT", "alg": "HS256"});
    jws(&header, &claims.to_string(), sign)
}

/// A running server. Dropped, it is killed.
pub struct Served {
    /// Where it is.
    pub url: String,
    variables: Vec<(String, String)>,
    child: Child,
}

impl Served {
    /// A server with these variables, once it is ready; it takes the tokens of [`shared_token`].
    pub async fn start(stack: &Stack, variables: &[(&str, &str)]) -> Self {
        let port = free_port();
        let own = stack.variables();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let listen = format!("127.0.0.1:{port}");
        let limits = [
            ("LISTEN", listen.as_str()),
            ("STREAMS_PER_SUBJECT", "1000000"),
            ("CONNECTS_PER_MINUTE", "1000000"),
        ];
        let all = own.chain(limits).chain(variables.iter().copied());
        let variables: Vec<_> = all
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let server = Served {
            url: format!("http://127.0.0.1:{port}"),
            child: Self::spawn(&variables),
            variables,
        };
        server.is_alive().await;
        server
    }

    fn spawn(variables: &[(String, String)]) -> Child {
        Command::new(binary("runcast-server"))
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn is_alive(&self) {
        eventually("the server answers", async || {
            let asked = reqwest::get(format!("{}/health", self.url)).await;
            asked.ok().filter(|answer| answer.status() == 200)
        })
        .await;
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().expect("running")).unwrap())
    }

    /// Asks it to end, and returns how it has.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        signal(self.pid(), Signal::SIGTERM);
        self.child.wait().await.unwrap()
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again, where it was.
    pub async fn restart(&mut self) {
        self.child = Self::spawn(&self.variables);
        self.is_alive().await;
    }
}
