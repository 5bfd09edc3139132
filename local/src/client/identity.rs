//! Which run this is: as it is named, else as the CI says, else a new one.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use shared::execution::Id;

/// How long an id is made of what a CI says; longer ones end with a hash.
const MAX_ID_BYTES: usize = 80;

/// A run, as its producer knows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) run_id: String,
    pub(crate) job_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) labels: BTreeMap<&'static str, String>,
    /// The run that this one repeats.
    pub(crate) rerun_of: Option<String>,
    /// Which part of it this is, from 1, and of how many.
    pub(crate) shard: Option<(u32, u32)>,
}

/// What a CI says of a run. A re-run is a run of its own, with `rerunOf`: what has ended stays as it
/// was, and a part that is run again does not count what was not.
#[derive(Default)]
struct Said {
    ci: &'static str,
    /// What is the same for all parts of one run, and for no other run.
    run: Vec<String>,
    /// How often it was run, from 1.
    attempt: Option<u32>,
    /// What follows the attempt in its id.
    job: Option<String>,
    name: Vec<String>,
    url: Option<String>,
    branch: Option<String>,
    commit: Option<String>,
    pull_request: Option<String>,
    shard: Option<(u32, u32)>,
}

impl Identity {
    /// The run that these variables say, or the options: its name, and which part of it this is.
    pub(crate) fn of(
        variable: &impl Fn(&str) -> Option<String>,
        named: Option<&str>,
        shard: Option<(u32, u32)>,
    ) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = named
            .map(str::to_owned)
            .or_else(|| variable("RUNCAST_RUN_ID"));
        let mut identity = match said(&variable) {
            Some(said) => Identity::of_ci(Said {
                shard: shard.or(said.shard),
                ..said
            }),
            None => Identity {
                shard,
                ..Identity::default()
            },
        };
        if let Some(run_id) = named {
            // A name of one's own may be the same for the re-run: nobody knows which it repeats.
            identity.rerun_of = None;
            identity.run_id = run_id;
            identity.shard = shard.or(identity.shard);
        }
        if identity.run_id.is_empty() {
            identity.run_id = format!("local-{:016x}", rand::random::<u64>());
        }
        identity
    }

    fn of_ci(said: Said) -> Self {
        // What is run again of a run in parts is a run of its own: the others are not.
        let again = |attempt: &u32| *attempt > 1;
        let part = said
            .shard
            .filter(|_| said.attempt.as_ref().is_some_and(again));
        let run_of = |attempt: Option<u32>| {
            let attempt = attempt.filter(again);
            let part = part.filter(|_| attempt.is_some());
            let numbers = [attempt, part.map(|(index, _)| index)];
            let parts = [said.ci.to_owned()].into_iter().chain(said.run.clone());
            let parts = parts.chain(
                numbers
                    .into_iter()
                    .flatten()
                    .map(|number| number.to_string()),
            );
            let parts: Vec<_> = parts.chain(said.job.clone()).collect();
            id_of(&parts.join("-"))
        };
        let before = said.attempt.and_then(|attempt| attempt.checked_sub(1));
        let labels = [
            ("ci", Some(said.ci.to_owned())),
            ("branch", said.branch),
            ("commit", said.commit),
            ("pr", said.pull_request),
        ];
        let name = said.name.join(" / ");
        Identity {
            run_id: run_of(said.attempt),
            rerun_of: before
                .filter(|before| *before > 0)
                .map(|before| run_of(Some(before))),
            job_id: (!name.is_empty()).then(|| id_of(&name)),
            name: (!name.is_empty()).then_some(name),
            url: said.url,
            labels: labels
                .into_iter()
                .filter_map(|(label, value)| Some((label, value?)))
                .collect(),
            shard: said.shard.filter(|_| part.is_none()),
        }
    }

    /// What the updates of the run say of it.
    pub(crate) fn of_run(&self) -> Value {
        let shard = self
            .shard
            .map(|(index, total)| json!({"index": index, "total": total}));
        json!({
            "kind": "job",
            "id": self.run_id,
            "jobId": self.job_id,
            "name": self.name,
            "url": self.url,
            "labels": (!self.labels.is_empty()).then_some(&self.labels),
            "rerunOf": self.rerun_of,
            "shard": shard,
        })
    }
}

/// The environment.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// Those that are there.
    fn all(&self, names: &[&str]) -> Vec<String> {
        names.iter().filter_map(|name| self.get(name)).collect()
    }

    /// Which part of how many this is, where parts are counted from `first`.
    fn part(&self, index: &str, first: u32, total: &str) -> Option<(u32, u32)> {
        let index = self.number(index)?.checked_sub(first)? + 1;
        let total = self.number(total)?;
        (total > 1 && index <= total).then_some((index, total))
    }
}

