#!/usr/bin/env bash
# Says where runcast is, if it is anywhere, and what it would be built from.
set -euo pipefail
echo "path=$(command -v "${RUNCAST:-runcast}" || true)" >>"$GITHUB_OUTPUT"
root=$GITHUB_ACTION_PATH/../..
sources=$(find "$root"/{Cargo.lock,Cargo.toml,local,shared,vendor} -name target -prune -o -type f -print | LC_ALL=C sort)
echo "source=$(tr '\n' '\0' <<<"$sources" | xargs -0 cat | sha256sum | cut -d ' ' -f 1)" >>"$GITHUB_OUTPUT"
