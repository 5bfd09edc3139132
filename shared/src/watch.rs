//! What a stream watches: its tracks, and the Redis channels that nudge it.

use crate::execution::{Event, Id, Kind, Seq};

/// What one stream watches: sequences of events of one kind, each a track, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// Tests or jobs.
    pub kind: Kind,
    /// Whose they are: others may use the same ids.
    pub organization_id: Id,
    /// The tracks, each once.
    pub scopes: Vec<Scope>,
}

/// Whose events make a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One execution's.
    Execution(Id),
    /// Those of every test of a run.
    Run(Id),
    /// Those of every execution in a project.
    Project(Id),
}

impl Watch {
    /// How many sequences it follows.
    #[must_use]
    pub fn tracks(&self) -> usize {
        self.scopes.len()
    }

    /// The number of an event in the sequence of a track.
    #[must_use]
    pub fn seq_of(&self, track: usize, event: &Event) -> Seq {
        match self.scopes.get(track) {
            Some(Scope::Execution(_)) => event.seq,
            Some(Scope::Run(_)) => event.run_seq,
            Some(Scope::Project(_)) => event.project_seq,
            None => Seq::ZERO,
        }
    }

    /// The channels to subscribe to, each with its track.
    #[must_use]
    pub fn channels(&self) -> Vec<(Channel, usize)> {
        let on_track = |(track, scope)| {
            let channels = self.channels_of(scope).into_iter();
            channels.map(move |channel| (channel, track))
        };
        self.scopes.iter().enumerate().flat_map(on_track).collect()
    }

    fn channels_of(&self, scope: &Scope) -> Vec<Channel> {
        let organization_id = self.organization_id.clone();
        let execution = |kind, id: &Id, lifecycle| Channel::Execution {
            kind,
            id: id.clone(),
            lifecycle,
        };
        match scope {
            Scope::Execution(id) => [Lifecycle::Status, Lifecycle::Complete]
                .map(|lifecycle| execution(self.kind, id, lifecycle))
                .into(),
            Scope::Run(id) => vec![
                Channel::Run {
                    organization_id,
                    run_id: id.clone(),
                },
                // Its tests may all have ended, and others come: the run says when it is over.
                execution(Kind::Job, id, Lifecycle::Complete),
            ],
            Scope::Project(id) => vec![Channel::Project {
                organization_id,
                project_id: id.clone(),
                kind: self.kind,
            }],
        }
    }
}

/// A Redis channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// `test:{id}:status`, `test:{id}:complete` and the same for jobs.
    Execution {
        /// Test or job.
        kind: Kind,
        /// The execution's id.
        id: Id,
        /// What is told here.
        lifecycle: Lifecycle,
    },
    /// `run:{organizationId}:{runId}`: every event of a run's tests.
    Run {
        /// Whose run it is.
        organization_id: Id,
        /// Which run.
        run_id: Id,
    },
    /// `project:{organizationId}:{projectId}:{kind}`: every event of a kind in a project.
    Project {
        /// Whose project it is.
        organization_id: Id,
        /// Which project.
        project_id: Id,
        /// Tests or jobs.
        kind: Kind,
    },
    /// `stream:{streamId}:close`: the viewer has left, or, where that is the message, the stream is
    /// [`EVICTED`].
    Close(Id),
    /// `queue-stats:{group}`: what was counted of the queues that a group of processes shows.
    Queues(String),
}

/// What is said of a stream whose place another has: on its [`Channel::Close`]; as the id of its
/// last frame; and so by a client that comes back all the same.
pub const EVICTED: &str = "evicted";

/// Whether a channel carries an execution's terminal event or all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// Not terminal.
    Status,
    /// Terminal.
    Complete,
}

impl Channel {
    /// The channels on which an event is published.
    #[must_use]
    pub fn of_event(event: &Event) -> Vec<Channel> {
        let lifecycle = if event.status.is_terminal() {
            Lifecycle::Complete
        } else {
            Lifecycle::Status
        };
        let mut channels = vec![
            Channel::Execution {
                kind: event.kind,
                id: event.id.clone(),
                lifecycle,
            },
            Channel::Project {
                organization_id: event.organization_id.clone(),
                project_id: event.project_id.clone(),
                kind: event.kind,
            },
        ];
        if let Some(run_id) = &event.run_id {
            channels.push(Channel::Run {
                organization_id: event.organization_id.clone(),
                run_id: run_id.clone(),
            });
        }
        channels
    }

    /// The channel's name in Redis.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Channel::Execution {
                kind,
                id,
                lifecycle,
            } => {
                let lifecycle = match lifecycle {
                    Lifecycle::Status => "status",
                    Lifecycle::Complete => "complete",
                };
                format!("{kind}:{id}:{lifecycle}")
            }
            Channel::Project {
                organization_id,
                project_id,
                kind,
            } => format!("project:{organization_id}:{project_id}:{kind}"),
            Channel::Run {
                organization_id,
                run_id,
            } => format!("run:{organization_id}:{run_id}"),
            Channel::Close(stream_id) => format!("stream:{stream_id}:close"),
            Channel::Queues(group) => format!("queue-stats:{group}"),
        }
    }
}