/// What the CI says that this runs in.
fn said(variable: &dyn Fn(&str) -> Option<String>) -> Option<Said> {
    let variables = Variables(variable);
    let is = |name| variables.has(name);
    if is("GITHUB_RUN_ID") {
        Some(github(&variables))
    } else if is("GITLAB_CI") && is("CI_PIPELINE_ID") {
        Some(gitlab(&variables))
    } else if is("JENKINS_URL") && is("BUILD_NUMBER") {
        Some(jenkins(&variables))
    } else if is("CIRCLECI") && is("CIRCLE_WORKFLOW_ID") {
        Some(circleci(&variables))
    } else if is("BUILDKITE") && is("BUILDKITE_BUILD_ID") {
        Some(buildkite(&variables))
    } else if is("TF_BUILD") && is("BUILD_BUILDID") {
        Some(azure(&variables))
    } else {
        None
    }
}

/// <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>
fn github(variables: &Variables<'_>) -> Said {
    let run = variables.all(&["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"]);
    let attempt = variables.number("GITHUB_RUN_ATTEMPT");
    let url = match &run[..] {
        [server, repository, id] => {
            let attempt = attempt.unwrap_or(1);
            Some(format!(
                "{server}/{repository}/actions/runs/{id}/attempts/{attempt}"
            ))
        }
        _ => None,
    };
    let pull_request = variables.get("GITHUB_REF").and_then(|reference| {
        let number = reference.strip_prefix("refs/pull/")?.split('/').next();
        number.map(str::to_owned)
    });
    Said {
        ci: "github",
        run: variables.all(&["GITHUB_RUN_ID"]),
        attempt,
        job: variables.get("GITHUB_JOB"),
        name: variables.all(&["GITHUB_WORKFLOW", "GITHUB_JOB"]),
        url,
        branch: variables
            .get("GITHUB_HEAD_REF")
            .or_else(|| variables.get("GITHUB_REF_NAME")),
        commit: variables.get("GITHUB_SHA"),
        pull_request,
        shard: None,
    }
}

/// <https://docs.gitlab.com/ci/variables/predefined_variables/>: a job that is retried has a new
/// `CI_JOB_ID`; the parts of a parallel one have nothing in common but the pipeline, and its name
/// without " 1/3".
fn gitlab(variables: &Variables<'_>) -> Said {
    let shard = variables.part("CI_NODE_INDEX", 1, "CI_NODE_TOTAL");
    let job = variables.get("CI_JOB_NAME").unwrap_or_default();
    let job = match shard {
        Some((index, total)) => job
            .trim_end_matches(&format!(" {index}/{total}"))
            .to_owned(),
        None => job,
    };
    Said {
        ci: "gitlab",
        run: match shard {
            Some(_) => [variables.all(&["CI_PIPELINE_ID"]), vec![job.clone()]].concat(),
            None => variables.all(&["CI_PIPELINE_ID", "CI_JOB_ID"]),
        },
        name: [variables.all(&["CI_PROJECT_PATH"]), vec![job]].concat(),
        url: variables
            .get("CI_JOB_URL")
            .or_else(|| variables.get("CI_PIPELINE_URL")),
        branch: variables
            .get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")
            .or_else(|| variables.get("CI_COMMIT_REF_NAME")),
        commit: variables.get("CI_COMMIT_SHA"),
        pull_request: variables.get("CI_MERGE_REQUEST_IID"),
        shard,
        ..Said::default()
    }
}

/// <https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables>
fn jenkins(variables: &Variables<'_>) -> Said {
    Said {
        ci: "jenkins",
        run: variables.all(&["JOB_NAME", "BUILD_NUMBER"]),
        name: variables.all(&["JOB_NAME"]),
        url: variables.get("BUILD_URL"),
        branch: variables
            .get("CHANGE_BRANCH")
            .or_else(|| variables.get("GIT_BRANCH")),
        commit: variables.get("GIT_COMMIT"),
        pull_request: variables.get("CHANGE_ID"),
        ..Said::default()
    }
}

/// <https://circleci.com/docs/reference/variables/>: a re-run is a new workflow.
fn circleci(variables: &Variables<'_>) -> Said {
    Said {
        ci: "circleci",
        run: variables.all(&["CIRCLE_WORKFLOW_ID", "CIRCLE_JOB"]),
        name: variables.all(&["CIRCLE_PROJECT_REPONAME", "CIRCLE_JOB"]),
        url: variables.get("CIRCLE_BUILD_URL"),
        branch: variables.get("CIRCLE_BRANCH"),
        commit: variables.get("CIRCLE_SHA1"),
        pull_request: variables
            .get("CIRCLE_PULL_REQUEST")
            .and_then(|url| url.rsplit('/').next().map(str::to_owned)),
        shard: variables.part("CIRCLE_NODE_INDEX", 0, "CIRCLE_NODE_TOTAL"),
        ..Said::default()
    }
}

/// <https://buildkite.com/docs/pipelines/configure/environment-variables>
fn buildkite(variables: &Variables<'_>) -> Said {
    Said {
        ci: "buildkite",
        run: variables.all(&["BUILDKITE_BUILD_ID", "BUILDKITE_STEP_ID"]),
        attempt: variables
            .number("BUILDKITE_RETRY_COUNT")
            .map(|retries| retries + 1),
        name: variables.all(&["BUILDKITE_PIPELINE_NAME", "BUILDKITE_LABEL"]),
        url: variables.get("BUILDKITE_BUILD_URL"),
        branch: variables.get("BUILDKITE_BRANCH"),
        commit: variables.get("BUILDKITE_COMMIT"),
        pull_request: variables
            .get("BUILDKITE_PULL_REQUEST")
            .filter(|number| number != "false"),
        shard: variables.part("BUILDKITE_PARALLEL_JOB", 0, "BUILDKITE_PARALLEL_JOB_COUNT"),
        ..Said::default()
    }
}

