#!/usr/bin/env bash
# The functions for arm64, under qemu: one run's life through the worker, a function URL and a stream.
# usage: infra/arm64.sh FOLDER, where `cargo lambda build --arm64 --lambda-dir FOLDER` has put them
set -euo pipefail
built=$(realpath "$1")
for program in qemu-aarch64 /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1; do
    command -v "$program" >/dev/null || { echo "on Debian and Ubuntu: apt-get install qemu-user libc6-arm64-cross" >&2; exit 1; }
done
folder=$(mktemp -d)
stack=
trap 'kill $stack 2>/dev/null; wait; rm -rf "$folder"' EXIT
# `runcast` starts what lies beside it.
cp target/debug/runcast "$folder"
for function in "$built"/*/bootstrap; do
    name=$(basename "$(dirname "$function")")
    printf '#!/bin/sh\nexec qemu-aarch64 -L /usr/aarch64-linux-gnu %s\n' "$function" >"$folder/$name"
    chmod +x "$folder/$name"
done
cd "$folder"
mkfifo ready
./runcast up --port 0 >ready 2>log &
stack=$!
read -r said <ready || { cat log >&2; exit 1; }
member() { sed -E "s/.*\"$1\":\"([^\"]+)\".*/\1/" <<<"$said"; }
RUNCAST_URL=$(member url)
export RUNCAST_URL
for status in running passed; do
    RUNCAST_TOKEN=$(member writeToken) ./runcast publish job arm64 "$status" >/dev/null
done
RUNCAST_TOKEN=$(member token) timeout 60 ./runcast tail job arm64 | tee tail
grep -q passed tail
echo "arm64, under qemu: migrated, committed, streamed"
