//! The checkout, and what `make setup` and `make build` put there.

use std::path::{Path, PathBuf};

use crate::Error;

/// The checkout that this binary was built from.
pub(crate) fn path() -> PathBuf {
    let local = Path::new(env!("CARGO_MANIFEST_DIR"));
    local.parent().unwrap_or(local).to_owned()
}

/// The first path that exists, or an error that says what to do.
pub(crate) fn find(what: &str, candidates: &[PathBuf]) -> Result<PathBuf, Error> {
    let found = candidates.iter().find(|path| path.exists()).cloned();
    found.ok_or_else(|| {
        let looked = candidates.first().map(|path| path.display().to_string());
        let looked = looked.unwrap_or_default();
        format!("{what} is not installed (looked for {looked}): run `make setup`").into()
    })
}
