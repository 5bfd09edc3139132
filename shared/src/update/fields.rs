//! What an update says of an execution beside its status, field by field.

use super::{Fields, Lenient, kept, labels::labels, progress::progress, text, value};
use crate::execution::Kind;

impl Lenient<'_> {
    /// The fields that executions of this kind have; warns of the other kind's.
    pub(super) fn fields(&mut self, kind: Kind) -> Fields {
        let name = |field| move |value: &_, warnings: &mut _| text::name(field, value, warnings);
        let common = Fields {
            name: self.patch_with("name", name("name")),
            url: self.patch("url", value::url),
            labels: self.patch_with("labels", labels),
            progress: self.patch_with("progress", progress),
            started_at: self.time("startedAt"),
            completed_at: self.time("completedAt"),
            duration_ms: self.patch("durationMs", value::milliseconds),
            ..Fields::default()
        };
        let mut fields = match kind {
            Kind::Job => Fields {
                job_id: self.id("jobId"),
                rerun_of: self.id("rerunOf"),
                error_details: self.error("errorDetails"),
                artifact_paths: self.patch_with("artifactPaths", |value, warnings| {
                    text::strings("artifactPaths", value, warnings)
                }),
                ..common
            },
            Kind::Test => Fields {
                suite: self.patch_with("suite", text::suite),
                file: self.patch_with("file", name("file")),
                line: self.patch("line", value::line),
                report_path: self.patch("reportPath", value::text),
                s3_url: self.patch("s3Url", value::text),
                error: self.error("error"),
                ..common
            },
        };
        self.foreign_fields(kind);
        kept::limit(&mut fields, &mut self.warnings);
        fields
    }

    fn foreign_fields(&mut self, kind: Kind) {
        let fields: &[(&'static str, &str)] = match kind {
            Kind::Job => &[
                ("suite", "only a test has a suite"),
                ("file", "only a test has a file"),
                ("line", "only a test has a line"),
                ("reportPath", "only a test has one; a job has artifactPaths"),
                ("s3Url", "only a test has one; a job has artifactPaths"),
                ("error", "only a test has one; a job has errorDetails"),
            ],
            Kind::Test => &[
                ("jobId", "only a job has one; a test has a runId"),
                ("rerunOf", "only a job repeats another; a test has attempts"),
                ("errorDetails", "only a job has them; a test has error"),
                (
                    "artifactPaths",
                    "only a job has them; a test has reportPath and s3Url",
                ),
            ],
        };
        for (name, taken) in fields {
            self.foreign(name, taken);
        }
    }
}
