//! A real `OpenID` provider (`tests/node/provider.mjs`).

use serde_json::{Value, json};

use crate::node::Script;

/// One that runs.
pub struct Provider {
    /// Its `iss`, and address.
    pub issuer: String,
    script: Script,
}

impl Provider {
    /// Starts one, whose key has the id `first`.
    pub async fn start() -> Self {
        let mut script = Script::start("provider.mjs", "oidc-provider", &[]);
        let said = script.said().await;
        Provider {
            issuer: text(&said["issuer"]),
            script,
        }
    }

    /// Where it says where its keys are.
    #[must_use]
    pub fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer)
    }

    /// A token of the organization `demo` that may watch.
    pub async fn token(&mut self) -> String {
        let said = self.script.order(&json!({"do": "token"})).await;
        text(&said["access_token"])
    }

    /// Takes another key for all that it had.
    pub async fn rotate(&mut self, kid: &str) {
        let order = json!({"do": "rotate", "kid": kid});
        self.script.order(&order).await;
    }

    /// Answers as this says to who asks for keys; with `None` as it should.
    pub async fn fault(&mut self, name: Option<&str>) {
        let order = json!({"do": "fault", "name": name});
        self.script.order(&order).await;
    }

    /// How often its keys were asked for.
    pub async fn asked(&mut self) -> u64 {
        let said = self.script.order(&json!({"do": "asked"})).await;
        said["times"].as_u64().unwrap()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
