//! How much of an update is kept: it is sent with every later event.

use serde_json::Value;

use super::{Fields, MAX_KEPT_BYTES, Patch, warnings::Warnings};

/// Leaves out of paths and messages what is too much of them.
pub(super) fn limit(fields: &mut Fields, warnings: &mut Warnings) {
    let bytes = bytes(fields);
    let mut limit = Limit {
        over: bytes.saturating_sub(MAX_KEPT_BYTES),
        taken: format!(
            "paths and messages have at most {MAX_KEPT_BYTES} bytes together, not {bytes}"
        ),
        warnings,
    };
    limit.paths(&mut fields.artifact_paths);
    if let Patch::Set(progress) = &mut fields.progress {
        let says_more = progress.completed > 0 || progress.total.is_some();
        if limit.is_too_long("progress.message", progress.message.as_deref()) {
            progress.message = None;
            if !says_more {
                fields.progress = Patch::Keep;
            }
        }
    }
    limit.text("reportPath", &mut fields.report_path);
    limit.text("s3Url", &mut fields.s3_url);
}

fn bytes(fields: &Fields) -> usize {
    let progress = fields.progress.as_set();
    let message = progress.and_then(|progress| progress.message.as_ref());
    let (report_path, s3_url) = (fields.report_path.as_set(), fields.s3_url.as_set());
    let paths = fields.artifact_paths.as_set().into_iter().flatten();
    let texts = [message, report_path, s3_url].into_iter().flatten();
    paths.chain(texts).map(String::len).sum()
}

struct Limit<'a> {
    /// How many bytes there are too many.
    over: usize,
    taken: String,
    warnings: &'a mut Warnings,
}

impl Limit<'_> {
    /// Leaves paths out, from the end.
    fn paths(&mut self, patch: &mut Patch<Vec<String>>) {
        let Patch::Set(paths) = patch else {
            return;
        };
        let came = paths.len();
        while self.over > 0
            && let Some(path) = paths.pop()
        {
            self.over = self.over.saturating_sub(path.len());
        }
        let kept = paths.len();
        if kept < came {
            let taken = format!("{}; the last {} of them", self.taken, came - kept);
            self.warnings
                .left_out("artifactPaths", format_args!("{came} paths"), &taken);
            if kept == 0 {
                *patch = Patch::Keep;
            }
        }
    }

    fn text(&mut self, field: &str, patch: &mut Patch<String>) {
        if self.is_too_long(field, patch.as_set().map(String::as_str)) {
            *patch = Patch::Keep;
        }
    }

    /// Whether a text has to go.
    fn is_too_long(&mut self, field: &str, text: Option<&str>) -> bool {
        let Some(text) = text.filter(|_| self.over > 0) else {
            return false;
        };
        self.over = self.over.saturating_sub(text.len());
        self.warnings
            .left_out(field, Value::from(text), &self.taken);
        true
    }
}