/// <https://learn.microsoft.com/azure/devops/pipelines/build/variables>
fn azure(variables: &Variables<'_>) -> Said {
    let address = variables.all(&[
        "SYSTEM_COLLECTIONURI",
        "SYSTEM_TEAMPROJECT",
        "BUILD_BUILDID",
    ]);
    let url = match &address[..] {
        [collection, project, build] => {
            let project = project.replace(' ', "%20");
            Some(format!(
                "{collection}{project}/_build/results?buildId={build}"
            ))
        }
        _ => None,
    };
    Said {
        ci: "azure",
        run: variables.all(&["BUILD_BUILDID"]),
        attempt: variables.number("SYSTEM_JOBATTEMPT"),
        job: variables
            .get("SYSTEM_PHASENAME")
            .or_else(|| variables.get("SYSTEM_JOBNAME")),
        name: variables.all(&["BUILD_DEFINITIONNAME", "SYSTEM_PHASENAME"]),
        url,
        branch: variables
            .get("SYSTEM_PULLREQUEST_SOURCEBRANCH")
            .or_else(|| variables.get("BUILD_SOURCEBRANCHNAME")),
        commit: variables.get("BUILD_SOURCEVERSION"),
        pull_request: variables
            .get("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER")
            .or_else(|| variables.get("SYSTEM_PULLREQUEST_PULLREQUESTID")),
        shard: variables.part("SYSTEM_JOBPOSITIONINPHASE", 1, "SYSTEM_TOTALJOBSINPHASE"),
    }
}

/// An id of any text: with `-` for what no id has, and a hash where that, or its end, was lost.
pub(crate) fn id_of(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let id: String = text
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .take(MAX_ID_BYTES)
        .collect();
    if id == text && !id.is_empty() {
        return id;
    }
    let hash = hash(&[text]);
    let short = hash.get(..8).unwrap_or_default();
    format!("{id}-{short}").trim_start_matches('-').to_owned()
}

/// 128 bits of what these parts are, and of where each ends.
pub(crate) fn hash(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        text.push_str(&part.len().to_string());
        text.push(':');
        text.push_str(part);
    }
    let hash = digest(&SHA256, text.as_bytes());
    let hash = u128::from_be_bytes(*hash.as_ref().first_chunk().unwrap_or(&[0; 16]));
    format!("{hash:032x}")
}

/// A run's id that was given, or why it is none.
pub(crate) fn run_id(text: &str) -> Result<String, String> {
    match text.parse::<Id>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(variables: &[(&str, &str)]) -> Identity {
        let variable = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        Identity::of(&variable, None, None)
    }

    /// All producers are held to the same cases.
    const CASES: &str = include_str!("../../../producers/identity.json");

    #[test]
    fn each_ci_says_which_run_it_is() {
        let cases: Value = serde_json::from_str(CASES).unwrap();
        for case in cases["cases"].as_array().unwrap() {
            let variable = |name: &str| Some(case["environment"][name].as_str()?.to_owned());
            let number = |at: usize| u32::try_from(case["shard"][at].as_u64()?).ok();
            let said = Identity::of(&variable, None, number(0).zip(number(1)));
            let wanted = &case["identity"];
            let run_id = match wanted["runId"].as_str().unwrap().split_once('*') {
                Some((start, end)) if said.run_id.len() == start.len() + 16 + end.len() => {
                    format!("{start}*{end}")
                }
                _ => said.run_id.clone(),
            };
            let said = json!({
                "runId": run_id,
                "jobId": said.job_id,
                "name": said.name,
                "url": said.url,
                "labels": said.labels,
                "rerunOf": said.rerun_of,
                "shard": said.shard,
            });
            assert_eq!(&said, wanted, "{}", case["name"]);
        }
    }

    #[test]
    fn without_a_ci_each_run_is_a_new_one() {
        let (one, two) = (identity(&[]), identity(&[("GITHUB_RUN_ID", "")]));
        assert!(one.run_id.starts_with("local-"));
        assert_ne!(one.run_id, two.run_id);
    }

    #[test]
    fn an_id_of_any_text_is_an_id_and_none_is_anothers() {
        for text in [
            "a b",
            "a/b",
            "ä",
            "",
            "a-b",
            &"x".repeat(300),
            &format!("{}y", "x".repeat(299)),
        ] {
            assert!(id_of(text).parse::<Id>().is_ok(), "{text}");
        }
        assert_eq!(id_of("a-b"), "a-b");
        assert_ne!(id_of("a b"), id_of("a/b"));
        assert_ne!(id_of(&"x".repeat(300)), id_of(&"x".repeat(301)));
        assert_ne!(hash(&["a", "bc"]), hash(&["ab", "c"]));
    }
}
