//! A webhook, signed as Standard Webhooks say.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use base64::{Engine, prelude::BASE64_STANDARD};
use http::header::CONTENT_TYPE;
use reqwest::Client;
use ring::hmac;
use shared::execution::Timestamp;

use super::NotTold;
use crate::event::CloudEvent;

/// Who is told by HTTP.
pub(crate) struct Webhook {
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) key: hmac::Key,
}

impl Webhook {
    pub(super) async fn tell(&self, events: &[CloudEvent<'_>]) -> Result<(), NotTold> {
        for event in events {
            let body = event.to_json();
            // The event's source and id name it together.
            let id = format!("{}/{}", event.source, event.id);
            let timestamp = Timestamp::now().0.timestamp();
            let signature = sign(&self.key, &id, timestamp, &body);
            let response = self
                .client
                .post(&self.url)
                .header(CONTENT_TYPE, "application/cloudevents+json; charset=UTF-8")
                .header("webhook-id", id)
                .header("webhook-timestamp", timestamp)
                .header("webhook-signature", signature)
                .body(body)
                .send()
                .await
                .map_err(reqwest::Error::without_url)?;
            if !response.status().is_success() {
                return Err(NotTold::Refused(response.status()));
            }
        }
        Ok(())
    }
}

fn sign(key: &hmac::Key, id: &str, timestamp: i64, body: &str) -> String {
    let signed = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_the_specification_does() {
        // The example of Standard Webhooks' reference libraries.
        let secret = BASE64_STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let signature = sign(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
