//! What is published in Redis of an event: its data, and whose it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    execution::{Event, Id, Seq, State, Timestamp, TraceParent},
    watch::Channel,
};

/// The message that tells of an event on a channel.
#[must_use]
pub fn write(event: &Event, channel: &Channel) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Envelope<'a> {
        organization_id: &'a Id,
        project_id: &'a Id,
        /// Only on a project's channel: its number there.
        #[serde(skip_serializing_if = "Option::is_none")]
        project_seq: Option<Seq>,
        /// Only on a run's channel: its number there.
        #[serde(skip_serializing_if = "Option::is_none")]
        run_seq: Option<Seq>,
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<&'a TraceParent>,
        published_at: Timestamp,
    }
    let envelope = Envelope {
        organization_id: &event.organization_id,
        project_id: &event.project_id,
        project_seq: matches!(channel, Channel::Project { .. }).then_some(event.project_seq),
        run_seq: matches!(channel, Channel::Run { .. }).then_some(event.run_seq),
        epoch: (event.epoch > 0).then_some(event.epoch),
        traceparent: event.traceparent.as_ref(),
        published_at: Timestamp::now(),
    };
    #[expect(clippy::expect_used, reason = "ids and numbers always encode")]
    let envelope = serde_json::to_string(&envelope).expect("an envelope encodes");
    // Two JSON objects made one.
    let data = event.data.strip_suffix('}').unwrap_or(&event.data);
    format!("{data},{}", envelope.strip_prefix('{').unwrap_or(&envelope))
}

/// How an envelope begins.
const BEGINS: &str = "{\"organizationId\":";

/// The same, after a state.
const BETWEEN: &str = ",\"organizationId\":";

/// Reads the event that a channel carries; `None` where it is not one of this channel's.
#[must_use]
pub fn read(channel: &Channel, message: &[u8]) -> Option<Event> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Envelope {
        organization_id: Id,
        project_id: Id,
        #[serde(default)]
        project_seq: Seq,
        #[serde(default)]
        run_seq: Seq,
        #[serde(default)]
        epoch: u64,
        #[serde(default)]
        traceparent: Option<TraceParent>,
        published_at: Timestamp,
    }
    let message = str::from_utf8(message).ok()?;
    // What `write` has made one: where a state has such a text in a string, its quotes are escaped.
    let (state, envelope) = message.rsplit_once(BETWEEN)?;
    let envelope: Envelope = serde_json::from_str(&format!("{BEGINS}{envelope}")).ok()?;
    let data: Arc<str> = format!("{state}}}").into();
    let state = State::from_json(&data).ok()?;
    // Nothing is missing, nothing more is there.
    if !state.is_written(&data) {
        return None;
    }
    let event = Event {
        kind: state.kind(),
        id: state.id().clone(),
        seq: state.seq(),
        project_seq: envelope.project_seq,
        run_id: state.run_id().cloned(),
        run_seq: envelope.run_seq,
        epoch: envelope.epoch,
        status: state.status(),
        open_tests: state.open_tests(),
        data,
        organization_id: envelope.organization_id,
        project_id: envelope.project_id,
        traceparent: envelope.traceparent,
        published_at: Some(envelope.published_at),
    };
    let number = match channel {
        Channel::Project { .. } => event.project_seq,
        Channel::Run { .. } => event.run_seq,
        _ => event.seq,
    };
    (number > Seq::ZERO && Channel::of_event(&event).contains(channel)).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        execution::Kind,
        watch::{Scope, Watch},
    };

    #[test]
    fn a_message_without_a_number_of_its_channel_or_not_whole_is_not_an_event() {
        let state = State::unreported(Kind::Job, "r".parse().unwrap()).to_json();
        let of =
            r#","organizationId":"o","projectId":"p","publishedAt":"2026-01-31T12:00:00.000Z"}"#;
        let ends_with = |end: &str| format!("{}{end}", state.strip_suffix('}').unwrap());
        let unnumbered = ends_with(of);
        let numbered = unnumbered.replace(r#""seq":0"#, r#""seq":1"#);
        let partly = numbered.replace(r#""jobId":null,"#, "");
        let more = numbered.replace(r#""jobId":null,"#, r#""jobId":null,"extra":1,"#);
        let other = numbered.replace(r#""jobId":null"#, r#""jobId":7"#);
        let in_project = numbered.replacen(
            r#""projectId":"p","#,
            r#""projectId":"p","projectSeq":7,"#,
            1,
        );
        let watch = |scope| Watch {
            kind: Kind::Job,
            organization_id: "o".parse().unwrap(),
            scopes: vec![scope],
        };
        let project = watch(Scope::Project("p".parse().unwrap()));
        let execution = watch(Scope::Execution("r".parse().unwrap()));
        for (watch, message, is_event) in [
            (&execution, &unnumbered, false),
            (&execution, &numbered, true),
            (&execution, &partly, false),
            (&execution, &more, false),
            (&execution, &other, false),
            (&project, &numbered, false),
            (&project, &in_project, true),
        ] {
            let (channel, _) = &watch.channels()[0];
            let read = read(channel, message.as_bytes());
            assert_eq!(read.is_some(), is_event, "{message}");
        }
    }
}
