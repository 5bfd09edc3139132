//! Who listens to which channel.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, mpsc};

use super::Signal;
use crate::{
    execution::Id,
    message,
    watch::{Channel, EVICTED},
};

/// How many events wait for a listener; what does not fit, it reads from the log.
const BUFFERED_EVENTS: usize = 64;

/// Listeners by channel; shared by the driver, which subscribes to what they want, and the
/// connection, which hands out what comes.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry(Arc<Mutex<Listeners>>);

#[derive(Debug, Default)]
struct Listeners {
    last_id: u64,
    channels: HashMap<String, Listened>,
    /// Each listener's channels.
    names: HashMap<u64, Vec<String>>,
    /// Channels that got their first listener, or lost their last, since the driver asked.
    changed: HashSet<String>,
}

#[derive(Debug)]
struct Listened {
    channel: Channel,
    listeners: Vec<Listener>,
}

#[derive(Clone, Debug)]
struct Listener {
    id: u64,
    track: usize,
    /// Whose executions it follows.
    organization_id: Option<Id>,
    sender: mpsc::Sender<Signal>,
    flags: Arc<Flags>,
}

/// What a listener is told beside its buffer, which may be full.
#[derive(Debug, Default)]
struct Flags {
    /// Events did not fit.
    overflow: AtomicBool,
    /// The viewer has left, or the stream is evicted.
    left: Notify,
    /// The latter.
    is_evicted: AtomicBool,
}

/// The receiving end of a listener.
#[derive(Debug)]
pub(super) struct Signals {
    receiver: mpsc::Receiver<Signal>,
    flags: Arc<Flags>,
}

/// Tells when a stream's viewer has left, or the stream is evicted.
#[derive(Clone, Debug)]
pub struct Hangup(Arc<Flags>);

impl Hangup {
    /// Waits until the viewer has left, or the stream is evicted. Cancelling it loses nothing.
    pub async fn wait(&self) {
        self.0.left.notified().await;
    }

    /// Whether the stream was told that another one of its subject has its place.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.0.is_evicted.load(Ordering::Acquire)
    }
}

impl Signals {
    pub(super) fn hangup(&self) -> Hangup {
        Hangup(self.flags.clone())
    }

    pub(super) async fn recv(&mut self) -> Signal {
        // What overflowed was sent after all that is buffered, and the buffer was full: so there
        // is something to receive, and the flag is looked at after it.
        if self.flags.overflow.swap(false, Ordering::AcqRel) {
            return Signal::Nudge;
        }
        match self.receiver.recv().await {
            Some(signal) => signal,
            // No longer registered: nothing will come.
            None => std::future::pending().await,
        }
    }
}

impl Registry {
    /// Adds a listener; returns its id.
    pub(super) fn add(
        &self,
        organization_id: Option<&Id>,
        channels: Vec<(Channel, usize)>,
        close: Option<Channel>,
    ) -> (u64, Signals) {
        let (sender, receiver) = mpsc::channel(BUFFERED_EVENTS);
        let flags = Arc::<Flags>::default();
        let mut listeners = self.lock();
        listeners.last_id += 1;
        let id = listeners.last_id;
        let close = close.map(|channel| (channel, 0));
        for (channel, track) in channels.into_iter().chain(close) {
            let name = channel.name();
            listeners.names.entry(id).or_default().push(name.clone());
            let listener = Listener {
                id,
                track,
                organization_id: organization_id.cloned(),
                sender: sender.clone(),
                flags: flags.clone(),
            };
            let new = || Listened {
                channel,
                listeners: Vec::new(),
            };
            if !listeners.channels.contains_key(&name) {
                listeners.changed.insert(name.clone());
            }
            let listened = listeners.channels.entry(name).or_insert_with(new);
            listened.listeners.push(listener);
        }
        let signals = Signals { receiver, flags };
        (id, signals)
    }

    /// Removes a listener; returns whether it was there.
    pub(super) fn remove(&self, id: u64) -> bool {
        let mut listeners = self.lock();
        let Some(names) = listeners.names.remove(&id) else {
            return false;
        };
        for name in names {
            if let Some(listened) = listeners.channels.get_mut(&name) {
                listened.listeners.retain(|listener| listener.id != id);
                if listened.listeners.is_empty() {
                    listeners.channels.remove(&name);
                    listeners.changed.insert(name);
                }
            }
        }
        true
    }

