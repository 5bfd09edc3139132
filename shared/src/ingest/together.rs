//! Requests of one project, committed together: the commits of a project follow one another anyway (its
//! row is locked until each is on disk), so what comes while one is under way is the next.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use tracing::Instrument;

use super::{Ingest, group_of};
use crate::{
    execution::Id,
    log::{Answer, Submission},
    telemetry::traces::Via,
};

/// Updates, and what became of each; `None` where it could not be committed now.
pub(crate) type Committed = (Vec<Submission<'static>>, Vec<Option<Answer>>);

/// Whose updates are committed one after the other: a project of an organization. Those that say neither
/// are rejected, by whomever.
type Project = Option<(Id, Id)>;

/// What waits while updates of its project are committed: an entry for each project at which somebody
/// is.
#[derive(Debug, Default)]
pub(super) struct Together(Mutex<HashMap<Project, Vec<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    submissions: Vec<Submission<'static>>,
    done: oneshot::Sender<Committed>,
}

impl Together {
    /// Lets a request wait for whoever is at its project; where nobody is, returns it.
    fn wait(&self, project: &Project, request: Waiting) -> Option<Waiting> {
        let mut projects = self.lock();
        match projects.get_mut(project) {
            Some(waiting) => {
                waiting.push(request);
                None
            }
            None => {
                projects.insert(project.clone(), Vec::new());
                Some(request)
            }
        }
    }

    /// What has come for a project meanwhile; where nothing has, nobody is at it from now on.
    fn next(&self, project: &Project) -> Vec<Waiting> {
        let mut projects = self.lock();
        let waiting = projects.get_mut(project).map(mem::take);
        let waiting = waiting.unwrap_or_default();
        if waiting.is_empty() {
            projects.remove(project);
        }
        waiting
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Project, Vec<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ingest {
    /// Commits a request's updates, each group in order, with those of others of the same project.
    pub(crate) async fn commit_together(
        self: &Arc<Self>,
        submissions: Vec<Submission<'static>>,
    ) -> Committed {
        let mut read = submissions.iter().filter_map(|it| it.update.as_ref().ok());
        let project = read.next();
        let project = project.map(|it| (it.organization_id.clone(), it.project_id.clone()));
        let (done, committed) = oneshot::channel();
        let request = Waiting { submissions, done };
        if let Some(first) = self.together.wait(&project, request) {
            let ingest = self.clone();
            // Whoever has asked may leave: the others' updates are committed all the same.
            let commit = async move { ingest.commit_all(&project, first).await };
            tokio::spawn(commit.in_current_span());
        }
        // Where it is not known what became of them, they are to be sent again.
        let unknown = || (Vec::new(), vec![None]);
        committed.await.unwrap_or_else(|_| unknown())
    }

    /// Commits a request, then all that have come meanwhile, until none has.
    async fn commit_all(&self, project: &Project, first: Waiting) {
        let mut requests = vec![first];
        while !requests.is_empty() {
            let mut submissions = Vec::new();
            for request in &mut requests {
                submissions.push(mem::take(&mut request.submissions));
            }
            let lengths: Vec<_> = submissions.iter().map(Vec::len).collect();
            let mut submissions: Vec<_> = submissions.into_iter().flatten().collect();
            let groups: Vec<_> = submissions.iter().map(group_of).collect();
            let answers = self.commit(&mut submissions, Some(&groups), Via::Http);
            let answers = answers.await;
            let (mut submissions, mut answers) = (submissions.into_iter(), answers.into_iter());
            for (request, length) in requests.into_iter().zip(lengths) {
                let submissions = submissions.by_ref().take(length).collect();
                let answers = answers.by_ref().take(length).collect();
                // Who has left, asks again.
                let _ = request.done.send((submissions, answers));
            }
            requests = self.together.next(project);
        }
    }
}
