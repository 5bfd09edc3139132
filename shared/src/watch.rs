//! What a stream watches: its tracks, and the Redis channels that nudge it.

use crate::execution::{Event, Id, Kind, Seq};

/// What one stream watches. Each execution is a track of its own; a project is one track.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Watch {
    /// Executions of one kind, in the order of the request.
    Executions {
        /// Tests or jobs.
        kind: Kind,
        /// Whose they are: others may use the same ids.
        organization_id: Id,
        /// Their ids, each once.
        ids: Vec<Id>,
    },
    /// Every execution of a kind in a project.
    Project {
        /// Tests or jobs.
        kind: Kind,
        /// Whose project it is.
        organization_id: Id,
        /// Which project.
        project_id: Id,
    },
}

impl Watch {
    /// How many sequences it follows.
    #[must_use]
    pub fn tracks(&self) -> usize {
        match self {
            Watch::Executions { ids, .. } => ids.len(),
            Watch::Project { .. } => 1,
        }
    }

    /// Whose executions it follows.
    #[must_use]
    pub fn organization_id(&self) -> &Id {
        match self {
            Watch::Executions {
                organization_id, ..
            }
            | Watch::Project {
                organization_id, ..
            } => organization_id,
        }
    }

    /// The number of an event in the sequence that this watch follows.
    #[must_use]
    pub fn seq_of(&self, event: &Event) -> Seq {
        match self {
            Watch::Executions { .. } => event.seq,
            Watch::Project { .. } => event.project_seq,
        }
    }

    /// The channels to subscribe to, each with its track.
    #[must_use]
    pub fn channels(&self) -> Vec<(Channel, usize)> {
        match self {
            Watch::Executions { kind, ids, .. } => {
                let both = |(track, id): (usize, &Id)| {
                    [Lifecycle::Status, Lifecycle::Complete].map(|lifecycle| {
                        let id = id.clone();
                        let kind = *kind;
                        (
                            Channel::Execution {
                                kind,
                                id,
                                lifecycle,
                            },
                            track,
                        )
                    })
                };
                ids.iter().enumerate().flat_map(both).collect()
            }
            Watch::Project {
                kind,
                organization_id,
                project_id,
            } => vec![(
                Channel::Project {
                    organization_id: organization_id.clone(),
                    project_id: project_id.clone(),
                    kind: *kind,
                },
                0,
            )],
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
    pub fn of_event(event: &Event) -> [Channel; 2] {
        let lifecycle = if event.status.is_terminal() {
            Lifecycle::Complete
        } else {
            Lifecycle::Status
        };
        [
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
        ]
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
            Channel::Close(stream_id) => format!("stream:{stream_id}:close"),
            Channel::Queues(group) => format!("queue-stats:{group}"),
        }
    }
}