    /// Of the channels that changed since this was asked last: which are listened to, and which not.
    pub(super) fn take_changes(&self) -> (Vec<String>, Vec<String>) {
        let mut listeners = self.lock();
        let changed = std::mem::take(&mut listeners.changed);
        let is_listened = |name: &String| listeners.channels.contains_key(name);
        changed.into_iter().partition(is_listened)
    }

    /// The channels that someone listens to; nothing has changed since.
    pub(super) fn all(&self) -> Vec<String> {
        let mut listeners = self.lock();
        listeners.changed.clear();
        listeners.channels.keys().cloned().collect()
    }

    /// Whether nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().names.is_empty()
    }

    /// Hands a message to everyone who listens. It is read once, however many they are.
    pub(super) fn dispatch(&self, name: &str, payload: &[u8]) {
        let (channel, listeners) = match self.lock().channels.get(name) {
            Some(listened) => (listened.channel.clone(), listened.listeners.clone()),
            None => return,
        };
        let event = message::read(&channel, payload).map(Arc::new);
        for listener in listeners {
            let signal = match (&channel, &event) {
                (Channel::Close(_), _) => {
                    if payload == EVICTED.as_bytes() {
                        listener.flags.is_evicted.store(true, Ordering::Release);
                    }
                    listener.flags.left.notify_one();
                    continue;
                }
                (Channel::Queues(_), _) => Signal::Message(payload.into()),
                // Another organization's of the same id: it does not concern this one.
                (_, Some(event))
                    if Some(&event.organization_id) != listener.organization_id.as_ref() =>
                {
                    continue;
                }
                (_, Some(event)) => Signal::Event(listener.track, event.clone()),
                (_, None) => Signal::Nudge,
            };
            if listener.sender.try_send(signal).is_err() {
                listener.flags.overflow.store(true, Ordering::Release);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        execution::{Kind, State},
        watch::{Scope, Watch},
    };

    fn watch(id: &Id) -> Watch {
        Watch {
            kind: Kind::Job,
            organization_id: "o".parse().unwrap(),
            scopes: vec![Scope::Execution(id.clone())],
        }
    }

    #[tokio::test]
    async fn a_message_is_read_and_encoded_once_however_many_listen() {
        let id: Id = "r1".parse().unwrap();
        let watch = watch(&id);
        let registry = Registry::default();
        let add = |organization_id: &str| {
            let organization_id = organization_id.parse().unwrap();
            registry
                .add(Some(&organization_id), watch.channels(), None)
                .1
        };
        let mut listening: Vec<Signals> = (0..1000).map(|_| add("o")).collect();
        let mut other = add("x");
        let state = State::unreported(Kind::Job, id).to_json();
        let state = state.replace(r#""seq":0"#, r#""seq":1"#);
        let of =
            r#","organizationId":"o","projectId":"p","publishedAt":"2026-01-31T12:00:00.000Z"}"#;
        let message = format!("{}{of}", state.strip_suffix('}').unwrap());
        registry.dispatch("job:r1:status", message.as_bytes());
        let mut events = Vec::new();
        for signals in &mut listening {
            match signals.recv().await {
                Signal::Event(0, event) => events.push(event),
                other => panic!("{other:?} instead of an event"),
            }
        }
        assert_eq!(*events[0].data, *state);
        assert!(events.iter().all(|event| Arc::ptr_eq(event, &events[0])));
        // What is no event, is told everybody; another organization's event is not.
        registry.dispatch("job:r1:status", b"a nudge");
        assert!(matches!(other.recv().await, Signal::Nudge));
    }

    #[tokio::test]
    async fn a_viewer_that_leaves_is_heard_above_a_full_buffer() {
        let id: Id = "r1".parse().unwrap();
        let watch = watch(&id);
        let registry = Registry::default();
        let close = Some(Channel::Close(id.clone()));
        let (_, signals) = registry.add(Some(&watch.organization_id), watch.channels(), close);
        for _ in 0..=BUFFERED_EVENTS {
            registry.dispatch("job:r1:status", b"a nudge");
        }
        registry.dispatch("stream:r1:close", b"");
        signals.hangup().wait().await;
        assert!(!signals.hangup().is_evicted());
        registry.dispatch("stream:r1:close", b"evicted");
        signals.hangup().wait().await;
        assert!(signals.hangup().is_evicted());
    }
}
