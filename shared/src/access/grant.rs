//! What a valid token allows.

use std::time::SystemTime;

use crate::execution::Id;

/// Of what a caller may see, or send, the status, and until when.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who it is.
    pub subject: String,
    /// Whose executions.
    pub organization_id: Id,
    /// Which of the organization's projects; `None`: all.
    pub projects: Option<Vec<Id>>,
    /// Which queues; `None`: all.
    pub queues: Option<Vec<String>>,
    /// When it ends.
    pub expires_at: SystemTime,
}

impl Grant {
    /// Whether an execution of this organization and project is the caller's to see.
    #[must_use]
    pub fn covers(&self, organization_id: &Id, project_id: &Id) -> bool {
        self.organization_id == *organization_id && self.covers_project(project_id)
    }

    /// Whether the numbers of this queue are the caller's to see.
    #[must_use]
    pub fn covers_queue(&self, queue: &str) -> bool {
        let named = self.queues.as_ref();
        named.is_none_or(|queues| queues.iter().any(|named| named == queue))
    }

    /// Whether this project of the caller's organization is theirs to see.
    #[must_use]
    pub fn covers_project(&self, project_id: &Id) -> bool {
        let named = self.projects.as_ref();
        named.is_none_or(|projects| projects.contains(project_id))
    }

    /// The project, where it is one alone.
    #[must_use]
    pub fn only_project(&self) -> Option<&Id> {
        match self.projects.as_deref() {
            Some([only]) => Some(only),
            _ => None,
        }
    }
}
